//! The hosts that playbooks may ask over HTTP, as quell.yaml lists them.
//!
//! Owns which row holds for a host, and what each way of asking promises. Asks nobody. Keeps true: what no row names is asked nothing;
//! a row that names a host goes before one that names many.

use crate::ids::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

/// How a host is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    #[default]
    Get,
    /// Reads the headers alone.
    Head,
    /// Does something, each time once more.
    Post,
    /// Puts something where the address is.
    Put,
    /// Changes something in part.
    Patch,
    /// Takes away what is where the address is.
    Delete,
}

impl Method {
    /// All, with their words.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("GET", Self::Get),
        ("HEAD", Self::Head),
        ("POST", Self::Post),
        ("PUT", Self::Put),
        ("PATCH", Self::Patch),
        ("DELETE", Self::Delete),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, method)| *method == self).map_or("GET", |(word, _)| word)
    }

    /// Whether it changes nothing (RFC 9110, 9.2.1).
    #[must_use]
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }

    /// Whether doing it twice has the effect of once (RFC 9110, 9.2.2).
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// A host that may be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowedHost {
    /// In small letters: `tickets.example.org`, `*.example.org` for all below it, or an IP address.
    pub host: String,
    /// At this port; none: at the usual one, 443 with TLS, 80 without.
    pub port: Option<u16>,
    /// The secrets that may be sent there.
    pub secrets: BTreeSet<Name>,
    /// It may be an address that only this machine or its network has, and be asked without TLS.
    pub private: bool,
    /// How it may be asked.
    pub methods: BTreeSet<Method>,
}

impl AllowedHost {
    fn names(&self, host: &str) -> bool {
        match self.host.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end) && !host.starts_with('.'),
            None => host == self.host,
        }
    }

    fn is_for(&self, host: &str, port: u16, is_tls: bool) -> bool {
        let usual = if is_tls { 443 } else { 80 };
        self.names(host) && self.port.unwrap_or(usual) == port
    }

    /// As the file has it.
    #[must_use]
    pub fn shown(&self) -> String {
        match (self.port, self.host.contains(':')) {
            (None, _) => self.host.clone(),
            (Some(port), false) => format!("{}:{port}", self.host),
            (Some(port), true) => format!("[{}]:{port}", self.host),
        }
    }
}

/// The port behind the host of an authority (`HOST`, `HOST:PORT`), the usual one where it has none; none: what stands there is no port.
#[must_use]
pub fn port(authority: &str, host: &str, is_tls: bool) -> Option<u16> {
    let usual = if is_tls { 443 } else { 80 };
    match authority.strip_prefix(host)? {
        "" => Some(usual),
        rest => {
            let port = rest.strip_prefix(':').filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?;
            port.parse().ok().filter(|port| *port > 0)
        }
    }
}

/// A host in its one spelling: small letters, without a dot at its end, and an IPv6 address as RFC 5952 has it.
#[must_use]
pub fn spelt(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host.parse::<Ipv6Addr>().map_or(host, |address| address.to_string())
}

/// The row that holds for this host at this port.
#[must_use]
pub fn row<'r>(rows: &'r [AllowedHost], host: &str, port: u16, is_tls: bool) -> Option<&'r AllowedHost> {
    let host = spelt(host);
    let all = || rows.iter().filter(|row| row.is_for(&host, port, is_tls));
    all().find(|row| !row.host.starts_with('*')).or_else(|| all().max_by_key(|row| row.host.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(all: &[(&str, Option<u16>)]) -> Vec<AllowedHost> {
        let row = |(host, port): &(&str, Option<u16>)| AllowedHost {
            host: (*host).to_owned(),
            port: *port,
            secrets: BTreeSet::new(),
            private: false,
            methods: BTreeSet::new(),
        };
        all.iter().map(row).collect()
    }

    #[test]
    fn a_host_is_named_or_lies_below_a_pattern() {
        let rows = rows(&[
            ("*.example.org", None),
            ("*.ci.example.org", None),
            ("a.example.org", None),
            ("b.org", Some(8443)),
            ("fd00::1", None),
        ]);
        for (host, port, tls, shown) in [
            ("a.example.org", 443, true, Some("a.example.org")),
            ("A.Example.ORG.", 443, true, Some("a.example.org")),
            ("b.example.org", 443, true, Some("*.example.org")),
            ("x.b.example.org", 443, true, Some("*.example.org")),
            ("x.ci.example.org", 443, true, Some("*.ci.example.org")),
            ("a.example.org", 80, false, Some("a.example.org")),
            ("a.example.org", 80, true, None),
            ("a.example.org", 8443, true, None),
            ("example.org", 443, true, None),
            (".example.org", 443, true, None),
            ("a.example.org.evil.net", 443, true, None),
            ("aexample.org", 443, true, None),
            ("b.org", 8443, true, Some("b.org:8443")),
            ("b.org", 443, true, None),
            ("FD00:0:0::0001", 443, true, Some("fd00::1")),
            ("fd00::10", 443, true, None),
        ] {
            let found = row(&rows, host, port, tls).map(AllowedHost::shown);
            assert_eq!(found.as_deref(), shown, "{host}:{port}");
        }
    }
}
