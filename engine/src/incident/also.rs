//! What else an incident's detections were about than what it is about.
//!
//! Owns how the container of a pod and the owner of that pod are one thing: until the cluster has told whose a container is, a detection
//! is about the container, afterwards about the owner, and neither opens a second incident. Keeps true: whoever is the owner's by what the
//! cluster said stays so when quell starts again and the cluster is away; an incident has a few such names at the most, and they go with it.

use super::{Incident, Incidents, Key};
use quell_model::{Detection, Entity, IncidentId};
use std::collections::BTreeSet;

/// Of one incident: further containers are in it by the owner's name alone.
const MOST: usize = 64;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Also(BTreeSet<Entity>);

impl Also {
    /// Takes up what a detection was about.
    pub(super) fn learn(&mut self, own: &Entity, detection: &Detection) {
        // What happened in no container has one name.
        let Some(container) = detection.container() else { return };
        for entity in [detection.entity().clone(), container] {
            if entity != *own && self.0.len() < MOST {
                self.0.insert(entity);
            }
        }
    }

    pub(super) fn keys(&self, backfill: bool) -> impl Iterator<Item = Key> {
        self.0.iter().map(move |entity| (entity.clone(), backfill))
    }
}

impl Incidents {
    /// Where the incident of a detection may stand, the nearest first.
    pub(super) fn ways_to(&self, detection: &Detection) -> impl Iterator<Item = Key> {
        let own = Some((detection.entity().clone(), detection.backfill));
        let container = detection.container().map(|container| (container, detection.backfill));
        let each = [own, container].into_iter().flatten();
        let both = each.flat_map(|key| [self.also.get(&key).cloned(), Some(key)].into_iter().rev());
        both.flatten().collect::<Vec<_>>().into_iter()
    }

    /// Takes up what else an incident is about by a detection that has joined it.
    pub fn learn(&mut self, id: &IncidentId, detection: &Detection) {
        let Some(key) = self.by_id.get(id) else { return };
        let Some(incident) = self.by_entity.get_mut(key) else { return };
        // By its records it may know already, and the index not.
        incident.also.learn(&incident.entity, detection);
        for entity in detection.container().into_iter().chain([detection.entity().clone()]) {
            if incident.also.0.contains(&entity) {
                self.also.insert((entity, incident.backfill), key.clone());
            }
        }
    }

    /// Whatever a detection is about, by any of its names: its own, its container's, and those of the incident that has either.
    #[must_use]
    pub fn entities(&self, detection: &Detection) -> BTreeSet<String> {
        let mut all = BTreeSet::from([detection.entity().to_string()]);
        let Some(container) = detection.container() else { return all };
        all.insert(container.to_string());
        let incidents = self.ways_to(detection).filter_map(|key| self.by_entity.get(&key));
        for incident in incidents {
            all.extend(incident.also.0.iter().chain([&incident.entity]).map(ToString::to_string));
        }
        all
    }

    pub(super) fn forget_also(&mut self, gone: &Incident) {
        let key = gone.key();
        for also in gone.also.keys(gone.backfill) {
            if self.also.get(&also) == Some(&key) {
                self.also.remove(&also);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::{Level, Stamp};
    use serde_json::json;
    use std::time::Duration;

    const QUIET: Duration = Duration::from_secs(60);

    fn at(second: u64) -> Stamp {
        Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: second * 1_000_000_000 }
    }

    /// In this container; of this owner, if that is known.
    fn seen(container: &str, owner: Option<&str>) -> Detection {
        let at = json!({ "wall": "1970-01-01T00:00:00Z", "boot_ns": 0 });
        let entity = match owner {
            Some(owner) => json!({ "kind": "owner", "id": owner, "node": "kubernetes" }),
            None => json!({ "kind": "container", "id": container, "node": "n1" }),
        };
        serde_json::from_value(json!({
            "id": "00".repeat(32), "rule": { "name": "r", "title": "R", "level": "high" }, "at": at,
            "event": {
                "v": 1, "id": "e-1", "class": "process_creation", "source": "sensor", "node": "n1", "at": at, "seen": at,
                "logsource": {}, "sigma": {}, "own": { "container": { "id": container } }, "subject": "unknown",
                "entity": entity,
            },
        }))
        .unwrap()
    }

    /// As a detection is taken in: it joins, or opens one.
    fn take(all: &mut Incidents, name: &str, detection: &Detection, second: u64) -> String {
        let id = match all.joinable(detection, at(second), QUIET) {
            Some(incident) => incident.id.clone(),
            None => {
                all.insert(Incident::open(name.into(), detection.entity().clone(), Level::High, at(second)));
                name.into()
            }
        };
        all.get_mut(&id).unwrap().last = at(second);
        all.learn(&id, detection);
        id.to_string()
    }

    #[test]
    fn a_container_and_the_owner_of_its_pod_are_one_incident_whichever_is_known_first() {
        let mut all = Incidents::default();
        assert_eq!(take(&mut all, "early", &seen("c1", None), 0), "early");
        assert_eq!(take(&mut all, "x", &seen("c1", Some("shop/deployment/web")), 1), "early");
        // By now it is known whose it is: its siblings are the same story.
        assert_eq!(take(&mut all, "x", &seen("c2", Some("shop/deployment/web")), 2), "early");
        // Started again, and the cluster is away: a container that was the owner's is so still.
        assert_eq!(take(&mut all, "x", &seen("c2", None), 3), "early");
        assert_eq!(take(&mut all, "other", &seen("c3", None), 4), "other");
        assert_eq!(take(&mut all, "db", &seen("c4", Some("shop/deployment/db")), 5), "db");
        assert_eq!(take(&mut all, "x", &seen("c4", None), 6), "db");
        let names = all.entities(&seen("c2", None));
        assert!(names.contains("owner shop/deployment/web on kubernetes") && names.contains("container c1 on n1"));
        assert!(!names.contains("container c4 on n1"), "{names:?}");
    }

    #[test]
    fn its_names_go_with_an_incident() {
        let mut all = Incidents::default();
        take(&mut all, "first", &seen("c1", Some("shop/deployment/web")), 0);
        assert_eq!(all.also.len(), 1);
        assert_eq!(all.sweep(at(100), QUIET), [IncidentId::from("first")]);
        assert!(all.also.is_empty() && all.by_id.is_empty());
        assert_eq!(take(&mut all, "second", &seen("c1", None), 100), "second");
        // Quiet, and not swept yet: nothing joins it by another name either.
        assert_eq!(take(&mut all, "third", &seen("c1", Some("shop/deployment/web")), 200), "third");
    }

    #[test]
    fn a_flood_of_containers_leaves_an_incident_few_names() {
        let mut all = Incidents::default();
        for n in 0..2 * MOST {
            take(&mut all, "one", &seen(&format!("c{n}"), Some("shop/deployment/web")), 1);
        }
        assert_eq!(all.also.len(), MOST);
    }
}
