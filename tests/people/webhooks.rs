//! What wakes people, and the dead man's switch: the real daemon against a receiver of HTTP, whose Python verifies what is signed,
//! and which PagerDuty's own client takes for PagerDuty in the same run.

use super::*;
use quell_actions::notify::http::{Ask, Broken, Client, Target};
use quell_engine::store::Journal;
use quell_model::notice::Receipt;
use quell_model::record::{NewRecord, PageReceipted, PageState};
use quell_model::{Batch, Body, Durability, LadderId, Secret, StreamId};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub(super) const SECRET: &str = "swordfish-0001";

/// A receiver of the test's own; it ends with it.
pub(super) struct Receiver {
    child: Child,
    out: PathBuf,
    pub(super) port: u16,
}

fn python(script: &str) -> Command {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    // With what `scripts/setup test` keeps for it; nothing is compiled into the tree.
    let mut command = Command::new("/usr/bin/python3");
    let script = format!("{}/tests/people/{script}", env!("CARGO_MANIFEST_DIR"));
    command.args(["-B", &script]).env("PYTHONPATH", cache.join("quell/tools/pagerduty")).stdin(Stdio::null());
    command
}

impl Receiver {
    pub(super) fn start(dir: &Path, tls: &[&Path]) -> Self {
        let out = dir.join("received");
        let mut command = python("receiver.py");
        command.arg(&out).arg(SECRET).args(tls).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let port = said.strip_prefix("ready ").unwrap_or_else(|| panic!("it did not start: {said}"));
        Self { child, out, port: port.trim().parse().unwrap() }
    }

    pub(super) fn got(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.out).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn at(&self, path: &str) -> Vec<Value> {
        self.got().into_iter().filter(|got| got["path"] == path).collect()
    }

    pub(super) fn refuses(&self, refuses: bool) {
        let file = self.out.with_extension("refuses");
        if refuses { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn escalation(port: u16, beat: &str) -> String {
    format!(
        "people:\n  ana: {{ email: ana@example.org, roles: [responder], wake: {{ webhook: phone }} }}\n  \
         bo: {{ email: bo@example.org, wake: {{ webhook: pager }} }}\n  lead: {{ email: lead@example.org, wake: {{ webhook: robot }} }}\n\
         channels:\n  email: {{ smtp: {{ env: TEST_SMTP }}, from: quell@example.org }}\n{beat}  webhooks:\n    \
         phone: {{ template: ntfy, url: \"http://127.0.0.1:{port}/hunter2\" }}\n    \
         pager: {{ template: pagerduty, url: \"http://127.0.0.1:{port}/v2/enqueue\", secret: {{ file: routing }} }}\n    \
         robot: {{ template: json, url: \"http://127.0.0.1:{port}/in/hunter2\", secret: {{ file: secret }} }}\n\
         policies:\n  default:\n    steps:\n      - {{ notify: [person: ana, person: bo, person: lead], by: [wake], wait: 1h }}\n    \
         last_resort: [person: lead]\nroutes: [{{ policy: default }}]\n"
    )
}

fn night(receiver: &Receiver, beat: &str) -> Night {
    let files = [("routing", "R0UT1NG"), ("secret", SECRET)];
    let config = format!("{CONFIG}public_url: https://quell.example.org\n");
    Night::with(&escalation(receiver.port, beat), &config, &files)
}

fn keys(event: &Value) -> BTreeSet<&str> {
    event.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn each_is_woken_in_its_own_words_and_pagerduty_learns_of_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(dir.path(), &[]);
    let night = night(&receiver, "");
    let id = night.attacked();
    wait_until("all three are woken", || receiver.got().len() == 3);
    let (phone, pager, robot) = (receiver.at("/"), receiver.at("/v2/enqueue"), receiver.at("/in/hunter2"));
    let message = &phone[0]["body"];
    assert_eq!((&message["topic"], &message["priority"]), (&json!("hunter2"), &json!(4)));
    assert!(message["title"].as_str().unwrap().starts_with("[high] <script>x</script> shell"), "{message}");
    assert!(message["click"].as_str().unwrap().starts_with("https://quell.example.org/answer/q1."), "{message}");
    let event = &pager[0]["body"];
    assert_eq!((&event["event_action"], &event["routing_key"]), (&json!("trigger"), &json!("R0UT1NG")));
    let told = &robot[0];
    assert_eq!((&told["signed"], &told["body"]["incident"]), (&json!(true), &json!(id)), "{told}");
    assert_eq!(told["headers"]["idempotency-key"], told["body"]["key"]);
    wait_until("that is written", || night.story(&id).matches("was handed on").count() == 2);
    assert!(night.story(&id).contains("the page to bo by the webhook pager was delivered"), "{}", night.story(&id));

    night.daemon.ask(&["incident", "ack", &id]).ends(0);
    wait_until("the alert is acknowledged", || receiver.at("/v2/enqueue").len() == 2);
    night.daemon.ask(&["incident", "resolve", &id, "--why", "rebuilt"]).ends(0);
    wait_until("all are told of the end", || receiver.got().len() == 7);
    let actions: Vec<Value> =
        receiver.at("/v2/enqueue").iter().map(|got| got["body"]["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    let keys: BTreeSet<String> =
        receiver.at("/v2/enqueue").iter().map(|got| got["body"]["dedup_key"].to_string()).collect();
    assert_eq!(keys.len(), 1, "it is one alert");
    assert_eq!(receiver.at("/")[1]["body"]["priority"], 2);
    assert_eq!(receiver.at("/in/hunter2")[1]["body"]["state"], "over");
    assert!(receiver.at("/in/hunter2").iter().all(|got| got["signed"] == true));
}

#[test]
fn what_fails_is_told_without_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(dir.path(), &[]);
    receiver.refuses(true);
    let night = night(&receiver, "");
    let id = night.attacked();
    let host = format!("127.0.0.1:{}", receiver.port);
    wait_until("each has failed once", || night.story(&id).matches(&format!("{host} said 500")).count() >= 3);
    receiver.refuses(false);
    wait_until("each was told after all", || {
        let story = night.story(&id);
        story.matches("was handed on").count() == 2 && story.contains("was delivered")
    });
    // The phone may have rung before, and says so; the others know a key.
    assert!(receiver.at("/").last().unwrap()["body"]["title"].as_str().unwrap().starts_with("(repeat) "));
    let robot = receiver.at("/in/hunter2");
    assert_eq!(
        (&robot[0]["body"]["key"], &robot[0]["body"]["repeat"]),
        (&robot.last().unwrap()["body"]["key"], &json!(false))
    );
    let said = night.daemon.said() + night.story(&id).as_str();
    assert!(said.contains("said 500") && !said.contains("hunter2"), "{said}");
}

#[test]
fn pagerdutys_own_client_sends_what_quell_sends() {
    let known = python("pagerduty_client.py").arg("").output().unwrap();
    let known = !String::from_utf8_lossy(&known.stderr).contains("ModuleNotFoundError");
    if !known {
        eprintln!("NOT TESTED: PagerDuty's own client against the receiver: `pagerduty` is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(dir.path(), &[]);
    let ran = python("pagerduty_client.py").arg(format!("http://127.0.0.1:{}", receiver.port)).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let theirs = receiver.at("/v2/enqueue");
    let night = night(&receiver, "");
    let id = night.attacked();
    wait_until("the alert is there", || receiver.at("/v2/enqueue").len() == 4);
    night.daemon.ask(&["incident", "ack", &id]).ends(0);
    wait_until("it is acknowledged", || receiver.at("/v2/enqueue").len() == 5);
    night.daemon.ask(&["incident", "resolve", &id, "--why", "rebuilt"]).ends(0);
    wait_until("it is resolved", || receiver.at("/v2/enqueue").len() == 6);
    let ours = receiver.at("/v2/enqueue").split_off(3);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let (ours, theirs) = (&ours["body"], &theirs["body"]);
        assert_eq!(ours["event_action"], theirs["event_action"]);
        // Their client has it in a header or in the body.
        let without = |event: &Value| {
            let mut event = event.clone();
            event
                .as_object_mut()
                .unwrap()
                .retain(|key, _| !["routing_key", "client", "images"].contains(&key.as_str()));
            event
        };
        let (ours, theirs) = (without(ours), without(theirs));
        assert_eq!(keys(&ours), keys(&theirs), "{ours}\n{theirs}");
        if ours["event_action"] == "trigger" {
            // The moment is PagerDuty's own where none is given; these two are ours beside.
            let payload = |event: &Value, leave: &[&str]| {
                let all = keys(&event["payload"]).into_iter().filter(|key| !leave.contains(key));
                all.map(str::to_owned).collect::<BTreeSet<String>>()
            };
            assert_eq!(payload(&ours, &["group", "class"]), payload(&theirs, &["timestamp"]), "{ours}\n{theirs}");
            assert_eq!(keys(&ours["links"][0]), keys(&theirs["links"][0]));
        }
    }
}

#[test]
fn a_dead_mans_switch_is_told_as_long_as_all_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(dir.path(), &[]);
    let beat = format!("  beat: {{ url: \"http://127.0.0.1:{}/beat/hunter2\", every: 1s }}\n", receiver.port);
    let night = night(&receiver, &beat);
    let beats = || receiver.at("/beat/hunter2");
    let status = || night.daemon.status()["beat"].clone();
    wait_until("it is told again and again", || beats().len() >= 3);
    assert_eq!(beats()[0]["method"], "GET");
    assert!(status()["told"].is_string() && status()["held"].is_null() && status()["every_s"] == 1, "{}", status());

    receiver.refuses(true);
    wait_until("that it cannot be told is told", || status()["failed"].is_string());
    let why = status()["failed"].as_str().unwrap().to_owned();
    assert!(why.contains("said 500") && !why.contains("hunter2"), "{why}");
    receiver.refuses(false);
    wait_until("it is told again", || status()["failed"].is_null());

    let id = night.attacked();
    wait_until("all three are woken", || receiver.got().iter().filter(|got| got["method"] == "POST").count() >= 3);
    let holder = rusqlite::Connection::open(night.home.path().join("state/journal.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    night.daemon.ask(&["incident", "note", &id, "the disk is full"]);
    wait_until("it is held", || status()["held"].is_string());
    let shown = night.daemon.ask(&["status"]).out;
    assert!(shown.contains("HELD, not all is well") && shown.contains("the journal takes nothing"), "{shown}");
    let (told, since) = (beats().len(), Instant::now());
    wait_until("three beats would have come", || since.elapsed() > Duration::from_secs(3));
    assert_eq!(beats().len(), told);
    holder.execute_batch("ROLLBACK").unwrap();
    wait_until("it is told again", || beats().len() > told && status()["held"].is_null());
    let said = night.daemon.said();
    assert!(said.contains("the dead man's switch is not told") && !said.contains("hunter2"), "{said}");
}

fn ladder_of(id: &str) -> StreamId {
    StreamId::ladder(&LadderId::from(id))
}

/// A move of its ladder that is silent of two whom its step names, as if the ladder had a mistake. Of a daemon that has ended.
fn leaves_two_out(state: &Path, id: &str) {
    let (journal, stream) = (Journal::open(state).unwrap(), ladder_of(id));
    let records = journal.read(&stream, 1).unwrap();
    let moved = records.iter().find_map(|record| match &record.body {
        Body::LadderMoved(moved) => Some((**moved).clone()),
        _ => None,
    });
    let (mut moved, last) = (moved.unwrap(), records.last().unwrap());
    assert_eq!(moved.pages.len(), 3);
    moved.pages.truncate(1);
    let (key, state) = (moved.pages[0].key.clone(), PageState::Sent(Receipt::Handed { reference: None }));
    let receipted = PageReceipted { key, attempt: 1, state, instead: Vec::new(), together: None };
    let records = vec![NewRecord::new(last.at, moved), NewRecord::new(last.at, receipted)];
    journal.written(Batch { stream, expected: last.seq, records, durability: Durability::Synced }).unwrap();
    journal.close();
}

/// The engine answers and the journal takes records: the auditor alone is not content.
#[test]
fn a_dead_mans_switch_is_not_told_while_the_auditor_finds_a_difference() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(dir.path(), &[]);
    let beat = format!("  beat: {{ url: \"http://127.0.0.1:{}/beat\", every: 1s }}\n", receiver.port);
    let mut night = night(&receiver, &beat);
    let beats = || receiver.at("/beat").len();
    let woken = || receiver.got().iter().filter(|got| got["method"] == "POST").count();
    let id = night.attacked();
    wait_until("all three are woken", || woken() == 3);
    wait_until("that is written", || {
        let story = night.story(&id);
        story.matches("was handed on").count() == 2 && story.contains("was delivered")
    });
    wait_until("it is told", || beats() > 0);
    night.daemon.kill();
    leaves_two_out(&night.daemon.state, &id);
    night.again();
    wait_until("it is held", || night.daemon.status()["beat"]["held"].is_string());
    let status = night.daemon.status();
    let why = status["beat"]["held"].as_str().unwrap();
    assert!(why.contains(&id) && why.contains("is named by its policy"), "{why}");
    assert_eq!((&status["audit"]["content"], &status["journal"]["trouble"]), (&json!(false), &Value::Null), "{status}");
    let (told, since) = (beats(), Instant::now());
    wait_until("three beats would have come", || since.elapsed() > Duration::from_secs(4));
    assert_eq!(beats(), told);
    assert!(night.daemon.status()["beat"]["told"].is_null(), "{}", night.daemon.status()["beat"]);
    let shown = night.daemon.ask(&["status"]).out;
    assert!(shown.contains("HELD, not all is well") && shown.contains("NOT ALL that should have been"), "{shown}");

    // What nobody is told of any more owes nothing.
    night.daemon.ask(&["incident", "resolve", &id, "--why", "rebuilt"]).ends(0);
    wait_until("its ladder is closed", || {
        let journal = Journal::open_read_only(&night.daemon.state).unwrap();
        !journal.open_streams().unwrap().contains(&ladder_of(&id))
    });
    night.again();
    wait_until("it is told again", || beats() > told);
    assert_eq!(night.daemon.status()["beat"]["held"], Value::Null);
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_sent_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let receiver = Receiver::start(dir.path(), &[cert.as_path(), key.as_path()]);
    let to = Target::of(&Secret::new(format!("https://127.0.0.1:{}/in", receiver.port))).unwrap();
    let ask = Ask { method: hyper::Method::GET, headers: Vec::new(), body: Vec::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let broken = runtime.block_on(Client::new().unwrap().ask(&to, ask)).unwrap_err();
    assert!(matches!(&broken, Broken::Unsent(why) if why.contains("no TLS came about")), "{broken:?}");
    assert_eq!(receiver.got(), [] as [Value; 0]);

    // The same, trusted by the machine: as the daemon is told it.
    let beat = format!("  beat: {{ url: \"https://127.0.0.1:{}/beat\", every: 1s }}\n", receiver.port);
    let home = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("quell.yaml", CONFIG.to_owned()),
        ("events.jsonl", String::new()),
        ("rules/marked.yml", RULE.to_owned()),
        ("routing", "R0UT1NG".to_owned()),
        ("secret", SECRET.to_owned()),
        ("escalation.yaml", escalation(receiver.port, &beat)),
    ] {
        crate::cli::write(home.path(), file, &text);
    }
    let mut up = command(&["up"]);
    up.env("SSL_CERT_FILE", &cert).env("TEST_SMTP", "smtp://127.0.0.1:9");
    let mut daemon =
        Daemon::start(up, Some(&home.path().join("quell.yaml")), &home.path().join("state"), &home.path().join("log"));
    daemon.stands();
    wait_until("the beat comes by TLS", || !receiver.at("/beat").is_empty());
}
