//! Mistakes that only show when several playbooks stand side by side.
//!
//! Asks the trigger itself which of the loaded rules start both: a rule's name in one, a tag of it in the other.

use super::changes;
use crate::load::reader::few;
use crate::load::{Known, line_of};
use crate::trigger::{is_below, is_called, is_tagged, wants};
use quell_model::playbook::{DetectionFilter, Playbook, Step, StepKind};
use quell_model::{Mistake, Mode, Name, RuleRef};

/// Rules that are named in a mistake; of more, how many.
const NAMED: usize = 3;

/// Two that act on the same trigger with the same action: each run would do what the other does. Those that are known
/// besides are held against these, and not against each other.
pub(crate) fn same_acts(playbooks: &[&Playbook], known: &Known<'_>) -> Vec<Mistake> {
    let mut found = Vec::new();
    let rules = known.rules.unwrap_or_default();
    // Of namesakes those hold that are looked at.
    let is_other = |other: &&Playbook| playbooks.iter().all(|mine| mine.name != other.name);
    let others: Vec<&Playbook> = known.playbooks.iter().map(|other| &**other).filter(is_other).collect();
    // Once a playbook: of a thousand there are half a million pairs.
    let sides: Vec<Side<'_>> =
        others.iter().chain(playbooks).map(|playbook| Side::of(playbook, rules, known)).collect();
    for (at, Side { playbook: second, acts: seconds, .. }) in sides.iter().enumerate().skip(others.len()) {
        for side in &sides[..at] {
            let Side { playbook: first, acts, .. } = side;
            let both: Vec<(&Step, &str)> =
                seconds.iter().filter(|(_, action)| acts.iter().any(|(_, other)| other == action)).copied().collect();
            let Some((step, _)) = both.first() else { continue };
            let Some(shared) = shared_trigger(side, &sides[at], rules) else { continue };
            let mut names: Vec<String> = both.iter().map(|(_, action)| format!("`{action}`")).collect();
            names.sort();
            names.dedup();
            let what = format!("`{}` and `{}` would both do {} on {shared}", first.name, second.name, names.join(", "));
            let theirs = acts.iter().find(|(_, action)| both.iter().any(|(_, other)| other == action));
            let beside = theirs.map_or_else(String::new, |(step, _)| {
                format!(" (the other is {})", Mistake::warning(&first.file, step.span, "").place())
            });
            let mut mistake = Mistake::warning(&second.file, step.span, what)
                .expected(format!("one playbook for one trigger, or an `if` that tells them apart{beside}"));
            mistake.line_text = line_of(second, step.span);
            found.push(mistake);
        }
    }
    found
}

/// A playbook, as it is held against the others.
struct Side<'p> {
    playbook: &'p Playbook,
    acts: Vec<(&'p Step, &'p str)>,
    /// Which of the loaded rules start it, by number.
    rules: Vec<usize>,
}

impl<'p> Side<'p> {
    fn of(playbook: &'p Playbook, rules: &[RuleRef], known: &Known<'_>) -> Self {
        let starts = |rule: &RuleRef| playbook.on.detections.as_ref().is_some_and(|filter| wants(filter, rule));
        let rules = rules.iter().enumerate().filter(|(_, rule)| starts(rule)).map(|(number, _)| number).collect();
        Self { playbook, acts: acts(playbook, known), rules }
    }
}

/// Changes to the world that a playbook would make, in the order of the file; what only observes makes none.
fn acts<'p>(playbook: &'p Playbook, known: &Known<'_>) -> Vec<(&'p Step, &'p str)> {
    let acts = |step: &&Step| playbook.mode.strictest(step.mode.unwrap_or(playbook.mode)) != Mode::Observe;
    let may_change = |act: &str| known.action(act).is_none_or(changes);
    let action = |step: &'p Step| match &step.kind {
        StepKind::Action { action, .. } => Some((step, action.as_str())),
        _ => None,
    };
    playbook.steps.iter().filter(acts).filter_map(action).filter(|(_, act)| may_change(act)).collect()
}

/// What starts both, for people; none if nothing does. With an `if` each they are told apart, unless it is the same one.
fn shared_trigger(one: &Side<'_>, other: &Side<'_>, rules: &[RuleRef]) -> Option<String> {
    let (a, b) = (one.playbook, other.playbook);
    let text = |playbook: &Playbook| playbook.on.condition.as_ref().map(|condition| condition.text.trim().to_owned());
    if let (Some(first), Some(second)) = (text(a), text(b))
        && first != second
    {
        return None;
    }
    let moment = || a.on.incident.iter().find(|moment| b.on.incident.contains(moment));
    let incident = || moment().map(|moment| format!("an incident that is {moment}"));
    let schedule = || a.on.schedule.as_ref().filter(|schedule| b.on.schedule.as_ref() == Some(*schedule));
    let schedule = || schedule().map(|schedule| format!("the schedule `{}`", schedule.cron));
    shared_detections(one, other, rules).or_else(incident).or_else(schedule)
}

fn shared_detections(one: &Side<'_>, other: &Side<'_>, rules: &[RuleRef]) -> Option<String> {
    let (first, second) = (one.playbook.on.detections.as_ref()?, other.playbook.on.detections.as_ref()?);
    let shared = one.rules.iter().filter(|number| other.rules.contains(number));
    let mut both: Vec<&str> = shared.map(|number| rules[*number].name.as_str()).collect();
    both.sort_unstable();
    match both.as_slice() {
        [] => by_names(first, second, rules),
        [one] => Some(format!("rule `{one}`")),
        several => {
            let names: Vec<String> = several.iter().map(|name| format!("`{name}`")).collect();
            Some(format!("rules {}", few(&names, NAMED)))
        }
    }
}

/// What both name, where no such rule is loaded.
fn by_names(first: &DetectionFilter, second: &DetectionFilter, rules: &[RuleRef]) -> Option<String> {
    let is_loaded = |name: &Name| rules.iter().any(|rule| is_called(rule, name) || is_tagged(rule, name));
    if let Some(rule) = first.rules.iter().find(|rule| second.rules.contains(rule) && !is_loaded(rule)) {
        return Some(format!("rule `{rule}`"));
    }
    let of_both = |one: &DetectionFilter, other: &DetectionFilter| {
        let wider = |tag: &Name| other.tags.iter().any(|wider| is_below(tag, wider));
        one.tags.iter().find(|tag| wider(tag) && !is_loaded(tag)).cloned()
    };
    of_both(first, second).or_else(|| of_both(second, first)).map(|tag| format!("tag `{tag}`"))
}
