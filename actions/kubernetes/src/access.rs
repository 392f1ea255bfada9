//! What quell may do in its cluster, and as whom: asked of the cluster itself.
//!
//! Owns the reviews, which whoever is authenticated may ask of itself (system:basic-user), so that they are no permission of a verb's.
//! Writes nothing. Keeps true: what was not answered is an error, and never taken for a no.

use crate::call::{CALL, CallError, Does, asked, request};
use crate::cluster::Cluster;
use crate::rbac::{Grant, of_rule};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::core::v1::Node;
use kube::api::{GetParams, PostParams};
use quell_model::Json;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is granted in a namespace, as the cluster lists it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Each.
    pub grants: Vec<Grant>,
    /// Why there may be more, if so: not every authorizer can list what it grants.
    pub incomplete: Option<String>,
}

/// Whether quell may do this in a namespace, or in all, on every such object or on the one of this name; asked anew after a while.
pub(crate) async fn may(
    cluster: &Cluster,
    verb: &str,
    of: &str,
    (namespace, name): (Option<&str>, Option<&str>),
) -> Result<bool, CallError> {
    let key = format!("{verb} {of} {} {}", namespace.unwrap_or_default(), name.unwrap_or_default());
    if let Some(may) = cluster.granted(&key) {
        return Ok(may);
    }
    let (whole, sub) = of.split_once('/').map_or((of, None), |(whole, sub)| (whole, Some(sub)));
    let (plural, group) = whole.split_once('.').unwrap_or((whole, ""));
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                resource: Some(plural.to_owned()),
                group: Some(group.to_owned()),
                subresource: sub.map(str::to_owned),
                namespace: namespace.map(str::to_owned),
                name: name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let review = ask(cluster, &review, "create selfsubjectaccessreviews.authorization.k8s.io").await?;
    let may = review.status.is_some_and(|status| status.allowed);
    cluster.keep_granted(key, may);
    Ok(may)
}

impl Cluster {
    /// As whom quell is known there.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn who(&self) -> Result<String, CallError> {
        let review =
            ask(self, &SelfSubjectReview::default(), "create selfsubjectreviews.authentication.k8s.io").await?;
        let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
        Ok(user.unwrap_or_else(|| "nobody that it names".to_owned()))
    }

    /// Whether quell may do what a spec lists as `kubernetes:VERB RESOURCE`, in a namespace, or everywhere.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn may(&self, permission: &crate::rbac::Permission, namespace: Option<&str>) -> Result<bool, CallError> {
        let text = permission.to_string();
        let (verb, of) = text.split_once(' ').unwrap_or((&text, ""));
        may(self, verb, of, (namespace, None)).await
    }

    /// What is granted to quell in a namespace, and of what lives in none.
    ///
    /// # Errors
    /// When it cannot be asked, or answers what nobody can read.
    pub async fn rules(&self, namespace: &str) -> Result<Rules, CallError> {
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
        let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
        let review = ask(self, &review, "create selfsubjectrulesreviews.authorization.k8s.io").await?;
        let status = review.status.unwrap_or_default();
        let mut grants = Vec::new();
        for rule in &status.resource_rules {
            let rule: Json = serde_json::to_value(rule).map_err(|error| CallError::Refused(error.to_string()))?;
            grants.extend(of_rule(&rule, Some(namespace)).map_err(CallError::Refused)?);
        }
        let unread = || {
            status.evaluation_error.clone().unwrap_or_else(|| "an authorizer does not list what it grants".to_owned())
        };
        Ok(Rules { grants, incomplete: status.incomplete.then(unread) })
    }

    /// Whether there is a node of this name.
    ///
    /// # Errors
    /// When it cannot be asked, or quell may not see nodes.
    pub async fn has_node(&self, name: &str) -> Result<bool, CallError> {
        let request = request::<Node>(None).get(name, &GetParams::default());
        let request = request.map_err(|error| CallError::Refused(error.to_string()))?;
        match asked::<Json>(self, ("get nodes", Does::Reads), CALL, request).await {
            Ok(_) => Ok(true),
            Err(CallError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

async fn ask<K: crate::call::Kind + Serialize + DeserializeOwned>(
    cluster: &Cluster,
    review: &K,
    what: &str,
) -> Result<K, CallError> {
    let body = serde_json::to_vec(review).map_err(|error| CallError::Refused(error.to_string()))?;
    let request = request::<K>(None).create(&PostParams::default(), body);
    let request = request.map_err(|error| CallError::Refused(error.to_string()))?;
    asked(cluster, (what, Does::Reads), CALL, request).await
}
