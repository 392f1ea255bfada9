//! A cgroup of the test's own: what is started in it can be named, counted and ended without touching anything else.

use super::wait_for;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// One cgroup below a hierarchy that can freeze.
#[derive(Debug)]
pub(crate) struct Group {
    root: PathBuf,
    /// Below the hierarchy's root: `/quell-test-1/in/bash`.
    pub(crate) path: String,
}

impl Group {
    /// A new one below the hierarchy's root: v2 where it is mounted, else the v1 freezer.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mounted = |wanted: fn(&str, &str) -> bool| {
            mounts.lines().find_map(|line| {
                let mut parts = line.split(' ').skip(1);
                let (dir, kind, options) = (parts.next()?, parts.next()?, parts.next()?);
                wanted(kind, options).then(|| PathBuf::from(dir))
            })
        };
        let root = mounted(|kind, _| kind == "cgroup2")
            .or_else(|| mounted(|kind, options| kind == "cgroup" && options.split(',').any(|o| o == "freezer")))?;
        let group = Self { root, path: format!("/{name}") };
        fs::create_dir(group.dir()).ok()?;
        Some(group)
    }

    /// The same; where there can be none, says what was not tested, and fails where it should have been.
    pub(crate) fn or_untested(name: &str, what: &str) -> Option<Self> {
        let group = Self::new(name);
        if group.is_none() {
            assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{what}: no cgroup can be made here");
            eprintln!("NOT TESTED: {what}: no cgroup can be made here");
        }
        group
    }

    /// A new one below this.
    pub(crate) fn below(&self, name: &str) -> Self {
        let group = Self { root: self.root.clone(), path: format!("{}/{name}", self.path) };
        fs::create_dir(group.dir()).unwrap_or_else(|e| panic!("{}: {e}", group.path));
        group
    }

    /// The file that a process goes in by.
    #[cfg(feature = "ebpf")]
    pub(crate) fn procs(&self) -> PathBuf {
        self.dir().join("cgroup.procs")
    }

    fn dir(&self) -> PathBuf {
        self.root.join(self.path.trim_start_matches('/'))
    }

    /// Starts a command in it: a shell goes in first, and becomes the command.
    pub(crate) fn spawn(&self, argv: &[String], dir: &Path, env: &[(&str, String)]) -> Child {
        let log = fs::File::create(dir.join("log")).unwrap();
        Command::new("/bin/sh")
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.dir().join("cgroup.procs"))
            .args(argv)
            .envs(env.iter().map(|(name, value)| (OsStr::new(name), value)))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Who is in it, dead ones that nobody has waited for not counted.
    pub(crate) fn living(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir().join("cgroup.procs")).unwrap_or_default();
        let alive = |pid: &&str| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        };
        text.split_whitespace()
            .filter(alive)
            .map(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                format!("{pid} {}", String::from_utf8_lossy(&line).replace('\0', " "))
            })
            .collect()
    }

    /// The letters of /proc/PID/stat of those who live in it, without repeats.
    #[cfg(feature = "ebpf")]
    pub(crate) fn states(&self) -> String {
        let mut all: Vec<char> = fs::read_to_string(self.dir().join("cgroup.procs"))
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                stat.rsplit_once(") ")?.1.chars().next()
            })
            .filter(|state| !matches!(state, 'Z' | 'X'))
            .collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().collect()
    }

    /// Whether it is frozen as a whole.
    #[cfg(feature = "ebpf")]
    pub(crate) fn is_frozen(&self) -> bool {
        let says = |file: &str, word: &str| {
            fs::read_to_string(self.dir().join(file)).is_ok_and(|text| text.lines().any(|line| line == word))
        };
        says("cgroup.events", "frozen 1") || says("freezer.state", "FROZEN")
    }

    /// Ends everything in it and below it.
    pub(crate) fn end(&self) {
        for group in self.all() {
            // What a run left frozen on v1 would not die.
            drop(fs::write(group.join("freezer.state"), "THAWED"));
            drop(fs::write(group.join("cgroup.freeze"), "0"));
            if fs::write(group.join("cgroup.kill"), "1").is_err() {
                for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().split_whitespace() {
                    drop(Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status());
                }
            }
        }
    }

    fn all(&self) -> Vec<PathBuf> {
        let mut all = vec![self.dir()];
        let mut at = 0;
        while let Some(dir) = all.get(at).cloned() {
            let below = fs::read_dir(dir).into_iter().flatten().flatten();
            all.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
            at += 1;
        }
        all
    }

    /// Ends everything and removes it. Called once for the topmost.
    pub(crate) fn remove(&self) {
        let gone = wait_for(|| {
            self.end();
            self.all().iter().rev().for_each(|dir| drop(fs::remove_dir(dir)));
            (!self.dir().exists()).then_some(())
        });
        if gone.is_none() {
            eprintln!("left behind: {}", self.dir().display());
        }
    }
}
