//! A daemon on another machine: its address, what makes sure that it is the one, and the token that says who asks.
//!
//! Never sends a token in the clear, but to this machine itself. Knows no route.

use super::Global;
use super::exit::{Exit, Fail};
use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What HTTP is spoken over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A daemon at an address.
pub(super) struct Remote {
    /// As it was written.
    pub(super) url: String,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Option<HeaderValue>,
}

impl Remote {
    /// The daemon that `--api` or the environment names, if any does.
    pub(super) fn of(global: &Global) -> Result<Option<Self>, Fail> {
        let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        if global.api.is_some() && global.data_dir.is_some() {
            return Err(Fail::usage("`--api` and `--data-dir` name two daemons").hint("give one of them"));
        }
        // A directory that was given goes before an address that the environment has.
        let url = global.api.clone().or_else(|| set("QUELL_API").filter(|_| global.data_dir.is_none()));
        let Some(url) = &url else {
            return match (&global.token_file, &global.ca_file) {
                (None, None) => Ok(None),
                _ => Err(Fail::usage("`--token-file` and `--ca-file` go with `--api`")
                    .hint("say where the daemon is: --api https://HOST:PORT")),
            };
        };
        let token_file = global.token_file.clone().or_else(|| set("QUELL_TOKEN_FILE").map(PathBuf::from));
        let ca_file = global.ca_file.clone().or_else(|| set("QUELL_CA_FILE").map(PathBuf::from));
        let wrong = |what: String| {
            Fail::usage(what).hint("an address is https://HOST:PORT, or http://127.0.0.1:PORT on this machine")
        };
        let uri: Uri = url.parse().map_err(|e| wrong(format!("`{url}` is no address: {e}")))?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(wrong(format!("`{url}` is no address")));
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong(format!("`{url}` has a path, and the API has its own")));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match scheme {
            "https" => Some(connector(ca_file.as_deref(), &host)?),
            "http" if is_loopback(&host) => None,
            "http" => return Err(wrong(format!("`{url}` would send the token in the clear"))),
            _ => return Err(wrong(format!("`{url}` is neither https nor http"))),
        };
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let token = token_file.as_deref().map(token).transpose()?;
        Ok(Some(Self { url: url.clone(), host, port, tls, token }))
    }

    /// What `host` says in a request.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The caller's token.
    pub(super) fn token(&self) -> Option<&HeaderValue> {
        self.token.as_ref()
    }

    /// A connection, with the daemon proved to be the one where there is TLS.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, Fail> {
        let unreachable = |what: String| Fail::new(Exit::Unreachable, format!("{}: {what}", self.url));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|e| unreachable(format!("no daemon answers: {e}")))?;
        let Some((tls, name)) = &self.tls else { return Ok(Box::new(stream)) };
        let stream = tls.connect(name.clone(), stream).await.map_err(|e| {
            unreachable(format!("no TLS came about: {e}"))
                .hint("a certificate of your own authority is trusted with --ca-file")
        })?;
        Ok(Box::new(stream))
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// TLS that trusts this authority; none: those of this machine.
fn connector(authority: Option<&Path>, host: &str) -> Result<(TlsConnector, ServerName<'static>), Fail> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| Fail::usage(format!("`{host}` is no name of a host")))?;
    let mut roots = RootCertStore::empty();
    let found = match authority {
        Some(file) => {
            let wrong =
                |e: &dyn std::fmt::Display| Fail::usage(format!("`{}` is no certificate in PEM: {e}", file.display()));
            let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
            all.map_err(|e| wrong(&e))?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(
            Fail::usage("there is no authority whose certificates could be trusted").hint("name one with --ca-file")
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Fail::missing(format!("no TLS: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// The token of a file, which nobody else can read.
fn token(file: &Path) -> Result<HeaderValue, Fail> {
    let shown = file.display();
    let cannot = |e: std::io::Error| Fail::usage(format!("the token `{shown}` cannot be read: {e}"));
    let mode = std::fs::metadata(file).map_err(cannot)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(Fail::usage(format!("anybody can read the token `{shown}`")).hint(format!("chmod o-rwx {shown}")));
    }
    let text = std::fs::read_to_string(file).map_err(cannot)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
        .map_err(|_| Fail::usage(format!("`{shown}` holds no token: one line of printable characters")))?;
    value.set_sensitive(true);
    Ok(value)
}
