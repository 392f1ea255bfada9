//! Whose else an entry is: a spot in the kernel holds one entry, and more than one run may want what it stands for.
//!
//! Owns, for as long as this quell lives, which entries gave up their place to another's, and which were taken back. Never touches the
//! kernel. Keeps true: what stands for somebody's sake goes on for theirs when another's is taken back, and what was taken back does not
//! return with another's undo. Where nothing is known of it, what the plan found before holds.

use quell_model::{Spot, Standing, Terms};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is known of all spots.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By their numbers, of each spot.
    waiting: HashMap<Spot, BTreeMap<u64, Terms>>,
    /// Taken back, and when.
    over: BTreeMap<u64, u64>,
}

/// So long it is known what was taken back: no entry that somebody found before stands for longer.
const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

impl Turns {
    fn now(&self, now_ns: u64) -> MutexGuard<'_, Known> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.over.retain(|_, at| u128::from(now_ns.saturating_sub(*at)) < KEPT.as_nanos());
        known.waiting.retain(|_, waiting| {
            waiting.retain(|_, terms| terms.until_ns > now_ns);
            !waiting.is_empty()
        });
        known
    }

    /// It is wanted there, and another's stands.
    pub(super) fn waits(&self, spot: &Spot, terms: &Terms, now_ns: u64) {
        let mut known = self.now(now_ns);
        known.over.remove(&terms.id);
        known.waiting.entry(*spot).or_default().insert(terms.id, terms.clone());
    }

    /// It stands there itself.
    pub(super) fn stands(&self, spot: &Spot, id: u64, now_ns: u64) {
        let mut known = self.now(now_ns);
        known.over.remove(&id);
        if let Some(waiting) = known.waiting.get_mut(spot) {
            waiting.remove(&id);
        }
    }

    /// It is wanted nowhere any more.
    pub(super) fn over(&self, id: u64, now_ns: u64) {
        let mut known = self.now(now_ns);
        known.waiting.values_mut().for_each(|waiting| drop(waiting.remove(&id)));
        known.over.insert(id, now_ns);
    }

    /// Whether it may still be wanted there, where another's stands or none does.
    pub(super) fn may_wait(&self, spot: &Spot, id: u64, another_stands: bool, now_ns: u64) -> bool {
        let known = self.now(now_ns);
        let waits = known.waiting.get(spot).is_some_and(|waiting| waiting.contains_key(&id));
        !known.over.contains_key(&id) && (another_stands || waits)
    }

    /// What is to stand there once this one does not: what lasts longest of those that wait, else what the plan found before.
    pub(super) fn next(&self, spot: &Spot, but: u64, before: Option<&Standing>, now_ns: u64) -> Option<Terms> {
        let known = self.now(now_ns);
        let waiting = known.waiting.get(spot).into_iter().flat_map(BTreeMap::values);
        let before = before.map(|one| &one.terms).filter(|terms| terms.until_ns > now_ns);
        let before = before.filter(|terms| !known.over.contains_key(&terms.id));
        let all = waiting.filter(|terms| terms.id != but).max_by_key(|terms| terms.until_ns);
        all.or(before.filter(|terms| terms.id != but)).cloned()
    }
}

/// For whose sake entries stand.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// They keep it from starting.
    keep: BTreeSet<String>,
    /// They struck as often as they may.
    spent: BTreeSet<String>,
}

impl Others {
    /// Takes note of an entry, if its time is not over.
    pub(super) fn add(&mut self, stands: &Standing, now_ns: u64) {
        if stands.terms.until_ns > now_ns {
            let those = if stands.spent { &mut self.spent } else { &mut self.keep };
            those.insert(whose(&stands.terms));
        }
    }

    /// What is said of them, if there are any.
    pub(super) fn told(&self, path: &str) -> Option<String> {
        let all = |those: &BTreeSet<String>| those.iter().cloned().collect::<Vec<_>>().join(", ");
        let keep = (!self.keep.is_empty())
            .then(|| format!("`{path}` is kept from starting all the same, by {}", all(&self.keep)));
        let spent = (!self.spent.is_empty())
            .then(|| format!("an entry for `{path}` stands, whose budget is used up, of {}", all(&self.spent)));
        let told: Vec<String> = keep.into_iter().chain(spent).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// For whom it stands.
fn whose(terms: &Terms) -> String {
    match terms.owner.as_str() {
        "" => "what entered it for no run".to_owned(),
        run => format!("run {run}"),
    }
}
