//! The sensor against the real kernel: what is done here must be seen, with its whole truth.
//!
//! Needs root and BPF; where they are missing each test says loudly that nothing was tested. Acts only on processes and
//! files of its own, and looks only at events of its own descendants.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod block;
mod boots;
mod born;
mod brought;
mod cut;
mod files;
mod group;
mod hands;
mod harness;
mod loss;
mod mounted;
mod network;
mod object;
mod orders;
mod processes;
mod relays;
mod turns;
mod veth;
