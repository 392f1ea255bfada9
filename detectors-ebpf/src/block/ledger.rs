//! What fired, read where the kernel wrote it, also what fired while nobody read.
//!
//! Owns the numbers of the lines. Keeps true: a line is given once, across restarts; what was written over before anybody
//! read it is counted, and a line that is being written is waited for at the next reading.

use super::trial::OWN;
use super::words::{self, Firing, Slot};
use crate::load::chain;
use aya::maps::{Array, MapData};

/// `LEDGER`.
const LINES: u64 = 4096;
const C_FIRED: u32 = 0;
const C_READ: u32 = 1;

/// See [`Ledger::read`].
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Fired {
    /// In their order.
    pub firings: Vec<Firing>,
    /// Lines that were written over before they were read.
    pub lost: u64,
}

pub(super) struct Ledger {
    lines: Array<MapData, Slot>,
    control: Array<MapData, u64>,
}

impl Ledger {
    pub(super) fn new(lines: Array<MapData, Slot>, control: Array<MapData, u64>) -> Self {
        Self { lines, control }
    }

    /// What has fired since the last reading.
    pub(super) fn read(&mut self) -> Result<Fired, String> {
        let get = |index| self.control.get(&index, 0).map_err(|e| chain(&e));
        let (last, read) = (get(C_FIRED)?, get(C_READ)?);
        let mut fired = Fired::default();
        let mut at = read;
        if last.saturating_sub(at) > LINES {
            fired.lost = last - at - LINES;
            at = last - LINES;
        }
        while at < last {
            let next = at + 1;
            let index = u32::try_from(next % LINES).expect("below the number of lines");
            let (number, firing) = words::firing(&self.lines.get(&index, 0).map_err(|e| chain(&e))?);
            match number {
                // Another was quicker than the reading.
                n if n > next => fired.lost += 1,
                n if n == next && firing.id != OWN => fired.firings.push(firing),
                n if n == next => {}
                // Still being written.
                _ => break,
            }
            at = next;
        }
        if at != read {
            self.control.set(C_READ, at, 0).map_err(|e| chain(&e))?;
        }
        Ok(fired)
    }
}
