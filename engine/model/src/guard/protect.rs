//! What may never be touched.
//!
//! Processes are protected by identity, by executable file (device and inode), by unit and by user; never by name:
//! malware is called sshd too. What the target itself started has no protection by executable. Objects of a cluster are protected by their
//! namespace, and so are the processes and cgroups of its pods, whoever started them; nodes by their name, and the pod that quell runs in by
//! its uid. Of a pod's process of which nobody can say in which namespace it is the namespace holds nothing back: what contains an attacker
//! must work while a cluster is away. The plan says so.

use crate::action::{Plan, Target, TargetFacts};
use crate::ids::Name;
use crate::pods::InPod;
use crate::process::ProcessId;

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
        let TargetFacts::Process { id, file, unit, uid, kernel_thread, below_named, pod, .. } = &target.facts else {
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
        if let Some(why) = self.objection_to_pod(pod.as_ref()) {
            return Some(why);
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
            TargetFacts::Cgroup { needed, pod, .. } => needed.clone().or_else(|| self.objection_to_pod(pod.as_ref())),
            TargetFacts::Image { file, needed, pod, .. } => {
                let own = || self.executables.iter().find(|own| own.file == *file);
                let objection = needed.clone().or_else(|| own().map(|own| format!("`{}` is protected", own.path)));
                objection.or_else(|| self.objection_to_pod(pod.as_ref()))
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

    /// Of what lives on this host, in this pod.
    fn objection_to_pod(&self, pod: Option<&InPod>) -> Option<String> {
        let pod = pod?;
        let namespace = pod.namespace.as_ref().map(Name::as_str);
        if self.is_own(namespace, pod.name.as_ref().map_or("", Name::as_str), &pod.uid) {
            return Some("quell runs in its pod".to_owned());
        }
        let objection = self.objection_to_namespace(namespace?)?;
        Some(format!("it is in the pod `{pod}`, and {objection}"))
    }

    /// What a plan touches though nobody could say whether it is protected, for people.
    #[must_use]
    pub fn unsure(&self, plan: &Plan) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        if self.namespaces.is_empty() {
            return all;
        }
        for pod in plan.targets.iter().filter_map(|target| target.facts.pod()).filter(|pod| pod.namespace.is_none()) {
            let names = self.namespaces.join("`, `");
            let what = format!(
                "nobody could say in which namespace the pod {pod} is: `guard.protect.namespaces` (`{names}`) held nothing back there"
            );
            if !all.contains(&what) {
                all.push(what);
            }
        }
        all
    }

    fn is_own(&self, namespace: Option<&str>, name: &str, uid: &str) -> bool {
        self.own_pod.as_ref().is_some_and(|own| own.is(namespace.unwrap_or_default(), name, uid))
    }

    fn objection_to_namespace(&self, namespace: &str) -> Option<String> {
        let own = self.namespaces.iter().find(|own| fits(own, namespace))?;
        let by = if own == namespace { String::new() } else { format!(" as `{own}`") };
        Some(format!(
            "the namespace `{namespace}` is protected{by} by `guard.protect.namespaces`; `quell doctor` says what changes that"
        ))
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

#[cfg(test)]
mod tests {
    use super::*;

    const KUBE_SYSTEM: &str = "the namespace `kube-system` is protected";

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
            (object("pods", Some("kube-system"), "dns", None), Some(KUBE_SYSTEM)),
            (
                object("deployments.apps", Some("infra-a"), "x", None),
                Some("the namespace `infra-a` is protected as `infra-*`"),
            ),
            (object("namespaces", None, "kube-system", None), Some(KUBE_SYSTEM)),
            (object("nodes", None, "cp-1", None), Some("the node `cp-*` is protected")),
            (object("pods", Some("quell"), "quell-x", None), Some("quell runs in this pod")),
            (object("pods", Some("shop"), "web", Some("it is the only one")), Some("it is the only one")),
            (account("system:serviceaccount:kube-system:default"), Some(KUBE_SYSTEM)),
            (account("infra-b/deployer"), Some("the namespace `infra-b` is protected as `infra-*`")),
            (account("shop/web"), None),
            (object("pods", Some("kube-systems"), "dns", None), None),
            (object("pods", Some("shop"), "quell-x", None), None),
            (object("pods", Some("quell"), "quell-y", None), None),
            (object("services", Some("quell"), "quell-x", None), None),
            (object("nodes", None, "worker-1", None), None),
            (object("pods", Some("shop"), "cp-1", None), None),
        ] {
            let said = protect.objection(&target);
            let head = said.as_deref().map(|said| said.split(" by `guard").next().unwrap());
            assert_eq!(head, why, "{target:?}");
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
    fn whoever_lives_in_a_pod_of_a_protected_namespace_is_as_protected_as_the_pod() {
        let protect = Protect {
            namespaces: vec!["kube-system".into(), "infra-*".into()],
            own_pod: Some(OwnPod { namespace: "quell".into(), name: "quell-x".into(), uid: Some("uid-own".into()) }),
            ..Protect::default()
        };
        let pod = |uid: &str, place: Option<(&str, &str)>| InPod {
            uid: uid.into(),
            namespace: place.map(|(namespace, _)| namespace.into()),
            name: place.map(|(_, name)| name.into()),
        };
        let process = |below_named: bool, pod: Option<InPod>| TargetFacts::Process {
            id: "41.90000000.1@1f2e3d4c-7b6a-4958-8c7d-6e5f4a3b2c1d".parse().unwrap(),
            image: None,
            file: None,
            cgroup: None,
            unit: None,
            uid: 0,
            kernel_thread: false,
            below_named,
            by_scope: false,
            pod,
        };
        let each = |pod: Option<InPod>| {
            let image = TargetFacts::Image {
                path: "/bin/x".into(),
                file: (1, 2),
                cgroup: Some("/pod".into()),
                needed: None,
                pod: pod.clone(),
            };
            let cgroup = TargetFacts::Cgroup { path: "/pod".into(), needed: None, pod: pod.clone() };
            [process(false, pod.clone()), process(true, pod), image, cgroup]
        };
        let why = |facts: TargetFacts| protect.objection(&Target { facts, ..object("pods", None, "x", None) });
        for (pod, expected) in [
            (
                Some(pod("u1", Some(("kube-system", "coredns-1")))),
                Some(
                    "it is in the pod `kube-system/coredns-1`, and the namespace `kube-system` is protected by \
                     `guard.protect.namespaces`; `quell doctor` says what changes that",
                ),
            ),
            (
                Some(pod("u2", Some(("infra-a", "db-0")))),
                Some(
                    "it is in the pod `infra-a/db-0`, and the namespace `infra-a` is protected as `infra-*` by \
                     `guard.protect.namespaces`; `quell doctor` says what changes that",
                ),
            ),
            (Some(pod("uid-own", None)), Some("quell runs in its pod")),
            (Some(pod("u3", Some(("shop", "web-1")))), None),
            (Some(pod("u4", None)), None),
            (None, None),
        ] {
            for facts in each(pod) {
                assert_eq!(why(facts.clone()).as_deref(), expected, "{facts:?}");
            }
        }
        let plan = |pod: InPod| Plan {
            targets: each(Some(pod)).map(|facts| Target { facts, ..object("pods", None, "x", None) }).into(),
            ..Plan::default()
        };
        let unsure = protect.unsure(&plan(pod("u4", None)));
        assert_eq!(unsure.len(), 1, "each pod once: {unsure:?}");
        assert!(unsure[0].contains("the pod with the uid u4") && unsure[0].contains("`kube-system`, `infra-*`"));
        assert!(protect.unsure(&plan(pod("u3", Some(("shop", "web-1"))))).is_empty());
        assert!(Protect::default().unsure(&plan(pod("u4", None))).is_empty(), "nothing is protected so");
    }
}
