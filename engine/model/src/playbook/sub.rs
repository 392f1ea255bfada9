//! A step that is a playbook of its own.
//!
//! Owns the shape. Which playbook it is, is known when the step begins: the one of that name at that moment.

use crate::Json;
use crate::ids::Name;
use crate::mistake::Span;
use serde::Serialize;
use std::collections::BTreeMap;

/// A playbook that a step starts.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SubPlaybook {
    /// Its name.
    pub playbook: Name,
    /// Its inputs: JSON whose strings may hold expressions.
    pub with: Json,
    /// Nothing of the step waits for its end: it is a run by itself.
    pub detach: bool,
    /// Where its name stands.
    #[serde(skip)]
    pub span: Span,
    /// Where each input stands.
    #[serde(skip)]
    pub inputs: BTreeMap<String, Span>,
}
