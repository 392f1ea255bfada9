//! The demo contains its own attack, and leaves nothing behind, also when it is told to end in the middle.

use super::{command, quell, wait_until};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

/// Two demos at once would see each other's processes come and go: one after the other.
static ONE: Mutex<()> = Mutex::new(());

fn left_behind(pid: u32) -> Vec<String> {
    let name = format!("quell-demo-{pid}");
    let mut left: Vec<String> =
        ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/freezer", "/tmp", "/home", "/dev/shm"]
            .iter()
            .flat_map(|dir| [format!("{dir}/{name}"), format!("{dir}/.{name}")])
            .filter(|path| Path::new(path).exists())
            .collect();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&name) {
            left.push(entry.path().display().to_string());
        }
    }
    left
}

#[test]
fn one_attack_is_contained_and_explained_and_nothing_is_left() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let child = command(&["demo"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert!(!out.contains('\u{1b}'), "no colour off a terminal");
    if out.contains("recording") {
        eprintln!("NOT TESTED: the demo with a sensor: it replayed its recording");
        assert!(out.contains("planned"), "{out}");
    } else {
        for word in ["/dev/shm", "freeze", "kill", "verified", "timeline"] {
            assert!(out.to_lowercase().contains(word), "`{word}` is missing:\n{out}\n{err}");
        }
    }
    assert_eq!(left_behind(pid), Vec::<String>::new());
}

#[test]
fn a_demo_that_is_told_to_end_leaves_nothing() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut child = command(&["demo"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        wait_until("its stage is set, or it has ended", || {
            !left_behind(pid).is_empty() || child.try_wait().unwrap().is_some()
        });
        if child.try_wait().unwrap().is_none() {
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        }
        wait_until("it ends", || child.try_wait().unwrap().is_some());
        wait_until("nothing is left", || left_behind(pid).is_empty());
    }
}

#[test]
fn the_demo_as_json_is_one_document() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let told = quell(&["demo", "--json"]).ends(0).json();
    assert!(told["acts"].as_array().is_some_and(|acts| !acts.is_empty() && acts[0]["id"].is_string()), "{told}");
    assert!(told["live"].is_boolean());
}
