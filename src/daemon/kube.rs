//! The cluster that quell acts in: hands on it as quell.yaml says, and what of the loaded playbooks would not work there.
//!
//! Owns the one [`Cluster`](quell_kubernetes::Cluster) of a daemon, which a reload leads elsewhere. Decides nothing. Keeps true: a
//! person's own kubeconfig is never taken unasked; a playbook that needs a cluster where none is said to be is told, not armed in silence.

use super::needs::Needs;
use quell_actions::HostWorld;
use quell_engine::load::Config;
#[cfg(feature = "kubernetes")]
use quell_kubernetes::rbac::Permission;
use quell_model::playbook::{Expression, Playbook, Step, StepKind};
use quell_model::world::Verb;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Before the names of the verbs on a cluster.
const PREFIX: &str = "kubernetes.";

/// See the module.
#[derive(Clone)]
pub(crate) struct Kube {
    #[cfg(feature = "kubernetes")]
    cluster: Arc<quell_kubernetes::Cluster>,
}

/// Something that quell may not do in its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lack {
    /// `patch pods in shop`.
    pub(crate) what: String,
    /// Actions, and what of quell itself needs it.
    pub(crate) needed_by: Vec<String>,
}

impl Kube {
    /// As a configuration says. Nothing is asked before it is wanted.
    pub(crate) fn of(config: &Config) -> Self {
        #[cfg(feature = "kubernetes")]
        let kube = {
            let settings = quell_kubernetes::Settings { name: config.kubernetes.cluster.clone(), ..Default::default() };
            Self { cluster: Arc::new(quell_kubernetes::Cluster::new(settings)) }
        };
        #[cfg(not(feature = "kubernetes"))]
        let kube = Self {};
        kube.put(config);
        kube
    }

    /// Of an engine that acts in no cluster.
    pub(crate) fn off() -> Self {
        let mut config = Config::default();
        config.kubernetes.enabled = false;
        Self::of(&config)
    }

    /// Leads there from now on; its name stays.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn put(&self, config: &Config) {
        let own = &config.kubernetes;
        let settings = quell_kubernetes::Settings {
            name: self.cluster.name().clone(),
            kubeconfig: own.kubeconfig.clone(),
            context: own.context.clone(),
        };
        let within = config.guard.only_within.as_ref().and_then(|within| within.namespace.clone());
        self.cluster.put(own.enabled.then_some(settings), within);
    }

    /// Without hands there is nowhere to lead.
    #[cfg(not(feature = "kubernetes"))]
    pub(crate) fn put(&self, _: &Config) {}

    /// The verbs, with hands on it, and on the pods of this node in this world.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn verbs(&self, world: &HostWorld) -> Vec<Verb> {
        self.cluster.lend_cut(quell_actions::network::PodCut::new(world.clone()));
        quell_kubernetes::crew(&self.cluster)
    }

    /// Without hands there are none.
    #[cfg(not(feature = "kubernetes"))]
    pub(crate) fn verbs(&self, _: &HostWorld) -> Vec<Verb> {
        Vec::new()
    }

    /// It itself.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn cluster(&self) -> &Arc<quell_kubernetes::Cluster> {
        &self.cluster
    }

    /// Whether it is said where the cluster is; else why nothing can be done there.
    pub(crate) fn told(&self) -> Result<(), String> {
        #[cfg(feature = "kubernetes")]
        let told = self.cluster.told();
        #[cfg(not(feature = "kubernetes"))]
        let told = Err("this quell was built without the feature `kubernetes`".to_owned());
        told
    }

    /// Actions that loaded playbooks come to on any host, and that cannot work since nobody says where a cluster is; each with why. What
    /// asks for a pod first is not among them: where there is no cluster there are none. Nor are playbooks that ship: nobody chose them.
    pub(crate) fn nowhere<'p>(
        &self,
        playbooks: impl IntoIterator<Item = &'p Arc<Playbook>>,
    ) -> BTreeMap<String, String> {
        let Err(why) = self.told() else { return BTreeMap::new() };
        let chosen = playbooks.into_iter().filter(|playbook| !playbook.file.starts_with("shipped"));
        let steps = chosen.flat_map(|playbook| playbook.steps.iter().map(move |step| (playbook, step)));
        let come_to = steps.filter(|(playbook, step)| !asks_for_a_pod(playbook, step));
        let actions = come_to.filter_map(|(_, step)| action(step));
        let why = format!("there is no cluster: {why}; `kubernetes: {{ kubeconfig: FILE }}` in quell.yaml names one");
        actions.map(|action| (action.to_owned(), why.clone())).collect()
    }

    /// What of all this quell may not do there, asked of the cluster: in the namespace that the guard leaves open, or in all.
    ///
    /// # Errors
    /// It could not be asked, for people.
    #[cfg(feature = "kubernetes")]
    pub(crate) async fn lacks(&self, needs: &Needs, within: Option<&str>) -> Result<Vec<Lack>, String> {
        let mut lacks = Vec::new();
        for (permission, needed_by) in needs.of_cluster() {
            let within = within.filter(|_| permission.is_namespaced() && !needs.is_own(&permission));
            if self.cluster.may(&permission, within).await.map_err(|error| error.to_string())?
                || self.may_by_name(&permission, within).await?
            {
                continue;
            }
            let place = match within {
                Some(name) => format!(" in {name}"),
                None if permission.is_namespaced() => " in every namespace".to_owned(),
                None => String::new(),
            };
            lacks.push(Lack { what: format!("{permission}{place}"), needed_by: needed_by.iter().cloned().collect() });
        }
        Ok(lacks)
    }

    /// Whether it is had of some names, where it is a thing to have so: of those that a plan is about the plan asks.
    #[cfg(feature = "kubernetes")]
    async fn may_by_name(&self, permission: &Permission, within: Option<&str>) -> Result<bool, String> {
        if !permission.is_by_name() {
            return Ok(false);
        }
        // What holds everywhere is listed in each.
        let place = within.unwrap_or("quell-no-such-namespace");
        let rules = self.cluster.rules(place).await.map_err(|error| error.to_string())?;
        Ok(rules.grants.iter().any(|grant| grant.covers(permission, Some(place))))
    }

    /// Without hands nobody can ask.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "kubernetes"))]
    pub(crate) async fn lacks(&self, _: &Needs, _: Option<&str>) -> Result<Vec<Lack>, String> {
        self.told().map(|()| Vec::new())
    }
}

/// The verb on a cluster that a step does, if it does one.
fn action(step: &Step) -> Option<&str> {
    match &step.kind {
        StepKind::Action { action, .. } => Some(action.as_str()).filter(|name| name.starts_with(PREFIX)),
        _ => None,
    }
}

/// Whether a step is done only where its condition, or that of what starts its playbook, has looked at the event's pod.
pub(crate) fn asks_for_a_pod(playbook: &Playbook, step: &Step) -> bool {
    playbook.on.asks_for_a_pod() || step.condition.as_ref().is_some_and(Expression::asks_for_a_pod)
}

/// Whether any of these does something in a cluster.
pub(crate) fn act_in_a_cluster<'p>(playbooks: impl IntoIterator<Item = &'p Arc<Playbook>>) -> bool {
    playbooks.into_iter().flat_map(|playbook| &playbook.steps).any(|step| action(step).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_engine::load::{Known, playbook};
    use std::path::Path;

    fn one(text: &str) -> Arc<Playbook> {
        let known = Known { actions: crate::daemon::specs(), ..Known::default() };
        let (read, mistakes) = playbook(Path::new("p.yaml"), text, &known);
        Arc::new(read.unwrap_or_else(|| panic!("{mistakes:?}")))
    }

    #[test]
    fn what_needs_a_cluster_is_told_where_there_is_none_but_for_what_asks_for_a_pod_first() {
        let label = |name: &str, condition: &str| {
            let (on, condition) = condition.split_once("on: ").map_or(("", condition), |(_, on)| (on, ""));
            one(&format!(
                "playbook: {name}\non: {{ detections: {{ level: high }}{on} }}\nsteps:\n  label:\n    action: kubernetes.label_pod\n    with: {{ pod: shop/web, labels: {{ seen: 'yes' }} }}\n{condition}"
            ))
        };
        let asks = "\"${{ event.pod != () }}\"";
        let all = [label("a", ""), label("b", &format!("    if: {asks}\n")), label("c", &format!("on: , if: {asks}"))];
        let kube = Kube::off();
        let told = kube.nowhere(&all);
        let why = told.get("kubernetes.label_pod").unwrap();
        assert!(why.contains("there is no cluster: ") && why.contains("kubernetes: { kubeconfig: FILE }"), "{why}");
        assert!(kube.nowhere(&all[1..]).is_empty());
        assert!(act_in_a_cluster(&all[1..]) && !act_in_a_cluster(&[]));
        // A reload leads it somewhere.
        let mut on = Config::default();
        on.kubernetes.kubeconfig = Some("/k".into());
        kube.put(&on);
        assert_eq!(kube.nowhere(&all).is_empty(), cfg!(feature = "kubernetes"));
    }
}
