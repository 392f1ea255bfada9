//! Escalation: who is told, when, over which channel, until somebody acknowledges.
//!
//! ```text
//! escalation.yaml ──load──▶ Escalation ──┬─ schedules ── who is on call at a moment, and why
//!                                        ├─ policies ─── steps, one after the other, until somebody answers
//!                                        ├─ routes ───── which policy an incident goes by
//!                                        └─ channels ─── by which way a person is reached
//! ```
//!
//! `prove` holds all of it against the days to come: is there ever nobody?
//!
//! Owns what escalation.yaml says, as it is meant. Never reads a file, never speaks to a channel, never reads a clock.

pub mod audit;
pub mod bundle;
pub mod channels;
pub mod facts;
pub mod ladder;
pub mod outbox;
pub mod policy;
pub mod prove;
pub mod reach;
pub mod schedule;
pub mod silence;

use channels::Channels;
use policy::{Policy, Route};
use quell_model::{Name, People};
use schedule::Schedule;
use std::collections::BTreeMap;

/// The policy that an incident goes by which no route wants: the file's of this name, else quell's own.
pub const DEFAULT: &str = "default";

/// What an escalation.yaml says, and what holds where it says nothing.
#[derive(Clone, PartialEq, Debug)]
pub struct Escalation {
    /// Who is who, and who may approve what.
    pub people: People,
    /// By which ways people are reached.
    pub channels: Channels,
    /// Who is on call when.
    pub schedules: BTreeMap<Name, Schedule>,
    /// Who is told in which order. The one of the last route is always there.
    pub policies: BTreeMap<Name, Policy>,
    /// Which policy an incident goes by: the first that fits. The last one has no condition.
    pub routes: Vec<Route>,
}

impl Default for Escalation {
    /// Without an escalation.yaml: nobody is known, and every incident is printed on the terminal.
    fn default() -> Self {
        let (people, channels, schedules) = (People::default(), Channels::default(), BTreeMap::new());
        Self { people, channels, schedules, policies: BTreeMap::new(), routes: Vec::new() }.completed()
    }
}

impl Escalation {
    /// With what holds where nothing is said: a last route that takes all, its policy, and the terminal where nothing else
    /// leads to anybody.
    #[must_use]
    pub(crate) fn completed(mut self) -> Self {
        if self.routes.iter().all(|route| route.when.is_some()) {
            self.routes.push(Route { when: None, policy: DEFAULT.into() });
        }
        let is_named = self.routes.iter().any(|route| route.policy.as_str() == DEFAULT)
            || self
                .people
                .approvers
                .values()
                .any(|group| group.policy.as_ref().is_some_and(|name| name.as_str() == DEFAULT));
        let is_own = is_named && !self.policies.contains_key(DEFAULT);
        if is_own {
            self.policies.insert(DEFAULT.into(), Policy::on_the_terminal());
        }
        let channels = &mut self.channels;
        channels.console |=
            is_own || channels.slack.is_none() && channels.email.is_none() && channels.webhooks.is_empty();
        let steps = |policy: &Policy| u32::try_from(policy.steps.len()).unwrap_or(u32::MAX);
        self.people.policies = self.policies.iter().map(|(name, policy)| (name.clone(), steps(policy))).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::Target;

    #[test]
    fn without_a_file_every_incident_is_printed_and_nobody_is_known() {
        let none = Escalation::default();
        assert!(none.people.is_empty() && none.channels.console && none.schedules.is_empty());
        assert_eq!(none.routes, [Route { when: None, policy: DEFAULT.into() }]);
        let console = [Target::Channel("console".into())];
        let own = &none.policies[DEFAULT];
        assert_eq!((own.steps.len(), &own.steps[0].notify[..], &own.last_resort[..]), (1, &console[..], &console[..]));
        assert!(none.people.policies.contains_key(DEFAULT), "approvers may name it");
    }
}
