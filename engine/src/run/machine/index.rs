//! What of a run may go on now, kept beside its state: a step of ten thousand costs no look at the others.
//!
//! Owns nothing that the records do not say: each entry follows from where its part stands, and is made again when that has
//! changed. Keeps true: with and without it the machine gives the same commands (the machine's tests compare them).

use super::back::Back;
use super::{Command, Phase, Progress, Run, StepState, next_of_part, part_of};
use quell_model::playbook::{ForEach, ItemErrors, OnFailure, Playbook};
use quell_model::record::Part;
use quell_model::{Json, Stamp, StepId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

/// Places of steps are those of the playbook's order.
#[derive(Clone, Default)]
pub(super) struct Index {
    /// How many needs of each step have not ended.
    unmet: Vec<u32>,
    /// Steps that have not ended.
    pub(super) left: BTreeSet<u32>,
    /// Of these, whose needs have all ended, or which have begun.
    pub(super) open: BTreeSet<u32>,
    /// Steps that ended badly, and let nothing more begin.
    pub(super) halting: BTreeSet<u32>,
    /// Parts that did what is not taken back yet.
    pub(super) standing: BTreeSet<Part>,
    /// Items that may have acted, of steps that have ended: what they did is asked of the world all the same.
    pub(super) orphans: BTreeSet<Part>,
    /// The moments that each part waits for, forwards and back.
    waits: BTreeMap<Part, [Option<Stamp>; 2]>,
    /// And how many wait for each moment.
    moments: BTreeMap<Stamp, u32>,
    /// Steps that records since the last look concern: themselves, or one that they need.
    pub(super) fresh: BTreeSet<u32>,
    /// At the last look nothing more was to begin.
    pub(super) was_halted: bool,
    /// Parts whose state was changed and that are to be looked at.
    pub(super) changed: Vec<Part>,
}

/// All that the records make of it, and not who has looked at what.
impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unmet, left, open, halting, standing, orphans, waits, moments, .. } = self;
        f.debug_tuple("Index").field(&(unmet, left, open, halting, standing, orphans, waits, moments)).finish()
    }
}

/// Which items of a `for_each` have their turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Turns {
    /// Begun, and neither ended nor with a person.
    pub(super) begun: BTreeSet<u32>,
    /// A person is asked.
    pub(super) asking: BTreeSet<u32>,
    /// Not begun.
    pub(super) idle: BTreeSet<u32>,
    /// Ended badly.
    pub(super) bad: BTreeSet<u32>,
}

impl Turns {
    fn note(&mut self, at: u32, progress: &Progress) {
        for set in [&mut self.begun, &mut self.asking, &mut self.idle, &mut self.bad] {
            set.remove(&at);
        }
        match &progress.phase {
            Phase::Ended(outcome) if outcome.is_met() => {}
            Phase::Ended(_) => drop(self.bad.insert(at)),
            Phase::Asking(_) => drop(self.asking.insert(at)),
            _ if progress.attempts > 0 => drop(self.begun.insert(at)),
            _ => drop(self.idle.insert(at)),
        }
    }
}

impl StepState {
    fn is_touched(&self) -> bool {
        self.whole.phase != Phase::Idle || self.whole.attempts > 0 || self.items.is_some()
    }
}

impl Index {
    pub(super) fn new(playbook: &Playbook) -> Self {
        let needs = |step: &quell_model::playbook::Step| u32::try_from(step.needs.len()).unwrap_or(u32::MAX);
        let unmet: Vec<u32> = playbook.steps.iter().map(needs).collect();
        let places = 0u32..;
        let open = places.zip(&unmet).filter(|(_, unmet)| **unmet == 0).map(|(at, _)| at).collect();
        let left = (0..u32::try_from(unmet.len()).unwrap_or(u32::MAX)).collect();
        Self { unmet, left, open, ..Self::default() }
    }

    /// The first moment after this one that a part waits for.
    pub(super) fn next_wait(&self, now: Stamp) -> Option<Stamp> {
        let after = (Bound::Excluded(now), Bound::Unbounded);
        self.moments.range(after).next().map(|(at, _)| *at)
    }

    fn waits_for(&mut self, part: &Part, moments: [Option<Stamp>; 2]) {
        let before =
            if moments == [None, None] { self.waits.remove(part) } else { self.waits.insert(part.clone(), moments) };
        for at in before.into_iter().flatten().flatten() {
            if let Some(count) = self.moments.get_mut(&at) {
                *count -= 1;
                if *count == 0 {
                    self.moments.remove(&at);
                }
            }
        }
        for at in moments.into_iter().flatten() {
            *self.moments.entry(at).or_default() += 1;
        }
    }
}

/// Puts a number into a set, or takes it out.
fn keep(set: &mut BTreeSet<u32>, at: u32, wanted: bool) {
    if wanted {
        set.insert(at);
    } else {
        set.remove(&at);
    }
}

impl Run {
    /// Looks again at whatever the last record changed.
    pub(super) fn look_again(&mut self) {
        for part in std::mem::take(&mut self.index.changed) {
            self.look_at(&part);
            self.is_wanted_no_more(&part);
        }
    }

    fn look_at(&mut self, part: &Part) {
        let (Some(place), Some(state)) = (self.playbook.place(&part.step), self.steps.get_mut(&part.step)) else {
            return;
        };
        if let (Some(at), Some(items)) = (part.item, &state.items)
            && let Some((_, progress)) = items.get(at as usize)
        {
            state.turns.note(at, progress);
        }
        if let (None, Some(items), true) = (part.item, &state.items, state.turns == Turns::default()) {
            // The list has just become known.
            (0..).zip(items).for_each(|(at, (_, progress))| state.turns.note(at, progress));
        }
        let is_over = matches!(state.whole.phase, Phase::Ended(_));
        let index = &mut self.index;
        index.fresh.insert(place);
        if is_over == index.left.contains(&place) {
            keep(&mut index.left, place, !is_over);
            for after in self.playbook.after(place) {
                let unmet = &mut index.unmet[*after as usize];
                *unmet = if is_over { *unmet - 1 } else { *unmet + 1 };
                let begun = || self.steps[&self.playbook.steps[*after as usize].id].is_touched();
                let opens = index.left.contains(after) && (*unmet == 0 || begun());
                keep(&mut index.open, *after, opens);
                index.fresh.insert(*after);
            }
        }
        self.look_for_orphans(part, is_over);
        let index = &mut self.index;
        let opens = !is_over && (index.unmet[place as usize] == 0 || self.steps[&part.step].is_touched());
        keep(&mut index.open, place, opens);
        let step = &self.playbook.steps[place as usize];
        let halts = matches!(step.on_failure, OnFailure::Halt | OnFailure::Undo) && self.is_bad(step);
        keep(&mut self.index.halting, place, halts);
        let (mut moments, mut is_left) = ([None, None], false);
        if let Some(progress) = self.progress(part) {
            moments[0] = progress.phase.waits_until();
            if let Some(Back::Waiting(_, at)) = progress.back {
                moments[1] = Some(at);
            }
            is_left = progress.back.as_ref().is_some_and(Back::is_left);
        }
        if is_left {
            self.index.standing.insert(part.clone());
        } else {
            self.index.standing.remove(part);
        }
        self.index.waits_for(part, moments);
    }

    fn look_for_orphans(&mut self, part: &Part, is_over: bool) {
        let Some(state) = self.steps.get(&part.step) else { return };
        let items = match part.item {
            Some(at) => vec![at],
            None => state.turns.begun.iter().copied().collect(),
        };
        for at in items {
            let item = part_of(&part.step, at as usize);
            if is_over && self.intent(&item).is_some() {
                self.index.orphans.insert(item);
            } else {
                self.index.orphans.remove(&item);
            }
        }
    }
}

/// What the items of a `for_each` are to do now: those that have begun, and as many more as there is room for.
pub(super) fn next_of_items(
    step: &StepId,
    each: &ForEach,
    (items, turns): (&[(Json, Progress)], &Turns),
    stopped: bool,
    now: Stamp,
    out: &mut Vec<Command>,
) {
    // Of what is stopped only what is under way is waited for.
    let goes_on = |at: &u32| !(stopped && items[*at as usize].1.phase.is_left_out());
    let begun: Vec<u32> = turns.begun.iter().copied().filter(goes_on).collect();
    let room = (each.max_parallel.max(1) as usize).saturating_sub(begun.len());
    let mut all: Vec<u32> = begun;
    let mut is_over = all.is_empty();
    if !stopped && (each.errors != ItemErrors::Stop || turns.bad.is_empty()) {
        is_over &= turns.asking.is_empty() && turns.idle.is_empty();
        // Who waits for a person leaves his place to the next.
        all.extend(&turns.asking);
        all.extend(turns.idle.iter().take(room));
        all.sort_unstable();
    } else {
        // What may have acted says so before the step is summed up.
        let waits = turns.begun.iter().filter(|at| !goes_on(at)).chain(&turns.asking);
        let unknown = waits.filter(|at| items[**at as usize].1.is_unknown());
        let before = out.len();
        out.extend(unknown.map(|at| Command::Leave { part: part_of(step, *at as usize) }));
        is_over &= out.len() == before;
    }
    for at in all {
        let (item, progress) = &items[at as usize];
        next_of_part(part_of(step, at as usize), item, progress, now, out);
    }
    if is_over {
        out.push(Command::Conclude { step: step.clone() });
    }
}
