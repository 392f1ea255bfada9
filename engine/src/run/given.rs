//! What a person gives a run that they start by hand: an event and inputs, and how much of them is taken.
//!
//! Owns the bounds and their words. Every door to [`super::Request::Start`] asks here first, so that the engine's thread has not
//! to measure what somebody sent. Keeps true: what is taken can be written into the journal and read again.

use crate::playbook::DEEPEST;
use quell_model::{Json, OwnedEvent};

/// So many bytes the event, and the inputs, may have as JSON: each stands in the run's first record, which every view of the run
/// reads.
const LARGEST: usize = 1 << 20;

/// Why it is not taken, if so.
#[must_use]
pub fn refused(event: Option<&OwnedEvent>, inputs: &Json) -> Option<String> {
    let event = event.map(serde_json::to_value).transpose();
    match event {
        Ok(event) => event.and_then(|event| wrong("`event`", &event)).or_else(|| wrong("`inputs`", inputs)),
        Err(error) => Some(format!("`event` cannot be written: {error}")),
    }
}

/// What is said of text that nests too deep to be read at all; none: something else is wrong with it.
#[must_use]
pub fn too_deep(what: &str, error: &serde_json::Error) -> Option<String> {
    error.to_string().starts_with("recursion limit exceeded").then(|| deep(what))
}

fn wrong(what: &str, value: &Json) -> Option<String> {
    if is_deeper(value, DEEPEST) {
        return Some(deep(what));
    }
    let long = serde_json::to_vec(value).map_or(usize::MAX, |text| text.len());
    (long > LARGEST).then(|| format!("{what} has {long} bytes as JSON; the most is {LARGEST}"))
}

fn deep(what: &str) -> String {
    format!("{what} nests deeper than {DEEPEST}")
}

/// Whether something stands below more than so many lists and maps.
fn is_deeper(value: &Json, than: usize) -> bool {
    let Some(left) = than.checked_sub(1) else { return matches!(value, Json::Array(_) | Json::Object(_)) };
    match value {
        Json::Array(list) => list.iter().any(|one| is_deeper(one, left)),
        Json::Object(map) => map.values().any(|one| is_deeper(one, left)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nested(deep: usize) -> Json {
        (0..deep).fold(json!(1), |inner, at| if at % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) })
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused_and_the_most_is_taken() {
        assert_eq!(refused(None, &nested(64)), None);
        assert_eq!(refused(None, &nested(65)), Some("`inputs` nests deeper than 64".to_owned()));
        let text = |long: usize| json!({ "a": "x".repeat(long - 8) });
        assert_eq!(refused(None, &text(LARGEST)), None);
        let said = refused(None, &text(LARGEST + 1)).unwrap();
        assert_eq!(said, "`inputs` has 1048577 bytes as JSON; the most is 1048576");
        let unreadable = serde_json::from_str::<Json>(&"[".repeat(1000)).unwrap_err();
        assert_eq!(too_deep("`inputs`", &unreadable), refused(None, &nested(65)));
        assert_eq!(too_deep("`inputs`", &serde_json::from_str::<Json>("[").unwrap_err()), None);
    }

    #[test]
    fn an_event_has_the_same_bounds() {
        let line = |own: &Json| -> OwnedEvent {
            let at = json!({ "wall": "2026-01-01T00:00:00Z", "boot_ns": 0 });
            let text = json!({
                "v": 1, "id": "e-1", "class": "record", "source": "test", "node": "n", "at": at, "seen": at, "logsource": {},
                "sigma": {}, "own": own, "subject": "unknown", "entity": { "kind": "node", "id": "n", "node": "n" },
            });
            serde_json::from_value(text.clone()).unwrap_or_else(|error| panic!("{error}: {text}"))
        };
        assert_eq!(refused(Some(&line(&json!({ "a": 1 }))), &json!({})), None);
        let said = refused(Some(&line(&json!({ "a": nested(63) }))), &json!({}));
        assert_eq!(said, Some("`event` nests deeper than 64".to_owned()));
    }
}
