//! A mount that hangs where definitions are: nobody but the look at them waits for it.

use super::host::Host;
use crate::cli::{Bounded, wait_until};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Mounts a file system of FUSE that answers nothing, as a server does that is gone, until its input ends.
const MOUNT: &str = "import ctypes, os, sys
fd = os.open('/dev/fuse', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f'fd={fd},rootmode=40000,user_id=0,group_id=0'.encode()
if libc.mount(b'quell-test', sys.argv[1].encode(), b'fuse', 0, options) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print('hangs', flush=True)
sys.stdin.read()
";

/// Until it is dropped, whoever looks below it hangs.
struct Hanging {
    server: Bounded,
    at: PathBuf,
}

impl Hanging {
    fn mount(at: &Path) -> Option<Self> {
        let mut python = Command::new("python3");
        python.args(["-c", MOUNT]).arg(at).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = Bounded(python.spawn().ok()?);
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (line == "hangs\n").then(|| Self { server, at: at.to_owned() })
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // With its server gone every request fails at once, and so it can be taken away.
        drop(self.server.0.kill());
        drop(self.server.0.wait());
        if !Command::new("umount").arg("-l").arg(&self.at).status().is_ok_and(|status| status.success()) {
            eprintln!("`{}` is still mounted", self.at.display());
        }
    }
}

#[test]
fn a_mount_of_definitions_that_hangs_keeps_nobody_from_asking_and_it_from_no_signal() {
    let Some(host) = Host::new("hanging", &[], &[("seen", "Image|endswith: /MARK")]) else { return };
    let mut daemon = host.start(&host.dir().join("state"), false, None);
    daemon.stands();
    let Some(hanging) = Hanging::mount(&host.dir().join("playbooks")) else {
        eprintln!("NOT TESTED: a mount that hangs: there is no FUSE or no python3 here");
        return;
    };
    // Somebody of its own hangs there.
    wait_until("it looks, and hangs", || hangs(daemon.pid()));
    assert_eq!(daemon.try_status().unwrap()["state"], "blind");
    daemon.ask(&["pause"]).ends(0);
    let metrics = daemon.ask(&["run", "list"]);
    assert_eq!(metrics.code, Some(0), "{metrics:?}");
    daemon.signal(Signal::TERM);
    let status = daemon.wait();
    assert!(status.success(), "{status}\n{}", daemon.log());
    drop(hanging);
}

/// Whether a thread of this process waits for FUSE.
fn hangs(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.into_iter().any(|task| {
        std::fs::read_to_string(task.path().join("stack")).is_ok_and(|stack| stack.contains("fuse"))
            || std::fs::read_to_string(task.path().join("wchan")).is_ok_and(|what| what.contains("fuse"))
    })
}
