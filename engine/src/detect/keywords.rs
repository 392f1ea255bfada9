//! Keywords as Sigma means them: words that stand somewhere in a record.
//!
//! rsigma looks at one value of an event at a time: a keyword with wildcards has to fill the whole value, and those
//! under `|all` all have to be equal to one and the same value, which no two are. Here they are rewritten before they
//! are compiled, so that each may stand anywhere in any value.

use rsigma_parser::value::{SigmaString, SpecialChar, StringPart};
use rsigma_parser::{Detection, DetectionItem, Detections, Modifier, SigmaValue};

/// Rewrites the keywords of a rule or a filter.
pub(super) fn unbind(detections: &mut Detections) {
    detections.named.values_mut().for_each(rewrite);
}

fn rewrite(detection: &mut Detection) {
    match detection {
        Detection::Keywords(values) => values.iter_mut().for_each(open),
        Detection::AllOf(items) if items.iter().any(is_all_of) => {
            let parts = std::mem::take(items).into_iter().flat_map(|item| {
                if is_all_of(&item) {
                    item.values.into_iter().map(alone).collect()
                } else {
                    vec![Detection::AllOf(vec![item])]
                }
            });
            *detection = Detection::And(parts.collect());
        }
        Detection::AnyOf(list) | Detection::And(list) => list.iter_mut().for_each(rewrite),
        Detection::AllOf(_) | Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {}
    }
}

/// A list of keywords under `|all`.
fn is_all_of(item: &DetectionItem) -> bool {
    let plain = |modifier: &Modifier| matches!(modifier, Modifier::All | Modifier::Contains);
    item.field.name.is_none() && item.field.has_modifier(Modifier::All) && item.field.modifiers.iter().all(plain)
}

fn alone(mut value: SigmaValue) -> Detection {
    open(&mut value);
    Detection::Keywords(vec![value])
}

/// Lets anything stand before and after.
fn open(value: &mut SigmaValue) {
    match value {
        SigmaValue::String(text) if !text.is_plain() => {
            let any = || StringPart::Special(SpecialChar::WildcardMulti);
            if text.parts.first() != Some(&any()) {
                text.parts.insert(0, any());
            }
            if text.parts.last() != Some(&any()) {
                text.parts.push(any());
            }
        }
        SigmaValue::Integer(number) => *value = SigmaValue::String(SigmaString::new(&number.to_string())),
        _ => {}
    }
}
