//! Limits: so many of an action, or of all actions, in a time; of all playbooks together, or of each.
//!
//! Owns what a row counts. Pure: what was done is told by the memory. Keeps true: a row that names an action counts every act; the
//! others count places, so that a flood out of one place does not use them up.

use super::Ask;
use super::memory::{APART, MOST, Memory, Row, places};
use crate::action::Plan;
use crate::ids::Name;
use crate::playbook::Rate;
use std::collections::BTreeMap;
use std::time::Duration;

/// The row of each action that has none of its own.
pub const EACH: &str = "*";
/// The row of all actions together.
pub const ALL: &str = "all";

/// Rows by action, [`EACH`] and [`ALL`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits(pub BTreeMap<String, Rate>);

impl Limits {
    /// The row of an action: its own, or that of each.
    fn of(&self, action: &str) -> Option<(&Rate, bool)> {
        let own = self.0.get(action).map(|rate| (rate, true));
        own.or_else(|| self.0.get(EACH).map(|rate| (rate, false)))
    }

    /// The rows that count an action.
    pub fn that_count(&self, action: &str) -> impl Iterator<Item = &Rate> {
        self.of(action).map(|(rate, _)| rate).into_iter().chain(self.0.get(ALL))
    }

    /// How far back the longest of them looks.
    #[must_use]
    pub fn looks_back(&self) -> Duration {
        self.0.values().map(|rate| rate.per).max().unwrap_or_default()
    }

    /// Which of them a plan would pass, if one; `playbook`: they count what it did alone.
    pub(super) fn objection(
        &self,
        playbook: Option<&Name>,
        memory: &Memory,
        ask: &Ask<'_>,
        plan: &Plan,
    ) -> Option<String> {
        let row = |action: Option<&str>| Row { playbook: playbook.cloned(), action: action.map(Name::from) };
        let name = ask.action.name;
        let whose = playbook.map(|playbook| format!(" for `{playbook}`")).unwrap_or_default();
        let own = self.of(name).and_then(|(rate, counts_acts)| {
            if !counts_acts {
                return full(memory, &row(Some(name)), ask, plan, rate, &format!("`{name}`{whose}"));
            }
            let own = ask.counted.is_some_and(|then| ask.now.since(then) <= rate.per);
            let done = memory.acts(&row(Some(name)), ask.now, rate.per).saturating_sub(usize::from(own));
            let (per, most) = (rate.per, rate.count);
            (done >= (most as usize).min(MOST))
                .then(|| format!("`{name}` ran {done} times{whose} in the last {per:?}, the limit is {most}"))
        });
        let what = playbook.map_or_else(|| "quell".to_owned(), |playbook| format!("`{playbook}`"));
        own.or_else(|| full(memory, &row(None), ask, plan, self.0.get(ALL)?, &what))
    }
}

/// Why a row of places is full, and this would be a further one.
fn full(memory: &Memory, row: &Row, ask: &Ask<'_>, plan: &Plan, rate: &Rate, what: &str) -> Option<String> {
    let done = memory.places_beyond(row, ask.now, rate.per, places(plan))?;
    let (per, most) = (rate.per, rate.count);
    (done >= (most as usize).min(APART))
        .then(|| format!("{what} acted in {done} places in the last {per:?}, the limit is {most}"))
}
