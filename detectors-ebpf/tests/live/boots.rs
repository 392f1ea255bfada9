//! The same tests under older kernels: this very program is the second thing that a small machine in QEMU runs.
//!
//! What takes long there and has nothing to do with the kernel is left to `make test-long` ([`LONG`]).
//!
//! Kernels come from `$QUELL_KERNELS` (paths, separated by `:`), or from `kernels/` in quell's cache directory. Where there
//! is none, or no QEMU or static busybox, it says loudly that nothing was tested.

use crate::harness::{inside, not_tested};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the tests execute.
const PROGRAMS: [&str; 12] =
    ["true", "sleep", "dash", "bash", "mkdir", "mv", "rm", "cat", "mkfifo", "env", "mount", "umount"];

/// Floods, which an emulated processor takes a minute for each: of the reader's pace, which no kernel changes, and of execs, whose
/// share of a ring is counted by the code that counts the files' share too.
const LONG: [&str; 3] = [
    "turns::a_sink_that_takes_long_for_each_of_many_events_has_its_turns_between_them",
    "turns::processes_that_come_faster_than_they_are_read_hold_nothing_else_up",
    "loss::a_flood_of_execs_takes_only_its_share_of_a_ring",
];

/// Said by the machine when all has gone well.
const PASSED: &str = "QUELL-KERNEL-PASSED";

#[test]
fn older_kernels_take_it_all() {
    if inside() {
        return;
    }
    let kernels = kernels();
    let has = |program: &str| find(program).is_some();
    if kernels.is_empty() || !has("qemu-system-x86_64") || !has("busybox") || cfg!(not(target_arch = "x86_64")) {
        not_tested(
            "older kernels; it takes qemu-system-x86_64, busybox-static, and kernel images in $QUELL_KERNELS \
             (of a Debian package: `dpkg -x linux-image-6.1.0-*-cloud-amd64*.deb DIR`, then DIR/boot/vmlinuz-*)",
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let initrd = dir.path().join("initrd");
    fs::write(&initrd, archive()).unwrap();
    let boot = |kernel: PathBuf| {
        let child = Command::new("timeout")
            .args([
                "900",
                "qemu-system-x86_64",
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                "2048",
            ])
            .args(["-nographic", "-no-reboot", "-append", "console=ttyS0 quiet panic=-1 no_timer_check", "-initrd"])
            .arg(&initrd)
            .arg("-kernel")
            .arg(&kernel)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        (kernel, child)
    };
    // All at once: each waits for its clock most of the time. Their processors share one thread: with one each, code that
    // the kernel patches under way is now and then executed as it was, and the machine dies of a breakpoint.
    let machines: Vec<_> = kernels.into_iter().map(boot).collect();
    for (kernel, child) in machines {
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.contains(PASSED), "{}:\n{text}", kernel.display());
    }
}

fn kernels() -> Vec<PathBuf> {
    if let Ok(named) = std::env::var("QUELL_KERNELS") {
        return named.split(':').filter(|p| !p.is_empty()).map(PathBuf::from).collect();
    }
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
    let entries = fs::read_dir(Path::new(&cache).join("quell/kernels")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.is_file()).collect();
    found.sort();
    found
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file())
}

/// A root file system: busybox, the programs, this test, their libraries. It runs one test after the other: an emulated
/// sensor is so slow that what one test forks takes the events of another with it.
fn archive() -> Vec<u8> {
    let mut files: Vec<(String, PathBuf)> = vec![("bin/busybox".into(), find("busybox").unwrap())];
    files.extend(PROGRAMS.iter().filter_map(|name| Some((format!("bin/{name}"), find(name)?))));
    files.push(("bin/sh".into(), find("dash").or_else(|| find("sh")).unwrap()));
    files.push(("live".into(), std::env::current_exe().unwrap()));
    let mut libraries = BTreeSet::new();
    for (_, program) in &files {
        let out = Command::new("ldd").arg(program).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        libraries.extend(text.split_whitespace().filter(|w| w.starts_with('/')).map(str::to_owned));
    }
    files.extend(libraries.into_iter().map(|path| (path.trim_start_matches('/').to_owned(), PathBuf::from(path))));

    let mut out = Archive::default();
    for dir in ["proc", "sys", "dev", "tmp", "etc", "root"] {
        out.dir(dir);
    }
    for (name, from) in files {
        out.file(&name, 0o755, &fs::read(from).unwrap());
    }
    out.file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n");
    out.file("etc/shadow", 0o600, b"root:*:1::::::\n");
    let skipped = if std::env::var_os("QUELL_LONG").is_some() {
        String::new()
    } else {
        format!(" --skip {}", LONG.join(" --skip "))
    };
    let init = format!(
        "#!/bin/busybox sh\nb=/bin/busybox\nexport PATH=/bin QUELL_INSIDE=1\n\
         $b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev\n\
         $b mkdir -p /dev/pts /dev/shm\n$b mount -t devpts p /dev/pts; $b mount -t tmpfs t /dev/shm; $b mount -t tmpfs t /tmp\n\
         $b mount -t cgroup2 c /sys/fs/cgroup; $b ip link set lo up; $b uname -r\n\
         /live --test-threads=1 --skip boots:: --skip object::{skipped} && echo {PASSED}\n$b poweroff -f\n"
    );
    out.file("init", 0o755, init.as_bytes());
    out.end()
}

/// cpio's `newc` form, which the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    made: BTreeSet<String>,
    number: u32,
}

impl Archive {
    fn dir(&mut self, name: &str) {
        if name.is_empty() || !self.made.insert(name.to_owned()) {
            return;
        }
        if let Some((upper, _)) = name.rsplit_once('/') {
            self.dir(upper);
        }
        self.entry(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, mode: u32, data: &[u8]) {
        if let Some((upper, _)) = name.rsplit_once('/') {
            self.dir(upper);
        }
        self.entry(name, 0o100_000 | mode, data);
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.number += 1;
        let size = u32::try_from(data.len()).unwrap();
        let name_size = u32::try_from(name.len() + 1).unwrap();
        let mut header = String::from("070701");
        for field in [self.number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0] {
            write!(header, "{field:08X}").unwrap();
        }
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}
