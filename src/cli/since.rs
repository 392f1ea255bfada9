//! Moments as people write them on the command line.

use jiff::{SignedDuration, Timestamp};
use quell_engine::load::units::duration;

/// A time (`2026-11-28T12:00:00Z`), or how long ago (`10m`).
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = duration(text).and_then(|span| SignedDuration::try_from(span).ok());
    ago.and_then(|span| Timestamp::now().checked_sub(span).ok())
        .ok_or_else(|| "neither a time like 2026-11-28T12:00:00Z nor a span like 10m".to_owned())
}
