//! A quell on the node of a cluster's pods: this machine, a mount namespace with a BPF file system of its own, so that what is pinned is
//! nobody else's, and a directory.
//!
//! One at a time: each sees every process of the machine, and would answer the attack of the test beside it.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use crate::cli::{Ran, write};
use crate::cluster::{Cluster, until};
use crate::daemon::Daemon;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the module.
pub(super) struct Node<'c> {
    pub(super) cluster: &'c Cluster,
    home: tempfile::TempDir,
    /// Keeps the mount namespace; ends with its stdin.
    holder: Child,
    _alone: MutexGuard<'static, ()>,
}

impl<'c> Node<'c> {
    /// On this cluster's node; none, loudly, where that is another machine.
    pub(super) fn of(cluster: &'c Cluster, what: &str) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        if cluster.try_fact("CGROUP").is_none() {
            eprintln!("NOT TESTED: {what}: the cluster's node is not this machine");
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", "mount -t bpf bpf /sys/fs/bpf && echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "no BPF file system can be mounted");
        let home = tempfile::tempdir().unwrap();
        for name in ["playbooks", "rules"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        Some(Self { cluster, home, holder, _alone: alone })
    }

    /// A file of it.
    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        write(self.home.path(), name, text)
    }

    pub(super) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// The configuration, but for these lines: it enforces in this cluster, with the playbooks and rules of its directory, and with what
    /// ships where `shipped` says so.
    pub(super) fn configure(&self, shipped: bool, kubeconfig: &Path, more: &str) {
        let text = format!(
            "mode: enforce\nkubernetes: {{ cluster: test, kubeconfig: {}, node: {} }}\n\
             playbooks: {{ shipped: {shipped}, dirs: [playbooks] }}\nrules: {{ shipped: {shipped}, dirs: [rules] }}\n{more}\n",
            kubeconfig.display(),
            self.cluster.fact("NODE"),
        );
        self.file("quell.yaml", &text);
    }

    /// The guard that keeps it in a namespace, and to processes of the cluster's pods.
    pub(super) fn within(&self, namespace: &str) -> String {
        let cgroup = self.cluster.fact("CGROUP");
        format!("guard: {{ only_within: {{ namespace: {namespace}, cgroup: {cgroup} }} }}")
    }

    /// quell within its mounts, with these words.
    fn quell(&self, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg(crate::cli::binary()).args(args);
        command.env_remove("NO_COLOR").env("COLUMNS", "100").stdin(Stdio::null());
        command
    }

    /// Runs it to its end, with its data directory.
    pub(super) fn says(&self, args: &[&str]) -> Ran {
        Ran::of(self.quell(args).arg("--data-dir").arg(self.state()).output().unwrap())
    }

    /// A daemon that is armed, has a cut, and knows the pods of its node; none, loudly, where it cannot be.
    pub(super) fn armed(&self, what: &str) -> Option<Daemon> {
        let file = |name: &str| self.home.path().join(name);
        let mut daemon = Daemon::start(self.quell(&["up"]), Some(&file("quell.yaml")), &self.state(), &file("log"));
        if !daemon.armed(what) {
            return None;
        }
        let status = daemon.status();
        if status["cut"]["loaded"] != true {
            assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{}", status["cut"]);
            eprintln!("NOT TESTED: {what}: {}", status["cut"]["why"]);
            return None;
        }
        until("it knows the pods of its node", || (daemon.get("/status")?["pods"]["live"] == true).then_some(()));
        Some(daemon)
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}

/// The latest run of a playbook, as it is shown; about a pod, by its uid, where that is said.
pub(super) fn run_of(daemon: &Daemon, playbook: &str, uid: Option<&str>) -> Option<Value> {
    let runs = daemon.ask_json(&["run", "list"]);
    let of_it = runs.as_array().unwrap().iter().filter(|run| run["playbook"] == playbook);
    let shown = of_it.map(|run| daemon.ask_json(&["run", "show", run["id"].as_str().unwrap()]));
    shown.filter(|run| uid.is_none_or(|uid| run["event"]["pod"]["uid"] == uid)).next()
}

/// The same, once it has ended.
#[track_caller]
pub(super) fn ended(daemon: &Daemon, playbook: &str, uid: Option<&str>) -> Value {
    until(&format!("a run of {playbook} has ended"), || {
        run_of(daemon, playbook, uid).filter(|run| !["running", "waiting"].contains(&run["state"].as_str().unwrap()))
    })
}

/// A step of a run; null: it has not begun.
pub(super) fn step<'r>(run: &'r Value, id: &str) -> &'r Value {
    static NONE: Value = Value::Null;
    run["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap_or(&NONE)
}

/// Takes a whole run back.
#[track_caller]
pub(super) fn taken_back(daemon: &Daemon, run: &Value) -> Value {
    let id = run["id"].as_str().unwrap();
    daemon.ask(&["run", "undo", id, "--why", "a drill"]).ends(0);
    until("it is taken back", || {
        let run = daemon.ask_json(&["run", "show", id]);
        ["undone", "stuck"].contains(&run["state"].as_str().unwrap()).then_some(run)
    })
}
