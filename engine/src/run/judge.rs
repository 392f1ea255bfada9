//! What the guard says of an attempt, and what follows from it: asked of its plan, and again at the act.
//!
//! ```text
//! plan ─▶ judge ─▶ StepIntended ─▶ written, or on the disk ─▶ judge ─▶ act
//! ```
//!
//! Owns who is asked, what is counted, and the words of what is held back. **Invariant:** what waited for the disk is judged anew by
//! the guard as it is by then. What acts in the turn in which it was judged (a freeze, a kill) cannot have come to be another.

use super::conclude::Ending;
use super::job::Answer;
use super::machine::Approved;
use super::purpose::Purpose;
use super::shell::Core;
use crate::load::units::print_duration;
use quell_model::guard::{Act, Admitted, Ask, Concerns, Consent, Decision, bait, decide};
use quell_model::playbook::{StepKind, Unanswered};
use quell_model::record::{BreakerChanged, NewRecord, Part, StepIntended};
use quell_model::world::Verb;
use quell_model::{Action, Class, Json, Lane, Mode, Name, Outcome, Plan, RunId, Stamp, TargetFacts};
use std::sync::Arc;

/// When the guard is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// The plan is made, or is that of an intent from before a crash.
    Planned,
    /// Its intent is on the disk: it is counted, and has not acted.
    Act,
}

/// What the guard says, and of what.
struct Weighed {
    verb: Arc<dyn Action>,
    action: Name,
    playbook: Name,
    above: Vec<RunId>,
    decision: Decision,
    /// Nobody answered in time, and silence was to be a yes.
    silent: bool,
    /// Silence is a yes.
    silence_acts: bool,
    /// It opens the breaker.
    opens: Option<String>,
    /// Since when it is counted against limits.
    counted: Option<Stamp>,
}

impl<W: Send + 'static> Core<W> {
    /// Its intent is in the journal.
    pub(super) fn intended(&mut self, id: &RunId, part: &Part) {
        let Some(under_way) = self.under_way(id, part) else { return };
        let (purpose, admitted) = (under_way.purpose, under_way.admitted.as_ref());
        let Some(plan) = admitted.map(|admitted| admitted.plan().clone()) else { return };
        self.judge(id, part, plan, purpose, At::Act);
    }

    /// Asks the guard, and does what it says.
    pub(super) fn judge(&mut self, id: &RunId, part: &Part, plan: Plan, purpose: Purpose, at: At) {
        // Of an intent from before a crash it is not known that nothing was begun.
        let untouched = at == At::Act && !purpose.is_intended();
        let names_the_same = self.runs.get(id).is_some_and(|live| names_the_same(&live.run.started.event, &plan));
        let is_protected = names_the_same && self.guard().protect.names(&plan);
        let weighed = match self.weigh(id, part, plan, purpose, at) {
            Some(Ok(weighed)) => weighed,
            Some(Err(ending)) => return self.not_done(id, part, purpose, Ending { untouched, ..ending }),
            None => return,
        };
        let Weighed { action, silent, silence_acts, .. } = weighed;
        if let Some(why) = weighed.opens.filter(|_| !matches!(weighed.decision, Decision::Refuse { .. })) {
            let (playbook, now) = (weighed.playbook.clone(), self.parts.clock.now());
            tracing::error!(%playbook, why, "the breaker opens: it acts on nothing new for a while, and where it has acted it goes on");
            self.breaker_changes(BreakerChanged { playbook, open: true, why, by: None }, now);
        }
        let input = self.under_way(id, part).map(|u| u.input.clone()).unwrap_or_default();
        match weighed.decision {
            Decision::Refuse { guard, target, why } => {
                self.counted.refused_by_pause += u64::from(guard.as_str() == "pause");
                // Else it is refused for what it would touch besides, or for how much was done: that may be otherwise the next time.
                if is_protected
                    && guard.as_str() == "protect"
                    && let Some(live) = self.runs.get_mut(id)
                {
                    live.protected += 1;
                }
                let ending = Ending { untouched, ..Ending::refused(guard.as_str(), &target, why) };
                self.not_done(id, part, purpose, ending);
            }
            Decision::Ask { why, .. } if silent && !matches!(purpose, Purpose::Stale { .. }) => {
                let proof = format!("nobody answered in time, and silence is no yes any more: {why}");
                let ending = Ending { outcome: Outcome::Denied, proof, untouched, ..Ending::default() };
                self.not_done(id, part, purpose, ending);
            }
            Decision::Ask { plan, guard, why } => match self.no_room(id) {
                Some(full) => {
                    let because = format!("{why}; {full}, so that it only plans");
                    let ending = Ending::left_at_plan(part.clone(), action, input, plan, because);
                    self.not_done(id, part, purpose, Ending { untouched, ..ending });
                }
                None => {
                    let unknown =
                        if purpose.may_have_acted() { "; nobody knows whether it was done before" } else { "" };
                    let intended = self.is_intended(id, part, purpose, at);
                    self.ask_first(id, part, plan, (guard, why + unknown), silence_acts, intended);
                }
            },
            Decision::Observe { plan, why } => {
                let asked = self.would_ask(id, part).filter(|_| !plan.already).unwrap_or_default();
                let why = format!("{why}{asked}");
                let ending = Ending::left_at_plan(part.clone(), action, input, plan, why);
                self.not_done(id, part, purpose, Ending { untouched, ..ending });
            }
            Decision::Act(admitted) if at == At::Act => {
                if let Some(under_way) = self.under_way(id, part) {
                    under_way.admitted = Some(admitted);
                }
                self.act(id, part);
            }
            Decision::Act(admitted) => {
                let now = self.parts.clock.now();
                let event = self.runs.get(id).map_or(&Json::Null, |live| &live.run.started.event);
                let act = Act::of(now, action.clone(), id.clone(), weighed.playbook, (admitted.plan(), event));
                for above in weighed.above {
                    self.memory.run_touched(&above, act.targets.iter().map(String::as_str));
                }
                // What was taken up was counted with its first intent. Where that is too long ago for a limit or the breaker, it is
                // one that is intended now: the next start has to count it so as well.
                let anew = !purpose.is_intended() || !self.is_lately(action.as_str(), weighed.counted, now);
                match (weighed.counted, anew) {
                    (None, _) => self.memory.add(act),
                    (Some(then), true) => self.memory.renew(then, act),
                    (Some(_), false) => {}
                }
                self.memory.begins(id, part, admitted.plan());
                if let Some(live) = self.runs.get_mut(id) {
                    live.only_planned = false;
                }
                let lane = weighed.verb.spec().lane;
                let Some(attempt) = self.takes(id, part, admitted, purpose) else { return };
                if !anew {
                    return self.act(id, part);
                }
                self.intend(id, part, lane, attempt, (action, input));
            }
        }
    }

    /// Whether a new attempt would act by this plan, without a question and without a word to anybody.
    pub(super) fn would_act(&self, id: &RunId, part: &Part, plan: &Plan) -> bool {
        let weighed = self.weigh(id, part, plan.clone(), Purpose::First, At::Planned);
        matches!(weighed, Some(Ok(Weighed { decision: Decision::Act(_), opens: None, .. })))
    }

    /// Who would be asked whether a step acts, where the step itself wants it.
    fn would_ask(&self, id: &RunId, part: &Part) -> Option<String> {
        let approve = self.runs.get(id)?.run.playbook.step(&part.step)?.approve.as_ref()?;
        let who = approve.by.as_ref().map_or_else(|| "whoever may answer".to_owned(), |by| format!("of `{by}`"));
        let within = print_duration(approve.within.0);
        let silence = if approve.otherwise == Unanswered::Run { "then it acts" } else { "then it does not act" };
        Some(format!(" ({who}, for {within}, {silence})"))
    }

    /// What the guard says of a plan; an ending where it is not even asked.
    fn weigh(&self, id: &RunId, part: &Part, plan: Plan, purpose: Purpose, at: At) -> Option<Result<Weighed, Ending>> {
        let now = self.parts.clock.now();
        let live = self.runs.get(id)?;
        if live.run.is_stopped() {
            let words = if purpose.may_have_acted() {
                "it was cancelled, or is taken back"
            } else {
                "the run was cancelled, or is taken back, before it acted"
            };
            let ending = Ending { outcome: Outcome::Cancelled, proof: words.to_owned(), ..Ending::default() };
            return Some(Err(ending));
        }
        let step = live.run.playbook.step(&part.step)?;
        let StepKind::Action { action, .. } = &step.kind else { return None };
        let Some(Verb::Acts(verb)) = self.parts.crew.get(action.as_str()).cloned() else { return None };
        if let Some(before) = live.run.would_lose(part, &plan) {
            let undo = format!("`quell run undo {id}/{}` takes it back first", part.step);
            let why = format!("it did that before, which stands and would be lost sight of: {undo}");
            return Some(Err(Ending::refused("retry", &before, why)));
        }
        let began = live.under_way.get(part).map(|under_way| under_way.began);
        if began.zip(step.deadline).is_some_and(|(began, deadline)| now.since(began) > deadline) {
            return Some(Err(Ending::failed("its step's `deadline` was over before it could act".to_owned())));
        }
        let (mode, because) = self.mode_of(id, step);
        let playbook = live.run.playbook.name.clone();
        let approved = live.run.approved(part, &plan);
        let consent = match purpose {
            _ if approved == Some(Approved::ByPerson) => Consent::Given,
            Purpose::Stale { .. } => Consent::Wanted,
            _ if step.approve.is_some() => Consent::Wanted,
            _ => Consent::AsNeeded,
        };
        let owned = self.owned(&live.run, &plan);
        let is_intended = at == At::Act || purpose != Purpose::First;
        let counted = is_intended.then(|| live.run.intended_at(part)).flatten();
        let ask = Ask {
            now,
            action: verb.spec(),
            run: id,
            playbook: &playbook,
            mode,
            mode_because: &because,
            untrusted: live.run.started.untrusted,
            limits: live.run.playbook.limits,
            above: self.above(&live.run).map(|above| (&above.run.started.run, above.run.playbook.limits)).collect(),
            paused: self.paused,
            consent,
            counted,
            concerns: Concerns::of_event(&live.run.started.event),
            owned: owned.as_ref(),
        };
        // Only what would act opens it, once: not what anybody can write, and not while nothing acts.
        let would_act = mode == Mode::Enforce && !ask.untrusted && !ask.paused;
        let may_open = would_act && at == At::Planned;
        let opens = may_open.then(|| self.guard().breaker.opening(&self.memory, &ask, &plan)).flatten();
        // Where anything but the step itself wants the question, nobody's silence is a yes.
        let silence_acts = step.approve.as_ref().is_some_and(|approve| approve.otherwise == Unanswered::Run)
            && would_act
            && !matches!(purpose, Purpose::Stale { .. })
            && opens.is_none()
            && bait(&ask, &plan).is_none()
            && self.guard().breaker.objection(&self.memory, &ask, &plan).is_none();
        let above: Vec<RunId> = ask.above.iter().map(|(run, _)| (*run).clone()).collect();
        // Much may have come since it was asked: silence is a yes only where it would be one now.
        let silent = approved == Some(Approved::BySilence);
        let consent = if silent && silence_acts { Consent::Given } else { ask.consent };
        let decision = decide(self.guard(), &self.memory, &Ask { run: id, consent, ..ask }, plan);
        let action = action.clone();
        Some(Ok(Weighed { verb, action, playbook, above, decision, silent, silence_acts, opens, counted }))
    }

    /// What an attempt acts by; gives its number.
    fn takes(&mut self, id: &RunId, part: &Part, admitted: Admitted, purpose: Purpose) -> Option<u32> {
        let under_way = self.under_way(id, part)?;
        (under_way.admitted, under_way.purpose) = (Some(admitted), purpose);
        Some(under_way.attempt)
    }

    fn intend(&mut self, id: &RunId, part: &Part, lane: Lane, attempt: u32, (action, input): (Name, Json)) {
        let now = self.parts.clock.now();
        let admitted = self.under_way(id, part).and_then(|under_way| under_way.admitted.as_ref());
        let Some(plan) = admitted.map(|admitted| admitted.plan().clone()) else { return };
        let intent = NewRecord::new(now, StepIntended { part: part.clone(), attempt, action, input, plan });
        if lane == Lane::Contain {
            self.record(id, vec![intent]);
            return self.act(id, part);
        }
        self.write_intent(id, part, lane, intent, Answer::Intended);
    }
}

/// Whether what the plan names is the same once the very same event comes again. A foreign record knows a file by its path, which may lead to
/// another by then.
fn names_the_same(event: &Json, plan: &Plan) -> bool {
    let mut named = plan.targets.iter().filter(|target| target.named);
    event["class"] != Class::Record.as_str() || named.all(|one| matches!(one.facts, TargetFacts::Process { .. }))
}
