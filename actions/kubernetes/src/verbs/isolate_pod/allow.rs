//! What a pod that is cut off may still do, and the NetworkPolicy that says so.
//!
//! Decides nothing. Keeps true: a policy of quell's allows what is listed here and nothing else; of several who cut one pod off only what all
//! of them allow is allowed.

use quell_model::Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The label by which the policy knows its one pod; its value is the pod's uid.
#[cfg(feature = "client")]
pub(super) const ISOLATED: &str = "quell/isolated";

/// What passes all the same. Without it: nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// It may ask the cluster's DNS (`k8s-app: kube-dns` in kube-system, port 53).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dns: bool,
    /// Networks (`10.0.0.0/8`) and addresses that it may send to.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "BTreeSet<String>")]
    pub egress: BTreeSet<Net>,
    /// Those that may send to it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "BTreeSet<String>")]
    pub ingress: BTreeSet<Net>,
}

#[cfg(feature = "client")]
impl Allow {
    /// What both allow.
    pub(super) fn narrowed(&self, other: &Self) -> Self {
        Self {
            dns: self.dns && other.dns,
            egress: self.egress.intersection(&other.egress).copied().collect(),
            ingress: self.ingress.intersection(&other.ingress).copied().collect(),
        }
    }

    /// Whether it allows nothing that `other` does not.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        (other.dns || !self.dns) && self.egress.is_subset(&other.egress) && self.ingress.is_subset(&other.ingress)
    }
}

#[cfg(feature = "client")]
mod spec {
    use super::{Allow, ISOLATED};
    use k8s_openapi::api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    use quell_model::Net;
    use std::collections::BTreeSet;

    fn labelled(key: &str, value: &str) -> LabelSelector {
        LabelSelector { match_labels: Some([(key.to_owned(), value.to_owned())].into()), ..LabelSelector::default() }
    }

    fn blocks(nets: &BTreeSet<Net>) -> Option<Vec<NetworkPolicyPeer>> {
        let block = |net: &Net| NetworkPolicyPeer {
            ip_block: Some(IPBlock { cidr: net.to_string(), except: None }),
            ..NetworkPolicyPeer::default()
        };
        (!nets.is_empty()).then(|| nets.iter().map(block).collect())
    }

    impl Allow {
        /// The policy's spec: the one pod, in both directions, but for this.
        pub(in super::super) fn spec(&self, uid: &str) -> NetworkPolicySpec {
            let port = |protocol: &str| NetworkPolicyPort {
                port: Some(IntOrString::Int(53)),
                protocol: Some(protocol.to_owned()),
                ..NetworkPolicyPort::default()
            };
            let dns = self.dns.then(|| NetworkPolicyEgressRule {
                ports: Some(vec![port("UDP"), port("TCP")]),
                to: Some(vec![NetworkPolicyPeer {
                    namespace_selector: Some(labelled("kubernetes.io/metadata.name", "kube-system")),
                    pod_selector: Some(labelled("k8s-app", "kube-dns")),
                    ip_block: None,
                }]),
            });
            let to = blocks(&self.egress).map(|to| NetworkPolicyEgressRule { to: Some(to), ports: None });
            let from = blocks(&self.ingress).map(|from| NetworkPolicyIngressRule { from: Some(from), ports: None });
            NetworkPolicySpec {
                pod_selector: Some(labelled(ISOLATED, uid)),
                policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
                egress: Some(dns.into_iter().chain(to).collect()),
                ingress: Some(from.into_iter().collect()),
            }
        }

        /// Whether a policy says just this of the pod.
        pub(in super::super) fn is_said_by(&self, policy: &NetworkPolicy, uid: &str) -> bool {
            let even = |mut spec: NetworkPolicySpec| {
                // The server leaves out what is empty.
                spec.egress = spec.egress.filter(|rules| !rules.is_empty());
                spec.ingress = spec.ingress.filter(|rules| !rules.is_empty());
                if let Some(types) = spec.policy_types.as_mut() {
                    types.sort_unstable();
                }
                spec
            };
            policy.spec.clone().is_some_and(|spec| even(spec) == even(self.spec(uid)))
        }
    }

    /// In which directions a policy lets anything pass of the pods that it selects.
    pub(in super::super) fn lets_pass(policy: &NetworkPolicySpec) -> Vec<&'static str> {
        let types = policy.policy_types.as_deref().unwrap_or_default();
        // Without `policyTypes`: ingress, and egress where there are rules of it.
        let is_of = |name: &str| types.is_empty() || types.iter().any(|one| one == name);
        let ingress = is_of("Ingress") && policy.ingress.as_ref().is_some_and(|rules| !rules.is_empty());
        let egress = is_of("Egress") && policy.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        [(ingress, "ingress"), (egress, "egress")].into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect()
    }
}

#[cfg(feature = "client")]
pub(super) use spec::lets_pass;

#[cfg(test)]
#[cfg(feature = "client")]
mod tests {
    use super::*;
    use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
    use serde_json::json;

    fn allow(json: serde_json::Value) -> Allow {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_policy_says_what_is_allowed_and_nothing_else() {
        let none = serde_json::to_value(Allow::default().spec("u-1")).unwrap();
        assert_eq!(
            none,
            json!({ "podSelector": { "matchLabels": { "quell/isolated": "u-1" } }, "policyTypes": ["Ingress", "Egress"],
                    "egress": [], "ingress": [] })
        );
        let some = allow(json!({ "dns": true, "egress": ["10.0.0.0/8"], "ingress": ["192.0.2.7"] }));
        let spec = serde_json::to_value(some.spec("u-1")).unwrap();
        assert_eq!(spec["egress"][0]["ports"][0], json!({ "port": 53, "protocol": "UDP" }));
        assert_eq!(spec["egress"][1]["to"], json!([{ "ipBlock": { "cidr": "10.0.0.0/8" } }]));
        assert_eq!(spec["ingress"], json!([{ "from": [{ "ipBlock": { "cidr": "192.0.2.7/32" } }] }]));
        let policy = |spec: NetworkPolicySpec| NetworkPolicy { spec: Some(spec), ..NetworkPolicy::default() };
        assert!(some.is_said_by(&policy(some.spec("u-1")), "u-1"));
        assert!(!some.is_said_by(&policy(some.spec("u-2")), "u-1"));
        assert!(!some.is_said_by(&policy(Allow::default().spec("u-1")), "u-1"));
        // As the server gives it back.
        let bare = NetworkPolicySpec { egress: None, ingress: None, ..Allow::default().spec("u-1") };
        assert!(Allow::default().is_said_by(&policy(bare), "u-1"));
        assert!(serde_json::from_value::<Allow>(json!({ "egress": ["nowhere"] })).is_err());
        assert!(serde_json::from_value::<Allow>(json!({ "egres": [] })).is_err());
    }

    #[test]
    fn of_two_only_what_both_allow_is_allowed() {
        let one = allow(json!({ "dns": true, "egress": ["10.0.0.0/8", "192.0.2.1"] }));
        let other = allow(json!({ "egress": ["192.0.2.1"], "ingress": ["192.0.2.1"] }));
        let both = one.narrowed(&other);
        assert_eq!(both, allow(json!({ "egress": ["192.0.2.1"] })));
        assert!(both.is_within(&one) && both.is_within(&other) && !one.is_within(&both));
    }

    #[test]
    fn a_policy_that_lets_pass_is_told_from_one_that_does_not() {
        for (spec, passes) in [
            (json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }), vec![]),
            (json!({ "podSelector": {}, "ingress": [{}] }), vec!["ingress"]),
            (json!({ "podSelector": {}, "egress": [{}], "ingress": [{}] }), vec!["ingress", "egress"]),
            (json!({ "podSelector": {}, "egress": [{}], "policyTypes": ["Ingress"] }), vec![]),
        ] {
            let of: NetworkPolicySpec = serde_json::from_value(spec.clone()).unwrap();
            assert_eq!(lets_pass(&of), passes, "{spec}");
        }
    }
}
