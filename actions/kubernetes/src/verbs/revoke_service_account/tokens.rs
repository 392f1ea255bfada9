//! The token Secrets of an account: found, deleted, and made anew without what they held.
//!
//! Keeps true: only what is said of a Secret is read, never what is in it; of an annotation that kubectl keeps a copy in, nothing is kept.

use crate::account::AccountRef;
use crate::call::{CallError, Calls};
use crate::verbs::written::Named;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::ListParams;
use quell_model::ActionError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// Of such Secrets.
const TYPE: &str = "kubernetes.io/service-account-token";
/// Whose one is.
const OF: &str = "kubernetes.io/service-account.name";
/// Which of those that were called so: Kubernetes writes it.
const OF_UID: &str = "kubernetes.io/service-account.uid";
/// What kubectl keeps of what it applied: it may hold what the Secret held.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A token Secret as it stood, without what was in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) name: String,
    uid: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    owners: Vec<OwnerReference>,
}

/// Those of an account.
pub(super) async fn of(calls: &Calls<'_>, account: &AccountRef) -> Result<Vec<Token>, CallError> {
    let of_type = ListParams::default().fields(&format!("type={TYPE}"));
    let all = calls.metas::<Secret>(Some(&account.namespace), &of_type).await?;
    let whose = |meta: &ObjectMeta| meta.annotations.as_ref().and_then(|all| all.get(OF)).cloned();
    Ok(all.into_iter().filter(|meta| whose(meta).as_ref() == Some(&account.name)).map(Token::of).collect())
}

impl Token {
    fn of(meta: ObjectMeta) -> Self {
        let mut annotations = meta.annotations.unwrap_or_default();
        annotations.retain(|key, _| key != APPLIED && key != OF_UID);
        Self {
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            labels: meta.labels.unwrap_or_default(),
            annotations,
            owners: meta.owner_references.unwrap_or_default(),
        }
    }

    pub(super) fn named(&self, namespace: &str) -> Named {
        Named { namespace: Some(namespace.to_owned()), name: self.name.clone(), uid: self.uid.clone() }
    }

    /// Deletes this one, and none that has its name by now.
    pub(super) async fn delete(&self, calls: &Calls<'_>, namespace: &str) -> Result<(), ActionError> {
        match calls.delete::<Secret>(Some(namespace), (&self.name, &self.uid), None).await {
            // Another has its name: this one is gone. If it is a token too, whoever verifies sees it.
            Ok(()) | Err(CallError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an empty one, which Kubernetes fills with a new token; what could not be is said.
    pub(super) async fn make_anew(
        &self,
        calls: &Calls<'_>,
        account: &AccountRef,
    ) -> Result<Option<String>, ActionError> {
        match calls.create::<Secret>(Some(&account.namespace), &self.object()).await {
            Ok(_) => Ok(None),
            Err(CallError::Conflict(_)) => {
                let is_one = of(calls, account).await?.iter().any(|token| token.name == self.name);
                let other = || format!("secret `{}` is another one by now, which quell did not make", self.name);
                Ok((!is_one).then(other))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn object(&self) -> serde_json::Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": TYPE,
            "metadata": {
                "name": self.name,
                "labels": self.labels,
                "annotations": self.annotations,
                "ownerReferences": self.owners,
            },
        })
    }

    /// Whether a Secret of its name is there.
    pub(super) async fn is_taken(&self, calls: &Calls<'_>, namespace: &str) -> Result<bool, CallError> {
        let by_name = ListParams::default().fields(&format!("metadata.name={}", self.name));
        Ok(!calls.metas::<Secret>(Some(namespace), &by_name).await?.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secret_holds_is_not_kept() {
        let meta = json!({
            "name": "web-token", "uid": "u",
            "labels": { "app": "web" },
            "annotations": { OF: "web", OF_UID: "1", APPLIED: "{\"data\":{\"token\":\"c2VjcmV0\"}}", "mine": "x" },
        });
        let token = Token::of(serde_json::from_value(meta).unwrap());
        let kept = serde_json::to_string(&token).unwrap();
        assert!(!kept.contains("c2VjcmV0") && !kept.contains(OF_UID), "{kept}");
        let anew = token.object();
        assert_eq!(anew["metadata"]["annotations"], json!({ OF: "web", "mine": "x" }));
        assert_eq!((&anew["metadata"]["labels"], anew.get("data")), (&json!({ "app": "web" }), None));
    }
}
