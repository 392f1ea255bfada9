//! People of escalation.yaml at a real daemon's socket: who may do what, whose answer counts, and under whose name it is kept.
//!
//! Callers are processes of other users, as the kernel tells them. Needs root for that.

use super::{Ran, binary, command, quell, wait_until, write};
use crate::daemon::Daemon;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Users that nobody else is: no name in the user table is needed.
const ANA: u32 = 64_201;
const BO: u32 = 64_202;
const STRANGER: u32 = 64_203;
/// A group that every Debian has, so that the socket is open to it.
const GROUP: &str = "nogroup";
const GID: u32 = 65_534;

const PLAYBOOK: &str = r#"playbook: ask-them
on: { manual: true }
mode: enforce
steps:
  sure:
    ask: { question: "Sure?", by: security, choices: [yes_sir, no_sir], within: 1h, otherwise: no_sir }
  you:
    needs: [sure]
    ask: { question: "You?", person: "${{ person_of(\"unix\", 64202) }}", choices: [me, not_me], within: 1h, otherwise: not_me }
"#;

fn people(quorum: u32) -> String {
    format!(
        "people:\n  ana: {{ roles: [responder], identities: {{ unix: {ANA} }} }}\n  bo: {{ identities: {{ unix: {BO} }} }}\napprovers:\n  security: {{ people: [ana, bo], quorum: {quorum} }}\n"
    )
}

struct Home {
    keep: tempfile::TempDir,
    daemon: Daemon,
}

impl Home {
    /// A daemon without a sensor, and a home that others can pass through to its socket.
    fn start(who: Option<&str>) -> Self {
        let keep = tempfile::tempdir().unwrap();
        std::fs::set_permissions(keep.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let config = format!(
            "mode: enforce\nsources: {{ sensor: {{ enabled: false }} }}\nplaybooks: {{ dirs: [playbooks] }}\naccess: {{ socket: {{ group: {GROUP} }}, roles: {{ keeper: [pause] }} }}\n"
        );
        let config = write(keep.path(), "quell.yaml", &config);
        write(keep.path(), "playbooks/ask.yaml", PLAYBOOK);
        if let Some(who) = who {
            write(keep.path(), "escalation.yaml", who);
        }
        let mut daemon =
            Daemon::start(command(&["up"]), Some(&config), &keep.path().join("state"), &keep.path().join("log"));
        daemon.stands();
        Self { keep, daemon }
    }

    /// Runs a client as another user.
    fn client(&self, uid: u32, args: &[&str]) -> Ran {
        let mut command = Command::new(self.quell_for_all());
        command.args(args).arg("--data-dir").arg(&self.daemon.state).stdin(Stdio::null()).uid(uid).gid(GID);
        Ran::of(command.current_dir("/").output().unwrap())
    }

    /// The binary where others can run it.
    fn quell_for_all(&self) -> PathBuf {
        let copy = self.keep.path().join("quell");
        if !copy.exists() {
            std::fs::hard_link(binary(), &copy).or_else(|_| std::fs::copy(binary(), &copy).map(drop)).unwrap();
        }
        copy
    }

    fn start_run(&self) -> String {
        let file = self.keep.path().join("playbooks/ask.yaml");
        self.daemon.ask_json(&["playbook", "run", file.to_str().unwrap()])["id"].as_str().unwrap().to_owned()
    }

    fn run(&self, id: &str) -> Value {
        self.daemon.ask_json(&["run", "show", id])
    }
}

fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("NOT TESTED: {what}: other users need root");
    }
    root
}

#[test]
fn who_may_what_and_whose_answer_counts() {
    if !is_root("people at the socket") {
        return;
    }
    let home = Home::start(Some(&people(1)));
    // Reading is everybody's who is known, and nobody's else.
    for (uid, code) in [(ANA, 0), (BO, 0), (STRANGER, 4)] {
        home.client(uid, &["run", "list"]).ends(code);
    }
    let refused = home.client(STRANGER, &["status"]).ends(4);
    assert!(refused.err.contains("nobody in escalation.yaml") && refused.err.contains("unix: 64203"), "{refused:?}");
    // bo has no role; ana's does not pause; root does.
    let refused = home.client(BO, &["pause"]).ends(4);
    assert!(refused.err.contains("no role of theirs has `pause`") && refused.err.contains("keeper"), "{refused:?}");
    home.client(ANA, &["pause"]).ends(4);
    home.daemon.ask(&["pause"]).ends(0);
    home.daemon.ask(&["resume"]).ends(0);

    let id = home.start_run();
    let sure = format!("{id}/sure");
    let refused = home.daemon.ask(&["run", "answer", &sure, "yes_sir"]).ends(4);
    assert!(refused.err.contains("`root (unverified)` is nobody in escalation.yaml"), "{refused:?}");
    home.client(STRANGER, &["run", "answer", &sure, "yes_sir"]).ends(4);
    home.client(ANA, &["run", "answer", &sure, "yes_sir"]).ends(0);
    // person_of found bo: ana cannot answer for them.
    let you = format!("{id}/you");
    wait_until("the second question is asked", || home.run(&id).to_string().contains("You?"));
    let refused = home.client(ANA, &["run", "answer", &you, "not_me"]).ends(4);
    assert!(refused.err.contains("it is bo who is asked"), "{refused:?}");
    home.client(BO, &["run", "answer", &you, "me"]).ends(0);
    wait_until("the run has ended", || home.run(&id)["state"] == "succeeded");
    let shown = home.run(&id).to_string();
    assert!(shown.contains("ana answered `yes_sir`") && shown.contains("bo answered `me`"), "{shown}");
}

#[test]
fn people_change_while_quell_runs_and_a_broken_file_leaves_the_former() {
    if !is_root("a reload of people") {
        return;
    }
    let home = Home::start(Some(&people(1)));
    let file = home.keep.path().join("escalation.yaml");
    home.client(STRANGER, &["status"]).ends(4);
    std::fs::write(&file, people(1).replace("unix: 64202", "unix: 64201")).unwrap();
    wait_until("the refusal is told", || home.daemon.status()["reload_refused"].is_string());
    let why = home.daemon.status()["reload_refused"].to_string();
    assert!(why.contains("escalation.yaml:3:") && why.contains("`ana`'s already"), "{why}");
    home.client(BO, &["run", "list"]).ends(0);

    let with_more =
        people(1).replace("approvers:", "  zoe: { roles: [keeper], identities: { unix: 64203 } }\napprovers:");
    std::fs::write(&file, &with_more).unwrap();
    home.daemon.signal(rustix::process::Signal::HUP);
    wait_until("they are known", || home.client(STRANGER, &["run", "list"]).code == Some(0));
    home.client(STRANGER, &["pause"]).ends(0);
    home.client(STRANGER, &["resume"]).ends(0);
    assert!(home.daemon.status()["reload_refused"].is_null());

    // Whoever is told belongs to the file as much as who is who.
    std::fs::write(&file, format!("{with_more}policies: {{ night: {{ steps: [] }} }}\n")).unwrap();
    wait_until("that is refused too", || home.daemon.status()["reload_refused"].is_string());
    let why = home.daemon.status()["reload_refused"].to_string();
    assert!(why.contains("the policy `night` has no `last_resort`"), "{why}");
    home.client(STRANGER, &["run", "list"]).ends(0);

    // A playbook asks approvers that nobody is any more.
    std::fs::write(&file, with_more.replace("security:", "safety:")).unwrap();
    let refused = || home.daemon.status()["reload_refused"].to_string();
    wait_until("that is refused", || refused().contains("no approvers `security`"));
}

/// A file that is gone, or empty, opens nothing that was closed.
#[test]
fn those_who_were_known_stay_when_their_file_goes() {
    let home = Home::start(Some(&people(1)));
    let file = home.keep.path().join("escalation.yaml");
    let refused = || home.daemon.status()["reload_refused"].as_str().map(str::to_owned);
    let still_closed = |what: &str| {
        wait_until(what, || refused().is_some_and(|why| why.contains("nobody is named any more")));
        if is_root("callers who are nobody") {
            home.client(STRANGER, &["run", "list"]).ends(4);
            home.client(BO, &["pause"]).ends(4);
            home.client(ANA, &["run", "list"]).ends(0);
        }
    };
    let gone: [(&str, &dyn Fn()); 3] = [
        ("it is gone", &|| std::fs::remove_file(&file).unwrap()),
        ("it is empty", &|| std::fs::write(&file, "").unwrap()),
        ("it names nobody", &|| std::fs::write(&file, "people: {}\n").unwrap()),
    ];
    for (what, goes) in gone {
        goes();
        still_closed(what);
        std::fs::write(&file, people(1)).unwrap();
        wait_until("all is as it was", || refused().is_none());
    }
    // A link that leads nowhere is no file that is not there; and one that is named has to be there.
    let dir = home.keep.path();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    let config = dir.join("quell.yaml");
    let ran = quell(&["config", "check", config.to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("escalation.yaml") && ran.err.contains("cannot be read"), "{}", ran.err);
    let text = std::fs::read_to_string(&config).unwrap();
    let named = write(dir, "named.yaml", &format!("{text}escalation: who.yaml\n"));
    let state = dir.join("other");
    let ran = quell(&["up", "--config", named.to_str().unwrap(), "--data-dir", state.to_str().unwrap()]).ends(2);
    assert!(ran.err.contains("who.yaml"), "{}", ran.err);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    let ran = quell(&["config", "check", config.to_str().unwrap()]);
    assert!(ran.err.contains("the file names nobody"), "{}", ran.err);
}

#[test]
fn without_people_whoever_may_use_the_socket_may_do_everything() {
    if !is_root("callers without people") {
        return;
    }
    let home = Home::start(None);
    home.client(STRANGER, &["pause"]).ends(0);
    home.client(STRANGER, &["resume"]).ends(0);
    let id = home.start_run();
    home.client(STRANGER, &["run", "answer", &format!("{id}/sure"), "yes_sir"]).ends(0);
    wait_until("nobody is there to ask, so that `otherwise` holds", || home.run(&id)["state"] == "succeeded");
    // A file that comes later closes the door.
    write(home.keep.path(), "escalation.yaml", &people(1));
    wait_until("the door is closed", || home.client(STRANGER, &["run", "list"]).code == Some(4));
}

#[test]
fn the_check_names_whom_a_playbook_asks_in_vain() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "quell.yaml", "playbooks: { dirs: [playbooks] }\n");
    let file = write(dir.path(), "playbooks/ask.yaml", PLAYBOOK);
    let check = |code| quell(&["playbook", "check", file.to_str().unwrap()]).ends(code);
    let ran = check(0);
    assert!(ran.err.contains("whoever may use the socket answers this `ask`"), "{}", ran.err);
    write(dir.path(), "escalation.yaml", &people(1).replace("security:", "securty:"));
    let ran = check(1);
    let text = ran.err.replace('\n', " ");
    assert!(text.contains("ask.yaml:6:35") && text.contains("did you mean `securty`?"), "{text}");
    write(dir.path(), "escalation.yaml", &people(1));
    assert!(check(0).err.contains("no mistakes"));
    open_to_all(&dir.path().join("escalation.yaml"));
    let ran = quell(&["config", "check", dir.path().join("quell.yaml").to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("can be written by anybody"), "{}", ran.err);
}

fn open_to_all(file: &Path) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o666)).unwrap();
}

/// What an intruder in bo's shell would do.
#[test]
fn nobody_answers_for_themselves_as_the_user_that_is_suspected() {
    if !is_root("an answer of the suspect's own") {
        return;
    }
    let home = Home::start(Some(&people(1)));
    let node = home.daemon.status()["node"].as_str().unwrap().to_owned();
    let file = home.keep.path().join("playbooks/ask.yaml");
    let start = |uid: u32| {
        let at = serde_json::json!({ "wall": "2026-11-29T12:00:00Z", "boot_ns": 1 });
        let process = serde_json::json!({ "id": "1.1.1@another", "uid": uid, "euid": uid, "session": null });
        let event = serde_json::json!({
            "v": 1, "id": "e-1", "class": "process_creation", "source": "sensor", "node": node, "at": at, "seen": at,
            "logsource": {}, "sigma": {}, "own": { "process": process }, "subject": "unknown",
            "entity": { "kind": "node", "id": node, "node": node },
        });
        let event = write(home.keep.path(), "event.json", &event.to_string());
        let begun =
            home.daemon.ask_json(&["playbook", "run", file.to_str().unwrap(), "--event", event.to_str().unwrap()]);
        let id = begun["id"].as_str().unwrap().to_owned();
        home.client(ANA, &["run", "answer", &format!("{id}/sure"), "yes_sir"]).ends(0);
        wait_until("bo is asked", || home.run(&id).to_string().contains("You?"));
        id
    };
    let id = start(BO);
    for _ in 0..2 {
        let refused = home.client(BO, &["run", "answer", &format!("{id}/you"), "me"]).ends(4);
        assert!(refused.err.contains("user id 64202") && refused.err.contains("suspect's own"), "{refused:?}");
    }
    let run = home.run(&id);
    assert_eq!(run["state"], "waiting", "{run}");
    let shown = home.daemon.ask(&["run", "show", &id]).ends(0).out;
    assert_eq!(shown.matches("bo: me by socket, which does not count").count(), 1, "{shown}");
    // Of another user's process bo may say that it was them.
    let other = start(STRANGER);
    home.client(BO, &["run", "answer", &format!("{other}/you"), "me"]).ends(0);
    wait_until("the run has ended", || home.run(&other)["state"] == "succeeded");
}
