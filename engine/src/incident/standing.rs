//! Where an incident stands, and who looks after it.
//!
//! Owns what the records of an incident make of that, for everybody who folds them. Keeps true: who is resolved stays so
//! until it is opened again, and one that is opened again is looked after by nobody until somebody says so anew.

use quell_model::record::{IncidentState, Verdict};
use quell_model::{Body, Name, Stamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who looks after an incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Acknowledged {
    /// Who said that they do.
    pub by: Name,
    /// When.
    pub at: Stamp,
    /// Which way: `socket`, `token`.
    pub via: Name,
}

/// An incident that was no attack.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FalsePositive {
    /// Who says so.
    pub by: Name,
    /// Since when.
    pub at: Stamp,
    /// Why, in their words.
    pub reason: String,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Open, acknowledged or resolved.
    pub state: IncidentState,
    /// Who looks after it; of a resolved one, who did.
    pub acknowledged: Option<Acknowledged>,
    /// Of a resolved one: it was no attack.
    pub false_positive: Option<FalsePositive>,
}

impl Default for Standing {
    /// As an incident begins.
    fn default() -> Self {
        Self { state: IncidentState::Open, acknowledged: None, false_positive: None }
    }
}

impl Standing {
    /// Out of what is kept in a line.
    #[must_use]
    pub fn of(is_resolved: bool, acknowledged: Option<Acknowledged>, false_positive: Option<FalsePositive>) -> Self {
        let open = if acknowledged.is_some() { IncidentState::Acknowledged } else { IncidentState::Open };
        Self { state: if is_resolved { IncidentState::Resolved } else { open }, acknowledged, false_positive }
    }

    /// Whether somebody has ended it.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.state == IncidentState::Resolved
    }

    /// Takes up a record of the incident.
    pub fn apply(&mut self, at: Stamp, body: &Body) {
        match body {
            Body::IncidentChanged(changed) if changed.state == IncidentState::Resolved => {
                self.state = IncidentState::Resolved;
                self.false_positive = changed.verdict.map(|verdict| match verdict {
                    Verdict::FalsePositive => FalsePositive { by: changed.by.clone(), at, reason: changed.why.clone() },
                });
            }
            Body::IncidentChanged(_) => *self = Self::default(),
            Body::AcknowledgementChanged(changed) => {
                let (by, via) = (changed.by.clone(), changed.via.clone());
                let acknowledged = changed.acknowledged.then_some(Acknowledged { by, at, via });
                *self = Self::of(self.is_resolved(), acknowledged, self.false_positive.take());
            }
            _ => {}
        }
    }
}
