//! `kubernetes.label_node`: writes labels on a node, or takes them off.
//!
//! Keeps true: undo gives back each label as it was, but not one that somebody else has written on since. What picks nodes by a label, a
//! DaemonSet or a pod's own wish, is not asked after: it is said.

use crate::NodeRef;
#[cfg(feature = "client")]
use crate::{
    Cluster, node,
    verbs::order::{before, input, order, to_json},
    verbs::words::On,
    verbs::written::{Named, Words, standing},
};
#[cfg(feature = "client")]
use k8s_openapi::api::core::v1::Node;
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
    name: "kubernetes.label_node",
    summary: "writes labels on a node, or takes them off",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["node"],
    permissions: &["kubernetes:get nodes", "kubernetes:patch nodes"],
    predict: |input| json!({ "labels": input.get("labels").cloned().unwrap_or_else(|| json!({})) }),
};

/// Which node, and which labels.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The node.
    pub node: NodeRef,
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
    node: Named,
    labels: Words,
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct LabelNode(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for LabelNode {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { node: of, labels } = input(json)?;
        let calls = self.0.calls(&SPEC);
        let (found, named) = of.find(&calls).await?;
        let was = standing(On::Labels.of(&found.metadata), &labels);
        let target = node::target(self.0.name(), &named, None);
        let order = Order { call: SPEC.name.to_owned(), node: named, labels };
        Ok(Plan {
            targets: vec![target],
            already: was == order.labels,
            calls: vec![to_json(&order)],
            before: to_json(&was),
            predicted: json!({ "labels": order.labels }),
            still_open: vec!["DaemonSets that pick their nodes by these labels come or go".to_owned()],
            would_fail: calls.missing(None).await,
        })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { node, labels, .. } = order(go.plan())?;
        On::Labels.write::<Node>(&self.0.calls(&SPEC), &node, &labels).await?;
        Ok(to_json(&Output { labels }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let Order { node, labels, .. } = order(plan)?;
        On::Labels.truth::<Node>(&self.0.calls(&SPEC), &node, (&labels, &before(plan)?), want).await
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { node, labels, .. } = order(go.plan())?;
        On::Labels.give_back::<Node>(&self.0.calls(&SPEC), &node, (&labels, &before(go.plan())?)).await
    }
}
