//! Labels and annotations as a verb writes them on an object, asks after them and gives them back.
//!
//! Keeps true: what stands for somebody else's sake is not given back, is told, and is no reason to say that quell's own still stands.

use super::order::to_json;
use super::written::{Named, Words, change, giving_back, read, standing, there};
use crate::call::{Calls, Kind, resource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use quell_model::{ActionError, Json, Truth, Want};
use serde_json::json;
use std::collections::BTreeMap;

/// Which words of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum On {
    Labels,
    Annotations,
}

impl On {
    /// Those that stand.
    pub(super) fn of(self, meta: &ObjectMeta) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Labels => meta.labels.as_ref(),
            Self::Annotations => meta.annotations.as_ref(),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }

    /// One of them, for people.
    fn one(self) -> &'static str {
        match self {
            Self::Labels => "label",
            Self::Annotations => "annotation",
        }
    }

    /// Writes them as they are wanted.
    pub(super) async fn write<K: Kind>(
        self,
        calls: &Calls<'_>,
        named: &Named,
        wanted: &Words,
    ) -> Result<(), ActionError> {
        let write = |found: &K| {
            let now = standing(self.of(found.meta()), wanted);
            (now != *wanted).then(|| json!({ "metadata": { self.key(): wanted } }))
        };
        change::<K>(calls, named, write).await.map(|_| ())
    }

    /// Whether they stand as they were `set`; or, taken back, whether none stands any more that quell wrote.
    pub(super) async fn truth<K: Kind>(
        self,
        calls: &Calls<'_>,
        named: &Named,
        (set, was): (&Words, &Words),
        want: Want,
    ) -> Result<Truth, ActionError> {
        let Some(found) = read::<K>(calls, named).await? else {
            return Ok(match want {
                Want::Acted => Truth::HoldsNot(format!("{} `{}` is gone", resource::<K>(), named.place())),
                Want::Undone => Truth::Holds,
            });
        };
        let now = standing(self.of(found.meta()), set);
        let other = match want {
            Want::Acted => now.iter().find(|(key, value)| set.get(*key) != Some(*value)).map(|(key, _)| key.clone()),
            Want::Undone => giving_back(&now, set, was).0.into_keys().next(),
        };
        Ok(other.map_or(Truth::Holds, |key| {
            let value = now.get(&key).cloned().flatten();
            let value = value.map_or_else(|| "not there".to_owned(), |value| super::written::shown(&value));
            Truth::HoldsNot(format!("{} `{key}` is {value}", self.one()))
        }))
    }

    /// Gives back those that stand as they were `set`; tells how they stand then.
    pub(super) async fn give_back<K: Kind>(
        self,
        calls: &Calls<'_>,
        named: &Named,
        (set, was): (&Words, &Words),
    ) -> Result<Json, ActionError> {
        if read::<K>(calls, named).await?.is_none() {
            return Ok(json!({ self.key(): {}, "gone": true }));
        }
        let mut still = Vec::new();
        let write = |found: &K| {
            let (back, others) = giving_back(&standing(self.of(found.meta()), was), set, was);
            still = others;
            (!back.is_empty()).then(|| json!({ "metadata": { self.key(): back } }))
        };
        change::<K>(calls, named, write).await?;
        let found: K = there(calls, named).await?;
        let mut output = json!({ self.key(): to_json(&standing(self.of(found.meta()), was)) });
        if !still.is_empty() {
            output["still"] = still.join("; ").into();
        }
        Ok(output)
    }
}
