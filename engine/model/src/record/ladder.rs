//! The bodies of a ladder's records: who was told when, by which way, and what came of it.
//!
//! Owns their shapes, as `record` does for all others. Keeps true: a move and the pages that go out by it are one record, so
//! that neither is there without the other.

use super::{Part, QuestionKind};
use crate::Json;
use crate::detection::Level;
use crate::event::Entity;
use crate::hash::Hash;
use crate::ids::{IncidentId, LadderId, Name, RunId, StepId};
use crate::notice::{Page, PageKey, Receipt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use utoipa::ToSchema;

/// Where a ladder is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// At a step.
    Step {
        /// From 0: how often all steps have been gone through before.
        round: u32,
        /// From 0.
        step: u32,
    },
    /// Past all steps and their repetitions.
    LastResort,
}

/// A target that nobody stands behind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Nobody {
    /// As the policy names it: `schedule secondary`.
    pub target: String,
    /// Why.
    pub because: String,
}

/// See [`Kind::LadderStarted`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LadderStarted {
    /// Of which incident; none: a question of a run that belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The question that it carries; none: it tells of the incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Carried>,
    /// The incident's title, or what is asked.
    pub title: String,
    /// What it is about.
    pub entity: Entity,
    /// How bad.
    pub level: Level,
    /// The tags of what it began with.
    pub tags: BTreeSet<Name>,
    /// The rules of what it began with.
    pub rules: BTreeSet<Name>,
    /// Why it begins.
    pub because: String,
    /// The number that answers name from here on.
    pub generation: u32,
    /// It waits a moment for more of the same before it tells anybody: the items of a list ask one by one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gathers: bool,
}

/// A question that a ladder carries: of a step, and of all its items that ask.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Carried {
    /// Of which run.
    pub run: RunId,
    /// Of which step.
    pub step: StepId,
    /// What about.
    pub kind: QuestionKind,
    /// Of which item, where each item asks something of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

impl Carried {
    /// What carries the question of this part: items that ask of their own (`ask`) have a ladder each, all others one together.
    #[must_use]
    pub fn of(run: &RunId, part: &Part, kind: QuestionKind) -> Self {
        let item = part.item.filter(|_| kind == QuestionKind::Ask);
        Self { run: run.clone(), step: part.step.clone(), kind, item }
    }

    /// Whether the question of this part is among them.
    #[must_use]
    pub fn covers(&self, part: &Part, kind: QuestionKind) -> bool {
        self.kind == kind && self.step == part.step && (self.item.is_none() || self.item == part.item)
    }

    /// The ladder that carries it.
    #[must_use]
    pub fn ladder(&self) -> LadderId {
        LadderId::question(&self.run, &self.step, self.kind.as_str(), self.item)
    }
}

/// See [`Kind::LadderRouted`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LadderRouted {
    /// Which policy, by its name.
    pub policy: Name,
    /// What it says now, by which the ladder goes to its end.
    pub definition: Json,
    /// Why this one, for people: which route, or which step of a run.
    pub route: String,
    /// Of a ladder that goes already, and is moved: up to which step, from 0; one past the last is the last resort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<u32>,
}

/// A page that is to go out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Queued {
    /// Its key.
    pub key: PageKey,
    /// To whom, by which way, and why.
    pub page: Page,
}

/// See [`Kind::LadderMoved`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LadderMoved {
    /// Which generation it belongs to.
    pub generation: u32,
    /// Where to.
    pub to: Place,
    /// Why.
    pub because: String,
    /// What goes out.
    pub pages: Vec<Queued>,
    /// Targets that came to nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nobody: Vec<Nobody>,
}

/// What became of a page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    /// Its channel has taken it.
    Sent(Receipt),
    /// It has not, and is asked again after a pause.
    Waits {
        /// Why.
        why: String,
        /// How long.
        pause: Duration,
    },
    /// It never will.
    Failed {
        /// Why.
        why: String,
    },
}

/// See [`Kind::PageReceipted`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PageReceipted {
    /// Which page.
    pub key: PageKey,
    /// Which attempt, from 1; 0: no channel was asked.
    pub attempt: u32,
    /// What became of it.
    pub state: PageState,
    /// What goes out in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instead: Vec<Queued>,
    /// The key of the message for many in which it goes; none: it goes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together: Option<PageKey>,
}

/// What somebody, or something, did to a ladder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LadderChange {
    /// Somebody answered. Whether that was enough follows from the step.
    Answered,
    /// Somebody answered what has been asked anew since: it changes nothing.
    AnsweredTooLate,
    /// Whoever looked after it does no longer.
    Unacknowledged,
    /// Somebody hands it on.
    Escalated,
    /// It is worse than it was.
    Raised,
    /// Somebody has done something about it.
    Touched,
    /// It goes on by itself: a run has ended, another item asks.
    Progressed,
    /// More is asked than before: it begins anew, and an answer to what stood there before changes nothing.
    Grown,
    /// Somebody has used a link for something that it does once.
    Used,
    /// Somebody answered who may not: it changes nothing.
    TurnedAway,
}

/// See [`Kind::LadderChanged`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LadderChanged {
    /// What was done.
    pub change: LadderChange,
    /// Who did it; `quell` when a detection raised it.
    pub by: Name,
    /// Which way: `socket`, `token`, `email`, `slack`.
    pub via: Name,
    /// The generation that was meant.
    pub generation: u32,
    /// The level from here on.
    pub level: Level,
    /// Why, for people.
    pub why: String,
    /// What puts right the messages that people have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<Queued>,
    /// The sum of the link that was used and of what for, which it does once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Hash>,
    /// What somebody wanted who may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Name>,
}

/// See [`Kind::LadderEnded`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LadderEnded {
    /// Why.
    pub why: String,
    /// Those who were told are told that it is over.
    pub pages: Vec<Queued>,
    /// Those who were told, and are not to hear of it any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nobody: Vec<Nobody>,
}

/// See [`Kind::LadderClosed`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LadderClosed {
    /// How many were told that it is over.
    pub told: u32,
}
