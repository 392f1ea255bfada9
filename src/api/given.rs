//! What comes with a request: its body, read or refused with its reason.

use super::Problem;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use quell_engine::run::given;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

/// A body of JSON, whatever media type it says it is; none at all is `{}`.
pub(super) struct Given<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let text = String::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        read(&text).map(Self).map_err(IntoResponse::into_response)
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text).map_err(|e| match given::too_deep("the body", &e) {
        Some(what) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what),
        None => Problem::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {e}")),
    })
}

/// A note, or a reason, is not longer: it stands in every view of its incident.
pub(super) const LONGEST_NOTE: usize = 10_000;

/// What a person says to it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    /// For the timeline.
    #[serde(default)]
    #[schema(max_length = 10_000, examples("the host is being rebuilt"))]
    text: String,
    /// The number that the message named which this answers: 409 if the incident has been raised anew since. Without it, it is
    /// meant as it stands.
    #[serde(default)]
    #[schema(examples(3))]
    generation: Option<u32>,
}

impl Words {
    /// The text, if it is not too long, and the generation that is meant.
    pub(super) fn read(self) -> Result<(String, Option<u32>), Problem> {
        Ok((bounded(self.text)?, self.generation))
    }
}

/// What a person wrote, if it is not too long.
pub(super) fn bounded(text: String) -> Result<String, Problem> {
    let long = text.chars().count();
    if long > LONGEST_NOTE {
        let what = format!("the text has {long} characters; the most is {LONGEST_NOTE}");
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what);
        return Err(problem.hint("keep the whole of it elsewhere, and say where"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_be_absent_but_not_misspelt() {
        assert_eq!(read::<Words>(" ").and_then(Words::read), Ok((String::new(), None)));
        assert_eq!(
            read::<Words>(r#"{"text":"a","generation":3}"#).and_then(Words::read),
            Ok(("a".to_owned(), Some(3)))
        );
        assert!(read::<Words>(r#"{"txt":"a"}"#).is_err());
        let deep = format!("{{\"text\":{}", "[".repeat(1000));
        let said = format!("{:?}", read::<quell_model::Json>(&deep).unwrap_err());
        assert!(said.contains("422") && said.contains("nests deeper than 64"), "{said}");
        let long = "é".repeat(LONGEST_NOTE + 1);
        assert!(Words { text: long[2..].to_owned(), generation: None }.read().is_ok());
        assert!(Words { text: long, generation: None }.read().is_err());
    }
}
