//! A cgroup of a test's own; it goes with its value.

use crate::harness::DEADLINE;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A v2 cgroup of its own.
pub(crate) struct Group(pub(crate) PathBuf);

impl Group {
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let mut parts = line.split(' ').skip(1);
            let (dir, kind) = (parts.next()?, parts.next()?);
            (kind == "cgroup2").then(|| dir.to_owned())
        });
        let dir = Path::new(&root?).join(format!("quell-live-{name}-{}", std::process::id()));
        fs::create_dir(&dir).is_ok().then_some(Self(dir))
    }

    pub(crate) fn starts(&self, path: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs")).arg(path);
        command
    }

    pub(crate) fn says(&self, path: &Path) -> Command {
        let mut command = self.starts(path);
        command.args(["-c", "echo line"]);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let begun = Instant::now();
        while fs::remove_dir(&self.0).is_err() && self.0.exists() && begun.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
    }
}
