//! `kubernetes.label_pod`: writes labels on a pod, or takes them off.
//!
//! Keeps true: a label that its owner or a Service goes by is counted as the loss of a replica; undo gives back each label as it was, but
//! not one that somebody else has written on since.

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
    name: "kubernetes.label_pod",
    summary: "writes labels on a pod, or takes them off",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["pod"],
    permissions: with_owners!["kubernetes:get pods", "kubernetes:patch pods"],
    predict: |input| json!({ "labels": input.get("labels").cloned().unwrap_or_else(|| json!({})) }),
};

/// Which pod, and which labels.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The pod.
    pub pod: PodRef,
    /// Each with its value; null takes it off.
    pub labels: BTreeMap<String, Option<String>>,
}

/// How they stand now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Each with its value; null: it is not there.
    pub labels: BTreeMap<String, Option<String>>,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    pod: Named,
    labels: Words,
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct LabelPod(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for LabelPod {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let given: Input = input(json)?;
        let calls = self.0.calls(&SPEC);
        let (pod, named) = given.pod.find(&calls).await?;
        let owners = Owners::of(&calls, &pod).await?;
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let was = standing(Some(&labels), &given.labels);
        let mut then = labels.clone();
        for (key, value) in &given.labels {
            match value {
                Some(value) => then.insert(key.clone(), value.clone()),
                None => then.remove(key),
            };
        }
        let leaves = owners
            .selector
            .as_ref()
            .is_some_and(|selector| owner::fits(selector, &labels) && !owner::fits(selector, &then));
        let would_fail = calls.missing(named.namespace.as_deref()).await;
        let order = Order { call: SPEC.name.to_owned(), pod: named, labels: given.labels };
        Ok(Plan {
            targets: vec![owner::target(self.0.name(), &pod, &owners, leaves)],
            already: was == order.labels,
            calls: vec![to_json(&order)],
            before: to_json(&was),
            predicted: json!({ "labels": order.labels }),
            still_open: owners.unknown,
            would_fail,
        })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { pod, labels, .. } = order(go.plan())?;
        On::Labels.write::<Pod>(&self.0.calls(&SPEC), &pod, &labels).await?;
        Ok(to_json(&Output { labels }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let Order { pod, labels, .. } = order(plan)?;
        On::Labels.truth::<Pod>(&self.0.calls(&SPEC), &pod, (&labels, &before(plan)?), want).await
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { pod, labels, .. } = order(go.plan())?;
        On::Labels.give_back::<Pod>(&self.0.calls(&SPEC), &pod, (&labels, &before(go.plan())?)).await
    }
}
