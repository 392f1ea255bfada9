//! What stands on a pod that is cut off: who wants it so, and which labels it had. Who wants it stands on its policy too.
//!
//! Owns the annotation. Keeps true: while anybody wants it, nobody else's undo gives the labels back; who comes second knows what stood
//! before the first. Whoever may write on the pod can write it too, and take it off: it may say less is allowed, never more, and nobody who
//! stands on the policy is forgotten for it.

use super::allow::{Allow, ISOLATED};
use crate::verbs::written::shown;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The annotation.
pub(super) const MARK: &str = "quell/isolation";

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Mark {
    /// Labels that were taken off, with their values.
    pub(super) labels: BTreeMap<String, String>,
    /// Whose effect it is (`RUN/STEP`), and what they allow.
    pub(super) by: BTreeMap<String, Allow>,
}

impl Mark {
    /// What stands on a pod or on its policy; none: nothing, or what cannot be read, which counts as nobody's.
    pub(super) fn of(object: &impl ResourceExt) -> Option<Self> {
        serde_json::from_str(object.annotations().get(MARK)?).ok()
    }

    /// What stands on a pod, with all who want it by its policies; where both tell of one, what both say.
    pub(super) fn with(pod: Option<&Pod>, policies: &[NetworkPolicy]) -> Self {
        let mut mark = pod.and_then(Self::of).unwrap_or_default();
        for (key, allow) in policies.iter().filter_map(Self::of).flat_map(|of| of.by) {
            let allow = mark.by.get(&key).map_or_else(|| allow.clone(), |told| told.narrowed(&allow));
            mark.by.insert(key, allow);
        }
        mark
    }

    /// As it stands on a policy: the labels are the pod's.
    pub(super) fn of_policy(by: &BTreeMap<String, Allow>) -> Self {
        Self { by: by.clone(), ..Self::default() }
    }

    /// What all who want it allow, and `own`, if that is somebody too; none: nobody wants it.
    pub(super) fn narrowest(&self, own: Option<&Allow>) -> Option<Allow> {
        self.by.values().chain(own).cloned().reduce(|one, other| one.narrowed(&other))
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("string keys only")
    }

    /// Who wants it besides `key`.
    pub(super) fn others(&self, key: &str) -> Vec<&str> {
        self.by.keys().map(String::as_str).filter(|by| *by != key).collect()
    }
}

/// Those in words: whoever may write on the pod may have written anything there.
pub(super) fn told(others: &[&str]) -> String {
    /// So many are named.
    const MOST: usize = 3;
    let is_id = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/#".contains(&byte));
    let one = |key: &&str| match key.split_once('/').filter(|_| is_id(key)) {
        Some((run, step)) if !run.is_empty() && !step.is_empty() => {
            format!("step {} of run {}", shown(step), shown(run))
        }
        _ => format!("what is marked `{}`", shown(key)),
    };
    let named: Vec<String> = others.iter().take(MOST).map(one).collect();
    let more = others.len().saturating_sub(MOST);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", named.join(" and "))
}

/// Whether a pod has the label by which its policy knows it.
pub(super) fn is_labelled(pod: &Pod, uid: &str) -> bool {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(ISOLATED)).is_some_and(|value| value == uid)
}

/// The labels as they were before anybody cut the pod off.
pub(super) fn former_labels(pod: &Pod, uid: &str) -> BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    if is_labelled(pod, uid) {
        labels.remove(ISOLATED);
        for (key, value) in Mark::of(pod).unwrap_or_default().labels {
            labels.entry(key).or_insert(value);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_comes_second_knows_what_stood_before_the_first() {
        let mark = Mark { labels: [("app".to_owned(), "web".to_owned())].into(), ..Mark::default() };
        let pod: Pod = serde_json::from_value(json!({ "metadata": {
            "labels": { "tier": "a", ISOLATED: "u-1" }, "annotations": { MARK: mark.text() },
        } }))
        .unwrap();
        let former: BTreeMap<String, String> =
            [("app".to_owned(), "web".to_owned()), ("tier".to_owned(), "a".to_owned())].into();
        assert_eq!(former_labels(&pod, "u-1"), former);
        // A label of another pod's uid, as a copied template brings it, is no mark of this one.
        assert_eq!(former_labels(&pod, "u-2").get("app"), None);
        let broken: Pod = serde_json::from_value(json!({ "metadata": { "annotations": { MARK: "{" } } })).unwrap();
        assert_eq!(Mark::of(&broken), None);
    }

    #[test]
    fn a_forged_wish_never_allows_more() {
        let wide = Allow { dns: true, ..Allow::default() };
        let mark = Mark { by: [("forged".to_owned(), wide.clone())].into(), ..Mark::default() };
        assert_eq!(mark.narrowest(Some(&Allow::default())), Some(Allow::default()));
        assert_eq!(mark.others("forged"), Vec::<&str>::new());
        assert_eq!(Mark::default().narrowest(None), None);
    }

    #[test]
    fn who_stands_on_the_policy_is_not_forgotten_nor_widened_by_what_stands_on_the_pod() {
        let on = |by: &[(&str, bool)]| {
            let by = by.iter().map(|(key, dns)| ((*key).to_owned(), Allow { dns: *dns, ..Allow::default() })).collect();
            json!({ "metadata": { "annotations": { MARK: Mark::of_policy(&by).text() } } })
        };
        let policy: NetworkPolicy = serde_json::from_value(on(&[("r-1/a", true), ("r-2/b", false)])).unwrap();
        let forged: Pod = serde_json::from_value(on(&[("r-2/b", true), ("r-3/c", true)])).unwrap();
        let all = Mark::with(Some(&forged), std::slice::from_ref(&policy));
        assert_eq!(all.others("r-1/a"), ["r-2/b", "r-3/c"]);
        assert_eq!(all.by["r-2/b"], Allow::default());
        assert_eq!(Mark::with(Some(&Pod::default()), &[policy]).others("r-1/a"), ["r-2/b"]);
    }

    #[test]
    fn who_else_wants_it_is_told_in_words() {
        assert_eq!(told(&["r-1/cut", "r-2/each/3"]), "step cut of run r-1 and step each/3 of run r-2");
        assert_eq!(told(&["a", "b", "c", "d", "e"]).rsplit(' ').take(3).collect::<Vec<_>>(), ["more", "2", "and"]);
        let forged = told(&["r-1/cut\nrun r-2 succeeded \u{1b}[2J"]);
        assert!(forged.starts_with("what is marked `") && !forged.contains(['\n', '\u{1b}']), "{forged}");
        assert!(told(&[&"x".repeat(9_000)]).chars().count() < 200);
    }
}
