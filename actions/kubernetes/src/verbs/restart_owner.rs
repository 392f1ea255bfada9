//! `kubernetes.restart_owner`: makes every pod of a Deployment, StatefulSet or DaemonSet anew, as `kubectl rollout restart` does, and waits
//! until all are.
//!
//! Keeps true: a restart is asked for once, however often it is run: the moment that is written on the template is decided when it is
//! planned; where somebody else has asked for one since, theirs is waited for. What is not restarted by this (a paused rollout, a strategy
//! `OnDelete`) is said and not tried; where a partition leaves pods as they were it is never `verified`.

#[cfg(feature = "client")]
use crate::OwnerKind;
#[cfg(feature = "client")]
use crate::{
    CallError, Calls, Cluster,
    verbs::gone::may_pass,
    verbs::order::{before, input, order, to_json},
    verbs::patience::Patience,
    verbs::written::{Named, change},
    workload::{self, Workload},
};
use crate::{OwnerRef, PodRef};
#[cfg(feature = "client")]
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
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
    name: "kubernetes.restart_owner",
    summary: "makes every pod of an owner anew, as `kubectl rollout restart` does, and waits until all are",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &["owner", "pod"],
    permissions: with_owners![
        "kubernetes:get pods",
        "kubernetes:list pods",
        "kubernetes:patch deployments.apps",
        "kubernetes:patch statefulsets.apps",
        "kubernetes:patch daemonsets.apps"
    ],
    predict: |_| json!({ "restarted": true }),
};

/// Which owner: one of both.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The owner: a Deployment, a StatefulSet or a DaemonSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerRef>,
    /// A pod: what owns it is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Every pod is a new one; false: a partition leaves some as they were.
    pub restarted: bool,
    /// Whose: `deployment/web`.
    pub owner: String,
    /// How many pods it has.
    pub pods: u32,
}

/// By what `kubectl rollout restart` makes a template another one.
#[cfg(feature = "client")]
const KEY: &str = "kubectl.kubernetes.io/restartedAt";

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    kind: OwnerKind,
    owner: Named,
    /// What is written on the template.
    at: String,
}

/// What was written there before.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    at: Option<String>,
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct RestartOwner(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for RestartOwner {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        const KINDS: [OwnerKind; 3] = [OwnerKind::Deployment, OwnerKind::StatefulSet, OwnerKind::DaemonSet];
        let Input { owner, pod } = input(json)?;
        let calls = self.0.calls(&SPEC);
        let found = workload::find(&calls, (pod.as_ref(), owner.as_ref()), &KINDS, "restarted").await?;
        found.replaces_pods("`kubernetes.delete_pod` for each of its pods")?;
        let namespace = found.named.namespace.clone();
        let would_fail = calls.missing_on(namespace.as_deref(), &found.kind.resource()).await;
        let mut still_open =
            vec![format!("{found} makes its pods of the same image and configuration: the way in is still there")];
        still_open.extend(found.left_out());
        still_open.extend(found.set_back_by());
        let output = output(&found);
        let order = Order { call: SPEC.name.to_owned(), kind: found.kind, owner: found.named.clone(), at: moment() };
        Ok(Plan {
            targets: vec![found.target(self.0.name(), found.rollout_takes())],
            calls: vec![to_json(&order)],
            before: to_json(&Before { at: found.notes.get(KEY).cloned() }),
            predicted: to_json(&output),
            still_open,
            would_fail,
            already: false,
        })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let (order, was): (Order, Before) = (order(go.plan())?, before(go.plan())?);
        let calls = self.0.calls(&SPEC);
        mark(&calls, &order, &was).await?;
        let mut patience = Patience::of(cx);
        loop {
            let why = match workload::read_again(&calls, order.kind, &order.owner).await {
                Ok(Some(found)) => match state(&calls, &found, &was).await {
                    Ok(None) => return Ok(to_json(&output(&found))),
                    Ok(Some(why)) => why,
                    Err(error) if may_pass(&error) => error.to_string(),
                    Err(error) => return Err(error.into()),
                },
                Ok(None) => return Err(ActionError::give_up(gone(&order))),
                Err(error) if may_pass(&error) => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            if !patience.goes_on().await {
                let owner = order.owner.place();
                return Err(ActionError::Retry {
                    after: None,
                    why: format!("the restart of `{owner}` goes on: {why}"),
                });
            }
        }
    }

    async fn verify(&self, plan: &Plan, _: Want) -> Result<Truth, ActionError> {
        let (order, was): (Order, Before) = (order(plan)?, before(plan)?);
        let calls = self.0.calls(&SPEC);
        let Some(found) = workload::read_again(&calls, order.kind, &order.owner).await? else {
            return Ok(Truth::HoldsNot(gone(&order)));
        };
        Ok(match state(&calls, &found, &was).await? {
            None => found.left_out().map_or(Truth::Holds, Truth::Unproved),
            Some(why) => Truth::HoldsNot(format!("`{}`: {why}", order.owner.place())),
        })
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("the pods that a restart has ended do not come back"))
    }
}

#[cfg(feature = "client")]
fn gone(order: &Order) -> String {
    format!("{} `{}` is gone, or another has its name by now", order.kind.name(), order.owner.place())
}

/// As kubectl writes it, but to the microsecond, so that no two restarts are one.
#[cfg(feature = "client")]
fn moment() -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    format!("{now:.6}")
}

#[cfg(feature = "client")]
fn output(found: &Workload) -> Output {
    Output { restarted: found.left_out().is_none(), owner: found.to_string(), pods: found.wanted }
}

/// Why its pods are not all newer than the plan, if they are not.
#[cfg(feature = "client")]
async fn state(calls: &Calls<'_>, found: &Workload, was: &Before) -> Result<Option<String>, CallError> {
    if found.notes.get(KEY) == was.at.as_ref() {
        return Ok(Some("nobody has asked it to restart".to_owned()));
    }
    found.goes_on(calls).await
}

/// Asks for the restart, unless it, or another one, was asked for since the plan.
#[cfg(feature = "client")]
async fn mark(calls: &Calls<'_>, order: &Order, was: &Before) -> Result<(), ActionError> {
    macro_rules! on {
        ($kind:ty) => {
            change::<$kind>(calls, &order.owner, |found| {
                let template = found.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
                let notes = template.and_then(|meta| meta.annotations.as_ref());
                let is_as_before = notes.and_then(|notes| notes.get(KEY)) == was.at.as_ref();
                let patch = json!({ "spec": { "template": { "metadata": { "annotations": { KEY: order.at } } } } });
                is_as_before.then_some(patch)
            })
            .await
            .map(|_| ())
        };
    }
    match order.kind {
        OwnerKind::Deployment => on!(Deployment),
        OwnerKind::StatefulSet => on!(StatefulSet),
        OwnerKind::DaemonSet => on!(DaemonSet),
        other => Err(ActionError::give_up(format!("a {} cannot be restarted", other.name()))),
    }
}
