//! The API on TCP: with TLS, or in the clear on the loopback alone; callers by their tokens.
//!
//! Owns the connections and their bounds. Who a token is and what it may is `access`'s to say. Keeps true: whoever is slow
//! or silent holds one of [`MOST_CONNECTIONS`] places for a bounded time, and nobody else's answer waits for them.
//!
//! ```text
//! accept ─▶ a place, or closed ─▶ TLS within HANDSHAKE ─▶ head within HEAD ─▶ access ─▶ routes
//! ```

use super::caller::Peer;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use quell_engine::load::{Listen, Tls};
use quell_model::{Mistake, Span};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

/// Connections at once: far more than the programs of a team hold, and few megabytes when all are taken.
const MOST_CONNECTIONS: usize = 256;
/// For the handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request, the first and every further one of a connection.
const HEAD: Duration = Duration::from_secs(10);
/// For the rest of a request until its answer begins.
const ANSWER: Duration = Duration::from_secs(60);
/// The head of a request is not larger, in bytes.
const LARGEST_HEAD: usize = 16 << 10;
/// After a failed accept (no file descriptors left), so that it is not tried a million times a second.
const PAUSE: Duration = Duration::from_millis(100);

/// The listener cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("`access.listen` cannot listen at {address}")]
pub(crate) struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// An address that is listened at.
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// What is wrong with the files that a listener needs.
pub(crate) fn mistakes(listen: &Listen) -> Vec<Mistake> {
    listen.tls.as_ref().and_then(|tls| config(tls).err()).map(|mistake| *mistake).into_iter().collect()
}

/// Listens. Must be called on the runtime.
pub(crate) async fn listen(listen: &Listen) -> Result<Listener, ListenError> {
    let address = listen.address;
    let wrong = |source: io::Error| ListenError { address, source };
    let config = listen.tls.as_ref().map(config).transpose();
    let config = config.map_err(|mistake| wrong(io::Error::other(mistake.what)))?;
    let tcp = TcpListener::bind(address).await.map_err(wrong)?;
    Ok(Listener { tcp, tls: config.map(|config| TlsAcceptor::from(Arc::new(config))) })
}

impl Listener {
    /// Where, with the port that the system chose where the configuration says 0.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok()
    }
}

/// TLS by a certificate and its key.
fn config(tls: &Tls) -> Result<ServerConfig, Box<Mistake>> {
    let wrong = |file: &Path, what: String| Box::new(Mistake::error(file, Span::default(), what));
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_file_iter(&tls.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|e| wrong(&tls.certificate, format!("it is no certificate in PEM: {e}")))?;
    if chain.is_empty() {
        return Err(wrong(&tls.certificate, "there is no certificate in it".to_owned()));
    }
    only_ours(&tls.key).map_err(|what| wrong(&tls.key, what))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key);
    let key = key.map_err(|e| wrong(&tls.key, format!("it is no private key in PEM: {e}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = made.map_err(|e| wrong(&tls.certificate, format!("it does not go with its key: {e}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A key that everybody can read is nobody's.
fn only_ours(key: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(key).map_err(|e| format!("it cannot be read: {e}"))?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!("anybody can read this key; hint: chmod o-rwx {}", key.display()));
    }
    Ok(())
}

/// Serves until `end` is ready, then finishes what was begun.
pub(crate) async fn serve(listener: Listener, router: Router, mut end: watch::Receiver<bool>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.tcp.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = over(&mut end) => break,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Whoever finds no place is closed at once: to wait would hold a descriptor for them as well.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!(%from, "all {MOST_CONNECTIONS} places are taken");
            continue;
        };
        let (tls, router, end) = (listener.tls.clone(), router.clone(), end.clone());
        connections.spawn(async move {
            let _place = place;
            connection(stream, from, tls, router, end).await;
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Waits for the daemon's end, whether it is told or its teller is gone.
async fn over(end: &mut watch::Receiver<bool>) {
    drop(end.wait_for(|end| *end).await);
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    end: watch::Receiver<bool>,
) {
    let Some(tls) = tls else { return exchange(stream, from, router, end).await };
    match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => exchange(stream, from, router, end).await,
        Ok(Err(error)) => tracing::debug!(%from, %error, "no TLS came about"),
        Err(_) => tracing::debug!(%from, "no TLS came about in time"),
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    from: SocketAddr,
    router: Router,
    mut end: watch::Receiver<bool>,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(Peer::Network));
            match timeout(ANSWER, router.call(request)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(never)) => match never {},
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the request did not come in time")),
            }
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = over(&mut end) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%from, %error, "a connection broke off");
    }
}
