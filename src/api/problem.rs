//! What goes wrong on the API: `application/problem+json` (RFC 9457), with quell's `hint` beside.
//!
//! Keeps true: whatever refuses, a route or what stands before it, answers in this one shape.

use crate::daemon::PauseError;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use quell_engine::run::Refusal;
use quell_model::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

/// The media type of a problem.
pub(super) const PROBLEM: &str = "application/problem+json";

/// Why something was not done (RFC 9457).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument {
    /// Always `about:blank`: the status says which kind of problem it is.
    #[serde(rename = "type")]
    #[schema(examples("about:blank"))]
    kind: String,
    /// The status in words.
    #[schema(examples("not found"))]
    pub(crate) title: String,
    /// The HTTP status.
    #[schema(examples(404), minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request, for people.
    #[schema(examples("there is no run `r-0f1e2d3c4b5a`"))]
    pub(crate) detail: String,
    /// What would make it work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples("`quell run list` lists them"))]
    pub(crate) hint: Option<String>,
}

/// A refusal with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    hint: Option<String>,
}

impl Problem {
    /// Of this status.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), hint: None }
    }

    /// There is no such thing.
    pub(crate) fn not_found(kind: &str, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {kind} `{id}`"))
            .hint(format!("`quell {kind} list` lists them"))
    }

    /// Its status, what is wrong, and what would make it work: for whoever tells it in another shape.
    pub(super) fn parts(self) -> (StatusCode, String, Option<String>) {
        (self.status, self.detail, self.hint)
    }

    /// What is wrong.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Says what would make it work.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound { kind, id } => Self::not_found(kind, &id),
            Refusal::NotNow(why) => Self::new(StatusCode::CONFLICT, why),
            Refusal::Denied(why) => Self::new(StatusCode::FORBIDDEN, why),
            Refusal::Wrong(why) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, why),
            Refusal::Late(why) => Self::new(StatusCode::GATEWAY_TIMEOUT, why).hint(
                "look how it stands before you say it again: what was asked is done as soon as the engine goes on",
            ),
            Refusal::Gone => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the engine has ended"),
        }
    }
}

impl From<PauseError> for Problem {
    fn from(error: PauseError) -> Self {
        let what = error.to_string();
        match error {
            PauseError::Engine(refusal) => refusal.into(),
            PauseError::Kernel(_) => Self::new(StatusCode::CONFLICT, what).hint(
                "end the daemon, then `quell uninstall` takes it out of the kernel; `rm -r /sys/fs/bpf/quell` does too",
            ),
            PauseError::StillHeld(_) => Self::new(StatusCode::CONFLICT, what)
                .hint("try `quell resume` again; a restart of the daemon loads what acts in the kernel anew"),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            .hint("`quell status` shows the journal's health")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = ProblemDocument {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("error").to_lowercase(),
            status: self.status.as_u16(),
            detail: self.detail,
            hint: self.hint,
        };
        let mut response = (self.status, axum::Json(document)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// No refusal of what stands before the routes is longer.
const LONGEST: usize = 64 << 10;

/// What stands before the routes (paths and queries that cannot be read, bodies that are too long) refuses in text: its
/// words become a problem's.
pub(super) async fn one_shape(response: Response) -> Response {
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body): (_, Body) = response.into_parts();
    let said = to_bytes(body, LONGEST).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let detail = if said.is_empty() { status.canonical_reason().unwrap_or("error") } else { &said };
    let mut problem = Problem::new(status, detail).into_response();
    if let Some(allowed) = parts.headers.get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    problem
}

pub(super) async fn nowhere(uri: Uri) -> Problem {
    let problem = Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at `{}`", uri.path()));
    problem.hint(format!("`GET {}/openapi.json` lists what there is", super::VERSION))
}

pub(super) async fn not_so(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{}` does not take {method}", uri.path()))
}

/// A problem of this status in the API's description.
pub(super) fn described(description: &str) -> RefOr<utoipa::openapi::Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content(PROBLEM, content).build().into()
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $status:literal, $description:literal;)+) => {
        $($(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
                BTreeMap::from([($status.to_owned(), described($description))])
            }
        })+
    };
}

refusals! {
    /// Of routes with a body or a query.
    Unreadable: "400", "The body, or a parameter, cannot be read";
    /// Of routes that name something.
    Absent: "404", "There is no such thing";
    /// Of routes that need things to stand in a certain way.
    NotNow: "409", "It cannot be done as things stand";
    /// Of routes that show what may be too old to be kept.
    Pruned: "410", "There was such a thing: it was over for longer than the journal keeps it";
    /// Of routes with a body.
    TooLong: "413", "The body is longer than 2 MiB";
    /// Of routes that hold a connection for long.
    TooMany: "429", "Too many clients follow already";
    /// Of routes whose body can be wrong though it can be read.
    Wrong: "422", "The body can be read, and what it says is wrong";
}
