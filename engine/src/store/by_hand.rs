//! A journal whose writer is moved on by hand, for simulations: no thread, no chance, and faults where a seed wants them.
//!
//! Owns what differs from a journal at work: who turns the writer (the one who reads, or the simulation), where the salts
//! come from, and the faults of this thread. Everything else is the shipped journal. Keeps true: a journal that is dropped
//! has written nothing more, as after SIGKILL.

use super::chain::Salts;
use super::fault::Side;
use super::journal::{Inner, Journal, database};
use super::slate;
use super::writer::Writer;
use quell_model::{Seq, StoreError, StreamId};
use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The writer, in nobody's hands.
pub(super) type Hand = Mutex<Writer>;

/// Turns after which whoever reads sees everything, also while the database refuses.
const TURNS: usize = 8;

/// What an unwinding carries that stands for SIGKILL.
pub(crate) struct Killed;

/// On which side of a write a simulated engine dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    /// Nothing of it is there.
    Before,
    /// It is there, and nothing has followed from it.
    After,
}

thread_local! {
    static WRITES: Cell<u64> = const { Cell::new(0) };
    static DEATH: Cell<Option<(At, u64)>> = const { Cell::new(None) };
    static FULL: Cell<bool> = const { Cell::new(false) };
    static HANGS: Cell<bool> = const { Cell::new(false) };
    static BETWEEN: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
}

/// From here on the engine of this thread dies at the so-manieth write, from 1; none: at none.
pub(crate) fn die_at(place: Option<(At, u64)>) {
    WRITES.set(0);
    DEATH.set(place);
}

/// The death that is still to come.
pub(crate) fn pending() -> Option<(At, u64)> {
    DEATH.get()
}

/// How many writes since [`die_at`].
pub(crate) fn writes() -> u64 {
    WRITES.get()
}

/// Whether the slates of this thread have room.
pub(crate) fn fill_slate(full: bool) {
    FULL.set(full);
}

pub(crate) fn slate_is_full() -> bool {
    FULL.get()
}

/// Whether a sync does not come back: the writers of this thread stand still.
pub(crate) fn hang(hangs: bool) {
    HANGS.set(hangs);
}

pub(crate) fn hangs() -> bool {
    HANGS.get()
}

/// Happens once, when the next copy that this thread makes has read the slate and not the database yet.
pub(super) fn between_looks(what: impl FnOnce() + 'static) {
    BETWEEN.set(Some(Box::new(what)));
}

pub(super) fn looked_at_the_slate() {
    if let Some(what) = BETWEEN.take() {
        what();
    }
}

pub(super) fn point(side: Side) {
    let here = match side {
        Side::Before => {
            WRITES.set(WRITES.get() + 1);
            At::Before
        }
        Side::After => At::After,
        Side::Within => return,
    };
    if DEATH.get() == Some((here, WRITES.get())) {
        DEATH.set(None);
        // No panic that somebody made: nothing is printed.
        std::panic::resume_unwind(Box::new(Killed));
    }
}

/// The database of a journal in which nothing was written yet, and its id.
fn template() -> &'static (Vec<u8>, [u8; 16]) {
    static TEMPLATE: OnceLock<(Vec<u8>, [u8; 16])> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        Journal::open(dir.path()).unwrap().close();
        let database = database(dir.path());
        let id = {
            let db = rusqlite::Connection::open(&database).unwrap();
            db.query_row("SELECT id FROM journal", [], |row| row.get(0)).unwrap()
        };
        (std::fs::read(database).unwrap(), id)
    })
}

/// Lays an empty journal into an empty directory, in far less time than making one takes.
pub(crate) fn lay(dir: &Path) {
    let (bytes, id) = template();
    std::fs::write(database(dir), bytes).unwrap();
    slate::blank(&dir.join("slate"), *id).unwrap();
}

/// What is on no disk is gone: the slate's pages.
pub(crate) fn cut_power(dir: &Path) {
    slate::blank(&dir.join("slate"), template().1).unwrap();
}

/// The last entry of the slate was not written to its end.
pub(crate) fn tear_slate(dir: &Path) -> bool {
    slate::tear(&dir.join("slate")).unwrap()
}

impl Journal {
    /// As `open`, without a writer's thread.
    pub(crate) fn open_by_hand(dir: &Path) -> Result<Self, StoreError> {
        let (mut inner, writer) = Inner::laid(dir, File::open("/dev/zero").map(Salts::of))?;
        inner.hand = Some(Mutex::new(writer));
        Ok(Self(Arc::new(inner)))
    }

    fn in_hand<T>(&self, then: impl FnOnce(&mut Writer) -> T) -> Option<T> {
        let hand = self.0.hand.as_ref()?;
        Some(then(&mut hand.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// One turn of the writer: what has come is chained and committed, or the database refuses.
    pub(crate) fn work(&self) {
        if !hangs() {
            self.in_hand(Writer::turn);
        }
    }

    /// The database refuses from now on, or no longer.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.in_hand(|writer| writer.refuse(refuses));
    }

    /// Commits reach the database and not the medium, from now on or no longer.
    pub(crate) fn lose_sync(&self, dir: &Path, lost: bool) {
        self.in_hand(|writer| writer.lose_sync(&database(dir), lost));
    }

    /// The last number of a stream that is in the database.
    pub(crate) fn committed(&self, stream: &StreamId) -> Option<Seq> {
        self.0.counter.committed_of(stream)
    }

    /// Before a reader waits: nobody else will do what it waits for.
    pub(super) fn work_until_seen(&self, stream: Option<&StreamId>) {
        if self.0.hand.is_none() {
            return;
        }
        self.work_some(stream);
        assert!(self.0.counter.all_seen(stream), "a reader would wait for ever: {:?}", self.health());
    }

    fn work_some(&self, stream: Option<&StreamId>) {
        for _ in 0..TURNS {
            if !self.0.counter.all_seen(stream) {
                self.work();
            }
        }
    }

    /// Whether a reader would see all of a stream now, who waits for nobody that hangs.
    pub(super) fn seen_by_hand(&self, stream: &StreamId) -> Option<bool> {
        self.0.hand.as_ref()?;
        self.work_some(Some(stream));
        Some(self.0.counter.all_seen(Some(stream)))
    }
}
