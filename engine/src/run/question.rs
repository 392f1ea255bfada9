//! Questions to people: asked, answered, and gone on from.
//!
//! ```text
//! guard: ask first ─▶ QuestionAsked ─┬─ answer ──▶ QuestionAnswered ─▶ the journaled plan acts, or the step is denied
//! step: ask ─────────▶               └─ nobody in time ─▶ what it says itself
//! step: confirm, after it acted ─▶ QuestionAsked ─▶ keep, or take back
//! ```
//!
//! Owns who may answer what. Keeps true: what is approved is a plan that was journaled with its sum, and that plan acts; an
//! answer that comes too late, or of somebody who does not count, changes nothing and is told so.

use super::answers::{self, AnswerTaken};
use super::conclude::Ending;
use super::judge::At;
use super::machine::{APPROVE, Asked, Run};
use super::purpose::Purpose;
use super::remembered::{Known, Remembered};
use super::request::Refusal;
use super::scope::RunScope;
use super::shell::{Core, UnderWay};
use crate::trigger;
use quell_model::people::MayAnswer;
use quell_model::playbook::{AskPerson, StepKind};
use quell_model::record::{
    AnswerTooLate, Intended, NewRecord, Part, QuestionAnswered, QuestionAsked, QuestionKind, UndoBegan,
};
use quell_model::{Body, Json, Kind, Name, Origin, Outcome, Plan, RunId, StepId, Stop, StreamId};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Questions that wait at once. Beyond it a run only plans: whoever makes ever new subjects must not hold that many runs
/// open, and nobody reads two hundred questions at night.
const MOST_ASKED: usize = 200;
/// Of one run.
const MOST_OF_RUN: usize = 100;
/// Of runs that a source which anybody can write has started: whoever writes there must not take the others' room.
const MOST_UNTRUSTED: usize = 50;

const DENY: &str = "deny";
pub(super) const KEEP: &str = "keep";
pub(super) const UNDO: &str = "undo";

/// An answer, as it reaches the engine.
#[derive(Clone, Debug)]
pub struct AnswerGiven {
    /// Of which run.
    pub run: RunId,
    /// Of which step; none: of the only one that asks.
    pub step: Option<StepId>,
    /// Of which item of its `for_each`; none: of all that ask.
    pub item: Option<u32>,
    /// What.
    pub choice: Name,
    /// The sum of the plan that the answer means; none: whatever is asked now.
    pub plan: Option<quell_model::Hash>,
    /// Who.
    pub by: Name,
    /// By which way.
    pub via: Name,
    /// From where on this host it came, where that is known.
    pub from: Option<Box<Origin>>,
    /// Why, in their words.
    pub why: String,
}

/// How many questions wait, of runs that anybody may have begun and of the others: counted as they come and go.
#[derive(Debug, Default)]
pub(super) struct Waiting([usize; 2]);

impl Waiting {
    /// A run had so many, and now has so many.
    pub(super) fn count(&mut self, untrusted: bool, before: usize, now: usize) {
        let all = &mut self.0[usize::from(untrusted)];
        *all = (*all + now).saturating_sub(before);
    }

    fn of(&self, untrusted: bool) -> usize {
        self.0[usize::from(untrusted)]
    }
}

impl<W: Send + 'static> Core<W> {
    /// Asks a person before an act: this plan, and no other, is what they approve of. Nobody's answer is a no, unless
    /// `silence_acts`.
    pub(super) fn ask_first(
        &mut self,
        id: &RunId,
        part: &Part,
        plan: Plan,
        (guard, because): (Option<Name>, String),
        silence_acts: bool,
        intended: Intended,
    ) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        let Some(step) = live.run.playbook.step(&part.step) else { return };
        let StepKind::Action { action, .. } = &step.kind else { return };
        let (action, approve) = (action.clone(), step.approve.clone().unwrap_or_default());
        let Some(under_way) = live.under_way.get(part) else { return };
        let (input, attempt) = (under_way.input.clone(), under_way.attempt);
        let target = plan.targets.first().map(|target| target.label.as_str()).unwrap_or_default();
        let more = plan.targets.len().saturating_sub(1);
        let text = match (target, more) {
            ("", _) => format!("{action}?"),
            (_, 0) => format!("{action} {target}?"),
            _ => format!("{action} {target} and {more} more?"),
        };
        let fails = plan.would_fail.iter().map(|why| format!("; it would fail here: {why}"));
        let because = format!("{because}{}", fails.collect::<String>());
        let otherwise = if silence_acts { APPROVE } else { DENY };
        let asked = QuestionAsked {
            run: id.clone(),
            part: part.clone(),
            question: QuestionKind::Approve,
            text,
            because,
            guard,
            choices: vec![APPROVE.into(), DENY.into()],
            person: None,
            by: approve.by,
            not_via: Vec::new(),
            within: approve.within.0,
            remember: None,
            otherwise: otherwise.into(),
            action: Some(action),
            input,
            sum: Some(plan.sum()),
            plan: Some(Box::new(plan)),
            attempt,
            intended,
        };
        // Nothing is done while it asks.
        self.memory.ends(id, part, now);
        if let Some(live) = self.runs.get_mut(id) {
            live.under_way.remove(part);
        }
        self.record(id, vec![NewRecord::new(now, asked)]);
    }

    /// A step that asks: a person's answer is its output.
    pub(super) fn ask_person(&mut self, id: &RunId, part: &Part, ask: &AskPerson) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        let ground = self.ground();
        let item = live.under_way.get(part).map_or(Json::Null, |under_way| under_way.item.clone());
        let attempt = live.under_way.get(part).map_or(1, |under_way| under_way.attempt);
        let owned = RunScope::reading(&live.run, ground, &self.expressions.text_reads(&ask.question));
        let text = self.expressions.render_text(&ask.question, &owned.scope(&live.run, &item));
        let person = ask.person.as_ref().map(|person| {
            let owned = RunScope::reading(&live.run, ground, &self.expressions.reads(&person.text));
            self.expressions.eval(&person.text, &owned.scope(&live.run, &item))
        });
        let person = person.transpose();
        let (text, person) = match (text, person) {
            (Ok(text), Ok(person)) => (text, person),
            (Err(error), _) => return self.end(id, part, Ending::failed(format!("its question: {error}"))),
            (_, Err(error)) => return self.end(id, part, Ending::failed(format!("its `person`: {error}"))),
        };
        let (person, nobody) = match person {
            None => (None, None),
            Some(Json::String(name)) if !name.is_empty() => (Some(Name::from(name)), None),
            Some(_) => (None, Some("there is nobody to ask: `person` gave no name".to_owned())),
        };
        let unknown = person.as_ref().filter(|person| !self.definitions.people.people.contains_key(*person));
        let nobody =
            nobody.or_else(|| unknown.map(|person| format!("there is no `{person}` in escalation.yaml to ask")));
        let full = self.no_room(id);
        let asked = QuestionAsked {
            run: id.clone(),
            part: part.clone(),
            question: QuestionKind::Ask,
            text,
            because: String::new(),
            guard: None,
            choices: ask.choices.clone(),
            person,
            by: ask.by.clone(),
            not_via: ask.not_via.clone(),
            within: ask.within.0,
            remember: ask.remember,
            otherwise: ask.otherwise.clone(),
            action: None,
            input: Json::Null,
            plan: None,
            sum: None,
            attempt,
            intended: Intended::default(),
        };
        // Another playbook may ask the same of others, with other answers, and not by every way.
        let fits = |known: &&Known| {
            let may_come =
                asked.not_via.is_empty() || known.via.as_ref().is_some_and(|via| !asked.not_via.contains(via));
            may_come
                && !self.may_be_suspects(&live.run, known)
                && asked.choices.contains(&known.choice)
                && self.does_not_count(&live.run, &asked, &known.by).is_none()
        };
        let known = self.remembered.answer(asked.person.as_ref(), &asked.text, now).filter(fits).cloned();
        let past = live.run.started.backfill.then(|| trigger::BACKFILL.to_owned());
        let nobody = nobody.or(past).or_else(|| self.definitions.asks_nobody.clone());
        let settled = |choice, by, why| QuestionAnswered::settling(part.clone(), QuestionKind::Ask, choice, by, why);
        let at_once = match (known, nobody.or(full)) {
            (Some(Known { choice, by, .. }), _) => {
                Some(settled(choice, Some(by), "they said so shortly before".to_owned()))
            }
            (None, Some(why)) => Some(settled(ask.otherwise.clone(), None, why)),
            (None, None) => None,
        };
        if let Some(live) = self.runs.get_mut(id) {
            live.under_way.remove(part);
        }
        let mut records = vec![NewRecord::new(now, asked)];
        records.extend(at_once.map(|answered| NewRecord::new(now, answered)));
        self.record(id, records);
    }

    /// Asks whether what a part did is to stand.
    pub(super) fn ask_confirm(&mut self, id: &RunId, part: &Part) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        let Some(step) = live.run.playbook.step(&part.step) else { return };
        let (Some(confirm), Some(intent)) = (step.confirm.clone(), live.run.acted(part)) else { return };
        // What cannot be read now is asked about all the same: its targets say what it is.
        let plan = self.contents.whole_plan(intent.plan.clone());
        let plan = plan.unwrap_or_else(|_| Plan { before: Json::Null, predicted: Json::Null, ..intent.plan.clone() });
        let target = intent.plan.targets.first().map(|target| target.label.clone()).unwrap_or_default();
        let asked = QuestionAsked {
            run: id.clone(),
            part: part.clone(),
            question: QuestionKind::Confirm,
            text: format!("{} {target} is done: is it to stand?", intent.action),
            because: format!("step `{}` acts first and asks afterwards", part.step),
            guard: None,
            choices: vec![KEEP.into(), UNDO.into()],
            person: None,
            by: confirm.by,
            not_via: Vec::new(),
            within: confirm.within.0,
            remember: None,
            otherwise: if confirm.undo { UNDO } else { KEEP }.into(),
            action: Some(intent.action.clone()),
            input: Json::Null,
            sum: Some(plan.sum()),
            plan: Some(Box::new(plan)),
            attempt: intent.attempt,
            intended: Intended::default(),
        };
        self.record(id, vec![NewRecord::new(now, asked)]);
    }

    /// Nobody has answered in time.
    pub(super) fn settle(&mut self, id: &RunId, part: &Part, kind: QuestionKind) {
        let Some(asked) = self.runs.get(id).and_then(|live| live.run.question(part, kind)).cloned() else { return };
        let why = format!("nobody answered within {:?}", asked.question.within);
        let choice = asked.question.otherwise.clone();
        let answered = QuestionAnswered::settling(part.clone(), kind, choice, None, why);
        self.settled(id, &asked, answered);
    }

    /// Writes an answer down, and with it, at once, what follows for what stands.
    fn settled(&mut self, id: &RunId, asked: &Asked, answered: QuestionAnswered) {
        let now = self.parts.clock.now();
        let undo =
            answered.settles && asked.question.question == QuestionKind::Confirm && answered.choice.as_str() == UNDO;
        let began = undo.then(|| UndoBegan {
            only: Some(answered.part.clone()),
            by: answered.by.clone().unwrap_or_else(|| "quell".into()),
            person: answered.by.is_some(),
            why: if answered.why.is_empty() { "it is not to stand".to_owned() } else { answered.why.clone() },
            via: answered.via.clone(),
        });
        let remembered = Remembered::of(&asked.question, &answered);
        let mut records = vec![NewRecord::new(now, answered)];
        records.extend(began.map(|began| NewRecord::new(now, began)));
        self.record(id, records);
        if let Some(remembered) = remembered {
            self.remember(remembered, now);
        }
    }

    /// Does what follows from an answer.
    pub(super) fn go_on(&mut self, id: &RunId, part: &Part) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        let Some((question, answered)) = live.run.answer(part) else { return };
        let (question, QuestionAnswered { choice, by, why, .. }) = (question.clone(), answered.clone());
        let timeout = live.run.playbook.step(&part.step).map_or(Duration::ZERO, |step| step.timeout);
        let found = self.contents.whole(&question.input).and_then(|input| {
            let plan = question.plan.map(|plan| self.contents.whole_plan(*plan)).transpose()?;
            Ok((input, plan, self.contents.item(&live.run, part)?))
        });
        let purpose = Purpose::of_asked(live.run.taken_up(part));
        let (input, plan, item) = match found {
            Ok(found) => found,
            Err(error) => {
                let ending = Ending::failed(format!("what was approved cannot be read: {error}"));
                return self.not_done(id, part, purpose, ending);
            }
        };
        let began = self.counts_from(&live.run, part);
        let Some(live) = self.runs.get_mut(id) else { return };
        let under_way = UnderWay {
            attempt: question.attempt,
            began,
            item,
            input,
            deadline: now.after(timeout),
            stop: Stop::default(),
            admitted: None,
            back: Vec::new(),
            purpose: Purpose::First,
        };
        live.under_way.insert(part.clone(), under_way);
        let told = if why.is_empty() { String::new() } else { format!(": {why}") };
        match (question.question, plan) {
            (QuestionKind::Approve, Some(plan)) if choice.as_str() == APPROVE => {
                self.judge(id, part, plan, purpose, At::Planned);
            }
            (QuestionKind::Ask, _) => {
                let proof = match &by {
                    Some(by) => format!("{by} answered `{choice}`{told}"),
                    None => format!("`{choice}`{told}"),
                };
                self.end(id, part, Ending::done(json!({ "answer": choice, "by": by }), &proof));
            }
            _ => {
                let proof = by.map_or_else(|| format!("denied{told}"), |by| format!("denied by {by}{told}"));
                let ending = Ending { outcome: Outcome::Denied, proof, ..Ending::default() };
                self.not_done(id, part, purpose, ending);
            }
        }
    }

    /// Why no further question can be asked now.
    pub(super) fn no_room(&self, id: &RunId) -> Option<String> {
        let live = self.runs.get(id)?;
        let untrusted = live.run.started.untrusted;
        let most = if untrusted { MOST_UNTRUSTED } else { MOST_ASKED };
        let full = |asked: usize, most: usize, whose: &str| {
            (asked >= most).then(|| format!("{asked} questions{whose} wait for an answer already"))
        };
        full(live.run.asks(), MOST_OF_RUN, " of this run").or_else(|| full(self.asked.of(untrusted), most, ""))
    }

    /// How many questions wait for an answer.
    pub(super) fn open_questions(&self) -> usize {
        self.asked.of(false) + self.asked.of(true)
    }

    /// A person has answered.
    pub(super) fn answer_given(&mut self, given: &AnswerGiven) -> Result<Json, Refusal> {
        let what = named(given);
        let Some(live) = self.runs.get(&given.run) else {
            return Err(self.too_late(given));
        };
        let meant = live.run.questions().filter(|(part, _)| is_of(given, part));
        let open: Vec<(Part, Asked)> = meant.map(|(part, asked)| (part.clone(), asked.clone())).collect();
        if open.is_empty() {
            return Err(self.too_late(given));
        }
        if given.step.is_none() && open.iter().any(|(part, _)| part.step != open[0].0.step) {
            let steps: Vec<String> = open.iter().map(|(part, _)| format!("{}/{part}", given.run)).collect();
            return Err(Refusal::Wrong(format!("`{}` asks more than one thing: {}", given.run, steps.join(", "))));
        }
        let fitting: Vec<&(Part, Asked)> =
            open.iter().filter(|(_, asked)| asked.question.choices.contains(&given.choice)).collect();
        let is_of_before = open.iter().all(|(_, asked)| asked.question.question == QuestionKind::Confirm)
            && [APPROVE, DENY].contains(&given.choice.as_str());
        if fitting.is_empty() && is_of_before && self.took_before(given) {
            return Err(self.too_late(given));
        }
        if fitting.is_empty() {
            let choices: Vec<&str> = open[0].1.question.choices.iter().map(Name::as_str).collect();
            let (choice, choices) = (&given.choice, choices.join(", "));
            return Err(Refusal::Wrong(format!("`{choice}` is no answer to `{what}`; it takes {choices}")));
        }
        if let Some(meant) = given.plan
            && fitting.iter().any(|(_, asked)| asked.question.sum != Some(meant))
        {
            let why = format!("`{what}` would do something else by now than what the answer means; look at it again");
            return Err(Refusal::NotNow(why));
        }
        // Each asks for itself: who counts for one has perhaps answered another, or is not whom that one asks.
        let objections: Vec<Option<String>> = fitting.iter().map(|(_, asked)| self.objection(given, asked)).collect();
        let ways: Vec<Option<String>> = fitting.iter().map(|(_, asked)| self.objection_to_way(given, asked)).collect();
        for ((part, asked), why) in fitting.iter().zip(&ways) {
            why.iter().for_each(|why| self.answer_refused(given, part, asked, why));
        }
        let objections: Vec<Option<String>> =
            ways.into_iter().zip(objections).map(|(way, whose)| way.or(whose)).collect();
        if let Some(Some(why)) = objections.first().filter(|_| objections.iter().all(Option::is_some)) {
            return Err(Refusal::Denied(why.clone()));
        }
        let (mut settled, mut missing) = (Vec::new(), 0);
        for ((part, asked), _) in fitting.into_iter().zip(objections).filter(|(_, objection)| objection.is_none()) {
            let answer = self.count(given, part, asked);
            if answer.settles {
                settled.push(part.to_string());
            } else {
                let quorum = self.definitions.people.quorum(asked.question.by.as_ref()) as usize;
                missing = missing.max(quorum.saturating_sub(self.others(&given.run, asked) + 1));
            }
            self.settled(&given.run, asked, answer);
        }
        self.drive(&given.run);
        let (id, choice) = (given.run.clone(), given.choice.clone());
        Ok(answers::json(AnswerTaken { id, choice, answered: settled, missing: missing as u64 }))
    }

    fn objection(&self, given: &AnswerGiven, asked: &Asked) -> Option<String> {
        let live = self.runs.get(&given.run)?;
        if let Some((_, before)) = asked.said.iter().find(|(by, _)| *by == given.by) {
            return Some(format!("{} has said `{before}` already; somebody else has to as well", given.by));
        }
        self.does_not_count(&live.run, &asked.question, &given.by)
    }

    /// Why no answer counts that comes by this way from there.
    fn objection_to_way(&self, given: &AnswerGiven, asked: &Asked) -> Option<String> {
        if asked.question.not_via.contains(&given.via) {
            return Some(format!("an answer by way of `{}` does not count here", given.via));
        }
        let live = self.runs.get(&given.run)?;
        self.suspicion(&live.run, &given.by, &given.via, given.from.as_deref())
    }

    /// Whether what somebody said before came from where this run's suspect stands.
    fn may_be_suspects(&self, run: &Run, known: &Known) -> bool {
        let via = known.via.as_ref();
        via.is_some_and(|via| self.suspicion(run, &known.by, via, known.from.as_deref()).is_some())
    }

    /// Why somebody's answer does not count for a question; none: it does.
    pub(super) fn does_not_count(&self, run: &Run, question: &QuestionAsked, by: &Name) -> Option<String> {
        let of_itself = question.question == QuestionKind::Ask;
        let suspects = if of_itself { BTreeSet::new() } else { self.suspected(run) };
        let requesters = self.wanted_by(run);
        let (suspects, requesters) = (suspects.iter().collect(), requesters.iter().collect());
        self.definitions.people.objection(by, &may_answer(question, requesters, suspects))
    }

    /// How many have said yes so far who count by now: approvers may have been taken out since.
    fn others(&self, id: &RunId, asked: &Asked) -> usize {
        let Some(live) = self.runs.get(id) else { return 0 };
        asked.said.iter().filter(|(by, _)| self.does_not_count(&live.run, &asked.question, by).is_none()).count()
    }

    /// Whether with this answer there are enough; one no is.
    fn count(&self, given: &AnswerGiven, part: &Part, asked: &Asked) -> QuestionAnswered {
        let kind = asked.question.question;
        let agrees = kind == QuestionKind::Approve && given.choice.as_str() == APPROVE;
        let quorum = self.definitions.people.quorum(asked.question.by.as_ref()) as usize;
        QuestionAnswered {
            part: part.clone(),
            question: kind,
            choice: given.choice.clone(),
            by: Some(given.by.clone()),
            via: Some(given.via.clone()),
            from: given.from.clone(),
            why: given.why.clone(),
            settles: !agrees || self.others(&given.run, asked) + 1 >= quorum,
        }
    }

    /// Whether what is meant has asked something before that took this answer, and asks another by now.
    fn took_before(&mut self, given: &AnswerGiven) -> bool {
        let Ok(readable) = self.ink.readable(&StreamId::run(&given.run)) else { return false };
        let asked = readable.kinds(&[Kind::QuestionAsked]).unwrap_or_default();
        asked.iter().any(|record| match &record.body {
            Body::QuestionAsked(asked) => is_of(given, &asked.part) && asked.choices.contains(&given.choice),
            _ => false,
        })
    }

    /// Nothing asks what is answered: what came before it is told, and the answer is kept.
    fn too_late(&mut self, given: &AnswerGiven) -> Refusal {
        let stream = StreamId::run(&given.run);
        if !self.ink.has(&stream) && !self.runs.contains_key(&given.run) {
            return Refusal::NotFound { kind: "run", id: given.run.to_string() };
        }
        let readable = match self.ink.readable(&stream) {
            Ok(readable) => readable,
            Err(not_yet) => return not_yet.into(),
        };
        let what = named(given);
        let kinds =
            [Kind::RunStarted, Kind::RunReopened, Kind::QuestionAsked, Kind::QuestionAnswered, Kind::AnswerTooLate];
        let records = match readable.kinds(&kinds) {
            Ok(records) => records,
            Err(error) => return Refusal::NotNow(error.to_string()),
        };
        let (mut requesters, mut last, mut before, mut again) = (Vec::new(), None, None, false);
        for record in &records {
            match &record.body {
                Body::RunStarted(started) => requesters.extend(started.requesters()),
                Body::RunReopened(reopened) => requesters.push(&reopened.by),
                // What takes another answer asks something else.
                Body::QuestionAsked(asked) if is_of(given, &asked.part) => {
                    let takes = |asked: &QuestionAsked| asked.choices.contains(&given.choice);
                    if last.is_none_or(|last: &QuestionAsked| takes(asked) || !takes(last)) {
                        (last, before, again) = (Some(&**asked), None, false);
                    }
                }
                Body::QuestionAnswered(answered) if last.is_some_and(|asked| is_to(answered, asked)) => {
                    before = answered.settles.then(|| answered.clone());
                }
                Body::AnswerTooLate(late) if last.is_some_and(|asked| asked.part == late.part) => {
                    again |= late.by == given.by;
                }
                _ => {}
            }
        }
        let Some(asked) = last else {
            return Refusal::NotNow(format!("`{what}` asks nothing"));
        };
        if !asked.choices.contains(&given.choice) {
            return Refusal::NotNow(format!("`{what}` is answered, and `{}` was no answer to it", given.choice));
        }
        let may = may_answer(asked, requesters, Vec::new());
        if let Some(why) = self.definitions.people.objection(&given.by, &may) {
            return Refusal::Denied(why);
        }
        let came_before = match before.map(|answered| *answered) {
            Some(QuestionAnswered { choice, by: Some(by), .. }) => format!("{by} answered `{choice}` before"),
            Some(QuestionAnswered { choice, why, .. }) => format!("{why}, which meant `{choice}`"),
            None if self.runs.contains_key(&given.run) => "its step ended before an answer came".to_owned(),
            None => "its run ended before an answer came".to_owned(),
        };
        // Once is enough: nobody makes a run's story long by saying it again.
        if again {
            return Refusal::NotNow(format!("`{what}` is answered: {came_before}"));
        }
        let part = asked.part.clone();
        let late = AnswerTooLate { part, choice: given.choice.clone(), by: given.by.clone(), why: came_before.clone() };
        let now = self.parts.clock.now();
        if self.runs.contains_key(&given.run) {
            self.record(&given.run, vec![NewRecord::new(now, late)]);
        } else {
            self.ink.append(stream, &[NewRecord::new(now, late)]);
        }
        Refusal::NotNow(format!("`{what}` is answered: {came_before}. Yours is kept, and changes nothing"))
    }

    /// Why somebody may not say that what a run did is to stand: a step asks others.
    pub(super) fn may_not_keep(&self, id: &RunId, only: Option<&Part>, by: &Name) -> Option<String> {
        let live = self.runs.get(id)?;
        confirms(&live.run, only).find_map(|(_, asked)| self.does_not_count(&live.run, &asked.question, by))
    }

    /// What a person keeps or takes back need not be asked about any more.
    pub(super) fn confirmed(&mut self, id: &RunId, only: Option<&Part>, keep: bool, by: &Name) {
        let Some(live) = self.runs.get(id) else { return };
        let answers: Vec<QuestionAnswered> = confirms(&live.run, only)
            .map(|(part, _)| {
                let choice = if keep { KEEP } else { UNDO }.into();
                QuestionAnswered::settling(part.clone(), QuestionKind::Confirm, choice, Some(by.clone()), String::new())
            })
            .collect();
        let now = self.parts.clock.now();
        self.record(id, answers.into_iter().map(|answer| NewRecord::new(now, answer)).collect());
    }
}

/// Whose answer a question takes, of a run that somebody has asked for.
fn may_answer<'a>(question: &'a QuestionAsked, requesters: Vec<&'a Name>, suspects: Vec<&'a Name>) -> MayAnswer<'a> {
    MayAnswer { person: question.person.as_ref(), approvers: question.by.as_ref(), requesters, suspects }
}

/// Whether an answer may be meant for a question of this part.
fn is_of(given: &AnswerGiven, part: &Part) -> bool {
    given.step.as_ref().is_none_or(|step| *step == part.step) && given.item.is_none_or(|item| part.item == Some(item))
}

/// Whether this answers that.
fn is_to(answered: &QuestionAnswered, asked: &QuestionAsked) -> bool {
    answered.part == asked.part && answered.question == asked.question
}

/// The parts that ask whether what they did is to stand.
pub(super) fn confirms<'a>(run: &'a Run, only: Option<&'a Part>) -> impl Iterator<Item = (&'a Part, &'a Asked)> {
    run.questions().filter(move |(part, asked)| {
        asked.question.question == QuestionKind::Confirm && only.is_none_or(|only| only.covers(part))
    })
}

/// RUN, RUN/STEP or RUN/STEP[ITEM].
fn named(given: &AnswerGiven) -> String {
    match (&given.step, given.item) {
        (None, _) => given.run.to_string(),
        (Some(step), None) => format!("{}/{step}", given.run),
        (Some(step), Some(item)) => format!("{}/{step}[{item}]", given.run),
    }
}
