//! What is measured of a file that is followed: written by the thread that follows, read by whoever asks.

use crate::api::SourceStatus;
use quell_engine::source::Line;
use quell_model::{Class, Name, OwnedEvent, Stamp};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Of one source.
#[derive(Debug)]
pub(crate) struct SourceMeter {
    /// What its events are called.
    pub(crate) name: Name,
    read: [AtomicU64; Class::ALL.len()],
    unreadable: AtomicU64,
    unread: AtomicU64,
    set_aside: AtomicU64,
    lag_ms: AtomicI64,
    last_ms: AtomicI64,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SourceFigures {
    /// Events by class.
    pub(crate) read: Vec<(Class, u64)>,
    /// Records that could not be read.
    pub(crate) unreadable: u64,
    /// Bytes that are there and not read yet.
    pub(crate) unread: u64,
    /// How old the latest event was when it was read, and when it happened, in seconds.
    pub(crate) last: Option<(f64, f64)>,
}

/// No event yet.
const NEVER: i64 = i64::MIN;

impl SourceMeter {
    pub(super) fn new(name: Name) -> Self {
        Self {
            name,
            read: Default::default(),
            unreadable: AtomicU64::new(0),
            unread: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
            lag_ms: AtomicI64::new(0),
            last_ms: AtomicI64::new(NEVER),
        }
    }

    /// Lines of a backfill were read: they say nothing of how far behind what is live is.
    pub(super) fn read_back(&self, lines: &[Line]) {
        // Of losses no file is believed.
        for line in lines.iter().filter(|line| line.event.head.class != Class::Loss) {
            if let Some(at) = Class::ALL.iter().position(|class| *class == line.event.head.class) {
                self.read[at].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A look is over: these lines were read, so much was left, and so many files are set aside.
    pub(super) fn looked(&self, lines: &[Line], (unread, set_aside): (u64, u64), now: Stamp) {
        self.read_back(lines);
        self.unread.store(unread, Ordering::Relaxed);
        self.set_aside.store(set_aside, Ordering::Relaxed);
        // What tells no time is of no age.
        let timed = |event: &&OwnedEvent| event.head.at.wall != jiff::Timestamp::UNIX_EPOCH;
        if let Some(last) = lines.iter().rev().map(|line| &line.event).find(timed) {
            let at = last.head.at.wall.as_millisecond();
            self.lag_ms.store((now.wall.as_millisecond() - at).max(0), Ordering::Relaxed);
            self.last_ms.store(at, Ordering::Relaxed);
        }
    }

    pub(super) fn unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    /// What `status` says of it.
    pub(crate) fn status(&self) -> SourceStatus {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let (unread, unreadable, set_aside) = (&self.unread, &self.unreadable, &self.set_aside);
        SourceStatus {
            id: self.name.clone(),
            unread: count(unread),
            unreadable: count(unreadable),
            set_aside: count(set_aside),
        }
    }

    /// How it stands.
    pub(crate) fn figures(&self) -> SourceFigures {
        let seconds = |ms: &AtomicI64| ms.load(Ordering::Relaxed) as f64 / 1000.0;
        let read = Class::ALL.into_iter().zip(&self.read).map(|(class, count)| (class, count.load(Ordering::Relaxed)));
        SourceFigures {
            read: read.filter(|(_, count)| *count > 0).collect(),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            unread: self.unread.load(Ordering::Relaxed),
            last: (self.last_ms.load(Ordering::Relaxed) != NEVER)
                .then(|| (seconds(&self.lag_ms), seconds(&self.last_ms))),
        }
    }
}
