//! How an input names what makes pods: a Deployment, a CronJob and their like.
//!
//! Owns the forms that people and events write. Keeps true: the uid beside an event's `owner` is the pod's, and never taken for the owner's;
//! an event's `owner` is what the pod says, and whoever may write on the pod may say another's there: it is taken for the pod's only where it
//! calls its pods so.

use crate::maker::makes;
use crate::object::is_name;
use quell_actions::text::one_line;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Of what kind an owner is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OwnerKind {
    /// A deployment.
    Deployment,
    /// A stateful set.
    StatefulSet,
    /// A daemon set.
    DaemonSet,
    /// A replica set; most are a deployment's.
    ReplicaSet,
    /// A replication controller.
    ReplicationController,
    /// A job.
    Job,
    /// A cron job, which makes jobs.
    CronJob,
}

impl OwnerKind {
    const ALL: [(&'static str, Self); 7] = [
        ("deployment", Self::Deployment),
        ("statefulset", Self::StatefulSet),
        ("daemonset", Self::DaemonSet),
        ("replicaset", Self::ReplicaSet),
        ("replicationcontroller", Self::ReplicationController),
        ("job", Self::Job),
        ("cronjob", Self::CronJob),
    ];

    /// `deployment`, as kubectl writes it, or `Deployment`, as the API does.
    pub(crate) fn named(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, kind)| *kind)
    }

    /// `deployment`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("owner", |(name, _)| name)
    }
}

/// What makes pods: `namespace/kind/name`; or a map with `namespace` and `owner`, as `event.pod` is; or one with `namespace`, `kind`, `name`
/// and perhaps `uid`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OwnerRef {
    /// Of what kind it is.
    pub kind: OwnerKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which of those that were called so; none: whichever is called so now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// `shop/deployment/web`: as it is written.
impl fmt::Display for OwnerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind.name(), self.name)
    }
}

impl OwnerRef {
    fn of(namespace: &str, kind: &str, name: &str, uid: Option<String>) -> Result<Self, String> {
        let known = OwnerKind::named(kind).ok_or_else(|| {
            let all: Vec<&str> = OwnerKind::ALL.iter().map(|(name, _)| *name).collect();
            format!("`{kind}` is no kind of owner that quell knows: expected one of {}", all.join(", "))
        })?;
        if !is_name(namespace) || !is_name(name) {
            return Err(format!("no {kind} is called `{namespace}/{name}`"));
        }
        let uid = uid.filter(|uid| !uid.is_empty());
        Ok(Self { kind: known, namespace: namespace.to_owned(), name: name.to_owned(), uid })
    }
}

/// What an owner looks like, for whoever wrote something else.
const FORMS: &str = "an owner is `namespace/kind/name`, as `shop/deployment/web`, or a map with `namespace` and `owner`, as `event.pod`";

/// As an event has it, or a person writes it. An event's pod has more keys.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Map {
        namespace: Option<String>,
        owner: Option<String>,
        kind: Option<String>,
        name: Option<String>,
        uid: Option<String>,
    },
}

impl Form {
    fn owner(self) -> Result<OwnerRef, String> {
        match self {
            Self::Text(text) => match text.split('/').collect::<Vec<_>>()[..] {
                [namespace, kind, name] => OwnerRef::of(namespace, kind, name, None),
                _ => Err(format!("`{text}` is no owner: {FORMS}")),
            },
            Self::Map { namespace: Some(namespace), kind: Some(kind), name: Some(name), uid, .. } => {
                OwnerRef::of(&namespace, &kind, &name, uid)
            }
            Self::Map { namespace: Some(namespace), owner: Some(owner), kind: None, name: pod, .. } => {
                let (kind, name) =
                    owner.split_once('/').ok_or_else(|| format!("`{owner}` is no owner: expected `kind/name`"))?;
                let found = OwnerRef::of(&namespace, kind, name, None)?;
                match pod.filter(|pod| !makes(found.kind.name(), &found.name, pod)) {
                    Some(pod) => Err(format!(
                        "pod `{namespace}/{}` says that {owner} owns it, which calls no pod so: somebody may have written that on it; \
                         name the owner itself, as `{found}`",
                        one_line(&pod, 120),
                    )),
                    None => Ok(found),
                }
            }
            Self::Map { namespace: Some(namespace), owner: None, kind: None, name: Some(name), .. } => Err(format!(
                "it is not said what owns pod `{namespace}/{name}`: nothing does, or it was not known yet when the event was seen; \
                 `pod: …` instead of it finds the owner when it acts"
            )),
            Self::Map { .. } => Err(FORMS.to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for OwnerRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let form = Form::deserialize(deserializer).map_err(|_| D::Error::custom(FORMS))?;
        form.owner().map_err(D::Error::custom)
    }
}

impl JsonSchema for OwnerRef {
    fn schema_name() -> Cow<'static, str> {
        "OwnerRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What makes pods: `namespace/kind/name`, as `shop/deployment/web`; or a map with `namespace` and `owner`, as `event.pod`; or one with `namespace`, `kind`, `name` and perhaps `uid`.",
            "anyOf": [
                { "type": "string" },
                { "type": "object", "required": ["namespace"], "properties": {
                    "namespace": { "type": "string" }, "owner": { "type": "string" }, "kind": { "type": "string" },
                    "name": { "type": "string" }, "uid": { "type": "string" },
                } },
            ],
        })
    }
}

/// A cron job: as an [`OwnerRef`], or `namespace/name`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct CronJobRef(pub OwnerRef);

impl<'de> Deserialize<'de> for CronJobRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let form = Form::deserialize(deserializer).map_err(|_| {
            D::Error::custom("a cron job is `namespace/name`, or a map with `namespace` and `owner`, as `event.pod`")
        })?;
        let owner = match form {
            Form::Text(text) if text.matches('/').count() == 1 => {
                let (namespace, name) = text.split_once('/').unwrap_or_default();
                OwnerRef::of(namespace, "cronjob", name, None)
            }
            form => form.owner(),
        };
        let owner = owner.map_err(D::Error::custom)?;
        if owner.kind != OwnerKind::CronJob {
            return Err(D::Error::custom(format!("`{owner}` is no cron job")));
        }
        Ok(Self(owner))
    }
}

impl JsonSchema for CronJobRef {
    fn schema_name() -> Cow<'static, str> {
        "CronJobRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A cron job: `namespace/name`; or a map with `namespace` and `owner` (`cronjob/name`), as `event.pod`; or one with `namespace`, `kind` and `name`.",
            "anyOf": [
                { "type": "string" },
                { "type": "object", "required": ["namespace"], "properties": {
                    "namespace": { "type": "string" }, "owner": { "type": "string" }, "kind": { "type": "string" },
                    "name": { "type": "string" }, "uid": { "type": "string" },
                } },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_owner_is_named_as_people_and_as_events_do() {
        let of = |json: serde_json::Value| OwnerRef::deserialize(&json).map_err(|error| error.to_string());
        let web = |uid: Option<&str>| OwnerRef {
            kind: OwnerKind::Deployment,
            namespace: "shop".into(),
            name: "web".into(),
            uid: uid.map(str::to_owned),
        };
        assert_eq!(of(json!("shop/deployment/web")), Ok(web(None)));
        assert_eq!(of(json!("shop/Deployment/web")), Ok(web(None)));
        // The uid is the pod's.
        let event = json!({ "namespace": "shop", "name": "web-7d4b9c8f5-x2x7k", "uid": "p", "owner": "deployment/web", "labels": {} });
        assert_eq!(of(event), Ok(web(None)));
        let whole = json!({ "namespace": "shop", "kind": "Deployment", "name": "web", "uid": "u" });
        assert_eq!(of(whole), Ok(web(Some("u"))));
        for (wrong, says) in [
            (json!("deployment/web"), "is no owner"),
            (json!("shop/rollout/web"), "no kind of owner that quell knows"),
            (json!("shop/deployment/Web"), "no deployment is called"),
            (
                json!({ "namespace": "shop", "name": "web-1", "uid": "p", "owner": null }),
                "it is not said what owns pod `shop/web-1`",
            ),
            (
                json!({ "namespace": "shop", "name": "evil-7d4b9c8f5-x2x7k", "uid": "p", "owner": "deployment/web" }),
                "says that deployment/web owns it, which calls no pod so",
            ),
            (json!({ "namespace": "shop", "owner": "web" }), "expected `kind/name`"),
            (json!({ "name": "web" }), "an owner is"),
            (json!(7), "an owner is"),
        ] {
            let error = of(wrong).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_cron_job_needs_no_kind_but_where_an_event_names_it() {
        let of = |json: serde_json::Value| {
            CronJobRef::deserialize(&json).map(|of| of.0.to_string()).map_err(|error| error.to_string())
        };
        let is = Ok("shop/cronjob/backup".to_owned());
        assert_eq!(of(json!("shop/backup")), is);
        assert_eq!(of(json!("shop/cronjob/backup")), is);
        assert_eq!(of(json!({ "namespace": "shop", "name": "backup-29384756-x2x7k", "owner": "cronjob/backup" })), is);
        assert!(of(json!("shop/job/backup")).unwrap_err().contains("is no cron job"));
        // A pod's name is not taken for it.
        assert!(
            of(json!({ "namespace": "shop", "name": "backup-29384756-x2x7k" }))
                .unwrap_err()
                .contains("not said what owns")
        );
    }
}
