//! The pieces of a capture on their way into the vault.
//!
//! Keeps true: a piece is told only after the vault gave it back unchanged; what is cut says so, and what could not be taken is noted.

use crate::call::CallError;
use quell_actions::text::one_line;
use quell_model::store::Vault;
use quell_model::{ActionError, Evidence, Hash, Json};
use std::sync::Arc;

/// A sentence on what is missing, in characters.
const WHY: usize = 300;

/// The pieces of one capture.
pub(super) struct Bag {
    vault: Arc<dyn Vault>,
    /// The most of one piece.
    most: usize,
    pub(super) pieces: Vec<Evidence>,
    /// What could not be taken, and why.
    pub(super) missing: Vec<String>,
}

impl Bag {
    pub(super) fn new(vault: Arc<dyn Vault>, most: usize) -> Self {
        Self { vault, most, pieces: Vec::new(), missing: Vec::new() }
    }

    /// Puts a piece into the vault and reads it back.
    pub(super) async fn put(&mut self, name: &str, mut bytes: Vec<u8>, is_cut: bool) -> Result<(), ActionError> {
        let truncated = is_cut || bytes.len() > self.most;
        bytes.truncate(self.most);
        let (size, sum) = (bytes.len() as u64, Hash::of(&bytes));
        let lost = |why: String| ActionError::retry(format!("the evidence `{name}` could not be kept: {why}"));
        let kept = self.vault.put(bytes).await.map_err(|error| lost(error.to_string()))?;
        let back = self.vault.get(&kept).await.map_err(|error| lost(error.to_string()))?;
        if kept.0 != sum || Hash::of(&back) != sum {
            return Err(lost("what was read back differs".to_owned()));
        }
        self.pieces.push(Evidence { name: name.to_owned(), sha256: kept, bytes: size, truncated });
        Ok(())
    }

    /// The same of JSON, as a person reads it.
    pub(super) async fn json(&mut self, name: &str, json: &Json) -> Result<(), ActionError> {
        let text = serde_json::to_vec_pretty(json).expect("string keys only");
        self.put(name, text, false).await
    }

    /// What was asked for, or a note that it is missing. A server that cannot be asked at all ends the capture: it is tried again.
    pub(super) fn or_missing<T>(&mut self, name: &str, got: Result<T, CallError>) -> Result<Option<T>, ActionError> {
        match got {
            Ok(got) => Ok(Some(got)),
            Err(error @ (CallError::Away(_) | CallError::Wait { .. } | CallError::NoCluster(_))) => Err(error.into()),
            Err(error) => {
                self.miss(name, &error.to_string());
                Ok(None)
            }
        }
    }

    pub(super) fn miss(&mut self, name: &str, why: &str) {
        self.missing.push(format!("{name}: {}", one_line(why, WHY)));
    }
}
