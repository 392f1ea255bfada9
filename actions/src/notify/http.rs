//! The client by which webhooks, beats and requests of playbooks are sent: one request over one connection of its own, with TLS where
//! the address says so.
//!
//! Owns the bounds of an exchange, and what is known where one breaks off. Follows no redirection: where a secret goes is the
//! file's to say. Keeps true: an address is shown as its host alone, since its path may be a secret, and so may what a server
//! repeats of it; whatever breaks after the request began to go out leaves open whether it was taken; what is to stay in the public
//! net goes to the very address that was found to be of it.

use super::public::is_public;
use crate::text::one_line;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use hyper::header::{DATE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use quell_model::{Name, Secret, Secrets, hosts};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// For the connection, with its TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// From there to the end of the answer: with the connection, less than the engine waits for a channel.
const ANSWER: Duration = Duration::from_secs(15);
/// No exchange takes longer.
#[cfg(test)]
pub(super) const WHOLE: Duration = CONNECT.saturating_add(ANSWER);
/// Of an answer so many bytes are read.
const LARGEST: usize = 64 << 10;
/// So much of what a server says is told to people, in characters.
const SAID: usize = 200;
/// A part of an address that is shorter is no secret, and stands in many a word.
const SHORTEST_SECRET: usize = 4;
/// A server may ask for a pause; for no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Where a request goes.
#[derive(Clone)]
pub struct Target {
    uri: Uri,
    host: String,
    port: u16,
    is_tls: bool,
    /// Parts of the address as it was given that may be secrets, and what is sent there beside them.
    hidden: Secrets,
    /// Nothing is sent to an address that is not of the public net.
    only_public: bool,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.shown())
    }
}

/// What is given is no address that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its `url` is no address; hint: `https://HOST/…`, or `http://` to this machine; `:PORT` behind the host is 1 to 65535"
)]
pub struct WrongTarget;

impl Target {
    /// The address that this is.
    ///
    /// # Errors
    /// It is none of http or https.
    pub fn of(url: &Secret) -> Result<Self, WrongTarget> {
        let uri: Uri = url.expose().trim().parse().map_err(|_| WrongTarget)?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(WrongTarget),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(WrongTarget)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = hosts::port(authority.as_str(), authority.host(), is_tls).ok_or(WrongTarget)?;
        if host.is_empty() {
            return Err(WrongTarget);
        }
        let parts = uri.path().split('/').chain(uri.query().unwrap_or_default().split(['&', '=']));
        let parts = parts.filter(|part| part.len() >= SHORTEST_SECRET).map(Secret::new);
        let hidden = numbered(parts);
        let target = Self { uri, host, port, is_tls, hidden, only_public: false };
        // What is asked begins with a `/`, also where the address has none (RFC 9112, 3.2.1).
        target.at(target.uri.path())
    }

    /// The same, where this is sent too: what a server repeats of it is not told.
    pub(super) fn hiding(self, secret: Option<&Secret>) -> Self {
        let hidden = numbered(self.hidden.values().chain(secret).cloned());
        Self { hidden, ..self }
    }

    /// The same, where nothing of the address is a secret.
    pub(super) fn plain(self) -> Self {
        Self { hidden: Secrets::default(), ..self }
    }

    /// The same, and nothing is sent unless all that its host leads to is of the public net.
    pub(super) fn only_public(self) -> Self {
        Self { only_public: true, ..self }
    }

    /// The same with this behind a `?`, beside what stands there.
    pub(super) fn asking(self, query: &str) -> Self {
        let path = self.uri.path();
        let all = match self.uri.query() {
            Some(before) => format!("{path}?{before}&{query}"),
            None => format!("{path}?{query}"),
        };
        let mut parts = self.uri.clone().into_parts();
        let uri = all.parse().ok().and_then(|all| {
            parts.path_and_query = Some(all);
            Uri::from_parts(parts).ok()
        });
        Self { uri: uri.unwrap_or_else(|| self.uri.clone()), ..self }
    }

    /// The host, in small letters and without brackets.
    pub(super) fn host(&self) -> String {
        self.host.to_ascii_lowercase()
    }

    /// The port, that is asked where the address has none too.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether TLS is spoken there.
    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The host, where it is an address already.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Its host, and its port where that is not the usual one: all of it that is shown.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// The path, without a `/` at its end.
    pub(super) fn path(&self) -> &str {
        self.uri.path().trim_end_matches('/')
    }

    /// The same host, with another path; what was asked behind a `?` stays.
    pub(super) fn at(&self, path: &str) -> Result<Self, WrongTarget> {
        let query = self.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(format!("{path}{query}").parse().map_err(|_| WrongTarget)?);
        let uri = Uri::from_parts(parts).map_err(|_| WrongTarget)?;
        Ok(Self { uri, ..self.clone() })
    }
}

/// Values without names of their own.
fn numbered(values: impl Iterator<Item = Secret>) -> Secrets {
    values.enumerate().map(|(at, value)| (Name::from(at.to_string().as_str()), value)).collect()
}

/// A request.
pub struct Ask {
    /// How.
    pub method: Method,
    /// Beside those that every request has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What.
    pub body: Vec<u8>,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Not before this time has gone by, it says.
    pub after: Option<Duration>,
    /// What stands before the body.
    pub headers: HeaderMap,
    /// As much of the body as was read.
    pub body: Vec<u8>,
    /// It is not the whole of it.
    pub cut: bool,
    /// The status and the begin of the body, for people.
    pub said: String,
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Nothing was sent.
    #[error("{0}")]
    Unsent(String),
    /// It may have been taken.
    #[error("{0}")]
    Unknown(String),
    /// Its host leads where nothing is to be sent. Nothing was.
    #[error("{0}")]
    Refused(String),
}

/// How long an exchange may take, and how much of an answer is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// For the connection, with its TLS.
    pub(super) connect: Duration,
    /// From there to the end of the answer.
    pub(super) answer: Duration,
    /// Bytes of the body.
    pub(super) largest: usize,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
    bounds: Bounds,
}

/// TLS cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct NoTls(String);

impl Client {
    /// One that trusts whom this machine trusts.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new() -> Result<Self, NoTls> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| NoTls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let bounds = Bounds { connect: CONNECT, answer: ANSWER, largest: LARGEST };
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), bounds })
    }

    #[cfg(test)]
    pub(super) fn within(self, patience: Duration) -> Self {
        Self { bounds: Bounds { answer: patience, ..self.bounds }, ..self }
    }

    /// The same with these bounds.
    pub(super) fn bounded(&self, bounds: Bounds) -> Self {
        Self { bounds, ..self.clone() }
    }

    /// Asks, within its bounds. Whoever drops the future does not know whether it went.
    ///
    /// # Errors
    /// There was no answer, and whether it may have been taken.
    pub async fn ask(&self, to: &Target, ask: Ask) -> Result<Answer, Broken> {
        let stream = self.open(to).await?;
        self.ask_over(stream, to, ask).await
    }

    /// Asks over this connection, within what is left for the answer.
    pub(super) async fn ask_over(&self, stream: Box<dyn Stream>, to: &Target, ask: Ask) -> Result<Answer, Broken> {
        exchange(stream, to, ask, self.bounds).await
    }

    /// A connection, with the server proved to be the one where there is TLS, within its bound: for what is spoken over one for long.
    ///
    /// # Errors
    /// There is none.
    pub async fn open(&self, to: &Target) -> Result<Box<dyn Stream>, Broken> {
        let host = to.shown();
        let bound = self.bounds.connect;
        let connected = timeout(bound, self.connect(to)).await;
        connected.map_err(|_| Broken::Unsent(format!("{host} cannot be reached within {bound:?}")))?
    }

    async fn connect(&self, to: &Target) -> Result<Box<dyn Stream>, Broken> {
        let host = to.shown();
        let unsent = |why: String| Broken::Unsent(format!("{host} cannot be reached: {why}"));
        let found = lookup_host((to.host.as_str(), to.port)).await.map_err(|error| unsent(error.to_string()))?;
        let found: Vec<SocketAddr> = found.collect();
        if let Some(inner) = found.iter().find(|at| to.only_public && !is_public(at.ip())) {
            return Err(Broken::Refused(format!(
                "{host} is {} here, which is no address of the public net",
                inner.ip()
            )));
        }
        // To what was looked at, not to whatever the name leads to a moment later.
        let stream = TcpStream::connect(found.as_slice()).await.map_err(|error| unsent(error.to_string()))?;
        if !to.is_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(to.host.clone()).map_err(|_| unsent("that is no name of a host".to_owned()))?;
        let stream = self.tls.connect(name, stream).await;
        let stream = stream.map_err(|error| unsent(format!("no TLS came about: {error}")))?;
        Ok(Box::new(stream))
    }
}

/// What HTTP is spoken over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn exchange(stream: Box<dyn Stream>, to: &Target, ask: Ask, bounds: Bounds) -> Result<Answer, Broken> {
    let (host, within) = (to.shown(), bounds.answer);
    let until = Instant::now() + within;
    let unsent = |error: &dyn std::fmt::Display| Broken::Unsent(format!("{host} speaks no HTTP: {error}"));
    let unknown = |error: &dyn std::fmt::Display| Broken::Unknown(format!("{host} broke off: {error}"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unsent(&error))?;
    // To the server itself a request names the path alone (RFC 9112, 3.2.1).
    let path = to.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::new(Bytes::from(ask.body)));
    *request.method_mut() = ask.method;
    *request.uri_mut() = path.parse().map_err(|error| unsent(&error))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(host).map_err(|error| unsent(&error))?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("quell/", env!("CARGO_PKG_VERSION"))));
    headers.extend(ask.headers);
    let answer = async {
        let silent = |_| Broken::Unknown(format!("{host} has not answered within {within:?}"));
        let response = timeout_at(until, sender.send_request(request)).await.map_err(silent)?;
        let response = response.map_err(|error| match error.is_canceled() {
            // It was given back whole.
            true => unsent(&error),
            false => unknown(&error),
        })?;
        let (head, body) = response.into_parts();
        let (body, cut) = gathered(body, bounds.largest, until).await;
        Ok(read(to, Response::from_parts(head, body), cut))
    };
    // The connection is driven beside its one exchange, and ends with it.
    let drive = async {
        drop(connection.await);
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! { answer = answer => answer, _ = drive => unreachable!("never ready") }
}

/// As much of a body as comes until then and has room; and whether that is not the whole. Its status says what became of a request,
/// whether its words come or not.
async fn gathered(mut body: impl Body<Data = Bytes> + Unpin, largest: usize, until: Instant) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        let frame = match timeout_at(until, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return (all, false),
            Ok(Some(Err(_))) | Err(_) => return (all, true),
        };
        let Ok(data) = frame.into_data() else { continue };
        let room = largest - all.len();
        all.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return (all, true);
        }
    }
}

fn read(to: &Target, response: Response<Vec<u8>>, cut: bool) -> Answer {
    let (head, body) = response.into_parts();
    let hidden = |text: &str| if cut { to.hidden.hide_in_cut(text) } else { to.hidden.hide(text) };
    // Before it is shortened: of what is cut nobody knows any more that it was one.
    let text = one_line(&hidden(&String::from_utf8_lossy(&body)), SAID);
    let more = if text.is_empty() { String::new() } else { format!(": {text}") };
    let said = format!("{} said {}{more}", to.shown(), head.status);
    Answer { status: head.status.as_u16(), after: after(&head.headers), headers: head.headers, body, cut, said }
}

/// How long a server wants to be left alone: in seconds, or until a moment by its own clock (RFC 9110, 10.2.3).
fn after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let moment = |text: &str| rfc2822::parse(text).ok().map(|at| at.timestamp());
            let now: Timestamp = moment(headers.get(DATE)?.to_str().ok()?)?;
            Duration::try_from(moment(text)?.duration_since(now)).ok()?
        }
    };
    Some(pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, WrongTarget> {
        Target::of(&Secret::new(url))
    }

    #[test]
    fn an_address_is_read_or_refused_and_shows_its_host_alone() {
        for (url, shown) in [
            ("https://ntfy.sh/hunter2", "ntfy.sh"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("https://[::1]:9/x?token=hunter2\n", "[::1]:9"),
            ("https://[::1]/", "[::1]"),
            ("https://x:65535/", "x:65535"),
        ] {
            let target = target(url).unwrap();
            assert_eq!((target.shown(), format!("{target:?}").as_str()), (shown, shown));
        }
        for bad in [
            "",
            "ntfy.sh/x",
            "ftp://x/y",
            "https://me:hunter2@x/y",
            "https://",
            "https://x:70000/",
            "https://x:/",
            "https://x:y/",
            "https://x:+443/",
            "https://x:0/",
            "https://[::1]:70000/",
        ] {
            assert_eq!(target(bad).err(), Some(WrongTarget), "{bad}");
        }
    }

    #[test]
    fn what_a_server_repeats_of_an_address_is_not_told() {
        let to = target("https://hooks.example.org/T0001/hunter2?key=swordfish").unwrap();
        let body = b"no such hook: /T0001/hunter2\nkey swordfish".to_vec();
        let response = Response::builder().status(404).body(body).unwrap();
        assert_eq!(
            read(&to, response, false).said,
            "hooks.example.org said 404 Not Found: no such hook: /***/***\\nkey ***"
        );
    }

    #[test]
    fn what_is_shortened_was_hidden_before() {
        let to = target("https://hooks.example.org/x").unwrap().hiding(Some(&Secret::new("swordfish-0001\n")));
        let said =
            |body: String, cut| read(&to, Response::builder().status(400).body(body.into_bytes()).unwrap(), cut).said;
        for at in SAID - 20..SAID + 2 {
            let said = said(format!("{} swordfish-0001", "x".repeat(at)), false);
            assert!(!said.contains("sw"), "{said}");
        }
        assert_eq!(said("no key sword".into(), true), "hooks.example.org said 400 Bad Request: no key");
        assert_eq!(said("no key sword".into(), false), "hooks.example.org said 400 Bad Request: no key sword");
    }

    #[test]
    fn a_pause_is_in_seconds_or_until_a_moment_of_the_servers_clock() {
        let said = |retry: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry.parse().unwrap());
            headers.extend(date.map(|date| (DATE, date.parse().unwrap())));
            after(&headers)
        };
        let now = Some("Mon, 30 Nov 2026 06:00:00 GMT");
        assert_eq!(said("120", now), Some(Duration::from_secs(120)));
        assert_eq!(said("Mon, 30 Nov 2026 06:01:30 GMT", now), Some(Duration::from_secs(90)));
        assert_eq!(said("999999999", now), Some(LONGEST_PAUSE));
        for nothing in [("Mon, 30 Nov 2026 06:01:30 GMT", None), ("Mon, 30 Nov 2026 05:00:00 GMT", now), ("soon", now)]
        {
            assert_eq!(said(nothing.0, nothing.1), None, "{nothing:?}");
        }
        assert_eq!(after(&HeaderMap::new()), None);
    }
}
