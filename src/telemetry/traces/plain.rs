//! The client by which spans are sent: one request over one connection of plain http.
//!
//! Owns the bounds of an exchange. Follows no redirection, and keeps nothing of an answer but its status and some of its body.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;

/// A collector on the same host answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer is a few bytes.
const LARGEST: usize = 64 << 10;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Plain {
    status: Arc<AtomicU16>,
}

impl Plain {
    /// What the last request was answered; 0: nothing.
    pub(super) fn status(&self) -> u16 {
        self.status.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl HttpClient for Plain {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.status.store(0, Ordering::Relaxed);
        let response = tokio::time::timeout(PATIENCE, exchange(request)).await??;
        self.status.store(response.status().as_u16(), Ordering::Relaxed);
        Ok(response)
    }
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
