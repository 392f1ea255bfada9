//! What names one event for good: a text, which is written only when somebody reads it.
//!
//! Owns the form of the ids that the sensor gives, `e-BOOT-AT-TIDk`. Keeps true: an id from parts and an id from their text
//! are the same in every way but `parts`.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// Names one event for good; equal events replayed have equal ids.
#[derive(Clone)]
pub struct EventId {
    text: OnceLock<Arc<str>>,
    parts: Option<EventIdParts>,
}

/// Which event of a kernel an id names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventIdParts {
    /// `e-` and the beginning of the boot id.
    pub prefix: Arc<str>,
    /// When it happened, in ns since boot.
    pub at: u64,
    /// In which thread.
    pub tid: u32,
    /// Which of the events that one thread has in one moment: a small letter.
    pub kind: u8,
}

impl fmt::Display for EventIdParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}-{:x}{}", self.prefix, self.at, self.tid, char::from(self.kind))
    }
}

impl EventId {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.get_or_init(|| self.parts.as_ref().map(ToString::to_string).unwrap_or_default().into())
    }

    /// What it is made of, if it was made of parts.
    #[must_use]
    pub fn parts(&self) -> Option<&EventIdParts> {
        self.parts.as_ref()
    }
}

impl From<EventIdParts> for EventId {
    fn from(parts: EventIdParts) -> Self {
        Self { text: OnceLock::new(), parts: Some(parts) }
    }
}

impl From<&str> for EventId {
    fn from(text: &str) -> Self {
        Self { text: Arc::<str>::from(text).into(), parts: None }
    }
}

impl From<String> for EventId {
    fn from(text: String) -> Self {
        Self { text: Arc::<str>::from(text).into(), parts: None }
    }
}

impl PartialEq for EventId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for EventId {}

impl PartialOrd for EventId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EventId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for EventId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl AsRef<str> for EventId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for EventId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Arc::<str>::deserialize(deserializer).map(|text| Self { text: text.into(), parts: None })
    }
}

impl JsonSchema for EventId {
    fn schema_name() -> Cow<'static, str> {
        "EventId".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_id_from_parts_is_its_text() {
        let parts = EventIdParts { prefix: "e-1f2e3d4c".into(), at: 0xabc, tid: 0x1f, kind: b'b' };
        let made = EventId::from(parts.clone());
        let text = EventId::from("e-1f2e3d4c-abc-1fb");
        assert_eq!(made, text);
        assert_eq!(made.as_str(), "e-1f2e3d4c-abc-1fb");
        assert_eq!((made.parts(), text.parts()), (Some(&parts), None));
        assert!(HashSet::from([made.clone()]).contains("e-1f2e3d4c-abc-1fb"));
        assert_eq!(serde_json::to_string(&made).unwrap(), "\"e-1f2e3d4c-abc-1fb\"");
        assert_eq!(serde_json::from_str::<EventId>("\"e-1f2e3d4c-abc-1fb\"").unwrap(), made);
    }
}
