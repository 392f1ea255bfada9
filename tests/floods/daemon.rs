//! A daemon in enforce that may touch one cgroup of the test's own, and that cgroup.

use super::not_tested;
use crate::cli::command;
use crate::daemon::Daemon as Own;
use crate::threats::group::Group;
use quell_model::ProcessId;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

pub(super) struct Daemon {
    pub(super) own: Own,
    top: Group,
    /// All that it may touch.
    pub(super) inside: Group,
    pub(super) dir: tempfile::TempDir,
}

impl Daemon {
    /// Armed; `None`, loudly, where no daemon can be.
    pub(super) fn start(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            not_tested(&format!("{name}: only root may load BPF and make cgroups"));
            return None;
        }
        let Some(top) = Group::new(&format!("quell-test-{}-{name}", std::process::id())) else {
            not_tested(&format!("{name}: no cgroup can be made here"));
            return None;
        };
        let (dir, inside) = (tempfile::tempdir().unwrap(), top.below("in"));
        let config = dir.path().join("quell.yaml");
        // So many attacks in a minute are too many for a host, not for a test.
        let guard = format!(
            "guard:\n  only_within: {{ cgroup: {} }}\n  breaker: {{ images: 1000, within: 10m, quiet: 1m }}\n",
            inside.path
        );
        fs::write(&config, guard).unwrap();
        let own = Own::start(
            command(&["up", "--mode", "enforce"]),
            Some(&config),
            &dir.path().join("state"),
            &dir.path().join("daemon.log"),
        );
        let mut daemon = Self { own, top, inside, dir };
        daemon.own.stands();
        let status = daemon.own.status();
        if status["state"] != "armed" {
            not_tested(&format!("{name}: {}", status["sensor"]["why"]));
            return None;
        }
        Some(daemon)
    }

    /// What a client prints; nothing when nobody answered.
    pub(super) fn ask(&self, args: &[&str]) -> Option<Value> {
        let out = Command::new(env!("CARGO_BIN_EXE_quell"))
            .args(args)
            .args([Path::new("--json"), Path::new("--data-dir"), &self.dir.path().join("state")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        serde_json::from_slice(&out.stdout).ok()
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.own.signal(signal);
    }

    /// Its anonymous memory.
    pub(super) fn rss_anon_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.own.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// A whole run about a process that is over and has a verified kill, once there is one.
    pub(super) fn run_about(&self, pid: u32, ticks: u64) -> Option<Value> {
        let list = self.ask(&["run", "list"])?;
        let ids =
            list.as_array()?.iter().filter(|run| run["state"] == "succeeded").filter_map(|run| run["id"].as_str());
        let is_it = |run: &Value| {
            let id = run["event"]["process"]["id"].as_str().and_then(|id| id.parse::<ProcessId>().ok());
            id.is_some_and(|id| id.pid == pid && id.start_ticks() == ticks)
        };
        let kills = |step: &&Value| step["id"].as_str().is_some_and(|id| id.starts_with("kill"));
        ids.filter_map(|id| self.ask(&["run", "show", id])).find(|run| {
            let steps = run["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
            is_it(run) && steps.iter().filter(kills).any(|step| step["outcome"] == "verified")
        })
    }

    /// The incident about a cgroup.
    pub(super) fn incident(&self, group: &Group) -> Option<Value> {
        let list = self.ask(&["incident", "list"])?;
        let about = |one: &&Value| one["entity"]["id"] == group.path.as_str();
        list.as_array()?.iter().find(about).cloned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("The daemon said last:\n{}", self.own.log());
        }
        // It may have been stopped, or have ended.
        for signal in [Signal::CONT, Signal::TERM] {
            self.own.try_signal(signal);
        }
        let end = std::time::Instant::now() + super::PATIENCE;
        while self.own.ended().is_none() && std::time::Instant::now() < end {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        self.own.kill();
        self.top.remove();
    }
}
