//! fork, exec, exit, scan: images, arguments, identity, credentials.

use crate::harness::{DEADLINE, Keep, copy_of, has, is_exec_of, live, not_tested, own, reap, start, text};
use quell_detectors::SensorConfig;
use quell_model::{Class, ProcessId, process::TICK_NS};
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

#[test]
fn hostile_names_and_arguments_are_whole() {
    let Some(live) = live() else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("a\n\u{1b}[31m b");
    copy_of("true", &program);
    let args = ["one two", "\n\"'$(x)", "", "\u{1b}]0;title\u{7}"];
    let mut child = Command::new(&program).args(args).arg(OsStr::from_bytes(b"\xff\xfe")).spawn().unwrap();
    let seen = live.log.wait("the hostile program", |e| is_exec_of(e, child.id()));
    assert_eq!(text(&seen, "process.image"), program.to_str().unwrap());
    let expected = [program.to_str().unwrap(), "one two", "\n\"'$(x)", "", "\u{1b}]0;title\u{7}", "\u{fffd}\u{fffd}"];
    assert_eq!(own(&seen, "process.args"), serde_json::json!(expected));
    assert_eq!(own(&seen, "process.args_truncated"), false);
    assert_eq!(own(&seen, "process.parent.pid"), std::process::id());
    child.wait().unwrap();
}

#[test]
fn a_command_line_of_100_kb_is_cut_and_says_so() {
    let Some(live) = live() else { return };
    let mut child = Command::new("/bin/true").arg("x".repeat(100_000)).spawn().unwrap();
    let seen = live.log.wait("the long command line", |e| is_exec_of(e, child.id()));
    assert_eq!(own(&seen, "process.args_truncated"), true);
    assert_eq!(text(&seen, "process.command_line").len(), 8192);
    child.wait().unwrap();
}

#[test]
fn a_script_shows_its_interpreter_and_its_own_name() {
    let Some(live) = live() else { return };
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("s.sh");
    std::fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut child = Command::new("./s.sh").current_dir(dir.path()).spawn().unwrap();
    let seen = live.log.wait("the script", |e| is_exec_of(e, child.id()));
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(text(&seen, "process.image"), shell.to_str().unwrap());
    assert!(text(&seen, "process.command_line").ends_with("./s.sh"));
    assert_eq!(text(&seen, "process.cwd"), dir.path().canonicalize().unwrap().to_str().unwrap());
    child.wait().unwrap();
}

/// Executes what an open file descriptor holds.
fn run_fd(file: &impl AsRawFd) -> std::process::Child {
    Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())).spawn().unwrap()
}

#[test]
fn an_image_in_memory_is_told() {
    let Some(live) = live() else { return };
    let fd = rustix::fs::memfd_create("quell test", rustix::fs::MemfdFlags::empty()).unwrap();
    let mut file = std::fs::File::from(fd);
    std::io::Write::write_all(&mut file, &std::fs::read("/bin/true").unwrap()).unwrap();
    // Through a second, read-only description: who can still write it cannot execute it.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let again = rustix::fs::open(&path, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    drop(file);
    let mut child = run_fd(&again);
    let seen = live.log.wait("the program in memory", |e| is_exec_of(e, child.id()));
    assert_eq!(own(&seen, "process.memfd"), true);
    assert_eq!(own(&seen, "process.deleted"), false);
    assert_eq!(text(&seen, "process.image"), "/memfd:quell test");
    child.wait().unwrap();
}

#[test]
fn an_image_that_was_removed_is_told() {
    let Some(live) = live() else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("gone");
    copy_of("true", &program);
    let open = rustix::fs::open(&program, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    std::fs::remove_file(&program).unwrap();
    let mut child = run_fd(&open);
    let seen = live.log.wait("the removed program", |e| is_exec_of(e, child.id()));
    assert_eq!((own(&seen, "process.deleted"), own(&seen, "process.memfd")), (true.into(), false.into()));
    assert!(text(&seen, "process.image").ends_with("/gone"), "{}", text(&seen, "process.image"));
    child.wait().unwrap();
}

#[test]
fn an_image_in_shared_memory_is_told() {
    let Some(live) = live() else { return };
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let program = dir.path().join("dropper");
    copy_of("true", &program);
    let mut child = Command::new(&program).spawn().unwrap();
    let seen = live.log.wait("the program in /dev/shm", |e| is_exec_of(e, child.id()));
    assert_eq!(own(&seen, "process.in_shm"), true);
    assert_eq!((own(&seen, "process.deleted"), own(&seen, "process.memfd")), (false.into(), false.into()));
    child.wait().unwrap();
}

#[test]
fn a_fork_and_its_end_are_told() {
    let Some(live) = live() else { return };
    let mut child = Command::new("/bin/sh").args(["-c", "(exit 3); kill -KILL $$"]).spawn().unwrap();
    let pid = child.id();
    let born =
        live.log.wait("the child's fork", |e| e.head.class == Class::ProcessFork && own(e, "process.pid") == pid);
    assert_eq!(own(&born, "process.parent.pid"), std::process::id());
    let ended = |e: &quell_model::OwnedEvent| e.head.class == Class::ProcessTermination;
    let inner = live.log.wait("the inner end", |e| ended(e) && own(e, "process.parent.pid") == pid);
    assert_eq!((own(&inner, "exit.code"), own(&inner, "exit.signal")), (3.into(), serde_json::Value::Null));
    let outer = live.log.wait("the outer end", |e| ended(e) && own(e, "process.pid") == pid);
    assert_eq!(own(&outer, "exit.signal"), 9);
    let id: ProcessId = text(&outer, "process.id").parse().unwrap();
    assert_eq!(id.pid, pid);
    child.wait().unwrap();
}

/// Field 22 of /proc/PID/stat.
fn start_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap()
}

#[test]
fn identities_are_those_of_proc_and_the_exec_id_grows() {
    let Some(live) = live() else { return };
    let child = Command::new("/bin/sh").args(["-c", "exec sleep 1000"]).spawn().unwrap();
    let pid = child.id();
    let image = |name: &'static str| {
        let seen = live.log.wait(name, |e| is_exec_of(e, pid) && text(e, "process.image").ends_with(name));
        text(&seen, "process.id").parse::<ProcessId>().unwrap()
    };
    let (first, second) = (image("sh"), image("sleep"));
    assert_eq!(first.start_ticks(), start_ticks(pid));
    assert!(first.same_process(&second));
    assert_eq!(first.exec_id + 1, second.exec_id);
    reap(child);
}

#[test]
fn a_change_of_ids_is_told() {
    let Some(live) = live() else { return };
    let mut child = Command::new("/bin/true").uid(65_534).gid(65_534).spawn().unwrap();
    let pid = child.id();
    let changed = |e: &quell_model::OwnedEvent, by: &str| {
        e.head.class == Class::Credentials && own(e, "process.pid") == pid && text(e, "credentials.change") == by
    };
    let seen = live.log.wait("setuid", |e| changed(e, "setuid"));
    assert_eq!(own(&seen, "credentials.old.uid"), 0);
    assert_eq!(own(&seen, "credentials.new.uid"), 65_534);
    assert_eq!(own(&seen, "credentials.new.caps"), serde_json::json!([]));
    let exec = live.log.wait("the exec", |e| is_exec_of(e, pid));
    assert_eq!((own(&exec, "process.uid"), own(&exec, "process.gid")), (65_534.into(), 65_534.into()));
    child.wait().unwrap();
}

#[test]
fn what_ran_before_is_told_with_exact_times() {
    if live().is_none() {
        return;
    }
    let child = Command::new("/bin/sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    let comm = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let end = std::time::Instant::now() + DEADLINE;
    while comm() != "sleep\n" && std::time::Instant::now() < end {
        std::thread::yield_now();
    }
    let log = Arc::default();
    let running = start(SensorConfig::new("test".into()), Keep { log: Arc::clone(&log), ask: false }).unwrap();
    let seen = log.wait("the process that was there before", |e| is_exec_of(e, pid));
    assert_eq!(seen.head.source.as_str(), "scan");
    assert!(text(&seen, "process.image").ends_with("/sleep"));
    assert_eq!(own(&seen, "process.args"), serde_json::json!(["/bin/sleep", "1000"]));
    assert_eq!(own(&seen, "process.parent.pid"), std::process::id());
    assert_eq!(own(&seen, "process.stdio.kinds.0"), serde_json::Value::Null);
    assert_eq!(own(&seen, "process.stdio.kinds")[0], "null");
    let id: ProcessId = text(&seen, "process.id").parse().unwrap();
    assert_eq!(id.start_ticks(), start_ticks(pid));
    assert_ne!(id.start_ns % TICK_NS, 0, "one in ten million has a whole tick by chance");
    assert!(id.exec_id > 0);
    running.stop();
    reap(child);
}

#[test]
fn who_reaches_into_another_process_is_told() {
    let Some(live) = live() else { return };
    if !has("python3") {
        return;
    }
    // PTRACE_SEIZE of the child, then its memory is read and written by libc's calls.
    let program = "import ctypes,os,subprocess,sys\nc=ctypes.CDLL(None,use_errno=True)\n\
                   p=subprocess.Popen(['/bin/sleep','1000'])\n\
                   assert c.ptrace(0x4206,p.pid,None,None)==0,ctypes.get_errno()\nprint(p.pid,flush=True)\n\
                   sys.stdin.read()\np.kill()\np.wait()\n";
    let mut child =
        Command::new("python3").args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let target: u32 = line.trim().parse().unwrap();
    let fits = |e: &quell_model::OwnedEvent| {
        e.head.class == Class::ProcessAccess && text(e, "access.kind") == "ptrace" && {
            text(e, "access.target").starts_with(&format!("{target}."))
        }
    };
    let seen = live.log.wait("the ptrace", fits);
    assert!(text(&seen, "process.image").contains("python"));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_program_on_the_upper_layer_of_an_overlay_is_told_from_one_below() {
    let Some(live) = live() else { return };
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    copy_of("true", &dir.path().join("below"));
    // In a mount namespace of its own, so that nothing is left mounted.
    let script = "mkdir l u w m; mv below l; mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m || exit 77\n\
                  m/below; cp l/below m/above; m/above";
    let mut child = Command::new("unshare").args(["-m", "sh", "-ec", script]).current_dir(dir.path()).spawn();
    let Ok(child) = child.as_mut() else {
        not_tested("`unshare` is not installed");
        return;
    };
    if child.wait().unwrap().code() == Some(77) {
        not_tested("no overlay can be mounted here");
        return;
    }
    let upper = |name: &'static str| {
        let fits = |e: &quell_model::OwnedEvent| {
            e.head.class == Class::ProcessCreation && text(e, "process.image").ends_with(&format!("/m/{name}"))
        };
        own(&live.log.wait(name, fits), "process.overlay_upper")
    };
    assert_eq!((upper("below"), upper("above")), (false.into(), true.into()));
}
