//! One daemon for all tests that run at the same time, and the cgroups around it: `in`, which is all that it may touch,
//! and `out`, which it may not.

use super::group::Group;
use super::{tools, wait_for};
use crate::cli::command;
use crate::daemon::Daemon;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The daemon, armed.
pub(super) struct Stage {
    daemon: Daemon,
    top: Group,
    /// The daemon's `only_within`.
    pub(super) inside: Group,
    /// Beside it.
    pub(super) outside: Group,
    /// The small program of [`tools::program`].
    pub(super) program: PathBuf,
    /// Each known run's cgroup, so that it is asked for once.
    seen: Mutex<HashMap<String, String>>,
    dir: tempfile::TempDir,
    shm: tempfile::TempDir,
}

static SHARED: Mutex<Weak<Stage>> = Mutex::new(Weak::new());

impl Stage {
    /// The stage that others stand on, or a new one. `None` where none can be built, which is said loudly, and fails
    /// where it should have been possible.
    pub(super) fn enter() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = shared.upgrade() {
            return Some(stage);
        }
        match Self::build() {
            Ok(stage) => {
                let stage = Arc::new(stage);
                *shared = Arc::downgrade(&stage);
                Some(stage)
            }
            Err(why) => {
                assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
                eprintln!("NOT TESTED: that the four threats are stopped: {why}");
                None
            }
        }
    }

    fn build() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may load BPF and make cgroups".to_owned());
        }
        static BUILT: AtomicU32 = AtomicU32::new(0);
        let (dir, shm) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let program = tools::program(dir.path());
        let name = format!("quell-test-{}-{}", std::process::id(), BUILT.fetch_add(1, Ordering::Relaxed));
        let top = Group::new(&name).ok_or("no cgroup can be made here")?;
        let (inside, outside) = (top.below("in"), top.below("out"));
        // So many attacks in a minute are too many for a host, not for a test.
        let guard = format!(
            "guard:\n  only_within: {{ cgroup: {} }}\n  breaker: {{ images: 1000, within: 10m, quiet: 1m }}\n",
            inside.path
        );
        let config = tools::write(dir.path(), "quell.yaml", &guard);
        let daemon = Daemon::start(
            command(&["up", "--mode", "enforce"]),
            Some(&config),
            &dir.path().join("state"),
            &dir.path().join("daemon.log"),
        );
        let mut stage = Self { daemon, top, inside, outside, program, seen: Mutex::default(), dir, shm };
        stage.daemon.stands();
        let status = stage.daemon.status();
        if status["state"] == "armed" { Ok(stage) } else { Err(status["sensor"]["why"].to_string()) }
    }

    /// What the daemon has logged last.
    pub(super) fn log(&self) -> String {
        self.daemon.log()
    }

    /// Directories for what happens in a cgroup: a plain one, and one in /dev/shm.
    pub(super) fn dirs(&self, group: &Group) -> (PathBuf, PathBuf) {
        let below = |dir: &tempfile::TempDir| {
            let path = dir.path().join(group.path.trim_start_matches('/'));
            fs::create_dir_all(&path).unwrap();
            path
        };
        (below(&self.dir), below(&self.shm))
    }

    /// Every run about something in this cgroup, whole, as `quell run show` gives it.
    pub(super) fn runs(&self, group: &Group) -> Vec<Value> {
        let list = self.daemon.ask_json(&["run", "list"]);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for id in list.as_array().unwrap().iter().filter_map(|run| run["id"].as_str()) {
            if seen.get(id).is_some_and(|path| *path != group.path) {
                continue;
            }
            let run = self.daemon.ask_json(&["run", "show", id]);
            let path = run["event"]["process"]["cgroup_path"].as_str().unwrap_or_default();
            seen.insert(id.to_owned(), path.to_owned());
            if path == group.path {
                found.push(run);
            }
        }
        found
    }

    /// Whether a run about this cgroup of this playbook has killed, and proved it.
    pub(super) fn has_proved(&self, group: &Group, playbook: &str) -> bool {
        self.runs(group).iter().any(|run| {
            run["playbook"] == playbook
                && run["state"] == "succeeded"
                && run["steps"].as_array().is_some_and(|steps| {
                    let kills = |step: &&Value| step["id"].as_str().is_some_and(|id| id.starts_with("kill"));
                    steps.iter().filter(kills).any(|step| step["outcome"] == "verified")
                })
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.daemon.try_signal(rustix::process::Signal::TERM);
        if wait_for(|| self.daemon.ended()).is_none() {
            self.daemon.kill();
        }
        self.top.remove();
    }
}
