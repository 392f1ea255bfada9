//! The bodies of records about silences: for which incidents nobody is paged for a while, who says so, and why.
//!
//! Owns their shapes. Keeps true: a silence has an end, a reason and an owner.

use crate::detection::Level;
use crate::ids::Name;
use crate::time::Stamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which incidents a silence covers: those of which all holds that it says. What it does not say holds of every incident.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Covers {
    /// An expression over `incident`, as `when` of a route has it, without `${{ }}`.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schema(examples("incident.entity.node == \"web-1\""))]
    pub expression: Option<String>,
    /// The name of a rule: nothing else was detected in the incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Name>,
    /// What the incident is about: its id, or the whole of it as lists show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples("nginx.service", "unit nginx.service on web-1"))]
    pub entity: Option<String>,
    /// A tag of the rule that the incident began with: nothing else was detected in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Name>,
    /// Up to this level. Without it, and without a rule or an entity: up to `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
}

/// See [`super::Kind::SilenceAdded`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SilenceAdded {
    /// Its name.
    pub silence: Name,
    /// Which incidents.
    pub covers: Covers,
    /// Its end.
    pub until: Stamp,
    /// What happens meanwhile was planned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub maintenance: bool,
    /// Whose it is.
    pub by: Name,
    /// Which way they said so: `socket`, `token`.
    pub via: Name,
    /// Why, for people; never empty.
    pub reason: String,
}

/// See [`super::Kind::SilenceEnded`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SilenceEnded {
    /// Its name.
    pub silence: Name,
    /// Who ended it; none: its time was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Name>,
    /// Which way they said so; `engine` when its time was up.
    pub via: Name,
}

/// See [`super::Kind::LadderSilenced`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LadderSilenced {
    /// By which silence.
    pub silence: Name,
    /// Whose it is.
    pub by: Name,
    /// Why.
    pub reason: String,
    /// What happens meanwhile was planned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub maintenance: bool,
    /// Nobody is paged before this. The moment of the record itself: it holds the ladder no longer.
    pub until: Stamp,
}

impl LadderSilenced {
    /// For people: `the silence s-12 of ana (noisy deploy)`.
    #[must_use]
    pub fn shown(&self) -> String {
        let what = if self.maintenance { "maintenance" } else { "silence" };
        format!("the {what} {} of {} ({})", self.silence, self.by, self.reason)
    }
}
