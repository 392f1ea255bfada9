//! `kubernetes.drain_node`: a node takes no new pods, and those that are there are evicted, one by one, as their budgets of disruptions let
//! them.
//!
//! Keeps true: it is in the capture lane, and no kill waits for it; only pods that were planned are evicted (their uids), so that the guard
//! has seen each; a budget is obeyed until the time is over, and never gone round; what could not be evicted is named. Undo opens the node
//! again, and brings no pod back.
//!
//! ```text
//! close the node ──▶ round: look ──▶ evict those that nobody has asked yet, a few at a time ──▶ wait ──▶ …
//!                              └─ none is left ──▶ has anybody come meanwhile? ──▶ done
//! ```

#[cfg(feature = "client")]
mod round;
#[cfg(feature = "client")]
mod who;

use crate::NodeRef;
#[cfg(feature = "client")]
use crate::{
    Cluster, node, owner,
    verbs::cordon_node::{self, Before},
    verbs::evict_pod::would_refuse,
    verbs::order::{before, input, order, to_json},
    verbs::written::Named,
};
use quell_actions::span::Span;
#[cfg(feature = "client")]
use quell_model::{Action, ActionContext, ActionError, Admitted, Json, Plan, Target, Truth, Want};
use quell_model::{ActionSpec, Guarantee, Lane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
#[cfg(feature = "client")]
use std::sync::Arc;
use std::time::Duration;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.drain_node",
    summary: "lets a node take no new pods, and evicts those that are there, as their budgets of disruptions let it",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Capture,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["node"],
    permissions: with_owners![
        "kubernetes:get nodes",
        "kubernetes:list nodes",
        "kubernetes:patch nodes",
        "kubernetes:get pods",
        "kubernetes:list pods",
        "kubernetes:create pods/eviction"
    ],
    predict: |_| json!({ "drained": true }),
};

/// Which node, and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The node.
    pub node: NodeRef,
    /// For so long it is tried; then it has failed, and what is left is named. The step's `timeout` has to be as long.
    #[serde(default = "five_minutes")]
    pub timeout: Span,
    /// Leaves pods of DaemonSets, which would be made there again at once; without it a node that has some is not drained.
    #[serde(default = "yes")]
    pub ignore_daemonsets: bool,
    /// Evicts also pods that nothing makes anew; without it a node that has some is not drained.
    #[serde(default)]
    pub force: bool,
}

fn five_minutes() -> Span {
    Span(Duration::from_secs(300))
}

fn yes() -> bool {
    true
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Every pod that was to go is gone.
    pub drained: bool,
    /// Those, as `namespace/name`.
    pub evicted: Vec<String>,
    /// Those that were left there, and why.
    pub passed_over: Vec<String>,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    node: Named,
    /// In the order in which they are evicted.
    pods: Vec<Named>,
    passed_over: Vec<String>,
    ignore_daemonsets: bool,
    timeout_ms: u64,
}

#[cfg(feature = "client")]
impl Order {
    fn output(&self) -> Json {
        let evicted = self.pods.iter().map(Named::place).collect();
        to_json(&Output { drained: true, evicted, passed_over: self.passed_over.clone() })
    }
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct DrainNode(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for DrainNode {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let given: Input = input(json)?;
        let calls = self.0.calls(&SPEC);
        let (found, named) = given.node.find(&calls).await?;
        let share = node::share(&calls, &found).await?;
        let pods = node::pods(&calls, &named.name).await?;
        let who = who::sort(pods, given.ignore_daemonsets, given.force)?;
        let owners = node::owners(&calls, &who.go).await?;

        let mut targets = vec![node::target(self.0.name(), &named, Some(share))];
        let mut still_open = who.open();
        let mut would_fail = calls.missing(None).await;
        for (pod, owners) in who.go.iter().zip(&owners) {
            let target = owner::target(self.0.name(), pod, owners, true);
            targets.push(Target { named: false, ..target });
            still_open.extend(owners.unknown.clone());
            would_fail.extend(would_refuse(&calls, &node::named(pod)).await?);
        }
        let cordoned = node::is_cordoned(&found);
        let order = Order {
            call: SPEC.name.to_owned(),
            node: named,
            pods: who.go.iter().map(node::named).collect(),
            passed_over: who.stay,
            ignore_daemonsets: given.ignore_daemonsets,
            timeout_ms: u64::try_from(given.timeout.0.as_millis()).unwrap_or(u64::MAX),
        };
        Ok(Plan {
            targets,
            already: cordoned && order.pods.is_empty(),
            calls: vec![to_json(&order)],
            before: to_json(&Before { cordoned }),
            predicted: order.output(),
            still_open,
            would_fail,
        })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        let calls = self.0.calls(&SPEC);
        cordon_node::close(&calls, &order.node).await?;
        round::Rounds::of(&calls, &order, cx).go().await?;
        match who::strangers(&calls, &order).await? {
            strangers if strangers.is_empty() => Ok(order.output()),
            strangers => Err(ActionError::GiveUp {
                why: came(&strangers),
                hint: Some("the node takes no new pods by now; `quell run retry` plans those too".to_owned()),
            }),
        }
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let order: Order = order(plan)?;
        let calls = self.0.calls(&SPEC);
        let closed = cordon_node::truth(&calls, &order.node, before(plan)?, want).await?;
        if want == Want::Undone || closed != Truth::Holds {
            return Ok(closed);
        }
        let left = who::left(&calls, &order).await?;
        if !left.is_empty() {
            return Ok(Truth::HoldsNot(format!("still on node `{}`: {}", order.node.name, listed(&left))));
        }
        let strangers = who::strangers(&calls, &order).await?;
        Ok(if strangers.is_empty() { Truth::Holds } else { Truth::HoldsNot(came(&strangers)) })
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { node, .. } = order(go.plan())?;
        cordon_node::open(&self.0.calls(&SPEC), &node, before(go.plan())?).await
    }
}

#[cfg(feature = "client")]
fn came(strangers: &[String]) -> String {
    format!("pods came to the node after it was planned, and were not evicted: {}", listed(strangers))
}

/// Names for one sentence; many are counted.
#[cfg(feature = "client")]
fn listed(all: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
