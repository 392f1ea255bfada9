//! A daemon that a Slack talks to: what people click there and say by `/quell`, signed as Slack signs it.
//!
//! Owns both, and what a request of Slack's is (docs.slack.dev/authentication/verifying-requests-from-slack).

use super::standin::{ANA, BO, StandIn, buttons};
use super::{CONFIG, Night, OLDER, SECRET};
use crate::cli::wait_until;
use hmac::{Hmac, Mac};
use quell_actions::notify::mark::{Mark, MarkKey};
use quell_engine::store::marks_key;
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Deref;
use std::time::{SystemTime, UNIX_EPOCH};

/// A viewer.
pub(super) const CY: &str = "U0CY00001";
/// Nobody in escalation.yaml.
pub(super) const STRANGER: &str = "U0NOBODY1";
/// By what quell.yaml takes in whoever comes over TCP: Slack, without a token, and `ci` by one that nobody uses.
pub(super) const LISTENS: &str = "access: { listen: { address: \"127.0.0.1:0\", tokens: [{ name: ci, role: viewer, sha256: \
    \"5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5\" }] } }\n";
/// How it is known to be Slack: by either of two secrets.
pub(super) const SIGNED: &str = "signing_secret: [{ env: TEST_NEWER }, { env: TEST_OLDER }]";

/// One exchange, in HTTP 1.0: the answer ends with the connection. Gives the status and the body.
pub(super) fn exchange(port: u16, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(crate::cli::PATIENCE)).unwrap();
    let head = format!("{method} {path} HTTP/1.0\r\nhost: test\r\n{headers}content-length: {}\r\n\r\n", body.len());
    socket.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The signature of a body by this secret at this time.
pub(super) fn signature(secret: &str, timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    mac.finalize().into_bytes().iter().fold("v0=".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(super) fn form(parts: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parts).finish()
}

/// A click, as Slack tells it.
pub(super) fn click(user: &str, act: &str, mark: &str, hook: &str) -> Value {
    let action = json!({ "type": "button", "block_id": "b", "action_id": format!("quell:{act}"), "value": mark });
    json!({
        "type": "block_actions", "user": { "id": user, "username": "ana", "team_id": "T0QUELL01" },
        "team": { "id": "T0QUELL01" }, "response_url": hook, "actions": [action],
    })
}

/// A request of Slack's, which may be sent again as it is.
pub(super) struct Signed {
    pub(super) path: &'static str,
    pub(super) headers: String,
    pub(super) body: String,
}

impl Signed {
    pub(super) fn of(path: &'static str, body: String) -> Self {
        Self::by(SECRET, now(), path, body)
    }

    pub(super) fn by(secret: &str, at: u64, path: &'static str, body: String) -> Self {
        let (at, kind) = (at.to_string(), "application/x-www-form-urlencoded");
        let signature = signature(secret, &at, &body);
        let headers =
            format!("content-type: {kind}\r\nX-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: {signature}\r\n");
        Self { path, headers, body }
    }

    pub(super) fn by_the_older(path: &'static str, body: String) -> Self {
        Self::by(OLDER, now(), path, body)
    }

    pub(super) fn click(payload: &Value) -> Self {
        Self::of("/slack/interactive", form(&[("payload", &payload.to_string())]))
    }
}

/// See the module.
pub(super) struct Talks {
    pub(super) night: Night,
    pub(super) slack: StandIn,
}

impl Deref for Talks {
    type Target = Night;

    fn deref(&self) -> &Night {
        &self.night
    }
}

/// People of Slack: two who may act, and one who may look.
pub(super) fn people() -> String {
    let person = |(name, id, role): &(&str, &str, &str)| {
        format!("  {name}: {{ name: The {name}, identities: {{ slack: {id} }}, roles: [{role}] }}\n")
    };
    let all = [("ana", ANA, "responder"), ("bo", BO, "responder"), ("cy", CY, "viewer")];
    format!("people:\n{}", all.iter().map(person).collect::<String>())
}

/// The channel at this stand-in, and how Slack comes in by it.
pub(super) fn channel(slack: &StandIn, ways: &str) -> String {
    let url = slack.url();
    format!("  slack: {{ bot_token: {{ env: TEST_SLACK }}, {ways}, api_url: \"{url}\", channel: \"#incidents\" }}\n")
}

impl Talks {
    /// `ways`: what escalation.yaml says of how Slack comes in.
    pub(super) fn new(ways: &str, files: &[(&str, &str)]) -> Self {
        let more = "schedules:\n  primary:\n    time_zone: Europe/Lisbon\n    layers:\n\
             \x20     - { rotation: [ana], every: 1 week, handoff: { day: mon, at: \"09:00\" }, start: 2026-01-05 }\n";
        Self::with(more, &format!("{CONFIG}{LISTENS}"), ways, files)
    }

    /// With more in escalation.yaml, and this configuration.
    pub(super) fn with(more: &str, config: &str, ways: &str, files: &[(&str, &str)]) -> Self {
        let slack = StandIn::start(0);
        let (people, channel) = (people(), channel(&slack, ways));
        let escalation = format!(
            "{people}channels:\n{channel}{more}policies:\n  default: {{ steps: [{{ notify: [channel: slack], wait: 1h }}], \
             last_resort: [person: ana] }}\nroutes: [{{ policy: default }}]\n"
        );
        Self { night: Night::with(&escalation, config, files), slack }
    }

    /// The daemon is killed, and another starts.
    pub(super) fn again(&mut self) {
        let before = self.listened().len();
        self.night.again();
        wait_until("it listens again", || self.listened().len() > before);
    }

    /// The ports at which it has listened, the last one last.
    fn listened(&self) -> Vec<u16> {
        let said = self.daemon.said();
        let lines = said.lines().filter(|line| line.contains("listens on TCP"));
        let digits = lines.filter_map(|line| line.split("127.0.0.1:").nth(1));
        digits.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()).collect()
    }

    pub(super) fn port(&self) -> u16 {
        wait_until("it says where it listens", || !self.listened().is_empty());
        *self.listened().last().unwrap()
    }

    /// What a request is answered by: its status.
    pub(super) fn takes(&self, request: &Signed) -> u16 {
        exchange(self.port(), "POST", request.path, &request.headers, &request.body).0
    }

    /// The request of somebody's click, of which they are told at this name.
    pub(super) fn click(&self, user: &str, act: &str, mark: &str, hook: &str) -> Signed {
        Signed::click(&click(user, act, mark, &self.slack.hook(hook)))
    }

    /// Somebody clicks; what they are told.
    pub(super) fn clicks(&self, user: &str, act: &str, mark: &str, hook: &str) -> String {
        assert_eq!(self.takes(&self.click(user, act, mark, hook)), 200, "{hook}");
        self.slack.hears(hook)
    }

    /// Two click at once; what each is told, by the name of each.
    pub(super) fn click_at_once<'a>(&self, clicks: &'a [(&'a str, Signed); 2]) -> [(&'a str, String); 2] {
        std::thread::scope(|scope| {
            for (_, request) in clicks {
                scope.spawn(move || assert_eq!(self.takes(request), 200));
            }
        });
        clicks.each_ref().map(|(name, _)| (*name, self.slack.hears(name)))
    }

    /// Somebody uses `/quell`; what they are told.
    pub(super) fn says(&self, user: &str, text: &str, hook: &str) -> String {
        let url = self.slack.hook(hook);
        let parts = [("command", "/quell"), ("text", text), ("user_id", user), ("response_url", url.as_str())];
        assert_eq!(self.takes(&Signed::of("/slack/commands", form(&parts))), 200, "{hook}");
        self.slack.hears(hook)
    }

    pub(super) fn incidents(&self) -> Vec<Value> {
        self.daemon.ask_json(&["incident", "list"]).as_array().unwrap().clone()
    }

    pub(super) fn state(&self) -> Value {
        self.incidents()[0]["state"].clone()
    }

    /// What the buttons of the first message carry, as Slack has it now, by the words of their acts.
    pub(super) fn buttons(&self) -> Vec<(String, String)> {
        self.slack.messages().first().map(buttons).unwrap_or_default()
    }

    /// What this button of the first message carries, once it is there.
    pub(super) fn button(&self, act: &str) -> String {
        let found = || self.buttons().into_iter().find(|(of, _)| of == act).map(|(_, mark)| mark);
        wait_until("the message has the button", || found().is_some());
        found().unwrap()
    }

    /// What a button of this generation carries, by this daemon's own key.
    pub(super) fn mark(&self, id: &str, generation: u32) -> String {
        let key = MarkKey::new(marks_key(&self.daemon.state).unwrap());
        key.seal(&Mark { ladder: id.into(), generation, person: None })
    }
}
