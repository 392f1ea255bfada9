//! Bad days through the real daemon in enforce: what forks faster than signals is contained whole, its innocent kin lives,
//! and neither a pause, a death of the daemon nor a second daemon makes the kernel's hands do what they must not.

use super::attack::Attack;
use super::site::{Daemon, Site};
use super::wait_until;
use crate::bad_days::stopped::held;
use std::io::Write;
use std::os::unix::net::UnixStream;

/// The whole of it is dead and nobody else, and the run says so.
#[track_caller]
fn is_contained(daemon: &Daemon<'_>, attack: &Attack) {
    let run = daemon.run_about(attack);
    let step = &run["steps"][0];
    assert_eq!((&run["state"], &step["outcome"]), (&"succeeded".into(), &"verified".into()), "{run:#}");
    wait_until("only the parent and the sibling live", || attack.living() == attack.innocent());
    assert!(!attack.has_outlived(), "it ended by itself");
    // Nobody is born any more: a chain would be here by now.
    daemon.status();
    assert_eq!(attack.living(), attack.innocent());
}

fn contained(kind: &str) {
    let Some(site) = Site::build() else { return };
    let Some(daemon) = Daemon::up(&site) else { return };
    let mut attack = site.attack(kind);
    attack.go();
    is_contained(&daemon, &attack);
    assert_eq!(daemon.status()["hands"]["tried"], true);
}

#[test]
fn a_fork_bomb_is_contained_whole() {
    contained("+bomb");
}

#[test]
fn a_double_fork_is_contained_whole() {
    contained("+double");
}

#[test]
fn a_chain_of_forks_is_contained_whole() {
    contained("+forks");
}

#[test]
fn a_chain_that_no_signal_can_follow_is_contained_whole() {
    contained("+clones");
}

#[test]
fn a_chain_of_forks_and_execs_is_contained_whole() {
    contained("+execs");
}

#[test]
fn whoever_pauses_holds_the_hands_whether_the_daemon_lives_or_not() {
    let Some(site) = Site::build() else { return };
    let Some(mut daemon) = Daemon::up(&site) else { return };
    daemon.says(&["pause"]);
    let mut attack = site.attack("+double");
    attack.go();
    let run = daemon.run_about(&attack);
    assert_ne!(run["state"], "succeeded", "{run:#}");
    wait_until("the attack goes on", || attack.has_reached() && attack.living().len() > 2);

    // Paused it dies, paused it comes back; and whoever has no daemon can still let it go on, and hold it.
    daemon.kill();
    daemon.again();
    assert_eq!((&daemon.status()["paused"], &daemon.status()["hands"]["tried"]), (&true.into(), &false.into()));
    daemon.kill();
    let resumed = daemon.says(&["resume"]);
    assert!(resumed.contains("in the kernel acts again") && resumed.contains("next `quell up`"), "{resumed}");
    let paused = daemon.json(&["pause"]);
    assert_eq!((&paused["kernel"], &paused["journal"]), (&true.into(), &true.into()), "{paused}");
    daemon.again();
    assert_eq!(daemon.status()["paused"], true);
    daemon.says(&["resume"]);
    assert_eq!((&daemon.status()["paused"], &daemon.status()["hands"]["tried"]), (&false.into(), &true.into()));
    let mut next = site.attack("+forks");
    next.go();
    is_contained(&daemon, &next);
    assert!(attack.living().len() > 2, "what was refused while paused is not done now");
}

#[test]
fn a_resume_that_the_engine_takes_late_reaches_the_kernel_though_its_client_has_left() {
    let Some(site) = Site::build() else { return };
    let Some(mut daemon) = Daemon::up(&site) else { return };
    daemon.says(&["pause"]);
    daemon.kill();
    daemon.again();
    // Hands that were held from their start are tried once they are not.
    assert_eq!((&daemon.status()["paused"], &daemon.status()["hands"]["tried"]), (&true.into(), &false.into()));
    let Some(holder) = held(&daemon.own, "quell-sensor") else { return };
    let mut client = UnixStream::connect(daemon.dir().join("quell.sock")).unwrap();
    client.write_all(b"POST /v1/resume HTTP/1.1\r\nhost: quell\r\ncontent-length: 0\r\n\r\n").unwrap();
    // What came later, and is only read, was answered: the other was taken in.
    daemon.says(&["run", "list"]);
    drop(client);
    drop(holder);
    wait_until("the engine goes on", || daemon.status()["paused"] == false);
    wait_until("what acts in the kernel goes on too", || daemon.status()["hands"]["tried"] == true);
    assert!(daemon.status()["pause_failed"].is_null());
}

#[test]
fn a_pause_of_a_daemon_that_hangs_reaches_it_when_it_goes_on() {
    let Some(site) = Site::build() else { return };
    let Some(daemon) = Daemon::up(&site) else { return };
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.own.pid()).unwrap()).unwrap();
    // As if it hung: its socket is gone, and nobody answers.
    std::fs::remove_file(daemon.dir().join("quell.sock")).unwrap();
    let paused = daemon.says(&["pause"]);
    assert!(paused.contains("without a daemon") && paused.contains("a daemon lives"), "{paused}");
    assert!(rustix::process::test_kill_process(pid).is_ok());
    wait_until("it finds the flag", || daemon.log().contains("set beside this daemon"));
    let mut attack = site.attack("+double");
    attack.go();
    wait_until("the attack goes on", || attack.has_reached() && attack.living().len() > 2);
    // Nobody lets a living daemon go on behind its back.
    assert_eq!(daemon.ask(&["resume"]).status.code(), Some(3));
}

#[test]
fn a_mark_outlives_a_daemon_that_is_killed_and_uninstall_leaves_nothing() {
    let Some(site) = Site::build() else { return };
    let Some(mut daemon) = Daemon::up(&site) else { return };
    // The mark of the trial goes first.
    wait_until("no mark lives", || !site.is_at_calls());
    let mut attack = site.attack("+forks");
    attack.go();
    wait_until("it is marked", || site.is_at_calls());
    daemon.kill();
    assert!(site.is_at_calls());
    wait_until("only the parent and the sibling live", || attack.living() == attack.innocent());
    let left = daemon.says(&["uninstall"]);
    assert!(left.contains("/sys/fs/bpf/quell/hand_call"), "{left}");
    assert!(site.pins().is_empty());
    assert_eq!(attack.living(), attack.innocent());
}

#[test]
fn two_daemons_have_hands_of_their_own() {
    let Some(site) = Site::build() else { return };
    let Some(mut first) = Daemon::up(&site) else { return };
    let Some(mut second) = Daemon::up(&site) else { return };
    assert!(first.status()["hands"]["pinned"].is_string());
    let other = second.status();
    let why = other["hands"]["unpinned_why"].as_str().unwrap_or_default();
    assert!(why.contains(first.dir().to_str().unwrap()) && why.contains("runs"), "{other}");
    assert!(second.says(&["status"]).contains("not pinned"));
    // A pause is one daemon's alone.
    first.says(&["pause"]);
    assert_eq!((&first.status()["paused"], &second.status()["paused"]), (&true.into(), &false.into()));
    let mut attack = site.attack("+forks");
    attack.go();
    is_contained(&second, &attack);
    // Neither its end nor its uninstall takes what the first pinned.
    second.end();
    second.says(&["uninstall"]);
    assert!(site.pins().iter().any(|pin| pin == "hand_fork"), "{:?}", site.pins());
    // The dead keep their place from others while their data is there.
    first.kill();
    second.again();
    assert!(second.status()["hands"]["unpinned_why"].is_string());
    second.end();
    first.says(&["uninstall"]);
    second.again();
    assert!(second.status()["hands"]["pinned"].is_string());
    second.end();
    assert!(site.pins().is_empty());
}
