//! Silences of ladders: said, held against each ladder of an incident, and ended.
//!
//! ```text
//! somebody says it ──▶ SilenceAdded (system) ──▶ LadderSilenced, in each that it covers: nobody is called before its end
//! its time is up, somebody ends it, what it does not cover joins ──▶ LadderSilenced: no longer ──▶ the step that was due
//! ```
//!
//! Owns the silences that stand. Never touches a run or a question: what contains goes on, and what asks is carried. Keeps true: a
//! silence that stands is in the journal; each ladder says by itself what holds it back, so that one whose silence ended while no
//! engine ran goes on; what still burns at a silence's end is told.

use super::Ladders;
use crate::escalation::facts::Facts;
use crate::escalation::outbox::Outbox;
use crate::escalation::silence::{LONGEST, MOST, Silence, Silences, Subject, covers, objection};
use crate::playbook::expression::Scope;
use crate::run::answers::{self, SilenceGone, SilenceView};
use crate::run::request::Refusal;
use crate::run::shell::{Core, INBOX_TURN};
use crate::store::Journal;
use quell_model::mistake::nearest;
use quell_model::record::{Covers, LadderSilenced, NewRecord, SilenceAdded, SilenceEnded};
use quell_model::{Body, IncidentId, Json, Kind, LadderId, Name, Record, Stamp, StoreError, StreamId};
use std::collections::BTreeSet;
use std::time::Duration;

/// So many of the incidents that a silence holds back are named.
const MOST_NAMED: usize = 20;

/// What somebody wants to be silenced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Which incidents.
    pub covers: Covers,
    /// For how long from now.
    pub lasts: Duration,
    /// Why.
    pub reason: String,
    /// What happens meanwhile was planned.
    pub maintenance: bool,
}

impl Ladders {
    /// A rule was seen in an incident: what the journal had of it before is not all any more.
    pub(in crate::run) fn sees(&mut self, id: &IncidentId, rule: &Name) {
        if let Some(rules) = self.rules.get_mut(&LadderId::incident(id))
            && !rules.contains(rule)
        {
            rules.insert(rule.clone());
        }
    }
}

impl<W: Send + 'static> Core<W> {
    /// Takes up the silences that stood when the last engine ended.
    pub(in crate::run) fn recover_silences(&mut self, journal: &Journal) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        for record in journal.latest(&[Kind::SilenceAdded, Kind::SilenceEnded], usize::MAX)? {
            let is_ours = self.is_of_this_boot(record.at, now);
            let by_now = |at: Stamp| if is_ours { at } else { at.on_boot_of(now) };
            match record.body {
                Body::SilenceAdded(added) => {
                    let (at, until) = (by_now(record.at), by_now(added.until));
                    self.silences.add(Silence { added: *added, at, until });
                }
                Body::SilenceEnded(ended) => drop(self.silences.end(&ended.silence)),
                _ => {}
            }
        }
        if let Some(next) = self.silences.next() {
            self.wake_at(next);
        }
        Ok(())
    }

    /// For a while nobody is to be told of some incidents.
    pub(in crate::run) fn silence(&mut self, wanted: Wanted, (by, via): (Name, Name)) -> Result<Json, Refusal> {
        let Wanted { covers, lasts, reason, maintenance } = wanted;
        if let Some(what) = objection(&covers) {
            return Err(Refusal::Wrong(what));
        }
        if lasts.is_zero() || lasts > LONGEST {
            let what = "a silence has an end, at most 30 days from now: say it anew then";
            return Err(Refusal::Wrong(what.to_owned()));
        }
        if reason.trim().is_empty() {
            return Err(Refusal::Wrong("a silence has a reason, for whoever finds that nobody was told".to_owned()));
        }
        if self.silences.is_full() {
            let what =
                format!("{MOST} silences stand, and more could not be overseen: `quell silence end ID` ends one");
            return Err(Refusal::NotNow(what));
        }
        let now = self.parts.clock.now();
        // The number of its record: no other has it.
        let silence = Name::from(format!("s-{}", self.system_seq + 1).as_str());
        let until = now.after(lasts);
        let added = SilenceAdded { silence: silence.clone(), covers, until, maintenance, by, via, reason };
        self.write_system(vec![NewRecord::new(now, added.clone())]);
        self.silences.add(Silence { added, at: now, until });
        // At once, so that whoever said it is told what it holds.
        self.hush_all(now);
        self.wake_at(until);
        let view = self.silences.get(&silence).map(|silence| self.silence_view(silence, now));
        Ok(answers::json(view))
    }

    /// One ends before its time.
    pub(in crate::run) fn end_silence(&mut self, name: &Name, (by, via): (Name, Name)) -> Result<Json, Refusal> {
        let now = self.parts.clock.now();
        self.silences_end(now);
        if self.silences.get(name).is_none() {
            let all = self.silences.all();
            return Err(match nearest(name.as_str(), all.iter().map(|one| one.added.silence.as_str())) {
                Some(near) => Refusal::Wrong(format!("no silence `{name}` stands; did you mean `{near}`?")),
                None => Refusal::NotFound { kind: "silence that stands", id: name.to_string() },
            });
        }
        let released = self.held_by(name).count() as u64;
        self.silence_ends(SilenceEnded { silence: name.clone(), by: Some(by), via }, now);
        Ok(answers::json(SilenceGone { id: name.clone(), released }))
    }

    /// Those whose time is up end.
    pub(in crate::run) fn silences_end(&mut self, now: Stamp) {
        for silence in self.silences.over(now) {
            self.silence_ends(SilenceEnded { silence, by: None, via: "engine".into() }, now);
        }
        if let Some(next) = self.silences.next() {
            self.wake_at(next);
        }
    }

    fn silence_ends(&mut self, ended: SilenceEnded, now: Stamp) {
        self.silences.end(&ended.silence);
        self.write_system(vec![NewRecord::new(now, ended)]);
        self.ladders.look_at_all(now);
        self.wake_at(now);
    }

    /// Those that stand, by their ends.
    pub(in crate::run) fn all_silences(&self) -> Vec<SilenceView> {
        let now = self.parts.clock.now();
        self.silences.all().into_iter().map(|silence| self.silence_view(silence, now)).collect()
    }

    fn silence_view(&self, silence: &Silence, now: Stamp) -> SilenceView {
        let SilenceAdded { silence: id, covers, maintenance, by, via, reason, .. } = silence.added.clone();
        let held: Vec<IncidentId> = self.held_by(&id).collect();
        // Of two looks each is by its own clocks, which differ by less than anybody means.
        let wall = |at: Stamp| {
            let wall = at.wall_by(now);
            wall.round(jiff::Unit::Second).unwrap_or(wall)
        };
        SilenceView {
            id,
            covers,
            maintenance,
            by,
            via,
            reason,
            since: wall(silence.at),
            until: wall(silence.until),
            holds_back: held.len() as u64,
            incidents: held.into_iter().take(MOST_NAMED).collect(),
        }
    }

    /// The incidents that one holds back.
    fn held_by<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = IncidentId> + 'a {
        let is_it = |outbox: &&Outbox| {
            outbox.may_be_silenced() && outbox.silenced().is_some_and(|silenced| silenced.silence == *name)
        };
        self.ladders.all.values().filter(is_it).filter_map(|outbox| outbox.started.incident.clone())
    }

    /// Holds the silences against every ladder; those for which no time is left now have their turn after what the sensor sees.
    fn hush_all(&mut self, now: Stamp) {
        let until = now.after(INBOX_TURN);
        let all: Vec<LadderId> = self.ladders.all.keys().cloned().collect();
        for id in &all {
            match self.parts.clock.now().boot_ns < until.boot_ns {
                true => self.hush(id, now),
                false => self.ladders.look_at(id, now),
            }
        }
        self.wake_at(now);
    }

    /// Writes down which silence holds a ladder from now on, or that none does any longer.
    pub(super) fn hush(&mut self, id: &LadderId, now: Stamp) {
        let may_be = self.ladders.all.get(id).is_some_and(Outbox::may_be_silenced);
        let seen = if may_be && self.silences.next().is_some() { self.rules_seen(id) } else { None };
        let Some(outbox) = self.ladders.all.get(id).filter(|outbox| outbox.may_be_silenced()) else { return };
        let held = outbox.silenced().filter(|held| held.until > now);
        if seen.is_none() && held.is_some_and(|held| self.still_holds(outbox, &held.silence, now)) {
            return;
        }
        let silenced = match (self.covering(outbox, seen, now), held) {
            (Some(silence), held) if held.is_none_or(|held| held.silence != silence.added.silence) => {
                let SilenceAdded { silence: name, by, reason, maintenance, .. } = silence.added.clone();
                LadderSilenced { silence: name, by, reason, maintenance, until: silence.until }
            }
            (None, Some(held)) => LadderSilenced { until: now, ..held.clone() },
            (Some(_), _) | (None, None) => return,
        };
        self.write_ladder(id, vec![NewRecord::new(now, silenced)]);
    }

    /// The rules that were seen in an incident; none: that cannot be known now. What takes nothing more, or what another engine
    /// opened, is in the journal alone.
    fn rules_seen(&mut self, id: &LadderId) -> Option<BTreeSet<Name>> {
        let incident = id.as_incident()?;
        let live = self.incidents.get(&incident).map(|live| live.counts.keys());
        let live: Option<BTreeSet<Name>> = live.map(|counts| counts.map(|(rule, _)| rule.clone()).collect());
        if let (Some(live), false) = (&live, self.ladders.recovered.contains(id)) {
            return Some(live.clone());
        }
        if !self.ladders.rules.contains_key(id) {
            let readable = self.ink.readable(&StreamId::incident(&incident)).ok()?;
            let records = readable.kinds(&[Kind::DetectionAccepted]);
            let records = records.inspect_err(|error| tracing::warn!(%incident, %error, "no rule's silence covers it"));
            let rule = |record: Record| match record.body {
                Body::DetectionAccepted(accepted) => Some(accepted.detection.rule.name.clone()),
                _ => None,
            };
            self.ladders.rules.insert(id.clone(), records.ok()?.into_iter().filter_map(rule).collect());
        }
        let journaled = self.ladders.rules.get(id)?;
        Some(journaled.union(&live.unwrap_or_default()).cloned().collect())
    }

    /// The silence that covers what a ladder tells of; where nobody knows what else was seen in its incident, a rule's and a tag's
    /// do not.
    fn covering(&self, outbox: &Outbox, seen: Option<BTreeSet<Name>>, now: Stamp) -> Option<&Silence> {
        let is_mixed = seen.as_ref().is_none_or(|seen| seen.iter().any(|rule| !outbox.started.rules.contains(rule)));
        self.judged(outbox, (seen.unwrap_or_default(), is_mixed), now, |silences, of, truth| {
            silences.covering(of, now, truth)
        })
    }

    /// Whether the silence that holds a ladder stands, and covers it by all that is known without its incident's records: what
    /// these say beside is found once they can be read.
    fn still_holds(&self, outbox: &Outbox, held: &Name, now: Stamp) -> bool {
        self.judged(outbox, (BTreeSet::new(), false), now, |silences, of, truth| {
            silences.get(held).filter(|held| held.until > now && covers(&held.added.covers, of, truth))
        })
        .is_some()
    }

    /// What of the silences that stand `which` finds for what a ladder tells of, with these rules, and whether that is mixed.
    fn judged<'a>(
        &'a self,
        outbox: &Outbox,
        (seen, is_mixed): (BTreeSet<Name>, bool),
        now: Stamp,
        which: impl FnOnce(&'a Silences, &Subject<'_>, &dyn Fn(&str) -> Option<bool>) -> Option<&'a Silence>,
    ) -> Option<&'a Silence> {
        // Most of the time none stands.
        self.silences.next()?;
        let started = &outbox.started;
        let id = started.incident.clone()?;
        let rules = started.rules.union(&seen).cloned().collect();
        let (tags, entity) = (started.tags.clone(), started.entity.clone());
        let facts = Facts { id, level: outbox.level, tags, rules, entity };
        let incident = facts.to_json();
        let scope = Scope { incident: &incident, ..Scope::empty(now.wall) };
        let truth = |expression: &str| {
            let truth = self.expressions.truth(expression, &scope);
            truth.inspect_err(|error| tracing::warn!(expression, %error, "a silence covers nothing")).ok()
        };
        which(&self.silences, &Subject { facts: &facts, is_mixed }, &truth)
    }
}
