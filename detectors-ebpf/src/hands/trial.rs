//! The hands try themselves at the start: a shell of their own is marked and must die of its next call.
//!
//! Touches nobody but its own child, and leaves none.

use super::KernelHands;
use quell_model::{Doom, ProcessId, TICK_NS};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than a busy machine takes, shorter than anybody waits.
const BOUND: Duration = Duration::from_secs(5);

impl KernelHands {
    /// Marks a child and sees it die.
    pub(super) fn trial(&self) -> Result<(), String> {
        let spawn = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        // An image may hold nothing but quell, which waits for a line when it is told to (`quell idle`).
        let started = spawn("/bin/sh", &["-c", "read -r word; exit 3"]).or_else(|_| spawn("/proc/self/exe", &["idle"]));
        let mut child = started.map_err(|e| format!("no shell to try them on: {e}"))?;
        let outcome = self.strike(&mut child);
        drop(child.kill());
        drop(child.wait());
        outcome
    }

    fn strike(&self, child: &mut Child) -> Result<(), String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).map_err(|e| e.to_string())?;
        // Field 22; the name in parentheses may hold anything.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = rest.split_whitespace().nth(19).and_then(|t| t.parse().ok()).ok_or("its start is not told")?;
        let id = ProcessId { boot: self.boot.clone(), pid: child.id(), start_ns: ticks * TICK_NS, exec_id: 0 };
        self.mark(&id, BOUND)?;
        let mut stdin = child.stdin.take().ok_or("it has no input")?;
        // It may be dead before it reads.
        drop(stdin.write_all(b"go\n"));
        let begun = Instant::now();
        loop {
            match child.try_wait().map_err(|e| e.to_string())? {
                Some(status) if status.signal() == Some(libc::SIGKILL) => return Ok(()),
                Some(status) => return Err(format!("a marked process ended with `{status}`")),
                None if begun.elapsed() > BOUND => return Err("a marked process lives on".to_owned()),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}
