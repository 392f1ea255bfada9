//! `sources.webhooks` of quell.yaml: where others bring events, and how they prove who they are.

use super::Reading;
use super::access::is_word;
use crate::adapt::Format;
use crate::load::config::WebhookSource;
use crate::load::reader::{Fields, one_of};
use crate::load::secret_place;
use crate::load::yaml::{Node, Value};
use quell_model::Name;
use std::net::SocketAddr;

pub(crate) const KEYS: &[&str] = &["name", "format", "address", "tls", "token", "trusted"];
/// What can be brought.
const FORMATS: &[(&str, Format)] = &[("kubernetes-audit", Format::KubernetesAudit)];
/// What one looks like.
const LIKE: &str = "127.0.0.1:7443";

impl Reading<'_> {
    pub(super) fn webhooks(&mut self, node: Option<&Node>) {
        let Some(node) = node else { return };
        for item in self.reader.list(node, "`webhooks`").unwrap_or_default() {
            let source = self.webhook(item);
            self.config.sources.webhooks.extend(source);
        }
    }

    fn webhook(&mut self, item: &Node) -> Option<WebhookSource> {
        let fields = self.reader.fields(item, "a webhook", KEYS, &[])?;
        for key in ["name", "format"] {
            if fields.get(key).is_none() {
                let expected = format!("`{{ name: cluster, format: kubernetes-audit, address: {LIKE} }}`");
                self.reader.error(fields.at, format!("a webhook without `{key}`"), expected);
            }
        }
        let name = self.name(&fields);
        let format = fields.get("format").and_then(|node| self.reader.word(node, "format of a webhook", FORMATS));
        let address = self.address(&fields, "a webhook", LIKE);
        self.place(&fields, address);
        let tls = self.tls_for(&fields, address, "its token and its events", LIKE);
        let token = fields.get("token").map(|node| self.secret_named(node));
        let trusted = fields.get("trusted").and_then(|node| Some((self.reader.bool(node, "`trusted`")?, node.at)));
        if let (Some((true, at)), None) = (trusted, &token) {
            let what =
                "a webhook that is trusted without `token`: anybody who reaches its address could make quell act";
            self.reader.error(at, what, "`token: { secret: NAME }`, or no `trusted`");
        }
        let trusted = trusted.is_some_and(|(trusted, _)| trusted);
        Some(WebhookSource {
            name: name?,
            format: format?,
            address: address?,
            tls: tls.flatten(),
            token: token.flatten(),
            trusted,
        })
    }

    fn name(&mut self, fields: &Fields<'_>) -> Option<Name> {
        let node = fields.get("name")?;
        let name = self.reader.text(node, "`name`")?;
        if !is_word(name) {
            let what = format!("`{name}` cannot be the name of a webhook");
            self.reader.error(node.at, what, "letters, digits, `_` and `-`");
            return None;
        }
        if self.config.sources.webhooks.iter().any(|other| other.name.as_str() == name) {
            self.reader.error(node.at, format!("two webhooks are called `{name}`"), "a name of its own");
        }
        Some(name.into())
    }

    /// Nobody else listens there.
    fn place(&mut self, fields: &Fields<'_>, address: Option<SocketAddr>) {
        let (Some(node), Some(address)) = (fields.get("address"), address.filter(|address| address.port() != 0)) else {
            return;
        };
        let webhooks = self.config.sources.webhooks.iter();
        let webhooks = webhooks.map(|other| (other.address, format!("the webhook `{}`", other.name)));
        let api = self.config.listen.as_ref().map(|listen| (listen.address, "`access.listen`".to_owned()));
        if let Some((_, who)) = webhooks.chain(api).find(|(other, _)| *other == address) {
            self.reader.error(node.at, format!("{who} listens at {address} already"), "an address of its own");
        }
    }

    /// The secret that a token is. Where it is none, somebody may have written the token itself, and nobody is shown the line.
    fn secret_named(&mut self, node: &Node) -> Option<Name> {
        let named = self.webhook_name(node);
        if named.is_none() {
            secret_place::lines_of(node, &mut self.unshown);
        }
        named
    }

    fn webhook_name(&mut self, node: &Node) -> Option<Name> {
        const EXPECTED: &str = "`{ secret: NAME }`, a name in `secrets`";
        if !matches!(node.value, Value::Map(_)) {
            self.reader.error(node.at, "`token` does not say which secret it is", EXPECTED);
            return None;
        }
        let fields = self.reader.fields(node, "`token`", &["secret"], &[])?;
        let Some(node) = fields.get("secret") else {
            self.reader.error(fields.at, "`token` without `secret`", EXPECTED);
            return None;
        };
        // A number, for one, would be repeated.
        let Value::Text(name) = &node.value else {
            self.reader.error(node.at, "`secret` is no name", EXPECTED);
            return None;
        };
        if self.config.secrets.contains_key(name.as_str()) {
            return Some(name.as_str().into());
        }
        let names: Vec<&str> = self.config.secrets.keys().map(Name::as_str).collect();
        let expected = if names.is_empty() {
            "a name in `secrets`, which says where the token is: `secrets: { audit_token: { file: … } }`".to_owned()
        } else {
            one_of(&names)
        };
        let mistake = self.reader.source.error(node.at, "`secret` is no name in `secrets`").expected(expected);
        self.reader.note_near(mistake, name, names.iter().copied());
        None
    }
}
