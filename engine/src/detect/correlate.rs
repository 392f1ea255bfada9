//! Correlation: matches counted over time, keyed by what the rule groups by.
//!
//! Owns rsigma's window state and the events that stand behind it. Time is the events' own, never the clock's; how it
//! is told where somebody sets the wall clock, [`Steady`] says. All of it is bounded, long values and large events too: past
//! a bound the oldest is forgotten, which can only under-count. A correlation that fired starts again from nothing, so that a flood of equal
//! events is one detection per threshold and not one per event.

use super::kept::Kept;
use super::rules::Rules;
use super::short::Short;
use super::steady::Steady;
use quell_model::{EventId, OwnedEvent};
use rsigma_eval::{
    CorrelationAction, CorrelationConfig, CorrelationEngine, CorrelationEventMode, EvaluationResult, TimestampFallback,
};
use rsigma_parser::{CorrelationCondition, CorrelationRule};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The most events that a correlation's detection carries: what a person can still read.
pub const EVENTS_CARRIED: usize = 100;
/// And the most bytes of them, about, but for the last: they stand in the detection's record and in that of each run that it starts.
pub(super) const BYTES_CARRIED: usize = 4 << 20;
/// The most entries in one group's window: a threshold above it can never be reached, and loading says so.
pub(super) const GROUP_ENTRIES: usize = 2_000;
/// The most groups over all correlations: an attacker who varies the key fills these and no more. Making room takes a
/// few milliseconds of the sensor's thread at this number, once in a thousand such events.
const STATE_ENTRIES: usize = 10_000;
/// The most entries of all groups' windows together; a few hundred bytes each at the most, where long values are counted.
/// Past it every group keeps its share, and those with fewer keep all. Several for each group that there may be.
pub(super) const ENTRIES: usize = if cfg!(test) { 30_000 } else { 100_000 };
/// The most firings remembered for correlations of correlations, and the most events that all of them name.
const FIRINGS_KEPT: usize = 256;
const EVENTS_NAMED: usize = 4_096;

/// A correlation that fired.
pub(super) struct Fired {
    pub(super) rule: String,
    pub(super) group: Vec<(String, String)>,
    pub(super) count: f64,
    pub(super) events: Vec<Arc<OwnedEvent>>,
}

/// How many each may have so that all together are no more than `most`: what small ones leave goes to the others.
fn share(sizes: &mut [usize], most: usize) -> usize {
    sizes.sort_unstable();
    let mut left = most;
    for (at, size) in sizes.iter().enumerate() {
        let share = left / (sizes.len() - at);
        if *size > share {
            return share.max(1);
        }
        left -= size;
    }
    most
}

/// What the entries of a correlation's windows are: by what they are grouped, and what of each event is kept.
fn what_counts(rule: &CorrelationRule) -> impl PartialEq + use<> {
    let field = match &rule.condition {
        CorrelationCondition::Threshold { field, .. } => field.clone(),
        CorrelationCondition::Extended(_) => None,
    };
    (rule.correlation_type, rule.window, rule.group_by.clone(), rule.aliases.clone(), field)
}

/// The state of all correlations of a set of rules.
pub(super) struct Correlator {
    engine: CorrelationEngine,
    /// Of correlations of correlations: which they count, and for how long.
    parents: HashMap<String, (HashSet<String>, i64)>,
    longest: i64,
    steady: Steady,
    kept: Kept,
    /// How many correlations count a rule.
    counted_by: HashMap<String, usize>,
    /// At most so many entries stand in the windows.
    entries: usize,
    firings: VecDeque<Firing>,
    /// How many events the firings name.
    named: usize,
}

struct Firing {
    rule: String,
    group: Vec<(String, String)>,
    at: i64,
    events: Vec<EventId>,
}

impl Correlator {
    /// The state for these rules; none when they hold no correlation.
    pub(super) fn new(rules: &Rules) -> Option<Self> {
        if rules.correlations.is_empty() {
            return None;
        }
        let mut engine = CorrelationEngine::new(CorrelationConfig {
            timestamp_fallback: TimestampFallback::Skip,
            max_state_entries: STATE_ENTRIES,
            max_group_entries: Some(GROUP_ENTRIES),
            action_on_match: CorrelationAction::Reset,
            correlation_event_mode: CorrelationEventMode::Refs,
            max_correlation_events: EVENTS_CARRIED,
            ..CorrelationConfig::default()
        });
        let ids: HashSet<&str> = rules.correlations.iter().filter_map(|rule| rule.id.as_deref()).collect();
        let (mut parents, mut counted_by) = (HashMap::new(), HashMap::new());
        let mut longest = 0;
        for rule in &rules.correlations {
            engine.add_correlation(rule).expect("it compiled when the rules were loaded");
            let span = i64::try_from(rule.timespan.seconds).unwrap_or(i64::MAX);
            longest = longest.max(span);
            rule.rules.iter().for_each(|id| *counted_by.entry(id.clone()).or_insert(0) += 1);
            let children: HashSet<String> = rule.rules.iter().filter(|id| ids.contains(id.as_str())).cloned().collect();
            if let (Some(id), false) = (&rule.id, children.is_empty()) {
                parents.insert(id.clone(), (children, span));
            }
        }
        let (steady, kept) = (Steady::default(), Kept::default());
        let firings = VecDeque::new();
        Some(Self { engine, parents, longest, steady, kept, counted_by, entries: 0, firings, named: 0 })
    }

    /// Goes on with what an earlier set of rules had counted, for the correlations that are still there and count the same.
    /// One that counts otherwise begins anew: what was counted before would be in its way for ever.
    pub(super) fn take_over(&mut self, earlier: Self, before: &[CorrelationRule], now: &[CorrelationRule]) {
        let goes_on = |id: &String| {
            let of =
                |rules: &[CorrelationRule]| rules.iter().find(|rule| rule.id.as_ref() == Some(id)).map(what_counts);
            of(before) == of(now)
        };
        let mut state = earlier.engine.export_state();
        state.windows.retain(|id, _| goes_on(id));
        state.event_ref_buffers.retain(|id, _| goes_on(id));
        self.engine.import_state(state);
        self.entries = earlier.entries;
        self.steady = earlier.steady;
        self.kept = earlier.kept;
        self.firings = earlier.firings;
        self.named = earlier.named;
    }

    /// Counts the matches of one event.
    pub(super) fn count(
        &mut self,
        view: &impl rsigma_eval::Event,
        matches: Vec<EvaluationResult>,
        event: &Arc<OwnedEvent>,
    ) -> Vec<Fired> {
        let now = self.steady.second(event, self.longest);
        // What stands behind a firing may be older than the window that counts firings.
        let back = if self.parents.is_empty() { self.longest } else { self.longest.saturating_mul(2) };
        self.kept.keep(event, now, now.saturating_sub(back));
        let by = |found: &EvaluationResult| self.counted_by.get(found.header.rule_id.as_deref().unwrap_or_default());
        self.entries += matches.iter().filter_map(by).sum::<usize>();
        if self.entries > ENTRIES {
            self.make_room();
        }
        let results = self.engine.process_with_detections(&Short(view), matches, now);
        let mut all = Vec::new();
        for result in results {
            let (Some(body), Some(rule)) = (result.as_correlation(), result.header.rule_id.clone()) else { continue };
            let events = match &body.event_refs {
                Some(refs) => {
                    refs.iter().filter_map(|kept| self.kept.get(&EventId::from(kept.id.as_deref()?)).cloned()).collect()
                }
                None => self.behind(&rule, &body.group_key, now),
            };
            let fired = Fired { rule, group: body.group_key.clone(), count: body.aggregated_value, events };
            if !self.parents.is_empty() {
                self.remember(&fired, now);
            }
            all.push(fired);
        }
        all
    }

    /// Counts what stands in the windows, and where that is too much, cuts the fullest. Takes some milliseconds of the
    /// sensor's thread, once in tens of thousands of matches.
    fn make_room(&mut self) {
        let mut state = self.engine.export_state();
        let mut sizes: Vec<usize> = state.windows.values().flatten().map(|(_, window)| window.entry_count()).collect();
        self.entries = sizes.iter().sum();
        if self.entries <= ENTRIES / 2 {
            return;
        }
        let (entries, groups, share) = (self.entries, sizes.len(), share(&mut sizes, ENTRIES / 2));
        tracing::warn!(entries, groups, share, "correlations count a flood: groups with more than their share forget");
        state.windows.values_mut().flatten().for_each(|(_, window)| window.truncate_oldest(share, false));
        state.event_ref_buffers.values_mut().flatten().for_each(|(_, events)| events.clear());
        self.entries = state.windows.values().flatten().map(|(_, window)| window.entry_count()).sum();
        self.engine.import_state(state);
    }

    /// What stands in all windows.
    #[cfg(test)]
    pub(super) fn standing(&self) -> usize {
        self.engine.export_state().windows.values().flatten().map(|(_, window)| window.entry_count()).sum()
    }

    fn remember(&mut self, fired: &Fired, at: i64) {
        let events: Vec<EventId> = fired.events.iter().map(|event| event.head.id.clone()).collect();
        self.named += events.len();
        self.firings.push_back(Firing { rule: fired.rule.clone(), group: fired.group.clone(), at, events });
        while self.firings.len() > FIRINGS_KEPT || self.named > EVENTS_NAMED {
            let Some(earliest) = self.firings.pop_front() else { return };
            self.named -= earliest.events.len();
        }
    }

    /// The events of the firings that a correlation of correlations counted; the newest, where there are too many.
    fn behind(&self, rule: &str, group: &[(String, String)], now: i64) -> Vec<Arc<OwnedEvent>> {
        let Some((children, span)) = self.parents.get(rule) else { return Vec::new() };
        let of_group = |firing: &&Firing| {
            children.contains(&firing.rule)
                && firing.at >= now.saturating_sub(*span)
                && group.iter().all(|part| firing.group.contains(part))
        };
        let mut seen = HashSet::new();
        let ids = self.firings.iter().filter(of_group).flat_map(|firing| &firing.events);
        let mut events: Vec<Arc<OwnedEvent>> =
            ids.filter(|id| seen.insert(*id)).filter_map(|id| self.kept.get(id).cloned()).collect();
        events.drain(..events.len().saturating_sub(EVENTS_CARRIED));
        events
    }
}
