//! `process.block_exec` through `quell up`: a playbook keeps an image from starting in one cgroup, the kernel goes on with
//! it while the daemon is dead, the journal tells what fired meanwhile, and `uninstall` leaves nothing.
//!
//! And dies at the writing of what fired, and is paused by a kernel that does not take it.
//!
//! Acts on copies of a shell in cgroups of its own, under `only_within`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::cli::command;
use crate::daemon::Daemon;
use crate::threats::group::Group;
use quell_engine::store::Journal;
use quell_model::record::ReflexFired;
use quell_model::{Body, StreamId};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

const RULE: &str = "title: A file that must not start\nname: must-not-start\nstatus: test\nlevel: high\n\
    logsource: { product: linux, category: process_creation }\n\
    detection:\n  image: { Image|endswith: /MINER }\n  condition: image\n";

const PLAYBOOK: &str = "playbook: keep-from-starting\ndescription: What must not start does not start again.\n\
    on: { detections: { rules: [must-not-start] } }\nmode: enforce\nsteps:\n  block:\n    action: process.block_exec\n    \
    with:\n      path: \"${{ event.process.image }}\"\n      scope: cgroup\n      cgroup: \"${{ event.process.cgroup_path }}\"\n      \
    for: 10m\n";

struct Place {
    inside: Group,
    outside: Group,
    top: Group,
    miner: PathBuf,
    dir: tempfile::TempDir,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.top.remove();
    }
}

impl Place {
    fn new(name: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let top = Group::new(&format!("quell-test-{name}-{}", std::process::id()))?;
        let (inside, outside) = (top.below("in"), top.below("out"));
        // Its own name: the daemon of the test beside this one sees it too.
        let miner = dir.path().join(format!("quell-miner-{name}"));
        assert!(Command::new("cat").arg("/bin/sh").stdout(File::create(&miner).unwrap()).status().unwrap().success());
        fs::set_permissions(&miner, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["playbooks", "rules"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("rules/rule.yml"), RULE.replace("MINER", &format!("quell-miner-{name}"))).unwrap();
        fs::write(dir.path().join("playbooks/playbook.yaml"), PLAYBOOK).unwrap();
        let config = format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
             guard:\n  only_within: {{ cgroup: {} }}\n",
            inside.path
        );
        fs::write(dir.path().join("quell.yaml"), config).unwrap();
        Some(Self { inside, outside, top, miner, dir })
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn quell(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
        command.args(args).arg("--data-dir").arg(self.state()).stdin(Stdio::null());
        let out = command.output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.quell(&["status", "--json"]).1).unwrap_or_default()
    }

    fn daemon(&self) -> Daemon {
        let mut daemon = self.spawn(None);
        daemon.stands();
        daemon
    }

    /// One that dies by SIGKILL at a write (`engine/src/store/fault.rs`); a release build has no such place.
    fn dies(&self, place: &str) {
        assert_eq!(self.spawn(Some(place)).wait().signal(), Some(9));
    }

    fn spawn(&self, die: Option<&str>) -> Daemon {
        let mut quell = command(&["up"]);
        if let Some(place) = die {
            quell.env("QUELL_DIE_AT", place);
        }
        let file = |name: &str| self.dir.path().join(name);
        Daemon::start(quell, Some(&file("quell.yaml")), &self.state(), &file("log"))
    }

    #[track_caller]
    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}\n{}\n{log}", self.status());
            std::thread::yield_now();
        }
    }

    /// What it says when it is started in this cgroup; none when it is killed before.
    fn start(&self, group: &Group) -> Option<String> {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        let argv = [self.miner.to_str().unwrap(), "-c", "echo line"].map(str::to_owned);
        let status = group.spawn(&argv, dir.path(), &[]).wait().unwrap();
        let said = fs::read_to_string(dir.path().join("log")).unwrap();
        match status.signal() {
            Some(9) => {
                assert_eq!(said, "", "killed after its first line");
                None
            }
            _ => Some(said),
        }
    }

    /// Of the journal; nobody may be using it.
    fn fired(&self) -> Vec<ReflexFired> {
        let journal = Journal::open(&self.state()).unwrap();
        let records = journal.read(&StreamId::system(), 1).unwrap();
        journal.close();
        let fired = records.into_iter().filter_map(|record| match record.body {
            Body::ReflexFired(fired) => Some(*fired),
            _ => None,
        });
        fired.collect()
    }
}

fn not_tested(why: &str) {
    assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
    eprintln!("NOT TESTED: process.block_exec: {why}");
}

#[test]
fn what_a_playbook_blocked_does_not_start_again() {
    let Some(place) = Place::new("block") else { return not_tested("no cgroup can be made here") };
    let mut daemon = place.daemon();
    let status = place.status();
    if status["state"] != "armed" || status["block"]["loaded"] != true {
        return not_tested(&format!("{} {}", status["sensor"]["why"], status["block"]["why"]));
    }
    assert_eq!(place.start(&place.inside).as_deref(), Some("line\n"), "nobody has seen it yet");
    place.until("it is blocked", || place.status()["block"]["blocked"][0]["image"] == place.miner.to_str().unwrap());
    place.until("the run has proved it", || {
        let runs: Value = serde_json::from_str(&place.quell(&["run", "list", "--json"]).1).unwrap();
        runs[0]["state"] == "succeeded"
    });
    assert_eq!(place.start(&place.inside), None);
    assert_eq!(place.start(&place.outside).as_deref(), Some("line\n"), "another cgroup is not touched");
    kept_in_the_kernel_too(&place);
    let blocked = &place.status()["block"]["blocked"][0];
    assert_eq!((blocked["scope"].as_str(), blocked["struck"].as_u64()), (Some("cgroup"), Some(1)), "{blocked}");
    // Who looks at the incident sees what the kernel did for it.
    let incidents: Value = serde_json::from_str(&place.quell(&["incident", "list", "--json"]).1).unwrap();
    let ids: Vec<&str> = incidents.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    let line = format!("the kernel kept {}", place.miner.display());
    place.until("an incident tells of it", || {
        ids.iter().any(|id| {
            let shown: Value = serde_json::from_str(&place.quell(&["incident", "show", id, "--json"]).1).unwrap();
            let timeline = shown["timeline"].as_array().unwrap();
            timeline.iter().any(|told| told["text"].as_str().unwrap().starts_with(&line))
        })
    });
    // The big red button holds it too.
    assert!(place.quell(&["pause"]).0);
    assert_eq!(place.start(&place.inside).as_deref(), Some("line\n"));
    assert!(place.quell(&["resume"]).0);
    assert_eq!(place.start(&place.inside), None);

    if status["block"]["pinned"].is_null() {
        // Another daemon of this machine has the pins, as in a test beside this one.
        eprintln!("NOT TESTED: a block without its daemon: {}", status["block"]["unpinned_why"]);
        daemon.end();
        let fired = place.fired();
        assert_eq!(fired.iter().map(|one| one.count).sum::<u64>(), 2, "{fired:?}");
        return;
    }
    a_pause_that_the_kernel_does_not_take(&place);
    daemon.kill();
    for _ in 0..3 {
        assert_eq!(place.start(&place.inside), None, "the daemon is dead, the block stands");
    }
    // Killed before they are in the journal, and after, before the kernel was told: told once all the same.
    if cfg!(debug_assertions) {
        place.dies("before:1");
        place.dies("after:1");
    }
    let daemon = place.daemon();
    assert_eq!(place.status()["block"]["blocked"][0]["struck"], 6);
    assert_eq!(place.start(&place.inside), None);
    daemon.end();
    assert_eq!(place.start(&place.inside), None, "ended in good order, it stands");
    let fired = place.fired();
    let count = |unattended| fired.iter().filter(|one| one.unattended == unattended).map(|one| one.count).sum::<u64>();
    assert_eq!(count(true) + count(false), 7, "{fired:?}");
    assert!(count(true) >= 3, "{fired:?}");
    assert!(fired.iter().all(|one| one.run.is_some()), "{fired:?}");
    assert!(fired.iter().all(|one| Path::new(&one.image) == place.miner && !one.struck.is_empty()), "{fired:?}");

    let (done, text) = place.quell(&["uninstall", "--keep", "--json"]);
    let left: Value = serde_json::from_str(&text).unwrap();
    assert!(done && left["stood"][0]["action"] == "process.block_exec", "{left}");
    assert!(left["stood"][0]["owner"]["person"].is_string() && left["stood"][0]["until"].is_string(), "{left}");
    assert_eq!(place.start(&place.inside), None, "what is kept stands");

    let (done, text) = place.quell(&["uninstall", "--json"]);
    let left: Value = serde_json::from_str(&text).unwrap();
    assert!(done, "{left}");
    assert_eq!(left["unblocked"][0]["id"], place.miner.to_str().unwrap(), "{left}");
    place.until("it starts again", || place.start(&place.inside).is_some());
    let daemon = place.daemon();
    assert_eq!(place.status()["block"]["blocked"], Value::Array(Vec::new()), "what was taken back is not renewed");
    assert_eq!(place.status()["standing"], 0, "nor told to stand");
    daemon.end();
}

/// Whoever keeps it is answered once the kernel keeps it too.
fn kept_in_the_kernel_too(place: &Place) {
    let left = || place.status()["block"]["blocked"][0]["kernel_seconds_left"].as_u64().unwrap();
    assert!(left() <= 600, "as `for` says");
    let lease = place.status()["leases"][0].clone();
    assert_eq!(lease["owner"]["playbook"], "keep-from-starting", "{lease}");
    assert!(place.quell(&["run", "keep", lease["run"].as_str().unwrap(), "--for", "8h"]).0);
    assert!(left() >= 8 * 3600, "{}", place.status());
    let shown = place.status()["block"]["blocked"][0]["seconds_left"].as_u64().unwrap();
    assert!((7 * 3600..=8 * 3600).contains(&shown), "what is shown is the lease's end: {}", place.status());
}

/// The flag's pin is another thing for a moment: the pause must say that it did not reach the kernel.
fn a_pause_that_the_kernel_does_not_take(place: &Place) {
    let flag = Path::new(quell_detectors::pin::DIR).join("pause");
    let away = flag.with_file_name("pause-away");
    fs::rename(&flag, &away).unwrap();
    fs::create_dir(&flag).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    let said = command.arg("pause").arg("--data-dir").arg(place.state()).stdin(Stdio::null()).output();
    let status = place.status();
    fs::remove_dir(&flag).unwrap();
    fs::rename(&away, &flag).unwrap();
    let said = said.unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(text.contains("strikes on") && text.contains("hint: "), "{text}");
    assert!(status["paused"] == true && status["pause_failed"].is_string(), "{status}");
    assert!(place.quell(&["pause"]).0 && place.status()["pause_failed"].is_null());
    assert!(place.quell(&["resume"]).0);
    assert_eq!(place.start(&place.inside).as_deref(), None);
}

#[test]
fn what_a_boot_has_ended_stands_again_or_has_lapsed() {
    let Some(place) = Place::new("boot") else { return not_tested("no cgroup can be made here") };
    let daemon = place.daemon();
    let status = place.status();
    if status["state"] != "armed" || status["block"]["loaded"] != true {
        return not_tested(&format!("{} {}", status["sensor"]["why"], status["block"]["why"]));
    }
    daemon.end();
    again(&place);
}

/// As a new boot finds it: the journal says that it stands, the kernel knows nothing of it.
fn again(place: &Place) {
    let renewed = |place: &Place| {
        let journal = Journal::open(&place.state()).unwrap();
        let records = journal.read(&StreamId::system(), 1).unwrap();
        journal.close();
        let changed = records.into_iter().filter_map(|record| match record.body {
            Body::LeaseChanged(changed) => Some(changed.state.to_string()),
            _ => None,
        });
        changed.collect::<Vec<_>>()
    };
    let daemon = place.daemon();
    assert_eq!(place.start(&place.inside).as_deref(), Some("line\n"));
    place.until("it is blocked", || place.status()["block"]["blocked"][0]["image"] == place.miner.to_str().unwrap());
    place.until("the run has proved it", || {
        let runs: Value = serde_json::from_str(&place.quell(&["run", "list", "--json"]).1).unwrap();
        runs[0]["state"] == "succeeded"
    });
    daemon.end();
    forget(place);
    let daemon = place.daemon();
    assert_eq!(place.start(&place.inside), None, "it stands again");
    daemon.end();
    assert_eq!(renewed(place), [""; 0], "by the plan that it had");
    forget(place);
    fs::write(&place.miner, "#!/bin/sh\necho line\n").unwrap();
    let daemon = place.daemon();
    assert_eq!(place.start(&place.inside).as_deref(), Some("line\n"), "another content is another file");
    let shown = |what: &str, id: &str| -> Value {
        serde_json::from_str(&place.quell(&[what, "show", id, "--json"]).1).unwrap()
    };
    let runs: Value = serde_json::from_str(&place.quell(&["run", "list", "--json"]).1).unwrap();
    let run = shown("run", runs[0]["id"].as_str().unwrap());
    assert_eq!(run["steps"][0]["lease"], Value::Null, "nothing is told to stand: {run}");
    let incident = shown("incident", run["incident"].as_str().unwrap()).to_string();
    assert!(incident.contains("stands no more") && incident.contains("another content"), "{incident}");
    daemon.end();
    assert_eq!(renewed(place), ["lapsed"]);
    assert!(place.quell(&["uninstall"]).0);
}

#[test]
fn two_runs_want_the_same_image_kept_and_each_is_taken_back_for_itself() {
    let Some(place) = Place::new("both") else { return not_tested("no cgroup can be made here") };
    let longer = PLAYBOOK.replace("keep-from-starting", "keep-longer").replace("for: 10m", "for: 30m");
    fs::write(place.dir.path().join("playbooks/longer.yaml"), longer).unwrap();
    let daemon = place.daemon();
    let status = place.status();
    if status["state"] != "armed" || status["block"]["loaded"] != true {
        return not_tested(&format!("{} {}", status["sensor"]["why"], status["block"]["why"]));
    }
    let runs = || -> Vec<Value> { serde_json::from_str(&place.quell(&["run", "list", "--json"]).1).unwrap() };
    let state = |id: &str| runs().into_iter().find(|run| run["id"] == id).map(|run| run["state"].clone());
    assert_eq!(place.start(&place.inside).as_deref(), Some("line\n"));
    place.until("both have proved it", || {
        let runs = runs();
        runs.len() == 2 && runs.iter().all(|run| run["state"] == "succeeded")
    });
    let by = |playbook: &str| {
        runs().into_iter().find(|run| run["playbook"] == playbook).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (short, long) = (by("keep-from-starting"), by("keep-longer"));
    assert!(place.quell(&["run", "undo", &short, "--why", "a drill"]).0);
    place.until("the first is taken back", || state(&short).is_some_and(|state| state == "undone"));
    let shown = place.quell(&["run", "show", &short, "--json"]).1;
    assert!(shown.contains(&format!("all the same, by run {long}")), "{shown}");
    assert_eq!(place.start(&place.inside), None, "the other wants it still");
    assert!(place.quell(&["run", "undo", &long, "--why", "a drill"]).0);
    place.until("the second is taken back", || state(&long).is_some_and(|state| state == "undone"));
    assert_eq!(place.start(&place.inside).as_deref(), Some("line\n"), "nobody keeps it");
    daemon.end();
    assert!(place.quell(&["uninstall"]).0);
}

/// What was pinned goes, and the journal stays.
fn forget(place: &Place) {
    use quell_detectors::pin;
    drop(pin::remove(Path::new(pin::DIR), &place.state()).unwrap());
}
