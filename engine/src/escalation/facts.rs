//! What routes know of an incident: `incident` in their expressions.
//!
//! Owns the names, which the check of a file goes by too. Keeps true: an expression that was checked finds every name that
//! it uses.

use quell_model::{Entity, IncidentId, Json, Level, Name};
use serde::Serialize;
use std::collections::BTreeSet;

/// Of an incident, when its ladder begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Facts {
    /// Its id.
    pub id: IncidentId,
    /// The highest level so far.
    pub level: Level,
    /// The tags of its detections: `attack.t1059.004`.
    pub tags: BTreeSet<Name>,
    /// The rules of its detections, by name.
    pub rules: BTreeSet<Name>,
    /// What it is about: `kind`, `id`, `node`.
    pub entity: Entity,
}

impl Facts {
    /// The names in `incident`.
    pub const NAMES: &[&str] = &["id", "level", "tags", "rules", "entity"];
    /// Those in `incident.entity`.
    pub const OF_ENTITY: &[&str] = &["kind", "id", "node"];

    /// As expressions see it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        serde_json::to_value(self).expect("texts and lists of them are JSON")
    }

    /// One to try an expression on.
    pub(crate) fn sample() -> Self {
        let entity = Entity { kind: "unit".into(), id: "nginx.service".into(), node: "web-1".into() };
        Self {
            id: IncidentId::from("i-sample"),
            level: Level::High,
            tags: BTreeSet::from(["attack.t1059.004".into()]),
            rules: BTreeSet::from(["shell-from-web-server".into()]),
            entity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_expressions_see() {
        let seen = Facts::sample().to_json();
        let keys = |json: &Json| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&seen), Facts::NAMES);
        assert_eq!(keys(&seen["entity"]), Facts::OF_ENTITY);
    }
}
