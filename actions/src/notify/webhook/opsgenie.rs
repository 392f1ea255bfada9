//! Opsgenie: a page as an alert of its Alert API, and what a playbook says as one of its own.
//!
//! Owns the alerts, as `https://docs.opsgenie.com/docs/alert-api` describes them, and the aliases by which they are known there. Keeps
//! true: one generation of a ladder is one alert, and so is one message for many, so that what is asked anew calls people anew; the alert
//! of a generation before is closed after that, never before, and that of a message for many with the last whom it stood for; what is put
//! right is a note, which calls nobody; every bound of the API is kept.

use super::{Headers, Target, WrongWebhook, written};
use crate::notify::mark::Links;
use crate::notify::plain::{lines, subject};
use crate::send::text::harmless;
use crate::send::ways::Message;
use hyper::header::{AUTHORIZATION, HeaderValue};
use quell_model::notice::{Letter, Notice, State};
use quell_model::{Hash, Json, Level, Secret};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// Characters of a message, the alert's title.
const MESSAGE: usize = 130;
/// Of a description.
const DESCRIPTION: usize = 15_000;
/// Of a note.
const NOTE: usize = 25_000;
/// Of what it is about.
const ENTITY: usize = 512;
/// Of an alias. Ours stand in an address too, and are kept shorter.
const ALIAS: usize = 250;
/// Of what stands in `details`, all together.
const DETAILS: usize = 8_000;

/// An integration, by its key.
pub(super) struct Opsgenie {
    url: Target,
    key: HeaderValue,
}

/// What makes one.
#[derive(Serialize)]
struct Alert {
    message: String,
    alias: String,
    description: String,
    priority: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    entity: String,
    tags: Vec<String>,
    details: BTreeMap<String, String>,
}

/// A request: where to, and what.
type Request = (Target, (Vec<u8>, Headers));

impl Opsgenie {
    /// Alerts below this address, with this key.
    pub(super) fn of(url: Target, key: &Secret) -> Result<(Target, Self), WrongWebhook> {
        let mut value =
            HeaderValue::from_str(&format!("GenieKey {}", key.expose().trim())).map_err(|_| WrongWebhook::Token)?;
        value.set_sensitive(true);
        Ok((url.clone(), Self { url, key: value }))
    }

    /// What a letter is there, in order, and the alias of the alert that it leaves.
    pub(super) fn requests(&self, letter: &Letter, links: Option<&Links>) -> (String, Vec<Request>) {
        let notice = &letter.notice;
        let fresh = if letter.is_bundle { fitting(letter.key.as_str().to_owned()) } else { alias(notice) };
        let earlier = letter.earlier.clone();
        // Nobody else has it any more.
        let last_of = letter.last_of.iter().map(|key| {
            self.about(
                &fitting(key.as_str().to_owned()),
                "close",
                "the last that it stood for has ended, or has an alert of its own",
            )
        });
        let there = earlier.clone().unwrap_or_else(|| fresh.clone());
        match &notice.state {
            State::Over => {
                let close = self.about(&there, "close", &lines(letter).join("\n"));
                (there, std::iter::once(close).chain(last_of).collect())
            }
            State::Acknowledged(by) if letter.page.quiet => {
                let note = format!("acknowledged by {by}, in quell");
                (there.clone(), vec![self.about(&there, "acknowledge", &note)])
            }
            _ if letter.page.quiet => (there.clone(), vec![self.about(&there, "notes", &lines(letter).join("\n"))]),
            State::Acknowledged(_) | State::Open => {
                let mut all = vec![self.made(&alert(letter, links, fresh.clone()))];
                let before = earlier.filter(|alias| *alias != fresh);
                all.extend(before.map(|alias| self.about(&alias, "close", "it was raised anew, as another alert")));
                all.extend(last_of);
                (fresh, all)
            }
        }
    }

    /// What a playbook says.
    pub(super) fn said(&self, message: &Message) -> (Vec<u8>, Headers) {
        let mut room = DETAILS;
        let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let data = harmless(&message.data);
        let details = data.iter().map(|(key, value)| (key.clone(), text(value)));
        let kept = details.map_while(|(key, value)| {
            room = room.checked_sub(key.len() + value.len())?;
            Some((key, value))
        });
        let mut details: BTreeMap<String, String> = kept.collect();
        if details.len() < message.data.len() {
            details.insert("cut".to_owned(), format!("{} more did not fit", message.data.len() - details.len()));
        }
        let alert = Alert {
            message: cut(&message.title, MESSAGE),
            alias: fitting(message.key.clone()),
            description: cut(&message.text, DESCRIPTION),
            priority: priority(message.level),
            source: "quell",
            entity: String::new(),
            tags: vec!["quell".to_owned(), message.level.as_str().to_owned()],
            details,
        };
        self.made(&alert).1
    }

    fn made(&self, alert: &Alert) -> Request {
        (self.url.clone(), (written(alert), self.headers()))
    }

    /// Does something to an alert that is there, and says why.
    fn about(&self, alias: &str, what: &str, note: &str) -> Request {
        let path = format!("{}/{}/{what}", self.url.path(), in_a_path(alias));
        let to = self.url.at(&path).map(|to| to.asking("identifierType=alias"));
        // An alias of letters, digits and `%` is one of a path.
        let to = to.unwrap_or_else(|_| self.url.clone());
        (to, (written(&json!({ "source": "quell", "note": cut(note, NOTE) })), self.headers()))
    }

    fn headers(&self) -> Headers {
        vec![(AUTHORIZATION, self.key.clone())]
    }
}

fn alert(letter: &Letter, links: Option<&Links>, alias: String) -> Alert {
    let notice = &letter.notice;
    let mut description = lines(letter).join("\n");
    description.extend(links.map(|links| format!("\nhow it stands now: {}", links.look(letter))));
    let mut details = BTreeMap::from([
        ("ladder".to_owned(), notice.ladder.to_string()),
        ("generation".to_owned(), notice.generation.to_string()),
    ]);
    details.extend(notice.incident.as_ref().map(|id| ("incident".to_owned(), id.to_string())));
    let what = if notice.question.is_some() { "question" } else { "incident" };
    Alert {
        message: cut(&subject(letter), MESSAGE),
        alias,
        description: cut(&description, DESCRIPTION),
        priority: priority(notice.level),
        source: "quell",
        entity: crate::text::one_line(&notice.entity, ENTITY),
        tags: vec!["quell".to_owned(), what.to_owned(), notice.level.as_str().to_owned()],
        details,
    }
}

/// The alert of a generation of a ladder.
fn alias(notice: &Notice) -> String {
    fitting(format!("{}.{}", notice.ladder, notice.generation))
}

fn fitting(alias: String) -> String {
    if alias.len() <= ALIAS { alias } else { Hash::of(alias.as_bytes()).to_string() }
}

/// As one part of a path: whatever is no letter, digit or one of `-._~` as `%` and two hex digits (RFC 3986).
fn in_a_path(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::Critical => "P1",
        Level::High => "P2",
        Level::Medium => "P3",
        Level::Low => "P4",
        Level::Informational => "P5",
    }
}
