//! What stands on a pod that is cut off: who wants it so, and which labels it had.
//!
//! Owns the annotation, and what is known by it alone. Keeps true: while anybody wants it, nobody else's undo gives the labels back; who comes
//! second knows what stood before the first; an owner that let the pod go is known by it yet, and confirmed as any other. Whoever may write on
//! the pod can write it too: it may say less is allowed, never more.

use super::allow::{Allow, ISOLATED};
use crate::call::{CallError, Calls};
use crate::owner::{Owner, Owners};
use crate::verbs::written::shown;
use k8s_openapi::api::core::v1::Pod;
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
    /// What had made the pod, which lets it go for its labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maker: Option<Owner>,
}

impl Mark {
    /// What stands on a pod; none: nothing, or what cannot be read, which counts as nobody's.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let text = pod.metadata.annotations.as_ref()?.get(MARK)?;
        serde_json::from_str(text).ok()
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

/// Who owns a pod, or did until it was cut off.
pub(crate) async fn owners(calls: &Calls<'_>, pod: &Pod) -> Result<Owners, CallError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let former = || Mark::of(pod).filter(|_| is_labelled(pod, uid))?.maker;
    let maker = Owner::controller(pod.metadata.owner_references.as_deref().unwrap_or_default()).or_else(former);
    Owners::of_made(calls, pod, maker, &former_labels(pod, uid)).await
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
    fn who_else_wants_it_is_told_in_words() {
        assert_eq!(told(&["r-1/cut", "r-2/each/3"]), "step cut of run r-1 and step each/3 of run r-2");
        assert_eq!(told(&["a", "b", "c", "d", "e"]).rsplit(' ').take(3).collect::<Vec<_>>(), ["more", "2", "and"]);
        let forged = told(&["r-1/cut\nrun r-2 succeeded \u{1b}[2J"]);
        assert!(forged.starts_with("what is marked `") && !forged.contains(['\n', '\u{1b}']), "{forged}");
        assert!(told(&[&"x".repeat(9_000)]).chars().count() < 200);
    }
}
