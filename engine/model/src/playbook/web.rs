//! Where each step of a playbook stands among the others: its place by its id, and who comes after whom.
//!
//! Made once, when it is first asked for, and never part of what a playbook says. Keeps true: a step that is found has the id
//! that was asked for, also in a playbook that was changed since.

use super::{Playbook, Step};
use crate::ids::StepId;
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

/// See the module.
#[derive(Default)]
pub struct Web(OnceLock<Made>);

struct Made {
    places: HashMap<StepId, u32>,
    after: Vec<Vec<u32>>,
    confirm: Vec<u32>,
}

impl Made {
    fn of(steps: &[Step]) -> Self {
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let mut places = HashMap::with_capacity(steps.len());
        for (at, step) in steps.iter().enumerate() {
            places.entry(step.id.clone()).or_insert(number(at));
        }
        let mut after = vec![Vec::new(); steps.len()];
        for (at, step) in steps.iter().enumerate() {
            for need in step.needs.iter().filter_map(|need| places.get(need)) {
                after[*need as usize].push(number(at));
            }
        }
        let asks = |at: &u32| steps[*at as usize].confirm.is_some();
        let mut confirm: Vec<u32> = (0..number(steps.len())).filter(asks).collect();
        confirm.sort_by_key(|at| &steps[*at as usize].id);
        Self { places, after, confirm }
    }
}

/// A copy may be changed, and makes its own.
impl Clone for Web {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// It follows from the steps.
impl PartialEq for Web {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Web")
    }
}

impl Playbook {
    fn made(&self) -> &Made {
        self.web.0.get_or_init(|| Made::of(&self.steps))
    }

    /// The step of this id.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.place(id).and_then(|at| self.steps.get(at as usize))
    }

    /// The place of a step in the order of the file, from 0.
    #[must_use]
    pub fn place(&self, id: &StepId) -> Option<u32> {
        let is_it = |at: &u32| self.steps.get(*at as usize).is_some_and(|step| step.id == *id);
        let found = self.made().places.get(id).copied().filter(is_it);
        found.or_else(|| self.steps.iter().position(|step| step.id == *id).and_then(|at| u32::try_from(at).ok()))
    }

    /// The places of the steps that need the one at this place; one that names it twice, twice.
    #[must_use]
    pub fn after(&self, place: u32) -> &[u32] {
        self.made().after.get(place as usize).map_or(&[], Vec::as_slice)
    }

    /// The steps whose effect a person is to confirm, in the order of their ids.
    pub fn confirmed(&self) -> impl Iterator<Item = &Step> {
        self.made().confirm.iter().filter_map(|at| self.steps.get(*at as usize))
    }
}
