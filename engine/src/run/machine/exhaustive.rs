//! The machine's commands by a look at every step and every item, each time: what the index is compared with.
//!
//! For tests only. Owns no state.

use super::*;
use quell_model::playbook::{ForEach, ItemErrors};

impl Run {
    /// Whether it was a moment that brought this command.
    pub(in crate::run) fn waited(&self, command: &Command) -> bool {
        match command {
            Command::Settle { .. } | Command::Wake { .. } => true,
            Command::Start { attempt, .. } | Command::TakeBack { attempt, .. } => *attempt > 1,
            _ => false,
        }
    }

    pub(super) fn next_wait_exhaustively(&self, now: Stamp) -> Option<Stamp> {
        let moments = self.parts().flat_map(|(_, progress)| {
            let forwards = progress.phase.waits_until();
            let back = if let Some(Back::Waiting(_, at)) = progress.back { Some(at) } else { None };
            [forwards, back]
        });
        let moments = moments.chain(self.questions().map(|(_, asked)| Some(asked.until)));
        moments.flatten().filter(|at| *at > now).min()
    }

    pub(super) fn next_exhaustively(&self, now: Stamp) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.state.is_over() {
            return commands;
        }
        let over = self.ended.is_some() || {
            let all_ended = self.forwards_exhaustively(now, &mut commands);
            let confirms = self.confirms_exhaustively(now, &mut commands);
            all_ended && !confirms
        };
        let left = match &self.undo {
            // All of it waits until the run itself is over; one step is taken back while the others go on.
            Some(undo) if over || !undo.is_whole() => self.back_exhaustively(undo, now, &mut commands),
            undo => undo.is_some(),
        };
        let whole = self.undo.as_ref().is_some_and(Undoing::is_whole);
        if left {
            return commands;
        }
        if let (false, None, Some(step)) = (whole, self.ended, self.undoes_exhaustively()) {
            let (outcome, _, why) = self.result(&step.id).unwrap_or((Outcome::Failed, &Json::Null, ""));
            let why = format!("`{}` {outcome}, and says `on_failure: undo`: {why}", step.id);
            commands.push(Command::BeginUndo { why });
        } else if over {
            let ends_back = whole || self.ended.is_some() || self.has_stuck();
            let (state, summary) = if ends_back { self.back_verdict() } else { self.verdict() };
            commands.push(Command::Finish { state, summary });
        }
        commands
    }

    fn forwards_exhaustively(&self, now: Stamp, commands: &mut Vec<Command>) -> bool {
        let halts = |step: &&Step| matches!(step.on_failure, OnFailure::Halt | OnFailure::Undo) && self.is_bad(step);
        let halted = self.is_stopped() || self.playbook.steps.iter().any(|step| halts(&step));
        for step in &self.playbook.steps {
            self.step_exhaustively(step, halted, now, commands);
        }
        let is_over = |step: &StepId| matches!(self.steps[step].whole.phase, Phase::Ended(_));
        let acting = |(_, progress): &(Part, &Progress)| matches!(progress.phase, Phase::Acting(_));
        let orphans: Vec<Part> =
            self.parts().filter(acting).map(|(part, _)| part).filter(|part| is_over(&part.step)).collect();
        commands.extend(orphans.iter().map(|part| Command::TakeUp { part: part.clone(), item: self.item(part) }));
        self.steps.keys().all(is_over) && orphans.is_empty()
    }

    fn undoes_exhaustively(&self) -> Option<&Step> {
        self.playbook.steps.iter().find(|step| step.on_failure == OnFailure::Undo && self.is_bad(step))
    }

    fn step_exhaustively(&self, step: &Step, halted: bool, now: Stamp, out: &mut Vec<Command>) {
        let state = &self.steps[&step.id];
        if matches!(state.whole.phase, Phase::Ended(_)) {
            return;
        }
        let untouched = state.whole.phase == Phase::Idle && state.whole.attempts == 0 && state.items.is_none();
        if untouched || self.waits_again(step) {
            if halted && (step.when == When::Success || self.cancelled) {
                out.push(Command::Block { step: step.id.clone(), by: None, outcome: Outcome::Cancelled });
                return;
            }
            match self.readiness(step) {
                Readiness::NotYet => return,
                Readiness::Blocked(by) => {
                    out.push(Command::Block { step: step.id.clone(), by: Some(by), outcome: Outcome::Blocked });
                    return;
                }
                Readiness::Needless => {
                    out.push(Command::Skip { step: step.id.clone(), why: "none of its needs failed".to_owned() });
                    return;
                }
                Readiness::Ready => {}
            }
        }
        let stopped = self.is_stopped();
        if stopped && state.items.is_none() && state.whole.phase.is_left_out() {
            let part = Part { step: step.id.clone(), item: None };
            out.push(if state.whole.is_unknown() { Command::Leave { part } } else { cancelled(step) });
            return;
        }
        match (&step.for_each, &state.items) {
            (Some(each), Some(items)) => {
                items_exhaustively(&step.id, each, items, self.drops_items(&step.id), now, out);
            }
            _ => next_of_part(Part { step: step.id.clone(), item: None }, &Json::Null, &state.whole, now, out),
        }
    }

    fn confirms_exhaustively(&self, now: Stamp, out: &mut Vec<Command>) -> bool {
        if self.is_stopped() || self.playbook.steps.iter().all(|step| step.confirm.is_none()) {
            return false;
        }
        let mut waits = false;
        for (part, progress) in self.parts() {
            let asks = self.playbook.step(&part.step).is_some_and(|step| step.confirm.is_some());
            if !asks || !progress.may_be_confirmed() {
                continue;
            }
            let question = QuestionKind::Confirm;
            match &progress.confirm {
                None => out.push(Command::Confirm { part }),
                Some(_) if !self.asking.contains(&(part.clone(), question)) => continue,
                Some(asked) if asked.until <= now => out.push(Command::Settle { part, question }),
                Some(_) => {}
            }
            waits = true;
        }
        waits
    }

    fn back_exhaustively(&self, undo: &Undoing, now: Stamp, out: &mut Vec<Command>) -> bool {
        let left: Vec<(Part, &Back)> = self
            .parts()
            .filter(|(part, _)| undo.wants(part))
            .filter_map(|(part, progress)| Some((part, progress.back.as_ref()?)))
            .filter(|(_, back)| back.is_left())
            .collect();
        let steps: BTreeSet<&StepId> = left.iter().map(|(part, _)| &part.step).collect();
        let below = self.after_any_of(&steps);
        for (part, back) in &left {
            if below.contains(&part.step) {
                continue;
            }
            let attempt = match back {
                Back::Stands => 1,
                Back::Acting(attempt) => *attempt,
                Back::Waiting(tried, at) if *at <= now => tried + 1,
                _ => continue,
            };
            out.push(Command::TakeBack { part: part.clone(), attempt });
        }
        !left.is_empty()
    }
}

fn items_exhaustively(
    step: &StepId,
    each: &ForEach,
    items: &[(Json, Progress)],
    stopped: bool,
    now: Stamp,
    out: &mut Vec<Command>,
) {
    // Of a run that is stopped only what is under way is waited for.
    let left_out = |progress: &Progress| stopped && (progress.phase == Phase::Idle || progress.phase.is_left_out());
    let ended = |progress: &Progress| matches!(progress.phase, Phase::Ended(_)) || left_out(progress);
    let bad = |progress: &Progress| matches!(progress.phase, Phase::Ended(outcome) if !outcome.is_met());
    let stopped = each.errors == ItemErrors::Stop && items.iter().any(|(_, p)| bad(p));
    let asks = |progress: &Progress| matches!(progress.phase, Phase::Asking(_));
    let begun = |progress: &Progress| progress.attempts > 0 && !ended(progress) && !asks(progress);
    let mut under_way = items.iter().filter(|(_, p)| begun(p)).count();
    let unknown = |(_, (_, progress)): &(usize, &(Json, Progress))| {
        progress.is_unknown() && (ended(progress) || (stopped && !begun(progress)))
    };
    let leaves: Vec<_> = items.iter().enumerate().filter(unknown).collect();
    let (asked, others): (Vec<_>, Vec<_>) = leaves.iter().partition(|(_, (_, progress))| asks(progress));
    let leave = |(at, _): &(usize, _)| Command::Leave { part: part_of(step, *at) };
    out.extend(others.iter().chain(&asked).map(leave));
    let mut all_over = leaves.is_empty();
    for (at, (item, progress)) in items.iter().enumerate() {
        if ended(progress) {
            continue;
        }
        if !begun(progress) {
            if stopped {
                continue;
            }
            // Who waits for a person leaves his place to the next.
            if asks(progress) {
                all_over = false;
                next_of_part(part_of(step, at), item, progress, now, out);
                continue;
            }
            if under_way >= each.max_parallel.max(1) as usize {
                all_over = false;
                continue;
            }
            under_way += 1;
        }
        all_over = false;
        next_of_part(part_of(step, at), item, progress, now, out);
    }
    if all_over {
        out.push(Command::Conclude { step: step.clone() });
    }
}
