//! Incidents as people read them: what it is about, its timeline, and why everything was decided as it was.

use super::detect::level_ink;
use super::escape::{clip, escape};
use super::run_view;
use super::show::{SHOWN, moment, since, size, span, time_of_day, value};
use super::table::{Table, cell};
use super::term::{Ink, Term};
use quell_engine::incident::{Acknowledged, FalsePositive};
use quell_engine::report::{Explanation, IncidentSummary, IncidentView, LossView, More};
use quell_model::record::{Decided, IncidentState, RecorderPinned, TriggerDecision};
use quell_model::{Class, RunId};
use std::time::Duration;

fn state(state: IncidentState) -> (Ink, String) {
    let ink = match state {
        IncidentState::Open => Ink::Warn,
        IncidentState::Acknowledged => Ink::Name,
        IncidentState::Resolved => Ink::Good,
    };
    (ink, state.as_str().to_owned())
}

/// By whom an incident is looked after, and since when.
pub(super) fn acknowledged(who: &Acknowledged) -> String {
    format!("acknowledged by {} at {} ({})", escape(who.by.as_str()), moment(who.at.wall), escape(who.via.as_str()))
}

/// Who says that an incident was no attack, and why.
fn backfill(is_one: bool, term: &Term) {
    if is_one {
        term.line(
            "  a backfill: a source held this before quell first followed it; playbooks only planned, nobody was told",
        );
    }
}

fn false_positive(known: Option<&FalsePositive>, term: &Term) {
    if let Some(known) = known {
        let FalsePositive { by, at, reason } = known;
        term.line(format!(
            "  resolved as a false positive by {} at {}: {}",
            escape(by.as_str()),
            moment(at.wall),
            escape(reason)
        ));
    }
}

/// Every incident, a line each.
pub(super) fn list(incidents: &[IncidentSummary], term: &Term) {
    let mut table = Table::new(&["incident", "state", "level", "opened", "detections", "runs", "about", "what"]);
    for one in incidents {
        table.row([
            (Ink::Name, one.id.to_string()),
            state(one.state),
            (level_ink(one.level), one.level.to_string()),
            cell(moment(one.opened.wall)),
            cell(one.detections.to_string()),
            cell((one.runs.len() as u64 + one.runs_more).to_string()),
            cell(one.entity.to_string()),
            cell(if one.backfill { format!("{} (backfill)", one.title) } else { one.title.clone() }),
        ]);
    }
    table.print(term, "no incident has been opened yet");
}

/// One incident, whole.
pub(super) fn show(incident: &IncidentView, term: &Term) {
    let one = incident;
    let (ink, word) = state(one.state);
    term.line(format!(
        "{}  {}  {}",
        term.ink(Ink::Bold, one.id.as_str()),
        term.ink(ink, &word),
        term.ink(level_ink(one.level), one.level.as_str())
    ));
    term.line(format!("  {}", escape(&one.title)));
    term.line(format!("  about {}", escape(&one.entity.to_string())));
    if let Some(who) = &one.acknowledged {
        term.line(format!("  {}", acknowledged(who)));
    }
    if let Some(by) = &one.silenced {
        let text = format!("nobody is paged before {}: {}", moment(by.until.wall), by.shown());
        term.line(format!("  {}", term.ink(Ink::Warn, &escape(&text))));
    }
    if let Some(told) = one.exhausted {
        let since = moment(told.wall);
        let text = format!("NOBODY ANSWERS, and the last resort was told at {since}: `quell incident ack {}`", one.id);
        term.line(format!("  {}", term.ink(Ink::Bad, &escape(&text))));
    }
    false_positive(one.false_positive.as_ref(), term);
    backfill(one.backfill, term);
    for loss in &incident.losses {
        term.line(format!("  {}", term.ink(Ink::Warn, &lost(loss))));
    }
    recorded(incident.pinned.as_ref(), term);
    term.line("");
    let mut table = Table::new(&["run", "state", "mode", "playbook", "what came of it"]);
    for run in &incident.runs {
        table.row([
            (Ink::Name, run.id.to_string()),
            (run_view::state_ink(run.state), run.state.as_str().to_owned()),
            cell(run.mode.to_string()),
            cell(run.playbook.as_str()),
            cell(run.summary.as_str()),
        ]);
    }
    table.print(term, if incident.runs_pruned.is_empty() { "no playbook answered" } else { "no run is left" });
    pruned(&incident.runs_pruned, term);
    left_out(&one.more, term);
    term.line("");
    timeline(incident, term);
}

/// Says which runs are no longer there.
fn pruned(runs: &[RunId], term: &Term) {
    if !runs.is_empty() {
        let names: Vec<&str> = runs.iter().map(RunId::as_str).collect();
        let word = term.ink(Ink::Dim, "pruned");
        term.line(format!("  {word}  {}: their records went for their age", escape(&names.join(", "))));
    }
}

/// Says what a view leaves out, and how to see it.
fn left_out(more: &More, term: &Term) {
    let counts = [
        (more.detections, "detections"),
        (more.runs, "runs"),
        (more.notes, "notes"),
        (more.timeline, "lines"),
        (more.held, "causes"),
        (more.moments, "moments"),
    ];
    let some: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !some.is_empty() {
        let text = format!("and {} more, from the middle; --limit and --since show them", some.join(", "));
        term.line(format!("  {}", term.ink(Ink::Warn, &text)));
    }
}

fn lost(loss: &LossView) -> String {
    let class = loss.class.map_or("", Class::as_str).replace('_', " ");
    let whose = match (&loss.path, loss.cgroup) {
        (Some(path), _) => format!(" of {}", escape(path.as_str())),
        (None, Some(id)) if id != 0 => format!(" of cgroup {id}"),
        (None, _) => String::new(),
    };
    let LossView { count, why, .. } = loss;
    format!(
        "degraded: {count} {class} events{whose} were lost ({}); something may be missing here",
        why.replace('_', " ")
    )
}

/// How much of its process tree there is to read.
fn kept(pinned: &RecorderPinned) -> String {
    let (from, to) = (time_of_day(pinned.from.wall), time_of_day(pinned.to.wall));
    match pinned.events {
        0 => format!("recorded: nothing of its process tree from {from} to {to}"),
        events => format!(
            "recorded: {events} events of its process tree from {from} to {to} ({}); `quell incident show ID --events`",
            size(pinned.bytes)
        ),
    }
}

/// What the recorder keeps of what surrounds it, and how much it lacks.
fn recorded(pinned: Option<&RecorderPinned>, term: &Term) {
    let Some(pinned) = pinned else { return };
    if pinned.let_go {
        return term.line("  its events were let go: newer incidents needed the room");
    }
    term.line(format!("  {}", kept(pinned)));
    if pinned.unrecorded_ms > 0 {
        let missing = span(Duration::from_millis(pinned.unrecorded_ms));
        term.line(format!("  {}", term.ink(Ink::Warn, &format!("of that time {missing} were not recorded in full"))));
    }
    if pinned.lost > 0 {
        let dropped = format!("the recorder dropped {} events, whosever, in that time", pinned.lost);
        term.line(format!("  {}", term.ink(Ink::Warn, &dropped)));
    }
    if pinned.left_out > 0 {
        let left_out = format!("{} more of its events had no room", pinned.left_out);
        term.line(format!("  {}", term.ink(Ink::Warn, &left_out)));
    }
}

/// Every line of the timeline, with the time since the first.
pub(super) fn timeline(incident: &IncidentView, term: &Term) {
    let Some(first) = incident.timeline.first().map(|line| line.at) else { return };
    for line in &incident.timeline {
        term.line(format!(
            "  {}  {:>9}  {}",
            term.ink(Ink::Dim, &time_of_day(line.at.wall)),
            since(first, line.at),
            clip(&line.text, SHOWN),
        ));
    }
}

/// Why everything was decided as it was.
pub(super) fn explain(told: &Explanation, term: &Term) {
    let (ink, word) = state(told.state);
    term.line(format!("{}  {}  {}", term.ink(Ink::Bold, told.id.as_str()), term.ink(ink, &word), escape(&told.title)));
    if let Some(who) = &told.acknowledged {
        term.line(format!("  {}", acknowledged(who)));
    }
    false_positive(told.false_positive.as_ref(), term);
    backfill(told.backfill, term);
    for detection in &told.detections {
        term.line("");
        term.line(format!(
            "{}  {}  {}",
            term.ink(Ink::Dim, &time_of_day(detection.at.wall)),
            term.ink(level_ink(detection.level), detection.level.as_str()),
            term.ink(Ink::Bold, &detection.title),
        ));
        term.line(format!(
            "  rule {} on {}",
            term.ink(Ink::Name, detection.rule.as_str()),
            clip(&detection.who, SHOWN)
        ));
        for matched in &detection.matched {
            term.line(format!("    {} = {}", term.ink(Ink::Name, &matched.field), value(&matched.value, SHOWN)));
        }
        decisions(&detection.decided, term);
    }
    for come in &told.moments {
        term.line("");
        let time = term.ink(Ink::Dim, &time_of_day(come.at.wall));
        term.line(format!("{time}  {}", term.ink(Ink::Bold, &format!("the incident is {}", come.moment))));
        decisions(&come.decided, term);
    }
    if !told.held.is_empty() {
        term.line("");
        term.line(term.ink(Ink::Bold, "held back"));
    }
    for cause in &told.held {
        let run = cause.run.as_ref().map(|run| format!(" ({run})")).unwrap_or_default();
        term.line(format!(
            "  {}  {}: {}{}",
            term.ink(Ink::Warn, cause.what.as_str()),
            escape(&cause.held),
            escape(&cause.why),
            escape(&run)
        ));
    }
    if told.pinned.is_some() {
        term.line("");
        recorded(told.pinned.as_ref(), term);
    }
    for loss in &told.lost {
        term.line(format!("  {}", term.ink(Ink::Warn, &lost(loss))));
    }
    pruned(&told.runs_pruned, term);
    left_out(&told.more, term);
}

/// What every playbook decided, a line each.
fn decisions(all: &[Decided], term: &Term) {
    for decided in all {
        let (ink, word) = decision(decided.decision);
        let run = decided.run.as_ref().map(|run| format!(" → {run}")).unwrap_or_default();
        term.line(format!(
            "  {}  {}{}  {}",
            term.ink(ink, &format!("{word:<8}")),
            escape(decided.playbook.as_str()),
            escape(&run),
            term.ink(Ink::Dim, &decided.why),
        ));
    }
}

fn decision(decision: TriggerDecision) -> (Ink, &'static str) {
    match decision {
        TriggerDecision::Started => (Ink::Good, "started"),
        TriggerDecision::Joined => (Ink::Good, "joined"),
        TriggerDecision::NotMine => (Ink::Dim, "not mine"),
        TriggerDecision::IfFalse => (Ink::Dim, "if false"),
        TriggerDecision::Held => (Ink::Warn, "held"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_was_recorded_there_is_nothing_to_be_shown() {
        let pinned = |events| {
            let at = serde_json::json!({ "wall": "2026-01-02T03:04:05Z", "boot_ns": 0 });
            let of = serde_json::json!({
                "incident": "i-1", "from": at, "to": at, "events": events, "bytes": events * 100, "unrecorded_ms": 0,
                "lost": 0, "left_out": 0, "let_go": false,
            });
            serde_json::from_value::<RecorderPinned>(of).unwrap()
        };
        assert_eq!(kept(&pinned(0)), "recorded: nothing of its process tree from 03:04:05.000 to 03:04:05.000");
        let some = kept(&pinned(12));
        assert!(
            some.starts_with("recorded: 12 events") && some.contains("(1.2 KiB)") && some.contains("--events"),
            "{some}"
        );
    }
}
