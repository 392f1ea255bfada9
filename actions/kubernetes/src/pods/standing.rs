//! Which pods of this node stand in for one another, as the cluster told it last: what is gone by where it cannot be asked.
//!
//! Owns whether a pod was ready, and what it said that makes it. Keeps true: only pods that are there are in it; of what was never told
//! nothing is said.

use super::makers::Maker;
use super::seen::Seen;
use quell_model::{Name, Pods};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who stands in for a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Nobody: nothing makes pods like it, a job does, whose pods end, or the cluster counts it no more.
    Nobody,
    /// One of several.
    One {
        /// Of whom: `deployment/web`.
        of: Name,
        /// The others on this node that were ready, by their uids.
        others: Vec<Arc<str>>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) ready: bool,
    owned: bool,
    pub(super) maker: Option<Maker>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AllStanding(Mutex<HashMap<Arc<str>, Told>>);

impl AllStanding {
    /// A pod as it stands now. There are as many as the watch has room for.
    pub(super) fn take(&self, seen: &Seen, most: usize) {
        let mut all = self.all();
        if all.len() < most || all.contains_key(&*seen.metadata.uid) {
            let told = Told { ready: seen.is_ready(), owned: seen.is_owned(), maker: seen.maker() };
            all.insert(seen.metadata.uid.as_str().into(), told);
        }
    }

    /// It was deleted.
    pub(super) fn gone(&self, uid: &str) {
        self.all().remove(uid);
    }

    /// A whole list named these, and no others are there.
    pub(super) fn only(&self, named: &HashSet<String>) {
        self.all().retain(|uid, _| named.contains(&**uid));
    }

    /// Who stands in for the pod with this uid; none: nobody told.
    pub(super) fn of(&self, uid: &str, table: &Pods) -> Option<Standing> {
        let pod = table.by_uid(uid)?;
        let all = self.all();
        if !all.get(&pod.uid).is_some_and(|told| told.owned) {
            return Some(Standing::Nobody);
        }
        let of = pod.owner.clone()?;
        if of.as_str().starts_with("job/") || of.as_str().starts_with("cronjob/") {
            return Some(Standing::Nobody);
        }
        let is_other = |other: &str| {
            let other = table.by_uid(other);
            other.is_some_and(|other| other.owner.as_ref() == Some(&of) && other.namespace == pod.namespace)
        };
        let ready = all.iter().filter(|(other, told)| told.ready && **other != pod.uid);
        let others = ready.map(|(other, _)| other).filter(|other| is_other(other)).cloned().collect();
        Some(Standing::One { of, others })
    }

    /// What was told of the pod with this uid; none: it is not there.
    pub(super) fn told(&self, uid: &str) -> Option<Told> {
        self.all().get(uid).cloned()
    }

    /// What makes the pods that are ready, and of how many of them.
    pub(super) fn makers(&self) -> HashMap<Maker, usize> {
        let all = self.all();
        let mut makers: HashMap<Maker, usize> = HashMap::new();
        for maker in all.values().filter(|told| told.ready).filter_map(|told| told.maker.as_ref()) {
            match makers.get_mut(maker) {
                Some(count) => *count += 1,
                None => {
                    makers.insert(maker.clone(), 1);
                }
            }
        }
        makers
    }

    /// The pods of a namespace that are ready and say what makes them.
    pub(super) fn ready_in(&self, namespace: &Name) -> Vec<(Arc<str>, Maker)> {
        let all = self.all();
        let made =
            all.iter().filter(|(_, told)| told.ready).filter_map(|(uid, told)| Some((uid, told.maker.as_ref()?)));
        made.filter(|(_, maker)| maker.namespace == *namespace)
            .map(|(uid, maker)| (uid.clone(), maker.clone()))
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Arc<str>, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::Kept;
    use super::*;
    use serde_json::{Value, json};

    fn pod(uid: &str, owner: &str, ready: &str) -> Value {
        let (kind, name) = owner.split_once('/').unwrap();
        let owners = json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": true }]);
        json!({
            "metadata": { "name": uid, "namespace": "shop", "uid": uid, "ownerReferences": owners },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        })
    }

    #[test]
    fn who_stands_in_for_a_pod_is_what_was_told_last() {
        let (mut kept, table, all) = (Kept::default(), Pods::new("test".into()), AllStanding::default());
        let mut take = |pod: Value| {
            let seen: Seen = serde_json::from_value(pod).unwrap();
            all.take(&seen, 100);
            kept.take(seen.kept());
            kept.publish(&table);
        };
        for (uid, owner, ready) in [
            ("a", "StatefulSet/web", "True"),
            ("b", "StatefulSet/web", "True"),
            ("c", "StatefulSet/web", "False"),
            ("d", "StatefulSet/db", "True"),
            ("e", "Job/once", "True"),
            ("f", "ReplicaSet/unasked", "True"),
        ] {
            take(pod(uid, owner, ready));
        }
        let mut bare = pod("g", "x/y", "True");
        bare["metadata"]["ownerReferences"] = Value::Null;
        take(bare);
        let mut ends = pod("h", "StatefulSet/web", "True");
        ends["metadata"]["deletionTimestamp"] = json!("2026-12-01T00:00:00Z");
        take(ends);
        let one = |of: &str, others: &[&str]| {
            Some(Standing::One { of: of.into(), others: others.iter().map(|uid| (*uid).into()).collect() })
        };
        assert_eq!(all.of("a", &table), one("statefulset/web", &["b"]));
        assert_eq!(all.of("d", &table), one("statefulset/db", &[]));
        assert_eq!(all.of("g", &table), Some(Standing::Nobody));
        assert_eq!(all.of("f", &table), None, "whose it is was asked and not answered");
        assert_eq!(all.of("z", &table), None, "nobody told of it");
        all.gone("b");
        assert_eq!(all.of("a", &table), one("statefulset/web", &[]));
        all.only(&["d".to_owned()].into());
        assert_eq!(all.of("a", &table), Some(Standing::Nobody), "it is counted no more");
    }
}
