//! Entries of /proc that cannot be read, as a security module, or the want of a capability, makes them: what the others say
//! holds all the same.

use crate::cli::{Bounded, binary, wait_until};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn of_a_parent_whose_image_cannot_be_read_the_rest_is_told() {
    let mark = format!("quell-unreadable-{}", std::process::id());
    let dir = tempfile::tempdir().unwrap();
    // It was there before, with more rights than the sensor, which may not look into it.
    let mut shell = Command::new("sh");
    let mut parent = Bounded(
        shell
            .args(["-c", "read line; /bin/true \"$0-child\"; read line", &mark])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut watch = Command::new("setpriv");
    watch.args(["--bounding-set=-sys_ptrace", "--inh-caps=-all"]).arg(binary());
    watch.args(["watch", "--json", "--class", "process_creation"]).stdin(Stdio::null());
    let file = |name: &str| File::create(dir.path().join(name)).unwrap();
    let Ok(child) = watch.stdout(file("events")).stderr(file("said")).spawn() else {
        return not_tested("there is no setpriv");
    };
    let mut watch = Bounded(child);
    let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    wait_until("it watches", || text("said").contains("watching") || watch.0.try_wait().unwrap().is_some());
    if watch.0.try_wait().unwrap().is_some() {
        return not_tested(&text("said"));
    }
    parent.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut found = None;
    wait_until("the child is told", || {
        let (events, child) = (text("events"), format!("{mark}-child"));
        let whole = events.lines().filter(|line| line.contains(&child));
        found = whole.filter_map(|line| serde_json::from_str::<Value>(line).ok()).next();
        found.is_some()
    });
    let told = found.unwrap();
    let (sigma, parent_of) = (&told["sigma"], &told["own"]["process"]["parent"]);
    assert!(sigma["ParentImage"].as_str().is_none_or(str::is_empty), "it can be read after all: {told}");
    assert!(sigma["ParentCommandLine"].as_str().is_some_and(|line| line.contains(&mark)), "{told}");
    assert_eq!(
        (&sigma["ParentProcessId"], &parent_of["pid"]),
        (&parent.0.id().into(), &parent.0.id().into()),
        "{told}"
    );
}

fn not_tested(why: &str) {
    assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
    eprintln!("NOT TESTED: what cannot be read in /proc: {why}");
}
