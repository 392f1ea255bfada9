//! What a playbook says in Slack: a message of one block of plain text, and putting it right.
//!
//! Never says anything twice, never makes a message in place of one that is gone. Keeps true: the text is as it was given, and nothing
//! in it is markup.

use super::web::{Does, Failed};
use super::{Place, Slack, Updated, altered, blocks, posted};
use crate::send::ways::{Chats, Said};
use quell_model::notice::SendError;

#[async_trait::async_trait]
impl Chats for Slack {
    async fn say(&self, channel: &str, thread: Option<&str>, text: &str) -> Result<Said, SendError> {
        let request = posted(blocks::said(text), channel, thread);
        let there: Result<Place, Failed> = self.web.call("chat.postMessage", &request).await;
        let there = there.map_err(|failed| failed.of_page(Does::Post, channel))?;
        Ok(Said { channel: there.channel, ts: there.ts })
    }

    async fn put_right(&self, there: &Said, text: &str) -> Result<Said, SendError> {
        let place = Place { channel: there.channel.clone(), ts: there.ts.clone() };
        let done: Result<Updated, Failed> = self.web.call("chat.update", &altered(blocks::said(text), &place)).await;
        let Updated {} = done.map_err(|failed| failed.of_page(Does::Update, &there.channel))?;
        Ok(there.clone())
    }
}
