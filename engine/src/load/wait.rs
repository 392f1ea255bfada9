//! A step that waits: its keys.
//!
//! Owns the defaults. Which detections there are is the check's to say, as for a trigger.

use super::found::{self, Found, Stands};
use super::reader::Reader;
use super::trigger::{self, TriggerPlaces};
use super::yaml::{Node, Value};
use quell_model::playbook::{Wait, WaitUntil};
use std::time::Duration;

/// How long a detection is waited for where nothing else is said.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(15 * 60);
pub(crate) const KEYS: &[&str] = &["until", "timeout", "anywhere"];
/// What a detection must be: `rules`, `tags` and `level` as in a trigger.
pub(crate) const UNTIL: &[&str] = &["rules", "tags", "level", "if"];

/// Reads `wait`: a time, or a detection.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    stands: Stands,
    places: &mut TriggerPlaces,
    out: &mut Vec<Found>,
) -> Option<Wait> {
    if !matches!(node.value, Value::Map(_)) {
        return reader.duration(node, "`wait`").map(Wait::For);
    }
    let fields = reader.fields(node, "`wait`", KEYS, &[])?;
    let timeout = match fields.get("timeout") {
        Some(node) => reader.duration(node, "`timeout`"),
        None => Some(TIMEOUT),
    };
    let anywhere = fields.get("anywhere").and_then(|node| reader.bool(node, "`anywhere`")).unwrap_or_default();
    let Some(node) = fields.get("until") else {
        reader.error(fields.at, "`wait` without `until`", "`wait: 5m`, or `until: { rules: [a-rule] }` in it");
        return None;
    };
    let until = reader.fields(node, "`until`", UNTIL, &[])?;
    let detections = trigger::filter(reader, &until, places);
    let inside = match stands {
        Stands::Step { step, item } => Stands::Until { step, item },
        other => other,
    };
    let condition = until.get("if").and_then(|node| found::condition(reader, node, inside, out));
    if until.present(UNTIL).is_empty() {
        reader.warning(node.at, "every detection of any level ends this wait", "`rules`, `tags`, a `level` or an `if`");
    }
    Some(Wait::Until(Box::new(WaitUntil { detections, condition, timeout: timeout?, anywhere })))
}
