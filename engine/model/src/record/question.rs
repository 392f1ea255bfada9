//! Questions to people, and their answers.
//!
//! Keeps true: a question that was asked is settled by exactly one answer, or by the end of its run; what comes later is kept
//! and changes nothing.

use crate::Json;
use crate::action::Plan;
use crate::hash::Hash;
use crate::ids::{Name, RunId};
use crate::origin::Origin;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::Part;
use utoipa::ToSchema;

/// What a question is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuestionKind {
    /// Whether a step may act.
    Approve,
    /// Whether what a step did is to stand.
    Confirm,
    /// What the playbook asks.
    Ask,
}

impl QuestionKind {
    /// The word as people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Confirm => "confirm",
            Self::Ask => "ask",
        }
    }
}

/// See [`super::Kind::QuestionAsked`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QuestionAsked {
    /// Of which run.
    pub run: RunId,
    /// Of which part.
    pub part: Part,
    /// What about.
    pub question: QuestionKind,
    /// What is asked, for people.
    pub text: String,
    /// What makes it ask, for people: the step, the mode, a guard.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// Which guard makes it ask, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Name>,
    /// What can be answered.
    pub choices: Vec<Name>,
    /// The one person who may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Name>,
    /// The approvers who may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Name>,
    /// Ways by which no answer counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_via: Vec<Name>,
    /// How long the answer is waited for.
    pub within: Duration,
    /// For so long the same question to the same person is answered by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remember: Option<Duration>,
    /// What holds then.
    pub otherwise: Name,
    /// Which action is to act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Name>,
    /// With what.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub input: Json,
    /// What it would do: this, and nothing else, is what is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<Plan>>,
    /// The sum of what it would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<Hash>,
    /// Which attempt it would be, from 1.
    pub attempt: u32,
    /// Where it was intended before it is asked about: what is known of that.
    #[serde(default, skip_serializing_if = "Intended::is_unknown")]
    pub intended: Intended,
}

/// What is known of an intent whose end nobody saw. A record that does not say knows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intended {
    /// Nobody knows whether it was done.
    #[default]
    Unknown,
    /// The world says that it is not so; a part of it may be.
    NotDone,
    /// Nothing of it was begun.
    Untouched,
}

impl Intended {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

/// See [`super::Kind::QuestionAnswered`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QuestionAnswered {
    /// Of which part.
    pub part: Part,
    /// What about.
    pub question: QuestionKind,
    /// The answer.
    pub choice: Name,
    /// Who; none: nobody did in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Name>,
    /// By which way: `socket`, `token`, `slack`, `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Name>,
    /// From where on this host it came, where that is known: by the socket, and by TCP from this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<Origin>>,
    /// Why: in their words, or why nobody was waited for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The question is over. Without it further people have to say the same.
    pub settles: bool,
}

impl QuestionAnswered {
    /// The answer that ends a question, by no way of its own.
    #[must_use]
    pub fn settling(part: Part, question: QuestionKind, choice: Name, by: Option<Name>, why: String) -> Self {
        Self { part, question, choice, by, via: None, from: None, why, settles: true }
    }
}

/// See [`super::Kind::AnswerTooLate`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AnswerTooLate {
    /// Of which part.
    pub part: Part,
    /// The answer that changes nothing.
    pub choice: Name,
    /// Who.
    pub by: Name,
    /// What came before it, for people.
    pub why: String,
}

/// See [`super::Kind::AnswerRefused`]. The question stays open.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AnswerRefused {
    /// Of which part.
    pub part: Part,
    /// What about.
    pub question: QuestionKind,
    /// The answer that does not count.
    pub choice: Name,
    /// In whose name.
    pub by: Name,
    /// By which way.
    pub via: Name,
    /// Where on this host it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<Origin>>,
    /// Why it does not count.
    pub why: String,
}

/// See [`super::Kind::AnswerRemembered`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AnswerRemembered {
    /// Of which run the question was.
    pub run: RunId,
    /// Whom it asked; none: whoever may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Name>,
    /// What it asked.
    pub text: String,
    /// What was answered.
    pub choice: Name,
    /// Who answered.
    pub by: Name,
    /// By which way, which another question may not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Name>,
    /// Where on this host it came from, which may be suspected by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<Origin>>,
    /// For so long from now.
    pub lasts: Duration,
}
