//! Exceptions: Sigma filters with an owner, a reason and an end.
//!
//! An exception never changes a rule: the rule matches as it is written, then the exception is asked. So what was held
//! back is counted and can be explained, and an exception that has expired stops holding without a reload. It holds
//! to the end of its last day, UTC.

use super::keywords;
use super::read::Read;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use quell_model::{Mistake, MistakeLevel, Name, Span};
use rsigma_eval::CompiledRule;
use rsigma_parser::{FilterRule, FilterRuleTarget, LogSource, SigmaRule};
use serde::Serialize;
use std::collections::HashSet;
use std::path::PathBuf;

/// The keys beyond Sigma's that every exception has.
const KEYS: &[&str] = &["owner", "reason", "expires"];

/// An exception in force, or expired.
pub(super) struct Exception {
    pub(super) info: ExceptionInfo,
    /// Matches what the exception lets through.
    passes: CompiledRule,
    targets: FilterRuleTarget,
    logsource: Option<LogSource>,
}

/// What is written about an exception.
#[derive(Clone, Debug, Serialize)]
pub struct ExceptionInfo {
    /// The filter's `name`, else its `id`, else its file's stem.
    pub name: Name,
    /// For people.
    pub title: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
    /// From this moment on it holds nothing back.
    pub expires: Timestamp,
    /// Where it is written, `file:line:column`.
    pub place: String,
    /// The file alone.
    pub file: PathBuf,
    /// The rules that it is about.
    pub rules: Vec<Name>,
}

impl Exception {
    /// Compiles an exception; all that is missing or wrong is said at once.
    pub(super) fn compile(read: &Read, filter: &FilterRule, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut wrong = Vec::new();
        let mut required = |key: &str| -> Option<(String, Span)> {
            let (text, span) = match read.marked.text(&[key]) {
                Some((text, span)) if !text.trim().is_empty() => (text.trim().to_owned(), span),
                Some((_, span)) => {
                    wrong.push(read.mistake(MistakeLevel::Error, span, format!("`{key}` is empty")));
                    return None;
                }
                None => {
                    let near: Vec<&str> = read.marked.keys().filter(|known| !KEYS.contains(known)).collect();
                    let what = format!("an exception needs `{key}`");
                    let mistake = read.mistake(MistakeLevel::Error, read.marked.start(), what);
                    wrong.push(mistake.expected("owner, reason and expires").nearest(key, near));
                    return None;
                }
            };
            Some((text, span))
        };
        let owner = required("owner");
        let reason = required("reason");
        let expires = required("expires").and_then(|(text, span)| {
            let end = end_of(&text);
            if end.is_none() {
                let what = format!("`{text}` is no date");
                let mistake = read.mistake(MistakeLevel::Error, span, what);
                wrong.push(mistake.expected("a date (2027-03-31) or a moment (2027-03-31T12:00:00Z)"));
            }
            end
        });
        let passes = rsigma_eval::compile_rule(&as_rule(filter))
            .map_err(|error| wrong.push(read.placed(MistakeLevel::Error, &error.to_string())))
            .ok();
        let failed = !wrong.is_empty();
        mistakes.append(&mut wrong);
        if failed {
            return None;
        }
        let name = filter.name.as_ref().or(filter.id.as_ref()).unwrap_or(&read.stem);
        Some(Self {
            info: ExceptionInfo {
                name: name.as_str().into(),
                title: filter.title.clone(),
                owner: owner?.0,
                reason: reason?.0,
                expires: expires?,
                place: Mistake::error(&read.file, read.marked.start(), "").place(),
                file: read.file.clone(),
                rules: Vec::new(),
            },
            passes: passes?,
            targets: filter.rules.clone(),
            logsource: filter.logsource.clone(),
        })
    }

    /// Whether it is about the rule that goes by these names. A correlation has no logsource: it is meant only by name.
    pub(super) fn is_about(&self, names: &HashSet<&str>, logsource: Option<&LogSource>) -> bool {
        let named = match &self.targets {
            FilterRuleTarget::Any => logsource.is_some(),
            FilterRuleTarget::Specific(wanted) => wanted.iter().any(|name| names.contains(name.as_str())),
        };
        let Some(logsource) = logsource else { return named };
        let within = |wanted: &Option<String>, has: &Option<String>| match (wanted, has) {
            (None, _) => true,
            (Some(wanted), Some(has)) => wanted.eq_ignore_ascii_case(has),
            (Some(_), None) => false,
        };
        named
            && self.logsource.as_ref().is_none_or(|wanted| {
                within(&wanted.category, &logsource.category)
                    && within(&wanted.product, &logsource.product)
                    && within(&wanted.service, &logsource.service)
            })
    }

    /// The rules that it names and that were not there.
    pub(super) fn targets(&self) -> &[String] {
        match &self.targets {
            FilterRuleTarget::Any => &[],
            FilterRuleTarget::Specific(names) => names,
        }
    }

    /// Whether it holds this event back; the expiry is the caller's to ask about.
    pub(super) fn holds(&self, event: &impl rsigma_eval::Event) -> bool {
        rsigma_eval::evaluate_rule(&self.passes, event).is_none()
    }
}

/// A filter's condition as a rule: it matches what the filter lets through (`not selection`).
fn as_rule(filter: &FilterRule) -> SigmaRule {
    let mut detection = filter.detection.clone();
    keywords::unbind(&mut detection);
    SigmaRule {
        title: filter.title.clone(),
        logsource: LogSource::default(),
        detection,
        sigma_version: filter.sigma_version,
        id: None,
        name: None,
        related: Vec::new(),
        taxonomy: None,
        status: None,
        description: None,
        license: None,
        author: None,
        references: Vec::new(),
        date: None,
        modified: None,
        fields: Vec::new(),
        falsepositives: Vec::new(),
        level: None,
        tags: Vec::new(),
        scope: Vec::new(),
        custom_attributes: Default::default(),
    }
}

/// A date's end, or the moment itself.
fn end_of(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    end_of_day(text.parse().ok()?)
}

/// The moment from which an exception that ends with this day holds no more; none: it is past all moments.
#[must_use]
pub fn end_of_day(day: Date) -> Option<Timestamp> {
    Some(day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
