//! `quell store check`: whether the journal holds together. Needs no daemon, and works beside one.
//!
//! Reads everything and changes nothing.

use super::escape::escape;
use super::term::Ink;
use super::{Exit, Fail, Global, Term, place};
use quell_engine::store::Journal;
use quell_model::StoreError;
use serde_json::json;
use std::path::Path;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  quell store check --data-dir /var/lib/quell")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read every record and say what does not follow from the one before
    #[command(
        after_help = "Example:\n  quell store check --json | jq -r '.findings[].what'\n\nExits 1 when something does not hold, 2 when there is no journal."
    )]
    Check,
}

/// Checks.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    match args.what {
        What::Check => check(&place::for_client(global.data_dir.as_deref()), term),
    }
}

fn check(dir: &Path, term: &Term) -> Result<Exit, Fail> {
    let what = |e: StoreError| match e {
        StoreError::Corrupt(_) => Fail::not_right(format!("the journal in `{}`: {e}", dir.display()))
            .hint("keep the directory as it is, and put a backup of it in its place"),
        _ => Fail::usage(format!("there is no journal to read in `{}`: {e}", dir.display()))
            .hint("--data-dir names the daemon's data directory"),
    };
    let journal = Journal::open_read_only(dir).map_err(what)?;
    // What lies on the slate is not in the database yet, and what cannot follow on it is a finding too.
    let mut findings = journal.health().recovery;
    findings.extend(journal.verify().map_err(what)?);
    let streams = journal.streams().map_err(what)?;
    let records: u64 = streams.iter().map(|(_, last)| last).sum();
    if term.is_json() {
        let rows: Vec<_> = (1..).zip(&findings).map(|(id, what)| json!({ "id": id, "what": what })).collect();
        let (ok, streams) = (findings.is_empty(), streams.len());
        term.document(&json!({ "ok": ok, "streams": streams, "records": records, "findings": rows }));
    } else {
        for finding in &findings {
            term.line(format!("{}  {}", term.ink(Ink::Bad, "wrong"), escape(finding)));
        }
        if findings.is_empty() {
            let good = term.ink(Ink::Good, "ok");
            term.line(format!("{good}  {records} records in {} streams: every chain holds", streams.len()));
        }
    }
    Ok(if findings.is_empty() { Exit::Right } else { Exit::NotRight })
}
