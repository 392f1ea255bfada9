//! The pods of this node, those that are there and those that were there lately.
//!
//! Owns how long a pod is remembered and how many are. Pure: the time comes in. Keeps true: what did not change keeps its version, so that
//! nobody tells it anew; a container that was one of a pod stays so until the pod is forgotten; past the bounds the pods that are gone are
//! forgotten first, the longest gone before the others, and whoever finds no room is counted. Whose a maker of pods is, is an answer to
//! who asked for that very one, in that namespace: a pod can name anybody's uid.

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
/// What was not answered is asked again after so long: an answer has less time.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// What may not be asked: who grants it may do so later.
const FORBIDDEN_AGAIN: Duration = Duration::from_secs(300);

/// What made a pod, as the pod says it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Made {
    pub(super) namespace: Name,
    pub(super) by: Reference,
}

/// What is at the top of what made pods.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// This, for good.
    Is(Name),
    /// Nobody may say, and this is the next that is known: it is asked again later.
    ForNow(Name),
}

struct One {
    pod: Arc<Pod>,
    /// Of what it is still to be asked whose it is.
    ask: Option<Made>,
    gone: Option<Instant>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Kept {
    all: HashMap<Arc<str>, One>,
    /// What is at the top of what made a pod.
    owners: HashMap<Made, Name>,
    /// What was asked, and is not asked again before.
    waits: HashMap<Made, Instant>,
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
            Top::Ask(by) => {
                let made = Made { namespace: pod.namespace.clone(), by };
                let known = self.owners.get(&made).cloned();
                if known.is_none() {
                    ask = Some(made);
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

    fn put(&mut self, mut pod: Pod, ask: Option<Made>) {
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
        self.waits.retain(|_, until| *until > now);
    }

    /// Of so many of those whose owner is to be asked now, each once; they wait for the answer from now on.
    pub(super) fn asks(&mut self, most: usize, now: Instant) -> Vec<Made> {
        let waits = &self.waits;
        let open = self.all.values().filter_map(|one| one.ask.as_ref());
        let due: HashSet<&Made> = open.filter(|made| waits.get(made).is_none_or(|until| *until <= now)).collect();
        let asks: Vec<Made> = due.into_iter().take(most).cloned().collect();
        self.wait(&asks, now + ASK_AGAIN);
        asks
    }

    fn wait(&mut self, asks: &[Made], until: Instant) {
        self.waits.extend(asks.iter().map(|made| (made.clone(), until)));
    }

    /// What is at the top of what made them.
    pub(super) fn answered(&mut self, made: &Made, whose: Whose, now: Instant) {
        let (top, is_final) = match whose {
            Whose::Is(top) => (top, true),
            Whose::ForNow(top) => (top, false),
        };
        if is_final {
            if self.owners.len() >= MOST_OWNERS {
                self.owners.clear();
            }
            self.owners.insert(made.clone(), top.clone());
            self.waits.remove(made);
        } else {
            self.wait(std::slice::from_ref(made), now + FORBIDDEN_AGAIN);
        }
        for one in self.all.values_mut().filter(|one| one.ask.as_ref() == Some(made)) {
            if is_final {
                one.ask = None;
            }
            if one.pod.owner.as_ref() != Some(&top) {
                self.versions += 1;
                let pod = Pod { owner: Some(top.clone()), version: self.versions, ..Pod::clone(&one.pod) };
                (one.pod, self.changed) = (Arc::new(pod), true);
            }
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
        let now = Instant::now();
        let asks = kept.asks(9, now);
        assert_eq!(asks.len(), 1);
        assert!(kept.asks(9, now).is_empty(), "it was asked");
        assert_eq!(kept.asks(9, now + ASK_AGAIN), asks, "what was not answered is asked again");
        assert_eq!(table(&mut kept).by_uid("u1").unwrap().owner, None, "nothing is guessed");
        kept.answered(&asks[0], Whose::Is("cronjob/report".into()), now);
        kept.take(job("u3"));
        assert!(kept.asks(9, now + ASK_AGAIN).is_empty());
        let known = table(&mut kept);
        for uid in ["u1", "u2", "u3"] {
            assert_eq!(known.by_uid(uid).unwrap().owner, Some("cronjob/report".into()), "{uid}");
        }
    }

    /// A pod of `namespace` that says that the ReplicaSet `name` with the uid `r` made it.
    fn made(uid: &str, namespace: &str, name: &str) -> (Pod, Top) {
        let mut pod = web();
        pod["metadata"]["uid"] = json!(uid);
        pod["metadata"]["namespace"] = json!(namespace);
        pod["metadata"]["labels"] = json!({});
        pod["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "r", "controller": true }]);
        read(&pod)
    }

    #[test]
    fn whoever_names_the_uid_of_anothers_maker_says_nothing_of_anothers_pods() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.take(made("forged", "mallory", "web-7d"));
        let asks = kept.asks(9, now);
        // There is none of that name and uid there.
        kept.answered(&asks[0], Whose::Is("replicaset/web-7d".into()), now);
        kept.take(made("real", "shop", "web-7d"));
        kept.take(made("renamed", "mallory", "other"));
        let asks = kept.asks(9, now);
        assert_eq!(asks.len(), 2, "each is asked of what it names itself: {asks:?}");
        let of_shop = asks.iter().find(|made| made.namespace.as_str() == "shop").unwrap();
        kept.answered(of_shop, Whose::Is("rollout/web".into()), now);
        let known = table(&mut kept);
        let owner = |uid: &str| known.by_uid(uid).unwrap().owner.as_ref().map(ToString::to_string);
        assert_eq!(owner("real").as_deref(), Some("rollout/web"));
        assert_eq!(owner("forged").as_deref(), Some("replicaset/web-7d"));
        assert_eq!(owner("renamed"), None);
    }

    #[test]
    fn what_may_not_be_asked_now_is_asked_again_later() {
        let (mut kept, now) = (Kept::default(), Instant::now());
        kept.take(made("u1", "shop", "web-7d"));
        let asks = kept.asks(9, now);
        kept.answered(&asks[0], Whose::ForNow("replicaset/web-7d".into()), now);
        let first = table(&mut kept).by_uid("u1").unwrap();
        assert_eq!(first.owner, Some("replicaset/web-7d".into()));
        assert!(kept.asks(9, now + ASK_AGAIN).is_empty(), "not at once");
        let later = now + FORBIDDEN_AGAIN;
        assert_eq!(kept.asks(9, later), asks);
        kept.changed = false;
        kept.answered(&asks[0], Whose::ForNow("replicaset/web-7d".into()), later);
        assert!(!kept.changed, "nobody tells it anew");
        kept.answered(&asks[0], Whose::Is("rollout/web".into()), later);
        assert_eq!(table(&mut kept).by_uid("u1").unwrap().owner, Some("rollout/web".into()));
        assert!(kept.asks(9, later + FORBIDDEN_AGAIN).is_empty());
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
