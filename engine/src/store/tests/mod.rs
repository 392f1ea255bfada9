//! What the journal promises, tried from outside: order, crashes, refusing disks, damage.

mod backup;
mod basics;
pub(crate) mod bodies;
mod contents;
mod crash;
mod damage;
mod evidence;
mod follow;
mod format;
mod law;
mod lists;
mod past;
mod prune;
mod redact;
mod refusal;
mod seal;
mod slice;
mod upgrade;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Plays a test of this program in a process that dies by SIGKILL at a place within what it writes, in a directory that it is told
/// by a variable; false: it came to its end before.
fn dies_within((test, variable): (&str, &str), dir: &Path, place: usize) -> bool {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, dir)
        .env("QUELL_DIE_AT", format!("within:{place}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if child.status.success() {
        return false;
    }
    assert_eq!(child.status.signal(), Some(9), "place {place}: {}", String::from_utf8_lossy(&child.stdout));
    true
}
