//! The pods of this node: whose a container is, as the sensor's thread asks for it.
//!
//! Owns what is known of a pod, and the table that one writer replaces and many read. Never asks a cluster: who watches one fills the table.
//! Keeps true: a reader on the sensor's thread never waits, neither for a writer nor for a lock that a preempted writer holds; it may see
//! what was true a moment ago. A pod is found by its uid, by the uid that its cgroup bears where that is another one, and by its containers.

use crate::ids::Name;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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

#[derive(Debug, Default)]
struct Known {
    by_uid: HashMap<Arc<str>, Arc<Pod>>,
    by_container: HashMap<Arc<str>, Arc<Pod>>,
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
    known: RwLock<Arc<Known>>,
    /// Grows with each state of the table.
    state: AtomicU64,
}

impl Pods {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(cluster: Name) -> Self {
        Self { cluster, known: RwLock::default(), state: AtomicU64::new(0) }
    }

    /// What the cluster is called.
    #[must_use]
    pub fn cluster(&self) -> &Name {
        &self.cluster
    }

    /// These are all that are known from now on. Of two with one container the later one has it; a uid is always its own pod's.
    pub fn replace<'p>(&self, pods: impl Iterator<Item = &'p Arc<Pod>>) {
        let mut all = Known::default();
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
        let all = Arc::new(all);
        let before = std::mem::replace(&mut *self.known.write().unwrap_or_else(PoisonError::into_inner), all);
        self.state.fetch_add(1, Ordering::Release);
        // Whole tables are taken apart without the lock.
        drop(before);
    }

    /// The pod with this uid. May wait for a writer: not for the sensor's thread, which has a [`PodsView`].
    #[must_use]
    pub fn by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        let known = Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner));
        known.find(Some(uid), None).cloned()
    }

    /// How many uids are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).by_uid.len()
    }

    /// Whether nothing is known.
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
        if state != self.state.get()
            // Whoever writes just now may have been held up: what was known before is right still.
            && let Ok(known) = self.of.known.try_read()
        {
            *self.known.borrow_mut() = Arc::clone(&known);
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
        // A writer that was held up in the midst of it, after it had said that there is something new.
        let held = pods.known.write().unwrap();
        pods.state.fetch_add(1, Ordering::Release);
        assert_eq!(view.find(Some("u1"), None).map(|pod| pod.version), Some(1), "what was known before");
        drop(held);
        pods.replace([pod("u1", "c1", 2)].iter());
        assert_eq!(view.find(Some("u1"), None).map(|pod| pod.version), Some(2));
    }
}
