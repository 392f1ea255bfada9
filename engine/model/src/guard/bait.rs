//! Bait: an identity of a cloud or a cluster that somebody on a host may have planted.
//!
//! Whoever is on a host can leave anybody's key id where credentials are looked for, and have it disabled in their place. So in
//! a run that began on a host or in a pod a person is asked about every identity that no capture found to belong to what
//! was attacked; nobody's silence is a yes there.
//!
//! Owns that rule. Keeps true: only what a capture gave makes an identity owned, never an event, a script or a message.

use super::Ask;
use crate::Json;
use crate::action::{Plan, TargetFacts};
use std::collections::BTreeSet;

/// What is asked about, for people.
pub const BAIT: &str = "an identity of a cloud or a cluster, in a run that began on a host or in a pod, unless a capture found \
                        that it belongs to what was attacked";

/// The identities that the captures of a run found to belong to what was attacked: kind and id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned(BTreeSet<(String, String)>);

impl Owned {
    /// Takes in what a capture gave: its `credentials`, each with `kind`, `id` and `owned`.
    pub fn take_in(&mut self, output: &Json) {
        let text = |one: &Json, key: &str| one.get(key).and_then(Json::as_str).map(str::to_owned);
        let all = output.get("credentials").and_then(Json::as_array).into_iter().flatten();
        let owned = all.filter(|one| one.get("owned") == Some(&Json::Bool(true)));
        self.0.extend(owned.filter_map(|one| Some((text(one, "kind")?, text(one, "id")?))));
    }

    fn has(&self, identity: &str, id: &str) -> bool {
        self.0.iter().any(|(kind, owned)| kind == identity && owned == id)
    }
}

/// Why a person is to be asked about an identity that the plan touches, if one is.
#[must_use]
pub fn bait(ask: &Ask<'_>, plan: &Plan) -> Option<String> {
    let owned = ask.owned?;
    let planted = |facts: &TargetFacts| match facts {
        TargetFacts::Identity { identity, id, .. } if !owned.has(identity.as_str(), id) => {
            Some(format!("{identity} `{id}`"))
        }
        _ => None,
    };
    let mut all = plan.targets.iter().filter_map(|target| planted(&target.facts));
    let first = all.next()?;
    let more = match all.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(format!(
        "no capture shows that the {first}{more} belongs to what was attacked: whoever was there could have planted \
         somebody else's"
    ))
}

#[cfg(test)]
mod tests {
    use super::Owned;
    use serde_json::json;

    #[test]
    fn only_what_is_said_to_be_owned_is() {
        let mut owned = Owned::default();
        owned.take_in(&json!({ "credentials": [
            { "kind": "aws_access_key", "id": "AKIA1", "owned": true },
            { "kind": "aws_access_key", "id": "AKIA2", "owned": false },
            { "kind": "aws_access_key", "id": "AKIA3" },
            { "kind": "aws_access_key", "id": "AKIA4", "owned": "true" },
            { "id": "AKIA5", "owned": true },
            "AKIA6",
        ] }));
        owned.take_in(&json!({ "credentials": "AKIA7" }));
        owned.take_in(&json!(null));
        assert!(owned.has("aws_access_key", "AKIA1"));
        assert!(!owned.has("azure_client", "AKIA1"), "of another kind it is another");
        for id in ["AKIA2", "AKIA3", "AKIA4", "AKIA5", "AKIA6", "AKIA7"] {
            assert!(!owned.has("aws_access_key", id), "{id}");
        }
    }
}
