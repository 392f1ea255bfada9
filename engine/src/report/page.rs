//! Lists, a page at a time, so that a list of everything is never in memory as a whole.
//!
//! Owns how a page goes on. Keeps true: whoever reads page after page sees everything that had begun when they began,
//! once, the latest first.

use crate::store::Listed;
use quell_model::StoreError;

/// Lines of a page at the most.
pub const LONGEST: usize = 500;

/// Some lines of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The lines.
    pub lines: Vec<T>,
    /// Where the next page goes on; none when there is no more.
    pub next: Option<i64>,
}

/// A page of what the journal listed.
pub(super) fn of<L, T>(
    listed: Vec<Listed<L>>,
    long: usize,
    line: impl FnMut(Listed<L>) -> Result<Option<T>, StoreError>,
) -> Result<Page<T>, StoreError> {
    let next = listed.last().filter(|_| listed.len() >= long).map(|last| last.number);
    let lines = listed.into_iter().map(line).filter_map(Result::transpose).collect::<Result<_, _>>()?;
    Ok(Page { lines, next })
}

/// All pages as one.
pub(super) fn all<T>(mut page: impl FnMut(Option<i64>) -> Result<Page<T>, StoreError>) -> Result<Vec<T>, StoreError> {
    let (mut lines, mut before) = (Vec::new(), None);
    loop {
        let next = page(before)?;
        lines.extend(next.lines);
        before = next.next;
        if before.is_none() {
            return Ok(lines);
        }
    }
}
