//! The flight recorder: what entered detection in the last day, enriched, in a bounded ring on disk.
//!
//! ```text
//! sensor's thread                     │ recorder's thread             │ keeper's thread
//! event ──tell──▶ page ──full, or 1 s──▶ zstd ──▶ 0000000042.pages.zst ──▶ what surrounds an incident ──▶ pins/ID.pages.zst
//!                  ▲─────── spare pages ──────┘                       │                              └──▶ RecorderPinned
//! ```
//!
//! Owns format 1 (page, head, file), the ring's files and the pins, all below `recorder/` of the data directory: beside
//! `store`, the only part that writes there. Starts no thread and reads no clock: the daemon does. Keeps true: who notes an
//! event never waits; what was not recorded is told, in the ring itself.

mod case;
mod frame;
mod interest;
mod keep;
mod known;
mod note;
mod page;
mod pin;
mod read;
mod ring;
mod search;
mod skim;
mod walk;
mod wire;

#[cfg(test)]
mod tests;

pub use frame::{Broken, MARK, Packer, PageHead, Unpacker, head};
pub use keep::{Keeper, Kept, Watched};
pub use note::{Counts, Noter, PAGES, channel};
pub use page::{FULL, Missed, Page};
pub use pin::{Part, Pin, Wanted, pinned};
pub use read::{Events, Glimpse, Kin, kin};
pub use ring::{Bounds, ENDING, Refused, Ring, Segment, segments};
pub use wire::Damaged;
