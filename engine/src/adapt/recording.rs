//! quell's own recordings: an event a line, versioned.

use super::reader::Wrong;
use quell_model::event::EVENT_VERSION;
use quell_model::{Json, OwnedEvent};

/// Reads one event as it was recorded.
pub(super) fn read(object: serde_json::Map<String, Json>) -> Result<OwnedEvent, Wrong> {
    match object.get("v").and_then(Json::as_u64) {
        Some(version) if version == u64::from(EVENT_VERSION) => {}
        Some(version) => {
            return Err(Wrong::new(format!("was recorded in version {version}, which this quell does not read")));
        }
        None => return Err(Wrong::new("is no recorded event: it has no `v`")),
    }
    serde_json::from_value(Json::Object(object)).map_err(|error| Wrong::new(format!("is no recorded event: {error}")))
}
