//! What was done to a file, and which of Sigma's categories that is.
//!
//! The sensor calls all of it `file_event`. Sigma means by that a file that was made or written: a rule of that
//! category which does not ask for `file.operation` is not about a file that was only read or removed, however much
//! the name matches. Sigma's own words for the rest (`file_access`, `file_delete` …) are answered beside it.

use quell_model::{Event, Field};

/// The kinds that make a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    /// It was made, written or linked.
    Write,
    /// It was only read.
    Read,
    /// It is gone.
    Delete,
    /// It has another name.
    Rename,
    /// Its mode or owner changed.
    Change,
}

impl Operation {
    /// Sigma's categories beside `file_event`, in the order of [`Operation::at`].
    pub(super) const CATEGORIES: [&'static str; 4] = ["file_access", "file_delete", "file_rename", "file_change"];

    /// What this file event is about.
    pub(super) fn of(event: &dyn Event) -> Self {
        let Some(Field::Str(operation)) = event.own("file.operation") else { return Self::Write };
        match &*operation {
            "read" => Self::Read,
            "unlink" | "rmdir" => Self::Delete,
            "rename" => Self::Rename,
            "chmod" | "chown" => Self::Change,
            _ => Self::Write,
        }
    }

    /// Its place among [`Operation::CATEGORIES`].
    pub(super) fn at(self) -> Option<usize> {
        match self {
            Self::Write => None,
            Self::Read => Some(0),
            Self::Delete => Some(1),
            Self::Rename => Some(2),
            Self::Change => Some(3),
        }
    }

    /// Whether a rule about files that were made or written is not about this.
    pub(super) fn made_nothing(self) -> bool {
        matches!(self, Self::Read | Self::Delete)
    }
}
