//! Slack, inward: what people click there and say by `/quell`.
//!
//! ```text
//! POST /slack/interactive, /slack/commands ─▶ verify (signed, fresh, once) ─┐
//!                                                                          ├─▶ 200 ─▶ errands ─▶ answers ─▶ response_url
//! Socket Mode: apps.connections.open ─▶ websocket ─▶ acknowledged ─────────┘
//! ```
//!
//! Owns how a request is known to be Slack's, and what a click or a command is. Decides nothing: `answers` is the one path by which
//! an answer comes in. Keeps true: Slack is answered before anything is done; what waits is bounded; who a clicker is, is their id in
//! escalation.yaml, never a name that Slack shows.

mod command;
mod door;
mod errand;
mod http;
mod payload;
mod reply;
mod socket;
mod verify;

pub(crate) use door::Door;
pub(crate) use errand::{Errands, Waiting, work};
pub(super) use http::router;
pub(crate) use socket::follow;

/// The way, as `not_via` of a question names it.
const VIA: &str = "slack";
