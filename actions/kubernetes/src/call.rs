//! What every call to an API server has in common: a bound in time, the verb's permissions, and a verdict for each error.
//!
//! Owns how objects are read and written. Never retries by itself: the engine does. Keeps true: a call that the verb's permissions do not
//! list is not made; what may have happened is told as unknown, and what cannot have happened is not.

use crate::access;
use crate::cluster::Cluster;
use crate::rbac::PREFIX;
use futures_util::AsyncReadExt;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions, Request};
use kube::core::params::PropagationPolicy;
use kube::core::{PartialObjectMeta, Status};
use quell_actions::text::{one_line, plain};
use quell_model::{ActionError, ActionSpec, Json};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

/// Whose fields quell's are.
pub(crate) const MANAGER: &str = "quell";
/// A call that took so long is given up.
pub(crate) const CALL: Duration = Duration::from_secs(5);
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
    /// It lies where quell may write nothing, whatever the server says.
    #[error("nothing is written there: {0}")]
    Outside(String),
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
            CallError::Undeclared { .. } | CallError::Refused(_) | CallError::Outside(_) | CallError::NotFound(_) => {
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

/// A write that quell needs on one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Needs {
    verb: &'static str,
    of: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl Needs {
    pub(crate) fn of(verb: &'static str, of: &str, namespace: Option<&str>, name: Option<&str>) -> Self {
        Self { verb, of: of.to_owned(), namespace: namespace.map(str::to_owned), name: name.map(str::to_owned) }
    }
}

/// `patch pods web-1 in shop`.
impl std::fmt::Display for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.of)?;
        if let Some(name) = &self.name {
            write!(f, " {}", plain(name))?;
        }
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
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

    /// The same as the API server tells it, with fields that quell does not know.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn raw<K: Kind>(&self, namespace: Option<&str>, name: &str) -> Result<Option<Json>, CallError> {
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
        self.pages::<K, K>(fits, |params| request::<K>(namespace).list(params)).await
    }

    /// What is said of every object that fits, and nothing that is in it: what a Secret holds stays where it is.
    ///
    /// # Errors
    /// As of [`Calls::list`].
    pub async fn metas<K: Kind>(
        &self,
        namespace: Option<&str>,
        fits: &ListParams,
    ) -> Result<Vec<ObjectMeta>, CallError> {
        let list = |params: &ListParams| request::<K>(namespace).list_metadata(params);
        let all: Vec<PartialObjectMeta<K>> = self.pages::<K, _>(fits, list).await?;
        Ok(all.into_iter().map(|one| one.metadata).collect())
    }

    async fn pages<K: Kind, T: Clone + DeserializeOwned>(
        &self,
        fits: &ListParams,
        list: impl Fn(&ListParams) -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Vec<T>, CallError> {
        let mut all = Vec::new();
        let mut params = ListParams { limit: Some(PAGE), ..fits.clone() };
        for _ in 0..PAGES {
            let page: kube::core::ObjectList<T> =
                self.send("list", &resource::<K>(), Does::Reads, list(&params)).await?;
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
        self.inside::<K>(namespace)?;
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let request = request::<K>(namespace).patch(name, &params, &Patch::Merge(patch));
        self.send("patch", &resource::<K>(), Does::Writes, request).await
    }

    /// The same by a strategic merge patch: of lists of named things, as containers are, only those that it names are changed.
    ///
    /// # Errors
    /// [`CallError::Conflict`] when it is another version, or another object.
    pub async fn strategic<K: Kind>(&self, namespace: Option<&str>, name: &str, patch: &Json) -> Result<K, CallError> {
        self.inside::<K>(namespace)?;
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let request = request::<K>(namespace).patch(name, &params, &Patch::Strategic(patch));
        self.send("patch", &resource::<K>(), Does::Writes, request).await
    }

    /// Makes what is quell's own as `object` says, whether it was there or not (server-side apply).
    ///
    /// # Errors
    /// [`CallError::Conflict`] when somebody else owns a field of it.
    pub async fn apply<K: Kind>(&self, namespace: Option<&str>, name: &str, object: &Json) -> Result<K, CallError> {
        self.inside::<K>(namespace)?;
        let params = PatchParams::apply(MANAGER);
        let request = request::<K>(namespace).patch(name, &params, &Patch::Apply(object));
        self.send("patch", &resource::<K>(), Does::Writes, request).await
    }

    /// Makes a new one.
    ///
    /// # Errors
    /// [`CallError::Conflict`] when there is one of that name.
    pub async fn create<K: Kind>(&self, namespace: Option<&str>, object: &Json) -> Result<K, CallError> {
        self.inside::<K>(namespace)?;
        let request = request::<K>(namespace).create(&by_quell(), object.to_string().into_bytes());
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
        self.inside::<K>(namespace)?;
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
        self.inside::<K>(namespace)?;
        let body = object.to_string().into_bytes();
        let request = request::<K>(namespace).create_subresource(sub, name, &PostParams::default(), body);
        self.send("create", &format!("{}/{sub}", resource::<K>()), Does::Writes, request).await
    }

    /// Changes a subresource by a merge patch: `scale`. What is said of [`Calls::merge`] holds.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn merge_sub<K: Kind>(
        &self,
        namespace: Option<&str>,
        (name, sub): (&str, &str),
        patch: &Json,
    ) -> Result<Json, CallError> {
        self.inside::<K>(namespace)?;
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let request = request::<K>(namespace).patch_subresource(sub, name, &params, &Patch::Merge(patch));
        self.send("patch", &format!("{}/{sub}", resource::<K>()), Does::Writes, request).await
    }

    /// What belongs to an object and is no JSON: a pod's logs, which may be anything. Reads no more than `most` bytes, and says whether there
    /// were more. `request` is made by who knows its parameters.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn bytes<K: Kind>(
        &self,
        sub: &str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        most: usize,
    ) -> Result<(Vec<u8>, bool), CallError> {
        let permission = self.declared("get", &format!("{}/{sub}", resource::<K>()))?;
        let request = request.map_err(|error| CallError::Refused(error.to_string()))?;
        let login = self.cluster.login().await?;
        let read = async {
            let body = std::pin::pin!(login.client.request_stream(request).await?);
            let mut bytes = Vec::new();
            let all = body.take(most as u64 + 1).read_to_end(&mut bytes).await;
            all.map_err(kube::Error::ReadEvents)?;
            let is_cut = bytes.len() > most;
            bytes.truncate(most);
            Ok::<_, kube::Error>((bytes, is_cut))
        };
        let answer = tokio::time::timeout(CALL, read).await;
        if is_unknown(&answer) {
            // Whoever asks next is asked for by a new one.
            self.cluster.unknown(&login).await;
        }
        answered(answer, &permission, Does::Reads)
    }

    /// Which of the writes that this verb declares quell may not do in a namespace, each as `forbidden: patch pods in shop`. It is asked and not
    /// guessed; of what cannot be asked nothing is said.
    pub async fn missing(&self, namespace: Option<&str>) -> Vec<String> {
        self.missing_of(namespace, |_| true).await
    }

    /// The same of those writes alone that are on this resource: `deployments.apps`, where a verb could also write on others.
    pub async fn missing_on(&self, namespace: Option<&str>, resource: &str) -> Vec<String> {
        self.missing_of(namespace, |of| of == resource).await
    }

    async fn missing_of(&self, namespace: Option<&str>, fits: impl Fn(&str) -> bool) -> Vec<String> {
        let reads = ["get", "list", "watch"];
        let parsed = self.spec.permissions.iter().filter_map(|permission| parse(permission));
        let writes = parsed.filter(|(verb, of)| !reads.contains(verb) && fits(of));
        let asked = writes.map(|(verb, of)| async move { (verb, of, self.may(verb, of, (namespace, None)).await) });
        let answers = futures_util::future::join_all(asked).await;
        let place = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        let lacks = answers.into_iter().filter(|(_, _, may)| *may == Ok(false));
        lacks.map(|(verb, of, _)| format!("forbidden: {verb} {of}{place}")).collect()
    }

    /// Which of these quell may not do, each as `forbidden: patch pods web-1 in shop`; of what cannot be asked nothing is said.
    pub(crate) async fn lacks(&self, needs: &[Needs]) -> Vec<String> {
        let mut lacks = Vec::new();
        for need in needs {
            let place = (need.namespace.as_deref(), need.name.as_deref());
            if self.may(need.verb, &need.of, place).await == Ok(false) {
                lacks.push(format!("forbidden: {need}"));
            }
        }
        lacks
    }

    /// Whether quell may, in a namespace, on all of them or on the one of this name.
    pub(crate) async fn may(
        &self,
        verb: &str,
        of: &str,
        place: (Option<&str>, Option<&str>),
    ) -> Result<bool, CallError> {
        access::may(self.cluster, verb, of, place).await
    }

    /// Whatever the guard was told: a second look, by the hands.
    fn inside<K: Kind>(&self, namespace: Option<&str>) -> Result<(), CallError> {
        // A review is a question: nothing is written.
        if K::group(&()) == "authorization.k8s.io" {
            return Ok(());
        }
        self.cluster.outside(namespace).map_or(Ok(()), |why| Err(CallError::Outside(why)))
    }

    /// What somebody else may: a question that the verb has to declare, and that changes nothing.
    pub(crate) async fn review(&self, review: &SubjectAccessReview) -> Result<SubjectAccessReview, CallError> {
        let body = serde_json::to_vec(review).map_err(|error| CallError::Refused(error.to_string()))?;
        let request = request::<SubjectAccessReview>(None).create(&PostParams::default(), body);
        self.send("create", &resource::<SubjectAccessReview>(), Does::Reads, request).await
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
        asked(self.cluster, (&permission, does), CALL, request).await
    }
}

/// Asks, within that time, and once more by a new client where the server does not know quell: it has done nothing then.
pub(crate) async fn asked<T: DeserializeOwned>(
    cluster: &Cluster,
    (permission, does): (&str, Does),
    within: Duration,
    request: http::Request<Vec<u8>>,
) -> Result<T, CallError> {
    let login = cluster.login().await?;
    let answer = tokio::time::timeout(within, login.client.request::<T>(request.clone())).await;
    if !is_unknown(&answer) || !cluster.unknown(&login).await {
        return answered(answer, permission, does);
    }
    let client = cluster.client().await?;
    answered(tokio::time::timeout(within, client.request::<T>(request)).await, permission, does)
}

/// Whether the server does not know quell.
pub(crate) fn is_unknown<T>(answer: &Result<Result<T, kube::Error>, tokio::time::error::Elapsed>) -> bool {
    matches!(answer, Ok(Err(kube::Error::Api(status))) if status.code == 401)
}

/// A permission as a spec lists it, in its verb and its resource.
#[must_use]
pub(crate) fn parse(permission: &str) -> Option<(&str, &str)> {
    permission.strip_prefix(PREFIX)?.split_once(' ')
}

pub(crate) fn request<K: Kind>(namespace: Option<&str>) -> Request {
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
        // What a plugin was called with, and what it printed, may be secrets: none of it is told.
        Ok(Err(kube::Error::Auth(_))) => Err(CallError::Away(NO_LOGIN.to_owned())),
        Ok(Err(error @ kube::Error::BuildRequest(_))) => Err(CallError::Away(sentence(&error))),
        Ok(Err(error)) => Err(unsaid(sentence(&error))),
    }
}

fn of_status(status: &Status, permission: &str, unsaid: impl FnOnce(String) -> CallError) -> CallError {
    let why = said(status);
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

/// A sentence of the server's is cut past so many characters: it may hold what others wrote.
const SAID: usize = 500;

/// What the server says, and which budget it is that is spent.
fn said(status: &Status) -> String {
    let head = if status.message.is_empty() { status.reason.as_str() } else { status.message.as_str() };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let budgets = causes.filter(|cause| cause.reason == BUDGET && !head.contains(&cause.message));
    let all: Vec<&str> = std::iter::once(head).chain(budgets.map(|cause| cause.message.as_str())).collect();
    one_line(&all.join(" "), SAID)
}

/// Why an eviction is refused, as its cause calls it (k8s.io/api/policy/v1, `DisruptionBudgetCause`).
pub(crate) const BUDGET: &str = "DisruptionBudget";

/// What is made is quell's.
fn by_quell() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// What is said where quell could not say who it is.
pub(crate) const NO_LOGIN: &str =
    "quell has no credentials for it: the kubeconfig's token, certificate or plugin (`exec`) gives none";

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
            let status = serde_json::json!({ "code": code, "message": "m", "details": { "retryAfterSeconds": 7 } });
            let answer: Result<Result<(), _>, _> = Ok(Err(kube::Error::Api(serde_json::from_value(status).unwrap())));
            answered(answer, "patch pods", does).map_err(ActionError::from).unwrap_err()
        };
        let seven = Some(Duration::from_secs(7));
        assert!(matches!(of(403, Does::Writes), ActionError::GiveUp { hint: Some(_), .. }));
        assert!(matches!(of(409, Does::Writes), ActionError::Retry { .. }));
        assert!(matches!(of(429, Does::Writes), ActionError::Retry { after, .. } if after == seven));
        assert!(matches!(of(503, Does::Reads), ActionError::Retry { after, .. } if after == seven));
        assert!(matches!(of(422, Does::Writes), ActionError::GiveUp { .. }));
        assert!(matches!(of(500, Does::Writes), ActionError::Unknown { .. }));
        assert!(matches!(of(500, Does::Reads), ActionError::Retry { .. }));
    }

    #[test]
    fn a_spent_budget_is_named_and_nothing_breaks_the_line() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "code": 429, "message": "Cannot evict\u{1b}[2J pod.",
            "details": { "causes": [{ "reason": BUDGET, "message": "The budget web needs 1." }, { "reason": "x", "message": "y" }] },
        }))
        .unwrap();
        assert_eq!(said(&status), "Cannot evict\\u{1b}[2J pod. The budget web needs 1.");
    }

    #[test]
    fn a_permission_is_a_verb_and_a_resource() {
        assert_eq!(parse("kubernetes:create pods/eviction"), Some(("create", "pods/eviction")));
        assert_eq!(parse("CAP_KILL"), None);
        assert_eq!(resource::<k8s_openapi::api::apps::v1::Deployment>(), "deployments.apps");
        assert_eq!(resource::<k8s_openapi::api::core::v1::Pod>(), "pods");
    }
}
