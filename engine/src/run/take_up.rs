//! Taking up an intent whose outcome nobody saw: the engine ended in between.
//!
//! Owns the question to the world and what follows from its answer: done is recorded, not done is done from the
//! journaled plan (`before` is never read twice), unknowable is repeated only where that is harmless. What is older
//! than the playbook's `max_age` is asked about, not done.

use super::attempt::{ASKING, ask};
use super::conclude::Ending;
use super::job::{Acted, Answer, Where, Work};
use super::judge::At;
use super::machine::Run;
use super::purpose::Purpose;
use super::shell::{Core, UnderWay};
use quell_model::action::Want;
use quell_model::record::Part;
use quell_model::world::Verb;
use quell_model::{ActionError, Guarantee, Json, Name, Outcome, Plan, RunId, Stamp, Stop, Truth};
use std::sync::Arc;

impl<W: Send + 'static> Core<W> {
    /// An intent from before a crash: the world is asked whether it happened.
    pub(super) fn take_up(&mut self, id: &RunId, part: Part) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        let Some(intent) = live.run.intent(&part).cloned() else { return };
        let found =
            self.contents.whole_intent(intent).and_then(|intent| Ok((intent, self.contents.item(&live.run, &part)?)));
        let (intent, item) = match found {
            Ok(found) => found,
            Err(error) => {
                let why = format!("outcome unknown: its intent cannot be read: {error}");
                return self.end(id, &part, Ending { unknown: true, ..Ending::failed(why) });
            }
        };
        let Some(live) = self.runs.get_mut(id) else { return };
        let Some(Verb::Acts(verb)) = self.parts.crew.get(intent.action.as_str()).cloned() else {
            let why = format!("outcome unknown: this engine has no hands for `{}`", intent.action);
            return self.end(id, &part, Ending { unknown: true, ..Ending::failed(why) });
        };
        live.only_planned = false;
        let under_way = UnderWay {
            attempt: intent.attempt,
            // The time without an engine is none of the step's.
            began: now,
            item,
            input: intent.input,
            deadline: now.after(ASKING),
            stop: Stop::default(),
            admitted: None,
            back: Vec::new(),
            purpose: Purpose::First,
        };
        live.under_way.insert(part.clone(), under_way);
        let clock = Arc::clone(&self.parts.clock);
        let plan = intent.plan;
        let work: Work<Answer> = Box::pin(async move {
            let truth = ask(&clock, &*verb, &plan, Want::Acted).await;
            let beside = verb.unproved(&plan);
            Answer::Acted(Acted { run: None, truth, beside, started: clock.now(), verified: clock.now() })
        });
        self.send_work(id, part, Where::Beside, work);
    }

    /// What the world said of an intent from before a crash, and what ends the proof that it is so.
    pub(super) fn taken_up(
        &mut self,
        id: &RunId,
        part: &Part,
        (truth, beside): (Result<Truth, ActionError>, &str),
        verified: Stamp,
    ) {
        let Some(live) = self.runs.get(id) else { return };
        let Some(intent) = live.run.intent(part).cloned() else { return };
        let plan = match self.contents.whole_plan(intent.plan) {
            Ok(plan) => plan,
            Err(error) => {
                let why = format!("outcome unknown: its plan cannot be read: {error}");
                return self.end(id, part, Ending { unknown: true, ..Ending::failed(why) });
            }
        };
        let (began, action) = (live.run.meant_at(part).unwrap_or(live.run.began), intent.action);
        let again = match truth {
            Ok(Truth::Holds) => {
                let proof =
                    format!("the engine ended before it saw the end; the world was asked, and it is so{beside}");
                let output = self.gave_unseen(&action, &plan);
                return self.end(id, part, Ending::acted(Outcome::Verified, output, &proof, began, verified));
            }
            Ok(Truth::Unproved(why)) => {
                let proof = format!("the engine ended before it saw the end; the world was asked: {why}");
                let output = self.gave_unseen(&action, &plan);
                return self.end(id, part, Ending::acted(Outcome::Done, output, &proof, began, verified));
            }
            Ok(Truth::HoldsNot(_)) => true,
            Ok(Truth::CannotAsk) | Err(_) => !self.at_most_once(id, part),
        };
        let not_done = matches!(truth, Ok(Truth::HoldsNot(_)));
        let age = self.age(began);
        let old = live.run.playbook.on.max_age;
        if !again {
            let why = "outcome unknown: the engine ended before it saw the end, and it cannot be done twice";
            self.end(id, part, Ending { unknown: true, ..Ending::failed(why.to_owned()) });
        } else if age > old {
            self.judge(id, part, plan, Purpose::Stale { not_done }, At::Planned);
        } else {
            self.judge(id, part, plan, Purpose::TakenUp { not_done }, At::Planned);
        }
    }

    /// From when on the `deadline` of a part's step counts: the time without an engine is none of the step's.
    pub(super) fn counts_from(&self, run: &Run, part: &Part) -> Stamp {
        let now = self.parts.clock.now();
        run.counts_from(&part.step, self.took_up, now).unwrap_or(now)
    }

    /// What an act gave whose end nobody saw, where the world says that it is so.
    pub(super) fn unseen(&self, id: &RunId, part: &Part) -> Json {
        let intent = self.runs.get(id).and_then(|live| live.run.intent(part)).cloned();
        let whole = intent.and_then(|intent| self.contents.whole_intent(intent).ok());
        whole.map_or(Json::Null, |intent| self.gave_unseen(&intent.action, &intent.plan))
    }

    fn gave_unseen(&self, action: &Name, plan: &Plan) -> Json {
        match self.parts.crew.get(action.as_str()) {
            Some(Verb::Acts(verb)) => verb.unseen(plan),
            _ => plan.predicted.clone(),
        }
    }

    pub(super) fn at_most_once(&self, id: &RunId, part: &Part) -> bool {
        let intent = self.runs.get(id).and_then(|live| live.run.intent(part));
        let verb = intent.and_then(|intent| self.parts.crew.get(intent.action.as_str()));
        verb.is_none_or(|verb| verb.spec().guarantee == Guarantee::AtMostOnce)
    }
}
