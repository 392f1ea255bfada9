//! The flight recorder against real parts: the sensor's own events, the daemon killed, a disk that is full.
//!
//! Every daemon observes, has a data directory of its own and touches nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::cli::{command, quell, wait_until, write};
use crate::daemon::Daemon;
use quell_engine::recorder::{Events, Page};
use quell_model::{Class, Event, Gather, OwnedEvent};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Whether BPF may be used here; says so when not.
fn not_tested(why: &str) {
    eprintln!("NOT TESTED: the flight recorder: {why}");
    assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "it must run here");
}

/// Notes what it sees, and keeps the same events whole.
#[derive(Default)]
struct Both {
    page: Page,
    whole: Vec<OwnedEvent>,
}

struct Eye(Arc<Mutex<Both>>);

impl quell_detectors::Sink for Eye {
    fn event(&mut self, event: &dyn Event) {
        let mut both = self.0.lock().unwrap();
        if !both.page.is_full() {
            both.page.note(event);
            both.whole.push(Gather::of(event));
        }
    }

    fn turn(&mut self) {}
}

#[test]
fn what_the_sensor_sees_is_what_is_read() {
    let both = Arc::new(Mutex::new(Both::default()));
    let config = quell_detectors::SensorConfig::new("n1".into());
    let running = match quell_detectors::Sensor::start(config, Box::new(Eye(Arc::clone(&both)))) {
        Ok(running) => running,
        Err(why) => return not_tested(&why.to_string()),
    };
    let dir = tempfile::tempdir().unwrap();
    let seen = |class: Class| both.lock().unwrap().whole.iter().any(|event| event.head.class == class);
    wait_until("the scan is over", || seen(Class::ProcessCreation));
    {
        // The scan alone may fill a page: what comes now has one of its own.
        let mut both = both.lock().unwrap();
        check(&both);
        both.page.clear();
        both.whole.clear();
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo x > a; mv a b; exec true 'a b' \"\"");
    assert!(Command::new("bash").args(["-c", &text]).current_dir(dir.path()).status().unwrap().success());
    let classes = [
        Class::ProcessFork,
        Class::ProcessCreation,
        Class::NetworkConnection,
        Class::FileEvent,
        Class::ProcessTermination,
    ];
    wait_until("all of it is seen", || both.lock().unwrap().page.is_full() || classes.iter().all(|class| seen(*class)));
    drop(running);
    check(&both.lock().unwrap());
}

fn check(both: &Both) {
    let read: Vec<OwnedEvent> = Events::of(both.page.bytes()).map(|glimpse| glimpse.unwrap().into_event()).collect();
    assert_eq!(read.len(), both.whole.len());
    for (read, whole) in read.iter().zip(&both.whole) {
        assert_eq!(read, whole);
    }
}

const CONFIG: &str =
    "playbooks: { shipped: false }\nrules: { shipped: false, dirs: [rules] }\nrecorder: { size: 16MiB, age: 1h }\n";

fn rule(mark: &str) -> String {
    let named = "title: Marked\nname: marked\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2\nstatus: test\nlogsource: { product: linux, category: process_creation }\n";
    format!("{named}detection: {{ s: {{ CommandLine|contains: '{mark}-attack' }}, condition: s }}\nlevel: high\n")
}

/// A daemon that stands, in this home; the command is the binary, or what runs it elsewhere.
fn start(home: &Path, quell: Command) -> Daemon {
    let mut daemon = Daemon::start(quell, Some(&home.join("quell.yaml")), &home.join("state"), &home.join("log"));
    daemon.stands();
    daemon
}

fn plain(home: &Path) -> Daemon {
    start(home, command(&["up"]))
}

fn recorder(daemon: &Daemon) -> Value {
    daemon.status()["recorder"].clone()
}

fn home(mark: &str) -> tempfile::TempDir {
    let keep = tempfile::tempdir().unwrap();
    write(keep.path(), "quell.yaml", CONFIG);
    write(keep.path(), "rules/marked.yml", &rule(mark));
    keep
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A shell that does something honest, and then something else.
fn act(mark: &str) {
    let script = format!("/bin/true {mark}-before; /bin/true {mark}-attack; /bin/true {mark}-after; :");
    assert!(Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status().unwrap().success());
}

#[test]
fn an_incident_keeps_its_process_tree_and_the_ring_survives_a_kill() {
    let mark = format!("quell-recorded-{}", std::process::id());
    let keep = home(&mark);
    let mut daemon = plain(keep.path());
    if daemon.ask_json(&["status"])["state"] != "armed" {
        return not_tested(&daemon.log());
    }
    act(&mark);
    let first = || daemon.ask_json(&["incident", "list"])[0]["id"].as_str().map(str::to_owned);
    wait_until("it is detected", || first().is_some());
    let id = first().unwrap();
    let kept = || daemon.ask_json(&["incident", "show", &id])["pinned"].clone();
    wait_until("it is pinned", || kept()["events"].as_u64().is_some());
    let command_lines = |events: &[Value]| -> BTreeSet<String> {
        events.iter().filter_map(|event| event["sigma"]["CommandLine"].as_str().map(str::to_owned)).collect()
    };
    let around = |daemon: &Daemon| lines(&daemon.ask(&["incident", "show", &id, "--events"]).out);
    let whole = |events: &[Value]| {
        let all = command_lines(events);
        ["before", "attack", "after"].iter().all(|part| all.contains(&format!("/bin/true {mark}-{part}")))
    };
    // On a machine that is flooded a page may be dropped: then it is done again, and the drop is told.
    wait_until("what came before and after is there", || {
        whole(&around(&daemon)) || {
            act(&mark);
            false
        }
    });
    for event in around(&daemon) {
        assert!(event["v"] == 1 && event["id"].is_string(), "a line of a recording: {event}");
    }
    let told = daemon.ask(&["incident", "explain", &id]).ends(0).out;
    assert!(told.contains("recorded:"), "{told}");
    // What is printed is a recording: rules read it.
    let rules = keep.path().join("rules");
    let printed = daemon.ask(&["incident", "show", &id, "--events"]).ends(0).out;
    let file = write(keep.path(), "around.jsonl", &printed);
    let found = quell(&["detect", "--rules", rules.to_str().unwrap(), "--json", file.to_str().unwrap()]).ends(0);
    assert!(found.out.contains("marked"), "{found:?}");
    let status = recorder(&daemon);
    assert!(status["noted"].as_u64() > Some(10) && status["trouble"].is_null(), "{status}");
    assert!(daemon.ask(&["status"]).out.contains("recorder"));

    daemon.kill();
    let ring = keep.path().join("state/recorder");
    let files: Vec<PathBuf> =
        std::fs::read_dir(&ring).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    let mut args: Vec<&str> = vec!["detect", "--rules", rules.to_str().unwrap(), "--json"];
    args.extend(files.iter().map(|path| path.to_str().unwrap()));
    let found = quell(&args);
    assert!(found.out.contains(&format!("{mark}-attack")), "the ring itself is a recording: {found:?}");

    let daemon = plain(keep.path());
    wait_until("it records again", || recorder(&daemon)["noted"].as_u64() > Some(0));
    assert!(whole(&around(&daemon)), "the pin is still there");
    let pinned = || daemon.ask_json(&["incident", "show", &id])["pinned"].clone();
    // Before it is resolved: the last word may be said before anybody can ask again.
    let now = pinned()["to"]["wall"].clone();
    daemon.ask(&["incident", "resolve", &id]).ends(0);
    wait_until("the last word is said", || pinned()["to"]["wall"] != now);
    assert!(pinned()["unrecorded_ms"].as_u64() > Some(0), "a daemon that is dead records nothing: {}", pinned());
}

#[test]
fn a_full_disk_stops_the_recorder_alone_and_it_comes_back() {
    let mark = format!("quell-full-{}", std::process::id());
    let keep = home(&mark);
    let ring = keep.path().join("state/recorder");
    std::fs::create_dir_all(&ring).unwrap();
    std::os::unix::fs::chown(keep.path().join("state"), None, None).unwrap();
    // A small file system of its own, which only this daemon sees.
    let mut inside = Command::new("unshare");
    let script = "mount -t tmpfs -o size=24m none \"$1\" && shift && exec \"$@\"";
    inside.args(["--mount", "sh", "-c", script, "sh"]).arg(&ring).arg(env!("CARGO_BIN_EXE_quell")).arg("up");
    let tried = Command::new("unshare").args(["--mount", "sh", "-c", "mount -t tmpfs none /mnt"]).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return not_tested("no mount namespace can be made");
    }
    let daemon = start(keep.path(), inside);
    if daemon.ask_json(&["status"])["state"] != "armed" {
        return not_tested(&daemon.log());
    }
    act(&mark);
    wait_until("it records", || recorder(&daemon)["bytes"].as_u64() > Some(0));
    let seen_inside = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), ring.display()));
    let ballast = seen_inside.join("ballast");
    let full = std::fs::write(&ballast, vec![1; 32 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    wait_until("it says that it records nothing", || {
        act(&mark);
        recorder(&daemon)["trouble"].is_string()
    });
    assert!(daemon.ask(&["status"]).out.contains("nothing is recorded"));
    assert!(daemon.ask_json(&["status"])["journal"]["trouble"].is_null(), "the journal is well");
    std::fs::remove_file(&ballast).unwrap();
    wait_until("it records again", || {
        act(&mark);
        recorder(&daemon)["trouble"].is_null()
    });
    let status = recorder(&daemon);
    assert!(status["dropped"].as_u64() > Some(0), "{status}");
    assert!(daemon.said().contains("recording again"), "{}", daemon.said());
}
