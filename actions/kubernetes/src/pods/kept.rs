//! The pods of this node, those that are there and those that were there lately.
//!
//! Owns how long a pod is remembered and how many are. Pure: the time comes in. Keeps true: what did not change keeps its version, so that
//! nobody tells it anew; a container that was one of a pod stays so until the pod is forgotten; past the bounds the pods that are gone are
//! forgotten first, the longest gone before the others, and whoever finds no room is counted.

use super::seen::{Reference, Top};
use quell_model::{Name, Pod, Pods};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A pod is known for so long after it was deleted: what its processes did is told a little later, and runs ask about it.
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);
/// Pods of one node: Kubernetes' own bound is 110, and a few hundred where somebody raised it.
pub(super) const MOST: usize = 10_000;
/// Those that are gone, among them: jobs come and go by the second.
const MOST_GONE: usize = 2_000;
/// Ids that are kept of one container: one that crashes again and again has ever new ones.
const MOST_IDS: usize = 16;
/// What made pods, of which it is known whose it is itself.
const MOST_OWNERS: usize = 4_096;

struct One {
    pod: Arc<Pod>,
    /// Whom its owner is still to be asked of.
    ask: Option<Reference>,
    gone: Option<Instant>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Kept {
    all: HashMap<Arc<str>, One>,
    /// By the uid of what made a pod: what is at its top.
    owners: HashMap<String, Name>,
    versions: u64,
    /// Pods that there was no room for, since the last whole list.
    pub(super) left_out: u64,
    changed: bool,
}

impl Kept {
    /// A pod as it stands now.
    pub(super) fn take(&mut self, (mut pod, top): (Pod, Top)) {
        let before = self.all.get(&pod.uid);
        let mut ask = None;
        pod.owner = match top {
            Top::Bare => None,
            Top::Is(name) => Some(name),
            Top::Ask(reference) => {
                let known = self.owners.get(&reference.uid).cloned();
                if known.is_none() {
                    ask = Some(reference);
                }
                // Whose it was said to be it is still, until the answer is there again.
                known.or_else(|| before.and_then(|before| before.pod.owner.clone()))
            }
        };
        if let Some(before) = before {
            keep_ids(&mut pod, &before.pod);
            pod.version = before.pod.version;
            if before.gone.is_none() && *before.pod == pod {
                return;
            }
        } else if self.all.len() >= MOST && self.living() >= MOST {
            self.left_out += 1;
            return;
        }
        self.put(pod, ask);
    }

    fn put(&mut self, mut pod: Pod, ask: Option<Reference>) {
        self.versions += 1;
        pod.version = self.versions;
        self.all.insert(Arc::clone(&pod.uid), One { pod: Arc::new(pod), ask, gone: None });
        self.changed = true;
    }

    /// It was deleted.
    pub(super) fn gone(&mut self, uid: &str, now: Instant) {
        if let Some(one) = self.all.get_mut(uid) {
            one.gone.get_or_insert(now);
        }
        if self.all.len() <= MOST_GONE {
            return;
        }
        let mut gone: Vec<(Instant, Arc<str>)> =
            self.all.iter().filter_map(|(uid, one)| Some((one.gone?, Arc::clone(uid)))).collect();
        if gone.len() > MOST_GONE {
            gone.sort();
            for (_, uid) in gone.drain(..gone.len() - MOST_GONE) {
                self.all.remove(&uid);
                self.changed = true;
            }
        }
    }

    /// A whole list named these, and no others are there.
    pub(super) fn only(&mut self, named: &HashSet<String>, now: Instant) {
        for (uid, one) in &mut self.all {
            if !named.contains(&**uid) {
                one.gone.get_or_insert(now);
            }
        }
    }

    /// Forgets whoever is gone for long.
    pub(super) fn forget(&mut self, now: Instant) {
        let before = self.all.len();
        self.all.retain(|_, one| one.gone.is_none_or(|gone| now.duration_since(gone) < REMEMBERED));
        self.changed |= self.all.len() != before;
    }

    /// Whom the owners of pods are to be asked of, each once.
    pub(super) fn asks(&self) -> Vec<(Name, Reference)> {
        let mut asked = HashSet::new();
        let open = self.all.values().filter_map(|one| Some((one.pod.namespace.clone(), one.ask.clone()?)));
        open.filter(|(_, reference)| asked.insert(reference.uid.clone())).collect()
    }

    /// What is at the top of what made them.
    pub(super) fn answered(&mut self, asked: &Reference, top: &Name) {
        if self.owners.len() >= MOST_OWNERS {
            self.owners.clear();
        }
        self.owners.insert(asked.uid.clone(), top.clone());
        let is_it = |one: &One| one.ask.as_ref().is_some_and(|ask| ask.uid == asked.uid);
        let uids: Vec<Arc<str>> =
            self.all.iter().filter(|(_, one)| is_it(one)).map(|(uid, _)| Arc::clone(uid)).collect();
        for uid in uids {
            let Some(one) = self.all.get_mut(&uid) else { continue };
            self.versions += 1;
            let pod = Pod { owner: Some(top.clone()), version: self.versions, ..Pod::clone(&one.pod) };
            (one.pod, one.ask, self.changed) = (Arc::new(pod), None, true);
        }
    }

    /// Pods that are there, as far as is known.
    pub(super) fn living(&self) -> usize {
        self.all.values().filter(|one| one.gone.is_none()).count()
    }

    /// Puts the table as all this is, if that is something new; whether it was.
    pub(super) fn publish(&mut self, table: &Pods) -> bool {
        if !std::mem::take(&mut self.changed) {
            return false;
        }
        // Whoever is there comes before whoever is gone: of two with one cgroup's name (a static pod that was made again) the first is it.
        let gone = self.all.values().filter(|one| one.gone.is_some());
        let there = self.all.values().filter(|one| one.gone.is_none());
        table.replace(there.chain(gone).map(|one| &one.pod));
        true
    }
}

/// Containers that were its own are so still, though its status does not name them any more.
fn keep_ids(pod: &mut Pod, before: &Pod) {
    for known in &before.containers {
        match pod.containers.iter_mut().find(|one| one.name == known.name) {
            Some(one) => {
                for id in &known.ids {
                    if one.ids.len() < MOST_IDS && !one.ids.contains(id) {
                        one.ids.push(Arc::clone(id));
                    }
                }
            }
            None => pod.containers.push(known.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::{Seen, tests::web};
    use super::*;
    use serde_json::{Value, json};

    fn read(json: &Value) -> (Pod, Top) {
        serde_json::from_value::<Seen>(json.clone()).unwrap().kept()
    }

    fn table(kept: &mut Kept) -> Pods {
        let table = Pods::new("kubernetes".into());
        kept.changed = true;
        kept.publish(&table);
        table
    }

    #[test]
    fn what_did_not_change_is_not_told_anew_and_what_did_is() {
        let (mut kept, table) = (Kept::default(), Pods::new("kubernetes".into()));
        kept.take(read(&web()));
        assert!(kept.publish(&table));
        let first = table.by_uid("u1").unwrap();
        let mut later = web();
        later["metadata"]["resourceVersion"] = json!("8");
        kept.take(read(&later));
        assert!(!kept.publish(&table), "only its version in the API changed");
        later["status"]["containerStatuses"][0]["containerID"] = json!("containerd://c3");
        later["status"]["containerStatuses"][0]["lastState"]["terminated"]["containerID"] = json!("containerd://c2");
        kept.take(read(&later));
        assert!(kept.publish(&table));
        let second = table.by_uid("u1").unwrap();
        assert!(second.version > first.version);
        for id in ["c1", "c2", "c3"] {
            assert_eq!(second.container(id).map(|one| &*one.name), Some("app"), "{id}");
        }
        // Its init container's status may go; that it was one stays known.
        later["status"]["initContainerStatuses"] = Value::Null;
        kept.take(read(&later));
        kept.publish(&table);
        assert!(table.by_uid("u1").unwrap().container("i1").is_some());
    }

    #[test]
    fn a_pod_is_remembered_for_a_while_and_then_forgotten() {
        let mut kept = Kept::default();
        let begin = Instant::now();
        kept.take(read(&web()));
        kept.gone("u1", begin);
        kept.gone("u1", begin + REMEMBERED / 2);
        assert_eq!((kept.living(), table(&mut kept).len()), (0, 1));
        kept.forget(begin + REMEMBERED - Duration::from_secs(1));
        assert_eq!(table(&mut kept).len(), 1);
        kept.forget(begin + REMEMBERED);
        assert_eq!(table(&mut kept).len(), 0);
        // A list that does not name it says so too; one that names it again was wrong before.
        kept.take(read(&web()));
        kept.only(&HashSet::new(), begin);
        assert_eq!(kept.living(), 0);
        kept.take(read(&web()));
        kept.forget(begin + 2 * REMEMBERED);
        assert_eq!((kept.living(), table(&mut kept).len()), (1, 1));
    }

    #[test]
    fn whose_it_is_is_asked_once_for_all_pods_of_one_maker() {
        let mut kept = Kept::default();
        let job = |uid: &str| {
            let mut pod = web();
            pod["metadata"]["uid"] = json!(uid);
            pod["metadata"]["ownerReferences"] = json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": "report-29", "uid": "j", "controller": true }]);
            read(&pod)
        };
        kept.take(job("u1"));
        kept.take(job("u2"));
        let asks = kept.asks();
        assert_eq!(asks.len(), 1);
        assert_eq!(table(&mut kept).by_uid("u1").unwrap().owner, None, "nothing is guessed");
        kept.answered(&asks[0].1, &"cronjob/report".into());
        kept.take(job("u3"));
        assert!(kept.asks().is_empty());
        let known = table(&mut kept);
        for uid in ["u1", "u2", "u3"] {
            assert_eq!(known.by_uid(uid).unwrap().owner, Some("cronjob/report".into()), "{uid}");
        }
    }

    #[test]
    fn whoever_makes_ever_new_pods_takes_no_more_than_their_room() {
        let mut kept = Kept::default();
        let new = |n: usize| {
            let mut pod = read(&web());
            pod.0.uid = n.to_string().into();
            pod
        };
        for n in 0..MOST + 5 {
            kept.take(new(n));
        }
        assert_eq!((kept.living(), kept.left_out), (MOST, 5));
        let begin = Instant::now();
        for n in 0..MOST_GONE + 1 {
            kept.gone(&n.to_string(), begin + Duration::from_millis(n as u64));
        }
        assert!(!kept.all.contains_key("0") && kept.all.contains_key("1"), "the longest gone is forgotten");
        assert_eq!(kept.all.len(), MOST - 1);
    }
}
