//! What may never be touched, and outside of what nothing may be.
//!
//! Processes are protected by identity, by executable file (device and inode), by unit and by user; never by name:
//! malware is called sshd too. What the target itself started has no protection by executable. Objects of a cluster are protected by their
//! namespace, nodes by their name, and the pod that quell runs in by its uid.

use crate::action::{Plan, Target, TargetFacts};
use crate::ids::Name;
use crate::process::ProcessId;
use std::fmt;

/// A protected executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedFile {
    /// For people.
    pub path: String,
    /// Its device and inode when it was looked up.
    pub file: (u64, u64),
}

/// What may never be touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protect {
    /// quell itself and its ancestors.
    pub processes: Vec<ProcessId>,
    /// Container runtimes, sshd, package managers, databases …
    pub executables: Vec<ProtectedFile>,
    /// systemd units; a trailing `*` stands for anything.
    pub units: Vec<String>,
    /// User ids.
    pub uids: Vec<u32>,
    /// Namespaces of a cluster, with all that is in them; a trailing `*` stands for anything.
    pub namespaces: Vec<String>,
    /// Nodes of a cluster; a trailing `*` stands for anything.
    pub nodes: Vec<String>,
    /// The pod that quell runs in.
    pub own_pod: Option<OwnPod>,
}

/// The pod that quell runs in, as far as it knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPod {
    /// Where it lives.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// Which of those that were called so, where that is known.
    pub uid: Option<String>,
}

impl OwnPod {
    fn is(&self, namespace: &str, name: &str, uid: &str) -> bool {
        match &self.uid {
            Some(own) => own == uid,
            None => self.namespace == namespace && self.name == name,
        }
    }
}

impl Protect {
    /// Why this target may not be touched, if it may not.
    #[must_use]
    pub fn objection(&self, target: &Target) -> Option<String> {
        let TargetFacts::Process { id, file, unit, uid, kernel_thread, below_named, .. } = &target.facts else {
            return self.objection_to_others(&target.facts, target.named);
        };
        if id.pid == 1 {
            return Some("pid 1 is the machine itself".to_owned());
        }
        if *kernel_thread {
            return Some("it is a kernel thread".to_owned());
        }
        if self.processes.iter().any(|own| own.same_process(id)) {
            return Some("it is quell or what started quell".to_owned());
        }
        if *below_named {
            return None;
        }
        if let Some(own) = file.and_then(|file| self.executables.iter().find(|own| own.file == file)) {
            return Some(format!("its executable `{}` is protected", own.path));
        }
        if let Some(own) = unit.as_ref().and_then(|unit| self.units.iter().find(|own| fits(own, unit))) {
            return Some(format!("its unit `{own}` is protected"));
        }
        self.uids.contains(uid).then(|| format!("user id {uid} is protected"))
    }

    /// Whether it may not be touched what a plan names, whatever else it would touch.
    #[must_use]
    pub fn names(&self, plan: &Plan) -> bool {
        plan.targets.iter().any(|target| target.named && self.objection(target).is_some())
    }

    /// Why this image may not be kept from starting, this cgroup not be cut off, or this object not be touched, if it may not.
    fn objection_to_others(&self, facts: &TargetFacts, named: bool) -> Option<String> {
        match facts {
            TargetFacts::Cgroup { needed, .. } => needed.clone(),
            TargetFacts::Image { file, needed, .. } => {
                let own = self.executables.iter().find(|own| own.file == *file);
                needed.clone().or_else(|| own.map(|own| format!("`{}` is protected", own.path)))
            }
            TargetFacts::Object { resource, namespace, name, uid, needed, .. } => {
                let namespace = namespace.as_ref().map(Name::as_str);
                let objection = || self.objection_to_object(resource.as_str(), namespace, name, uid);
                // What a node's drain moves besides is bound by its owner's floor; else no node of a real cluster could be drained.
                let is_moved = !named && resource.as_str() == "pods" && !self.is_own(namespace, name, uid);
                needed.clone().or_else(|| objection().filter(|_| !is_moved))
            }
            TargetFacts::Identity { provider, id, .. } if provider.as_str() == "kubernetes" => {
                self.objection_to_namespace(namespace_of_account(id)?)
            }
            TargetFacts::Process { .. } | TargetFacts::Identity { .. } | TargetFacts::Other => None,
        }
    }

    fn objection_to_object(&self, resource: &str, namespace: Option<&str>, name: &str, uid: &str) -> Option<String> {
        if resource == "pods" && self.is_own(namespace, name, uid) {
            return Some("quell runs in this pod".to_owned());
        }
        let own = || self.nodes.iter().find(|own| fits(own, name));
        if let Some(own) = (resource == "nodes").then(own).flatten() {
            return Some(format!("the node `{own}` is protected"));
        }
        // Known by its uid alone: it may be anybody's.
        if resource == "pods" && namespace.is_none() {
            let own = self.namespaces.first()?;
            return Some(format!("nobody could say yet in which namespace it is, and `{own}` is protected"));
        }
        self.objection_to_namespace(if resource == "namespaces" { name } else { namespace? })
    }

    fn is_own(&self, namespace: Option<&str>, name: &str, uid: &str) -> bool {
        self.own_pod.as_ref().is_some_and(|own| own.is(namespace.unwrap_or_default(), name, uid))
    }

    fn objection_to_namespace(&self, namespace: &str) -> Option<String> {
        let own = self.namespaces.iter().find(|own| fits(own, namespace))?;
        Some(format!("the namespace `{own}` is protected"))
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(head) => text.starts_with(head),
        None => text == pattern,
    }
}

/// Of a service account, as clusters (`system:serviceaccount:NAMESPACE:NAME`) and people (`NAMESPACE/NAME`) name it.
fn namespace_of_account(id: &str) -> Option<&str> {
    match id.strip_prefix("system:serviceaccount:") {
        Some(rest) => rest.split(':').next(),
        None => id.split_once('/').map(|(namespace, _)| namespace),
    }
}

/// The only places where something may be touched: of each kind of things the one that is named, and nothing of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Within {
    /// A cgroup's path below its hierarchy's root, with all below it: `/quell-demo-1`.
    pub cgroup: Option<String>,
    /// A namespace of a cluster.
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
        match (&target.facts, &self.cgroup, &self.namespace) {
            (
                TargetFacts::Process { cgroup: Some(path), .. }
                | TargetFacts::Image { cgroup: Some(path), .. }
                | TargetFacts::Cgroup { path, .. },
                Some(own),
                _,
            ) => {
                let inside =
                    path.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                (!inside).then(|| format!("its cgroup `{path}` lies outside `{own}`"))
            }
            (TargetFacts::Object { namespace: Some(namespace), .. }, _, Some(own)) => {
                (namespace != own).then(|| format!("its namespace `{namespace}` is not `{own}`"))
            }
            _ => Some(format!("it cannot be shown to lie within {self}")),
        }
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

    fn object(resource: &str, namespace: Option<&str>, name: &str, needed: Option<&str>) -> Target {
        Target {
            node: "prod".into(),
            kind: "object".into(),
            id: format!("uid-{name}"),
            label: name.into(),
            named: true,
            facts: TargetFacts::Object {
                cluster: "prod".into(),
                resource: resource.into(),
                namespace: namespace.map(Into::into),
                name: name.into(),
                uid: format!("uid-{name}"),
                owner: None,
                replicas: None,
                needed: needed.map(str::to_owned),
            },
        }
    }

    fn account(id: &str) -> Target {
        let (provider, identity) = ("kubernetes".into(), "kubernetes_service_account".into());
        let facts = TargetFacts::Identity { provider, identity, id: id.into(), account: None };
        Target { facts, ..object("pods", None, "x", None) }
    }

    #[test]
    fn namespaces_nodes_and_quells_own_pod_are_never_touched() {
        let protect = Protect {
            namespaces: vec!["kube-system".into(), "infra-*".into()],
            nodes: vec!["cp-*".into()],
            own_pod: Some(OwnPod { namespace: "quell".into(), name: "quell-x".into(), uid: None }),
            ..Protect::default()
        };
        for (target, why) in [
            (object("pods", Some("kube-system"), "dns", None), Some("the namespace `kube-system` is protected")),
            (object("deployments.apps", Some("infra-a"), "x", None), Some("the namespace `infra-*` is protected")),
            (object("namespaces", None, "kube-system", None), Some("the namespace `kube-system` is protected")),
            (object("nodes", None, "cp-1", None), Some("the node `cp-*` is protected")),
            (object("pods", Some("quell"), "quell-x", None), Some("quell runs in this pod")),
            (object("pods", Some("shop"), "web", Some("it is the only one")), Some("it is the only one")),
            (account("system:serviceaccount:kube-system:default"), Some("the namespace `kube-system` is protected")),
            (account("infra-b/deployer"), Some("the namespace `infra-*` is protected")),
            (account("shop/web"), None),
            (object("pods", Some("kube-systems"), "dns", None), None),
            (object("pods", Some("shop"), "quell-x", None), None),
            (object("pods", Some("quell"), "quell-y", None), None),
            (object("services", Some("quell"), "quell-x", None), None),
            (object("nodes", None, "worker-1", None), None),
            (object("pods", Some("shop"), "cp-1", None), None),
        ] {
            assert_eq!(protect.objection(&target).as_deref(), why, "{target:?}");
        }
    }

    #[test]
    fn pods_that_a_drain_moves_are_bound_by_their_floor_and_not_by_their_namespace() {
        let own_pod = Some(OwnPod { namespace: "kube-system".into(), name: "quell-x".into(), uid: None });
        let protect = Protect { namespaces: vec!["kube-system".into()], own_pod, ..Protect::default() };
        let moved = |of: Target| protect.objection(&Target { named: false, ..of }).is_none();
        assert!(moved(object("pods", Some("kube-system"), "dns", None)));
        assert!(!moved(object("pods", Some("kube-system"), "quell-x", None)), "not the one that quell runs in");
        assert!(!moved(object("pods", Some("kube-system"), "dns", Some("it is needed"))));
        assert!(!moved(object("rolebindings.rbac.authorization.k8s.io", Some("kube-system"), "b", None)));
    }

    #[test]
    fn quells_own_pod_is_known_by_its_uid_where_that_is_told() {
        let uid = |uid: &str| Protect {
            own_pod: Some(OwnPod { namespace: "quell".into(), name: "quell-x".into(), uid: Some(uid.into()) }),
            ..Protect::default()
        };
        let pod = object("pods", Some("quell"), "quell-x", None);
        assert!(uid("uid-quell-x").objection(&pod).is_some());
        assert!(uid("uid-of-before").objection(&pod).is_none(), "another that has its name by now");
        assert!(uid("uid-other").objection(&object("pods", Some("shop"), "other", None)).is_some());
    }

    #[test]
    fn each_kind_of_things_has_a_place_of_its_own_or_none() {
        let process = Target {
            facts: TargetFacts::Cgroup { path: "/box/a".into(), needed: None },
            ..object("pods", None, "x", None)
        };
        let (in_shop, in_pay) = (object("pods", Some("shop"), "w", None), object("pods", Some("pay"), "w", None));
        let node = object("nodes", None, "n", None);
        let inside = |within: &Within| [&process, &in_shop, &in_pay, &node].map(|one| within.objection(one).is_none());
        assert_eq!(inside(&Within::cgroup("/box")), [true, false, false, false]);
        assert_eq!(inside(&Within::namespace("shop")), [false, true, false, false]);
        let both = Within { cgroup: Some("/box".into()), namespace: Some("shop".into()) };
        assert_eq!(inside(&both), [true, true, false, false]);
        assert_eq!(both.objection(&in_pay).unwrap(), "its namespace `pay` is not `shop`");
        assert!(both.objection(&node).unwrap().contains("the cgroup `/box` or the namespace `shop`"));
        assert_eq!(inside(&Within::default()), [false; 4]);
    }
}
