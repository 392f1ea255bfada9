//! A few fields of an object, changed and given back: what every verb does that writes on something it does not own.
//!
//! Keeps true: only the very object that was planned is written on (its uid), and only in the version that was just read; a field that
//! somebody else has changed since is theirs, and stays.

use crate::call::{CallError, Calls, Kind, resource};
use quell_model::{ActionError, Json};
use std::collections::BTreeMap;

/// So often a write is tried again that somebody else's write came before.
const TRIES: u32 = 8;

/// An object, as a plan names it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Named {
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Named {
    pub(crate) fn place(&self) -> String {
        self.namespace.as_ref().map_or_else(|| self.name.clone(), |namespace| format!("{namespace}/{}", self.name))
    }
}

/// The object with its uid; none: it is gone, or another has its name.
pub(super) async fn read<K: Kind>(calls: &Calls<'_>, named: &Named) -> Result<Option<K>, CallError> {
    let found = calls.get::<K>(named.namespace.as_deref(), &named.name).await?;
    Ok(found.filter(|found| found.meta().uid.as_deref() == Some(&named.uid)))
}

/// The same, where it has to be there.
pub(super) async fn there<K: Kind>(calls: &Calls<'_>, named: &Named) -> Result<K, ActionError> {
    let found = read::<K>(calls, named).await?;
    found.ok_or_else(|| ActionError::GiveUp {
        why: format!("{} `{}` is gone, or another has its name by now", resource::<K>(), named.place()),
        hint: None,
    })
}

/// Writes what `change` makes of the object as it stands; what it makes none of stays. Read and tried again while others write.
pub(super) async fn change<K: Kind>(
    calls: &Calls<'_>,
    named: &Named,
    change: impl FnMut(&K) -> Option<Json>,
) -> Result<Option<K>, ActionError> {
    write(calls, named, How::Merge, change).await
}

/// The same with a strategic merge patch: of its lists of named things only those are changed that it names.
pub(super) async fn change_named<K: Kind>(
    calls: &Calls<'_>,
    named: &Named,
    change: impl FnMut(&K) -> Option<Json>,
) -> Result<Option<K>, ActionError> {
    write(calls, named, How::Strategic, change).await
}

/// What becomes of lists.
#[derive(Clone, Copy)]
enum How {
    /// They are given whole.
    Merge,
    /// Those of named things are merged by the names.
    Strategic,
}

async fn write<K: Kind>(
    calls: &Calls<'_>,
    named: &Named,
    how: How,
    mut change: impl FnMut(&K) -> Option<Json>,
) -> Result<Option<K>, ActionError> {
    let mut last = String::new();
    for _ in 0..TRIES {
        let found: K = there(calls, named).await?;
        let Some(mut patch) = change(&found) else { return Ok(None) };
        patch["metadata"]["uid"] = named.uid.clone().into();
        patch["metadata"]["resourceVersion"] = found.meta().resource_version.clone().unwrap_or_default().into();
        let namespace = named.namespace.as_deref();
        let written = match how {
            How::Merge => calls.merge::<K>(namespace, &named.name, &patch).await,
            How::Strategic => calls.strategic::<K>(namespace, &named.name, &patch).await,
        };
        match written {
            Ok(written) => return Ok(Some(written)),
            Err(CallError::Conflict(why)) => last = why,
            Err(error) => return Err(error.into()),
        }
    }
    Err(ActionError::retry(format!("`{}` is written on all the time: {last}", named.place())))
}

/// Labels or annotations: none stands for one that is not there.
pub(super) type Words = BTreeMap<String, Option<String>>;

/// How these words stand on an object now.
pub(super) fn standing(on: Option<&BTreeMap<String, String>>, words: &Words) -> Words {
    words.keys().map(|key| (key.clone(), on.and_then(|on| on.get(key)).cloned())).collect()
}

/// A value as people are shown it: whoever may write on an object may write anything there.
pub(super) fn shown(value: &str) -> String {
    /// In characters.
    const MOST: usize = 120;
    quell_actions::text::one_line(value, MOST)
}

/// What gives words back that were `set`: those that stand as they were set. The others are somebody else's by now, and are told.
pub(super) fn giving_back(now: &Words, set: &Words, before: &Words) -> (Words, Vec<String>) {
    let (mut back, mut others) = (Words::new(), Vec::new());
    for (key, was) in before {
        let is = now.get(key).cloned().flatten();
        if is == *was {
            continue;
        }
        if set.get(key).is_some_and(|set| *set == is) {
            back.insert(key.clone(), was.clone());
        } else {
            others.push(match is {
                Some(is) => format!("`{key}` is `{}` now, which quell did not write", shown(&is)),
                None => format!("`{key}` is there no more, which quell did not do"),
            });
        }
    }
    (back, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(of: &[(&str, Option<&str>)]) -> Words {
        of.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn what_somebody_else_changed_since_is_not_given_back() {
        let before = words(&[("app", Some("web")), ("q", None), ("tier", Some("a")), ("same", Some("s"))]);
        let set = words(&[("app", None), ("q", Some("1")), ("tier", Some("b")), ("same", Some("t"))]);
        let now = words(&[("app", None), ("q", Some("1")), ("tier", Some("c")), ("same", Some("s"))]);
        let (back, others) = giving_back(&now, &set, &before);
        assert_eq!(back, words(&[("app", Some("web")), ("q", None)]));
        assert_eq!(others, ["`tier` is `c` now, which quell did not write"]);
    }
}
