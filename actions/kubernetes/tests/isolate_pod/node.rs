//! With hands on the pod's node: the cut is a part of the plan. Its kernel is on paper here, its cgroups are real ones of this test's own; the
//! kernel's own is tried on a cluster with a node.

use super::super::act::{Act, outlives_every_crash, verb};
use super::super::api::Place;
use super::{VERB, opens, policies, service, uid};
use quell_actions::HostWorld;
use quell_actions::network::PodCut;
use quell_kubernetes::{Cluster, Settings};
use quell_model::{Cut, CutDropped, CutRule, CutSockets, CutStanding, CutTerms, Json, Truth, Want};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A kernel on paper.
#[derive(Default)]
struct Paper {
    orders: Mutex<BTreeMap<u64, CutStanding>>,
    /// What a probe says.
    probe: Mutex<Option<Result<Option<String>, String>>>,
}

impl Cut for Paper {
    fn enter(&self, group: &Path, terms: &CutTerms) -> Result<(), String> {
        let group = fs::metadata(group).map_err(|error| error.to_string())?.ino();
        let one = CutStanding { group, terms: terms.clone(), dropped: CutDropped::default(), unhooked: Vec::new() };
        self.orders.lock().unwrap().insert(terms.id, one);
        Ok(())
    }

    fn standing(&self, id: u64) -> Result<Option<CutStanding>, String> {
        Ok(self.orders.lock().unwrap().get(&id).cloned())
    }

    fn all(&self) -> Result<Vec<CutStanding>, String> {
        Ok(self.orders.lock().unwrap().values().cloned().collect())
    }

    fn remove(&self, id: u64) -> Result<bool, String> {
        Ok(self.orders.lock().unwrap().remove(&id).is_some())
    }

    fn holds(&self, group: &Path) -> Result<bool, String> {
        let group = fs::metadata(group).map_err(|error| error.to_string())?.ino();
        Ok(self.orders.lock().unwrap().values().any(|one| one.group == group))
    }

    fn sockets(&self, _: &Path, _: &CutRule) -> Result<quell_model::cut::CutOpen, String> {
        Ok(quell_model::cut::CutOpen::default())
    }

    fn destroy(&self, _: &Path, _: &CutRule) -> Result<CutSockets, String> {
        Ok(CutSockets::default())
    }

    fn probe(&self, _: &Path, _: u64) -> Result<Option<String>, String> {
        self.probe.lock().unwrap().clone().unwrap_or(Ok(None))
    }

    fn attempt(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A node that runs pods: their cgroups, removed with it.
pub(super) struct Node {
    paper: Arc<Paper>,
    root: PathBuf,
    dirs: Mutex<Vec<PathBuf>>,
}

impl Node {
    /// None, loudly, where no cgroup can be made.
    pub(super) fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let of = |line: &str| {
            let mut words = line.split(' ').skip(1);
            let at = words.next()?.to_owned();
            (words.next()? == "cgroup2" && Path::new(&at).join("cgroup.procs").exists()).then(|| PathBuf::from(at))
        };
        let root = mounts.lines().find_map(of);
        if root.is_none() {
            eprintln!("NOT TESTED: the cut on a node: this machine mounts no cgroup2");
        }
        Some(Self { paper: Arc::default(), root: root?, dirs: Mutex::default() })
    }

    /// The pod runs here.
    pub(super) fn runs(&self, uid: &str) {
        let dir = self.root.join(format!("pod{uid}"));
        fs::create_dir(&dir).unwrap();
        self.dirs.lock().unwrap().push(dir);
    }

    /// Nothing of the pod runs here any more.
    fn ends(&self, uid: &str) {
        fs::remove_dir(self.root.join(format!("pod{uid}"))).unwrap();
    }

    /// A cluster, as the engine on this node reaches it.
    pub(super) fn cluster(&self, kubeconfig: PathBuf) -> Arc<Cluster> {
        let settings = Settings { name: "test".into(), kubeconfig: Some(kubeconfig), context: None };
        let world = HostWorld::live("node1".into()).unwrap().with_cut(Arc::clone(&self.paper) as _);
        Arc::new(Cluster::new(settings).with_cut(PodCut::new(world)))
    }

    pub(super) fn rules(&self) -> Vec<CutRule> {
        self.paper.orders.lock().unwrap().values().map(|one| one.terms.rule.clone()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for dir in self.dirs.lock().unwrap().iter() {
            drop(fs::remove_dir(dir));
        }
    }
}

#[tokio::test]
async fn on_its_own_node_it_is_cut_in_the_kernel_and_proved() {
    let (Some(place), Some(node)) = (Place::new("node").await, Node::new()) else { return };
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let uid = uid(&place, "web-1").await;
    node.runs(&uid);
    let cluster = node.cluster(place.kubeconfig.clone());
    let (act, verb) = (Act::of("r-1"), verb(&cluster, VERB));
    let input = json!({ "pod": place.named("web-1"), "allow": { "egress": ["10.1.0.0/16"] } });
    let done = act.whole(&*verb, &input).await.unwrap();
    assert_eq!(done.truth, Truth::Holds, "its probe has proved it");
    assert_eq!(done.plan.targets.iter().filter(|target| target.named).count(), 1, "{:?}", done.plan.targets);
    assert!(done.plan.targets.iter().any(|target| target.label.contains("cgroup")), "{:?}", done.plan.targets);
    assert!(matches!(&node.rules()[..], [CutRule::Isolate { allow, .. }] if allow.len() == 1));
    assert!(!opens(&done.plan, "connections that are open may go on"));
    assert!(opens(&done.plan, "the cut on its node knows no directions"));
    assert_eq!((done.output["cut"]["cgroup"].as_str().is_some(), policies(&place).await.len()), (true, 1));

    *node.paper.probe.lock().unwrap() = Some(Ok(Some("no listener".to_owned())));
    let truth = verb.verify(&done.plan, Want::Acted).await.unwrap();
    assert!(matches!(truth, Truth::Unproved(why) if why.contains("could not be tried")));
    *node.paper.probe.lock().unwrap() = Some(Err("a connection got through".to_owned()));
    let truth = verb.verify(&done.plan, Want::Acted).await.unwrap();
    assert_eq!(truth, Truth::HoldsNot("a connection got through".to_owned()));

    assert!(verb.is_held());
    let go = act.admitted(&*verb, done.plan.clone());
    assert!(matches!(verb.verify_lapsed(&done.plan).await.unwrap(), Truth::HoldsNot(_)));
    let until = || node.paper.orders.lock().unwrap().values().map(|one| one.terms.until_ns).max().unwrap();
    let before = until();
    verb.hold(&go, &act.context(), Duration::from_secs(48 * 3600)).await.unwrap();
    assert!(until() > before);
    let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!((truth, output.get("still")), (Truth::Holds, None));
    assert!(node.rules().is_empty() && policies(&place).await.is_empty());
    assert_eq!(place.labels("web-1").await, json!({ "app": "web" }));
}

#[tokio::test]
async fn what_a_boot_ended_is_put_in_force_again() {
    let (Some(place), Some(node)) = (Place::new("node").await, Node::new()) else { return };
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let uid = uid(&place, "web-1").await;
    node.runs(&uid);
    let cluster = node.cluster(place.kubeconfig.clone());
    let (act, verb) = (Act::of("r-1"), verb(&cluster, VERB));
    let input = json!({ "pod": place.named("web-1") });
    let done = act.whole(&*verb, &input).await.unwrap();
    node.paper.orders.lock().unwrap().clear();
    node.ends(&uid);
    node.runs(&uid);
    assert_eq!(verb.verify_lapsed(&done.plan).await.unwrap(), Truth::Holds);
    assert!(matches!(verb.verify(&done.plan, Want::Undone).await.unwrap(), Truth::HoldsNot(_)), "the policy stands");
    let again = verb.plan_again(&input, &done.plan).await.unwrap();
    let go = act.admitted(&*verb, again.clone());
    verb.run(&go, &act.context()).await.unwrap();
    assert_eq!(verb.verify(&again, Want::Acted).await.unwrap(), Truth::Holds);
    assert_eq!((again.before.clone(), node.rules().len()), (done.plan.before, 1));
    let (_, truth) = act.taken_back(&*verb, &again).await.unwrap();
    assert_eq!(truth, Truth::Holds);
    assert_eq!(place.labels("web-1").await, json!({ "app": "web" }));
    // A pod that does not come back is not put in force again.
    node.ends(&uid);
    let why = verb.plan_again(&input, &again).await.unwrap_err().to_string();
    assert!(why.contains("is not on this node any more"), "{why}");
}

#[tokio::test]
async fn the_cut_of_an_earlier_attempt_does_not_outlive_its_undo() {
    let (Some(place), Some(node)) = (Place::new("node").await, Node::new()) else { return };
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let uid = uid(&place, "web-1").await;
    node.runs(&uid);
    let cluster = node.cluster(place.kubeconfig.clone());
    let (act, verb) = (Act::of("r-1"), verb(&cluster, VERB));
    let input = json!({ "pod": place.named("web-1") });
    act.whole(&*verb, &input).await.unwrap();
    // The next attempt finds nothing to cut, and its plan is the one that is taken back.
    node.ends(&uid);
    let again = act.whole(&*verb, &input).await.unwrap();
    assert_eq!((&again.output["cut"], node.rules().len()), (&Json::Null, 1));
    let other = Act::of("r-2");
    assert_eq!(verb.verify_undone(&again.plan, &other.back()).await.unwrap(), Truth::Holds, "it is none of another's");
    assert!(matches!(verb.verify_undone(&again.plan, &act.back()).await.unwrap(), Truth::HoldsNot(_)));
    let (_, truth) = act.taken_back(&*verb, &again.plan).await.unwrap();
    assert_eq!((truth, node.rules().len(), policies(&place).await.len()), (Truth::Holds, 0, 0));
}

#[tokio::test]
async fn with_its_cut_it_outlives_every_crash() {
    let (Some(place), Some(node)) = (Place::new("node").await, Node::new()) else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    let cluster = node.cluster(place.kubeconfig.clone());
    let input = async |calls: u32| {
        let name = format!("web-{calls}");
        place.pod(&name, json!({ "app": "web" }), json!({})).await;
        node.runs(&uid(&place, &name).await);
        json!({ "pod": place.named(&name) })
    };
    let judge = async |_: &Json, want: Want| {
        let many = usize::from(want == Want::Acted);
        assert_eq!((node.rules().len(), policies(&place).await.len()), (many, many));
    };
    outlives_every_crash(&cluster, VERB, input, judge).await;
}

#[tokio::test]
async fn a_pod_in_its_nodes_network_is_cut_off_on_its_node() {
    let (Some(place), Some(node)) = (Place::new("node").await, Node::new()) else { return };
    service(&place, "agent", json!({ "app": "agent" })).await;
    place.pod("agent", json!({ "app": "agent" }), json!({ "hostNetwork": true })).await;
    node.runs(&uid(&place, "agent").await);
    let cluster = node.cluster(place.kubeconfig.clone());
    let (act, verb) = (Act::of("r-1"), verb(&cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named("agent") })).await.unwrap();
    assert_eq!((done.truth, &done.output["policy"]), (Truth::Holds, &Json::Null));
    assert!(opens(&done.plan, "no NetworkPolicy is written"), "{:?}", done.plan.still_open);
    assert_eq!((node.rules().len(), policies(&place).await.len()), (1, 0));
    let (_, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
    assert_eq!(place.labels("agent").await, json!({ "app": "agent" }));
}

#[tokio::test]
async fn a_pod_that_the_api_knows_no_more_is_cut_off_where_it_runs() {
    let (Some(place), Some(node)) = (Place::new("node").await, Node::new()) else { return };
    let uid = format!("{:08x}-0001-4111-8222-333344445555", std::process::id());
    node.runs(&uid);
    let cluster = node.cluster(place.kubeconfig.clone());
    let (act, verb) = (Act::of("r-1"), verb(&cluster, VERB));
    let input = json!({ "pod": { "namespace": place.namespace, "name": "web-1", "uid": uid } });
    let done = act.whole(&*verb, &input).await.unwrap();
    assert_eq!((done.truth, node.rules().len()), (Truth::Holds, 1));
    assert!(opens(&done.plan, "is gone, and runs on this node all the same"), "{:?}", done.plan.still_open);
    let (_, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!((truth, node.rules().len()), (Truth::Holds, 0));
}

#[tokio::test]
async fn with_the_api_server_down_it_is_cut_off_on_its_node_and_is_no_success() {
    let (Some(place), Some(node)) = (Place::new("node").await, Node::new()) else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let uid = uid(&place, "web-1").await;
    node.runs(&uid);
    let proxy = super::outages::Proxy::before(&place).await;
    let cluster = node.cluster(proxy.kubeconfig.clone());
    let (act, verb) = (Act::of("r-1"), verb(&cluster, VERB));
    let input = json!({ "pod": { "namespace": place.namespace, "name": "web-1", "uid": uid } });
    for stalls in [false, true] {
        if stalls {
            proxy.stall()
        } else {
            proxy.refuse()
        };
        let begun = std::time::Instant::now();
        let plan = verb.plan(&input).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(4), "it waited for {:?}", begun.elapsed());
        assert!(opens(&plan, "it is cut off on its node alone"), "{:?}", plan.still_open);
        let go = act.admitted(&*verb, plan.clone());
        let why = verb.run(&go, &act.context()).await.unwrap_err().to_string();
        assert!(why.contains("is cut off on its node, but neither policy nor labels are written"), "{why}");
        assert_eq!(node.rules().len(), 1);
        assert!(matches!(verb.verify(&plan, Want::Acted).await.unwrap(), Truth::HoldsNot(_)));
    }
    // The next attempt, once it answers again.
    proxy.pass();
    let done = act.whole(&*verb, &input).await.unwrap();
    assert_eq!((done.truth, node.rules().len(), policies(&place).await.len()), (Truth::Holds, 1, 1));
    // What stands is taken back by the plan of a later attempt too, which was to write nothing.
    proxy.refuse();
    let later = verb.plan(&input).await.unwrap();
    assert!(opens(&later, "it is cut off on its node alone"), "{:?}", later.still_open);
    proxy.pass();
    let (_, truth) = act.taken_back(&*verb, &later).await.unwrap();
    assert_eq!((truth, node.rules().len(), policies(&place).await.len()), (Truth::Holds, 0, 0));
    assert_eq!(place.labels("web-1").await, json!({ "app": "web" }));
}
