//! The command line as scripts see it: exit codes, stdout, stderr.
//!
//! Owns how a test runs quell. Every test has directories of its own and touches no process that it did not start.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod by_hand;
mod daemon;
mod demo;
mod deploy;
mod doctor;
mod elsewhere;
mod exit;
mod fifo;
mod graph;
mod help;
mod hostile;
mod init;
mod json;
mod keys;
mod large;
mod listening;
mod new;
mod oncall;
mod oncall_schedules;
mod oncall_simulate;
mod output;
mod people;
mod playbook_test;
mod promote;
mod rehearsal;
mod retry;
mod rights;
mod running;
mod schema;
mod secrets;
mod signals;
mod store;
mod tcp;
mod trials;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// stdout as one JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Fails the test unless the code is this.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// A child that ends with the test, however that ends.
pub(crate) struct Bounded(pub(crate) Child);

impl Drop for Bounded {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The binary under test; `QUELL_BIN` names another one, a release build for example.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("QUELL_BIN").map_or_else(|| env!("CARGO_BIN_EXE_quell").into(), PathBuf::from)
}

/// The binary under test, with an environment that says nothing.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_remove("NO_COLOR").env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn quell(args: &[&str]) -> Ran {
    Ran::of(command(args).output().unwrap())
}

/// Runs it to its end, fed from a text.
pub(crate) fn quell_fed(args: &[&str], stdin: &str) -> Ran {
    use std::io::Write;
    let mut child = command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut into, text) = (child.stdin.take().unwrap(), stdin.to_owned());
    // Beside the reading: more than a pipe holds may go both ways. Whoever ends early does not want the rest.
    let feeder = std::thread::spawn(move || into.write_all(text.as_bytes()));
    let ran = Ran::of(child.wait_with_output().unwrap());
    let fed = feeder.join().unwrap();
    assert!(fed.is_ok() || ran.code != Some(0), "it ended well and had not read everything: {fed:?}");
    ran
}

/// The identity of a process as playbooks name it, in its image of this number: without a sensor nobody knows which that is.
pub(crate) fn identity(pid: u32, exec_id: u32) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = quell_model::BootId(boot.trim().into());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    quell_model::ProcessId { boot, pid, start_ns: ticks * quell_model::TICK_NS, exec_id }.to_string()
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A file with a text, its folders made.
pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

/// Every command with its subcommands, as the help lists them.
pub(crate) fn every_command() -> Vec<Vec<String>> {
    fn below(path: &[String], all: &mut Vec<Vec<String>>) {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = quell(&args).ends(0).out;
        let Some((_, list)) = help.split_once("\nCommands:\n") else { return };
        for line in list.lines().take_while(|line| line.starts_with("  ")) {
            if let Some(name) =
                line.strip_prefix("  ").filter(|l| !l.starts_with(' ')).and_then(|l| l.split(' ').next())
            {
                let mut path = path.to_vec();
                path.push(name.to_owned());
                below(&path, all);
                all.push(path);
            }
        }
    }
    let mut all = Vec::new();
    below(&[], &mut all);
    all
}
