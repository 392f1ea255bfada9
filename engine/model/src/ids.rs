//! Names and identities: newtypes, so that a run is never taken for a step.
//!
//! Ids of runs, incidents and events are hashes of their causes and never random: a replay gives the same ones.

use crate::hash::Hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use utoipa::ToSchema;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String, examples($example))]
        pub struct $name(#[schemars(with = "String")] Arc<str>);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// A short name: of a node, a source, a playbook, an action, a guard.
    Name, "contain-reverse-shell"
}
text_id! {
    /// `r-` and 12 hex digits: one durable execution of a playbook.
    RunId, "r-0f1e2d3c4b5a"
}
text_id! {
    /// `i-` and 12 hex digits: what a person sees about one entity.
    IncidentId, "i-0f1e2d3c4b5a"
}
text_id! {
    /// Who is told until somebody answers: an incident's id, or `RUN/STEP/QUESTION`.
    LadderId, "i-0f1e2d3c4b5a"
}
text_id! {
    /// A node of a playbook's DAG: `[a-z][a-z0-9_]*`.
    StepId, "freeze"
}
text_id! {
    /// A journal stream: `run/r-…`, `incident/i-…`, `system`.
    StreamId, "run/r-0f1e2d3c4b5a"
}

impl RunId {
    /// The id of the run that these causes start.
    #[must_use]
    pub fn of(causes: &[&[u8]]) -> Self {
        format!("r-{}", Hash::of_parts(causes).short(12)).into()
    }
}

impl IncidentId {
    /// The id of the incident that these causes open.
    #[must_use]
    pub fn of(causes: &[&[u8]]) -> Self {
        format!("i-{}", Hash::of_parts(causes).short(12)).into()
    }
}

/// What a ladder tells people of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OfLadder {
    /// An incident.
    Incident(IncidentId),
    /// A question of this run.
    Question(RunId),
}

impl LadderId {
    /// The ladder of an incident: there is one at a time.
    #[must_use]
    pub fn incident(id: &IncidentId) -> Self {
        id.as_str().into()
    }

    /// The ladder of what a step of a run asks: of all items that ask the same at once.
    #[must_use]
    pub fn question(run: &RunId, step: &StepId, what: &str, item: Option<u32>) -> Self {
        let item = item.map(|item| format!("-{item}")).unwrap_or_default();
        format!("{run}/{step}/{what}{item}").into()
    }

    /// What it tells of.
    #[must_use]
    pub fn of(&self) -> OfLadder {
        match self.as_str().split_once('/') {
            Some((run, _)) => OfLadder::Question(run.into()),
            None => OfLadder::Incident(self.as_str().into()),
        }
    }

    /// The run, the step and the one item, where it is a question's.
    #[must_use]
    pub fn as_question(&self) -> Option<(RunId, StepId, Option<u32>)> {
        let mut parts = self.as_str().split('/');
        let (run, step, what) = (parts.next()?, parts.next()?, parts.next()?);
        let item = what.split_once('-').and_then(|(_, item)| item.parse().ok());
        Some((run.into(), step.into(), item))
    }

    /// The incident, where it is one's.
    #[must_use]
    pub fn as_incident(&self) -> Option<IncidentId> {
        match self.of() {
            OfLadder::Incident(id) => Some(id),
            OfLadder::Question(_) => None,
        }
    }
}

impl StreamId {
    /// The engine's own stream.
    #[must_use]
    pub fn system() -> Self {
        "system".into()
    }

    /// The stream of a run.
    #[must_use]
    pub fn run(id: &RunId) -> Self {
        format!("run/{id}").into()
    }

    /// The stream of an incident.
    #[must_use]
    pub fn incident(id: &IncidentId) -> Self {
        format!("incident/{id}").into()
    }

    /// The stream of a source: how far it was read.
    #[must_use]
    pub fn source(name: &Name) -> Self {
        format!("source/{name}").into()
    }

    /// The stream of a ladder.
    #[must_use]
    pub fn ladder(id: &LadderId) -> Self {
        format!("ladder/{id}").into()
    }

    /// The ladder that this stream belongs to, if it is a ladder's.
    #[must_use]
    pub fn as_ladder(&self) -> Option<LadderId> {
        self.as_str().strip_prefix("ladder/").map(LadderId::from)
    }

    /// The stream of what this one is told of by: a ladder goes with its incident or its run, all others with themselves.
    #[must_use]
    pub fn owner(&self) -> Self {
        match self.as_ladder().map(|ladder| ladder.of()) {
            Some(OfLadder::Incident(incident)) => Self::incident(&incident),
            Some(OfLadder::Question(run)) => Self::run(&run),
            None => self.clone(),
        }
    }

    /// The run that this stream belongs to, if it is a run's.
    #[must_use]
    pub fn as_run(&self) -> Option<RunId> {
        self.as_str().strip_prefix("run/").map(RunId::from)
    }

    /// The source that this stream belongs to, if it is a source's.
    #[must_use]
    pub fn as_source(&self) -> Option<Name> {
        self.as_str().strip_prefix("source/").map(Name::from)
    }

    /// The incident that this stream belongs to, if it is an incident's.
    #[must_use]
    pub fn as_incident(&self) -> Option<IncidentId> {
        self.as_str().strip_prefix("incident/").map(IncidentId::from)
    }
}

/// The number of a record in its stream; the first is 1.
pub type Seq = u64;
