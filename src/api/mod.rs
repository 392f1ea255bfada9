//! The daemon's API: HTTP on a Unix socket, and on TCP where it is configured, JSON in and out, problems as RFC 9457 documents.
//!
//! Owns routes, who is calling, and the shape of errors. Decides nothing: the engine answers what changes something,
//! the journal's views what only reads.
//!
//! ```text
//! client ──▶ socket ──▶ access (uid → person, may they?) ──▶ routes ──┬─▶ EngineHandle::request ──▶ the engine's thread
//!                                                                     └─▶ report (read from the journal)
//! ```

mod access;
mod answer;
mod breaker;
mod by_hand;
mod caller;
mod listen;
mod metrics;
mod problem;
mod routes;
mod socket;
mod standing;
mod status;

pub(crate) use access::Access;
pub(crate) use caller::Caller;
pub(crate) use listen::{listen, mistakes as listen_mistakes, serve as serve_tcp};
pub(crate) use problem::Problem;
pub(crate) use routes::{App, router};
pub(crate) use socket::{bind, serve};
#[cfg(feature = "ebpf")]
pub(crate) use status::Blocked;
pub(crate) use status::{
    ActionMissing, BlockStatus, Counted, HandsStatus, JournalStatus, NotArmed, PlaybookStatus, ProbeStatus,
    RecorderStatus, SensorStatus, State, Status,
};
