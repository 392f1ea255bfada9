//! Lists of some of the runs: those that failed, those that something keeps from moving, those of a time.
//!
//! Owns which runs are meant. Keeps true: a run is in the list of a time when any of it lay in that time, so that an outage is
//! found whole.

use super::page::Page;
use super::run::{RunSummary, run_page};
use crate::store::Journal;
use jiff::Timestamp;
use quell_model::record::RunState;
use quell_model::{RunId, StoreError};
use std::collections::HashMap;

/// Which runs are listed: those that are all of what is set.
#[derive(Clone, Debug, Default)]
pub struct RunsWanted {
    /// Those that have failed.
    pub failed: bool,
    /// Those that had not ended by then.
    pub since: Option<Timestamp>,
    /// Those that do not move: these, for the reasons that the engine gives, and what could not be taken back.
    pub stuck: Option<HashMap<RunId, String>>,
}

impl RunsWanted {
    /// The line as it is to be told, if it is wanted.
    fn takes(&self, mut run: RunSummary) -> Option<RunSummary> {
        if self.failed && run.state != RunState::Failed {
            return None;
        }
        if let (Some(since), Some(ended)) = (self.since, run.ended)
            && ended.wall < since
        {
            return None;
        }
        if let Some(stuck) = &self.stuck {
            match stuck.get(&run.id) {
                Some(why) => run.summary.clone_from(why),
                None if run.state == RunState::Stuck => {}
                None => return None,
            }
        }
        Some(run)
    }
}

/// Some of the runs that are wanted, the latest first; the next page goes on before `next`. A page may be empty.
///
/// # Errors
/// As [`Journal::read`].
pub fn run_page_of(
    journal: &Journal,
    before: Option<i64>,
    long: usize,
    wanted: &RunsWanted,
) -> Result<Page<RunSummary>, StoreError> {
    let Page { lines, next } = run_page(journal, before, long)?;
    Ok(Page { lines: lines.into_iter().filter_map(|run| wanted.takes(run)).collect(), next })
}
