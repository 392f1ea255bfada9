//! Answers that may be the suspect's own: refused, journaled, and the question stays open.
//!
//! Owns what of a run is suspected, and who may have come from there. Where a process stands is told with the answer. Keeps true: of
//! one question the same person's refused answers by the same way are one record.

use super::machine::{Asked, Run};
use super::question::{AnswerGiven, UNDO, confirms};
use super::request::Way;
use super::shell::Core;
use quell_model::people::System;
use quell_model::record::{AnswerRefused, NewRecord, Part, SubRunStarted};
use quell_model::{Json, Name, Origin, RunId};

impl<W: Send + 'static> Core<W> {
    /// Why an answer that came from there may be the suspect's own; none: it does not.
    pub(super) fn suspicion(&self, run: &Run, by: &Name, via: &Name, from: Option<&Origin>) -> Option<String> {
        let by_place = |event| from.and_then(|from| from.suspicion(event));
        // What joined a run that steps have begun this one in is about this one too.
        let above = self.above(run).flat_map(|above| above.run.suspected_events());
        let mut events = run.suspected_events().chain(above);
        let why = events.find_map(|event| by_place(event).or_else(|| self.is_actor(event, by, via)))?;
        Some(format!(
            "{why}: no answer counts that may be the suspect's own; another account, another way or somebody else can answer"
        ))
    }

    /// Whether the way by which somebody answers is that of the very identity which did it.
    fn is_actor(&self, event: &Json, by: &Name, via: &Name) -> Option<String> {
        let system = match via.as_str() {
            "slack" => System::Slack,
            "email" => System::Email,
            _ => return None,
        };
        let actor = event.get("actor").and_then(Json::as_str)?;
        (self.definitions.people.who(system, actor) == Some(by))
            .then(|| format!("it comes by way of `{via}` from `{actor}`, which is suspected"))
    }

    /// Writes down that an answer was refused for the way by which it came.
    pub(super) fn answer_refused(&mut self, given: &AnswerGiven, part: &Part, asked: &Asked, why: &str) {
        if asked.refused.contains(&(given.by.clone(), given.via.clone())) {
            return;
        }
        let refused = AnswerRefused {
            part: part.clone(),
            question: asked.question.question,
            choice: given.choice.clone(),
            by: given.by.clone(),
            via: given.via.clone(),
            from: given.from.clone(),
            why: why.to_owned(),
        };
        let now = self.parts.clock.now();
        self.record(&given.run, vec![NewRecord::new(now, refused)]);
    }

    /// Whether somebody who keeps or takes back may thereby answer what is asked about it, or about what runs do that it has started.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_confirm(
        &mut self,
        id: &RunId,
        only: Option<&Part>,
        choice: &str,
        (by, way): (&Name, &Way),
    ) -> Result<(), String> {
        let Some(live) = self.runs.get(id) else { return Ok(()) };
        let why = self.suspicion(&live.run, by, &way.via, way.from.as_deref());
        let asked = confirms(&live.run, only).map(|(part, asked)| (part.clone(), asked.clone()));
        let asked: Vec<(Part, Asked)> = asked.collect();
        // Whoever keeps what a run did says nothing of those.
        let reached =
            |sub: &&SubRunStarted| choice == UNDO && !sub.detached && only.is_none_or(|only| only.covers(&sub.part));
        let begun: Vec<RunId> = live.run.subs().filter(reached).map(|sub| sub.run.clone()).collect();
        if let Some(why) = why.filter(|_| !asked.is_empty()) {
            let Way { via, from } = way.clone();
            let (run, choice, by) = (id.clone(), choice.into(), by.clone());
            let (step, item, plan, why_given) = (None, None, None, String::new());
            let given = AnswerGiven { run, step, item, choice, plan, by, via, from, why: why_given };
            for (part, asked) in &asked {
                self.answer_refused(&given, part, asked, &why);
            }
            return Err(why);
        }
        begun.iter().try_for_each(|run| self.may_confirm(run, None, choice, (by, way)))
    }
}
