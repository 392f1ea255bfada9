//! `quell store check|backup|prune|redact`: the journal as files. None of them needs a daemon.

mod backup;
mod check;
mod prune;
mod redact;

use super::{Exit, Fail, Global, Term, place};
use quell_engine::store::Journal;
use quell_model::record::NewRecord;
use quell_model::{Batch, Body, Durability, Stamp, StoreError, StreamId};
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell store check --data-dir /var/lib/quell\n  quell store backup /mnt/backup/quell-monday\n  quell store prune --older-than 90d --dry-run"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read every record and all evidence, and say what does not follow from the one before, is missing, or is not as it was kept
    #[command(
        after_help = "Example:\n  quell store check --json | jq -r '.findings[].what'\n\nExits 1 when something does not hold, 2 when there is no journal."
    )]
    Check,
    /// Copy the journal and its evidence into a new directory, also while a daemon runs
    #[command(
        after_help = "Example:\n  quell store backup /mnt/backup/quell-monday\n\nThe copy is whole once it has its name. Exits 1 when something in the original did not hold, or evidence that its records name was not there."
    )]
    Backup(backup::Args),
    /// Take away what has been over for long, and say in the journal that it was
    #[command(
        after_help = "Examples:\n  quell store prune --older-than 90d --dry-run     what would go; also while a daemon runs\n  quell store prune --older-than 90d\n\nWithout --dry-run no daemon may run on the directory: exits 2 if one does."
    )]
    Prune(prune::Args),
    /// Take away what records said, and leave the proof that they were
    #[command(
        after_help = "Examples:\n  quell store redact run/r-7f3a 5 --reason 'a token in its output'\n  quell store redact run/r-7f3a --all --reason 'a token in its output'\n\nNo daemon may run on the directory: exits 2 if one does; 1 when the run or the incident is not over. Backups, logs and evidence have what they have."
    )]
    Redact(redact::Args),
}

/// Does one of them.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let dir = place::for_client(global.data_dir.as_deref());
    match &args.what {
        What::Check => check::run(&dir, term),
        What::Backup(args) => backup::run(args, &dir, term),
        What::Prune(args) => prune::run(args, &dir, term),
        What::Redact(args) => redact::run(args, &dir, term),
    }
}

/// Writes records of the system's, all or none, and waits until they survive a power cut.
fn append(journal: &Journal, at: Stamp, bodies: impl IntoIterator<Item = Body>) -> Result<(), StoreError> {
    let stream = StreamId::system();
    let records = bodies.into_iter().map(|body| NewRecord::new(at, body)).collect();
    let batch = Batch { expected: journal.last(&stream), stream, records, durability: Durability::Synced };
    let (tell, told) = sync_channel(1);
    // Whoever waits is here until it is told.
    journal.submit(vec![batch], Box::new(move |answer| drop(tell.send(answer))));
    told.recv().unwrap_or(Err(StoreError::Closed)).map(drop)
}

/// Why what takes something away was not done, or not to its end.
fn told(error: StoreError, dir: &Path, so_far: &'static str) -> Fail {
    match error {
        StoreError::Taken { .. } => Fail::usage(error.to_string()).hint(
            "end the daemon, say it again, and start the daemon: what is in force in the kernel stays in force \
             meanwhile. `prune --dry-run` says what would go while it runs",
        ),
        StoreError::Unwritable(_) | StoreError::Held(_) | StoreError::Closed if dir.join("journal.db").exists() => {
            Fail::not_right(error.to_string()).hint(so_far)
        }
        error => unusable(error, dir),
    }
}

/// Why the journal cannot be used.
fn unusable(error: StoreError, dir: &Path) -> Fail {
    let dir = dir.display();
    match error {
        StoreError::Corrupt(_) => Fail::not_right(format!("the journal in `{dir}`: {error}"))
            .hint("keep the directory as it is, and put a backup of it in its place"),
        StoreError::Newer(_) => Fail::usage(format!("`{dir}`: {error}")).hint(NEWER),
        StoreError::Absent(_) => Fail::usage(error.to_string()).hint(ABSENT),
        StoreError::Unreadable(_) => Fail::usage(error.to_string())
            .hint("whoever the daemon runs as can read it: `sudo quell store …`, or another --data-dir"),
        _ => {
            Fail::usage(format!("the journal in `{dir}`: {error}")).hint("--data-dir names the daemon's data directory")
        }
    }
}

/// What to do where there is no journal.
const ABSENT: &str =
    "--data-dir names the daemon's data directory, and `quell up` makes the journal in it at its first start";

/// What to do about a journal of a newer quell.
pub(crate) const NEWER: &str =
    "nothing was changed: run that newer quell on it, or give this one a directory of its own with --data-dir";
