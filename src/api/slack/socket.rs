//! Socket Mode: what Slack sends by a websocket that quell opens, for those behind a firewall.
//!
//! ```text
//! app_token ─▶ apps.connections.open ─▶ a link ── hello ──▶ envelopes: acknowledged, then given to errands
//!                    ▲                     │
//!                    ├── at once ◀─────────┤ disconnect: Slack wants another; this one is read until it ends
//!                    └── after a pause ◀───┘ lost, or refused
//! ```
//!
//! Owns the links (docs.slack.dev/apis/events-api/using-socket-mode), of which there are two at most: one, and one that Slack is
//! about to close. Not slack-morphism's listener: its tasks have no owner and no end, its channels no bound, and it shows the address
//! of a link, which is a secret, where it fails. Keeps true: an envelope is acknowledged before anything is done, and only where
//! there is room for it; one that comes twice is done once, and is done also where the link that brought it is lost meanwhile; a link
//! that says nothing is given up; a token or an address is never shown.

use super::door::Door;
use super::errand::Errands;
use super::payload::{self, Errand};
use super::verify::Seen;
use futures_util::{SinkExt, StreamExt};
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderValue};
use quell_actions::notify::http::{Ask, Client, Stream, Target};
use quell_engine::clock::SystemClock;
use quell_model::{Clock, Json, Secret};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The first pause after a link was lost; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// No pause is longer, but where Slack asks for it.
const LONGEST: Duration = Duration::from_secs(60);
/// A link that stood for so long begins anew with [`FIRST`].
const STOOD: Duration = Duration::from_secs(60);
/// For the connection with its handshakes, and for a message to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// So often a link is asked whether it is there.
const ASKED: Duration = Duration::from_secs(20);
/// A link from which nothing came for so long is lost: it was asked three times.
const SILENCE: Duration = Duration::from_secs(65);
/// A link that Slack is about to close is read for so long yet.
const LEAVING: Duration = Duration::from_secs(30);
/// So many links at once: one, and one that Slack is about to close.
const MOST: usize = 2;
/// A message is not longer, in bytes.
const LARGEST: usize = 1 << 20;

/// What a link tells of itself.
enum Sign {
    /// Slack has said hello.
    Hello,
    /// Slack will close this one, and wants another.
    Leaving(Id),
}

/// Which links there are, and whether Slack is about to close each.
#[derive(Debug, Default)]
struct Held(HashMap<Id, bool>);

impl Held {
    fn opens(&mut self, link: Id) {
        self.0.insert(link, false);
    }

    fn leaves(&mut self, link: Id) {
        self.0.entry(link).and_modify(|leaves| *leaves = true);
    }

    fn is_lost(&mut self, link: Id) {
        self.0.remove(&link);
    }

    /// Whether another is to be opened: none stays, and there is room for one.
    fn wants_another(&self) -> bool {
        self.0.len() < MOST && self.0.values().all(|leaves| *leaves)
    }
}

/// Why a link is none any more.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lost {
    why: String,
    /// Not before this has gone by, where Slack says so.
    after: Option<Duration>,
}

impl Lost {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), after: None }
    }
}

/// Whose links.
#[derive(Clone, PartialEq, Eq)]
struct Account {
    token: Secret,
    api_url: String,
}

impl Account {
    fn of(door: Option<&Arc<Door>>) -> Option<Self> {
        let door = door?;
        Some(Self { token: door.app_token.clone()?, api_url: door.api_url.clone() })
    }
}

/// What every link needs.
#[derive(Clone)]
struct Links {
    client: Client,
    errands: Errands,
    seen: Arc<Mutex<Seen>>,
}

/// Holds a link while an `app_token` is configured, until the daemon's end.
pub(crate) async fn follow(
    mut door: watch::Receiver<Option<Arc<Door>>>,
    errands: Errands,
    mut ended: watch::Receiver<bool>,
) {
    let client = match Client::new() {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "there is no Socket Mode"),
    };
    let links = Links { client, errands, seen: Arc::default() };
    loop {
        let account = Account::of(door.borrow_and_update().as_ref());
        let another = door.wait_for(|door| Account::of(door.as_ref()) != account);
        let hold = async {
            match &account {
                Some(account) => links.hold(account).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Whoever says so may have gone, which is an end too.
            _ = ended.wait_for(|end| *end) => return,
            changed = another => if changed.is_err() { return },
            () = hold => {}
        }
    }
}

impl Links {
    /// Opens links, one after the other, for as long as this is waited for; all end with it.
    async fn hold(&self, account: &Account) {
        let (tell, mut signs) = mpsc::channel(8);
        let mut links = JoinSet::new();
        let mut held = Held::default();
        let open = |links: &mut JoinSet<Result<(), Lost>>, held: &mut Held| {
            let (of, account, tell) = (self.clone(), account.clone(), tell.clone());
            held.opens(links.spawn(async move { of.link(&account, tell).await }).id());
        };
        let (mut pause, mut since, mut known) = (FIRST, None::<Instant>, String::new());
        open(&mut links, &mut held);
        loop {
            tokio::select! {
                Some(sign) = signs.recv() => match sign {
                    Sign::Hello => {
                        if since.is_none() {
                            tracing::info!("Slack is heard by Socket Mode");
                        }
                        (since, known) = (since.or(Some(Instant::now())), String::new());
                    }
                    Sign::Leaving(link) => {
                        held.leaves(link);
                        if held.wants_another() {
                            open(&mut links, &mut held);
                        }
                    }
                },
                Some(left) = links.join_next_with_id() => {
                    let (link, lost) = match left {
                        Ok((link, ended)) => (link, ended.err().unwrap_or_else(|| Lost::new("Slack has closed it"))),
                        Err(error) => (error.id(), Lost::new(error.to_string())),
                    };
                    held.is_lost(link);
                    // The other one is there already, and stays.
                    if !held.wants_another() {
                        continue;
                    }
                    if lost.why != known {
                        tracing::warn!(why = lost.why, "Slack is not heard by Socket Mode; it is tried again until it is");
                    }
                    if since.take().is_some_and(|since| since.elapsed() >= STOOD) {
                        pause = FIRST;
                    }
                    known = lost.why;
                    sleep(pause.max(lost.after.unwrap_or_default())).await;
                    pause = (pause * 2).min(LONGEST);
                    open(&mut links, &mut held);
                }
            }
        }
    }

    /// One link, from its opening to its end.
    async fn link(&self, account: &Account, tell: mpsc::Sender<Sign>) -> Result<(), Lost> {
        let address = self.address(account).await?;
        let opened = timeout(PATIENCE, self.open(account, &address)).await;
        let mut link = opened.map_err(|_| Lost::new("no websocket came about in time"))??;
        let mut ask = interval(ASKED);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut until = None;
        loop {
            let silent = heard + SILENCE;
            let last = until.unwrap_or(silent).min(silent);
            let message = tokio::select! {
                message = link.next() => message,
                _ = ask.tick() => {
                    say(&mut link, Message::Ping(Vec::new().into())).await?;
                    continue;
                }
                () = tokio::time::sleep_until(last) => {
                    return if until.is_some() { Ok(()) } else { Err(Lost::new("nothing is heard any more")) };
                }
            };
            heard = Instant::now();
            let text = match message {
                None | Some(Ok(Message::Close(_))) => return Ok(()),
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(Lost::new(format!("it broke off: {error}"))),
            };
            let Ok(said) = serde_json::from_str::<Said>(text.as_str()) else {
                tracing::warn!("Slack sent what cannot be read, by Socket Mode");
                continue;
            };
            match said.kind.as_str() {
                // Whoever listens may have gone.
                "hello" => drop(tell.send(Sign::Hello).await),
                "disconnect" if said.reason.as_deref() == Some("link_disabled") => {
                    let why = "Socket Mode is off for the app; hint: turn it on in the app's settings, or take `app_token` out";
                    return Err(Lost { why: why.to_owned(), after: Some(LONGEST) });
                }
                "disconnect" => {
                    until = until.or(Some(Instant::now() + LEAVING));
                    drop(tell.send(Sign::Leaving(tokio::task::id())).await);
                }
                _ => self.envelope(&mut link, said).await?,
            }
        }
    }

    /// Acknowledges an envelope, and gives on what it holds: also where nobody hears that, since it is known from here on, and may
    /// have come by another link and done nothing there.
    async fn envelope<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        link: &mut WebSocketStream<S>,
        said: Said,
    ) -> Result<(), Lost> {
        let Some(id) = said.envelope_id else { return Ok(()) };
        // What is not acknowledged is told as failed to whoever wanted it.
        let Some(room) = self.errands.room() else { return Ok(()) };
        let now = u64::try_from(SystemClock.now().wall.as_second()).unwrap_or_default();
        let is_new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_new(&id, now);
        let Some(is_new) = is_new else { return Ok(()) };
        let acknowledged = say(link, Message::Text(serde_json::json!({ "envelope_id": id }).to_string().into())).await;
        if is_new {
            match errand(&said.kind, &said.payload) {
                Ok(Some(errand)) => room.send(errand),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "an envelope of Socket Mode"),
            }
        }
        acknowledged
    }

    /// Where the next link is opened: an address that works once.
    async fn address(&self, account: &Account) -> Result<Secret, Lost> {
        let to = Target::of(&Secret::new(format!("{}/apps.connections.open", account.api_url)));
        let to = to.map_err(|_| Lost::new("`api_url` of the channel `slack` is no address"))?;
        let token = HeaderValue::from_str(&format!("Bearer {}", account.token.expose()));
        let mut token = token.map_err(|_| Lost::new("`app_token` of the channel `slack` is no token"))?;
        token.set_sensitive(true);
        let ask = Ask { method: Method::POST, headers: vec![(AUTHORIZATION, token)], body: Vec::new() };
        let answer = self.client.ask(&to, ask).await.map_err(|error| Lost::new(error.to_string()))?;
        let opened: Opened = match serde_json::from_slice(&answer.body) {
            Ok(opened) if answer.status == 200 => opened,
            _ => {
                let why = format!("{} said {} to `apps.connections.open`", to.shown(), answer.status);
                return Err(Lost { why, after: answer.after });
            }
        };
        match (opened.url, opened.error) {
            (Some(url), _) if opened.ok => Ok(Secret::new(url)),
            (_, error) => Err(Lost { why: refused(&error.unwrap_or_default()), after: Some(LONGEST) }),
        }
    }

    async fn open(&self, account: &Account, address: &Secret) -> Result<Link, Lost> {
        let no_link = || Lost::new("the address that Slack gave is none of a websocket");
        let (scheme, rest) = address.expose().split_once("://").ok_or_else(no_link)?;
        let over = match scheme {
            "wss" => "https",
            // As safe as the way by which the address came.
            "ws" if account.api_url.starts_with("http://") => "http",
            _ => return Err(no_link()),
        };
        let to = Target::of(&Secret::new(format!("{over}://{rest}"))).map_err(|_| no_link())?;
        let request = address.expose().into_client_request().map_err(|_| no_link())?;
        let stream = self.client.open(&to).await.map_err(|error| Lost::new(error.to_string()))?;
        let bounds = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
        let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(bounds)).await;
        opened.map(|(link, _)| link).map_err(|error| Lost::new(format!("no websocket came about: {error}")))
    }
}

type Link = WebSocketStream<Box<dyn Stream>>;

async fn say<S: AsyncRead + AsyncWrite + Unpin>(link: &mut WebSocketStream<S>, message: Message) -> Result<(), Lost> {
    let said = timeout(PATIENCE, link.send(message)).await;
    let said = said.map_err(|_| Lost::new("Slack takes nothing"))?;
    said.map_err(|error| Lost::new(format!("it broke off: {error}")))
}

/// What comes by a link.
#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    envelope_id: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    payload: Json,
}

/// What `apps.connections.open` answers.
#[derive(Deserialize)]
struct Opened {
    ok: bool,
    url: Option<String>,
    error: Option<String>,
}

/// What an envelope holds; none: nothing of quell's.
fn errand(kind: &str, payload: &Json) -> Result<Option<Errand>, payload::Unreadable> {
    match kind {
        "interactive" => payload::click(&payload.to_string()),
        "slash_commands" => payload::command(|key| payload.get(key)?.as_str().map(str::to_owned)).map(Some),
        _ => Ok(None),
    }
}

/// Why Slack opens no link, for people.
fn refused(error: &str) -> String {
    let hint = match error {
        "invalid_auth" | "not_authed" | "token_revoked" | "account_inactive" => {
            "; hint: `app_token` is an app-level token (xapp-…) of the app's settings, Basic Information"
        }
        "not_allowed_token_type" => "; hint: `app_token` begins with xapp-, and is not the bot's token",
        "missing_scope" => "; hint: the app-level token needs the scope `connections:write`",
        _ => "",
    };
    format!("Slack opens no link: `{}`{hint}", super::reply::word(error, 60))
}

#[cfg(test)]
mod tests {
    use super::super::payload::What;
    use super::*;
    use serde_json::json;

    #[test]
    fn an_envelope_holds_what_http_would_have_brought() {
        let click = json!({
            "type": "block_actions", "user": { "id": "U012" }, "response_url": "https://hooks.slack.com/actions/1",
            "actions": [{ "action_id": "quell:resolve", "value": "m" }],
        });
        let read = errand("interactive", &click).unwrap().unwrap();
        assert_eq!(Some(read), payload::click(&click.to_string()).unwrap());
        let command = json!({ "command": "/quell", "text": "who", "user_id": "U012", "response_url": "https://x" });
        let read = errand("slash_commands", &command).unwrap().unwrap();
        assert_eq!((read.user.as_str(), read.what), ("U012", What::Command("who".to_owned())));
        assert_eq!(errand("events_api", &json!({})), Ok(None));
        assert!(errand("interactive", &json!({})).is_err() && errand("slash_commands", &json!([])).is_err());
    }

    #[tokio::test]
    async fn an_envelope_whose_link_is_lost_is_done_once_whichever_brings_it() {
        use tokio_tungstenite::tungstenite::protocol::Role;
        let (errands, mut waiting) = Errands::new();
        let links = Links { client: Client::new().unwrap(), errands, seen: Arc::default() };
        let said = || {
            let payload = json!({ "command": "/quell", "text": "who", "user_id": "U012", "response_url": "https://x" });
            let said = json!({ "type": "slash_commands", "envelope_id": "e-1", "payload": payload });
            serde_json::from_value::<Said>(said).unwrap()
        };
        let (ours, theirs) = tokio::io::duplex(4096);
        drop(theirs);
        let mut lost = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        assert!(links.envelope(&mut lost, said()).await.is_err());
        assert_eq!(waiting.next().unwrap().what, What::Command("who".to_owned()));
        let (ours, _theirs) = tokio::io::duplex(4096);
        let mut link = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        assert_eq!(links.envelope(&mut link, said()).await, Ok(()));
        assert_eq!(waiting.next(), None, "it is known");
    }

    #[tokio::test]
    async fn another_is_opened_as_long_as_none_stays() {
        let mut held = Held::default();
        let [first, second, third] = [(); 3].map(|()| tokio::spawn(async {}).id());
        assert!(held.wants_another());
        held.opens(first);
        assert!(!held.wants_another());
        held.leaves(first);
        assert!(held.wants_another(), "Slack is about to close it");
        held.opens(second);
        assert!(!held.wants_another());
        held.is_lost(second);
        assert!(held.wants_another(), "the other one is still there, and leaves");
        held.opens(third);
        held.leaves(third);
        assert!(!held.wants_another(), "no more than two");
        held.is_lost(first);
        assert!(held.wants_another(), "the one that stands leaves too");
        held.is_lost(third);
        held.leaves(first);
        assert!(held.0.is_empty(), "what is lost does not come back");
    }

    #[test]
    fn a_refusal_says_what_would_help_and_no_token() {
        assert!(refused("missing_scope").contains("connections:write"));
        assert!(refused("not_allowed_token_type").contains("xapp-"));
        assert_eq!(refused("something\nelse"), "Slack opens no link: `something else`");
    }
}
