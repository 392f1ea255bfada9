//! A FIFO where a file is expected: it is told by its name, and nobody waits for its other end.

use super::{Bounded, Ran, command, wait_until, write};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::File;
use std::path::Path;
use std::process::Stdio;

/// Runs a command that must not hang; gives how it ended.
#[track_caller]
fn ends(args: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let file = |name: &str| File::create(path(name)).unwrap();
    let mut child =
        Bounded(command(args).stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().unwrap());
    let mut status = None;
    wait_until(&format!("{args:?} ends"), || {
        status = child.0.try_wait().unwrap();
        status.is_some()
    });
    let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    Ran { code: status.unwrap().code(), out: text("out"), err: text("err") }
}

pub(super) fn fifo(path: &Path) -> String {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Where either a file or a folder is expected, it may also be told that it is no folder.
fn says_what_it_is(ran: &Ran) -> bool {
    ran.err.contains("no file") || ran.err.contains("Not a directory")
}

#[test]
fn whoever_expects_a_file_says_that_it_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| fifo(&dir.path().join(name));
    let (bare, config) = (at("bare"), at("quell.yaml"));
    let (playbook, rule) = (at("playbooks/one.yaml"), at("rules/one.yml"));
    let below = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (playbooks, rules, state) = (below("playbooks"), below("rules"), below("state"));
    for (args, named, code) in [
        (&["config", "check", &config][..], &config, 1),
        (&["config", "show", "--config", &config], &config, 1),
        (&["playbook", "list", "--config", &config], &config, 1),
        (&["up", "--config", &config, "--data-dir", &state], &config, 2),
        (&["playbook", "check", &playbooks], &playbook, 1),
        (&["playbook", "check", &bare], &bare, 1),
        (&["playbook", "graph", &bare], &bare, 1),
        (&["rules", "check", &rules], &rule, 1),
        (&["rules", "check", &bare], &bare, 1),
        (&["detect", "--rules", &rules, "-"], &rule, 2),
    ] {
        let ran = ends(args).ends(code);
        assert!(says_what_it_is(&ran) && ran.err.contains(named.as_str()), "{args:?}: {}", ran.err);
    }
    assert!(!Path::new(&state).exists(), "nothing was made");
}

#[test]
fn a_daemon_is_not_started_with_a_fifo_for_definitions() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fifo(&dir.path().join("bare"));
    fifo(&dir.path().join("folder/one.yaml"));
    for text in [
        "playbooks: { dirs: [bare] }",
        "playbooks: { dirs: [folder] }",
        "rules: { dirs: [bare] }",
        "sources: { files: [{ path: bare }] }",
    ] {
        let config = write(dir.path(), "quell.yaml", &format!("{text}\n"));
        let ran = ends(&["up", "--config", config.to_str().unwrap(), "--data-dir", state.to_str().unwrap()]).ends(2);
        assert!(says_what_it_is(&ran), "{text}: {}", ran.err);
    }
}
