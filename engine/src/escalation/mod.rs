//! Escalation: who is told, when, over which channel, until somebody acknowledges.
//!
//! ```text
//! escalation.yaml ──load──▶ Escalation ──┬─ schedules ── who is on call at a moment, and why
//!                                        ├─ policies ─── steps, one after the other, until somebody answers
//!                                        ├─ routes ───── which policy an incident goes by
//!                                        └─ channels ─── by which way a person is reached
//! ```
//!
//! `prove` holds all of it against the days to come: is there ever nobody?
//!
//! Owns what escalation.yaml says, as it is meant. Never reads a file, never speaks to a channel, never reads a clock.

pub mod channels;
pub mod policy;
pub mod prove;
pub mod schedule;

use channels::Channels;
use policy::{Policy, Route};
use quell_model::{Name, People};
use schedule::Schedule;
use std::collections::BTreeMap;

/// What an escalation.yaml says; empty without one.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Escalation {
    /// Who is who, and who may approve what.
    pub people: People,
    /// By which ways people are reached.
    pub channels: Channels,
    /// Who is on call when.
    pub schedules: BTreeMap<Name, Schedule>,
    /// Who is told in which order.
    pub policies: BTreeMap<Name, Policy>,
    /// Which policy an incident goes by: the first that fits.
    pub routes: Vec<Route>,
}
