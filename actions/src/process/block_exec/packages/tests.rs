//! What the databases say, how often they are read for it, and what a hostile one cannot do.

use super::*;
use std::fs::FileTimes;
use std::sync::atomic::Ordering;

fn name(path: &str) -> Vec<String> {
    vec![path.to_owned()]
}

fn belongs(to: &str) -> Owner {
    Owner::Package(to.to_owned())
}

/// A root with a database whose last change lies far enough back: the clock of changes cannot be set, so it is waited for.
fn settled(root: &Path) {
    let dir = root.join("var/lib/dpkg/info");
    while !State::of(&dir).is_settled(SystemTime::now()) {
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn root_with(lists: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let info = root.path().join("var/lib/dpkg/info");
    fs::create_dir_all(&info).unwrap();
    fs::write(info.with_file_name("status"), "").unwrap();
    for (list, text) in lists {
        fs::write(info.join(list), text).unwrap();
    }
    root
}

#[test]
fn lists_are_read_once_and_again_when_dpkg_has_changed_something() {
    let root = root_with(&[("tar.list", "/.\n/bin\n/bin/tar\n"), ("libc6:amd64.list", "/lib/libc.so.6\n")]);
    let packages = Packages::default();
    let opened = || packages.opened.swap(0, Ordering::Relaxed);
    let ask = |path: &str| packages.owner(root.path(), &name(path));

    // Just changed: what is read now may not be all.
    assert_eq!((ask("/tmp/x"), ask("/lib/libc.so.6")), (Owner::Nobody, belongs("libc6")));
    settled(root.path());
    assert_eq!((ask("/bin/tar"), opened() > 0), (belongs("tar"), true));
    for _ in 0..100 {
        assert_eq!(ask("/tmp/x"), Owner::Nobody);
    }
    assert_eq!(opened(), 0, "what is nobody's opens nothing");
    assert_eq!((ask("/lib/libc.so.6"), opened()), (belongs("libc6"), 1), "a hit opens the one list");

    // As dpkg does it: a new list takes the old one's place, and is back-dated.
    let info = root.path().join("var/lib/dpkg/info");
    let new = info.join("tar.list-new");
    fs::write(&new, "/bin/tar\n/tmp/x\n").unwrap();
    let old = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
    File::options().write(true).open(&new).unwrap().set_times(old).unwrap();
    fs::rename(&new, info.join("tar.list")).unwrap();
    File::open(&info).unwrap().set_times(old).unwrap();
    assert_eq!((ask("/tmp/x"), opened()), (belongs("tar"), 2), "dated back or not");
    settled(root.path());
    assert_eq!((ask("/tmp/x"), opened() > 0), (belongs("tar"), true));
    fs::write(info.with_file_name("status"), "new").unwrap();
    assert_eq!((ask("/tmp/y"), opened()), (Owner::Nobody, 2), "the status alone is a change too");
}

#[test]
fn without_a_database_or_with_a_hostile_one_nothing_is_waited_for() {
    let empty = tempfile::tempdir().unwrap();
    let packages = Packages::default();
    assert_eq!(packages.owner(empty.path(), &name("/usr/bin/tar")), Owner::Unknown);

    let root = root_with(&[("tar.list", "/bin/tar\n")]);
    let info = root.path().join("var/lib/dpkg/info");
    let fifo =
        |path: &Path| rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    fifo(&info.join("hang.list"));
    std::os::unix::fs::symlink("/dev/zero", info.join("endless.list")).unwrap();
    fs::create_dir(info.join("dir.list")).unwrap();
    assert_eq!(packages.owner(root.path(), &name("/bin/tar")), belongs("tar"));
    settled(root.path());
    for _ in 0..2 {
        assert_eq!(packages.owner(root.path(), &name("/bin/tar")), belongs("tar"));
        assert_eq!(packages.owner(root.path(), &name("/tmp/x")), Owner::Nobody);
    }

    let apk = tempfile::tempdir().unwrap();
    fs::create_dir_all(apk.path().join("lib/apk/db")).unwrap();
    fifo(&apk.path().join("lib/apk/db/installed"));
    assert_eq!(packages.owner(apk.path(), &name("/bin/tar")), Owner::Unknown);
}

#[test]
fn several_roots_are_kept_within_the_bound() {
    let packages = Packages::default();
    let long: String = (0..PATHS / 2).map(|n| format!("/{n}\n")).collect();
    let roots: Vec<_> = (0..3).map(|_| root_with(&[("many.list", &long)])).collect();
    for root in &roots {
        settled(root.path());
        assert_eq!(packages.owner(root.path(), &name("/7")), belongs("many"));
    }
    let known = packages.known.lock().unwrap();
    assert!(known.iter().map(|index| index.paths.len()).sum::<usize>() <= PATHS);
    assert!(known.back().unwrap().dir.starts_with(roots[2].path()));
}

#[test]
fn apk_names_directories_first() {
    let text = "P:busybox\nF:bin\nR:busybox\n\nP:curl\nF:usr/bin\nR:curl\n";
    assert_eq!(in_apk(text.as_bytes(), &name("/usr/bin/curl")), belongs("curl"));
    assert_eq!(in_apk(text.as_bytes(), &name("/tmp/curl")), Owner::Nobody);
}
