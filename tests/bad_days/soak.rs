//! A soak: a random load, and the daemon killed at random moments. `QUELL_SOAK_MINUTES` says for how long (an hour in
//! `make test-long`, less than half a minute in `make test`), `QUELL_SEED` repeats one, `QUELL_BIN` names another binary.
//!
//! The law: every attack dies by quell's hand, also one that began while no daemon was there (the next one looks around);
//! every detection that was answered with a run has that run, ended; the journal verifies; memory stays in its bounds.
//! What it saw is written to `bench/soak.json` and `bench/soak.md` in the target directory.

use super::host::{Host, hold_and_kill, kill_one, verifies};
use super::is_long;
use crate::cli::{binary, wait_until};
use crate::daemon::Daemon;
use crate::threats::group::Group;
use quell_engine::store::Journal;
use quell_model::{Body, Outcome};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// RssAnon of a daemon, in kB, may never pass this: its tables are bounded, and this is far above what they need.
const MOST_MEMORY_KB: u64 = 400_000;

/// A seeded xorshift: the load is as random as it must be, and can be repeated.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn throw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// An attack that is under way.
struct Attack {
    child: Child,
    begun: Instant,
}

#[derive(Default)]
struct Tally {
    attacks: u64,
    while_down: u64,
    honest: u64,
    kills: u64,
    deaths_ms: Vec<u64>,
    starts_ms: Vec<u64>,
    memory_kb: Vec<u64>,
    seen: u64,
    lost: u64,
}

struct Soak {
    host: Host,
    state: PathBuf,
    dice: Dice,
    group: Group,
    attacks: Vec<Attack>,
    tally: Tally,
    sampled: Instant,
}

fn seed() -> u64 {
    let now = || u64::try_from(jiff::Timestamp::now().as_nanosecond() & 0xffff_ffff).unwrap();
    std::env::var("QUELL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now).max(1)
}

fn length() -> Duration {
    let minutes = std::env::var("QUELL_SOAK_MINUTES").ok().and_then(|text| text.parse::<f64>().ok());
    minutes.map_or(Duration::from_secs(if is_long() { 3600 } else { 20 }), |minutes| {
        Duration::from_secs_f64(minutes * 60.0)
    })
}

#[test]
fn a_random_load_and_random_kills_leave_nothing_undone() {
    let one = ("one", kill_one("one"));
    let tree = ("tree", hold_and_kill("tree"));
    let rules = [("one", "Image|endswith: /MARK-one"), ("tree", "Image|endswith: /MARK")];
    let Some(host) = Host::new("soak", &[one, tree], &rules) else { return };
    let (seed, length) = (seed(), length());
    eprintln!("soak: seed {seed}, {length:?}");
    host.victim();
    host.copy("/bin/sleep", &format!("bin/{}-one", host.mark));
    let (state, group) = (host.dir().join("state"), host.inside.below("life-0"));
    let tally = Tally::default();
    let mut soak = Soak { host, state, dice: Dice(seed), group, attacks: Vec::new(), tally, sampled: Instant::now() };
    let end = Instant::now() + length;
    let Some(mut daemon) = soak.arm() else { return };
    while Instant::now() < end {
        // Some lives are short, some are long: evenly by their logarithm.
        let most = if length > Duration::from_secs(300) { 10 } else { 4 };
        let life = Duration::from_millis(400 << soak.dice.throw(most)).min(length / 3);
        let over = (Instant::now() + life).min(end);
        while Instant::now() < over {
            soak.load(&daemon);
        }
        if Instant::now() < end {
            soak.note_counts(&daemon);
            // Half of the deaths come in the midst of an answer.
            if soak.dice.throw(2) == 0 {
                soak.attack();
                let moment = Duration::from_micros(soak.dice.throw(8000));
                std::thread::park_timeout(moment);
            }
            daemon.kill();
            soak.tally.kills += 1;
            for _ in 0..soak.dice.throw(4) {
                soak.attack();
                soak.tally.while_down += 1;
            }
            soak.group = soak.host.inside.below(&format!("life-{}", soak.tally.kills));
            daemon = soak.arm().expect("it was armed before");
        }
    }
    soak.finish(daemon, seed, length);
}

impl Soak {
    fn arm(&mut self) -> Option<Daemon> {
        let begun = Instant::now();
        let daemon = self.host.armed(&self.state)?;
        self.tally.starts_ms.push(ms(begun));
        Some(daemon)
    }

    /// A moment of load.
    fn load(&mut self, daemon: &Daemon) {
        match self.dice.throw(100) {
            0..45 => self.attack(),
            45..80 => {
                for _ in 0..self.dice.throw(30) {
                    drop(Command::new("/bin/true").stdin(Stdio::null()).status());
                    self.tally.honest += 1;
                }
            }
            80..84 => daemon.signal(rustix::process::Signal::HUP),
            84..90 => drop(daemon.get("/incidents")),
            _ => {}
        }
        let pause = Duration::from_millis(self.dice.throw(400));
        std::thread::park_timeout(pause);
        self.bury();
        if self.sampled.elapsed() > Duration::from_secs(1) {
            self.sampled = Instant::now();
            let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap_or_default();
            let kb = text
                .lines()
                .find_map(|line| line.strip_prefix("RssAnon:")?.trim().split(' ').next()?.parse::<u64>().ok());
            self.tally.memory_kb.extend(kb);
        }
    }

    fn attack(&mut self) {
        let (victim, dir) = (self.host.victim(), self.host.dir().to_owned());
        let words = if self.dice.throw(3) > 0 {
            vec![format!("{victim}-one"), "100000".to_owned()]
        } else {
            let text = "sleep 100000 & sleep 100000 & exec \"$0\" 100000".to_owned();
            vec!["/bin/sh".to_owned(), "-c".to_owned(), text, victim]
        };
        self.attacks.push(Attack { child: self.group.spawn(&words, &dir, &[]), begun: Instant::now() });
        self.tally.attacks += 1;
    }

    /// Takes away who has died, and looks that it was killed.
    fn bury(&mut self) {
        let deaths = &mut self.tally.deaths_ms;
        self.attacks.retain_mut(|attack| match attack.child.try_wait().unwrap() {
            None => true,
            Some(status) => {
                assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
                deaths.push(ms(attack.begun));
                false
            }
        });
    }

    fn note_counts(&mut self, daemon: &Daemon) {
        let Some(status) = daemon.try_status() else { return };
        let sum =
            |list: &Value| list.as_array().into_iter().flatten().filter_map(|row| row["count"].as_u64()).sum::<u64>();
        self.tally.seen += sum(&status["sensor"]["events"]);
        self.tally.lost += sum(&status["sensor"]["lost"]);
    }

    fn finish(mut self, daemon: Daemon, seed: u64, length: Duration) {
        wait_until("every attack is dead", || {
            self.bury();
            self.attacks.is_empty()
        });
        wait_until("every run has ended", || daemon.try_status().is_some_and(|status| status["runs_open"] == 0));
        self.note_counts(&daemon);
        daemon.end();
        let journal = verifies(&self.state);
        let account = account(&journal);
        let report = self.tally.report(seed, length, &account);
        write_report(&report);
        assert_eq!(account["open"], 0, "{report}");
        assert_eq!(account["promised_and_missing"], 0, "{report}");
        assert_eq!(account["killed_and_proved"].as_u64(), Some(self.tally.attacks), "{report}");
        let most = self.tally.memory_kb.iter().max().copied().unwrap_or(0);
        assert!(most < MOST_MEMORY_KB, "{report}");
    }
}

/// What the journal says of it all.
fn account(journal: &Journal) -> Value {
    let (mut records, mut runs, mut open, mut promised, mut detections) =
        (0, HashSet::new(), 0u64, HashSet::new(), 0u64);
    let mut killed = HashSet::new();
    for (stream, last) in journal.streams().unwrap() {
        records += last;
        let all = journal.read(&stream, 1).unwrap();
        let mut subject = None;
        for record in &all {
            match &record.body {
                Body::RunStarted(started) => {
                    let process = &started.event["process"];
                    // Which process it was: a scan knows its start to the hundredth of a second.
                    let start =
                        process["start"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()).unwrap();
                    subject = Some((process["pid"].as_u64().unwrap(), start.as_millisecond() / 1000));
                }
                Body::StepFinished(finished)
                    if finished.part.step.as_str() == "kill" && finished.outcome == Outcome::Verified =>
                {
                    killed.extend(subject);
                }
                Body::DetectionAccepted(accepted) => {
                    detections += 1;
                    promised.extend(accepted.decided.iter().filter_map(|one| one.run.clone()));
                }
                _ => {}
            }
        }
        if let Some(run) = stream.as_run() {
            open += u64::from(!matches!(all.last().unwrap().body, Body::RunFinished(_)));
            runs.insert(run);
        }
    }
    let missing: Vec<_> = promised.difference(&runs).collect();
    json!({
        "records": records, "runs": runs.len(), "open": open, "detections_kept_whole": detections,
        "promised_and_missing": missing.len(), "killed_and_proved": killed.len(),
    })
}

impl Tally {
    fn report(&self, seed: u64, length: Duration, account: &Value) -> Value {
        let of = |values: &[u64]| {
            let mut sorted = values.to_vec();
            sorted.sort_unstable();
            let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize).or(sorted.last()).copied();
            json!({ "n": sorted.len(), "least": sorted.first(), "p50": at(0.5), "p99": at(0.99), "most": sorted.last() })
        };
        let tenth = (self.memory_kb.len() / 10).max(1);
        json!({
            "minutes": length.as_secs_f64() / 60.0, "seed": seed, "binary": binary(),
            "kills_of_the_daemon": self.kills, "attacks": self.attacks, "attacks_while_it_was_down": self.while_down,
            "honest_programs": self.honest, "events_seen": self.seen, "events_lost_and_told": self.lost,
            "ms_from_attack_to_death": of(&self.deaths_ms), "ms_to_come_up": of(&self.starts_ms),
            "rss_anon_kb": of(&self.memory_kb),
            "rss_anon_kb_first_tenth": of(&self.memory_kb[..tenth.min(self.memory_kb.len())]),
            "rss_anon_kb_last_tenth": of(&self.memory_kb[self.memory_kb.len().saturating_sub(tenth)..]),
            "journal": account,
        })
    }
}

fn write_report(report: &Value) {
    let dir = Path::new(env!("CARGO_BIN_EXE_quell")).ancestors().nth(2).unwrap().join("bench");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("soak.json"), serde_json::to_string_pretty(report).unwrap()).unwrap();
    let rows: Vec<String> = report
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| format!("| {} | {value} |", name.replace('_', " ")))
        .collect();
    let page = format!("# The last soak\n\n| what | how much |\n| --- | --- |\n{}\n", rows.join("\n"));
    std::fs::write(dir.join("soak.md"), page).unwrap();
    eprintln!("{report}");
}

fn ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap()
}
