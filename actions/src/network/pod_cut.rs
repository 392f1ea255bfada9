//! The cut of a pod as a part of another verb's plan: what `network.isolate` does with `pod`, for a verb that does more than that.
//!
//! Decides nothing, and journals nothing: the verb keeps the part in its plan, with the targets that the guard judges. Keeps true: nothing is done
//! to a cgroup that is no target of the plan that was admitted, but that an order of the verb's own effect is taken out of it; the order is that
//! of the verb's own effect, and is taken back alone.
//!
//! ```text
//! plan(uid, allow) ──▶ PartPlan: targets, calls, still_open ─▶ into the verb's plan      part ─▶ under a key of its `before`
//! run, hold, undo(admitted, part, context)      verify, verify_undone(part, …)
//! ```

use super::cutting::{Cutting, boot_ns};
use super::home::Home;
use super::isolate::{output, what};
use super::order::Order;
use crate::process::Hands;
use crate::process::block_exec::number;
use crate::process::cgroup::pod_uid;
use crate::world::HostWorld;
use quell_model::{ActionContext, ActionError, Admitted, Json, Target, TargetFacts, Truth, Want};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The permissions that it needs, beside those of the verb that has it.
pub const PERMISSIONS: &[&str] = super::isolate::SPEC.permissions;

/// What the cut of a pod adds to a plan.
#[derive(Clone, PartialEq, Debug)]
pub struct PartPlan {
    /// What the other calls of [`PodCut`] are given: the verb's plan keeps it as it is.
    pub part: Json,
    /// The pod's cgroup and everyone in it: the plan's targets too.
    pub targets: Vec<Target>,
    /// What would be done, readable.
    pub calls: Vec<Json>,
    /// What stands on the cgroup already, for people.
    pub before: Json,
    /// The output as far as it can be told: `cgroup`, `loopback`.
    pub predicted: Json,
    /// What it does not cover.
    pub still_open: Vec<String>,
    /// It is cut off so already.
    pub already: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct PodCut(Arc<Cutting>);

impl PodCut {
    /// With hands on this world.
    #[must_use]
    pub fn new(world: HostWorld) -> Self {
        Self(Arc::new(Cutting(Arc::new(Hands::new(world)))))
    }

    /// What would cut the pod with this uid off, but for these networks; `None`: no such pod is on this node. After a boot it is asked
    /// again: the pod may be here anew, in another cgroup. Reads only.
    ///
    /// # Errors
    /// Where nothing can be cut here, or the pod's cgroup cannot be told for certain.
    pub async fn plan(&self, uid: &str, allow: &[String]) -> Result<Option<PartPlan>, ActionError> {
        self.0.cut()?;
        let hands = &self.0.0;
        let Some(home) = Home::pod(hands, uid).await? else { return Ok(None) };
        let plan = self.0.plan(what(&hands.world, home, allow, None)?)?;
        Ok(Some(PartPlan {
            part: plan.calls.first().cloned().unwrap_or_default(),
            targets: plan.targets,
            calls: plan.calls,
            before: plan.before,
            predicted: plan.predicted,
            still_open: plan.still_open,
            already: plan.already,
        }))
    }

    /// Does it; gives what network.isolate gives.
    ///
    /// # Errors
    /// When the cgroup is gone or is no target of what was admitted, or the kernel refuses; nothing of it stands then.
    pub async fn run(&self, go: &Admitted, part: &Json, cx: &ActionContext) -> Result<Json, ActionError> {
        Ok(output(self.0.run(self.order(go, part)?, cx).await?))
    }

    /// Asks the kernel, and tries it.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn verify(&self, part: &Json, want: Want) -> Result<Truth, ActionError> {
        self.0.verify(&read(part)?, want).await
    }

    /// Whether this very effect stands; another's on the same cgroup is none of it.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn verify_undone(&self, part: &Json, cx: &ActionContext) -> Result<Truth, ActionError> {
        self.0.verify_undone(&read(part)?, cx)
    }

    /// Takes it back; gives what network.isolate gives, a text `still` where another's stands.
    ///
    /// # Errors
    /// When the kernel refuses, or the cgroup is no target of what was admitted.
    pub async fn undo(&self, go: &Admitted, part: &Json, cx: &ActionContext) -> Result<Json, ActionError> {
        self.0.undo(&self.order(go, part)?, &Json::Null, cx).await
    }

    /// Takes back what an earlier plan of this very effect has cut and its last one does not; `None`: nothing stands of it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn withdraw(&self, cx: &ActionContext) -> Result<Option<Json>, ActionError> {
        let Some(cut) = self.0.0.world.cut.as_deref() else { return Ok(None) };
        let Some(stands) = cut.standing(number(cx)).map_err(ActionError::retry)? else { return Ok(None) };
        let removed = cut.remove(number(cx)).map_err(ActionError::retry)?;
        Ok(Some(json!({ "cgroup": stands.terms.label, "removed": removed, "dropped": stands.dropped })))
    }

    /// What an earlier plan of this very effect has cut, and stands: its cgroup.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn remains(&self, cx: &ActionContext) -> Result<Option<String>, ActionError> {
        let Some(cut) = self.0.0.world.cut.as_deref() else { return Ok(None) };
        Ok(cut.standing(number(cx)).map_err(ActionError::retry)?.map(|stands| stands.terms.label))
    }

    /// The pods of this node that something cuts, whoever's order it is, by their uids.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn cut_off(&self) -> Result<BTreeSet<String>, ActionError> {
        let now = boot_ns();
        let all = self.0.cut()?.all().map_err(ActionError::retry)?;
        let stands = all.into_iter().filter(|one| one.terms.until_ns > now);
        Ok(stands.filter_map(|one| one.terms.label.split('/').find_map(pod_uid)).collect())
    }

    /// Makes it stand for so long from now: its order ends by the kernel's clock unless its lease holds it.
    ///
    /// # Errors
    /// When the cgroup is gone or is no target of what was admitted, or the kernel refuses.
    pub fn hold(&self, go: &Admitted, part: &Json, cx: &ActionContext, lasting: Duration) -> Result<(), ActionError> {
        self.0.hold(self.order(go, part)?, cx, lasting)
    }

    /// The part's order, as far as the guard has seen it and these hands may do it.
    fn order(&self, go: &Admitted, part: &Json) -> Result<Order, ActionError> {
        let order = read(part)?;
        let hands = &self.0.0;
        let is_it =
            |target: &&Target| matches!(&target.facts, TargetFacts::Cgroup { path, .. } if *path == order.cgroup);
        let here = || go.plan().targets.iter().filter(|target| target.node == hands.world.node);
        if !here().any(|target| is_it(&target)) {
            return Err(ActionError::give_up(format!(
                "the cgroup `{}` is no target of what was admitted",
                order.cgroup
            )));
        }
        let ours = here().filter(|one| matches!(one.facts, TargetFacts::Cgroup { .. } | TargetFacts::Process { .. }));
        hands.may_touch_all(ours)?;
        Ok(order)
    }
}

fn read(part: &Json) -> Result<Order, ActionError> {
    Order::deserialize(part).map_err(|error| ActionError::give_up(format!("the plan's part cannot be read: {error}")))
}

#[cfg(test)]
#[path = "pod_cut/tests.rs"]
mod tests;
