//! The time that windows are counted in: it goes on by the boot clock, and a step of the wall clock neither opens nor
//! closes a window.
//!
//! Owns where the two clocks stood when counting began. What this kernel saw is placed by the boot clock from there; a
//! foreign record knows only the wall, and is placed by that, no later than it was seen. Keeps true: within one boot the order and the distances of
//! what the kernel saw are its own. Where nothing is being counted any more, or another boot's events begin, a wall clock
//! that went forward is believed again, so that events and foreign records stand side by side once a late clock was set.
//! One that went back is not: what was counted long ago would come near again.

use quell_model::{BootId, Event, Field, OwnedEvent, ProcessId};

/// The sources of what this kernel saw.
const KERNEL: [&str; 2] = ["sensor", "scan"];
const SECOND: i128 = 1_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Steady {
    last: Option<Last>,
}

/// The latest of what the kernel saw.
#[derive(Debug)]
struct Last {
    /// Of the boot clock.
    boot_ns: u64,
    /// Where that was placed, in nanoseconds.
    placed: i128,
    /// Which boot that is, where an event said so.
    boot: Option<BootId>,
}

impl Steady {
    /// The second of an event. After `idle` seconds without one, no window is open that a step could cut.
    pub(super) fn second(&mut self, event: &OwnedEvent, idle: i64) -> i64 {
        let at = event.head.at;
        if !KERNEL.contains(&event.head.source.as_str()) {
            // Nothing happens after it was seen, whatever it says itself.
            return at.wall.min(event.head.seen.wall).as_second();
        }
        let (wall, boot) = (at.wall.as_nanosecond(), boot(event));
        let idle = i128::from(idle) * SECOND;
        let placed = match &self.last {
            None => wall,
            Some(last) => {
                let since = i128::from(at.boot_ns) - i128::from(last.boot_ns);
                let is_other = match (&boot, &last.boot) {
                    (Some(ours), Some(known)) => ours != known,
                    // Late events are late by moments.
                    _ => -since > idle,
                };
                match is_other {
                    true => wall.max(last.placed),
                    false if since > idle => wall.max(last.placed + since),
                    false => last.placed + since,
                }
            }
        };
        match &mut self.last {
            // One that is late is placed by the latest, and is not that.
            Some(last) if placed < last.placed => {}
            last => {
                let boot = boot.or_else(|| last.take().and_then(|last| last.boot));
                *last = Some(Last { boot_ns: at.boot_ns, placed, boot });
            }
        }
        i64::try_from(placed.div_euclid(SECOND)).unwrap_or_else(|_| at.wall.as_second())
    }
}

/// The boot that an event's process belongs to.
fn boot(event: &OwnedEvent) -> Option<BootId> {
    match event.own("process.id")? {
        Field::Str(id) => id.parse::<ProcessId>().ok().map(|id| id.boot),
        _ => None,
    }
}
