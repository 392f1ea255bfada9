//! Steps that wait: for a time, or for a detection.
//!
//! ```text
//! step: wait ─▶ TimerSet ─┬─ its moment ────────────▶ for a time: done; for a detection: failed
//!                         └─ a detection that fits ─▶ done, with what was seen
//! ```
//!
//! Owns which parts wait for detections on which entity, so that a detection looks at those alone. Keeps true: a wait's end
//! is written down together with the detection that ended it, so that no crash comes between the two; what anybody can
//! write ends no wait of a run that acts by itself.

use super::conclude::Ending;
use super::machine::WAIT;
use super::scope::RunScope;
use super::shell::Core;
use crate::load::units::print_duration;
use crate::playbook::expression::Scope;
use crate::trigger::{self, Seen};
use quell_model::playbook::Wait;
use quell_model::record::{Decided, NewRecord, Part, RunStarted, TimerSet, TriggerDecision};
use quell_model::{Detection, Json, Mode, Name, Outcome, RunId, Stamp};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};

/// A part of a run.
type Place = (RunId, Part);

/// Which parts wait for detections.
#[derive(Debug, Default)]
pub(super) struct Awaiting {
    by_entity: HashMap<String, BTreeSet<Place>>,
    anywhere: BTreeSet<Place>,
    /// The first error of each part's `if`: whether that detection fits is not known.
    unclear: HashMap<Place, String>,
}

impl Awaiting {
    fn add(&mut self, place: Place, entity: Option<&str>) {
        match entity {
            Some(entity) => drop(self.by_entity.entry(entity.to_owned()).or_default().insert(place)),
            None => drop(self.anywhere.insert(place)),
        }
    }

    /// Those that a detection on this entity may end, run by run.
    fn about(&self, entity: &str) -> BTreeSet<Place> {
        self.by_entity.get(entity).into_iter().flatten().chain(&self.anywhere).cloned().collect()
    }

    /// A run has ended.
    pub(super) fn forget(&mut self, run: &RunStarted) {
        let is_other = |place: &Place| place.0 != run.run;
        self.anywhere.retain(is_other);
        self.unclear.retain(|place, _| is_other(place));
        if let Some(entity) = entity_of(run)
            && let Some(places) = self.by_entity.get_mut(entity)
        {
            places.retain(is_other);
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
            Wait::Until(wanted) => wanted.timeout,
        };
        live.under_way.remove(part);
        let timer = TimerSet { part: part.clone(), what: WAIT.into(), until: now.after(lasts) };
        self.record(id, vec![NewRecord::new(now, timer)]);
        self.awaits(id);
    }

    /// Notes what a run waits for.
    pub(super) fn awaits(&mut self, id: &RunId) {
        let Some(live) = self.runs.get(id) else { return };
        let entity = entity_of(&live.run.started);
        for (part, wanted) in live.run.awaiting() {
            self.awaiting.add((id.clone(), part), entity.filter(|_| !wanted.anywhere));
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
        let places = self.awaiting.about(&detection.entity().to_string());
        if places.is_empty() {
            return Vec::new();
        }
        let (untrusted, id) = (self.definitions.is_untrusted(detection), json!(detection.id));
        let mut takers = Vec::new();
        let mut scope: Option<(RunId, RunScope)> = None;
        for (run, part) in places {
            let Some(live) = self.runs.get(&run) else { continue };
            let Some(wanted) = live.run.awaits(&part, now) else { continue };
            let started = &live.run.started;
            // Whoever may write a log must not move on what acts by itself.
            let is_forgeable = untrusted && !started.untrusted && started.mode == Mode::Enforce;
            if is_forgeable || !trigger::wants(&wanted.detections, &detection.rule) || live.run.has_seen(&id) {
                continue;
            }
            let taker = Taker { run: run.clone(), part: part.clone(), playbook: started.playbook.clone() };
            let Some(condition) = &wanted.condition else {
                takers.push(taker);
                continue;
            };
            if scope.as_ref().is_none_or(|(of, _)| *of != run) {
                scope = Some((run.clone(), RunScope::of(&live.run, &self.outputs, &self.definitions.people)));
            }
            let Some((_, owned)) = &scope else { continue };
            let (view, item) = (view(seen), live.run.item(&part));
            let scope = Scope { seen: &view, ..owned.scope(&live.run, &item) };
            match self.expressions.truth(&condition.text, &scope) {
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
