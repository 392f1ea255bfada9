//! `kubernetes.scale_owner`: gives an owner another number of pods, and waits until it has no more than that.
//!
//! Keeps true: only the number is written (its `scale`), in the version that was read; a pod that still terminates counts as there; undo
//! gives the former number back, but not over somebody else's. An autoscaler that goes on scaling is told in the plan.

#[cfg(feature = "client")]
use crate::OwnerKind;
#[cfg(feature = "client")]
use crate::{
    CallError, Calls, Cluster,
    verbs::gone::may_pass,
    verbs::order::{before, input, order, to_json},
    verbs::patience::Patience,
    verbs::written::Named,
    workload::{self, Workload},
};
use crate::{OwnerRef, PodRef};
#[cfg(feature = "client")]
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::ReplicationController,
};
#[cfg(feature = "client")]
use kube::api::ListParams;
#[cfg(feature = "client")]
use quell_model::{Action, ActionContext, ActionError, Admitted, Json, Plan, Truth, Want};
use quell_model::{ActionSpec, Guarantee, Lane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
#[cfg(feature = "client")]
use std::sync::Arc;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.scale_owner",
    summary: "gives an owner another number of pods; 0 ends all of them",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["owner", "pod"],
    permissions: with_owners![
        "kubernetes:get pods",
        "kubernetes:list pods",
        "kubernetes:list horizontalpodautoscalers.autoscaling",
        "kubernetes:patch deployments.apps/scale",
        "kubernetes:patch statefulsets.apps/scale",
        "kubernetes:patch replicasets.apps/scale",
        "kubernetes:patch replicationcontrollers/scale"
    ],
    predict: |input| json!({ "replicas": input.get("to").cloned().unwrap_or_default() }),
};

/// Which owner, and how many.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The owner: a Deployment, a StatefulSet, a ReplicaSet or a ReplicationController.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerRef>,
    /// A pod: what owns it is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// So many pods; 2147483647 at most.
    pub to: u32,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// So many are wanted now.
    pub replicas: u32,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    kind: OwnerKind,
    owner: Named,
    to: u32,
}

/// How many were wanted before.
#[cfg(feature = "client")]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Before {
    replicas: u32,
}

/// So often the number is tried again that somebody else's write came before.
#[cfg(feature = "client")]
const TRIES: u32 = 8;

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct ScaleOwner(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for ScaleOwner {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        const KINDS: [OwnerKind; 4] =
            [OwnerKind::Deployment, OwnerKind::StatefulSet, OwnerKind::ReplicaSet, OwnerKind::ReplicationController];
        let Input { owner, pod, to } = input(json)?;
        if i32::try_from(to).is_err() {
            return Err(ActionError::give_up(format!("`to` is {to}: expected 2147483647 at most")));
        }
        let calls = self.0.calls(&SPEC);
        let found = workload::find(&calls, (pod.as_ref(), owner.as_ref()), &KINDS, "scaled").await?;
        if found.is_terminating {
            return Err(ActionError::give_up(format!("{found} is being deleted, and its pods go with it")));
        }
        let namespace = found.named.namespace.clone();
        let scale = format!("{}/scale", found.kind.resource());
        let order = Order { call: SPEC.name.to_owned(), kind: found.kind, owner: found.named.clone(), to };
        let still_open = autoscaled(&calls, &found, to).await?;
        Ok(Plan {
            targets: vec![found.target(self.0.name(), found.ready.saturating_sub(to))],
            already: found.wanted == to && state(&calls, &found, to).await?.is_none(),
            calls: vec![to_json(&order)],
            before: to_json(&Before { replicas: found.wanted }),
            predicted: to_json(&Output { replicas: to }),
            still_open: still_open.into_iter().chain(found.set_back_by()).collect(),
            would_fail: calls.missing_on(namespace.as_deref(), &scale).await,
        })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        let calls = self.0.calls(&SPEC);
        write(&calls, &order, |now| (now != order.to).then_some(order.to)).await?;
        let mut patience = Patience::of(cx);
        loop {
            let why = match now(&calls, &order).await {
                Ok(None) => return Ok(to_json(&Output { replicas: order.to })),
                Ok(Some(why)) => why,
                Err(error) if may_pass(&error) => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            if !patience.goes_on().await {
                let owner = order.owner.place();
                let why = format!("`{owner}` has not {} pods yet: {why}", order.to);
                return Err(ActionError::Retry { after: None, why });
            }
        }
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let (order, was): (Order, Before) = (order(plan)?, before(plan)?);
        let calls = self.0.calls(&SPEC);
        if want == Want::Acted {
            let why = now(&calls, &order).await?;
            return Ok(why.map_or(Truth::Holds, |why| Truth::HoldsNot(format!("`{}`: {why}", order.owner.place()))));
        }
        let found = workload::read_again(&calls, order.kind, &order.owner).await?;
        let stands = found.is_some_and(|found| found.wanted == order.to && order.to != was.replicas);
        Ok(if stands {
            Truth::HoldsNot(format!("`{}` still wants {} pods", order.owner.place(), order.to))
        } else {
            Truth::Holds
        })
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let (order, was): (Order, Before) = (order(go.plan())?, before(go.plan())?);
        let calls = self.0.calls(&SPEC);
        if workload::read_again(&calls, order.kind, &order.owner).await?.is_none() {
            return Ok(json!({ "replicas": 0, "gone": true }));
        }
        let back = |now: u32| (now == order.to && now != was.replicas).then_some(was.replicas);
        let now = write(&calls, &order, back).await?;
        let mut output = to_json(&Output { replicas: now });
        if now != was.replicas {
            output["still"] = format!("{now} pods are wanted now, which quell did not write").into();
        }
        Ok(output)
    }
}

/// Writes the number that `wanted` makes of the one that stands; gives the one that stands then.
#[cfg(feature = "client")]
async fn write(
    calls: &Calls<'_>,
    order: &Order,
    wanted: impl Fn(u32) -> Option<u32> + Send + Sync,
) -> Result<u32, ActionError> {
    let Order { kind, owner, .. } = order;
    let (namespace, scale) = (owner.namespace.as_deref(), (owner.name.as_str(), "scale"));
    let mut last = String::new();
    for _ in 0..TRIES {
        let found = workload::read_again(calls, *kind, owner).await?;
        let found = found.ok_or_else(|| ActionError::give_up(gone(order)))?;
        let Some(to) = wanted(found.wanted) else { return Ok(found.wanted) };
        let patch = json!({
            "metadata": { "uid": owner.uid, "resourceVersion": found.version },
            "spec": { "replicas": to },
        });
        let written = match kind {
            OwnerKind::Deployment => calls.merge_sub::<Deployment>(namespace, scale, &patch).await,
            OwnerKind::StatefulSet => calls.merge_sub::<StatefulSet>(namespace, scale, &patch).await,
            OwnerKind::ReplicaSet => calls.merge_sub::<ReplicaSet>(namespace, scale, &patch).await,
            OwnerKind::ReplicationController => {
                calls.merge_sub::<ReplicationController>(namespace, scale, &patch).await
            }
            other => return Err(ActionError::give_up(format!("a {} cannot be scaled", other.name()))),
        };
        match written {
            Ok(_) => return Ok(to),
            Err(CallError::Conflict(why)) => last = why,
            Err(error) => return Err(error.into()),
        }
    }
    Err(ActionError::retry(format!("`{}` is written on all the time: {last}", owner.place())))
}

#[cfg(feature = "client")]
fn gone(order: &Order) -> String {
    format!("{} `{}` is gone, or another has its name by now", order.kind.name(), order.owner.place())
}

/// Why it has not that number of pods, if it has not.
#[cfg(feature = "client")]
async fn now(calls: &Calls<'_>, order: &Order) -> Result<Option<String>, CallError> {
    match workload::read_again(calls, order.kind, &order.owner).await? {
        None => Ok(Some(gone(order))),
        Some(found) => state(calls, &found, order.to).await,
    }
}

/// The same of what was read.
#[cfg(feature = "client")]
async fn state(calls: &Calls<'_>, found: &Workload, to: u32) -> Result<Option<String>, CallError> {
    if found.wanted != to {
        return Ok(Some(format!("{} pods are wanted", found.wanted)));
    }
    if !found.is_seen {
        return Ok(Some("its controller has not seen the change yet".to_owned()));
    }
    if found.stands != to {
        return Ok(Some(format!("{} pods are counted", found.stands)));
    }
    let there = found.pods(calls).await?.len();
    Ok((there > to as usize).then(|| format!("{there} pods are there, with those that terminate")))
}

/// What else scales it.
#[cfg(feature = "client")]
async fn autoscaled(calls: &Calls<'_>, of: &Workload, to: u32) -> Result<Vec<String>, ActionError> {
    let all = calls.list::<HorizontalPodAutoscaler>(of.named.namespace.as_deref(), &ListParams::default()).await?;
    let is_of = |scaler: &HorizontalPodAutoscaler| {
        scaler.spec.as_ref().is_some_and(|spec| {
            let target = &spec.scale_target_ref;
            target.name == of.named.name && OwnerKind::named(&target.kind) == Some(of.kind)
        })
    };
    let told = |scaler: &HorizontalPodAutoscaler| {
        let name = scaler.metadata.name.as_deref().unwrap_or_default();
        let spec = scaler.spec.as_ref();
        let (least, most) = spec.map_or((1, 1), |spec| (spec.min_replicas.unwrap_or(1), spec.max_replicas));
        if to == 0 {
            format!(
                "the autoscaler {name} leaves it alone while it wants no pods, and scales it again ({least} to {most}) once it does"
            )
        } else {
            format!("the autoscaler {name} goes on scaling it, from {least} to {most} pods")
        }
    };
    Ok(all.iter().filter(|scaler| is_of(scaler)).map(told).collect())
}
