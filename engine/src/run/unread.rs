//! What cannot be read of the journal yet, and who waits for it.
//!
//! ```text
//! step, lease ── reads ─┬▶ Readable ──▶ goes on
//!      ▲                └▶ NotYet ──▶ waits ─┐
//!      └──── once the writer has shown it ◀──┘
//! ```
//!
//! Owns the way to read a stream on the engine's thread, and the list of those who wait. Keeps true: this thread waits for no
//! disk by itself (for a person's request a second, all reads together). What is not to be read yet ends nothing, neither well nor
//! badly: it is not a sentence that could be told, and whoever has one either waits or refuses.

use super::job::Input;
use super::request::Refusal;
use super::serve::TAKES_NOTHING;
use super::shell::{Core, INBOX_TURN};
use crate::incident::{Incident, Incidents};
use crate::store::Journal;
use quell_model::record::Part;
use quell_model::{Kind, Record, RunId, Stamp, StoreError, StreamId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What waits outside of the journal is looked at again at least this often.
const AGAIN: Duration = Duration::from_millis(100);
/// Past this, whoever waits for the journal does not move.
const LONG: Duration = Duration::from_secs(5);

/// A stream of which not all that was written can be read: it is in no database yet. No error, and nothing follows from it.
#[derive(Debug)]
#[must_use = "whoever needs the stream waits for it, or refuses what was asked"]
pub(super) struct NotYet(pub(super) StreamId);

/// Why nothing could be read.
#[derive(Debug)]
#[must_use = "what cannot be read yet ends nothing"]
pub(super) enum Unread {
    /// It is to be asked again.
    NotYet(NotYet),
    /// It never can be, for this reason.
    Never(String),
}

impl From<NotYet> for Unread {
    fn from(not_yet: NotYet) -> Self {
        Self::NotYet(not_yet)
    }
}

impl From<StoreError> for Unread {
    fn from(error: StoreError) -> Self {
        Self::Never(error.to_string())
    }
}

impl From<NotYet> for Refusal {
    fn from(_: NotYet) -> Self {
        Self::NotNow(TAKES_NOTHING.to_owned())
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::NotYet(not_yet) => not_yet.into(),
            Unread::Never(why) => Self::NotNow(why),
        }
    }
}

/// A stream of which all that was written can be read without waiting for a disk that hangs.
#[derive(Debug)]
pub(super) struct Readable {
    journal: Journal,
    stream: StreamId,
}

impl Readable {
    pub(super) fn new(journal: Journal, stream: StreamId) -> Self {
        Self { journal, stream }
    }

    /// All of it.
    pub(super) fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.journal.read(&self.stream, 1)
    }

    /// Those of these kinds.
    pub(super) fn kinds(&self, kinds: &[Kind]) -> Result<Vec<Record>, StoreError> {
        self.journal.read_kinds(&self.stream, 1, kinds)
    }

    /// The first of a kind.
    pub(super) fn first(&self, kind: Kind) -> Result<Option<Record>, StoreError> {
        self.journal.first(&self.stream, kind)
    }

    /// Of the system's stream, those of marked kinds.
    pub(super) fn latest(&self, kinds: &[Kind]) -> Result<Vec<Record>, StoreError> {
        self.journal.latest(kinds, usize::MAX)
    }

    /// The incident that it tells of.
    pub(super) fn incident(&self) -> Result<Option<Incident>, StoreError> {
        Incidents::read(&self.journal, &self.stream, &mut |_| ())
    }
}

/// What is done again once a stream can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Later {
    /// A run goes on with the part.
    Step,
    /// The part's lease may end.
    Lease,
    /// The world is asked whether what the part did has outlived the boot.
    Boot,
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiter {
    stream: StreamId,
    since: Stamp,
    /// The writer has not shown the stream yet, and will tell.
    is_watched: Arc<AtomicBool>,
}

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    all: BTreeMap<(RunId, Part, Later), Waiter>,
    /// When the engine is woken for what waits outside of the journal.
    again: Option<Stamp>,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Whether a part waits to do this.
    pub(super) fn waits(&self, run: &RunId, part: &Part, later: Later) -> bool {
        !self.all.is_empty() && self.all.contains_key(&(run.clone(), part.clone(), later))
    }

    /// The stream that a run waits for, with the part that does, and since when.
    pub(super) fn of_run(&self, run: &RunId) -> Option<(&Part, &StreamId, Stamp)> {
        let mut of = self.all.iter().filter(|((of, _, later), _)| of == run && *later == Later::Step);
        of.next().map(|((_, part, _), waiter)| (part, &waiter.stream, waiter.since))
    }

    /// A run has ended.
    pub(super) fn forget(&mut self, run: &RunId) {
        self.all.retain(|(of, _, later), _| of != run || *later != Later::Step);
    }
}

impl<W: Send + 'static> Core<W> {
    /// What was read for a part, well or in vain; none: it cannot be read yet, and the part does this again once it can.
    pub(super) fn once_read<T>(
        &mut self,
        run: &RunId,
        part: &Part,
        later: Later,
        read: Result<T, Unread>,
    ) -> Option<Result<T, String>> {
        match read {
            Ok(read) => Some(Ok(read)),
            Err(Unread::Never(why)) => Some(Err(why)),
            Err(Unread::NotYet(NotYet(stream))) => {
                let is_watched = self.watch(&stream);
                let since = self.parts.clock.now();
                let waiter = Waiter { stream, since, is_watched };
                self.unread.all.insert((run.clone(), part.clone(), later), waiter);
                None
            }
        }
    }

    fn watch(&mut self, stream: &StreamId) -> Arc<AtomicBool> {
        let is_watched = Arc::new(AtomicBool::new(true));
        let (seen, home, runtime) = (Arc::clone(&is_watched), self.handle.clone(), self.parts.runtime.clone());
        let told = Box::new(move || {
            seen.store(false, Ordering::Release);
            // The journal's writer must never wait for the engine.
            home.send_beside(&runtime, Input::Tick);
        });
        if !self.ink.when_readable(stream, told) {
            is_watched.store(false, Ordering::Release);
            let now = self.parts.clock.now();
            if self.unread.again.is_none_or(|again| again <= now) {
                let again = now.after(AGAIN);
                self.unread.again = Some(again);
                self.wake_at(again);
            }
        }
        is_watched
    }

    /// Goes on with what waited for streams that can be read now.
    pub(super) fn unread_go_on(&mut self, now: Stamp) {
        if self.unread.is_empty() {
            return;
        }
        let is_shown = |waiter: &Waiter| !waiter.is_watched.load(Ordering::Acquire);
        let shown = self.unread.all.iter().filter(|(_, waiter)| is_shown(waiter));
        let shown: Vec<_> = shown.map(|(key, waiter)| (key.clone(), waiter.stream.clone())).collect();
        let until = now.after(INBOX_TURN);
        for (key, stream) in shown {
            if self.ink.readable(&stream).is_err() {
                let is_watched = self.watch(&stream);
                if let Some(waiter) = self.unread.all.get_mut(&key) {
                    waiter.is_watched = is_watched;
                }
                continue;
            }
            if self.unread.all.remove(&key).is_none() {
                continue;
            }
            let (run, part, later) = key;
            match later {
                Later::Step => self.drive(&run),
                Later::Lease => self.leases_look_again(),
                Later::Boot => self.ask_after_boot(run, part),
            }
            if self.parts.clock.now().boot_ns >= until.boot_ns {
                // The rest has its turn after what the sensor sees now.
                (self.handle.wake)();
                break;
            }
        }
    }

    /// Why a run has stood still for a while, if it is the journal that it waits for.
    pub(super) fn waits_to_read(&self, run: &RunId, now: Stamp) -> Option<String> {
        let (part, stream, since) = self.unread.of_run(run)?;
        let told = || format!("`{part}` waits until `{stream}` can be read: {TAKES_NOTHING}");
        (now.since(since) > LONG).then(told)
    }
}
