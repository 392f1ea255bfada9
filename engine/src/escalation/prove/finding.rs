//! Findings: what is not as it should be, as data and as a sentence.

use super::Period;
use quell_model::{MistakeLevel, Name};
use serde::Serialize;
use std::fmt;

/// What was found, and when it is so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How bad; an error: somebody may wait for an answer in vain.
    pub level: MistakeLevel,
    /// What.
    #[serde(flatten)]
    pub problem: Problem,
    /// When, in order; never empty.
    pub when: Vec<Period>,
}

/// What is not as it should be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// Its time zone is none, so it has nobody.
    UnknownZone {
        /// Which.
        schedule: Name,
        /// What stands there.
        time_zone: String,
    },
    /// A schedule has nobody.
    Gap {
        /// Which.
        schedule: Name,
    },
    /// Nothing reaches somebody who would be paged.
    Unreachable {
        /// Whom.
        person: Name,
        /// Who is on call there; none: a policy names them.
        schedule: Option<Name>,
    },
    /// A step of a policy reaches nobody: the next comes at once.
    StepEmpty {
        /// Whose.
        policy: Name,
        /// Which, counted from 1.
        step: usize,
    },
    /// No step of a policy reaches anybody: only the last resort is left.
    LadderEmpty {
        /// Whose.
        policy: Name,
    },
    /// A policy's last resort reaches nobody.
    LastResortEmpty {
        /// Whose.
        policy: Name,
    },
    /// The load of a schedule lies unevenly.
    Uneven {
        /// Which.
        schedule: Name,
        /// Who has most of it.
        most: Name,
        /// So many hours.
        most_hours: i64,
        /// Who has least of it.
        least: Name,
        /// So many hours.
        least_hours: i64,
    },
}

impl Problem {
    /// What it is known by: the same problem has the same one, whatever the days.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::UnknownZone { schedule, .. } => format!("schedule/{schedule}/time_zone"),
            Self::Gap { schedule } => format!("schedule/{schedule}/gap"),
            Self::Uneven { schedule, .. } => format!("schedule/{schedule}/uneven"),
            Self::Unreachable { person, schedule: Some(schedule) } => format!("person/{person}/{schedule}"),
            Self::Unreachable { person, schedule: None } => format!("person/{person}"),
            Self::StepEmpty { policy, step } => format!("policy/{policy}/step/{step}"),
            Self::LadderEmpty { policy } => format!("policy/{policy}/ladder"),
            Self::LastResortEmpty { policy } => format!("policy/{policy}/last_resort"),
        }
    }

    /// Which schedule it is about; none: a policy or a person.
    #[must_use]
    pub fn schedule(&self) -> Option<&Name> {
        match self {
            Self::UnknownZone { schedule, .. } | Self::Gap { schedule } | Self::Uneven { schedule, .. } => {
                Some(schedule)
            }
            Self::Unreachable { schedule, .. } => schedule.as_ref(),
            Self::StepEmpty { .. } | Self::LadderEmpty { .. } | Self::LastResortEmpty { .. } => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownZone { schedule, time_zone } => {
                write!(f, "schedule `{schedule}` has nobody: there is no time zone `{time_zone}`")
            }
            Self::Gap { schedule } => write!(f, "schedule `{schedule}` has nobody"),
            Self::Unreachable { person, schedule: Some(schedule) } => {
                write!(f, "`{person}` is on call in `{schedule}`, and no channel reaches them")
            }
            Self::Unreachable { person, schedule: None } => {
                write!(f, "a policy names `{person}`, and no channel reaches them")
            }
            Self::StepEmpty { policy, step } => {
                write!(f, "step {step} of policy `{policy}` reaches nobody: the next one comes at once")
            }
            Self::LadderEmpty { policy } => {
                write!(f, "no step of policy `{policy}` reaches anybody: only its last resort is left")
            }
            Self::LastResortEmpty { policy } => write!(f, "the last resort of policy `{policy}` reaches nobody"),
            Self::Uneven { schedule, most, most_hours, least, least_hours } => {
                write!(f, "schedule `{schedule}` is uneven: {most_hours} h on `{most}`, {least_hours} h on `{least}`")
            }
        }
    }
}
