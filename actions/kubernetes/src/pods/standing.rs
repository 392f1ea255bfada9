//! Which pods of this node stand in for one another, as the cluster told it last: what is gone by where it cannot be asked.
//!
//! Owns whether a pod was ready, and whether it was one of several. Keeps true: only pods that are there are in it; of what was never told
//! nothing is said.

use super::seen::Seen;
use quell_model::{Name, Pods};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who stands in for a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Nobody: nothing makes pods like it, a job does, whose pods end, or the cluster counts it no more.
    Nobody,
    /// Nobody, as far as anybody can confirm: something of a kind that quell does not know is said to own it.
    Unconfirmed {
        /// What: `rollout/web`.
        of: Name,
    },
    /// One of several.
    One {
        /// Of whom: `deployment/web`.
        of: Name,
        /// The others on this node that were ready, by their uids.
        others: Vec<Arc<str>>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Told {
    ready: bool,
    owned: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AllStanding(Mutex<HashMap<Arc<str>, Told>>);

impl AllStanding {
    /// A pod as it stands now. There are as many as the watch has room for.
    pub(super) fn take(&self, seen: &Seen, most: usize) {
        let mut all = self.all();
        if all.len() < most || all.contains_key(&*seen.metadata.uid) {
            all.insert(seen.metadata.uid.as_str().into(), Told { ready: seen.is_ready(), owned: seen.is_owned() });
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
        let Some(told) = all.get(&pod.uid) else { return Some(Standing::Nobody) };
        if !told.owned {
            let of = pod.owner.clone();
            return Some(of.map_or(Standing::Nobody, |of| Standing::Unconfirmed { of }));
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
            ("i", "Rollout/web", "True"),
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
        assert_eq!(all.of("i", &table), Some(Standing::Unconfirmed { of: "rollout/web".into() }));
        assert_eq!(all.of("f", &table), None, "whose it is was asked and not answered");
        assert_eq!(all.of("z", &table), None, "nobody told of it");
        all.gone("b");
        assert_eq!(all.of("a", &table), one("statefulset/web", &[]));
        all.only(&["d".to_owned()].into());
        assert_eq!(all.of("a", &table), Some(Standing::Nobody), "it is counted no more");
    }
}
