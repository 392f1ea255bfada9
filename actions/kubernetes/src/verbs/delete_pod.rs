//! `kubernetes.delete_pod`: deletes a pod, and waits until it is gone.
//!
//! Keeps true: only the very pod that was planned is deleted (its uid); it is told as deleted once the API server has it no more, and not
//! when it was asked. Nothing brings it back: its owner makes another, or nobody does. Its bound tokens end with it.

use crate::object::PodRef;
#[cfg(feature = "client")]
use crate::{
    CallError, Cluster,
    verbs::gone::{self, Meant},
    verbs::order::{input, order, to_json},
    verbs::written::{Named, read},
};
#[cfg(feature = "client")]
use k8s_openapi::api::core::v1::Pod;
use quell_actions::span::Span;
#[cfg(feature = "client")]
use quell_model::{Action, ActionContext, ActionError, Admitted, Json, Plan, Truth, Want};
use quell_model::{ActionSpec, Guarantee, Lane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
#[cfg(feature = "client")]
use std::{sync::Arc, time::Duration};

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.delete_pod",
    summary: "deletes a pod and waits until it is gone; tokens that are bound to it end with it",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &["pod"],
    permissions: with_owners!["kubernetes:get pods", "kubernetes:delete pods"],
    predict: |_| json!({ "deleted": true }),
};

/// Which pod.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The pod.
    pub pod: PodRef,
    /// How long its containers have to end by themselves, in whole seconds; none: as long as the pod says (30 s where it says nothing).
    /// The step's `timeout` has to be longer. With `0s` the API server forgets it at once, and its node ends it when it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// It is gone.
    pub deleted: bool,
    /// What owned it, at the top: `deployment/web`; null: nothing.
    pub owner: Option<String>,
    /// Whether something makes another in its place.
    pub replacement: bool,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    pod: Named,
    /// In seconds.
    grace: Option<u64>,
    owner: Option<String>,
    replacement: bool,
}

#[cfg(feature = "client")]
impl Order {
    fn output(&self) -> Json {
        to_json(&Output { deleted: true, owner: self.owner.clone(), replacement: self.replacement })
    }
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct DeletePod(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for DeletePod {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { pod: of, grace } = input(json)?;
        let grace = grace.map(whole).transpose()?;
        let calls = self.0.calls(&SPEC);
        let of = of.known(&calls).await?;
        let Some(meant) = gone::find(&calls, &of, "deleted").await? else {
            let output = Output { deleted: true, owner: None, replacement: false };
            return Ok(Plan { predicted: to_json(&output), ..gone::plan_of_none(&self.0, &of) });
        };
        let would_fail = calls.missing(meant.named.namespace.as_deref()).await;
        let order = Order {
            call: SPEC.name.to_owned(),
            pod: meant.named.clone(),
            grace: grace.map(|grace| grace.as_secs()),
            owner: meant.owners.top().map(ToString::to_string),
            replacement: meant.replaced_by().is_some(),
        };
        Ok(Plan {
            targets: vec![meant.target(&self.0)],
            calls: vec![to_json(&order)],
            predicted: order.output(),
            still_open: still_open(&meant, grace),
            would_fail,
            ..Plan::default()
        })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        let calls = self.0.calls(&SPEC);
        let grace = order.grace.map(Duration::from_secs);
        if let Some(pod) = read::<Pod>(&calls, &order.pod).await?
            && !is_asked(&pod, grace)
        {
            let whose = (order.pod.name.as_str(), order.pod.uid.as_str());
            match calls.delete::<Pod>(order.pod.namespace.as_deref(), whose, grace).await {
                // Another has its name by now: this one is gone.
                Ok(()) | Err(CallError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        gone::wait(&calls, &order.pod, cx).await?;
        Ok(order.output())
    }

    async fn verify(&self, plan: &Plan, _: Want) -> Result<Truth, ActionError> {
        let Order { pod, .. } = order(plan)?;
        gone::truth(&self.0.calls(&SPEC), &pod).await
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("a pod that is deleted does not come back"))
    }
}

/// The API knows whole seconds.
#[cfg(feature = "client")]
fn whole(grace: Span) -> Result<Duration, ActionError> {
    if grace.0.subsec_nanos() == 0 {
        return Ok(grace.0);
    }
    Err(ActionError::GiveUp {
        why: format!("`grace` is {} ms: a pod is given whole seconds", grace.0.as_millis()),
        hint: Some("`grace: 1s`".to_owned()),
    })
}

#[cfg(feature = "client")]
fn still_open(meant: &Meant, grace: Option<Duration>) -> Vec<String> {
    let given = grace.or_else(|| gone::grace(&meant.pod)).unwrap_or_default();
    let lives = if given.is_zero() {
        Some("the API server forgets it at once: its containers run on until its node has ended them".to_owned())
    } else if gone::terminating(&meant.pod).is_some() {
        gone::terminating(&meant.pod)
    } else {
        Some(format!("its containers may run on for {} s", given.as_secs()))
    };
    lives.into_iter().chain(meant.still_open()).collect()
}

/// Whether it was asked to end, and as soon as this.
#[cfg(feature = "client")]
fn is_asked(pod: &Pod, grace: Option<Duration>) -> bool {
    let meta = &pod.metadata;
    let given = meta.deletion_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    meta.deletion_timestamp.is_some() && grace.is_none_or(|grace| given.is_some_and(|given| given <= grace.as_secs()))
}

#[cfg(feature = "client")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_to_end_is_asked_again_only_to_be_quicker() {
        let pod = |meta: Json| serde_json::from_value::<Pod>(json!({ "metadata": meta })).unwrap();
        let going = pod(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30 }));
        for (pod, grace, asked) in [
            (&pod(json!({})), None, false),
            (&pod(json!({})), Some(0), false),
            (&going, None, true),
            (&going, Some(30), true),
            (&going, Some(60), true),
            (&going, Some(5), false),
        ] {
            assert_eq!(is_asked(pod, grace.map(Duration::from_secs)), asked, "{grace:?}");
        }
        assert!(whole(Span(Duration::from_millis(1_500))).is_err());
        assert_eq!(whole(Span(Duration::from_secs(3))), Ok(Duration::from_secs(3)));
    }
}
