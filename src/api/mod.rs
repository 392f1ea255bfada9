//! The daemon's API: HTTP on a Unix socket, and on TCP where it is configured, JSON in and out, problems as RFC 9457 documents.
//!
//! Owns routes, who is calling, and the shape of errors; a file a noun. Decides nothing: the engine answers what changes
//! something, the journal's views what only reads.
//!
//! ```text
//! client ──▶ connection ──▶ access (who, may they?) ──▶ routes ──┬─▶ EngineHandle::request ──▶ the engine's thread
//!                                                       │         ├─▶ report (read from the journal)
//!                                                       │         └─▶ stream (the journal, followed)
//!                                                       └─▶ document (OpenAPI, made of the same routes and types)
//! ```

mod access;
mod answers;
mod app;
mod breakers;
mod caller;
mod connections;
mod document;
mod given;
mod guest;
mod incidents;
mod link;
mod listen;
mod metrics;
mod page;
mod playbooks;
mod problem;
mod routes;
mod runs;
mod silences;
#[cfg(feature = "slack")]
pub(crate) mod slack;
mod socket;
mod status;
mod stream;
mod system;
mod views;
pub(crate) mod webhook;

pub(crate) use access::Access;
pub(crate) use app::App;
pub(crate) use caller::Caller;
pub(crate) use connections::serve;
pub(crate) use document::text as document;
pub(crate) use incidents::FalsePositiveResolved;
pub(crate) use listen::{Listener, listen, mistakes as listen_mistakes};
pub(crate) use page::Page;
pub(crate) use playbooks::PlaybookMode;
pub(crate) use problem::{Problem, ProblemDocument};
pub(crate) use routes::{open, router};
pub(crate) use socket::bind;
#[cfg(feature = "ebpf")]
pub(crate) use status::Blocked;
pub(crate) use status::{
    ActionMissing, AuditStatus, BeatStatus, BlockStatus, Counted, CutOff, CutStatus, HandsStatus, JournalStatus,
    NotArmed, PlaybookStatus, PodsStatus, ProbeStatus, RecorderStatus, RetentionStatus, SensorStatus, SourceStatus,
    State, Status, WebhookStatus, Went,
};
pub(crate) use stream::{End, EndReason, Gap, Seats};
pub(crate) use views::Views;

/// What every path begins with, but for `/metrics`, which is where scrapers look. A change that would break a client makes
/// another.
pub(crate) const VERSION: &str = "/v1";
