//! What would not work here of what loaded playbooks do: each action tried on processes of its own, the cluster asked what it lets quell do.
//!
//! Owns what a start says of it. Keeps true: the self-test touches nothing that it did not make; what was not answered is said, and taken
//! neither for a yes nor for a no.

use super::{ActionMissing, BTreeMap, Desk, Name};
use crate::daemon::kube::{Lack, act_in_a_cluster};
use crate::daemon::needs::Needs;

impl Desk {
    /// Tries every action on processes of its own, and says loudly what would not work here. Blocks for a moment.
    pub(crate) fn self_test(&self) {
        let (gone, failed) = crate::daemon::sweep::leftovers(&self.world);
        for dir in gone {
            tracing::info!(dir = %dir.display(), "removed what a killed quell had left");
        }
        for why in failed {
            tracing::warn!(why, "what a killed quell had left cannot be removed");
        }
        let tested = quell_actions::self_test(&self.world);
        let failed = tested.iter().filter(|check| !check.ok);
        let missing =
            failed.map(|check| ActionMissing { id: check.name.clone(), why: check.why.clone().unwrap_or_default() });
        let mut missing: Vec<ActionMissing> = missing.collect();
        missing.extend(self.missing_in_the_cluster());
        for check in &missing {
            tracing::warn!(action = check.id, why = check.why, "an action does not work here");
        }
        let mut facts = self.facts();
        facts.dead = dead(&tested);
        let nowhere = self.kube.nowhere(&facts.definitions.playbooks);
        facts.dead.extend(nowhere);
        facts.actions_missing = missing;
        for playbook in Self::not_armed(&facts) {
            tracing::error!(playbook = playbook.id, why = playbook.why, "a playbook cannot answer here");
        }
    }

    /// What would not work in the cluster of what loaded playbooks do there. Blocks until it has answered.
    fn missing_in_the_cluster(&self) -> Vec<ActionMissing> {
        let (playbooks, within) = {
            let facts = self.facts();
            let within = facts.definitions.guard.only_within.as_ref().and_then(|within| within.namespace.clone());
            (facts.definitions.playbooks.clone(), within)
        };
        let nowhere = self.kube.nowhere(&playbooks).into_iter().map(|(id, why)| ActionMissing { id, why }).collect();
        if self.kube.told().is_err() || !act_in_a_cluster(&playbooks) {
            return nowhere;
        }
        let needs = Needs::of(&playbooks, &[], &crate::daemon::specs());
        let asked = self.kube.lacks(&needs, within.as_ref().map(Name::as_str));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return nowhere };
        match runtime.block_on(asked) {
            Ok(lacks) => {
                let told = |lack: Lack| ActionMissing {
                    why: format!("quell may not {}", lack.what),
                    id: lack.needed_by.join(", "),
                };
                lacks.into_iter().map(told).collect()
            }
            Err(why) => {
                tracing::warn!(why, "whether quell may do in the cluster what playbooks do there is not known");
                nowhere
            }
        }
    }
}

/// Actions of which every means failed.
fn dead(tested: &[quell_actions::Check]) -> BTreeMap<String, String> {
    let action = |check: &quell_actions::Check| check.name.split(' ').next().unwrap_or_default().to_owned();
    let works = |name: &str| tested.iter().any(|check| check.ok && action(check) == name);
    let failed = tested.iter().filter(|check| !check.ok && !works(&action(check)));
    failed.map(|check| (action(check), check.why.clone().unwrap_or_default())).collect()
}
