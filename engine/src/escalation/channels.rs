//! Channels: the ways by which people are reached, as escalation.yaml configures them.
//!
//! Owns their settings; where a secret is, never its value.

use crate::load::SecretFrom;
use quell_model::Name;
use std::collections::BTreeMap;
use std::time::Duration;

/// The ways that are configured.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Channels {
    /// Prints on the daemon's terminal. On where no other way is, and where quell's own policy tells by it.
    pub console: bool,
    /// A Slack workspace.
    pub slack: Option<Slack>,
    /// A mail server.
    pub email: Option<Email>,
    /// A dead man's switch: told as long as all is well.
    pub beat: Option<Beat>,
    /// What wakes people.
    pub webhooks: BTreeMap<Name, Webhook>,
}

/// A Slack workspace.
#[derive(Clone, PartialEq, Debug)]
pub struct Slack {
    /// The bot's token.
    pub bot_token: SecretFrom,
    /// What Slack signs its requests with; two during a rotation, the newer first.
    pub signing_secret: Vec<SecretFrom>,
    /// For Socket Mode: a token of the app's own.
    pub app_token: Option<SecretFrom>,
    /// Where its API is.
    pub api_url: String,
    /// Where incidents are told.
    pub channel: String,
}

/// A mail server.
#[derive(Clone, PartialEq, Debug)]
pub struct Email {
    /// Where `smtp://HOST:PORT` (with STARTTLS where it is offered) or `smtps://…` is: mostly in the file itself.
    pub smtp: SecretFrom,
    /// Who quell is there.
    pub user: Option<SecretFrom>,
    /// The password.
    pub password: Option<SecretFrom>,
    /// The address that mails come from.
    pub from: String,
}

/// A dead man's switch.
#[derive(Clone, PartialEq, Debug)]
pub struct Beat {
    /// What is asked.
    pub url: SecretFrom,
    /// How often.
    pub every: Duration,
}

/// What a webhook is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Template {
    /// ntfy's JSON.
    Ntfy,
    /// PagerDuty's Events v2.
    PagerDuty,
    /// Opsgenie's Alert API.
    Opsgenie,
    /// JSON of quell's own, signed.
    Json,
}

impl Template {
    /// All of them, with their words in files.
    pub const ALL: [(&'static str, Self); 4] =
        [("ntfy", Self::Ntfy), ("pagerduty", Self::PagerDuty), ("opsgenie", Self::Opsgenie), ("json", Self::Json)];
}

/// A webhook.
#[derive(Clone, PartialEq, Debug)]
pub struct Webhook {
    /// What it is sent.
    pub template: Template,
    /// Where.
    pub url: SecretFrom,
    /// What its JSON is signed with, or PagerDuty's routing key, Opsgenie's API key, or ntfy's token.
    pub secret: Option<SecretFrom>,
}
