//! What goes wrong on the API: `application/problem+json` (RFC 9457), with quell's `hint` beside.

use crate::daemon::PauseError;
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use quell_engine::run::Refusal;
use quell_model::StoreError;
use serde_json::json;

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
        let title = self.status.canonical_reason().unwrap_or("error").to_lowercase();
        let mut body = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail,
        });
        if let Some(hint) = self.hint {
            body["hint"] = hint.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
