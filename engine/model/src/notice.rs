//! Notices: what people are told, to whom it goes, and the trait of the ways by which it does.
//!
//! Owns the shapes between the ladder, which says who is told, and the channels, which speak to Slack, mail servers and
//! webhooks. Keeps true: whatever a notice says may have been written by an attacker, so it is plain text, and each channel makes
//! it harmless for its medium; no page is taken as sent that its channel did not say was.

use crate::detection::Level;
use crate::hash::Hash;
use crate::ids::{IncidentId, LadderId, Name, RunId, StepId};
use jiff::Timestamp;
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

    /// For people: `person ana`, `channel slack`.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Person(name) => format!("person {name}"),
            Self::Channel(name) => format!("channel {name}"),
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
    /// It only puts right what a message says that they have: nobody is called by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
    /// Others whom the same address reaches: they are told by it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Name>,
}

impl Page {
    /// A page that calls somebody.
    #[must_use]
    pub fn new(to: To, way: Way, because: String) -> Self {
        Self { to, way, because, quiet: false, also: Vec::new() }
    }

    /// What puts a message right that went there.
    #[must_use]
    pub fn quiet(to: To, way: Way, because: String) -> Self {
        Self { to, way, because, quiet: true, also: Vec::new() }
    }

    /// Everybody whom it tells by name.
    pub fn people(&self) -> impl Iterator<Item = &Name> {
        self.to.person().into_iter().chain(&self.also)
    }

    /// Whether it tells this person, or this channel.
    #[must_use]
    pub fn tells(&self, to: &To) -> bool {
        self.to == *to || to.person().is_some_and(|name| self.also.contains(name))
    }
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
        let to = page.to.shown();
        let number = move_number.to_le_bytes();
        let mut parts = vec![ladder.as_bytes(), &number, page.way.channel().as_bytes(), way.as_bytes(), to.as_bytes()];
        if page.quiet {
            parts.push(b"quiet");
        }
        Self(Hash::of_parts(&parts).short(16))
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What people are told, of an incident or of a question.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// By which ladder: what an answer names, with the generation.
    pub ladder: LadderId,
    /// Of which incident; none: a question of a run that belongs to none.
    pub incident: Option<IncidentId>,
    /// How bad.
    pub level: Level,
    /// The first rule's title, or what is asked.
    pub title: String,
    /// What it is about.
    pub entity: String,
    /// How it stands.
    pub state: State,
    /// Why somebody is told now.
    pub because: String,
    /// What is known so far, a line each.
    pub story: Vec<String>,
    /// The number that an answer from this message names.
    pub generation: u32,
    /// What is asked, as long as it is.
    pub question: Option<Box<Asking>>,
}

/// How what a notice is about stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody looks after it yet.
    Open,
    /// Somebody does.
    Acknowledged(Name),
    /// It is over; a question is answered.
    Over,
}

/// A question, as whoever answers it has to see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asking {
    /// Of which run.
    pub run: RunId,
    /// Of which playbook.
    pub playbook: Name,
    /// Of which step.
    pub step: StepId,
    /// What was detected that it is about: a rule's title; empty where nothing was.
    pub detected: String,
    /// What makes it ask: the step, the mode, a guard.
    pub because: String,
    /// What can be answered.
    pub choices: Vec<Name>,
    /// Which action is to act, where one is.
    pub action: Option<Name>,
    /// The exact calls that it would make, as they are made, a line each.
    pub calls: Vec<String>,
    /// How far it reaches, by the plan: how many targets, how many of them nobody has named, and what else they are a part of.
    #[serde(default)]
    pub blast_radius: Vec<String>,
    /// What it would touch.
    pub targets: Vec<String>,
    /// What would still let an attacker through, and what the world would refuse.
    pub warnings: Vec<String>,
    /// Whose answer counts, for people: `2 of ana, lead`.
    pub who: String,
    /// So long an answer is waited for.
    pub until: Timestamp,
    /// What holds then.
    pub otherwise: Name,
    /// By which ways no answer counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_via: Vec<Name>,
}

/// What a button or a link of a message does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Act {
    /// Somebody looks after it.
    Acknowledge,
    /// Whoever is next is told at once.
    Escalate,
    /// It is over.
    Resolve,
    /// It was no attack: what was done is taken back, and an exception drafted.
    FalsePositive,
    /// What was done is to stand for longer.
    Keep,
    /// What was done is taken back.
    Undo,
    /// The question is answered so.
    Choose(Name),
}

impl Act {
    /// Those of an incident.
    pub const OF_INCIDENT: [Self; 6] =
        [Self::Acknowledge, Self::Escalate, Self::Resolve, Self::FalsePositive, Self::Keep, Self::Undo];

    /// The word in a message; a choice is `choose:` and its name.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Acknowledge => "acknowledge".to_owned(),
            Self::Escalate => "escalate".to_owned(),
            Self::Resolve => "resolve".to_owned(),
            Self::FalsePositive => "false-positive".to_owned(),
            Self::Keep => "keep".to_owned(),
            Self::Undo => "undo".to_owned(),
            Self::Choose(choice) => format!("choose:{choice}"),
        }
    }

    /// The act of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        match word.strip_prefix("choose:") {
            Some(choice) => (!choice.is_empty()).then(|| Self::Choose(choice.into())),
            None => Self::OF_INCIDENT.into_iter().find(|act| act.word() == word),
        }
    }

    /// What stands on its button.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Acknowledge => "Acknowledge".to_owned(),
            Self::Escalate => "Escalate".to_owned(),
            Self::Resolve => "Resolve".to_owned(),
            Self::FalsePositive => "False positive".to_owned(),
            Self::Keep => "Keep".to_owned(),
            Self::Undo => "Undo".to_owned(),
            Self::Choose(choice) => {
                let words = choice.as_str().replace('_', " ");
                let mut letters = words.chars();
                let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
                first + letters.as_str()
            }
        }
    }
}

impl Notice {
    /// What can be done about it from a message.
    #[must_use]
    pub fn acts(&self) -> Vec<Act> {
        match (&self.state, &self.question, self.ladder.as_incident()) {
            (State::Over, ..) => Vec::new(),
            (_, Some(asking), _) => asking.choices.iter().cloned().map(Act::Choose).collect(),
            // What it asked was answered a moment ago.
            (_, None, None) => Vec::new(),
            (State::Open, None, Some(_)) => Act::OF_INCIDENT.into(),
            (State::Acknowledged(_), None, Some(_)) => Act::OF_INCIDENT[1..].into(),
        }
    }

    /// The word for how it stands.
    #[must_use]
    pub fn stands(&self) -> &'static str {
        match (&self.state, self.ladder.as_incident()) {
            (State::Open, Some(_)) => "open",
            (State::Open, None) => "waits for an answer",
            (State::Acknowledged(_), _) => "acknowledged",
            (State::Over, Some(_)) => "resolved",
            (State::Over, None) => "settled",
        }
    }

    /// What messages about the same belong together by.
    #[must_use]
    pub fn thread(&self) -> String {
        self.incident.as_ref().map_or_else(|| self.ladder.to_string(), ToString::to_string)
    }
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
    /// What the channel called the message that this way has of the same ladder; none: it has none.
    pub earlier: Option<String>,
    /// It stands for many ladders, under a key of its own; its notice is of the one that leads them.
    pub is_bundle: bool,
    /// The keys of messages for many that came by this way, and that after this stand for nobody any more.
    pub last_of: Vec<PageKey>,
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
    fn an_act_is_known_by_its_word() {
        let acts = Act::OF_INCIDENT.into_iter().chain([Act::Choose("not_me".into())]);
        for act in acts {
            assert_eq!(Act::of_word(&act.word()), Some(act));
        }
        assert_eq!(Act::Choose("not_me".into()).label(), "Not me");
        for nothing in ["", "choose:", "delete", "Acknowledge"] {
            assert_eq!(Act::of_word(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_page_has_the_key_of_its_cause() {
        let page = |to: &str, way| Page::new(To::Person(to.into()), way, "named by the policy".into());
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
