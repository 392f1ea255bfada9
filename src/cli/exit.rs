//! The exit codes, and the sentence that goes with a bad one. A contract: scripts rely on the numbers.

use std::fmt;
use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All right.
    Right = 0,
    /// The thing asked about is not all right: a check failed, something was refused or does not exist.
    NotRight = 1,
    /// Wrong usage or configuration, or the data directory is taken.
    Usage = 2,
    /// The daemon cannot be reached.
    Unreachable = 3,
    /// A permission or a kernel feature is missing.
    Missing = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do what it was asked: `error: what`, then `hint: …` after a blank line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fail {
    /// The code that the process ends with.
    pub(crate) exit: Exit,
    /// What went wrong: lower case, no full stop, the value in backticks.
    pub(crate) what: String,
    /// What would make it work.
    pub(crate) hint: Option<String>,
}

impl Fail {
    /// With this code and sentence.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), hint: None }
    }

    /// The thing asked about is not all right.
    pub(crate) fn not_right(what: impl Into<String>) -> Self {
        Self::new(Exit::NotRight, what)
    }

    /// Wrong usage or configuration.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// A permission or a kernel feature is missing.
    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self::new(Exit::Missing, what)
    }

    /// Says what would make it work.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
