//! Moments: the wall clock for people, the boot clock for spans.
//!
//! Owns the shape of a moment and the trait of a clock. Nothing here reads one.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use utoipa::ToSchema;

/// One moment on both clocks. The order is that of the boot clock, so that of moments of one boot none comes sooner or later
/// because the wall clock was set. A moment before the boot has none on its clock, so `boot_ns` is 0, and the wall clock alone
/// tells how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Stamp {
    /// For people: may be stepped.
    pub wall: Timestamp,
    /// CLOCK_BOOTTIME in nanoseconds: for spans, never steps back within a boot.
    pub boot_ns: u64,
}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.boot_ns, self.wall).cmp(&(other.boot_ns, other.wall))
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Stamp {
    /// The moment `later` after this one, on both clocks.
    #[must_use]
    pub fn after(self, later: std::time::Duration) -> Self {
        let wall = SignedDuration::try_from(later).ok().and_then(|d| self.wall.checked_add(d).ok());
        Self {
            wall: wall.unwrap_or(Timestamp::MAX),
            boot_ns: self.boot_ns.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    /// How long after `earlier` this is by the boot clock; zero when it is not. What was before the boot is as long ago as the
    /// wall clock says, and at least as long as the boot.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        let by_boot = std::time::Duration::from_nanos(self.boot_ns.saturating_sub(earlier.boot_ns));
        if earlier.boot_ns > 0 {
            return by_boot;
        }
        std::time::Duration::try_from(self.wall.duration_since(earlier.wall)).unwrap_or_default().max(by_boot)
    }
}

impl Stamp {
    /// The wall time of this moment by the clocks as they stand `now`, in the same boot: as long ago as it is, whatever
    /// the wall clock was set by since.
    #[must_use]
    pub fn wall_by(self, now: Self) -> Timestamp {
        let gone = i128::from(now.boot_ns) - i128::from(self.boot_ns);
        Timestamp::from_nanosecond(now.wall.as_nanosecond() - gone).unwrap_or(self.wall)
    }

    /// This moment of another boot by the clocks as they stand `now`: when the wall clock shows it, or showed it.
    #[must_use]
    pub fn on_boot_of(self, now: Self) -> Self {
        let left = self.wall.as_nanosecond() - now.wall.as_nanosecond();
        let boot_ns = (i128::from(now.boot_ns) + left).clamp(0, i128::from(u64::MAX));
        Self { wall: self.wall, boot_ns: u64::try_from(boot_ns).unwrap_or(u64::MAX) }
    }
}

/// The only source of time; a test moves its own by hand.
#[async_trait::async_trait]
pub trait Clock: Send + Sync {
    /// This moment.
    fn now(&self) -> Stamp;
    /// Returns once the boot clock has passed `at`. Cancel-safe.
    async fn sleep_until(&self, at: Stamp);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_s: i64, boot_s: u64) -> Stamp {
        Stamp { wall: Timestamp::from_second(wall_s).unwrap(), boot_ns: boot_s * 1_000_000_000 }
    }

    #[test]
    fn a_moment_of_another_boot_comes_when_the_wall_clock_shows_it() {
        // (the moment's wall time, by the boot clock now)
        for (wall_s, boot_s) in [(1_000_060, 70), (1_000_000, 10), (999_995, 5), (900_000, 0)] {
            let then = at(wall_s, 123_456).on_boot_of(at(1_000_000, 10));
            assert_eq!(then, at(wall_s, boot_s), "{wall_s}");
        }
    }

    #[test]
    fn what_was_before_the_boot_is_as_long_ago_as_the_wall_clock_says() {
        let now = at(1_000_000, 60);
        // (the earlier moment, seconds since)
        for (then, seconds) in [
            (at(999_000, 0), 1_000),
            (at(999_970, 0), 60),
            (at(2_000_000, 0), 60),
            (at(999_000, 50), 10),
            (at(999_000, 70), 0),
        ] {
            assert_eq!(now.since(then).as_secs(), seconds, "{then:?}");
        }
    }

    #[test]
    fn a_moment_is_as_long_ago_as_it_is_whatever_the_wall_clock_was_set_by() {
        let then = at(1_000_000, 100);
        for step in [0, 7200, -7200] {
            let now = at(1_000_060 + step, 160);
            assert_eq!(now.wall.duration_since(then.wall_by(now)), SignedDuration::from_secs(60), "{step}");
        }
        assert_eq!(
            at(i64::from(i32::MAX), 5).wall_by(Stamp { wall: Timestamp::MIN, boot_ns: u64::MAX }).as_second(),
            i64::from(i32::MAX)
        );
    }
}
