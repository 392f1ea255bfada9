//! Kubernetes audit: what was asked of an API server.
//!
//! Fields stay under the names of `audit.k8s.io/v1` (kubernetes.io, "kube-apiserver Audit Configuration"), dotted for
//! nesting. Each stage of a request is an event of its own. Some of SigmaHQ's rules say `apiGroup` for
//! `objectRef.apiGroup`: it stands under both names. Says also to which pod something was done, of which pod the token was that
//! it was done with, and what rules would have to search for: the node's directories that are mounted, the path behind a `proxy`.
//!
//! Keeps true: it is about who was authenticated, whomever they act as. An event's id is of all that the record says. `auditID` alone is no id: an API server takes it from the header
//! `Audit-ID` of whoever asks, and who gives two requests the same would hide the second behind the first.

mod host_paths;
mod proxied;

use super::cut::MARK;
use super::reader::Wrong;
use super::record::{Foreign, id_of, logsource, principal, text};
use jiff::Timestamp;
use proxied::Proxied;
use quell_model::{EventId, Hash, Json, Name, OwnedEvent};
use serde_json::json;

type Record = serde_json::Map<String, Json>;

/// What an API server writes beside a user whose token belongs to a pod (since 1.30 always for the tokens of pods).
const TOKEN_POD: &str = "authentication.kubernetes.io/pod-";

/// Reads one audit event. Of one that is cut short, `whole` is the sum of all that it said.
pub(super) fn read(mut record: Record, whole: Option<Hash>) -> Result<OwnedEvent, Wrong> {
    let time = ["stageTimestamp", "requestReceivedTimestamp", "timestamp"].iter().find_map(|key| text(&record, key));
    let Some(time) = time else {
        return Err(Wrong::new("is no Kubernetes audit event: it has no `stageTimestamp`"));
    };
    let at: Timestamp = time
        .parse()
        .map_err(|_| Wrong::new(format!("has a time that is none: `{time}`")).expected("2026-01-31T12:00:00Z"))?;
    let node = Name::from(text(&record, "clusterName").unwrap_or("kubernetes"));
    let who = text(&record, "user.username").unwrap_or("unknown");
    let (subject, entity) = principal(who, &node);
    let verb = text(&record, "verb").unwrap_or_default();
    let action = match (text(&record, "objectRef.resource"), text(&record, "objectRef.subresource")) {
        (Some(resource), Some(sub)) => format!("{verb} {resource}/{sub}"),
        (Some(resource), None) => format!("{verb} {resource}"),
        (None, _) => format!("{verb} {}", text(&record, "requestURI").unwrap_or_default()),
    };
    // The last is the other end of the connection, which the server saw itself; those before it are what headers of whoever asks say.
    let address = record.get("sourceIPs").and_then(Json::as_array).and_then(|list| list.last()?.as_str());
    let proxied = Proxied::of(&record);
    let asked = record.get("requestObject");
    let own = json!({
        "actor": text(&record, "user.username"),
        "cloud": {
            "account": node, "principal": who, "acts_as": text(&record, "impersonatedUser.username"),
            "action": action.trim(), "object": name(&record), "source_ip": address, "pod": token_pod(&record, who),
            "path": proxied.as_ref().map(Proxied::path),
            "host_paths": asked.map(host_paths::of).filter(|paths| !paths.is_empty()),
            "truncated": is_truncated(&record),
        },
        "pod": pod(&record).or_else(|| proxied.as_ref()?.pod()),
    });
    let sum = match whole {
        Some(whole) => whole.short(32).into(),
        None => id_of("kubernetes", &serde_json::to_string(&record).unwrap_or_default()),
    };
    let id: EventId = match (text(&record, "auditID"), text(&record, "stage")) {
        (Some(id), Some(stage)) => format!("{id}/{stage}/{sum}").into(),
        (Some(id), None) => format!("{id}/{sum}").into(),
        _ => sum,
    };
    if let Some(group) = text(&record, "objectRef.apiGroup").map(str::to_owned) {
        record.entry("apiGroup").or_insert(Json::String(group));
    }
    let Json::Object(own) = own else { return Err(Wrong::new("is no record")) };
    let logsource = logsource(Some("application"), Some("kubernetes"), Some("audit"));
    Ok(Foreign { id, source: "kubernetes", node, at, logsource, subject, entity, own }.event(record))
}

/// Whether what was asked and answered was left out, for its size.
fn is_truncated(record: &Record) -> bool {
    record.get("annotations").and_then(|all| all.get(MARK)).is_some_and(|mark| mark == "true")
}

/// What it was done to. Where the server made the name (`generateName`), only the answer has it.
fn name(record: &Record) -> Option<&str> {
    let answered =
        record.get("responseObject").filter(|object| object.get("kind").is_some_and(|kind| kind != "Status"));
    text(record, "objectRef.name").or_else(|| {
        let name = answered?.get("metadata")?.get("name")?.as_str()?;
        (!name.is_empty()).then_some(name)
    })
}

/// The one pod that was asked about. Its name may be the server's own (`generateName`), and then only the answer has it.
fn pod(record: &Record) -> Option<Json> {
    let is_pods = text(record, "objectRef.resource") == Some("pods") && text(record, "objectRef.apiGroup").is_none();
    if !is_pods {
        return None;
    }
    let objects: Vec<&Json> = ["responseObject", "requestObject"]
        .iter()
        .filter_map(|object| record.get(*object))
        .filter(|object| object.get("kind").and_then(Json::as_str) == Some("Pod"))
        .collect();
    let of_object = |path: [&str; 2]| objects.iter().find_map(|object| object.get(path[0])?.get(path[1]));
    let named = |key: &str, path: [&str; 2]| {
        text(record, key).map(Json::from).or_else(|| of_object(path).filter(|value| value.is_string()).cloned())
    };
    let namespace = named("objectRef.namespace", ["metadata", "namespace"])?;
    let name = named("objectRef.name", ["metadata", "name"])?;
    Some(json!({
        "namespace": namespace,
        "name": name,
        "uid": uid(record),
        "labels": of_object(["metadata", "labels"]),
        "node": of_object(["spec", "nodeName"]),
        "service_account": of_object(["spec", "serviceAccountName"]),
    }))
}

/// Which pod it is, by the server's word alone: what was made has its uid in the answer, and whoever asks may write any into what they send, from
/// where the server copies it into `objectRef`.
fn uid(record: &Record) -> Option<Json> {
    let answered =
        record.get("responseObject").filter(|object| object.get("kind").and_then(Json::as_str) == Some("Pod"));
    let of_answer =
        answered.and_then(|object| object.get("metadata")?.get("uid")).filter(|uid| uid.is_string()).cloned();
    let is_made = text(record, "verb") == Some("create") && text(record, "objectRef.subresource").is_none();
    of_answer.or_else(|| text(record, "objectRef.uid").filter(|_| !is_made).map(Json::from))
}

/// The pod whose token it was done with, as far as the token says.
fn token_pod(record: &Record, who: &str) -> Option<Json> {
    let user = record.get("user")?;
    // system:serviceaccount:NAMESPACE:NAME; a pod's token is of the pod's namespace.
    let namespace = who.strip_prefix("system:serviceaccount:")?.split(':').next()?;
    let extra = |key: &str| user.get("extra")?.get(format!("{TOKEN_POD}{key}"))?.get(0)?.as_str();
    Some(json!({ "namespace": namespace, "name": extra("name")?, "uid": extra("uid") }))
}
