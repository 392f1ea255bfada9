//! What came of loading rules: what is in force, what each rule needs, and all that was wrong.
//!
//! Plain data for `quell rules check`, for the daemon's log and for its status; decides nothing.

use super::coverage::Given;
use super::exception::ExceptionInfo;
use jiff::Timestamp;
use quell_model::{Level, Mistake, MistakeLevel, Name, Span};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One loaded rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleLine {
    /// What playbooks call it.
    pub id: Name,
    /// For people.
    pub title: String,
    /// Sigma's status as written; `none` when absent.
    pub status: &'static str,
    /// How bad.
    pub level: Level,
    /// Its logsource, for people; of a correlation, its kind.
    pub logsource: String,
    /// Where it stands.
    pub file: PathBuf,
    /// The line where it begins.
    pub line: u32,
    /// The fields that it looks at.
    pub fields: Vec<String>,
    /// Whose events it can match.
    pub given: Given,
    /// It only counts for correlations and makes no detection of its own.
    pub only_counts: bool,
}

/// What came of loading.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RuleReport {
    /// How many files were read.
    pub files: usize,
    /// What is in force, in the order of loading.
    pub rules: Vec<RuleLine>,
    /// How many rules of each status.
    pub by_status: BTreeMap<&'static str, usize>,
    /// How many rules of each level.
    pub by_level: BTreeMap<&'static str, usize>,
    /// How many rules of each logsource.
    pub by_logsource: BTreeMap<String, usize>,
    /// The exceptions in force.
    pub exceptions: Vec<ExceptionInfo>,
    /// What could not be used (errors), and what works but probably not as meant (warnings).
    pub skipped: Vec<Mistake>,
    /// YAML of another kind.
    pub passed_over: Vec<Mistake>,
}

impl RuleReport {
    /// Whether something could not be used: a reload then keeps the old set.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// What could not be used.
    pub fn errors(&self) -> impl Iterator<Item = &Mistake> {
        self.skipped.iter().filter(|mistake| mistake.level == MistakeLevel::Error)
    }

    /// The rules that can never fire here, each with the reason.
    pub fn never_fires(&self) -> impl Iterator<Item = (&RuleLine, &str)> {
        self.rules.iter().filter_map(|rule| match &rule.given {
            Given::Nobody(why) => Some((rule, why.as_str())),
            _ => None,
        })
    }

    /// A warning for every exception that has expired at `now`.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> Vec<Mistake> {
        let expired = self.exceptions.iter().filter(|exception| exception.expires <= now);
        expired
            .map(|exception| {
                let what = format!(
                    "the exception `{}` of {} expired at {}: it holds nothing back any more",
                    exception.name, exception.owner, exception.expires
                );
                Mistake::warning(exception.place.clone(), Span::default(), what)
            })
            .collect()
    }

    pub(super) fn add(&mut self, rule: RuleLine) {
        *self.by_status.entry(rule.status).or_default() += 1;
        *self.by_level.entry(rule.level.as_str()).or_default() += 1;
        *self.by_logsource.entry(rule.logsource.clone()).or_default() += 1;
        self.rules.push(rule);
    }
}
