//! `kubernetes.evict_pod`: asks the API server to evict a pod, which it does only where the budgets of disruptions let it, and waits until
//! it is gone.
//!
//! Keeps true: a budget that says no is obeyed and told, and never gone round by a deletion; what a budget would say is asked by a dry run
//! when it is planned.

use crate::object::PodRef;
#[cfg(feature = "client")]
use crate::{
    CallError, Calls, Cluster,
    verbs::gone,
    verbs::order::{input, order, to_json},
    verbs::written::{Named, read},
};
#[cfg(feature = "client")]
use k8s_openapi::api::core::v1::Pod;
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
    name: "kubernetes.evict_pod",
    summary: "evicts a pod where the budgets of disruptions let it, and waits until it is gone",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &["pod"],
    permissions: with_owners!["kubernetes:get pods", "kubernetes:create pods/eviction"],
    predict: |_| json!({ "evicted": true }),
};

/// Which pod.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The pod.
    pub pod: PodRef,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// It is gone.
    pub evicted: bool,
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
    owner: Option<String>,
    replacement: bool,
}

#[cfg(feature = "client")]
impl Order {
    fn output(&self) -> Json {
        to_json(&Output { evicted: true, owner: self.owner.clone(), replacement: self.replacement })
    }
}

/// Whether it is done, or only asked whether it would be.
#[cfg(feature = "client")]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Really {
    Done,
    Asked,
}

/// Evicts the very pod. Gone already is no error.
#[cfg(feature = "client")]
async fn evict(calls: &Calls<'_>, pod: &Named, really: Really) -> Result<(), CallError> {
    let mut options = json!({ "preconditions": { "uid": pod.uid } });
    if really == Really::Asked {
        options["dryRun"] = json!(["All"]);
    }
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": pod.name, "namespace": pod.namespace },
        "deleteOptions": options,
    });
    match calls.create_sub::<Pod>(pod.namespace.as_deref(), (&pod.name, "eviction"), &eviction).await {
        Ok(_) | Err(CallError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// So often an eviction is tried again that somebody wrote on the pod or its budget meanwhile.
#[cfg(feature = "client")]
const TRIES: u32 = 5;

/// Sees to it that the very pod is asked to end, or is gone.
#[cfg(feature = "client")]
pub(super) async fn ask_to_end(calls: &Calls<'_>, pod: &Named) -> Result<(), CallError> {
    let mut last = Ok(());
    for _ in 0..TRIES {
        // A conflict may mean that another has its name by now.
        match read::<Pod>(calls, pod).await? {
            Some(found) if found.metadata.deletion_timestamp.is_none() => {}
            _ => return Ok(()),
        }
        last = evict(calls, pod, Really::Done).await;
        if !matches!(last, Err(CallError::Conflict(_))) {
            break;
        }
    }
    last
}

/// What the server would say to it now, if it would say no.
#[cfg(feature = "client")]
pub(super) async fn would_refuse(calls: &Calls<'_>, pod: &Named) -> Result<Option<String>, ActionError> {
    match evict(calls, pod, Really::Asked).await {
        // That it may not at all is asked of the permissions.
        Ok(()) | Err(CallError::Forbidden { .. } | CallError::Conflict(_)) => Ok(None),
        Err(CallError::Wait { why, .. } | CallError::Refused(why) | CallError::Unknown(why)) => {
            Ok(Some(format!("the API server would not evict `{}` now: {why}", pod.place())))
        }
        Err(error) => Err(error.into()),
    }
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct EvictPod(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for EvictPod {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { pod: of } = input(json)?;
        let calls = self.0.calls(&SPEC);
        let of = of.known(&calls).await?;
        let Some(meant) = gone::find(&calls, &of, "evicted").await? else {
            let output = Output { evicted: true, owner: None, replacement: false };
            return Ok(Plan { predicted: to_json(&output), ..gone::plan_of_none(&self.0, &of) });
        };
        let mut would_fail = calls.missing(meant.named.namespace.as_deref()).await;
        would_fail.extend(would_refuse(&calls, &meant.named).await?);
        let order = Order {
            call: SPEC.name.to_owned(),
            pod: meant.named.clone(),
            owner: meant.owners.top().map(ToString::to_string),
            replacement: meant.replaced_by().is_some(),
        };
        let lives = gone::terminating(&meant.pod).or_else(|| {
            gone::grace(&meant.pod).map(|grace| format!("its containers may run on for {} s", grace.as_secs()))
        });
        Ok(Plan {
            targets: vec![meant.target(&self.0)],
            calls: vec![to_json(&order)],
            predicted: order.output(),
            still_open: lives.into_iter().chain(meant.still_open()).collect(),
            would_fail,
            ..Plan::default()
        })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        let calls = self.0.calls(&SPEC);
        ask_to_end(&calls, &order.pod).await?;
        gone::wait(&calls, &order.pod, cx).await?;
        Ok(order.output())
    }

    async fn verify(&self, plan: &Plan, _: Want) -> Result<Truth, ActionError> {
        let Order { pod, .. } = order(plan)?;
        gone::truth(&self.0.calls(&SPEC), &pod).await
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("a pod that is evicted does not come back"))
    }
}
