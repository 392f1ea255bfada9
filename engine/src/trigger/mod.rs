//! Triggers: which detections start which playbook, one run per what, and what holds it back.
//!
//! Owns the open and lately planned runs by `run_per`, and how often a playbook started. Starts nothing itself: it
//! answers, and the engine acts on the answer. An `if` that errs never switches a playbook off: the run starts, but
//! stricter.

pub mod incident;
mod refused;
pub mod schedule;

use crate::playbook::expression::{Expressions, Scope};
use quell_model::guard::place_of_event;
use quell_model::playbook::{DetectionFilter, Playbook, Rate};
use quell_model::record::RunStarted;
use quell_model::{Detection, Event, Field, IncidentId, Json, Mode, Name, People, ProcessId, RuleRef, RunId, Stamp};
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What a playbook makes of a detection.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Rules, tags or level do not fit.
    NotMine(String),
    /// Its `if` was false.
    IfFalse,
    /// This open run takes it.
    Join(RunId),
    /// This run was refused for just the same, whoever it would act on is protected still, and it takes it.
    JoinRefused(RunId),
    /// A run is due.
    Start {
        /// The value of `run_per`.
        per: String,
        /// No further than this, and why, where something makes it stricter.
        stricter: Option<(Mode, String)>,
    },
}

/// A playbook, and a value of its `run_per`.
type Key = (Name, String);

/// A run that takes detections which it may answer as far as a run of their own might.
#[derive(Clone, Debug)]
struct Taker {
    run: RunId,
    /// How far it may go.
    most: Mode,
}

/// Open runs, and what was started lately.
#[derive(Debug, Default)]
pub struct Triggers {
    /// The open runs of a key: beside one that must ask another may act.
    open: HashMap<Key, Vec<Taker>>,
    planned: HashMap<Key, (Taker, Option<IncidentId>)>,
    /// The keys of `planned` with their runs, the earliest first; some of them may be gone from there, or be of another run.
    planned_order: VecDeque<(Key, RunId)>,
    /// The keys of `planned` by incident: thousands of incidents close at once after a flood.
    planned_in: HashMap<IncidentId, HashSet<Key>>,
    /// Runs that were refused because of whom they would have acted on.
    refused: refused::Refusals,
    /// Where each playbook started runs that may act, and when last.
    starts: HashMap<Name, HashMap<String, Stamp>>,
    /// The moments of calendars.
    pub schedules: schedule::Schedules,
    /// What moments of incidents started.
    pub incidents: incident::Starts,
}

/// Runs that only planned and take further detections: past it the earliest are forgotten, and plan again. Whoever makes
/// ever new subjects must not take the memory.
const MOST_PLANNED: usize = 10_000;

/// Whether the filter wants detections of this rule.
#[must_use]
pub fn wants(filter: &DetectionFilter, rule: &RuleRef) -> bool {
    names(filter, rule) && rule.level >= filter.level
}

/// Whether the filter names this rule, whatever its level.
pub(crate) fn names(filter: &DetectionFilter, rule: &RuleRef) -> bool {
    let named = filter.rules.iter().any(|name| is_called(rule, name));
    let tagged = filter.tags.iter().any(|tag| is_tagged(rule, tag));
    let any = filter.rules.is_empty() && filter.tags.is_empty();
    named || tagged || any
}

/// Whether a rule is meant by this name: its own, or its id.
pub(crate) fn is_called(rule: &RuleRef, name: &Name) -> bool {
    *name == rule.name || rule.id.as_ref() == Some(name)
}

/// Whether a rule has this tag, or one below it: `attack.t1059` means `attack.t1059.004` too.
pub(crate) fn is_tagged(rule: &RuleRef, tag: &Name) -> bool {
    rule.tags.iter().any(|other| is_below(other, tag))
}

/// Whether a tag is the other one, or below it.
pub(crate) fn is_below(tag: &Name, other: &Name) -> bool {
    let rest = tag.as_str().strip_prefix(other.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What a trigger's expressions see besides the detection.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// From quell.yaml.
    pub vars: &'a Json,
    /// Who is who.
    pub people: &'a Arc<People>,
}

/// A detection as expressions see it, made once for all playbooks, and only if one asks.
#[derive(Debug)]
pub struct Seen<'a> {
    detection: &'a Detection,
    views: OnceCell<(Json, Json)>,
}

impl<'a> Seen<'a> {
    /// Nothing is made yet.
    #[must_use]
    pub fn new(detection: &'a Detection) -> Self {
        Self { detection, views: OnceCell::new() }
    }

    /// The detection itself.
    #[must_use]
    pub fn detection(&self) -> &'a Detection {
        self.detection
    }

    /// `event` and `detection` in expressions.
    pub fn views(&self) -> &(Json, Json) {
        self.views.get_or_init(|| (self.detection.event.for_playbooks(), self.detection.for_playbooks()))
    }

    /// The same, given away: they are large, and the run that they start keeps them.
    pub fn take_views(&mut self) -> (Json, Json) {
        self.views();
        self.views.take().unwrap_or_default()
    }
}

/// How long ago it happened; of a process that ran before the sensor did, how long ago that process started. What this
/// kernel told is as old as the boot clock says: a step of the wall clock makes it neither old nor young.
pub(crate) fn age(detection: &Detection, now: Stamp) -> Duration {
    let event = &detection.event;
    let at = event.head.at;
    let source = event.head.source.as_str();
    if !(source == SENSOR || source == SCAN) || at.boot_ns == 0 {
        return Duration::try_from(now.wall.duration_since(at.wall)).unwrap_or_default();
    }
    let started = (source == SCAN).then(|| event.own("process.id"));
    let since = match started.flatten() {
        Some(Field::Str(id)) => id.parse::<ProcessId>().map_or(at.boot_ns, |id| id.start_ns),
        _ => at.boot_ns,
    };
    Duration::from_nanos(now.boot_ns.saturating_sub(since))
}

/// Why a run of a backfill goes no further than to plan.
pub(crate) const BACKFILL: &str = "it is of what its source held before quell first followed it (a backfill): nothing is done about it, and nobody asked";

/// Whether it is about a process that a start found running.
#[must_use]
pub fn is_scanned(detection: &Detection) -> bool {
    detection.event.head.source.as_str() == SCAN
}

/// The source of events about what happens now.
const SENSOR: &str = "sensor";
/// The source of events about what ran before the sensor started.
const SCAN: &str = "scan";

impl Triggers {
    /// What `playbook` makes of a detection now, on which a run may go as far as `most`. A run that may not go as far takes
    /// none: who lets a log that anybody can write speak of his process first, or an old event, is not safe by that.
    pub fn answer(
        &self,
        playbook: &Playbook,
        seen: &Seen<'_>,
        ground: Ground<'_>,
        expressions: &Expressions,
        most: Mode,
        now: Stamp,
    ) -> Answer {
        let detection = seen.detection;
        let Some(filter) = &playbook.on.detections else {
            return Answer::NotMine("no detection starts it".to_owned());
        };
        if !wants(filter, &detection.rule) {
            let (rule, level) = (&detection.rule.name, detection.rule.level);
            return Answer::NotMine(format!("it does not ask for rule `{rule}` at level {level}"));
        }
        let (event, described) = seen.views();
        let people = Some(ground.people);
        let scope = Scope { event, detection: described, vars: ground.vars, people, ..Scope::empty(now.wall) };
        let mut stricter = None;
        if let Some(condition) = &playbook.on.condition {
            match expressions.truth(&condition.text, &scope) {
                Ok(true) => {}
                Ok(false) => return Answer::IfFalse,
                Err(error) => {
                    stricter = Some((Mode::Approve, format!("its trigger's `if` could not be evaluated: {error}")))
                }
            }
        }
        let per = match expressions.eval(&playbook.on.run_per.text, &scope) {
            Ok(Json::String(text)) => text,
            // What has no such value is not one with all the others that have none.
            Ok(Json::Null) => detection.subject().to_string(),
            Ok(value) => value.to_string(),
            Err(error) => {
                stricter.get_or_insert((Mode::Approve, format!("its `run_per` could not be evaluated: {error}")));
                detection.subject().to_string()
            }
        };
        if detection.backfill {
            stricter = Some((Mode::Observe, BACKFILL.to_owned()));
        }
        if stricter.is_none() && age(detection, now) > playbook.on.max_age {
            stricter = Some((Mode::Approve, format!("the event is older than {:?}", playbook.on.max_age)));
        }
        if stricter.is_none()
            && let Some(rate) = playbook.limits.runs
            && self.is_at_limit(playbook, now)
            && !self.has_started_in(playbook, place_of_event(event), rate, now)
        {
            let (count, per) = (rate.count, rate.per);
            stricter = Some((Mode::Approve, format!("it started in {count} places in {per:?}, which is its limit")));
        }
        let most = stricter.as_ref().map_or(most, |(mode, _)| most.strictest(*mode));
        let key = (playbook.name.clone(), per);
        let open = self.open.get(&key).into_iter().flatten();
        let mut takers = open.chain(self.planned.get(&key).map(|(taker, _)| taker));
        if let Some(taker) = takers.find(|taker| taker.most >= most) {
            return Answer::Join(taker.run.clone());
        }
        match self.refused.find(&key, || refused::likeness(event, described), most, now) {
            Some(run) => Answer::JoinRefused(run),
            None => Answer::Start { per: key.1, stricter },
        }
    }

    /// A run has ended that the guard refused because of whom it would have acted on, whatever else it would have done: by this guard
    /// the same again is refused too.
    pub fn refused(&mut self, run: &RunStarted, at: Stamp) {
        let most = if run.untrusted { run.mode.strictest(Mode::Approve) } else { run.mode };
        let like = refused::likeness(&run.event, &run.detection);
        let taker = Taker { run: run.run.clone(), most };
        self.refused.add((run.playbook.clone(), run.per.clone()), taker, like, at);
    }

    /// Whether a further run of this playbook would have to ask if it came from a new place, because it has started in so
    /// many lately. One place counts once, however often it gives cause: a flood does not use the limit up.
    #[must_use]
    pub fn is_at_limit(&self, playbook: &Playbook, now: Stamp) -> bool {
        let Some(rate) = playbook.limits.runs else { return false };
        let starts = self.starts.get(&playbook.name).into_iter().flat_map(HashMap::values);
        starts.filter(|last| now.since(**last) <= rate.per).count() >= rate.count as usize
    }

    fn has_started_in(&self, playbook: &Playbook, place: &str, rate: Rate, now: Stamp) -> bool {
        let last = self.starts.get(&playbook.name).and_then(|starts| starts.get(place));
        last.is_some_and(|last| now.since(*last) <= rate.per)
    }

    /// A run is open from now on.
    pub fn started(&mut self, playbook: &Playbook, run: &RunStarted, at: Stamp) {
        let most = if run.untrusted { run.mode.strictest(Mode::Approve) } else { run.mode };
        let takers = self.open.entry((playbook.name.clone(), run.per.clone())).or_default();
        takers.push(Taker { run: run.run.clone(), most });
        self.counted(playbook, place_of_event(&run.event), most, at);
    }

    /// A run that had ended is open again: it takes what comes, where no other does by now. It is no further start.
    pub fn reopened(&mut self, run: &RunStarted) {
        let most = if run.untrusted { run.mode.strictest(Mode::Approve) } else { run.mode };
        let key = (run.playbook.clone(), run.per.clone());
        self.open.entry(key).or_default().push(Taker { run: run.run.clone(), most });
    }

    /// Counts a start for `limits.runs`. One that cannot act does not count: what was only planned, and what came after
    /// the limit, would keep the playbook from ever acting again.
    pub fn counted(&mut self, playbook: &Playbook, place: &str, mode: Mode, at: Stamp) {
        let Some(rate) = playbook.limits.runs.filter(|_| mode == Mode::Enforce) else { return };
        let starts = self.starts.entry(playbook.name.clone()).or_default();
        match starts.get_mut(place) {
            Some(last) => *last = (*last).max(at),
            None => {
                // Bounded by the limit itself: past it no run counts, and what is older does not matter.
                starts.retain(|_, last| at.since(*last) <= rate.per);
                starts.insert(place.to_owned(), at);
            }
        }
    }

    /// A run has ended; one that only planned takes further detections until its incident closes.
    pub fn ended(&mut self, playbook: &Name, per: &str, run: &RunId, only_planned: Option<Option<IncidentId>>) {
        let key = (playbook.clone(), per.to_owned());
        let Some(takers) = self.open.get_mut(&key) else { return };
        let Some(at) = takers.iter().position(|taker| taker.run == *run) else { return };
        let taker = takers.remove(at);
        if takers.is_empty() {
            self.open.remove(&key);
        }
        if let Some(incident) = only_planned {
            self.plan(key, taker, incident);
        }
    }

    fn plan(&mut self, key: Key, taker: Taker, incident: Option<IncidentId>) {
        self.forget(&key);
        if let Some(incident) = &incident {
            self.planned_in.entry(incident.clone()).or_default().insert(key.clone());
        }
        self.planned_order.push_back((key.clone(), taker.run.clone()));
        self.planned.insert(key, (taker, incident));
        while self.planned_order.len() > MOST_PLANNED {
            if let Some((key, run)) = self.planned_order.pop_front()
                && self.planned.get(&key).is_some_and(|(taker, _)| taker.run == run)
            {
                self.forget(&key);
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some((_, Some(incident))) = self.planned.remove(key) else { return };
        if let Some(keys) = self.planned_in.get_mut(&incident) {
            keys.remove(key);
            if keys.is_empty() {
                self.planned_in.remove(&incident);
            }
        }
    }

    /// An incident has closed: runs that only planned take nothing more.
    pub fn incident_closed(&mut self, incident: &IncidentId) {
        for key in self.planned_in.remove(incident).into_iter().flatten() {
            self.planned.remove(&key);
        }
    }

    /// The playbooks or the guard were changed: what only planned, or was refused, may now act.
    pub fn forget_planned(&mut self) {
        self.refused.forget();
        self.planned.clear();
        self.planned_order.clear();
        self.planned_in.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(all: &mut Triggers, per: usize, run: &str, incident: &str) {
        let key: Key = ("p".into(), per.to_string());
        all.open.entry(key.clone()).or_default().push(Taker { run: run.into(), most: Mode::Observe });
        all.ended(&key.0, &key.1, &run.into(), Some(Some(incident.into())));
    }

    fn is_planned(all: &Triggers, per: usize) -> bool {
        all.planned.contains_key(&("p".into(), per.to_string()))
    }

    #[test]
    fn what_only_planned_takes_detections_until_its_own_incident_closes() {
        let mut all = Triggers::default();
        planned(&mut all, 1, "r-1", "i-1");
        planned(&mut all, 2, "r-2", "i-2");
        planned(&mut all, 1, "r-3", "i-2");
        all.incident_closed(&"i-1".into());
        assert!(is_planned(&all, 1) && is_planned(&all, 2), "its first run was planned in another incident");
        all.incident_closed(&"i-2".into());
        assert!(all.planned.is_empty() && all.planned_in.is_empty());
    }

    #[test]
    fn ten_thousand_incidents_close_at_once_and_the_earliest_make_room() {
        let mut all = Triggers::default();
        for n in 0..MOST_PLANNED {
            planned(&mut all, n, &format!("r-{n}"), &format!("i-{n}"));
        }
        // Planned again, it is the latest.
        planned(&mut all, 0, "r-again", "i-0");
        assert!(is_planned(&all, 0) && is_planned(&all, 1));
        planned(&mut all, MOST_PLANNED, "r-more", "i-more");
        assert!(is_planned(&all, 0) && !is_planned(&all, 1), "the earliest made room");
        for n in 0..MOST_PLANNED {
            all.incident_closed(&format!("i-{n}").as_str().into());
        }
        assert_eq!((all.planned.len(), all.planned_in.len()), (1, 1));
        assert!(all.planned_order.len() <= MOST_PLANNED);
    }
}
