//! Answers to what runs ask.
//!
//! Who counts is the engine's to say, by the people and approvers that it knows; under which name an answer came is `access`'s.

use super::super::access::Via;
use super::super::caller::PeerProcess;
use super::super::given::{Given, bounded};
use super::super::problem::{Absent, NotNow, Problem, TooLong, Unreadable, Wrong};
use super::super::{App, Caller};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use quell_engine::run::answers::AnswerTaken;
use quell_engine::run::{AnswerGiven, Pressed, Request, Way};
use quell_model::{Hash, LadderId, Name, RunId, StepId};
use serde::Deserialize;
use utoipa::ToSchema;

/// An answer to a question.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct GivenAnswer {
    /// The step that asks, as `STEP`, or `STEP[0]` for the first item of its `for_each`; none: the only one that asks.
    #[serde(default)]
    #[schema(examples("revoke", "revoke[0]"))]
    step: Option<String>,
    /// One of the question's choices.
    #[schema(examples("approve"))]
    choice: Name,
    /// The `sum` of the plan that is meant, as the question shows it: an answer to another plan is refused.
    #[serde(default)]
    plan: Option<Hash>,
    /// The number that the message named which this answers: 409 if it asks something else since.
    #[serde(default)]
    #[schema(examples(3))]
    generation: Option<u32>,
    /// For the timeline.
    #[serde(default)]
    #[schema(examples("seen in the console too"))]
    why: String,
}

/// Answer what a run asks
///
/// 403: this caller may not answer it, or answers from where the suspect stands. 409: it is answered already, or asks about another plan.
#[utoipa::path(
    post, path = "/runs/{id}/answer", tag = "runs", extensions(("x-permission" = json!("answer"))),
    params(("id" = RunId, Path, description = "The run's id, as the list has it")),
    request_body = GivenAnswer,
    responses(
        (status = 200, description = "The answer counts", body = AnswerTaken),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(in crate::api) async fn answer(
    Path(run): Path<RunId>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    Extension(via): Extension<Via>,
    Extension(peer): Extension<PeerProcess>,
    State(app): State<App>,
    Given(given): Given<GivenAnswer>,
) -> Result<Json<AnswerTaken>, Problem> {
    let GivenAnswer { step, choice, plan, generation, why } = given;
    let (step, item) = match step.as_deref().map(part) {
        None => (None, None),
        Some(Some((step, item))) => (Some(StepId::from(step)), item),
        Some(None) => {
            let what = format!("`{}` is no step", step.unwrap_or_default());
            return Err(
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what).hint("STEP, or STEP[0] for its first item")
            );
        }
    };
    let Way { via, from } = app.way(via, peer).await?;
    let of = generation.map(|generation| match &step {
        Some(step) => Ok((generation, LadderId::from(format!("{run}/{step}")))),
        None => {
            let what = "`generation` is of the message of one step, and none is named";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what)
                .hint("`step` names it: RUN/STEP on the command line"))
        }
    });
    let (named, way) = (by.clone(), via.clone());
    let given = AnswerGiven { run, step, item, choice, plan, by, via, from, why: bounded(why)? };
    let wants = Request::Answer(Box::new(given));
    let request = match of.transpose()? {
        None => wants,
        Some((generation, ladder)) => {
            Request::Press(Box::new(Pressed { ladder, generation, link: None, by: named, via: way, wants }))
        }
    };
    Ok(Json(app.ask(request).await?))
}

/// STEP, or STEP[ITEM].
fn part(text: &str) -> Option<(&str, Option<u32>)> {
    let Some((step, rest)) = text.split_once('[') else { return Some((text, None)) };
    Some((step, Some(rest.strip_suffix(']')?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn a_part_is_a_step_or_an_item_of_one() {
        assert_eq!(part("kill"), Some(("kill", None)));
        assert_eq!(part("kill[12]"), Some(("kill", Some(12))));
        assert_eq!([part("kill["), part("kill[]"), part("kill[-1]"), part("kill[1]x")], [None; 4]);
    }
}
