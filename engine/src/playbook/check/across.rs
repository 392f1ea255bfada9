//! Mistakes that only show when several playbooks stand side by side.

use crate::load::Known;
use quell_model::playbook::{Playbook, StepKind};
use quell_model::{Lane, Mistake, Mode};
use std::collections::BTreeSet;

/// Two that act on the same trigger with the same action: each run would do what the other does.
pub(crate) fn same_acts(playbooks: &[&Playbook], known: &Known<'_>) -> Vec<Mistake> {
    let mut found = Vec::new();
    let acts: Vec<BTreeSet<&str>> = playbooks.iter().map(|playbook| actions(playbook, known)).collect();
    for (at, second) in playbooks.iter().enumerate() {
        for (first, firsts) in playbooks[..at].iter().zip(&acts) {
            let same = || acts[at].intersection(firsts).copied();
            if same().next().is_none() {
                continue;
            }
            if let Some(shared) = shared_trigger(first, second) {
                let span = second.steps.first().map(|step| step.span).unwrap_or_default();
                let what = format!(
                    "`{}` and `{}` would both do {} on {shared}",
                    first.name,
                    second.name,
                    same().map(|act| format!("`{act}`")).collect::<Vec<_>>().join(", ")
                );
                let mut mistake = Mistake::warning(&second.file, span, what).expected("one playbook for one trigger");
                let line = (span.line as usize).checked_sub(1).and_then(|line| second.text.lines().nth(line));
                mistake.line_text = line.map(str::to_owned);
                found.push(mistake);
            }
        }
    }
    found
}

/// Changes to the world that a playbook would make; one that only observes makes none.
fn actions<'p>(playbook: &'p Playbook, known: &Known<'_>) -> BTreeSet<&'p str> {
    let acts = playbook.steps.iter().filter(|_| playbook.mode != Mode::Observe).filter_map(|step| match &step.kind {
        StepKind::Action { action, .. } => Some(action.as_str()),
        _ => None,
    });
    let changes = |act: &&str| known.action(act).is_none_or(|spec| matches!(spec.lane, Lane::Contain | Lane::Cloud));
    acts.filter(changes).collect()
}

fn shared_trigger(a: &Playbook, b: &Playbook) -> Option<String> {
    let (first, second) = (a.on.detections.as_ref()?, b.on.detections.as_ref()?);
    if a.on.condition != b.on.condition && (a.on.condition.is_some() && b.on.condition.is_some()) {
        return None;
    }
    let rule = first.rules.iter().find(|rule| second.rules.contains(rule));
    if let Some(rule) = rule {
        return Some(format!("rule `{rule}`"));
    }
    first.tags.iter().find(|tag| second.tags.contains(tag)).map(|tag| format!("tag `{tag}`"))
}
