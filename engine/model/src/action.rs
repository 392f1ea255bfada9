//! A verb on the world: `plan` reads, `run` acts, `verify` asks, `undo` gives back.
//!
//! Owns the trait and what travels through it. Invariant by construction: `run` and `undo` need an
//! [`Admitted`](crate::guard::Admitted), which only the guard makes.

use crate::Json;
use crate::guard::Admitted;
use crate::ids::{Name, RunId};
use crate::pods::InPod;
use crate::process::ProcessId;
use crate::record::Part;
use crate::secret::Secrets;
use crate::time::{Clock, Stamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use utoipa::ToSchema;

/// Which queue an action waits in. Containment never waits behind another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Freeze, kill, cut.
    Contain,
    /// Evidence.
    Capture,
    /// Cloud and cluster calls.
    Cloud,
    /// Messages.
    Notify,
    /// Reads the world, changes nothing: runs in observe mode too.
    Read,
}

/// What an action promises when it may be done twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Doing it twice has the effect of once.
    ExactlyOnceInEffect,
    /// May be sent twice, under one key.
    AtLeastOnceWithKey,
    /// Never repeated when its end is unknown.
    AtMostOnce,
}

/// Marks in an action's input schema, beside what names a target, that the target is an identity of a cloud or a cluster, and of which
/// kind: `x-quell-identity: aws_access_key`. By it a rehearsal without the world tells the guard what the verb itself would.
pub const IDENTITY_MARK: &str = "x-quell-identity";

/// Marks in an action's input schema that what stands there is of a way by which people or programs are told: `x-quell-way`, with
/// `slack` (a channel), `email` (people, or addresses), `webhook` (its name) or `http` (an address). By it the check of a playbook
/// says what is not configured.
pub const WAY_MARK: &str = "x-quell-way";

/// What an action is, without the hands to do it: in every build.
#[derive(Clone, Debug)]
pub struct ActionSpec {
    /// `system.verb_object`.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// JSON Schema of the input: an object.
    pub input: fn() -> schemars::Schema,
    /// JSON Schema of the output: an object.
    pub output: fn() -> schemars::Schema,
    /// Where it waits.
    pub lane: Lane,
    /// What repeating does.
    pub guarantee: Guarantee,
    /// Whether `undo` exists.
    pub undoable: bool,
    /// The input keys that name targets.
    pub targets: &'static [&'static str],
    /// The least it needs: `CAP_KILL`, `iam:UpdateAccessKey` …
    pub permissions: &'static [&'static str],
    /// Its output as far as it can be told from the input alone (replays, checks).
    pub predict: fn(&Json) -> Json,
}

/// What the guard needs to know of a target.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TargetFacts {
    /// A process as it stood when planned.
    Process {
        /// Identity: `PID.START_NS.EXEC@BOOT`.
        #[schema(value_type = String, examples("4242.81234567890.2@1f2e3d4c-7b6a-4958-8c7d-6e5f4a3b2c1d"))]
        id: ProcessId,
        /// Its image's path, where it could be read.
        image: Option<String>,
        /// (device, inode) of the image, where it could be read.
        file: Option<(u64, u64)>,
        /// The cgroup's path below its hierarchy's root.
        cgroup: Option<String>,
        /// The systemd unit, where the cgroup names one.
        unit: Option<String>,
        /// Effective user id.
        uid: u32,
        /// Has no image: a kernel thread.
        kernel_thread: bool,
        /// Started, directly or not, by the process that the input names: no protection by executable. False for the
        /// named process itself.
        below_named: bool,
        /// Also found through the scope only (same session, cgroup or container).
        by_scope: bool,
        /// The pod that it is of, where its cgroup names one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod: Option<InPod>,
    },
    /// An executable file that is kept from starting.
    Image {
        /// Its path.
        path: String,
        /// (device, inode) as `stat` tells them.
        file: (u64, u64),
        /// Only in this cgroup and below, as its path below its hierarchy's root; none: on the whole host.
        cgroup: Option<String>,
        /// Why the machine cannot do without it, if it cannot.
        needed: Option<String>,
        /// The pod that this cgroup is of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod: Option<InPod>,
    },
    /// A cgroup whose network is cut.
    Cgroup {
        /// Its path below the v2 hierarchy's root; `/`: the whole host.
        path: String,
        /// Why the machine cannot do without it, if it cannot.
        needed: Option<String>,
        /// The pod that it is of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod: Option<InPod>,
    },
    /// An identity of a cloud or a cluster, or a credential of one.
    Identity {
        /// `aws`, `azure`, `kubernetes` …
        provider: Name,
        /// Of which kind, as captures name it: `aws_access_key`, `aws_role`, `azure_client` …
        identity: Name,
        /// Its id, as captures have it; never a secret.
        id: String,
        /// The account, tenant or cluster that it is of, where that is known.
        account: Option<String>,
    },
    /// An object of a Kubernetes cluster.
    Object {
        /// The cluster, as quell.yaml calls it.
        cluster: Name,
        /// Its resource, as RBAC writes it: `pods`, `deployments.apps`, `nodes` …
        resource: Name,
        /// Where it lives; none: it is the cluster's own.
        namespace: Option<Name>,
        /// What it is called.
        name: String,
        /// Which of those that were called so.
        uid: String,
        /// What owns it, at the top: `deployment/web`. A bare pod: none.
        owner: Option<String>,
        /// How many stand in for it, and how many of them this takes.
        replicas: Option<Replicas>,
        /// Why the cluster cannot do without it, if it cannot.
        needed: Option<String>,
    },
    /// Anything else.
    #[default]
    Other,
}

/// The replicas of what owns an object, when the plan was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Replicas {
    /// So many are wanted.
    pub wanted: u32,
    /// So many were ready.
    pub ready: u32,
    /// So many of the ready are ready no more by this target alone: 1 for a ready pod that is taken out or ended, 0 for one that was
    /// not ready, or is only written on.
    pub takes: u32,
}

/// One thing that an action would touch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// The machine, cluster or account whose hands reach it.
    pub node: Name,
    /// `process`, `file`, `pod`, `access_key` …
    pub kind: Name,
    /// Its identity in that kind.
    pub id: String,
    /// For people: `python3 (4242)`.
    pub label: String,
    /// Whether the input names it, and not only its scope: what limits count.
    pub named: bool,
    /// For the guard.
    #[serde(default)]
    pub facts: TargetFacts,
}

impl TargetFacts {
    /// The pod that a process, a cgroup, or the place of an image is of, where a cgroup names one.
    #[must_use]
    pub fn pod(&self) -> Option<&InPod> {
        match self {
            Self::Process { pod, .. } | Self::Image { pod, .. } | Self::Cgroup { pod, .. } => pod.as_ref(),
            Self::Identity { .. } | Self::Object { .. } | Self::Other => None,
        }
    }
}

impl Target {
    /// Its label, and by what else a person judges it: `python3 (4242): /usr/bin/python3, uid 33, unit nginx.service`.
    #[must_use]
    pub fn told(&self) -> String {
        let facts: Vec<String> = match &self.facts {
            TargetFacts::Process { image, cgroup, unit, uid, below_named, by_scope, pod, .. } => {
                let place = unit.as_ref().map(|unit| format!("unit {unit}"));
                let place = place.or_else(|| cgroup.as_ref().map(|path| format!("cgroup {path}")));
                let how = match (below_named, by_scope) {
                    (true, _) => Some("started by what is named"),
                    (false, true) => Some("in the same scope"),
                    (false, false) => None,
                };
                let pod = pod.as_ref().map(|pod| format!("pod {pod}"));
                let all = [image.clone(), Some(format!("uid {uid}")), pod, place, how.map(str::to_owned)];
                all.into_iter().flatten().collect()
            }
            TargetFacts::Image { cgroup, needed, .. } => {
                let place = cgroup.as_ref().map_or("on the whole host".to_owned(), |path| format!("in cgroup {path}"));
                std::iter::once(place).chain(needed.clone()).collect()
            }
            TargetFacts::Cgroup { path, needed, pod } => {
                let pod = pod.as_ref().map(|pod| format!("pod {pod}"));
                std::iter::once(format!("cgroup {path}")).chain(pod).chain(needed.clone()).collect()
            }
            TargetFacts::Identity { provider, account, .. } => {
                std::iter::once(provider.to_string()).chain(account.clone()).collect()
            }
            TargetFacts::Object { cluster, owner, replicas, needed, .. } => {
                let owned = owner.as_ref().map(|owner| format!("of {owner}"));
                let ready = replicas.map(|of| format!("{} of {} ready", of.ready, of.wanted));
                let all = [Some(format!("cluster {cluster}")), owned, ready, needed.clone()];
                all.into_iter().flatten().collect()
            }
            TargetFacts::Other => Vec::new(),
        };
        let more = facts.join(", ");
        if more.is_empty() { self.label.clone() } else { format!("{}: {more}", self.label) }
    }
}

/// What an action would do.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Everything it would touch.
    pub targets: Vec<Target>,
    /// What it would do, in order, readable.
    pub calls: Vec<Json>,
    /// What stands now: what undo gives back.
    #[serde(default)]
    pub before: Json,
    /// The output as far as it can be told now.
    #[serde(default)]
    pub predicted: Json,
    /// What would still let an attacker through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub still_open: Vec<String>,
    /// What the world would refuse of it now, asked and not guessed: a permission that quell lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_fail: Vec<String>,
    /// It is already so: nothing to do.
    #[serde(default)]
    pub already: bool,
}

impl Plan {
    /// The sum of what a person judges: what would be touched, and by which calls.
    #[must_use]
    pub fn sum(&self) -> crate::hash::Hash {
        let mut text = Vec::new();
        for target in &self.targets {
            for part in [target.node.as_str(), target.kind.as_str(), &target.id] {
                text.extend_from_slice(&(part.len() as u64).to_le_bytes());
                text.extend_from_slice(part.as_bytes());
            }
        }
        let calls: Vec<String> = self.calls.iter().map(Json::to_string).collect();
        let calls = calls.iter().map(String::as_bytes);
        crate::hash::Hash::of_parts(&std::iter::once(text.as_slice()).chain(calls).collect::<Vec<_>>())
    }
}

/// What the world answers when asked whether it is so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// It is so.
    Holds,
    /// It is not, and why.
    HoldsNot(String),
    /// There is nobody to ask.
    CannotAsk,
    /// It was asked as far as it can be, and nothing speaks against it; what was not seen, and why.
    Unproved(String),
}

/// Which state `verify` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// The plan has taken effect.
    Acted,
    /// It has been taken back.
    Undone,
}

/// Why an attempt did not work, and what may be done about it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionError {
    /// May work later.
    #[error("{why}")]
    Retry {
        /// Not before this long.
        after: Option<Duration>,
        /// For people.
        why: String,
    },
    /// Will not work.
    #[error("{why}")]
    GiveUp {
        /// For people.
        why: String,
        /// What would make it work.
        hint: Option<String>,
    },
    /// It may have happened: the world is asked before it is repeated.
    #[error("outcome unknown: {why}")]
    Unknown {
        /// For people.
        why: String,
    },
}

impl ActionError {
    /// Will not work, without a hint.
    pub fn give_up(why: impl Into<String>) -> Self {
        Self::GiveUp { why: why.into(), hint: None }
    }

    /// May work at once.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry { after: None, why: why.into() }
    }
}

/// Names one effect for good: run, step, item; the same at every attempt.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(pub String);

impl IdempotencyKey {
    /// Of what a part of a run does.
    #[must_use]
    pub fn of(run: &RunId, part: &Part) -> Self {
        let item = part.item.map(|item| format!("/{item}")).unwrap_or_default();
        Self(format!("{run}/{}{item}", part.step))
    }

    /// Of what it does after so many intents of which the end is known: whoever keeps keys must not answer one with the end of
    /// another. As long as an end is unknown, it is the same.
    #[must_use]
    pub fn after(self, known: u32) -> Self {
        if known == 0 { self } else { Self(format!("{}{AGAIN}{}", self.0, known + 1)) }
    }

    /// `RUN/STEP` or `RUN/STEP/ITEM`: what it is a key of, whatever was done of it before.
    #[must_use]
    pub fn part(&self) -> &str {
        self.done().split(AGAIN).next().unwrap_or_default()
    }

    /// Of its taking back.
    #[must_use]
    pub fn undo(self) -> Self {
        Self(self.0 + UNDO)
    }

    /// Of what is done, whether this is its own key or that of its taking back.
    #[must_use]
    pub fn done(&self) -> &str {
        self.0.strip_suffix(UNDO).unwrap_or(&self.0)
    }
}

const UNDO: &str = "/undo";
/// Stands in no name of a run or a step.
const AGAIN: char = '#';

/// Raised when the attempt should end early.
#[derive(Clone, Default, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Where an action notes how far it came: committed before `note` returns.
#[async_trait::async_trait]
pub trait Progress: Send + Sync {
    /// Journals one mark.
    async fn note(&self, mark: Json) -> Result<(), ActionError>;
}

/// What an attempt is given.
#[derive(Clone)]
pub struct ActionContext {
    /// The same at every attempt.
    pub key: IdempotencyKey,
    /// From 1.
    pub attempt: u32,
    /// The engine ended in the midst of it: some of the plan may be done.
    pub taken_up: bool,
    /// After this the attempt counts as failed.
    pub deadline: Stamp,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Marks, journaled.
    pub progress: Arc<dyn Progress>,
    /// Asked to end.
    pub stop: Stop,
    /// Where captures go.
    pub vault: Arc<dyn crate::store::Vault>,
    /// The secrets that its input names, as they are now.
    pub secrets: Secrets,
}

impl fmt::Debug for ActionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActionContext").field("key", &self.key).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// A verb that changes the world.
///
/// The contain lane's verbs return ready on the first poll where they can: the engine polls them once on its own
/// thread and moves what is pending to the runtime.
#[async_trait::async_trait]
pub trait Action: Send + Sync {
    /// What it is.
    fn spec(&self) -> &'static ActionSpec;
    /// Reads the world and says exactly what would be done. Changes nothing.
    async fn plan(&self, input: &Json) -> Result<Plan, ActionError>;
    /// The same by what is known already: asks nobody, so that what is urgent is not kept waiting by whoever answers late. Whatever it says for
    /// the guard it says on the safe side. It is acted by where the guard lets it at once; else, and where it is none, it is planned.
    async fn plan_at_once(&self, _: &Json) -> Option<Plan> {
        None
    }
    /// Does it; gives the output.
    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError>;
    /// Asks the world.
    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError>;
    /// The output where the world says that the plan has taken effect, and nobody saw the act: as predicted, unless the verb
    /// tells what was seen from what was not.
    fn unseen(&self, plan: &Plan) -> Json {
        plan.predicted.clone()
    }
    /// Asks the world, before [`Action::undo`] and after it, whether anything of this very effect stands, or waits to. What stands for
    /// another's sake is none of it.
    async fn verify_undone(&self, plan: &Plan, _: &ActionContext) -> Result<Truth, ActionError> {
        self.verify(plan, Want::Undone).await
    }
    /// Gives back what `before` recorded. A text `still` in what it gives says what stands all the same, and for whose sake.
    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError>;
    /// Whether what it does ends by itself, at a moment or with a boot, unless it is held: then its lease holds it.
    fn is_held(&self) -> bool {
        false
    }
    /// After how long what this plan does ends by itself, where whoever wrote its input said so.
    fn ends_after(&self, _: &Plan) -> Option<Duration> {
        None
    }
    /// Asks whether what ends by itself has ended, of a verb that does more than that: what stands without an end is none of it.
    async fn verify_lapsed(&self, plan: &Plan) -> Result<Truth, ActionError> {
        self.verify(plan, Want::Undone).await
    }
    /// Makes what stands by this plan stand for so long from now. What does not stand is not put in force by this.
    async fn hold(&self, _: &Admitted, _: &ActionContext, _: Duration) -> Result<(), ActionError> {
        Ok(())
    }
    /// Reads the world, and says what would put in force again what a former plan did and what stands no more: the very same,
    /// or an error. How long it is to stand is then said by [`Action::hold`]. Changes nothing.
    async fn plan_again(&self, _: &Json, _: &Plan) -> Result<Plan, ActionError> {
        Err(ActionError::give_up("it cannot be put in force again"))
    }
}

/// A verb that only reads: needs no admission, runs in observe mode too.
#[async_trait::async_trait]
pub trait Look: Send + Sync {
    /// What it is.
    fn spec(&self) -> &'static ActionSpec;
    /// Reads; gives the output.
    async fn look(&self, input: &Json) -> Result<Json, ActionError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_by_what_it_is_judged() {
        let process = |below_named, by_scope, unit: Option<&str>| TargetFacts::Process {
            id: "41.90000000.1@1f2e3d4c-7b6a-4958-8c7d-6e5f4a3b2c1d".parse().unwrap(),
            image: Some("/usr/bin/bash".into()),
            file: None,
            cgroup: Some("/system.slice/nginx.service".into()),
            unit: unit.map(str::to_owned),
            uid: 33,
            kernel_thread: false,
            below_named,
            by_scope,
            pod: None,
        };
        let told = |facts| {
            let (node, kind, label) = ("n".into(), "process".into(), "bash (41)".to_owned());
            Target { node, kind, id: "41".into(), label, named: true, facts }.told()
        };
        assert_eq!(
            told(process(false, false, Some("nginx.service"))),
            "bash (41): /usr/bin/bash, uid 33, unit nginx.service"
        );
        assert_eq!(
            told(process(true, true, None)),
            "bash (41): /usr/bin/bash, uid 33, cgroup /system.slice/nginx.service, started by what is named"
        );
        let key = TargetFacts::Identity {
            provider: "aws".into(),
            identity: "aws_access_key".into(),
            id: "AKIA".into(),
            account: Some("111122223333".into()),
        };
        assert_eq!(told(key), "bash (41): aws, 111122223333");
        assert_eq!(told(TargetFacts::Other), "bash (41)");
    }
}
