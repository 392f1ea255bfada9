//! A binding that an account is taken out of, and put back into.
//!
//! Keeps true: what others wrote in the list of subjects since stays as they wrote it; where nobody did, the list is the former one, in its
//! former order.

use crate::account::AccountRef;
use crate::call::{Calls, Kind};
use crate::rights::{Binding, By, label};
use crate::verbs::written::{Named, change, read};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, Subject};
use quell_model::{ActionError, Json};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A binding as it stood.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) binding: Named,
    pub(super) role: String,
    /// All of its subjects, in their order.
    subjects: Vec<Subject>,
    /// Which of them mean the account, from 0.
    taken: Vec<usize>,
}

/// The two kinds, which have the same in them.
trait Bound: Kind {
    fn subjects(&self) -> &[Subject];
}

impl Bound for RoleBinding {
    fn subjects(&self) -> &[Subject] {
        self.subjects.as_deref().unwrap_or_default()
    }
}

impl Bound for ClusterRoleBinding {
    fn subjects(&self) -> &[Subject] {
        self.subjects.as_deref().unwrap_or_default()
    }
}

fn patch(subjects: &[Subject]) -> Json {
    json!({ "subjects": subjects })
}

impl Kept {
    pub(super) fn of(binding: &Binding, account: &AccountRef) -> Self {
        let means = |(at, subject)| (binding.means(subject, account) == Some(By::Itself)).then_some(at);
        Self {
            binding: Named {
                namespace: binding.namespace.clone(),
                name: binding.name.clone(),
                uid: binding.uid.clone(),
            },
            role: binding.role_label(),
            taken: binding.subjects.iter().enumerate().filter_map(means).collect(),
            subjects: binding.subjects.clone(),
        }
    }

    pub(super) fn resource(&self) -> &'static str {
        match self.binding.namespace {
            Some(_) => "rolebindings.rbac.authorization.k8s.io",
            None => "clusterrolebindings.rbac.authorization.k8s.io",
        }
    }

    pub(super) fn label(&self) -> String {
        label(self.binding.namespace.as_deref(), &self.binding.name)
    }

    fn is_taken(&self, subject: &Subject) -> bool {
        self.taken.iter().any(|at| self.subjects.get(*at) == Some(subject))
    }

    /// The subjects of `now` without the account's; none: it is in none of them.
    fn without(&self, now: &[Subject], account: &AccountRef) -> Option<Vec<Subject>> {
        let as_it_is = Binding {
            namespace: self.binding.namespace.clone(),
            name: self.binding.name.clone(),
            uid: self.binding.uid.clone(),
            role: Default::default(),
            subjects: Vec::new(),
        };
        let others = now.iter().filter(|subject| as_it_is.means(subject, account) != Some(By::Itself));
        let others: Vec<Subject> = others.cloned().collect();
        (others.len() != now.len()).then_some(others)
    }

    /// The subjects of `now` with those that were taken, each behind what it stood behind; none: they are all there.
    fn with(&self, now: &[Subject]) -> Option<Vec<Subject>> {
        let others = self.subjects.iter().filter(|subject| !self.is_taken(subject));
        if others.eq(now) {
            return Some(self.subjects.clone()).filter(|all| all != now);
        }
        let mut all = now.to_vec();
        for at in &self.taken {
            let Some(subject) = self.subjects.get(*at) else { continue };
            if all.contains(subject) {
                continue;
            }
            let ahead = self.subjects[..*at].iter().rev().find_map(|one| all.iter().position(|other| other == one));
            all.insert(ahead.map_or(0, |ahead| ahead + 1), subject.clone());
        }
        (all != now).then_some(all)
    }

    /// Takes the account out. A binding that is gone gives nothing.
    pub(super) async fn take_out(&self, calls: &Calls<'_>, account: &AccountRef) -> Result<(), ActionError> {
        let without = |now: &[Subject]| self.without(now, account);
        match self.binding.namespace {
            Some(_) => self.write::<RoleBinding>(calls, without).await,
            None => self.write::<ClusterRoleBinding>(calls, without).await,
        }
        .map(|_| ())
    }

    /// Puts it back; what could not be is said.
    pub(super) async fn put_back(&self, calls: &Calls<'_>) -> Result<Option<String>, ActionError> {
        let with = |now: &[Subject]| self.with(now);
        let is_there = match self.binding.namespace {
            Some(_) => self.write::<RoleBinding>(calls, with).await?,
            None => self.write::<ClusterRoleBinding>(calls, with).await?,
        };
        let gone = || format!("{} is gone, or another has its name: what it gave is not given back", self.label());
        Ok((!is_there).then(gone))
    }

    /// Whether it stands, and does not name those that were taken.
    pub(super) async fn lacks(&self, calls: &Calls<'_>) -> Result<bool, ActionError> {
        let now = match self.binding.namespace {
            Some(_) => read::<RoleBinding>(calls, &self.binding).await?.map(|found| found.subjects().to_vec()),
            None => read::<ClusterRoleBinding>(calls, &self.binding).await?.map(|found| found.subjects().to_vec()),
        };
        Ok(now
            .is_some_and(|now| self.taken.iter().filter_map(|at| self.subjects.get(*at)).any(|one| !now.contains(one))))
    }

    /// False: it is gone.
    async fn write<K: Bound>(
        &self,
        calls: &Calls<'_>,
        of: impl Fn(&[Subject]) -> Option<Vec<Subject>>,
    ) -> Result<bool, ActionError> {
        let written = change::<K>(calls, &self.binding, |found| of(found.subjects()).map(|all| patch(&all))).await;
        match written {
            Ok(_) => Ok(true),
            Err(error) => match read::<K>(calls, &self.binding).await {
                Ok(None) => Ok(false),
                _ => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountRef {
        AccountRef { namespace: "shop".into(), name: "web".into(), uid: None }
    }

    fn user(name: &str) -> Json {
        json!({ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name })
    }

    fn web() -> Json {
        json!({ "kind": "ServiceAccount", "name": "web", "namespace": "shop" })
    }

    fn subjects(of: &[Json]) -> Vec<Subject> {
        of.iter().map(|one| serde_json::from_value(one.clone()).unwrap()).collect()
    }

    fn kept(of: &[Json]) -> Kept {
        let binding = Binding {
            namespace: Some("shop".into()),
            name: "b".into(),
            uid: "u".into(),
            role: Default::default(),
            subjects: subjects(of),
        };
        Kept::of(&binding, &account())
    }

    #[test]
    fn an_account_is_taken_out_by_both_of_its_names_and_the_others_stay() {
        let as_user = user("system:serviceaccount:shop:web");
        let all = [user("ana"), web(), as_user, user("bo")];
        let kept = kept(&all);
        assert_eq!(kept.taken, [1, 2]);
        let others = kept.without(&subjects(&all), &account()).unwrap();
        assert_eq!(others, subjects(&[user("ana"), user("bo")]));
        assert_eq!(kept.without(&others, &account()), None, "a second time there is nothing to do");
        assert_eq!(kept.with(&others).unwrap(), subjects(&all), "each where it was");
        assert_eq!(kept.with(&subjects(&all)), None, "a second time there is nothing to do");
    }

    #[test]
    fn what_others_wrote_since_stays() {
        let kept = kept(&[user("ana"), web(), user("bo")]);
        for (now, then) in [
            // Somebody came, somebody went.
            (vec![user("ana"), user("cy")], vec![user("ana"), web(), user("cy")]),
            (vec![user("bo")], vec![web(), user("bo")]),
            (vec![], vec![web()]),
            (vec![user("bo"), user("ana")], vec![user("bo"), user("ana"), web()]),
        ] {
            assert_eq!(kept.with(&subjects(&now)).unwrap(), subjects(&then));
        }
        assert_eq!(kept.with(&subjects(&[web(), user("ana")])), None, "somebody put it back already");
    }

    #[test]
    fn the_only_subject_of_a_binding_is_taken_and_the_binding_stays() {
        let kept = kept(&[web()]);
        assert_eq!(kept.without(&subjects(&[web()]), &account()).unwrap(), []);
        assert_eq!(kept.with(&[]).unwrap(), subjects(&[web()]));
    }
}
