//! What ships works as it stands: the real daemon by the escalation.yaml of this repository, on a terminal, with a mail server and
//! without one.

use super::{CONFIG, RULE, Server, free_port, see};
use crate::cli::{binary, wait_until, write};
use crate::daemon::Daemon;
use std::fs;
use std::path::Path;
use std::process::Command;

const SHIPPED: &str = include_str!("../../escalation.yaml");

/// A daemon by what ships, in this home; what it prints is in `printed` there.
fn stands(home: &Path, smtp: Option<&str>) -> Daemon {
    for (file, text) in [
        ("quell.yaml", CONFIG),
        ("events.jsonl", ""),
        ("rules/marked.yml", RULE),
        ("escalation.yaml", SHIPPED),
        ("printed", ""),
    ] {
        write(home, file, text);
    }
    let mut up = Command::new("/bin/sh");
    up.args(["-c", "exec \"$0\" \"$@\" >\"$PRINTED\""]).arg(binary()).arg("up");
    up.env("PRINTED", home.join("printed")).env_remove("QUELL_SMTP").envs(smtp.map(|url| ("QUELL_SMTP", url)));
    let mut daemon = Daemon::start(up, Some(&home.join("quell.yaml")), &home.join("state"), &home.join("log"));
    daemon.stands();
    daemon
}

/// Where quell is somebody else's, only those whom the file names may ask.
fn may_ask() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("NOT TESTED: the escalation.yaml that ships: only root may ask a daemon that goes by it");
    }
    is_root
}

#[test]
fn what_ships_prints_and_mails_where_a_server_is_named() {
    if !may_ask() {
        return;
    }
    let (home, port) = (tempfile::tempdir().unwrap(), free_port());
    let server = Server::start(home.path(), port);
    let daemon = stands(home.path(), Some(&format!("smtp://127.0.0.1:{port}")));
    let printed = || fs::read_to_string(home.path().join("printed")).unwrap();
    let id = see(&daemon, home.path());
    wait_until("somebody is mailed", || !server.mails().is_empty());
    let mail = server.mails().remove(0);
    assert_eq!(mail["to"], serde_json::json!(["root@localhost"]));
    assert_eq!(mail["from"], "quell@localhost");
    let (subject, text) = (mail["subject"].as_str().unwrap(), mail["text"].as_str().unwrap());
    assert!(subject.starts_with("[high] <script>x</script> shell"), "{subject}");
    let ack = format!("quell incident ack {id} --generation 1");
    assert!(text.contains(&ack) && text.contains("why you: on call in primary"), "{text}");
    wait_until("it is printed", || printed().contains(&ack));
    // Hostile words stay in their line there too.
    let shown = printed();
    assert!(shown.starts_with("[high] <script>x</script> shell") && !shown.contains("\nBcc:"), "{shown}");
    let story = || daemon.ask(&["incident", "show", &id]).ends(0).out;
    wait_until("the story says so", || story().contains("was handed on") && story().contains("was delivered"));
    let told = story();
    assert!(told.contains("by the terminal") && told.contains("mail (root@localhost)"), "{told}");
    // What the text of either says works, and the end is told by both.
    daemon.ask(&["incident", "ack", &id, "--generation", "1"]).ends(0);
    daemon.ask(&["incident", "resolve", &id, "--why", "rebuilt"]).ends(0);
    wait_until("the end is told", || server.mails().len() == 2 && printed().contains("[high] resolved "));
    assert!(!daemon.said().contains("is off"), "{}", daemon.said());
}

#[test]
fn what_ships_prints_where_no_server_is_named_and_says_that_nobody_is_mailed() {
    if !may_ask() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let daemon = stands(home.path(), None);
    let id = see(&daemon, home.path());
    let printed = || fs::read_to_string(home.path().join("printed")).unwrap();
    wait_until("it is printed", || printed().contains(&format!("quell incident ack {id} --generation 1")));
    let said = daemon.said();
    assert!(said.contains("QUELL_SMTP") && said.contains("is off for now"), "{said}");
}
