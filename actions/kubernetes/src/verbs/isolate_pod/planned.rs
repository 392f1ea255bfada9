//! What would be done to cut a pod off, and what that leaves open.
//!
//! Reads only. Keeps true: what is planned at once counts no more replicas as ready than are seen here, and no fewer as wanted than there are;
//! where the API server does not answer, or knows the pod no more, and the pod runs on this very node, it is cut off
//! there alone, and the plan says what is not done; how many stand in for it is then what was told last, and what nobody told is none, as
//! everywhere; a pod in its node's network is refused unless it can be cut off there.

use super::allow::{Allow, ISOLATED};
use super::around::Around;
use super::mark::former_labels;
use super::{Api, Input, Order, SPEC};
use crate::object::{PodRef, Seen};
use crate::owner::{self, Owners};
use crate::pods::{Near, Standing};
use crate::verbs::order::to_json;
use crate::verbs::written::{Named, Words};
use crate::{CallError, Cluster};
use k8s_openapi::api::core::v1::{Pod, Probe};
use quell_actions::network::PartPlan;
use quell_model::action::Replicas;
use quell_model::{ActionError, Plan, Target, TargetFacts};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// For the API server, where the pod can be cut off without it.
const READS: Duration = Duration::from_secs(2);

/// What was read of the pod.
enum Read {
    It(Box<Pod>, Named, Box<Around>),
    Gone(String),
}

/// What would be done.
pub(super) async fn plan(cluster: &Cluster, given: &Input) -> Result<Plan, ActionError> {
    // One that is known by its uid alone may be anybody's: it is named before anything is planned.
    let named;
    let given = if given.pod.name.is_empty() {
        named = Input { pod: given.pod.known(&cluster.calls(&SPEC)).await?, ..given.clone() };
        &named
    } else {
        given
    };
    let nets = nets(given);
    let known = match given.pod.uid.as_deref() {
        Some(uid) => cut(cluster, uid, &nets).await.ok().flatten().map(|part| (uid, part)),
        None => None,
    };
    let far = Far::default();
    let reads = read(cluster, &given.pod, given.allow.dns, &far);
    let found = match &known {
        None => reads.await,
        Some(_) => tokio::time::timeout(READS, reads).await.unwrap_or_else(|_| {
            Err(CallError::Away(format!("it did not answer all that was asked within {} s", READS.as_secs())))
        }),
    };
    match (found, known) {
        (Ok(Read::It(pod, named, around)), _) => whole(cluster, given, nets, &pod, named, &around).await,
        (Ok(Read::Gone(why)), Some((uid, part))) => {
            let open = format!("{why}, and runs on this node all the same: it is cut off there alone");
            // The cluster has said that it counts it no more.
            let target = unasked(cluster, &given.pod, uid, (None, None));
            let order = by_cut(given, called(&given.pod, uid), nets, &part, Api::Gone);
            Ok(alone(&order, &part, vec![open], target))
        }
        (Err(error), Some((uid, part))) => {
            let open = format!("{error}: it is cut off on its node alone; no policy is written, its labels stay");
            let (target, told) = far.target(cluster, uid).unwrap_or_else(|| told_last(cluster, &given.pod, uid));
            let open = std::iter::once(open).chain(told).collect();
            let order = by_cut(given, called(&given.pod, uid), nets, &part, Api::Away(error.to_string()));
            Ok(alone(&order, &part, open, target))
        }
        (Ok(Read::Gone(why)), None) => Err(ActionError::give_up(why)),
        (Err(error), None) => Err(error.into()),
    }
}

/// What would be done by what is known of it already; none: it is not of this node, or too little is known.
pub(super) async fn at_once(cluster: &Cluster, given: &Input) -> Option<Plan> {
    // Where the cluster's DNS is only the cluster can say, and the cut has to let that through.
    let uid = given.pod.uid.as_deref().filter(|_| !given.allow.dns)?;
    let Near { pod, owners } = cluster.known.near(uid, &cluster.cut()?.cut_off().ok()?)?;
    let place = PodRef { namespace: pod.namespace.to_string(), name: pod.name.to_string(), uid: Some(uid.to_owned()) };
    if !given.pod.name.is_empty() && given.pod.place() != place.place() {
        return None;
    }
    let nets = nets(given);
    let part = cut(cluster, uid, &nets).await.ok().flatten()?;
    let stood = pod.label(ISOLATED).filter(|value| *value != uid).map(str::to_owned);
    let others = pod.labels.iter().filter(|(key, _)| **key != *ISOLATED);
    let was = others.map(|(key, value)| (key.to_string(), Some(value.to_string())));
    let was: Words = was.chain([(ISOLATED.to_owned(), stood)]).collect();
    let labels = Words::from([(ISOLATED.to_owned(), Some(uid.to_owned()))]);
    let open = [
        Some("the cluster is asked only once it is cut off on its node: which Services route to it, and which policies let it through, is not in this plan".to_owned()),
        pod.host_network.then(in_nodes_network),
        replacement(&owners),
    ];
    let open = open.into_iter().flatten().chain(allowed(&given.allow, true, &[]));
    let open: Vec<String> = open.chain(owners.unknown.iter().cloned()).collect();
    let target = unasked(cluster, &place, uid, (owners.top().map(ToString::to_string), owners.counted(1)));
    let order = Order {
        labels: labels.clone(),
        policy: !pod.host_network,
        ..by_cut(given, called(&place, uid), nets, &part, Api::Unread)
    };
    let predicted = json!({
        "pod": order.pod.place(), "uid": uid, "labels": labels, "services": [], "cut": part.predicted,
    });
    Some(Plan { before: to_json(&was), predicted, ..alone(&order, &part, open, target) })
}

fn nets(given: &Input) -> Vec<String> {
    given.allow.egress.union(&given.allow.ingress).map(ToString::to_string).collect()
}

/// How far the reading came before it ended: a pod with its owners.
#[derive(Default)]
struct Far(Mutex<Option<(Pod, Owners)>>);

impl Far {
    /// As the guard sees it, and what could not be read; none: it did not come so far.
    fn target(&self, cluster: &Cluster, uid: &str) -> Option<(Target, Vec<String>)> {
        let (pod, mut owners) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // The API server counts whoever was cut off on this node alone.
        if let (Some((_, ready)), Some(Standing::One { others, .. })) =
            (owners.replicas.as_mut(), cluster.known.standing(uid))
        {
            *ready = ready.saturating_sub(count(others.len() - uncut(cluster, &others)));
        }
        Some((owner::target(cluster.name(), &pod, &owners, true), owners.unknown))
    }
}

/// How many of these pods of this node nothing has cut off: whoever is cut off stands in for nobody, whatever was told of it.
fn uncut(cluster: &Cluster, pods: &[Arc<str>]) -> usize {
    let cut = cluster.cut().map_or_else(|| Ok(BTreeSet::new()), |cut| cut.cut_off());
    cut.map_or(0, |cut| pods.iter().filter(|uid| !cut.contains(&***uid)).count())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

async fn read(cluster: &Cluster, pod: &PodRef, wants_dns: bool, far: &Far) -> Result<Read, CallError> {
    let calls = cluster.calls(&SPEC);
    Ok(match pod.look(&calls).await? {
        Seen::Gone(why) => Read::Gone(why),
        Seen::It(pod, named) => {
            let labels = former_labels(&pod, &named.uid);
            let owners = async {
                let owners = Owners::of_labelled(&calls, &pod, &labels).await?;
                *far.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(((*pod).clone(), owners.clone()));
                Ok(owners)
            };
            let around = Around::read(&calls, (&pod, &labels), wants_dns, owners).await?;
            Read::It(pod, named, Box::new(around))
        }
    })
}

/// How many stand in for a pod whose owner could not be asked, by what the watch of this node was told last, and in which words.
fn told_last(cluster: &Cluster, pod: &PodRef, uid: &str) -> (Target, Vec<String>) {
    let (standing, told) = match cluster.known.standing(uid) {
        Some(Standing::Nobody) => ((None, None), None),
        Some(Standing::One { of, others }) => {
            let left = uncut(cluster, &others);
            let told = format!(
                "how many stand in for it could not be asked: `guard.limits.min_ready` goes by {left} other ready pods of {of} \
                 on this node, of which it was told last"
            );
            let with_it = count(left).saturating_add(1);
            ((Some(of.to_string()), Some(Replicas { wanted: with_it, ready: with_it, takes: 1 })), Some(told))
        }
        None => {
            let told = "how many stand in for it could not be asked, and nobody was told: it is cut off only where \
                        `guard.limits.min_ready` is 0 for `kubernetes.isolate_pod`; `network.isolate` with `pod` goes by no replicas";
            ((None, Some(Replicas { wanted: 0, ready: 0, takes: 1 })), Some(told.to_owned()))
        }
    };
    (unasked(cluster, pod, uid, standing), told.into_iter().collect())
}

/// A pod as the guard sees it that could not be asked after.
fn unasked(
    cluster: &Cluster,
    pod: &PodRef,
    uid: &str,
    (owner, replicas): (Option<String>, Option<Replicas>),
) -> Target {
    let (namespace, name) = pod.place();
    Target {
        node: cluster.name().clone(),
        kind: "pod".into(),
        id: uid.to_owned(),
        label: format!("pod {pod}"),
        named: true,
        facts: TargetFacts::Object {
            cluster: cluster.name().clone(),
            resource: "pods".into(),
            namespace: namespace.map(Into::into),
            name: name.to_owned(),
            uid: uid.to_owned(),
            owner,
            replicas,
            needed: None,
        },
    }
}

/// What would cut it off on this node; none: it is not here, or nothing here can.
async fn cut(cluster: &Cluster, uid: &str, nets: &[String]) -> Result<Option<PartPlan>, ActionError> {
    match cluster.cut() {
        Some(cut) => cut.plan(uid, nets).await,
        None => Ok(None),
    }
}

/// The cgroup and who is in it: part of what the input names.
pub(super) fn scope(part: &PartPlan) -> impl Iterator<Item = Target> {
    part.targets.iter().map(|target| Target { named: false, ..target.clone() })
}

fn called(pod: &PodRef, uid: &str) -> Named {
    let (namespace, name) = pod.place();
    Named { namespace: namespace.map(str::to_owned), name: name.to_owned(), uid: uid.to_owned() }
}

/// What is decided by its cut alone.
fn by_cut(given: &Input, pod: Named, nets: Vec<String>, part: &PartPlan, api: Api) -> Order {
    Order {
        call: SPEC.name.to_owned(),
        pod,
        api,
        labels: Words::new(),
        services: Vec::new(),
        policy: true,
        allow: given.allow.clone(),
        enforcer: String::new(),
        cut: Some(part.part.clone()),
        nets,
    }
}

/// On its node, as far as the plan can say.
fn alone(order: &Order, part: &PartPlan, open: Vec<String>, target: Target) -> Plan {
    Plan {
        targets: std::iter::once(target).chain(scope(part)).collect(),
        calls: vec![to_json(order)],
        before: json!({}),
        predicted: json!({ "policy": null, "cut": part.predicted }),
        still_open: open.into_iter().chain(part.still_open.clone()).collect(),
        ..Plan::default()
    }
}

/// All of it.
async fn whole(
    cluster: &Cluster,
    given: &Input,
    nets: Vec<String>,
    pod: &Pod,
    named: Named,
    around: &Around,
) -> Result<Plan, ActionError> {
    let former = former_labels(pod, &named.uid);
    let (mut labels, mut was, mut then) = (Words::new(), Words::new(), former.clone());
    for key in around.known_by(&former) {
        then.remove(&key);
        was.insert(key.clone(), former.get(&key).cloned());
        labels.insert(key, None);
    }
    let stood = former.get(ISOLATED).cloned();
    was.insert(ISOLATED.to_owned(), stood);
    labels.insert(ISOLATED.to_owned(), Some(named.uid.clone()));
    then.insert(ISOLATED.to_owned(), named.uid.clone());

    let nets: Vec<String> = nets.into_iter().chain(around.dns.iter().cloned()).collect();
    let (part, uncut) = match cut(cluster, &named.uid, &nets).await {
        Ok(Some(part)) => (Some(part), None),
        Ok(None) => (None, Some("it is not on this engine's node".to_owned())),
        Err(error) => (None, Some(error.to_string())),
    };
    let is_in_nodes_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    if let (true, Some(uncut)) = (is_in_nodes_network, &uncut) {
        return Err(ActionError::GiveUp {
            why: format!(
                "pod `{}` is in its node's network, where NetworkPolicies do nothing, and it cannot be cut off on its node: {uncut}",
                named.place()
            ),
            hint: Some("a quell on its node can cut it off; `kubernetes.delete_pod` ends it".to_owned()),
        });
    }

    let mut still_open = Vec::new();
    match &uncut {
        Some(uncut) => {
            still_open.push(format!("nothing is cut on its node ({uncut}): connections that are open may go on"));
            still_open.push(around.enforcer.clone());
        }
        None if is_in_nodes_network => {
            still_open.push(in_nodes_network());
        }
        None => {}
    }
    if !is_in_nodes_network {
        still_open.extend(around.open(&named.uid, &then));
    }
    still_open.extend(allowed(&given.allow, part.is_some(), &around.dns));
    still_open.extend(left(pod, around, part.is_some()));
    if around.is_owned(&then) {
        let owner = around.owners.chain.first().map(ToString::to_string).unwrap_or_default();
        still_open.push(format!("{owner} goes by what the pod has not: it counts it as its own all the same"));
    }
    still_open.extend(around.owners.unknown.iter().cloned());
    still_open.extend(part.iter().flat_map(|part| part.still_open.iter().cloned()));

    let leaves = around.is_owned(&former) && !around.is_owned(&then);
    let target = owner::target(cluster.name(), pod, &around.owners, leaves || !around.routes.is_empty());
    let predicted = json!({
        "pod": named.place(), "uid": named.uid, "labels": labels,
        "services": around.routes.iter().map(|routes| &routes.name).collect::<Vec<_>>(),
        "cut": part.as_ref().map(|part| &part.predicted),
    });
    let order = Order {
        call: SPEC.name.to_owned(),
        pod: named,
        api: Api::Writes,
        labels,
        services: around.routes.iter().map(|routes| routes.name.clone()).collect(),
        policy: !is_in_nodes_network,
        allow: given.allow.clone(),
        enforcer: around.enforcer.clone(),
        cut: part.as_ref().map(|part| part.part.clone()),
        nets,
    };
    Ok(Plan {
        targets: std::iter::once(target).chain(part.iter().flat_map(scope)).collect(),
        calls: vec![to_json(&order)],
        before: to_json(&was),
        predicted,
        still_open,
        would_fail: around.missing.clone(),
        already: false,
    })
}

fn in_nodes_network() -> String {
    "it is in its node's network: no NetworkPolicy is written, the cut is on its node alone".to_owned()
}

/// What follows from what is allowed.
fn allowed(allow: &Allow, is_cut: bool, dns: &[String]) -> Vec<String> {
    let mut open = Vec::new();
    if allow.dns {
        open.push("names are resolved for it: data can leave in what it asks".to_owned());
        if is_cut && dns.is_empty() {
            open.push(
                "no Service of the cluster's DNS was found: the cut on its node lets no name be resolved".to_owned(),
            );
        }
        if is_cut && !dns.is_empty() {
            open.push(format!("the cut on its node knows no ports: {} is reached on all of them", dns.join(", ")));
        }
    }
    if is_cut && allow.egress != allow.ingress {
        open.push(
            "the cut on its node knows no directions: what may send to it may be sent to, and the other way round"
                .to_owned(),
        );
    }
    open
}

/// What takes its place, unless that is just another.
fn replacement(owners: &Owners) -> Option<String> {
    let Some(owner) = owners.chain.first() else {
        return Some("nothing owns it: no other pod takes its place".to_owned());
    };
    Some(match owner.kind.as_str() {
        "StatefulSet" => {
            format!("{owner} makes no other pod while this one has its name, and takes it back at an undo")
        }
        "DaemonSet" => format!(
            "{owner} makes another pod on the same node, with the same image; ports of the node that this one holds it cannot have"
        ),
        "Job" => format!("{owner} begins its work anew in another pod"),
        "ReplicaSet" | "ReplicationController" => return None,
        _ => format!("by which labels {owner} knows it is not known: it may count it as its own all the same"),
    })
}

/// What is left behind it, and what follows from that.
fn left(pod: &Pod, around: &Around, is_cut: bool) -> Vec<String> {
    let mut open = Vec::new();
    for routes in around.routes.iter().filter(|routes| routes.left == 0) {
        open.push(format!("Service `{}` has no other ready pod: it answers nobody until there is one", routes.name));
    }
    open.extend(replacement(&around.owners));
    if pod.metadata.deletion_timestamp.is_some() {
        open.push("it is being deleted already".to_owned());
    }
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    if let [_, _, ..] = containers {
        let names: Vec<&str> = containers.iter().map(|one| one.name.as_str()).collect();
        open.push(format!("all of its containers are cut off: {}", names.join(", ")));
    }
    let asks_over_network =
        |probe: &Probe| probe.http_get.is_some() || probe.tcp_socket.is_some() || probe.grpc.is_some();
    for one in containers.iter().filter(|one| is_cut && one.liveness_probe.as_ref().is_some_and(asks_over_network)) {
        let name = &one.name;
        open.push(format!(
            "the kubelet cannot ask container `{name}` whether it lives, and starts it anew: what is in its memory goes"
        ));
    }
    if owner::is_mirror(pod) {
        open.push("it is a static pod: its kubelet writes its labels anew".to_owned());
    }
    open
}
