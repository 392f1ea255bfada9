//! The ladder of an incident: what the incident's story makes of it, and what people's answers do.
//!
//! Owns when it begins, rises and ends. Keeps true: what an incident says of who looks after it and what its ladder says is
//! written in one append; what puts messages right that people have goes with what made them wrong.

use super::Change;
use crate::escalation::ladder::{Answered, Standing};
use crate::escalation::outbox::Outbox;
use crate::incident::Incident;
use crate::run::shell::Core;
use quell_model::record::{AcknowledgementChanged, LadderChange, LadderStarted, NewRecord};
use quell_model::{Detection, IncidentId, LadderId, Level, Name, Stamp};
use std::collections::BTreeSet;

impl<W: Send + 'static> Core<W> {
    /// Somebody is to be told of an incident from now on. It is written down with what opened it; the rest comes after the acts.
    pub(in crate::run) fn ladder_begins(
        &mut self,
        id: &IncidentId,
        detection: &Detection,
        level: Level,
        because: String,
        now: Stamp,
    ) {
        if !detection.backfill {
            let started = LadderStarted {
                incident: Some(id.clone()),
                question: None,
                title: detection.rule.title.to_string(),
                entity: detection.entity().clone(),
                level,
                tags: detection.rule.tags.iter().map(|tag| Name::from(tag.as_str())).collect(),
                rules: BTreeSet::from([detection.rule.name.clone()]),
                because,
                generation: 0,
                gathers: false,
            };
            self.begin_ladder(started, now);
        }
    }

    /// An incident is worse than it was. That is told after what it needs has been done.
    pub(in crate::run) fn ladder_rises(&mut self, id: &IncidentId, level: Level, now: Stamp) {
        let ladder = LadderId::incident(id);
        let Some(outbox) = self.ladders.all.get(&ladder).filter(|outbox| !outbox.is_over()) else { return };
        if outbox.level < level {
            self.ladders.rises.push((id.clone(), level));
            self.wake_at(now);
        } else if outbox.silenced().is_some() {
            // What has joined it may be what the silence does not cover.
            self.ladders.look_at(&ladder, now);
            self.wake_at(now);
        }
    }

    /// What became worse just before an engine ended was told nobody.
    pub(in crate::run) fn ladders_rise_again(&mut self) {
        let levels: Vec<(IncidentId, Level)> =
            self.incidents.iter_mut().map(|incident| (incident.id.clone(), incident.level)).collect();
        let now = self.parts.clock.now();
        levels.into_iter().for_each(|(id, level)| self.ladder_rises(&id, level, now));
    }

    pub(super) fn rise(&mut self, now: Stamp) {
        for (id, level) in std::mem::take(&mut self.ladders.rises) {
            let ladder = LadderId::incident(&id);
            let Some(outbox) = self.ladders.all.get_mut(&ladder).filter(|outbox| outbox.level < level) else {
                continue;
            };
            // By the route of the level that it has now.
            outbox.level = level;
            let why = format!("it is {level} now");
            // It is read before: within the append it would part it.
            let incident = self.live_or_journaled(&id).ok();
            self.ink.hold();
            let change = Change { level: Some(level), ..Change::by_engine(LadderChange::Raised, why.clone()) };
            self.change_ladder(&ladder, change, now);
            self.looked_after_no_more(incident, why, now);
            self.ink.let_go();
            // A silence that holds it may not cover what it is now.
            self.ladders.look_at(&ladder, now);
        }
    }

    /// Whoever looked after an incident is asked anew, as everybody: the incident says so too.
    pub(in crate::run) fn looked_after_no_more(&mut self, incident: Option<Incident>, why: String, now: Stamp) {
        let Some(incident) = incident else { return };
        if incident.standing.acknowledged.is_some() && !incident.standing.is_resolved() {
            let changed = AcknowledgementChanged { acknowledged: false, by: "quell".into(), via: "engine".into(), why };
            self.amend(incident, |core, incident| core.write_to(incident, &[NewRecord::new(now, changed)]));
        }
    }

    /// What an answer to a ladder would come to; none: nobody is being told.
    pub(in crate::run) fn ladder_would(
        &mut self,
        id: &IncidentId,
        by: &Name,
        generation: Option<u32>,
        now: Stamp,
    ) -> Option<Answered> {
        let ladder = LadderId::incident(id);
        self.route(&ladder, now);
        let outbox = self.ladders.all.get(&ladder)?;
        outbox.would_answer(by, generation.unwrap_or_else(|| outbox.generation()))
    }

    /// Whether somebody is told, or would be next.
    pub(in crate::run) fn is_telling(&self, id: &IncidentId) -> bool {
        self.ladders.all.get(&LadderId::incident(id)).is_some_and(|outbox| !outbox.is_over())
    }

    /// Whether somebody's answer holds by a ladder.
    pub(in crate::run) fn is_ladder_acknowledged(&self, id: &IncidentId) -> bool {
        let ladder = self.ladders.all.get(&LadderId::incident(id)).and_then(Outbox::ladder);
        ladder.is_some_and(|ladder| matches!(ladder.standing(), Standing::Acknowledged { .. }))
    }

    /// Whether somebody's answer holds by any.
    pub(in crate::run) fn is_any_acknowledged(&self) -> bool {
        let mut ladders = self.ladders.all.values().filter_map(Outbox::ladder);
        ladders.any(|ladder| matches!(ladder.standing(), Standing::Acknowledged { .. }))
    }

    /// Somebody has done something about an incident: who looks after it has moved it.
    pub(in crate::run) fn ladder_touched(&mut self, id: &IncidentId, whose: (&Name, &Name), now: Stamp) {
        if self.is_ladder_acknowledged(id) {
            let change = Change::by(whose, LadderChange::Touched, String::new());
            self.change_ladder(&LadderId::incident(id), change, now);
        }
    }

    /// What an answer to a ladder comes to, which is written down; none: nobody is being told.
    pub(in crate::run) fn ladder_answered(
        &mut self,
        id: &IncidentId,
        whose: (&Name, &Name),
        generation: Option<u32>,
        why: &str,
        now: Stamp,
    ) -> Option<Answered> {
        let answered = self.ladder_would(id, whose.0, generation, now)?;
        let change = match answered {
            Answered::Acknowledged | Answered::Counts => LadderChange::Answered,
            Answered::Stale => LadderChange::AnsweredTooLate,
            Answered::Again => {
                self.ladder_touched(id, whose, now);
                return Some(answered);
            }
            Answered::Over => return Some(answered),
        };
        let change = Change { generation, ..Change::by(whose, change, why.to_owned()) };
        self.change_ladder(&LadderId::incident(id), change, now);
        Some(answered)
    }

    /// Somebody changes a ladder; false: there is none that is not over.
    pub(in crate::run) fn ladder_changes(
        &mut self,
        id: &IncidentId,
        change: LadderChange,
        whose: (&Name, &Name),
        why: String,
        now: Stamp,
    ) -> bool {
        let is_telling = self.is_telling(id);
        if is_telling {
            self.change_ladder(&LadderId::incident(id), Change::by(whose, change, why), now);
        }
        is_telling
    }

    /// What an incident was about is over: those who were told are told so, and nobody else.
    pub(in crate::run) fn ladder_ends(&mut self, id: &IncidentId, why: String, now: Stamp) {
        self.end_ladder(&LadderId::incident(id), why, now);
    }
}
