//! Taking back what a part did: ask the world, undo from the journaled plan, ask again.
//!
//! ```text
//! what its third attempt did ──▶ its second ──▶ its first ──▶ undone
//! ```
//!
//! Owns one attempt of it, forwards from its intent to its record. The world is asked first, whether the attempt is new or
//! from before a crash: what does not stand any more is not undone a second time. **Invariant:** all that its attempts may have
//! done is taken back, the latest first, before it is told as undone; what could not be taken
//! back is told as stuck, with what is left standing; where nobody knows, it is told that it may have been.

use super::attempt::{ASKING, place};
use super::job::{self, Answer, Work};
use super::machine::Run;
use super::purpose::Purpose;
use super::secrets::Needed;
use super::shell::{Core, UnderWay};
use quell_model::action::{ActionContext, IdempotencyKey};
use quell_model::guard::{Admitted, admit_undo};
use quell_model::playbook::Retry;
use quell_model::record::{NewRecord, Part, UndoBegan, UndoFailed, UndoFinished, UndoIntended};
use quell_model::world::Verb;
use quell_model::{Action, ActionError, Clock, Json, Name, Outcome, Plan, RunId, Stop, StoreError, Truth};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Further attempts: the world may be busy, and what stands must not stand for that.
const RETRY: Retry = Retry { attempts: 5, backoff: Duration::from_millis(200), backoff_most: Duration::from_secs(30) };

/// What an attempt may take where its step does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is said of what is stuck and may stand.
pub(super) const STUCK_UNKNOWN: &str = "may stand, and nobody knows whether it was taken back";

/// Who wants something taken back.
pub(super) struct Whose {
    by: Name,
    /// Which way they said so.
    via: Option<Name>,
    /// A pause does not hold it back.
    person: bool,
}

impl Whose {
    /// Somebody, who said so by this way.
    pub(super) fn person(by: &Name, via: &Name) -> Self {
        Self { by: by.clone(), via: Some(via.clone()), person: true }
    }

    /// Nobody; `person`: because somebody wants it whose word stands elsewhere.
    pub(super) fn quell(person: bool) -> Self {
        Self { by: "quell".into(), via: None, person }
    }
}

/// How an attempt to take back what one intent did went.
#[derive(Debug)]
pub(super) struct TakenBack {
    /// What `undo` gave; none: it did not stand any more.
    undone: Option<Result<Json, ActionError>>,
    /// The world said before it that it stood.
    stood: bool,
    /// What the world said at last.
    truth: Result<Truth, ActionError>,
}

impl<W: Send + 'static> Core<W> {
    /// Writes down that it is to be taken back.
    pub(super) fn begin_undo(&mut self, id: &RunId, only: Option<Part>, whose: Whose, why: String) {
        let now = self.parts.clock.now();
        if let Some(live) = self.runs.get(id).filter(|_| only.is_none()) {
            // It takes no new attack.
            let (playbook, per) = (live.run.started.playbook.clone(), live.run.started.per.clone());
            self.triggers.ended(&playbook, &per, id, None);
        }
        let Whose { by, via, person } = whose;
        self.record(id, vec![NewRecord::new(now, UndoBegan { only, by, person, why, via })]);
    }

    /// Whether a pause holds the taking back of this part.
    pub(super) fn undo_waits(&self, run: &Run, part: &Part) -> bool {
        self.paused && !run.undone_by_person(part)
    }

    pub(super) fn take_back(&mut self, id: &RunId, part: Part, attempt: u32) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        if live.run.sub(&part).is_some() {
            return self.take_back_sub(id, &part, attempt);
        }
        let Some(intent) = live.run.acted(&part).cloned() else { return };
        let plans = live.run.acts(&part).map(|intent| self.contents.whole_plan(intent.plan.clone()));
        let plans: Result<Vec<Plan>, StoreError> = plans.collect();
        let keys: Vec<IdempotencyKey> = live.run.undo_keys(&part).collect();
        let whole = self.contents.whole_intent(intent.clone()).and_then(|intent| Ok((intent, plans?)));
        let trouble = whole.as_ref().err().map(|error| format!("what it did cannot be read: {error}"));
        let (intent, plans) = whole.unwrap_or((intent, Vec::new()));
        let Some(live) = self.runs.get_mut(id) else { return };
        let under_way = UnderWay {
            attempt,
            began: now,
            item: Json::Null,
            input: intent.input,
            // The world is asked first, in a time of its own; the attempt's begins after that.
            deadline: now,
            stop: Stop::default(),
            admitted: None,
            back: Vec::new(),
            purpose: Purpose::First,
        };
        live.under_way.insert(part.clone(), under_way);
        if let Some(why) = trouble {
            return self.undo_not_begun(id, &part, &ActionError::retry(why));
        }
        let Some(Verb::Acts(verb)) = self.parts.crew.get(intent.action.as_str()).cloned() else {
            let error = ActionError::give_up(format!("this engine has no hands for `{}`", intent.action));
            return self.undo_not_begun(id, &part, &error);
        };
        let admitted = plans.into_iter().map(|plan| admit_undo(self.guard(), plan));
        let admitted: Vec<Admitted> = match admitted.collect() {
            Ok(admitted) => admitted,
            Err(refusal) => return self.undo_refused(id, &part, refusal),
        };
        if let Some(under_way) = self.under_way(id, &part) {
            under_way.back = keys.into_iter().zip(admitted).collect();
        }
        let intended = UndoIntended { part: part.clone(), attempt, action: intent.action, plan: intent.plan };
        self.write_intent(id, &part, verb.spec().lane, NewRecord::new(now, intended), Answer::UndoIntended);
    }

    pub(super) fn undo_intended(&mut self, id: &RunId, part: &Part, written: Result<(), StoreError>) {
        match written {
            Ok(()) if self.runs.get(id).is_some_and(|live| self.undo_waits(&live.run, part)) => {
                // A pause came while the intent was on its way: as after a crash, it is taken up when the pause is over.
                if let Some(live) = self.runs.get_mut(id) {
                    live.under_way.remove(part);
                }
            }
            Ok(()) => {
                // The guard may have become another while the intent was on its way.
                let under_way = self.runs.get(id).and_then(|live| live.under_way.get(part));
                let mut admitted = under_way.into_iter().flat_map(|at| &at.back).map(|(_, admitted)| admitted);
                match admitted.find_map(|admitted| admit_undo(self.guard(), admitted.plan().clone()).err()) {
                    Some(refusal) => self.undo_refused(id, part, refusal),
                    None => self.undo_act(id, part),
                }
            }
            Err(error) => {
                let why = format!("its intent could not be journaled: {error}");
                self.undo_not_begun(id, part, &ActionError::retry(why));
            }
        }
    }

    fn undo_refused(&mut self, id: &RunId, part: &Part, (guard, target, why): (Name, String, String)) {
        let error = ActionError::give_up(format!("{target}: refused by the guard {guard}: {why}"));
        self.undo_not_begun(id, part, &error);
    }

    /// This attempt has done nothing; an earlier one may have.
    fn undo_not_begun(&mut self, id: &RunId, part: &Part, error: &ActionError) {
        let unknown = self.may_be_back(id, part);
        self.undo_failed(id, part, error, unknown);
    }

    fn may_be_back(&self, id: &RunId, part: &Part) -> bool {
        self.runs.get(id).is_some_and(|live| live.run.may_be_back(part))
    }

    fn undo_act(&mut self, id: &RunId, part: &Part) {
        let Some(live) = self.runs.get(id) else { return };
        let Some(intent) = live.run.acted(part) else { return };
        let Some(Verb::Acts(verb)) = self.parts.crew.get(intent.action.as_str()).cloned() else { return };
        let timeout = live.run.playbook.step(&part.step).map_or(TIMEOUT, |step| step.timeout);
        let all: Vec<_> = live.under_way.get(part).map(|at| at.back.clone()).unwrap_or_default();
        let Some(is_last) = live.under_way.get(part).map(|at| at.attempt >= RETRY.attempts) else { return };
        let with_cx = |(key, admitted)| Some((self.context(id, part, key)?, admitted));
        let all: Vec<(ActionContext, Admitted)> = all.into_iter().filter_map(with_cx).collect();
        self.ink.commit();
        let needed = self.secrets_of(id, part, verb.spec());
        let place = needed.place(place(verb.spec().lane));
        let work: Work<Answer> = Box::pin(async move {
            let mut back = Vec::with_capacity(all.len());
            for (cx, admitted) in all {
                match undo(&*verb, &admitted, cx, timeout, &needed).await {
                    Ok(one) => back.push(one),
                    Err(panicked) => return panicked,
                }
                // What it did before lies below: that waits for the next attempt, unless there is none.
                if back.last().is_some_and(|one| one.is_tried_again()) && !is_last {
                    break;
                }
            }
            Answer::TakenBack(back)
        });
        self.send_work(id, part.clone(), place, work);
    }

    pub(super) fn taken_back(&mut self, id: &RunId, part: &Part, back: Vec<TakenBack>) {
        let earlier = self.may_be_back(id, part);
        let (mut outputs, mut proofs, mut failed) = (Vec::new(), Vec::new(), None::<(ActionError, bool)>);
        let did = back.iter().any(|one| one.undone.is_some());
        for one in back {
            let says = one.undone.is_some() || !did;
            match one.end(earlier) {
                Ok((output, proof)) => {
                    outputs.extend(Some(output).filter(|output| !output.is_null()));
                    proofs.extend(Some(proof).filter(|proof| says && !proofs.contains(proof)));
                }
                // What is unknown of any of it is unknown of all; while any of it may go, it is tried again.
                Err((error, unknown)) => {
                    let before = failed.take();
                    let unknown = unknown || before.as_ref().is_some_and(|(_, unknown)| *unknown);
                    let error = before.map(|(error, _)| error).filter(may_go).unwrap_or(error);
                    failed = Some((error, unknown));
                }
            }
        }
        if let Some((error, unknown)) = failed {
            return self.undo_failed(id, part, &error, unknown);
        }
        let output = if outputs.len() > 1 { json!({ "attempts": outputs }) } else { outputs.pop().unwrap_or_default() };
        let (output, proof) = (output, proofs.join("; "));
        let (output, proof) = match self.definitions.apart.objection(&output) {
            Some(why) => (Json::Null, format!("{proof}; what it gave {why}, and is left out")),
            None => (output, proof),
        };
        self.undo_ends(id, part, (Outcome::Undone, false), output, proof);
    }

    /// An attempt to take a part back did not work; or nobody knows whether it did.
    pub(super) fn undo_failed(&mut self, id: &RunId, part: &Part, error: &ActionError, unknown: bool) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get_mut(id) else { return };
        let attempt = live.under_way.get(part).map_or(1, |under_way| under_way.attempt);
        let after = match error {
            ActionError::Retry { after, .. } => after.unwrap_or_default(),
            ActionError::Unknown { .. } => Duration::ZERO,
            ActionError::GiveUp { .. } => {
                return self.undo_stuck(id, part, &error.to_string(), unknown);
            }
        };
        if attempt >= RETRY.attempts {
            let why = format!("{error} (after {attempt} attempts)");
            return self.undo_stuck(id, part, &why, unknown);
        }
        live.under_way.remove(part);
        let again_at = now.after(after.max(super::conclude::backoff(RETRY, id, part, attempt)));
        let failed = UndoFailed { part: part.clone(), attempt, error: error.to_string(), again_at, unknown };
        self.record(id, vec![NewRecord::new(now, failed)]);
    }

    fn undo_stuck(&mut self, id: &RunId, part: &Part, why: &str, unknown: bool) {
        let maybe = "outcome unknown: it may have been taken back: ";
        let why = why.strip_prefix("outcome unknown: ").filter(|_| unknown).unwrap_or(why);
        let proof = format!("{}{why}", if unknown { maybe } else { "" });
        self.undo_ends(id, part, (Outcome::Stuck, unknown), Json::Null, proof);
    }

    fn undo_ends(&mut self, id: &RunId, part: &Part, (outcome, unknown): (Outcome, bool), output: Json, proof: String) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get_mut(id) else { return };
        let attempts = live.under_way.remove(part).map_or(0, |under_way| under_way.attempt);
        let Some(action) = live.run.acted(part).map(|intent| intent.action.clone()) else { return };
        let incident = live.run.started.incident.clone();
        let what = if unknown { STUCK_UNKNOWN } else { "could not be taken back, and stands" };
        let text = format!("`{action}` of run {id} {what}: {proof}");
        let why = proof.clone();
        let finished = UndoFinished {
            run: id.clone(),
            part: part.clone(),
            action: action.clone(),
            outcome,
            output,
            proof,
            attempts,
            unknown,
        };
        // The lease's change is part of it, which lets go once it is written.
        self.ink.hold();
        self.record(id, vec![NewRecord::new(now, finished)]);
        let state = if outcome == Outcome::Undone { "ended" } else { "due" };
        self.lease_changes(id, part, state, why.clone(), None);
        self.ink.let_go();
        self.leases_stood_by(&action);
        if outcome != Outcome::Undone {
            tracing::error!(run = %id, step = %part.step, why, "it {what}");
            self.tell_incident(incident.as_ref(), text);
        }
    }
}

/// At the next attempt.
fn may_go(error: &ActionError) -> bool {
    matches!(error, ActionError::Retry { .. } | ActionError::Unknown { .. })
}

impl TakenBack {
    /// It stands, or may, and may go at the next attempt.
    fn is_tried_again(&self) -> bool {
        self.end(false).is_err_and(|(error, _)| may_go(&error))
    }

    /// What it gave, and by what it is proved; or why it did not work, and whether it may have all the same. `earlier`: an earlier
    /// attempt may have.
    fn end(&self, earlier: bool) -> Result<(Json, String), (ActionError, bool)> {
        let earlier = !self.stood && earlier;
        Ok(match (&self.undone, &self.truth) {
            (None, Ok(Truth::Holds)) => (Json::Null, "it stood no more: the world was asked first".to_owned()),
            (Some(Ok(output)), Ok(Truth::Holds)) => {
                let still = output["still"].as_str().map(|still| format!("; {still}")).unwrap_or_default();
                (output.clone(), format!("the world was asked afterwards, and nothing of it stands{still}"))
            }
            (Some(Err(ActionError::Unknown { .. })), Ok(Truth::Holds)) => {
                (Json::Null, "its end was not seen, but the world was asked, and nothing of it stands".to_owned())
            }
            (Some(Ok(output)), Ok(Truth::CannotAsk)) => (output.clone(), "the world could not be asked".to_owned()),
            (Some(Ok(output)), Ok(Truth::Unproved(why))) => {
                (output.clone(), format!("the world was asked, and not all of it was seen: {why}"))
            }
            // Whoever cannot be asked now may be at the next attempt; whoever never can is told with it.
            (Some(Ok(_)), Err(error)) if may_go(error) => {
                return Err((ActionError::retry(format!("the world could not be asked: {error}")), true));
            }
            (Some(Ok(output)), Err(error)) => (output.clone(), format!("the world could not be asked: {error}")),
            (Some(Err(ActionError::Unknown { why })), Ok(Truth::HoldsNot(stands))) => {
                return Err((ActionError::retry(format!("{why}: {stands}")), false));
            }
            (Some(Ok(_)) | None, Ok(Truth::HoldsNot(why))) => return Err((ActionError::retry(why.clone()), false)),
            (Some(Err(error)), _) => {
                let unknown = earlier || matches!(error, ActionError::Unknown { .. });
                return Err((error.clone(), unknown));
            }
            (None, Ok(Truth::Unproved(why))) => return Err((ActionError::retry(why.clone()), earlier)),
            (None, Ok(Truth::CannotAsk)) => return Err((ActionError::retry("nobody could be asked"), earlier)),
            (None, Err(error)) => return Err((error.clone(), earlier)),
        })
    }
}

/// Whether nothing of it stands. Whoever does not answer in time may do so later.
async fn ask(clock: &Arc<dyn Clock>, verb: &dyn Action, plan: &Plan, cx: &ActionContext) -> Result<Truth, ActionError> {
    let deadline = clock.now().after(ASKING);
    let late = || Err(ActionError::retry("there was no answer in time"));
    job::within(Arc::clone(clock), deadline, Stop::default(), verb.verify_undone(plan, cx), late).await
}

/// Asks, undoes what stands, and asks again; the error is a panic's.
async fn undo(
    verb: &dyn Action,
    admitted: &Admitted,
    cx: ActionContext,
    timeout: Duration,
    needed: &Needed,
) -> Result<TakenBack, Answer> {
    let clock = Arc::clone(&cx.clock);
    let asking = cx.clone();
    let before = ask(&clock, verb, admitted.plan(), &asking).await;
    if before == Ok(Truth::Holds) {
        return Ok(TakenBack { undone: None, stood: false, truth: before });
    }
    let stood = matches!(before, Ok(Truth::HoldsNot(_)));
    let cx = ActionContext { deadline: clock.now().after(timeout), ..cx };
    let late = || Err(ActionError::Unknown { why: "it took longer than its `timeout`".to_owned() });
    let undone = needed.given(cx, async |cx| {
        let (deadline, stop) = (cx.deadline, cx.stop.clone());
        job::within(Arc::clone(&clock), deadline, stop, verb.undo(admitted, &cx), late).await
    });
    let undone = undone.await?;
    let truth = match &undone {
        Ok(_) | Err(ActionError::Unknown { .. }) => ask(&clock, verb, admitted.plan(), &asking).await,
        Err(error) => Err(error.clone()),
    };
    Ok(TakenBack { undone: Some(undone), stood, truth })
}
