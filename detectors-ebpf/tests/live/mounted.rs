//! What a test mounts of its own; it goes with its value.

use crate::harness::{DEADLINE, not_tested};
use quell_detectors::pin::{PinError, Pins};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

/// A mounted directory.
pub(crate) struct Mounted(pub(crate) PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// A BPF file system.
pub(crate) struct BpfFs {
    // Unmounted before its directory is removed.
    mount: Mounted,
    _at: TempDir,
}

impl BpfFs {
    pub(crate) fn new() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let done = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(at.path()).status();
        if !done.is_ok_and(|status| status.success()) {
            not_tested("pins: no BPF file system can be mounted");
            return None;
        }
        Some(Self { mount: Mounted(at.path().to_owned()), _at: at })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.mount.0
    }
}

/// The right to a place, beside other tests: a child of one, on its way to its exec, holds the lock that it inherited.
pub(crate) fn claim(dir: &Path, owner: &Path) -> Arc<Pins> {
    let begun = Instant::now();
    loop {
        match Pins::claim(dir, owner) {
            Err(PinError::Taken { runs: true, .. }) if begun.elapsed() < DEADLINE => std::thread::yield_now(),
            claimed => return Arc::new(claimed.unwrap()),
        }
    }
}
