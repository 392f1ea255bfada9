//! What the journal says stands when quell leaves, and the end of its leases.
//!
//! Owns the reading of leases for a client that holds the directory, and their last records. Asks no world and takes nothing
//! back. Keeps true: a lease is told as over only after what it held was taken back, in its run and in the system's stream at once.

use quell_engine::clock::SystemClock;
use quell_engine::store::Journal;
use quell_model::action::IdempotencyKey;
use quell_model::playbook::AtEnd;
use quell_model::record::{LeaseChanged, NewRecord, Owner, Part};
use quell_model::{Batch, Body, Clock, Durability, Kind, Name, RunId, Stamp, StoreError, StreamId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

/// One containment that stands, by its lease.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stands {
    /// `RUN/STEP`, or `RUN/STEP/ITEM`.
    pub(crate) id: String,
    /// By which action.
    pub(crate) action: Name,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<Owner>,
    /// Its end by the wall clock; absent where it has none, or a person has to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<jiff::Timestamp>,
    /// What happens then.
    pub(crate) at_end: AtEnd,
    #[serde(skip)]
    pub(super) run: RunId,
    #[serde(skip)]
    pub(super) part: Part,
}

/// All that stand, as their records say.
pub(super) fn standing(journal: &Journal) -> Result<Vec<Stands>, StoreError> {
    let mut all: BTreeMap<(RunId, Part), Stands> = BTreeMap::new();
    let end = |at: Stamp, lasts: Option<Duration>| lasts.map(|lasts| at.after(lasts).wall);
    for record in journal.latest(&[Kind::LeaseGranted, Kind::LeaseChanged], usize::MAX)? {
        match record.body {
            Body::LeaseGranted(granted) => {
                let (run, part) = (granted.run.clone(), granted.part.clone());
                let stands = Stands {
                    id: IdempotencyKey::of(&run, &part).0,
                    action: granted.action.clone(),
                    owner: granted.owner.clone(),
                    until: end(record.at, Some(granted.lasts)),
                    at_end: granted.at_end,
                    run: run.clone(),
                    part: part.clone(),
                };
                all.insert((run, part), stands);
            }
            Body::LeaseChanged(changed) => {
                let place = (changed.run.clone(), changed.part.clone());
                let Some(stands) = all.get_mut(&place) else { continue };
                if changed.owner.is_some() {
                    stands.owner.clone_from(&changed.owner);
                }
                match changed.state.as_str() {
                    "kept" => stands.until = end(record.at, changed.lasts),
                    "renewed" if changed.lasts.is_some() => stands.until = end(record.at, changed.lasts),
                    "due" => stands.until = None,
                    "lapsed" | "ended" => drop(all.remove(&place)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Ok(all.into_values().collect())
}

/// Writes down that one stands no more: `ended` by this, or `lapsed` before.
pub(super) fn over(journal: &Journal, stands: &Stands, state: &str, why: &str) -> Result<(), StoreError> {
    let (run, part, action) = (stands.run.clone(), stands.part.clone(), stands.action.clone());
    let (state, why) = (state.into(), why.to_owned());
    let changed = LeaseChanged { run, part, action, state, why, lasts: None, owner: None, plan: None, via: None };
    let record = NewRecord::new(SystemClock.now(), changed);
    let batch = |stream: StreamId| Batch {
        expected: journal.last(&stream),
        stream,
        records: vec![record.clone()],
        durability: Durability::Synced,
    };
    // A run that was pruned since has no stream to tell.
    let of_run = Some(StreamId::run(&stands.run)).filter(|stream| journal.has(stream));
    let batches = of_run.into_iter().chain([StreamId::system()]).map(batch).collect();
    let (told, done) = mpsc::channel();
    journal.submit(batches, Box::new(move |written| drop(told.send(written.map(drop)))));
    done.recv().map_err(|_| StoreError::Closed)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::record::LeaseGranted;

    fn part() -> Part {
        Part { step: "one".into(), item: None }
    }

    #[test]
    fn what_is_over_is_told_in_its_run_and_stands_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let granted = |run: &str| LeaseGranted {
            run: run.into(),
            part: part(),
            action: "process.freeze".into(),
            owner: Some(Owner::Playbook("p".into())),
            lasts: Duration::from_secs(3600),
            at_end: AtEnd::Ask,
            own_end: false,
            incident: None,
            answers: None,
        };
        let write = |stream: StreamId, body: Body| {
            let records = vec![NewRecord::new(SystemClock.now(), body)];
            let expected = journal.last(&stream);
            journal.written(Batch { stream, expected, records, durability: Durability::Synced }).unwrap();
        };
        for run in ["r-1", "r-2"] {
            write(StreamId::run(&run.into()), granted(run).into());
            write(StreamId::system(), granted(run).into());
        }
        let kept = LeaseChanged {
            run: "r-2".into(),
            part: part(),
            action: "process.freeze".into(),
            state: "kept".into(),
            why: String::new(),
            lasts: None,
            owner: Some(Owner::Person("ann".into())),
            plan: None,
            via: None,
        };
        write(StreamId::system(), kept.into());
        let all = standing(&journal).unwrap();
        let said: Vec<(&str, String, bool)> =
            all.iter().map(|one| (&*one.id, one.owner.as_ref().unwrap().to_string(), one.until.is_some())).collect();
        assert_eq!(said, [("r-1/one", "playbook p".to_owned(), true), ("r-2/one", "ann".to_owned(), false)]);
        over(&journal, &all[0], "ended", "taken back").unwrap();
        assert_eq!(standing(&journal).unwrap().len(), 1);
        let run = journal.read(&StreamId::run(&"r-1".into()), 1).unwrap();
        assert!(matches!(&run.last().unwrap().body, Body::LeaseChanged(changed) if changed.state.as_str() == "ended"));
        journal.close();
    }
}
