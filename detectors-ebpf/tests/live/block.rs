//! The kernel's reflex against the real kernel: an image that is entered never gets to its first line, and nothing else
//! is touched. Acts on copies of a shell in directories of its own.

use crate::group::Group;
use crate::harness::{DEADLINE, flood, inside, not_tested};
use crate::mounted::{BpfFs, Mounted, claim};
use quell_detectors::SensorError;
use quell_detectors::block::{self, Fate, KernelReflex, ReflexError};
use quell_detectors::pin::{self, Pins};
use quell_model::{Around, Image, Reflex, Spot, Terms};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

fn load(pins: Option<Arc<Pins>>) -> Option<KernelReflex> {
    match KernelReflex::load(pins) {
        Ok(reflex) => Some(reflex),
        Err(ReflexError::Refused(error @ SensorError::NotPermitted)) => {
            not_tested(&format!("the kernel's reflex: {error}"));
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn now() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    Duration::from_secs_f64(seconds).as_nanos().try_into().unwrap()
}

fn terms(id: u64, lasting: Duration, most: u32) -> Terms {
    let until_ns = now() + u64::try_from(lasting.as_nanos()).unwrap();
    Terms { id, label: format!("image {id}"), owner: format!("r-{id}"), until_ns, most, within_ns: 3_600_000_000_000 }
}

/// A directory with copies of a shell that says a line before all else.
struct Yard(tempfile::TempDir);

impl Yard {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn copy(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        // By another process: what this one holds open for writing, its children would too, and could not start it.
        assert!(Command::new("cat").arg("/bin/sh").stdout(File::create(&path).unwrap()).status().unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn script(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, "#!/bin/sh\necho line\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn spot(reflex: &KernelReflex, path: &Path) -> Spot {
    Spot { image: reflex.image(File::open(path).unwrap().as_fd()).unwrap(), around: Around::Host }
}

fn enter(reflex: &KernelReflex, path: &Path, terms: &Terms) -> Spot {
    let spot = spot(reflex, path);
    reflex.enter(&spot, terms, Some(File::open(path).unwrap().as_fd())).unwrap();
    spot
}

/// Waits while another test's child, on its way to its exec, still holds the file open for writing.
fn start(command: &mut Command) -> io::Result<Output> {
    let begun = Instant::now();
    loop {
        match command.stdin(Stdio::null()).output() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && begun.elapsed() < DEADLINE => {
                std::thread::yield_now();
            }
            ended => return ended,
        }
    }
}

fn says(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.args(["-c", "echo line"]);
    command
}

#[track_caller]
fn lives(command: &mut Command) {
    let out = start(command).unwrap();
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), b"line\n".as_slice()), "{out:?}");
}

/// Killed before it says anything, or never let to start.
#[track_caller]
fn is_struck(command: &mut Command) {
    match start(command) {
        Ok(out) => {
            assert_eq!(out.status.signal(), Some(9), "{out:?}");
            assert_eq!(out.stdout, b"");
        }
        Err(error) => assert_eq!(error.raw_os_error(), Some(1), "{error}"),
    }
}

#[test]
fn of_a_thousand_none_gets_to_its_first_line() {
    flood(of_a_thousand);
}

fn of_a_thousand() {
    let Some(reflex) = load(None) else { return };
    let yard = Yard::new();
    let (path, sibling) = (yard.copy("struck"), yard.copy("sibling"));
    let spot = enter(&reflex, &path, &terms(1, HOUR, 100_000));
    let times = if inside() { 200 } else { 1000 };
    for _ in 0..times {
        is_struck(&mut says(&path));
    }
    lives(&mut says(&sibling));
    let stands = reflex.standing(&spot).unwrap().unwrap();
    assert_eq!((stands.struck, stands.spent, stands.terms.label.as_str()), (times, false, "image 1"));
    let fired = reflex.read().unwrap();
    assert_eq!((fired.firings.len() as u64, fired.lost), (times, 0));
    assert!(fired.firings.iter().all(|one| one.id == 1 && one.fate != Fate::Spent && one.pid > 1));
    assert_eq!(fired.firings[0].asked, path.to_str().unwrap().chars().take(63).collect::<String>());
    assert_eq!(fired.firings[0].parent, std::process::id());
    assert!(reflex.read().unwrap().firings.is_empty(), "each is told once");
    // Unless no journal took them: then again, and what was taken never again.
    let half = fired.through - times / 2;
    reflex.keep(half).unwrap();
    reflex.unread().unwrap();
    let again = reflex.read().unwrap();
    assert_eq!((again.firings.len() as u64, again.through, again.ledger), (times / 2, fired.through, fired.ledger));
    reflex.keep(again.through).unwrap();
    reflex.unread().unwrap();
    assert!(reflex.read().unwrap().firings.is_empty());
    // A hard link is the same file; a copy is not, and says so in the plan.
    let link = path.with_file_name("link");
    fs::hard_link(&path, &link).unwrap();
    is_struck(&mut says(&link));
    assert!(reflex.remove(&spot).unwrap() && !reflex.remove(&spot).unwrap());
    lives(&mut says(&path));
    assert!(reflex.all().unwrap().is_empty());
}

#[test]
fn an_entry_ends_by_the_kernels_clock_and_by_its_budget() {
    let Some(reflex) = load(None) else { return };
    let yard = Yard::new();
    let (brief, dear) = (yard.copy("brief"), yard.copy("dear"));
    let spot = enter(&reflex, &dear, &terms(2, HOUR, 3));
    for _ in 0..3 {
        is_struck(&mut says(&dear));
    }
    lives(&mut says(&dear));
    lives(&mut says(&dear));
    let stands = reflex.standing(&spot).unwrap().unwrap();
    assert_eq!((stands.struck, stands.spent), (3, true));
    let fates: Vec<Fate> = reflex.read().unwrap().firings.iter().map(|one| one.fate).collect();
    assert_eq!(fates.len(), 4, "{fates:?}");
    assert_eq!(fates[3], Fate::Spent, "it says so, once");
    // Renewed it is as spent as it was; entered anew, it has its budget again.
    enter(&reflex, &dear, &terms(2, HOUR, 3));
    lives(&mut says(&dear));
    assert!(reflex.remove(&spot).unwrap());
    enter(&reflex, &dear, &terms(2, HOUR, 3));
    is_struck(&mut says(&dear));

    let spot = enter(&reflex, &brief, &terms(3, HOUR, 100));
    is_struck(&mut says(&brief));
    reflex.enter(&spot, &terms(3, Duration::ZERO, 100), Some(File::open(&brief).unwrap().as_fd())).unwrap();
    let begun = Instant::now();
    while start(&mut says(&brief)).is_ok_and(|out| out.status.signal().is_some()) {
        assert!(begun.elapsed() < DEADLINE, "its end is past");
    }
    lives(&mut says(&brief));
    assert_eq!(reflex.settle().unwrap(), 1, "what has ended is taken out");
    assert!(reflex.standing(&spot).unwrap().is_none());
}

#[test]
fn paused_it_strikes_nobody() {
    let Some(reflex) = load(None) else { return };
    let yard = Yard::new();
    let (path, script) = (yard.copy("struck"), yard.script("script"));
    enter(&reflex, &path, &terms(4, HOUR, 100));
    enter(&reflex, &script, &terms(5, HOUR, 100));
    reflex.pause(true).unwrap();
    lives(&mut says(&path));
    lives(&mut Command::new(&script));
    reflex.pause(false).unwrap();
    is_struck(&mut says(&path));
    is_struck(&mut Command::new(&script));
}

#[test]
fn a_number_that_is_used_anew_is_another_image() {
    let Some(reflex) = load(None) else { return };
    let yard = Yard::new();
    let path = yard.copy("struck");
    let spot = spot(&reflex, &path);
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(spot.image.inode, meta.ino());
    let other = Spot { image: Image { generation: spot.image.generation.wrapping_add(1), ..spot.image }, ..spot };
    reflex.enter(&other, &terms(6, HOUR, 100), Some(File::open(&path).unwrap().as_fd())).unwrap();
    lives(&mut says(&path));
    reflex.enter(&spot, &terms(7, HOUR, 100), Some(File::open(&path).unwrap().as_fd())).unwrap();
    is_struck(&mut says(&path));
    // Where the file system gives the number to the next file, that one starts.
    fs::remove_file(&path).unwrap();
    let path = yard.copy("again");
    lives(&mut says(&path));
    if fs::metadata(&path).unwrap().ino() == meta.ino() {
        let again = self::spot(&reflex, &path);
        assert_ne!(again.image.generation, spot.image.generation);
    }
}

#[test]
fn scripts_do_not_start_while_it_lives() {
    let Some(reflex) = load(None) else { return };
    let Some(how) = reflex.scripts() else {
        not_tested(&format!("scripts: {:?}", reflex.scripts_why()));
        return;
    };
    let yard = Yard::new();
    let (path, sibling) = (yard.script("script"), yard.script("sibling"));
    let spot = enter(&reflex, &path, &terms(8, HOUR, 2));
    let struck = start(&mut Command::new(&path)).unwrap_err();
    assert_eq!(struck.raw_os_error(), Some(1), "refused by {how}");
    lives(&mut Command::new(&sibling));
    // Only its exec is refused: people can look at it.
    assert!(fs::read_to_string(&path).unwrap().starts_with("#!"));
    is_struck(&mut Command::new(&path));
    lives(&mut Command::new(&path));
    let begun = Instant::now();
    let mut fired = Vec::new();
    while fired.len() < 3 {
        fired.extend(reflex.read().unwrap().firings);
        assert!(begun.elapsed() < DEADLINE, "{fired:?}");
    }
    assert_eq!(fired.iter().map(|one| one.fate).collect::<Vec<_>>(), [Fate::Denied, Fate::Denied, Fate::Spent]);
    assert!(fired.iter().all(|one| one.id == 8 && one.pid > 1));
    reflex.remove(&spot).unwrap();
    enter(&reflex, &path, &terms(8, HOUR, 100));
    is_struck(&mut Command::new(&path));
    reflex.remove(&spot).unwrap();
    lives(&mut Command::new(&path));
    enter(&reflex, &path, &terms(8, HOUR, 100));
    drop(reflex);
    // What hung in the kernel acts on for some milliseconds after it was let go of.
    let begun = Instant::now();
    while let Err(error) = start(&mut Command::new(&path)) {
        assert!(begun.elapsed() < DEADLINE, "it is still refused: {error}");
    }
}

#[test]
fn only_the_cgroup_that_was_named_is_struck() {
    let Some(reflex) = load(None) else { return };
    let (Some(one), Some(other)) = (Group::new("one"), Group::new("other")) else {
        not_tested("cgroups: no v2 hierarchy that may be written to");
        return;
    };
    let below = Group(one.0.join("below"));
    fs::create_dir(&below.0).unwrap();
    let yard = Yard::new();
    let (path, script) = (yard.copy("struck"), yard.script("script"));
    let number = fs::metadata(&one.0).unwrap().ino();
    for (id, path) in [(9, &path), (10, &script)] {
        let scoped = Spot { around: Around::Cgroup { number, v2: true }, ..spot(&reflex, path) };
        reflex.enter(&scoped, &terms(id, HOUR, 100), Some(File::open(path).unwrap().as_fd())).unwrap();
    }
    // Killed, or the shell that wanted to become it is told that it may not.
    for group in [&one, &below] {
        for mut command in [group.says(&path), group.starts(&script)] {
            let out = start(&mut command).unwrap();
            assert!(!out.status.success() && out.stdout.is_empty(), "{out:?}");
        }
    }
    lives(&mut other.says(&path));
    lives(&mut other.starts(&script));
    lives(&mut says(&path));
    // The same number in the other hierarchy is another cgroup.
    for one in reflex.all().unwrap() {
        assert!(reflex.remove(&one.spot).unwrap());
    }
    let v1 = Spot { around: Around::Cgroup { number, v2: false }, ..spot(&reflex, &path) };
    match reflex.enter(&v1, &terms(11, HOUR, 100), None) {
        Ok(()) => lives(&mut one.says(&path)),
        Err(why) => assert!(why.contains("not mounted"), "{why}"),
    }
    drop(below);
}

#[test]
fn a_cgroup_is_blocked_however_deep_its_processes_lie() {
    let Some(reflex) = load(None) else { return };
    let Some(top) = Group::new("deep") else {
        not_tested("cgroups: no v2 hierarchy that may be written to");
        return;
    };
    let mut below = vec![Group(top.0.join("0"))];
    for at in 1..=40 {
        below.push(Group(below.last().unwrap().0.join(at.to_string())));
    }
    for group in &below {
        fs::create_dir(&group.0).unwrap();
    }
    // They go in this order, also when this fails: the innermost first.
    below.reverse();
    let (inner, outer) = (&below[0], &below[40]);
    let yard = Yard::new();
    let (path, script) = (yard.copy("struck"), yard.script("script"));
    let number = fs::metadata(&outer.0).unwrap().ino();
    for (id, path) in [(16, &path), (17, &script)] {
        let scoped = Spot { around: Around::Cgroup { number, v2: true }, ..spot(&reflex, path) };
        reflex.enter(&scoped, &terms(id, HOUR, 100), Some(File::open(path).unwrap().as_fd())).unwrap();
    }
    for group in [inner, &below[23], outer] {
        for mut command in [group.says(&path), group.starts(&script)] {
            let out = start(&mut command).unwrap();
            assert!(!out.status.success() && out.stdout.is_empty(), "{}: {out:?}", group.0.display());
        }
    }
    lives(&mut top.says(&path));
    // The innermost entry is the one that counts.
    let middle = fs::metadata(&below[20].0).unwrap().ino();
    let scoped = Spot { around: Around::Cgroup { number: middle, v2: true }, ..spot(&reflex, &path) };
    reflex.enter(&scoped, &terms(18, HOUR, 100), None).unwrap();
    drop(start(&mut inner.says(&path)).unwrap());
    assert_eq!(reflex.standing(&scoped).unwrap().unwrap().struck, 1);
    // In a cgroup that is gone nobody can be: an entry of it is no mistake.
    let gone = Group::new("gone").unwrap();
    let number = fs::metadata(&gone.0).unwrap().ino();
    drop(gone);
    reflex.enter(&Spot { around: Around::Cgroup { number, v2: true }, ..scoped }, &terms(19, HOUR, 1), None).unwrap();
}

#[test]
fn an_overlays_file_is_known_as_an_exec_of_it_is() {
    let Some(reflex) = load(None) else { return };
    let yard = Yard::new();
    let dir = yard.0.path();
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    let lower = yard.copy("lower/lower");
    let merged = dir.join("merged");
    let options = format!("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work", dir.display());
    let done = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&merged).status();
    if !done.is_ok_and(|status| status.success()) {
        not_tested("overlays: none can be mounted");
        return;
    }
    let _unmounts = Mounted(merged.clone());
    yard.copy("merged/upper");
    for (id, name) in [(12, "upper"), (13, "lower")] {
        let path = merged.join(name);
        enter(&reflex, &path, &terms(id, HOUR, 100));
        is_struck(&mut says(&path));
    }
    // Another mount of the same layer is another image: the plan says so.
    lives(&mut says(&lower));
}

#[test]
fn it_stays_in_force_from_one_daemon_to_the_next_without_a_gap() {
    // It starts programs without a pause: the shared sensor would lag behind for the others.
    flood(from_one_to_the_next);
}

fn from_one_to_the_next() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    let claim = || claim(&dir, data.path());
    let yard = Yard::new();
    let path = yard.copy("struck");
    let Some(first) = load(Some(claim())) else { return };
    assert!(block::pinned(&dir).unwrap().is_empty());
    let spot = enter(&first, &path, &terms(14, HOUR, 1_000_000));
    is_struck(&mut says(&path));
    let script = yard.script("script");
    let by_fanotify = first.scripts().is_some_and(|how| how.as_str() == "fanotify");
    let marked = enter(&first, &script, &terms(20, HOUR, 100));
    is_struck(&mut Command::new(&script));
    let fired = first.read().unwrap();
    assert_eq!(fired.firings.iter().map(|one| one.id).collect::<Vec<_>>(), [14, 20], "scripts are in the ledger too");
    first.keep(fired.through - 1).unwrap();
    // As SIGKILL leaves it, before the journal has the last one.
    drop(first);
    {
        let next = load(Some(claim())).unwrap();
        let again = next.read().unwrap();
        assert_eq!(again.firings.iter().map(|one| one.id).collect::<Vec<_>>(), [20], "it is not lost, nor told twice");
        assert_eq!(again.ledger, fired.ledger);
        next.keep(again.through).unwrap();
        if by_fanotify {
            lives(&mut Command::new(&script));
        }
        next.mark_again(&marked, File::open(&script).unwrap().as_fd()).unwrap();
        is_struck(&mut Command::new(&script));
        let other = File::open(&path).unwrap();
        assert!(next.mark_again(&marked, other.as_fd()).is_err(), "another file is not marked");
        next.remove(&marked).unwrap();
        let read = next.read().unwrap();
        assert_eq!(read.firings.len(), 1);
        next.keep(read.through).unwrap();
    }
    for _ in 0..5 {
        is_struck(&mut says(&path));
    }
    assert_eq!(block::pinned(&dir).unwrap()[0].struck, 6);

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_last = AtLast(&over);
        let unbroken = scope.spawn(|| {
            let mut count = 0u64;
            while !over.load(Ordering::Acquire) {
                is_struck(&mut says(&path));
                count += 1;
            }
            count
        });
        // An emulated machine takes ten seconds for each.
        for _ in 0..if inside() { 1 } else { 3 } {
            let pins = claim();
            let next = load(Some(Arc::clone(&pins))).unwrap();
            assert_eq!(next.all().unwrap()[0].spot, spot);
            drop(next);
        }
        over.store(true, Ordering::Release);
        assert!(unbroken.join().unwrap() > 0);
    });
    let pins = claim();
    let last = load(Some(Arc::clone(&pins))).unwrap();
    let struck = last.standing(&spot).unwrap().unwrap().struck;
    let left = block::fired(&dir, |_| 0).unwrap();
    let fired = last.read().unwrap();
    assert_eq!(left, fired, "whoever looks without a daemon sees the same");
    assert_eq!(fired.firings.len() as u64 + fired.lost, struck - 1, "what fired meanwhile is told, and counted once");
    // An end keeps what no journal has.
    last.end().unwrap();
    assert_eq!(
        block::fired(&dir, |ledger| if ledger == fired.ledger { fired.through } else { 0 }).unwrap().firings,
        []
    );
    last.keep(fired.through).unwrap();
    // An end with something standing leaves it; without, it leaves nothing.
    last.end().unwrap();
    is_struck(&mut says(&path));
    last.remove(&spot).unwrap();
    last.end().unwrap();
    assert!(dir.exists(), "the last strike is in no journal yet");
    let read = last.read().unwrap();
    assert_eq!(read.firings.len(), 1);
    last.keep(read.through).unwrap();
    last.end().unwrap();
    drop(last);
    Arc::into_inner(pins).unwrap().give_back().unwrap();
    assert!(!dir.exists());
    let begun = Instant::now();
    while start(&mut says(&path)).is_ok_and(|out| out.status.signal().is_some()) {
        assert!(begun.elapsed() < DEADLINE);
    }
    assert!(pin::remove(&dir, data.path()).unwrap().is_empty());
}

/// Ends the other thread, also when this one panics.
struct AtLast<'a>(&'a AtomicBool);

impl Drop for AtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn whoever_forks_from_a_struck_ones_parent_lives() {
    let Some(reflex) = load(None) else { return };
    let yard = Yard::new();
    let path = yard.copy("struck");
    enter(&reflex, &path, &terms(15, HOUR, 100));
    // The parent execs the blocked image in a child, sees it die, and goes on.
    let mut parent = Command::new("sh");
    parent.args(["-c", "\"$0\" -c 'echo struck' 2>/dev/null; echo line"]).arg(&path).process_group(0);
    let out = start(&mut parent).unwrap();
    assert_eq!(out.stdout, b"line\n");
}
