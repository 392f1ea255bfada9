//! What the journal says is kept from starting now.
//!
//! Owns the reading: of each run that ever blocked something, how its steps ended; of those that may still stand, what was
//! meant, and how the run began. Looks at no other record, and never asks the kernel. Keeps true: a run that cannot be read
//! is told, and hides no other.

use quell_engine::store::Journal;
use quell_model::record::{Part, StepFinished, StepIntended};
use quell_model::{
    Body, BootId, Json, Kind, Name, Outcome, ProcessId, Record, RunId, Seq, Stamp, StoreError, StreamId,
};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

pub(super) const ACTION: &str = "process.block_exec";
/// Between the act and the record of it.
const LATE: Duration = Duration::from_secs(3600);

/// One block that is meant to stand.
pub(super) struct Meant {
    pub(super) run: RunId,
    pub(super) playbook: Name,
    pub(super) intent: StepIntended,
    pub(super) remaining: Duration,
}

/// All that is meant to stand, by run; `system` has what was done to leases, and by persons.
pub(super) fn meant(journal: &Journal, system: &[Record], boot: &BootId, now: Stamp) -> Result<Vec<Meant>, StoreError> {
    let over = Over::of(system);
    let mut firsts: BTreeMap<StreamId, Seq> = BTreeMap::new();
    for (stream, seq) in journal.intents(ACTION)? {
        let first = firsts.entry(stream).or_insert(seq);
        *first = seq.min(*first);
    }
    let mut all = Vec::new();
    for (stream, first) in firsts {
        let Some(run) = stream.as_run() else { continue };
        match of_run(journal, (&stream, first), &run, &over, boot, now) {
            Ok(some) => all.extend(some),
            Err(StoreError::Corrupt(why)) => {
                tracing::error!(%run, why, "what this run keeps from starting cannot be read, and is not looked after");
            }
            Err(other) => return Err(other),
        }
    }
    Ok(all)
}

fn of_run(
    journal: &Journal,
    (stream, first): (&StreamId, Seq),
    run: &RunId,
    over: &Over,
    boot: &BootId,
    now: Stamp,
) -> Result<Vec<Meant>, StoreError> {
    let mut ends = Vec::new();
    journal.visit(stream, first, &[Kind::StepFinished], &mut |record| {
        if let Body::StepFinished(finished) = record.body
            && may_stand(&finished, record.at, now)
            && !over.has(run, &finished.part, record.at)
        {
            ends.push(finished);
        }
    })?;
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let intents = journal.read_kinds(stream, first, &[Kind::StepIntended])?.into_iter();
    let intents = intents.map(|record| journal.whole(record)).collect::<Result<Vec<_>, _>>()?;
    let began = journal.read_kinds(stream, 1, &[Kind::RunStarted])?;
    let started = began.first().and_then(|first| match &first.body {
        Body::RunStarted(started) => Some(started),
        _ => None,
    });
    let this_boot = started.is_some_and(|started| is_of(&started.event, boot));
    let mut all = Vec::new();
    for finished in ends {
        let Some((begun, intent)) = intent(&intents, &finished.part) else { continue };
        let since = this_boot.then_some(begun);
        let Some(remaining) = remaining(&finished, intent, since, now) else { continue };
        let playbook = started.map_or_else(|| ACTION.into(), |started| started.playbook.clone());
        all.push(Meant { run: run.clone(), playbook, intent: intent.clone(), remaining });
    }
    Ok(all)
}

/// What is in force no more, whatever its run says.
struct Over {
    /// When quell was last uninstalled: what was in force before is not meant to be.
    uninstalled: Option<Stamp>,
    parts: HashSet<(RunId, Part)>,
}

impl Over {
    fn of(system: &[Record]) -> Self {
        let mut over = Self { uninstalled: None, parts: HashSet::new() };
        for record in system {
            match &record.body {
                Body::PersonActed(acted) if acted.what.as_str() == "uninstall" => over.uninstalled = Some(record.at),
                Body::LeaseChanged(changed) if matches!(changed.state.as_str(), "lapsed" | "ended") => {
                    over.parts.insert((changed.run.clone(), changed.part.clone()));
                }
                _ => {}
            }
        }
        over
    }

    fn has(&self, run: &RunId, part: &Part, finished: Stamp) -> bool {
        self.uninstalled.is_some_and(|at| at.wall > finished.wall)
            || (!self.parts.is_empty() && self.parts.contains(&(run.clone(), part.clone())))
    }
}

/// Whether it may have time left by either clock, as far as its end alone tells; the intent knows better.
fn may_stand(finished: &StepFinished, at: Stamp, now: Stamp) -> bool {
    let Some(until) = until(finished) else { return false };
    let lasting = Duration::try_from(until.duration_since(at.wall)).unwrap_or_default();
    until > now.wall || (at.boot_ns <= now.boot_ns && now.since(at) <= lasting.saturating_add(LATE))
}

/// By the wall clock; none of what does not stand.
fn until(finished: &StepFinished) -> Option<jiff::Timestamp> {
    let stands = matches!(finished.outcome, Outcome::Verified | Outcome::Done);
    finished.output.get("until").filter(|_| stands)?.as_str()?.parse().ok()
}

fn intent<'a>(records: &'a [Record], part: &Part) -> Option<(Stamp, &'a StepIntended)> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::StepIntended(intent) if intent.part == *part && intent.action.as_str() == ACTION => {
            Some((record.at, &**intent))
        }
        _ => None,
    })
}

/// Whether an event is about a process of a boot.
fn is_of(event: &Json, boot: &BootId) -> bool {
    let id = event["process"]["id"].as_str().and_then(|id| id.parse::<ProcessId>().ok());
    id.is_some_and(|id| id.boot == *boot)
}

/// How long it is meant to stand yet: of what was begun in this boot as its clock says, which ends it in the kernel too;
/// else by the wall clock.
fn remaining(finished: &StepFinished, intent: &StepIntended, begun: Option<Stamp>, now: Stamp) -> Option<Duration> {
    let until = until(finished)?;
    let left = match begun {
        Some(begun) => {
            let meant = Duration::from_millis(intent.plan.calls.first()?.get("for_ms")?.as_u64()?);
            meant.checked_sub(now.since(begun))?
        }
        None => Duration::try_from(until.duration_since(now.wall)).ok()?,
    };
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::record::{
        LeaseChanged, Moments, NewRecord, PersonActed, RunFinished, RunStarted, RunState, StepProgressed,
    };
    use quell_model::{Batch, Durability, Mode, Plan};
    use serde_json::json;

    fn at(wall_s: i64, boot_s: u64) -> Stamp {
        Stamp { wall: jiff::Timestamp::from_second(1_790_000_000 + wall_s).unwrap(), boot_ns: boot_s * 1_000_000_000 }
    }

    fn part() -> Part {
        Part { step: "block".into(), item: None }
    }

    /// A block of ten minutes, entered a hundred seconds after the boot.
    fn block() -> (StepIntended, StepFinished) {
        let plan = Plan { calls: vec![json!({ "for_ms": 600_000 })], ..Default::default() };
        let intent = StepIntended { part: part(), attempt: 1, action: ACTION.into(), input: json!({}), plan };
        let finished = StepFinished {
            part: part(),
            outcome: Outcome::Verified,
            attempts: 1,
            action: None,
            output: json!({ "until": at(600, 0).wall.to_string() }),
            proof: String::new(),
            moments: Moments::default(),
        };
        (intent, finished)
    }

    /// What is left of it at a moment; of this boot or not.
    fn left(this_boot: bool, now: Stamp) -> Option<u64> {
        let (intent, finished) = block();
        let left = remaining(&finished, &intent, this_boot.then_some(at(0, 100)), now).map(|left| left.as_secs());
        assert!(left.is_none() || may_stand(&finished, at(0, 100), now), "the quick look is content with less");
        left
    }

    #[test]
    fn a_block_of_this_boot_ends_when_the_kernel_ends_it_whatever_the_wall_clock_says() {
        for step in [0, 7200, -7200] {
            assert_eq!(left(true, at(60 + step, 160)), Some(540), "{step}");
            assert_eq!(left(true, at(700 + step, 800)), None, "{step}");
        }
        assert_eq!(left(false, at(60, 5)), Some(540), "after a boot only the wall clock tells");
        assert_eq!(left(false, at(700, 5)), None);
    }

    #[test]
    fn what_is_about_another_boot_is_not_of_this_one() {
        let event = json!({ "process": { "id": "7.5.1@b" } });
        assert!(is_of(&event, &BootId("b".into())) && !is_of(&event, &BootId("c".into())));
        assert!(!is_of(&json!({}), &BootId("b".into())));
    }

    /// A run that blocks at a moment, with a record that nobody needs here.
    fn run(journal: &Journal, id: &str, from: i64) {
        let (intent, mut finished) = block();
        finished.output = json!({ "until": at(from + 600, 0).wall.to_string() });
        let started = RunStarted {
            run: id.into(),
            playbook: "p".into(),
            definition: quell_model::Hash([0; 32]),
            mode: Mode::Enforce,
            mode_because: String::new(),
            incident: None,
            per: String::new(),
            event: json!({ "process": { "id": "7.5.1@b" } }),
            detection: Json::Null,
            inputs: Json::Null,
            vars: Json::Null,
            untrusted: false,
            backfill: false,
            by: None,
            parent: None,
            came: None,
            moments: Moments::default(),
        };
        let now = at(from, u64::try_from(from).unwrap());
        let bodies: Vec<Body> = vec![
            started.into(),
            intent.into(),
            StepProgressed { part: part(), mark: json!({}) }.into(),
            finished.into(),
            RunFinished { state: RunState::Succeeded, summary: String::new(), outputs: Json::Null }.into(),
        ];
        let records = bodies.into_iter().map(|body| NewRecord::new(now, body)).collect();
        let stream = StreamId::run(&id.into());
        journal.written(Batch { stream, expected: 0, records, durability: Durability::Synced }).unwrap();
    }

    fn found(journal: &Journal, system: &[Record], now: Stamp) -> Vec<(String, u64)> {
        let all = meant(journal, system, &BootId("b".into()), now).unwrap();
        all.iter().map(|one| (one.run.to_string(), one.remaining.as_secs())).collect()
    }

    #[test]
    fn only_what_tells_of_a_block_is_read_and_a_run_that_cannot_be_read_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        for (id, from) in [("r-broken", 10_000), ("r-over", 100), ("r-stands", 10_000)] {
            run(&journal, id, from);
        }
        journal.close();
        let db = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        let spoil = |kind: &str, stream: &str| {
            let of = format!("SELECT id FROM streams WHERE name LIKE '%{stream}'");
            let set = format!("UPDATE records SET body = '{{' WHERE kind = '{kind}' AND stream IN ({of})");
            assert_eq!(db.execute(&set, []).unwrap(), 1, "{kind} {stream}");
        };
        spoil("StepProgressed", "r-stands");
        spoil("RunStarted", "r-over");
        spoil("RunStarted", "r-broken");
        let journal = Journal::open(dir.path()).unwrap();
        let now = at(10_060, 10_060);
        assert_eq!(found(&journal, &[], now), [("r-stands".to_owned(), 540)]);
        assert_eq!(found(&journal, &[], at(10_700, 10_700)), [], "it is over");
        let lapsed = LeaseChanged {
            run: "r-stands".into(),
            part: part(),
            action: ACTION.into(),
            state: "lapsed".into(),
            why: String::new(),
            lasts: None,
        };
        let uninstalled = PersonActed { by: "root".into(), what: "uninstall".into(), detail: Json::Null };
        for said in [Body::from(lapsed), Body::from(uninstalled)] {
            let records = vec![NewRecord::new(at(10_030, 10_030), said)];
            let (stream, expected) = (StreamId::system(), journal.last(&StreamId::system()));
            journal.written(Batch { stream, expected, records, durability: Durability::Synced }).unwrap();
            let system = journal.read(&StreamId::system(), expected + 1).unwrap();
            assert_eq!(found(&journal, &system, now), []);
        }
    }
}
