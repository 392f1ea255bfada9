//! ntfy: a page as a notification of a telephone.
//!
//! Owns the message, as `https://docs.ntfy.sh/publish/#publish-as-json` describes it. Keeps true: it fits in what a server takes as a
//! message (4,096 bytes; what is longer becomes a file that nobody opens at night); what is over does not ring.

use super::{Headers, WrongWebhook, written};
use crate::notify::http::Target;
use crate::notify::mark::Links;
use crate::notify::plain::{lines, subject};
use crate::send::text::harmless;
use crate::send::ways;
use hyper::header::{AUTHORIZATION, HeaderValue};
use quell_model::notice::{Letter, State};
use quell_model::{Json, Level, Secret};
use serde::{Deserialize, Serialize};

/// Of a message, in bytes: less than a server takes.
const LONGEST: usize = 3_500;

/// A topic of a server.
pub(super) struct Ntfy {
    topic: String,
    token: Option<HeaderValue>,
}

#[derive(Serialize)]
struct Message<'a> {
    topic: &'a str,
    title: String,
    message: String,
    priority: u8,
    tags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    click: Option<String>,
}

impl Ntfy {
    /// The server of this address, and the topic at its end.
    pub(super) fn of(url: &Target, token: Option<&Secret>) -> Result<(Target, Self), WrongWebhook> {
        let (server, topic) = url.path().rsplit_once('/').ok_or(WrongWebhook::NoTopic)?;
        if topic.is_empty() {
            return Err(WrongWebhook::NoTopic);
        }
        let token = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let token = token.map(|token| token.ok_or(WrongWebhook::Token)).transpose()?;
        // JSON goes to the server itself, and names the topic.
        let to = url.at(&format!("{server}/")).map_err(WrongWebhook::Target)?;
        Ok((to, Self { topic: topic.to_owned(), token }))
    }

    pub(super) fn message(&self, letter: &Letter, links: Option<&Links>) -> (Vec<u8>, Headers) {
        let all = lines(letter);
        let message = Message {
            topic: &self.topic,
            title: subject(letter),
            message: cut(&all[1..].join("\n")),
            priority: priority(letter),
            tags: tags(letter),
            click: links.and_then(|links| links.answer(letter)),
        };
        (written(&message), self.headers())
    }

    /// What a playbook says, with its data as a last line. What may have come before says so, as a page does.
    pub(super) fn said(&self, said: &ways::Message) -> (Vec<u8>, Headers) {
        let data = if said.data.is_empty() { String::new() } else { format!("\n{}", Json::from(harmless(&said.data))) };
        let message = Message {
            topic: &self.topic,
            title: format!("{}{}", if said.is_repeat { "(repeat) " } else { "" }, said.title),
            message: cut(format!("{}{data}", said.text).trim_start()),
            priority: of_level(said.level),
            tags: vec![said.level.as_str()],
            click: None,
        };
        (written(&message), self.headers())
    }

    fn headers(&self) -> Headers {
        self.token.iter().map(|token| (AUTHORIZATION, token.clone())).collect()
    }
}

/// 5: rings until it is seen, 3: as any message, 2: neither rings nor shakes.
fn priority(letter: &Letter) -> u8 {
    if letter.notice.state == State::Over { 2 } else { of_level(letter.notice.level) }
}

fn of_level(level: Level) -> u8 {
    match level {
        Level::Critical => 5,
        Level::High => 4,
        Level::Medium => 3,
        Level::Low | Level::Informational => 2,
    }
}

/// Of ntfy's list: shown as a picture before the title.
fn tags(letter: &Letter) -> Vec<&'static str> {
    let notice = &letter.notice;
    let what = match (&notice.state, &notice.question) {
        (State::Over, _) => "white_check_mark",
        (_, Some(_)) => "question",
        (_, None) if notice.level >= Level::High => "rotating_light",
        (_, None) => "warning",
    };
    vec![what, notice.level.as_str()]
}

fn cut(text: &str) -> String {
    match text.len() {
        0..=LONGEST => text.to_owned(),
        _ => format!("{}… (cut)", &text[..text.floor_char_boundary(LONGEST)]),
    }
}

/// What ntfy calls the message.
pub(super) fn id(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Kept {
        id: String,
    }
    serde_json::from_slice::<Kept>(answer).ok().map(|kept| kept.id)
}
