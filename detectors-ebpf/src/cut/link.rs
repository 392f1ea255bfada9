//! Hooks of a cgroup: a program that hangs there for as long as its descriptor or its pin lives (bpf(2), `BPF_LINK_CREATE`: 5.7).
//!
//! Owns the descriptors, and what the kernel says of them. Keeps true: a hook hangs beside those of others, never in their place
//! (kernel/bpf/cgroup.c `cgroup_bpf_link_attach`).

#![allow(unsafe_code, reason = "bpf(2) by libc: aya gives no descriptor of a link, which alone says where it hangs")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const PROG_QUERY: libc::c_long = 16;
const LINK_CREATE: libc::c_long = 28;
/// `BPF_F_BEFORE`: of nothing, and so of all.
const BEFORE: u32 = 1 << 3;

/// `BPF_CGROUP_MAX_PROGS` (kernel/bpf/cgroup.c).
const MOST_HANGING: usize = 64;

/// One hook, in.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

impl Link {
    /// Hangs the program there; `hook` is a `bpf_attach_type`.
    pub(super) fn create(program: impl AsFd, group: impl AsFd, hook: u32) -> io::Result<Self> {
        call(LINK_CREATE, &wanted([number(&program.as_fd()), number(&group.as_fd()), hook, 0])).map(Self)
    }

    /// Hangs the program on the device of that number in this thread's network namespace, before all others (tcx: Linux 6.6).
    pub(super) fn before_all(program: impl AsFd, device: u32, hook: u32) -> io::Result<Self> {
        call(LINK_CREATE, &wanted([number(&program.as_fd()), device, hook, BEFORE])).map(Self)
    }

    /// The hook that is pinned there.
    pub(super) fn pinned(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        call(OBJ_GET, &[path.as_ptr() as u64, 0, 0, 0, 0, 0, 0, 0]).map(Self)
    }

    /// Pins it: it hangs there until the pin goes.
    pub(super) fn pin(&self, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let attr = [path.as_ptr() as u64, u64::from(number(&self.0)), 0, 0, 0, 0, 0, 0];
        ask(OBJ_PIN, &attr).map(drop)
    }

    /// The number of the cgroup on which it hangs, and the hook; `None` when it hangs nowhere: its cgroup is gone.
    pub(super) fn hangs(&self) -> Option<(u64, u32)> {
        hangs(&self.told()?)
    }

    /// The number of the device on which it hangs, 0 once that is gone, and the hook; `None` when it is no hook of a device.
    pub(super) fn hangs_on_device(&self) -> Option<(u32, u32)> {
        hangs_on_device(&self.told()?)
    }

    fn told(&self) -> Option<String> {
        fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd())).ok()
    }
}

/// What is asked for a link: the program, on what, which hook, and how.
fn wanted(words: [u32; 4]) -> [u64; 8] {
    let mut attr = [0; 8];
    for (word, two) in attr.iter_mut().zip(words.chunks(2)) {
        *word = u64::from(two[0]) | u64::from(two[1]) << 32;
    }
    attr
}

/// The ids of the programs that hang on this very cgroup, whoever's they are; of very many the first.
pub(super) fn hanging(group: impl AsFd, hook: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST_HANGING];
    let target = u64::from(number(&group.as_fd())) | u64::from(hook) << 32;
    let mut attr = [target, 0, ids.as_mut_ptr() as u64, ids.len() as u64, 0, 0, 0, 0];
    // SAFETY: the kernel writes as many ids as there is room for, and their number into the attribute.
    let told = unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, attr.as_mut_ptr(), size_of_val(&attr)) };
    if told < 0 {
        let error = io::Error::last_os_error();
        // There are more of them.
        return if error.raw_os_error() == Some(libc::ENOSPC) { Ok(ids.to_vec()) } else { Err(error) };
    }
    let count = usize::try_from(attr[3] & u64::from(u32::MAX)).unwrap_or(0);
    Ok(ids.into_iter().take(count).collect())
}

/// What `/proc/PID/fdinfo` says of it (kernel/bpf/cgroup.c `bpf_cgroup_link_show_fdinfo`: 5.8).
fn hangs(told: &str) -> Option<(u64, u32)> {
    let group = value(told, "cgroup_id")?.parse().ok().filter(|group| *group != 0)?;
    Some((group, value(told, "attach_type")?.parse().ok()?))
}

/// The same of a device's (kernel/bpf/tcx.c `tcx_link_fdinfo`: 6.6).
fn hangs_on_device(told: &str) -> Option<(u32, u32)> {
    Some((value(told, "ifindex")?.parse().ok()?, value(told, "attach_type")?.parse().ok()?))
}

/// The first word of a line: the number is followed by its name.
fn value<'a>(told: &'a str, name: &str) -> Option<&'a str> {
    told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))?.split_whitespace().next()
}

fn number(fd: &impl AsRawFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn ask(command: libc::c_long, attr: &[u64; 8]) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads as many bytes of the attribute as it is told, and the path that it may point to lives through the
    // call.
    let told = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(attr)) };
    if told < 0 { Err(io::Error::last_os_error()) } else { Ok(told) }
}

fn call(command: libc::c_long, attr: &[u64; 8]) -> io::Result<OwnedFd> {
    let fd = ask(command, attr)?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_says_where_it_hangs() {
        let told = "pos:\t0\nflags:\t02000000\nlink_type:\tcgroup\nlink_id:\t7\nprog_id:\t9\ncgroup_id:\t4711\nattach_type:\t1\n";
        assert_eq!(hangs(told), Some((4711, 1)));
        assert_eq!(hangs(&told.replace("4711", "0")), None, "its cgroup is gone");
        assert_eq!(hangs("pos:\t0\n"), None);
        let told = "pos:\t0\nlink_type:\ttcx\nprog_id:\t9\nifindex:\t12\nattach_type:\t46 (tcx_ingress)\n";
        assert_eq!(hangs_on_device(told), Some((12, 46)));
        assert_eq!(hangs(told), None);
    }
}
