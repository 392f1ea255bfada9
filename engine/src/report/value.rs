//! One value of a run, whole: views show of what is large only what it is, and where it lies.
//!
//! Owns which record has it. Reads the records of that kind alone, one after the other, and brings back of the last one what lies
//! apart.

use crate::store::Journal;
use quell_model::record::{Part, QuestionKind};
use quell_model::{Body, Json, Kind, Record, RunId, StoreError, StreamId};

/// Which value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ValueWanted {
    /// Of which step, or item of one; none: of the run.
    pub part: Option<Part>,
    /// What it was given, and not what it gave.
    pub given: bool,
    /// The names and numbers that lead to a part of it; none: all of it.
    pub path: Vec<String>,
}

/// What a run or a step was given or gave, as it stands now; none where there is no such thing.
///
/// # Errors
/// When the journal cannot be read, or what lies apart is not there.
pub fn value(journal: &Journal, run: &RunId, wanted: &ValueWanted) -> Result<Option<Json>, StoreError> {
    let kinds: &[Kind] = match (&wanted.part, wanted.given) {
        (None, false) => &[Kind::RunFinished],
        (None, true) => &[Kind::RunStarted],
        (Some(_), false) => &[Kind::StepFinished],
        (Some(_), true) => &[Kind::StepPlanned, Kind::StepIntended, Kind::QuestionAsked, Kind::SubRunStarted],
    };
    // A question after the act asks about it and is given nothing.
    let asks_after =
        |body: &Body| matches!(body, Body::QuestionAsked(asked) if asked.question == QuestionKind::Confirm);
    let is_of = |body: &Body| wanted.part.is_none() || part_of(body) == wanted.part.as_ref();
    let is_meant = |record: &Record| is_of(&record.body) && !asks_after(&record.body);
    let mut last = None;
    journal.visit(&StreamId::run(run), 1, kinds, &mut |record| {
        if is_meant(&record) {
            last = Some(record);
        }
    })?;
    let Some(record) = last else { return Ok(None) };
    let mut value = match journal.whole(record)?.body {
        Body::RunFinished(finished) => finished.outputs,
        Body::RunStarted(started) => started.inputs,
        Body::StepFinished(finished) => finished.output,
        Body::StepPlanned(planned) => planned.input,
        Body::StepIntended(intended) => intended.input,
        Body::QuestionAsked(asked) => asked.input,
        Body::SubRunStarted(sub) => sub.inputs,
        _ => return Ok(None),
    };
    for name in &wanted.path {
        let below = match &mut value {
            Json::Object(map) => map.get_mut(name).map(Json::take),
            Json::Array(list) => name.parse().ok().and_then(|at: usize| list.get_mut(at)).map(Json::take),
            _ => None,
        };
        let Some(below) = below else { return Ok(None) };
        value = below;
    }
    Ok(Some(value))
}

fn part_of(body: &Body) -> Option<&Part> {
    match body {
        Body::StepFinished(body) => Some(&body.part),
        Body::StepPlanned(body) => Some(&body.part),
        Body::StepIntended(body) => Some(&body.part),
        Body::QuestionAsked(body) => Some(&body.part),
        Body::SubRunStarted(body) => Some(&body.part),
        _ => None,
    }
}
