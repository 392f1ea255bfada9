//! What the engine counts, and how it stands, for whoever watches it.
//!
//! Owns the counts since this engine began: each is made from a record as it is written down, or beside the one place where the
//! thing happens. Only the engine's thread counts, so that no lock is taken and, for what was counted before, nothing is allocated.
//! Keeps true: what labels a count is a name that was loaded or a word of quell's own, never a text out of an event; each table
//! holds [`MOST`] at the most.

use super::request::{EngineHandle, Refusal, Request};
use super::shell::Core;
use crate::spread::Spread;
use quell_model::playbook::{Playbook, StepKind};
use quell_model::record::{Decided, Moments, NewRecord, QuestionKind, RunStarted, RunState, TriggerDecision};
use quell_model::{ActionSpec, Body, Detection, Lane, Level, Mode, Name, Outcome, RunId, Stamp, StepId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

/// What one table tells apart; what comes beyond is counted together.
const MOST: usize = 2_000;
/// Runs of which something waits for a person are named up to so many.
const NAMED: usize = 100;

/// How often, by what.
#[derive(Clone, Debug)]
pub struct Table<K> {
    counts: HashMap<K, u64>,
    beyond: u64,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), beyond: 0 }
    }
}

impl<K: Hash + Ord> Table<K> {
    /// Counts.
    fn add(&mut self, what: K) {
        if let Some(count) = self.counts.get_mut(&what) {
            *count += 1;
        } else if self.counts.len() < MOST {
            self.counts.insert(what, 1);
        } else {
            self.beyond += 1;
        }
    }

    /// Each with its count, in order.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&K, u64)> {
        let mut all: Vec<(&K, u64)> = self.counts.iter().map(|(what, count)| (what, *count)).collect();
        all.sort_unstable_by(|a, b| a.0.cmp(b.0));
        all
    }

    /// What found no place of its own.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }
}

/// A name that was loaded, and a word of quell's own.
type Named = (Name, &'static str);

/// What was counted since this engine began.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Detections by rule and level.
    pub detections: Table<(Name, Level)>,
    /// Detections from which nothing came, by why.
    pub held: Table<&'static str>,
    /// What playbooks made of detections that they ask for.
    pub decisions: Table<Named>,
    /// Runs that began, by playbook and mode.
    pub started: Table<(Name, Mode)>,
    /// Runs that ended, by playbook and state.
    pub finished: Table<Named>,
    /// Steps that ended, by action (or the kind of the step) and outcome.
    pub steps: Table<Named>,
    /// Attempts that failed, by action or kind.
    pub failed_attempts: Table<Name>,
    /// Refusals, by guard and action.
    pub refused: Table<(Name, Name)>,
    /// Steps that were taken back, or could not be, by action and outcome.
    pub undone: Table<Named>,
    /// Questions, by kind.
    pub asked: Table<&'static str>,
    /// Questions that were settled, by kind and by whom: `person`, `timeout`.
    pub settled: Table<(&'static str, &'static str)>,
    /// From an event to the decision, of urgent answers and of others.
    pub decided: [Spread; 2],
    /// From an event to the begin of an act.
    pub begun: [Spread; 2],
    /// From an event to the proof of an act.
    pub proven: [Spread; 2],
    urgent: HashSet<&'static str>,
    since: Option<Stamp>,
}

/// How the engine stands, with its tally.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// What was counted.
    pub tally: Tally,
    /// The ceiling.
    pub mode: Mode,
    /// Every action is stopped.
    pub paused: bool,
    /// How far each playbook may go, and whether its breaker is open.
    pub playbooks: Vec<(Name, Mode, bool)>,
    /// Open runs, by playbook and state.
    pub runs: BTreeMap<Named, u64>,
    /// Questions that wait for an answer, by kind.
    pub questions: BTreeMap<&'static str, u64>,
    /// How long the oldest of them waits.
    pub oldest_question: Option<Duration>,
    /// Containments that stand, by action.
    pub standing: BTreeMap<Name, u64>,
    /// Of these, on how many a person has to say.
    pub due: u64,
    /// Some of the runs that these are of.
    pub due_runs: BTreeSet<RunId>,
    /// When the next lease ends.
    pub next_end: Option<jiff::Timestamp>,
    /// Ladders of which the last resort was told, and that nobody has answered.
    pub exhausted: u64,
    /// Open incidents that may have missed something.
    pub degraded: u64,
    /// What waits in the engine's inbox, and what it holds.
    pub inbox: (u64, u64),
    /// Records that wait for the journal.
    pub records_waiting: u64,
    /// Records that found no room.
    pub records_lost: u64,
}

impl Tally {
    /// Nothing yet; these verbs can be told apart by their lanes.
    pub(super) fn new(specs: impl Iterator<Item = &'static ActionSpec>, now: Stamp) -> Self {
        let urgent = specs.filter(|spec| spec.lane == Lane::Contain).map(|spec| spec.name).collect();
        Self { urgent, since: Some(now), ..Self::default() }
    }

    pub(super) fn detection(&mut self, detection: &Detection) {
        self.detections.add((detection.rule.name.clone(), detection.rule.level));
    }

    pub(super) fn held(&mut self, why: &'static str) {
        self.held.add(why);
    }

    pub(super) fn decided(&mut self, decided: &[Decided]) {
        for one in decided {
            let word = match one.decision {
                TriggerDecision::Started => "started",
                TriggerDecision::Joined => "joined",
                TriggerDecision::IfFalse => "if_false",
                TriggerDecision::Held => "held",
                TriggerDecision::NotMine => continue,
            };
            self.decisions.add((one.playbook.clone(), word));
        }
    }

    pub(super) fn started(&mut self, playbook: &Playbook, started: &RunStarted) {
        self.started.add((playbook.name.clone(), started.mode));
        let urgent = playbook.steps.iter().any(|step| match &step.kind {
            StepKind::Action { action, .. } => self.urgent.contains(action.as_str()),
            StepKind::Tell(_)
            | StepKind::Escalate(_)
            | StepKind::Script(_)
            | StepKind::Ask(_)
            | StepKind::Wait(_)
            | StepKind::Playbook(_) => false,
        });
        // What a person starts by hand answers no event that happens now.
        let kernel = started.moments.kernel.filter(|kernel| is_timed(*kernel));
        if let (Some(kernel), Some(decided), None) = (kernel, started.moments.decided, &started.by) {
            self.decided[usize::from(urgent)].add(decided.since(kernel));
        }
    }

    pub(super) fn finished(&mut self, playbook: &Name, state: RunState) {
        self.finished.add((playbook.clone(), state.as_str()));
    }

    /// Records of a run of this playbook. An item of a `for_each` counts, and the step that it is of does once more, as the
    /// whole.
    pub(super) fn records(&mut self, playbook: &Playbook, by_hand: bool, records: &[NewRecord]) {
        for record in records {
            match &record.body {
                Body::StepFinished(finished) => {
                    let action = finished.action.clone().unwrap_or_else(|| kind_of(playbook, &finished.part.step));
                    if !by_hand {
                        self.moments(&action, finished.outcome, &finished.moments);
                    }
                    self.steps.add((action, finished.outcome.as_str()));
                }
                Body::StepSkipped(skipped) => {
                    self.steps.add((kind_of(playbook, &skipped.step), Outcome::Skipped.as_str()));
                }
                Body::StepBlocked(blocked) => {
                    self.steps.add((kind_of(playbook, &blocked.step), blocked.outcome.as_str()));
                }
                Body::StepFailed(failed) => self.failed_attempts.add(kind_of(playbook, &failed.part.step)),
                Body::GuardRefused(refused) => self.refused.add((refused.guard.clone(), refused.action.clone())),
                Body::UndoFinished(undone) => self.undone.add((undone.action.clone(), undone.outcome.as_str())),
                Body::QuestionAsked(asked) => self.asked.add(asked.question.as_str()),
                Body::QuestionAnswered(answered) if answered.settles => {
                    let by = if answered.by.is_some() { "person" } else { "timeout" };
                    self.settled.add((answered.question.as_str(), by));
                }
                // Counted where they happen, or what leads to one of the above.
                Body::RunStarted(_)
                | Body::RunFinished(_)
                | Body::QuestionAnswered(_)
                | Body::AnswerTooLate(_)
                | Body::AnswerRefused(_)
                | Body::DetectionJoined(_)
                | Body::RunReopened(_)
                | Body::SubRunStarted(_)
                | Body::StepPlanned(_)
                | Body::StepIntended(_)
                | Body::StepProgressed(_)
                | Body::TimerSet(_)
                | Body::TimerFired(_)
                | Body::PersonActed(_)
                | Body::LeaseGranted(_)
                | Body::LeaseChanged(_)
                | Body::UndoBegan(_)
                | Body::UndoIntended(_)
                | Body::UndoFailed(_) => {}
                // Of other streams.
                Body::EngineStarted(_)
                | Body::DefinitionPinned(_)
                | Body::DetectionAccepted(_)
                | Body::DetectionHeld(_)
                | Body::LossSeen(_)
                | Body::IncidentOpened(_)
                | Body::IncidentJoined(_)
                | Body::IncidentChanged(_)
                | Body::MomentDecided(_)
                | Body::ExceptionDrafted(_)
                | Body::HeadsSealed(_)
                | Body::SourceAdvanced(_)
                | Body::LadderStarted(_)
                | Body::LadderRouted(_)
                | Body::LadderMoved(_)
                | Body::PageReceipted(_)
                | Body::LadderChanged(_)
                | Body::LadderEnded(_)
                | Body::LadderClosed(_)
                | Body::LadderSilenced(_)
                | Body::SilenceAdded(_)
                | Body::SilenceEnded(_)
                | Body::AcknowledgementChanged(_)
                | Body::NoteAdded(_)
                | Body::PauseChanged(_)
                | Body::BreakerChanged(_)
                | Body::ModeChanged(_)
                | Body::RecorderPinned(_)
                | Body::ReflexFired(_)
                | Body::StreamPruned(_)
                | Body::StreamRedacted(_)
                | Body::ScheduleSet(_)
                | Body::ScheduleMissed(_)
                | Body::PlaybookSeen(_)
                | Body::AnswerRemembered(_) => {}
            }
        }
    }

    fn moments(&mut self, action: &Name, outcome: Outcome, moments: &Moments) {
        let kernel = moments.kernel.filter(|kernel| is_timed(*kernel));
        let (Some(kernel), Some(decided)) = (kernel, moments.decided) else { return };
        // What an earlier engine decided, perhaps before a boot, says nothing of how fast this one is.
        if self.since.is_none_or(|since| decided.boot_ns < since.boot_ns || decided.wall < since.wall) {
            return;
        }
        let lane = usize::from(self.urgent.contains(action.as_str()));
        if let Some(started) = moments.started {
            self.begun[lane].add(started.since(kernel));
        }
        if let Some(verified) = moments.verified.filter(|_| outcome == Outcome::Verified) {
            self.proven[lane].add(verified.since(kernel));
        }
    }
}

/// Whether an event tells a time of this boot: one of before, or without a time, has no place on the boot clock.
fn is_timed(at: Stamp) -> bool {
    at.boot_ns > 0 && at.wall != jiff::Timestamp::UNIX_EPOCH
}

/// The action of a step, or what kind of step it is.
fn kind_of(playbook: &Playbook, step: &StepId) -> Name {
    match playbook.step(step).map(|step| &step.kind) {
        Some(StepKind::Action { action, .. }) => action.clone(),
        Some(StepKind::Tell(_)) => "tell".into(),
        Some(StepKind::Escalate(_)) => "escalate".into(),
        Some(StepKind::Script(_)) => "script".into(),
        Some(StepKind::Ask(_)) => "ask".into(),
        Some(StepKind::Wait(_)) => "wait".into(),
        Some(StepKind::Playbook(_)) => "playbook".into(),
        None => "unknown".into(),
    }
}

impl<W: Send + 'static> Core<W> {
    /// How this engine stands.
    pub(super) fn measure(&self) -> Measured {
        let now = self.parts.clock.now();
        let playbook = |playbook: &std::sync::Arc<Playbook>| {
            let open = self.guard().breaker.is_open(&self.memory, &playbook.name, now);
            (playbook.name.clone(), self.mode_by_word(playbook).0, open)
        };
        let mut measured = Measured {
            tally: self.tally.clone(),
            mode: self.definitions.ceiling,
            paused: self.paused,
            playbooks: self.definitions.playbooks.iter().map(playbook).collect(),
            exhausted: self.exhausted().count,
            degraded: self.incidents.degraded() as u64,
            inbox: self.handle.waiting(),
            records_waiting: self.ink.waiting() as u64,
            records_lost: self.ink.lost(),
            ..Measured::default()
        };
        for live in self.runs.values() {
            // It waits when nobody is at any part of it, and a person or a moment will go on with it.
            let waits = live.under_way.is_empty() && live.run.next_wait(now).is_some();
            let state = match live.run.state() {
                RunState::Running if waits => RunState::Waiting,
                state => state,
            };
            *measured.runs.entry((live.run.playbook.name.clone(), state.as_str())).or_default() += 1;
            for (_, asked) in live.run.questions() {
                let kind: QuestionKind = asked.question.question;
                *measured.questions.entry(kind.as_str()).or_default() += 1;
                let waits = Some(now.since(asked.at));
                measured.oldest_question = measured.oldest_question.max(waits);
            }
        }
        for (run, standing) in self.leases.standing() {
            *measured.standing.entry(standing.action.clone()).or_default() += 1;
            if standing.due {
                measured.due += 1;
                if measured.due_runs.len() < NAMED {
                    measured.due_runs.insert(run.clone());
                }
            } else if let Some(end) = self.lease_end(standing) {
                measured.next_end = Some(measured.next_end.map_or(end, |next| next.min(end)));
            }
        }
        measured
    }
}

impl EngineHandle {
    /// Asks how the engine stands. Cancel-safe.
    ///
    /// # Errors
    /// `Gone` when the engine has ended.
    pub async fn measure(&self) -> Result<Box<Measured>, Refusal> {
        let (into, measured) = tokio::sync::oneshot::channel();
        self.request(Request::Measure(into)).await?;
        measured.await.map_err(|_| Refusal::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_bounded_and_counts_what_comes_beyond_together() {
        let mut table = Table::default();
        for number in 0..MOST + 3 {
            table.add(number);
            table.add(0);
        }
        assert_eq!((table.sorted().len(), table.beyond()), (MOST, 3));
        assert_eq!(table.sorted()[..2], [(&0, MOST as u64 + 4), (&1, 1)]);
    }

    #[test]
    fn what_an_earlier_engine_decided_or_what_has_no_time_is_no_measure_of_this_one() {
        let at = |second: u64| Stamp {
            wall: jiff::Timestamp::UNIX_EPOCH + Duration::from_secs(second),
            boot_ns: second * 1_000_000_000,
        };
        let mut tally = Tally { urgent: HashSet::from(["process.kill"]), since: Some(at(100)), ..Tally::default() };
        let moments = |kernel, decided| Moments {
            kernel: Some(at(kernel)),
            decided: Some(at(decided)),
            started: Some(at(203)),
            verified: Some(at(205)),
            ..Moments::default()
        };
        tally.moments(&"process.kill".into(), Outcome::Verified, &moments(200, 201));
        tally.moments(&"process.kill".into(), Outcome::Failed, &moments(200, 201));
        tally.moments(&"http.call".into(), Outcome::Done, &moments(200, 201));
        tally.moments(&"process.kill".into(), Outcome::Verified, &moments(50, 60));
        tally.moments(&"process.kill".into(), Outcome::Verified, &moments(0, 201));
        let counts = |spreads: &[Spread; 2]| spreads.map(|spread| (spread.count(), spread.sum().as_secs()));
        assert_eq!(counts(&tally.begun), [(1, 3), (2, 6)]);
        assert_eq!(counts(&tally.proven), [(0, 0), (1, 5)]);
    }
}
