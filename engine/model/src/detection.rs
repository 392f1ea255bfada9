//! A detection: an event, or several correlated, that a rule matched.
//!
//! Owns what is known of the match. What happens next is the trigger's.

use crate::Json;
use crate::event::{Entity, Event, Field, OwnedEvent, Subject};
use crate::hash::Hash;
use crate::ids::Name;
use crate::time::Stamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use utoipa::ToSchema;

/// Sigma's levels, ordered.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    #[default]
    Informational,
    /// Rarely worth a look.
    Low,
    /// Worth a look.
    Medium,
    /// Needs a person soon.
    High,
    /// Needs a person now.
    Critical,
}

impl Level {
    /// All levels, low to high.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Sigma's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no level; expected informational, low, medium, high or critical"))
    }
}

/// The rule that matched.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RuleRef {
    /// What playbooks call it: the rule's `name`, else its `id`, else its file's stem.
    pub name: Name,
    /// Sigma's id, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Name>,
    /// For people.
    pub title: Arc<str>,
    /// How bad.
    pub level: Level,
    /// ATT&CK and other tags, as written (`attack.t1059.004`).
    #[serde(default)]
    pub tags: Vec<Name>,
}

/// A field that the rule looked at, and the value that it matched.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MatchedField {
    /// As the rule names it.
    pub field: String,
    /// As the event has it.
    pub value: Json,
}

/// A match.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Detection {
    /// Equal causes give equal ids: the rule and its events.
    pub id: Hash,
    /// Which rule.
    pub rule: RuleRef,
    /// The event; of a correlation, the last one.
    pub event: Arc<OwnedEvent>,
    /// All events of a correlation, the last one included; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Arc<OwnedEvent>>,
    /// Which fields matched.
    #[serde(default)]
    pub matched: Vec<MatchedField>,
    /// When the rules had decided.
    pub at: Stamp,
    /// It is of what a source held before it was first followed: a finding about the past, and no attack to answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
}

impl Detection {
    /// Who did it.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.event.subject
    }

    /// What an incident is about.
    #[must_use]
    pub fn entity(&self) -> &Entity {
        &self.event.entity
    }

    /// The container that it happened in, as an entity: what its incident is about as long as nobody knows the pod's owner.
    #[must_use]
    pub fn container(&self) -> Option<Entity> {
        let Some(Field::Str(id)) = self.event.own("container.id") else { return None };
        Some(Entity { kind: "container".into(), id: (&*id).into(), node: self.event.head.node.clone() })
    }

    /// What a playbook's `detection` is.
    #[must_use]
    pub fn for_playbooks(&self) -> Json {
        let events: Vec<Json> = self.events.iter().map(|event| event.for_playbooks()).collect();
        serde_json::json!({
            "id": self.id, "rule": self.rule.name, "title": self.rule.title, "level": self.rule.level,
            "tags": self.rule.tags, "matched": self.matched, "events": events,
        })
    }
}
