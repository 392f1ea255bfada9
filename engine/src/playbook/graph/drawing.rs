//! The graph as text for a terminal: one line a step, and lines that lead from each to those that need it.
//!
//! Never wider than 80 columns as long as ids stay short; what is longer is cut with `…`, but never the word of a step's
//! fate. Control characters in a playbook's own texts are shown as `�`.

use super::Graph;
use super::fate::Fates;
use super::picture::{does, marks};
use quell_model::playbook::{Playbook, Step};

const WIDTH: usize = 80;

/// Draws a playbook, or a run of it with how far each step came.
#[must_use]
pub fn graph_text(playbook: &Playbook, fates: Option<&Fates>) -> String {
    let graph = match Graph::new(playbook) {
        Ok(graph) => graph,
        Err(cycle) => return format!("{}: {cycle}\n", playbook.name),
    };
    let about = fates.map_or_else(|| playbook.mode.to_string(), |run| run.about().to_owned());
    let mut out = cut(&format!("{}  ({about})", playbook.name));
    out.push('\n');
    trigger(playbook, &mut out);
    let order: Vec<_> = graph.order().collect();
    // A lane for each step that others still wait for; a step takes a free one.
    let mut lanes: Vec<Option<usize>> = Vec::new();
    for (at, id) in order.iter().enumerate() {
        let Some(step) = playbook.step(id) else { continue };
        let needs: Vec<usize> =
            graph.needs(id).into_iter().filter_map(|need| order.iter().position(|o| *o == need)).collect();
        let last_wait = |need: &usize| graph.dependents(order[*need]).into_iter().all(|d| order[..=at].contains(&d));
        let ending: Vec<usize> = needs.iter().copied().filter(last_wait).collect();
        let mine = lanes.iter().position(|lane| lane.is_none_or(|open| ending.contains(&open))).unwrap_or(lanes.len());
        let joins: Vec<usize> =
            (0..lanes.len()).filter(|lane| lanes[*lane].is_some_and(|open| needs.contains(&open))).collect();
        if !joins.is_empty() {
            out.push_str(&cut(&format!("  {}", arrows(&lanes, &joins, &ending, mine))));
            out.push('\n');
        }
        for lane in &mut lanes {
            if lane.is_some_and(|open| ending.contains(&open)) {
                *lane = None;
            }
        }
        if mine == lanes.len() {
            lanes.push(None);
        }
        lanes[mine] = Some(at);
        let mut line: String = lanes
            .iter()
            .enumerate()
            .map(|(lane, open)| match open {
                _ if lane == mine => "● ",
                Some(_) => "│ ",
                None => "  ",
            })
            .collect();
        line.truncate(line.trim_end().len());
        let fate = fates.map(|fates| format!("  → {}", fates.of(&step.id).word())).unwrap_or_default();
        out.push_str(&cut_to(&format!("  {line} {}", describe(step)), WIDTH - fate.chars().count()));
        out.push_str(&fate);
        out.push('\n');
        if graph.dependents(id).is_empty() {
            lanes[mine] = None;
        }
        while lanes.last() == Some(&None) {
            lanes.pop();
        }
    }
    out
}

/// The line above a step: what it needs comes over to its lane.
fn arrows(lanes: &[Option<usize>], joins: &[usize], ending: &[usize], mine: usize) -> String {
    let left = joins.iter().copied().chain([mine]).min().unwrap_or(mine);
    let right = joins.iter().copied().chain([mine]).max().unwrap_or(mine);
    let mut line = String::new();
    for lane in 0..lanes.len().max(mine + 1) {
        let open = lanes.get(lane).copied().flatten();
        let joins_here = joins.contains(&lane);
        let goes_on = open.is_some_and(|open| !ending.contains(&open));
        let sign = match (lane == mine, joins_here, goes_on) {
            _ if left == right && lane == mine => '│',
            (true, _, _) if lane == left => {
                if joins_here {
                    '├'
                } else {
                    '╭'
                }
            }
            (true, _, _) if lane == right => {
                if joins_here {
                    '┤'
                } else {
                    '╮'
                }
            }
            (true, _, _) => {
                if joins_here {
                    '┼'
                } else {
                    '┬'
                }
            }
            (false, true, true) if lane == left => '├',
            (false, true, true) if lane == right => '┤',
            (false, true, true) => '┼',
            (false, true, false) if lane == left => '╰',
            (false, true, false) if lane == right => '╯',
            (false, true, false) => '┴',
            (false, false, _) if open.is_some() => {
                if lane > left && lane < right {
                    '┼'
                } else {
                    '│'
                }
            }
            _ => {
                if lane > left && lane < right {
                    '─'
                } else {
                    ' '
                }
            }
        };
        line.push(sign);
        line.push(if lane >= left && lane < right { '─' } else { ' ' });
    }
    line.truncate(line.trim_end().len());
    line
}

/// What starts it, wrapped between names.
fn trigger(playbook: &Playbook, out: &mut String) {
    if let Some(schedule) = &playbook.on.schedule {
        out.push_str(&cut(&format!("at {} ({})", schedule.cron, schedule.time_zone)));
        out.push('\n');
    }
    if let Some(moments) = super::moments(playbook) {
        out.push_str(&cut(&moments));
        out.push('\n');
    }
    let Some(filter) = &playbook.on.detections else { return };
    let mut words: Vec<String> = filter.rules.iter().chain(&filter.tags).map(|name| format!("{name},")).collect();
    if words.is_empty() {
        words.push("any rule,".to_owned());
    }
    words.push(format!("level {} or above", filter.level));
    if playbook.on.condition.is_some() {
        words.push("and if its condition holds".to_owned());
    }
    let mut line = "on".to_owned();
    for word in words {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&cut(&line));
            out.push('\n');
            line = "  ".to_owned();
        }
        line.push(' ');
        line.push_str(&word);
    }
    out.push_str(&cut(&line));
    out.push('\n');
}

fn describe(step: &Step) -> String {
    let marks = marks(step, None);
    let marks = if marks.is_empty() { String::new() } else { format!("  [{}]", marks.join(", ")) };
    format!("{}  {}{marks}", step.id, does(step))
}

fn cut(line: &str) -> String {
    cut_to(line, WIDTH)
}

fn cut_to(line: &str, most: usize) -> String {
    let clean: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if clean.chars().count() <= most {
        return clean;
    }
    clean.chars().take(most - 1).chain(['…']).collect()
}
