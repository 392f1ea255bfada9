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
    verbs::written::{Named, Words, change, giving_back, read, standing, there},
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
        let write = |found: &Pod| {
            let now = standing(found.metadata.labels.as_ref(), &labels);
            (now != labels).then(|| json!({ "metadata": { "labels": labels } }))
        };
        change::<Pod>(&self.0.calls(&SPEC), &pod, write).await?;
        Ok(to_json(&Output { labels }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let Order { pod, labels, .. } = order(plan)?;
        let wanted = if want == Want::Acted { labels } else { before(plan)? };
        let Some(found) = read::<Pod>(&self.0.calls(&SPEC), &pod).await? else {
            return Ok(match want {
                Want::Acted => Truth::HoldsNot(format!("pod `{}` is gone", pod.place())),
                Want::Undone => Truth::Holds,
            });
        };
        let now = standing(found.metadata.labels.as_ref(), &wanted);
        let other = now.iter().find(|(key, value)| wanted.get(*key) != Some(value));
        Ok(other.map_or(Truth::Holds, |(key, value)| {
            Truth::HoldsNot(format!("label `{key}` is {}", value.as_deref().unwrap_or("not there")))
        }))
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { pod, labels, .. } = order(go.plan())?;
        let was: Words = before(go.plan())?;
        let calls = self.0.calls(&SPEC);
        if read::<Pod>(&calls, &pod).await?.is_none() {
            return Ok(json!({ "labels": {}, "gone": true }));
        }
        let mut still = Vec::new();
        let write = |found: &Pod| {
            let now = standing(found.metadata.labels.as_ref(), &was);
            let (back, others) = giving_back(&now, &labels, &was);
            still = others;
            (!back.is_empty()).then(|| json!({ "metadata": { "labels": back } }))
        };
        change::<Pod>(&calls, &pod, write).await?;
        let found: Pod = there(&calls, &pod).await?;
        let mut output = to_json(&Output { labels: standing(found.metadata.labels.as_ref(), &was) });
        if !still.is_empty() {
            output["still"] = still.join("; ").into();
        }
        Ok(output)
    }
}
