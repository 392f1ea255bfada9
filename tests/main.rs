//! End to end, against the built binary and real parts: one test binary, a module a subject.

mod api;
#[cfg(feature = "ebpf")]
mod bad_days;
#[cfg(feature = "ebpf")]
mod block;
mod cli;
#[cfg(feature = "ebpf")]
mod clocks;
mod cluster;
#[cfg(feature = "ebpf")]
mod containers;
#[cfg(feature = "ebpf")]
mod crash;
#[cfg(feature = "ebpf")]
mod cut;
mod daemon;
mod docs;
#[cfg(feature = "ebpf")]
mod floods;
#[cfg(feature = "ebpf")]
mod hands;
mod kubernetes;
mod metrics;
#[cfg(feature = "email")]
mod people;
#[cfg(feature = "ebpf")]
mod recorder;
mod sources;
mod threats;
#[cfg(feature = "otlp")]
mod traces;
#[cfg(feature = "ebpf")]
mod undo;
mod webhooks;
