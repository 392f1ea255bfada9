//! `http` in quell.yaml: the hosts that playbooks may ask.
//!
//! Owns its keys. Keeps true: what is not written is not allowed; a row that holds for everything is a mistake.

use super::Reading;
use crate::load::reader::Fields;
use crate::load::yaml::Node;
use quell_model::Name;
use quell_model::hosts::{self, AllowedHost, Method};
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

pub(crate) const ROW: &[&str] = &["host", "secrets", "private", "methods"];

/// What belongs in `host`.
const EXPECTED: &str =
    "a name like `tickets.example.org`, `*.example.org` or an IP address, with `:PORT` unless it is the usual one";

impl Reading<'_> {
    pub(super) fn http(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "http", &["allow"], &[]) else { return };
        let Some(node) = self.at(&fields, "allow", "http.allow") else { return };
        for item in self.reader.list(node, "`allow`").unwrap_or_default() {
            let Some(row) = self.allowed(item) else { continue };
            let is_there = |other: &AllowedHost| (&other.host, other.port) == (&row.host, row.port);
            if self.config.http.iter().any(is_there) {
                self.reader.error(item.at, format!("`{}` stands twice in `allow`", row.shown()), "each host once");
            }
            self.config.http.push(row);
        }
    }

    fn allowed(&mut self, item: &Node) -> Option<AllowedHost> {
        let fields = self.reader.fields(item, "a row of `allow`", ROW, &[])?;
        let Some(node) = fields.get("host") else {
            self.reader.error(fields.at, "a row of `allow` without `host`", EXPECTED);
            return None;
        };
        let secrets = fields.get("secrets").map(|node| self.allowed_secrets(node)).unwrap_or_default();
        let private = fields.get("private").and_then(|node| self.reader.bool(node, "`private`")).unwrap_or(false);
        let methods = match fields.get("methods") {
            Some(node) => {
                let all = self.reader.list(node, "`methods`").unwrap_or_default();
                all.iter().filter_map(|item| self.reader.word(item, "method", Method::WORDS)).collect()
            }
            None => BTreeSet::from([Method::Get, Method::Head]),
        };
        let text = self.reader.text(node, "`host`")?;
        match host(text) {
            Some((host, port)) => Some(AllowedHost { host, port, secrets, private, methods }),
            None => {
                self.reader.error(node.at, format!("`{text}` is no host"), EXPECTED);
                None
            }
        }
    }

    fn allowed_secrets(&mut self, node: &Node) -> BTreeSet<Name> {
        let mut all = BTreeSet::new();
        for (name, at) in self.reader.texts(node, "`secrets`") {
            if !self.config.secrets.contains_key(name) {
                let mistake = self.reader.source.error(at, format!("there is no secret `{name}`"));
                let known: Vec<String> = self.config.secrets.keys().map(ToString::to_string).collect();
                let mistake = mistake.expected("one of `secrets` in this file");
                self.reader.note_near(mistake, name, known.iter().map(String::as_str));
            }
            all.insert(Name::from(name));
        }
        all
    }
}

/// The host in small letters, without brackets, and the port.
fn host(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) if !port.bytes().all(|byte| byte.is_ascii_digit()) => return None,
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
        None => None,
    };
    let is_v6 = host.parse::<Ipv6Addr>().is_ok();
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let is_name = host.strip_prefix("*.").unwrap_or(host).split('.').all(is_label);
    (is_v6 || is_name).then(|| (hosts::spelt(host), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::config::config;
    use std::path::Path;

    #[test]
    fn a_host_is_a_name_a_pattern_or_an_address() {
        for (text, wanted, port) in [
            ("Tickets.Example.org", "tickets.example.org", None),
            ("tickets:8443", "tickets", Some(8443)),
            ("*.example.org", "*.example.org", None),
            ("10.0.0.7:80", "10.0.0.7", Some(80)),
            ("::1", "::1", None),
            ("[fd00::1]:8443", "fd00::1", Some(8443)),
            ("[FD00:0:0::0001]", "fd00::1", None),
        ] {
            assert_eq!(host(text), Some((wanted.to_owned(), port)), "{text}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "a.*",
            "*a.org",
            "https://x",
            "x/y",
            "me@x",
            "x:",
            "x:0",
            "x:99999",
            "x:+80",
            "a b",
            "[::1",
            "[x]:1",
        ] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn its_mistakes_have_their_places_and_what_is_not_written_is_not_allowed() {
        let read = |rows: &str| {
            let text = format!("secrets: {{ ticket_token: {{ env: T }} }}\nhttp:\n  allow:\n{rows}");
            config(Path::new("/q.yaml"), &text)
        };
        let (good, mistakes) =
            read("    - { host: x.org, secrets: [ticket_token], methods: [GET, POST] }\n    - { host: y.org }\n");
        assert_eq!(mistakes, []);
        let rows = good.unwrap().http;
        assert_eq!(rows[1].methods, [Method::Get, Method::Head].into());
        assert!(rows.iter().all(|row| !row.private) && rows[1].secrets.is_empty());
        let (none, mistakes) = read(concat!(
            "    - { host: https://x.org }\n",
            "    - { secrets: [ticket_token] }\n",
            "    - { host: x.org, secrets: [ticket_tokne], methods: [FETCH], colour: red }\n",
            "    - { host: x.org }\n",
        ));
        assert!(none.is_none());
        let told: Vec<String> = mistakes.iter().map(|one| format!("{} {}", one.place(), one.what)).collect();
        for part in [
            "/q.yaml:4:15 `https://x.org` is no host",
            "a row of `allow` without `host`",
            "there is no secret `ticket_tokne`",
            "FETCH",
            "colour",
            "`x.org` stands twice",
        ] {
            assert!(told.iter().any(|one| one.contains(part)), "{part}: {told:#?}");
        }
    }
}
