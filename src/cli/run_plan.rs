//! A plan as a reviewer reads it: everything that would be touched, and what it would be done with.
//!
//! Owns what is said of a planned step beside its line. Keeps true: it is bounded, and says how much it leaves out.

use super::escape::clip;
use quell_engine::report::StepView;
use quell_model::{Json, Outcome};

/// Targets that are named.
const MOST: usize = 12;

/// What a planned step would touch and with which inputs; nothing of a step that is not planned.
pub(super) fn lines(step: &StepView) -> Vec<String> {
    let Some(plan) = step.plan.as_ref().filter(|_| step.outcome == Some(Outcome::Planned)) else { return Vec::new() };
    let mut lines = Vec::new();
    if plan.targets.len() > 1 {
        let named: Vec<&str> = plan.targets.iter().take(MOST).map(|target| target.label.as_str()).collect();
        let more = plan.targets.len().saturating_sub(MOST);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("touches: {}{more}", named.join(", ")));
    }
    // What names the target is said by the target.
    let is_target = |value: &Json| plan.targets.iter().any(|target| value.as_str() == Some(target.id.as_str()));
    let inputs = step.input.as_object().into_iter().flatten().filter(|(_, value)| !is_target(value));
    let inputs: Vec<String> = inputs.map(|(name, value)| format!("{name}: {}", clip(&worded(value), 60))).collect();
    if !inputs.is_empty() {
        lines.push(format!("with: {}", inputs.join(", ")));
    }
    lines
}

fn worded(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
