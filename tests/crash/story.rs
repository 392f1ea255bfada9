//! What stands at the end: every record of the runs and incidents, and how the attack's processes are.

use quell_engine::store::Journal;
use quell_model::{Body, EventHead, Outcome, Record, StreamId};
use serde_json::Value;

/// Compared as a whole; a difference is a broken law.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Story {
    /// A line a record, by stream and then sorted: branches of a DAG may take turns as they like.
    records: Vec<String>,
    /// The letters of those of the attack who are there: none when all are dead.
    world: String,
}

impl Story {
    /// Of a journal at rest. What a start's scan of /proc finds again is no part of it, where it was answered before: it
    /// joins, or finds that it is so `already`. `counted`: how many were killed is the same in every telling.
    pub(super) fn of(journal: &Journal, world: String, counted: bool) -> Self {
        let mut records = Vec::new();
        let streams = journal.streams().unwrap();
        let runs = streams.iter().filter(|(stream, _)| stream.as_run().is_some()).count();
        let mut again = Vec::new();
        for (stream, _) in streams.iter().rev().filter(|(stream, _)| *stream != StreamId::system()) {
            let all = journal.read(stream, 1).unwrap();
            let found_again = runs > again.len() + 1 && all.first().is_some_and(|first| is_answered(&first.body, &all));
            if found_again {
                again.push(stream.as_run().unwrap());
                continue;
            }
            let kind = stream.as_str().split('/').next().unwrap();
            let told = all.iter().filter(|record| match &record.body {
                Body::DetectionAccepted(accepted) => {
                    let started = accepted.decided.iter().filter_map(|one| one.run.as_ref());
                    !is_scan(&accepted.detection.event.head)
                        || started.into_iter().all(|run| !again.contains(run)) && is_first(&all, record.seq)
                }
                Body::IncidentJoined(joined) => joined.run.as_ref().is_none_or(|run| !again.contains(run)),
                // What the machine was too busy to see is no part of it either, nor what comes by the clock.
                Body::LossSeen(_) | Body::RecorderPinned(_) | Body::ReflexFired(_) => false,
                // Where another daemon of this machine has the pins, what stands in the kernel ends with its daemon and returns
                // with the next.
                Body::LeaseChanged(changed) => !matches!(changed.state.as_str(), "returning" | "renewed"),
                // Who joins a run changes nothing of what it does.
                Body::DetectionJoined(_) => false,
                _ => true,
            });
            records.extend(told.map(|record| format!("{kind}: {}", line(&record.body, counted))));
        }
        records.sort();
        Self { records, world }
    }

    /// How many writes may be died at: some records share one.
    pub(super) fn most_writes(&self) -> usize {
        self.records.len()
    }
}

/// What must be the same in every telling: no ids, times and proofs.
fn line(body: &Body, counted: bool) -> String {
    let json = serde_json::to_value(body).unwrap();
    let body = &json["body"];
    let mut words = vec![json["kind"].as_str().unwrap().to_owned()];
    for path in
        ["/part/step", "/part/item", "/step", "/attempt", "/attempts", "/outcome", "/state", "/guard", "/decision"]
    {
        if let Some(value) = body.pointer(path).filter(|value| !value.is_null()) {
            words.push(format!("{}={value}", path.rsplit('/').next().unwrap()));
        }
    }
    if counted {
        words.extend(
            body.pointer("/output/killed").and_then(Value::as_array).map(|killed| format!("killed={}", killed.len())),
        );
        words.extend(body.pointer("/output/told").map(ToString::to_string));
    }
    words.join(" ")
}

/// Whether a start's scan saw it, and not the kernel.
fn is_scan(head: &EventHead) -> bool {
    head.source.as_str() == "scan"
}

/// Whether a detection is the first of its incident.
fn is_first(all: &[Record], seq: u64) -> bool {
    all.iter().find(|record| matches!(record.body, Body::DetectionAccepted(_))).is_some_and(|first| first.seq == seq)
}

/// Whether a run's records say that all was so already.
fn is_answered(first: &Body, all: &[Record]) -> bool {
    matches!(first, Body::RunStarted(_))
        && all.iter().all(|record| match &record.body {
            Body::StepFinished(finished) => finished.outcome == Outcome::Already,
            Body::StepIntended(_) => false,
            _ => true,
        })
}
