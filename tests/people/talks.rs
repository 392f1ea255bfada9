//! A daemon that a Slack talks to: what people click there and say by `/quell`.
//!
//! Owns both.

use super::signed::{Signed, click, exchange, form};
use super::standin::{ANA, BO, StandIn, buttons};
use super::{CONFIG, Night};
use crate::cli::wait_until;
use quell_actions::notify::mark::{Mark, MarkKey};
use quell_engine::store::marks_key;
use serde_json::Value;
use std::ops::Deref;

/// A viewer.
pub(super) const CY: &str = "U0CY00001";
/// Nobody in escalation.yaml.
pub(super) const STRANGER: &str = "U0NOBODY1";
/// By what quell.yaml takes in whoever comes over TCP: Slack, without a token, and `ci` by one that nobody uses.
pub(super) const LISTENS: &str = "access: { listen: { address: \"127.0.0.1:0\", tokens: [{ name: ci, role: viewer, sha256: \
    \"5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5\" }] } }\n";
/// How it is known to be Slack: by either of two secrets.
pub(super) const SIGNED: &str = "signing_secret: [{ env: TEST_NEWER }, { env: TEST_OLDER }]";

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
