//! The journal's figures, and what only its database knows.

use super::page::Page;
use super::table as t;
use quell_engine::store::{Figures, Journal, Size};
use quell_model::record::RunState;
use quell_model::{Body, Kind, RunId, StoreError, StreamId};
use std::collections::BTreeSet;
use std::path::Path;

/// What the database says.
pub(super) struct Found {
    size: Size,
    incidents_open: u64,
    /// Runs of which something could not be taken back, and stands.
    stuck: u64,
}

/// Asks the database; none when it does not answer.
pub(super) fn look(journal: &Journal, dir: &Path, due: &BTreeSet<RunId>) -> Option<Found> {
    let ask = || -> Result<Found, StoreError> {
        let open = journal.open_streams()?;
        let mut stuck = 0;
        for run in due {
            let ends = journal.read_kinds(&StreamId::run(run), 1, &[Kind::RunFinished])?;
            let is_stuck = |body: &Body| matches!(body, Body::RunFinished(end) if end.state == RunState::Stuck);
            stuck += u64::from(ends.last().is_some_and(|record| is_stuck(&record.body)));
        }
        let incidents_open = open.iter().filter(|stream| stream.as_incident().is_some()).count() as u64;
        Ok(Found { size: journal.size(dir)?, incidents_open, stuck })
    };
    ask().inspect_err(|error| tracing::debug!(%error, "the journal's database has no figures")).ok()
}

/// Puts on the page what waits for no disk.
pub(super) fn tell(page: &mut Page, figures: &Figures) {
    page.flag(t::JOURNAL_UP, &[], figures.takes);
    page.count(t::JOURNAL_WAITING, &[], figures.waiting);
    page.count(t::JOURNAL_HELD, &[], figures.held.used);
    page.count(t::JOURNAL_HELD_SIZE, &[], figures.held.whole);
    page.count(t::JOURNAL_IN_MEMORY, &[], figures.in_memory_only);
    page.count(t::SLATE, &[], figures.slate.used);
    page.count(t::SLATE_SIZE, &[], figures.slate.whole);
    page.count(t::JOURNAL_REFUSED, &[], figures.refused);
    page.count(t::COMMITS_REFUSED, &[], figures.commits_refused);
    page.spread(t::SYNC, &[], &figures.synced);
}

/// Puts on the page what the database said.
pub(super) fn tell_found(page: &mut Page, found: &Found, runs_known: bool) {
    page.count(t::JOURNAL_RECORDS, &[], found.size.records);
    page.count(t::JOURNAL_STREAMS, &[], found.size.streams);
    page.count(t::JOURNAL_BYTES, &[], found.size.bytes);
    page.count(t::INCIDENTS_OPEN, &[], found.incidents_open);
    if runs_known {
        page.count(t::RUNS_STUCK, &[], found.stuck);
    }
}
