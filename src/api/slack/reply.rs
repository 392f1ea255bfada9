//! What people in Slack are told of what they asked for: to them alone, where Slack says.
//!
//! Owns the sending by a `response_url` (docs.slack.dev/interactivity/handling-user-interaction), and how text is made harmless.
//! Keeps true: an answer goes to Slack and nowhere else; whatever it says is plain text there: no mention, no link of another's
//! making, no markup; nobody waits for it.

use super::door::Door;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use quell_actions::notify::http::{Ask, Client, Target};
use quell_model::Secret;
use quell_model::unseen::misleads;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

/// So long an answer is, in characters: Slack takes 40,000, and nobody reads them.
const LONGEST: usize = 3000;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Replies {
    client: Client,
    door: watch::Receiver<Option<Arc<Door>>>,
}

impl Replies {
    /// By the door as it is now and later.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn new(door: watch::Receiver<Option<Arc<Door>>>) -> Result<Self, String> {
        Ok(Self { client: Client::new().map_err(|error| error.to_string())?, door })
    }

    /// Tells it, once: what was done is done, and the message itself says so too.
    pub(super) async fn tell(&self, url: &str, said: &str) {
        let is_slacks = self.door.borrow().as_ref().is_some_and(|door| door.is_slacks(url));
        let target = is_slacks.then(|| Target::of(&Secret::new(url)).ok()).flatten();
        let Some(target) = target else {
            return tracing::warn!("what somebody is to be told would not go to Slack: it is not sent");
        };
        let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        let ask = Ask { method: Method::POST, headers: vec![kind], body: body(said).to_string().into_bytes() };
        match self.client.ask(&target, ask).await {
            Ok(answer) if (200..300).contains(&answer.status) => {}
            Ok(answer) => tracing::warn!(said = answer.said, "Slack does not take what somebody is to be told"),
            Err(error) => tracing::warn!(%error, "what somebody is to be told does not reach Slack"),
        }
    }
}

/// To whoever asked alone, and beside the message, not in its place.
fn body(said: &str) -> serde_json::Value {
    json!({ "response_type": "ephemeral", "replace_original": false, "mrkdwn": false, "text": harmless(said) })
}

/// The text as Slack shows it and does nothing with it (docs.slack.dev/messaging/formatting-message-text, "Escaping text"); its own line
/// breaks stay.
fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for (at, c) in text.chars().enumerate() {
        if at == LONGEST {
            safe.push('…');
            break;
        }
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\n' => safe.push(c),
            c if c.is_control() || misleads(c) => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

/// What others wrote, as a part of one line.
pub(super) fn word(text: &str, most: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.char_indices().nth(most) {
        None => plain,
        Some(_) => plain.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_an_attacker_names_acts_in_slack() {
        for (text, shown) in [
            ("<!channel> wake up", "&lt;!channel&gt; wake up"),
            ("<@U012>", "&lt;@U012&gt;"),
            ("<https://example.org|your bank>", "&lt;https://example.org|your bank&gt;"),
            ("a & b &lt;", "a &amp; b &amp;lt;"),
            ("x\u{202e}y\u{200b}z", "x\\u{202e}y\\u{200b}z"),
            ("one\ntwo\r\x1b[31m", "one\ntwo\\r\\u{1b}[31m"),
        ] {
            assert_eq!(harmless(text), shown);
        }
        assert_eq!(harmless(&"é".repeat(4000)).chars().count(), LONGEST + 1, "and a sign that it was cut");
        assert_eq!(harmless(&"é".repeat(LONGEST)), "é".repeat(LONGEST));
        let body = body("<x>");
        assert_eq!((&body["response_type"], &body["replace_original"]), (&json!("ephemeral"), &json!(false)));
        assert_eq!((&body["mrkdwn"], &body["text"]), (&json!(false), &json!("&lt;x&gt;")), "stars stay stars");
    }

    #[test]
    fn a_word_of_others_stays_in_its_line() {
        assert_eq!(word("a\nb\tc", 10), "a b c");
        assert_eq!(word("abcdef", 4), "abc…");
        assert_eq!(word("abcd", 4), "abcd");
    }
}
