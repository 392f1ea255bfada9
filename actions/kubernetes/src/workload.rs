//! What makes pods, read whole: how many are wanted, how far a change of it has come, and what a restart would take.
//!
//! Reads only. Keeps true: what the object's controller has not seen yet counts as not done, and so does a pod that still terminates.

use crate::call::{CallError, Calls, Kind};
use crate::owner::{Owner, Owners};
use crate::verbs::gone::is_over;
use crate::verbs::written::Named;
use crate::{OwnerKind, OwnerRef, PodRef};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::core::Selector;
use quell_model::action::Replicas;
use quell_model::{ActionError, Name, Target, TargetFacts};
use std::collections::BTreeMap;

/// How pods are replaced when their template changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Rollout {
    /// A few at a time: so many may be missing meanwhile, and only those from this ordinal on are replaced.
    Rolling { unavailable: u32, from: u32 },
    /// All are ended, then all are made.
    AllAtOnce,
    /// Not before somebody deletes them.
    OnDelete,
    /// Not at all: it has no rollout.
    #[default]
    None,
}

/// An owner as it stands.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Workload {
    pub(crate) kind: OwnerKind,
    pub(crate) named: Named,
    /// The version that was read.
    pub(crate) version: String,
    /// What controls it.
    pub(crate) above: Option<Owner>,
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) wanted: u32,
    pub(crate) ready: u32,
    /// Pods that it counts: those that terminate are none of them.
    pub(crate) stands: u32,
    /// Of these, made by the template as it is.
    pub(crate) updated: u32,
    pub(crate) available: u32,
    /// Its controller has seen it as it stands: the counts are of this.
    pub(crate) is_seen: bool,
    /// Nothing is rolled out while it is.
    pub(crate) is_paused: bool,
    pub(crate) is_terminating: bool,
    pub(crate) rollout: Rollout,
    /// Annotations of its template.
    pub(crate) notes: BTreeMap<String, String>,
}

/// `deployment/web`: as targets and kubectl write it.
impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.named.name)
    }
}

impl OwnerKind {
    /// `deployments.apps`: as RBAC writes it.
    pub(crate) fn resource(self) -> String {
        use crate::call::resource;
        match self {
            Self::Deployment => resource::<Deployment>(),
            Self::StatefulSet => resource::<StatefulSet>(),
            Self::DaemonSet => resource::<DaemonSet>(),
            Self::ReplicaSet => resource::<ReplicaSet>(),
            Self::ReplicationController => resource::<ReplicationController>(),
            Self::Job => resource::<Job>(),
            Self::CronJob => resource::<CronJob>(),
        }
    }
}

/// Finds what an input means by `pod` or by `owner`, of those kinds that can be `done` so.
///
/// # Errors
/// When it says both or neither, when there is no such owner, and when the API server cannot be asked.
pub(crate) async fn find(
    calls: &Calls<'_>,
    (pod, owner): (Option<&PodRef>, Option<&OwnerRef>),
    kinds: &[OwnerKind],
    done: &str,
) -> Result<Workload, ActionError> {
    let meant = match (pod, owner) {
        (Some(pod), None) => of_pod(calls, pod, kinds, done).await?,
        (None, Some(owner)) => owner.clone(),
        _ => {
            return Err(ActionError::GiveUp {
                why: "it is to be said which owner is meant, once".to_owned(),
                hint: Some(
                    "either `owner: namespace/kind/name`, or `pod: …`, which means what owns that pod".to_owned(),
                ),
            });
        }
    };
    if !kinds.contains(&meant.kind) {
        let known: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        return Err(ActionError::GiveUp {
            why: format!("a {} cannot be {done}", meant.kind.name()),
            hint: Some(format!("these can: {}", known.join(", "))),
        });
    }
    let found = read(calls, meant.kind, (&meant.namespace, &meant.name)).await?;
    let found = found.ok_or_else(|| ActionError::give_up(format!("`{meant}` is gone")))?;
    match &meant.uid {
        Some(uid) if *uid != found.named.uid => Err(ActionError::give_up(format!(
            "`{meant}` is another one by now: its uid is {}, and {uid} was meant",
            found.named.uid
        ))),
        _ => Ok(found),
    }
}

/// The topmost owner of a pod that can be `done` so.
async fn of_pod(calls: &Calls<'_>, pod: &PodRef, kinds: &[OwnerKind], done: &str) -> Result<OwnerRef, ActionError> {
    let (object, named) = pod.find(calls).await?;
    let owners = Owners::of(calls, &object).await?;
    let fits = |owner: &&Owner| OwnerKind::named(&owner.kind).is_some_and(|kind| kinds.contains(&kind));
    let Some((owner, kind)) =
        owners.chain.iter().rev().find(fits).and_then(|owner| Some((owner, OwnerKind::named(&owner.kind)?)))
    else {
        let chain: Vec<String> = owners.chain.iter().map(ToString::to_string).collect();
        let chain = if chain.is_empty() { "nothing".to_owned() } else { chain.join(", ") };
        let more = owners.unknown.first().map(|why| format!(" ({why})")).unwrap_or_default();
        return Err(ActionError::give_up(format!(
            "nothing that can be {done} owns pod `{}`: it is owned by {chain}{more}",
            named.place()
        )));
    };
    let namespace = named.namespace.unwrap_or_default();
    Ok(OwnerRef { kind, namespace, name: owner.name.clone(), uid: Some(owner.uid.clone()) })
}

/// An owner as it stands; none: there is none of that name.
pub(crate) async fn read(
    calls: &Calls<'_>,
    kind: OwnerKind,
    (namespace, name): (&str, &str),
) -> Result<Option<Workload>, CallError> {
    async fn of<K: Kind>(
        calls: &Calls<'_>,
        (namespace, name): (&str, &str),
        make: fn(K) -> Workload,
    ) -> Result<Option<Workload>, CallError> {
        Ok(calls.get::<K>(Some(namespace), name).await?.map(make))
    }
    let at = (namespace, name);
    match kind {
        OwnerKind::Deployment => of(calls, at, deployment).await,
        OwnerKind::StatefulSet => of(calls, at, stateful_set).await,
        OwnerKind::DaemonSet => of(calls, at, daemon_set).await,
        OwnerKind::ReplicaSet => of(calls, at, replica_set).await,
        OwnerKind::ReplicationController => of(calls, at, replication_controller).await,
        OwnerKind::Job => of(calls, at, |found: Job| bare(OwnerKind::Job, &found.metadata)).await,
        OwnerKind::CronJob => of(calls, at, |found: CronJob| bare(OwnerKind::CronJob, &found.metadata)).await,
    }
}

/// The very one that was planned; none: it is gone, or another has its name.
pub(crate) async fn read_again(
    calls: &Calls<'_>,
    kind: OwnerKind,
    named: &Named,
) -> Result<Option<Workload>, CallError> {
    let found = read(calls, kind, (named.namespace.as_deref().unwrap_or_default(), &named.name)).await?;
    Ok(found.filter(|found| found.named.uid == named.uid))
}

/// Of one that counts nothing.
fn bare(kind: OwnerKind, meta: &ObjectMeta) -> Workload {
    let named = Named {
        namespace: meta.namespace.clone(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    };
    Workload {
        kind,
        named,
        version: meta.resource_version.clone().unwrap_or_default(),
        above: Owner::controller(meta.owner_references.as_deref().unwrap_or_default()),
        selector: None,
        wanted: 0,
        ready: 0,
        stands: 0,
        updated: 0,
        available: 0,
        is_seen: true,
        is_paused: false,
        is_terminating: meta.deletion_timestamp.is_some(),
        rollout: Rollout::None,
        notes: BTreeMap::new(),
    }
}

fn count(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

fn is_seen(meta: &ObjectMeta, observed: Option<i64>) -> bool {
    observed.unwrap_or(0) >= meta.generation.unwrap_or(0)
}

fn notes(template: &PodTemplateSpec) -> BTreeMap<String, String> {
    template.metadata.as_ref().and_then(|meta| meta.annotations.clone()).unwrap_or_default()
}

/// `2`, or `25%` of those that are wanted.
fn share(of: Option<&IntOrString>, wanted: u32, default: &str, rounds_up: bool) -> u32 {
    let percent = |text: &str| text.strip_suffix('%').and_then(|number| number.parse::<u32>().ok());
    let part = |percent: u32| {
        let whole = u64::from(percent) * u64::from(wanted);
        u32::try_from(if rounds_up { whole.div_ceil(100) } else { whole / 100 }).unwrap_or(u32::MAX)
    };
    match of {
        Some(IntOrString::Int(number)) => count(Some(*number)),
        Some(IntOrString::String(text)) => percent(text).map_or(0, part),
        None => percent(default).map_or_else(|| default.parse().unwrap_or(0), part),
    }
}

fn deployment(found: Deployment) -> Workload {
    let (spec, status) = (found.spec.unwrap_or_default(), found.status.unwrap_or_default());
    let wanted = spec.replicas.map_or(1, |number| count(Some(number)));
    let strategy = spec.strategy.unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    let unavailable = share(rolling.max_unavailable.as_ref(), wanted, "25%", false);
    let surge = share(rolling.max_surge.as_ref(), wanted, "25%", true);
    Workload {
        selector: Some(spec.selector),
        wanted,
        ready: count(status.ready_replicas),
        stands: count(status.replicas),
        updated: count(status.updated_replicas),
        available: count(status.available_replicas),
        is_seen: is_seen(&found.metadata, status.observed_generation),
        is_paused: spec.paused == Some(true),
        rollout: if strategy.type_.as_deref() == Some("Recreate") {
            Rollout::AllAtOnce
        } else {
            // Where both come to nothing the controller lets one be missing (ResolveFenceposts).
            Rollout::Rolling { unavailable: if surge == 0 { unavailable.max(1) } else { unavailable }, from: 0 }
        },
        notes: notes(&spec.template),
        ..bare(OwnerKind::Deployment, &found.metadata)
    }
}

fn stateful_set(found: StatefulSet) -> Workload {
    let (spec, status) = (found.spec.unwrap_or_default(), found.status.unwrap_or_default());
    let wanted = spec.replicas.map_or(1, |number| count(Some(number)));
    let strategy = spec.update_strategy.unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    Workload {
        selector: Some(spec.selector),
        wanted,
        ready: count(status.ready_replicas),
        stands: count(Some(status.replicas)),
        updated: count(status.updated_replicas),
        // Where nobody counts them apart, those that are ready are.
        available: status.available_replicas.map_or_else(|| count(status.ready_replicas), |of| count(Some(of))),
        is_seen: is_seen(&found.metadata, status.observed_generation),
        rollout: if strategy.type_.as_deref() == Some("OnDelete") {
            Rollout::OnDelete
        } else {
            let unavailable = share(rolling.max_unavailable.as_ref(), wanted, "1", true).max(1);
            Rollout::Rolling { unavailable, from: count(rolling.partition) }
        },
        notes: notes(&spec.template),
        ..bare(OwnerKind::StatefulSet, &found.metadata)
    }
}

fn daemon_set(found: DaemonSet) -> Workload {
    let (spec, status) = (found.spec.unwrap_or_default(), found.status.unwrap_or_default());
    let wanted = count(Some(status.desired_number_scheduled));
    let strategy = spec.update_strategy.unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    Workload {
        selector: Some(spec.selector),
        wanted,
        ready: count(Some(status.number_ready)),
        stands: count(Some(status.current_number_scheduled)),
        updated: count(status.updated_number_scheduled),
        available: count(status.number_available),
        is_seen: is_seen(&found.metadata, status.observed_generation),
        rollout: if strategy.type_.as_deref() == Some("OnDelete") {
            Rollout::OnDelete
        } else {
            let unavailable = share(rolling.max_unavailable.as_ref(), wanted, "1", true);
            Rollout::Rolling { unavailable, from: 0 }
        },
        notes: notes(&spec.template),
        ..bare(OwnerKind::DaemonSet, &found.metadata)
    }
}

fn replica_set(found: ReplicaSet) -> Workload {
    let (spec, status) = (found.spec.unwrap_or_default(), found.status.unwrap_or_default());
    Workload {
        selector: Some(spec.selector),
        wanted: spec.replicas.map_or(1, |number| count(Some(number))),
        ready: count(status.ready_replicas),
        stands: count(Some(status.replicas)),
        available: count(status.available_replicas),
        is_seen: is_seen(&found.metadata, status.observed_generation),
        ..bare(OwnerKind::ReplicaSet, &found.metadata)
    }
}

fn replication_controller(found: ReplicationController) -> Workload {
    let (spec, status) = (found.spec.unwrap_or_default(), found.status.unwrap_or_default());
    let labels = |labels| LabelSelector { match_labels: Some(labels), ..LabelSelector::default() };
    Workload {
        selector: spec.selector.map(labels),
        wanted: spec.replicas.map_or(1, |number| count(Some(number))),
        ready: count(status.ready_replicas),
        stands: count(Some(status.replicas)),
        available: count(status.available_replicas),
        is_seen: is_seen(&found.metadata, status.observed_generation),
        ..bare(OwnerKind::ReplicationController, &found.metadata)
    }
}

impl Workload {
    /// How many of the ready a rollout may take at a time.
    pub(crate) fn rollout_takes(&self) -> u32 {
        match self.rollout {
            _ if self.leaves_all_out().is_some() => 0,
            Rollout::Rolling { unavailable, .. } => {
                self.ready.saturating_sub(self.wanted.saturating_sub(unavailable)).min(self.ready)
            }
            Rollout::AllAtOnce => self.ready,
            Rollout::OnDelete | Rollout::None => 0,
        }
    }

    /// Why its pods are not all of its template as it is, if they are not: a rollout that goes on.
    pub(crate) fn rolls(&self) -> Option<String> {
        let from = if let Rollout::Rolling { from, .. } = self.rollout { from } else { 0 };
        let wanted = self.wanted.saturating_sub(from);
        if !self.is_seen {
            return Some("its controller has not seen the change yet".to_owned());
        }
        if self.updated < wanted {
            let paused = if self.is_paused { "it is paused, and " } else { "" };
            return Some(format!("{paused}{} of {wanted} pods are new", self.updated));
        }
        if self.kind == OwnerKind::Deployment && self.stands > self.updated {
            return Some(format!("{} old pods still run", self.stands - self.updated));
        }
        (self.available < self.wanted).then(|| format!("{} of {} pods are available", self.available, self.wanted))
    }

    /// The same, with those that the object's counts leave out: what was told to end runs on until it has.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub(crate) async fn goes_on(&self, calls: &Calls<'_>) -> Result<Option<String>, CallError> {
        if let Some(why) = self.rolls() {
            return Ok(Some(why));
        }
        let pods = self.pods(calls).await?;
        let old = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()).count();
        Ok((old > 0).then(|| format!("{old} old pods still terminate")))
    }

    /// Its pods that have not run to their end, with those that terminate.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub(crate) async fn pods(&self, calls: &Calls<'_>) -> Result<Vec<Pod>, CallError> {
        let selector = self.selector.clone().unwrap_or_default();
        // Without a term it would be every pod of the namespace; no such owner can be made.
        let selector = Selector::try_from(selector).map_err(|error| CallError::Refused(error.to_string()))?;
        let fits = ListParams::default().labels_from(&selector);
        let mut all = calls.list::<Pod>(self.named.namespace.as_deref(), &fits).await?;
        all.retain(|pod| !is_over(pod));
        Ok(all)
    }

    /// Which of its pods a change of its template leaves as they are, for people.
    pub(crate) fn left_out(&self) -> Option<String> {
        match self.rollout {
            Rollout::Rolling { from, .. } if from > 0 => {
                Some(format!("its pods below {from} are as they were: that is its partition"))
            }
            _ => None,
        }
    }

    /// Whether a change of its template leaves all of them as they are, by its partition.
    pub(crate) fn leaves_all_out(&self) -> Option<u32> {
        match self.rollout {
            Rollout::Rolling { from, .. } if from > 0 && from >= self.wanted => Some(from),
            _ => None,
        }
    }

    /// Whether a change of its template replaces any of its pods.
    ///
    /// # Errors
    /// None would be replaced: why, and what to do `instead`.
    pub(crate) fn replaces_pods(&self, instead: &str) -> Result<(), ActionError> {
        let no = |why: String, hint: String| Err(ActionError::GiveUp { why, hint: Some(hint) });
        match self.rollout {
            _ if self.is_terminating => no(format!("{self} is being deleted"), "its pods go with it".to_owned()),
            _ if self.is_paused => no(
                format!("{self} is paused: nothing of it is rolled out"),
                format!("`kubectl rollout resume` first, or {instead}"),
            ),
            Rollout::OnDelete => {
                no(format!("{self} replaces a pod only when somebody deletes it (OnDelete)"), instead.to_owned())
            }
            _ => match self.leaves_all_out() {
                Some(from) => no(
                    format!("{self} has a partition of {from}: none of its pods would be replaced"),
                    instead.to_owned(),
                ),
                None => Ok(()),
            },
        }
    }

    /// As the guard sees it; `takes` of its ready replicas would be ready no more.
    pub(crate) fn target(&self, cluster: &Name, takes: u32) -> Target {
        let counts = !matches!(self.kind, OwnerKind::Job | OwnerKind::CronJob);
        let replicas = counts.then_some(Replicas { wanted: self.wanted, ready: self.ready, takes });
        Target {
            node: cluster.clone(),
            kind: self.kind.name().into(),
            id: self.named.uid.clone(),
            label: format!("{} {}", self.kind.name(), self.named.place()),
            named: true,
            facts: TargetFacts::Object {
                cluster: cluster.clone(),
                resource: self.kind.resource().into(),
                namespace: self.named.namespace.as_deref().map(Name::from),
                name: self.named.name.clone(),
                uid: self.named.uid.clone(),
                owner: Some(self.above.as_ref().map_or_else(|| self.to_string(), ToString::to_string)),
                replicas,
                needed: None,
            },
        }
    }

    /// That something controls it, which may set it back.
    pub(crate) fn set_back_by(&self) -> Option<String> {
        let above = self.above.as_ref()?;
        Some(format!("{above} controls {self}, and may set it back"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn web(wanted: u32, ready: u32, strategy: Value) -> Workload {
        let found = json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u", "generation": 2 },
            "spec": { "replicas": wanted, "selector": {}, "template": {}, "strategy": strategy },
            "status": { "readyReplicas": ready, "replicas": wanted, "updatedReplicas": wanted,
                "availableReplicas": ready, "observedGeneration": 2 },
        });
        deployment(serde_json::from_value(found).unwrap())
    }

    #[test]
    fn a_restart_takes_what_its_strategy_lets_be_missing() {
        let rolling = |unavailable: Value, surge: Value| json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": unavailable, "maxSurge": surge } });
        for (wanted, ready, strategy, takes) in [
            (1, 1, json!({}), 0),
            (3, 3, json!({}), 0),
            (4, 4, json!({}), 1),
            (10, 10, json!({}), 2),
            (10, 9, json!({}), 1),
            (10, 6, json!({}), 0),
            (3, 3, json!({ "type": "Recreate" }), 3),
            (3, 2, json!({ "type": "Recreate" }), 2),
            (2, 2, rolling(json!(0), json!(0)), 1),
            (2, 2, rolling(json!(5), json!(1)), 2),
            (10, 10, rolling(json!("50%"), json!("0%")), 5),
            (0, 0, json!({}), 0),
        ] {
            assert_eq!(web(wanted, ready, strategy.clone()).rollout_takes(), takes, "{wanted} {ready} {strategy}");
        }
    }

    #[test]
    fn a_stateful_set_goes_one_by_one_and_not_below_its_partition() {
        let of = |strategy: Value| {
            let found = json!({ "metadata": {}, "spec": { "replicas": 3, "serviceName": "s", "selector": {}, "template": {}, "updateStrategy": strategy },
                "status": { "replicas": 3, "readyReplicas": 3 } });
            stateful_set(serde_json::from_value(found).unwrap())
        };
        assert_eq!(of(json!({})).rollout_takes(), 1);
        assert_eq!(of(json!({ "rollingUpdate": { "partition": 3 } })).rollout_takes(), 0);
        assert_eq!(of(json!({ "type": "OnDelete" })).rollout, Rollout::OnDelete);
        let of = |unavailable: Value| {
            let found = json!({ "metadata": {}, "spec": { "selector": {}, "template": {}, "updateStrategy": { "rollingUpdate": { "maxUnavailable": unavailable } } },
                "status": { "desiredNumberScheduled": 5, "numberReady": 5, "currentNumberScheduled": 5, "numberMisscheduled": 0 } });
            daemon_set(serde_json::from_value(found).unwrap()).rollout_takes()
        };
        assert_eq!((of(json!(1)), of(json!("30%")), of(json!(0))), (1, 2, 0));
    }

    #[test]
    fn whose_pods_no_change_of_the_template_replaces_says_what_to_do_instead() {
        let whole = web(3, 3, json!({}));
        assert!(whole.replaces_pods("wait").is_ok());
        assert!(
            Workload { rollout: Rollout::Rolling { unavailable: 1, from: 2 }, ..whole.clone() }
                .replaces_pods("wait")
                .is_ok()
        );
        for (still, says, hint) in [
            (
                Workload { is_terminating: true, is_paused: true, ..whole.clone() },
                "being deleted",
                "its pods go with it",
            ),
            (Workload { is_paused: true, ..whole.clone() }, "is paused", "`kubectl rollout resume` first, or wait"),
            (Workload { rollout: Rollout::OnDelete, ..whole.clone() }, "OnDelete", "wait"),
            (Workload { rollout: Rollout::Rolling { unavailable: 1, from: 3 }, ..whole }, "a partition of 3", "wait"),
        ] {
            let Err(ActionError::GiveUp { why, hint: Some(is) }) = still.replaces_pods("wait") else {
                panic!("{still}")
            };
            assert!(why.contains(says) && is == hint, "{why}: {is}");
        }
    }

    #[test]
    fn a_rollout_ends_when_the_old_are_gone_and_the_new_are_available() {
        let whole = web(3, 3, json!({}));
        assert_eq!(whole.rolls(), None);
        for (rolling, says) in [
            (Workload { is_seen: false, ..whole.clone() }, "has not seen"),
            (Workload { updated: 1, ..whole.clone() }, "1 of 3 pods are new"),
            (Workload { stands: 4, ..whole.clone() }, "1 old pods still run"),
            (Workload { available: 2, ..whole }, "2 of 3 pods are available"),
        ] {
            assert!(rolling.rolls().unwrap().contains(says));
        }
    }
}
