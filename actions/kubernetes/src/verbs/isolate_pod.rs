//! `kubernetes.isolate_pod`: cuts one pod off, and not its siblings: in its node's kernel, by a NetworkPolicy, and out of its Services and
//! its owner.
//!
//! ```text
//! run:  cut on the node ──▶ policy ──▶ labels       undo:  cut ──▶ policy ──▶ labels
//!       the fast one         selects nobody yet             it gets traffic again once it may answer
//! ```
//!
//! What is known of a pod of this node is enough to plan it by: then the cluster is asked only after the cut.
//!
//! The labels that Services and its owner go by are taken off: the owner makes another, and this one stays to be looked at. Keeps true: what was
//! not proved is said, and is never `verified`; whoever cuts it off second does not loosen it, and it stays cut off until all have taken it back.

mod allow;
#[cfg(feature = "client")]
mod around;
#[cfg(feature = "client")]
mod mark;
#[cfg(feature = "client")]
mod planned;
#[cfg(feature = "client")]
mod written;

pub use allow::Allow;
#[cfg(feature = "client")]
pub(crate) use mark::owners;

use crate::object::PodRef;
#[cfg(feature = "client")]
use crate::{
    Cluster,
    verbs::order::{before, input, order, to_json},
    verbs::written::{Named, Words},
};
#[cfg(feature = "client")]
use quell_actions::network::PodCut;
#[cfg(feature = "client")]
use quell_model::{Action, ActionContext, ActionError, Admitted, Plan, TargetFacts, Truth, Want};
use quell_model::{ActionSpec, Guarantee, Json, Lane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
#[cfg(feature = "client")]
use std::{sync::Arc, time::Duration};

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.isolate_pod",
    summary: "cuts a pod off: on its node, by a NetworkPolicy, and from its Services and its owner",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Contain,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    targets: &["pod"],
    permissions: with_owners![
        "kubernetes:get pods",
        "kubernetes:list pods",
        "kubernetes:patch pods",
        "kubernetes:list services",
        "kubernetes:list daemonsets.apps",
        "kubernetes:list networkpolicies.networking.k8s.io",
        "kubernetes:create networkpolicies.networking.k8s.io",
        "kubernetes:patch networkpolicies.networking.k8s.io",
        "kubernetes:delete networkpolicies.networking.k8s.io",
        // On the pod's node; those of network.isolate.
        "CAP_BPF",
        "CAP_NET_ADMIN",
        "CAP_PERFMON",
        "CAP_SYS_ADMIN",
        "CAP_SYS_PTRACE",
    ],
    predict: |_| json!({ "policy": null, "cut": null }),
};

/// Which pod, and what passes all the same.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The pod.
    pub pod: PodRef,
    /// What passes all the same. Without it: nothing.
    #[serde(default)]
    pub allow: Allow,
}

/// How it is cut off.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// `namespace/name`.
    pub pod: String,
    /// Which of those that were called so.
    pub uid: String,
    /// Its labels that were changed, as they stand now; null: taken off.
    pub labels: BTreeMap<String, Option<String>>,
    /// Services that routed to it.
    pub services: Vec<String>,
    /// The NetworkPolicy; null: none would do anything.
    pub policy: Option<String>,
    /// What passes: of several who cut it off only what all of them allow.
    pub allow: Allow,
    /// The cut on its node, as network.isolate tells it; null: there is none.
    pub cut: Json,
}

/// What can be written of a pod on the API server.
#[cfg(feature = "client")]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Api {
    /// Labels and policy.
    Writes,
    /// The same: it was not asked yet, and by which labels the pod is known is read when they are written.
    Unread,
    /// Nothing: it is gone from there, and runs on its node all the same.
    Gone,
    /// Nobody knows: it could not be asked, and why.
    Away(String),
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    pod: Named,
    api: Api,
    labels: Words,
    services: Vec<String>,
    /// A policy does nothing for a pod in its node's network.
    policy: bool,
    allow: Allow,
    /// Who would enforce it.
    enforcer: String,
    /// The cut on its node.
    cut: Option<Json>,
    /// The networks that the cut lets through.
    nets: Vec<String>,
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct IsolatePod(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
impl IsolatePod {
    fn cut(&self) -> Result<Arc<PodCut>, ActionError> {
        self.0.cut().ok_or_else(|| ActionError::give_up("this engine has no hands on the pods of a node"))
    }

    fn wanted<'w>(order: &'w Order, key: &'w str) -> written::Wanted<'w> {
        let reads = order.api == Api::Unread;
        let Order { pod, labels, allow, policy, .. } = order;
        written::Wanted { pod, labels, reads, allow, with_policy: *policy, key }
    }
}

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for IsolatePod {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        planned::plan(&self.0, &input(json)?).await
    }

    async fn plan_at_once(&self, json: &Json) -> Option<Plan> {
        planned::at_once(&self.0, &input(json).ok()?).await
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        // The fast one first: it needs no answer of anybody.
        let cut = match &order.cut {
            Some(part) => match self.cut() {
                Ok(cut) => Some(cut.run(go, part, cx).await),
                Err(error) => Some(Err(error)),
            },
            None => None,
        };
        let written = match &order.api {
            Api::Writes | Api::Unread => {
                written::stand(&self.0.calls(&SPEC), &Self::wanted(&order, cx.key.part())).await.map(Some)
            }
            Api::Gone => Ok(None),
            Api::Away(why) => Err(ActionError::retry(format!("neither policy nor labels are written: {why}"))),
        };
        let (cut, stands) = match (cut.transpose(), written) {
            (Ok(cut), Ok(stands)) => (cut, stands),
            (Ok(None), Err(error)) => return Err(error),
            (Ok(Some(_)), Err(error)) => {
                return Err(with(&format!("pod `{}` is cut off on its node, but", order.pod.place()), error));
            }
            (Err(error), Ok(Some(_))) => {
                return Err(with("its policy and labels are written, but it is not cut off on its node:", error));
            }
            (Err(error), _) => return Err(error),
        };
        let (pod, cut) = (order.pod.place(), cut.unwrap_or_default());
        let Order { pod: Named { uid, .. }, labels, services, allow, .. } = order;
        Ok(to_json(&match stands {
            None => Output { pod, uid, labels, services, policy: None, allow, cut },
            Some(written::Stands { policy, allow, labels, services: read }) => {
                let services = services.into_iter().chain(read).collect();
                Output { pod, uid, labels, services, policy, allow, cut }
            }
        }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let order: Order = order(plan)?;
        if want == Want::Undone {
            if let Some(part) = &order.cut
                && let stands @ Truth::HoldsNot(_) = self.cut()?.verify(part, Want::Undone).await?
            {
                return Ok(stands);
            }
            let stands = written::remains(&self.0.calls(&SPEC), &order.pod, None).await?;
            return Ok(stands.map_or(Truth::Holds, Truth::HoldsNot));
        }
        match &order.api {
            Api::Writes | Api::Unread => {
                if let Some(why) = written::lacks(&self.0.calls(&SPEC), &Self::wanted(&order, "")).await? {
                    return Ok(Truth::HoldsNot(why));
                }
            }
            Api::Gone => {}
            Api::Away(why) => {
                return Ok(Truth::HoldsNot(format!("neither policy nor labels are written: {why}")));
            }
        }
        let Some(part) = &order.cut else {
            let why = format!("policy and labels stand in the API; {}", order.enforcer);
            return Ok(Truth::Unproved(why));
        };
        Ok(match self.cut()?.verify(part, Want::Acted).await? {
            Truth::CannotAsk => Truth::Unproved("the cut on its node stands, and could not be tried".to_owned()),
            truth => truth,
        })
    }

    async fn verify_undone(&self, plan: &Plan, cx: &ActionContext) -> Result<Truth, ActionError> {
        let order: Order = order(plan)?;
        let cut = match &order.cut {
            Some(part) => self.cut()?.verify_undone(part, cx)?,
            None => match self.0.cut().map(|cut| cut.remains(cx)).transpose()?.flatten() {
                Some(cgroup) => Truth::HoldsNot(format!("`{cgroup}` is cut")),
                None => Truth::Holds,
            },
        };
        if let stands @ Truth::HoldsNot(_) = cut {
            return Ok(stands);
        }
        let (calls, key) = (self.0.calls(&SPEC), cx.key.part());
        let stands = match written::remains(&calls, &order.pod, Some(key)).await? {
            None => written::keeps(&calls, &Self::wanted(&order, key), &before(plan)?).await?,
            stands => stands,
        };
        Ok(stands.map_or(Truth::Holds, Truth::HoldsNot))
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let (order, was): (Order, Words) = (order(go.plan())?, before(go.plan())?);
        let cut = match &order.cut {
            Some(part) => match self.cut() {
                Ok(cut) => cut.undo(go, part, cx).await.map(Some),
                Err(error) => Err(error),
            },
            // An attempt before it may have had a cut.
            None => self.0.cut().map_or(Ok(None), |cut| cut.withdraw(cx)),
        };
        // What stands in the API is given back whatever becomes of the cut. Also where nothing was to be written by this plan: an attempt before it may have written.
        let wanted = Self::wanted(&order, cx.key.part());
        let left = written::withdraw(&self.0.calls(&SPEC), &wanted, &was).await?;
        let cut = cut?;
        let of_cut = cut.as_ref().and_then(|cut| cut["still"].as_str()).map(str::to_owned);
        let still: Vec<String> = of_cut.into_iter().chain(left.still).collect();
        let mut output = json!({ "pod": order.pod.place(), "gone": left.gone, "cut": cut });
        if !still.is_empty() {
            output["still"] = still.join("; ").into();
        }
        Ok(output)
    }

    fn is_held(&self) -> bool {
        true
    }

    async fn verify_lapsed(&self, plan: &Plan) -> Result<Truth, ActionError> {
        let order: Order = order(plan)?;
        match &order.cut {
            Some(part) => self.cut()?.verify(part, Want::Undone).await,
            None => Ok(Truth::HoldsNot("what stands in the API has no end".to_owned())),
        }
    }

    async fn hold(&self, go: &Admitted, cx: &ActionContext, lasting: Duration) -> Result<(), ActionError> {
        let order: Order = order(go.plan())?;
        order.cut.as_ref().map_or(Ok(()), |part| self.cut()?.hold(go, part, cx, lasting))
    }

    async fn plan_again(&self, _: &Json, former: &Plan) -> Result<Plan, ActionError> {
        let order: Order = order(former)?;
        let part = self.cut()?.plan(&order.pod.uid, &order.nets).await?;
        let part = part
            .ok_or_else(|| ActionError::give_up(format!("pod `{}` is not on this node any more", order.pod.place())))?;
        let of_cluster =
            former.targets.iter().filter(|target| matches!(target.facts, TargetFacts::Object { .. })).cloned();
        let order = Order { cut: Some(part.part.clone()), ..order };
        Ok(Plan {
            targets: of_cluster.chain(planned::scope(&part)).collect(),
            calls: vec![to_json(&order)],
            ..former.clone()
        })
    }
}

/// The same verdict, with what stands before its words.
#[cfg(feature = "client")]
fn with(what: &str, error: ActionError) -> ActionError {
    match error {
        ActionError::Retry { after, why } => ActionError::Retry { after, why: format!("{what} {why}") },
        ActionError::GiveUp { why, hint } => ActionError::GiveUp { why: format!("{what} {why}"), hint },
        ActionError::Unknown { why } => ActionError::Unknown { why: format!("{what} {why}") },
    }
}
