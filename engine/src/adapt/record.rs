//! What the adapters of foreign records share: the event around a record.

use jiff::Timestamp;
use quell_model::event::EVENT_VERSION;
use quell_model::{Class, Entity, EventHead, EventId, Hash, Json, LogSource, Name, OwnedEvent, Stamp, Subject};

/// The parts of a foreign record that quell has words for.
pub(super) struct Foreign {
    pub(super) id: EventId,
    pub(super) source: &'static str,
    pub(super) node: Name,
    pub(super) at: Timestamp,
    pub(super) logsource: LogSource,
    pub(super) subject: Subject,
    pub(super) entity: Entity,
    pub(super) own: serde_json::Map<String, Json>,
}

impl Foreign {
    /// The event; the record stays under its own names.
    pub(super) fn event(self, record: serde_json::Map<String, Json>) -> OwnedEvent {
        let at = stamp(self.at);
        OwnedEvent {
            v: EVENT_VERSION,
            head: EventHead {
                id: self.id,
                class: Class::Record,
                source: self.source.into(),
                node: self.node,
                at,
                seen: at,
            },
            logsource: self.logsource,
            sigma: record,
            own: self.own,
            subject: self.subject,
            entity: self.entity,
        }
    }
}

/// A foreign record knows only the wall: spans between its events are told by that.
pub(super) fn stamp(wall: Timestamp) -> Stamp {
    Stamp { wall, boot_ns: u64::try_from(wall.as_nanosecond()).unwrap_or(0) }
}

/// The id of a record that has none: equal records are one event.
pub(super) fn id_of(source: &str, record: &str) -> EventId {
    Hash::of_parts(&[source.as_bytes(), record.as_bytes()]).short(32).into()
}

/// The text at a dotted path.
pub(super) fn text<'a>(record: &'a serde_json::Map<String, Json>, path: &str) -> Option<&'a str> {
    let mut parts = path.split('.');
    let mut at = record.get(parts.next()?)?;
    for part in parts {
        at = at.get(part)?;
    }
    at.as_str().filter(|text| !text.is_empty())
}

/// An incident about an identity.
pub(super) fn principal(name: &str, node: &Name) -> (Subject, Entity) {
    (Subject::Principal(name.into()), Entity { kind: "principal".into(), id: name.into(), node: node.clone() })
}

/// An incident about a machine.
pub(super) fn machine(node: &Name) -> Entity {
    Entity { kind: "node".into(), id: node.clone(), node: node.clone() }
}

/// A logsource of these parts.
pub(super) fn logsource(category: Option<&str>, product: Option<&str>, service: Option<&str>) -> LogSource {
    LogSource { category: category.map(Name::from), product: product.map(Name::from), service: service.map(Name::from) }
}
