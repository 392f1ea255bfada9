//! Steps that wait: for a time, or for a detection.
//!
//! ```text
//! step: wait ─▶ TimerSet ─┬─ its moment ────────────▶ for a time: done; for a detection: failed
//!                         └─ a detection that fits ─▶ done, with what was seen
//! ```
//!
//! Owns which parts wait for detections on which entity, so that a detection looks at those alone. Keeps true: a wait's end
//! is written down together with the detection that ended it, so that no crash comes between the two; what anybody can
//! write ends no wait of a run that acts by itself; a detection looks at a few hundred waits at the most before it is
//! answered.

use super::conclude::Ending;
use super::machine::WAIT;
use super::scope::RunScope;
use super::shell::Core;
use crate::load::units::print_duration;
use crate::playbook::expression::Scope;
use crate::trigger::{self, Seen};
use quell_model::playbook::{Wait, WaitUntil};
use quell_model::record::{Decided, NewRecord, Part, RunStarted, TimerSet, TriggerDecision};
use quell_model::{Detection, Json, Mode, Name, Outcome, RunId, Stamp};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A part of a run.
type Place = (RunId, Part);

/// Waits for detections on one entity that go on at once, and for those on any: each detection there is compared with all of
/// them before it is answered, and whoever makes ever new subjects must not make it wait for that.
const MOST_AWAITED: usize = 200;
/// Of one run.
const MOST_OF_RUN: usize = 100;
/// Of runs that a source which anybody can write has started: whoever writes there must not take the others' room.
const MOST_UNTRUSTED: usize = 50;

/// Which parts wait for detections, each with whether a source that anybody can write has started its run.
#[derive(Debug, Default)]
pub(super) struct Awaiting {
    by_entity: HashMap<String, BTreeMap<Place, bool>>,
    anywhere: BTreeMap<Place, bool>,
    /// The first error of each part's `if`: whether that detection fits is not known.
    unclear: HashMap<Place, String>,
}

impl Awaiting {
    fn add(&mut self, place: Place, entity: Option<&str>, untrusted: bool) {
        let room = match entity {
            Some(entity) => self.by_entity.entry(entity.to_owned()).or_default(),
            None => &mut self.anywhere,
        };
        room.insert(place, untrusted);
    }

    fn room(&mut self, entity: Option<&str>) -> Option<&mut BTreeMap<Place, bool>> {
        match entity {
            Some(entity) => self.by_entity.get_mut(entity),
            None => Some(&mut self.anywhere),
        }
    }

    /// Why no further wait of a run can begin there, if none can. `waits`: whether a part still does.
    fn full(&mut self, run: &RunStarted, entity: Option<&str>, waits: impl Fn(&Place) -> bool) -> Option<String> {
        let room = self.room(entity)?;
        let most = if run.untrusted { MOST_UNTRUSTED } else { MOST_AWAITED };
        let count = |room: &BTreeMap<Place, bool>| {
            let of_run = room.keys().filter(|place| place.0 == run.run).count();
            (of_run, room.values().filter(|untrusted| **untrusted == run.untrusted).count())
        };
        let (mut of_run, mut all) = count(room);
        if of_run >= MOST_OF_RUN || all >= most {
            // Also what has ended is there until its run has.
            room.retain(|place, _| waits(place));
            (of_run, all) = count(room);
        }
        let about = if entity.is_some() { "on this entity" } else { "anywhere" };
        if of_run >= MOST_OF_RUN {
            return Some(format!("{of_run} steps of this run wait for a detection {about} already"));
        }
        (all >= most).then(|| format!("{all} steps wait for a detection {about} already"))
    }

    /// Those that a detection on these, which are one, may end, run by run.
    fn about(&self, entities: &BTreeSet<String>) -> BTreeSet<Place> {
        let on = entities.iter().filter_map(|entity| self.by_entity.get(entity)).flatten();
        on.chain(&self.anywhere).map(|(place, _)| place.clone()).collect()
    }

    /// A run has ended.
    pub(super) fn forget(&mut self, run: &RunStarted) {
        let is_other = |place: &Place| place.0 != run.run;
        self.anywhere.retain(|place, _| is_other(place));
        self.unclear.retain(|place, _| is_other(place));
        if let Some(entity) = entity_of(run)
            && let Some(places) = self.by_entity.get_mut(entity)
        {
            places.retain(|place, _| is_other(place));
            if places.is_empty() {
                self.by_entity.remove(entity);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_entity.is_empty() && self.anywhere.is_empty() && self.unclear.is_empty()
    }
}

/// What a run is about, as its incident is.
fn entity_of(started: &RunStarted) -> Option<&str> {
    started.event.get("entity").and_then(Json::as_str)
}

/// The entity that a wait is for; none: any.
fn place_of<'a>(started: &'a RunStarted, wanted: &WaitUntil) -> Option<&'a str> {
    entity_of(started).filter(|_| !wanted.anywhere)
}

/// A part whose wait a detection ends.
pub(super) struct Taker {
    pub(super) run: RunId,
    part: Part,
    playbook: Name,
}

impl Taker {
    /// As the detection's record tells it.
    pub(super) fn decided(&self) -> Decided {
        Decided {
            playbook: self.playbook.clone(),
            decision: TriggerDecision::Joined,
            why: format!("its step `{}` waited for this", self.part),
            run: Some(self.run.clone()),
        }
    }
}

impl<W: Send + 'static> Core<W> {
    /// Begins to wait.
    pub(super) fn wait(&mut self, id: &RunId, part: &Part, wait: &Wait) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get_mut(id) else { return };
        let Some(step) = live.run.playbook.step(&part.step).cloned() else { return };
        let (mode, because) = self.mode_of(id, &step);
        if mode == Mode::Observe {
            let proof = format!("it does not wait, nothing acts: {because}");
            return self.end(
                id,
                part,
                Ending { outcome: Outcome::Planned, output: json!({}), proof, ..Ending::default() },
            );
        }
        let Some(live) = self.runs.get_mut(id) else { return };
        let lasts = match wait {
            Wait::For(lasts) => *lasts,
            Wait::Until(wanted) if !wanted.anywhere && entity_of(&live.run.started).is_none() => {
                let why = "the run is about no entity that a detection could be about";
                let hint = Some("`anywhere: true`, with an `if`".to_owned());
                return self.end(id, part, Ending { proof: why.to_owned(), hint, ..Ending::default() });
            }
            Wait::Until(wanted) => {
                let started = Arc::clone(&live.run.started);
                let runs = &self.runs;
                let waits = |(run, part): &Place| runs.get(run).is_some_and(|live| live.run.waits_for(part).is_some());
                if let Some(why) = self.awaiting.full(&started, place_of(&started, wanted), waits) {
                    return self.end(id, part, Ending::failed(format!("it cannot wait as well: {why}")));
                }
                wanted.timeout
            }
        };
        let Some(live) = self.runs.get_mut(id) else { return };
        live.under_way.remove(part);
        let timer = TimerSet { part: part.clone(), what: WAIT.into(), until: now.after(lasts) };
        self.record(id, vec![NewRecord::new(now, timer)]);
        let Some(live) = self.runs.get(id) else { return };
        if let Wait::Until(wanted) = wait {
            let started = &live.run.started;
            self.awaiting.add((id.clone(), part.clone()), place_of(started, wanted), started.untrusted);
        }
    }

    /// Notes what a run that was taken up waits for.
    pub(super) fn awaits(&mut self, id: &RunId) {
        let Some(live) = self.runs.get(id) else { return };
        let started = &live.run.started;
        for (part, wanted) in live.run.awaiting() {
            self.awaiting.add((id.clone(), part), place_of(started, wanted), started.untrusted);
        }
    }

    /// The time of a wait is over.
    pub(super) fn wake(&mut self, id: &RunId, part: &Part) {
        let Some(wait) = self.runs.get(id).and_then(|live| live.run.waits_for(part)).cloned() else { return };
        let ending = match wait {
            Wait::For(lasts) => Ending::done(json!({}), &format!("it waited {}", print_duration(lasts))),
            Wait::Until(wanted) => {
                let unclear = self.awaiting.unclear.remove(&(id.clone(), part.clone()));
                let unclear = unclear.map(|why| format!("; {why}")).unwrap_or_default();
                Ending::failed(format!("nothing matched within {}{unclear}", print_duration(wanted.timeout)))
            }
        };
        self.end(id, part, ending);
    }

    /// The parts that have waited for this detection.
    pub(super) fn takers(&mut self, detection: &Detection, seen: &Seen<'_>, now: Stamp) -> Vec<Taker> {
        if self.awaiting.by_entity.is_empty() && self.awaiting.anywhere.is_empty() {
            return Vec::new();
        }
        let places = self.awaiting.about(&self.incidents.entities(detection));
        if places.is_empty() {
            return Vec::new();
        }
        let (untrusted, id) = (self.definitions.is_untrusted(detection), json!(detection.id));
        let mut takers = Vec::new();
        let (mut told, mut shown): (Option<(RunId, bool)>, Option<Json>) = (None, None);
        for (run, part) in places {
            let Some(live) = self.runs.get(&run) else { continue };
            let Some(wanted) = live.run.awaits(&part, now) else { continue };
            let started = &live.run.started;
            // Whoever may write a log must not move on what acts by itself.
            let is_forgeable = untrusted && !started.untrusted && started.mode == Mode::Enforce;
            if is_forgeable || detection.backfill || !trigger::wants(&wanted.detections, &detection.rule) {
                continue;
            }
            // Of all that wait in one run it is found out once.
            let known = told.as_ref().filter(|(of, _)| *of == run).map(|(_, known)| *known);
            let known = known.unwrap_or_else(|| live.run.has_seen(&id));
            told = Some((run.clone(), known));
            if known {
                continue;
            }
            let taker = Taker { run: run.clone(), part: part.clone(), playbook: started.playbook.clone() };
            let Some(condition) = &wanted.condition else {
                takers.push(taker);
                continue;
            };
            let reads = self.expressions.reads(&condition.text);
            let owned = RunScope::reading(&live.run, self.ground(), &reads);
            let shown = shown.get_or_insert_with(|| view(seen));
            let item = self.contents.item(&live.run, &part).map_err(|error| error.to_string());
            let truth = item.and_then(|item| {
                let scope = Scope { seen: shown, ..owned.scope(&live.run, &item) };
                self.expressions.truth(&condition.text, &scope).map_err(|error| error.to_string())
            });
            match truth {
                Ok(true) => takers.push(taker),
                Ok(false) => {}
                Err(error) => {
                    let rule = &detection.rule.name;
                    let why = format!("whether a detection of `{rule}` did could not be evaluated: {error}");
                    tracing::warn!(%run, step = %part, why, "a detection that was waited for is not understood");
                    self.awaiting.unclear.entry((run, part)).or_insert(why);
                }
            }
        }
        takers
    }

    /// Ends the waits of these, without going on with their runs.
    pub(super) fn seen_by(&mut self, takers: &[Taker], seen: &Seen<'_>) {
        for Taker { run, part, .. } in takers {
            let rule = &seen.detection().rule.name;
            self.awaiting.unclear.remove(&(run.clone(), part.clone()));
            self.end(run, part, Ending::done(json!({ "seen": view(seen) }), &format!("`{rule}` was seen")));
        }
    }
}

/// `seen`: the detection, with its event.
fn view(seen: &Seen<'_>) -> Json {
    let (event, described) = seen.views();
    let mut view = described.clone();
    view["event"] = event.clone();
    view
}
