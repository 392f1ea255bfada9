//! Outside of what nothing may be touched.
//!
//! A process, a cgroup and the place of an image lie in a cgroup of this host, and where that is a pod's, in a namespace too; an object of a
//! cluster lies in a namespace. Pure. Keeps true: what cannot be shown to lie within lies outside.

use crate::action::{Target, TargetFacts};
use crate::ids::Name;
use crate::pods::InPod;
use std::fmt;

/// The only places where something may be touched: of each kind of things the one that is named, and nothing of the others. What lives in a
/// pod is a thing of both kinds: it has to lie within each that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Within {
    /// A cgroup's path below its hierarchy's root, with all below it: `/quell-demo-1`.
    pub cgroup: Option<String>,
    /// A namespace of a cluster, with the processes and cgroups of its pods.
    pub namespace: Option<Name>,
}

impl Within {
    /// Nothing but this cgroup and what is below it.
    #[must_use]
    pub fn cgroup(path: impl Into<String>) -> Self {
        Self { cgroup: Some(path.into()), namespace: None }
    }

    /// Nothing but what is in this namespace.
    #[must_use]
    pub fn namespace(name: impl Into<Name>) -> Self {
        Self { cgroup: None, namespace: Some(name.into()) }
    }

    /// Why this target lies outside, if it does.
    #[must_use]
    pub fn objection(&self, target: &Target) -> Option<String> {
        match (&target.facts, &self.namespace) {
            (TargetFacts::Process { cgroup, pod, .. } | TargetFacts::Image { cgroup, pod, .. }, _) => {
                self.objection_on_host(cgroup.as_deref(), pod.as_ref())
            }
            (TargetFacts::Cgroup { path, pod, .. }, _) => self.objection_on_host(Some(path), pod.as_ref()),
            (TargetFacts::Object { namespace: Some(namespace), .. }, Some(own)) => {
                (namespace != own).then(|| format!("its namespace `{namespace}` is not `{own}`"))
            }
            _ => Some(self.not_shown()),
        }
    }

    fn objection_on_host(&self, cgroup: Option<&str>, pod: Option<&InPod>) -> Option<String> {
        if let Some(own) = &self.cgroup {
            let Some(path) = cgroup else { return Some(self.not_shown()) };
            let rest = path.strip_prefix(own.as_str());
            if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return Some(format!("its cgroup `{path}` lies outside `{own}`"));
            }
        }
        match (&self.namespace, pod) {
            (None, _) => self.cgroup.is_none().then(|| self.not_shown()),
            (Some(own), Some(pod)) => match &pod.namespace {
                Some(namespace) if namespace == own => None,
                Some(_) => Some(format!("its pod `{pod}` is not in the namespace `{own}`")),
                None => Some(format!("nobody could say whether its pod {pod} is in the namespace `{own}`")),
            },
            // In no pod: the cgroup alone says where it is.
            (Some(_), None) => self.cgroup.is_none().then(|| self.not_shown()),
        }
    }

    fn not_shown(&self) -> String {
        format!("it cannot be shown to lie within {self}")
    }
}

/// `the cgroup `/box``, `the namespace `shop``, or both.
impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cgroup = self.cgroup.as_ref().map(|path| format!("the cgroup `{path}`"));
        let namespace = self.namespace.as_ref().map(|name| format!("the namespace `{name}`"));
        let both: Vec<String> = cgroup.into_iter().chain(namespace).collect();
        f.write_str(&both.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(facts: TargetFacts) -> Target {
        let (node, kind) = ("n".into(), "thing".into());
        Target { node, kind, id: "1".into(), label: "thing".into(), named: true, facts }
    }

    fn object(resource: &str, namespace: Option<&str>) -> Target {
        target(TargetFacts::Object {
            cluster: "prod".into(),
            resource: resource.into(),
            namespace: namespace.map(Into::into),
            name: "x".into(),
            uid: "u".into(),
            owner: None,
            replicas: None,
            needed: None,
        })
    }

    fn cgroup(path: &str, pod: Option<Option<&str>>) -> Target {
        let pod = pod.map(|namespace| InPod {
            uid: "u".into(),
            namespace: namespace.map(Into::into),
            name: namespace.map(|_| "web-1".into()),
        });
        target(TargetFacts::Cgroup { path: path.into(), needed: None, pod })
    }

    #[test]
    fn each_kind_of_things_has_a_place_of_its_own_or_none() {
        let process = cgroup("/box/a", None);
        let (in_shop, in_pay) = (object("pods", Some("shop")), object("pods", Some("pay")));
        let node = object("nodes", None);
        let inside = |within: &Within| [&process, &in_shop, &in_pay, &node].map(|one| within.objection(one).is_none());
        assert_eq!(inside(&Within::cgroup("/box")), [true, false, false, false]);
        assert_eq!(inside(&Within::namespace("shop")), [false, true, false, false]);
        let both = Within { cgroup: Some("/box".into()), namespace: Some("shop".into()) };
        assert_eq!(inside(&both), [true, true, false, false]);
        assert_eq!(both.objection(&in_pay).unwrap(), "its namespace `pay` is not `shop`");
        assert!(both.objection(&node).unwrap().contains("the cgroup `/box` or the namespace `shop`"));
        assert_eq!(inside(&Within::default()), [false; 4]);
    }

    #[test]
    fn what_lives_in_a_pod_is_held_by_its_namespace_too() {
        let pods = [Some("shop"), Some("pay"), None].map(|namespace| cgroup("/kubepods/pod1/c", Some(namespace)));
        let outside = cgroup("/other/pod1", Some(Some("shop")));
        let inside =
            |within: &Within| [&pods[0], &pods[1], &pods[2], &outside].map(|one| within.objection(one).is_none());
        assert_eq!(inside(&Within::namespace("shop")), [true, false, false, true]);
        let both = Within { cgroup: Some("/kubepods".into()), namespace: Some("shop".into()) };
        assert_eq!(inside(&both), [true, false, false, false]);
        assert_eq!(inside(&Within::cgroup("/kubepods")), [true, true, true, false]);
        assert_eq!(both.objection(&pods[1]).unwrap(), "its pod `pay/web-1` is not in the namespace `shop`");
        let unknown = both.objection(&pods[2]).unwrap();
        assert_eq!(unknown, "nobody could say whether its pod with the uid u is in the namespace `shop`");
        assert_eq!(both.objection(&outside).unwrap(), "its cgroup `/other/pod1` lies outside `/kubepods`");
        assert_eq!(both.objection(&cgroup("/kubepods", None)), None, "it is in no pod");
    }
}
