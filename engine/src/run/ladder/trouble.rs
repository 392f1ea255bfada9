//! Troubles of what runs did: what could not be taken back, a lease at whose end a person has to say, one that has lapsed.
//!
//! ```text
//! stuck, due, lapsed ──▶ its incident's ladder begins anew, whoever looked after it
//!      the ladder is over ──▶ the incident is open again ──▶ LadderStarted
//!      the run has no incident ──▶ IncidentOpened ─────────▶ LadderStarted
//! ```
//!
//! Owns whose ladder tells of it. Never says who is told, nor what went wrong. Keeps true: what went wrong and that people hear of
//! it are one append, so that it is told once however often quell dies; what has to be read for that is read before.

use super::Change;
use crate::escalation::ladder::Ladder;
use crate::escalation::outbox::Outbox;
use crate::incident::Incident;
use crate::run::escalate::begins;
use crate::run::shell::Core;
use crate::run::unread::Unread;
use quell_model::playbook::IncidentMoment;
use quell_model::record::{
    AcknowledgementChanged, IncidentCame, IncidentChanged, IncidentJoined, IncidentOpened, IncidentState, LadderChange,
    LadderStarted, NewRecord, Part,
};
use quell_model::{Entity, IncidentId, LadderId, Level, RunId, Stamp, StreamId};

/// Of what waits to be told so many characters stand before what is new, the last ones.
const MOST_BEFORE: usize = 1000;

/// Who hears of a trouble, as it is before that.
#[must_use = "what went wrong is told with the record that says so"]
pub(in crate::run) enum Heard {
    /// Nobody is told of this incident, or of any: its timeline says it, if there is one.
    Timeline(Option<IncidentId>),
    /// Those whom its ladder tells, which is not over.
    Ladder(IncidentId),
    /// Those whom it told before it was over.
    Again(Box<Again>),
    /// Those whom the routes name for an incident that is opened for it.
    Opened(IncidentId),
}

/// An incident whose ladder begins again.
pub(in crate::run) struct Again {
    id: IncidentId,
    is_resolved: bool,
    is_acknowledged: bool,
    level: Level,
    began: LadderStarted,
}

/// The incident that is opened for a run which belongs to none: the first; a later one where that is not kept any more.
pub(in crate::run) fn own_incident(run: &RunId, number: u64) -> IncidentId {
    IncidentId::of(&[b"trouble", run.as_str().as_bytes(), &number.to_le_bytes()])
}

impl<W: Send + 'static> Core<W> {
    /// Who is to hear of what went wrong with what a run did; an error: that cannot be read yet.
    pub(in crate::run) fn heard(&mut self, run: &RunId, incident: Option<&IncidentId>) -> Result<Heard, Unread> {
        if self.definitions.escalation.is_none() {
            return Ok(Heard::Timeline(incident.cloned()));
        }
        let of_run = incident.filter(|id| self.ink.has(&StreamId::incident(id))).cloned();
        for next in of_run.into_iter().chain((0..).map(|number| own_incident(run, number))) {
            if self.is_telling(&next) {
                return Ok(Heard::Ladder(next));
            }
            if !self.ink.has(&StreamId::incident(&next)) {
                return Ok(Heard::Opened(next));
            }
            match self.heard_again(&next) {
                Ok(Some(heard)) => return Ok(heard),
                Ok(None) => {}
                Err(Unread::Never(why)) => {
                    tracing::error!(%run, incident = %next, why, "it cannot be read: another incident tells of its run");
                }
                Err(not_yet) => return Err(not_yet),
            }
        }
        Ok(Heard::Timeline(None))
    }

    /// None: the incident is not kept any more.
    fn heard_again(&mut self, id: &IncidentId) -> Result<Option<Heard>, Unread> {
        let Some(before) = self.incident_for(id)? else { return Ok(None) };
        if before.backfill {
            return Ok(Some(Heard::Timeline(Some(id.clone()))));
        }
        let began = match self.told_before(id)? {
            Some(told) => told,
            None => begins(&before, self.beginning(id)?.as_ref(), String::new()),
        };
        let (is_resolved, is_acknowledged) = (before.standing.is_resolved(), before.standing.acknowledged.is_some());
        let again = Again { id: id.clone(), is_resolved, is_acknowledged, level: before.level, began };
        Ok(Some(Heard::Again(Box::new(again))))
    }

    /// What is stuck of an incident that is just being resolved: its ladder was told, and ends before it tells anybody.
    pub(in crate::run) fn left_standing(&mut self, id: &IncidentId) -> Result<Option<(Box<Again>, String)>, Unread> {
        let goes = |run: &RunId, part: &Part| self.runs.get(run).is_some_and(|live| live.run.takes_back(part));
        let mut left = self.leases.due_of(id).filter(|((run, part), _)| !goes(run, part));
        let Some(((run, part), standing)) = left.next().filter(|_| self.definitions.escalation.is_some()) else {
            return Ok(None);
        };
        let action = &standing.action;
        let text = format!(
            "{part} of run {run} ({action}) could not be taken back, though it was no attack: `quell run undo {run}` tries again"
        );
        drop(left);
        Ok(match self.heard_again(id)? {
            Some(Heard::Again(again)) => Some((again, text)),
            _ => None,
        })
    }

    /// It was resolved in the same append.
    pub(in crate::run) fn opens_for_left(&mut self, (again, text): (Box<Again>, String)) {
        let now = self.parts.clock.now();
        self.begins_again(Again { is_resolved: true, ..*again }, text, now);
    }

    /// Tells people what went wrong. Whoever calls it holds what says so in the same append.
    pub(in crate::run) fn trouble(&mut self, run: &RunId, heard: Heard, text: String) {
        let now = self.parts.clock.now();
        tracing::warn!(%run, text, "a person has to look");
        match heard {
            Heard::Timeline(incident) => self.tell_incident(incident.as_ref(), text),
            Heard::Ladder(id) => {
                self.begins_anew(&id, &text, now);
                self.tell_incident(Some(&id), text);
            }
            Heard::Again(again) => self.begins_again(*again, text, now),
            Heard::Opened(id) => self.opens_for(run, id, text, now),
        }
    }

    fn begins_anew(&mut self, id: &IncidentId, text: &str, now: Stamp) {
        let ladder = LadderId::incident(id);
        let waits = self.ladders.all.get(&ladder).and_then(untold);
        let why = waits.map_or_else(|| text.to_owned(), |waits| joined(waits, text));
        let is_acknowledged = self.is_ladder_acknowledged(id);
        self.change_ladder(&ladder, Change::by_engine(LadderChange::Raised, why), now);
        if is_acknowledged {
            self.add_to_incident(id, NewRecord::new(now, no_longer(text)));
        }
    }

    fn begins_again(&mut self, again: Again, text: String, now: Stamp) {
        let Again { id, is_resolved, is_acknowledged, level, began } = again;
        if is_resolved {
            let opened = IncidentChanged::to(IncidentState::Open, "quell".into(), text.clone());
            self.add_to_incident(&id, NewRecord::new(now, opened));
        } else if is_acknowledged {
            self.add_to_incident(&id, NewRecord::new(now, no_longer(&text)));
        }
        self.begin_ladder(LadderStarted { level: began.level.max(level), because: text.clone(), ..began }, now);
        self.tell_incident(Some(&id), text);
    }

    fn opens_for(&mut self, run: &RunId, id: IncidentId, text: String, now: Stamp) {
        let entity = Entity { kind: "run".into(), id: run.as_str().into(), node: self.parts.node.clone() };
        let (title, level) = (format!("what run {run} did, which belongs to no incident"), Level::High);
        let opened = IncidentOpened {
            incident: id.clone(),
            entity: entity.clone(),
            title: title.clone(),
            level,
            backfill: false,
        };
        let joined = IncidentJoined { detection: None, run: Some(run.clone()), level: Level::Informational, count: 0 };
        let came = IncidentCame { moment: IncidentMoment::Opened, record: 1, level, by: None, why: String::new() };
        // It began with no detection, and so starts nothing.
        let answers = self.answers_to(&id, &came, None, now);
        let mut incident = Incident::open(id.clone(), entity.clone(), level, now);
        drop(self.come(&mut incident, &[NewRecord::new(now, opened)], answers, now));
        self.write_to(&mut incident, &[NewRecord::new(now, joined)]);
        if let Some(old) = self.incidents.insert(incident) {
            self.triggers.incident_closed(&old.id);
        }
        let started = LadderStarted {
            incident: Some(id.clone()),
            question: None,
            title,
            entity,
            level,
            tags: Default::default(),
            rules: Default::default(),
            because: text.clone(),
            generation: 0,
            gathers: false,
        };
        self.begin_ladder(started, now);
        self.tell_incident(Some(&id), text);
    }
}

/// Why a ladder goes on, where nobody was told of that yet.
fn untold(outbox: &Outbox) -> Option<&str> {
    outbox.ladder().map_or(Some(outbox.because.as_str()), Ladder::untold)
}

/// What waits to be told, and then what is new.
fn joined(before: &str, text: &str) -> String {
    match before.chars().count().saturating_sub(MOST_BEFORE) {
        0 => format!("{before}; {text}"),
        more => format!("…{}; {text}", before.chars().skip(more).collect::<String>()),
    }
}

fn no_longer(why: &str) -> AcknowledgementChanged {
    AcknowledgementChanged { acknowledged: false, by: "quell".into(), via: "engine".into(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_at_once_the_last_are_said_whole() {
        let text = |number: u32| format!("part {number} stands{}", "x".repeat(50));
        let said = (1..100).fold(text(0), |before, number| joined(&before, &text(number)));
        assert!(said.starts_with('…') && said.ends_with(&text(99)) && said.contains(&text(98)), "{said}");
        assert!(said.chars().count() < MOST_BEFORE + 100, "{}", said.len());
        assert_eq!(joined("it was opened", "it stands"), "it was opened; it stands");
    }
}
