//! How long after the kernel saw an event the rest happened.
//!
//! Owns the subtraction and the words for spans. Never reads a clock.

use quell_model::Stamp;
use quell_model::record::Moments;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// Nanoseconds by the boot clock since the kernel saw the event, for each later moment that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Times {
    /// The sensor had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ns: Option<u64>,
    /// The trigger had decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_ns: Option<u64>,
    /// The act began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ns: Option<u64>,
    /// The world had answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_ns: Option<u64>,
}

impl Times {
    /// The spans of these moments; none without the kernel's, or where the boot clock began anew in between.
    #[must_use]
    pub fn of(moments: &Moments) -> Self {
        let since = |later: Option<Stamp>| {
            let (later, kernel) = (later?, moments.kernel?);
            later.boot_ns.checked_sub(kernel.boot_ns)
        };
        Self {
            seen_ns: since(moments.seen),
            decided_ns: since(moments.decided),
            started_ns: since(moments.started),
            verified_ns: since(moments.verified),
        }
    }
}

/// A span as people say it: `87 µs`, `1.2 ms`, `3.4 s`, `2 min 5 s`, `3 h 12 min`.
pub(super) fn span(time: Duration) -> String {
    let (micros, seconds) = (time.as_micros(), time.as_secs());
    match (micros, seconds) {
        (..1_000, _) => format!("{micros} µs"),
        (..100_000, _) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        (..1_000_000, _) => format!("{} ms", time.as_millis()),
        (_, ..60) => format!("{:.1} s", time.as_secs_f64()),
        (_, ..3600) if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        (_, ..3600) => format!("{} min {} s", seconds / 60, seconds % 60),
        _ if (seconds / 60).is_multiple_of(60) => format!("{} h", seconds / 3600),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        let said = [87_000, 1_234_000, 99_960_000, 250_000_000, 3_400_000_000, 125_000_000_000, 11_520_000_000_000]
            .map(|ns| span(Duration::from_nanos(ns)));
        assert_eq!(said, ["87 µs", "1.2 ms", "100.0 ms", "250 ms", "3.4 s", "2 min 5 s", "3 h 12 min"]);
        let whole = [900, 7_200, 7_230].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(whole, ["15 min", "2 h", "2 h"]);
    }

    #[test]
    fn a_moment_of_an_earlier_boot_has_no_span() {
        let at = |boot_ns| Some(Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns });
        let moments = Moments { kernel: at(900), seen: at(950), verified: at(20), ..Moments::default() };
        assert_eq!(Times::of(&moments), Times { seen_ns: Some(50), ..Times::default() });
        assert_eq!(Times::of(&Moments { kernel: None, ..moments }), Times::default());
    }
}
