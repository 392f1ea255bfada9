//! The journal cannot be written: somebody holds the database, or its bytes are overwritten. Who freezes and kills goes
//! on; what could not be written follows, or its loss is told.

use super::host::{Host, hold_and_kill, kill_one, verifies};
use crate::cli::wait_until;
use crate::daemon::Daemon;
use crate::threats::group::Group;
use quell_engine::store::Journal;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Child;

const RULE: &str = "seen";

pub(super) fn host(name: &str, playbook: fn(&str) -> String) -> Option<Host> {
    Host::new(name, &[("it", playbook(RULE))], &[(RULE, "Image|endswith: /MARK")])
}

/// Starts the victim in a cgroup of its own and waits for its death; gives how it was killed.
#[track_caller]
pub(super) fn dies(host: &Host, group: &Group) {
    let mut child = group.spawn(&[host.victim(), "1000".to_owned()], host.dir(), &[]);
    await_death(&mut child);
}

#[track_caller]
fn await_death(child: &mut Child) {
    let mut status = None;
    wait_until("the victim is killed", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status.unwrap()), Some(9));
}

/// Waits until the engine has no run open and nothing waits for the journal.
#[track_caller]
pub(super) fn settles(daemon: &Daemon) {
    wait_until("everything is written", || {
        let status = daemon.status();
        status["journal"]["waiting"] == 0 && status["journal"]["trouble"].is_null() && status["runs_open"] == 0
    });
}

/// Holds the database as another program could.
fn lock(state: &Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(state.join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[test]
fn while_another_process_holds_the_database_it_freezes_and_kills_and_the_record_follows() {
    let Some(host) = host("locked", kill_one) else { return };
    let state = host.dir().join("state");
    let Some(daemon) = host.armed(&state) else { return };
    let group = host.inside.below("victims");
    dies(&host, &group);
    settles(&daemon);
    let other = lock(&state);
    for _ in 0..20 {
        dies(&host, &group);
    }
    wait_until("the trouble is shown", || daemon.status()["journal"]["trouble"].is_string());
    let status = daemon.status();
    assert!(status["journal"]["waiting"].as_u64() > Some(0), "{status}");
    let shown = daemon.ask(&["status"]).ends(0).out;
    assert!(shown.contains("another process holds the database"), "{shown}");
    // The API answers, with what the database does not have yet.
    wait_until("every run can be read", || {
        daemon.runs().iter().filter(|run| run["state"] == "succeeded").count() == 21
    });
    daemon.ask(&["incident", "list"]).ends(0);
    other.execute_batch("ROLLBACK").unwrap();
    settles(&daemon);
    assert_eq!(daemon.status()["journal"]["unwritten"], 0);
    daemon.end();
    let journal = verifies(&state);
    let runs = journal.streams().unwrap().iter().filter(|(stream, _)| stream.as_run().is_some()).count();
    assert_eq!(runs, 21);
}

#[test]
fn what_needs_the_disk_is_refused_by_name_while_the_database_is_held_and_the_kill_is_not() {
    let Some(host) = host("held", hold_and_kill) else { return };
    let state = host.dir().join("state");
    let Some(daemon) = host.armed(&state) else { return };
    let other = lock(&state);
    dies(&host, &host.inside.below("victim"));
    wait_until("the run ends", || daemon.runs().iter().any(|run| run["state"] == "succeeded"));
    let run = &daemon.runs()[0];
    let outcome = |step: &str| {
        let steps = run["steps"].as_array().unwrap();
        steps.iter().find(|one| one["id"] == step).unwrap()["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!([outcome("freeze"), outcome("evidence"), outcome("kill")], ["verified", "refused", "verified"], "{run}");
    assert!(run.to_string().contains("journal"), "the guard has its name: {run}");
    drop(other);
    settles(&daemon);
    daemon.end();
    drop(verifies(&state));
}

#[test]
fn killed_while_the_database_is_held_it_has_everything_at_the_next_start() {
    let Some(host) = host("held-killed", kill_one) else { return };
    let state = host.dir().join("state");
    let Some(mut daemon) = host.armed(&state) else { return };
    let other = lock(&state);
    let group = host.inside.below("victims");
    for _ in 0..10 {
        dies(&host, &group);
    }
    wait_until("every run has ended", || daemon.status()["runs_open"] == 0);
    daemon.kill();
    // Also while it is still held.
    let Some(again) = host.armed(&state) else { return };
    wait_until("all ten are there", || again.runs().iter().filter(|run| run["state"] == "succeeded").count() == 10);
    dies(&host, &group);
    drop(other);
    settles(&again);
    again.end();
    let journal = verifies(&state);
    assert_eq!(journal.streams().unwrap().iter().filter(|(stream, _)| stream.as_run().is_some()).count(), 11);
}

/// Overwrites what is in a file from a page on: what a broken disk or a stray program does.
fn spoil(path: &Path, from: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    for at in (from..length).step_by(4096) {
        file.write_all_at(&[0xa5; 4096], at).unwrap();
    }
}

#[test]
fn with_its_database_overwritten_it_kills_and_says_what_it_cannot_write() {
    let Some(host) = host("spoiled", kill_one) else { return };
    let state = host.dir().join("state");
    let Some(mut daemon) = host.armed(&state) else { return };
    let group = host.inside.below("victims");
    dies(&host, &group);
    settles(&daemon);
    // The log is copied into the database, so that what is spoiled is all there is; then another life begins.
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait().success());
    let Some(daemon) = host.armed(&state) else { return };
    spoil(&state.join("journal.db"), 4096);
    spoil(&state.join("journal.db-wal"), 0);
    for _ in 0..20 {
        dies(&host, &group);
    }
    // SQLite may have in memory what it needs for a while; what it reads again is refused, and then that is shown.
    wait_until("the trouble is shown", || {
        dies(&host, &group);
        daemon.status()["journal"]["trouble"].is_string()
    });
    let shown = daemon.ask(&["status"]).ends(0).out;
    assert!(shown.contains("records wait"), "{shown}");
    dies(&host, &group);
    // The API answers, if only to say what is wrong.
    let list = daemon.ask(&["run", "list"]);
    assert!(matches!(list.code, Some(0 | 1)), "{list:?}");
    drop(daemon);
    // At the next start it says so, begins nothing, and makes nothing new.
    let before = std::fs::read(state.join("journal.db")).unwrap();
    refuses(&host, &state);
    assert_eq!(std::fs::read(state.join("journal.db")).unwrap(), before, "it is left as it is");
    let checked = crate::cli::quell(&["store", "check", "--data-dir", state.to_str().unwrap()]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
}

/// A start ends with 2 and says what is wrong, and what to do.
#[track_caller]
fn refuses(host: &Host, state: &Path) {
    let mut daemon = host.start(state, false, None);
    let status = daemon.wait();
    let log = daemon.log();
    assert_eq!(status.code(), Some(2), "{log}");
    let last = log.rsplit("error: ").next().unwrap();
    assert!(last.contains("damaged") && last.contains("quell store check"), "{log}");
}

#[test]
fn a_start_with_a_damaged_journal_ends_with_2_whatever_is_damaged() {
    let Some(host) = host("damaged", hold_and_kill) else { return };
    let good = host.dir().join("good");
    let Some(daemon) = host.armed(&good) else { return };
    dies(&host, &host.inside.below("victim"));
    wait_until("the run ends", || daemon.runs().iter().any(|run| run["state"] == "succeeded"));
    settles(&daemon);
    daemon.end();
    let checked = crate::cli::quell(&["store", "check", "--data-dir", good.to_str().unwrap(), "--json"]).ends(0).json();
    assert_eq!((&checked["ok"], checked["records"].as_u64() > Some(5)), (&true.into(), true), "{checked}");
    let damaged = |name: &str, damage: &dyn Fn(&Path)| {
        let state = host.dir().join(name);
        std::fs::create_dir(&state).unwrap();
        for file in ["journal.db", "slate"] {
            std::fs::copy(good.join(file), state.join(file)).unwrap();
        }
        damage(&state);
        refuses(&host, &state);
        let checked = crate::cli::quell(&["store", "check", "--data-dir", state.to_str().unwrap()]);
        assert!(matches!(checked.code, Some(1 | 2)), "{name}: {checked:?}");
    };
    damaged("head", &|state| drop(std::fs::write(state.join("journal.db"), "no database")));
    damaged("pages", &|state| spoil(&state.join("journal.db"), 8192));
    damaged("gone", &|state| std::fs::remove_file(state.join("journal.db")).unwrap());
    damaged("empty", &|state| std::fs::write(state.join("journal.db"), "").unwrap());
    damaged("short", &|state| {
        let file = std::fs::OpenOptions::new().write(true).open(state.join("journal.db")).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
    });
    // A record of a run that is over is not read at a start: the check finds it.
    let hand = rusqlite::Connection::open(good.join("journal.db")).unwrap();
    let change = "UPDATE records SET body = replace(body, 'verified', 'done') WHERE kind = 'StepFinished'";
    assert!(hand.execute(change, []).unwrap() > 0);
    drop(hand);
    let checked = crate::cli::quell(&["store", "check", "--data-dir", good.to_str().unwrap()]).ends(1);
    assert!(checked.out.contains("does not follow from record"), "{checked:?}");
}

#[test]
fn a_log_that_was_damaged_after_a_crash_is_told() {
    let Some(host) = host("log", kill_one) else { return };
    let state = host.dir().join("state");
    let Some(daemon) = host.armed(&state) else { return };
    daemon.end();
    let Some(mut daemon) = host.armed(&state) else { return };
    let group = host.inside.below("victims");
    for _ in 0..3 {
        // Each time the slate is written over from its start.
        dies(&host, &group);
        settles(&daemon);
    }
    daemon.kill();
    spoil(&state.join("journal.db-wal"), 0);
    let checked = crate::cli::quell(&["store", "check", "--data-dir", state.to_str().unwrap()]).ends(1);
    assert!(checked.out.contains("neither in the database nor on the slate"), "{checked:?}");
    let Some(daemon) = host.armed(&state) else { return };
    let shown = daemon.ask(&["status"]).ends(0).out;
    assert!(shown.contains("neither in the database nor on the slate"), "{shown}");
    // What comes from now on is whole again.
    dies(&host, &group);
    settles(&daemon);
    daemon.end();
    assert_eq!(Journal::open_read_only(&state).unwrap().verify().unwrap(), Vec::<String>::new());
}
