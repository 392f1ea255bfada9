//! End to end, against the built binary and real parts: one test binary, a module a subject.

mod cli;
mod docs;
#[cfg(feature = "ebpf")]
mod floods;
#[cfg(feature = "ebpf")]
mod hands;
#[cfg(feature = "ebpf")]
mod recorder;
mod threats;
