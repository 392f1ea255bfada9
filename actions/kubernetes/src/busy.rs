//! How long an API server that is busy asks to wait, where it says so in a header alone.
//!
//! Its priority and fairness refuse with 429, a `Retry-After` and a plain text (k8s.io/apiserver 1.34, `filters/priority-and-fairness.go`), and kube
//! keeps no header of an answer. Keeps true: what is not such a refusal passes as it came; of one no more is read than people are told.

use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::{Body, DynBody};
use kube::core::Status;
use kube::core::response::StatusDetails;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::Service;

/// Of what a refusal says at most so much is read.
const SAID: usize = 64 << 10;

type Failed = Box<dyn Error + Send + Sync>;
type Answered = Result<Response<Box<DynBody>>, Failed>;

/// A client whose answers are heard.
#[derive(Clone, Debug)]
pub(crate) struct Hears<S>(pub(crate) S);

impl<S> Service<Request<Body>> for Hears<S>
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = Failed>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Answered> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async {
            match answer.await {
                Ok(answer) => heard(answer).await,
                Err(error) => Err(error),
            }
        })
    }
}

/// An answer as it came, but one that asks to wait as the error that says for how long.
async fn heard(answer: Response<Box<DynBody>>) -> Answered {
    let Some(seconds) = asked_to_wait(&answer) else { return Ok(answer) };
    let code = answer.status();
    // What it says is for people: that it is to be waited for holds without it.
    let (mut body, mut said) = (answer.into_body(), Vec::new());
    while let Some(Ok(frame)) = body.frame().await {
        said.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if said.len() > SAID {
            said.clear();
            break;
        }
    }
    Err(Box::new(kube::Error::Api(Box::new(refusal(code, &said, seconds)))))
}

/// In seconds, as every API server says it. A date, which HTTP knows too, is none of theirs.
fn asked_to_wait(answer: &Response<Box<DynBody>>) -> Option<u32> {
    let is_busy = matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    answer.headers().get(RETRY_AFTER).filter(|_| is_busy)?.to_str().ok()?.trim().parse().ok()
}

fn refusal(code: StatusCode, said: &[u8], seconds: u32) -> Status {
    let mut status = serde_json::from_slice::<Status>(said).unwrap_or_else(|_| {
        let reason = code.canonical_reason().unwrap_or_default();
        Status::failure(String::from_utf8_lossy(said).trim(), reason)
    });
    status.code = code.as_u16();
    let details = status.details.get_or_insert_with(|| StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    });
    details.retry_after_seconds = details.retry_after_seconds.max(seconds);
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(code: u16, wait: Option<&str>, body: &str) -> Option<(u16, String, Option<u32>)> {
        let mut answer = Response::builder().status(code);
        if let Some(wait) = wait {
            answer = answer.header(RETRY_AFTER, wait);
        }
        let body = Body::from(body.as_bytes().to_vec());
        let body: Box<DynBody> = Box::new(body.map_err(|error| -> Failed { error.into() }));
        match heard(answer.body(body).unwrap()).await {
            Ok(passed) => {
                assert_eq!(passed.status().as_u16(), code);
                None
            }
            Err(error) => {
                let kube::Error::Api(status) = *error.downcast::<kube::Error>().unwrap() else {
                    panic!("another error")
                };
                Some((status.code, status.message, status.details.map(|details| details.retry_after_seconds)))
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_that_says_when_in_its_header_alone_is_heard() {
        let plain = of(429, Some("7"), "Too many requests, please try again later.\n").await;
        assert_eq!(plain, Some((429, "Too many requests, please try again later.".to_owned(), Some(7))));
        let status = r#"{"kind":"Status","message":"busy","code":429,"details":{"retryAfterSeconds":9}}"#;
        assert_eq!(of(429, Some("1"), status).await, Some((429, "busy".to_owned(), Some(9))));
        assert_eq!(of(503, Some("2"), "{}").await, Some((503, String::new(), Some(2))));
        assert_eq!(of(429, Some("3"), &"x".repeat(SAID + 1)).await, Some((429, String::new(), Some(3))));
    }

    #[tokio::test]
    async fn what_asks_for_no_such_thing_passes_as_it_came() {
        for (code, wait) in
            [(200, Some("7")), (429, None), (429, Some("Tue, 01 Dec 2026 05:22:36 GMT")), (500, Some("7"))]
        {
            assert_eq!(of(code, wait, "x").await, None, "{code} {wait:?}");
        }
    }
}
