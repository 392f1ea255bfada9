//! How far a step of one run came, with its word and its colour in drawings.
//!
//! Owns the colours. Invariant: a colour never stands alone, every drawing writes the word beside it.

use quell_model::{Outcome, StepId};
use std::collections::HashMap;

/// How far a step came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fate {
    /// Nothing of it is recorded.
    #[default]
    NotStarted,
    /// It is at work, or waits.
    Running,
    /// It ended.
    Ended(Outcome),
}

impl Fate {
    /// The word as people read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotStarted => "not started",
            Self::Running => "running",
            Self::Ended(outcome) => outcome.as_str(),
        }
    }

    /// Its colours: dark text is legible on each, and each word on its own.
    pub(super) fn shade(self) -> Shade {
        let (fill, line) = match self {
            Self::NotStarted => ("#ffffff", "#5f6873"),
            Self::Running => ("#c9defa", "#1a559e"),
            Self::Ended(Outcome::Verified) => ("#aee0bd", "#14602c"),
            Self::Ended(Outcome::Done) => ("#cdeed5", "#1f6b36"),
            Self::Ended(Outcome::Already) => ("#e0f4e2", "#2e7040"),
            Self::Ended(Outcome::Planned) => ("#eff9ec", "#3f7245"),
            Self::Ended(Outcome::Failed | Outcome::Refused | Outcome::Denied | Outcome::Stuck) => {
                ("#fbd0cb", "#9c1c14")
            }
            Self::Ended(Outcome::Skipped | Outcome::Blocked | Outcome::Cancelled | Outcome::Undone) => {
                ("#dfe3e8", "#4f5863")
            }
        };
        Shade { fill, line }
    }
}

/// A box's colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shade {
    pub(super) fill: &'static str,
    pub(super) line: &'static str,
}

/// Of a step in no run.
pub(super) const PLAIN: Shade = Shade { fill: "#eef2f7", line: "#5f6873" };

/// How far the steps of one run came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fates {
    about: String,
    steps: HashMap<StepId, Fate>,
}

impl Fates {
    /// Of a run, with what is said of the whole: `run r-1, failed, observe`.
    #[must_use]
    pub fn new(about: impl Into<String>, steps: impl IntoIterator<Item = (StepId, Fate)>) -> Self {
        Self { about: about.into(), steps: steps.into_iter().collect() }
    }

    /// Of a step: not started where nothing is known of it.
    #[must_use]
    pub fn of(&self, step: &StepId) -> Fate {
        self.steps.get(step).copied().unwrap_or_default()
    }

    /// What is said of the whole run.
    pub(super) fn about(&self) -> &str {
        &self.about
    }
}
