//! What speaks to people and programs: the channels of escalation.yaml, ready to send, for pages and for what playbooks send.
//!
//! Owns their making, each once for both, and the terminal's. Decides nothing: a channel that cannot be made is off and says so, and whoever it was to
//! reach is told by their other ways.

use quell_actions::notify::mark::MarkKey;
use quell_actions::notify::plain;
use quell_actions::send::ways::{Asks, Chat, Chats, Hooks, InForce, Mails, Way};
use quell_engine::escalation::Escalation;
use quell_engine::escalation::channels::{Channels, Webhook as Settings};
use quell_engine::run::pages::Post;
use quell_engine::store::{fleeting_key, marks_key};
#[cfg(feature = "webhook")]
use quell_model::Secret;
use quell_model::hosts::AllowedHost;
use quell_model::notice::{Channel, Letter, Receipt, SendError};
use quell_model::{Name, People};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;

/// Pages that wait for the terminal; further ones are tried again later.
const MOST_WAITING: usize = 64;

/// What messages carry that lead back here.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(any(feature = "email", feature = "slack", feature = "webhook")),
    allow(dead_code, reason = "nothing that leads back here is sent")
)]
pub(crate) struct Outside {
    /// Under which marks are made.
    pub(crate) marks: MarkKey,
    /// What links begin with; none: there are no links.
    pub(crate) public_url: Option<String>,
}

/// The key of a data directory; one that ends with this process, where that cannot be had.
pub(crate) fn marks(dir: &Path) -> std::io::Result<MarkKey> {
    let key = marks_key(dir).or_else(|error| {
        tracing::warn!(%error, "`marks.key` cannot be used: buttons and links of messages end with this process");
        fleeting_key()
    });
    key.map(MarkKey::new)
}

/// One connection, by which pages go out and what playbooks send.
#[cfg_attr(
    not(any(feature = "email", feature = "slack", feature = "webhook")),
    allow(dead_code, reason = "this build has no way to anybody")
)]
struct Both<S: ?Sized> {
    pages: Arc<dyn Channel>,
    sends: Arc<S>,
}

impl<S: ?Sized> Both<S> {
    /// What is sent by it, as [`Ways`](quell_actions::send::ways::Ways) have it; what went wrong is told.
    fn of(made: Result<Option<Self>, String>, name: &str) -> Way<Self> {
        match made {
            Ok(Some(both)) => Way::Ready(both),
            Ok(None) => Way::Missing,
            Err(why) => {
                tracing::warn!(why, "the channel `{name}` is off");
                Way::Off(why)
            }
        }
    }
}

/// All that these settings make.
struct All {
    slack: Way<Both<dyn Chats>>,
    email: Way<Both<dyn Mails>>,
    webhooks: BTreeMap<Name, Way<Both<dyn Hooks>>>,
}

impl All {
    fn of(channels: &Channels, outside: &Outside) -> Self {
        let webhook = |(name, settings): (&Name, &Settings)| {
            (name.clone(), Both::of(self::webhook(settings, outside).map(Some), name.as_str()))
        };
        Self {
            slack: Both::of(slack(channels, outside), "slack"),
            email: Both::of(email(channels, outside), "email"),
            webhooks: channels.webhooks.iter().map(webhook).collect(),
        }
    }

    fn post(&self) -> Post {
        let mut all: BTreeMap<Name, Arc<dyn Channel>> = BTreeMap::new();
        // Also where it is not configured: what nothing else takes is printed.
        if let Some(console) = console() {
            all.insert("console".into(), console);
        }
        all.extend(pages(&self.slack).map(|pages| ("slack".into(), pages)));
        all.extend(pages(&self.email).map(|pages| ("email".into(), pages)));
        all.extend(self.webhooks.iter().filter_map(|(name, webhook)| Some((name.clone(), pages(webhook)?))));
        Post::new(all)
    }

    fn ways(self, (channels, people): (&Channels, &People), hosts: &[AllowedHost]) -> InForce {
        let channel = channels.slack.as_ref().map(|slack| slack.channel.clone()).unwrap_or_default();
        InForce {
            slack: self.slack.map(|both| Chat { channel, speaks: both.sends }),
            email: self.email.map(|both| both.sends),
            people: people
                .people
                .iter()
                .map(|(name, person)| (name.clone(), person.mail().map(str::to_owned)))
                .collect(),
            webhooks: self.webhooks.into_iter().map(|(name, way)| (name, way.map(|both| both.sends))).collect(),
            hosts: hosts.to_vec(),
            http: http(),
        }
    }
}

fn pages<S: ?Sized>(way: &Way<Both<S>>) -> Option<Arc<dyn Channel>> {
    match way {
        Way::Ready(both) => Some(Arc::clone(&both.pages)),
        Way::Missing | Way::Off(_) => None,
    }
}

/// The channels of pages, and the ways of what playbooks send: the same connections.
pub(crate) fn made(escalation: &Escalation, hosts: &[AllowedHost], outside: &Outside) -> (Post, Arc<InForce>) {
    let all = All::of(&escalation.channels, outside);
    (all.post(), Arc::new(all.ways((&escalation.channels, &escalation.people), hosts)))
}

/// The ways alone, for whoever tells nobody.
pub(crate) fn ways(who: (&Channels, &People), hosts: &[AllowedHost]) -> std::io::Result<Arc<InForce>> {
    let outside = Outside { marks: MarkKey::new(fleeting_key()?), public_url: None };
    Ok(Arc::new(All::of(who.0, &outside).ways(who, hosts)))
}

#[cfg(feature = "webhook")]
fn http() -> Way<Arc<dyn Asks>> {
    match quell_actions::notify::http::Client::new() {
        Ok(client) => Way::Ready(Arc::new(client)),
        Err(why) => Way::Off(why.to_string()),
    }
}

#[cfg(not(feature = "webhook"))]
fn http() -> Way<Arc<dyn Asks>> {
    Way::Missing
}

impl Outside {
    /// What links are made of; none: there are none.
    #[cfg(any(feature = "email", feature = "webhook"))]
    fn links(&self) -> Option<quell_actions::notify::mark::Links> {
        let links = |public_url| quell_actions::notify::mark::Links { key: self.marks.clone(), public_url };
        self.public_url.clone().map(links)
    }
}

#[cfg(feature = "webhook")]
fn webhook(settings: &Settings, outside: &Outside) -> Result<Both<dyn Hooks>, String> {
    use quell_actions::notify::{http::Client, webhook::Webhook};
    use quell_engine::escalation::channels::Template;
    let (url, secret) = (settings.url.read()?, settings.secret.as_ref().map(|from| from.read()).transpose()?);
    let client = Client::new().map_err(|error| error.to_string())?;
    let links = outside.links();
    let needs = |secret: Option<Secret>| secret.ok_or_else(|| "it has no `secret`".to_owned());
    let made = match settings.template {
        Template::Ntfy => Webhook::ntfy(client, &url, secret, links),
        Template::PagerDuty => Webhook::pagerduty(client, &url, needs(secret)?, links),
        Template::Opsgenie => Webhook::opsgenie(client, &url, needs(secret)?, links),
        Template::Json => Webhook::json(client, &url, needs(secret)?, links),
    };
    let made = Arc::new(made.map_err(|error| error.to_string())?);
    Ok(Both { pages: made.clone(), sends: made })
}

#[cfg(not(feature = "webhook"))]
fn webhook(_: &Settings, _: &Outside) -> Result<Both<dyn Hooks>, String> {
    Err("this build has no webhooks: it was made without the feature `webhook`".to_owned())
}

#[cfg(feature = "slack")]
fn slack(channels: &Channels, outside: &Outside) -> Result<Option<Both<dyn Chats>>, String> {
    use quell_actions::notify::slack::{Slack, Workspace};
    let Some(settings) = &channels.slack else { return Ok(None) };
    // What nobody takes in has no button.
    let is_answered = settings.app_token.is_some() || !settings.signing_secret.is_empty();
    let workspace = Workspace {
        api_url: settings.api_url.clone(),
        bot_token: settings.bot_token.read()?,
        buttons: is_answered.then(|| outside.marks.clone()),
    };
    let slack = Arc::new(Slack::new(workspace).map_err(|error| error.to_string())?);
    Ok(Some(Both { pages: slack.clone(), sends: slack }))
}

#[cfg(not(feature = "slack"))]
fn slack(channels: &Channels, _: &Outside) -> Result<Option<Both<dyn Chats>>, String> {
    match channels.slack {
        Some(_) => Err("this build has no Slack: it was made without the feature `slack`".to_owned()),
        None => Ok(None),
    }
}

#[cfg(feature = "email")]
fn email(channels: &Channels, outside: &Outside) -> Result<Option<Both<dyn Mails>>, String> {
    use quell_actions::notify::email::{Email, Server};
    use quell_engine::load::SecretFrom;
    let Some(settings) = &channels.email else { return Ok(None) };
    let read = |from: &Option<SecretFrom>| from.as_ref().map(SecretFrom::read).transpose();
    let login = match (read(&settings.user)?, read(&settings.password)?) {
        (Some(user), Some(password)) => Some((user.expose().to_owned(), password)),
        (None, None) => None,
        _ => return Err("it has a `user` or a `password`, and needs both or neither".to_owned()),
    };
    let server = Server { url: settings.smtp.read()?.expose().to_owned(), login, from: settings.from.clone() };
    let email = Arc::new(Email::new(server, outside.links()).map_err(|error| error.to_string())?);
    Ok(Some(Both { pages: email.clone(), sends: email }))
}

#[cfg(not(feature = "email"))]
fn email(channels: &Channels, _: &Outside) -> Result<Option<Both<dyn Mails>>, String> {
    match channels.email {
        Some(_) => Err("this build has no mail: it was made without the feature `email`".to_owned()),
        None => Ok(None),
    }
}

/// The one of this process: a reload does not begin another.
fn console() -> Option<Arc<Console>> {
    static CONSOLE: OnceLock<Option<Arc<Console>>> = OnceLock::new();
    let begin = || match Console::new() {
        Ok(console) => Some(Arc::new(console)),
        Err(error) => {
            tracing::warn!(%error, "nothing can be printed on the terminal");
            None
        }
    };
    CONSOLE.get_or_init(begin).clone()
}

/// The terminal that the daemon was started on. A thread of its own writes there: one that takes nothing stops nobody.
struct Console {
    lines: SyncSender<(String, oneshot::Sender<std::io::Result<()>>)>,
}

impl Console {
    fn new() -> std::io::Result<Self> {
        let (lines, all) = sync_channel::<(String, oneshot::Sender<std::io::Result<()>>)>(MOST_WAITING);
        let write = move || {
            for (text, written) in all {
                // Nobody waits for it any longer: it is tried again, and printed once.
                if written.is_closed() {
                    continue;
                }
                let mut out = std::io::stdout().lock();
                let done = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                // Whoever asked may have waited long enough.
                drop(written.send(done));
            }
        };
        std::thread::Builder::new().name("quell-console".to_owned()).spawn(write)?;
        Ok(Self { lines })
    }
}

#[async_trait::async_trait]
impl Channel for Console {
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError> {
        let mut text = format!("{}\n", plain::subject(letter));
        for line in plain::lines(letter).iter().skip(1) {
            text.push_str(&format!("  {line}\n"));
        }
        let (written, done) = oneshot::channel();
        if self.lines.try_send((text, written)).is_err() {
            return Err(SendError::Later { why: "the terminal takes nothing now".to_owned(), after: None });
        }
        match done.await {
            Ok(Ok(())) => Ok(Receipt::Delivered { reference: None }),
            // Nobody reads it any more.
            Ok(Err(error)) => Err(SendError::Never { why: format!("the terminal takes nothing: {error}") }),
            Err(_) => Err(SendError::Unknown { why: "the thread that prints has ended".to_owned() }),
        }
    }
}
