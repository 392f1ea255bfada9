//! `kubernetes.cordon_node`: a node takes no new pods.
//!
//! Keeps true: what runs there runs on; undo opens the node again, but not one that was closed before.

use crate::NodeRef;
#[cfg(feature = "client")]
use crate::{
    Cluster, node,
    verbs::order::{before, input, order, to_json},
    verbs::written::{Named, change, read},
};
#[cfg(feature = "client")]
use k8s_openapi::api::core::v1::Node;
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
    name: "kubernetes.cordon_node",
    summary: "lets a node take no new pods",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["node"],
    permissions: &["kubernetes:get nodes", "kubernetes:list nodes", "kubernetes:patch nodes"],
    predict: |_| json!({ "cordoned": true }),
};

/// Which node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The node.
    pub node: NodeRef,
}

/// How it stands now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Whether it takes no new pods.
    pub cordoned: bool,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    node: Named,
}

/// How it stood before.
#[cfg(feature = "client")]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) cordoned: bool,
}

/// Closes a node, whatever it was.
#[cfg(feature = "client")]
pub(super) async fn close(calls: &crate::Calls<'_>, named: &Named) -> Result<(), ActionError> {
    let write = |found: &Node| (!node::is_cordoned(found)).then(|| json!({ "spec": { "unschedulable": true } }));
    change::<Node>(calls, named, write).await.map(|_| ())
}

/// Whether it is closed; or whether it is no more, unless it was before.
#[cfg(feature = "client")]
pub(super) async fn truth(
    calls: &crate::Calls<'_>,
    named: &Named,
    was: Before,
    want: Want,
) -> Result<Truth, ActionError> {
    let found = read::<Node>(calls, named).await?;
    Ok(match (want, found.as_ref().map(node::is_cordoned)) {
        (Want::Acted, None) => Truth::HoldsNot(format!("node `{}` is gone", named.name)),
        (Want::Acted, Some(false)) => Truth::HoldsNot(format!("node `{}` takes pods", named.name)),
        (Want::Undone, Some(true)) if !was.cordoned => Truth::HoldsNot(format!("node `{}` takes no pods", named.name)),
        _ => Truth::Holds,
    })
}

/// Opens a node that was open before.
#[cfg(feature = "client")]
pub(super) async fn open(calls: &crate::Calls<'_>, named: &Named, was: Before) -> Result<Json, ActionError> {
    if read::<Node>(calls, named).await?.is_none() {
        return Ok(json!({ "cordoned": false, "gone": true }));
    }
    if was.cordoned {
        return Ok(json!({ "cordoned": true, "still": format!("node `{}` took no pods before either", named.name) }));
    }
    let write = |found: &Node| node::is_cordoned(found).then(|| json!({ "spec": { "unschedulable": null } }));
    change::<Node>(calls, named, write).await?;
    Ok(to_json(&Output { cordoned: false }))
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct CordonNode(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for CordonNode {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { node: of } = input(json)?;
        let calls = self.0.calls(&SPEC);
        let (found, named) = of.find(&calls).await?;
        let share = node::share(&calls, &found).await?;
        let cordoned = node::is_cordoned(&found);
        Ok(Plan {
            targets: vec![node::target(self.0.name(), &named, Some(share))],
            already: cordoned,
            calls: vec![to_json(&Order { call: SPEC.name.to_owned(), node: named })],
            before: to_json(&Before { cordoned }),
            predicted: to_json(&Output { cordoned: true }),
            still_open: vec![
                "what runs there runs on, and pods that tolerate it or name the node still come".to_owned(),
            ],
            would_fail: calls.missing(None).await,
        })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { node, .. } = order(go.plan())?;
        close(&self.0.calls(&SPEC), &node).await?;
        Ok(to_json(&Output { cordoned: true }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let Order { node, .. } = order(plan)?;
        truth(&self.0.calls(&SPEC), &node, before(plan)?, want).await
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { node, .. } = order(go.plan())?;
        open(&self.0.calls(&SPEC), &node, before(go.plan())?).await
    }
}
