//! Loads that count what they did (load.c).

use crate::threats::group::Group;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;

/// The program, compiled once; or, in a machine without a compiler, brought along.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<(PathBuf, Option<tempfile::TempDir>)> = OnceLock::new();
    let compile = || {
        if let Some(there) = std::env::var_os("QUELL_LOAD") {
            return (PathBuf::from(there), None);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("load");
        compile_to(&path);
        (path, Some(dir))
    };
    &PROGRAM.get_or_init(compile).0
}

pub(super) fn compile_to(path: &Path) {
    let source = path.with_extension("c");
    std::fs::write(&source, include_str!("load.c")).unwrap();
    let out = Command::new("gcc").args(["-O1", "-Wall", "-o"]).args([path, &source]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// One load; ended with the test, however that ends.
pub(super) struct Load {
    child: Child,
    dir: tempfile::TempDir,
}

impl Load {
    /// So many of what, or without end.
    pub(super) fn start(group: &Group, what: &str, times: u64) -> Self {
        Self::start_with(group, what, times, "")
    }

    /// The same; execs with an argument, everything else in a directory that long, so that few records fill a ring.
    pub(super) fn start_with(group: &Group, what: &str, times: u64, long: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let parts = long.as_bytes().chunks(200).take(12).map(|part| std::str::from_utf8(part).unwrap());
        let deep = parts.fold(dir.path().to_owned(), |at, part| at.join(part));
        std::fs::create_dir_all(&deep).unwrap();
        let words = [program().to_str().unwrap(), what, &times.to_string(), long].map(str::to_owned);
        let child = group.spawn(&words, &deep, &[]);
        std::fs::write(dir.path().join("where"), deep.to_str().unwrap()).unwrap();
        Self { child, dir }
    }

    /// Tells one without end that it is enough.
    pub(super) fn enough(&self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM)
            .unwrap();
    }

    /// Whether it still goes on.
    pub(super) fn is_under_way(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end; gives how many it did. Fails when anybody but itself had a hand in it.
    #[track_caller]
    pub(super) fn done(mut self) -> u64 {
        let status = self.child.wait().unwrap();
        let deep = std::fs::read_to_string(self.dir.path().join("where")).unwrap();
        let said = std::fs::read_to_string(Path::new(&deep).join("log")).unwrap();
        assert!(status.success(), "{status}: {said}");
        said.trim().parse().unwrap_or_else(|e| panic!("{e}: {said}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
