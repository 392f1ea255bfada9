//! A host in small: cgroups, rules and playbooks of a test's own, and daemons that are started and killed on it.

use crate::cli::{Ran, command, wait_until, write};
use crate::threats::group::Group;
use quell_engine::store::Journal;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// See the module.
pub(crate) struct Host {
    keep: tempfile::TempDir,
    top: Group,
    /// All that a daemon here may touch.
    pub(crate) inside: Group,
    /// Beside it.
    pub(crate) outside: Group,
    /// The name of the program that is an attack, and in the rules.
    pub(crate) mark: String,
}

impl Host {
    /// With these playbooks, by name and text; each rule that one of them asks for matches what `selection` says of
    /// `process_creation` (`MARK` is the attack's name). `None` where none can be made, which is said loudly.
    pub(crate) fn new(name: &str, playbooks: &[(&str, String)], rules: &[(&str, &str)]) -> Option<Self> {
        let refused = if rustix::process::geteuid().is_root() { None } else { Some("only root may load BPF") };
        let mark = format!("quell-{name}-{}", std::process::id());
        let top = if refused.is_none() { Group::new(&mark) } else { None };
        let Some(top) = top else {
            let why = refused.unwrap_or("no cgroup can be made here");
            assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
            eprintln!("NOT TESTED: bad days, {name}: {why}");
            return None;
        };
        let (inside, outside) = (top.below("in"), top.below("out"));
        let host = Self { keep: tempfile::tempdir().unwrap(), top, inside, outside, mark };
        for (sensor, file) in [(true, "quell.yaml"), (false, "blind.yaml")] {
            let text = format!(
                "mode: enforce\nsources: {{ sensor: {{ enabled: {sensor} }} }}\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\n\
                 rules: {{ shipped: false, dirs: [rules] }}\nguard:\n  only_within: {{ cgroup: {} }}\n  \
                 breaker: {{ images: 100000, within: 10m, quiet: 1m }}\n  limits: {{ process.kill: 100000/h, process.freeze: 100000/h, process.capture: 100000/h }}\n",
                host.inside.path
            );
            write(host.dir(), file, &text);
        }
        fs::create_dir(host.dir().join("playbooks")).unwrap();
        for (name, text) in playbooks {
            write(host.dir(), &format!("playbooks/{name}.yaml"), text);
        }
        for (number, (rule, selection)) in rules.iter().enumerate() {
            let selection = selection.replace("MARK", &host.mark);
            let text = format!(
                "title: {rule}\nname: {rule}\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a{number:04}\nstatus: test\n\
                 logsource: {{ product: linux, category: process_creation }}\n\
                 detection: {{ s: {{ {selection} }}, condition: s }}\nlevel: high\n"
            );
            write(host.dir(), &format!("rules/{rule}.yml"), &text);
        }
        Some(host)
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.keep.path()
    }

    /// A copy of a program under another name, in a directory of its own.
    pub(crate) fn copy(&self, program: &str, name: &str) -> String {
        let path = self.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(program, &path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A program that only sleeps, and that the rules want.
    pub(crate) fn victim(&self) -> String {
        let path = self.dir().join("bin").join(&self.mark);
        if path.exists() {
            path.to_str().unwrap().to_owned()
        } else {
            self.copy("/bin/sleep", &format!("bin/{}", self.mark))
        }
    }

    /// A daemon with its data in `state`, that has come to its feet.
    pub(crate) fn armed(&self, state: &Path) -> Option<Daemon> {
        let mut daemon = self.start(state, true, None);
        wait_until("the daemon answers", || {
            assert!(daemon.ended().is_none(), "the daemon ended:\n{}", daemon.log());
            matches!(daemon.try_status(), Some(status) if status["state"] != "starting")
        });
        if daemon.status()["state"] == "armed" {
            return Some(daemon);
        }
        let why = daemon.status()["sensor"]["why"].to_string();
        assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
        eprintln!("NOT TESTED: {}: {why}", self.mark);
        None
    }

    /// Starts a daemon and waits for nothing; `die` names the write at which it ends (`engine/src/store/fault.rs`).
    pub(crate) fn start(&self, state: &Path, sensor: bool, die: Option<&str>) -> Daemon {
        let config = self.dir().join(if sensor { "quell.yaml" } else { "blind.yaml" });
        let log = self.dir().join("daemon.log");
        let err = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut up = command(&["up", "--config", config.to_str().unwrap(), "--data-dir", state.to_str().unwrap()]);
        if let Some(place) = die {
            up.env("QUELL_DIE_AT", place);
        }
        let child = up.stdout(Stdio::null()).stderr(err).spawn().unwrap();
        Daemon { child, state: state.to_owned(), log }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.top.remove();
    }
}

/// A daemon; killed when the test ends, however it ends.
pub(crate) struct Daemon {
    child: Child,
    /// Its data directory.
    pub(crate) state: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let mut ended = None;
        wait_until("the daemon ends", || {
            ended = self.ended();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// What it logged last.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Runs a client.
    pub(crate) fn ask(&self, args: &[&str]) -> Ran {
        let mut command = command(args);
        Ran::of(command.args(["--data-dir", self.state.to_str().unwrap()]).output().unwrap())
    }

    /// A client's document; fails the test when there is none.
    pub(crate) fn ask_json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let ran = self.ask(&all);
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{args:?}: {e}: {ran:?}\n{}", self.log()))
    }

    /// Its status; fails the test when it does not answer.
    pub(crate) fn status(&self) -> Value {
        self.ask_json(&["status"])
    }

    /// Its status, if it answers. Asked on the socket itself: a client's start takes longer than the answer.
    pub(crate) fn try_status(&self) -> Option<Value> {
        self.get("/status")
    }

    /// What a route answers, if it does. In HTTP 1.0, so that a list comes whole and not in chunks.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let mut socket = UnixStream::connect(self.state.join("quell.sock")).ok()?;
        socket.set_read_timeout(Some(crate::cli::PATIENCE)).unwrap();
        write!(socket, "GET {path} HTTP/1.0\r\nhost: quell\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as a supervisor would; it must end well.
    pub(crate) fn end(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What has become of every run: its state and its steps' outcomes.
    pub(crate) fn runs(&self) -> Vec<Value> {
        let list = self.ask_json(&["run", "list"]);
        list.as_array()
            .unwrap()
            .iter()
            .map(|run| self.ask_json(&["run", "show", run["id"].as_str().unwrap()]))
            .collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that was stopped would not die before it goes on.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Fails the test unless the journal of a daemon that has ended holds together.
#[track_caller]
pub(crate) fn verifies(state: &Path) -> Journal {
    let journal = Journal::open_read_only(state).unwrap();
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    assert_eq!(journal.health().recovery, Vec::<String>::new());
    journal
}

/// A playbook of one step: kills the process that a rule saw.
pub(crate) fn kill_one(rule: &str) -> String {
    format!(
        "playbook: end-it\ndescription: Kills it.\non: {{ detections: {{ rules: [{rule}], level: low }} }}\nmode: enforce\n\
         limits: {{ runs: 100000/h }}\nsteps:\n  kill: {{ action: process.kill, with: {{ process: \"${{{{ event.process.id }}}}\", scope: process }} }}\n"
    )
}

/// One that holds it, looks at it, and kills it.
pub(crate) fn hold_and_kill(rule: &str) -> String {
    format!(
        "playbook: hold-and-kill\ndescription: Holds it, keeps it, kills it.\non: {{ detections: {{ rules: [{rule}], level: low }} }}\nmode: enforce\n\
         limits: {{ runs: 100000/h }}\nsteps:\n\
         \x20 freeze: {{ action: process.freeze, with: {{ process: \"${{{{ event.process.id }}}}\", scope: tree }} }}\n\
         \x20 evidence: {{ needs: [freeze], action: process.capture, with: {{ process: \"${{{{ event.process.id }}}}\" }}, on_failure: continue }}\n\
         \x20 kill: {{ needs: [evidence], action: process.kill, with: {{ process: \"${{{{ event.process.id }}}}\", scope: tree }} }}\n"
    )
}
