//! Deaths by chance: a daemon that is killed again and again while runs are in flight, at moments that nobody chose.
//!
//! Where the rest of the folder dies at named writes, here the process just goes, in whatever it is at. Runs are started by
//! hand, so that neither sensor nor attack has to be there: the moments differ each time, the end may not. In `make test`
//! twenty deaths, in `make test-long` two hundred.

use crate::bad_days::host::{Host, verifies};
use crate::bad_days::is_long;
use crate::bad_days::soak::Dice;
use crate::cli::{identity, quell, wait_until};
use crate::daemon::Daemon;
use crate::threats::group::Group;
use quell_engine::store::Journal;
use quell_model::{Body, RunId, StreamId};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// Acts, waits, and acts again: a list one by one (side by side, who comes first would differ), questions that nobody answers, a copy, a kill.
const IN_FLIGHT: &str = r##"
playbook: in-flight
description: Holds a process often, waits, keeps it, and ends it.
inputs: { victim: { type: string } }
mode: enforce
limits: { targets: 1000/run }
steps:
  hold:
    for_each: "${{ [1, 2, 3, 4, 5, 6, 7, 8] }}"
    max_parallel: 1
    action: process.freeze
    with: { process: "${{ inputs.victim }}", scope: tree }
  first: { needs: [hold], ask: { question: Go on?, choices: [go, stop], within: 400ms, otherwise: go } }
  sum: { needs: [first], script: "#{ answer: steps.first.answer, twice: 2 * 21 }" }
  keep: { needs: [sum], action: process.capture, with: { process: "${{ inputs.victim }}" } }
  second: { needs: [keep], ask: { question: And now?, choices: [go, stop], within: 400ms, otherwise: go } }
  kill: { needs: [second], action: process.kill, with: { process: "${{ inputs.victim }}", scope: tree } }
  report:
    needs: [kill]
    when: always
    tell: "${{ steps.sum.answer }} ${{ steps.sum.twice }}: ${{ steps.kill?.killed?.len() ?? 0 }} killed"
"##;

/// Runs that are open at once.
const AT_ONCE: usize = 3;

/// A victim that waits to be ended, and its group.
struct Victim {
    group: Group,
    child: Child,
}

impl Victim {
    fn new(host: &Host, number: usize) -> Self {
        let group = host.inside.below(&format!("victim-{number}"));
        let words = ["/bin/sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000"].map(str::to_owned);
        let child = group.spawn(&words, host.dir(), &[]);
        wait_until("the victim has its children", || group.living().len() == 3);
        Self { group, child }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.group.end();
        drop(self.child.wait());
    }
}

fn begin(daemon: &Daemon, host: &Host, victim: &Victim) {
    let file = host.dir().join("playbooks/it.yaml");
    let input = format!("victim={}", identity(victim.child.id(), 0));
    daemon.ask(&["playbook", "run", file.to_str().unwrap(), "--input", &input]).ends(0);
}

fn open(daemon: &Daemon) -> usize {
    let runs = daemon.get("/runs?limit=500").expect("a daemon that stands answers");
    let is_open =
        |run: &&serde_json::Value| ["running", "waiting"].contains(&run["state"].as_str().unwrap_or_default());
    runs["items"].as_array().expect("a list").iter().filter(is_open).count()
}

/// What a run did, without ids, times and the order of branches: how each part ended, and how often it was begun.
fn story(journal: &Journal, run: &RunId) -> Vec<String> {
    let (mut ends, mut intents) = (Vec::new(), BTreeMap::new());
    for record in journal.read(&StreamId::run(run), 1).unwrap() {
        match &record.body {
            Body::StepFinished(done) => {
                let told = done.output.get("told").map(ToString::to_string).unwrap_or_default();
                ends.push(format!("{} {} {told}", done.part, done.outcome.as_str()));
            }
            Body::StepIntended(intended) => *intents.entry(intended.part.to_string()).or_insert(0) += 1,
            Body::RunFinished(finished) => ends.push(format!("run {}", finished.state.as_str())),
            _ => {}
        }
    }
    ends.extend(intents.into_iter().map(|(part, count)| format!("{part} begun {count}")));
    ends.sort();
    ends
}

/// Every run's, each with its id.
fn stories(state: &Path) -> Vec<(RunId, Vec<String>)> {
    let journal = verifies(state);
    let runs = journal.streams().unwrap().into_iter().filter_map(|(stream, _)| stream.as_run());
    runs.map(|run| (run.clone(), story(&journal, &run))).collect()
}

#[test]
fn runs_in_flight_end_as_they_would_however_often_the_daemon_is_killed() {
    let Some(host) =
        Host::new("crash-chance", &[("it", IN_FLIGHT.to_owned())], &[("never", "Image|endswith: /MARK/never")])
    else {
        return;
    };
    let stand = |state: &Path| {
        let mut daemon = host.start(state, false, None);
        daemon.stands();
        daemon
    };
    let calm = host.dir().join("calm");
    let (daemon, victim) = (stand(&calm), Victim::new(&host, 0));
    begin(&daemon, &host, &victim);
    wait_until("the undisturbed run ends", || open(&daemon) == 0);
    // What it did, written as a test and played, is the same again.
    let id = daemon.ask_json(&["run", "list"])[0]["id"].as_str().unwrap().to_owned();
    let written = daemon.ask(&["playbook", "test", "--from", "run", &id]).ends(0);
    assert!(written.out.contains("kill:"), "{}", written.out);
    daemon.end();
    let undisturbed = stories(&calm).remove(0).1;
    assert!(undisturbed.iter().any(|line| line == "kill verified "), "it does what it should: {undisturbed:#?}");

    let seed = std::env::var("QUELL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9 + 1);
    let (mut dice, state) = (Dice(seed), host.dir().join("chance"));
    let (mut victims, mut met) = (Vec::new(), 0);
    let deaths = if is_long() { 200 } else { 20 };
    eprintln!("deaths by chance: QUELL_SEED={seed}");
    for _ in 0..deaths {
        let mut daemon = stand(&state);
        while open(&daemon) < AT_ONCE {
            victims.push(Victim::new(&host, victims.len() + 1));
            begin(&daemon, &host, victims.last().unwrap());
            // Each run asks twice, and waits for its answers.
            assert!(
                victims.len() <= 2 * AT_ONCE * deaths,
                "runs end as soon as they begin: {}",
                daemon.ask(&["run", "list"]).out
            );
        }
        // The moment is not waited for: it is the chance.
        let until = Instant::now() + Duration::from_millis(dice.throw(250));
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        met += usize::from(open(&daemon) > 0);
        daemon.kill();
    }
    assert!(met * 2 > deaths, "of {deaths} deaths only {met} met a run (QUELL_SEED={seed})");
    let daemon = stand(&state);
    wait_until("every run ends", || open(&daemon) == 0);
    daemon.end();
    let all = stories(&state);
    assert_eq!(all.len(), victims.len(), "a run for each start (QUELL_SEED={seed})");
    for (run, story) in all {
        assert_eq!(story, undisturbed, "{run} (QUELL_SEED={seed})");
    }
    for victim in &victims {
        assert!(victim.group.living().is_empty(), "{}: somebody lives (QUELL_SEED={seed})", victim.group.path);
    }
    quell(&["store", "check", "--data-dir", state.to_str().unwrap()]).ends(0);
}
