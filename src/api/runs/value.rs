//! One value of a run, whole.
//!
//! Owns how it is asked for. A view shows of what is large a reference; here it is as it was.

use super::super::App;
use super::super::problem::{Absent, Problem, Pruned, Unreadable};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use quell_engine::report::{self, ValueWanted};
use quell_model::record::Part;
use quell_model::{Json as Value, RunId, StepId};
use serde::Deserialize;
use utoipa::IntoParams;

/// Which value of a run.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct WhichValue {
    /// Of which step; without it, of the run.
    #[serde(default)]
    #[param(value_type = Option<String>, required = false, example = "evidence")]
    step: Option<StepId>,
    /// Of which item of its `for_each`, from 0.
    #[serde(default)]
    #[param(required = false)]
    item: Option<u32>,
    /// A part of it: names and numbers from 0, with dots between them.
    #[serde(default)]
    #[param(required = false, example = "files.0.path")]
    path: Option<String>,
    /// What it was given, and not what it gave.
    #[serde(default)]
    #[param(default = false, required = false)]
    given: bool,
}

/// Show what a run or a step gave, whole
///
/// Where a view has a reference (`$stored`), this has the value. It can be as large as `journal.largest` lets it be.
#[utoipa::path(
    get, path = "/runs/{id}/output", tag = "runs", extensions(("x-permission" = json!("read"))),
    params(("id" = RunId, Path, description = "The run's id, as the list has it"), WhichValue),
    responses((status = 200, description = "The value", body = Value), Unreadable, Absent, Pruned),
)]
pub(in crate::api) async fn output(
    Path(id): Path<RunId>,
    Query(which): Query<WhichValue>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let WhichValue { step, item, path, given } = which;
    if step.is_none() && item.is_some() {
        let what = "an item is one of a step";
        return Err(Problem::new(StatusCode::BAD_REQUEST, what).hint("`?step=NAME&item=0`"));
    }
    let told = step.as_ref().map_or_else(|| "it".to_owned(), |step| format!("`{step}`"));
    let path: Vec<String> = path.iter().flat_map(|path| path.split('.')).map(str::to_owned).collect();
    let at = if path.is_empty() { String::new() } else { format!(" at `{}`", path.join(".")) };
    let wanted = ValueWanted { part: step.map(|step| Part { step, item }), given, path };
    let of = id.clone();
    let (found, known) = app
        .clone()
        .view(move |journal| Ok((report::value(journal, &of, &wanted)?, report::run(journal, &of)?.is_some())))
        .await?;
    match (found, known) {
        (Some(value), _) => Ok(Json(value)),
        (None, false) => Err(app.absent("run", id.as_str()).await),
        (None, true) => {
            let did = if given { "was given" } else { "gave" };
            let what = format!("of the run `{id}` there is nothing that {told} {did}{at}");
            Err(Problem::new(StatusCode::NOT_FOUND, what).hint(format!("`quell run show {id}` shows its steps")))
        }
    }
}
