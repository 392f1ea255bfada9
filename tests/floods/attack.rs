//! The attack: `sleep` from /dev/shm, under a name of its own.

use super::daemon::Daemon;
use super::wait_for;
use crate::threats::group::Group;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;

/// One attack; ended with the test, however that ends.
pub(super) struct Attack {
    child: Child,
    ticks: u64,
    _shm: tempfile::TempDir,
    _dir: tempfile::TempDir,
}

impl Attack {
    pub(super) fn start(group: &Group) -> Self {
        let (shm, dir) = (tempfile::tempdir_in("/dev/shm").unwrap(), tempfile::tempdir().unwrap());
        let program = shm.path().join("x");
        let sleep = ["/usr/bin/sleep", "/bin/sleep"].into_iter().find(|path| Path::new(path).exists()).unwrap();
        std::fs::copy(sleep, &program).unwrap();
        let child = group.spawn(&[program.to_str().unwrap().to_owned(), "1000".to_owned()], dir.path(), &[]);
        // Nobody has waited for it: dead or alive, it is there.
        let ticks = start_ticks(child.id()).unwrap();
        Self { child, ticks, _shm: shm, _dir: dir }
    }

    /// Waits until it was killed, and until the daemon has proved that it did; gives the run.
    #[track_caller]
    pub(super) fn contained(mut self, daemon: &Daemon) -> Value {
        let what = format!("the end of the attack {}; the daemon said:\n{}", self.child.id(), daemon.own.log());
        let status = wait_for(&what, || self.child.try_wait().unwrap());
        assert_eq!(status.signal(), Some(9), "{status}");
        wait_for("its run", || daemon.run_about(self.child.id(), self.ticks))
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// When a process started, in the ticks that tell it from others with its number.
pub(super) fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
