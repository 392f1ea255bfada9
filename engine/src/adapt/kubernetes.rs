//! Kubernetes audit: what was asked of an API server.
//!
//! Fields stay under the names of `audit.k8s.io/v1` (kubernetes.io, "kube-apiserver Audit Configuration"), dotted for
//! nesting. Each stage of a request is an event of its own. Some of SigmaHQ's rules say `apiGroup` for
//! `objectRef.apiGroup`: it stands under both names.

use super::reader::Wrong;
use super::record::{Foreign, id_of, logsource, principal, text};
use jiff::Timestamp;
use quell_model::{EventId, Json, Name, OwnedEvent};
use serde_json::json;

/// Reads one audit event.
pub(super) fn read(mut record: serde_json::Map<String, Json>) -> Result<OwnedEvent, Wrong> {
    let time = ["stageTimestamp", "requestReceivedTimestamp", "timestamp"].iter().find_map(|key| text(&record, key));
    let Some(time) = time else {
        return Err(Wrong::new("is no Kubernetes audit event: it has no `stageTimestamp`"));
    };
    let at: Timestamp = time
        .parse()
        .map_err(|_| Wrong::new(format!("has a time that is none: `{time}`")).expected("2026-01-31T12:00:00Z"))?;
    let node = Name::from(text(&record, "clusterName").unwrap_or("kubernetes"));
    let who =
        text(&record, "impersonatedUser.username").or_else(|| text(&record, "user.username")).unwrap_or("unknown");
    let (subject, entity) = principal(who, &node);
    let verb = text(&record, "verb").unwrap_or_default();
    let action = match (text(&record, "objectRef.resource"), text(&record, "objectRef.subresource")) {
        (Some(resource), Some(sub)) => format!("{verb} {resource}/{sub}"),
        (Some(resource), None) => format!("{verb} {resource}"),
        (None, _) => format!("{verb} {}", text(&record, "requestURI").unwrap_or_default()),
    };
    let address = record.get("sourceIPs").and_then(|list| list.get(0)).and_then(Json::as_str);
    let own = json!({
        "actor": text(&record, "user.username"),
        "cloud": { "account": node, "principal": who, "action": action.trim(), "source_ip": address },
    });
    let id: EventId = match (text(&record, "auditID"), text(&record, "stage")) {
        (Some(id), Some(stage)) => format!("{id}/{stage}").into(),
        (Some(id), None) => id.into(),
        _ => id_of("kubernetes", &Json::Object(record.clone()).to_string()),
    };
    if let Some(group) = text(&record, "objectRef.apiGroup").map(str::to_owned) {
        record.entry("apiGroup").or_insert(Json::String(group));
    }
    let Json::Object(own) = own else { return Err(Wrong::new("is no record")) };
    let logsource = logsource(Some("application"), Some("kubernetes"), Some("audit"));
    Ok(Foreign { id, source: "kubernetes", node, at, logsource, subject, entity, own }.event(record))
}
