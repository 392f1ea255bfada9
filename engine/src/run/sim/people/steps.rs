//! What must hold of a ladder's way: by which steps it goes, and when.
//!
//! Owns those laws. Judges records by the policy that they pin, the auditor's account, and the moments at which an engine had its turn;
//! never by the engine's own ladder. Keeps true: a step is left out only where somebody has sent it up, none comes before its wait or
//! a silence is over, and none later than the engine's first turn after that; what is read anew changes no ladder that has begun.

use crate::escalation::Escalation;
use crate::escalation::audit::{Account, Stands};
use crate::escalation::outbox::GATHER;
use crate::escalation::policy::Policy;
use crate::run::sim::check::Streams;
use jiff::Timestamp;
use quell_model::notice::PageKey;
use quell_model::record::{LadderChange, LadderMoved, LadderRouted, PageReceipted, PageState, Place, Queued};
use quell_model::{Body, LadderId, Record, Stamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// When what was so. By the wall clock, which no death sets back.
#[derive(Default)]
pub(super) struct Times {
    /// When an engine has come to the end of a turn.
    turns: Vec<Timestamp>,
    /// The files by which it goes, each from its moment on.
    files: Vec<(Timestamp, Arc<Escalation>)>,
}

impl Times {
    /// An engine has done what was due by now.
    pub(super) fn turned(&mut self, now: Stamp) {
        if self.turns.last() != Some(&now.wall) {
            self.turns.push(now.wall);
        }
    }

    /// What it did may be lost with the machine's power.
    pub(super) fn forgets(&mut self) {
        self.turns.clear();
    }

    /// From now on it goes by this file.
    pub(super) fn reads(&mut self, now: Stamp, escalation: &Arc<Escalation>) {
        self.files.push((now.wall, Arc::clone(escalation)));
    }

    /// How many files there were.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// The first turn that ended at this moment or later, and before that one.
    fn turn(&self, from: Timestamp, before: Timestamp) -> Option<Timestamp> {
        let first = self.turns.partition_point(|turn| *turn < from);
        self.turns.get(first).copied().filter(|turn| *turn < before)
    }

    /// The files of a moment: in that of a change both.
    fn in_force(&self, at: Timestamp) -> impl Iterator<Item = &Escalation> {
        let ends = self.files.iter().skip(1).map(|(from, _)| *from).chain([Timestamp::MAX]);
        let all = self.files.iter().zip(ends).filter(move |((from, _), end)| *from <= at && at <= *end);
        all.map(|((_, escalation), _)| &**escalation)
    }
}

/// Every ladder goes step by step, and by its times.
pub(super) fn hold(streams: &Streams, times: &Times) -> Result<(), String> {
    for (stream, records) in streams {
        let Some(id) = stream.as_ladder() else { continue };
        let broken = Way::default().goes(&id, records, times);
        broken.map_err(|why| format!("ladder {id}: {why}\n{}", super::laws::shown(records)))?;
    }
    Ok(())
}

/// What is learned of a ladder's way, record by record.
#[derive(Default)]
struct Way {
    /// The calls of the step at hand, and whether a channel took one of the round at hand.
    calls: BTreeSet<PageKey>,
    is_heard: bool,
    /// Until when a silence holds it.
    held: Option<Timestamp>,
}

impl Way {
    fn goes(mut self, id: &LadderId, records: &[Record], times: &Times) -> Result<(), String> {
        let mut account = Account::of(id, []);
        for record in records {
            let taken = self.take(id, record, &account, times);
            taken.map_err(|why| format!("record {}: {why}", record.seq))?;
            account.take(record);
        }
        Ok(())
    }

    fn take(&mut self, id: &LadderId, record: &Record, before: &Account, times: &Times) -> Result<(), String> {
        match &record.body {
            Body::LadderStarted(_) => *self = Self::default(),
            Body::LadderRouted(routed) if routed.up_to.is_some() => self.is_heard = false,
            Body::LadderRouted(routed) if id.as_incident().is_some() => pinned(routed, record.at, times)?,
            Body::LadderSilenced(silenced) => self.held = Some(silenced.until.wall),
            Body::LadderChanged(changed) if changed.change == LadderChange::Escalated => self.held = None,
            Body::LadderMoved(moved) => {
                self.is_next(moved, before)?;
                self.is_in_time(record.at, before, times)?;
                self.moves(moved);
            }
            Body::PageReceipted(receipted) => self.receipted(receipted),
            _ => {}
        }
        Ok(())
    }

    fn moves(&mut self, moved: &LadderMoved) {
        self.held = None;
        self.is_heard &= matches!(moved.to, Place::Step { step, .. } if step > 0);
        self.calls = calls(&moved.pages).collect();
    }

    fn receipted(&mut self, receipted: &PageReceipted) {
        let is_sent = matches!(receipted.state, PageState::Sent(_));
        self.is_heard |= is_sent && self.calls.contains(&receipted.key);
        self.calls.extend(calls(&receipted.instead));
    }

    /// One step comes after the other, from the first; after the last the first again, as often as the policy says and somebody was
    /// told; then the last resort. Whoever sends it up says how far.
    fn is_next(&self, moved: &LadderMoved, before: &Account) -> Result<(), String> {
        let policy = before.policy().ok_or("it moves, and goes by no policy")?;
        let steps = u32::try_from(policy.steps.len()).unwrap();
        let step = |round, step| if step < steps { Place::Step { round, step } } else { Place::LastResort };
        // What nobody has moved for too long begins anew.
        let at = before.place.filter(|_| !before.is_acknowledged());
        let next = match (before.sent(), at) {
            (Some(up_to), Some(Place::Step { round, .. })) => vec![step(round, up_to)],
            (Some(up_to), _) => vec![step(0, up_to)],
            (None, None) => vec![step(0, 0)],
            (None, Some(Place::Step { round, step: at })) if at + 1 < steps => vec![step(round, at + 1)],
            (None, Some(Place::Step { round, .. })) if round < policy.repeat => {
                let last = (!self.is_heard).then_some(Place::LastResort);
                std::iter::once(step(round + 1, 0)).chain(last).collect()
            }
            (None, Some(_)) => vec![Place::LastResort],
        };
        if next.contains(&moved.to) {
            return Ok(());
        }
        Err(format!("it goes from {at:?} to {:?}, and by its policy {next:?} comes then", moved.to))
    }

    /// A move comes once its wait and what holds it back are over, and with the first turn after that.
    fn is_in_time(&self, at: Stamp, before: &Account, times: &Times) -> Result<(), String> {
        let (from, wait) = match before.stands {
            Stands::Climbing(from, wait) => (from, wait),
            Stands::Acknowledged(from, Some(timeout)) => (from, timeout),
            ref stands => return Err(format!("it moves, and stands at {stands:?}")),
        };
        let due = (from.wall + wait).max(self.held.unwrap_or(Timestamp::MIN));
        if at.wall < due {
            return Err(format!("it moves at {}, and its time is {due}", at.wall));
        }
        match times.turn(due + GATHER, at.wall) {
            Some(turn) => {
                Err(format!("its time is {due}, an engine had its turn at {turn}, and it moves at {}", at.wall))
            }
            None => Ok(()),
        }
    }
}

fn calls(pages: &[Queued]) -> impl Iterator<Item = PageKey> {
    pages.iter().filter(|queued| !queued.page.quiet).map(|queued| queued.key.clone())
}

/// A ladder that begins goes by what the file says then.
fn pinned(routed: &LadderRouted, at: Stamp, times: &Times) -> Result<(), String> {
    let pinned: Policy = serde_json::from_value(routed.definition.clone()).map_err(|error| error.to_string())?;
    let mut files = times.in_force(at.wall);
    if files.any(|file| file.policies.get(&routed.policy) == Some(&pinned)) {
        return Ok(());
    }
    Err(format!("it begins by {pinned:?}, and no file says so of `{}` at {}", routed.policy, at.wall))
}
