//! Restrictions: the parts of each week in which a layer has somebody.
//!
//! Owns which moments lie within, where that ends, and where it begins again. Keeps true: windows that touch or overlap are one
//! stretch; a window that the clock leaves out is none.

use super::Window;
use super::zone::{end_of, start_of};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A clock set back by a day (it was, in Alaska) shows a window again up to two days after it began.
const DAYS_BACK: i32 = 3;
const DAYS_ON: i32 = 2;
/// A window comes each week; no zone leaves the same hours out four weeks in a row.
const NEXT_WITHIN_DAYS: i32 = 29;
/// Windows that touch for longer than this cover the whole week, and that is known beforehand.
const JOINED: usize = 4_096;

const DAY_NS: i64 = 86_400_000_000_000;
const WEEK_NS: i64 = 7 * DAY_NS;

/// The windows of a layer in its zone.
#[derive(Clone, Debug)]
pub(super) struct Restrictions<'a> {
    zone: TimeZone,
    windows: &'a [Window],
    always: bool,
}

/// Where a moment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Within {
    /// Within, up to then; none: for ever.
    Yes(Option<Timestamp>),
    /// Outside, up to then; none: for ever.
    No(Option<Timestamp>),
}

impl<'a> Restrictions<'a> {
    /// Those of a layer; none: no restriction.
    pub(super) fn new(zone: &TimeZone, windows: &'a [Window]) -> Self {
        Self { zone: zone.clone(), windows, always: windows.is_empty() || are_all(windows) }
    }

    /// Where this moment is.
    pub(super) fn at(&self, at: Timestamp) -> Within {
        if self.always {
            return Within::Yes(None);
        }
        let Some(mut end) = self.end(at) else { return Within::No(self.next(at)) };
        for _ in 0..JOINED {
            match self.end(end) {
                Some(further) if further > end => end = further,
                _ => break,
            }
        }
        Within::Yes(Some(end))
    }

    /// The last end of the windows that hold this moment.
    fn end(&self, at: Timestamp) -> Option<Timestamp> {
        let holding = |window| self.about(window, at, DAYS_ON).filter(|(from, to)| *from <= at && at < *to);
        self.windows.iter().flat_map(holding).map(|(_, to)| to).max()
    }

    /// The first start after this moment.
    fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let first = |window| self.about(window, at, NEXT_WITHIN_DAYS).map(|(from, _)| from).find(|from| *from > at);
        self.windows.iter().filter_map(first).min()
    }

    /// When a window holds that begins from some days before a moment to so many after it, in order.
    fn about<'w>(
        &'w self,
        window: &'w Window,
        at: Timestamp,
        days_on: i32,
    ) -> impl Iterator<Item = (Timestamp, Timestamp)> + 'w {
        let today = self.zone.to_datetime(at).date();
        (-DAYS_BACK..=days_on)
            .filter_map(move |days| today.checked_add(Span::new().days(days)).ok())
            .filter(|day| window.days.contains(&super::day_number(day.weekday())))
            .filter_map(|day| self.one(window, day))
    }

    fn one(&self, window: &Window, day: Date) -> Option<(Timestamp, Timestamp)> {
        let last = if window.to > window.from { day } else { day.tomorrow().ok()? };
        let from = start_of(&self.zone, day.to_datetime(window.from));
        let to = end_of(&self.zone, last.to_datetime(window.to));
        (from < to).then_some((from, to))
    }
}

/// Whether windows leave no moment of a week out. (A change of the clock cannot make a hole where two touch: the one ends at the
/// last occurrence, the other begins at the first.)
fn are_all(windows: &[Window]) -> bool {
    let since_midnight = |time: Time| time.duration_since(Time::midnight()).as_nanos() as i64;
    let mut parts: Vec<(i64, i64)> = Vec::new();
    for window in windows {
        let (from, to) = (since_midnight(window.from), since_midnight(window.to));
        let long = if to > from { to - from } else { to - from + DAY_NS };
        for day in &window.days {
            let begin = i64::from(*day) * DAY_NS + from;
            parts.extend([(begin, begin + long), (begin - WEEK_NS, begin + long - WEEK_NS)]);
        }
    }
    parts.sort_unstable();
    let mut reached = 0;
    for (from, to) in parts {
        if from > reached {
            return false;
        }
        reached = reached.max(to);
    }
    reached >= WEEK_NS
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    fn window(days: impl IntoIterator<Item = i8>, from: Time, to: Time) -> Window {
        Window { days: days.into_iter().collect(), from, to }
    }

    #[test]
    fn a_whole_week_in_pieces_is_no_restriction() {
        let (midnight, nine, five) = (Time::midnight(), time(9, 0, 0, 0), time(17, 0, 0, 0));
        assert!(are_all(&[window(0..7, nine, nine)]));
        assert!(are_all(&[window(0..7, midnight, midnight)]));
        assert!(are_all(&[window(0..7, nine, five), window(0..7, five, nine)]));
        assert!(are_all(&[window(0..5, midnight, midnight), window([5, 6], midnight, midnight)]));
        assert!(!are_all(&[window(0..6, midnight, midnight)]));
        assert!(!are_all(&[window(1..7, midnight, midnight)]));
        assert!(!are_all(&[window(0..7, nine, five), window(0..7, five, time(8, 59, 59, 999_999_999))]));
        assert!(!are_all(&[window([], nine, nine)]));
    }
}
