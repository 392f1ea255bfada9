//! Evidence: what a step's output says lies in the vault.
//!
//! Owns the shape by which verbs tell it, and by which whoever keeps the journal knows that a sum must be there. Never looks
//! into a vault. Keeps true: only what a verb put in and got back is named so.

use crate::Json;
use crate::store::BlobHash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One piece in the vault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// `status`, `exe`, `file/7`, `memory/7f00-7f10` …
    pub name: String,
    /// The sum of what is kept: its name in the vault.
    #[schemars(with = "String")]
    pub sha256: BlobHash,
    /// How much is kept.
    pub bytes: u64,
    /// There was more than the bound allows.
    pub truncated: bool,
}

impl Evidence {
    /// Where an output has the list of its pieces.
    pub const KEY: &str = "evidence";

    /// The pieces in what an output has there; none in anything else.
    pub fn of(list: &Json) -> impl Iterator<Item = Self> {
        list.as_array().into_iter().flatten().filter_map(|one| Self::deserialize(one).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;
    use serde_json::json;

    #[test]
    fn only_what_has_its_shape_is_evidence() {
        let sum = Hash::of(b"memory");
        let piece = json!({ "name": "exe", "sha256": sum, "bytes": 6, "truncated": false });
        let others = [json!("exe"), json!({ "sha256": sum }), json!({ "name": "exe", "sha256": "abc", "bytes": 1 })];
        let list = json!([piece, others[0], others[1], others[2]]);
        let found: Vec<Evidence> = Evidence::of(&list).collect();
        assert_eq!(found.iter().map(|one| one.sha256).collect::<Vec<_>>(), [BlobHash(sum)]);
        assert_eq!(serde_json::to_value(&found[0]).unwrap(), piece, "as verbs have always told it");
        assert_eq!(Evidence::of(&json!({ "evidence": [] })).count(), 0);
    }
}
