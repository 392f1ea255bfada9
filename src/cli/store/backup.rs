//! `quell store backup`: a whole copy of the journal and its evidence, or none.

use super::super::escape::escape;
use super::super::show::size;
use super::super::term::Ink;
use super::super::{Exit, Fail, Term};
use super::unusable;
use quell_engine::store::{BackupError, back_up};
use quell_model::StoreError;
use serde_json::json;
use std::error::Error;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The new directory
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn run(args: &Args, dir: &Path, term: &Term) -> Result<Exit, Fail> {
    let done = back_up(dir, &args.to).map_err(|error| told(error, dir))?;
    if term.is_json() {
        let rows: Vec<_> = (1..).zip(&done.findings).map(|(id, what)| json!({ "id": id, "what": what })).collect();
        term.document(&json!({
            "dir": args.to, "ok": done.findings.is_empty(), "streams": done.streams, "records": done.records,
            "blobs": done.blobs, "bytes": done.bytes, "findings": rows,
        }));
    } else {
        for finding in &done.findings {
            term.line(format!("{}  {}", term.ink(Ink::Bad, "wrong"), escape(finding)));
        }
        let (streams, records, blobs, bytes) = (done.streams, done.records, done.blobs, size(done.bytes));
        let word = term.ink(if done.findings.is_empty() { Ink::Good } else { Ink::Warn }, "copied");
        let what = format!("{records} records in {streams} streams and {blobs} blobs, {bytes}");
        term.line(format!("{word}  {what}, to {}", escape(&args.to.display().to_string())));
    }
    Ok(if done.findings.is_empty() { Exit::Right } else { Exit::NotRight })
}

fn told(error: BackupError, dir: &Path) -> Fail {
    let whole = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    match error {
        BackupError::Place { .. } => Fail::usage(whole)
            .hint("name a directory that does not exist yet, in one that does: it gets its name when it is whole"),
        BackupError::Source { source, .. } => unusable(source, dir),
        BackupError::Target(StoreError::Corrupt(_)) => Fail::not_right(whole)
            .hint("what was written there is not what is read there: take another medium; nothing is left of the copy"),
        BackupError::Target(_) => {
            Fail::not_right(whole).hint("nothing is left of the copy: make room, or name a directory elsewhere")
        }
    }
}
