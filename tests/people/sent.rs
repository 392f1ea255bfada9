//! What playbooks send: the real daemon, a mail server, a stand-in of Slack and a receiver of HTTP.

use super::standin::StandIn;
use super::webhooks::{Receiver, SECRET};
use super::*;

/// What is sent with a request, and stands nowhere.
const TICKET: &str = "T1CKET-0001-s3cret";

/// All five verbs, about a title that an attacker has written.
fn playbook(port: u16) -> String {
    format!(
        r#"
playbook: send-all
on: {{ detections: {{ rules: [marked], level: high }} }}
mode: enforce
steps:
  say: {{ action: slack.post, with: {{ text: "seen: ${{{{ detection.title }}}}\n<!channel> look" }} }}
  reply:
    needs: [say]
    action: slack.post
    with: {{ channel: "${{{{ steps.say.channel }}}}", thread: "${{{{ steps.say.ts }}}}", text: "in its thread" }}
  mail:
    action: email.send
    with: {{ to: [ana, soc@example.org], subject: "${{{{ detection.title }}}}", text: "<b>one</b>\ntwo" }}
  robot:
    action: webhook.post
    with: {{ webhook: robot, title: "${{{{ detection.title }}}}", text: told, level: critical, data: {{ count: 1 }} }}
  ticket:
    action: http.request
    with:
      url: "http://127.0.0.1:{port}/tickets"
      method: POST
      headers: {{ X-From: quell }}
      bearer: "${{{{ secrets.ticket_token }}}}"
      json: {{ title: "${{{{ detection.title }}}}" }}
      expect: [201]
  put_right:
    needs: [reply, ticket]
    action: slack.update
    with:
      channel: "${{{{ steps.say.channel }}}}"
      ts: "${{{{ steps.say.ts }}}}"
      text: "ticket ${{{{ steps.ticket.json?.id ?? \"none\" }}}}"
"#
    )
}

/// One step that asks this, and gives what it got.
fn asks(url: &str) -> String {
    format!(
        "playbook: ask\non: {{ detections: {{ rules: [marked], level: high }} }}\nmode: enforce\nsteps:\n  \
         ask: {{ action: http.request, with: {{ url: \"{url}\" }} }}\n"
    )
}

fn config(mode: &str, port: u16, private: bool) -> String {
    let dirs = format!("mode: {mode}\nplaybooks: {{ shipped: false, dirs: [playbooks] }}");
    let config =
        CONFIG.replace("playbooks: { shipped: false }", &dirs).replace("path: events", "trusted: true, path: events");
    let row = |host: &str| {
        format!("{{ host: \"{host}:{port}\", secrets: [ticket_token], private: {private}, methods: [GET, POST] }}")
    };
    format!(
        "{config}secrets: {{ ticket_token: {{ file: ticket }} }}\nguard: {{ only_within: {{ cgroup: /quell-nowhere }} }}\n\
         http: {{ allow: [{}, {}] }}\n",
        row("127.0.0.1"),
        row("localhost")
    )
}

fn escalation(slack: u16, receiver: u16) -> String {
    format!(
        "people: {{ ana: {{ identities: {{ email: ana@example.org }}, roles: [admin] }} }}\nchannels:\n  console: {{}}\n  \
         email: {{ smtp: {{ env: TEST_SMTP }}, from: quell@example.org }}\n  \
         slack: {{ bot_token: {{ env: TEST_SLACK }}, signing_secret: {{ env: TEST_SLACK }}, \
         api_url: \"http://127.0.0.1:{slack}/api\", channel: \"#incidents\" }}\n  \
         webhooks:\n    robot: {{ template: json, url: \"http://127.0.0.1:{receiver}/in/hunter2\", secret: {{ file: secret }} }}\n\
         policies:\n  default: {{ steps: [{{ notify: [channel: console], wait: 1h }}], last_resort: [channel: console] }}\n\
         routes: [{{ policy: default }}]\n"
    )
}

/// Everybody that something is sent to, and a daemon with this playbook.
struct Scene {
    slack: StandIn,
    receiver: Receiver,
    night: Night,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new(mode: &str, private: bool, playbook: impl Fn(u16) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (slack, receiver) = (StandIn::start(0), Receiver::start(dir.path(), &[]));
        let text = playbook(receiver.port);
        let files = [("playbooks/p.yaml", text.as_str()), ("secret", SECRET), ("ticket", TICKET)];
        let night = Night::with(&escalation(slack.port, receiver.port), &config(mode, receiver.port, private), &files);
        Self { slack, receiver, night, _dir: dir }
    }

    /// Something is seen now: what is old asks first.
    fn attacked(&self) {
        let mut events = fs::File::options().append(true).open(self.night.home.path().join("events.jsonl")).unwrap();
        let now = jiff::Timestamp::now();
        writeln!(events, "{{\"@timestamp\": \"{now}\", \"Image\": \"/bin/quell-marked\", \"User\": \"ana\"}}").unwrap();
    }

    /// The one run, once it is over.
    fn run(&self) -> Value {
        let state = || self.night.daemon.ask_json(&["run", "list"])[0]["state"].clone();
        wait_until("the run is over", || ["succeeded", "failed"].iter().any(|over| state() == *over));
        let runs = self.night.daemon.ask_json(&["run", "list"]);
        self.night.daemon.ask_json(&["run", "show", runs[0]["id"].as_str().unwrap()])
    }

    /// Whether any file of the data directory has this.
    fn is_written(&self, text: &str) -> bool {
        let mut folders = vec![self.night.daemon.state.clone()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if fs::read(&path)
                    .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
                {
                    return true;
                }
            }
        }
        false
    }
}

fn step<'r>(run: &'r Value, id: &str) -> &'r Value {
    run["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap()
}

#[test]
fn a_playbook_says_mails_posts_and_asks_and_no_secret_is_written_down() {
    let scene = Scene::new("enforce", true, playbook);
    let server = scene.night.serves();
    scene.attacked();
    let run = scene.run();
    assert_eq!(run["state"], "succeeded", "{run:#}");

    let heads = scene.slack.heads();
    let [head] = &heads[..] else { panic!("{heads:#?}") };
    assert_eq!((&head["channel"], &head["text"]), (&json!("C0INCIDENT"), &json!("ticket 7")));
    assert_eq!(head["before"][0]["blocks"][0]["text"]["type"], "plain_text");
    let before = head["before"][0]["text"].as_str().unwrap();
    assert!(
        before.starts_with("seen: &lt;script&gt;x&lt;/script&gt; shell") && before.contains("&lt;!channel&gt; look"),
        "{before}"
    );
    assert_eq!(scene.slack.thread(head)[0]["text"], "in its thread");

    let mails = server.mails();
    let [mail] = &mails[..] else { panic!("{mails:#?}") };
    assert_eq!(mail["to"], json!(["ana@example.org", "soc@example.org"]));
    assert!(mail["subject"].as_str().unwrap().starts_with("<script>x</script> shell"), "{mail}");
    assert!(!mail["headers"].to_string().contains("Bcc") && !mail["html"].as_str().unwrap().contains("<b>"), "{mail}");
    assert_eq!(step(&run, "mail")["output"]["message_id"], mail["id"]);

    let robot = scene.receiver.at("/in/hunter2").remove(0);
    assert_eq!((&robot["signed"], &robot["body"]["data"]), (&json!(true), &json!({ "count": 1 })));
    assert_eq!((&robot["body"]["level"], &robot["body"]["kind"]), (&json!("critical"), &json!("message")));
    assert_eq!(robot["headers"]["idempotency-key"], robot["body"]["key"]);

    let ticket = scene.receiver.at("/tickets").remove(0);
    assert_eq!((&ticket["method"], &ticket["headers"]["x-from"]), (&json!("POST"), &json!("quell")));
    assert_eq!(ticket["headers"]["authorization"], format!("Bearer {TICKET}"));
    // What answers repeats the secret, and it is not told.
    let output = &step(&run, "ticket")["output"];
    assert_eq!((&output["status"], &output["json"]), (&json!(201), &json!({ "id": 7, "by": "Bearer ***" })));
    for secret in [TICKET, "xoxb-0001-quell-test", SECRET] {
        assert!(!run.to_string().contains(secret) && !scene.is_written(secret), "{secret}");
    }
    assert!(scene.is_written("ticket_token"), "the name is");
}

#[test]
fn in_observe_nothing_is_sent_and_the_plan_says_what_would_be() {
    let scene = Scene::new("observe", true, playbook);
    let server = scene.night.serves();
    scene.attacked();
    let run = scene.run();
    assert_eq!(run["state"], "succeeded", "{run:#}");
    let call = |id: &str| step(&run, id)["plan"]["calls"][0].clone();
    assert_eq!(call("say")["channel"], "#incidents");
    assert!(call("say")["text"].as_str().unwrap().ends_with("\n<!channel> look"), "{}", call("say"));
    assert_eq!(call("mail")["to"], json!(["ana@example.org", "soc@example.org"]));
    assert_eq!((&call("robot")["template"], &call("robot")["webhook"]), (&json!("json"), &json!("robot")));
    assert_eq!(call("ticket")["bearer"], json!({ "secret": "ticket_token" }));
    assert_eq!(call("put_right")["text"], "ticket none");
    assert!(run["steps"].as_array().unwrap().iter().all(|step| step["plan"].get("would_fail").is_none()), "{run:#}");
    assert!(scene.slack.messages().is_empty() && server.mails().is_empty() && scene.receiver.got().is_empty());
}

/// What the one step of such a playbook was refused with; nothing was asked.
fn refused(private: bool, url: impl Fn(u16) -> String) -> (String, Value) {
    let scene = Scene::new("enforce", private, |port| asks(&url(port)));
    scene.attacked();
    let run = scene.run();
    let ask = step(&run, "ask").clone();
    assert_eq!(ask["outcome"], "failed", "{run:#}");
    assert!(scene.receiver.got().iter().all(|got| got["path"] != "/elsewhere"), "{:?}", scene.receiver.got());
    (ask["proof"].to_string(), json!(scene.receiver.got()))
}

#[test]
fn a_host_that_is_not_allowed_or_leads_to_this_machine_is_asked_nothing_and_no_redirection_is_followed() {
    let (why, got) = refused(false, |port| format!("https://127.0.0.1:{port}/x"));
    assert!(why.contains("no address of the public net") && got == json!([]), "{why}");
    // A name says nothing of itself: what it leads to does.
    let (why, got) = refused(false, |port| format!("https://localhost:{port}/x"));
    assert!(why.contains("here, which is no address of the public net") && got == json!([]), "{why}");
    let (why, got) = refused(true, |_| "http://127.0.0.1:9/x".to_owned());
    assert!(why.contains("no host that may be asked") && got == json!([]), "{why}");
    let (why, got) = refused(true, |port| format!("http://127.0.0.1:{port}/moved"));
    assert!(why.contains("302") && got.as_array().unwrap().len() == 1, "{why} {got}");
}

#[test]
fn a_reload_changes_what_may_be_asked_and_where_things_are_said() {
    let scene = Scene::new("enforce", false, |port| asks(&format!("http://127.0.0.1:{port}/x")));
    scene.attacked();
    let run = scene.run();
    assert!(step(&run, "ask")["proof"].to_string().contains("by https alone"), "{run:#}");
    let file = scene.night.home.path().join("quell.yaml");
    let text = fs::read_to_string(&file).unwrap().replace("private: false", "private: true");
    fs::write(&file, text).unwrap();
    scene.night.daemon.signal(rustix::process::Signal::HUP);
    wait_until("it is reloaded", || scene.night.daemon.said().contains("reloaded"));
    scene.night.daemon.ask(&["run", "retry", run["id"].as_str().unwrap()]).ends(0);
    wait_until("it is asked", || scene.receiver.at("/x").len() == 1);
}

/// Tells the robot something, however often it takes.
const TELLS: &str = "playbook: tells\non: { detections: { rules: [marked], level: high } }\nmode: enforce\nsteps:\n  \
    robot: { action: webhook.post, with: { webhook: robot, title: t, text: told }, retry: { attempts: 20, backoff: 200ms..1s } }\n";

#[test]
fn what_a_webhook_may_have_taken_is_sent_again_under_the_same_key() {
    let scene = Scene::new("enforce", true, |_| TELLS.to_owned());
    scene.receiver.refuses(true);
    scene.attacked();
    wait_until("it was told twice", || scene.receiver.at("/in/hunter2").len() >= 2);
    scene.receiver.refuses(false);
    let run = scene.run();
    assert_eq!(step(&run, "robot")["outcome"], "done", "{run:#}");
    let told = scene.receiver.at("/in/hunter2");
    let key = &told[0]["headers"]["idempotency-key"];
    assert!(key.is_string() && told.iter().all(|one| one["headers"]["idempotency-key"] == *key), "{told:#?}");
}

/// Says something, and mails it, whatever became of that.
const TWO: &str = "playbook: two\non: { detections: { rules: [marked], level: high } }\nmode: enforce\nsteps:\n  \
    say: { action: slack.post, with: { text: once } }\n  \
    mail: { needs: [say], when: always, action: email.send, with: { to: [ana], subject: s, text: t } }\n";

#[test]
fn a_kill_between_intent_and_outcome_says_nothing_twice_and_mails_under_one_id() {
    let (mut left_open, mut mailed_twice) = (0, 0);
    for at in 1.. {
        let mut scene = Scene::new("enforce", true, |_| TWO.to_owned());
        let server = scene.night.serves();
        scene.night.daemon.kill();
        scene.attacked();
        let home = scene.night.home.path();
        let mut up = command(&["up"]);
        up.env("TEST_SMTP", format!("smtp://127.0.0.1:{}", scene.night.port)).env("TEST_SLACK", "xoxb-0001-quell-test");
        up.env("QUELL_DIE_AT", format!("before:{at}"));
        let mut daemon = Daemon::start(up, Some(&home.join("quell.yaml")), &home.join("state"), &home.join("log"));
        let is_over = |daemon: &Daemon| {
            let list = daemon.get("/runs");
            list.is_some_and(|list| ["succeeded", "failed"].iter().any(|over| list["items"][0]["state"] == *over))
        };
        let mut died = None;
        wait_until("the daemon dies, or the run is over", || {
            died = if daemon.ended().is_some() { Some(true) } else { is_over(&daemon).then_some(false) };
            died.is_some()
        });
        drop(daemon);
        if died == Some(false) {
            break;
        }
        scene.night.again();
        wait_until("the run is over", || is_over(&scene.night.daemon));
        let run = scene.run();
        let (messages, mails) = (scene.slack.messages(), server.mails());
        assert!(messages.len() <= 1, "at {at}: it was said twice: {messages:#?}");
        let say = step(&run, "say");
        if say["outcome"] == "failed" {
            assert!(say["proof"].to_string().contains("outcome unknown"), "at {at}: {say:#}");
            left_open += usize::from(messages.len() == 1);
        }
        assert!(!mails.is_empty() && mails.iter().all(|mail| mail["id"] == mails[0]["id"]), "at {at}: {mails:#?}");
        assert_eq!(step(&run, "mail")["outcome"], "done", "at {at}: {run:#}");
        mailed_twice += usize::from(mails.len() == 2);
        assert!(at < 60, "a story has an end");
    }
    assert!(left_open > 0 && mailed_twice > 0, "no kill between: {left_open} {mailed_twice}");
}
