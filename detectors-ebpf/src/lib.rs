//! quell-detectors: the sensor. What the kernel saw, with identity, and what was lost.
//!
//! Owns the kernel side (`bpf/`, C with CO-RE, embedded), the loader, the process table and the events. Decides nothing,
//! blocks nothing, writes no file. Nothing is lost in silence: what the rings or a cgroup's budget drop is counted in the
//! kernel and becomes a `loss` event.
//!
//! ```text
//! kernel ──process ring──┐
//!        ──other ring────┤ reader ─▶ table ─▶ SensorEvent ─▶ Sink (on the thread `quell-sensor`)
//!        ──loss counters─┘
//! ```
//!
//! What it cannot see: system calls of 32-bit programs; files that io_uring removes, renames or opens into a table of its own
//! (other opens and all connects by io_uring are seen).

pub mod block;
mod cgroup;
pub mod cut;
mod doctor;
mod error;
mod event;
mod fill;
pub mod hands;
mod kernfs;
mod letters;
mod load;
mod losses;
pub mod pin;
mod probes;
mod process;
mod reader;
mod record;
mod relay;
mod schedule;
mod sensor;
mod sleep;
mod tape;
mod undisturbed;
mod users;
mod watch;

pub use doctor::{Check, CheckState};
pub use error::SensorError;
pub use load::OBJECT;
pub use probes::{Attach, Call, Need, PROBES, Probe, calls};
pub use sensor::{Running, Sensor, SensorConfig, Sink, Stats, Waker};
pub use tape::Tape;
pub use watch::WatchError;
