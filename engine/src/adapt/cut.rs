//! An audit record that is too large → what can be kept of it, as an API server cuts its own.
//!
//! Owns what is left out: the objects (kube-apiserver's `--audit-webhook-truncate-enabled` leaves out the same two, and marks the record with
//! the same annotation), and whatever else of it is large, since whoever asks chooses how long their `requestURI` is. Keeps true: who asked
//! for what stays, so that nobody hides from the rules by the size of what they send.

use super::items::{Member, members};
use super::lines::LARGEST_EVENT;
use super::weight::{HEAVIEST_EVENT, weight};
use quell_model::Json;
use serde::de::IgnoredAny;

/// How an API server marks a record whose objects were left out (k8s.io/apiserver, plugin/pkg/audit/truncate).
pub(super) const MARK: &str = "audit.k8s.io/truncated";
/// What is left out first.
const OBJECTS: [&str; 2] = ["requestObject", "responseObject"];
/// Of the other parts none is larger: a user's groups and claims, a long address.
const PART: usize = 64 * 1024;
/// So much is kept of a text that is.
const TEXT: usize = 16 * 1024;
/// What a part weighs beside what it says.
const OF_A_PART: usize = 256;

/// The record without what is large in it; none where it is no object, or has too many parts even so.
pub(super) fn cut(raw: &[u8]) -> Option<serde_json::Map<String, Json>> {
    serde_json::from_slice::<IgnoredAny>(raw).ok()?;
    let (mut record, mut bytes, mut heavy) = (serde_json::Map::new(), 0, 0);
    for Member { key, value } in members(raw).filter(|member| !OBJECTS.contains(&member.key.as_str())) {
        let part = &raw[value];
        let value = if part.len() <= PART {
            (bytes, heavy) = (bytes + key.len() + part.len(), heavy + key.len() + weight(part) + OF_A_PART);
            if bytes > LARGEST_EVENT || heavy > HEAVIEST_EVENT {
                return None;
            }
            serde_json::from_slice(part).ok()?
        } else if part.starts_with(b"\"") {
            (bytes, heavy) = (bytes + key.len() + TEXT, heavy + key.len() + TEXT + OF_A_PART);
            Json::String(beginning(serde_json::from_slice(part).ok()?))
        } else {
            continue;
        };
        record.insert(key, value);
    }
    let annotations = record.entry("annotations").or_insert_with(|| Json::Object(serde_json::Map::new()));
    if !annotations.is_object() {
        *annotations = Json::Object(serde_json::Map::new());
    }
    annotations[MARK] = "true".into();
    Some(record)
}

fn beginning(mut text: String) -> String {
    let end = (0..=TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text.shrink_to_fit();
    text
}
