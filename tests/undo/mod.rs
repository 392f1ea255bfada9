//! What a playbook contained is let go through `quell up`: by a person, and by the end of a lease; by an engine that started
//! after the one that contained it was killed.
//!
//! Acts on copies of a shell in a cgroup of its own, under `only_within`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asked;
mod below;
mod false_positive;

use crate::cli::{Bounded, command, wait_until};
use crate::daemon::Daemon;
use crate::threats::group::Group;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const RULE: &str = "title: A program of the test\nname: NAME\nstatus: test\nlevel: high\n\
    logsource: { product: linux, category: process_creation }\n\
    detection:\n  image: { Image|endswith: /NAME }\n  condition: image\n";

const PLAYBOOK: &str = "playbook: NAME\ndescription: Holds what the test started.\n\
    on: { detections: { rules: [NAME] } }\nmode: enforce\nsteps:\n  hold:\n    action: process.freeze\n    \
    with: { process: \"${{ event.process.id }}\", scope: tree }\n    lease: { for: LASTS, at_end: undo }\n";

/// A program that says that it goes on, until it ends with the test.
struct Ticking {
    _child: Bounded,
    ticks: PathBuf,
}

impl Ticking {
    fn start(group: &Group, program: &Path) -> Self {
        let ticks = program.with_extension("ticks");
        let script = "while :; do echo >> \"$0\"; sleep 0.05; done";
        let argv = [program.to_str().unwrap(), "-c", script, ticks.to_str().unwrap()].map(str::to_owned);
        Self { _child: Bounded(group.spawn(&argv, program.parent().unwrap(), &[])), ticks }
    }

    fn count(&self) -> u64 {
        fs::metadata(&self.ticks).map_or(0, |file| file.len())
    }

    /// Waits until it goes on.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.count();
        wait_until("it goes on", || self.count() > before + 2);
    }
}

/// A directory for a daemon that enforces within this group and nowhere else.
fn home(top: &Group) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["playbooks", "rules"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let config = format!(
        "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
         guard:\n  only_within: {{ cgroup: {} }}\n",
        top.path
    );
    fs::write(dir.path().join("quell.yaml"), config).unwrap();
    dir
}

fn start_in(home: &Path) -> Daemon {
    let file = |name: &str| home.join(name);
    Daemon::start(command(&["up"]), Some(&file("quell.yaml")), &file("state"), &file("daemon.log"))
}

fn program(dir: &Path, name: &str, lasts: &str) -> PathBuf {
    let path = dir.join(name);
    assert!(Command::new("cat").arg("/bin/bash").stdout(File::create(&path).unwrap()).status().unwrap().success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.join(format!("rules/{name}.yml")), RULE.replace("NAME", name)).unwrap();
    let playbook = PLAYBOOK.replace("NAME", name).replace("LASTS", lasts);
    fs::write(dir.join(format!("playbooks/{name}.yaml")), playbook).unwrap();
    path
}

/// The one that contained: whoever starts finds what is held, and has a run for it in which it is so already.
fn first_run_of(daemon: &Daemon, playbook: &str) -> Option<Value> {
    let runs = daemon.ask_json(&["run", "list"]);
    let mut of = runs.as_array().unwrap().iter().filter(|run| run["playbook"] == playbook);
    of.next_back().cloned()
}

#[test]
fn what_is_held_is_let_go_by_a_person_and_by_the_end_of_a_lease_over_a_restart() {
    let Some(top) =
        Group::or_untested(&format!("quell-test-undo-{}", std::process::id()), "the taking back of what is held")
    else {
        return;
    };
    let dir = home(&top);
    let by_hand = program(dir.path(), "quell-held", "24h");
    let by_lease = program(dir.path(), "quell-leased", "4s");
    let start = || start_in(dir.path());
    let mut daemon = start();
    if !daemon.armed("the taking back of what is held") {
        return top.remove();
    }
    let (held, leased) = (Ticking::start(&top, &by_hand), Ticking::start(&top, &by_lease));
    let mut ids = Vec::new();
    for name in ["quell-held", "quell-leased"] {
        wait_until("it is held", || {
            first_run_of(&daemon, name).is_some_and(|run| run["state"] == "succeeded" || run["state"] == "undone")
        });
        ids.push(first_run_of(&daemon, name).unwrap()["id"].as_str().unwrap().to_owned());
    }
    daemon.kill();
    let mut daemon = start();
    daemon.stands();

    // Its lease is over: nobody asked, and the engine that froze it is dead.
    leased.goes_on();
    wait_until("its run says so", || first_run_of(&daemon, "quell-leased").unwrap()["state"] == "undone");

    let still = held.count();
    assert_eq!(daemon.status()["standing"], 1);
    let shown = daemon.ask(&["run", "show", &ids[0]]);
    assert!(shown.out.contains("stands until") && shown.out.contains("then it is undone"), "{}", shown.out);
    let kept = daemon.ask(&["run", "keep", &format!("{}/hold", ids[0]), "--for", "8h"]);
    assert_eq!(kept.code, Some(0), "{kept:?}");
    assert!(kept.out.contains("hold stands for 8h"), "{}", kept.out);
    assert_eq!(held.count(), still, "it is held all the time");

    let undone = daemon.ask(&["run", "undo", &ids[0], "--why", "a drill of ours"]);
    assert_eq!(undone.code, Some(0), "{undone:?}");
    held.goes_on();
    wait_until("its run says so", || first_run_of(&daemon, "quell-held").unwrap()["state"] == "undone");
    let view = daemon.ask_json(&["run", "show", &ids[0]]);
    assert_eq!(view["steps"][0]["outcome"], "undone");
    assert!(view["steps"][0]["proof"].as_str().unwrap().contains("nothing of it stands"), "{view}");
    let again = daemon.ask(&["run", "undo", &ids[0]]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("nothing that run"), "{}", again.err);
    assert_eq!(daemon.status()["standing"], 0);
    assert_eq!(daemon.ask(&["store", "check"]).code, Some(0));
    drop((held, leased));
    daemon.end();
    top.remove();
}
