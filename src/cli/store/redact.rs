//! `quell store redact`: what a record said goes, and the record stays. It takes the data directory as a daemon does.

use super::super::term::Ink;
use super::super::{Exit, Fail, Term};
use super::{append, told, unusable};
use crate::daemon;
use quell_engine::clock::SystemClock;
use quell_engine::store::{Journal, RedactError, wipe};
use quell_model::{Body, Clock, StoreError, StreamId};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run or the incident: `run/ID` or `incident/ID`
    #[arg(value_name = "STREAM")]
    stream: String,
    /// The numbers of its records
    #[arg(value_name = "SEQ", required_unless_present = "all", conflicts_with = "all")]
    records: Vec<u64>,
    /// All of its records
    #[arg(long)]
    all: bool,
    /// Why, for whoever finds it gone
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) fn run(args: &Args, dir: &Path, term: &Term) -> Result<Exit, Fail> {
    let what = |error| told(error, dir, "what was redacted until then is; try again");
    let stream = StreamId::from(args.stream.as_str());
    // There must be one already.
    drop(Journal::open_read_only(dir).map_err(|error| unusable(error, dir))?);
    let journal = Journal::open(dir).map_err(what)?;
    let done = redact(args, &journal, &stream);
    journal.close();
    let (redacted, already) = done.map_err(|error| refused(error, dir))?;
    // Also of what an earlier try redacted and did not come so far with.
    wipe(dir).map_err(|error| {
        Fail::not_right(format!("it is redacted, and may still be found in the journal's files: {error}"))
            .hint("they are written anew when the same is said again; that takes as much room as `journal.db`")
    })?;
    if term.is_json() {
        let document =
            json!({ "stream": args.stream, "redacted": redacted, "already": already, "reason": args.reason });
        term.document(&document);
    } else {
        let word = term.ink(Ink::Good, "redacted");
        let before = if already.is_empty() { String::new() } else { format!(", {} were before", already.len()) };
        term.line(format!(
            "{word}  {} records of {}{before}",
            redacted.len(),
            super::super::escape::escape(&args.stream)
        ));
    }
    Ok(Exit::Right)
}

type Numbers = Vec<u64>;

/// So many records are redacted in one transaction.
const MOST: usize = 500;

fn redact(args: &Args, journal: &Journal, stream: &StreamId) -> Result<(Numbers, Numbers), RedactError> {
    let wrong = journal.verify()?;
    if let Some(first) = wrong.into_iter().chain(journal.health().recovery).next() {
        return Err(RedactError::Store(StoreError::Corrupt(first)));
    }
    let given = args.records.iter().copied();
    let records: BTreeSet<u64> = if args.all { (1..=journal.last(stream).max(1)).collect() } else { given.collect() };
    let said = journal.redactions(stream, &records, (daemon::me(), args.reason.clone()))?;
    let redacted: BTreeSet<u64> = said.iter().map(|one| one.seq).collect();
    for some in said.chunks(MOST) {
        append(journal, SystemClock.now(), some.iter().cloned().map(Body::from))?;
    }
    let already = records.difference(&redacted).copied().collect();
    Ok((redacted.into_iter().collect(), already))
}

fn refused(error: RedactError, dir: &Path) -> Fail {
    let text = error.to_string();
    match error {
        RedactError::None { .. } => {
            Fail::not_right(text).hint("records are numbered from 1 in each stream; --all takes every one")
        }
        RedactError::Open(_) => Fail::not_right(text)
            .hint("end or resolve it first, and take back or give up what stands: what goes on is read all the while"),
        RedactError::Other(_) => Fail::usage(text).hint("give `run/ID` or `incident/ID`"),
        RedactError::Store(StoreError::Corrupt(why)) => {
            Fail::not_right(format!("nothing was redacted, since the journal does not hold: {why}"))
                .hint("`quell store check` says all of it")
        }
        RedactError::Store(error) => told(error, dir, "what was redacted until then is; try again"),
    }
}
