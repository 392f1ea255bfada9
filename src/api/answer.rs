//! Answers to what runs ask.
//!
//! Who counts is the engine's to say, by the people and approvers that it knows; under which name an answer came is `access`'s.

use super::access::Via;
use super::caller::Caller;
use super::problem::Problem;
use super::routes::{Answer, App, body};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use quell_engine::run::{AnswerGiven, Request};
use quell_model::{Hash, Name};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    /// STEP, or STEP[ITEM]; none: the only one that asks.
    #[serde(default)]
    step: Option<String>,
    choice: Name,
    /// The sum of the plan that is meant, as the run shows it.
    #[serde(default)]
    plan: Option<Hash>,
    #[serde(default)]
    why: String,
}

pub(super) async fn answer(
    Path(id): Path<String>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    Extension(Via(via)): Extension<Via>,
    State(app): State<App>,
    text: String,
) -> Answer {
    let Given { step, choice, plan, why } = body(&text)?;
    let (step, item) = match step.as_deref().map(part) {
        None => (None, None),
        Some(Some((step, item))) => (Some(step.into()), item),
        Some(None) => {
            let what = format!("`{}` is no step", step.unwrap_or_default());
            return Err(
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what).hint("STEP, or STEP[0] for its first item")
            );
        }
    };
    let given = AnswerGiven { run: id.into(), step, item, choice, plan, by, via: via.into(), why };
    Ok(Json(app.desk.ask(&app.engine, Request::Answer(Box::new(given))).await?))
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
