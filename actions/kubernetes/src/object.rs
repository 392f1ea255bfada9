//! How an input names an object of the cluster.
//!
//! Owns the forms that people and events write. Keeps true: what an event has told (`event.pod`, with its uid) means that very object; who
//! writes a name alone means whoever is called so now.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A pod: `namespace/name`, or a map with `namespace`, `name` and, where it is known, `uid`, as `event.pod` is; of an event that was seen before
/// the cluster had told of its pod the `uid` alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PodRef {
    /// Its namespace; empty where only its uid is known yet.
    pub namespace: String,
    /// Its name; likewise.
    pub name: String,
    /// Which of those that were called so; none: whichever is called so now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

#[cfg(feature = "client")]
impl PodRef {
    /// Its namespace and its name, as far as whoever named it knew them.
    pub(crate) fn place(&self) -> (Option<&str>, &str) {
        ((!self.namespace.is_empty()).then_some(&self.namespace), &self.name)
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.uid {
            Some(uid) if self.name.is_empty() => write!(f, "with uid {uid}"),
            _ => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}

/// Of a name in Kubernetes: a DNS subdomain.
pub(crate) fn is_name(text: &str) -> bool {
    let is_in = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 253 && is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().copied().all(is_in)
}

/// `namespace/name` in its parts; what it may not be is said for `what`.
pub(crate) fn split(text: &str, what: &str) -> Result<(String, String), String> {
    let parts = text.split_once('/').filter(|(namespace, name)| is_name(namespace) && is_name(name));
    let (namespace, name) =
        parts.ok_or_else(|| format!("`{text}` is no {what}: expected `namespace/name`, as `shop/web-7d4b9`"))?;
    Ok((namespace.to_owned(), name.to_owned()))
}

/// Of a uid: what the sensor reads in a cgroup's path.
fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What was seen of a pod that is meant.
#[cfg(feature = "client")]
pub(crate) enum Seen {
    /// It stands.
    It(Box<k8s_openapi::api::core::v1::Pod>, crate::verbs::written::Named),
    /// It is gone, or another has its name: in which words.
    Gone(String),
}

#[cfg(feature = "client")]
impl PodRef {
    /// The same with its name. Of one that was told of by its uid alone that is waited for, for some seconds.
    ///
    /// # Errors
    /// It is not told by then, or nobody watches the pods of this node.
    pub(crate) async fn known(&self, calls: &crate::Calls<'_>) -> Result<Self, crate::CallError> {
        match &self.uid {
            Some(uid) if self.name.is_empty() => {
                let pod = calls.cluster.known.by_uid(uid).await?;
                let (namespace, name) = (pod.namespace.to_string(), pod.name.to_string());
                Ok(Self { namespace, name, uid: Some(pod.uid.to_string()) })
            }
            _ => Ok(self.clone()),
        }
    }

    /// The pod that is meant, as it stands now.
    pub(crate) async fn find(
        &self,
        calls: &crate::Calls<'_>,
    ) -> Result<(k8s_openapi::api::core::v1::Pod, crate::verbs::written::Named), quell_model::ActionError> {
        match self.look(calls).await? {
            Seen::It(pod, named) => Ok((*pod, named)),
            Seen::Gone(why) => Err(quell_model::ActionError::give_up(why)),
        }
    }

    /// The same, where that it is gone is an answer.
    pub(crate) async fn look(&self, calls: &crate::Calls<'_>) -> Result<Seen, crate::CallError> {
        use k8s_openapi::api::core::v1::Pod;
        let of = self.known(calls).await?;
        let Some(pod) = calls.get::<Pod>(Some(&of.namespace), &of.name).await? else {
            return Ok(Seen::Gone(format!("pod `{of}` is gone")));
        };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if let Some(wanted) = of.uid.as_ref().filter(|wanted| **wanted != uid) {
            let why = format!("pod `{of}` is another one by now: its uid is {uid}, and {wanted} was meant");
            return Ok(Seen::Gone(why));
        }
        let named = crate::verbs::written::Named { namespace: Some(of.namespace), name: of.name, uid };
        Ok(Seen::It(Box::new(pod), named))
    }
}

impl<'de> Deserialize<'de> for PodRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        /// As an event has it, or a person writes it. An event's pod has more keys.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Map { namespace: Option<String>, name: Option<String>, uid: Option<String> },
        }
        match Form::deserialize(deserializer).map_err(|_| {
            D::Error::custom(
                "a pod is `namespace/name`, or a map with `namespace`, `name` and perhaps `uid`, as `event.pod`",
            )
        })? {
            Form::Text(text) => {
                let (namespace, name) = split(&text, "pod").map_err(D::Error::custom)?;
                Ok(Self { namespace, name, uid: None })
            }
            Form::Map { namespace: Some(namespace), name: Some(name), uid }
                if is_name(&namespace) && is_name(&name) =>
            {
                Ok(Self { namespace, name, uid: uid.filter(|uid| !uid.is_empty()) })
            }
            // An event that was seen before the cluster had told of its pod.
            Form::Map { namespace: None, name: None, uid: Some(uid) } if is_uid(&uid) => {
                Ok(Self { namespace: String::new(), name: String::new(), uid: Some(uid) })
            }
            Form::Map { namespace, name, .. } => Err(D::Error::custom(format!(
                "no pod is called `{}/{}`",
                namespace.as_deref().unwrap_or("?"),
                name.as_deref().unwrap_or("?"),
            ))),
        }
    }
}

impl JsonSchema for PodRef {
    fn schema_name() -> Cow<'static, str> {
        "PodRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A pod: `namespace/name`, or a map with `namespace`, `name` and perhaps `uid`, as `event.pod`; of a pod of this node the `uid` alone will do.",
            "anyOf": [
                { "type": "string" },
                { "type": "object", "anyOf": [{ "required": ["namespace", "name"] }, { "required": ["uid"] }], "properties": {
                    "namespace": { "type": "string" }, "name": { "type": "string" }, "uid": { "type": ["string", "null"] },
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
    fn a_pod_is_named_as_people_and_as_events_do() {
        let of = |json| PodRef::deserialize(&json);
        let pod =
            |uid: Option<&str>| PodRef { namespace: "shop".into(), name: "web-1".into(), uid: uid.map(str::to_owned) };
        assert_eq!(of(json!("shop/web-1")).unwrap(), pod(None));
        assert_eq!(
            of(json!({ "namespace": "shop", "name": "web-1", "uid": "u", "labels": {} })).unwrap(),
            pod(Some("u"))
        );
        assert_eq!(of(json!({ "namespace": "shop", "name": "web-1", "uid": "" })).unwrap(), pod(None));
        let early = json!({ "uid": "1b2c-3d", "namespace": null, "name": null, "labels": null });
        assert_eq!(
            of(early).unwrap(),
            PodRef { namespace: String::new(), name: String::new(), uid: Some("1b2c-3d".into()) }
        );
        for (wrong, says) in [
            (json!("web-1"), "expected `namespace/name`"),
            (json!("shop/../secrets"), "expected `namespace/name`"),
            (json!("shop/Web"), "expected `namespace/name`"),
            (json!({ "uid": "u/1" }), "no pod is called"),
            (json!({ "uid": "u-1", "name": "web-1" }), "no pod is called"),
            (json!({ "uid": "" }), "no pod is called"),
            (json!({ "namespace": "shop", "name": "a/b" }), "no pod is called"),
            (json!(7), "a pod is `namespace/name`"),
        ] {
            let error = of(wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
