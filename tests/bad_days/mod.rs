//! Bad days of the engine, one module a day: what it does when the machine, the disk or somebody is against it.
//!
//! Every day has a daemon, a data directory and cgroups of its own, rules that match nothing but the day's own program,
//! and a guard that lets it touch nothing outside (`only_within`). The long days are longer in `make test-long`.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

mod disk;
mod foreign;
mod hanging;
pub(crate) mod host;
mod journal;
pub(crate) mod soak;
pub(crate) mod stopped;
mod unreadable;

/// Whether the long searches are wanted.
pub(crate) fn is_long() -> bool {
    std::env::var_os("QUELL_LONG").is_some()
}
