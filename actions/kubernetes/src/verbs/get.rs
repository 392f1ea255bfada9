//! `kubernetes.get`: reads an object. Only reads: it runs in observe mode too.
//!
//! Keeps true: what a Secret holds is never told, nor what `kubectl apply` kept of it in an annotation; no more is told than a record holds.

#[cfg(feature = "client")]
use crate::{
    Cluster,
    call::Calls,
    object::is_name,
    verbs::order::{input, to_json},
};
#[cfg(feature = "client")]
use quell_model::{ActionError, Look};
use quell_model::{ActionSpec, Guarantee, Json, Lane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
#[cfg(feature = "client")]
use std::sync::Arc;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.get",
    summary: "reads an object of the cluster",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Read,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &[],
    permissions: &[
        "kubernetes:get pods",
        "kubernetes:get nodes",
        "kubernetes:get namespaces",
        "kubernetes:get services",
        "kubernetes:get serviceaccounts",
        "kubernetes:get replicasets.apps",
        "kubernetes:get deployments.apps",
        "kubernetes:get statefulsets.apps",
        "kubernetes:get daemonsets.apps",
        "kubernetes:get jobs.batch",
        "kubernetes:get cronjobs.batch",
        "kubernetes:get networkpolicies.networking.k8s.io",
    ],
    predict: |_| json!({ "found": false, "object": null }),
};

/// What can be read: nothing that holds secrets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// A pod.
    Pod,
    /// A node; it has no namespace.
    Node,
    /// A namespace; it has none itself.
    Namespace,
    /// A service.
    Service,
    /// A service account.
    ServiceAccount,
    /// A replica set.
    ReplicaSet,
    /// A deployment.
    Deployment,
    /// A stateful set.
    StatefulSet,
    /// A daemon set.
    DaemonSet,
    /// A job.
    Job,
    /// A cron job.
    CronJob,
    /// A network policy.
    NetworkPolicy,
}

/// Which object.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Of which kind.
    pub kind: Resource,
    /// Its namespace; none for a node and a namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// What was read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Whether there is one.
    pub found: bool,
    /// As the API server has it, without `managedFields` and the copy that `kubectl apply` keeps; null where there is none.
    pub object: Json,
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct Get(pub(crate) Arc<Cluster>);

/// What kubectl keeps of what it applied.
#[cfg(feature = "client")]
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(feature = "client")]
impl Resource {
    /// Whether it has no namespace.
    pub(super) fn is_apart(self) -> bool {
        matches!(self, Self::Node | Self::Namespace)
    }

    /// The object of this name; none: there is none.
    pub(super) async fn read(
        self,
        calls: &Calls<'_>,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Json>, ActionError> {
        use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core, networking::v1 as networking};
        macro_rules! of {
            ($kind:ty) => {
                calls.get::<$kind>(namespace, name).await?.map(|found| to_json(&found))
            };
        }
        Ok(match self {
            Self::Pod => of!(core::Pod),
            Self::Node => of!(core::Node),
            Self::Namespace => of!(core::Namespace),
            Self::Service => of!(core::Service),
            Self::ServiceAccount => of!(core::ServiceAccount),
            Self::ReplicaSet => of!(apps::ReplicaSet),
            Self::Deployment => of!(apps::Deployment),
            Self::StatefulSet => of!(apps::StatefulSet),
            Self::DaemonSet => of!(apps::DaemonSet),
            Self::Job => of!(batch::Job),
            Self::CronJob => of!(batch::CronJob),
            Self::NetworkPolicy => of!(networking::NetworkPolicy),
        })
    }
}

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Look for Get {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn look(&self, json: &Json) -> Result<Json, ActionError> {
        let Input { kind, namespace, name } = input(json)?;
        let is_apart = kind.is_apart();
        if is_apart != namespace.is_none() || !namespace.iter().chain([&name]).all(|text| is_name(text)) {
            let hint = if is_apart { "it has a `name` alone" } else { "it has a `namespace` and a `name`" };
            let why = format!("`{}{name}` names no such object", namespace.map(|it| it + "/").unwrap_or_default());
            return Err(ActionError::GiveUp { why, hint: Some(hint.to_owned()) });
        }
        let found = kind.read(&self.0.calls(&SPEC), namespace.as_deref(), &name).await?;
        let object = found.map(|mut object| {
            if let Some(meta) = object.get_mut("metadata").and_then(Json::as_object_mut) {
                meta.shift_remove("managedFields");
                if let Some(notes) = meta.get_mut("annotations").and_then(Json::as_object_mut) {
                    notes.shift_remove(APPLIED);
                }
            }
            object
        });
        Ok(to_json(&Output { found: object.is_some(), object: object.unwrap_or_default() }))
    }
}
