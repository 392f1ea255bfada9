//! What quell needs to be allowed: by the actions of playbooks, each with its undo, and by itself.
//!
//! Owns what quell itself needs beside its actions. Pure. Keeps true: nothing is listed that neither a step of these playbooks nor quell
//! itself asks for.

use super::privilege;
use quell_kubernetes::rbac::{Permission, Wanted};
use quell_model::ActionSpec;
use quell_model::playbook::{Playbook, StepKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Before the name of a capability.
const CAPABILITY: &str = "CAP_";

/// Of a cluster: who the pods of this node are, and whether this is a node of it.
const OWN: [(&str, &str); 6] = [
    ("kubernetes:get pods", "who the pods of this node are"),
    ("kubernetes:list pods", "who the pods of this node are"),
    ("kubernetes:watch pods", "who the pods of this node are"),
    ("kubernetes:get replicasets.apps", "who owns them"),
    ("kubernetes:get jobs.batch", "who owns them"),
    ("kubernetes:get nodes", "which node this is"),
];

/// Capabilities that quell needs whatever playbooks do.
const OWN_CAPABILITIES: [&str; 6] =
    ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYS_NICE", "CAP_CHOWN"];

/// Each permission with what needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs(BTreeMap<String, BTreeSet<String>>);

impl Needs {
    /// Of these playbooks, and of those that they start, which are sought among `others`; and of quell itself.
    pub(crate) fn of(playbooks: &[Arc<Playbook>], others: &[Arc<Playbook>], specs: &[&'static ActionSpec]) -> Self {
        let mut needs = Self::default();
        for (permission, why) in OWN {
            needs.add(permission, why);
        }
        for one in privilege::NEEDED.iter().filter(|one| OWN_CAPABILITIES.contains(&one.name)) {
            needs.add(one.name, one.need);
        }
        let (mut seen, mut waiting) = (BTreeSet::new(), playbooks.to_vec());
        while let Some(playbook) = waiting.pop() {
            if !seen.insert(playbook.name.clone()) {
                continue;
            }
            for step in &playbook.steps {
                match &step.kind {
                    StepKind::Action { action, .. } => {
                        let spec = specs.iter().find(|spec| spec.name == action.as_str());
                        spec.into_iter()
                            .flat_map(|spec| spec.permissions)
                            .for_each(|one| needs.add(one, action.as_str()));
                    }
                    StepKind::Playbook(sub) => {
                        let named = |other: &&Arc<Playbook>| other.name == sub.playbook;
                        waiting.extend(playbooks.iter().chain(others).find(named).cloned());
                    }
                    _ => {}
                }
            }
        }
        needs
    }

    fn add(&mut self, permission: &str, needed_by: &str) {
        self.0.entry(permission.to_owned()).or_default().insert(needed_by.to_owned());
    }

    /// Those of a cluster.
    pub(crate) fn of_cluster(&self) -> impl Iterator<Item = (Permission, &BTreeSet<String>)> {
        self.0.iter().filter_map(|(listed, needed_by)| Some((Permission::of_spec(listed)?, needed_by)))
    }

    /// Those of the kernel.
    pub(crate) fn of_kernel(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.0
            .iter()
            .map(|(name, needed_by)| (name.as_str(), needed_by))
            .filter(|(name, _)| name.starts_with(CAPABILITY))
    }

    /// Whether quell itself needs it, wherever its playbooks act.
    pub(crate) fn is_own(&self, permission: &Permission) -> bool {
        OWN.iter().any(|(own, _)| Permission::of_spec(own).as_ref() == Some(permission))
    }

    /// What is to be granted in a cluster: of what lives in namespaces, that of actions in these alone, or in all where none is named; bindings
    /// of these roles alone, or of all.
    pub(crate) fn wanted(&self, namespaces: &[String], roles: &[String]) -> Wanted {
        let is_everywhere = |one: &Permission| namespaces.is_empty() || !one.is_namespaced() || self.is_own(one);
        let (everywhere, within) = self.of_cluster().map(|(one, _)| one).partition(is_everywhere);
        Wanted {
            everywhere,
            within,
            namespaces: namespaces.iter().cloned().collect(),
            roles: roles.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_engine::load::{Known, playbook};
    use std::path::Path;

    fn one(name: &str, steps: &str) -> Arc<Playbook> {
        beside(&[], name, steps)
    }

    fn beside(playbooks: &[Arc<Playbook>], name: &str, steps: &str) -> Arc<Playbook> {
        let known = Known { actions: crate::daemon::specs(), playbooks, ..Known::default() };
        let text = format!("playbook: {name}\non: {{ detections: {{ level: high }} }}\nsteps:\n{steps}");
        let (read, mistakes) = playbook(Path::new("p.yaml"), &text, &known);
        Arc::new(read.unwrap_or_else(|| panic!("{mistakes:?}")))
    }

    const LABEL: &str = "  label: { action: kubernetes.label_pod, with: { pod: shop/web, labels: { seen: 'yes' } } }\n";

    const OF_QUELL: [&str; 6] =
        ["get jobs.batch", "get nodes", "get pods", "get replicasets.apps", "list pods", "watch pods"];

    #[test]
    fn the_least_is_what_the_steps_and_quell_itself_ask_for() {
        let specs = crate::daemon::specs();
        let listed = |needs: &Needs| needs.of_cluster().map(|(one, _)| one.to_string()).collect::<BTreeSet<_>>();
        let idle = Needs::of(&[], &[], &specs);
        assert_eq!(listed(&idle), OF_QUELL.map(str::to_owned).into());
        assert!(idle.of_kernel().all(|(name, _)| name != "CAP_KILL"));

        let labels = Needs::of(&[one("labels", LABEL)], &[], &specs);
        let spec = specs.iter().find(|spec| spec.name == "kubernetes.label_pod").unwrap();
        let mut expected = listed(&idle);
        expected.extend(spec.permissions.iter().map(|one| one.trim_start_matches("kubernetes:").to_owned()));
        assert_eq!(listed(&labels), expected);
        let (_, by) = labels.of_cluster().find(|(one, _)| one.to_string() == "patch pods").unwrap();
        assert_eq!(by.iter().collect::<Vec<_>>(), ["kubernetes.label_pod"]);

        // What it starts is needed as well.
        let others = [one("labels", LABEL)];
        let starts = beside(&others, "starts", "  sub: { playbook: labels }\n");
        assert_eq!(listed(&Needs::of(&[starts], &others, &specs)), expected);
        let kills = one("kills", "  kill: { action: process.kill, with: { process: '${{ event.process.id }}' } }\n");
        assert!(
            Needs::of(&[kills], &[], &specs)
                .of_kernel()
                .any(|(name, by)| name == "CAP_KILL" && by.contains("process.kill"))
        );
    }

    #[test]
    fn actions_are_let_in_the_namespaces_that_are_named_and_quell_sees_its_node() {
        let needs = Needs::of(&[one("labels", LABEL)], &[], &crate::daemon::specs());
        let all = needs.wanted(&[], &[]);
        assert!(all.within.is_empty() && all.everywhere.iter().any(|one| one.to_string() == "patch pods"));
        let shop = needs.wanted(&["shop".to_owned()], &[]);
        let texts = |of: &BTreeSet<Permission>| of.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(texts(&shop.everywhere), OF_QUELL.map(str::to_owned).into());
        assert!(texts(&shop.within).contains("patch pods") && texts(&shop.within).contains("get deployments.apps"));
    }
}
