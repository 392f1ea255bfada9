//! How an input names a service account, and under which names the cluster knows it.
//!
//! Keeps true: every form means the same account, and who gives its uid means that very one.

use crate::object::is_name;
use quell_model::action::IDENTITY_MARK;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Of which kind a service account is as an identity: what captures and the guard call it.
pub(crate) const IDENTITY: &str = "kubernetes_service_account";

/// Before an account's name, where it is a user of the API server.
const USER: &str = "system:serviceaccount:";

/// A service account: `namespace/name`, the user that it is known as (`system:serviceaccount:namespace:name`, as audit records have it), or
/// a map with `namespace`, `name` and, where it is known, `uid`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AccountRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which of those that were called so; none: whichever is called so now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl fmt::Display for AccountRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl AccountRef {
    fn of(namespace: &str, name: &str, uid: Option<String>) -> Option<Self> {
        let is_it = is_name(namespace) && is_name(name);
        is_it.then(|| Self { namespace: namespace.to_owned(), name: name.to_owned(), uid })
    }

    /// The user that the API server knows it as.
    #[cfg(feature = "client")]
    pub(crate) fn user(&self) -> String {
        format!("{USER}{}:{}", self.namespace, self.name)
    }

    /// The groups that the API server puts it in.
    #[cfg(feature = "client")]
    pub(crate) fn groups(&self) -> [String; 3] {
        [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{}", self.namespace),
            "system:authenticated".to_owned(),
        ]
    }
}

impl<'de> Deserialize<'de> for AccountRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        /// As audit records have it, as people write it, or with its uid.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Map { namespace: String, name: String, uid: Option<String> },
        }
        let wanted = "a service account is `namespace/name`, `system:serviceaccount:namespace:name`, or a map with `namespace`, `name` \
                      and perhaps `uid`";
        match Form::deserialize(deserializer).map_err(|_| D::Error::custom(wanted))? {
            Form::Text(text) => {
                let parts = match text.strip_prefix(USER) {
                    Some(user) => user.split_once(':'),
                    None => text.split_once('/'),
                };
                let account = parts.and_then(|(namespace, name)| Self::of(namespace, name, None));
                account.ok_or_else(|| D::Error::custom(format!("`{text}` is no service account: {wanted}")))
            }
            Form::Map { namespace, name, uid } => {
                let account = Self::of(&namespace, &name, uid.filter(|uid| !uid.is_empty()));
                account.ok_or_else(|| D::Error::custom(format!("no service account is called `{namespace}/{name}`")))
            }
        }
    }
}

impl JsonSchema for AccountRef {
    fn schema_name() -> Cow<'static, str> {
        "AccountRef".into()
    }

    // In place: what stands beside the key is the mark by which a rehearsal knows an identity.
    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A service account: `namespace/name`, `system:serviceaccount:namespace:name`, or a map with `namespace`, `name` and \
                            perhaps `uid`.",
            IDENTITY_MARK: IDENTITY,
            "anyOf": [
                { "type": "string" },
                { "type": "object", "required": ["namespace", "name"], "properties": {
                    "namespace": { "type": "string" }, "name": { "type": "string" }, "uid": { "type": "string" },
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
    fn an_account_is_named_as_people_and_as_audit_records_do() {
        let of = |json| AccountRef::deserialize(&json);
        let web = |uid: Option<&str>| AccountRef {
            namespace: "shop".into(),
            name: "web".into(),
            uid: uid.map(str::to_owned),
        };
        assert_eq!(of(json!("shop/web")).unwrap(), web(None));
        assert_eq!(of(json!("system:serviceaccount:shop:web")).unwrap(), web(None));
        assert_eq!(of(json!({ "namespace": "shop", "name": "web", "uid": "u" })).unwrap(), web(Some("u")));
        assert_eq!(of(json!({ "namespace": "shop", "name": "web", "uid": "" })).unwrap(), web(None));
        for (wrong, says) in [
            (json!("web"), "`web` is no service account"),
            (json!("system:serviceaccount:shop"), "is no service account"),
            (json!("system:node:n1"), "is no service account"),
            (json!("shop/a:b"), "is no service account"),
            (json!({ "namespace": "shop", "name": "../x" }), "no service account is called"),
            (json!(7), "a service account is `namespace/name`"),
        ] {
            let error = of(wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
