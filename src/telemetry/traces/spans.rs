//! A run's records → spans: the run is the trace, a step a span below it, an attempt one below the step.
//!
//! Owns names, ids and times. Pure: the ids are hashes of the run's and of what in it they are of, and the times are those of the records,
//! so that the same run gives the same spans. Keeps true: inputs and outputs of steps are in no span, since they may hold secrets.
//! A run that was taken back, or went on, after its end has a further part, as a span of its own below the run.

use super::run_of;
use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use quell_model::record::{Moments, RunFinished, RunStarted, RunState};
use quell_model::{Body, Hash, Outcome, Record, Seq, Stamp, StreamId};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Spans of one run; a step with thousands of items would fill a collector.
const MOST: usize = 2_000;

/// What is gathered of a run.
pub(super) struct Trace {
    /// The end that is told.
    upto: Seq,
    started: Option<(Stamp, Box<RunStarted>)>,
    /// Which end of the run this part comes to, from 0, and when it began.
    chapter: u32,
    begun: Option<Stamp>,
    ended: Option<(Stamp, Box<RunFinished>)>,
    steps: BTreeMap<String, Step>,
    events: Vec<Event>,
    left_out: u64,
}

/// A step, an item of one, or the taking back of one.
#[derive(Default)]
struct Step {
    action: Option<String>,
    begun: Option<Stamp>,
    ended: Option<Stamp>,
    outcome: Option<Outcome>,
    why: String,
    moments: Moments,
    attempts: BTreeMap<u32, Attempt>,
    events: Vec<Event>,
}

#[derive(Default)]
struct Attempt {
    begun: Option<Stamp>,
    ended: Option<Stamp>,
    error: Option<String>,
}

impl Trace {
    /// Of the part of a run that ends with this record.
    pub(super) fn new(upto: Seq) -> Self {
        Self {
            upto,
            started: None,
            chapter: 0,
            begun: None,
            ended: None,
            steps: BTreeMap::new(),
            events: Vec::new(),
            left_out: 0,
        }
    }

    /// The next record.
    pub(super) fn take(&mut self, record: &Record) {
        if record.seq > self.upto {
            return;
        }
        let at = record.at;
        self.begun.get_or_insert(at);
        match &record.body {
            Body::RunStarted(started) => self.started = Some((at, started.clone())),
            Body::RunFinished(finished) if record.seq == self.upto => self.ended = Some((at, finished.clone())),
            Body::RunFinished(_) => {
                (self.chapter, self.begun, self.left_out) = (self.chapter + 1, None, 0);
                self.steps.clear();
                self.events.clear();
            }
            Body::StepPlanned(planned) => {
                let step = self.step(planned.part.to_string(), at);
                step.action = Some(planned.action.to_string());
            }
            Body::StepIntended(intended) => {
                let step = self.step(intended.part.to_string(), at);
                step.action = Some(intended.action.to_string());
                step.attempts.entry(intended.attempt).or_default().begun.get_or_insert(at);
            }
            Body::StepProgressed(progressed) => drop(self.step(progressed.part.to_string(), at)),
            Body::SubRunStarted(sub) => drop(self.step(sub.part.to_string(), at)),
            Body::StepFailed(failed) => {
                let step = self.step(failed.part.to_string(), at);
                let attempt = step.attempts.entry(failed.attempt).or_default();
                attempt.begun.get_or_insert(at);
                (attempt.ended, attempt.error) = (Some(at), Some(failed.error.clone()));
            }
            Body::StepFinished(finished) => {
                let step = self.step(finished.part.to_string(), at);
                step.action = finished.action.as_ref().map(ToString::to_string).or(step.action.take());
                (step.ended, step.outcome, step.moments) = (Some(at), Some(finished.outcome), finished.moments);
                step.why.clone_from(&finished.proof);
            }
            Body::StepSkipped(skipped) => self.ends(skipped.step.to_string(), at, Outcome::Skipped, &skipped.why),
            Body::StepBlocked(blocked) => {
                let why = blocked.by.as_ref().map_or_else(String::new, |by| format!("`{by}` is in the way"));
                self.ends(blocked.step.to_string(), at, blocked.outcome, &why);
            }
            Body::GuardRefused(refused) => {
                let words = [("quell.guard", refused.guard.to_string()), ("quell.why", refused.why.clone())];
                self.event(refused.part.to_string(), at, "refused by a guard", words);
            }
            Body::QuestionAsked(asked) => {
                let words = [
                    ("quell.question", asked.question.as_str().to_owned()),
                    ("quell.because", asked.because.clone()),
                    ("quell.otherwise", asked.otherwise.to_string()),
                ];
                self.event(asked.part.to_string(), at, "a person was asked", words);
            }
            Body::QuestionAnswered(answered) => {
                let by = answered.by.as_ref().map_or_else(|| "nobody in time".to_owned(), ToString::to_string);
                let words = [
                    ("quell.question", answered.question.as_str().to_owned()),
                    ("quell.choice", answered.choice.to_string()),
                    ("quell.by", by),
                ];
                self.event(answered.part.to_string(), at, "answered", words);
            }
            Body::AnswerTooLate(late) => {
                let words = [("quell.choice", late.choice.to_string()), ("quell.by", late.by.to_string())];
                self.event(late.part.to_string(), at, "answered too late", words);
            }
            Body::AnswerRefused(refused) => {
                let words = [
                    ("quell.choice", refused.choice.to_string()),
                    ("quell.by", refused.by.to_string()),
                    ("quell.why", refused.why.clone()),
                ];
                self.event(refused.part.to_string(), at, "an answer was refused", words);
            }
            Body::TimerSet(timer) => {
                self.event(timer.part.to_string(), at, "waits", [("quell.what", timer.what.to_string())]);
            }
            Body::TimerFired(timer) => {
                self.event(timer.part.to_string(), at, "has waited", [("quell.what", timer.what.to_string())]);
            }
            Body::LeaseGranted(lease) => {
                let lasts = [("quell.lasts_seconds", lease.lasts.as_secs().to_string())];
                self.event(lease.part.to_string(), at, "stands, with a lease", lasts);
            }
            Body::LeaseChanged(lease) => {
                let words = [("quell.lease", lease.state.to_string()), ("quell.why", lease.why.clone())];
                self.events.push(event("a lease changed", at, words));
            }
            Body::PersonActed(acted) => {
                let words = [("quell.by", acted.by.to_string()), ("quell.what", acted.what.to_string())];
                self.events.push(event("a person acted", at, words));
            }
            Body::DetectionJoined(joined) => {
                let rule = joined.detection.get("rule").and_then(|rule| rule.as_str()).unwrap_or_default();
                self.events.push(event("a detection joined", at, [("quell.rule", rule.to_owned())]));
            }
            Body::RunReopened(reopened) => {
                let words = [("quell.by", reopened.by.to_string()), ("quell.why", reopened.why.clone())];
                self.events.push(event("goes on after a fix", at, words));
            }
            Body::UndoBegan(began) => {
                let words = [("quell.by", began.by.to_string()), ("quell.why", began.why.clone())];
                self.events.push(event("taking back", at, words));
            }
            Body::UndoIntended(intended) => {
                let step = self.step(undo_of(&intended.part), at);
                step.action = Some(intended.action.to_string());
                step.attempts.entry(intended.attempt).or_default().begun.get_or_insert(at);
            }
            Body::UndoFailed(failed) => {
                let step = self.step(undo_of(&failed.part), at);
                let attempt = step.attempts.entry(failed.attempt).or_default();
                attempt.begun.get_or_insert(at);
                (attempt.ended, attempt.error) = (Some(at), Some(failed.error.clone()));
            }
            Body::UndoFinished(finished) => {
                self.ends(undo_of(&finished.part), at, finished.outcome, &finished.proof);
                self.step(undo_of(&finished.part), at).action = Some(finished.action.to_string());
            }
            // Of the streams of incidents and of the system.
            Body::EngineStarted(_)
            | Body::DefinitionPinned(_)
            | Body::DetectionAccepted(_)
            | Body::DetectionHeld(_)
            | Body::LossSeen(_)
            | Body::IncidentOpened(_)
            | Body::IncidentJoined(_)
            | Body::IncidentChanged(_)
            | Body::MomentDecided(_)
            | Body::ExceptionDrafted(_)
            | Body::HeadsSealed(_)
            | Body::SourceAdvanced(_)
            | Body::LadderStarted(_)
            | Body::LadderRouted(_)
            | Body::LadderMoved(_)
            | Body::PageReceipted(_)
            | Body::LadderChanged(_)
            | Body::LadderEnded(_)
            | Body::LadderClosed(_)
            | Body::LadderSilenced(_)
            | Body::SilenceAdded(_)
            | Body::SilenceEnded(_)
            | Body::AcknowledgementChanged(_)
            | Body::NoteAdded(_)
            | Body::PauseChanged(_)
            | Body::BreakerChanged(_)
            | Body::ModeChanged(_)
            | Body::PlaybookSeen(_)
            | Body::AnswerRemembered(_)
            | Body::RecorderPinned(_)
            | Body::ReflexFired(_)
            | Body::StreamPruned(_)
            | Body::StreamRedacted(_)
            | Body::ScheduleSet(_)
            | Body::ScheduleMissed(_) => {}
        }
    }

    /// A step that something is said of; past the bound all further ones are one, which is left out.
    fn step(&mut self, key: String, at: Stamp) -> &mut Step {
        let key = if self.steps.len() < MOST || self.steps.contains_key(&key) {
            key
        } else {
            self.left_out += 1;
            String::new()
        };
        let step = self.steps.entry(key).or_default();
        step.begun.get_or_insert(at);
        step
    }

    fn ends(&mut self, key: String, at: Stamp, outcome: Outcome, why: &str) {
        let step = self.step(key, at);
        (step.ended, step.outcome) = (Some(at), Some(outcome));
        why.clone_into(&mut step.why);
    }

    fn event<const N: usize>(
        &mut self,
        key: String,
        at: Stamp,
        name: &'static str,
        words: [(&'static str, String); N],
    ) {
        self.step(key, at).events.push(event(name, at, words));
    }

    /// The spans; none of a run whose beginning or end is not there.
    pub(super) fn spans(mut self, stream: &StreamId) -> Vec<SpanData> {
        let (Some((began, started)), Some((end, finished))) = (self.started.take(), self.ended.take()) else {
            return Vec::new();
        };
        let ids = Ids { run: run_of(stream) };
        let mut attributes = vec![
            KeyValue::new("quell.run", ids.run.clone()),
            KeyValue::new("quell.playbook", started.playbook.to_string()),
            KeyValue::new("quell.mode", started.mode.as_str()),
            KeyValue::new("quell.state", finished.state.as_str()),
        ];
        attributes.extend(started.incident.as_ref().map(|id| KeyValue::new("quell.incident", id.to_string())));
        attributes.extend(started.by.as_ref().map(|by| KeyValue::new("quell.by", by.to_string())));
        let (key, parent, name, from) = if self.chapter == 0 {
            let Moments { kernel, seen, decided, started: _, verified: _ } = started.moments;
            let moments = [("the kernel saw it", kernel), ("the sensor had it", seen), ("decided", decided)];
            let told = moments.into_iter().filter_map(|(name, at)| Some(event(name, at?, [])));
            self.events.splice(0..0, told.collect::<Vec<_>>());
            // A run that a person or another run starts on an old event began when they did.
            let from = kernel.filter(|_| started.by.is_none() && started.parent.is_none()).unwrap_or(began);
            (String::new(), SpanId::INVALID, format!("run {}", started.playbook), from)
        } else {
            let key = format!("chapter/{}", self.chapter);
            (key, ids.span(""), format!("run {} goes on after its end", started.playbook), self.begun.unwrap_or(end))
        };
        if self.left_out > 0 {
            attributes.push(KeyValue::new("quell.left_out", i64::try_from(self.left_out).unwrap_or(i64::MAX)));
        }
        self.steps.remove("");
        let root = ids.span(&key);
        let status = of_run(finished.state, &finished.summary);
        let mut spans = vec![ids.data(&key, parent, name, (from, end), attributes, self.events, status)];
        for (part, step) in self.steps {
            step.spans(&ids, &key, &part, (root, end), &mut spans);
        }
        spans
    }
}

impl Step {
    fn spans(self, ids: &Ids, chapter: &str, part: &str, (root, run_end): (SpanId, Stamp), spans: &mut Vec<SpanData>) {
        // What had not ended when the run did, ended with it.
        let end = self.moments.verified.or(self.ended).unwrap_or(run_end);
        let begun = self.begun.unwrap_or(end);
        let mut attributes = vec![KeyValue::new("quell.step", part.to_owned())];
        attributes.extend(self.action.clone().map(|action| KeyValue::new("quell.action", action)));
        attributes.extend(self.outcome.map(|outcome| KeyValue::new("quell.outcome", outcome.as_str())));
        let key = format!("{chapter}/step/{part}");
        let status = of_step(self.outcome, &self.why);
        let name = self.action.map_or_else(|| part.to_owned(), |action| format!("{part} {action}"));
        spans.push(ids.data(&key, root, name, (begun, end), attributes, self.events, status));
        let parent = ids.span(&key);
        for (number, attempt) in self.attempts {
            let failed = attempt.error.is_some();
            let begun = self.moments.started.filter(|_| !failed).or(attempt.begun).unwrap_or(begun);
            let end = attempt.ended.unwrap_or(end);
            let status = attempt.error.map_or(Status::Unset, Status::error);
            let attributes = vec![KeyValue::new("quell.attempt", i64::from(number))];
            let key = format!("{key}/attempt/{number}");
            spans.push(ids.data(
                &key,
                parent,
                format!("attempt {number}"),
                (begun, end),
                attributes,
                Vec::new(),
                status,
            ));
        }
    }
}

/// Makes ids of one run.
struct Ids {
    run: String,
}

impl Ids {
    fn sum(&self, what: &str, key: &str) -> [u8; 32] {
        Hash::of_parts(&[what.as_bytes(), self.run.as_bytes(), key.as_bytes()]).0
    }

    fn trace(&self) -> TraceId {
        let sum = self.sum("trace", "");
        TraceId::from_bytes(sum[..16].try_into().expect("16 of 32 bytes"))
    }

    fn span(&self, key: &str) -> SpanId {
        let sum = self.sum("span", key);
        SpanId::from_bytes(sum[..8].try_into().expect("8 of 32 bytes"))
    }

    #[expect(clippy::too_many_arguments, reason = "a span is all of this, and is made in one place")]
    fn data(
        &self,
        key: &str,
        parent: SpanId,
        name: String,
        (begun, end): (Stamp, Stamp),
        attributes: Vec<KeyValue>,
        told: Vec<Event>,
        status: Status,
    ) -> SpanData {
        let mut events = SpanEvents::default();
        events.events = told;
        let state = TraceState::default();
        let begun = wall(begun);
        SpanData {
            span_context: SpanContext::new(self.trace(), self.span(key), TraceFlags::SAMPLED, false, state),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: begun,
            // The wall clock may have been set back meanwhile.
            end_time: wall(end).max(begun),
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder("quell")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

fn undo_of(part: &quell_model::record::Part) -> String {
    format!("undo {part}")
}

fn wall(at: Stamp) -> SystemTime {
    at.wall.into()
}

fn event<const N: usize>(name: &'static str, at: Stamp, words: [(&'static str, String); N]) -> Event {
    let words = words.into_iter().filter(|(_, word)| !word.is_empty());
    Event::new(name, wall(at), words.map(|(key, word)| KeyValue::new(key, word)).collect(), 0)
}

fn of_run(state: RunState, summary: &str) -> Status {
    match state {
        RunState::Succeeded | RunState::Undone => Status::Ok,
        RunState::Failed | RunState::Stuck => Status::error(summary.to_owned()),
        RunState::Cancelled | RunState::Running | RunState::Waiting | RunState::Undoing => Status::Unset,
    }
}

fn of_step(outcome: Option<Outcome>, why: &str) -> Status {
    match outcome {
        Some(
            Outcome::Verified
            | Outcome::Done
            | Outcome::Already
            | Outcome::Planned
            | Outcome::Skipped
            | Outcome::Undone,
        ) => Status::Ok,
        Some(Outcome::Failed | Outcome::Refused | Outcome::Stuck) => Status::error(why.to_owned()),
        // Decided by a person, or by what came before.
        Some(Outcome::Denied | Outcome::Blocked | Outcome::Cancelled) | None => Status::Unset,
    }
}

#[cfg(test)]
mod tests;
