//! What fired, read where the kernel wrote it, also what fired while nobody read.
//!
//! ```text
//! read ─▶ journal ─▶ keep: C_READ         not kept ─▶ unread: the lines are given once more
//! ```
//!
//! Owns the numbers of the lines. Keeps true: a line counts as read only once its reader says that a journal has it, so
//! that a reader that dies loses none; what was written over before anybody read it is counted, and a line that is being
//! written is waited for at the next reading. It is bounded by itself: who does not read holds nothing in memory.

use super::words::{self, Firing, Slot};
use crate::load::chain;
use aya::maps::{Array, MapData};

/// `LEDGER`.
const LINES: u64 = 4096;
const C_FIRED: u32 = 0;
const C_READ: u32 = 1;
const C_BEGUN: u32 = 2;

/// See [`super::KernelReflex::read`].
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Fired {
    /// In their order.
    pub firings: Vec<Firing>,
    /// Lines that were written over before they were read.
    pub lost: u64,
    /// Which ledger: when it was begun, in nanoseconds since 1970.
    pub ledger: u64,
    /// The number of the last line that this reading came to.
    pub through: u64,
}

pub(super) struct Ledger {
    lines: Array<MapData, Slot>,
    control: Array<MapData, u64>,
    begun: u64,
    /// The last line that was given.
    given: u64,
}

impl Ledger {
    /// As it was left; one that is new begins now.
    pub(super) fn new(lines: Array<MapData, Slot>, mut control: Array<MapData, u64>) -> Result<Self, String> {
        let get = |control: &Array<MapData, u64>, index| control.get(&index, 0).map_err(|e| chain(&e));
        let mut begun = get(&control, C_BEGUN)?;
        if begun == 0 {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            let whole = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000;
            begun = (whole + u64::try_from(now.tv_nsec).unwrap_or(0)).max(1);
            control.set(C_BEGUN, begun, 0).map_err(|e| chain(&e))?;
        }
        let given = get(&control, C_READ)?;
        Ok(Self { lines, control, begun, given })
    }

    /// Which it is.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// What has fired since the last reading.
    pub(super) fn read(&mut self) -> Result<Fired, String> {
        let last = self.control.get(&C_FIRED, 0).map_err(|e| chain(&e))?;
        let mut fired = Fired { ledger: self.begun, ..Fired::default() };
        let mut at = self.given;
        if last.saturating_sub(at) > LINES {
            fired.lost = last - at - LINES;
            at = last - LINES;
        }
        while at < last {
            let next = at + 1;
            let index = u32::try_from(next % LINES).expect("below the number of lines");
            let line = || self.lines.get(&index, 0).map(|slot| words::firing(&slot)).map_err(|e| chain(&e));
            let (number, firing) = line()?;
            // The kernel clears the number first: once more the same, and nobody wrote while it was copied.
            match number {
                // Another was quicker than the reading.
                n if n > next => fired.lost += 1,
                n if n == next && line()?.0 != next => fired.lost += 1,
                n if n == next => fired.firings.push(firing),
                // Still being written.
                _ => break,
            }
            at = next;
        }
        (self.given, fired.through) = (at, at);
        Ok(fired)
    }

    /// Lines that were not given yet.
    pub(super) fn waiting(&self) -> Result<u64, String> {
        let last = self.control.get(&C_FIRED, 0).map_err(|e| chain(&e))?;
        Ok(last.saturating_sub(self.given))
    }

    /// A journal has all up to this line.
    pub(super) fn keep(&mut self, through: u64) -> Result<(), String> {
        let read = self.control.get(&C_READ, 0).map_err(|e| chain(&e))?;
        self.given = self.given.max(through);
        if through > read { self.control.set(C_READ, through, 0).map_err(|e| chain(&e)) } else { Ok(()) }
    }

    /// No journal has what was given and not kept: it is given again.
    pub(super) fn unread(&mut self) -> Result<(), String> {
        self.given = self.control.get(&C_READ, 0).map_err(|e| chain(&e))?;
        Ok(())
    }

    /// Whether lines are there that no journal has.
    pub(super) fn is_kept(&self) -> Result<bool, String> {
        let get = |index| self.control.get(&index, 0).map_err(|e| chain(&e));
        Ok(get(C_FIRED)? <= get(C_READ)?)
    }
}
