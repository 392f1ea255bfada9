//! What each kind of step gives to those behind it, by name. The one place that says so: the check of expressions, the
//! reader of tests and what expressions see in a run all ask here.
//!
//! Owns names alone; what stands under them is the run's. Never guesses: what nobody can know before the run is none.

use quell_model::playbook::{Step, StepKind, Wait};
use quell_model::{ActionSpec, Json};

/// What every step has besides what it gives.
pub(crate) const EVERY_STEP: &[&str] = &["outcome", "why"];

/// Where it is known what actions and playbooks give.
pub(crate) trait Gives {
    /// The outputs of an action; none: it is not known, or they are of any name.
    fn of_action(&self, action: &str) -> Option<Vec<String>>;
    /// The outputs of a playbook; none: it is not known.
    fn of_playbook(&self, playbook: &str) -> Option<Vec<String>>;
}

/// What a step gives; none: nobody knows before it runs.
pub(crate) fn given(step: &Step, known: &impl Gives) -> Option<Vec<String>> {
    let names: &[&str] = match &step.kind {
        _ if step.for_each.is_some() => &["items", "failed"],
        StepKind::Action { action, .. } => return known.of_action(action.as_str()),
        StepKind::Script(_) => return None,
        StepKind::Tell(_) => &["told"],
        StepKind::Escalate(_) => &["policy", "step"],
        StepKind::Ask(_) => &["answer", "by"],
        StepKind::Wait(Wait::Until(_)) => &["seen"],
        StepKind::Wait(Wait::For(_)) => &[],
        // Nothing waits for what a detached run gives.
        StepKind::Playbook(sub) if sub.detach => &["run"],
        StepKind::Playbook(sub) => return known.of_playbook(sub.playbook.as_str()),
    };
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

/// The outputs that an action declares. Making the schema takes its time.
pub(crate) fn declared(spec: &ActionSpec) -> Option<Vec<String>> {
    let schema = (spec.output)();
    let properties = schema.get("properties").and_then(Json::as_object)?;
    Some(properties.keys().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::actions;
    use crate::load::{Known, playbook};
    use std::path::Path;

    struct Nothing;

    impl Gives for Nothing {
        fn of_action(&self, _: &str) -> Option<Vec<String>> {
            Some(vec!["killed".to_owned()])
        }

        fn of_playbook(&self, _: &str) -> Option<Vec<String>> {
            Some(vec!["told".to_owned()])
        }
    }

    /// The guide has a row for each kind of step, with these names.
    #[test]
    fn what_each_kind_of_step_gives_is_what_the_guide_says() {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/write-a-playbook.md");
        let guide = std::fs::read_to_string(guide).unwrap();
        for (step, given, row) in [
            (
                "action: process.kill, with: { process: x }",
                Some("killed"),
                "| an `action` | what `quell action show NAME` lists |",
            ),
            ("script: \"#{}\"", None, "| a `script` | the keys of the map that it returns |"),
            ("tell: x", Some("told"), "| `tell` | `told` |"),
            ("escalate: x", Some("policy, step"), "| `escalate` | `policy`, `step` |"),
            ("ask: { question: x, choices: [a, b], otherwise: a }", Some("answer, by"), "| `ask` | `answer`, `by` |"),
            ("wait: 5m", Some(""), "| `wait` for a time | nothing |"),
            ("wait: { until: { level: high } }", Some("seen"), "| `wait` for a detection | `seen` |"),
            ("playbook: other", Some("told"), "| a `playbook` | that playbook's `outputs` |"),
            ("playbook: other, detach: true", Some("run"), "| a `playbook` with `detach` | `run` |"),
            ("for_each: [1], tell: x", Some("items, failed"), "| any of them with `for_each` | `items`, `failed`:"),
        ] {
            let text = format!("playbook: p\nsteps: {{ s: {{ {step} }} }}\n");
            let known = Known { actions: actions(), ..Known::default() };
            let (read, mistakes) = playbook(Path::new("p.yaml"), &text, &known);
            let read = read.unwrap_or_else(|| panic!("{step}: {mistakes:?}"));
            let names = super::given(&read.steps[0], &Nothing).map(|names| names.join(", "));
            assert_eq!(names.as_deref(), given, "{step}");
            assert!(guide.contains(row), "the guide lacks {row}");
        }
    }
}
