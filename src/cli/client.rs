//! The client of the daemon's API: HTTP over its Unix socket or over TCP, JSON in and out.
//!
//! Owns the connection and what its failures mean in exit codes. Knows no route.

use super::exit::{Exit, Fail};
use super::remote::{Remote, Stream};
use super::{Global, place};
use crate::api::{Page, ProblemDocument, VERSION};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use quell_engine::report::LONGEST;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The daemon answers in milliseconds, on a machine under attack in seconds; past this it is as good as gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// A daemon lets who asks in at once, with TLS after some exchanges.
const THERE: Duration = Duration::from_secs(5);
/// No answer is larger: a thousand runs are about a megabyte.
const LARGEST: usize = 256 << 20;

/// Where the daemon is.
enum At {
    Socket(PathBuf),
    Tcp(Box<Remote>),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Tcp(remote) => f.write_str(&remote.url),
        }
    }
}

/// Who is found where the daemon should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    /// Nobody: its directory or its socket is not there, or nobody listens.
    Nobody,
    /// This caller has no right to look.
    Closed,
    /// Somebody, who may not answer.
    Somebody,
}

/// A body that is still to come, with the connection that brings it and ends with it.
pub(super) struct Coming {
    body: Incoming,
    _drive: JoinSet<()>,
}

/// Speaks to one daemon.
pub(crate) struct Client {
    at: At,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Of the daemon that the arguments name, or the usual one.
    pub(crate) fn new(global: &Global) -> Result<Self, Fail> {
        let at = match Remote::of(global)? {
            Some(remote) => At::Tcp(Box::new(remote)),
            None => At::Socket(place::for_client(global.data_dir.as_deref()).join(place::SOCKET)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Fail::missing(format!("no runtime: {e}")))?;
        Ok(Self { at, runtime })
    }

    /// Whether it is the daemon of this machine, by its socket: only then may something be done in its place.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.at, At::Socket(_))
    }

    /// Whether a daemon is there, also one that lets this caller not in.
    pub(crate) fn is_there(&self) -> bool {
        self.stands() != Stands::Nobody
    }

    /// Who is found where the daemon should be. One elsewhere that cannot be reached is nobody.
    pub(crate) fn stands(&self) -> Stands {
        let found = self.runtime.block_on(async {
            let At::Socket(path) = &self.at else {
                return Ok(timeout(THERE, self.connect()).await.is_ok_and(|c| c.is_ok()));
            };
            timeout(THERE, UnixStream::connect(path)).await.map_or(Ok(true), |connected| connected.map(|_| true))
        });
        match found.map_err(|error| error.kind()) {
            Ok(false) | Err(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Stands::Nobody,
            Err(ErrorKind::PermissionDenied) => Stands::Closed,
            Ok(true) | Err(_) => Stands::Somebody,
        }
    }

    /// Reads.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fail> {
        self.ask(Method::GET, path, None)
    }

    /// Reads a list, a page after the other, while somebody wants it.
    pub(crate) fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        mut each: impl FnMut(Vec<T>) -> bool,
    ) -> Result<(), Fail> {
        let mut page: Page<T> = self.get(path)?;
        while each(page.items)
            && let Some(next) = page.next
        {
            let and = if path.contains('?') { '&' } else { '?' };
            page = self.get(&format!("{path}{and}cursor={}", segment(&next)))?;
        }
        Ok(())
    }

    /// Reads all of a list.
    pub(crate) fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Fail> {
        let mut all = Vec::new();
        let and = if path.contains('?') { '&' } else { '?' };
        self.pages(&format!("{path}{and}limit={LONGEST}"), |items| {
            all.extend(items);
            true
        })?;
        Ok(all)
    }

    /// Changes.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Fail> {
        self.ask(Method::POST, path, Some(body))
    }

    /// Takes away.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fail> {
        self.ask(Method::DELETE, path, None)
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> Result<T, Fail> {
        let answer = self.within(PATIENCE, async {
            let coming = self.send(method, path, None, body).await?;
            self.whole(coming).await
        })?;
        serde_json::from_slice(&answer).map_err(|e| {
            Fail::new(Exit::Unreachable, format!("the daemon's answer cannot be read: {e}"))
                .hint("is the daemon of another version? `quell status` shows it")
        })
    }

    /// Begins to read what has no end of its own, after this event.
    pub(super) fn open(&self, path: &str, after: Option<i64>) -> Result<Coming, Fail> {
        self.within(PATIENCE, self.send(Method::GET, path, after, None))
    }

    /// Waits for the next piece; none: that was all.
    pub(super) fn piece(&self, coming: &mut Coming, patience: Duration) -> Result<Option<Bytes>, Fail> {
        self.within(patience, async {
            while let Some(frame) = coming.body.frame().await {
                if let Ok(bytes) = frame.map_err(|e| self.broken(&e))?.into_data() {
                    return Ok(Some(bytes));
                }
            }
            Ok(None)
        })
    }

    fn within<T>(&self, patience: Duration, answer: impl Future<Output = Result<T, Fail>>) -> Result<T, Fail> {
        let answered = self.runtime.block_on(async { timeout(patience, answer).await });
        answered.unwrap_or_else(|_| {
            let (socket, seconds) = (&self.at, patience.as_secs());
            Err(Fail::new(Exit::Unreachable, format!("the daemon at `{socket}` did not answer within {seconds} s")))
        })
    }

    async fn send(&self, method: Method, path: &str, after: Option<i64>, body: Option<&Value>) -> Result<Coming, Fail> {
        let stream = self.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e))?;
        let mut drive = JoinSet::new();
        drive.spawn(async { drop(connection.await) });
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{VERSION}{path}"))
            .header("content-type", "application/json");
        request = match &self.at {
            At::Socket(_) => request.header("host", "quell"),
            At::Tcp(remote) => request.header("host", remote.authority()),
        };
        if let At::Tcp(remote) = &self.at
            && let Some(token) = remote.token()
        {
            request = request.header("authorization", token);
        }
        if let Some(row) = after {
            request = request.header("last-event-id", row.to_string());
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| Fail::usage(format!("`{path}` is no address: {e}")))?;
        let response = sender.send_request(request).await.map_err(|e| self.broken(&e))?;
        let status = response.status();
        let coming = Coming { body: response.into_body(), _drive: drive };
        if status.is_success() { Ok(coming) } else { Err(refusal(status, &self.whole(coming).await?)) }
    }

    async fn whole(&self, coming: Coming) -> Result<Bytes, Fail> {
        let Coming { body, _drive } = coming;
        Ok(Limited::new(body, LARGEST).collect().await.map_err(|e| self.broken(&e))?.to_bytes())
    }

    fn broken(&self, e: &dyn std::fmt::Display) -> Fail {
        Fail::new(Exit::Unreachable, format!("the daemon at `{}` broke off: {e}", &self.at))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Fail> {
        match &self.at {
            At::Socket(path) => match UnixStream::connect(path).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(no_connection(path, &error)),
            },
            At::Tcp(remote) => remote.connect().await,
        }
    }
}

fn no_connection(path: &Path, e: &std::io::Error) -> Fail {
    let socket = path.display();
    match e.kind() {
        ErrorKind::PermissionDenied => {
            Fail::new(Exit::Unreachable, format!("no permission for the daemon's socket `{socket}`"))
                .hint("become root, or a member of the group `quell`")
        }
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            Fail::new(Exit::Unreachable, format!("no daemon answers at `{socket}`"))
                .hint("start it with `quell up`, or say with --data-dir where its socket is")
        }
        _ => Fail::new(Exit::Unreachable, format!("the daemon at `{socket}` cannot be reached: {e}")),
    }
}

/// What a problem document (RFC 9457) means for the exit code.
fn refusal(status: StatusCode, body: &[u8]) -> Fail {
    let (what, hint) = match serde_json::from_slice::<ProblemDocument>(body) {
        Ok(problem) => (problem.detail, problem.hint),
        Err(_) => (format!("the daemon said {status}"), None),
    };
    let exit = match status {
        StatusCode::BAD_REQUEST
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::PAYLOAD_TOO_LARGE => Exit::Usage,
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Exit::Missing,
        StatusCode::SERVICE_UNAVAILABLE => Exit::Unreachable,
        _ => Exit::NotRight,
    };
    Fail { exit, what, hint }
}

/// Text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_id_stays_one_segment() {
        assert_eq!(segment("i-1/../x y?\n"), "i-1%2F..%2Fx%20y%3F%0A");
    }

    #[test]
    fn a_problem_says_its_detail_and_its_hint() {
        let problem =
            br#"{"type":"about:blank","title":"not found","status":404,"detail":"no run `r-1`","hint":"see list"}"#;
        let fail = refusal(StatusCode::NOT_FOUND, problem);
        assert_eq!(fail, Fail::not_right("no run `r-1`").hint("see list"));
        assert_eq!(refusal(StatusCode::FORBIDDEN, b"<html>").exit, Exit::Missing);
    }
}
