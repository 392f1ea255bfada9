//! What is measured of a source: of a file that is followed by the thread that follows it, of what others bring by whoever takes it in;
//! read by whoever asks.

use crate::api::{SourceStatus, WebhookStatus};
use quell_engine::source::Line;
use quell_model::{Class, Event, Field, Name, OwnedEvent, Stamp};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of one source.
#[derive(Debug)]
pub(crate) struct SourceMeter {
    /// What its events are called.
    pub(crate) name: Name,
    read: [AtomicU64; Class::ALL.len()],
    unreadable: AtomicU64,
    truncated: AtomicU64,
    unread: AtomicU64,
    set_aside: AtomicU64,
    lag_ms: AtomicI64,
    last_ms: AtomicI64,
    /// Of a webhook.
    brought: Option<Brought>,
}

/// How a delivery was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answered {
    /// It is kept.
    Accepted,
    /// It is to be brought again.
    Later,
    /// It had not the token.
    Denied,
    /// It could not be taken in whatever the moment: too large, badly packed, no delivery at all.
    Wrong,
}

impl Answered {
    /// All, in the order of the counts, with their words.
    pub(crate) const WORDS: [(&'static str, Self); 4] =
        [("accepted", Self::Accepted), ("later", Self::Later), ("denied", Self::Denied), ("wrong", Self::Wrong)];
}

/// What is measured of what others bring.
#[derive(Debug, Default)]
struct Brought {
    answered: [AtomicU64; Answered::WORDS.len()],
    repeated: AtomicU64,
    place: Mutex<Place>,
}

/// Where it is listened for.
#[derive(Clone, Debug, Default)]
struct Place {
    address: Option<SocketAddr>,
    /// Why nobody can come.
    failed: Option<String>,
}

impl Brought {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, answer: Answered) -> u64 {
        let at = Answered::WORDS.iter().position(|(_, one)| *one == answer);
        at.map_or(0, |at| self.answered[at].load(Ordering::Relaxed))
    }
}

/// How it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SourceFigures {
    /// Events by class.
    pub(crate) read: Vec<(Class, u64)>,
    /// Records that could not be read.
    pub(crate) unreadable: u64,
    /// Records without what was asked and answered, for its size.
    pub(crate) truncated: u64,
    /// Bytes that are there and not read yet.
    pub(crate) unread: u64,
    /// How old the latest event was when it was read, and when it happened, in seconds.
    pub(crate) last: Option<(f64, f64)>,
    /// Of a webhook.
    pub(crate) brought: Option<BroughtFigures>,
}

/// How a webhook stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BroughtFigures {
    /// Deliveries, by how they were answered.
    pub(crate) answered: Vec<(&'static str, u64)>,
    /// Events that were brought again.
    pub(crate) repeated: u64,
    /// Whether it is listened for.
    pub(crate) listens: bool,
}

/// Whether what was asked was left out of an event, for its size.
pub(crate) fn is_truncated(event: &OwnedEvent) -> bool {
    event.own("cloud.truncated") == Some(Field::Bool(true))
}

/// No event yet.
const NEVER: i64 = i64::MIN;

impl SourceMeter {
    pub(super) fn new(name: Name) -> Self {
        Self {
            name,
            read: Default::default(),
            unreadable: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            unread: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
            lag_ms: AtomicI64::new(0),
            last_ms: AtomicI64::new(NEVER),
            brought: None,
        }
    }

    /// Of what others bring.
    pub(crate) fn of_webhook(name: Name) -> Self {
        Self { brought: Some(Brought::default()), ..Self::new(name) }
    }

    /// Events were brought for the first time, or so many of them again; so many are without their objects.
    pub(crate) fn took(&self, classes: &[Class], (repeated, truncated): (u64, u64), last: Option<Stamp>, now: Stamp) {
        for class in classes {
            self.count(*class);
        }
        self.truncated(truncated);
        if let Some(brought) = &self.brought {
            brought.repeated.fetch_add(repeated, Ordering::Relaxed);
        }
        self.note_last(last, now);
    }

    /// A delivery was answered so.
    pub(crate) fn answered(&self, answer: Answered) {
        let at = Answered::WORDS.iter().position(|(_, one)| *one == answer);
        if let (Some(brought), Some(at)) = (&self.brought, at) {
            brought.answered[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It is listened for there from now on.
    pub(super) fn listens(&self, address: Option<SocketAddr>) {
        if let Some(brought) = &self.brought {
            *brought.place() = Place { address, failed: None };
        }
    }

    /// Why nobody can come; whether that is something new.
    pub(super) fn listens_not(&self, why: String) -> bool {
        let Some(brought) = &self.brought else { return false };
        let failed = Some(why);
        let mut place = brought.place();
        let is_new = place.failed != failed;
        *place = Place { address: None, failed };
        is_new
    }

    fn count(&self, class: Class) {
        if let Some(at) = Class::ALL.iter().position(|one| *one == class) {
            self.read[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines of a backfill were read: they say nothing of how far behind what is live is.
    pub(super) fn read_back(&self, lines: &[Line]) {
        // Of losses no file is believed.
        for line in lines.iter().filter(|line| line.event.head.class != Class::Loss) {
            self.count(line.event.head.class);
        }
        self.truncated(lines.iter().filter(|line| is_truncated(&line.event)).count() as u64);
    }

    /// So many more records are without what was asked and answered. That there are any is said once.
    fn truncated(&self, count: u64) {
        if count > 0 && self.truncated.fetch_add(count, Ordering::Relaxed) == 0 {
            let hint = "a larger --audit-webhook-truncate-max-event-size; records of more than 1 MiB are cut here";
            tracing::warn!(source = %self.name, hint, "a record is without what was asked, for its size: rules that look into it do not see it");
        }
    }

    /// A look is over: these lines were read, so much was left, and so many files are set aside.
    pub(super) fn looked(&self, lines: &[Line], (unread, set_aside): (u64, u64), now: Stamp) {
        self.read_back(lines);
        self.unread.store(unread, Ordering::Relaxed);
        self.set_aside.store(set_aside, Ordering::Relaxed);
        // What tells no time is of no age.
        let timed = |event: &&OwnedEvent| event.head.at.wall != jiff::Timestamp::UNIX_EPOCH;
        let last = lines.iter().rev().map(|line| &line.event).find(timed);
        self.note_last(last.map(|event| event.head.at), now);
    }

    fn note_last(&self, last: Option<Stamp>, now: Stamp) {
        if let Some(last) = last {
            let at = last.wall.as_millisecond();
            self.lag_ms.store((now.wall.as_millisecond() - at).max(0), Ordering::Relaxed);
            self.last_ms.store(at, Ordering::Relaxed);
        }
    }

    pub(crate) fn unreadable(&self) {
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
            truncated: count(&self.truncated),
            set_aside: count(set_aside),
            webhook: self.brought.as_ref().map(|brought| {
                let Place { address, failed } = brought.place().clone();
                WebhookStatus {
                    address: address.map(|address| address.to_string()),
                    listen_failed: failed,
                    accepted: brought.count(Answered::Accepted),
                    later: brought.count(Answered::Later),
                    denied: brought.count(Answered::Denied),
                    wrong: brought.count(Answered::Wrong),
                    repeated: count(&brought.repeated),
                }
            }),
        }
    }

    /// How it stands.
    pub(crate) fn figures(&self) -> SourceFigures {
        let seconds = |ms: &AtomicI64| ms.load(Ordering::Relaxed) as f64 / 1000.0;
        let read = Class::ALL.into_iter().zip(&self.read).map(|(class, count)| (class, count.load(Ordering::Relaxed)));
        SourceFigures {
            read: read.filter(|(_, count)| *count > 0).collect(),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            truncated: self.truncated.load(Ordering::Relaxed),
            unread: self.unread.load(Ordering::Relaxed),
            last: (self.last_ms.load(Ordering::Relaxed) != NEVER)
                .then(|| (seconds(&self.lag_ms), seconds(&self.last_ms))),
            brought: self.brought.as_ref().map(|brought| {
                let answered = Answered::WORDS.into_iter().map(|(word, answer)| (word, brought.count(answer)));
                BroughtFigures {
                    answered: answered.collect(),
                    repeated: brought.repeated.load(Ordering::Relaxed),
                    listens: brought.place().address.is_some(),
                }
            }),
        }
    }
}
