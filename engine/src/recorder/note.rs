//! The sensor's side: events into a page, full pages to the recorder's thread, and never a wait.
//!
//! Owns the pages that go round. When none is spare the full one is emptied, and what it held is counted and told in the
//! next page.

use super::page::Page;
use quell_model::{Event, Stamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Pages that go round: one that is filled, and some seconds of a flood while the disk is slow. Each takes at most
/// 160 KiB, all together 2.5 MiB.
pub const PAGES: usize = 16;
/// An event is written to the disk after so long, also if its page is not full.
const WAIT: Duration = Duration::from_secs(1);

/// What is counted, for `status`.
#[derive(Debug, Default)]
pub struct Counts {
    noted: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Events that were noted.
    #[must_use]
    pub fn noted(&self) -> u64 {
        self.noted.load(Ordering::Relaxed)
    }

    /// Of these, how many were let go because no page was spare, or the disk refused.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// So many more were let go.
    pub fn drop_more(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
    }
}

/// Notes events. Belongs to the thread that sees them.
#[derive(Debug)]
pub struct Noter {
    page: Box<Page>,
    /// When the page's first event was seen.
    begun: Option<Stamp>,
    full: SyncSender<Box<Page>>,
    spare: Receiver<Box<Page>>,
    counts: Arc<Counts>,
}

/// The two ends: who notes, and what the recorder's thread takes full pages from and gives emptied ones back to.
#[must_use]
pub fn channel(counts: Arc<Counts>) -> (Noter, Receiver<Box<Page>>, SyncSender<Box<Page>>) {
    // As many as there are pages: neither end ever finds its channel full.
    let (full, to_write) = sync_channel(PAGES);
    let (back, spare) = sync_channel(PAGES);
    for _ in 1..PAGES {
        // There is room for all of them.
        back.try_send(Box::default()).unwrap_or_default();
    }
    (Noter { page: Box::default(), begun: None, full, spare, counts }, to_write, back)
}

impl Noter {
    /// Notes an event. Never waits.
    pub fn note(&mut self, event: &dyn Event) {
        if self.page.is_full() && !self.hand_over() {
            let missed = self.page.as_missed();
            self.counts.drop_more(self.page.events());
            self.page.clear();
            self.begun = None;
            if let Some(missed) = missed {
                self.page.miss(missed);
            }
        }
        self.page.note(event);
        self.begun.get_or_insert_with(|| event.head().seen);
        self.counts.noted.fetch_add(1, Ordering::Relaxed);
        if self.page.is_full() {
            self.hand_over();
        }
    }

    /// Hands on what has waited long enough.
    pub fn turn(&mut self, now: Stamp) {
        if self.begun.is_some_and(|begun| now.since(begun) >= WAIT) {
            self.hand_over();
        }
    }

    /// Whether the page is on its way; not if there is none to go on with.
    fn hand_over(&mut self) -> bool {
        let Ok(mut next) = self.spare.try_recv() else { return false };
        std::mem::swap(&mut self.page, &mut next);
        self.begun = None;
        match self.full.try_send(next) {
            Ok(()) => true,
            // The recorder's thread has ended; nobody reads what would be kept.
            Err(TrySendError::Disconnected(mut page) | TrySendError::Full(mut page)) => {
                self.counts.drop_more(page.events());
                page.clear();
                true
            }
        }
    }
}

impl Drop for Noter {
    fn drop(&mut self) {
        if !self.page.is_empty() {
            self.hand_over();
        }
    }
}
