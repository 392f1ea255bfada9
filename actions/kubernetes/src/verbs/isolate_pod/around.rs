//! What stands around a pod that is to be cut off: who routes to it, who owns it, which policies go for it, and who would enforce them.
//!
//! Reads only. Keeps true: what could not be read is told, and is never taken for absent.

use super::allow::lets_pass;
use crate::call::{CallError, Calls};
use crate::owner::{Owners, fits, is_ready};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::api::ListParams;
use std::collections::{BTreeMap, BTreeSet};

/// DaemonSets of networks that go by NetworkPolicies, by the beginning of their names as they ship.
const ENFORCERS: &[&str] = &[
    "antrea-agent",
    "aws-node",
    "azure-npm",
    "calico-node",
    "canal",
    "cilium",
    "kube-network-policies",
    "kube-ovn-cni",
    "kube-router",
    "ovnkube-node",
    "weave-net",
];

/// By which labels a Service knows its pods.
type Selector = BTreeMap<String, String>;

/// A Service that routes to the pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Routes {
    pub(super) name: String,
    selector: Selector,
    /// Other pods that are ready behind it.
    pub(super) left: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Around {
    pub(super) owners: Owners,
    pub(super) routes: Vec<Routes>,
    policies: Vec<NetworkPolicy>,
    /// Who would enforce a policy, as far as it can be seen.
    pub(super) enforcer: String,
    /// Where the cluster's DNS is asked.
    pub(super) dns: Vec<String>,
    /// What quell may not do of what it would do.
    pub(super) missing: Vec<String>,
}

impl Around {
    /// Reads all of it, side by side. `labels`: of the pod, as they were before anybody cut it off; `owners`: who reads these.
    pub(super) async fn read(
        calls: &Calls<'_>,
        (pod, labels): (&Pod, &BTreeMap<String, String>),
        wants_dns: bool,
        owners: impl Future<Output = Result<Owners, CallError>>,
    ) -> Result<Self, CallError> {
        let (namespace, all) = (pod.namespace(), ListParams::default());
        let (owners, routes, policies, enforcer, dns, missing) = tokio::join!(
            owners,
            routes(calls, pod, labels),
            calls.list::<NetworkPolicy>(namespace.as_deref(), &all),
            enforcer(calls),
            dns(calls, wants_dns),
            calls.missing(namespace.as_deref()),
        );
        Ok(Self { owners: owners?, routes: routes?, policies: policies?, enforcer: enforcer?, dns: dns?, missing })
    }

    /// The labels by which Services and its owner know the pod: without them they do not.
    pub(super) fn known_by(&self, labels: &BTreeMap<String, String>) -> BTreeSet<String> {
        known_by(self.routes.iter().map(|routes| &routes.selector), &self.owners, labels)
    }

    /// Other policies that let something pass of a pod with these labels: policies add up.
    pub(super) fn open(&self, uid: &str, labels: &BTreeMap<String, String>) -> Vec<String> {
        let of = |policy: &NetworkPolicy| {
            let spec = policy.spec.as_ref().filter(|_| !super::written::is_own(policy, uid))?;
            let all = LabelSelector::default();
            let selector = spec.pod_selector.as_ref().unwrap_or(&all);
            let selects =
                keys(selector).next().is_none() && selector.match_expressions.iter().flatten().next().is_none();
            let passes = lets_pass(spec);
            ((selects || fits(selector, labels)) && !passes.is_empty()).then(|| {
                format!("NetworkPolicy `{}` still lets it through: {}", policy.name_any(), passes.join(" and "))
            })
        };
        self.policies.iter().filter_map(of).collect()
    }

    /// Whether its owner would count a pod with these labels as one of its own.
    pub(super) fn is_owned(&self, labels: &BTreeMap<String, String>) -> bool {
        self.owners.selector.as_ref().is_some_and(|selector| fits(selector, labels))
    }
}

/// By what a pod is known now, which had these labels before anybody cut it off: those of its labels, and the Services.
pub(super) async fn read_known_by(
    calls: &Calls<'_>,
    pod: &Pod,
    labels: &BTreeMap<String, String>,
) -> Result<(BTreeSet<String>, Vec<String>), CallError> {
    let (owners, services) = tokio::join!(Owners::of_labelled(calls, pod, labels), services(calls, pod, labels));
    let (owners, services) = (owners?, services?);
    let keys = known_by(services.iter().map(|(_, selector)| selector), &owners, labels);
    Ok((keys, services.into_iter().map(|(name, _)| name).collect()))
}

fn known_by<'s>(
    services: impl Iterator<Item = &'s Selector>,
    owners: &Owners,
    labels: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    let services = services.flat_map(|selector| selector.keys().cloned());
    let owner = owners.selector.iter().flat_map(keys);
    services.chain(owner).filter(|key| labels.contains_key(key)).collect()
}

/// Which labels a selector asks for.
fn keys(selector: &LabelSelector) -> impl Iterator<Item = String> {
    let equal = selector.match_labels.iter().flat_map(|labels| labels.keys().cloned());
    let terms = selector.match_expressions.iter().flatten();
    let wanted = terms.filter(|term| matches!(term.operator.as_str(), "In" | "Exists")).map(|term| term.key.clone());
    equal.chain(wanted)
}

fn is_in(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The Services that route to a pod with these labels.
async fn services(
    calls: &Calls<'_>,
    pod: &Pod,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<(String, Selector)>, CallError> {
    let services: Vec<Service> = calls.list(pod.namespace().as_deref(), &ListParams::default()).await?;
    let selecting = |service: Service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
        (!selector.is_empty() && is_in(&selector, labels)).then(|| (service.name_any(), selector))
    };
    Ok(services.into_iter().filter_map(selecting).collect())
}

async fn routes(calls: &Calls<'_>, pod: &Pod, labels: &BTreeMap<String, String>) -> Result<Vec<Routes>, CallError> {
    let (namespace, uid) = (pod.namespace(), pod.uid());
    let all = services(calls, pod, labels).await?;
    let Some(((_, first), rest)) = all.split_first() else { return Ok(Vec::new()) };
    // One list, however many Services there are: each would be one more answer to wait for, and whoever can make Services could make it wait.
    let shared = first.iter().filter(|(key, value)| rest.iter().all(|(_, other)| other.get(*key) == Some(*value)));
    let terms: Vec<String> = shared.map(|(key, value)| format!("{key}={value}")).collect();
    let fits = if terms.is_empty() { ListParams::default() } else { ListParams::default().labels(&terms.join(",")) };
    let pods: Vec<Pod> = calls.list(namespace.as_deref(), &fits).await?;
    let ready: Vec<&Pod> = pods.iter().filter(|other| other.uid() != uid && is_ready(other)).collect();
    let routes = all.into_iter().map(|(name, selector)| {
        let left = ready.iter().filter(|other| is_in(&selector, other.labels())).count();
        Routes { name, selector, left }
    });
    Ok(routes.collect())
}

/// A name is all there is to go by: whoever runs something of that name need not enforce anything.
async fn enforcer(calls: &Calls<'_>) -> Result<String, CallError> {
    let sets: Vec<DaemonSet> = match calls.list(None, &ListParams::default()).await {
        Ok(sets) => sets,
        Err(CallError::Forbidden { .. }) => {
            return Ok("whether anything enforces NetworkPolicies may not be read".to_owned());
        }
        Err(error) => return Err(error),
    };
    let is_one = |set: &&DaemonSet| {
        let ready = set.status.as_ref().map_or(0, |status| status.number_ready);
        ready > 0 && ENFORCERS.iter().any(|name| set.name_any().starts_with(name))
    };
    Ok(match sets.iter().find(is_one) {
        Some(set) => format!(
            "`{}/{}` is there to enforce NetworkPolicies; whether it has done it was not seen",
            set.namespace().unwrap_or_default(),
            set.name_any()
        ),
        None => "no enforcer of NetworkPolicies was seen: the policy may do nothing".to_owned(),
    })
}

/// The addresses of the cluster's DNS.
async fn dns(calls: &Calls<'_>, wanted: bool) -> Result<Vec<String>, CallError> {
    if !wanted {
        return Ok(Vec::new());
    }
    let fits = ListParams::default().labels("k8s-app=kube-dns");
    let services: Vec<Service> = calls.list(Some("kube-system"), &fits).await?;
    let addresses = |service: Service| service.spec.and_then(|spec| spec.cluster_ips).unwrap_or_default();
    Ok(services.into_iter().flat_map(addresses).filter(|address| address != "None").collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn around(owner: serde_json::Value, services: &[&[(&str, &str)]], policies: serde_json::Value) -> Around {
        let words = |of: &[(&str, &str)]| of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Around {
            owners: Owners { selector: serde_json::from_value(owner).unwrap(), ..Owners::default() },
            routes: services
                .iter()
                .map(|selector| Routes { name: "web".into(), selector: words(selector), left: 1 })
                .collect(),
            policies: serde_json::from_value(policies).unwrap(),
            enforcer: String::new(),
            dns: Vec::new(),
            missing: Vec::new(),
        }
    }

    #[test]
    fn what_a_pod_is_known_by_is_what_selectors_ask_for() {
        let labels: BTreeMap<String, String> =
            [("app", "web"), ("tier", "a"), ("team", "x"), ("h", "1")].map(|(k, v)| (k.into(), v.into())).into();
        let owner = json!({ "matchLabels": { "app": "web" }, "matchExpressions": [
            { "key": "h", "operator": "Exists" }, { "key": "team", "operator": "NotIn", "values": ["y"] },
        ] });
        let of = around(owner, &[&[("app", "web"), ("tier", "a")]], json!([]));
        let known: Vec<_> = of.known_by(&labels).into_iter().collect();
        assert_eq!(known, ["app", "h", "tier"], "what is asked not to be there is left");
        assert!(of.is_owned(&labels));
        assert!(!of.is_owned(&[("team".to_owned(), "x".to_owned())].into()));
    }

    #[test]
    fn policies_that_still_let_it_through_are_told() {
        let policy = |name: &str, spec: serde_json::Value| json!({ "metadata": { "name": name }, "spec": spec });
        let of = around(
            json!(null),
            &[],
            json!([
                policy("all", json!({ "podSelector": {}, "ingress": [{}] })),
                policy("web", json!({ "podSelector": { "matchLabels": { "app": "web" } }, "ingress": [{}] })),
                policy("none", json!({ "podSelector": {}, "policyTypes": ["Ingress"] })),
                policy(
                    "team",
                    json!({ "podSelector": { "matchExpressions": [
                    { "key": "team", "operator": "Exists" }] }, "policyTypes": ["Egress"], "egress": [{}] })
                ),
            ]),
        );
        let labels = [("team".to_owned(), "x".to_owned())].into();
        let open = of.open("u-1", &labels);
        assert_eq!(
            open,
            [
                "NetworkPolicy `all` still lets it through: ingress",
                "NetworkPolicy `team` still lets it through: egress"
            ]
        );
    }
}
