//! `kubernetes.taint_node`: puts a taint on a node, so that pods that do not tolerate it stay away, or are driven away.
//!
//! Keeps true: whom `NoExecute` would drive away is counted by its owner before, for the cluster does not ask the budgets of disruptions;
//! the other taints stay as they are, in their order; undo gives back the taint as it was, and brings no pod back.

use crate::NodeRef;
#[cfg(feature = "client")]
use crate::{
    Cluster, node, owner,
    verbs::order::{before, input, order, to_json},
    verbs::written::{Named, change, read, shown},
};
#[cfg(feature = "client")]
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
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
    name: "kubernetes.taint_node",
    summary: "taints a node: pods that do not tolerate it stay away, or are driven away",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["node"],
    permissions: with_owners![
        "kubernetes:get nodes",
        "kubernetes:list nodes",
        "kubernetes:patch nodes",
        "kubernetes:list pods"
    ],
    predict: |_| json!({ "tainted": true }),
};

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// None comes.
    NoSchedule,
    /// None comes that can go elsewhere.
    PreferNoSchedule,
    /// None comes, and those that are there are ended.
    NoExecute,
}

impl Effect {
    #[cfg(feature = "client")]
    fn name(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// Which node, and which taint.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The node.
    pub node: NodeRef,
    /// The taint's key.
    pub key: String,
    /// Its value; none: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it does.
    pub effect: Effect,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Whether the node has the taint.
    pub tainted: bool,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    node: Named,
    key: String,
    value: Option<String>,
    effect: Effect,
}

/// The taint of this key and effect before; none: there was none.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    taint: Option<Taint>,
}

#[cfg(feature = "client")]
fn taints(node: &Node) -> Vec<Taint> {
    node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default()
}

#[cfg(feature = "client")]
impl Order {
    /// A node has one taint of a key and an effect.
    fn is_of(&self, taint: &Taint) -> bool {
        taint.key == self.key && taint.effect == self.effect.name()
    }

    fn is_as_set(&self, taint: &Taint) -> bool {
        let value = |value: &Option<String>| value.clone().unwrap_or_default();
        self.is_of(taint) && value(&taint.value) == value(&self.value)
    }

    fn now(&self, all: &[Taint]) -> Option<Taint> {
        all.iter().find(|taint| self.is_of(taint)).cloned()
    }

    /// The same taints, with this one in the place of that of its key and effect, or at the end; none: without it.
    fn with(&self, mut all: Vec<Taint>, this: Option<Taint>) -> Json {
        match (all.iter().position(|taint| self.is_of(taint)), this) {
            (Some(at), Some(this)) => all[at] = this,
            (Some(at), None) => drop(all.remove(at)),
            (None, Some(this)) => all.push(this),
            (None, None) => {}
        }
        let all = if all.is_empty() { Json::Null } else { to_json(&all) };
        json!({ "spec": { "taints": all } })
    }

    fn wanted(&self) -> Taint {
        let (key, effect) = (self.key.clone(), self.effect.name().to_owned());
        Taint { key, effect, value: self.value.clone(), time_added: None }
    }

    /// Whether a pod may stay for good where this taint is.
    fn is_tolerated(&self, pod: &Pod) -> bool {
        let all = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
        all.into_iter().any(|one| {
            let any_key = one.key.as_deref().unwrap_or_default().is_empty();
            let exists = one.operator.as_deref() == Some("Exists");
            let key = if any_key { exists } else { one.key.as_ref() == Some(&self.key) };
            let value = exists || one.value.as_deref().unwrap_or_default() == self.value.as_deref().unwrap_or_default();
            let effect = one.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == self.effect.name());
            key && value && effect && one.toleration_seconds.is_none()
        })
    }
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct TaintNode(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for TaintNode {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { node: of, key, value, effect } = input(json)?;
        let calls = self.0.calls(&SPEC);
        let (found, named) = of.find(&calls).await?;
        let order = Order { call: SPEC.name.to_owned(), node: named, key, value, effect };
        let was = order.now(&taints(&found));
        let already = was.as_ref().is_some_and(|taint| order.is_as_set(taint));
        let share = if effect == Effect::PreferNoSchedule { None } else { Some(node::share(&calls, &found).await?) };
        let mut targets = vec![node::target(self.0.name(), &order.node, share)];
        let mut still_open = vec!["pods that tolerate it stay, and come".to_owned()];
        if effect == Effect::NoExecute {
            let mut away = node::pods(&calls, &order.node.name).await?;
            away.retain(|pod| !order.is_tolerated(pod));
            let owners = node::owners(&calls, &away).await?;
            for (pod, owners) in away.iter().zip(&owners) {
                let target = owner::target(self.0.name(), pod, owners, true);
                targets.push(quell_model::Target { named: false, ..target });
                still_open.extend(owners.unknown.clone());
            }
            still_open.push(format!("{} pods are ended, whatever their budgets of disruptions say", away.len()));
        } else {
            still_open.push("what runs there runs on".to_owned());
        }
        Ok(Plan {
            targets,
            already,
            calls: vec![to_json(&order)],
            before: to_json(&Before { taint: was }),
            predicted: to_json(&Output { tainted: true }),
            still_open,
            would_fail: calls.missing(None).await,
        })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        let write = |found: &Node| {
            let all = taints(found);
            let stands = all.iter().any(|taint| order.is_as_set(taint));
            (!stands).then(|| order.with(all, Some(order.wanted())))
        };
        change::<Node>(&self.0.calls(&SPEC), &order.node, write).await?;
        Ok(to_json(&Output { tainted: true }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let (order, was): (Order, Before) = (order(plan)?, before(plan)?);
        let found = read::<Node>(&self.0.calls(&SPEC), &order.node).await?;
        let now = found.as_ref().and_then(|found| order.now(&taints(found)));
        let stands = now.as_ref().is_some_and(|taint| order.is_as_set(taint));
        let (node, key) = (&order.node.name, &order.key);
        Ok(match want {
            Want::Acted if found.is_none() => Truth::HoldsNot(format!("node `{node}` is gone")),
            Want::Acted if !stands => Truth::HoldsNot(format!("node `{node}` has no such taint `{}`", shown(key))),
            Want::Undone if stands && now != was.taint => {
                Truth::HoldsNot(format!("node `{node}` has the taint `{}`", shown(key)))
            }
            _ => Truth::Holds,
        })
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let (order, was): (Order, Before) = (order(go.plan())?, before(go.plan())?);
        let calls = self.0.calls(&SPEC);
        if read::<Node>(&calls, &order.node).await?.is_none() {
            return Ok(json!({ "tainted": false, "gone": true }));
        }
        let mut still = None;
        let write = |found: &Node| {
            let all = taints(found);
            let now = order.now(&all);
            still = None;
            if now == was.taint {
                return None;
            }
            if now.as_ref().is_some_and(|taint| order.is_as_set(taint)) {
                return Some(order.with(all, was.taint.clone()));
            }
            // Nobody has it any more, or with another value: that is somebody else's doing.
            still = Some(match now.and_then(|taint| taint.value) {
                Some(value) => format!("`{}` is `{}` now, which quell did not write", shown(&order.key), shown(&value)),
                None => format!("`{}` is not as quell wrote it", shown(&order.key)),
            });
            None
        };
        change::<Node>(&calls, &order.node, write).await?;
        let mut output = to_json(&Output { tainted: still.is_some() });
        if let Some(still) = still {
            output["still"] = still.into();
        }
        Ok(output)
    }
}

#[cfg(feature = "client")]
#[cfg(test)]
mod tests {
    use super::*;

    fn order(effect: Effect) -> Order {
        let node = Named { namespace: None, name: "n".into(), uid: "u".into() };
        Order { call: String::new(), node, key: "quell/held".into(), value: Some("yes".into()), effect }
    }

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        let text = str::to_owned;
        Taint { key: text(key), value: Some(text(value)), effect: text(effect), time_added: None }
    }

    #[test]
    fn the_other_taints_stay_in_their_order() {
        let order = order(Effect::NoSchedule);
        let others =
            [taint("a", "1", "NoSchedule"), taint("quell/held", "no", "NoExecute"), taint("b", "2", "NoSchedule")];
        let set = order.with(others.to_vec(), Some(order.wanted()));
        assert_eq!(set["spec"]["taints"].as_array().unwrap().len(), 4);
        let all: Vec<Taint> = serde_json::from_value(set["spec"]["taints"].clone()).unwrap();
        assert_eq!(order.with(all, None)["spec"]["taints"], to_json(&others));
        let was = taint("quell/held", "no", "NoSchedule");
        let mut all = others.to_vec();
        all[1] = was.clone();
        let set = order.with(all.clone(), Some(order.wanted()));
        assert_eq!(set["spec"]["taints"][1]["value"], "yes");
        let set: Vec<Taint> = serde_json::from_value(set["spec"]["taints"].clone()).unwrap();
        assert_eq!(order.with(set, Some(was))["spec"]["taints"], to_json(&all));
        assert_eq!(order.with(vec![order.wanted()], None), json!({ "spec": { "taints": null } }));
    }

    #[test]
    fn whom_a_taint_drives_away_is_told_as_kubernetes_does() {
        let order = order(Effect::NoExecute);
        for (toleration, stays) in [
            (json!({ "operator": "Exists" }), true),
            (json!({ "operator": "Exists", "effect": "NoSchedule" }), false),
            (json!({ "key": "quell/held", "operator": "Exists", "effect": "NoExecute" }), true),
            (json!({ "key": "quell/held", "operator": "Equal", "value": "yes" }), true),
            (json!({ "key": "quell/held", "value": "no" }), false),
            (json!({ "key": "other", "operator": "Exists" }), false),
            (json!({ "key": "quell/held", "operator": "Exists", "tolerationSeconds": 300 }), false),
            (json!({ "value": "yes" }), false),
        ] {
            let pod = json!({ "metadata": {}, "spec": { "containers": [], "tolerations": [toleration] } });
            assert_eq!(order.is_tolerated(&serde_json::from_value(pod).unwrap()), stays, "{toleration}");
        }
    }
}
