//! Signals that come while the daemon is starting.

use super::{PATIENCE, command, write};
use crate::daemon::Daemon;
use rustix::process::Signal;
use std::time::Instant;

/// One whose start is under way: it has taken its directory, and its journal is still to be made.
fn starting(home: &std::path::Path) -> Daemon {
    let config = write(home, "quell.yaml", "sources: { sensor: { enabled: false } }\n");
    let state = home.join("state");
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &state, &home.join("log"));
    let until = Instant::now() + PATIENCE;
    while !state.join("lock").exists() {
        assert!(Instant::now() < until && daemon.ended().is_none(), "{}", daemon.log());
        std::thread::yield_now();
    }
    daemon
}

#[test]
fn told_to_read_its_files_while_it_starts_it_stands_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    let mut daemon = starting(home.path());
    daemon.try_signal(Signal::HUP);
    daemon.stands();
    daemon.end();
}

#[test]
fn told_to_end_while_it_starts_it_ends_well() {
    let home = tempfile::tempdir().unwrap();
    let mut daemon = starting(home.path());
    daemon.try_signal(Signal::TERM);
    let status = daemon.wait();
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(daemon.log().contains("ended"), "{}", daemon.log());
}
