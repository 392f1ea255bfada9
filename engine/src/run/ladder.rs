//! Ladders of incidents: somebody is told, until somebody answers.
//!
//! ```text
//! incident opens ──▶ LadderStarted ──▶ routed ──▶ moved, with its pages ──▶ channel ──▶ receipt
//!                                        ▲                                                │
//!                                        └──────── nobody answered in time ◀──────────────┘
//! ```
//!
//! Owns the ladders that are not over, and what is on its way to people. Never decides who is on call, nor what an answer means
//! (`escalation`), and never waits for a channel. Keeps true: a page goes out only after it is in the journal, and whatever
//! comes of it is written down; what an engine that was killed may have sent is sent again under its key, as a repeat; what a
//! source held before it was first followed tells nobody.

use super::answers;
use super::shell::{Core, INBOX_TURN};
use crate::escalation::ladder::{Answered, Move, Standing};
use crate::escalation::outbox::Outbox;
use crate::escalation::policy::{Policy, Target};
use crate::escalation::{DEFAULT, Escalation, facts::Facts, schedule};
use crate::incident::Incident;
use crate::playbook::expression::Scope;
use quell_model::notice::{Page, PageKey, To, Way};
use quell_model::record::{
    AcknowledgementChanged, LadderChange, LadderChanged, LadderClosed, LadderEnded, LadderMoved, LadderRouted,
    LadderStarted, NewRecord, Place,
};
use quell_model::{Body, Detection, IncidentId, Level, Name, Stamp, Stop, StoreError, StreamId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Why somebody is told of the end.
pub(super) const TOLD: &str = "they were told of it";

/// The ladders that are not over.
#[derive(Default)]
pub(super) struct Ladders {
    pub(super) all: BTreeMap<IncidentId, Outbox>,
    /// When each is to be looked at.
    due: BTreeSet<(Stamp, IncidentId)>,
    of: HashMap<IncidentId, Stamp>,
    /// Pages that are at a channel or wait before it, each with a sign that it is not to be sent any more.
    pub(super) under_way: HashMap<PageKey, Stop>,
    /// Pages that may have gone out before.
    pub(super) repeats: HashSet<PageKey>,
    /// Incidents that became worse, to be told once what they need has been done.
    rises: Vec<(IncidentId, Level)>,
}

impl Ladders {
    /// The next is looked at when its ladder or one of its pages says; at the latest.
    fn set(&mut self, id: &IncidentId) {
        if let Some(before) = self.of.remove(id) {
            self.due.remove(&(before, id.clone()));
        }
        let Some(outbox) = self.all.get(id) else { return };
        if outbox.is_closed() {
            self.all.remove(id);
            return;
        }
        let pages = outbox.waiting().filter(|(key, ..)| !self.under_way.contains_key(*key)).map(|(.., from)| from);
        // One that is over is closed once nobody is at a page of it.
        let is_left = outbox.is_over() && outbox.left().any(|key| self.under_way.contains_key(key));
        if let Some(at) = pages.chain(outbox.due().filter(|_| !is_left)).min() {
            self.due.insert((at, id.clone()));
            self.of.insert(id.clone(), at);
        }
    }

    fn pop(&mut self, now: Stamp) -> Option<IncidentId> {
        self.due.first().filter(|(at, _)| *at <= now)?;
        let (_, id) = self.due.pop_first()?;
        self.of.remove(&id);
        Some(id)
    }

    /// When the nearest is to be looked at.
    fn next(&self) -> Option<Stamp> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl<W: Send + 'static> Core<W> {
    /// Somebody is to be told of an incident from now on. It is written down with what opened it; the rest comes after the acts.
    pub(super) fn ladder_begins(
        &mut self,
        id: &IncidentId,
        detection: &Detection,
        level: Level,
        because: String,
        now: Stamp,
    ) {
        if !detection.backfill {
            let started = LadderStarted {
                incident: id.clone(),
                title: detection.rule.title.to_string(),
                entity: detection.entity().clone(),
                level,
                tags: detection.rule.tags.iter().map(|tag| Name::from(tag.as_str())).collect(),
                rules: BTreeSet::from([detection.rule.name.clone()]),
                because,
                generation: 0,
            };
            self.begin_ladder(started, now);
        }
    }

    /// The same, of what a ladder of before began with.
    pub(super) fn begin_ladder(&mut self, started: LadderStarted, now: Stamp) {
        if self.definitions.escalation.is_none() {
            return;
        }
        let id = &started.incident.clone();
        let stream = StreamId::ladder(id);
        let seq = self.ink.last(&stream);
        // Higher than any of before: each took a record at least.
        let generation = u32::try_from(seq).unwrap_or(u32::MAX).saturating_add(1);
        let started = LadderStarted { generation, ..started };
        let outbox = || Outbox::after(seq, &started, now);
        self.ladders.all.entry(id.clone()).or_insert_with(outbox);
        self.write_ladder(id, vec![NewRecord::new(now, started)]);
    }

    /// An incident is worse than it was. That is told after what it needs has been done.
    pub(super) fn ladder_rises(&mut self, id: &IncidentId, level: Level, now: Stamp) {
        let is_higher = self.ladders.all.get(id).is_some_and(|outbox| outbox.level < level && !outbox.is_over());
        if is_higher {
            self.ladders.rises.push((id.clone(), level));
            self.wake_at(now);
        }
    }

    /// What became worse just before an engine ended was told nobody.
    pub(super) fn ladders_rise_again(&mut self) {
        let levels: Vec<(IncidentId, Level)> =
            self.incidents.iter_mut().map(|incident| (incident.id.clone(), incident.level)).collect();
        let now = self.parts.clock.now();
        levels.into_iter().for_each(|(id, level)| self.ladder_rises(&id, level, now));
    }

    fn rise(&mut self, now: Stamp) {
        for (id, level) in std::mem::take(&mut self.ladders.rises) {
            let Some(outbox) = self.ladders.all.get_mut(&id).filter(|outbox| outbox.level < level) else { continue };
            // By the route of the level that it has now.
            outbox.level = level;
            let why = format!("it is {level} now");
            // It is read before: within the append it would part it.
            let incident = self.live_or_journaled(&id).ok();
            self.ink.hold();
            self.change_ladder(&id, LadderChange::Raised, ("quell".into(), "engine".into()), why.clone(), level, now);
            self.looked_after_no_more(incident, why, now);
            self.ink.let_go();
        }
    }

    /// Whoever looked after an incident is asked anew, as everybody: the incident says so too.
    fn looked_after_no_more(&mut self, incident: Option<Incident>, why: String, now: Stamp) {
        let Some(incident) = incident else { return };
        if incident.standing.acknowledged.is_some() && !incident.standing.is_resolved() {
            let changed = AcknowledgementChanged { acknowledged: false, by: "quell".into(), via: "engine".into(), why };
            self.amend(incident, |core, incident| core.write_to(incident, &[NewRecord::new(now, changed)]));
        }
    }

    /// What an answer to a ladder would come to; none: nobody is being told.
    pub(super) fn ladder_would(
        &mut self,
        id: &IncidentId,
        by: &Name,
        generation: Option<u32>,
        now: Stamp,
    ) -> Option<Answered> {
        self.route(id, now);
        let outbox = self.ladders.all.get(id)?;
        outbox.would_answer(by, generation.unwrap_or_else(|| outbox.generation()))
    }

    /// Whether somebody is told, or would be next.
    pub(super) fn is_telling(&self, id: &IncidentId) -> bool {
        self.ladders.all.get(id).is_some_and(|outbox| !outbox.is_over())
    }

    /// Whether somebody's answer holds by a ladder.
    pub(super) fn is_ladder_acknowledged(&self, id: &IncidentId) -> bool {
        let ladder = self.ladders.all.get(id).and_then(Outbox::ladder);
        ladder.is_some_and(|ladder| matches!(ladder.standing(), Standing::Acknowledged { .. }))
    }

    /// Somebody has done something about an incident: who looks after it has moved it.
    pub(super) fn ladder_touched(&mut self, id: &IncidentId, by: &Name, now: Stamp) {
        if self.is_ladder_acknowledged(id) {
            self.ladder_changes(id, LadderChange::Touched, (by.clone(), "engine".into()), String::new(), now);
        }
    }

    /// What an answer to a ladder comes to, which is written down; none: nobody is being told.
    pub(super) fn ladder_answered(
        &mut self,
        id: &IncidentId,
        (by, via): (&Name, &Name),
        generation: Option<u32>,
        why: &str,
        now: Stamp,
    ) -> Option<Answered> {
        self.route(id, now);
        let outbox = self.ladders.all.get(id)?;
        let generation = generation.unwrap_or_else(|| outbox.generation());
        let answered = outbox.would_answer(by, generation)?;
        let change = match answered {
            Answered::Acknowledged | Answered::Counts => LadderChange::Answered,
            Answered::Stale => LadderChange::AnsweredTooLate,
            Answered::Again => {
                self.ladder_touched(id, by, now);
                return Some(answered);
            }
            Answered::Over => return Some(answered),
        };
        let changed = LadderChanged {
            change,
            by: by.clone(),
            via: via.clone(),
            generation,
            level: outbox.level,
            why: why.to_owned(),
        };
        self.write_ladder(id, vec![NewRecord::new(now, changed)]);
        Some(answered)
    }

    /// Somebody changes a ladder; false: there is none that is not over.
    pub(super) fn ladder_changes(
        &mut self,
        id: &IncidentId,
        change: LadderChange,
        by: (Name, Name),
        why: String,
        now: Stamp,
    ) -> bool {
        let Some(level) = self.ladders.all.get(id).filter(|outbox| !outbox.is_over()).map(|outbox| outbox.level) else {
            return false;
        };
        self.change_ladder(id, change, by, why, level, now);
        true
    }

    fn change_ladder(
        &mut self,
        id: &IncidentId,
        change: LadderChange,
        (by, via): (Name, Name),
        why: String,
        level: Level,
        now: Stamp,
    ) {
        self.route(id, now);
        let Some(outbox) = self.ladders.all.get(id) else { return };
        let changed = LadderChanged { change, by, via, generation: outbox.generation(), level, why };
        self.write_ladder(id, vec![NewRecord::new(now, changed)]);
    }

    /// What an incident was about is over: those who were told are told so, and nobody else.
    pub(super) fn ladder_ends(&mut self, id: &IncidentId, why: String, now: Stamp) {
        let Some(outbox) = self.ladders.all.get(id).filter(|outbox| !outbox.is_over()) else { return };
        let told =
            outbox.told().iter().map(|(to, way)| Page { to: to.clone(), way: way.clone(), because: TOLD.to_owned() });
        let pages = outbox.keyed(told.collect());
        self.write_ladder(id, vec![NewRecord::new(now, LadderEnded { why, pages })]);
    }

    /// Moves on what is due, and sends what is to go.
    pub(super) fn ladders_go_on(&mut self, now: Stamp) {
        let until = now.after(INBOX_TURN);
        self.rise(now);
        while let Some(id) = self.ladders.pop(now) {
            self.climb(&id, now);
            if self.parts.clock.now().boot_ns >= until.boot_ns {
                // The rest has its turn after what the sensor sees now.
                break;
            }
        }
        if let Some(next) = self.ladders.next() {
            self.wake_at(next);
        }
    }

    pub(super) fn climb(&mut self, id: &IncidentId, now: Stamp) {
        self.route(id, now);
        loop {
            while let Some(made) = self.ladders.all.get(id).and_then(|outbox| outbox.next(now)) {
                self.make(id, &made, now);
            }
            let Some(outbox) = self.ladders.all.get(id) else { return };
            let at_it = &self.ladders.under_way;
            let due = outbox.waiting().filter(|(key, _, _, from)| *from <= now && !at_it.contains_key(*key));
            let due: Vec<(PageKey, u32)> = due.map(|(key, _, attempts, _)| (key.clone(), attempts + 1)).collect();
            if !due.is_empty() {
                // It survives whatever comes now, or nobody is told of it.
                self.ink.commit();
            }
            let failed = due.into_iter().filter(|(key, attempt)| !self.send(id, key, *attempt)).count();
            // What failed at once may have let the next step come.
            if failed == 0 {
                break;
            }
        }
        let is_left = |outbox: &Outbox| outbox.left().any(|key| self.ladders.under_way.contains_key(key));
        let is_told = |outbox: &&Outbox| outbox.is_over() && outbox.waiting().next().is_none() && !is_left(outbox);
        if let Some(told) = self.ladders.all.get(id).filter(is_told).map(Outbox::went) {
            self.write_ladder(id, vec![NewRecord::new(now, LadderClosed { told })]);
        }
        self.ladders.set(id);
    }

    /// Who is told now: a ladder that began goes on also where nobody would be told of a new incident.
    pub(super) fn told_by(&self) -> Arc<Escalation> {
        self.definitions.escalation.clone().unwrap_or_default()
    }

    /// Finds the policy of a ladder that has none yet.
    fn route(&mut self, id: &IncidentId, now: Stamp) {
        let Some(outbox) = self.ladders.all.get(id).filter(|outbox| outbox.ladder().is_none() && !outbox.is_over())
        else {
            return;
        };
        let (policy, definition, route) = self.policy_for(outbox, now);
        let definition = answers::json(definition);
        self.write_ladder(id, vec![NewRecord::new(now, LadderRouted { policy, definition, route })]);
    }

    /// The policy of the first route that an incident fits. One that cannot be evaluated fits: too many are told rather than nobody.
    fn policy_for(&self, outbox: &Outbox, now: Stamp) -> (Name, Policy, String) {
        let escalation = self.told_by();
        let started = &outbox.started;
        let facts = Facts {
            id: started.incident.clone(),
            level: outbox.level,
            tags: started.tags.clone(),
            rules: started.rules.clone(),
            entity: started.entity.clone(),
        };
        let incident = facts.to_json();
        let scope = Scope { incident: &incident, ..Scope::empty(now.wall) };
        for (number, route) in escalation.routes.iter().enumerate() {
            let number = number + 1;
            let (fits, why) = match &route.when {
                None => (true, format!("route {number} takes every incident")),
                Some(when) => match self.expressions.truth(when, &scope) {
                    Ok(fits) => (fits, format!("route {number}: `{when}`")),
                    Err(error) => {
                        (true, format!("route {number} could not be evaluated, and counts as one that fits: {error}"))
                    }
                },
            };
            if let (true, Some(policy)) = (fits, escalation.policies.get(&route.policy)) {
                return (route.policy.clone(), policy.clone(), why);
            }
        }
        (DEFAULT.into(), Policy::on_the_terminal(), "no route wants it".to_owned())
    }

    /// Makes a move: whom it reaches is found now, and written down with it.
    fn make(&mut self, id: &IncidentId, made: &Move, now: Stamp) {
        let Some(outbox) = self.ladders.all.get(id) else { return };
        let Some(policy) = outbox.ladder().map(|ladder| ladder.policy()) else { return };
        let (targets, by): (&[Target], &[_]) = match made.to {
            Place::Step { step, .. } => match usize::try_from(step).ok().and_then(|step| policy.steps.get(step)) {
                Some(step) => (&step.notify, &step.by),
                None => (&[], &[]),
            },
            Place::LastResort => (&policy.last_resort, &[]),
        };
        let escalation = self.told_by();
        let on_call = |name: &Name| match escalation.schedules.get(name) {
            Some(schedule) => {
                let on = schedule::who(schedule, now.wall);
                let why = on.reason();
                (on.who, why)
            }
            None => (None, "there is no such schedule any more".to_owned()),
        };
        let mut reached = escalation.reach(targets, by, &on_call);
        if made.to == Place::LastResort && reached.pages.is_empty() {
            // Silence is never the end.
            let because = "nobody else can be reached".to_owned();
            reached.pages.push(Page { to: To::Channel("console".into()), way: Way::Console, because });
        }
        let is_anew = made.generation > outbox.generation();
        for nobody in &reached.nobody {
            tracing::warn!(incident = %id, target = nobody.target, because = nobody.because, "nobody stands behind a target");
        }
        let moved = LadderMoved {
            generation: made.generation,
            to: made.to,
            because: made.because.clone(),
            pages: outbox.keyed(reached.pages),
            nobody: reached.nobody,
        };
        if made.to == Place::LastResort {
            tracing::error!(incident = %id, because = made.because, "the last resort is told of an incident");
        }
        let incident = if is_anew { self.live_or_journaled(id).ok() } else { None };
        self.ink.hold();
        let because = moved.because.clone();
        self.write_ladder(id, vec![NewRecord::new(now, moved)]);
        self.looked_after_no_more(incident, because, now);
        self.ink.let_go();
    }

    /// Writes records of a ladder, which takes them up.
    pub(super) fn write_ladder(&mut self, id: &IncidentId, records: Vec<NewRecord>) {
        let Some(outbox) = self.ladders.all.get_mut(id) else { return };
        self.ink.write(StreamId::ladder(id), outbox.seq, &records);
        records.iter().for_each(|record| outbox.apply(record.at, &record.body));
        let left = outbox.left().filter_map(|key| self.ladders.under_way.get(key));
        left.for_each(Stop::raise);
        self.ladders.set(id);
        if let Some(next) = self.ladders.next() {
            self.wake_at(next);
        }
    }

    /// Takes up the ladders that are not over.
    pub(super) fn recover_ladders(&mut self, open: &BTreeSet<StreamId>, now: Stamp) -> Result<(), StoreError> {
        for stream in open {
            let Some(id) = stream.as_ladder() else { continue };
            let records = self.parts.journal.read(stream, 1)?;
            let Some(Body::LadderStarted(started)) = records.first().map(|record| &record.body) else { continue };
            let mut outbox = Outbox::begun(started, self.aged(records[0].at, now));
            for record in &records {
                let is_ours = self.is_of_this_boot(record.at, now);
                outbox.apply(if is_ours { record.at } else { self.aged(record.at, now) }, &record.body);
                if !is_ours {
                    outbox.rebase(now);
                }
            }
            self.ladders.repeats.extend(outbox.waiting().map(|(key, ..)| key.clone()));
            self.ladders.all.insert(id.clone(), outbox);
            self.ladders.set(&id);
        }
        Ok(())
    }
}
