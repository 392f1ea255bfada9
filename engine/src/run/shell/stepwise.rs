//! An engine that is moved on by hand: everything that is at work is awaited first, then taken in in one order.
//!
//! What tests of playbooks turn instead of `turn`. Never moves the clock. Keeps true: the same answers give the same
//! records, whichever thread was done first.

use super::Core;
use crate::escalation::ladder::{Ladder, Standing};
use crate::escalation::outbox::Outbox;
use crate::run::job::{Answer, Input};
use crate::run::machine::Asked;
use crate::run::{AnswerGiven, Refusal, Request};
use quell_model::playbook::{IncidentMoment, Playbook};
use quell_model::record::Part;
use quell_model::{IncidentId, Json, Name, RunId, Stamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An answer on its way to a part of a run.
pub(in crate::run) type Arrival = (RunId, Part, Answer);

/// Answers that wait for the others, in the order of the playbook's file.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<(RunId, usize, Part), Answer>);

impl<W: Send + 'static> Core<W> {
    /// Takes in what has come and, once no more than `hanging` parts are still at work, goes on with it. False: there is
    /// work to wait for.
    pub(crate) fn step(&mut self, kept: &mut Kept, hanging: usize) -> bool {
        for (run, part, answer) in self.arrived() {
            let place = self.place_of(&run, &part);
            kept.0.insert((run, place, part), answer);
        }
        self.ink.flush();
        self.unread_go_on(self.parts.clock.now());
        if self.at_work() > hanging + kept.0.len() {
            return false;
        }
        for ((run, _, part), answer) in std::mem::take(&mut kept.0) {
            self.answer(&run, &part, answer);
            self.drive_after(&run);
        }
        self.moments();
        true
    }

    fn place_of(&self, run: &RunId, part: &Part) -> usize {
        let steps = self.runs.get(run).map(|live| &live.run.playbook.steps);
        steps.and_then(|steps| steps.iter().position(|step| step.id == part.step)).unwrap_or(usize::MAX)
    }

    /// Whether all that was said is written, and everybody knows the moment that they wait for.
    pub(crate) fn is_settled(&self) -> bool {
        self.ink.waiting() == 0 && !self.leases_have_changed()
    }

    /// What has come.
    pub(in crate::run) fn arrived(&mut self) -> Vec<Arrival> {
        let mut all = Vec::new();
        while let Ok(input) = self.inbox.try_recv() {
            if let Input::Answer(run, part, answer) = input {
                all.push((run, part, answer));
            }
        }
        all
    }

    /// How many parts of runs somebody is at, or asks the world whether they stand, or wait for the journal.
    pub(crate) fn at_work(&self) -> usize {
        let under_way = self.runs.values().map(|live| live.under_way.len()).sum::<usize>();
        under_way + self.leases.asked() + self.unread.count()
    }

    /// The next moment that a run waits for.
    pub(crate) fn next_moment(&self) -> Option<Stamp> {
        self.timers.next()
    }

    /// The parts that ask, since when, and whom where it is one person, in their order.
    pub(crate) fn open(&self) -> Vec<(RunId, Part, Stamp, Option<Name>)> {
        let of = |(id, live): (&RunId, &super::Live)| -> Vec<_> {
            let whom = |asked: &Asked| asked.question.person.clone();
            live.run.questions().map(|(part, asked)| (id.clone(), part.clone(), asked.at, whom(asked))).collect()
        };
        let mut all: Vec<_> = self.runs.iter().flat_map(of).collect();
        all.sort();
        all
    }

    /// Answers, as a person does.
    pub(crate) fn give(&mut self, given: &AnswerGiven) -> Result<(), String> {
        self.answer_given(given).map(drop).map_err(|refused| refused.to_string())
    }

    /// Pages that a channel is at.
    pub(crate) fn pages_under_way(&self) -> usize {
        self.ladders.under_way.len()
    }

    /// Whether nobody is called any more by what goes on by itself: each ladder is acknowledged or over, or its last resort was
    /// tried.
    pub(crate) fn tells_nobody_more(&self) -> bool {
        let is_done = |outbox: &Outbox| match outbox.ladder().map(Ladder::standing) {
            _ if outbox.is_over() => true,
            Some(Standing::Acknowledged { .. } | Standing::Ended) => true,
            Some(Standing::Exhausted) => outbox.waiting().all(|(_, _, attempts, _)| attempts > 0),
            Some(Standing::Climbing) | None => false,
        };
        self.ladders.all.values().all(is_done)
    }

    /// Does what a person asks.
    pub(crate) fn person_asks(&mut self, request: Request) -> Result<Json, Refusal> {
        let answer = self.serve(request);
        self.ink.commit();
        answer
    }

    /// The one incident that there is.
    pub(crate) fn only_incident(&mut self) -> Option<IncidentId> {
        self.incidents.iter_mut().next().map(|incident| incident.id.clone())
    }

    /// How many incidents there are.
    pub(crate) fn incidents_so_far(&mut self) -> usize {
        self.incidents.iter_mut().count()
    }

    /// Somebody looks after the latest incident, or ends it.
    pub(crate) fn incident_moves(&mut self, moment: IncidentMoment, by: Name) -> Result<(), String> {
        let latest = self.incidents.iter_mut().max_by_key(|incident| incident.last.boot_ns);
        let incident = latest.map(|incident| incident.id.clone()).ok_or("no incident has been opened")?;
        let request = match moment {
            IncidentMoment::Resolved => Request::Resolve { incident, why: String::new(), by, via: "test".into() },
            _ => Request::Acknowledge {
                incident,
                acknowledged: true,
                why: String::new(),
                by,
                via: "test".into(),
                generation: None,
            },
        };
        self.serve(request).map(drop).map_err(|refused| refused.to_string())
    }

    /// Starts a playbook with inputs, as a person does.
    pub(crate) fn start_with(&mut self, playbook: &Arc<Playbook>, inputs: Json) -> Result<RunId, String> {
        self.start_by_hand(playbook, None, inputs, None, "test".into())
    }
}
