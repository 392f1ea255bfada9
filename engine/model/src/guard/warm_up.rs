//! The warm-up: a new or changed playbook asks for a while before it acts by itself.
//!
//! Owns when that while is over. Pure: how old a text is and where it has run are told. Keeps true: what an attacker can
//! multiply does not end it; a place counts once, however often it gives cause.

use crate::mode::Mode;
use std::time::Duration;

/// How long a text that was not here before asks first: until either is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// Until it has run in so many places.
    pub runs: Option<u32>,
    /// For so long.
    pub lasts: Option<Duration>,
}

/// More places than this are not told apart: a warm-up of more runs ends there.
pub const MOST_WARM: u32 = 1000;

impl WarmUp {
    /// How far a text may go that was first seen so long ago and has run in so many places, and why, while it is warmed up.
    #[must_use]
    pub fn holds(&self, age: Duration, places: usize) -> Option<(Mode, String)> {
        let runs = self.runs.map(|runs| runs.min(MOST_WARM));
        let is_over = runs.is_some_and(|runs| places >= runs as usize) || self.lasts.is_some_and(|lasts| age >= lasts);
        if is_over {
            return None;
        }
        let left = self.lasts.map(|lasts| format!("for another {}", print(lasts.saturating_sub(age))));
        let runs = runs.map(|runs| format!("until it has run in {} more places", runs as usize - places));
        let until: Vec<String> = left.into_iter().chain(runs).collect();
        let why = format!("`guard.warm_up`: this text of it is new here, and asks {}", until.join(" or "));
        Some((Mode::Approve, why))
    }
}

/// Hours and minutes: nobody waits for the second.
fn print(span: Duration) -> String {
    let minutes = span.as_secs().div_ceil(60);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_whichever_is_over_first() {
        let hour = Duration::from_secs(3600);
        let both = WarmUp { runs: Some(3), lasts: Some(24 * hour) };
        let (mode, why) = both.holds(hour, 1).unwrap();
        assert_eq!(mode, Mode::Approve);
        assert!(why.ends_with("asks for another 23h or until it has run in 2 more places"), "{why}");
        assert_eq!(both.holds(hour, 3), None);
        assert_eq!(both.holds(24 * hour, 0), None);
        let long = WarmUp { runs: None, lasts: Some(hour) };
        assert!(long.holds(Duration::from_secs(61), 10_000).unwrap().1.ends_with("for another 59m"));
        let runs = WarmUp { runs: Some(1), lasts: None };
        assert!(runs.holds(1000 * hour, 0).is_some());
        assert_eq!(runs.holds(Duration::ZERO, 1), None);
        let many = WarmUp { runs: Some(u32::MAX), lasts: None };
        assert_eq!(
            many.holds(Duration::ZERO, MOST_WARM as usize),
            None,
            "what is not told apart does not hold for ever"
        );
    }
}
