//! What a rule needs, and whether anything that quell reads can give it.
//!
//! Owns the table of what each source gives. The answer errs to "may fire": a rule is called impossible only when no
//! choice of its condition can be true with the fields that the sources have.

use super::auditd;
use quell_model::{Class, fields};
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, LogSource, Modifier, Quantifier, SelectorPattern, SigmaRule,
    SigmaValue, detection_name_matches,
};
use serde::Serialize;
use std::collections::BTreeSet;

/// Where the events come from that a rule can match.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "from", content = "what")]
pub enum Given {
    /// The sensor on this host, whatever else.
    Sensor,
    /// Records of this kind, which are read where somebody brings them.
    Records(&'static str),
    /// The rule is about other rules.
    Rules,
    /// No source: why.
    Nobody(String),
}

/// Which fields a source has.
enum Fields {
    Any,
    /// Sigma's names of a class, and quell's own.
    Of(Class),
    /// auditd's records, made of the sensor's events.
    Clothes,
}

struct Source {
    given: Given,
    category: Option<&'static str>,
    product: &'static str,
    service: Option<&'static str>,
    fields: Fields,
}

/// One category of the sensor's.
const fn sensor(category: &'static str, class: Class) -> Source {
    let fields = Fields::Of(class);
    Source { given: Given::Sensor, category: Some(category), product: "linux", service: None, fields }
}

/// One kind of foreign records.
const fn records(
    what: &'static str,
    category: Option<&'static str>,
    product: &'static str,
    service: &'static str,
) -> Source {
    Source { given: Given::Records(what), category, product, service: Some(service), fields: Fields::Any }
}

const SOURCES: &[Source] = &[
    sensor("process_creation", Class::ProcessCreation),
    sensor("network_connection", Class::NetworkConnection),
    sensor("file_event", Class::FileEvent),
    sensor("file_access", Class::FileEvent),
    sensor("file_delete", Class::FileEvent),
    sensor("file_rename", Class::FileEvent),
    sensor("file_change", Class::FileEvent),
    sensor("process_fork", Class::ProcessFork),
    sensor("process_termination", Class::ProcessTermination),
    sensor("credentials", Class::Credentials),
    sensor("process_access", Class::ProcessAccess),
    sensor("loss", Class::Loss),
    Source { given: Given::Sensor, category: None, product: "linux", service: Some("auditd"), fields: Fields::Clothes },
    records("auditd's log", None, "linux", "auditd"),
    records("CloudTrail", None, "aws", "cloudtrail"),
    records("Kubernetes audit", Some("application"), "kubernetes", "audit"),
];

/// Every field that a rule names.
pub(super) fn fields_of(detection: &Detections) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for selection in detection.named.values() {
        visit(selection, &mut |item| {
            if let Some(name) = &item.field.name {
                names.insert(name.clone());
            }
        });
    }
    names
}

fn visit(detection: &Detection, each: &mut dyn FnMut(&DetectionItem)) {
    match detection {
        Detection::AllOf(items) => items.iter().for_each(each),
        Detection::AnyOf(list) | Detection::And(list) => list.iter().for_each(|one| visit(one, each)),
        Detection::Keywords(_) => {}
        Detection::ArrayMatch { body, .. } => visit(body, each),
        Detection::Conditional { named, .. } => named.values().for_each(|one| visit(one, each)),
    }
}

/// Who can give the events that this rule matches.
pub(super) fn given(rule: &SigmaRule) -> Given {
    let fits: Vec<&Source> = SOURCES.iter().filter(|source| source.fits(&rule.logsource)).collect();
    if fits.is_empty() {
        return Given::Nobody(format!("no source gives {}", describe(&rule.logsource)));
    }
    if let Some(source) = fits.iter().find(|source| source.may_fire(&rule.detection)) {
        return source.given.clone();
    }
    let missing: Vec<String> = fields_of(&rule.detection)
        .into_iter()
        .filter(|name| !fits.iter().any(|source| source.has(name)))
        .map(|name| format!("`{name}`"))
        .collect();
    Given::Nobody(match missing.as_slice() {
        [] => "no source gives the values that it asks for".into(),
        _ => format!("no source gives {}", missing.join(", ")),
    })
}

/// The classes of the events that a rule about this can match; none where it says nothing of their category, so that it
/// may be any.
pub(super) fn classes(logsource: &LogSource) -> Option<BTreeSet<Class>> {
    const CLOTHED: [Class; 3] = [Class::ProcessCreation, Class::FileEvent, Class::NetworkConnection];
    if logsource.category.is_none() && logsource.service.is_none() {
        return None;
    }
    let fits = SOURCES.iter().filter(|source| source.fits(logsource));
    Some(fits.fold(BTreeSet::new(), |mut all, source| {
        match source.fields {
            Fields::Any => all.extend([Class::Record]),
            Fields::Of(class) => all.extend([class]),
            Fields::Clothes => all.extend(CLOTHED),
        }
        all
    }))
}

/// A logsource as people write it.
pub(super) fn describe(logsource: &LogSource) -> String {
    let parts = [("category", &logsource.category), ("product", &logsource.product), ("service", &logsource.service)];
    let parts: Vec<String> =
        parts.iter().filter_map(|(name, part)| part.as_ref().map(|part| format!("{name} {part}"))).collect();
    if parts.is_empty() { "any logsource".into() } else { parts.join(", ") }
}

impl Source {
    fn fits(&self, rule: &LogSource) -> bool {
        let part = |wanted: &Option<String>, has: Option<&str>| match (wanted, has) {
            (None, _) => true,
            (Some(wanted), Some(has)) => wanted.eq_ignore_ascii_case(has),
            (Some(_), None) => false,
        };
        part(&rule.category, self.category)
            && part(&rule.product, Some(self.product))
            && part(&rule.service, self.service)
    }

    fn has(&self, field: &str) -> bool {
        match self.fields {
            Fields::Any => true,
            Fields::Of(class) => fields::sigma(class).contains(&field) || fields::is_known(class, field),
            Fields::Clothes => {
                let argument = field.strip_prefix('a').is_some_and(|n| n.parse::<u32>().is_ok());
                argument || auditd::FIELDS.contains(&field) || fields::is_known_anywhere(field)
            }
        }
    }

    fn may_fire(&self, detection: &Detections) -> bool {
        detection.conditions.is_empty()
            || detection.conditions.iter().any(|condition| self.may_hold(condition, detection))
    }

    fn may_hold(&self, condition: &ConditionExpr, detection: &Detections) -> bool {
        let named = |name: &str| detection.named.get(name).is_none_or(|one| self.may_match(one));
        match condition {
            ConditionExpr::And(parts) => parts.iter().all(|part| self.may_hold(part, detection)),
            ConditionExpr::Or(parts) => parts.iter().any(|part| self.may_hold(part, detection)),
            ConditionExpr::Not(_) => true,
            ConditionExpr::Identifier(name) => named(name),
            ConditionExpr::Selector { quantifier, pattern } => {
                let picked: Vec<bool> = detection
                    .named
                    .keys()
                    .filter(|name| match pattern {
                        SelectorPattern::Them => !name.starts_with('_'),
                        SelectorPattern::Pattern(pattern) => detection_name_matches(pattern, name),
                    })
                    .map(|name| named(name))
                    .collect();
                let may = picked.iter().filter(|may| **may).count();
                match quantifier {
                    Quantifier::Any => may > 0,
                    Quantifier::All => may == picked.len(),
                    Quantifier::Count(n) => u64::try_from(may).is_ok_and(|may| may >= *n),
                }
            }
        }
    }

    fn may_match(&self, detection: &Detection) -> bool {
        match detection {
            Detection::AllOf(items) => items.iter().all(|item| self.may_be(item)),
            Detection::AnyOf(list) => list.iter().any(|one| self.may_match(one)),
            Detection::And(list) => list.iter().all(|one| self.may_match(one)),
            Detection::Keywords(_) | Detection::Conditional { .. } => true,
            Detection::ArrayMatch { field, .. } => self.has(field),
        }
    }

    fn may_be(&self, item: &DetectionItem) -> bool {
        let Some(name) = &item.field.name else { return true };
        let absent = item.values.iter().any(|value| matches!(value, SigmaValue::Null));
        if absent || item.field.has_modifier(Modifier::Exists) || item.field.has_modifier(Modifier::Neq) {
            return true;
        }
        if !self.has(name) {
            return false;
        }
        let closed = match (&self.fields, name.as_str()) {
            (Fields::Clothes, "type") => auditd::TYPES,
            (Fields::Clothes, "SYSCALL" | "syscall") => auditd::SYSCALLS,
            _ => return true,
        };
        !item.field.modifiers.is_empty()
            || item.values.iter().any(|value| match value {
                SigmaValue::String(text) => {
                    text.as_plain().is_none_or(|text| closed.iter().any(|known| known.eq_ignore_ascii_case(&text)))
                }
                _ => false,
            })
    }
}
