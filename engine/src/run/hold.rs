//! What ends by itself in the world, held for as long as its lease stands.
//!
//! ```text
//! granted, kept, due, start ──▶ does it stand? ─┬─ yes ──▶ held: beyond its lease's end, or from time to time
//!                                               └─ no ───▶ planned anew ──▶ guard ──▶ returning ──▶ renewed, or over
//! ```
//! Over: lapsed, and told, unless something else of what it did stands: then its lease stands for that, and a person is asked.
//! By the same plan it is in force again without a record: its intent has it.
//!
//! Owns when a verb is asked to hold, and what follows when nothing is there to be held. Never ends a lease whose moment has
//! come. Keeps true: the lease is the one owner of an end, and the world's own lies behind it, for the time without an engine;
//! what has an end of its own by its input is not held beyond that. While every action is paused nothing is put in force again,
//! and nothing lapses for it. What stands again has passed the guard, and its plan is in the journal before the act.

use super::attempt::{in_time, place};
use super::job::{Answer, Work};
use super::leases::{Standing, Why};
use super::shell::Core;
use super::unread::Later;
use futures_util::future::FutureExt;
use quell_model::action::{ActionContext, IdempotencyKey};
use quell_model::guard::{Admitted, Ask, Consent, Memory, admit_undo, decide};
use quell_model::playbook::{AtEnd, RunLimits};
use quell_model::record::{Part, StepIntended};
use quell_model::world::Verb;
use quell_model::{
    Action, ActionError, Decision, Json, Lane, Name, Plan, Progress, RunId, Secrets, Stamp, Stop, Truth,
};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// So long beyond the end of its lease the world keeps by itself what a person is asked about, should no engine live then.
const BEYOND: Duration = Duration::from_secs(24 * 3600);
/// The same of what is to be undone then: without an engine it stands no longer than this.
const BEYOND_UNDO: Duration = Duration::from_secs(3600);
/// What could not be held is tried again so often.
const AGAIN: Duration = Duration::from_secs(60);
/// For one answer of a verb.
const PATIENCE: Duration = Duration::from_secs(10);
/// Held in one turn of the engine: each reads what it did.
const AT_ONCE: usize = 16;

/// How one is held.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hold {
    /// Until when the world keeps it by itself; none: not known.
    until: Option<Stamp>,
    /// A verb is at it, and it is to be kept until then.
    trying: Option<Stamp>,
    /// Not before this moment.
    again: Option<Stamp>,
    /// Why it is not held; it was told.
    failed: Option<String>,
    /// Nothing is there to be held any more; what else it did stands.
    over: bool,
}

impl Hold {
    /// Its lease has changed, or what kept it from being held may be over.
    pub(super) fn look_again(&mut self) {
        (self.again, self.over) = (None, false);
    }

    /// Whether it stands is to be asked anew.
    pub(super) fn look_anew(&mut self) {
        (self.until, self.again) = (None, None);
    }

    /// Whether a verb is at it.
    pub(super) fn is_tried(&self) -> bool {
        self.trying.is_some()
    }

    /// Whether nobody knows yet how it stands: its lease does not end before that.
    pub(super) fn is_open(&self) -> bool {
        self.until.is_none() && self.failed.is_none() && !self.over
    }
}

/// What a verb said.
#[derive(Debug)]
pub(super) enum Told {
    /// It is held; false: nothing is there to be held.
    Held(Result<bool, ActionError>),
    /// What would put it in force again.
    Planned(Result<Plan, ActionError>),
    /// It is in force again.
    Again(Result<(), ActionError>),
}

/// What an act is given that notes no marks: it is over at once.
struct Unnoted;

#[async_trait::async_trait]
impl Progress for Unnoted {
    async fn note(&self, _: Json) -> Result<(), ActionError> {
        Ok(())
    }
}

impl<W: Send + 'static> Core<W> {
    /// Whether what an action does ends by itself unless it is held.
    pub(super) fn ends_by_itself(&self, action: &Name) -> bool {
        matches!(self.parts.crew.get(action.as_str()), Some(Verb::Acts(verb)) if verb.is_held())
    }

    /// A lease of this action is new, or has changed.
    pub(super) fn is_to_be_held(&mut self, action: &Name) {
        if self.ends_by_itself(action) {
            self.leases.hold_again();
        }
    }

    /// What one did was taken back: others by the same action may have stood by the very same, and are looked at.
    pub(super) fn leases_stood_by(&mut self, action: &Name) {
        if self.ends_by_itself(action) {
            self.leases.look_anew(action);
        }
    }

    /// How long a lease lasts yet; none: without an end, or until a person says.
    fn left(&self, standing: &Standing) -> Option<Duration> {
        let lasts = standing.lasts.filter(|_| !standing.due)?;
        Some(lasts.saturating_sub(self.age(standing.since)))
    }

    /// For how long from now the world is to keep it, and with how much less it is content; none: its end has come.
    fn to_hold(&self, standing: &Standing) -> Option<(Duration, Duration)> {
        let left = self.left(standing);
        if standing.own_end {
            return left.filter(|left| !left.is_zero()).map(|left| (left, Duration::ZERO));
        }
        let is_undone = standing.at_end == AtEnd::Undo && !standing.due;
        if is_undone && !standing.needed && left.is_some_and(|left| left.is_zero()) {
            return None;
        }
        let beyond = if is_undone && left.is_some() { BEYOND_UNDO } else { BEYOND };
        let left = left.unwrap_or_default();
        Some((left + beyond, left + beyond / 2))
    }

    /// Holds what would end before its lease.
    pub(super) fn leases_hold(&mut self) {
        let now = self.parts.clock.now();
        if !self.leases.is_to_be_held(now) {
            return;
        }
        let (mut due, mut next) = (Vec::new(), None::<Stamp>);
        let mut wake = |at: Stamp| next = Some(next.map_or(at, |next| next.min(at)));
        for (place, standing) in self.leases.all() {
            let is_at_it = standing.hold.is_tried() || standing.is_asked() || !self.ends_by_itself(&standing.action);
            let is_at_it = is_at_it || self.runs.get(&place.0).is_some_and(|live| live.run.takes_back(&place.1));
            if is_at_it || standing.hold.over || self.unread.waits(&place.0, &place.1, Later::Lease) {
                continue;
            }
            let Some((lasting, enough)) = self.to_hold(standing) else { continue };
            if let Some(again) = standing.hold.again.filter(|again| *again > now) {
                wake(again);
                continue;
            }
            let held = standing.hold.until.map(|until| until.since(now));
            match held {
                Some(_) if standing.own_end => {}
                Some(held) if held >= enough => wake(now.after(held.saturating_sub(lasting - enough))),
                _ => due.push((place.clone(), lasting)),
            }
        }
        let more = due.len() > AT_ONCE;
        self.leases.were_held(next, more);
        next.into_iter().for_each(|at| self.wake_at(at));
        if more {
            (self.handle.wake)();
        }
        for ((run, part), lasting) in due.into_iter().take(AT_ONCE) {
            self.hold(run, part, lasting);
        }
    }

    fn hold(&mut self, run: RunId, part: Part, lasting: Duration) {
        let Some((verb, intent)) = self.verb_and_intent(&run, &part) else { return };
        let admitted = match admit_undo(self.guard(), intent.plan) {
            Ok(admitted) => admitted,
            Err((guard, target, why)) => {
                let why = format!("{target}: refused by the guard {guard}: {why}");
                return self.not_held(&run, &part, why);
            }
        };
        let cx = self.holding(&run, &part, lasting);
        self.send_hold(run, part, verb.spec().lane, async move {
            let stands = async || in_time(&cx.clock, verb.verify_lapsed(admitted.plan())).await.map(is_standing);
            Told::Held(match stands().await {
                Ok(Some(true)) => match verb.hold(&admitted, &cx, lasting).await {
                    // What could not be held may have ended by that.
                    Err(error) if stands().await != Ok(Some(false)) => Err(error),
                    held => Ok(held.is_ok()),
                },
                Ok(Some(false)) => Ok(false),
                Ok(None) => Err(ActionError::retry("nobody can be asked whether it stands")),
                Err(error) => Err(error),
            })
        });
    }

    /// The verb of what stands, and what it did; none: it cannot be read yet, or never, which is told.
    fn verb_and_intent(&mut self, run: &RunId, part: &Part) -> Option<(Arc<dyn Action>, StepIntended)> {
        let intents = self.intents_of(run, part);
        let intents = self.once_read(run, part, Later::Lease, intents)?;
        // What is in force is what was done last.
        let intent = intents.map(|intents| intents.into_iter().next());
        let whole = |intent| self.contents.whole_intent(intent).map_err(|error| error.to_string());
        let intent = intent.and_then(|intent| intent.map(whole).transpose());
        let action = self.leases.at(run, part)?.action.clone();
        match (intent, self.parts.crew.get(action.as_str()).cloned()) {
            (Ok(Some(intent)), Some(Verb::Acts(verb))) => return Some((verb, intent)),
            (Err(why), _) => self.not_held(run, part, format!("what it did cannot be read: {why}")),
            _ => self.not_held(run, part, "what it did is not known".to_owned()),
        }
        None
    }

    /// A verb is asked now, for this long.
    fn holding(&mut self, run: &RunId, part: &Part, lasting: Duration) -> ActionContext {
        let now = self.parts.clock.now();
        if let Some(standing) = self.leases.at_mut(run, part) {
            standing.hold.trying = Some(now.after(lasting));
        }
        ActionContext {
            key: IdempotencyKey::of(run, part),
            taken_up: false,
            attempt: 1,
            deadline: now.after(PATIENCE),
            clock: Arc::clone(&self.parts.clock),
            progress: Arc::new(Unnoted),
            stop: Stop::default(),
            vault: Arc::clone(&self.parts.vault),
            secrets: Secrets::default(),
        }
    }

    fn send_hold(&mut self, run: RunId, part: Part, lane: Lane, told: impl Future<Output = Told> + Send + 'static) {
        // What changed its lease is written before.
        self.ink.commit();
        let work: Work<Answer> = Box::pin(async move {
            let died = |_| Told::Held(Err(ActionError::give_up("its code panicked, which is a mistake in quell")));
            Answer::Hold(AssertUnwindSafe(told).catch_unwind().await.unwrap_or_else(died))
        });
        self.send_work(&run, part, place(if lane == Lane::Contain { lane } else { Lane::Read }), work);
    }

    /// A verb has said how it stands.
    pub(super) fn hold_told(&mut self, run: &RunId, part: &Part, told: Told) {
        self.leases.hold_again();
        // While it was asked its end was not looked at.
        self.leases.changed = true;
        match told {
            Told::Held(Ok(true)) => self.hold_done(run, part),
            Told::Held(Ok(false)) => self.gone(run, part),
            Told::Planned(Ok(plan)) => self.returns(run, part, plan),
            Told::Again(Ok(())) => {
                self.hold_done(run, part);
                self.lease_changes(run, part, "renewed", "the world was asked: it is in force again".to_owned(), None);
                self.tell_of(run, part, |action| format!("{action} of run {run} is in force again"));
            }
            Told::Held(Err(error)) | Told::Planned(Err(error @ ActionError::Retry { .. })) => {
                self.not_held(run, part, error.to_string());
            }
            Told::Planned(Err(error)) | Told::Again(Err(error)) => self.lapses(run, part, error.to_string()),
        }
    }

    fn hold_done(&mut self, run: &RunId, part: &Part) {
        if let Some(standing) = self.leases.at_mut(run, part) {
            standing.hold = Hold { until: standing.hold.trying.take(), ..Hold::default() };
        }
    }

    /// It stands, or is to stand, and may end before its lease: told once.
    fn not_held(&mut self, run: &RunId, part: &Part, why: String) {
        let again = self.parts.clock.now().after(AGAIN);
        let Some(standing) = self.leases.at_mut(run, part) else { return };
        (standing.hold.trying, standing.hold.again) = (None, Some(again));
        if standing.hold.failed.is_none() {
            standing.hold.failed = Some(why.clone());
            tracing::warn!(%run, step = %part.step, why, "what stands may end before its lease");
            self.tell_of(run, part, |action| format!("{action} of run {run} may end before its lease: {why}"));
        }
    }

    /// Why what a part did is not held, if it is not.
    pub(super) fn is_not_held(&self, run: &RunId, part: &Part) -> Option<&str> {
        self.leases.at(run, part)?.hold.failed.as_deref()
    }

    fn tell_of(&mut self, run: &RunId, part: &Part, text: impl FnOnce(&Name) -> String) {
        let Some(standing) = self.leases.at(run, part) else { return };
        let (incident, text) = (standing.incident.clone(), text(&standing.action));
        self.tell_incident(incident.as_ref(), text);
    }

    /// What was held is over, and does not stand again: the world is asked whether that was all of it.
    fn lapses(&mut self, run: &RunId, part: &Part, why: String) {
        if let Some(standing) = self.leases.at_mut(run, part) {
            standing.hold.trying = None;
        }
        self.ask_whether_it_stands(run.clone(), part.clone(), Why::Lapsed(why));
    }

    /// What was held is over, and by what the world said that was not all of it, or nobody knows.
    pub(super) fn stands_in_part(&mut self, run: &RunId, part: &Part, why: &str, undone: &Result<Truth, ActionError>) {
        self.leases.hold_again();
        if !matches!(undone, Ok(Truth::HoldsNot(_))) {
            return self.not_held(run, part, format!("{why}; whether something of it stands could not be asked"));
        }
        let Some(standing) = self.leases.at_mut(run, part) else { return };
        let (incident, is_due, at_end) = (standing.incident.clone(), standing.due, standing.at_end);
        // A person is asked once, and it is over once that is written; what is taken back at its end is only told.
        standing.hold.over = is_due || at_end == AtEnd::Undo;
        let why = format!("a part of it is over, and is not put in force again: {why}");
        match at_end {
            _ if is_due => {}
            AtEnd::Undo => self.tell_of(run, part, |action| format!("{action} of run {run} still stands, but {why}")),
            AtEnd::Keep | AtEnd::Ask => self.lease_due(run, part, incident.as_ref(), why),
        }
    }

    /// Nothing is there to be held, though its lease stands: a boot has ended it, or the end of whoever held it.
    fn gone(&mut self, run: &RunId, part: &Part) {
        let Some(standing) = self.leases.at_mut(run, part) else { return };
        (standing.hold.trying, standing.hold.until) = (None, None);
        let standing = standing.clone();
        if self.leases.was_before_uninstall(&standing) {
            return self.ask_whether_it_stands(run.clone(), part.clone(), Why::Uninstalled);
        }
        let Some((lasting, _)) = self.to_hold(&standing) else { return };
        if self.paused {
            return self.not_held(run, part, "it is to be in force again once the pause is over".to_owned());
        }
        let Some((verb, intent)) = self.verb_and_intent(run, part) else { return };
        let cx = self.holding(run, part, lasting);
        self.send_hold(run.clone(), part.clone(), verb.spec().lane, async move {
            let late = || Err(ActionError::retry("its plan took too long"));
            let planned = verb.plan_again(&intent.input, &intent.plan);
            Told::Planned(super::job::within(cx.clock, cx.deadline, cx.stop, planned, late).await)
        });
    }

    /// What would put it in force again is planned: the guard says whether it may.
    fn returns(&mut self, run: &RunId, part: &Part, mut plan: Plan) {
        let Some(standing) = self.leases.at_mut(run, part) else { return };
        standing.hold.trying = None;
        let standing = standing.clone();
        let Some((lasting, _)) = self.to_hold(&standing) else { return };
        if self.paused {
            return self.not_held(run, part, "it is to be in force again once the pause is over".to_owned());
        }
        let Some((verb, intent)) = self.verb_and_intent(run, part) else { return };
        plan.already = false;
        let playbook = self.runs.get(run).map(|live| live.run.started.playbook.clone());
        let because = self.definitions.ceiling_because.clone();
        let question = Ask {
            now: self.parts.clock.now(),
            action: verb.spec(),
            run,
            playbook: &playbook.unwrap_or_else(|| standing.action.clone()),
            mode: self.definitions.ceiling,
            mode_because: &because,
            untrusted: false,
            limits: RunLimits::default(),
            above: Vec::new(),
            paused: self.paused,
            // It stands by what was decided then, by a person where one was asked.
            consent: Consent::Given,
            counted: None,
            concerns: Default::default(),
            owned: None,
        };
        // It was counted when it was done first.
        let go: Admitted = match decide(self.guard(), &Memory::default(), &question, plan) {
            Decision::Act(go) => go,
            Decision::Observe { why, .. } | Decision::Ask { why, .. } => return self.lapses(run, part, why),
            Decision::Refuse { guard, why, .. } => return self.lapses(run, part, format!("{guard}: {why}")),
        };
        // The very plan that its intent has is written already, and nothing of its run has changed.
        let is_same = intent.plan.sum() == go.plan().sum();
        if !is_same {
            self.lease_returns(run, part, go.plan().clone());
        }
        let cx = self.holding(run, part, lasting);
        self.send_hold(run.clone(), part.clone(), verb.spec().lane, async move {
            let done = match verb.run(&go, &cx).await {
                Ok(_) => verb.hold(&go, &cx, lasting).await,
                Err(error) => Err(error),
            };
            let stands = in_time(&cx.clock, verb.verify_lapsed(go.plan())).await.map(is_standing);
            match (done, stands) {
                (Ok(()), Ok(Some(true))) if is_same => Told::Held(Ok(true)),
                (Ok(()), Ok(Some(true))) => Told::Again(Ok(())),
                (Ok(()), Ok(Some(false))) => {
                    Told::Again(Err(ActionError::give_up("it was done again, and does not stand")))
                }
                // It may stand: it is asked again.
                (Ok(()), Ok(None)) => Told::Held(Err(ActionError::retry("nobody can be asked whether it stands"))),
                (Ok(()), Err(error)) => Told::Held(Err(error)),
                // It stands, and is held at the next look.
                (Err(error), Ok(Some(true))) => Told::Held(Err(error)),
                (Err(error), _) => Told::Again(Err(error)),
            }
        });
    }
}

/// Whether it stands, as whoever asked whether it is undone was told; none: nobody could be asked.
fn is_standing(undone: Truth) -> Option<bool> {
    match undone {
        Truth::Holds => Some(false),
        Truth::HoldsNot(_) => Some(true),
        Truth::CannotAsk | Truth::Unproved(_) => None,
    }
}
