//! `access` of quell.yaml: who may use the socket, what the roles are, and who may come over TCP.

use super::Reading;
use crate::load::config::{Listen, Origin, Permission, Tls, Token};
use crate::load::reader::{Fields, one_of};
use crate::load::yaml::{Entry, Node, Value};
use quell_model::{Hash, Mistake, Name};
use std::net::SocketAddr;

pub(crate) const KEYS: &[&str] = &["socket", "roles", "listen"];
pub(crate) const LISTEN: &[&str] = &["address", "tls", "tokens"];
pub(crate) const TOKEN: &[&str] = &["name", "role", "sha256", "person"];

impl Reading<'_> {
    pub(super) fn access(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "access", KEYS, &[]) else { return };
        if let Some(node) = fields.get("socket")
            && let Some(socket) = self.reader.fields(node, "`socket`", &["group"], &[])
            && let Some(node) = self.at(&socket, "group", "access.socket.group")
            && let Some(group) = self.reader.text(node, "`group`")
        {
            group.clone_into(&mut self.config.socket_group);
        }
        if let Some(node) = fields.get("roles") {
            for entry in self.reader.map(node, "`roles`").unwrap_or_default() {
                self.role(entry);
            }
        }
        if let Some(node) = self.at(&fields, "listen", "access.listen") {
            self.config.listen = self.listen(node);
        }
    }

    fn listen(&mut self, node: &Node) -> Option<Listen> {
        let fields = self.reader.fields(node, "`listen`", LISTEN, &[])?;
        let address = self.address(&fields, "`listen`", "127.0.0.1:7071");
        let tls = self.tls_for(&fields, address, "every token", "127.0.0.1:7071");
        let mut tokens = Vec::new();
        let given = fields.get("tokens");
        if let Some(node) = given {
            for item in self.reader.list(node, "`tokens`").unwrap_or_default() {
                let token = self.token(item, &tokens);
                tokens.extend(token);
            }
        }
        let what = match given.map(|node| &node.value) {
            Some(Value::List(list)) if list.is_empty() => "`tokens` is empty: nobody could come",
            None if self.config.public_url.is_none() => "`listen` without `tokens`: nobody could come",
            _ => "",
        };
        if !what.is_empty() {
            let expected =
                "at least one token, or a `public_url`: then links of mails and Slack's requests come without one";
            self.reader.error(fields.at, what, expected);
        }
        Some(Listen { address: address?, tls: tls.flatten(), tokens })
    }

    /// Where `what` listens; `like` is such an address.
    pub(super) fn address(&mut self, fields: &Fields<'_>, what: &str, like: &str) -> Option<SocketAddr> {
        let Some(node) = fields.get("address") else {
            self.reader.error(fields.at, format!("{what} without `address`"), format!("`address: {like}`"));
            return None;
        };
        let text = self.reader.text(node, "`address`")?;
        let address = text.parse().ok();
        if address.is_none() {
            let port = like.rsplit(':').next().unwrap_or_default();
            let expected = format!("an IP address and a port: {like}, [::1]:{port}");
            self.reader.error(node.at, format!("`{text}` is no address"), expected);
        }
        address
    }

    /// With what it proves itself there; none, though it is no loopback address, is told. Inside: none, since it was wrong.
    pub(super) fn tls_for(
        &mut self,
        fields: &Fields<'_>,
        address: Option<SocketAddr>,
        risk: &str,
        like: &str,
    ) -> Option<Option<Tls>> {
        let tls = fields.get("tls").map(|node| self.tls(node));
        if let (Some(address), None) = (address, &tls)
            && !address.ip().is_loopback()
        {
            let what = format!("{address} is no loopback address, and without TLS {risk} could be read on the way");
            let expected = format!("`tls: {{ certificate: …, key: … }}`, or an address like {like}");
            self.reader.error(fields.at, what, expected);
        }
        tls
    }

    fn tls(&mut self, node: &Node) -> Option<Tls> {
        let fields = self.reader.fields(node, "`tls`", &["certificate", "key"], &[])?;
        let mut path = |key: &str| match fields.get(key) {
            Some(node) => self.path(node, &format!("`{key}`")),
            None => {
                self.reader.error(fields.at, format!("`tls` without `{key}`"), format!("`{key}: FILE.pem`"));
                None
            }
        };
        let (certificate, key) = (path("certificate"), path("key"));
        Some(Tls { certificate: certificate?, key: key? })
    }

    fn token(&mut self, node: &Node, others: &[Token]) -> Option<Token> {
        let fields = self.reader.fields(node, "a token", TOKEN, &[])?;
        for key in ["name", "role", "sha256"] {
            if fields.get(key).is_none() {
                self.reader.error(
                    fields.at,
                    format!("a token without `{key}`"),
                    "`{ name: ci, role: viewer, sha256: … }`",
                );
            }
        }
        let name = fields.get("name").and_then(|node| Some((self.reader.text(node, "`name`")?, node.at)));
        if let Some((name, at)) = name {
            if !is_word(name) {
                self.reader.error(
                    at,
                    format!("`{name}` cannot be the name of a token"),
                    "letters, digits, `_` and `-`",
                );
            } else if others.iter().any(|other| other.name.as_str() == name) {
                self.reader.error(at, format!("two tokens are called `{name}`"), "a name of its own");
            }
            let line = self.reader.source.line(at.line).map(str::to_owned);
            self.config.origins.insert(format!("access.listen.tokens.{name}"), Origin::Line(at.into(), line));
        }
        let role = fields.get("role").and_then(|node| Some((self.reader.text(node, "`role`")?, node.at)));
        if let Some((role, at)) = role
            && !self.config.roles.has(role)
        {
            let names = self.config.roles.names();
            let mistake = self.reader.source.error(at, format!("there is no role `{role}`"));
            self.reader.note_near(mistake.expected(one_of(&names)), role, names.iter().copied());
        }
        let sum = fields.get("sha256").and_then(|node| self.sum(node, others));
        let person = fields.get("person").and_then(|node| self.reader.text(node, "`person`"));
        Some(Token { name: name?.0.into(), role: role?.0.into(), sha256: sum?, person: person.map(Name::from) })
    }

    fn sum(&mut self, node: &Node, others: &[Token]) -> Option<Hash> {
        const HOW: &str = "64 hex digits, as `sha256sum` prints them of the token without a line's end";
        // Digits alone are read as a number.
        let Value::Text(text) = &node.value else {
            self.reader.error(node.at, format!("`sha256` is {}", node.kind()), format!("{HOW}, in quotes"));
            return None;
        };
        let Ok(sum) = text.parse::<Hash>() else {
            // Whoever wrote the token itself here must not find it in a log.
            self.reader
                .note(Mistake::error(&self.reader.source.file, node.at.into(), "`sha256` is no sum").expected(HOW));
            return None;
        };
        if sum == Hash::of(b"") {
            self.reader.error(node.at, "this is the sum of nothing at all", HOW);
            return None;
        }
        if let Some(other) = others.iter().find(|other| other.sha256 == sum) {
            self.reader.error(
                node.at,
                format!("this is the sum of the token `{}` too", other.name),
                "a token of its own",
            );
        }
        Some(sum)
    }

    /// A role of one's own, or one that replaces its namesake.
    fn role(&mut self, entry: &Entry) {
        let role = entry.key.as_str();
        if !is_word(role) {
            self.reader.error(entry.at, format!("`{role}` cannot be a role"), "letters, digits, `_` and `-`");
            return;
        }
        let permissions = self.permissions(&entry.value, role);
        self.written(&format!("access.roles.{role}"), entry);
        self.config.roles.set(Name::from(role), permissions);
    }

    fn permissions(&mut self, node: &Node, role: &str) -> Vec<Permission> {
        let words: Vec<&str> = Permission::WORDS.iter().map(|(word, _)| *word).collect();
        let mut found = Vec::new();
        for (text, at) in self.reader.texts(node, &format!("the role `{role}`")) {
            match Permission::WORDS.iter().find(|(word, _)| *word == text) {
                Some((_, permission)) => found.push(*permission),
                None => {
                    let mistake = self.reader.source.error(at, format!("`{text}` is no permission"));
                    self.reader.note_near(mistake.expected(one_of(&words)), text, words.iter().copied());
                }
            }
        }
        found
    }
}

pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
