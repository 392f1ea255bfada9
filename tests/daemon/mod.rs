//! A daemon of a test's own: how it is started, asked and ended. Killed when the test ends, however it ends, and what it pinned
//! in the kernel goes with it.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]
#![cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "most of those who use it need the sensor"))]

use crate::cli::{Ran, command, wait_until};
#[cfg(feature = "ebpf")]
use quell_detectors::pin;
use rustix::process::Signal;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a route answered.
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The media type.
    pub(crate) kind: String,
    /// The document.
    pub(crate) body: Value,
}

/// See the module.
pub(crate) struct Daemon {
    child: Child,
    /// Its data directory.
    pub(crate) state: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts this command (`quell up`, by whatever runs it) with its configuration and data, and waits for nothing; what it
    /// says is added to the log.
    pub(crate) fn start(mut quell: Command, config: Option<&Path>, state: &Path, log: &Path) -> Self {
        let err = File::options().create(true).append(true).open(log).unwrap();
        quell.arg("--data-dir").arg(state);
        if let Some(config) = config {
            quell.arg("--config").arg(config);
        }
        let child = quell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err).spawn().unwrap();
        Self { child, state: state.to_owned(), log: log.to_owned() }
    }

    /// Waits until it stands, armed or blind; fails the test when it ends instead.
    #[track_caller]
    pub(crate) fn stands(&mut self) {
        wait_until("the daemon answers", || {
            assert!(self.ended().is_none(), "the daemon ended:\n{}", self.log());
            matches!(self.try_status(), Some(status) if status["state"] != "starting")
        });
    }

    /// Waits until it stands; false, loudly, where it cannot be armed.
    #[track_caller]
    pub(crate) fn armed(&mut self, what: &str) -> bool {
        self.stands();
        let status = self.status();
        if status["state"] == "armed" {
            return true;
        }
        let why = status["sensor"]["why"].to_string();
        assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
        eprintln!("NOT TESTED: {what}: {why}");
        false
    }

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

    /// All that it logged, and those before it with the same log.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it logged last.
    pub(crate) fn log(&self) -> String {
        let text = self.said();
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

    /// What a route of the API answers, if it does.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.exchange("GET", &format!("/v1{path}"), "").map(|answer| answer.body)
    }

    /// One exchange on the socket, if somebody answers. In HTTP 1.0, so that the answer's end is the connection's.
    pub(crate) fn exchange(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let mut socket = UnixStream::connect(self.state.join("quell.sock")).ok()?;
        socket.set_read_timeout(Some(crate::cli::PATIENCE)).unwrap();
        let head = format!("{method} {path} HTTP/1.0\r\nhost: quell\r\ncontent-length: {}\r\n\r\n", body.len());
        socket.write_all(head.as_bytes()).ok()?;
        // Whoever refuses a long body does not read it to its end.
        drop(socket.write_all(body.as_bytes()));
        // Nor is its end a good one then: what came before it is the answer.
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer));
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let (status, kind) = (head.split(' ').nth(1)?.parse().ok()?, field("content-type").unwrap_or_default());
        Some(Answer { status, kind, body: serde_json::from_str(body).ok()? })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// The same, also when it may have ended.
    pub(crate) fn try_signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).ok();
    }

    /// Kills it without a word, as a crash does: what it pinned in the kernel stays for the next of its data directory.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as a supervisor would; it must end well.
    pub(crate) fn end(self) {
        let (status, log) = self.asked_to_end();
        assert!(status.success(), "{status}\n{log}");
    }

    /// The same, for who says when it dies: how it ended, and its log.
    pub(crate) fn asked_to_end(mut self) -> (std::process::ExitStatus, String) {
        self.try_signal(Signal::TERM);
        (self.wait(), self.log())
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

    /// Takes what it pinned out of the kernel: whoever is killed gives nothing back.
    fn take_out(&self) {
        #[cfg(feature = "ebpf")]
        if let Err(error) = pin::remove(Path::new(pin::DIR), &self.state) {
            eprintln!("what the daemon of {} pinned stays behind: {error}", self.state.display());
        }
    }
}

/// Removes the cgroups of those who were killed while they tried themselves.
pub(crate) fn sweep() {
    let Ok(world) = quell_actions::HostWorld::live("test".into()) else { return };
    for (dir, removed) in quell_actions::own_cgroup::sweep(&world) {
        if let Err(error) = removed {
            eprintln!("`{}` stays behind: {error}", dir.display());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let lives = matches!(self.child.try_wait(), Ok(None));
        // One that was stopped would not die before it goes on.
        drop(self.child.kill());
        drop(self.child.wait());
        sweep();
        if lives {
            self.take_out();
        }
    }
}
