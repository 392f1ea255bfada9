//! People answer in Slack: the real daemon by signed requests and by Socket Mode, against the stand-in (slack/inward.py), which
//! Slack's own client (slack/socket_client.py, by `slack_sdk`) takes for Slack in the same run.

use crate::cli::{command, wait_until, write};
use crate::daemon::Daemon;
use hmac::{Hmac, Mac};
use quell_actions::notify::mark::{Mark, MarkKey};
use quell_engine::store::marks_key;
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const OLDER: &str = "the secret of before";
const APP_TOKEN: &str = "xapp-1-A0QUELL01-test";

const ANA: &str = "U0ANA0001";
const BO: &str = "U0BO00001";
/// A viewer.
const CY: &str = "U0CY00001";
/// Nobody in escalation.yaml.
const STRANGER: &str = "U0NOBODY1";

/// What is seen; its title would call a whole channel.
const RULE: &str = "title: \"<!channel> *wake* <https://example.org|up>\"\nname: marked\nstatus: test\nlevel: high\n\
    logsource: { product: linux, category: process_creation }\n\
    detection:\n  image: { Image|endswith: /quell-marked }\n  condition: image\n";

const CONFIG: &str = "playbooks: { shipped: false }\nrules: { shipped: false, dirs: [rules] }\n\
    sources: { sensor: { enabled: false }, files: [{ format: plain, path: events.jsonl }] }\nescalation: escalation.yaml\n\
    access: { listen: { address: \"127.0.0.1:0\", tokens: [{ name: ci, role: viewer, sha256: \
    \"5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5\" }] } }\n";

fn python(script: &str) -> Command {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    // Debian's own, with what `scripts/setup test` keeps for it; nothing is compiled into the tree.
    let mut command = Command::new("/usr/bin/python3");
    let script = format!("{}/tests/people/slack/{script}", env!("CARGO_MANIFEST_DIR"));
    command.args(["-B", &script]).env("PYTHONPATH", cache.join("quell/tools/slack"));
    command
}

/// Whether Slack's own client is here; says loudly what is not tested where it is not.
fn has_sdk(what: &str) -> bool {
    let path = python("").get_envs().find_map(|(name, value)| (name == "PYTHONPATH").then_some(value?.to_owned()));
    let asked =
        Command::new("/usr/bin/python3").args(["-c", "import slack_sdk"]).env("PYTHONPATH", path.unwrap()).output();
    let has = asked.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("NOT TESTED: {what}: `slack_sdk` is not installed");
    }
    has
}

/// One exchange, in HTTP 1.0: the answer ends with the connection. Gives the status and the body.
fn exchange(port: u16, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(crate::cli::PATIENCE)).unwrap();
    let head = format!("{method} {path} HTTP/1.0\r\nhost: test\r\n{headers}content-length: {}\r\n\r\n", body.len());
    socket.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A Slack of the test's own; it ends with it.
struct StandIn {
    child: Child,
    port: u16,
}

impl StandIn {
    fn start() -> Self {
        let mut standin = python("standin.py");
        let mut child = standin.arg("0").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let port = said.strip_prefix("ready ").unwrap_or_else(|| panic!("the stand-in did not start: {said}"));
        Self { port: port.trim().parse().unwrap(), child }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, said) = exchange(self.port, method, path, "content-type: application/json\r\n", &body.to_string());
        assert_eq!(status, 200, "{path}: {said}");
        serde_json::from_str(&said).unwrap()
    }

    /// Where what is told to this name is taken.
    fn hook(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/hooks/{name}", self.port)
    }

    /// What was told there.
    fn told(&self, name: &str) -> Vec<String> {
        let all = self.ask("GET", "/test/hooks", &json!({}));
        let own = all.as_array().unwrap().iter().filter(|told| told["name"] == name);
        own.map(|told| {
            assert_eq!((&told["response_type"], &told["replace_original"]), (&json!("ephemeral"), &json!(false)));
            told["text"].as_str().unwrap().to_owned()
        })
        .collect()
    }

    /// The first that is told there, once it is.
    fn hears(&self, name: &str) -> String {
        wait_until(&format!("{name} is told"), || !self.told(name).is_empty());
        self.told(name).remove(0)
    }

    fn links(&self) -> Value {
        self.ask("GET", "/test/socket", &json!({}))
    }

    /// How often an envelope was acknowledged.
    fn acks(&self, id: &str) -> usize {
        self.links()["acks"].as_array().unwrap().iter().filter(|ack| ack["envelope_id"] == id).count()
    }

    /// Sends an envelope by the newest link; gives its id.
    fn sends(&self, envelope: &Value) -> String {
        self.ask("POST", "/test/socket/send", envelope)["envelope_id"].as_str().unwrap().to_owned()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signed(secret: &str, timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    mac.finalize().into_bytes().iter().fold("v0=".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn form(parts: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parts).finish()
}

/// A click, as Slack tells it.
fn click(user: &str, act: &str, mark: &str, hook: &str) -> Value {
    let action = json!({ "type": "button", "block_id": "b", "action_id": format!("quell:{act}"), "value": mark });
    json!({
        "type": "block_actions", "user": { "id": user, "username": "ana", "team_id": "T0QUELL01" },
        "team": { "id": "T0QUELL01" }, "response_url": hook, "actions": [action],
    })
}

/// A request of Slack's, which may be sent again as it is.
struct Signed {
    path: &'static str,
    headers: String,
    body: String,
}

impl Signed {
    fn of(path: &'static str, body: String) -> Self {
        Self::by(SECRET, now(), path, body)
    }

    fn by(secret: &str, at: u64, path: &'static str, body: String) -> Self {
        let (at, kind) = (at.to_string(), "application/x-www-form-urlencoded");
        let signature = signed(secret, &at, &body);
        let headers =
            format!("content-type: {kind}\r\nX-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: {signature}\r\n");
        Self { path, headers, body }
    }

    fn click(payload: &Value) -> Self {
        Self::of("/slack/interactive", form(&[("payload", &payload.to_string())]))
    }
}

/// A daemon that Slack can talk to.
struct Night {
    home: tempfile::TempDir,
    daemon: Daemon,
    slack: StandIn,
}

impl Night {
    /// `ways`: what escalation.yaml says of how Slack comes in.
    fn new(ways: &str) -> Self {
        let (home, slack) = (tempfile::tempdir().unwrap(), StandIn::start());
        write(home.path(), "rules/marked.yml", RULE);
        write(home.path(), "events.jsonl", "");
        write(home.path(), "quell.yaml", CONFIG);
        let person = |name: &str, id: &str, role: &str| {
            format!("  {name}: {{ name: The {name}, identities: {{ slack: {id} }}, roles: [{role}] }}\n")
        };
        let people = [("ana", ANA, "responder"), ("bo", BO, "responder"), ("cy", CY, "viewer")];
        let people: String = people.iter().map(|(name, id, role)| person(name, id, role)).collect();
        let escalation = format!(
            "people:\n{people}channels:\n  slack: {{ bot_token: {{ env: TEST_BOT }}, {ways}, api_url: \"http://127.0.0.1:{}/api\", \
             channel: \"#incidents\" }}\nschedules:\n  primary:\n    time_zone: Europe/Lisbon\n    layers:\n\
             \x20     - {{ rotation: [ana], every: 1 week, handoff: {{ day: mon, at: \"09:00\" }}, start: 2026-01-05 }}\n\
             policies:\n  default: {{ steps: [{{ notify: [channel: slack], wait: 1h }}], last_resort: [person: ana] }}\n\
             routes: [{{ policy: default }}]\n",
            slack.port
        );
        write(home.path(), "escalation.yaml", &escalation);
        let mut daemon = Self::daemon(&home);
        daemon.stands();
        Self { home, daemon, slack }
    }

    fn daemon(home: &tempfile::TempDir) -> Daemon {
        let mut up = command(&["up"]);
        up.envs([("TEST_BOT", "xoxb-0001-quell-test"), ("TEST_NEWER", SECRET), ("TEST_OLDER", OLDER)]);
        up.env("TEST_APP", APP_TOKEN);
        let path = |name: &str| home.path().join(name);
        Daemon::start(up, Some(&path("quell.yaml")), &path("state"), &path("log"))
    }

    /// The daemon is killed, and another starts.
    fn again(&mut self) {
        let before = self.listened().len();
        self.daemon.kill();
        self.daemon = Self::daemon(&self.home);
        self.daemon.stands();
        wait_until("it listens again", || self.listened().len() > before);
    }

    /// The ports at which it has listened, the last one last.
    fn listened(&self) -> Vec<u16> {
        let said = self.daemon.said();
        let lines = said.lines().filter(|line| line.contains("listens on TCP"));
        let digits = lines.filter_map(|line| line.split("127.0.0.1:").nth(1));
        digits.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()).collect()
    }

    fn port(&self) -> u16 {
        wait_until("it says where it listens", || !self.listened().is_empty());
        *self.listened().last().unwrap()
    }

    fn takes(&self, request: &Signed) -> u16 {
        exchange(self.port(), "POST", request.path, &request.headers, &request.body).0
    }

    /// Somebody clicks; what they are told.
    fn clicks(&self, user: &str, act: &str, mark: &str, hook: &str) -> String {
        assert_eq!(self.takes(&Signed::click(&click(user, act, mark, &self.slack.hook(hook)))), 200, "{hook}");
        self.slack.hears(hook)
    }

    /// Somebody uses `/quell`; what they are told.
    fn says(&self, user: &str, text: &str, hook: &str) -> String {
        let url = self.slack.hook(hook);
        let parts = [("command", "/quell"), ("text", text), ("user_id", user), ("response_url", url.as_str())];
        assert_eq!(self.takes(&Signed::of("/slack/commands", form(&parts))), 200, "{hook}");
        self.slack.hears(hook)
    }

    /// Something is seen; gives its incident.
    fn attacked(&self) -> String {
        let mut events = fs::File::options().append(true).open(self.home.path().join("events.jsonl")).unwrap();
        events.write_all(b"{\"Image\": \"/bin/quell-marked\", \"User\": \"ana\"}\n").unwrap();
        wait_until("an incident is opened", || !self.incidents().is_empty());
        self.incidents()[0]["id"].as_str().unwrap().to_owned()
    }

    fn incidents(&self) -> Vec<Value> {
        self.daemon.ask_json(&["incident", "list"]).as_array().unwrap().clone()
    }

    fn state(&self) -> Value {
        self.incidents()[0]["state"].clone()
    }

    fn story(&self, id: &str) -> String {
        self.daemon.ask(&["incident", "show", id]).ends(0).out
    }

    /// What the buttons of the one message carry, as Slack has it now, by the words of their acts.
    fn buttons(&self) -> Vec<(String, String)> {
        let state = self.slack.ask("GET", "/test/state", &json!({}));
        let Some(message) = state["messages"].as_array().unwrap().first() else { return Vec::new() };
        let actions = message["blocks"].as_array().unwrap().iter().filter(|block| block["type"] == "actions");
        let elements = actions.flat_map(|block| block["elements"].as_array().unwrap());
        let text = |of: &Value| of.as_str().unwrap().to_owned();
        elements.map(|button| (text(&button["action_id"]).replace("quell:", ""), text(&button["value"]))).collect()
    }

    /// What the button of this act carries, once it is there.
    fn button(&self, act: &str) -> String {
        let found = || self.buttons().into_iter().find(|(of, _)| of == act).map(|(_, mark)| mark);
        wait_until("the message has the button", || found().is_some());
        found().unwrap()
    }

    /// What a button of this generation carries, by this daemon's own key.
    fn mark(&self, id: &str, generation: u32) -> String {
        let key = MarkKey::new(marks_key(&self.daemon.state).unwrap());
        key.seal(&Mark { ladder: id.into(), generation, person: None })
    }
}

const SIGNED: &str = "signing_secret: [{ env: TEST_NEWER }, { env: TEST_OLDER }]";

#[test]
fn who_may_not_has_no_effect_and_is_told_so() {
    let night = Night::new(SIGNED);
    let id = night.attacked();
    let mark = night.mark(&id, 1);
    let said = night.clicks(STRANGER, "acknowledge", &mark, "stranger");
    assert!(said.contains(&format!("`{STRANGER}` of slack is nobody in escalation.yaml")), "{said}");
    assert_eq!(night.clicks(STRANGER, "resolve", &mark, "stranger-again").lines().next(), said.lines().next());
    let said = night.clicks(CY, "acknowledge", &mark, "viewer");
    assert!(said.contains("cy may not do that: no role of theirs has `ack`"), "{said}");
    let other = MarkKey::new([7; 32]).seal(&Mark { ladder: id.as_str().into(), generation: 1, person: None });
    for (hook, mark) in [("other-key", other.as_str()), ("no-mark", ""), ("cut", &mark[..mark.len() - 1])] {
        let said = night.clicks(ANA, "resolve", mark, hook);
        assert!(said.contains("none of this quell's: nothing was done"), "{said}");
    }
    let said = night.clicks(ANA, "choose:approve", &mark, "choice");
    assert!(said.contains("is nothing that can be said to incident"), "{said}");
    let said = night.clicks(ANA, "acknowledge", &night.mark("i-000000000000", 1), "no-incident");
    assert!(said.contains("there is no incident"), "{said}");
    assert_eq!(night.state(), "open", "nothing of it had an effect");
    let story = night.story(&id);
    let kept = story.lines().filter(|line| line.contains("an answer by slack had no effect"));
    assert_eq!(kept.count(), 3, "the stranger once for each thing, and cy: {story}");
    assert!(night.says(STRANGER, &format!("ack {id}"), "stranger-says").contains("is nobody in escalation.yaml"));
    let other = "U0STRANGER2";
    assert!(night.says(other, &format!("ack {id}"), "stranger-acks").contains("is nobody in escalation.yaml"));
    let story = night.story(&id);
    assert!(story.contains(&format!("slack {other} (unverified) wanted `acknowledge`")), "{story}");
    assert!(night.says(CY, &format!("ack {id}"), "viewer-says").contains("cy may not do that"));
    assert_eq!(night.state(), "open");
}

#[test]
fn one_of_two_wins_and_a_button_works_after_a_restart() {
    let mut night = Night::new(SIGNED);
    let id = night.attacked();
    // As the message has it.
    let mark = night.button("acknowledge");
    assert_eq!(mark, night.mark(&id, 1));
    let clicks = [("ana", ANA), ("bo", BO)]
        .map(|(name, user)| (name, Signed::click(&click(user, "acknowledge", &mark, &night.slack.hook(name)))));
    let at_once = &night;
    std::thread::scope(|scope| {
        for (_, request) in &clicks {
            scope.spawn(move || assert_eq!(at_once.takes(request), 200));
        }
    });
    let told = clicks.each_ref().map(|(name, _)| (*name, night.slack.hears(name)));
    let won = |said: &String| said.starts_with("you look after incident");
    assert_eq!(told.iter().filter(|(_, said)| won(said)).count(), 1, "{told:?}");
    let (winner, _) = told.iter().find(|(_, said)| won(said)).unwrap();
    let (loser, lost) = told.iter().find(|(_, said)| !won(said)).unwrap();
    assert!(lost.contains(&format!("{winner} looks after incident `{id}` already")), "{lost}");
    assert_eq!(night.incidents()[0]["acknowledged"]["by"], *winner);
    assert_eq!(night.incidents()[0]["acknowledged"]["via"], "slack");
    wait_until("the message is put right", || {
        let acts: Vec<String> = night.buttons().into_iter().map(|(act, _)| act).collect();
        acts == ["escalate", "resolve", "false-positive", "keep", "undo"]
    });

    // The very same request once more is answered, and does nothing.
    let (_, replayed) = clicks.iter().find(|(name, _)| name == loser).unwrap();
    night.daemon.ask(&["incident", "unack", &id]).ends(0);
    assert_eq!(night.takes(replayed), 200);
    // What is asked of a ladder that begins anew names another generation.
    let late = night.clicks(ANA, "acknowledge", &mark, "late");
    assert!(late.contains("has been raised anew since that was asked"), "{late}");
    assert_eq!((night.state(), night.slack.told(loser).len()), (json!("open"), 1));
    assert!(night.story(&id).contains("ana answered by slack what has been asked anew since"), "{}", night.story(&id));

    let mark = night.mark(&id, 2);
    // Caught by somebody, and sent again after a restart: nobody knows any more that it was done.
    let caught = Signed::click(&click(BO, "escalate", &mark, &night.slack.hook("caught")));
    let at = now();
    assert_eq!(night.takes(&caught), 200);
    night.slack.hears("caught");
    let mark = night.mark(&id, 3);
    wait_until("it is older than what may still be on its way", || now() > at + 3);
    night.again();
    assert_eq!(night.takes(&caught), 503);
    let said = night.clicks(BO, "resolve", &mark, "resolves");
    assert!(said.contains(&format!("you have resolved incident `{id}`")), "{said}");
    assert_eq!(night.state(), "resolved");
    wait_until("the message has no buttons any more", || night.buttons().is_empty());
    let again = night.clicks(ANA, "resolve", &mark, "resolves-again");
    assert!(again.contains("is resolved") && again.contains("by bo"), "whoever comes second learns who: {again}");
    let undo = night.clicks(ANA, "undo", &mark, "undo");
    assert!(undo.contains("is resolved"), "{undo}");
}

#[test]
fn what_an_incident_is_handed_on_and_known_as_no_attack_by_a_button() {
    let night = Night::new(SIGNED);
    let id = night.attacked();
    let said = night.clicks(ANA, "escalate", &night.mark(&id, 1), "escalate");
    assert!(said.contains("whoever is next is told"), "{said}");
    let (undo, keep) = (night.mark(&id, 2), night.mark(&id, 2));
    assert!(night.clicks(ANA, "undo", &undo, "undo").contains("stands and can be taken back"));
    assert!(night.clicks(ANA, "keep", &keep, "keep").contains("stands and can be kept"));
    let said = night.clicks(BO, "false-positive", &night.mark(&id, 2), "no-attack");
    assert!(said.contains("it was no attack") && said.contains("an exception is drafted"), "{said}");
    let shown = night.incidents().remove(0);
    assert_eq!((&shown["state"], &shown["false_positive"]["by"]), (&json!("resolved"), &json!("bo")));
    let exception = night.daemon.ask(&["incident", "show", &id, "--exception"]).ends(0).out;
    assert!(exception.contains("bo says by slack that it was no attack"), "{exception}");
}

#[test]
fn what_is_asked_by_a_command_is_told_to_whoever_asks() {
    let night = Night::new(SIGNED);
    assert_eq!(night.says(CY, "incident", "none"), "no incident is open");
    let id = night.attacked();
    let list = night.says(CY, "incident", "list");
    assert!(
        list.starts_with(&format!("{id}  high  open  &lt;!channel&gt; *wake* &lt;https://example.org|up&gt;")),
        "{list}"
    );
    let one = night.says(CY, &format!("incident {id}"), "one");
    assert!(one.contains("high  open\n") && !one.contains("<!channel>"), "{one}");
    assert!(night.says(CY, "incident i-none", "absent").contains("there is no incident `i-none`"));
    let who = night.says(CY, "who", "who");
    assert!(who.starts_with("primary: The ana until ") && who.contains("layer 1"), "{who}");
    assert!(night.says(CY, "who primry", "whom").contains("do you mean `primary`?"));
    assert!(night.says(CY, "stauts", "wrong").contains("do you mean `status`?"));
    assert!(night.says(CY, "", "help").contains("/quell ack ID"));
    let ack = night.says(BO, &format!("ack {id}"), "ack");
    assert_eq!(ack, format!("you look after incident `{id}`"));
    let again = night.says(ANA, &format!("ack {id}"), "ack-again");
    assert!(again.contains("bo looks after incident"), "{again}");
    let status = night.says(CY, "status", "status");
    assert!(status.starts_with("blind on ") && status.contains("1 incidents are open"), "{status}");
    // Where what is told goes nowhere, or elsewhere than to Slack, what was asked is done all the same.
    for (hook, url) in [("gone", night.slack.hook("gone")), ("elsewhere", "http://127.0.0.1:1/hooks/x".to_owned())] {
        let parts = [("text", "help"), ("user_id", ANA), ("response_url", url.as_str())];
        assert_eq!(night.takes(&Signed::of("/slack/commands", form(&parts))), 200, "{hook}");
    }
    wait_until("it is in the log", || night.daemon.said().contains("would not go to Slack"));
}

/// Rows of requests, with what Slack's own check says of each and what the daemon does.
#[test]
fn a_signature_holds_where_slacks_own_check_says_so() {
    let night = Night::new(SIGNED);
    let at = now();
    let row = |number: usize, secret: &str, at: String, spoil: &dyn Fn(&mut String, &mut String)| {
        let mut body = form(&[("user_id", ANA), ("text", "help"), ("n", &number.to_string())]);
        let mut signature = signed(secret, &at, &body);
        spoil(&mut body, &mut signature);
        (at, signature, body)
    };
    let seconds = |more: i64| at.checked_add_signed(more).unwrap().to_string();
    let fine = |_: &mut String, _: &mut String| {};
    let rows = [
        row(0, SECRET, seconds(0), &fine),
        row(1, SECRET, seconds(-200), &fine),
        row(2, SECRET, seconds(200), &fine),
        row(3, SECRET, seconds(-400), &fine),
        row(4, SECRET, seconds(400), &fine),
        row(5, "another", seconds(0), &fine),
        row(6, SECRET, "0".to_owned(), &fine),
        row(7, SECRET, "soon".to_owned(), &fine),
        row(8, SECRET, format!("{}.5", seconds(0)), &fine),
        row(9, SECRET, seconds(0), &|body, _| body.push('x')),
        row(10, SECRET, seconds(0), &|body, _| *body = body.replace("help", "hElp")),
        row(11, SECRET, seconds(0), &|_, signature| *signature = signature.to_uppercase()),
        row(12, SECRET, seconds(0), &|_, signature| *signature = signature.replace("v0=", "v1=")),
        row(13, SECRET, seconds(0), &|_, signature| signature.truncate(signature.len() - 1)),
        row(14, SECRET, seconds(0), &|_, signature| signature.clear()),
        row(15, SECRET, seconds(0), &|_, signature| signature.push('0')),
    ];
    let ours = rows.each_ref().map(|(at, signature, body)| {
        let headers = format!("X-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: {signature}\r\n");
        exchange(night.port(), "POST", "/slack/commands", &headers, body).0
    });
    // The second is as genuine, and from before this quell: it may have been done then.
    assert_eq!(ours[..3], [200, 503, 200]);
    assert_eq!(ours[3..], [401; 13]);
    // The secret of before holds too while it is named.
    let older = Signed::by(OLDER, at, "/slack/commands", form(&[("user_id", ANA), ("text", "help")]));
    assert_eq!(night.takes(&older), 200);
    assert_eq!(exchange(night.port(), "POST", "/slack/commands", "", "text=help&user_id=U1").0, 401);
    assert_eq!(exchange(night.port(), "GET", "/slack/commands", "", "").0, 405);
    // A signature is no token: the API's own routes stay closed.
    assert_eq!(exchange(night.port(), "GET", "/v1/status", &Signed::of("", String::new()).headers, "").0, 401);
    if !has_sdk("signatures against Slack's own check") {
        return;
    }
    let given: String = rows.iter().fold(String::new(), |mut text, (timestamp, signature, body)| {
        let row = json!({ "secret": SECRET, "now": at, "timestamp": timestamp, "signature": signature, "body": body });
        writeln!(text, "{row}").unwrap();
        text
    });
    let mut checks = python("socket_client.py");
    let mut checks = checks.arg("signatures").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    checks.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let said = checks.wait_with_output().unwrap();
    let theirs: Vec<bool> = String::from_utf8(said.stdout).unwrap().lines().map(|line| line == "yes").collect();
    assert_eq!(theirs, ours.map(|status| status != 401));
}

#[test]
fn socket_mode_brings_the_same_and_comes_back() {
    let night = Night::new("app_token: { env: TEST_APP }");
    let slack = &night.slack;
    let opened = || slack.links()["opened"].as_u64().unwrap();
    let open = || slack.links()["open"].as_array().unwrap().len();
    wait_until("a link is open", || open() == 1);
    let parts = form(&[("user_id", ANA), ("text", "help")]);
    assert_eq!(night.takes(&Signed::of("/slack/commands", parts)), 404, "there is no secret to sign with");
    let command = |user: &str, text: &str, hook: &str| {
        let payload = json!({ "command": "/quell", "text": text, "user_id": user, "response_url": slack.hook(hook) });
        json!({ "type": "slash_commands", "payload": payload })
    };
    let sent = slack.sends(&command(ANA, "help", "help"));
    assert!(slack.hears("help").contains("/quell ack ID"));
    assert_eq!(slack.acks(&sent), 1);

    let id = night.attacked();
    let clicked = |user: &str, act: &str, hook: &str| json!({ "type": "interactive", "payload": click(user, act, &night.mark(&id, 1), &slack.hook(hook)) });
    assert!({
        slack.sends(&clicked(STRANGER, "resolve", "stranger"));
        slack.hears("stranger").contains("is nobody in escalation.yaml")
    });
    let mut envelope = clicked(ANA, "acknowledge", "ana");
    let sent = slack.sends(&envelope);
    assert_eq!(slack.hears("ana"), format!("you look after incident `{id}`"));
    // Slack, which has heard no acknowledgement, sends it again: heard again, done once.
    envelope["envelope_id"] = json!(sent);
    slack.sends(&envelope);
    wait_until("it is acknowledged again", || slack.acks(&sent) == 2);
    let other = slack.sends(&json!({ "type": "events_api", "payload": {} }));
    wait_until("what is none of quell's is acknowledged too", || slack.acks(&other) == 1);

    // Slack wants another link: there is one before the first has gone.
    slack.ask("POST", "/test/socket/leave", &json!({ "reason": "warning" }));
    wait_until("another link is open", || open() == 2);
    slack.ask("POST", "/test/socket/leave", &json!({ "close": true }));
    wait_until("the first has gone", || open() == 1);
    slack.sends(&command(ANA, "who", "who"));
    assert!(slack.hears("who").starts_with("primary: "));
    assert_eq!(opened(), 2, "no more than there is need of");
    // It is lost: it comes back by itself.
    slack.ask("POST", "/test/socket/leave", &json!({ "cut": true }));
    wait_until("a third link is open", || opened() == 3 && open() == 1);
    slack.sends(&command(ANA, "status", "status"));
    assert!(slack.hears("status").contains("1 incidents are open"));
    assert_eq!(slack.told("ana").len(), 1);
    assert_eq!(slack.links()["strange"], json!([]));
    assert!(!night.daemon.said().contains("ticket="), "an address of a link is a secret");

    // Slack's own client takes the same stand-in for Slack.
    let Night { daemon, slack, home } = night;
    daemon.end();
    wait_until("its link ended with it", || slack.links()["open"] == json!([]));
    if has_sdk("Socket Mode against Slack's own client") {
        let url = format!("http://127.0.0.1:{}", slack.port);
        let drove = python("socket_client.py").args(["link", &url]).output().unwrap();
        assert!(drove.status.success(), "{}", String::from_utf8_lossy(&drove.stderr));
        assert_eq!(drove.stdout, b"ok\n");
    }
    drop(home);
}
