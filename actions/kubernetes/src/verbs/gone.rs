//! The end of a pod: how it is named before, waited for, and proved by the API.
//!
//! Owns what deleting and evicting have in common. Keeps true: only the pod with the planned uid counts; one that terminates is not gone;
//! a pod that its node runs from a file is not ended by this, and nobody is told so.

use super::patience::Patience;
use super::written::{Named, read};
use crate::call::{CallError, Calls};
use crate::owner::{self, Owners, is_mirror};
use crate::{Cluster, PodRef};
use k8s_openapi::api::core::v1::Pod;
use quell_model::{ActionContext, ActionError, Plan, Target, TargetFacts, Truth};
use std::time::Duration;

/// Whether it has run to its end.
pub(crate) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A pod that is to end, with what owns it; or none: the one that was meant is gone.
pub(super) struct Meant {
    pub(super) pod: Pod,
    pub(super) named: Named,
    pub(super) owners: Owners,
}

/// Finds it. Of a pod that an event named by its uid it is told that it is gone; whoever wrote a mere name may have mistyped it.
pub(super) async fn find(calls: &Calls<'_>, of: &PodRef, done: &str) -> Result<Option<Meant>, ActionError> {
    // One that is known by its uid alone is named first.
    let of = &of.known(calls).await?;
    if let Some(uid) = &of.uid {
        let found = calls.get::<Pod>(Some(&of.namespace), &of.name).await?;
        if found.and_then(|found| found.metadata.uid).as_ref() != Some(uid) {
            return Ok(None);
        }
    }
    let (pod, named) = of.find(calls).await?;
    if is_mirror(&pod) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        return Err(ActionError::GiveUp {
            why: format!(
                "pod `{}` cannot be {done}: node `{node}` runs it from a file, and makes it again",
                named.place()
            ),
            hint: Some(format!("take its manifest away on `{node}`, or end its processes with `process.kill`")),
        });
    }
    let owners = Owners::of(calls, &pod).await?;
    Ok(Some(Meant { pod, named, owners }))
}

/// The plan where the one that was meant is gone already.
pub(super) fn plan_of_none(cluster: &Cluster, of: &PodRef) -> Plan {
    let (namespace, name) = of.place();
    let uid = of.uid.clone().unwrap_or_default();
    let target = Target {
        node: cluster.name().clone(),
        kind: "pod".into(),
        id: uid.clone(),
        label: format!("pod {of}"),
        named: true,
        facts: TargetFacts::Object {
            cluster: cluster.name().clone(),
            resource: "pods".into(),
            namespace: namespace.map(Into::into),
            name: name.to_owned(),
            uid,
            owner: None,
            replicas: None,
            needed: None,
        },
    };
    Plan { targets: vec![target], already: true, ..Plan::default() }
}

impl Meant {
    /// As the guard sees it.
    pub(super) fn target(&self, cluster: &Cluster) -> Target {
        owner::target(cluster.name(), &self.pod, &self.owners, true)
    }

    /// What makes another in its place: `deployment/web`.
    pub(super) fn replaced_by(&self) -> Option<String> {
        let makes = |owner: &&owner::Owner| owner.kind != "Node";
        self.owners.chain.first().filter(makes)?;
        self.owners.top().map(ToString::to_string)
    }

    /// What its end does not change.
    pub(super) fn still_open(&self) -> Vec<String> {
        let again = self.replaced_by().map(|owner| {
            format!("{owner} makes another of the same image and configuration: the way in is still there")
        });
        let held = self.pod.metadata.finalizers.iter().flatten();
        let held = held.map(|name| format!("it stays until somebody takes its finalizer `{name}` off"));
        again.into_iter().chain(held).chain(self.owners.unknown.clone()).collect()
    }
}

/// Until when it terminates, and what holds it; none: nobody has asked it to.
pub(super) fn terminating(pod: &Pod) -> Option<String> {
    let until = &pod.metadata.deletion_timestamp.as_ref()?.0;
    let mut text = format!("it is terminating, until {until} by itself");
    if let Some(finalizers) = pod.metadata.finalizers.as_ref().filter(|all| !all.is_empty()) {
        text = format!("{text}, and held by the finalizers {}", finalizers.join(", "));
    }
    Some(text)
}

/// Whether it is gone.
pub(super) async fn truth(calls: &Calls<'_>, named: &Named) -> Result<Truth, ActionError> {
    Ok(match read::<Pod>(calls, named).await? {
        None => Truth::Holds,
        Some(pod) => {
            let state = terminating(&pod).unwrap_or_else(|| "it is there, and nobody has asked it to end".to_owned());
            Truth::HoldsNot(format!("pod `{}` is not gone: {state}", named.place()))
        }
    })
}

/// Waits until it is gone, as long as the attempt lasts. Meanwhile the API server may be away.
pub(super) async fn wait(calls: &Calls<'_>, named: &Named, cx: &ActionContext) -> Result<(), ActionError> {
    let mut patience = Patience::of(cx);
    loop {
        let state = match read::<Pod>(calls, named).await {
            Ok(None) => return Ok(()),
            Ok(Some(pod)) => terminating(&pod).unwrap_or_else(|| "nobody has asked it to end".to_owned()),
            Err(error) if may_pass(&error) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if !patience.goes_on().await {
            let why = format!("pod `{}` is not gone yet: {state}", named.place());
            return Err(ActionError::Retry { after: None, why });
        }
    }
}

/// Whether a read that failed may work a moment later.
pub(super) fn may_pass(error: &CallError) -> bool {
    matches!(error, CallError::Away(_) | CallError::Wait { .. })
}

/// For how long it is given to end by itself, once it is asked to.
pub(super) fn grace(pod: &Pod) -> Option<Duration> {
    let seconds = pod.spec.as_ref()?.termination_grace_period_seconds?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}
