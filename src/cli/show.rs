//! Moments, spans and values as people read them.

use super::escape::clip;
use super::term::Ink;
use jiff::Timestamp;
use quell_model::{Outcome, Stamp};
use serde_json::Value;
use std::time::Duration;

/// So many characters are shown of a text of one line: more is somebody's attempt to fill the screen.
pub(crate) const SHOWN: usize = 400;

/// How long ago: `3 min`.
pub(crate) fn ago(then: Timestamp) -> String {
    let seconds = Timestamp::now().as_second().saturating_sub(then.as_second()).max(0).unsigned_abs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

/// A span: `340 µs`, `1.2 ms`, `2.1 s`.
pub(crate) fn span(span: Duration) -> String {
    let ns = span.as_nanos();
    match ns {
        0..=999_999 => format!("{} µs", ns / 1000),
        1_000_000..=99_999_999 => format!("{:.1} ms", span.as_secs_f64() * 1e3),
        100_000_000..=999_999_999 => format!("{:.0} ms", span.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", span.as_secs_f64()),
    }
}

/// Bytes: `512 B`, `56 KiB`, `1.2 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if amount < 10.0 { format!("{amount:.1} {}", UNITS[unit]) } else { format!("{amount:.0} {}", UNITS[unit]) }
}

/// A span since another moment, with its sign: `+1.2 ms`.
pub(crate) fn since(earlier: Stamp, later: Stamp) -> String {
    format!("+{}", span(later.since(earlier)))
}

/// The time of day in UTC, to the millisecond.
pub(crate) fn time_of_day(at: Timestamp) -> String {
    at.strftime("%H:%M:%S%.3f").to_string()
}

/// Date and time in UTC, to the second.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How an outcome looks.
pub(crate) fn outcome_ink(outcome: Outcome) -> Ink {
    match outcome {
        Outcome::Verified | Outcome::Done | Outcome::Already => Ink::Good,
        Outcome::Planned | Outcome::Skipped | Outcome::Undone => Ink::Dim,
        Outcome::Blocked | Outcome::Cancelled | Outcome::Denied | Outcome::Refused => Ink::Warn,
        Outcome::Failed | Outcome::Stuck => Ink::Bad,
    }
}

/// A value on one line, escaped and cut.
pub(crate) fn value(value: &Value, most: usize) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => clip(text, most),
        Value::Array(list) => {
            let text = list.iter().map(|v| self::value(v, most)).collect::<Vec<_>>().join(", ");
            clip(&text, most)
        }
        other => clip(&other.to_string(), most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well_at_any_size() {
        let text = |us| span(Duration::from_micros(us));
        assert_eq!([text(340), text(1_240), text(123_400), text(2_140_000)], ["340 µs", "1.2 ms", "123 ms", "2.1 s"]);
    }
}
