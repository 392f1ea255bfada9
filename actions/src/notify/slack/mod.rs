//! Slack: one message about an incident or a question, put right in place; what came of it in its thread.
//!
//! Owns which calls a page comes to. Never takes anything in: what a button sends goes to whoever answers for quell. Keeps true: where
//! there is a message, it is put right before anything is said in its thread; a page is delivered once all of its calls went well, and
//! made again from the first one otherwise; whoever is called is named in the thread, and nobody is by a quiet page.
//!
//! ```text
//! no message yet ─────────▶ chat.postMessage ──▶ CHANNEL/TS, which is the receipt
//! CHANNEL/TS ─▶ chat.update ─▶ chat.postMessage in its thread
//!                  └─ it is gone ─▶ as if there was none
//! ```

mod blocks;
mod reach;
mod said;
mod text;
mod web;

use super::mark::MarkKey;
use blocks::Content;
pub use blocks::{act_of, action_id};
use quell_model::Secret;
use quell_model::notice::{Channel, Letter, Receipt, SendError, State, To, Way};
use serde::Deserialize;
use slack_morphism::prelude::*;
use web::{Does, Failed, Web};
pub use web::{WrongWorkspace, may_have_the_token};

/// A workspace, and what messages there carry.
pub struct Workspace {
    /// Where its API is: `https://slack.com/api`.
    pub api_url: String,
    /// The bot's token.
    pub bot_token: Secret,
    /// Under which buttons are known again; none: nothing takes in what they send, and messages have none.
    pub buttons: Option<MarkKey>,
}

/// See the module.
pub struct Slack {
    web: Web,
    buttons: Option<MarkKey>,
}

/// Where a message stands.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct Place {
    channel: String,
    ts: String,
}

impl Place {
    fn reference(&self) -> String {
        format!("{}/{}", self.channel, self.ts)
    }

    fn of(reference: &str) -> Option<Self> {
        let (channel, ts) = reference.split_once('/')?;
        Some(Self { channel: channel.to_owned(), ts: ts.to_owned() })
    }
}

impl Slack {
    /// A channel to this workspace. Connects when the first page goes out.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(workspace: Workspace) -> Result<Self, WrongWorkspace> {
        let web = Web::new(&workspace.api_url, &workspace.bot_token)?;
        Ok(Self { web, buttons: workspace.buttons })
    }

    /// A message of its own.
    async fn post(&self, letter: &Letter, to: &str) -> Result<Place, SendError> {
        let content = blocks::message(letter, self.buttons.as_ref());
        self.say(content, letter, to, None, false).await
    }

    /// Says something there, in the thread of `of` where there is one.
    async fn say(
        &self,
        content: Content,
        letter: &Letter,
        to: &str,
        of: Option<&Place>,
        aloud: bool,
    ) -> Result<Place, SendError> {
        let request = |content: Content| {
            let there = of.map_or(to, |of| of.channel.as_str());
            let mut request = posted(content, there, of.map(|of| of.ts.as_str()));
            request.reply_broadcast = aloud.then_some(true);
            request
        };
        let mut said = self.web.call("chat.postMessage", &request(content)).await;
        if said.as_ref().is_err_and(is_of_blocks) {
            said = self.web.call("chat.postMessage", &request(blocks::words(letter))).await;
        }
        said.map_err(|failed: Failed| failed.of_page(Does::Post, to))
    }

    /// Puts the message there right; none: it is there no more.
    async fn put_right(&self, letter: &Letter, to: &str, there: &Place) -> Result<Option<()>, SendError> {
        let content = blocks::message(letter, self.buttons.as_ref());
        let mut updated: Result<Updated, Failed> = self.web.call("chat.update", &altered(content, there)).await;
        if updated.as_ref().is_err_and(is_of_blocks) {
            updated = self.web.call("chat.update", &altered(blocks::words(letter), there)).await;
        }
        match updated {
            Ok(Updated {}) => Ok(Some(())),
            Err(failed) if failed.word().is_some_and(is_gone) => Ok(None),
            Err(failed) => Err(failed.of_page(Does::Update, to)),
        }
    }
}

/// What comes back of an update: nothing that is of use.
#[derive(Deserialize)]
struct Updated {}

/// What says this in a channel, or in the thread of one of its messages.
fn posted(content: Content, channel: &str, thread: Option<&str>) -> SlackApiChatPostMessageRequest {
    let message = SlackMessageContent::new().with_text(content.text).with_blocks(content.blocks);
    let mut request = SlackApiChatPostMessageRequest::new(SlackChannelId::new(channel.to_owned()), message)
        // An address that an attacker wrote is neither linked nor fetched.
        .with_parse("none".to_owned())
        .with_unfurl_links(false)
        .with_unfurl_media(false);
    request.thread_ts = thread.map(|ts| SlackTs::new(ts.to_owned()));
    request
}

/// What puts this in the place of what stands there.
fn altered(content: Content, there: &Place) -> SlackApiChatUpdateRequest {
    let message = SlackMessageContent::new().with_text(content.text).with_blocks(content.blocks);
    let channel = SlackChannelId::new(there.channel.clone());
    // An update takes texts as a client's own where nothing is said.
    SlackApiChatUpdateRequest::new(channel, message, SlackTs::new(there.ts.clone()))
        .with_parse("none".to_owned())
        .with_link_names(false)
}

/// Slack does not take what it looks like: it goes as words alone. Its own bounds are not all in its reference.
fn is_of_blocks(failed: &Failed) -> bool {
    failed.word().is_some_and(|word| {
        matches!(word, "invalid_blocks" | "invalid_blocks_format" | "msg_blocks_too_long" | "msg_too_long")
    })
}

/// The message is not there, or nobody lets quell alter it any more: another says what is so.
fn is_gone(word: &str) -> bool {
    matches!(
        word,
        "message_not_found" | "cant_update_message" | "edit_window_closed" | "channel_not_found" | "block_mismatch"
    )
}

/// A member's id, as Slack writes them.
fn is_member(to: &str) -> bool {
    to.starts_with(['U', 'W']) && to.len() > 1 && to.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

#[async_trait::async_trait]
impl Channel for Slack {
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError> {
        let page = &letter.page;
        let Way::Slack(to) = &page.way else {
            return Err(SendError::Never { why: "the page is for another channel".to_owned() });
        };
        let member = is_member(to).then_some(to.as_str());
        if matches!(page.to, To::Person(_)) && member.is_none() {
            // Slack would take it for a channel's name, and say it there.
            let why = format!("`{to}` is no member's id; hint: `identities.slack`: `U…`, as their profile has it");
            return Err(SendError::Never { why });
        }
        if let Some(there) = letter.earlier.as_deref().and_then(Place::of)
            && self.put_right(letter, to, &there).await?.is_some()
        {
            // A thread is seen by who follows it: a call in a channel is for all who read there.
            let aloud = !page.quiet && member.is_none() && letter.notice.state != State::Over;
            let reply = blocks::reply(letter, member);
            self.say(reply, letter, to, Some(&there), aloud).await?;
            return Ok(Receipt::Delivered { reference: Some(there.reference()) });
        }
        let there = self.post(letter, to).await?;
        Ok(Receipt::Delivered { reference: Some(there.reference()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_leads_back_to_its_message() {
        let there = Place { channel: "C0INCIDENT".into(), ts: "1503435956.000247".into() };
        assert_eq!(there.reference(), "C0INCIDENT/1503435956.000247");
        assert_eq!(Place::of(&there.reference()), Some(there));
        assert_eq!(Place::of("250 2.0.0 Ok"), None);
    }

    #[test]
    fn a_member_is_known_by_the_id() {
        for member in ["U012", "W0A1B2C3D"] {
            assert!(is_member(member), "{member}");
        }
        for other in ["#incidents", "C0INCIDENT", "ana", "U", "Uma", "", "<@U012>"] {
            assert!(!is_member(other), "{other}");
        }
    }
}
