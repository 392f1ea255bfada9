//! What every call to an API server has in common: a bound in time, the verb's permissions, and a verdict for each error.
//!
//! Owns how objects are read and written. Never retries by itself: the engine does. Keeps true: a call that the verb's permissions do not
//! list is not made; what may have happened is told as unknown, and what cannot have happened is not.

use crate::cluster::Cluster;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Resource;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions, Request};
use kube::core::Status;
use kube::core::params::PropagationPolicy;
use quell_model::{ActionError, ActionSpec, Json};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

/// Whose fields quell's are.
pub(crate) const MANAGER: &str = "quell";
/// A call that took so long is given up.
const CALL: Duration = Duration::from_secs(5);
/// Objects a page of a list.
const PAGE: u32 = 500;
/// Pages of a list: past that it is too long to judge by.
const PAGES: usize = 200;

/// Why a call gave nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// It is not said where a cluster is.
    #[error("there is no cluster: {0}")]
    NoCluster(String),
    /// A call that the verb does not declare: a mistake of quell's.
    #[error("`{verb}` does not list the permission `{permission}`")]
    Undeclared {
        /// Whose call.
        verb: &'static str,
        /// What it would need.
        permission: String,
    },
    /// Quell may not.
    #[error("the API server forbids to {permission}: {why}")]
    Forbidden {
        /// What it would need.
        permission: String,
        /// In the server's words.
        why: String,
    },
    /// Somebody else wrote in between, or it is another object by now.
    #[error("the object changed meanwhile: {0}")]
    Conflict(String),
    /// There is no such object.
    #[error("not found: {0}")]
    NotFound(String),
    /// The server has too much to do, or a budget of disruptions is spent.
    #[error("the API server asks to wait: {why}")]
    Wait {
        /// In the server's words.
        why: String,
        /// For so long, where it says so.
        after: Option<Duration>,
    },
    /// It says no, and will again.
    #[error("the API server refuses: {0}")]
    Refused(String),
    /// Which pod is meant was told by its uid alone, and the cluster has not said yet which one that is.
    #[error("{0}")]
    NotToldYet(String),
    /// And nobody listens for it.
    #[error("{0}")]
    Unwatched(String),
    /// It was never asked, or only to read.
    #[error("the API server cannot be asked: {0}")]
    Away(String),
    /// It was asked to write, and nobody knows whether it did.
    #[error("the API server did not say whether it was done: {0}")]
    Unknown(String),
}

impl From<CallError> for ActionError {
    fn from(error: CallError) -> Self {
        let why = error.to_string();
        match error {
            CallError::NoCluster(_) => Self::GiveUp {
                why,
                hint: Some(
                    "name a kubeconfig in quell.yaml: `kubernetes: { kubeconfig: FILE }`, or run quell in the cluster"
                        .into(),
                ),
            },
            CallError::Forbidden { .. } => Self::GiveUp {
                why,
                hint: Some(
                    "`quell action permissions --format kubernetes-rbac` prints the role that quell needs".into(),
                ),
            },
            CallError::Unwatched(_) => Self::GiveUp { why, hint: Some("name it as `namespace/name`".into()) },
            CallError::Undeclared { .. } | CallError::Refused(_) | CallError::NotFound(_) => {
                Self::GiveUp { why, hint: None }
            }
            CallError::Wait { after, .. } => Self::Retry { after, why },
            CallError::Conflict(_) | CallError::Away(_) | CallError::NotToldYet(_) => Self::Retry { after: None, why },
            CallError::Unknown(_) => Self::Unknown { why },
        }
    }
}

/// Whether a call changes anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    Reads,
    Writes,
}

/// The calls of one verb.
#[derive(Clone, Copy, Debug)]
pub struct Calls<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) spec: &'static ActionSpec,
}

/// What kinds of objects are asked after.
pub trait Kind: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned> Kind for K {}

/// `pods`, `deployments.apps`: as RBAC and kubectl write it.
#[must_use]
pub(crate) fn resource<K: Kind>() -> String {
    let (plural, group) = (K::plural(&()), K::group(&()));
    if group.is_empty() { plural.into_owned() } else { format!("{plural}.{group}") }
}

impl Calls<'_> {
    /// The object of this name; none: there is none.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn get<K: Kind>(&self, namespace: Option<&str>, name: &str) -> Result<Option<K>, CallError> {
        let request = request::<K>(namespace).get(name, &GetParams::default());
        match self.send("get", &resource::<K>(), Does::Reads, request).await {
            Ok(found) => Ok(Some(found)),
            Err(CallError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every object that fits, of a namespace or of all; page by page.
    ///
    /// # Errors
    /// When it cannot be asked, or there are more than a hundred thousand.
    pub async fn list<K: Kind>(&self, namespace: Option<&str>, fits: &ListParams) -> Result<Vec<K>, CallError> {
        let mut all = Vec::new();
        let mut params = ListParams { limit: Some(PAGE), ..fits.clone() };
        for _ in 0..PAGES {
            let request = request::<K>(namespace).list(&params);
            let page: kube::core::ObjectList<K> = self.send("list", &resource::<K>(), Does::Reads, request).await?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(all),
            }
        }
        Err(CallError::Refused(format!("there are more than {} {}", PAGES * PAGE as usize, resource::<K>())))
    }

    /// Changes fields of an object by a merge patch. With `metadata.uid` and `metadata.resourceVersion` in it, only that very version.
    ///
    /// # Errors
    /// [`CallError::Conflict`] when it is another version, or another object.
    pub async fn merge<K: Kind>(&self, namespace: Option<&str>, name: &str, patch: &Json) -> Result<K, CallError> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let request = request::<K>(namespace).patch(name, &params, &Patch::Merge(patch));
        self.send("patch", &resource::<K>(), Does::Writes, request).await
    }

    /// Makes what is quell's own as `object` says, whether it was there or not (server-side apply).
    ///
    /// # Errors
    /// [`CallError::Conflict`] when somebody else owns a field of it.
    pub async fn apply<K: Kind>(&self, namespace: Option<&str>, name: &str, object: &Json) -> Result<K, CallError> {
        let params = PatchParams::apply(MANAGER);
        let request = request::<K>(namespace).patch(name, &params, &Patch::Apply(object));
        self.send("patch", &resource::<K>(), Does::Writes, request).await
    }

    /// Makes a new one.
    ///
    /// # Errors
    /// [`CallError::Conflict`] when there is one of that name.
    pub async fn create<K: Kind>(&self, namespace: Option<&str>, object: &Json) -> Result<K, CallError> {
        let request = request::<K>(namespace).create(&PostParams::default(), object.to_string().into_bytes());
        self.send("create", &resource::<K>(), Does::Writes, request).await
    }

    /// Deletes the object with this uid, and no other of its name. What is gone already is no error.
    ///
    /// # Errors
    /// [`CallError::Conflict`] when another has its name.
    pub async fn delete<K: Kind>(
        &self,
        namespace: Option<&str>,
        (name, uid): (&str, &str),
        grace: Option<Duration>,
    ) -> Result<(), CallError> {
        let params = DeleteParams {
            grace_period_seconds: grace.map(|grace| u32::try_from(grace.as_secs()).unwrap_or(u32::MAX)),
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        let request = request::<K>(namespace).delete(name, &params);
        match self.send::<Json>("delete", &resource::<K>(), Does::Writes, request).await {
            Ok(_) | Err(CallError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes to a subresource: `eviction`, `scale` …
    ///
    /// # Errors
    /// As the server answers.
    pub async fn create_sub<K: Kind>(
        &self,
        namespace: Option<&str>,
        (name, sub): (&str, &str),
        object: &Json,
    ) -> Result<Json, CallError> {
        let body = object.to_string().into_bytes();
        let request = request::<K>(namespace).create_subresource(sub, name, &PostParams::default(), body);
        self.send("create", &format!("{}/{sub}", resource::<K>()), Does::Writes, request).await
    }

    /// Text that belongs to an object: a pod's logs. `request` is made by who knows its parameters.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn text<K: Kind>(
        &self,
        sub: &str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<String, CallError> {
        let permission = self.declared("get", &format!("{}/{sub}", resource::<K>()))?;
        let request = request.map_err(|error| CallError::Refused(error.to_string()))?;
        let client = self.cluster.client().await?;
        let answer = tokio::time::timeout(CALL, client.request_text(request)).await;
        answered(answer, &permission, Does::Reads)
    }

    /// Which of the writes that this verb declares quell may not do in a namespace, each as `forbidden: patch pods in shop`. It is asked and not
    /// guessed; of what cannot be asked nothing is said.
    pub async fn missing(&self, namespace: Option<&str>) -> Vec<String> {
        let reads = ["get", "list", "watch"];
        let parsed = self.spec.permissions.iter().filter_map(|permission| parse(permission));
        let writes = parsed.filter(|(verb, _)| !reads.contains(verb));
        let asked = writes.map(|(verb, of)| async move { (verb, of, self.may(verb, of, namespace).await) });
        let answers = futures_util::future::join_all(asked).await;
        let place = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        let lacks = answers.into_iter().filter(|(_, _, may)| *may == Ok(false));
        lacks.map(|(verb, of, _)| format!("forbidden: {verb} {of}{place}")).collect()
    }

    async fn may(&self, verb: &str, of: &str, namespace: Option<&str>) -> Result<bool, CallError> {
        let key = format!("{verb} {of} {}", namespace.unwrap_or_default());
        if let Some(may) = self.cluster.granted(&key) {
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
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let body = serde_json::to_vec(&review).map_err(|error| CallError::Refused(error.to_string()))?;
        let request = request::<SelfSubjectAccessReview>(None).create(&PostParams::default(), body);
        let request = request.map_err(|error| CallError::Refused(error.to_string()))?;
        let client = self.cluster.client().await?;
        let answer = tokio::time::timeout(CALL, client.request::<SelfSubjectAccessReview>(request)).await;
        // Whoever is authenticated may ask this of itself (system:basic-user): no permission of a verb's.
        let review = answered(answer, "create selfsubjectaccessreviews.authorization.k8s.io", Does::Reads)?;
        let may = review.status.is_some_and(|status| status.allowed);
        self.cluster.keep_granted(key, may);
        Ok(may)
    }

    fn declared(&self, verb: &str, of: &str) -> Result<String, CallError> {
        let permission = format!("{verb} {of}");
        let is_it = |declared: &&&str| declared.strip_prefix(PREFIX) == Some(permission.as_str());
        if self.spec.permissions.iter().any(|declared| is_it(&declared)) {
            return Ok(permission);
        }
        Err(CallError::Undeclared { verb: self.spec.name, permission })
    }

    async fn send<T: DeserializeOwned>(
        &self,
        verb: &str,
        of: &str,
        does: Does,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, CallError> {
        let permission = self.declared(verb, of)?;
        let request = request.map_err(|error| CallError::Refused(error.to_string()))?;
        let client = self.cluster.client().await?;
        let answer = tokio::time::timeout(CALL, client.request::<T>(request)).await;
        answered(answer, &permission, does)
    }
}

/// Before what an action's spec lists of Kubernetes: `kubernetes:patch pods`.
pub(crate) const PREFIX: &str = "kubernetes:";

/// A permission as a spec lists it, in its verb and its resource.
#[must_use]
pub(crate) fn parse(permission: &str) -> Option<(&str, &str)> {
    permission.strip_prefix(PREFIX)?.split_once(' ')
}

fn request<K: Kind>(namespace: Option<&str>) -> Request {
    Request::new(K::url_path(&(), namespace))
}

pub(crate) fn answered<T>(
    answer: Result<Result<T, kube::Error>, tokio::time::error::Elapsed>,
    permission: &str,
    does: Does,
) -> Result<T, CallError> {
    let unsaid = |why: String| if does == Does::Reads { CallError::Away(why) } else { CallError::Unknown(why) };
    match answer {
        Err(_) => Err(unsaid(format!("no answer to `{permission}` within {} s", CALL.as_secs()))),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(kube::Error::Api(status))) => Err(of_status(&status, permission, unsaid)),
        Ok(Err(error)) if was_never_sent(&error) => Err(CallError::Away(sentence(&error))),
        Ok(Err(error @ (kube::Error::Auth(_) | kube::Error::BuildRequest(_)))) => {
            Err(CallError::Away(sentence(&error)))
        }
        Ok(Err(error)) => Err(unsaid(sentence(&error))),
    }
}

fn of_status(status: &Status, permission: &str, unsaid: impl FnOnce(String) -> CallError) -> CallError {
    let why = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
    let wait = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
    let after = wait.map(|seconds| Duration::from_secs(u64::from(seconds)));
    match status.code {
        401 | 403 => CallError::Forbidden { permission: permission.to_owned(), why },
        404 => CallError::NotFound(why),
        409 => CallError::Conflict(why),
        429 | 503 => CallError::Wait { why, after },
        400..=499 => CallError::Refused(why),
        _ => unsaid(why),
    }
}

/// Nobody took the connection: nothing was asked.
fn was_never_sent(error: &kube::Error) -> bool {
    let kube::Error::Service(inner) = error else { return false };
    inner.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(hyper_util::client::legacy::Error::is_connect)
}

/// The whole of an error, from its cause.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_verdict() {
        let of = |code: u16, does: Does| {
            let status = Status { code, message: "m".into(), ..Status::failure("m", "r") };
            let answer: Result<Result<(), kube::Error>, _> = Ok(Err(kube::Error::Api(Box::new(status))));
            answered(answer, "patch pods", does).map_err(ActionError::from).unwrap_err()
        };
        assert!(matches!(of(403, Does::Writes), ActionError::GiveUp { hint: Some(_), .. }));
        assert!(matches!(of(409, Does::Writes), ActionError::Retry { .. }));
        assert!(matches!(of(429, Does::Writes), ActionError::Retry { .. }));
        assert!(matches!(of(422, Does::Writes), ActionError::GiveUp { .. }));
        assert!(matches!(of(500, Does::Writes), ActionError::Unknown { .. }));
        assert!(matches!(of(500, Does::Reads), ActionError::Retry { .. }));
    }

    #[test]
    fn a_permission_is_a_verb_and_a_resource() {
        assert_eq!(parse("kubernetes:create pods/eviction"), Some(("create", "pods/eviction")));
        assert_eq!(parse("CAP_KILL"), None);
        assert_eq!(resource::<k8s_openapi::api::apps::v1::Deployment>(), "deployments.apps");
        assert_eq!(resource::<k8s_openapi::api::core::v1::Pod>(), "pods");
    }
}
