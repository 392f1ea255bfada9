//! What stands, as records say it: the fold of leases.
//!
//! Owns each lease's owner, end and state. Decides nothing, asks nobody and writes nothing. Keeps true: it is the same out of the
//! system's stream at a start as it was when the records were written.

use super::hold::Hold;
use super::ladder::own_incident;
use quell_model::playbook::AtEnd;
use quell_model::record::{LeaseChanged, LeaseGranted, Owner, Part};
use quell_model::{Body, IncidentId, Name, Record, RunId, Stamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where it stands: a run and a part of it.
pub(super) type Place = (RunId, Part);

/// A containment that stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    pub(super) action: Name,
    pub(super) owner: Option<Owner>,
    /// From when its time counts.
    pub(super) since: Stamp,
    /// How long; none: it has no end any more.
    pub(super) lasts: Option<Duration>,
    pub(super) at_end: AtEnd,
    /// Then it ends by itself, and nobody is asked.
    pub(super) own_end: bool,
    /// How it is held, where it would end by itself.
    pub(super) hold: Hold,
    pub(super) incident: Option<IncidentId>,
    pub(super) answers: Option<(Name, Name)>,
    /// What it answered has happened again.
    pub(super) needed: bool,
    /// Its end has come, and a person has to say.
    pub(super) due: bool,
    /// The world is being asked whether it stands.
    pub(super) asked: Option<Why>,
}

impl Standing {
    /// Whether the world is being asked whether it stands.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }
}

/// Why the world is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its lease is over.
    End,
    /// Its run is over: what was held may have been killed since.
    RunOver,
    /// The machine was booted.
    Boot,
    /// What was held is over, and why: something that needs no holding may stand all the same.
    Lapsed(String),
    /// The same, as a person took quell off this machine.
    Uninstalled,
}

/// All that stand.
#[derive(Debug, Default)]
pub(super) struct Leases {
    pub(super) all: BTreeMap<Place, Standing>,
    /// When the nearest ends, once that is known.
    pub(super) next: Option<Stamp>,
    pub(super) changed: bool,
    /// When the nearest is to be held again, and whether one is at once.
    hold_next: Option<Stamp>,
    pub(super) is_to_hold: bool,
    /// When quell was last taken off this machine.
    uninstalled: Option<Stamp>,
    /// Those that are needed again, and why: not written yet, because other records wait for the journal.
    pub(super) unwritten: Vec<(Place, String)>,
}

impl Leases {
    pub(super) fn grant(&mut self, at: Stamp, granted: &LeaseGranted) {
        let LeaseGranted { run, part, action, owner, lasts, at_end, own_end, incident, answers } = granted.clone();
        let standing = Standing {
            action,
            owner,
            since: at,
            lasts: Some(lasts),
            at_end,
            own_end,
            hold: Hold::default(),
            incident,
            answers,
            needed: false,
            due: false,
            asked: None,
        };
        self.all.insert((run, part), standing);
        self.changed = true;
    }

    pub(super) fn change(&mut self, at: Stamp, changed: &LeaseChanged) {
        let place = (changed.run.clone(), changed.part.clone());
        let Some(standing) = self.all.get_mut(&place) else { return };
        self.changed = true;
        standing.asked = None;
        standing.hold.look_again();
        if changed.owner.is_some() {
            standing.owner.clone_from(&changed.owner);
        }
        match changed.state.as_str() {
            "kept" => {
                (standing.since, standing.due, standing.needed) = (at, false, false);
                (standing.lasts, standing.own_end) = (changed.lasts, false);
            }
            // In force again after a boot, to the end that it has.
            "renewed" if changed.lasts.is_none() => {}
            "renewed" => {
                (standing.since, standing.due, standing.needed) = (at, false, false);
                (standing.lasts, standing.own_end) = (changed.lasts, false);
            }
            "needed" => standing.needed = true,
            "due" => (standing.due, standing.own_end) = (true, false),
            "lapsed" | "ended" => drop(self.all.remove(&place)),
            _ => {}
        }
    }

    /// Takes in a record of the system's stream.
    pub(super) fn take_in(&mut self, record: &Record) {
        match &record.body {
            Body::LeaseGranted(granted) => self.grant(record.at, granted),
            Body::LeaseChanged(changed) => self.change(record.at, changed),
            _ => {}
        }
    }

    /// Each with its place.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Place, &Standing)> {
        self.all.iter()
    }

    /// What a part did, if it stands.
    pub(super) fn at(&self, run: &RunId, part: &Part) -> Option<&Standing> {
        self.all.get(&(run.clone(), part.clone()))
    }

    /// The same, to be changed.
    pub(super) fn at_mut(&mut self, run: &RunId, part: &Part) -> Option<&mut Standing> {
        self.all.get_mut(&(run.clone(), part.clone()))
    }

    /// Whether one may have to be held now.
    pub(super) fn is_to_be_held(&self, now: Stamp) -> bool {
        self.is_to_hold || self.hold_next.is_some_and(|next| next <= now)
    }

    /// All were looked at; the nearest is to be held again then, and some were left out.
    pub(super) fn were_held(&mut self, next: Option<Stamp>, more: bool) {
        (self.hold_next, self.is_to_hold) = (next, more);
    }

    /// Somebody is to look which are to be held.
    pub(super) fn hold_again(&mut self) {
        self.is_to_hold = true;
    }

    /// The same, whatever was tried before.
    pub(super) fn hold_at_once(&mut self) {
        self.is_to_hold = true;
        self.all.values_mut().for_each(|standing| standing.hold.look_again());
    }

    /// Of all that an action did it is to be asked anew whether it stands.
    pub(super) fn look_anew(&mut self, action: &Name) {
        self.is_to_hold = true;
        let of = self.all.values_mut().filter(|standing| standing.action == *action);
        of.for_each(|standing| standing.hold.look_anew());
    }

    /// A person took quell off this machine: what stood before is not meant to stand again.
    pub(super) fn uninstalled(&mut self, record: &Record) {
        if let Body::PersonActed(acted) = &record.body
            && acted.what.as_str() == "uninstall"
            && acted.detail["keeps"] != true
        {
            self.uninstalled = Some(record.at);
        }
    }

    /// Whether it stood when quell was taken off this machine.
    pub(super) fn was_before_uninstall(&self, standing: &Standing) -> bool {
        self.uninstalled.is_some_and(|at| standing.since.wall <= at.wall)
    }

    /// Which stand that a run, or a part of it, did.
    pub(super) fn of(&self, run: &RunId, part: Option<&Part>) -> Vec<Part> {
        let first = Part { step: "".into(), item: None };
        let of = self.all.range((run.clone(), first)..).take_while(|(place, _)| place.0 == *run);
        let parts = of.map(|((_, part), _)| part);
        parts.filter(|one| part.is_none_or(|part| part.covers(one))).cloned().collect()
    }

    /// What stands of an incident's runs and waits for a person.
    pub(super) fn due_of<'a>(&'a self, incident: &'a IncidentId) -> impl Iterator<Item = (&'a Place, &'a Standing)> {
        self.all.iter().filter(move |(place, standing)| standing.due && is_of(place, standing, incident))
    }

    /// The runs of an incident of which something stands, the latest first granted first.
    pub(super) fn runs_of(&self, incident: &IncidentId) -> Vec<RunId> {
        let of = self.all.iter().filter(|(place, standing)| is_of(place, standing, incident));
        let mut runs: Vec<(Stamp, RunId)> = of.map(|((run, _), standing)| (standing.since, run.clone())).collect();
        runs.sort_by(|a, b| b.cmp(a));
        let mut seen = Vec::new();
        for (_, run) in runs {
            if !seen.contains(&run) {
                seen.push(run);
            }
        }
        seen
    }

    /// The incident of a run of which something stands.
    pub(super) fn incident_of(&self, run: &RunId) -> Option<IncidentId> {
        let first = Part { step: "".into(), item: None };
        let (place, standing) = self.all.range((run.clone(), first)..).next()?;
        standing.incident.clone().filter(|_| place.0 == *run)
    }

    /// What stands, and how it stands, but for whether somebody asks the world just now and since which moment.
    #[cfg(test)]
    pub(super) fn places(&self) -> Vec<(&Place, Option<Duration>, bool, bool)> {
        self.all.iter().map(|(place, standing)| (place, standing.lasts, standing.needed, standing.due)).collect()
    }

    /// What stands although its time is over, ends by undoing, and nobody was asked about.
    #[cfg(test)]
    pub(super) fn overdue(&self, age: impl Fn(Stamp) -> Duration) -> Vec<&Place> {
        let over = |standing: &Standing| standing.lasts.is_some_and(|lasts| age(standing.since) > lasts);
        let left = self.all.iter().filter(|(_, standing)| !standing.due && over(standing));
        left.map(|(place, _)| place).collect()
    }

    /// All that stand, and of which run.
    pub(super) fn standing(&self) -> impl Iterator<Item = (&RunId, &Standing)> {
        self.all.iter().map(|((run, _), standing)| (run, standing))
    }

    /// Of how many the world is being asked whether they stand.
    pub(super) fn asked(&self) -> usize {
        self.all.values().filter(|standing| standing.asked.is_some()).count()
    }

    /// How many stand, and of how many a person has to say.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.all.len(), self.all.values().filter(|standing| standing.due).count())
    }
}

/// Whether an incident's run did it: that of a run which belongs to none may have one that was opened for it.
fn is_of((run, _): &Place, standing: &Standing, incident: &IncidentId) -> bool {
    standing.incident.as_ref().map_or_else(|| own_incident(run, 0) == *incident, |of| of == incident)
}
