//! `kubernetes.annotate_pod`: writes annotations on a pod, or takes them off.
//!
//! Keeps true: nothing selects pods by annotations, so no replica is lost by it; undo gives back each annotation as it was, but not one
//! that somebody else has written on since.

use crate::object::PodRef;
#[cfg(feature = "client")]
use crate::{
    Cluster, owner,
    owner::Owners,
    verbs::order::{before, input, order, to_json},
    verbs::words::On,
    verbs::written::{Named, Words, standing},
};
#[cfg(feature = "client")]
use k8s_openapi::api::core::v1::Pod;
#[cfg(feature = "client")]
use quell_model::{Action, ActionContext, ActionError, Admitted, Json, Plan, Truth, Want};
use quell_model::{ActionSpec, Guarantee, Lane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
#[cfg(feature = "client")]
use std::sync::Arc;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.annotate_pod",
    summary: "writes annotations on a pod, or takes them off",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["pod"],
    permissions: with_owners!["kubernetes:get pods", "kubernetes:patch pods"],
    predict: |input| json!({ "annotations": input.get("annotations").cloned().unwrap_or_else(|| json!({})) }),
};

/// Which pod, and which annotations.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The pod.
    pub pod: PodRef,
    /// Each with its value; null takes it off.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// How they stand now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Each with its value; null: it is not there.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    pod: Named,
    annotations: Words,
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct AnnotatePod(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for AnnotatePod {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { pod, annotations } = input(json)?;
        let calls = self.0.calls(&SPEC);
        let (pod, named) = pod.find(&calls).await?;
        let owners = Owners::of(&calls, &pod).await?;
        let was = standing(On::Annotations.of(&pod.metadata), &annotations);
        let would_fail = calls.missing(named.namespace.as_deref()).await;
        let order = Order { call: SPEC.name.to_owned(), pod: named, annotations };
        Ok(Plan {
            targets: vec![owner::target(self.0.name(), &pod, &owners, false)],
            already: was == order.annotations,
            calls: vec![to_json(&order)],
            before: to_json(&was),
            predicted: json!({ "annotations": order.annotations }),
            still_open: owners.unknown,
            would_fail,
        })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { pod, annotations, .. } = order(go.plan())?;
        On::Annotations.write::<Pod>(&self.0.calls(&SPEC), &pod, &annotations).await?;
        Ok(to_json(&Output { annotations }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let Order { pod, annotations, .. } = order(plan)?;
        On::Annotations.truth::<Pod>(&self.0.calls(&SPEC), &pod, (&annotations, &before(plan)?), want).await
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { pod, annotations, .. } = order(go.plan())?;
        On::Annotations.give_back::<Pod>(&self.0.calls(&SPEC), &pod, (&annotations, &before(go.plan())?)).await
    }
}
