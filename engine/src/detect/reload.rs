//! Rules that change on disk are put in force without a restart.
//!
//! Owns the question whether they changed and the loading; the caller asks each second and decides what to do with a
//! set that has mistakes (quell keeps the old one and says so).

use super::files::RuleSource;
use super::report::RuleReport;
use super::rules::Rules;
use crate::source::Snapshot;
use std::path::{Path, PathBuf};

/// Watches the places that rules and exceptions come from.
pub struct Reloader {
    rules: Vec<RuleSource>,
    exceptions: Vec<RuleSource>,
    seen: Snapshot,
}

impl Reloader {
    /// Watches from now on: what changes before the first [`Reloader::load`] counts as a change.
    #[must_use]
    pub fn new(rules: Vec<RuleSource>, exceptions: Vec<RuleSource>) -> Self {
        let mut reloader = Self { rules, exceptions, seen: Snapshot::default() };
        reloader.seen = reloader.look();
        reloader
    }

    /// Whether a file was added, removed or changed since the last time that this said yes. Cheap enough for each
    /// second; does not follow the contents.
    pub fn changed(&mut self) -> bool {
        let now = self.look();
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    /// Loads all of it anew.
    #[must_use]
    pub fn load(&self) -> (Rules, RuleReport) {
        Rules::load(&self.rules, &self.exceptions)
    }

    fn look(&self) -> Snapshot {
        let paths: Vec<&Path> = self
            .rules
            .iter()
            .chain(&self.exceptions)
            .filter_map(|source| match source {
                RuleSource::Dir(path) | RuleSource::File(path) => Some(PathBuf::as_path(path)),
                RuleSource::Text { .. } => None,
            })
            .collect();
        Snapshot::of(&paths, &["yml", "yaml"])
    }
}
