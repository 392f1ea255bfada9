//! Notices: what people are told, to whom it goes, and the trait of the ways by which it does.
//!
//! Owns the shapes between the ladder, which says who is told, and the channels, which speak to Slack, mail servers and
//! webhooks. Keeps true: whatever a notice says may have been written by an attacker, so it is plain text, and each channel makes
//! it harmless for its medium; no page is taken as sent that its channel did not say was.

use crate::detection::Level;
use crate::hash::Hash;
use crate::ids::{IncidentId, Name};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Who a page is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// Somebody.
    Person(Name),
    /// Whoever reads this channel.
    Channel(Name),
}

impl To {
    /// Who, where it is somebody.
    #[must_use]
    pub fn person(&self) -> Option<&Name> {
        match self {
            Self::Person(name) => Some(name),
            Self::Channel(_) => None,
        }
    }
}

/// By which way, with the address there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The terminal of the daemon.
    Console,
    /// A member or a channel of the workspace.
    Slack(String),
    /// An address.
    Email(String),
    /// One of the webhooks.
    Webhook(Name),
}

impl Way {
    /// The channel's word.
    #[must_use]
    pub fn channel(&self) -> &str {
        match self {
            Self::Console => "console",
            Self::Slack(_) => "slack",
            Self::Email(_) => "email",
            Self::Webhook(name) => name.as_str(),
        }
    }
}

/// One message to one person or channel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Page {
    /// For whom.
    pub to: To,
    /// By which way.
    pub way: Way,
    /// Why it goes to them: `on call in primary: layer 1`.
    pub because: String,
}

/// Names a page: of what it was sent for, so that a provider which takes keys sends it once. 16 hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageKey(String);

impl PageKey {
    /// The key of the page that a ladder's move sends there.
    #[must_use]
    pub fn of(ladder: &str, move_number: u64, page: &Page) -> Self {
        let way = match &page.way {
            Way::Console => "",
            Way::Slack(to) | Way::Email(to) => to.as_str(),
            Way::Webhook(name) => name.as_str(),
        };
        let to = match &page.to {
            To::Person(name) => format!("person {name}"),
            To::Channel(name) => format!("channel {name}"),
        };
        let number = move_number.to_le_bytes();
        let parts = [ladder.as_bytes(), &number, page.way.channel().as_bytes(), way.as_bytes(), to.as_bytes()];
        Self(Hash::of_parts(&parts).short(16))
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What people are told about an incident.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// Which incident.
    pub incident: IncidentId,
    /// How bad.
    pub level: Level,
    /// The first rule's title.
    pub title: String,
    /// What it is about.
    pub entity: String,
    /// Open, acknowledged or resolved.
    pub state: String,
    /// Why somebody is told now.
    pub because: String,
    /// What is known so far, a line each.
    pub story: Vec<String>,
    /// The number that an answer from this message names.
    pub generation: u32,
}

/// A page on its way.
#[derive(Clone, PartialEq, Debug)]
pub struct Letter {
    /// Of this page, whoever sends it again.
    pub key: PageKey,
    /// To whom, and by which way.
    pub page: Page,
    /// What it says.
    pub notice: Notice,
    /// It may have gone out before: quell ended before it knew.
    pub repeat: bool,
}

/// What a channel knows of a page that it took.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// The next one on the way has it: a mail server, a provider.
    Handed {
        /// Its name there, for those who ask the provider.
        reference: Option<String>,
    },
    /// It is where it is read: a message in Slack, a line on a terminal.
    Delivered {
        /// Its name there.
        reference: Option<String>,
    },
}

/// Why a channel did not take a page.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// It may go later.
    #[error("{why}")]
    Later {
        /// For people.
        why: String,
        /// Not before this time has gone by, says the other side.
        after: Option<Duration>,
    },
    /// Nobody knows whether it went: it is sent again, as a repeat.
    #[error("{why}")]
    Unknown {
        /// For people.
        why: String,
    },
    /// It goes never: another way is taken.
    #[error("{why}")]
    Never {
        /// For people.
        why: String,
    },
}

/// A way by which people are told.
#[async_trait::async_trait]
pub trait Channel: Send + Sync {
    /// Sends one page. Whoever drops the future does not know whether it went.
    ///
    /// # Errors
    /// Whether it is of use to try again.
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_key_of_its_cause() {
        let page = |to: &str, way| Page { to: To::Person(to.into()), way, because: "named by the policy".into() };
        let key = |number, page: &Page| PageKey::of("ladder/i-0", number, page);
        let mail = page("ana", Way::Email("ana@example.org".into()));
        let all = [
            key(1, &mail),
            key(2, &mail),
            key(1, &page("ana", Way::Slack("ana@example.org".into()))),
            key(1, &page("bo", Way::Email("ana@example.org".into()))),
            PageKey::of("ladder/i-1", 1, &mail),
        ];
        let different: std::collections::BTreeSet<&PageKey> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        let because = Page { because: "on call".into(), ..mail.clone() };
        assert_eq!(key(1, &because), key(1, &mail), "why it goes to them does not make it another");
    }
}
