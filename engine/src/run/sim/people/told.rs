//! What must hold between what happens and who is told or counts: of incidents that go on, and of approvals.
//!
//! Owns those laws. Judges by the records alone. Keeps true: an incident that goes on has a ladder that does, and one that is over, or is
//! of the past, has none; nobody approves of what they wanted themselves, where that does not count.

use crate::escalation::Escalation;
use crate::escalation::audit::{Account, Stands};
use crate::run::sim::check::Streams;
use crate::store::Journal;
use quell_model::record::{IncidentState, QuestionKind};
use quell_model::{Body, LadderId, Name, Record, StoreError, StreamId};
use std::collections::BTreeSet;

/// Whoever is to be told of an incident that goes on is: it has a ladder, which is not over.
pub(super) fn of_incidents(journal: &Journal) -> Result<(), String> {
    let read = |stream: &StreamId| journal.read(stream, 1).map_err(|error: StoreError| error.to_string());
    for (stream, _) in journal.streams().map_err(|error| error.to_string())? {
        let Some(incident) = stream.as_incident() else { continue };
        let ladder = LadderId::incident(&incident);
        let (records, rungs) = (read(&stream)?, read(&StreamId::ladder(&ladder))?);
        let stands = Account::of(&ladder, &rungs).stands;
        let is_told = !matches!(stands, Stands::Over | Stands::Closed);
        if goes_on(&records) != is_told {
            let shown = super::laws::shown(&records);
            return Err(format!(
                "the ladder of incident {incident} stands at {stands:?}, and the incident is:\n{shown}"
            ));
        }
    }
    Ok(())
}

/// Whether somebody is to be told of an incident.
fn goes_on(records: &[Record]) -> bool {
    let is_past = |record: &Record| matches!(&record.body, Body::IncidentOpened(opened) if opened.backfill);
    let state = records.iter().rev().find_map(|record| match &record.body {
        Body::IncidentChanged(changed) => Some(changed.state),
        _ => None,
    });
    state != Some(IncidentState::Resolved) && !records.iter().any(is_past)
}

/// Nobody approves of what they wanted themselves, where the approvers are to be others; gives how often one of others has.
pub(super) fn by_others(streams: &Streams, escalation: &Escalation) -> Result<u64, String> {
    let mut by_others = 0;
    for (stream, records) in streams.iter().filter(|(stream, _)| stream.as_run().is_some()) {
        let (mut wanted_by, mut guarded): (BTreeSet<&Name>, BTreeSet<_>) = Default::default();
        for record in records {
            match &record.body {
                Body::RunStarted(started) => wanted_by.extend(started.requesters()),
                Body::RunReopened(reopened) => drop(wanted_by.insert(&reopened.by)),
                Body::QuestionAsked(asked) => {
                    let group = asked.by.as_ref().and_then(|by| escalation.people.approvers.get(by));
                    if asked.question == QuestionKind::Approve && group.is_some_and(|group| group.not_requester) {
                        guarded.insert(&asked.part);
                    }
                }
                Body::QuestionAnswered(answered) if answered.question == QuestionKind::Approve => {
                    let (Some(by), true) = (&answered.by, guarded.contains(&answered.part)) else { continue };
                    if wanted_by.contains(by) {
                        return Err(format!("{stream}, record {}: {by} approves of what they wanted", record.seq));
                    }
                    by_others += u64::from(!wanted_by.is_empty());
                }
                _ => {}
            }
        }
    }
    Ok(by_others)
}
