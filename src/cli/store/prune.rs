//! `quell store prune`: retention by age. It takes the data directory as a daemon does; a look needs no such thing.

use super::super::show::size;
use super::super::term::Ink;
use super::super::{Exit, Fail, Term};
use super::{append, told};
use crate::daemon;
use quell_actions::HostWorld;
use quell_engine::clock::SystemClock;
use quell_engine::load::units::duration;
use quell_engine::store::{DirVault, Journal, Pruned, Retention, print_age};
use quell_model::Clock;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What has been over for longer goes, such as `90d`; at least `1d`
    #[arg(long, value_name = "D", value_parser = age)]
    older_than: Duration,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

/// What is younger may still be talked about, and asked for again.
const LEAST: Duration = Duration::from_secs(86_400);

fn age(text: &str) -> Result<Duration, String> {
    let age = duration(text).ok_or("a duration, such as `90d`")?;
    if age < LEAST { Err("at least `1d`".to_owned()) } else { Ok(age) }
}

pub(super) fn run(args: &Args, dir: &Path, term: &Term) -> Result<Exit, Fail> {
    let what = |error| told(error, dir, "what went until then is gone as a whole; the rest stays: try again");
    let world = HostWorld::live("this".into()).map_err(|e| Fail::missing(format!("/proc cannot be read: {e}")))?;
    let (now, age) = (SystemClock.now(), Some(args.older_than));
    let retention = Retention { incidents: age, evidence: age, now, boot: world.boot, by: daemon::me() };
    let vault = DirVault::new(dir);
    // There must be one already: a look makes none, and tells what is wrong with it.
    let beside = Journal::open_read_only(dir).map_err(what)?;
    let done = if args.dry_run {
        let plan = beside.prunable(&retention).map_err(what)?;
        let blobs = beside.orphans(&vault, &plan, &retention).map_err(what)?;
        let bytes = blobs.iter().map(|blob| blob.bytes).sum();
        Pruned { blobs: blobs.len() as u64, blob_bytes: bytes, ..plan.counts().clone() }
    } else {
        drop(beside);
        let journal = Journal::open(dir).map_err(what)?;
        // What goes takes its proof along: of a journal that does not hold, nothing goes.
        let mut wrong = journal.health().recovery;
        wrong.extend(journal.verify().map_err(what)?);
        if let Some(first) = wrong.first() {
            let fail = Fail::not_right(format!("nothing was pruned, since the journal does not hold: {first}"));
            journal.close();
            return Err(fail.hint("`quell store check` says all of it"));
        }
        let plan = journal.prunable(&retention).map_err(what)?;
        let done = journal.prune(&vault, plan, &retention, &mut |part| {
            append(&journal, retention.now, [part.clone().into()]).map(|()| part)
        });
        journal.close();
        done.map_err(what)?
    };
    if term.is_json() {
        let mut document = json!(done);
        document["older_than"] = print_age(args.older_than).into();
        document["dry_run"] = args.dry_run.into();
        term.document(&document);
    } else {
        tell(&done, args.dry_run, term);
    }
    Ok(Exit::Right)
}

fn tell(done: &Pruned, dry: bool, term: &Term) {
    let word = if dry { term.ink(Ink::Warn, "would go") } else { term.ink(Ink::Good, "pruned") };
    let Pruned { runs, incidents, records, blobs, .. } = done;
    let (bytes, blob_bytes) = (size(done.bytes), size(done.blob_bytes));
    term.line(format!("{word}  {runs} runs and {incidents} incidents with {records} records, about {bytes}"));
    term.line(format!("{word}  {blobs} blobs, {blob_bytes}"));
    if done.kept_for_leases > 0 {
        let kept = done.kept_for_leases;
        term.line(format!("{}  {kept} that containments rest on, which stand", term.ink(Ink::Dim, "kept")));
    }
    if done.kept_for_open > 0 {
        let kept = done.kept_for_open;
        term.line(format!("{}  {kept} that open incidents or runs refer to", term.ink(Ink::Dim, "kept")));
    }
}
