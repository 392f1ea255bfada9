//! What a step waits for: a time, or a detection.
//!
//! Owns the shapes. Whether a detection fits is the trigger's to say, as for what starts playbooks.

use super::{DetectionFilter, Expression};
use serde::Serialize;
use std::time::Duration;

/// What a step waits for.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// So long.
    For(Duration),
    /// A detection that fits.
    Until(Box<WaitUntil>),
}

/// A detection that is waited for.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WaitUntil {
    /// Which detections.
    pub detections: DetectionFilter,
    /// Must be true of it; `seen` is the detection.
    #[serde(rename = "if")]
    pub condition: Option<Expression>,
    /// How long it is waited for. Then the step has failed.
    pub timeout: Duration,
    /// Also one about another entity than the run is.
    pub anywhere: bool,
}
