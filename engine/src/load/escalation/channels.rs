//! `channels`: by which ways people are reached.
//!
//! Owns the keys. Keeps true: what is secret is where the file says, and never in the file, save an address whose path is
//! one; a channel whose secrets cannot be read now is off and is said so; no mistake shows a line with a secret.

use super::super::address;
use super::{email, named, wait};
use crate::escalation::channels::{Beat, Channels, Email, Slack, Template, Webhook};
use crate::load::SecretFrom;
use crate::load::reader::{Fields, Reader};
use crate::load::secret::is_set;
use crate::load::secret_place::{self, EXPECTED};
use crate::load::yaml::{Entry, Node, Place, Value};
use quell_model::mistake::nearest;
use quell_model::{Mistake, Name, Secret};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

pub(crate) const CHANNELS: &[&str] = &["console", "slack", "email", "beat", "webhooks"];
pub(crate) const SLACK: &[&str] = &["bot_token", "signing_secret", "app_token", "api_url", "channel"];
pub(crate) const EMAIL: &[&str] = &["smtp", "user", "password", "from"];
pub(crate) const BEAT: &[&str] = &["url", "every"];
pub(crate) const WEBHOOK: &[&str] = &["template", "url", "secret"];

/// Keys of channels whose value is no secret and may be shown.
const SHOWN: &[&str] = &["api_url", "channel", "from", "every", "template"];
/// Names of webhooks that mean something else where a channel is named.
const TAKEN: &[&str] = &["console", "slack", "email", "beat", "wake"];

/// Where Slack's API is.
const SLACK_API: &str = "https://slack.com/api";
/// Where PagerDuty takes events.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// How often a dead man's switch is told.
const BEAT_EVERY: Duration = Duration::from_secs(60);

/// All of them. Without the section the terminal is the one way.
pub(super) fn channels(reader: &mut Reader<'_>, top: &Fields<'_>, folder: &Path) -> Channels {
    let mut all = Channels::default();
    let Some(node) = top.get("channels") else { return all };
    let Some(fields) = reader.fields(node, "`channels`", CHANNELS, &[]) else { return all };
    if let Some(node) = fields.get("console") {
        all.console = reader.fields(node, "`console`", &[], &[]).is_some();
    }
    let mut reading = Reading { reader, folder, secrets: Vec::new() };
    if let Some(entry) = present(&fields, "slack") {
        all.slack = reading.slack(&entry.value);
        reading.off("the channel `slack`", entry.at);
    }
    if let Some(entry) = present(&fields, "email") {
        all.email = reading.email(&entry.value);
        reading.off("the channel `email`", entry.at);
    }
    if let Some(entry) = present(&fields, "beat") {
        all.beat = reading.beat(&entry.value);
        reading.off("the channel `beat`", entry.at);
    }
    if let Some(node) = fields.get("webhooks") {
        all.webhooks = reading.webhooks(node);
    }
    all
}

fn present<'n>(fields: &Fields<'n>, key: &str) -> Option<&'n Entry> {
    fields.entry(key).filter(|entry| entry.value.value != Value::Null)
}

struct Reading<'r, 's> {
    reader: &'r mut Reader<'s>,
    folder: &'r Path,
    /// Secrets of the channel that is being read, and what an address among them begins with.
    secrets: Vec<(&'static str, SecretFrom, Option<&'static [&'static str]>)>,
}

impl Reading<'_, '_> {
    fn slack(&mut self, node: &Node) -> Option<Slack> {
        let fields = self.reader.fields(node, "`slack`", SLACK, &[])?;
        self.required(
            &fields,
            "`slack`",
            &[
                ("bot_token", "`bot_token: { env: SLACK_BOT_TOKEN }`"),
                ("channel", "`channel: \"#incidents\"`: where incidents are told"),
            ],
        );
        let bot_token = fields.get("bot_token").and_then(|node| self.secret(node, "`slack`", "bot_token", None));
        let signing_secret = match fields.get("signing_secret") {
            Some(node) => self.signing_secrets(node),
            None => Some(Vec::new()),
        };
        let app_token = match fields.get("app_token") {
            Some(node) => self.secret(node, "`slack`", "app_token", None).map(Some),
            None => Some(None),
        };
        if fields.present(&["signing_secret", "app_token"]).is_empty() {
            let what =
                "`slack` has neither `signing_secret` nor `app_token`: nothing that people click there comes back";
            self.reader.warning(
                fields.at,
                what,
                "`signing_secret`, for requests to quell's API; or `app_token`, for Socket Mode",
            );
        }
        let api_url = match fields.get("api_url") {
            Some(node) => self.plain(node, "`api_url`", address::HTTP),
            None => Some(SLACK_API.to_owned()),
        };
        let channel = fields.get("channel").and_then(|node| self.slack_channel(node, "`channel`"));
        Some(Slack {
            bot_token: bot_token?,
            signing_secret: signing_secret?,
            app_token: app_token?,
            api_url: api_url?,
            channel: channel?,
        })
    }

    /// One, or during a rotation two.
    fn signing_secrets(&mut self, node: &Node) -> Option<Vec<SecretFrom>> {
        let Value::List(list) = &node.value else {
            return Some(vec![self.secret(node, "`slack`", "signing_secret", None)?]);
        };
        if !matches!(list.len(), 1 | 2) {
            let what = format!("`signing_secret` of `slack` has {} places", list.len());
            self.reader.error(node.at, what, "one, or two while it is changed, the newer first");
            return None;
        }
        let mut all = Vec::new();
        for item in list {
            all.push(self.secret(item, "`slack`", "signing_secret", None));
        }
        all.into_iter().collect()
    }

    /// `#incidents`, or a channel's id.
    fn slack_channel(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.reader.text(node, what)?;
        let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name = text.strip_prefix('#').is_some_and(|name| !name.is_empty() && name.chars().all(is_letter));
        let is_id = text.len() >= 9 && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        if is_name || is_id {
            return Some(text.to_owned());
        }
        let mut mistake = self.reader.source.error(node.at, format!("`{text}` is no channel of Slack"));
        mistake.nearest = (!text.is_empty() && text.chars().all(is_letter)).then(|| format!("\"#{text}\""));
        self.reader.note(mistake.expected("its name in quotes, like `\"#incidents\"`, or its id, like `C0123456789`"));
        None
    }

    fn email(&mut self, node: &Node) -> Option<Email> {
        let fields = self.reader.fields(node, "`email`", EMAIL, &[])?;
        self.required(
            &fields,
            "`email`",
            &[
                ("smtp", "`smtp: \"smtp://localhost:1025\"`, or `smtp: { env: NAME }`"),
                ("from", "`from: quell@example.org`"),
            ],
        );
        let smtp = fields.get("smtp").and_then(|node| self.secret(node, "`email`", "smtp", Some(address::SMTP)));
        let user = self.optional(&fields, "`email`", "user");
        let password = self.optional(&fields, "`email`", "password");
        if let [one] = fields.present(&["user", "password"])[..] {
            let other = if one.key == "user" { "password" } else { "user" };
            let what = format!("`email` has `{}` without `{other}`", one.key);
            self.reader.error(one.at, what, format!("`{other}: {{ env: NAME }}` too, or neither"));
        }
        let from = fields.get("from").and_then(|node| email(self.reader, node, "`from`"));
        Some(Email { smtp: smtp?, user: user?, password: password?, from: from?.to_owned() })
    }

    fn beat(&mut self, node: &Node) -> Option<Beat> {
        let fields = self.reader.fields(node, "`beat`", BEAT, &[])?;
        self.required(&fields, "`beat`", &[("url", "`url: { env: DEADMAN_URL }`")]);
        let url = fields.get("url").and_then(|node| self.secret(node, "`beat`", "url", Some(address::HTTP)));
        let every = match fields.get("every") {
            Some(node) => wait(self.reader, node, "`every`"),
            None => Some(BEAT_EVERY),
        };
        Some(Beat { url: url?, every: every? })
    }

    fn webhooks(&mut self, node: &Node) -> BTreeMap<Name, Webhook> {
        let mut all = BTreeMap::new();
        let entries = self.reader.map(node, "`webhooks`").unwrap_or_default();
        if entries.is_empty() && matches!(node.value, Value::Map(_)) {
            self.reader.error(
                node.at,
                "`webhooks` is empty",
                "at least one, like `ana_phone: { template: ntfy, url: { env: NAME } }`",
            );
        }
        for entry in entries {
            let name = entry.key.as_str();
            if TAKEN.contains(&name) {
                let what = format!("`{name}` cannot be the name of a webhook: it is a channel of its own");
                self.reader.error(entry.at, what, "another");
            } else {
                named(self.reader, name, entry.at, "webhook");
            }
            let whose = format!("the webhook `{name}`");
            let found = self.webhook(&entry.value, &whose);
            self.off(&whose, entry.at);
            all.extend(found.map(|found| (Name::from(name), found)));
        }
        all
    }

    fn webhook(&mut self, node: &Node, whose: &str) -> Option<Webhook> {
        let fields = self.reader.fields(node, whose, WEBHOOK, &[])?;
        self.required(&fields, whose, &[("template", "`template: ntfy`, `pagerduty`, `opsgenie` or `json`")]);
        let template = fields.get("template").and_then(|node| self.reader.word(node, "template", &Template::ALL));
        let url = match fields.entry("url") {
            Some(_) => fields.get("url").and_then(|node| self.secret(node, whose, "url", Some(address::HTTP))),
            None if template == Some(Template::PagerDuty) => Some(SecretFrom::Fixed(Secret::new(PAGERDUTY))),
            None => {
                self.reader.error(fields.at, format!("{whose} has no `url`"), "`url: { env: NAME }`");
                None
            }
        };
        let secret = self.optional(&fields, whose, "secret");
        let expected = match template {
            Some(Template::PagerDuty) => Some("`secret: { env: NAME }`: the routing key of the service"),
            Some(Template::Opsgenie) => Some("`secret: { env: NAME }`: the API key of the integration"),
            Some(Template::Json) => Some("`secret: { env: NAME }`: what its JSON is signed with"),
            Some(Template::Ntfy) | None => None,
        };
        if let Some(expected) = expected.filter(|_| fields.entry("secret").is_none()) {
            self.reader.error(fields.at, format!("{whose} has no `secret`"), expected);
            return None;
        }
        Some(Webhook { template: template?, url: url?, secret: secret? })
    }

    fn required(&mut self, fields: &Fields<'_>, whose: &str, keys: &[(&str, &str)]) {
        for (key, expected) in keys {
            if fields.entry(key).is_none() {
                self.reader.error(fields.at, format!("{whose} has no `{key}`"), *expected);
            }
        }
    }

    fn optional(&mut self, fields: &Fields<'_>, whose: &str, key: &'static str) -> Option<Option<SecretFrom>> {
        match fields.get(key) {
            Some(node) => self.secret(node, whose, key, None).map(Some),
            None => Some(None),
        }
    }

    /// Where a secret is. An address with one of `schemes` may stand there itself.
    fn secret(
        &mut self,
        node: &Node,
        whose: &str,
        key: &'static str,
        schemes: Option<&'static [&'static str]>,
    ) -> Option<SecretFrom> {
        let what = format!("`{key}` of {whose}");
        let from = match (&node.value, schemes) {
            (Value::Map(given), _) => secret_place::place(self.reader, self.folder, &what, node.at, given)?,
            (Value::Text(text), Some(schemes)) => match address::wrong(text, schemes) {
                None => return Some(SecretFrom::Fixed(Secret::new(text.as_str()))),
                Some(why) => {
                    let expected = format!("an address like `{}://…`, or {EXPECTED}", schemes.first().unwrap_or(&""));
                    self.reader.error(node.at, format!("{what} {why}"), expected);
                    return None;
                }
            },
            _ => {
                self.reader.error(node.at, format!("{what} does not say where its value is"), EXPECTED);
                return None;
            }
        };
        self.secrets.push((key, from.clone(), schemes));
        Some(from)
    }

    /// An address that is no secret.
    fn plain(&mut self, node: &Node, what: &str, schemes: &[&str]) -> Option<String> {
        let text = self.reader.text(node, what)?;
        match address::wrong(text, schemes) {
            None => Some(text.trim_end_matches('/').to_owned()),
            Some(why) => {
                self.reader.error(node.at, format!("{what} {why}"), "an address like `https://…`");
                None
            }
        }
    }

    /// Says that a channel is off for now, and why.
    fn off(&mut self, whose: &str, at: Place) {
        let read = std::mem::take(&mut self.secrets);
        let why: Vec<String> = read.iter().filter_map(|(key, from, schemes)| unread(key, from, *schemes)).collect();
        if why.is_empty() {
            return;
        }
        // Without its line: what is not there may be the value itself.
        let what = format!("{whose} is off for now: {}", why.join("; "));
        let mistake = Mistake { line_text: None, ..self.reader.source.warning(at, what) };
        self.reader.note(mistake);
    }
}

/// Why a secret cannot be read now.
fn unread(key: &str, from: &SecretFrom, schemes: Option<&[&str]>) -> Option<String> {
    match from {
        SecretFrom::Env(name) if from.is_a_place() && !is_set(name) => {
            Some(format!("`{key}` is in the environment variable `{name}`, which is not set"))
        }
        _ => match from.read() {
            Ok(secret) => {
                let why = schemes.and_then(|schemes| address::wrong(secret.expose(), schemes));
                why.map(|why| format!("what is read for `{key}` {why}"))
            }
            Err(why) => Some(format!("`{key}` cannot be read: {why}")),
        },
    }
}

/// The lines of a file on which a secret may stand: of all that channels have, save what may be shown.
pub(super) fn secret_lines(top: &Node) -> BTreeSet<u32> {
    let mut lines = BTreeSet::new();
    for section in entries(top).iter().filter(|entry| is_section(&entry.key)) {
        let Value::Map(channels) = &section.value.value else {
            secret_place::lines_of_entry(section, &mut lines);
            continue;
        };
        for channel in channels {
            match &channel.value.value {
                Value::Map(webhooks) if channel.key == "webhooks" => {
                    webhooks.iter().for_each(|webhook| of_channel(webhook, &mut lines));
                }
                _ => of_channel(channel, &mut lines),
            }
        }
    }
    lines
}

/// Also one that is misspelt.
fn is_section(key: &str) -> bool {
    key == super::CHANNELS_SECTION || nearest(key, [super::CHANNELS_SECTION]).is_some()
}

fn of_channel(channel: &Entry, lines: &mut BTreeSet<u32>) {
    let Value::Map(keys) = &channel.value.value else { return secret_place::lines_of_entry(channel, lines) };
    let secret = keys.iter().filter(|entry| !SHOWN.contains(&entry.key.as_str()));
    secret.for_each(|entry| secret_place::lines_of_entry(entry, lines));
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}
