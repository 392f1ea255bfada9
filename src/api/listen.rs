//! Where the API is listened for: the Unix socket, and TCP with TLS, or in the clear on the loopback alone.
//!
//! Owns the listeners and what TLS needs. What comes in is `connections`' to bound.

use quell_engine::load::Tls;
use quell_model::{Mistake, Span};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

/// The listener cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot listen at {address}")]
pub(crate) struct ListenError {
    what: String,
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// One way to the API.
pub(crate) enum Listener {
    /// The socket of the data directory.
    Socket(UnixListener),
    /// An address.
    Tcp(TcpListener, Option<TlsAcceptor>),
}

/// Who came by it.
pub(super) enum Accepted {
    Socket(UnixStream),
    Tcp(TcpStream, SocketAddr, Option<TlsAcceptor>),
}

/// What is wrong with the files that a listener needs.
pub(crate) fn mistakes(tls: &Tls) -> Option<Mistake> {
    config(tls).err().map(|mistake| *mistake)
}

/// Listens on TCP, as `what` says in quell.yaml. Must be called on the runtime.
pub(crate) async fn listen(what: &str, address: SocketAddr, tls: Option<&Tls>) -> Result<Listener, ListenError> {
    let wrong = |source: io::Error| ListenError { what: what.to_owned(), address, source };
    let config = tls.map(config).transpose();
    let config = config.map_err(|mistake| wrong(io::Error::other(mistake.what)))?;
    let tcp = TcpListener::bind(address).await.map_err(wrong)?;
    Ok(Listener::Tcp(tcp, config.map(|config| TlsAcceptor::from(Arc::new(config)))))
}

impl Listener {
    /// Where on TCP, with the port that the system chose where the configuration says 0.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(_) => None,
            Self::Tcp(tcp, _) => tcp.local_addr().ok(),
        }
    }

    /// The next who comes.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Socket(socket) => socket.accept().await.map(|(stream, _)| Accepted::Socket(stream)),
            Self::Tcp(tcp, tls) => tcp.accept().await.map(|(stream, from)| Accepted::Tcp(stream, from, tls.clone())),
        }
    }
}

impl Accepted {
    /// From where, for the log.
    pub(super) fn from(&self) -> String {
        match self {
            Self::Socket(_) => "the socket".to_owned(),
            Self::Tcp(_, from, _) => from.to_string(),
        }
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
