//! `quell store check`: whether the journal holds together, and has its evidence; also beside a daemon.
//!
//! Reads everything and changes nothing.

use super::super::escape::escape;
use super::super::show::{moment, size};
use super::super::term::Ink;
use super::super::{Exit, Fail, Term};
use super::unusable;
use quell_engine::store::{DirVault, Journal};
use serde_json::json;
use std::path::Path;

pub(super) fn run(dir: &Path, term: &Term) -> Result<Exit, Fail> {
    let what = |error| unusable(error, dir);
    let journal = Journal::open_read_only(dir).map_err(what)?;
    // What lies on the slate is not in the database yet, and what cannot follow on it is a finding too.
    let mut findings = journal.health().recovery;
    findings.extend(journal.verify().map_err(what)?);
    let kept = journal.evidence(&DirVault::new(dir)).map_err(what)?;
    findings.extend(kept.findings);
    let streams = journal.streams().map_err(what)?;
    let records = streams.iter().map(|(_, last)| last).sum::<u64>() - journal.records_pruned().map_err(what)?;
    let seal = journal.last_seal().map_err(what)?;
    if term.is_json() {
        let rows: Vec<_> = (1..).zip(&findings).map(|(id, what)| json!({ "id": id, "what": what })).collect();
        let (ok, streams) = (findings.is_empty(), streams.len());
        term.document(&json!({ "ok": ok, "streams": streams, "records": records, "blobs": kept.blobs,
            "findings": rows, "sealed": seal.map(|seal| json!({ "record": seal.record, "at": seal.at.wall, "sum": seal.hash.to_string() })) }));
    } else {
        for finding in &findings {
            term.line(format!("{}  {}", term.ink(Ink::Bad, "wrong"), escape(finding)));
        }
        if findings.is_empty() {
            let good = term.ink(Ink::Good, "ok");
            let streams = streams.len();
            term.line(format!("{good}  {records} records in {streams} streams: every chain holds"));
            term.line(format!("    {} blobs of evidence, {}: as they were kept", kept.blobs, size(kept.bytes)));
            term.line(match seal {
                Some(seal) => format!(
                    "    last sealed {}: record {} of `system`, sum {}",
                    moment(seal.at.wall),
                    seal.record,
                    seal.hash
                ),
                None => "    nothing is sealed yet: a stream that was taken out whole would not be missed".to_owned(),
            });
        }
    }
    Ok(if findings.is_empty() { Exit::Right } else { Exit::NotRight })
}
