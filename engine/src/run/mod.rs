//! Runs: the pure machine, and the shell that does what it says.
//!
//! ```text
//! detections ──▶ Core ──▶ Run::next() ──commands──▶ plan ─▶ guard ─▶ intent ─▶ run ─▶ verify ──records──▶ Run::apply()
//!                 ▲  │                                                              │
//!           inbox │  └── contain: polled once on this thread; the rest: spawned ────┘
//! ```
//!
//! **Invariant:** only the guard lets an action run, and only after its intent is in the journal.

mod acted;
pub mod answers;
mod attempt;
mod bait;
mod breaker;
mod bundled;
mod by_hand;
mod by_incident;
mod conclude;
mod contents;
mod definitions;
mod escalate;
pub mod given;
mod hold;
mod ink;
mod job;
mod joined;
mod judge;
mod ladder;
mod lease;
mod leases;
mod losses;
pub mod machine;
mod measure;
pub mod pages;
mod promote;
mod purpose;
mod question;
mod recovery;
mod remembered;
mod request;
mod schedule;
mod scope;
mod secrets;
mod serve;
mod shell;
mod source;
mod start;
mod sub;
mod suspicion;
mod take_back;
mod take_up;
mod timers;
mod unread;
mod wait;
mod warm_up;
mod workers;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub(crate) use by_incident::incident_for_expressions;
pub use contents::Apart;
pub use definitions::{Definitions, IncidentRules};
pub use ladder::Wanted as Silenced;
pub use machine::{Command, Run};
pub use measure::{Measured, Table, Tally};
pub use question::AnswerGiven;
pub use recovery::{ReadDefinition, RecoveryReport};
pub use request::{EngineHandle, May, Pressed, Refusal, Request, Turned, Way};
pub use secrets::hush_panics;
pub(crate) use shell::stepwise::Kept;
pub use shell::{Core, Parts};
pub(crate) use sub::DEEPEST;
