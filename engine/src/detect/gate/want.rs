//! What must hold of an event before a rule can match it: a tree of simple facts, read off the compiled rule.
//!
//! Owns the reading of rsigma's compiled form, and may only ever weaken: [`Want::Anything`] is always right, a fact that
//! does not follow from the rule would lose detections. So everything that is not understood is `Anything`, and so is every
//! negation.

use super::literal;
use rsigma_eval::matcher::GroupMode;
use rsigma_eval::{CompiledDetection, CompiledDetectionItem, CompiledMatcher, CompiledRule};
use rsigma_parser::{ConditionExpr, Quantifier};
use std::collections::HashMap;

/// Repetitions are looked for among so many; they do no harm.
const FEW: usize = 64;

/// A shorter text stands in nearly every command line.
pub(super) const SHORTEST: usize = 2;

/// Fields that the sensor has to ask for elsewhere: only a rule that needs nothing else any more may do that.
const ASKED_FOR: &[&str] =
    &["process.stdio.relay", "network.feeds_shell", "network.shell", "process.confinement.label"];

/// A necessary condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Want {
    /// Nothing is known.
    Anything,
    /// The text of the field holds this, which is ASCII in lower case. Without a field: some text of the event does.
    Text {
        /// The name that rules use.
        field: Option<String>,
        /// What it holds.
        needle: String,
    },
    /// The field has this value.
    Flag {
        /// The name that rules use.
        field: String,
        /// Which value.
        value: bool,
    },
    /// A text of the field has at least so many bytes.
    Long {
        /// The name that rules use.
        field: String,
        /// How many.
        bytes: usize,
    },
    /// Each of these.
    All(Vec<Want>),
    /// At least one of these.
    Any(Vec<Want>),
}

impl Want {
    /// Each of these; what says nothing falls out.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut out = Vec::new();
        for part in parts {
            match part {
                Self::Anything => {}
                Self::All(inner) => out.extend(inner),
                other if out.len() < FEW && out.contains(&other) => {}
                other => out.push(other),
            }
        }
        match out.len() {
            0 => Self::Anything,
            1 => out.remove(0),
            _ => Self::All(out),
        }
    }

    /// One of these; one that says nothing makes all of it say nothing, and so do none.
    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut out = Vec::new();
        for part in parts {
            match part {
                Self::Anything => return Self::Anything,
                Self::Any(inner) => out.extend(inner),
                other if out.len() < FEW && out.contains(&other) => {}
                other => out.push(other),
            }
        }
        match out.len() {
            0 => Self::Anything,
            1 => out.remove(0),
            _ => Self::Any(out),
        }
    }

    /// The field holds this text. What is not ASCII, or too short, says nothing.
    pub(super) fn text(field: Option<&str>, text: &str) -> Self {
        if text.len() < SHORTEST || !text.is_ascii() {
            return Self::Anything;
        }
        Self::Text { field: field.map(str::to_owned), needle: text.to_ascii_lowercase() }
    }

    /// Of a whole rule: any of its conditions makes it match.
    pub(super) fn of(rule: &CompiledRule) -> Self {
        Self::any(rule.conditions.iter().map(|condition| of_condition(condition, &rule.detections)))
    }
}

fn of_condition(condition: &ConditionExpr, detections: &HashMap<String, CompiledDetection>) -> Want {
    match condition {
        ConditionExpr::Identifier(name) => detections.get(name).map_or(Want::Anything, of_detection),
        ConditionExpr::And(parts) => Want::all(parts.iter().map(|part| of_condition(part, detections))),
        ConditionExpr::Or(parts) => Want::any(parts.iter().map(|part| of_condition(part, detections))),
        ConditionExpr::Not(_) => Want::Anything,
        ConditionExpr::Selector { quantifier, pattern } => {
            let chosen = detections.iter().filter(|(name, _)| pattern.matches_detection_name(name));
            let wants = chosen.map(|(_, detection)| of_detection(detection));
            match quantifier {
                Quantifier::Any => Want::any(wants),
                Quantifier::All => Want::all(wants),
                Quantifier::Count(0) => Want::Anything,
                Quantifier::Count(_) => Want::any(wants),
            }
        }
    }
}

fn of_detection(detection: &CompiledDetection) -> Want {
    match detection {
        CompiledDetection::AllOf(items) => Want::all(items.iter().map(of_item)),
        CompiledDetection::AnyOf(parts) => Want::any(parts.iter().map(of_detection)),
        CompiledDetection::And(parts) => Want::all(parts.iter().map(of_detection)),
        CompiledDetection::Keywords(matcher) => of_matcher(None, matcher),
        CompiledDetection::ArrayMatch { .. } | CompiledDetection::Conditional { .. } => Want::Anything,
    }
}

fn of_item(item: &CompiledDetectionItem) -> Want {
    let field = item.field.as_deref();
    let dear = field.is_some_and(|field| ASKED_FOR.iter().any(|dear| field.starts_with(dear)));
    if item.exists.is_some() || dear { Want::Anything } else { of_matcher(field, &item.matcher) }
}

fn of_matcher(field: Option<&str>, matcher: &CompiledMatcher) -> Want {
    let inner = |matchers: &[CompiledMatcher]| matchers.iter().map(|m| of_matcher(field, m)).collect::<Vec<_>>();
    match matcher {
        CompiledMatcher::Exact { value, .. }
        | CompiledMatcher::Contains { value, .. }
        | CompiledMatcher::StartsWith { value, .. }
        | CompiledMatcher::EndsWith { value, .. } => Want::text(field, value),
        CompiledMatcher::AhoCorasickSet { needles, .. } => Want::any(needles.iter().map(|n| Want::text(field, n))),
        CompiledMatcher::Regex(regex) => literal::of_regex(field, regex.as_str()),
        CompiledMatcher::RegexSetMatch { set, mode } => {
            let wants = set.patterns().iter().map(|pattern| literal::of_regex(field, pattern));
            match mode {
                GroupMode::Any => Want::any(wants),
                GroupMode::All => Want::all(wants),
            }
        }
        CompiledMatcher::BoolEq(value) => match field {
            Some(field) => Want::Flag { field: field.to_owned(), value: *value },
            None => Want::Anything,
        },
        CompiledMatcher::AnyOf(matchers)
        | CompiledMatcher::CaseInsensitiveGroup { children: matchers, mode: GroupMode::Any } => {
            Want::any(inner(matchers))
        }
        CompiledMatcher::AllOf(matchers)
        | CompiledMatcher::CaseInsensitiveGroup { children: matchers, mode: GroupMode::All } => {
            Want::all(inner(matchers))
        }
        CompiledMatcher::Cidr(_)
        | CompiledMatcher::NumericEq(_)
        | CompiledMatcher::NumericGt(_)
        | CompiledMatcher::NumericGte(_)
        | CompiledMatcher::NumericLt(_)
        | CompiledMatcher::NumericLte(_)
        | CompiledMatcher::Exists(_)
        | CompiledMatcher::FieldRef { .. }
        | CompiledMatcher::Null
        | CompiledMatcher::Expand { .. }
        | CompiledMatcher::TimestampPart { .. }
        | CompiledMatcher::Not(_) => Want::Anything,
    }
}
