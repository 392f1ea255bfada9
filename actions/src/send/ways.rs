//! The ways that the verbs of this folder send by, as they are in force now.
//!
//! Owns the one cell that a reload replaces, and what a way that is not there says. Makes no way: whoever starts the engine does,
//! of the same connections as pages. Keeps true: a verb takes hold of all that is in force at once; a way that is not there is no
//! reason to fail a plan, but one to say so in it.

use quell_model::hosts::{AllowedHost, Method};
use quell_model::notice::SendError;
use quell_model::{ActionError, Json, Level, Name};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// See the module.
#[derive(Default)]
pub struct Ways(RwLock<Arc<InForce>>);

impl Ways {
    /// These from now on; gives those of before.
    pub fn replace(&self, ways: Arc<InForce>) -> Arc<InForce> {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), ways)
    }

    /// Those in force.
    pub(crate) fn now(&self) -> Arc<InForce> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is configured.
#[derive(Default)]
pub struct InForce {
    /// Slack.
    pub slack: Way<Chat>,
    /// The mail server.
    pub email: Way<Arc<dyn Mails>>,
    /// The people of escalation.yaml, and their addresses of mail.
    pub people: BTreeMap<Name, Option<String>>,
    /// `channels.webhooks` of escalation.yaml.
    pub webhooks: BTreeMap<Name, Way<Arc<dyn Hooks>>>,
    /// `http.allow` of quell.yaml.
    pub hosts: Vec<AllowedHost>,
    /// What asks them.
    pub http: Way<Arc<dyn Asks>>,
}

/// Whether a way is there.
#[derive(Clone, Default)]
pub enum Way<T> {
    /// Nobody has configured it.
    #[default]
    Missing,
    /// It is configured, and cannot be used: why.
    Off(String),
    /// It is there.
    Ready(T),
}

/// Why a way cannot be used, and what helps.
pub(crate) struct NotReady {
    /// This build could not, whatever is configured.
    is_unbuilt: bool,
    why: String,
    hint: String,
}

/// What a way is to a verb.
pub(crate) struct Needs {
    /// For people.
    pub(crate) what: &'static str,
    /// Where it is configured.
    pub(crate) at: &'static str,
    /// The feature of a build that has it.
    pub(crate) feature: &'static str,
    /// Whether this build has it.
    pub(crate) is_built: bool,
}

/// `channels.slack`.
pub(crate) const SLACK: Needs = Needs {
    what: "Slack",
    at: "`channels.slack` in escalation.yaml",
    feature: "slack",
    is_built: cfg!(feature = "slack"),
};
/// `channels.email`.
pub(crate) const EMAIL: Needs = Needs {
    what: "mail",
    at: "`channels.email` in escalation.yaml",
    feature: "email",
    is_built: cfg!(feature = "email"),
};
/// `channels.webhooks`.
pub(crate) const WEBHOOK: Needs = Needs {
    what: "this webhook",
    at: "`channels.webhooks` in escalation.yaml",
    feature: "webhook",
    is_built: cfg!(feature = "webhook"),
};
/// `http.allow`.
pub(crate) const HTTP: Needs =
    Needs { what: "HTTP", at: "`http.allow` in quell.yaml", feature: "webhook", is_built: cfg!(feature = "webhook") };

impl<T> Way<T> {
    /// The same way, as something else.
    pub fn map<U>(self, as_this: impl FnOnce(T) -> U) -> Way<U> {
        match self {
            Self::Ready(way) => Way::Ready(as_this(way)),
            Self::Missing => Way::Missing,
            Self::Off(why) => Way::Off(why),
        }
    }

    /// It, where it can be used.
    pub(crate) fn ready(&self, needs: &Needs) -> Result<&T, NotReady> {
        let (why, hint) = match self {
            // One that is given is there, whatever this build could make: a test's.
            Self::Ready(way) => return Ok(way),
            _ if !needs.is_built => (
                format!("this build has no way to it: {}", needs.what),
                format!("one with the feature `{}`", needs.feature),
            ),
            Self::Missing => (format!("{} is not configured", needs.what), needs.at.to_owned()),
            Self::Off(why) => (format!("{} is off: {why}", needs.what), needs.at.to_owned()),
        };
        Err(NotReady { is_unbuilt: !needs.is_built, why, hint })
    }
}

impl NotReady {
    /// For a plan: a text of what would fail; an error where no configuration would help.
    pub(crate) fn planned(self) -> Result<String, ActionError> {
        if self.is_unbuilt { Err(self.into()) } else { Ok(format!("{}; hint: {}", self.why, self.hint)) }
    }
}

impl From<NotReady> for ActionError {
    fn from(not: NotReady) -> Self {
        Self::GiveUp { why: not.why, hint: Some(not.hint) }
    }
}

/// Slack, and where incidents are told there.
#[derive(Clone)]
pub struct Chat {
    /// The channel of `channels.slack`.
    pub channel: String,
    /// The workspace.
    pub speaks: Arc<dyn Chats>,
}

/// A message of Slack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// The channel's id.
    pub channel: String,
    /// Its moment, which is its id there.
    pub ts: String,
}

/// Says things in a workspace of Slack. Texts are plain there, whatever stands in them.
#[async_trait::async_trait]
pub trait Chats: Send + Sync {
    /// Says it in this channel, or in the thread of one of its messages.
    async fn say(&self, channel: &str, thread: Option<&str>, text: &str) -> Result<Said, SendError>;
    /// Puts right what was said there.
    async fn put_right(&self, there: &Said, text: &str) -> Result<Said, SendError>;
}

/// A mail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// What its Message-ID is made of: the same for a mail that is sent again.
    pub key: String,
    /// Addresses.
    pub to: Vec<String>,
    /// One line.
    pub subject: String,
    /// Lines.
    pub text: String,
}

/// Hands mails to a server.
#[async_trait::async_trait]
pub trait Mails: Send + Sync {
    /// Gives the Message-ID and what the server said.
    async fn mail(&self, mail: &Mail) -> Result<(String, String), SendError>;
}

/// What a webhook is told.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// The same for one that is sent again.
    pub key: String,
    /// One line.
    pub title: String,
    /// Lines.
    pub text: String,
    /// How bad it is.
    pub level: Level,
    /// More, for programs.
    pub data: serde_json::Map<String, Json>,
    /// It may have been taken before.
    pub is_repeat: bool,
}

/// A webhook.
#[async_trait::async_trait]
pub trait Hooks: Send + Sync {
    /// The word of what it is sent.
    fn template(&self) -> &'static str;
    /// Its host: the rest of its address may be a secret.
    fn host(&self) -> String;
    /// Tells it; gives the status of the answer.
    async fn tell(&self, message: &Message) -> Result<u16, SendError>;
}

/// Where an address leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// In small letters.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it is `https`.
    pub is_tls: bool,
    /// The host is an IP address that is not of the public net.
    pub is_inner: bool,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// How.
    pub method: Method,
    /// Where.
    pub url: String,
    /// Names and values that are fit for a header.
    pub headers: Vec<(String, String)>,
    /// What.
    pub body: Vec<u8>,
    /// It may lead to an address that is no public one.
    pub private: bool,
    /// From here to the end of the answer.
    pub within: Duration,
    /// Of the answer's body so many bytes are read.
    pub most: usize,
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The status.
    pub status: u16,
    /// Names in small letters; of those that stand twice the values joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// As much of the body as was read.
    pub body: Vec<u8>,
    /// It is not the whole body.
    pub cut: bool,
    /// Not before this time has gone by, it says.
    pub after: Option<Duration>,
}

/// Why there was no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unheard {
    /// It leads where nothing is asked. Nothing was sent.
    Refused(String),
    /// Nothing was sent.
    Unsent(String),
    /// It may have been taken.
    Unknown(String),
}

/// Asks over HTTP. Follows no redirection.
#[async_trait::async_trait]
pub trait Asks: Send + Sync {
    /// Where an address leads, as it would be asked; none: it is no address of http or https.
    fn place(&self, url: &str) -> Option<Place>;
    /// Asks.
    async fn ask(&self, wanted: Wanted) -> Result<Heard, Unheard>;
}
