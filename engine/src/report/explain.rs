//! Why: which fields matched, what every playbook decided, what held something back, what was never seen.
//!
//! Owns the answer to "why did it, or why did it not". Never looks at definitions: what was decided then was recorded
//! then.

use super::bound::{More, Wanted};
use super::incident;
use super::run;
use super::system::{LossView, System};
use super::timeline::who;
use crate::incident::{Acknowledged, FalsePositive};
use crate::store::Journal;
use quell_model::detection::MatchedField;
use quell_model::playbook::IncidentMoment;
use quell_model::record::{Decided, IncidentState, RecorderPinned};
use quell_model::{
    Body, Entity, Hash, IncidentId, Kind, Level, Mode, Name, Outcome, Record, RunId, Stamp, StoreError, StreamId,
};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use utoipa::ToSchema;

/// Why an incident went as it did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The incident's id.
    pub id: IncidentId,
    /// The first rule's title.
    pub title: String,
    /// The highest level so far.
    pub level: Level,
    /// Open, acknowledged or resolved.
    pub state: IncidentState,
    /// Who looks after it; of a resolved one, who did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// Of a resolved one: it was no attack, says who, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_positive: Option<FalsePositive>,
    /// What it is about.
    pub entity: Entity,
    /// It is about what a source held before it was first followed: nobody was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
    /// Each detection, with what came of it.
    pub detections: Vec<ExplainedDetection>,
    /// Each moment at which playbooks wait for incidents (`on: { incident: … }`), with what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<ExplainedMoment>,
    /// What held something back: triggers, modes, guards, the breaker, a pause.
    pub held: Vec<Cause>,
    /// What was lost while it went on, and so never seen.
    pub lost: Vec<LossView>,
    /// Runs whose records were pruned: what held them back is no longer known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs_pruned: Vec<RunId>,
    /// What the recorder keeps of what surrounds it.
    #[serde(default)]
    pub pinned: Option<RecorderPinned>,
    /// What of all this is left out: of long lists the first and the last are shown.
    #[serde(default, skip_serializing_if = "More::is_none")]
    pub more: More,
}

/// One detection, with what came of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExplainedDetection {
    /// The detection's id.
    pub id: Hash,
    /// Which rule.
    pub rule: Name,
    /// The rule's title.
    pub title: String,
    /// How bad.
    pub level: Level,
    /// When the event happened.
    pub at: Stamp,
    /// Who did it: for people.
    pub who: String,
    /// Which fields matched which values.
    pub matched: Vec<MatchedField>,
    /// What every playbook decided, and why.
    pub decided: Vec<Decided>,
}

/// A moment of the incident, with what came of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExplainedMoment {
    /// When.
    pub at: Stamp,
    /// Opened, acknowledged or resolved.
    pub moment: IncidentMoment,
    /// What every playbook decided that waits for moments of incidents, and why.
    pub decided: Vec<Decided>,
}

/// Something that held something back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// When.
    pub at: Stamp,
    /// The kind of the record that says so.
    pub kind: Kind,
    /// What: `trigger`, `mode`, `breaker`, `pause`, or the guard's name.
    pub what: Name,
    /// What was held back.
    pub held: String,
    /// Why.
    pub why: String,
    /// In which run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// On which detection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection: Option<Hash>,
}

/// Explains one incident; none when there is no such incident.
///
/// # Errors
/// As [`Journal::read`].
pub fn explain(journal: &Journal, id: &IncidentId, wanted: Wanted) -> Result<Option<Explanation>, StoreError> {
    let (mut fold, mut detections, mut held) = (None, wanted.ends(), wanted.ends());
    let mut moments = wanted.ends();
    incident::visit(journal, &StreamId::incident(id), wanted, &mut fold, &mut |record| {
        if wanted.is_since(record.at) {
            detections.extend(detection(record));
            moments.extend(moment(record));
            held.extend(held_detection(record));
        }
    })?;
    let Some(fold) = fold else { return Ok(None) };
    let window = fold.window();
    let system = System::read(journal, window)?;
    let lost = fold.losses(&system);
    let (detections, detections_more) = detections.done();
    let (moments, moments_more) = moments.done();
    let (mut held, mut held_more) = held.done();
    let known = |cause: &Cause| detections.iter().any(|known| Some(known.id) == cause.detection);
    held.extend(System::held(journal, window)?.iter().filter_map(held_detection).filter(known));
    let (mut playbooks, mut runs_pruned) = (Vec::new(), Vec::new());
    let (runs, runs_more) = fold.runs.done();
    for run in &runs {
        let stream = StreamId::run(run);
        let records = journal.read(&stream, 1)?;
        if records.is_empty() && journal.pruned(&stream)?.is_some() {
            runs_pruned.push(run.clone());
        }
        if let Some(view) = run::fold(&records) {
            held.extend(mode(&view));
            playbooks.push(view.playbook.clone());
        }
        held.extend(records.iter().filter_map(|record| in_run(record, run)));
    }
    held.extend(system.breakers().filter_map(|record| breaker(record, &playbooks)));
    held.extend(system.pauses(window).map(|(at, by)| paused(at, format!("{by} paused every action"))));
    if system.paused_before() {
        held.push(paused(fold.at, "quell was paused when it began".to_owned()));
    }
    held.sort_by_key(|cause| cause.at.wall);
    let mut all = wanted.ends();
    all.extend(once(held));
    let (held, more) = all.done();
    held_more += more;
    Ok(Some(Explanation {
        id: id.clone(),
        title: fold.opened.title,
        level: fold.level,
        state: fold.standing.state,
        acknowledged: fold.standing.acknowledged,
        false_positive: fold.standing.false_positive,
        backfill: fold.opened.backfill,
        entity: fold.opened.entity,
        lost,
        runs_pruned,
        pinned: fold.pinned,
        detections,
        moments,
        held,
        more: More {
            detections: detections_more,
            runs: runs_more,
            held: held_more,
            moments: moments_more,
            ..More::default()
        },
    }))
}

/// A step that was only planned, or asked, because of its run's mode or of the breaker, says no more than those do.
fn once(held: Vec<Cause>) -> Vec<Cause> {
    let is_wider = |cause: &&Cause| matches!(cause.kind, Kind::RunStarted | Kind::BreakerChanged);
    // The reasons are few, however many runs there were.
    let told: HashSet<String> = held.iter().filter(is_wider).map(|cause| cause.why.clone()).collect();
    let is_told = |step: &Cause| told.iter().any(|why| !why.is_empty() && step.why.contains(why.as_str()));
    let is_wide = |cause: &Cause| !matches!(cause.kind, Kind::StepPlanned | Kind::QuestionAsked);
    held.into_iter().filter(|cause| is_wide(cause) || !is_told(cause)).collect()
}

fn detection(record: &Record) -> Option<ExplainedDetection> {
    let Body::DetectionAccepted(accepted) = &record.body else { return None };
    let detection = &accepted.detection;
    Some(ExplainedDetection {
        id: detection.id,
        rule: detection.rule.name.clone(),
        title: detection.rule.title.to_string(),
        level: detection.rule.level,
        at: detection.event.head.at,
        who: who(&detection.event),
        matched: detection.matched.clone(),
        decided: accepted.decided.clone(),
    })
}

fn moment(record: &Record) -> Option<ExplainedMoment> {
    let Body::MomentDecided(come) = &record.body else { return None };
    Some(ExplainedMoment { at: record.at, moment: come.moment, decided: come.decided.clone() })
}

fn held_detection(record: &Record) -> Option<Cause> {
    let Body::DetectionHeld(held) = &record.body else { return None };
    let what = held
        .playbook
        .as_ref()
        .map_or_else(|| held.rule.to_string(), |playbook| format!("{playbook} for {}", held.rule));
    Some(Cause {
        at: record.at,
        kind: Kind::DetectionHeld,
        what: "trigger".into(),
        held: what,
        why: held.reason.clone(),
        run: None,
        detection: Some(held.detection),
    })
}

/// A run that may not act, or not by itself, says what made it so.
fn mode(view: &run::RunView) -> Option<Cause> {
    let does = match view.mode {
        Mode::Enforce => return None,
        Mode::Approve => "asks before it acts",
        Mode::Observe => "only plans",
    };
    Some(Cause {
        at: view.started,
        kind: Kind::RunStarted,
        what: "mode".into(),
        held: format!("{} {does} ({})", view.playbook, view.mode),
        why: view.mode_because.clone(),
        run: Some(view.id.clone()),
        detection: None,
    })
}

fn in_run(record: &Record, run: &RunId) -> Option<Cause> {
    let (what, held, why) = match &record.body {
        Body::GuardRefused(refused) => {
            let on = if refused.target.is_empty() { String::new() } else { format!(" on {}", refused.target) };
            (refused.guard.clone(), format!("{}{on}", refused.action), refused.why.clone())
        }
        Body::QuestionAsked(asked) => {
            let action = asked.action.as_ref().map(ToString::to_string).unwrap_or_default();
            (asked.guard.clone()?, format!("{action} at step {} asks first", asked.part.step), asked.because.clone())
        }
        Body::StepPlanned(planned) if planned.outcome == Outcome::Planned => {
            ("mode".into(), format!("{} at step {}", planned.action, planned.part.step), planned.because.clone())
        }
        Body::StepSkipped(skipped) => ("if".into(), format!("step {}", skipped.step), skipped.why.clone()),
        Body::StepBlocked(blocked) => {
            let why = blocked.by.as_ref().map_or_else(
                || "the run ended before it".to_owned(),
                |need| format!("{need}, which it needs, did not end well"),
            );
            ("needs".into(), format!("step {}", blocked.step), why)
        }
        _ => return None,
    };
    let run = Some(run.clone());
    Some(Cause { at: record.at, kind: record.body.kind(), what, held, why, run, detection: None })
}

fn breaker(record: &Record, playbooks: &[Name]) -> Option<Cause> {
    let Body::BreakerChanged(changed) = &record.body else { return None };
    (changed.open && playbooks.contains(&changed.playbook)).then(|| Cause {
        at: record.at,
        kind: Kind::BreakerChanged,
        what: "breaker".into(),
        held: format!("{} asks before it acts", changed.playbook),
        why: changed.by.as_ref().map_or_else(|| changed.why.clone(), |by| format!("{by}: {}", changed.why)),
        run: None,
        detection: None,
    })
}

fn paused(at: Stamp, why: String) -> Cause {
    let held = "every action".to_owned();
    Cause { at, kind: Kind::PauseChanged, what: "pause".into(), held, why, run: None, detection: None }
}
