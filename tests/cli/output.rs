//! What becomes of the data when stdout takes it, does not, or has gone; and who may ask.

use super::{Ran, command, quell, write};
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

#[test]
fn data_that_cannot_be_written_is_not_all_right() {
    for args in [&["action", "list"][..], &["--help"], &["--version"], &["action", "list", "--json"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = Ran::of(command(args).stdout(full).output().unwrap()).ends(1);
        assert!(ran.err.contains("could not be written"), "{args:?}: {}", ran.err);
        assert_eq!(ran.err.lines().filter(|line| line.starts_with("error:")).count(), 1, "{}", ran.err);
    }
}

#[test]
fn a_reader_who_has_gone_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = command(&["action", "list"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let ran = Ran::of(ran.wait_with_output().unwrap()).ends(0);
    assert_eq!(ran.err, "");
}

#[test]
fn uninstall_wants_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED: that somebody else than root is told so: this is not root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    // Where the binary stands, nobody else may look; a copy can be run.
    let program = dir.path().join("quell");
    std::fs::copy(env!("CARGO_BIN_EXE_quell"), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(dir.path(), open(0o755)).unwrap();
    let mut other = std::process::Command::new(program);
    other.args(["uninstall", "--data-dir"]).arg(&state).uid(65_534).gid(65_534).stdin(Stdio::null());
    let ran = Ran::of(other.output().unwrap()).ends(4);
    assert!(ran.err.contains("hint: become root"), "{}", ran.err);
}

#[test]
fn a_directory_too_deep_for_a_socket_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let deep = format!("{}/{}", dir.path().display(), "d".repeat(100));
    let ran = quell(&["up", "--data-dir", &deep]).ends(2);
    assert!(ran.err.contains("a socket below it can have no more than 96"), "{}", ran.err);
    assert!(!std::path::Path::new(&deep).exists());
    let config = write(dir.path(), "quell.yaml", &format!("data_dir: {deep}\n"));
    let ran = quell(&["config", "check", config.to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("quell.yaml:1:11") && ran.err.contains("more than 96"), "{}", ran.err);
}

#[test]
fn what_the_configuration_shows_heeds_the_data_directory() {
    let shown = quell(&["config", "show", "--json", "--data-dir", "/somewhere"]).ends(0).json();
    let row = shown.as_array().unwrap().iter().find(|row| row["id"] == "data_dir").unwrap();
    assert_eq!((row["value"].as_str(), row["from"].as_str()), (Some("/somewhere"), Some("--data-dir")));
}

#[test]
fn a_cgroup_that_does_not_exist_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(dir.path(), "quell.yaml", "guard:\n  only_within: { cgroup: /quell-no-such-cgroup }\n");
    let ran = quell(&["config", "check", config.to_str().unwrap()]).ends(0);
    if std::path::Path::new("/sys/fs/cgroup").read_dir().is_ok_and(|mut all| all.next().is_some()) {
        assert!(ran.err.contains("`/quell-no-such-cgroup`, which does not exist"), "{}", ran.err);
    }
}

#[test]
fn spans_of_time_in_playbooks_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let text = "playbook: p\ndescription: d\non: { manual: true }\nsteps:\n  kill:\n    action: process.kill\n    timeout: 0s\n    with: { process: \"${{ event.process.id }}\", signal: TERM, grace: xx }\n";
    let file = write(dir.path(), "p.yaml", text);
    let ran = quell(&["playbook", "check", file.to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("`timeout` is `0s`: no time at all"), "{}", ran.err);
    assert!(ran.err.contains("a span of time like"), "{}", ran.err);
}
