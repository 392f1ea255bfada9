//! People are told: the real daemon, a real mail server, and mails read back as a mail client reads them.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

#[cfg(feature = "slack")]
mod asked;
mod deaths;
#[cfg(feature = "slack")]
mod inward;
mod links;
mod login;
mod playbooks;
#[cfg(feature = "slack")]
mod refused;
#[cfg(all(feature = "email", feature = "slack"))]
mod sent;
mod ships;
#[cfg(feature = "slack")]
mod signed;
#[cfg(feature = "slack")]
mod slack;
#[cfg(feature = "slack")]
mod standin;
#[cfg(feature = "slack")]
mod talks;
#[cfg(feature = "webhook")]
mod webhooks;
#[cfg(all(feature = "slack", feature = "ebpf"))]
mod whole;

use crate::cli::{command, wait_until};
use crate::daemon::Daemon;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Of hostile words: they are in the rule's title and in the unit's name.
const RULE: &str = "title: \"<script>x</script> shell\\nBcc: all@example.org\"\nname: marked\nstatus: test\nlevel: high\n\
    logsource: { product: linux, category: process_creation }\n\
    detection:\n  image: { Image|endswith: /quell-marked }\n  condition: image\n";

const CONFIG: &str = "playbooks: { shipped: false }\nrules: { shipped: false, dirs: [rules] }\n\
    sources: { sensor: { enabled: false }, files: [{ format: plain, path: events.jsonl }] }\nescalation: escalation.yaml\n";

/// What Slack signs with, and what it signed with before.
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const OLDER: &str = "the secret of before";

/// A mail server of the test's own; it ends with it.
struct Server {
    child: Child,
    out: PathBuf,
}

impl Server {
    fn start(dir: &Path, port: u16) -> Self {
        Self::start_with(dir, port, &[])
    }

    /// With what its script takes beside.
    fn start_with(dir: &Path, port: u16, more: &[&str]) -> Self {
        let out = dir.join("mails");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/people/server.py");
        // Debian's own, for which `scripts/setup test` installs aiosmtpd.
        let mut child = Command::new("/usr/bin/python3")
            .args([script, &port.to_string(), out.to_str().unwrap()])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "aiosmtpd did not start");
        Self { child, out }
    }

    /// What has come, as a mail client reads it.
    fn mails(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.out).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Those to this address.
    fn to(&self, address: &str) -> Vec<Value> {
        self.mails().into_iter().filter(|mail| mail["to"] == json!([address])).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A daemon with these people and steps, and what it works in.
struct Night {
    home: tempfile::TempDir,
    daemon: Daemon,
    port: u16,
}

impl Night {
    fn new(escalation: &str) -> Self {
        Self::with(escalation, CONFIG, &[])
    }

    /// With this configuration, and more files.
    fn with(escalation: &str, config: &str, files: &[(&str, &str)]) -> Self {
        let (home, port) = (tempfile::tempdir().unwrap(), free_port());
        let put = |file: &str, text: &str| {
            let path = home.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            // A secret that others can read is none.
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        };
        put("rules/marked.yml", RULE);
        put("events.jsonl", "");
        put("quell.yaml", config);
        put("escalation.yaml", escalation);
        files.iter().for_each(|(file, text)| put(file, text));
        let mut daemon = Self::daemon(home.path(), port);
        daemon.stands();
        Self { home, daemon, port }
    }

    fn daemon(home: &Path, port: u16) -> Daemon {
        let mut up = command(&["up"]);
        up.env("TEST_SMTP", format!("smtp://127.0.0.1:{port}"));
        // The tokens of the stand-in of Slack.
        up.envs([("TEST_SLACK", "xoxb-0001-quell-test"), ("TEST_APP", "xapp-1-A0QUELL01-test")]);
        up.envs([("TEST_NEWER", SECRET), ("TEST_OLDER", OLDER)]);
        Daemon::start(up, Some(&home.join("quell.yaml")), &home.join("state"), &home.join("log"))
    }

    fn serves(&self) -> Server {
        Server::start(self.home.path(), self.port)
    }

    /// The daemon is killed, and another starts.
    fn again(&mut self) {
        self.daemon.kill();
        self.daemon = Self::daemon(self.home.path(), self.port);
        self.daemon.stands();
    }

    /// Something is seen; gives its incident.
    fn attacked(&self) -> String {
        see(&self.daemon, self.home.path())
    }

    fn story(&self, id: &str) -> String {
        self.daemon.ask(&["incident", "show", id]).ends(0).out
    }
}

/// Something is seen in the home of this daemon; gives its incident.
fn see(daemon: &Daemon, home: &Path) -> String {
    let mut events = fs::File::options().append(true).open(home.join("events.jsonl")).unwrap();
    events.write_all(b"{\"Image\": \"/bin/quell-marked\", \"User\": \"ana\"}\n").unwrap();
    let list = || daemon.ask_json(&["incident", "list"]);
    wait_until("an incident is opened", || list().as_array().is_some_and(|all| !all.is_empty()));
    list()[0]["id"].as_str().unwrap().to_owned()
}

/// These people, and one step a list of them; the daemon's own user may do everything.
fn escalation(people: &[&str], steps: &[&str], wait: &str) -> String {
    let person = |name: &&str| format!("  {name}: {{ email: {name}@example.org, roles: [admin] }}\n");
    let people: String = people.iter().map(person).collect();
    let step = |who: &&str| format!("      - {{ notify: [person: {who}], by: [email], wait: {wait} }}\n");
    let steps: String = steps.iter().map(step).collect();
    format!(
        "people:\n{people}channels:\n  email: {{ smtp: {{ env: TEST_SMTP }}, from: quell@example.org }}\n\
         policies:\n  default:\n    steps:\n{steps}    last_resort: [person: lead]\nroutes: [{{ policy: default }}]\n"
    )
}

#[test]
fn a_mail_says_what_why_and_what_to_do_and_an_answer_ends_it() {
    let night = Night::new(&escalation(&["ana", "lead"], &["ana"], "1h"));
    let server = night.serves();
    let id = night.attacked();
    wait_until("ana is told", || server.to("ana@example.org").len() == 1);
    let mail = server.to("ana@example.org").remove(0);
    assert_eq!(mail["from"], "quell@example.org");
    let subject = mail["subject"].as_str().unwrap();
    assert!(subject.starts_with("[high] <script>x</script> shell"), "{subject}");
    let headers: Vec<&str> = mail["headers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(!headers.contains(&"Bcc"), "{headers:?}");
    assert_eq!(mail["references"], format!("<{id}@example.org>"));
    let (text, html) = (mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
    assert!(
        text.contains(&format!("quell incident ack {id}")) && text.contains("why you: named by the policy"),
        "{text}"
    );
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{html}");
    wait_until("the story says so", || night.story(&id).contains("was handed on"));
    assert!(night.story(&id).contains("tells ana by mail (ana@example.org)"), "{}", night.story(&id));
    let said = night.daemon.ask(&["incident", "ack", &id]).ends(0).out;
    assert!(said.contains("acknowledged"), "{said}");
    night.daemon.ask(&["incident", "resolve", &id, "--why", "rebuilt"]).ends(0);
    wait_until("ana is told that it is over", || server.to("ana@example.org").len() == 2);
    let over = server.to("ana@example.org").remove(1);
    assert!(over["subject"].as_str().unwrap().starts_with("[high] resolved "), "{over}");
    assert_eq!(
        (&over["references"], server.mails().len()),
        (&mail["references"], 2),
        "in the thread, and to nobody else"
    );
    let late = night.daemon.ask(&["incident", "escalate", &id]).ends(1).err;
    assert!(late.contains("quell incident reopen"), "{late}");
}

#[test]
fn silence_hands_it_on_and_so_does_a_person() {
    let night = Night::new(&escalation(&["ana", "bo", "lead"], &["ana", "bo"], "1s"));
    let server = night.serves();
    let id = night.attacked();
    wait_until("all of them are told, one after the other", || server.mails().len() == 3);
    let told: Vec<Value> = server.mails().into_iter().map(|mail| mail["to"][0].clone()).collect();
    assert_eq!(told, ["ana@example.org", "bo@example.org", "lead@example.org"]);
    // Nobody comes after them: it is red until somebody answers.
    let red = |night: &Night| {
        let (_, figures) = crate::metrics::get(&night.daemon.state, "/metrics");
        let status = night.daemon.ask(&["status"]).out;
        let named = format!("high {id}: <script>x</script> shell");
        [
            figures.contains("\nquell_escalation_exhausted 1\n"),
            status.contains("NOBODY ANSWERS 1, and the last resort was told") && status.contains(&named),
            night.story(&id).contains("NOBODY ANSWERS, and the last resort was told at "),
        ]
    };
    wait_until("it is red everywhere", || red(&night) == [true; 3]);
    let ids: std::collections::BTreeSet<String> = server.mails().iter().map(|mail| mail["id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
    night.daemon.ask(&["incident", "ack", &id]).ends(0);
    wait_until("it is red nowhere", || red(&night) == [false; 3]);
    night.daemon.ask(&["incident", "escalate", &id, "--why", "it is beyond me"]).ends(0);
    wait_until("the last resort is told again", || server.to("lead@example.org").len() == 2);
    let mail = server.to("lead@example.org").remove(1);
    assert!(mail["text"].as_str().unwrap().contains("hands it on: it is beyond me"), "{mail}");
    let list = night.daemon.ask_json(&["incident", "list"]);
    assert_eq!(list[0]["state"], "open", "whoever hands it on looks after it no longer");
}

#[test]
fn a_server_that_is_away_busy_or_refuses_costs_nobody_their_page() {
    // Nobody answers at its port: the daemon is killed meanwhile, and the mail goes out once the server is there.
    let mut night = Night::new(&escalation(&["busy", "lead"], &["busy"], "1h"));
    let id = night.attacked();
    wait_until("it was tried", || night.story(&id).contains("has to wait"));
    night.again();
    let server = night.serves();
    wait_until("it went out", || server.to("busy@example.org").len() == 1);
    wait_until("the story says so", || night.story(&id).contains("was handed on"));
    drop(server);
    // A refusal is for good: the last resort is told at once, though the step would have waited for an hour.
    let night = Night::new(&escalation(&["nobody", "lead"], &["nobody"], "1h"));
    let server = night.serves();
    let id = night.attacked();
    wait_until("the last resort is told", || server.to("lead@example.org").len() == 1);
    let story = night.story(&id);
    assert!(story.contains("550"), "{story}");
}

#[test]
fn a_silence_holds_its_pages_back_and_says_so_until_it_is_ended_also_over_a_kill() {
    let mut night = Night::new(&escalation(&["ana", "lead"], &["ana"], "1h"));
    let server = night.serves();
    let refused =
        night.daemon.ask(&["silence", "add", "--match", "incident.levle == 1", "--for", "2h", "--reason", "x"]);
    assert!(refused.ends(2).err.contains("did you mean `level`?"));
    night.daemon.ask(&["silence", "add", "--rule", "marked", "--for", "31d", "--reason", "x"]).ends(2);
    night.daemon.ask(&["silence", "add", "--rule", "marked", "--for", "2h", "--reason", "a \u{1b}[2Jdeploy"]).ends(0);
    let listed = night.daemon.ask_json(&["silence", "list"]);
    let silence = listed[0]["id"].as_str().unwrap().to_owned();
    let id = night.attacked();
    let holds = |night: &Night| night.daemon.ask_json(&["silence"])[0]["holds_back"] == 1;
    wait_until("the silence holds it", || holds(&night));
    night.again();
    wait_until("it holds it after a kill", || holds(&night));
    let story = night.story(&id);
    assert!(story.contains("nobody is paged before ") && !story.contains('\u{1b}'), "{story}");
    assert_eq!(night.daemon.ask_json(&["incident", "show", &id])["silenced"]["silence"], *silence);
    let status = night.daemon.ask(&["status"]);
    assert!(status.out.contains(&silence) && status.out.contains("it holds back 1 incident now"), "{status:?}");
    assert!(server.mails().is_empty(), "nobody is told");
    let said = night.daemon.ask(&["silence", "end", &silence]).ends(0).out;
    assert!(said.contains("ended; the incident that it held back is told"), "{said}");
    wait_until("ana is told", || server.to("ana@example.org").len() == 1);
    let text = server.to("ana@example.org").remove(0)["text"].as_str().unwrap().to_owned();
    assert!(text.contains(&format!("the silence {silence} of ")), "{text}");
    night.daemon.ask(&["silence", "end", &silence]).ends(1);
    assert_eq!(night.daemon.ask_json(&["silence", "list"]), json!([]));
}
