//! Detections that join an open run: `detections` in its expressions, after the one that started it.
//!
//! Owns their bounds. Decides nothing: that they join is the trigger's to say. Keeps true: what a run sees of them is in its records,
//! so that a start and a replay see the same; none is taken twice.

use super::machine::Run;
use super::shell::Core;
use crate::trigger::{self, Seen};
use quell_model::origin::suspect;
use quell_model::record::{Decided, DetectionJoined, NewRecord, TriggerDecision};
use quell_model::{Json, RunId, Stamp};
use serde_json::json;

/// More of a run's are counted in its incident alone.
pub(super) const MOST: usize = 100;
/// In bytes; of a larger one the events and the matched values are left out.
const LARGEST: usize = 64 << 10;

impl<W: Send + 'static> Core<W> {
    /// Writes a detection down in the open runs that it joins.
    pub(super) fn join_runs(&mut self, seen: &Seen<'_>, decided: &[Decided], now: Stamp) {
        let joins = decided.iter().filter(|one| one.decision == TriggerDecision::Joined);
        for run in joins.filter_map(|one| one.run.as_ref()) {
            self.join_run(run, seen, now);
        }
    }

    fn join_run(&mut self, id: &RunId, seen: &Seen<'_>, now: Stamp) {
        let detection = seen.detection().id;
        let Some(live) = self.runs.get(id) else { return };
        if live.run.joined.len() >= MOST || live.run.has_taken(&json!(detection)) {
            return;
        }
        let (event, described) = seen.views();
        // Each start finds again what runs since before it.
        if trigger::is_scanned(seen.detection()) && live.run.has_taken_like(described, event) {
            return;
        }
        let joined = DetectionJoined { detection: bounded(described), event: suspect(event) };
        self.record(id, vec![NewRecord::new(now, joined)]);
    }
}

impl Run {
    /// Whether this detection started it, or has joined it.
    fn has_taken(&self, detection: &Json) -> bool {
        let joined = self.joined.iter().map(|joined| &joined.detection);
        std::iter::once(&self.started.detection).chain(joined).any(|one| one.get("id") == Some(detection))
    }

    /// Whether a detection by the same rule, of the same process as it is since its last exec, started it or has joined it.
    fn has_taken_like(&self, detection: &Json, event: &Json) -> bool {
        let like = |other: &Json, of: &Json| {
            let process = event.pointer("/process/id").filter(|id| !id.is_null());
            process.is_some() && of.pointer("/process/id") == process && other.get("rule") == detection.get("rule")
        };
        let joined = self.joined.iter().any(|joined| like(&joined.detection, &joined.event));
        joined || like(&self.started.detection, &self.started.event)
    }

    /// What is suspected: of the event that it is about, and of those that joined.
    pub(super) fn suspected_events(&self) -> impl Iterator<Item = &Json> {
        std::iter::once(&self.started.event).chain(self.joined.iter().map(|joined| &joined.event))
    }
}

fn bounded(described: &Json) -> Json {
    let mut kept = described.clone();
    if kept.to_string().len() > LARGEST {
        (kept["events"], kept["matched"]) = (json!([]), json!([]));
    }
    kept
}
