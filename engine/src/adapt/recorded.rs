//! The flight recorder's files: pages of events, compressed.

use super::reader::Wrong;
use crate::recorder::{Events, Glimpse, Unpacker, head};
use quell_model::OwnedEvent;
use std::io::BufRead;

/// Reads a file of pages, one at a time.
pub(super) struct Recorded<'r> {
    input: Box<dyn BufRead + 'r>,
    unpacker: Unpacker,
    pages: u64,
}

impl<'r> Recorded<'r> {
    pub(super) fn new(input: Box<dyn BufRead + 'r>) -> Self {
        Self { input, unpacker: Unpacker::default(), pages: 0 }
    }

    /// The events of the next page; none at the end. After an error there is nothing more to be had.
    pub(super) fn page(&mut self) -> Result<Option<Vec<OwnedEvent>>, Wrong> {
        self.pages += 1;
        let page = self.pages;
        let wrong = |why: &dyn std::fmt::Display| Wrong::new(format!("cannot be read from page {page} on: {why}"));
        let Some(head) = head(&mut self.input).map_err(|e| wrong(&e))? else { return Ok(None) };
        let bytes = self.unpacker.bytes(&head, &mut self.input).map_err(|e| wrong(&e))?;
        let events = Events::of(bytes).map(|glimpse| glimpse.map(Glimpse::into_event));
        events.collect::<Result<Vec<_>, _>>().map(Some).map_err(|e| wrong(&e))
    }
}
