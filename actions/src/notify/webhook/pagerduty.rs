//! PagerDuty: a page as events of the Events API v2, and what a playbook says as an alert of its own.
//!
//! Owns the events, as `https://developer.pagerduty.com/docs/events-api-v2/overview/` describes them, and the keys by which PagerDuty
//! knows what belongs together. Keeps true: one generation of a ladder is one alert there, and so is one message for many, so that what
//! is asked anew calls people anew, also where somebody has acknowledged it before (an event under the key of an alert that is
//! acknowledged calls nobody); the alert of a generation before is resolved after that, never before, and that of a message for many
//! with the last whom it stood for; what calls nobody triggers nothing, since a trigger under the key of an alert that somebody has
//! resolved there opens another; no event lets whoever reads it there answer in somebody's name.

use crate::notify::mark::Links;
use crate::notify::plain::{lines, subject};
use crate::send::text::harmless;
use crate::send::ways::Message;
use quell_model::notice::{Letter, Notice, State};
use quell_model::{Hash, Json, Level, Secret};
use serde::Serialize;
use std::collections::BTreeMap;

/// PagerDuty takes a summary of so many characters.
const SUMMARY: usize = 1_024;
/// And a key of so many.
const LONGEST_KEY: usize = 255;

/// A service, by its routing key.
pub(super) struct PagerDuty {
    routing_key: Secret,
}

/// What is sent.
#[derive(Serialize)]
pub(super) struct Event<'a> {
    routing_key: &'a str,
    event_action: &'static str,
    dedup_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
}

#[derive(Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: &'static str,
    /// What belongs together for people.
    group: String,
    class: &'static str,
    custom_details: BTreeMap<&'static str, Json>,
}

#[derive(Serialize)]
struct Link {
    href: String,
    text: &'static str,
}

impl PagerDuty {
    pub(super) fn of(routing_key: &Secret) -> Self {
        Self { routing_key: Secret::new(routing_key.expose().trim()) }
    }

    /// What a letter is there, in order, and the key of the alert that it leaves.
    pub(super) fn events(&self, letter: &Letter, links: Option<&Links>) -> (String, Vec<Event<'_>>) {
        let notice = &letter.notice;
        let fresh = if letter.is_bundle { letter.key.as_str().to_owned() } else { key(notice) };
        let earlier = letter.earlier.clone();
        // Nobody else has it any more.
        let last_of = letter.last_of.iter().map(|key| self.event("resolve", key.as_str().to_owned()));
        match &notice.state {
            // What is put right is the alert that is there.
            State::Over => {
                let key = earlier.unwrap_or(fresh);
                (key.clone(), std::iter::once(self.event("resolve", key)).chain(last_of).collect())
            }
            State::Acknowledged(_) if letter.page.quiet => {
                let key = earlier.unwrap_or(fresh);
                (key.clone(), vec![self.event("acknowledge", key)])
            }
            _ if letter.page.quiet => (earlier.unwrap_or(fresh), Vec::new()),
            State::Acknowledged(_) | State::Open => {
                let mut events = vec![self.trigger(letter, links, fresh.clone())];
                events.extend(earlier.filter(|key| *key != fresh).map(|key| self.event("resolve", key)));
                events.extend(last_of);
                (fresh, events)
            }
        }
    }

    fn event(&self, event_action: &'static str, dedup_key: String) -> Event<'_> {
        let routing_key = self.routing_key.expose();
        Event { routing_key, event_action, dedup_key, payload: None, client: None, links: Vec::new() }
    }

    /// What a playbook says: an alert of its own.
    pub(super) fn said(&self, message: &Message) -> Event<'_> {
        let payload = Payload {
            summary: message.title.chars().take(SUMMARY).collect(),
            source: "quell".to_owned(),
            severity: severity(message.level),
            group: "quell".to_owned(),
            class: "message",
            custom_details: [("told", message.text.clone().into()), ("data", harmless(&message.data).into())].into(),
        };
        Event { payload: Some(payload), client: Some("quell"), ..self.event("trigger", fitting(message.key.clone())) }
    }

    fn trigger(&self, letter: &Letter, links: Option<&Links>, dedup_key: String) -> Event<'_> {
        let notice = &letter.notice;
        let mut details = BTreeMap::from([
            ("told", lines(letter).join("\n").into()),
            ("ladder", notice.ladder.to_string().into()),
            ("generation", notice.generation.to_string().into()),
        ]);
        details.extend(notice.incident.as_ref().map(|id| ("incident", id.to_string().into())));
        let payload = Payload {
            summary: subject(letter).chars().take(SUMMARY).collect(),
            source: crate::text::one_line(&notice.entity, SUMMARY),
            severity: severity(notice.level),
            group: notice.thread(),
            class: if notice.question.is_some() { "question" } else { "incident" },
            custom_details: details,
        };
        let link = links.map(|links| Link { href: links.look(letter), text: "How it stands now, in quell" });
        Event {
            payload: Some(payload),
            client: Some("quell"),
            links: link.into_iter().collect(),
            ..self.event("trigger", dedup_key)
        }
    }
}

/// The alert of a generation of a ladder.
fn key(notice: &Notice) -> String {
    fitting(format!("{}.{}", notice.ladder, notice.generation))
}

fn fitting(key: String) -> String {
    if key.len() <= LONGEST_KEY { key } else { Hash::of(key.as_bytes()).to_string() }
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::Critical => "critical",
        Level::High => "error",
        Level::Medium => "warning",
        Level::Low | Level::Informational => "info",
    }
}
