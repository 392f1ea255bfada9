//! What a person does to a run by hand: the pure part.
//!
//! Owns which parts are done again when a run that had ended is tried again, and which step may be left out. Keeps true: what
//! stands is never lost sight of. A part that is done again keeps what it did, as long as that stands, so that it can still be
//! taken back.

use super::{Phase, Progress, Run, back::Back, index::Turns};
use quell_model::playbook::When;
use quell_model::record::{Part, RunReopened, RunState};
use quell_model::{Name, Outcome, Plan, StepId};
use std::collections::BTreeSet;

impl Run {
    /// What is done again when this run, which has ended, is tried again: all from a step on; or what did not end well, and what
    /// comes after it but for what needed nothing of it. Empty: there is no such thing.
    #[must_use]
    pub fn again(&self, from: Option<&StepId>) -> Vec<Part> {
        let begins = |step: &StepId| match from {
            Some(from) => step == from,
            None => self.ended_as(step).is_none_or(Self::may_go_better),
        };
        let mut steps: BTreeSet<&StepId> = self.steps.keys().filter(|step| begins(step)).collect();
        // No order is needed: a step comes in once any of its needs is.
        loop {
            let is_below = |step: &&quell_model::playbook::Step| {
                !steps.contains(&step.id) && step.needs.iter().any(|need| steps.contains(need))
            };
            let more: Vec<&StepId> = self.playbook.steps.iter().filter(is_below).map(|step| &step.id).collect();
            if more.is_empty() {
                break;
            }
            steps.extend(more);
        }
        let order = self.playbook.steps.iter().map(|step| &step.id).filter(|id| steps.contains(id));
        let order = order.filter(|id| from.is_some() || !self.keeps(id));
        order.flat_map(|id| self.parts_again(id, from.is_some())).collect()
    }

    /// How a step ended; of one that ended badly and was taken back since: that it did.
    fn ended_as(&self, step: &StepId) -> Option<Outcome> {
        let outcome = self.outcome(step)?;
        Some(self.steps[step].whole.badly_before(outcome).unwrap_or(outcome))
    }

    fn may_go_better(outcome: Outcome) -> bool {
        use Outcome::{
            Already, Blocked, Cancelled, Denied, Done, Failed, Planned, Refused, Skipped, Stuck, Undone, Verified,
        };
        match outcome {
            Failed | Refused | Denied | Blocked | Cancelled => true,
            Verified | Done | Already | Planned | Skipped | Undone | Stuck => false,
        }
    }

    /// A step after one that is done again, and that has had all it needed: its need was forgiven. One that tells how it ended
    /// tells it again, and one that was not needed may be now.
    fn keeps(&self, id: &StepId) -> bool {
        let Some(step) = self.playbook.step(id) else { return true };
        match self.ended_as(id) {
            Some(Outcome::Verified | Outcome::Done | Outcome::Already | Outcome::Planned) => step.when == When::Success,
            Some(Outcome::Skipped) => self.steps[id].whole.left_out,
            Some(Outcome::Undone | Outcome::Stuck) => true,
            Some(Outcome::Failed | Outcome::Refused | Outcome::Denied | Outcome::Blocked | Outcome::Cancelled)
            | None => false,
        }
    }

    /// Of a `for_each` the items that did not end well; its list is found anew unless some of what it did stands.
    fn parts_again(&self, step: &StepId, all: bool) -> Vec<Part> {
        let whole = Part { step: step.clone(), item: None };
        let items = self.steps[step].items.as_deref().unwrap_or_default();
        let stands = items.iter().any(|(_, progress)| progress.stands());
        if items.is_empty() || (all && !stands) {
            return vec![whole];
        }
        let is_again = |progress: &Progress| match progress.phase {
            Phase::Ended(outcome) => Self::may_go_better(progress.badly_before(outcome).unwrap_or(outcome)),
            Phase::Idle
            | Phase::Acting(_)
            | Phase::Waiting(_)
            | Phase::Sleeping(_)
            | Phase::Sub
            | Phase::Asking(_)
            | Phase::Answered(..) => true,
        };
        let again = |(_, (_, progress)): &(usize, &(_, Progress))| all || is_again(progress);
        let some: Vec<Part> = items.iter().enumerate().filter(again).map(|(at, _)| super::part_of(step, at)).collect();
        // Its items ended well, and it is done again for what comes before it.
        match (some.is_empty(), stands) {
            (false, _) => some,
            (true, true) => (0..items.len()).map(|at| super::part_of(step, at)).collect(),
            (true, false) => vec![whole],
        }
    }

    pub(super) fn reopened(&mut self, reopened: &RunReopened) {
        (self.state, self.ended, self.undo, self.cancelled) = (RunState::Running, None, None, false);
        self.retried.insert(reopened.by.clone());
        let all: Vec<Part> = self.parts().map(|(part, _)| part).collect();
        self.index.changed.extend(all);
        for part in &reopened.again {
            let Some(state) = self.steps.get_mut(&part.step) else { continue };
            state.whole.begin_again();
            (state.began, state.thinking, state.thought) = (None, None, Vec::new());
            match part.item {
                None => {
                    let items = state.items.take().unwrap_or_default();
                    // The next list may have something else in the place of what may have been done.
                    let keys_used = |progress: &Progress| progress.known + u32::from(progress.open);
                    let known = items.iter().map(|(_, progress)| keys_used(progress)).max().unwrap_or(0);
                    (state.turns, state.known_before) = (Turns::default(), state.known_before.max(known));
                }
                Some(at) => {
                    let item = state.items.as_mut().and_then(|items| items.get_mut(at as usize));
                    item.into_iter().for_each(|(_, progress)| progress.begin_again());
                }
            }
        }
    }

    /// Who wanted this run: started it, or had it tried again.
    pub fn requesters(&self) -> impl Iterator<Item = &Name> {
        self.started.requesters().chain(&self.retried)
    }

    /// A person leaves this step out.
    pub(super) fn is_left_out(&mut self, step: &str) {
        if let Some(state) = self.steps.get_mut(&StepId::from(step)) {
            state.whole.left_out = true;
        }
    }

    /// Why a step cannot be left out, if it cannot.
    #[must_use]
    pub fn cannot_skip(&self, step: &StepId) -> Option<String> {
        if let Some(outcome) = self.outcome(step) {
            return Some(format!("`{step}` has ended: {outcome}"));
        }
        if self.is_stopped() {
            return Some("nothing of it starts any more: it was cancelled, or is taken back".to_owned());
        }
        let mut parts = self.parts().filter(|(part, _)| part.step == *step);
        parts.find_map(|(_, progress)| match (&progress.phase, &progress.sub) {
            (Phase::Acting(_), _) => Some(format!("`{step}` is acting: what has begun is seen to its end")),
            (Phase::Sub, Some(sub)) => {
                let run = &sub.run;
                Some(format!("`{step}` has started run `{run}`, which goes on: `quell run cancel {run}` ends it"))
            }
            _ => None,
        })
    }

    /// What a part did before and would be lost sight of if it did this: it stands, and is something else.
    #[must_use]
    pub fn would_lose(&self, part: &Part, plan: &Plan) -> Option<String> {
        let progress = self.progress(part).filter(|progress| progress.stands())?;
        let before = &progress.acted.last()?.intent.plan;
        let ids = |plan: &Plan| -> BTreeSet<String> {
            plan.targets.iter().filter(|target| target.named).map(|target| target.id.clone()).collect()
        };
        let first = before.targets.first().map(|target| target.label.clone()).unwrap_or_default();
        let is_known = progress.acted.iter().any(|act| ids(&act.intent.plan) == ids(plan));
        (!is_known).then_some(first)
    }

    /// Whether anything of it has acted and can still be taken back, or was.
    #[must_use]
    pub fn has_acted(&self) -> bool {
        self.parts().any(|(_, progress)| !progress.acted.is_empty())
    }

    /// The named targets of what it did.
    pub fn touched(&self) -> impl Iterator<Item = &str> {
        let plans = self.parts().flat_map(|(_, progress)| progress.acted.iter().map(|act| &act.intent.plan));
        plans.flat_map(|plan| plan.targets.iter().filter(|target| target.named).map(|target| target.id.as_str()))
    }
}

impl Progress {
    /// What it did can be taken back, and has not been.
    fn stands(&self) -> bool {
        self.back.as_ref().is_some_and(Back::stands)
    }

    /// How it had ended by itself, if that was badly and it was taken back since.
    fn badly_before(&self, outcome: Outcome) -> Option<Outcome> {
        self.before_back.filter(|before| outcome == Outcome::Undone && Run::may_go_better(*before))
    }

    /// Nothing of it was tried, but for what stands of it.
    fn begin_again(&mut self) {
        let before = std::mem::take(self);
        (self.suspect, self.known, self.open) = (before.suspect.clone(), before.known, before.open);
        if before.stands() {
            (self.acted, self.back, self.sub) = (before.acted, before.back, before.sub);
            self.back_unknown = before.back_unknown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::*;
    use crate::run::fixtures::{playbook_of, started, step};
    use quell_model::playbook::{Expression, ForEach, ItemErrors, Step};
    use quell_model::record::{LeaseGranted, StepFailed, StepFinished, StepIntended, StepProgressed, UndoFinished};
    use quell_model::{Body, Json, Stamp, Target, TargetFacts};
    use std::sync::Arc;

    fn plan(target: &str) -> Plan {
        let (id, label) = (target.to_owned(), target.to_owned());
        let target =
            Target { node: "n".into(), kind: "thing".into(), id, label, named: true, facts: TargetFacts::Other };
        Plan { targets: vec![target], ..Plan::default() }
    }

    #[test]
    fn what_stands_is_kept_over_a_second_try_and_not_lost_to_another_target() {
        let playbook = Arc::new(playbook_of(vec![step("hold", &[])]));
        let part = Part { step: "hold".into(), item: None };
        let at = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 };
        let mut run = Run::new(Arc::clone(&playbook), started(&playbook), at);
        let intended = StepIntended {
            part: part.clone(),
            attempt: 1,
            action: "process.freeze".into(),
            input: Json::Null,
            plan: plan("a"),
        };
        let finished = StepFinished {
            part: part.clone(),
            action: Some("process.freeze".into()),
            outcome: Outcome::Failed,
            output: Json::Null,
            proof: "in part".into(),
            attempts: 1,
            moments: Default::default(),
        };
        let granted = LeaseGranted {
            run: "r-1".into(),
            part: part.clone(),
            action: "process.freeze".into(),
            owner: None,
            lasts: Default::default(),
            at_end: Default::default(),
            own_end: false,
            incident: None,
            answers: None,
        };
        let bodies: [Body; 3] = [intended.into(), finished.into(), granted.into()];
        bodies.iter().for_each(|body| run.apply(at, body));
        assert_eq!(run.again(None), std::slice::from_ref(&part));
        let again = run.again(None);
        run.apply(at, &RunReopened { by: "ann".into(), why: String::new(), from: None, again }.into());
        assert_eq!(run.outcome(&part.step), None);
        assert_eq!(run.acted(&part).map(|intent| &intent.plan), Some(&plan("a")), "it can still be taken back");
        assert_eq!(run.would_lose(&part, &plan("a")), None);
        assert_eq!(run.would_lose(&part, &plan("b")), Some("a".to_owned()));
        assert!(run.has_acted() && run.touched().eq(["a"]));
    }

    const AT: Stamp = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 };

    fn intended(part: &Part, attempt: u32) -> Body {
        let (action, part) = ("cloud.cut".into(), part.clone());
        StepIntended { part, attempt, action, input: Json::Null, plan: plan("a") }.into()
    }

    /// An attempt that failed; one after which nothing follows ends its part.
    fn failed(part: &Part, attempt: u32, unknown: bool, again: bool) -> Vec<Body> {
        let (error, again_at) = ("no".to_owned(), again.then_some(AT));
        let failed = StepFailed { part: part.clone(), attempt, error, hint: None, again_at, unknown };
        let finished = StepFinished {
            part: part.clone(),
            action: Some("cloud.cut".into()),
            outcome: Outcome::Failed,
            output: Json::Null,
            proof: "no".into(),
            attempts: attempt,
            moments: Default::default(),
        };
        let ended = (!again).then(|| Body::from(finished));
        std::iter::once(failed.into()).chain(ended).collect()
    }

    fn undone(part: &Part) -> Vec<Body> {
        let (run, action, proof) = ("r-1".into(), "cloud.cut".into(), String::new());
        let (outcome, output) = (Outcome::Undone, Json::Null);
        vec![
            UndoFinished { run, part: part.clone(), action, outcome, output, proof, attempts: 1, unknown: false }
                .into(),
        ]
    }

    fn again(part: &Part) -> Vec<Body> {
        vec![RunReopened { by: "ann".into(), why: String::new(), from: None, again: vec![part.clone()] }.into()]
    }

    #[test]
    fn what_may_have_been_done_keeps_its_key_until_it_is_taken_back() {
        let playbook = Arc::new(playbook_of(vec![step("cut", &[])]));
        let part = Part { step: "cut".into(), item: None };
        let first = vec![intended(&part, 1)];
        let second = vec![intended(&part, 2)];
        for (records, key, why) in [
            (vec![first.clone(), failed(&part, 1, true, false), again(&part)], "r-1/cut", "it may be done yet"),
            (vec![first.clone(), failed(&part, 1, true, false), undone(&part), again(&part)], "r-1/cut#2", "ended"),
            (vec![first.clone(), failed(&part, 1, true, true), undone(&part)], "r-1/cut#2", "while it goes on"),
            (
                vec![first.clone(), failed(&part, 1, false, false), undone(&part), again(&part)],
                "r-1/cut#2",
                "known once",
            ),
            (
                vec![
                    first.clone(),
                    failed(&part, 1, false, true),
                    second,
                    failed(&part, 2, true, false),
                    undone(&part),
                ],
                "r-1/cut#3",
                "the second has a key of its own, which is used",
            ),
            // Whoever takes up what is under way takes it up with the key that it has.
            (vec![first.clone(), failed(&part, 1, true, true), first, undone(&part)], "r-1/cut", "under way"),
        ] {
            let mut run = Run::new(Arc::clone(&playbook), started(&playbook), AT);
            records.iter().flatten().for_each(|body| run.apply(AT, body));
            assert_eq!(run.key(&part).0, key, "{why}");
        }
    }

    #[test]
    fn a_list_that_is_found_anew_uses_no_key_of_what_may_have_been_done() {
        let playbook = Arc::new(playbook_of(vec![step("cut", &[])]));
        let (whole, item) = (Part { step: "cut".into(), item: None }, Part { step: "cut".into(), item: Some(0) });
        let list = |item: &str| -> Body {
            StepProgressed { part: whole.clone(), mark: serde_json::json!({ "items": [item] }) }.into()
        };
        let mut run = Run::new(Arc::clone(&playbook), started(&playbook), AT);
        let mut records = vec![list("a"), intended(&item, 1)];
        records.extend(failed(&item, 1, true, false));
        records.extend(again(&whole));
        records.push(list("b"));
        records.iter().for_each(|body| run.apply(AT, body));
        assert_eq!(run.key(&item).0, "r-1/cut/0#2", "it is another item");
    }

    /// Items that are gone over again are those of a step like any other.
    #[test]
    fn a_list_that_is_gone_over_again_waits_for_what_its_step_needs() {
        let list = Expression { text: "[1]".into(), span: Default::default() };
        let for_each = Some(ForEach { list, max_parallel: 1, errors: ItemErrors::Collect });
        let each = Step { for_each, ..step("each", &["first"]) };
        let playbook = Arc::new(playbook_of(vec![step("first", &[]), each]));
        let of = |step: &str, item| Part { step: step.into(), item };
        let (first, whole, item) = (of("first", None), of("each", None), of("each", Some(0)));
        let mark = serde_json::json!({ "items": ["a"] });
        let mut records = failed(&first, 1, false, false);
        let well = |body: &mut Body| {
            if let Body::StepFinished(finished) = body {
                finished.outcome = Outcome::Verified;
            }
        };
        records.iter_mut().for_each(well);
        records.extend([StepProgressed { part: whole.clone(), mark }.into(), intended(&item, 1)]);
        records.extend([&item, &whole].into_iter().flat_map(|part| failed(part, 1, false, false)));
        let again = vec![first.clone(), item.clone()];
        records.push(RunReopened { by: "ann".into(), why: String::new(), from: None, again }.into());
        let mut run = Run::new(Arc::clone(&playbook), started(&playbook), AT);
        records.iter().for_each(|body| run.apply(AT, body));
        let starts = |run: &Run| {
            let started = run.next(AT).into_iter().filter_map(|command| match command {
                Command::Start { part, .. } => Some(part),
                _ => None,
            });
            started.collect::<Vec<_>>()
        };
        assert_eq!(starts(&run), std::slice::from_ref(&first));
        let mut blocked = run.clone();
        failed(&first, 1, false, false).iter_mut().for_each(|body| {
            blocked.apply(AT, body);
            well(body);
            run.apply(AT, body);
        });
        assert_eq!(starts(&run), [item]);
        assert!(matches!(&blocked.next(AT)[..], [Command::Block { step, .. }] if *step == whole.step));
    }
}
