//! The pods of this node: whose a container is, as the sensor's thread asks for it.
//!
//! Owns what is known of a pod, and the table that one writer replaces and many read. Never asks a cluster: who watches one fills the table.
//! Keeps true: a reader on the sensor's thread never waits, neither for a writer nor for a lock that a preempted writer holds; it may see
//! what was true a moment ago. A pod is found by its uid, by the uid that its cgroup bears where that is another one, and by its containers.

use crate::ids::Name;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use utoipa::ToSchema;

/// One container of a pod.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PodContainer {
    /// As the pod calls it.
    pub name: Arc<str>,
    /// The image, as the pod asks for it.
    pub image: Option<Arc<str>>,
    /// What that is by its content: `sha256:…`. Of an image that came from no registry it is the image's own id.
    pub digest: Option<Arc<str>>,
    /// The runtime's ids: of the one that runs, and of those before it.
    pub ids: Vec<Arc<str>>,
}

/// What is known of a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pod {
    /// Its uid in the API.
    pub uid: Arc<str>,
    /// What its cgroup calls it, where that is not the uid: of a static pod the hash of its manifest.
    pub cgroup_uid: Option<Arc<str>>,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Its node, as the cluster calls that.
    pub node: Name,
    /// The workload that it is one of, as kubectl writes it: `deployment/web`; none: it is bare, or that is not known.
    pub owner: Option<Name>,
    /// Its service account.
    pub service_account: Option<Name>,
    /// It is in the node's own network.
    pub host_network: bool,
    /// Its address.
    pub ip: Option<Arc<str>>,
    /// Its labels, by their keys in order.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Its containers, also those that prepare and those that were added to look at it.
    pub containers: Vec<PodContainer>,
    /// Another number for each state in which it was seen; never 0.
    pub version: u64,
}

impl Pod {
    /// The container with this id.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<&PodContainer> {
        self.containers.iter().find(|container| container.ids.iter().any(|known| **known == *id))
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        Some(&self.labels[at].1)
    }

    /// What an incident about it is about: `shop/deployment/web`; none where it has no owner.
    #[must_use]
    pub fn workload(&self) -> Option<String> {
        self.owner.as_ref().map(|owner| format!("{}/{owner}", self.namespace))
    }
}

/// The pod that a process or a cgroup is of, as the cgroup names it, and what is known of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct InPod {
    /// What the cgroup calls it: its uid, or of a static pod the hash of its manifest.
    pub uid: String,
    /// Its namespace; none: nobody could say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Its name, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
}

/// `shop/web-1`, or `with the uid 1b2c…`.
impl fmt::Display for InPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, "{namespace}/{name}"),
            _ => write!(f, "with the uid {}", self.uid),
        }
    }
}

/// Where a pod lives, as this node's own files say it: less than a cluster tells, and there without one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodPlace {
    /// What its cgroup calls it.
    pub uid: Arc<str>,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

#[derive(Clone, Debug, Default)]
struct Known {
    by_uid: HashMap<Arc<str>, Arc<Pod>>,
    by_container: HashMap<Arc<str>, Arc<Pod>>,
    places: HashMap<Arc<str>, Arc<PodPlace>>,
}

impl Known {
    fn find(&self, uid: Option<&str>, container: Option<&str>) -> Option<&Arc<Pod>> {
        let by_uid = uid.and_then(|uid| self.by_uid.get(uid));
        by_uid.or_else(|| container.and_then(|id| self.by_container.get(id)))
    }
}

/// The table.
#[derive(Debug)]
pub struct Pods {
    cluster: Name,
    /// The same twice: one is to be had while the other is put anew.
    known: [RwLock<Arc<Known>>; 2],
    /// One puts them anew at a time.
    writing: Mutex<()>,
    /// Grows with each state of the table.
    state: AtomicU64,
}

impl Pods {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(cluster: Name) -> Self {
        Self { cluster, known: Default::default(), writing: Mutex::default(), state: AtomicU64::new(0) }
    }

    /// What the cluster is called.
    #[must_use]
    pub fn cluster(&self) -> &Name {
        &self.cluster
    }

    /// These are all that are known from now on. Of two with one container the later one has it; a uid is always its own pod's.
    pub fn replace<'p>(&self, pods: impl Iterator<Item = &'p Arc<Pod>>) {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Known { places: self.now().places.clone(), ..Known::default() };
        let mut fixed = Vec::new();
        for pod in pods {
            all.by_uid.insert(Arc::clone(&pod.uid), Arc::clone(pod));
            fixed.extend(pod.cgroup_uid.as_ref().map(|uid| (uid, pod)));
            for id in pod.containers.iter().flat_map(|container| &container.ids) {
                all.by_container.insert(Arc::clone(id), Arc::clone(pod));
            }
        }
        for (uid, pod) in fixed {
            all.by_uid.entry(Arc::clone(uid)).or_insert_with(|| Arc::clone(pod));
        }
        self.put(all);
    }

    /// This node's own files say where these live, and of no others.
    pub fn note_places(&self, places: impl Iterator<Item = PodPlace>) {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let places = places.map(|place| (Arc::clone(&place.uid), Arc::new(place))).collect();
        self.put(Known { places, ..Known::clone(&self.now()) });
    }

    /// Whoever calls it writes alone.
    fn put(&self, all: Known) {
        let all = Arc::new(all);
        for known in &self.known {
            let before =
                std::mem::replace(&mut *known.write().unwrap_or_else(PoisonError::into_inner), Arc::clone(&all));
            // Whole tables are taken apart without the lock.
            drop(before);
        }
        self.state.fetch_add(1, Ordering::Release);
    }

    /// What is known. Waits for nobody: a writer has one of the two at a time.
    fn now(&self) -> Arc<Known> {
        let free = self.known.iter().find_map(|known| match known.try_read() {
            Ok(known) => Some(Arc::clone(&known)),
            Err(TryLockError::Poisoned(known)) => Some(Arc::clone(&known.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        });
        free.unwrap_or_else(|| Arc::clone(&self.known[0].read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The pod with this uid. On the sensor's thread a [`PodsView`] is cheaper.
    #[must_use]
    pub fn by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        self.now().find(Some(uid), None).cloned()
    }

    /// The pod that a cgroup is of which bears this uid, or the id of this container, and where it lives, as far as the cluster or this
    /// node's own files have told it; of an id that is nobody's `None`. Waits for nobody.
    #[must_use]
    pub fn place(&self, uid: Option<&str>, container: Option<&str>) -> Option<InPod> {
        let known = self.now();
        let told = |uid: &str, namespace: &Name, name: &Name| InPod {
            uid: uid.to_owned(),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
        };
        let place = uid.and_then(|uid| known.places.get(uid));
        let pod = known.find(uid, container);
        match (pod, place) {
            // That it is static a pod says of itself; the kubelet knows.
            (Some(pod), Some(place)) if uid != Some(&*pod.uid) => Some(told(&place.uid, &place.namespace, &place.name)),
            (Some(pod), _) => Some(told(uid.unwrap_or(&pod.uid), &pod.namespace, &pod.name)),
            (None, Some(place)) => Some(told(&place.uid, &place.namespace, &place.name)),
            (None, None) => uid.map(|uid| InPod { uid: uid.to_owned(), namespace: None, name: None }),
        }
    }

    /// How many uids the cluster has told of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.now().by_uid.len()
    }

    /// Whether it has told of none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How one thread looks into the table.
#[derive(Debug)]
pub struct PodsView {
    of: Arc<Pods>,
    state: Cell<u64>,
    known: RefCell<Arc<Known>>,
}

impl PodsView {
    /// One for the thread that holds it.
    #[must_use]
    pub fn new(of: Arc<Pods>) -> Self {
        Self { of, state: Cell::new(0), known: RefCell::default() }
    }

    /// What the cluster is called.
    #[must_use]
    pub fn cluster(&self) -> &Name {
        &self.of.cluster
    }

    /// The pod with this uid, else that of this container. Never waits, and allocates nothing.
    #[must_use]
    pub fn find(&self, uid: Option<&str>, container: Option<&str>) -> Option<Arc<Pod>> {
        let state = self.of.state.load(Ordering::Acquire);
        if state != self.state.get() {
            *self.known.borrow_mut() = self.of.now();
            self.state.set(state);
        }
        self.known.borrow().find(uid, container).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, container: &str, version: u64) -> Arc<Pod> {
        let text = |text: &str| Arc::<str>::from(text);
        Arc::new(Pod {
            uid: text(uid),
            cgroup_uid: None,
            namespace: "shop".into(),
            name: "web-1".into(),
            node: "node1".into(),
            owner: Some("deployment/web".into()),
            service_account: None,
            host_network: false,
            ip: None,
            labels: vec![(text("app"), text("web")), (text("tier"), text("front"))],
            containers: vec![PodContainer { ids: vec![text(container)], ..PodContainer::default() }],
            version,
        })
    }

    #[test]
    fn a_pod_is_found_by_whatever_a_cgroup_says_of_it() {
        let pods = Arc::new(Pods::new("kubernetes".into()));
        let view = PodsView::new(Arc::clone(&pods));
        assert_eq!(view.find(Some("u1"), Some("c1")), None);
        let mut fixed = Pod::clone(&pod("u2", "c2", 2));
        fixed.cgroup_uid = Some("hash".into());
        let all = [pod("u1", "c1", 1), Arc::new(fixed)];
        pods.replace(all.iter());
        let version = |uid, container| view.find(uid, container).map(|pod| pod.version);
        assert_eq!(version(Some("u1"), None), Some(1));
        assert_eq!(version(None, Some("c1")), Some(1));
        assert_eq!(version(Some("hash"), None), Some(2), "a static pod");
        assert_eq!(version(Some("nobody"), Some("c2")), Some(2));
        assert_eq!(version(Some("nobody"), Some("nothing")), None);
        assert_eq!(pods.by_uid("hash").map(|pod| pod.uid.clone()).as_deref(), Some("u2"));
        assert_eq!((all[0].label("tier"), all[0].label("none")), (Some("front"), None));
        assert_eq!(all[0].workload().as_deref(), Some("shop/deployment/web"));
        pods.replace([pod("u1", "c9", 3)].iter());
        assert_eq!((version(Some("u1"), None), version(None, Some("c1"))), (Some(3), None));
        assert_eq!(pods.len(), 1);
    }

    #[test]
    fn who_reads_does_not_wait_for_who_writes() {
        let pods = Arc::new(Pods::new("kubernetes".into()));
        let view = PodsView::new(Arc::clone(&pods));
        pods.replace([pod("u1", "c1", 1)].iter());
        assert!(view.find(Some("u1"), None).is_some());
        // A writer that was held up in the midst of it, at either of the two.
        for place in &pods.known {
            let held = place.write().unwrap();
            pods.state.fetch_add(1, Ordering::Release);
            assert_eq!(view.find(Some("u1"), None).map(|pod| pod.version), Some(1), "what was known before");
            assert!(pods.place(Some("u1"), None).unwrap().namespace.is_some());
            drop(held);
        }
        pods.replace([pod("u1", "c1", 2)].iter());
        assert_eq!(view.find(Some("u1"), None).map(|pod| pod.version), Some(2));
    }

    #[test]
    fn where_a_pod_lives_the_node_itself_says_until_the_cluster_does() {
        let pods = Pods::new("kubernetes".into());
        let lives = |uid: Option<&str>, container: Option<&str>| pods.place(uid, container).map(|one| one.to_string());
        assert_eq!(lives(Some("u1"), None).as_deref(), Some("with the uid u1"));
        assert_eq!(lives(None, Some("c1")), None, "a container that is no pod's, as far as anybody knows");
        let place = |uid: &str, namespace: &str, name: &str| PodPlace {
            uid: uid.into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        let noted = || [place("u1", "old", "web-0"), place("hash", "kube-system", "etcd"), place("u3", "pay", "db")];
        pods.note_places(noted().into_iter());
        assert_eq!(lives(Some("u1"), None).as_deref(), Some("old/web-0"));
        // Somebody who says of their pod that it is the static one.
        let mut forged = Pod::clone(&pod("u9", "c9", 2));
        forged.cgroup_uid = Some("hash".into());
        pods.replace([pod("u1", "c1", 1), Arc::new(forged)].iter());
        assert_eq!(lives(Some("u1"), None).as_deref(), Some("shop/web-1"), "the cluster's word counts more");
        assert_eq!(lives(None, Some("c1")).as_deref(), Some("shop/web-1"));
        assert_eq!(lives(Some("hash"), None).as_deref(), Some("kube-system/etcd"));
        assert_eq!(lives(Some("u3"), None).as_deref(), Some("pay/db"), "what was noted stays");
        assert_eq!((lives(Some("u4"), None).as_deref(), pods.len()), (Some("with the uid u4"), 3));
    }
}
