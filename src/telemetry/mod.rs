//! What quell tells of itself to the tools of those who run it: figures for Prometheus, traces for a collector.
//!
//! Owns names, units and labels. Decides nothing, and nobody waits for it: what cannot be asked in time is left out.

mod metrics;
#[cfg(feature = "otlp")]
mod traces;

pub(crate) use metrics::{Look, Meters, TEXT, scrape};
#[cfg(feature = "otlp")]
pub(crate) use traces::Traces;
