//! `quell up` and its clients, over a real socket: armed or blind, refused twice, paused, reloaded, ended.

use super::hostile::{HOSTILE, is_clean};
use super::{PATIENCE, Ran, command, quell, wait_until, write};
use crate::daemon::Daemon as Own;
use quell_engine::store::Journal;
use quell_model::{Body, Record, StreamId};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

/// A daemon that stands, and its home.
struct Daemon {
    own: Own,
    dir: PathBuf,
    keep: tempfile::TempDir,
}

impl std::ops::Deref for Daemon {
    type Target = Own;

    fn deref(&self) -> &Own {
        &self.own
    }
}

impl Daemon {
    fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), None)
    }

    fn start_with(keep: tempfile::TempDir, config: Option<&Path>) -> Self {
        let dir = keep.path().join("state");
        let own = Self::standing(keep.path(), config);
        Self { own, dir, keep }
    }

    fn standing(home: &Path, config: Option<&Path>) -> Own {
        let mut own = Own::start(command(&["up"]), config, &home.join("state"), &home.join("log"));
        own.stands();
        own
    }

    fn log(&self) -> String {
        self.own.said()
    }

    fn state(&self) -> String {
        self.ask_json(&["status"])["state"].as_str().unwrap().to_owned()
    }

    /// The body of a raw exchange on the socket, with its head.
    fn raw(&self, request: &str) -> (String, Value) {
        let mut socket = UnixStream::connect(self.dir.join("quell.sock")).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), serde_json::from_str(body).unwrap())
    }
}

#[test]
fn what_a_killed_quell_tried_itself_in_goes_at_the_next_start() {
    let world = quell_actions::HostWorld::live("here".into()).unwrap();
    // Somebody has its pid by now.
    let of = |root: &quell_actions::CgroupRoot| root.dir.join(format!("quell-self-test-{}-1", std::process::id()));
    let left: Vec<_> = world.cgroups.iter().map(of).filter(|dir| std::fs::create_dir(dir).is_ok()).collect();
    if left.is_empty() {
        eprintln!("NOT TESTED: no cgroup can be made here");
        return;
    }
    let _daemon = Daemon::start();
    wait_until("it is swept", || left.iter().all(|dir| !dir.exists()));
}

#[test]
fn it_answers_refuses_a_second_and_ends_when_told() {
    let mut daemon = Daemon::start();
    let status = daemon.ask_json(&["status"]);
    assert_eq!(status["mode"], "observe");
    assert_eq!(status["paused"], false);
    assert!(status["playbooks"].as_array().unwrap().len() >= 4, "{status}");
    assert!(status["rules"].as_u64().unwrap() >= 4, "{status}");
    let armed = status["state"] == "armed";
    daemon.ask(&["status"]).ends(if armed { 0 } else { 1 });
    if !armed {
        eprintln!("NOT TESTED: an armed daemon: {}", status["sensor"]["why"]);
    }
    assert!(daemon.log().contains("--mode enforce"), "it says how to enforce:\n{}", daemon.log());
    for line in daemon.log().lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("no JSON off a terminal: {e}: {line}"));
    }

    let socket = daemon.dir.join("quell.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert!(mode == 0o600 || mode == 0o660, "{mode:o}");

    let second = quell(&["up", "--data-dir", daemon.dir.to_str().unwrap()]).ends(2);
    assert!(second.err.contains("in use"), "{}", second.err);
    assert!(second.err.contains(&daemon.pid().to_string()), "it names the first: {}", second.err);
    let refused = daemon.ask(&["uninstall"]).ends(2);
    assert!(refused.err.contains("daemon"), "{}", refused.err);

    let since = Instant::now();
    daemon.signal(rustix::process::Signal::TERM);
    let status = daemon.own.wait();
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(since.elapsed() < PATIENCE);
    daemon.ask(&["status"]).ends(3);
    assert!(!socket.exists(), "the socket is gone");
    let done = daemon.ask(&["uninstall"]).ends(0);
    // Another demo that was killed may have left its cgroup.
    assert!(done.out.contains("nothing") || done.out.contains("removed"), "{}", done.out);
}

#[test]
fn lists_are_arrays_and_problems_are_problem_documents() {
    let daemon = Daemon::start();
    assert!(daemon.ask_json(&["run", "list"]).is_array());
    assert!(daemon.ask_json(&["incident", "list"]).is_array());
    let missing = daemon.ask(&["run", "show", "r-none"]).ends(1);
    assert!(
        missing.err.contains("there is no run `r-none`") && missing.err.contains("quell run list"),
        "{}",
        missing.err
    );
    for args in
        [&["incident", "show", "i/../x y"][..], &["incident", "explain", "i-none"], &["run", "cancel", "r-none"]]
    {
        daemon.ask(args).ends(1);
    }

    let (head, body) = daemon.raw("GET /v1/nowhere HTTP/1.1\r\nhost: quell\r\nconnection: close\r\n\r\n");
    assert!(head.starts_with("http/1.1 404") && head.contains("application/problem+json"), "{head}");
    assert_eq!(body["status"], 404);
    let (head, _) = daemon.raw("DELETE /v1/runs HTTP/1.1\r\nhost: quell\r\nconnection: close\r\n\r\n");
    assert!(head.starts_with("http/1.1 405") && head.contains("application/problem+json"), "{head}");
    let bad = "POST /v1/runs HTTP/1.1\r\nhost: quell\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{\"plybok\"";
    let (head, body) = daemon.raw(bad);
    assert!(head.starts_with("http/1.1 400") && body["detail"].as_str().unwrap().contains("body"), "{head}: {body}");
    let (_, page) = daemon.raw("GET /v1/playbooks HTTP/1.1\r\nhost: quell\r\nconnection: close\r\n\r\n");
    assert!(page["items"].is_array() && page["next"].is_null(), "{page}");
}

#[test]
fn a_pause_is_shown_and_outlives_the_daemon() {
    let mut daemon = Daemon::start();
    daemon.ask(&["pause"]).ends(0);
    assert_eq!(daemon.ask_json(&["status"])["paused"], true);
    assert!(daemon.ask(&["status"]).out.contains("PAUSED"));
    daemon.own.kill();
    daemon.own = Daemon::standing(daemon.keep.path(), None);
    assert_eq!(daemon.ask_json(&["status"])["paused"], true);
    daemon.ask(&["resume"]).ends(0);
    assert_eq!(daemon.ask_json(&["status"])["paused"], false);
}

fn rule(name: &str) -> String {
    format!(
        "title: {name}\nname: {name}\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2\nstatus: test\nlogsource: {{ product: linux, category: process_creation }}\ndetection: {{ s: {{ Image|endswith: /no-such-{name} }}, condition: s }}\nlevel: high\n"
    )
}

fn with_rules() -> (tempfile::TempDir, PathBuf) {
    let keep = tempfile::tempdir().unwrap();
    let config = write(keep.path(), "quell.yaml", "rules: { dirs: [rules] }\n");
    write(keep.path(), "rules/one.yml", &rule("one"));
    (keep, config)
}

fn rules_of(daemon: &Daemon) -> u64 {
    daemon.ask_json(&["status"])["rules"].as_u64().unwrap()
}

#[test]
fn rules_that_change_are_in_force_without_a_restart_and_a_broken_one_leaves_the_old_set() {
    let (keep, config) = with_rules();
    let root = keep.path().to_owned();
    let daemon = Daemon::start_with(keep, Some(&config));
    let before = rules_of(&daemon);

    let second = rule("two").replace("51c2", "51c3");
    write(&root, "rules/two.yml", &second);
    wait_until("the second rule is in force", || rules_of(&daemon) == before + 1);

    write(
        &root,
        "rules/three.yml",
        "title: broken\nlogsource: { product: linux }\ndetection: { condition: nothing }\n",
    );
    wait_until("the refusal is told", || daemon.log().contains("three.yml"));
    assert_eq!(rules_of(&daemon), before + 1, "the old set stays");
    assert!(daemon.ask_json(&["status"])["reload_refused"].is_string());
    let loud = daemon.log().lines().any(|line| line.contains("ERROR") && line.contains("three.yml"));
    assert!(loud, "{}", daemon.log());

    std::fs::remove_file(root.join("rules/three.yml")).unwrap();
    super::fifo::fifo(&root.join("rules/fifo.yml"));
    wait_until("so is that of a fifo, for which nobody waits", || daemon.log().contains("fifo.yml"));
    assert_eq!(rules_of(&daemon), before + 1, "the old set stays");
    std::fs::remove_file(root.join("rules/fifo.yml")).unwrap();
    daemon.signal(rustix::process::Signal::HUP);
    wait_until("all is well again", || daemon.ask_json(&["status"])["reload_refused"].is_null());
}

#[test]
fn a_configuration_with_mistakes_is_refused_whole_before_anything_is_opened() {
    let keep = tempfile::tempdir().unwrap();
    let config = write(keep.path(), "quell.yaml", "mod: enforce\nguard: { protekt: {} }\n");
    let state = keep.path().join("state");
    let ran = quell(&["up", "--config", config.to_str().unwrap(), "--data-dir", state.to_str().unwrap()]).ends(2);
    assert!(ran.err.contains("did you mean `mode`?") && ran.err.contains("did you mean `protect`?"), "{}", ran.err);
    assert!(!Path::new(&state).exists(), "nothing was made");
}

#[test]
fn a_playbook_is_started_by_hand_and_its_incident_is_kept() {
    let keep = tempfile::tempdir().unwrap();
    let config = write(keep.path(), "quell.yaml", "playbooks: { dirs: [playbooks] }\n");
    let text = "playbook: say-hello\ndescription: Says hello.\non: { manual: true }\ninputs: { whom: { type: string } }\nsteps:\n  hello: { tell: \"hello ${{ inputs.whom }}\" }\n";
    write(keep.path(), "playbooks/hello.yaml", text);
    let daemon = Daemon::start_with(keep, Some(&config));
    let file = daemon.dir.with_file_name("playbooks/hello.yaml");
    let started = daemon.ask_json(&["playbook", "run", file.to_str().unwrap(), "--input", "whom=world"]);
    let id = started["id"].as_str().unwrap().to_owned();
    wait_until("the run has ended", || daemon.ask_json(&["run", "show", &id])["state"] == "succeeded");
    let list = daemon.ask_json(&["run", "list"]);
    // The sensor sees the whole machine: other runs may stand beside.
    assert!(list.as_array().unwrap().iter().any(|run| run["id"] == id.as_str()), "{list}");
    let shown = daemon.ask(&["run", "show", &id]).ends(0).out;
    assert!(shown.contains("hello") && shown.contains("succeeded"), "{shown}");
    let wrong = daemon.ask(&["playbook", "run", file.to_str().unwrap(), "--input", "who=world"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    assert!(daemon.ask(&["run", "cancel", &id]).ends(1).err.contains("ended"));
}

/// A cgroup of the test's own on the v2 hierarchy; none where it cannot be made.
struct OwnCgroup(PathBuf);

impl OwnCgroup {
    fn new() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let mut parts = line.split(' ').skip(1);
            let (dir, fs) = (parts.next()?, parts.next()?);
            (fs == "cgroup2").then(|| PathBuf::from(dir))
        })?;
        let dir = root.join(format!("quell-test-cli-{}", std::process::id()));
        std::fs::create_dir(&dir).ok()?;
        Some(Self(dir))
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        drop(std::fs::write(self.0.join("cgroup.kill"), "1"));
        let dir = self.0.clone();
        wait_until("the test's cgroup is empty", || std::fs::remove_dir(&dir).is_ok() || !dir.exists());
    }
}

/// The keys that a document has, of a list those of its first element; what stands below is pinned by its types.
fn keys(document: &Value) -> Vec<String> {
    match document {
        Value::Array(list) => list.iter().take(1).flat_map(keys).map(|key| format!("[].{key}")).collect(),
        Value::Object(map) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The letter of `/proc/PID/stat`.
fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn what_it_froze_in_enforce_mode_is_thawed_by_uninstall_after_it_was_killed() {
    let Some(cgroup) = OwnCgroup::new() else {
        eprintln!("NOT TESTED: freeze and uninstall: no cgroup v2 can be made here");
        return;
    };
    let keep = tempfile::tempdir().unwrap();
    let root = keep.path().to_owned();
    let sleeper = write(&root, "sleeper.sh", "while :; do sleep 0.1; done\n");
    let name = cgroup.0.file_name().unwrap().to_str().unwrap().to_owned();
    let config = write(
        &root,
        "quell.yaml",
        &format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\nguard: {{ only_within: {{ cgroup: /{name} }} }}\n"
        ),
    );
    write(
        &root,
        "playbooks/hold.yaml",
        "playbook: hold\ndescription: Holds the sleeper.\non: { detections: { rules: [sleeper] } }\nmode: enforce\nlimits: { runs: 20/h }\nsteps:\n  freeze:\n    action: process.freeze\n    with: { process: \"${{ event.process.id }}\", scope: process }\n",
    );
    let command_line = format!("sh {}", sleeper.display());
    write(
        &root,
        "rules/sleeper.yml",
        &format!(
            "title: Sleeper\nname: sleeper\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2\nstatus: test\nlogsource: {{ product: linux, category: process_creation }}\ndetection: {{ s: {{ CommandLine: '{command_line}' }}, condition: s }}\nlevel: high\n"
        ),
    );
    let mut daemon = Daemon::start_with(keep, Some(&config));
    if daemon.state() != "armed" {
        eprintln!("NOT TESTED: freeze and uninstall: {}", daemon.log());
        return;
    }
    let mut act = std::process::Command::new("sh")
        .args(["-c", "echo 0 > \"$0/cgroup.procs\"; exec sh \"$1\""])
        .args([&cgroup.0, &sleeper])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let pid = act.id();
    let held = || daemon.ask_json(&["run", "list"]).as_array().unwrap().iter().any(|run| run["state"] == "succeeded");
    wait_until("the sleeper is held", held);
    assert_eq!(state_of(pid), Some('T'));
    let list = daemon.ask_json(&["run", "list"]);
    let id = list[0]["id"].as_str().unwrap().to_owned();
    let run = daemon.ask_json(&["run", "show", &id]);
    assert_eq!((&run["steps"][0]["id"], &run["steps"][0]["outcome"]), (&"freeze".into(), &"verified".into()), "{run}");
    let shown = daemon.ask(&["run", "show", &id]).ends(0).out;
    assert!(shown.contains("verified") && shown.contains("process.freeze"), "{shown}");
    let incident = daemon.ask_json(&["incident", "list"])[0]["id"].as_str().unwrap().to_owned();
    for (name, args) in [
        ("run_list", &["run", "list"][..]),
        ("run_show", &["run", "show", &id]),
        ("incident_list", &["incident", "list"]),
        ("incident_show", &["incident", "show", &incident]),
        ("incident_explain", &["incident", "explain", &incident]),
        ("status", &["status"]),
    ] {
        insta::assert_snapshot!(name, keys(&daemon.ask_json(args)).join("\n"));
    }
    let told = daemon.ask(&["incident", "explain", &incident]).ends(0).out;
    assert!(told.contains("CommandLine") && told.contains("started"), "{told}");

    daemon.own.kill();
    assert_eq!(state_of(pid), Some('T'), "a killed daemon leaves it held");
    let left = daemon.ask(&["uninstall"]).ends(0);
    assert!(left.out.contains("thawed") && left.out.contains(&pid.to_string()), "{left:?}");
    wait_until("the sleeper runs again", || matches!(state_of(pid), Some('S' | 'R')));
    assert!(!daemon.ask(&["uninstall"]).ends(0).out.contains("thawed"));
    let journal = Journal::open_read_only(&daemon.dir).unwrap();
    let run = journal.read(&StreamId::run(&id.as_str().into()), 1).unwrap();
    let ended = |record: &Record| matches!(&record.body, Body::LeaseChanged(c) if c.state.as_str() == "ended");
    assert!(run.iter().any(ended), "its run says so: {:?}", run.last());
    journal.close();
    act.kill().unwrap();
    act.wait().unwrap();
}

#[test]
fn a_process_with_a_hostile_command_line_breaks_no_output_of_a_live_daemon() {
    let keep = tempfile::tempdir().unwrap();
    let text = "playbooks: { shipped: false }\nrules: { shipped: false, dirs: [rules] }\n";
    let config = write(keep.path(), "quell.yaml", text);
    let mark = format!("quell-hostile-{}", std::process::id());
    let named = "title: Marked\nname: marked\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2\nstatus: test\nlogsource: { product: linux, category: process_creation }\n";
    let seen = format!("detection: {{ s: {{ CommandLine|contains: '{mark}' }}, condition: s }}\nlevel: high\n");
    write(keep.path(), "rules/marked.yml", &format!("{named}{seen}"));
    let daemon = Daemon::start_with(keep, Some(&config));
    if daemon.state() != "armed" {
        eprintln!("NOT TESTED: hostile names in a live daemon: {}", daemon.log());
        return;
    }
    let argument = format!("{mark} {HOSTILE} {}", "x".repeat(100_000));
    assert!(std::process::Command::new("/bin/true").arg(argument).status().unwrap().success());
    let detected = || !daemon.ask_json(&["incident", "list"]).as_array().unwrap().is_empty();
    wait_until("it is detected", detected);
    let id = daemon.ask_json(&["incident", "list"])[0]["id"].as_str().unwrap().to_owned();
    daemon.ask(&["incident", "note", &id, HOSTILE]).ends(0);
    for args in [&["incident", "list"][..], &["incident", "show", &id], &["incident", "explain", &id], &["status"]] {
        let text = daemon.ask(args).ends(0);
        assert!(is_clean(&text.out) && is_clean(&text.err), "{args:?}: {text:?}");
        assert!(text.out.lines().all(|line| line.len() < 2_000), "{args:?}: a line is too long");
        let mut json = args.to_vec();
        json.push("--json");
        assert!(is_clean(&daemon.ask(&json).ends(0).out), "{args:?} --json");
    }
    assert!(daemon.ask_json(&["incident", "explain", &id]).to_string().contains(&mark), "JSON keeps what was seen");
    assert!(daemon.log().lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", daemon.log());
}

#[test]
fn a_file_that_is_followed_is_detected_in_and_lines_that_cannot_be_read_are_told() {
    let keep = tempfile::tempdir().unwrap();
    let root = keep.path().to_owned();
    let events = write(&root, "events.jsonl", "");
    let text = "playbooks: { shipped: false }\nrules: { shipped: false, dirs: [rules] }\nsources: { sensor: { enabled: false }, files: [{ format: plain, path: events.jsonl, trusted: true }] }\n";
    let config = write(&root, "quell.yaml", text);
    write(&root, "rules/one.yml", &rule("followed"));
    let daemon = Daemon::start_with(keep, Some(&config));
    assert_eq!(daemon.state(), "blind");
    let lines = "{broken\n{\"Image\":\"/bin/no-such-followed\",\"CommandLine\":\"x\"}\n";
    std::fs::OpenOptions::new().append(true).open(&events).unwrap().write_all(lines.as_bytes()).unwrap();
    wait_until("its incident is open", || !daemon.ask_json(&["incident", "list"]).as_array().unwrap().is_empty());
    wait_until("the broken line is told", || daemon.log().contains("events.jsonl:1"));
}

#[test]
fn without_root_it_says_what_is_missing_and_what_still_works() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED: a caller without rights: this test is run without them already");
        return;
    }
    let keep = tempfile::tempdir().unwrap();
    std::fs::set_permissions(keep.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = keep.path().join("quell");
    std::fs::copy(env!("CARGO_BIN_EXE_quell"), &binary).unwrap();
    let home = keep.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let as_nobody = |args: &[&str]| {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(&binary);
        command.args(args).env("HOME", &home).env_remove("XDG_STATE_HOME").current_dir("/").stdin(Stdio::null());
        Ran::of(command.uid(NOBODY).gid(NOBODY).output().unwrap())
    };
    let doctor = as_nobody(&["doctor"]).ends(4);
    assert!(doctor.out.contains("root") && doctor.out.contains("still works"), "{}", doctor.out);
    let watch = as_nobody(&["watch"]).ends(4);
    assert!(watch.err.contains("quell doctor"), "{}", watch.err);
    let demo = as_nobody(&["demo"]).ends(0);
    assert!(demo.out.contains("recording") && demo.out.contains("planned"), "{}", demo.out);
    as_nobody(&["status"]).ends(3);
    as_nobody(&["playbook", "list"]).ends(0);
}

/// The user `nobody` on every Linux.
const NOBODY: u32 = 65534;
