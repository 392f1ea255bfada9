//! The ways by which people are told: each takes a page, or says why not.
//!
//! Owns how a notice looks in each medium. Never decides who is told, never tries again: the ladder does. Keeps true: what an
//! attacker wrote is shown and does no harm, neither a control character nor markup of it means anything; what is longer than
//! the medium takes is cut, and says so.
//!
//! ```text
//! Letter ──plain──▶ lines ──▶ terminal
//!    ├─────email──▶ text and HTML ──SMTP──▶ server, which says 250, 4xx or 5xx
//!    ├───webhook──▶ JSON ──────────HTTP──▶ what wakes people, which says 2xx, 429, 4xx or 5xx
//!    └─────slack──▶ Block Kit ─────HTTPS──▶ Slack, which keeps the message and lets it be put right
//! ```

#[cfg(feature = "webhook")]
mod asked;
#[cfg(feature = "email")]
pub mod email;
#[cfg(feature = "webhook")]
pub mod http;
pub mod mark;
pub mod markup;
pub mod plain;
#[cfg(feature = "webhook")]
mod public;
#[cfg(feature = "slack")]
pub mod slack;
#[cfg(feature = "webhook")]
pub mod webhook;

/// An error with what lies below it, each said once.
#[cfg(any(feature = "email", feature = "slack"))]
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(&format!(": {more}"));
        }
        below = source.source();
    }
    text
}
