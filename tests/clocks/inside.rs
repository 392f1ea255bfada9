//! What happens in the machine: a daemon, attacks, a clock that is set, and sleep.
//!
//! Everything has spans far below the two hours by which the clock is set, and each is under way when that happens: a
//! kill that gives its target time to end, a block in the kernel, the breaker's window, a correlation's. What is waited
//! for is read from the boot clock, which nobody sets.

use crate::bad_days::host::{Host, kill_one, verifies};
use crate::cli::{wait_until, write};
use crate::daemon::Daemon;
use crate::threats::group::Group;
use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::Value;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

const HOURS_2: i64 = 7200;
/// How long the target of a kill that asks first is given.
const GRACE: u64 = 6;
/// How long an image is kept from starting.
const BLOCK: u64 = 25;
/// The ending of the name of what is kept from starting.
const BLOCKED: &str = "-block";
/// Nothing here takes longer that is not asleep or waiting; and it is far below two hours.
const SLOW: u64 = 200;

/// In the order of the daemon's playbooks: kills at once; asks first; keeps from starting; few images; counts to three.
const RULES: [(&str, &str); 5] = [
    ("seen", "Image|endswith: /MARK"),
    ("asked", "Image|endswith: /MARK-asked"),
    ("blocked", "Image|endswith: /MARK-block"),
    ("few", "Image|contains: /MARK-few-"),
    ("once", "Image|endswith: /MARK-count"),
];

fn kill(name: &str, rule: &str, more: &str) -> (String, String) {
    let text = kill_one(rule).replace("playbook: end-it", &format!("playbook: {name}"));
    (name.to_owned(), text.replace("scope: process", &format!("scope: process{more}")))
}

fn host() -> Host {
    let block = format!(
        "playbook: keep-out\ndescription: It does not start again.\non: {{ detections: {{ rules: [blocked], level: low }} }}\n\
         mode: enforce\nsteps:\n  block:\n    action: process.block_exec\n    with:\n      path: \"${{{{ event.process.image }}}}\"\n      \
         scope: cgroup\n      cgroup: \"${{{{ event.process.cgroup_path }}}}\"\n      for: {BLOCK}s\n"
    );
    let books = [
        kill("end-it", "seen", ""),
        kill("ask-first", "asked", &format!(", signal: TERM, grace: {GRACE}s")),
        ("keep-out".to_owned(), block),
        kill("few-images", "few", ""),
        kill("third-time", "thrice", ""),
    ];
    let books: Vec<(&str, String)> = books.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    let host = Host::new("clocks", &books, &RULES).expect("root in a machine of its own can do all that");
    let config = fs::read_to_string(host.dir().join("quell.yaml")).unwrap();
    let config = config.replace("images: 100000, within: 10m, quiet: 1m", "images: 2, within: 1h, quiet: 1h");
    assert!(config.contains("images: 2,"), "{config}");
    write(host.dir(), "quell.yaml", &config);
    let counted = "title: thrice\nname: thrice\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a0099\nstatus: test\nlevel: high\ncorrelation:\n  \
        type: event_count\n  rules: [once]\n  group-by: [Image]\n  timespan: 30m\n  condition: { gte: 3 }\n";
    write(host.dir(), "rules/thrice.yml", counted);
    host
}

/// One program that a rule wants, under way.
struct Attack {
    child: Child,
    /// With what it says in `log`.
    dir: tempfile::TempDir,
}

impl Attack {
    /// A copy of `sleep` whose name ends so.
    fn start(host: &Host, group: &Group, ending: &str) -> Self {
        let program = host.dir().join(format!("bin/{}{ending}", host.mark));
        let of = if ending == BLOCKED { "/bin/bash" } else { "/bin/sleep" };
        if !program.exists() {
            host.copy(of, &format!("bin/{}{ending}", host.mark));
        }
        let dir = tempfile::tempdir().unwrap();
        // What is ignored stays so over an exec.
        let line = if ending == "-asked" { "trap '' TERM; exec \"$@\"" } else { "exec \"$@\"" };
        let mut argv = ["/bin/sh", "-c", line, "sh", program.to_str().unwrap()].map(str::to_owned).to_vec();
        if ending == BLOCKED {
            argv.extend(["-c", "echo started; exec /bin/sleep 10000"].map(str::to_owned));
        } else {
            argv.push("10000".to_owned());
        }
        Self { child: group.spawn(&argv, dir.path(), &[]), dir }
    }

    /// Waits until it was killed and the daemon has proved that it did; gives the run.
    #[track_caller]
    fn contained(mut self, daemon: &Daemon) -> Value {
        let pid = self.child.id();
        let mut status = None;
        wait_until(&format!("the end of {pid}: {}", daemon.log()), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().signal(), Some(9), "{status:?}");
        let run = self.run(daemon);
        assert_eq!((run["state"].as_str(), run["mode"].as_str()), (Some("succeeded"), Some("enforce")), "{run}");
        assert_eq!(run["steps"][0]["outcome"], "verified", "{run}");
        run
    }

    /// The run about it, once that is over.
    #[track_caller]
    fn run(&self, daemon: &Daemon) -> Value {
        self.run_that(daemon, &is_over)
    }

    /// The run about it, once that is so.
    #[track_caller]
    fn run_that(&self, daemon: &Daemon, is_so: &dyn Fn(&Value) -> bool) -> Value {
        let pid = self.child.id();
        let mut found = None;
        wait_until(&format!("a run about {pid}: {}", daemon.log()), || {
            let runs = daemon.get("/runs").unwrap_or_default();
            let so = runs["items"].as_array().into_iter().flatten().filter(|run| is_so(run));
            found = so
                .filter_map(|run| daemon.get(&format!("/runs/{}", run["id"].as_str()?)))
                .find(|run| run["event"]["process"]["pid"] == pid);
            found.is_some()
        });
        found.unwrap()
    }

    /// Whether a run about it has begun.
    fn is_answered(&self, daemon: &Daemon) -> bool {
        let runs = daemon.get("/runs").unwrap_or_default();
        { runs["items"].as_array().into_iter().flatten() }
            .filter_map(|run| daemon.get(&format!("/runs/{}", run["id"].as_str()?)))
            .any(|run| run["event"]["process"]["pid"] == self.child.id())
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn is_over(run: &Value) -> bool {
    matches!(run["state"].as_str(), Some("succeeded" | "failed" | "cancelled"))
}

fn boot_s() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap()
}

fn step_wall(seconds: i64) {
    let now = clock_gettime(ClockId::Realtime);
    clock_settime(ClockId::Realtime, Timespec { tv_sec: now.tv_sec + seconds, ..now }).unwrap();
    eprintln!("the clock was set by {seconds} s, {} s after the boot", boot_s());
}

/// Suspends to memory; the machine's own clock wakes it. Gives how long it slept, as the boot clock says.
fn suspend(seconds: u64) -> i64 {
    let asleep = || clock_gettime(ClockId::Boottime).tv_sec - clock_gettime(ClockId::Monotonic).tv_sec;
    let before = asleep();
    let alarm = Path::new("/sys/class/rtc/rtc0/wakealarm");
    fs::write(alarm, "0").unwrap();
    fs::write(alarm, format!("+{seconds}")).unwrap();
    fs::write("/sys/power/state", "mem").unwrap();
    asleep() - before
}

/// From a run's begin to its end, by the boot clock.
fn took(run: &Value) -> Duration {
    let ns = |what: &str| run[what]["boot_ns"].as_u64().unwrap_or_else(|| panic!("{what}: {run}"));
    Duration::from_nanos(ns("ended").checked_sub(ns("started")).unwrap())
}

/// The kill that asks first gave its target the time that it had to give, and not two hours more.
#[track_caller]
fn was_asked_first(run: &Value) {
    let took = took(run);
    assert!(took >= Duration::from_secs(GRACE) && took < Duration::from_secs(SLOW), "{took:?}: {run}");
}

/// Whether a program is kept from starting in a cgroup: it is killed before its first line, or its exec is refused.
fn is_kept_out(host: &Host, group: &Group) -> bool {
    let mut tried = Attack::start(host, group, BLOCKED);
    let (mut has_started, mut has_ended) = (false, false);
    wait_until("it starts, or does not", || {
        has_ended = tried.child.try_wait().unwrap().is_some();
        has_started = fs::read_to_string(tried.dir.path().join("log")).unwrap().contains("started");
        has_started || has_ended
    });
    !has_started
}

/// The images that are kept from starting, as the daemon has them.
fn blocked(daemon: &Daemon) -> usize {
    daemon.status()["block"]["blocked"].as_array().map_or(0, Vec::len)
}

/// Nobody may act on a third image within the hour: a person is asked.
#[track_caller]
fn is_held_back(host: &Host, daemon: &Daemon, group: &Group, ending: &str) {
    let mut third = Attack::start(host, group, ending);
    let run = third.run_that(daemon, &|run| run["state"] == "waiting");
    assert_eq!(run["steps"][0]["questions"][0]["open"], true, "{run}");
    assert_ne!(run["steps"][0]["outcome"], "verified", "the breaker's hour is not over: {run}");
    assert!(third.child.try_wait().unwrap().is_none(), "{run}");
    daemon.ask(&["run", "deny", run["id"].as_str().unwrap()]).ends(0);
    assert_eq!(third.run(daemon)["steps"][0]["outcome"], "denied");
}

pub(super) fn story() {
    let host = host();
    let state: PathBuf = host.dir().join("state");
    let mut daemon = host.armed(&state).expect("a machine of its own has all that it takes");
    let group = host.inside.below("clocks");
    eprintln!("armed: {} s after the boot", boot_s());

    // All of it is under way. When the block began is known to be between two moments.
    let earliest = boot_s();
    assert!(!is_kept_out(&host, &group));
    wait_until("it is kept out", || blocked(&daemon) == 1);
    let blocked_at = boot_s();
    assert!(is_kept_out(&host, &group), "{}\n{}", daemon.status()["block"], daemon.log());
    Attack::start(&host, &group, "-few-1").contained(&daemon);
    Attack::start(&host, &group, "-few-2").contained(&daemon);
    let counted = [0, 1].map(|_| Attack::start(&host, &group, "-count"));
    let asked = Attack::start(&host, &group, "-asked");
    wait_until("it is asked to end", || asked.is_answered(&daemon));

    let before = Attack::start(&host, &group, "");
    step_wall(HOURS_2);
    before.contained(&daemon);
    Attack::start(&host, &group, "-count").contained(&daemon);
    is_held_back(&host, &daemon, &group, "-few-3");
    // A busy host may have taken the block's whole time for what came before.
    let still_blocked = || is_kept_out(&host, &group) || boot_s() >= earliest + BLOCK;
    assert!(still_blocked(), "{} s: {}", boot_s() - earliest, daemon.status()["block"]);
    // Back, and to before the machine was started.
    for _ in 0..2 {
        let before = Attack::start(&host, &group, "");
        step_wall(-HOURS_2);
        assert!(still_blocked(), "{} s: {}", boot_s() - earliest, daemon.status()["block"]);
        before.contained(&daemon);
        Attack::start(&host, &group, "").contained(&daemon);
    }
    was_asked_first(&asked.contained(&daemon));
    drop(counted);

    // It sleeps until the block is over.
    let around = (Attack::start(&host, &group, ""), Attack::start(&host, &group, "-asked"));
    wait_until("it is asked to end", || around.1.is_answered(&daemon));
    let left = (blocked_at + BLOCK + 2).saturating_sub(boot_s()).max(GRACE + 2);
    let slept = suspend(left);
    eprintln!("slept: {slept} s");
    assert!(slept >= 3, "{slept} s");
    around.0.contained(&daemon);
    was_asked_first(&around.1.contained(&daemon));
    Attack::start(&host, &group, "").contained(&daemon);
    wait_until("the block's time is over", || boot_s() > blocked_at + BLOCK + 1);
    wait_until("the daemon says so", || blocked(&daemon) == 0);
    let status = daemon.status();
    assert_eq!((status["state"].as_str(), status["mode"].as_str()), (Some("armed"), Some("enforce")), "{status}");
    step_wall(HOURS_2);
    Attack::start(&host, &group, "").contained(&daemon);

    tells_it_in_order(&daemon, &group);
    restarts(&host, &mut daemon, &group, &state);
    daemon.end();
    verifies(&state).close();
}

/// Killed, and started again after the clock was set: what has ended in this boot stays so, what counts still does.
fn restarts(host: &Host, daemon: &mut Daemon, group: &Group, state: &Path) {
    for step in [-HOURS_2, 2 * HOURS_2] {
        daemon.kill();
        step_wall(step);
        // Nobody is there who would keep it from starting once more.
        assert!(!is_kept_out(host, group), "its time was over while the machine slept");
        *daemon = host.armed(state).unwrap();
        assert_eq!(blocked(daemon), 0, "a block that ended in this boot is not renewed");
        Attack::start(host, group, "").contained(daemon);
        is_held_back(host, daemon, group, if step < 0 { "-few-4" } else { "-few-5" });
    }
}

/// In the order in which it happened, by the clock that nobody sets; and the wall clock as it was, steps and all.
fn tells_it_in_order(daemon: &Daemon, group: &Group) {
    let incidents = daemon.ask_json(&["incident", "list"]);
    let ours: Vec<&Value> =
        incidents.as_array().unwrap().iter().filter(|one| one["entity"]["id"] == group.path.as_str()).collect();
    assert_eq!(ours.len(), 1, "one story, whatever the clock says: {incidents}");
    assert_eq!(ours[0]["degraded"], false, "{incidents}");
    let id = ours[0]["id"].as_str().unwrap();
    let shown = daemon.ask_json(&["incident", "show", id]);
    let timeline = shown["timeline"].as_array().unwrap();
    let boot = |line: &Value| line["at"]["boot_ns"].as_u64().unwrap();
    let wall = |line: &Value| line["at"]["wall"].as_str().unwrap().parse::<Timestamp>().unwrap();
    for two in timeline.windows(2) {
        assert!(boot(&two[0]) <= boot(&two[1]), "{} comes before {}", two[0], two[1]);
    }
    let hops = timeline.windows(2).map(|two| wall(&two[1]).duration_since(wall(&two[0])).as_secs());
    let (forward, back) = hops.fold((0, 0), |(f, b), hop| (f.max(hop), b.min(hop)));
    assert!(forward >= HOURS_2 - 60 && back <= 60 - HOURS_2, "{forward} {back}");
    assert!(!shown.to_string().contains("ago when it was seen"), "nothing was seen late: {shown}");

    let runs = daemon.ask_json(&["run", "list"]);
    let runs = runs.as_array().unwrap();
    assert!(runs.len() > 12, "{runs:?}");
    for run in runs {
        let whole = daemon.get(&format!("/runs/{}", run["id"].as_str().unwrap())).unwrap();
        assert!(is_over(run), "{run}");
        assert!(took(&whole) < Duration::from_secs(SLOW), "{whole}");
        let kernel = whole["moments"]["kernel"]["boot_ns"].as_u64().unwrap();
        let late = whole["started"]["boot_ns"].as_u64().unwrap().checked_sub(kernel).unwrap();
        assert!(late < SLOW * 1_000_000_000, "{whole}");
    }
    for view in [vec!["run", "list"], vec!["incident", "show", id], vec!["incident", "explain", id]] {
        let ran = daemon.ask(&view).ends(0);
        assert!(!ran.out.contains(" 2 h") && !ran.out.contains("7200"), "{}", ran.out);
    }
}
