//! Whoever has no right to the daemon's socket: told so, and nothing is done in its place.

use super::{Ran, command, write};
use crate::daemon::Daemon;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The user `nobody` on every Linux.
const NOBODY: u32 = 65534;

#[test]
fn who_has_no_right_to_the_socket_ends_with_3_and_rehearses_nothing_beside_the_daemon() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED: a caller without rights: this test is run without them already");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    open(home.path());
    let binary = home.path().join("quell");
    fs::copy(super::binary(), &binary).unwrap();
    let config = write(
        home.path(),
        "quell.yaml",
        "sources: { sensor: { enabled: false } }\naccess: { socket: { group: no-such-group-here } }\n",
    );
    let state = home.path().join("state");
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &state, &home.path().join("log"));
    daemon.stands();
    open(&state);
    let socket = state.join("quell.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).arg("--data-dir").arg(&state).env("HOME", "/nonexistent").current_dir("/");
        Ran::of(command.stdin(Stdio::null()).uid(NOBODY).gid(NOBODY).output().unwrap())
    };
    for args in [
        &["status"][..],
        &["pause"],
        &["resume"],
        &["run", "list"],
        &["playbook", "run", "contain-reverse-shell"],
        &["playbook", "run", "contain-reverse-shell", "--mode", "enforce"],
    ] {
        let ran = as_nobody(args).ends(3);
        assert!(ran.out.is_empty() && ran.err.contains("no permission for the daemon's socket"), "{args:?}: {ran:?}");
    }
    as_nobody(&["playbook", "list"]).ends(0);
    assert_eq!(daemon.ask_json(&["run", "list"]).as_array().unwrap().len(), 0);
    assert_eq!(daemon.status()["paused"], false);
    daemon.end();
}
