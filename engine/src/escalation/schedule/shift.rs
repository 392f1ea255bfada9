//! Shifts: whose turn it is in a layer.
//!
//! Owns where shifts begin and end. A shift is [start, end). Its start is counted from the layer's first one, never from the shift
//! before it, so that a month that is short moves nothing after it, and whose turn it is does not depend on where one
//! starts to count. Keeps true: shifts tile the line without a hole. Where the clock leaves out the whole of one (a shift of a day,
//! on a day that never was) it is empty: its turn passes, and nobody else's moves.

use super::zone::start_of;
use super::{Layer, Unit};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use quell_model::Name;

const HOUR_S: i64 = 3_600;

/// The shifts of a layer.
#[derive(Clone, Debug)]
pub(super) struct Shifts<'a> {
    zone: TimeZone,
    layer: &'a Layer,
    first: DateTime,
    begin: Timestamp,
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shift<'a> {
    /// Counted from 0.
    pub(super) index: i64,
    /// Whose it is.
    pub(super) who: &'a Name,
    /// Its start.
    pub(super) from: Timestamp,
    /// Its end; none: beyond all dates.
    pub(super) to: Option<Timestamp>,
}

impl<'a> Shifts<'a> {
    /// Those of a layer; none where it has nobody, or no first shift.
    pub(super) fn new(zone: &TimeZone, layer: &'a Layer) -> Option<Self> {
        layer.rotation.first()?;
        let first = on_or_after(layer, layer.start)?.to_datetime(layer.handoff.at);
        Some(Self { zone: zone.clone(), layer, first, begin: start_of(zone, first) })
    }

    /// When the first one begins.
    pub(super) fn begin(&self) -> Timestamp {
        self.begin
    }

    /// The one at this moment; none before the first.
    pub(super) fn at(&self, at: Timestamp) -> Option<Shift<'a>> {
        if at < self.begin {
            return None;
        }
        let begun = |index: i64| self.start(index).is_some_and(|start| start <= at);
        // From the guess outwards by doubling, then between: few steps where the guess is near, as it is, and never many.
        let mut low = self.guess(at).max(0);
        let mut high = low.saturating_add(1);
        let mut step = 1_i64;
        while low > 0 && !begun(low) {
            high = low;
            low = low.saturating_sub(step).max(0);
            step = step.saturating_mul(2);
        }
        step = 1;
        while begun(high) {
            low = high;
            high = high.saturating_add(step);
            step = step.saturating_mul(2);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            *if begun(middle) { &mut low } else { &mut high } = middle;
        }
        let turn = usize::try_from(low).ok()? % self.layer.rotation.len();
        Some(Shift { index: low, who: &self.layer.rotation[turn], from: self.start(low)?, to: self.start(high) })
    }

    /// When the one of this index begins; none beyond all dates.
    fn start(&self, index: i64) -> Option<Timestamp> {
        let units = index.checked_mul(self.length())?;
        let days = |days: i64| self.first.checked_add(Span::new().try_days(days).ok()?).ok();
        let time = match self.layer.every.unit {
            Unit::Hour => {
                return self.begin.checked_add(SignedDuration::from_secs(units.checked_mul(HOUR_S)?)).ok();
            }
            Unit::Day => days(units)?,
            Unit::Week => days(units.checked_mul(7)?)?,
            Unit::Month => {
                let day = self.layer.start.checked_add(Span::new().try_months(units).ok()?).ok()?;
                on_or_after(self.layer, day)?.to_datetime(self.layer.handoff.at)
            }
        };
        Some(start_of(&self.zone, time))
    }

    /// About which it is at this moment.
    fn guess(&self, at: Timestamp) -> i64 {
        if self.layer.every.unit == Unit::Hour {
            return at.duration_since(self.begin).as_secs() / HOUR_S / self.length();
        }
        let (first, day) = (self.first.date(), self.zone.to_datetime(at).date());
        let days = i64::from(first.until(day).map_or(0, |span| span.get_days()));
        match self.layer.every.unit {
            Unit::Hour | Unit::Day => days / self.length(),
            Unit::Week => days / 7 / self.length(),
            Unit::Month => days / 31 / self.length(),
        }
    }

    fn length(&self) -> i64 {
        i64::from(self.layer.every.count.max(1))
    }
}

/// The first day of a handoff from this one on.
fn on_or_after(layer: &Layer, day: Date) -> Option<Date> {
    let Some(weekday) = layer.handoff.day else { return Some(day) };
    day.checked_add(Span::new().days(i64::from(day.weekday().until(weekday)))).ok()
}
