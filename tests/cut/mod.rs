//! `network.isolate` and `network.block_peer` through `quell up`: a playbook cuts a cgroup off in the midst of its talk, the kernel
//! goes on with it while the daemon is dead, a pause lifts it, an undo gives it back, and `uninstall` leaves nothing.
//!
//! Acts on shells in cgroups of its own that talk to this process over the loopback, under `only_within`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::cli::command;
use crate::daemon::Daemon;
use crate::threats::group::Group;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

const RULE: &str = "title: Somebody talks to the wrong host\nname: talks\nstatus: test\nlevel: high\n\
    logsource: { product: linux, category: process_creation }\n\
    detection:\n  image: { Image|endswith: /MARKER }\n  condition: image\n";

const PLAYBOOK: &str = "playbook: cut-off\ndescription: Whoever talks to the wrong host talks no more.\n\
    on: { detections: { rules: [talks] } }\nmode: enforce\nsteps:\n  cut:\n    action: ACTION\n";

/// The cgroup of the event.
const ISOLATE: &str = "network.isolate\n    \
    with: { cgroup: \"${{ event.process.cgroup_path }}\", allow: [127.0.0.7], for: 10m }";
/// Whoever started what the event is about, with all that it started, out of the cgroup that it shares.
const TREE: &str = "network.isolate\n    with: { process: \"${{ event.process.ancestors[0].id }}\", scope: tree }";
/// The same for a moment, by the kernel's own clock.
const MOMENT: &str =
    "network.isolate\n    with: { process: \"${{ event.process.ancestors[0].id }}\", scope: tree, for: 2s }";
/// One peer.
const PEER: &str = "network.block_peer\n    \
    with: { cidr: 127.0.0.5, scope: cgroup, cgroup: \"${{ event.process.cgroup_path }}\", for: 10m }";

/// Answers what it is told over its first connection, runs a program at the word `go`, and, once that connection has ended,
/// says again and again whether a new one can be made.
const TALK: &str = r#"
host=$1 port=$2 marker=$3
exec 3<>/dev/tcp/$host/$port || exit 9
while read -r line <&3 2>/dev/null; do
  [ "$line" = go ] && "$marker"
  echo "$line" >&3
done
echo over
while :; do
  if (exec 3<>/dev/tcp/$host/$port) 2>/dev/null; then echo reached; else echo refused; fi
  sleep 0.05
done
"#;

struct Place {
    inside: Group,
    outside: Group,
    top: Group,
    marker: PathBuf,
    dir: tempfile::TempDir,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.top.remove();
    }
}

impl Place {
    /// `action` is what the playbook does; OUTSIDE in it: the cgroup that lies outside of `only_within`.
    fn new(name: &str, action: &str) -> Option<Self> {
        let top = Group::new(&format!("quell-cut-{name}-{}", std::process::id()))?;
        let (inside, outside) = (top.below("inside"), top.below("outside"));
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join(format!("quell-marker-{name}"));
        // By another process: what this one holds open for writing, its children would too, and could not start it.
        let copied = Command::new("cat").arg("/bin/true").stdout(File::create(&marker).unwrap()).status();
        assert!(copied.unwrap().success());
        fs::set_permissions(&marker, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["playbooks", "rules"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let action = action.replace("OUTSIDE", &outside.path);
        fs::write(dir.path().join("rules/rule.yml"), RULE.replace("MARKER", &format!("quell-marker-{name}"))).unwrap();
        fs::write(dir.path().join("playbooks/playbook.yaml"), PLAYBOOK.replace("ACTION", &action)).unwrap();
        let config = format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
             guard:\n  only_within: {{ cgroup: {} }}\n",
            inside.path
        );
        fs::write(dir.path().join("quell.yaml"), config).unwrap();
        Some(Self { inside, outside, top, marker, dir })
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn quell(&self, args: &[&str]) -> (bool, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
        command.args(args).args(["--json", "--data-dir"]).arg(self.state()).stdin(Stdio::null());
        let out = command.output().unwrap();
        (out.status.success(), serde_json::from_slice(&out.stdout).unwrap_or_default())
    }

    fn status(&self) -> Value {
        self.quell(&["status"]).1
    }

    fn daemon(&self) -> Daemon {
        let file = |name: &str| self.dir.path().join(name);
        let mut daemon = Daemon::start(command(&["up"]), Some(&file("quell.yaml")), &self.state(), &file("log"));
        daemon.stands();
        daemon
    }

    #[track_caller]
    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(
                begun.elapsed() < PATIENCE,
                "waited in vain until {what}\n{}\n{}\n{log}",
                self.run(),
                self.status()
            );
            std::thread::yield_now();
        }
    }

    /// The only run, as it is shown.
    fn run(&self) -> Value {
        let runs = self.quell(&["run", "list"]).1;
        let Some(id) = runs[0]["id"].as_str() else { return Value::Null };
        self.quell(&["run", "show", id]).1
    }

    /// Whether what this test is about can be had here.
    fn can(&self) -> bool {
        let status = self.status();
        let can = status["state"] == "armed" && status["cut"]["loaded"] == true;
        if !can {
            not_tested(&format!("{} {}", status["sensor"]["why"], status["cut"]["why"]));
        }
        can
    }
}

/// A shell in a cgroup, and its first connection to this process.
struct Talker {
    child: Child,
    dir: tempfile::TempDir,
    line: BufReader<TcpStream>,
}

impl Drop for Talker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Talker {
    fn new(place: &Place, group: &Group, listener: &TcpListener, marker: &Path) -> Self {
        let dir = tempfile::tempdir_in(place.dir.path()).unwrap();
        let at = listener.local_addr().unwrap();
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        let argv = ["/bin/bash", "-c", TALK, "talk", &host, &port, marker.to_str().unwrap()].map(str::to_owned);
        let child = group.spawn(&argv, dir.path(), &[]);
        let (line, _) = listener.accept().unwrap();
        Self { child, dir, line: BufReader::new(line) }
    }

    fn say(&mut self, word: &str) {
        self.line.get_mut().write_all(format!("{word}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    fn answers(&mut self, word: &str) {
        self.say(word);
        let mut answer = String::new();
        self.line.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), word);
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Until it has tried twice from now on, each with this end.
    #[track_caller]
    fn says_twice(&self, place: &Place, word: &str) {
        let from = self.log().len();
        place.until(word, || {
            let log = self.log();
            log.len() >= from + 2 && log[log.len() - 2..].iter().all(|line| line == word)
        });
    }
}

fn not_tested(why: &str) {
    assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
    eprintln!("NOT TESTED: network.isolate: {why}");
}

#[test]
fn what_a_playbook_cut_off_talks_no_more() {
    let Some(place) = Place::new("off", ISOLATE) else { return not_tested("no cgroup can be made here") };
    let mut daemon = place.daemon();
    if !place.can() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut talker = Talker::new(&place, &place.inside, &listener, &place.marker);
    let mut sibling = Talker::new(&place, &place.outside, &listener, Path::new("/bin/true"));
    talker.answers("hello");
    sibling.answers("hello");
    talker.say("go");
    place.until("it is cut off", || place.status()["cut"]["cut_off"][0]["cgroup"] == place.inside.path.as_str());
    place.until("the run has proved it", || place.run()["state"] == "succeeded");
    let run = place.run();
    assert_eq!(run["steps"][0]["outcome"], "verified", "{run}");
    // What was open carries nothing more: it has ended there, and here nothing comes.
    place.until("its connection has ended", || talker.log().iter().any(|line| line == "over"));
    // It may be told by a reset that nobody is there any more.
    let said = talker.line.get_mut().write_all(b"secret\n").map_err(|error| error.kind());
    assert!(matches!(said, Ok(()) | Err(ErrorKind::ConnectionReset)), "{said:?}");
    let mut rest = Vec::new();
    talker.line.get_ref().set_nonblocking(true).unwrap();
    let read = talker.line.read_to_end(&mut rest);
    let read = read.map_err(|error| error.kind());
    // An end is that reset, of which the write was told: the other side sends none.
    let is_reset = said.is_err() && read.is_ok();
    assert!(is_reset || matches!(read, Err(ErrorKind::WouldBlock | ErrorKind::ConnectionReset)), "{read:?}");
    assert!(!String::from_utf8_lossy(&rest).contains("secret"));
    talker.says_twice(&place, "refused");
    sibling.answers("who is beside it goes on");
    let cut = place.status()["cut"]["cut_off"][0].clone();
    assert_eq!((&cut["isolated"], &cut["peers"][0]), (&true.into(), &"127.0.0.7/32".into()), "{cut}");
    assert!(cut["calls"].as_u64() >= Some(2) && cut["unhooked"] == Value::Array(Vec::new()), "{cut}");
    // Who looks at the incident sees what the kernel did for it.
    let incident = run["incident"].as_str().unwrap();
    let line = format!("packets and calls of cgroup {}", place.inside.path);
    place.until("the incident tells of it", || {
        let shown = place.quell(&["incident", "show", incident]).1.to_string();
        shown.contains("the kernel dropped") && shown.contains(&line)
    });
    // The big red button lifts it.
    assert!(place.quell(&["pause"]).0);
    talker.says_twice(&place, "reached");
    assert!(place.quell(&["resume"]).0);
    talker.says_twice(&place, "refused");

    if place.status()["cut"]["pinned"].is_null() {
        // Another daemon of this machine has the pins, as in a test beside this one.
        eprintln!("NOT TESTED: a cut without its daemon: {}", place.status()["cut"]["unpinned_why"]);
    } else {
        daemon.kill();
        talker.says_twice(&place, "refused");
        let before = cut["calls"].as_u64().unwrap();
        daemon = place.daemon();
        let known = place.status()["cut"]["cut_off"][0].clone();
        assert_eq!(known["cgroup"], place.inside.path.as_str(), "the next one knows it: {known}");
        assert!(known["calls"].as_u64().unwrap() > before, "what was dropped meanwhile is counted: {known}");
        talker.says_twice(&place, "refused");
        place.until("the incident tells of what nobody saw", || {
            let shown = place.quell(&["incident", "show", incident]).1.to_string();
            shown.contains(&format!("{line} while no quell was there"))
        });
    }
    let id = run["id"].as_str().unwrap().to_owned();
    assert!(place.quell(&["run", "undo", &id, "--why", "a drill"]).0);
    place.until("it is taken back", || place.run()["state"] == "undone");
    talker.says_twice(&place, "reached");
    assert_eq!(place.status()["cut"]["cut_off"], Value::Array(Vec::new()));
    sibling.answers("and goes on");
    daemon.end();
    assert!(place.quell(&["uninstall"]).0);
}

#[test]
fn uninstall_lets_go_of_what_is_cut_off() {
    let Some(place) = Place::new("left", ISOLATE) else { return not_tested("no cgroup can be made here") };
    let daemon = place.daemon();
    if !place.can() {
        return;
    }
    if place.status()["cut"]["pinned"].is_null() {
        eprintln!("NOT TESTED: uninstall of a cut: {}", place.status()["cut"]["unpinned_why"]);
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut talker = Talker::new(&place, &place.inside, &listener, &place.marker);
    talker.say("go");
    place.until("the run has proved it", || place.run()["state"] == "succeeded");
    daemon.end();
    talker.says_twice(&place, "refused");
    let (done, left) = place.quell(&["uninstall", "--keep"]);
    assert!(done && left["stood"][0]["action"] == "network.isolate", "{left}");
    talker.says_twice(&place, "refused");
    let (done, left) = place.quell(&["uninstall"]);
    assert!(done && left["uncut"][0]["id"] == place.inside.path.as_str(), "{left}");
    assert!(left["uncut"][0]["dropped"].as_u64() >= Some(2), "{left}");
    talker.says_twice(&place, "reached");
}

#[test]
fn what_lies_outside_of_only_within_is_not_cut_off() {
    let Some(place) = Place::new("only", "network.isolate\n    with: { cgroup: OUTSIDE }") else {
        return not_tested("no cgroup can be made here");
    };
    let daemon = place.daemon();
    if !place.can() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut talker = Talker::new(&place, &place.inside, &listener, &place.marker);
    let mut sibling = Talker::new(&place, &place.outside, &listener, Path::new("/bin/true"));
    talker.answers("go");
    place.until("the guard has refused it", || place.run().to_string().contains("lies outside"));
    assert_eq!(place.run()["steps"][0]["outcome"], "refused", "{}", place.run());
    assert_eq!(place.status()["cut"]["cut_off"], Value::Array(Vec::new()));
    talker.answers("still here");
    sibling.answers("still here");
    daemon.end();
    assert!(place.quell(&["uninstall"]).0);
}

#[test]
fn a_tree_is_brought_out_of_the_cgroup_that_it_shares_and_back() {
    let Some(place) = Place::new("tree", TREE) else { return not_tested("no cgroup can be made here") };
    let daemon = place.daemon();
    if !place.can() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let talker = Talker::new(&place, &place.inside, &listener, &place.marker);
    let mut beside = Talker::new(&place, &place.inside, &listener, Path::new("/bin/true"));
    beside.answers("hello");
    let cgroup = || cgroup_of(talker.child.id());
    assert_eq!(cgroup(), place.inside.path);
    talker.line.get_ref().try_clone().unwrap().write_all(b"go\n").unwrap();
    place.until("the run has proved it", || place.run()["state"] == "succeeded");
    let run = place.run();
    assert_eq!(run["steps"][0]["outcome"], "verified", "{run}");
    assert!(cgroup().starts_with(&format!("{}/quell-moved-{}-", place.inside.path, talker.child.id())));
    // It had opened its connection elsewhere: that has ended too.
    place.until("its connection has ended", || talker.log().iter().any(|line| line == "over"));
    talker.says_twice(&place, "refused");
    beside.answers("the other one in that cgroup goes on");
    assert!(place.quell(&["run", "undo", run["id"].as_str().unwrap(), "--why", "a drill"]).0);
    place.until("it is taken back", || place.run()["state"] == "undone");
    assert_eq!(cgroup(), place.inside.path);
    talker.says_twice(&place, "reached");
    daemon.end();
    assert!(place.quell(&["uninstall"]).0);
}

/// The v2 cgroup of a process.
fn cgroup_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

#[test]
fn who_was_moved_is_back_when_the_kernels_clock_has_ended_the_cut() {
    let Some(place) = Place::new("moment", MOMENT) else { return not_tested("no cgroup can be made here") };
    let daemon = place.daemon();
    if !place.can() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut talker = Talker::new(&place, &place.inside, &listener, &place.marker);
    talker.say("go");
    place.until("the run has done it", || place.run()["state"] == "succeeded");
    place.until("it is where it was", || cgroup_of(talker.child.id()) == place.inside.path);
    // Whoever was just ending in it keeps it for another look.
    place.until("the cgroup that was made for it is gone", || {
        let mut below = fs::read_dir(place.inside.procs().parent().unwrap()).unwrap().flatten();
        !below.any(|entry| entry.path().is_dir())
    });
    talker.says_twice(&place, "reached");
    daemon.end();
    assert!(place.quell(&["uninstall"]).0);
}

#[test]
fn uninstall_brings_back_who_was_moved() {
    let Some(place) = Place::new("back", TREE) else { return not_tested("no cgroup can be made here") };
    let daemon = place.daemon();
    if !place.can() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut talker = Talker::new(&place, &place.inside, &listener, &place.marker);
    talker.say("go");
    place.until("the run has proved it", || place.run()["state"] == "succeeded");
    let pid = talker.child.id();
    assert_ne!(cgroup_of(pid), place.inside.path);
    daemon.end();
    // Where it is not pinned it ended with the daemon.
    let (done, left) = place.quell(&["uninstall"]);
    assert!(done && left["moved_back"].as_u64() >= Some(1), "{left}");
    assert_eq!(cgroup_of(pid), place.inside.path);
    talker.says_twice(&place, "reached");
}

#[test]
fn a_peer_is_kept_away_and_others_are_not() {
    let Some(place) = Place::new("peer", PEER) else { return not_tested("no cgroup can be made here") };
    let daemon = place.daemon();
    if !place.can() {
        return;
    }
    let (bad, good) = (TcpListener::bind("127.0.0.5:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut talker = Talker::new(&place, &place.inside, &bad, &place.marker);
    let mut other = Talker::new(&place, &place.inside, &good, Path::new("/bin/true"));
    let outside = Talker::new(&place, &place.outside, &bad, Path::new("/bin/true"));
    talker.say("go");
    place.until("the run has proved it", || place.run()["state"] == "succeeded");
    let run = place.run();
    assert_eq!(run["steps"][0]["outcome"], "verified", "{run}");
    place.until("its connection has ended", || talker.log().iter().any(|line| line == "over"));
    talker.says_twice(&place, "refused");
    other.answers("another peer is not kept away");
    assert!(outside.log().is_empty(), "nor is the peer from another cgroup: {:?}", outside.log());
    let cut = place.status()["cut"]["cut_off"][0].clone();
    assert_eq!((&cut["isolated"], &cut["peers"][0]), (&false.into(), &"127.0.0.5/32".into()), "{cut}");
    assert!(place.quell(&["run", "undo", run["id"].as_str().unwrap(), "--why", "a drill"]).0);
    place.until("it is taken back", || place.run()["state"] == "undone");
    talker.says_twice(&place, "reached");
    daemon.end();
    assert!(place.quell(&["uninstall"]).0);
}
