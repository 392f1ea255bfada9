//! How an attempt, a step and a `for_each` end, in records.
//!
//! Owns the words of the outcomes' proofs and the retry's moment. A part ends by exactly one `StepFinished` (or is
//! skipped or blocked by the machine's command).

use super::shell::Core;
use quell_model::playbook::Retry;
use quell_model::record::{GuardRefused, Moments, NewRecord, Part, StepFailed, StepFinished, StepPlanned};
use quell_model::{ActionError, Hash, Json, Name, Outcome, Plan, RunId, Stamp, StepId};
use serde_json::json;
use std::time::Duration;

/// So many bytes of an item stand in the words about it.
const MOST_OF_ITEM: usize = 256;

/// How a part ended.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) output: Json,
    pub(super) proof: String,
    pub(super) started: Option<Stamp>,
    pub(super) verified: Option<Stamp>,
    /// Guard and target of a refusal.
    pub(super) refusal: Option<(String, String)>,
    pub(super) hint: Option<String>,
    /// It may have happened all the same.
    pub(super) unknown: bool,
    /// What was planned and not done: written with the end, so that no crash comes between them.
    pub(super) planned: Option<StepPlanned>,
    /// Nothing was done by this attempt, though its intent is journaled.
    pub(super) untouched: bool,
}

impl Default for Ending {
    fn default() -> Self {
        Self {
            outcome: Outcome::Failed,
            output: Json::Null,
            proof: String::new(),
            started: None,
            verified: None,
            refusal: None,
            hint: None,
            unknown: false,
            planned: None,
            untouched: false,
        }
    }
}

impl Ending {
    pub(super) fn failed(why: String) -> Self {
        Self { proof: why, ..Self::default() }
    }

    /// It was so already, or is left at what it would have done.
    pub(super) fn left_at_plan(part: Part, action: Name, input: Json, plan: Plan, because: String) -> Self {
        let outcome = if plan.already { Outcome::Already } else { Outcome::Planned };
        let because = match plan.would_fail.as_slice() {
            [] => because,
            _ if plan.already => because,
            why => format!("{because}; it would fail here: {}", why.join("; ")),
        };
        let (output, proof) = (plan.predicted.clone(), because.clone());
        let planned = StepPlanned { part, action, input, plan, because, outcome };
        Self { outcome, output, proof, planned: Some(planned), ..Self::default() }
    }

    pub(super) fn done(output: Json, proof: &str) -> Self {
        Self { outcome: Outcome::Done, output, proof: proof.to_owned(), ..Self::default() }
    }

    pub(super) fn acted(outcome: Outcome, output: Json, proof: &str, started: Stamp, verified: Stamp) -> Self {
        Self {
            outcome,
            output,
            proof: proof.to_owned(),
            started: Some(started),
            verified: Some(verified),
            ..Self::default()
        }
    }

    pub(super) fn refused(guard: &str, target: &str, why: String) -> Self {
        Self {
            outcome: Outcome::Refused,
            proof: why,
            refusal: Some((guard.to_owned(), target.to_owned())),
            ..Self::default()
        }
    }
}

impl<W: Send + 'static> Core<W> {
    /// Ends a part for good.
    pub(super) fn end(&mut self, id: &RunId, part: &Part, ending: Ending) {
        let now = self.parts.clock.now();
        self.memory.ends(id, part, now);
        let Some(live) = self.runs.get_mut(id) else { return };
        let attempts = live.under_way.remove(part).map_or(live.run.attempts(part), |under_way| under_way.attempt);
        let left_as_it_was = ending.untouched && live.run.acted(part).is_none();
        let action = live.run.playbook.step(&part.step).and_then(|step| match &step.kind {
            quell_model::playbook::StepKind::Action { action, .. } => Some(action.clone()),
            _ => None,
        });
        let moments = Moments { started: ending.started, verified: ending.verified, ..live.moments };
        let mut records = Vec::with_capacity(2);
        records.extend(ending.planned.map(|planned| NewRecord::new(now, planned)));
        if let (Some((guard, target)), Some(action)) = (ending.refusal, action.clone()) {
            let refused = GuardRefused {
                part: part.clone(),
                action,
                guard: guard.as_str().into(),
                target,
                why: ending.proof.clone(),
            };
            records.push(NewRecord::new(now, refused));
        } else if ending.outcome == Outcome::Failed {
            let failed = StepFailed {
                part: part.clone(),
                attempt: attempts.max(1),
                error: ending.proof.clone(),
                hint: ending.hint,
                again_at: None,
                unknown: ending.unknown,
            };
            records.push(NewRecord::new(now, failed));
        }
        let finished = StepFinished {
            part: part.clone(),
            action,
            outcome: ending.outcome,
            output: ending.output,
            proof: ending.proof,
            attempts,
            moments,
        };
        records.push(NewRecord::new(now, finished));
        // Also of what failed: it may have been done in part, and is to be found when it is taken back.
        let granted = if left_as_it_was { None } else { self.lease_of(id, part) };
        records.extend(granted.clone().map(|granted| NewRecord::new(now, granted)));
        self.ink.hold();
        self.record(id, records);
        if let Some(granted) = granted {
            self.lease_granted(now, granted);
        }
        self.ink.let_go();
    }

    /// An attempt did not work: another follows if the step's `retry` and the error's verdict allow.
    pub(super) fn attempt_failed(&mut self, id: &RunId, part: &Part, error: &ActionError) {
        self.attempt_ended(id, part, error, false);
    }

    /// The same, and whether it may have happened all the same.
    pub(super) fn attempt_ended(&mut self, id: &RunId, part: &Part, error: &ActionError, unknown: bool) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get_mut(id) else { return };
        let Some(step) = live.run.playbook.step(&part.step).cloned() else { return };
        let attempt = live.under_way.get(part).map_or(1, |under_way| under_way.attempt);
        let (after, hint) = match error {
            ActionError::Retry { after, .. } => (Some(after.unwrap_or(Duration::ZERO)), None),
            ActionError::Unknown { .. } => (Some(Duration::ZERO), None),
            ActionError::GiveUp { hint, .. } => (None, hint.clone()),
        };
        let began = live.under_way.get(part).map_or(now, |under_way| under_way.began);
        let again = after
            .filter(|_| attempt < step.retry.attempts)
            .map(|after| now.after(after.max(backoff(step.retry, id, part, attempt))));
        let in_time = |at: &Stamp| step.deadline.is_none_or(|deadline| at.since(began) <= deadline);
        if let Some(again) = again.filter(in_time) {
            live.under_way.remove(part);
            let (part, error, again_at) = (part.clone(), error.to_string(), Some(again));
            let failed = StepFailed { part, attempt, error, hint, again_at, unknown };
            return self.record(id, vec![NewRecord::new(now, failed)]);
        }
        let why = if attempt > 1 { format!("{error} (after {attempt} attempts)") } else { error.to_string() };
        self.end(id, part, Ending { proof: why, hint, unknown, ..Ending::default() });
    }

    /// Sums up a `for_each` whose items have all ended.
    pub(super) fn conclude(&mut self, id: &RunId, step: &StepId) {
        self.leases_of_left(id, step);
        let Some(live) = self.runs.get(id) else { return };
        let items: Vec<_> = live.run.items(step).map(|(_, outcome, _, why)| (outcome, why)).collect();
        let bad = items.iter().enumerate().find(|(_, (outcome, _))| outcome.is_some_and(|o| !o.is_met()));
        let failed = items.iter().filter(|(outcome, _)| outcome.is_none_or(|o| !o.is_met())).count();
        let left_out = live.run.drops_items(step) && items.iter().any(|(outcome, _)| outcome.is_none());
        let outcome = match bad {
            Some((_, (Some(outcome), _))) => *outcome,
            _ if left_out => Outcome::Cancelled,
            _ => items
                .iter()
                .filter_map(|(outcome, _)| *outcome)
                .max_by_key(|outcome| weakness(*outcome))
                .unwrap_or(Outcome::Done),
        };
        let proof = match bad {
            Some((at, (_, why))) => {
                let part = Part { step: step.clone(), item: u32::try_from(at).ok() };
                // A list that lies apart is not brought here for a word.
                let item =
                    live.run.list_apart(step).map_or_else(|| live.run.item(&part).to_string(), |_| part.to_string());
                let item = if item.len() > MOST_OF_ITEM { part.to_string() } else { item };
                format!("{failed} of {} items did not end well; the first: {item}: {why}", items.len())
            }
            None => format!("{} items", items.len()),
        };
        let part = Part { step: step.clone(), item: None };
        self.end(id, &part, Ending { outcome, output: json!({}), proof, ..Ending::default() });
    }
}

/// A whole is no better proved than its weakest item.
fn weakness(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Already | Outcome::Skipped => 0,
        Outcome::Verified => 1,
        Outcome::Done => 2,
        _ => 3,
    }
}

/// Exponential, with full jitter that is a hash of its cause: a replay waits as long.
pub(super) fn backoff(retry: Retry, run: &RunId, part: &Part, attempt: u32) -> Duration {
    let bound = retry.backoff.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(retry.backoff_most);
    let cause = Hash::of_parts(&[
        run.as_str().as_bytes(),
        part.step.as_str().as_bytes(),
        &part.item.unwrap_or(0).to_le_bytes(),
        &attempt.to_le_bytes(),
    ]);
    let share = f64::from(u32::from_le_bytes([cause.0[0], cause.0[1], cause.0[2], cause.0[3]])) / f64::from(u32::MAX);
    bound.mul_f64(share)
}
