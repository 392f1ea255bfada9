//! The client by which spans are sent: one request over one connection of plain http.
//!
//! Owns the bounds of an exchange, and what an answer means. Follows no redirection, and keeps nothing of an answer but what it
//! said. Keeps true: only what a collector says counts as taken; a 200 of a web server, or of a proxy's page, is no such word.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;

/// A collector on the same host answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer is a few bytes.
const LARGEST: usize = 64 << 10;

/// What a request came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// 0: there was no answer.
    pub(super) status: u16,
    /// Why it was not taken, where the answer is none of a collector.
    pub(super) why: Option<String>,
    /// What of it was not taken for good.
    pub(super) rejected: Option<ExportTracePartialSuccess>,
}

/// What protobuf is called: by the specification, and by some collectors.
const KINDS: [&str; 2] = ["application/x-protobuf", "application/protobuf"];

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Plain(Arc<Mutex<Said>>);

impl Plain {
    /// What the last request came to.
    pub(super) fn said(&self) -> Said {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, said: Said) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }
}

#[async_trait::async_trait]
impl HttpClient for Plain {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answered = tokio::time::timeout(PATIENCE, exchange(request)).await;
        let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs()).into()));
        let read = answered.and_then(|response| {
            let status = response.status().as_u16();
            let rejected = if response.status().is_success() { taken(&response)? } else { None };
            Ok((response, Said { status, rejected, why: None }))
        });
        match read {
            Ok((response, said)) => {
                self.note(said);
                Ok(response)
            }
            Err(error) => {
                self.note(Said { why: Some(error.to_string()), ..Said::default() });
                Err(error)
            }
        }
    }
}

/// What a collector says that takes spans (OTLP 1.x, "OTLP/HTTP Response"): the same encoding as the request's, and in it what of
/// the request it did not take.
fn taken(response: &Response<Bytes>) -> Result<Option<ExportTracePartialSuccess>, String> {
    let status = response.status();
    let kind = response.headers().get(hyper::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let media = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !KINDS.iter().any(|known| media.eq_ignore_ascii_case(known)) {
        return Err(format!("it answered {status} as `{media}`, and not as a collector does (`{}`)", KINDS[0]));
    }
    let said = ExportTraceServiceResponse::decode(response.body().clone());
    let said = said.map_err(|error| format!("it answered {status} with what is no answer of a collector: {error}"))?;
    Ok(said.partial_success)
}

async fn exchange(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let authority = request.uri().authority().ok_or("the collector's address names no host")?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let (mut head, body) = request.into_parts();
    head.headers.insert(hyper::header::HOST, authority.as_str().parse()?);
    // To the server itself a request names the path alone (RFC 9112, 3.2.1).
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse()?;
    let answer = async {
        let response = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    // The connection is driven beside its one exchange, and ends with it.
    let drive = async {
        drop(connection.await);
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! { answer = answer => answer, _ = drive => unreachable!("never ready") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: &str, body: &[u8]) -> Result<Option<i64>, String> {
        let response = Response::builder().header("content-type", kind).body(Bytes::copy_from_slice(body));
        taken(&response.unwrap()).map(|rejected| rejected.map(|rejected| rejected.rejected_spans))
    }

    #[test]
    fn only_a_collectors_word_counts() {
        assert_eq!(said("application/x-protobuf", b""), Ok(None));
        assert_eq!(said("application/X-Protobuf; charset=utf-8", b""), Ok(None));
        let rejected = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too many".to_owned() };
        let partly = ExportTraceServiceResponse { partial_success: Some(rejected) }.encode_to_vec();
        assert_eq!(said("application/protobuf", &partly), Ok(Some(3)));
        for (kind, body) in [("text/html", "<p>it works</p>"), ("application/json", "{}"), ("", "")] {
            let why = said(kind, body.as_bytes()).unwrap_err();
            assert!(why.contains("200 OK") && why.contains(kind), "{why}");
        }
        assert!(said("application/x-protobuf", b"<html>").unwrap_err().contains("no answer of a collector"));
    }
}
