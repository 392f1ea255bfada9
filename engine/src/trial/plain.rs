//! The cases of a test file, for whoever plays them in a world of their own: what begins each, and what people answer.
//!
//! Owns what is left of a case without its mocks, its clock and its expectations.

use super::case::{Case, Start, Suite, Wanted};
use super::read::step_of;
use quell_model::{Name, OwnedEvent, StepId};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    pub(crate) name: String,
    pub(crate) event: OwnedEvent,
    /// The rule that is said to have matched it, if one is.
    pub(crate) rule: Option<Name>,
    pub(crate) answers: Vec<Said>,
}

/// What somebody says once a step asks.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) step: StepId,
    pub(crate) choice: Name,
    /// Who; none: whoever is asked.
    pub(crate) by: Option<Name>,
}

impl Suite {
    /// Those that begin with one event, start a run, and need no `vars` for it.
    pub(crate) fn plain(&self) -> Vec<Plain> {
        self.cases.iter().filter_map(Case::plain).collect()
    }
}

impl Case {
    fn plain(&self) -> Option<Plain> {
        let Start::Events(events, rule) = &self.start else { return None };
        let [event] = events.as_slice() else { return None };
        let starts_none = self.expect.iter().any(|one| matches!(one.what, Wanted::Run(None)));
        if starts_none || self.vars.is_some() {
            return None;
        }
        let said = self.answers.iter().map(|given| Said {
            step: step_of(&given.part).into(),
            choice: given.choice.clone(),
            by: given.by.clone(),
        });
        Some(Plain {
            name: self.name.clone(),
            event: event.clone(),
            rule: rule.as_ref().map(|rule| rule.name.clone()),
            answers: said.collect(),
        })
    }
}
