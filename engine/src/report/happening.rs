//! What happens, told while it happens.
//!
//! ```text
//! journal ── after(row) ──▶ Follower: whose, of which kind? ──▶ Happening: the record, and its line of the timeline
//! ```
//!
//! Owns which records a follower wants, and what each is part of. Keeps true: it tells nothing that was not committed,
//! everything once, in the order of the rows; and what it remembers is bounded, however long it follows.

use super::timeline::Teller;
use crate::store::{Followed, Journal};
use quell_model::{Body, IncidentId, Json, Kind, RunId, Seq, Stamp, StoreError, StreamId};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use utoipa::ToSchema;

/// Rows that are looked at in one go.
const ROWS: usize = 256;
/// Streams that are remembered: beyond it all are forgotten, and read again when something happens in them.
const STREAMS: usize = 512;
/// Records of a run that are read for what its later ones mean; a run has dozens.
const EARLIER: usize = 4096;

/// Something that happened: a record of the journal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Happening {
    /// Its place among all that happened: grows, with gaps. Names it for whoever goes on after it.
    #[schema(examples(1204))]
    pub row: i64,
    /// Which stream it is in.
    pub stream: StreamId,
    /// Its number in its stream, from 1.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// When it happened.
    pub at: Stamp,
    /// What it is.
    pub kind: Kind,
    /// The run that it belongs to, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The incident that it belongs to, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// For people, as the timeline has it; none where the timeline has no line for it. Holds text that an attacker may have
    /// shaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What the record says; its fields are those of its kind.
    #[schema(value_type = Object)]
    pub body: Json,
}

/// What somebody wants to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only of this incident and its runs.
    pub incident: Option<IncidentId>,
    /// Only of these kinds; empty: all.
    pub kinds: Vec<Kind>,
}

/// Reads the journal on and on.
pub struct Follower {
    journal: Journal,
    interest: Interest,
    row: i64,
    known: HashMap<StreamId, Known>,
}

/// A stream in which something happened.
struct Known {
    /// Of a run: whose it is.
    incident: Option<IncidentId>,
    teller: Option<Teller>,
}

impl Follower {
    /// Tells what comes after a row.
    #[must_use]
    pub fn new(journal: Journal, interest: Interest, row: i64) -> Self {
        Self { journal, interest, row, known: HashMap::new() }
    }

    /// Up to where it has looked.
    #[must_use]
    pub fn row(&self) -> i64 {
        self.row
    }

    /// What has happened since, as far as one look goes; and whether that was all. Blocks on the database.
    ///
    /// # Errors
    /// As [`Journal::read`]; what could not be read is tried again by the next call.
    pub fn look(&mut self) -> Result<(Vec<Happening>, bool), StoreError> {
        let Self { journal, interest, .. } = self;
        let stretch = journal.after(self.row, ROWS, &mut |stream, _| interest.may_want(stream))?;
        let mut told = Vec::new();
        for followed in stretch.records {
            told.extend(self.tell(followed)?);
        }
        self.row = stretch.upto;
        Ok((told, stretch.is_last))
    }

    fn tell(&mut self, followed: Followed) -> Result<Option<Happening>, StoreError> {
        let Followed { row, stream, record } = followed;
        if !self.known.contains_key(&stream) {
            if self.known.len() >= STREAMS {
                self.known.clear();
            }
            let known = Known { incident: self.incident_of(&stream)?, teller: None };
            self.known.insert(stream.clone(), known);
        }
        let known = self.known.get_mut(&stream).expect("it was put there");
        if self.interest.incident.is_some() && self.interest.incident != known.incident {
            return Ok(None);
        }
        let (run, incident, kind) = (stream.owner().as_run(), known.incident.clone(), record.body.kind());
        let teller = match &mut known.teller {
            Some(teller) => teller,
            none => none.insert(earlier(&self.journal, &stream, record.seq)?),
        };
        // Also of what is not wanted: a later line needs what an earlier record said.
        let text = teller.line(&record, run.as_ref()).map(|line| line.text);
        if matches!(record.body, Body::RunFinished(_)) {
            known.teller = None;
        }
        if !self.interest.kinds.is_empty() && !self.interest.kinds.contains(&kind) {
            return Ok(None);
        }
        let mut body = Vec::new();
        let written = record.body.write_json(&mut body).and_then(|()| serde_json::from_slice(&body));
        let body = written.map_err(|e| StoreError::Corrupt(format!("`{stream}`, record {}: {e}", record.seq)))?;
        Ok(Some(Happening { row, seq: record.seq, at: record.at, kind, run, incident, text, body, stream }))
    }

    /// Of a run, or of an incident; of what a ladder tells of, for its stream.
    fn incident_of(&self, stream: &StreamId) -> Result<Option<IncidentId>, StoreError> {
        let stream = &stream.owner();
        if stream.as_run().is_none() {
            return Ok(stream.as_incident());
        }
        // A stream is read from its end to its beginning; that of a run is short.
        let first = self.journal.read_kinds(stream, 1, &[Kind::RunStarted])?.into_iter().next();
        match first.map(|record| record.body) {
            Some(Body::RunStarted(started)) => Ok(started.incident),
            _ => Ok(None),
        }
    }
}

/// Who tells of a stream knows what came before: which action a step is, which playbook a run goes by. An incident's
/// stream may be long, and its lines need little of it.
fn earlier(journal: &Journal, stream: &StreamId, before: Seq) -> Result<Teller, StoreError> {
    let mut teller = Teller::new(&[]);
    if stream.as_run().is_some() || stream.as_ladder().is_some() {
        let mut left = EARLIER;
        journal.visit(stream, 1, Kind::ALL, &mut |record| {
            if record.seq < before && left > 0 {
                left -= 1;
                teller.line(&record, None);
            }
        })?;
    }
    Ok(teller)
}

impl Interest {
    /// As far as can be said without looking at who a run belongs to.
    fn may_want(&self, stream: &StreamId) -> bool {
        let stream = &stream.owner();
        let is_run = self.run.as_ref().is_none_or(|run| stream.as_run().as_ref() == Some(run));
        let of_incident = self
            .incident
            .as_ref()
            .is_none_or(|incident| stream.as_run().is_some() || stream.as_incident().as_ref() == Some(incident));
        is_run && of_incident
    }
}
