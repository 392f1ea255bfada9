//! What a playbook would have done: the evidence for letting it go further.
//!
//! Owns the counts, from the plans, intents, refusals and questions of its runs since a moment. Keeps true: it is bounded; of
//! more runs than are read it says how many.

use crate::store::Journal;
use quell_model::record::QuestionKind;
use quell_model::{Body, Hash, Kind, Name, Outcome, StoreError, StreamId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Runs whose records are read, the latest.
const MOST_READ: usize = 1_000;
/// Runs that are looked at together.
const PAGE: usize = 200;
/// Targets that are named.
const MOST_NAMED: usize = 20;
/// Targets that are told apart.
const MOST_TARGETS: usize = 10_000;

/// What the runs of a playbook did, or would have done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Tried {
    /// Runs of its present text that began since.
    pub runs: u64,
    /// Runs of other texts of it, which are not counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub of_another_text: u64,
    /// Of the runs, so many cannot be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// Of these, the earliest, so many were not looked at.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub runs_unread: u64,
    /// Acts by action.
    pub acts: Vec<ActsOf>,
    /// How many different targets these name.
    pub targets: u64,
    /// The first of them.
    pub named: Vec<String>,
    /// What guards refused, by guard.
    pub refused: Vec<RefusedBy>,
    /// How often a person was asked before an act.
    pub asked: u64,
    /// Of these, how often the answer was no, a person's or nobody's in time.
    pub denied: u64,
}

/// How often an action was planned and done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ActsOf {
    /// Which action.
    pub id: Name,
    /// So many were planned and left at that.
    pub planned: u64,
    /// So many were done.
    pub done: u64,
}

/// How often a guard refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusedBy {
    /// Which guard.
    pub id: Name,
    /// So often.
    pub count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the runs of a playbook's text since a moment did, or would have done.
///
/// # Errors
/// The journal cannot be read; a run that cannot is counted.
pub fn tried(
    journal: &Journal,
    (playbook, definition): (&Name, &Hash),
    since: jiff::Timestamp,
) -> Result<Tried, StoreError> {
    let (mut told, mut count) = (Tried::default(), Count::default());
    let mut before = None;
    loop {
        let page = journal.runs(before, PAGE)?;
        let Some(last) = page.last() else { break };
        before = Some(last.number);
        let is_over = last.line.as_ref().is_some_and(|line| line.head.started.wall < since);
        for listed in page {
            // What the lists do not know yet has just begun.
            let Some(line) = listed.line.filter(|line| line.head.playbook == *playbook) else { continue };
            if line.head.started.wall < since {
                continue;
            }
            // Of what an earlier quell wrote nobody knows whether it is of this text.
            if line.head.definition.as_ref() != Some(definition) {
                told.of_another_text += 1;
                continue;
            }
            told.runs += 1;
            if told.runs > MOST_READ as u64 {
                told.runs_unread += 1;
                continue;
            }
            match count.run(journal, &listed.stream) {
                Err(StoreError::Corrupt(_) | StoreError::Newer(_)) => told.unreadable += 1,
                read => read?,
            }
        }
        if is_over {
            break;
        }
    }
    told.acts = count.acts.into_iter().map(|(id, (planned, done))| ActsOf { id, planned, done }).collect();
    told.refused = count.refused.into_iter().map(|(id, count)| RefusedBy { id, count }).collect();
    told.targets = count.targets.len() as u64;
    told.named = count.targets.into_iter().take(MOST_NAMED).collect();
    (told.asked, told.denied) = (count.asked, count.denied);
    Ok(told)
}

#[derive(Default)]
struct Count {
    acts: BTreeMap<Name, (u64, u64)>,
    refused: BTreeMap<Name, u64>,
    targets: BTreeSet<String>,
    asked: u64,
    denied: u64,
}

/// What is counted; the other records of a run are not read.
const KINDS: &[Kind] =
    &[Kind::StepPlanned, Kind::StepIntended, Kind::GuardRefused, Kind::QuestionAsked, Kind::QuestionAnswered];

impl Count {
    fn run(&mut self, journal: &Journal, stream: &StreamId) -> Result<(), StoreError> {
        journal.visit(stream, 1, KINDS, &mut |record| match &record.body {
            Body::StepPlanned(planned) if planned.outcome == Outcome::Planned => {
                self.acts.entry(planned.action.clone()).or_default().0 += 1;
                self.name(&planned.plan);
            }
            // Further attempts are the same act.
            Body::StepIntended(intended) if intended.attempt <= 1 => {
                self.acts.entry(intended.action.clone()).or_default().1 += 1;
                self.name(&intended.plan);
            }
            Body::GuardRefused(refused) => *self.refused.entry(refused.guard.clone()).or_default() += 1,
            Body::QuestionAsked(asked) if asked.question == QuestionKind::Approve => self.asked += 1,
            Body::QuestionAnswered(answered) => {
                let no = answered.settles && answered.question == QuestionKind::Approve;
                self.denied += u64::from(no && answered.choice.as_str() == "deny");
            }
            _ => {}
        })
    }

    fn name(&mut self, plan: &quell_model::Plan) {
        for target in &plan.targets {
            if self.targets.len() < MOST_TARGETS {
                self.targets.insert(target.label.clone());
            }
        }
    }
}
