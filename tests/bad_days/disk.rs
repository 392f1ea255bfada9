//! The disk is full: what freezes and kills goes on, and the record follows once there is room.

use super::host::verifies;
use super::journal::{dies, host, settles};
use crate::cli::wait_until;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk of a few megabytes, as long as it lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(at).output().unwrap();
        if mounted.status.success() {
            return Some(Self(at.to_owned()));
        }
        eprintln!("NOT TESTED: a full disk, since none can be mounted here: {mounted:?}");
        None
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        std::fs::write(self.0.join("filler"), vec![1; 17 << 20]).unwrap_err();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon that a failed test leaves behind may still be in it.
        if !Command::new("umount").arg("-l").arg(&self.0).status().is_ok_and(|status| status.success()) {
            eprintln!("`{}` is still mounted", self.0.display());
        }
    }
}

#[test]
fn with_a_full_disk_it_freezes_and_kills_and_the_record_follows() {
    let Some(host) = host("full", super::host::hold_and_kill) else { return };
    let Some(disk) = SmallDisk::mount(&host.dir().join("disk")) else { return };
    let state = host.dir().join("disk/state");
    let Some(daemon) = host.armed(&state) else { return };
    let group = host.inside.below("victims");
    dies(&host, &group);
    settles(&daemon);
    disk.fill();
    let mut killed = 1;
    wait_until("the trouble is shown", || {
        // What the log has room for still goes through.
        dies(&host, &group);
        killed += 1;
        daemon.status()["journal"]["trouble"].as_str().is_some_and(|why| why.contains("full"))
    });
    for _ in 0..10 {
        dies(&host, &group);
        killed += 1;
    }
    let shown = daemon.ask(&["status"]).ends(0).out;
    assert!(shown.contains("records wait") && shown.contains("the disk is full"), "{shown}");
    wait_until("every run has ended and can be read", || {
        daemon.runs().iter().filter(|run| run["state"] == "succeeded").count() == killed
    });
    disk.free();
    settles(&daemon);
    // From here on everything works again, evidence too.
    dies(&host, &group);
    wait_until("evidence is kept again", || {
        daemon.runs().iter().any(|run| {
            let steps = run["steps"].as_array().unwrap();
            run["state"] == "succeeded"
                && steps.iter().all(|step| matches!(step["outcome"].as_str(), Some("verified" | "done")))
        })
    });
    assert_eq!(daemon.status()["journal"]["unwritten"], 0);
    daemon.end();
    drop(verifies(&state));
}

/// A supervisor tries again after a 1, and not after a 2.
#[test]
fn a_start_that_finds_no_room_ends_with_1_and_stands_once_there_is_some() {
    let Some(host) = host("no-room", super::host::kill_one) else { return };
    let Some(disk) = SmallDisk::mount(&host.dir().join("disk")) else { return };
    let state = host.dir().join("disk/state");
    disk.fill();
    let mut daemon = host.start(&state, false, None);
    let ended = daemon.wait();
    assert_eq!(ended.code(), Some(1), "{}", daemon.log());
    assert!(daemon.log().contains("cannot be used"), "{}", daemon.log());
    disk.free();
    let mut daemon = host.start(&state, false, None);
    daemon.stands();
    daemon.end();
}
