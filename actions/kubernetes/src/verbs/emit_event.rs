//! `kubernetes.emit_event`: writes a Kubernetes Event on an object, so that `kubectl describe` tells what quell did.
//!
//! Touches nothing else. Keeps true: an Event's name comes from the key of its step, so that one that is written again is no second one;
//! what others shaped breaks no line of whoever reads it.

use crate::PodRef;
use crate::verbs::get::Resource;
#[cfg(feature = "client")]
use crate::{
    Cluster,
    call::{CallError, Needs},
    object::is_name,
    verbs::order::{input, order, to_json},
};
#[cfg(feature = "client")]
use k8s_openapi::api::core::v1::Event;
#[cfg(feature = "client")]
use quell_actions::text::one_line;
#[cfg(feature = "client")]
use quell_model::{Action, ActionContext, ActionError, Admitted, Hash, Json, Plan, Truth, Want};
use quell_model::{ActionSpec, Guarantee, Lane};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use std::borrow::Cow;
#[cfg(feature = "client")]
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.emit_event",
    summary: "writes an Event on an object, so that `kubectl describe` tells it",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Notify,
    guarantee: Guarantee::AtLeastOnceWithKey,
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
        "kubernetes:create events",
        "kubernetes:get events",
    ],
    predict: |_| json!({ "event": null }),
};

/// An object that an Event can be about: a pod as everywhere (`namespace/name`, `event.pod`), or a map with `kind`, `name` and, where it has
/// one, `namespace`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ObjectRef {
    /// Of which kind.
    pub kind: Resource,
    /// Its namespace; none for a node and a namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Which of those that were called so; none: whichever is called so now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl<'de> Deserialize<'de> for ObjectRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        /// Any but a pod.
        #[derive(Deserialize)]
        struct Kind {
            kind: Resource,
            namespace: Option<String>,
            name: String,
            uid: Option<String>,
        }
        let value = quell_model::Json::deserialize(deserializer)?;
        if value.get("kind").is_none() {
            let pod = PodRef::deserialize(&value).map_err(D::Error::custom)?;
            if pod.name.is_empty() {
                let what = "its name was not known yet when the event was seen; name it as `namespace/name`";
                return Err(D::Error::custom(format!("no object is told by the uid of a pod alone: {what}")));
            }
            return Ok(Self { kind: Resource::Pod, namespace: Some(pod.namespace), name: pod.name, uid: pod.uid });
        }
        let Kind { kind, namespace, name, uid } = Kind::deserialize(&value).map_err(|_| {
            D::Error::custom(
                "an object is a pod (`namespace/name`), or a map with `kind` (pod, node, deployment …), `name` and, where it has one, \
                 `namespace`",
            )
        })?;
        Ok(Self { kind, namespace, name, uid: uid.filter(|uid| !uid.is_empty()) })
    }
}

impl JsonSchema for ObjectRef {
    fn schema_name() -> Cow<'static, str> {
        "ObjectRef".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kind = generator.subschema_for::<Resource>();
        json_schema!({
            "description": "A pod (`namespace/name`, or `event.pod`), or a map with `kind`, `name` and, where it has one, `namespace`.",
            "anyOf": [
                { "type": "string" },
                { "type": "object", "required": ["name"], "properties": {
                    "kind": kind, "namespace": { "type": ["string", "null"] }, "name": { "type": "string" }, "uid": { "type": "string" },
                } },
            ],
        })
    }
}

/// How an Event is marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Type {
    /// Something that is as it should be.
    Normal,
    /// Something to look at.
    #[default]
    Warning,
}

/// What is to be told, and where.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What it is about.
    pub object: ObjectRef,
    /// In one word, for programs: `Isolated`.
    pub reason: String,
    /// In a sentence, for people.
    pub message: String,
    /// `Normal` or `Warning`.
    #[serde(default, rename = "type")]
    pub kind: Type,
}

/// What was written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The Event: `namespace/name`.
    pub event: String,
}

/// What was decided when it was planned: the very text.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    /// Where the Event lives: beside its object, or where those of nodes are looked for.
    namespace: String,
    /// As Events name it.
    object: Json,
    reason: String,
    message: String,
    #[serde(rename = "type")]
    kind: Type,
}

/// Longer than that is cut; what Kubernetes allows (`NoteLengthLimit`) counts bytes, of which a character has up to four.
#[cfg(feature = "client")]
const MESSAGE: usize = 1024 / 4;
/// Events that `verify` can still speak for.
#[cfg(feature = "client")]
const REMEMBERED: usize = 1024;
/// Who writes them.
#[cfg(feature = "client")]
const COMPONENT: &str = "quell";

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct EmitEvent {
    cluster: Arc<Cluster>,
    /// What was written by this engine: the sum of the plan, and the Event's name; the latest last.
    written: Mutex<VecDeque<(Hash, String)>>,
}

#[cfg(feature = "client")]
impl EmitEvent {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, written: Mutex::default() }
    }

    fn remember(&self, plan: &Plan, name: &str) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.push_back((plan.sum(), name.to_owned()));
        while written.len() > REMEMBERED {
            written.pop_front();
        }
    }
}

#[cfg(feature = "client")]
fn wrong(why: String, hint: &str) -> ActionError {
    ActionError::GiveUp { why, hint: Some(hint.to_owned()) }
}

/// `CamelCase`, as Kubernetes wants a reason.
#[cfg(feature = "client")]
fn is_reason(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric();
    text.len() <= 128 && text.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase()) && text.bytes().all(is_word)
}

/// Of the object that it is about, and of the key of the step: the same at every attempt.
#[cfg(feature = "client")]
fn name_of(object: &str, key: &str) -> String {
    /// A name has at most 253 characters.
    const MOST: usize = 200;
    let sum = Hash::of(key.as_bytes()).to_string();
    let object = object.get(..MOST).unwrap_or(object).trim_end_matches(['.', '-']);
    format!("{object}.quell-{}", &sum[..32])
}

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for EmitEvent {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { object, reason, message, kind } = input(json)?;
        if !is_reason(&reason) {
            let why = format!("`{}` is no reason of an Event", one_line(&reason, 60));
            return Err(wrong(
                why,
                "a word as `PodIsolated`: it begins with a capital letter, and has letters and digits alone",
            ));
        }
        let message = one_line(&message, MESSAGE);
        if message.is_empty() {
            return Err(wrong(
                "an Event without a `message` tells nothing".to_owned(),
                "say in a sentence what was done",
            ));
        }
        let is_apart = object.kind.is_apart();
        if is_apart != object.namespace.is_none()
            || !object.namespace.iter().chain([&object.name]).all(|text| is_name(text))
        {
            let hint = if is_apart { "it has a `name` alone" } else { "it has a `namespace` and a `name`" };
            return Err(wrong(format!("`{}` names no such object", one_line(&object.name, 60)), hint));
        }
        let calls = self.cluster.calls(&SPEC);
        let place = object.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let found = object.kind.read(&calls, object.namespace.as_deref(), &object.name).await?;
        let found = found.ok_or_else(|| ActionError::give_up(format!("`{place}{}` is gone", object.name)))?;
        let uid = found["metadata"]["uid"].as_str().unwrap_or_default();
        if let Some(wanted) = object.uid.as_ref().filter(|wanted| *wanted != uid) {
            let why =
                format!("`{place}{}` is another one by now: its uid is {uid}, and {wanted} was meant", object.name);
            return Err(ActionError::give_up(why));
        }
        let mut about = json!({
            "apiVersion": found["apiVersion"], "kind": found["kind"], "name": object.name, "uid": uid,
            "resourceVersion": found["metadata"]["resourceVersion"],
        });
        if let Some(namespace) = &object.namespace {
            about["namespace"] = namespace.clone().into();
        }
        let namespace = object.namespace.unwrap_or_else(|| "default".to_owned());
        let would_fail = calls.lacks(&[Needs::of("create", "events", Some(&namespace), None)]).await;
        let order = Order { call: SPEC.name.to_owned(), namespace, object: about, reason, message, kind };
        let predicted = json!({ "event": null });
        Ok(Plan { calls: vec![to_json(&order)], predicted, would_fail, ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        let calls = self.cluster.calls(&SPEC);
        let name = name_of(order.object["name"].as_str().unwrap_or_default(), &cx.key.0);
        let now = format!("{:.0}", cx.clock.now().wall);
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": name, "namespace": order.namespace },
            "involvedObject": order.object,
            "reason": order.reason,
            "message": order.message,
            "type": order.kind,
            "source": { "component": COMPONENT },
            "reportingComponent": COMPONENT,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        });
        match calls.create::<Event>(Some(&order.namespace), &event).await {
            Ok(_) => {}
            // An earlier attempt came so far.
            Err(CallError::Conflict(_)) => {
                let found = calls.get::<Event>(Some(&order.namespace), &name).await?;
                let is_own = found.is_some_and(|found| {
                    let by = found.source.and_then(|source| source.component);
                    by.as_deref() == Some(COMPONENT)
                        && found.involved_object.uid.as_deref() == order.object["uid"].as_str()
                });
                if !is_own {
                    return Err(ActionError::give_up(format!(
                        "an Event `{}/{name}` is there that quell did not write",
                        order.namespace
                    )));
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.remember(go.plan(), &name);
        Ok(to_json(&Output { event: format!("{}/{name}", order.namespace) }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let order: Order = order(plan)?;
        let sum = plan.sum();
        let name = {
            let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.iter().rev().find(|(of, _)| *of == sum).map(|(_, name)| name.clone())
        };
        // Its name comes from a key that a plan does not bear: after a restart nobody knows it.
        let Some(name) = name.filter(|_| want == Want::Acted) else { return Ok(Truth::CannotAsk) };
        let found = self.cluster.calls(&SPEC).get::<Event>(Some(&order.namespace), &name).await?;
        Ok(match found {
            Some(found) if found.message.as_deref() == Some(&order.message) => Truth::Holds,
            Some(_) => Truth::HoldsNot(format!("Event `{name}` says something else by now")),
            None => Truth::HoldsNot(format!("Event `{name}` is not there")),
        })
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("what was told stays told, until Kubernetes forgets it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_a_pod_or_says_its_kind() {
        let of = |json: quell_model::Json| ObjectRef::deserialize(&json).map_err(|error| error.to_string());
        let pod = of(json!("shop/web-1")).unwrap();
        assert_eq!((pod.kind, pod.namespace.as_deref(), pod.name.as_str()), (Resource::Pod, Some("shop"), "web-1"));
        let event =
            json!({ "namespace": "shop", "name": "web-1", "uid": "u", "owner": "deployment/web", "labels": {} });
        assert_eq!(of(event).unwrap(), ObjectRef { uid: Some("u".into()), ..pod });
        let node = of(json!({ "kind": "node", "name": "n1" })).unwrap();
        assert_eq!((node.kind, node.namespace), (Resource::Node, None));
        for (wrong, says) in [
            (json!("web"), "expected `namespace/name`"),
            (json!({ "kind": "secret", "name": "x" }), "an object is a pod"),
            (json!({ "kind": "node" }), "an object is a pod"),
        ] {
            let error = of(wrong).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn a_name_is_that_of_the_key_and_fits() {
        let name = name_of("web-1", "r-1/step");
        assert_eq!(name, name_of("web-1", "r-1/step"));
        assert_ne!(name, name_of("web-1", "r-1/other"));
        assert!(is_name(&name) && name.starts_with("web-1.quell-"), "{name}");
        let long = name_of(&format!("{}-{}", "a".repeat(199), "b".repeat(50)), "r-1/step");
        assert!(is_name(&long), "{long}");
    }

    #[cfg(feature = "client")]
    #[test]
    fn a_reason_is_one_word() {
        for (text, is) in
            [("PodIsolated", true), ("isolated", false), ("Pod isolated", false), ("", false), ("A\n", false)]
        {
            assert_eq!(is_reason(text), is, "{text:?}");
        }
    }
}
