//! What every drawing of a playbook shows: boxes with their lines, and who needs whom.
//!
//! Owns what is said of a step and the cleaning of texts; never how a format writes them. Invariants: an edge leads from
//! an earlier box to a later one, and no text holds a character that breaks a line or changes how others are read.

use super::fate::{Fate, Fates};
use super::{Cycle, Graph};
use crate::load::units::print_duration;
use quell_model::playbook::{AtEnd, DetectionFilter, OnFailure, Playbook, Step, StepKind, Wait, When};
use std::collections::HashMap;

/// Characters of a step's own text.
const MOST_TEXT: usize = 40;
/// Characters of a condition.
const MOST_CONDITION: usize = 36;
/// Characters of the description.
const MOST_DESCRIPTION: usize = 400;

/// A playbook to be drawn, and how far a run of it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    pub(super) name: String,
    /// Its mode, and what starts it; of a run what is said of that.
    pub(super) about: String,
    pub(super) description: String,
    /// Every box after those that it needs.
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

/// What a box stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Action,
    Script,
    Tell,
    Escalate,
    Ask,
    Wait,
    Playbook,
}

/// A box.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) shape: Shape,
    /// The verb, `script`, or what is told.
    pub(super) does: String,
    /// What is set on the step.
    pub(super) marks: Vec<String>,
    /// How far it came; none in no run.
    pub(super) fate: Option<Fate>,
}

/// The second box needs the first; numbers are places among the boxes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The second runs only if a need ended badly.
    pub(super) dashed: bool,
}

impl Picture {
    /// Of a playbook, or of a run of it.
    ///
    /// # Errors
    /// When its steps need each other in a circle: there is no order to draw.
    pub fn new(playbook: &Playbook, fates: Option<&Fates>) -> Result<Self, Cycle> {
        let graph = Graph::new(playbook)?;
        let steps: Vec<&Step> = graph.order().filter_map(|id| playbook.step(id)).collect();
        let places: HashMap<&str, usize> = steps.iter().enumerate().map(|(at, step)| (step.id.as_str(), at)).collect();
        let mut edges = Vec::new();
        for (to, step) in steps.iter().enumerate() {
            let needs = graph.needs(&step.id).into_iter().filter_map(|need| places.get(need.as_str()));
            edges.extend(needs.map(|from| Edge { from: *from, to, dashed: step.when == When::Failure }));
        }
        let node = |step: &Step| Node {
            id: clean(step.id.as_str()),
            shape: match step.kind {
                StepKind::Action { .. } => Shape::Action,
                StepKind::Script(_) => Shape::Script,
                StepKind::Tell(_) => Shape::Tell,
                StepKind::Escalate(_) => Shape::Escalate,
                StepKind::Ask(_) => Shape::Ask,
                StepKind::Wait(_) => Shape::Wait,
                StepKind::Playbook(_) => Shape::Playbook,
            },
            does: cut(&does(step), MOST_TEXT),
            marks: marks(step, Some(MOST_CONDITION)),
            fate: fates.map(|fates| fates.of(&step.id)),
        };
        Ok(Self {
            name: clean(playbook.name.as_str()),
            about: match fates {
                Some(run) => cut(run.about(), MOST_DESCRIPTION),
                None => cut(&format!("{}, {}", playbook.mode, starts(playbook)), MOST_DESCRIPTION),
            },
            description: cut(&playbook.description, MOST_DESCRIPTION),
            nodes: steps.into_iter().map(node).collect(),
            edges,
        })
    }
}

/// What starts a playbook, on one line.
fn starts(playbook: &Playbook) -> String {
    let at = playbook.on.schedule.as_ref().map(|schedule| format!("at {} ({})", schedule.cron, schedule.time_zone));
    let others: Vec<String> = at.into_iter().chain(super::moments(playbook)).collect();
    let Some(filter) = &playbook.on.detections else {
        return if others.is_empty() { "started by hand".to_owned() } else { others.join("; ") };
    };
    let names = asked(filter);
    let condition = if playbook.on.condition.is_some() { ", if its condition holds" } else { "" };
    let others: String = others.iter().map(|other| format!("; {other}")).collect();
    format!("on {names}, level {} or above{condition}{others}", filter.level)
}

/// The rules and tags that are asked for.
fn asked(filter: &DetectionFilter) -> String {
    let names: Vec<&str> = filter.rules.iter().chain(&filter.tags).map(AsRef::as_ref).collect();
    if names.is_empty() { "any rule".to_owned() } else { names.join(", ") }
}

/// What a step does.
pub(super) fn does(step: &Step) -> String {
    match &step.kind {
        StepKind::Action { action, .. } => clean(action.as_str()),
        StepKind::Script(_) => "script".to_owned(),
        StepKind::Tell(text) => format!("tell \"{}\"", clean(text)),
        StepKind::Escalate(to) => match (&to.policy, to.step) {
            (Some(policy), None) => format!("escalate to {}", clean(policy.as_str())),
            (Some(policy), Some(step)) => format!("escalate to step {step} of {}", clean(policy.as_str())),
            (None, step) => format!("escalate to step {}", step.unwrap_or(1)),
        },
        StepKind::Ask(ask) => format!("ask \"{}\"", clean(&ask.question)),
        StepKind::Playbook(sub) => format!("playbook {}", clean(sub.playbook.as_str())),
        StepKind::Wait(Wait::For(lasts)) => format!("wait {}", print_duration(*lasts)),
        StepKind::Wait(Wait::Until(wanted)) => {
            let (what, most) = (clean(&asked(&wanted.detections)), print_duration(wanted.timeout));
            format!("wait {most} at most for {what}")
        }
    }
}

/// What is set on a step, in the order in which it comes into play; a condition with its text, or as `if …`.
pub(super) fn marks(step: &Step, condition: Option<usize>) -> Vec<String> {
    let mut marks = Vec::new();
    if let Some(is) = &step.condition {
        marks.push(format!("if {}", condition.map_or_else(|| "…".to_owned(), |most| cut(&is.text, most))));
    }
    match step.when {
        When::Success => {}
        When::Failure => marks.push("when a need failed".to_owned()),
        When::Always => marks.push("always".to_owned()),
    }
    if let Some(each) = &step.for_each {
        marks.push(format!("for each, {} at once", each.max_parallel));
    }
    match step.on_failure {
        OnFailure::Block => {}
        OnFailure::Continue => marks.push("may fail".to_owned()),
        OnFailure::Halt => marks.push("halts the run if it fails".to_owned()),
        OnFailure::Undo => marks.push("undoes all if it fails".to_owned()),
    }
    if step.retry.attempts > 1 {
        marks.push(format!("{} attempts", step.retry.attempts));
    }
    if let Some(lease) = &step.lease {
        let then = match lease.at_end {
            AtEnd::Ask => "ask",
            AtEnd::Undo => "undo",
            AtEnd::Keep => "keep",
        };
        marks.push(format!("lease {}, then {then}", print_duration(lease.lasts)));
    }
    if matches!(&step.kind, StepKind::Playbook(sub) if sub.detach) {
        marks.push("nothing waits for it".to_owned());
    }
    if let Some(mode) = step.mode {
        marks.push(mode.to_string());
    }
    marks
}

/// On one line, without what would break it, move a cursor or turn the reading direction.
pub(super) fn clean(text: &str) -> String {
    let safe = |c: char| {
        let misleads = matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{ffff}' | '\u{e0000}'..='\u{e007f}');
        if c.is_control() || misleads { '\u{fffd}' } else { c }
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().map(safe).collect()
}

/// [`clean`], and no longer than this many characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= most {
        return text;
    }
    let head: String = text.chars().take(most - 1).collect();
    format!("{}…", head.trim_end())
}
