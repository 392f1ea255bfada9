//! An attack of a test: a parent, a sibling that lives, and a root that does what attack.c says once it is told to.
//!
//! Each has a uid of its own, by which the survivors are counted, a limit on its processes, and an end. Keeps true: what is
//! left of it dies with its value, in hand by pidfd.

use super::PATIENCE;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// The attacker, compiled once.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<(PathBuf, tempfile::TempDir)> = OnceLock::new();
    let compile = || {
        let dir = tempfile::tempdir().unwrap();
        open_to_all(dir.path());
        let source = dir.path().join("attack.c");
        std::fs::write(&source, include_str!("attack.c")).unwrap();
        let program = dir.path().join("quell-test-attack");
        let done = Command::new("cc").args(["-O1", "-Wall", "-o"]).args([&program, &source]).status().unwrap();
        assert!(done.success());
        (program, dir)
    };
    &PROGRAM.get_or_init(compile).0
}

fn open_to_all(dir: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// One attack: its parent and its sibling are innocent.
pub(super) struct Attack {
    pub(super) parent: Child,
    /// Whom it all descends from.
    pub(super) root: u32,
    pub(super) sibling: u32,
    uid: u32,
    dir: tempfile::TempDir,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Attack {
    /// Starts it up to where it waits; in a cgroup, when its `cgroup.procs` is given.
    pub(super) fn new(kind: &str, group: Option<&Path>) -> Self {
        let uid = 1_000_000 + std::process::id() % 100_000 * 100 + NUMBER.fetch_add(1, Ordering::Relaxed) % 100;
        let dir = tempfile::tempdir().unwrap();
        open_to_all(dir.path());
        let end = jiff::Timestamp::now().as_second() + 300;
        let mut command = match group {
            Some(procs) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(procs).arg(program());
                shell
            }
            None => Command::new(program()),
        };
        let mut parent = command
            .args([kind, &uid.to_string()])
            .arg(dir.path())
            .arg(end.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pids: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        Self { parent, root: pids[0], sibling: pids[1], uid, dir }
    }

    /// Where it leaves its marks; in its command line.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Lets it begin.
    pub(super) fn go(&mut self) {
        self.parent.stdin.as_mut().unwrap().write_all(b"g").unwrap();
    }

    /// Whether it is under way.
    pub(super) fn has_reached(&self) -> bool {
        self.dir.path().join("reached").exists()
    }

    /// Whether it came to an end of its own.
    pub(super) fn has_outlived(&self) -> bool {
        self.dir.path().join("outlived").exists()
    }

    /// Who must live on.
    pub(super) fn innocent(&self) -> Vec<u32> {
        let mut pids = vec![self.parent.id(), self.sibling];
        pids.sort_unstable();
        pids
    }

    /// The living of its uid.
    pub(super) fn living(&self) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut found: Vec<u32> = pids
            .filter(|pid| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let uid = field("Uid:").and_then(|uids| uids.split_whitespace().next()?.parse::<u32>().ok());
                uid == Some(self.uid) && !field("State:").is_some_and(|state| state.starts_with(['Z', 'X']))
            })
            .collect();
        found.sort_unstable();
        found
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        drop(self.parent.kill());
        drop(self.parent.wait());
        let begun = Instant::now();
        loop {
            let left = self.living();
            if left.is_empty() || begun.elapsed() > PATIENCE {
                return;
            }
            // In hand first, then looked at again; a chain may outrun this, and ends by its own clock.
            for pid in left {
                let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
                let Some(held) = raw.and_then(|raw| pidfd_open(raw, PidfdFlags::empty()).ok()) else { continue };
                if self.living().contains(&pid) && pidfd_send_signal(&held, Signal::KILL).is_err() {
                    eprintln!("{pid} went by itself");
                }
            }
        }
    }
}
