//! `kubernetes.restrict_owner`: takes from the containers of a Deployment, StatefulSet or DaemonSet what an intruder uses: privileges,
//! capabilities, a writable root file system, and system calls that the runtime's profile forbids. It makes a rollout, which is waited for.
//!
//! Keeps true: exactly these fields of exactly these containers are written, each as it stood is kept, and each is given back but where
//! somebody else has written since; what the pods may break of is said before. Neither is done before its rollout is over and the former pods
//! have ended; where a partition leaves pods as they were it is never `verified`.

#[cfg(feature = "client")]
mod breaks;
#[cfg(feature = "client")]
mod fields;

#[cfg(feature = "client")]
use crate::{
    CallError, Calls, Cluster, OwnerKind,
    verbs::gone::may_pass,
    verbs::order::{before, input, order, to_json},
    verbs::patience::Patience,
    verbs::written::{Named, change_named, read},
    workload::{self, Workload},
};
use crate::{OwnerRef, PodRef};
#[cfg(feature = "client")]
use fields::{Container, Field, patch_of};
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
    name: "kubernetes.restrict_owner",
    summary: "takes privileges, capabilities and the writable root file system from an owner's containers",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: true,
    targets: &["owner", "pod"],
    permissions: with_owners![
        "kubernetes:get pods",
        "kubernetes:list pods",
        "kubernetes:patch deployments.apps",
        "kubernetes:patch statefulsets.apps",
        "kubernetes:patch daemonsets.apps"
    ],
    predict: |_| json!({ "containers": [], "would_break": [] }),
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

/// What was restricted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Whose template: `deployment/web`.
    pub owner: String,
    /// The containers that had more than they are to have.
    pub containers: Vec<String>,
    /// What they may break of.
    pub would_break: Vec<String>,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    kind: OwnerKind,
    owner: Named,
    /// `main: allowPrivilegeEscalation=false, capabilities.drop=["ALL"]`.
    set: Vec<String>,
    would_break: Vec<String>,
}

/// The fields as they stood, and as they are set.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    containers: Vec<Container>,
}

#[cfg(feature = "client")]
const KINDS: [OwnerKind; 3] = [OwnerKind::Deployment, OwnerKind::StatefulSet, OwnerKind::DaemonSet];

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct RestrictOwner(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for RestrictOwner {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { owner, pod } = input(json)?;
        let calls = self.0.calls(&SPEC);
        let found = workload::find(&calls, (pod.as_ref(), owner.as_ref()), &KINDS, "restricted").await?;
        let template = template(&calls, found.kind, &found.named).await?;
        let template =
            template.ok_or_else(|| ActionError::give_up(format!("{found} is gone, or another has its name by now")))?;
        restrictable(&found, &template)?;
        let change = |(list, container)| Container::of(&template, list, container);
        let containers: Vec<Container> = fields::containers(&template).filter_map(change).collect();
        let order = Order {
            call: SPEC.name.to_owned(),
            kind: found.kind,
            owner: found.named.clone(),
            set: containers.iter().map(told).collect(),
            would_break: if containers.is_empty() { Vec::new() } else { breaks::breaks(&template) },
        };
        let namespace = found.named.namespace.as_deref();
        let needs = crate::call::Needs::of("patch", &found.kind.resource(), namespace, Some(&found.named.name));
        let mut still_open = breaks::leaves_open(&template);
        still_open.extend(found.left_out());
        still_open.extend(found.set_back_by());
        let before = Before { containers };
        // A template that is restricted says nothing of the pods that were made before it was.
        let is_so =
            before.containers.is_empty() && found.left_out().is_none() && found.goes_on(&calls).await?.is_none();
        Ok(Plan {
            targets: vec![found.target(self.0.name(), found.rollout_takes())],
            already: is_so,
            predicted: to_json(&output(&order, &before)),
            calls: vec![to_json(&order)],
            before: to_json(&before),
            still_open,
            would_fail: calls.lacks(&[needs]).await,
        })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let (order, before): (Order, Before) = (order(go.plan())?, before(go.plan())?);
        let calls = self.0.calls(&SPEC);
        let set = |template: &Json| {
            let all = before.containers.iter();
            patch_of(all.filter_map(|one| Some((one.list.clone(), one.setting(template)?))).collect())
        };
        write(&calls, &order, set).await?;
        let is_there = rolled_out(&calls, &order, cx, "is restricted").await?;
        if is_there { Ok(to_json(&output(&order, &before))) } else { Err(ActionError::give_up(gone(&order))) }
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let (order, before): (Order, Before) = (order(plan)?, before(plan)?);
        let calls = self.0.calls(&SPEC);
        let Some(template) = template(&calls, order.kind, &order.owner).await? else {
            return Ok(match want {
                Want::Acted => Truth::HoldsNot(gone(&order)),
                Want::Undone => Truth::Holds,
            });
        };
        if want == Want::Undone {
            let mut all = before.containers.iter();
            let set = all.find_map(|one| one.still_set(&template).first().map(|field| (one, field.at.clone())));
            if let Some((one, at)) = set {
                return Ok(Truth::HoldsNot(format!("`{at}` of container `{}` is as quell set it", one.name)));
            }
            let why = state(&calls, &order).await?.unwrap_or_default();
            return Ok(why.map_or(Truth::Holds, |why| Truth::HoldsNot(goes_on(&order, "is given back", &why))));
        }
        // One that came since counts too: every container is meant.
        let mut all = fields::containers(&template).filter_map(|(list, one)| Container::of(&template, list, one));
        if let Some(one) = all.next() {
            return Ok(Truth::HoldsNot(format!("not restricted: {}", told(&one))));
        }
        let Some(found) = workload::read_again(&calls, order.kind, &order.owner).await? else {
            return Ok(Truth::HoldsNot(gone(&order)));
        };
        Ok(match found.goes_on(&calls).await? {
            None => found.left_out().map_or(Truth::Holds, Truth::Unproved),
            Some(why) => Truth::HoldsNot(goes_on(&order, "is restricted", &why)),
        })
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let (order, before): (Order, Before) = (order(go.plan())?, before(go.plan())?);
        let calls = self.0.calls(&SPEC);
        let mut output = to_json(&output(&order, &before));
        if template(&calls, order.kind, &order.owner).await?.is_none() {
            output["gone"] = true.into();
            return Ok(output);
        }
        let mut still = Vec::new();
        let back = |template: &Json| {
            let of = |one: &Container| (one.list.clone(), one.giving_back(template));
            let all: Vec<_> = before.containers.iter().map(of).collect();
            still = all.iter().flat_map(|(_, (_, others))| others.clone()).collect();
            patch_of(all.into_iter().filter_map(|(list, (back, _))| Some((list, back?))).collect())
        };
        write(&calls, &order, back).await?;
        if !rolled_out(&calls, &order, cx, "is given back").await? {
            output["gone"] = true.into();
        }
        if !still.is_empty() {
            output["still"] = still.join("; ").into();
        }
        Ok(output)
    }
}

/// Why its rollout is not over, if it is not; none: it is gone.
#[cfg(feature = "client")]
async fn state(calls: &Calls<'_>, order: &Order) -> Result<Option<Option<String>>, CallError> {
    match workload::read_again(calls, order.kind, &order.owner).await? {
        Some(found) => found.goes_on(calls).await.map(Some),
        None => Ok(None),
    }
}

/// Waits until its rollout is over, as long as the attempt lasts; false: it is gone. Meanwhile the API server may be away. `done`: what was
/// done to it.
#[cfg(feature = "client")]
async fn rolled_out(calls: &Calls<'_>, order: &Order, cx: &ActionContext, done: &str) -> Result<bool, ActionError> {
    let mut patience = Patience::of(cx);
    loop {
        let why = match state(calls, order).await {
            Ok(None) => return Ok(false),
            Ok(Some(None)) => return Ok(true),
            Ok(Some(Some(why))) => why,
            Err(error) if may_pass(&error) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if !patience.goes_on().await {
            return Err(ActionError::retry(goes_on(order, done, &why)));
        }
    }
}

#[cfg(feature = "client")]
fn goes_on(order: &Order, done: &str, why: &str) -> String {
    format!("`{}` {done}, and its rollout goes on: {why}", order.owner.place())
}

/// For people: what is set of a container.
#[cfg(feature = "client")]
fn told(container: &Container) -> String {
    let set = |field: &Field| match &field.to {
        Json::Null => format!("{} taken off", field.at),
        to => format!("{}={}", field.at, to.get("type").unwrap_or(to)),
    };
    let all: Vec<String> = container.fields.iter().map(set).collect();
    format!("{}: {}", container.name, all.join(", "))
}

#[cfg(feature = "client")]
fn output(order: &Order, before: &Before) -> Output {
    Output {
        owner: format!("{}/{}", order.kind.name(), order.owner.name),
        containers: before.containers.iter().map(|one| one.name.clone()).collect(),
        would_break: order.would_break.clone(),
    }
}

#[cfg(feature = "client")]
fn gone(order: &Order) -> String {
    format!("{} `{}` is gone, or another has its name by now", order.kind.name(), order.owner.place())
}

/// Why it cannot be restricted, if it cannot.
#[cfg(feature = "client")]
fn restrictable(found: &Workload, template: &Json) -> Result<(), ActionError> {
    if template["spec"]["os"]["name"] == json!("windows") {
        return Err(ActionError::GiveUp {
            why: format!("{found} runs on Windows, which has none of these fields"),
            hint: Some("`kubernetes.isolate_pod` works there".to_owned()),
        });
    }
    found.replaces_pods("`kubernetes.isolate_pod` for the pods that were attacked")
}

/// The template of the very one that was planned; none: it is gone, or another has its name.
#[cfg(feature = "client")]
async fn template(calls: &Calls<'_>, kind: OwnerKind, named: &Named) -> Result<Option<Json>, ActionError> {
    macro_rules! of {
        ($kind:ty) => {
            read::<$kind>(calls, named).await?.and_then(|found| found.spec).map(|spec| to_json(&spec.template))
        };
    }
    Ok(match kind {
        OwnerKind::Deployment => of!(Deployment),
        OwnerKind::StatefulSet => of!(StatefulSet),
        OwnerKind::DaemonSet => of!(DaemonSet),
        other => return Err(no_rollout(other)),
    })
}

/// Writes what `change` makes of the template as it stands.
#[cfg(feature = "client")]
async fn write(
    calls: &Calls<'_>,
    order: &Order,
    mut change: impl FnMut(&Json) -> Option<Json> + Send,
) -> Result<(), ActionError> {
    macro_rules! on {
        ($kind:ty) => {
            change_named::<$kind>(calls, &order.owner, |found| {
                change(&to_json(&found.spec.as_ref().map(|spec| &spec.template)))
            })
            .await
            .map(|_| ())
        };
    }
    match order.kind {
        OwnerKind::Deployment => on!(Deployment),
        OwnerKind::StatefulSet => on!(StatefulSet),
        OwnerKind::DaemonSet => on!(DaemonSet),
        other => Err(no_rollout(other)),
    }
}

#[cfg(feature = "client")]
fn no_rollout(kind: OwnerKind) -> ActionError {
    ActionError::give_up(format!("a {} cannot be restricted", kind.name()))
}
