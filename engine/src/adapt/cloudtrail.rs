//! CloudTrail: what AWS says was done in an account.
//!
//! Fields stay under CloudTrail's names (docs.aws.amazon.com, "CloudTrail record contents"), dotted for nesting. The
//! subject is the calling identity, as precisely as the record names it.

use super::reader::Wrong;
use super::record::{Foreign, id_of, logsource, principal, text};
use jiff::Timestamp;
use quell_model::{Json, Name, OwnedEvent};
use serde_json::json;

/// Reads one record.
pub(super) fn read(record: serde_json::Map<String, Json>) -> Result<OwnedEvent, Wrong> {
    let Some(time) = text(&record, "eventTime") else {
        return Err(Wrong::new("is no CloudTrail record: it has no `eventTime`"));
    };
    let at: Timestamp = time.parse().map_err(|_| {
        Wrong::new(format!("has an `eventTime` that is no time: `{time}`")).expected("2026-01-31T12:00:00Z")
    })?;
    let account = text(&record, "recipientAccountId").or_else(|| text(&record, "userIdentity.accountId"));
    let node = Name::from(account.unwrap_or("aws"));
    let who = ["arn", "userName", "principalId", "invokedBy", "type"]
        .iter()
        .find_map(|part| text(&record, &format!("userIdentity.{part}")))
        .unwrap_or("unknown");
    let (subject, entity) = principal(who, &node);
    let own = json!({
        "actor": who,
        "cloud": {
            "account": account,
            "region": text(&record, "awsRegion"),
            "principal": who,
            "action": text(&record, "eventName"),
            "source_ip": text(&record, "sourceIPAddress"),
        }
    });
    let id = match text(&record, "eventID") {
        Some(id) => id.into(),
        None => id_of("cloudtrail", &Json::Object(record.clone()).to_string()),
    };
    let Json::Object(own) = own else { return Err(Wrong::new("is no record")) };
    let logsource = logsource(None, Some("aws"), Some("cloudtrail"));
    Ok(Foreign { id, source: "cloudtrail", node, at, logsource, subject, entity, own }.event(record))
}
