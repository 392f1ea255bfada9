//! Where an incident's processes live, and so which losses may concern it.
//!
//! Owns the cgroups of what was detected. Events that were lost belong to a cgroup: they may be a part of this story only
//! if it plays there or above. Whose events nobody knows may be anybody's.

use quell_model::record::LossSeen;
use quell_model::{Detection, Event, Field, Subject};
use std::collections::BTreeMap;

/// An incident that plays in more cgroups than this plays everywhere.
const MOST: usize = 64;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Places {
    cgroups: BTreeMap<u64, String>,
    anywhere: bool,
}

impl Places {
    /// Takes up where a detection's processes live.
    pub fn learn(&mut self, detection: &Detection) {
        for event in detection.events.iter().map(|event| &**event).chain([&*detection.event]) {
            let id = match event.own("process.cgroup") {
                Some(Field::Int(id)) => u64::try_from(id).ok().filter(|id| *id != 0),
                _ => None,
            };
            match (id, &event.subject) {
                (Some(id), _) if self.cgroups.len() < MOST || self.cgroups.contains_key(&id) => {
                    let path = match event.own("process.cgroup_path") {
                        Some(Field::Str(path)) => path.into_owned(),
                        _ => String::new(),
                    };
                    self.cgroups.insert(id, path);
                }
                // A process somewhere.
                (Some(_), _) | (None, Subject::Process(_) | Subject::Unknown) => self.anywhere = true,
                // An account elsewhere: nothing that this machine's kernel drops is about it.
                (None, _) => {}
            }
        }
    }

    /// Nobody knows any more where it plays.
    pub fn forget(&mut self) {
        self.anywhere = true;
    }

    /// Whether what was lost may have been a part of this.
    #[must_use]
    pub fn concerns(&self, loss: &LossSeen) -> bool {
        let Some(id) = loss.cgroup.filter(|id| *id != 0) else { return true };
        let below = |path: &str| self.cgroups.values().any(|own| is_below(path, own));
        self.anywhere || self.cgroups.contains_key(&id) || loss.path.as_ref().is_some_and(|path| below(path.as_str()))
    }
}

/// A process may have gone on in a cgroup below its own.
fn is_below(path: &str, own: &str) -> bool {
    !matches!(own, "" | "/") && path.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(cgroup: Option<u64>, path: Option<&str>) -> LossSeen {
        LossSeen { class: None, count: 1, cgroup, path: path.map(Into::into), since: None, why: "a test".to_owned() }
    }

    #[test]
    fn a_loss_concerns_the_cgroup_that_it_happened_in_and_those_above() {
        let mut places = Places::default();
        places.cgroups.insert(7, "/web".to_owned());
        for (cgroup, path, concerns) in [
            (Some(7), None, true),
            (Some(8), None, false),
            (Some(8), Some("/web/worker"), true),
            (Some(8), Some("/website"), false),
            (Some(8), Some("/other"), false),
            (Some(0), None, true),
            (None, None, true),
        ] {
            assert_eq!(places.concerns(&loss(cgroup, path)), concerns, "{cgroup:?} {path:?}");
        }
        places.anywhere = true;
        assert!(places.concerns(&loss(Some(8), None)));
        let mut root = Places::default();
        root.cgroups.insert(1, "/".to_owned());
        assert!(!root.concerns(&loss(Some(8), Some("/web"))));
    }
}
