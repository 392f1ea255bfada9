//! Events in, detections out.
//!
//! Owns the way of one event: to the engines whose rules can match it, past the exceptions, into the correlations. An
//! event is copied only once a rule has matched it. Reads no clock: `now` is the caller's.
//!
//! ```text
//! event ──route──▶ gates ──▶ engines ──match──▶ exceptions ──┬──▶ detection
//!    └─ in auditd's clothes ─▶ auditd's engines            └──▶ correlations ──▶ detection
//! ```

use super::auditd::{Clothed, records};
use super::correlate::{BYTES_CARRIED, Correlator, EVENTS_CARRIED, Fired};
use super::gate::Memory;
use super::operation::Operation;
use super::request::{Request, Told};
use super::rules::Rules;
use super::view::{View, one_line};
use jiff::Timestamp;
use quell_model::detection::MatchedField;
use quell_model::{Class, Detection, Event, EventId, Field, Hash, Json, LogSource, Name, OwnedEvent, Stamp};
use rsigma_eval::EvaluationResult;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// The most logsources whose routes are remembered; sources have few.
const ROUTES: usize = 64;
/// The most held detections that are remembered one by one; all are counted.
const HELD_KEPT: usize = 1_000;
/// The longest text of a matched field that a detection repeats; the event itself has all of it.
const MATCHED_TEXT: usize = 4_096;

/// What one exception did.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// Which exception.
    pub id: Name,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
    /// When it ends, or ended.
    pub expires: Timestamp,
    /// How many detections it held back since it was loaded.
    pub held: u64,
    /// How many it would have held back, had it not expired.
    pub let_through: u64,
}

/// One detection that an exception held back.
#[derive(Clone, Debug, Serialize)]
pub struct HeldDetection {
    /// The id that the detection would have had.
    pub id: Hash,
    /// Which exception.
    pub exception: Name,
    /// Which rule.
    pub rule: Name,
    /// Which event.
    pub event: EventId,
    /// When.
    pub at: Stamp,
}

#[derive(Clone, Copy, Default)]
struct Count {
    held: u64,
    let_through: u64,
}

/// Rules at work.
pub struct Detector {
    rules: Arc<Rules>,
    pub(super) correlator: Option<Correlator>,
    routes: Vec<(LogSource, bool, Arc<[usize]>)>,
    auditd: Arc<[usize]>,
    /// The classes of [`Operation::CATEGORIES`].
    further: [Arc<[usize]>; 4],
    counts: Vec<Count>,
    held: VecDeque<HeldDetection>,
    /// By class.
    memories: Vec<Memory>,
    told: Told,
}

impl Detector {
    /// Puts a set of rules to work.
    #[must_use]
    pub fn new(rules: Arc<Rules>) -> Self {
        let correlator = Correlator::new(&rules);
        let auditd = rules.auditd().into();
        let counts = vec![Count::default(); rules.exceptions.len()];
        let further = Operation::CATEGORIES.map(|category| rules.of_category(category).into());
        let mut memories = Vec::new();
        memories.resize_with(rules.classes.len(), Memory::default);
        let (routes, held, told) = (Vec::new(), VecDeque::new(), Told::default());
        Self { rules, correlator, routes, auditd, further, counts, held, memories, told }
    }

    /// Changes to another set of rules between two events. Correlations that both sets have go on counting; so do the
    /// exceptions.
    pub fn swap(&mut self, rules: Arc<Rules>) {
        let mut next = Self::new(rules);
        if let (Some(ours), Some(earlier)) = (&mut next.correlator, self.correlator.take()) {
            ours.take_over(earlier, &self.rules.correlations, &next.rules.correlations);
        }
        for (count, exception) in next.counts.iter_mut().zip(&next.rules.exceptions) {
            let before = self.rules.exceptions.iter().position(|old| old.info.name == exception.info.name);
            *count = before.map(|at| self.counts[at]).unwrap_or_default();
        }
        next.held = std::mem::take(&mut self.held);
        next.told = std::mem::take(&mut self.told);
        *self = next;
    }

    /// The rules at work.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// What each exception held back.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        self.rules.exceptions.iter().zip(&self.counts).map(|(exception, count)| Held {
            id: exception.info.name.clone(),
            owner: exception.info.owner.clone(),
            reason: exception.info.reason.clone(),
            expires: exception.info.expires,
            held: count.held,
            let_through: count.let_through,
        })
    }

    /// The detections that were held back since the last call, at most the latest thousand.
    pub fn take_held(&mut self) -> Vec<HeldDetection> {
        self.held.drain(..).collect()
    }

    /// Looks at one event; what matches goes to the end of `out`.
    pub fn event(&mut self, event: &dyn Event, now: Stamp, out: &mut Vec<Detection>) {
        let logsource = event.logsource();
        let rules = self.rules.clone();
        let mut seen = Seen { event, owned: None, rules: Vec::new(), only_asking: false };
        let route = self.route(logsource, event);
        let class = match logsource.category.as_ref().map(Name::as_str) {
            Some("process_creation") => Class::ProcessCreation,
            Some("network_connection") => Class::NetworkConnection,
            Some("file_event") => Class::FileEvent,
            _ => return self.engines(&rules, &route, &mut seen, &View(event), now, out),
        };
        let operation = (class == Class::FileEvent).then(|| Operation::of(event));
        seen.only_asking = operation.is_some_and(Operation::made_nothing);
        self.engines(&rules, &route, &mut seen, &View(event), now, out);
        seen.only_asking = false;
        if let Some(at) = operation.and_then(Operation::at) {
            let further = self.further[at].clone();
            self.engines(&rules, &further, &mut seen, &View(event), now, out);
        }
        if self.auditd.is_empty() || logsource.service.is_some() {
            return;
        }
        let auditd = self.auditd.clone();
        for record in records(class, operation) {
            let view = Clothed::new(event, class, *record, &rules.keys);
            self.engines(&rules, &auditd, &mut seen, &view, now, out);
        }
    }

    fn engines(
        &mut self,
        rules: &Arc<Rules>,
        engines: &[usize],
        seen: &mut Seen<'_>,
        view: &impl rsigma_eval::Event,
        now: Stamp,
        out: &mut Vec<Detection>,
    ) {
        for at in engines {
            let class = &rules.classes[*at];
            let open = class.gate.open(&mut self.memories[*at], view);
            let results: Vec<_> = open.iter().flat_map(|rule| class.ask(*rule, view)).collect();
            if !results.is_empty() {
                self.matches(rules, seen, view, results, now, out);
            }
        }
    }

    fn route(&mut self, logsource: &LogSource, event: &dyn Event) -> Arc<[usize]> {
        let unknown = *logsource == LogSource::default() && event.head().class == Class::Record;
        let known = self.routes.iter().find(|(known, open, _)| known == logsource && *open == unknown);
        if let Some((_, _, route)) = known {
            return route.clone();
        }
        let route: Arc<[usize]> = self.rules.route(logsource, unknown).into();
        if self.routes.len() < ROUTES {
            self.routes.push((logsource.clone(), unknown, route.clone()));
        }
        route
    }

    fn matches(
        &mut self,
        rules: &Rules,
        seen: &mut Seen<'_>,
        view: &impl rsigma_eval::Event,
        results: Vec<EvaluationResult>,
        now: Stamp,
        out: &mut Vec<Detection>,
    ) {
        let mut counted = Vec::new();
        let request = Request::of(seen.event);
        for result in results {
            let Some(name) = result.header.rule_id.as_deref() else { continue };
            let Some((name, rule)) = rules.rules.get_key_value(name) else { continue };
            if seen.only_asking && !rule.asks_operation {
                continue;
            }
            // In several clothes an event is still one event.
            if seen.rules.contains(&rule.reference.name) {
                continue;
            }
            seen.rules.push(rule.reference.name.clone());
            if request.as_ref().is_some_and(|request| self.told.before(name, request)) {
                continue;
            }
            if self.is_held(rules, seen, view, name, &rule.exceptions, now) {
                continue;
            }
            let matched = matched(&result, seen.event);
            if rule.counted {
                counted.push(result);
            }
            if !rule.only_counts {
                let owned = seen.owned();
                out.push(Detection {
                    id: match &request {
                        // The same in each of its stages, so that a start knows it again.
                        Some(request) => Hash::of_parts(&[name.as_bytes(), &request.key.0]),
                        None => id(name, &[&owned.head.id]),
                    },
                    rule: rule.reference.clone(),
                    event: owned,
                    events: Vec::new(),
                    matched,
                    at: now,
                    backfill: false,
                });
            }
        }
        if counted.is_empty() {
            return;
        }
        let owned = seen.owned();
        let fired = match &mut self.correlator {
            Some(correlator) => correlator.count(view, counted, &owned),
            None => return,
        };
        for fired in fired {
            self.fired(rules, seen, view, fired, now, out);
        }
    }

    fn fired(
        &mut self,
        rules: &Rules,
        seen: &mut Seen<'_>,
        view: &impl rsigma_eval::Event,
        fired: Fired,
        now: Stamp,
        out: &mut Vec<Detection>,
    ) {
        let Some(rule) = rules.rules.get(&fired.rule) else { return };
        if rule.only_counts || self.is_held(rules, seen, view, &fired.rule, &rule.exceptions, now) {
            return;
        }
        let owned = seen.owned();
        let mut events = fired.events;
        if events.last().is_none_or(|last| last.head.id != owned.head.id) {
            events.retain(|event| event.head.id != owned.head.id);
            events.push(owned.clone());
        }
        let mut room = BYTES_CARRIED;
        let fits = |event: &&Arc<OwnedEvent>| {
            room = room.saturating_sub(super::kept::size(event));
            room > 0
        };
        let carried = events.iter().rev().take(EVENTS_CARRIED).take_while(fits).count().max(1);
        events.drain(..events.len() - carried);
        let mut matched: Vec<MatchedField> =
            fired.group.into_iter().map(|(field, value)| MatchedField { field, value: Json::String(value) }).collect();
        matched.push(MatchedField { field: "count".into(), value: whole(fired.count) });
        let ids: Vec<&EventId> = events.iter().map(|event| &event.head.id).collect();
        out.push(Detection {
            id: id(&fired.rule, &ids),
            rule: rule.reference.clone(),
            event: owned,
            events,
            matched,
            at: now,
            backfill: false,
        });
    }

    fn is_held(
        &mut self,
        rules: &Rules,
        seen: &Seen<'_>,
        view: &impl rsigma_eval::Event,
        rule: &str,
        exceptions: &[usize],
        now: Stamp,
    ) -> bool {
        for at in exceptions {
            let exception = &rules.exceptions[*at];
            if !exception.holds(view) {
                continue;
            }
            let info = &exception.info;
            let count = &mut self.counts[*at];
            if info.expires <= now.wall {
                if count.let_through == 0 {
                    tracing::warn!(exception = %info.name, owner = %info.owner, expired = %info.expires,
                        "an exception has expired: it holds nothing back any more");
                }
                count.let_through += 1;
                continue;
            }
            count.held += 1;
            let event = seen.event.head().id.clone();
            if self.held.len() == HELD_KEPT {
                self.held.pop_front();
            }
            let (exception, id) = (info.name.clone(), id(rule, &[&event]));
            self.held.push_back(HeldDetection { id, exception, rule: rule.into(), event, at: now });
            return true;
        }
        false
    }
}

/// What is known of the event in hand.
struct Seen<'e> {
    event: &'e dyn Event,
    owned: Option<Arc<OwnedEvent>>,
    /// The rules that it has already matched, held back or not.
    rules: Vec<Name>,
    /// The file was only read or removed: for rules that ask for that.
    only_asking: bool,
}

impl Seen<'_> {
    fn owned(&mut self) -> Arc<OwnedEvent> {
        self.owned.get_or_insert_with(|| Arc::new(self.event.to_owned())).clone()
    }
}

fn id(rule: &str, events: &[&EventId]) -> Hash {
    let mut parts: Vec<&[u8]> = vec![rule.as_bytes()];
    parts.extend(events.iter().map(|event| event.as_str().as_bytes()));
    Hash::of_parts(&parts)
}

/// Which fields matched which values, each once; the values as the event has them, line feeds and all.
fn matched(result: &EvaluationResult, event: &dyn Event) -> Vec<MatchedField> {
    let mut fields: Vec<MatchedField> = Vec::new();
    for found in result.as_detection().into_iter().flat_map(|body| &body.matched_fields) {
        let original = match (&found.value, event.sigma(&found.field)) {
            (Json::String(seen), Some(Field::Str(text))) if one_line(Cow::Borrowed(&*text)) == *seen => {
                Some(Json::String(text.into_owned()))
            }
            _ => None,
        };
        let value = shortened(original.as_ref().unwrap_or(&found.value));
        let matched = MatchedField { field: found.field.clone(), value };
        if !fields.contains(&matched) {
            fields.push(matched);
        }
    }
    fields
}

fn shortened(value: &Json) -> Json {
    match value {
        Json::String(text) if text.len() > MATCHED_TEXT => {
            let end = (0..=MATCHED_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            Json::String(format!("{}… ({} bytes in all)", &text[..end], text.len()))
        }
        other => other.clone(),
    }
}

fn whole(number: f64) -> Json {
    #[allow(clippy::cast_possible_truncation, reason = "checked: a whole number well within i64")]
    if number.fract() == 0.0 && number.abs() < 1e15 { Json::from(number as i64) } else { Json::from(number) }
}
