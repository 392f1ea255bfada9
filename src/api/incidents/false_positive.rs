//! An incident that was no attack: said, and the exception that is drafted then.
//!
//! Owns the bounds of what a person says of it. The draft is made here, beside the engine's thread, out of the journal and of the rules
//! in force; the engine writes it down with the incident's end, so that what is answered is what stands in the journal.

use super::super::access::Via;
use super::super::caller::PeerProcess;
use super::super::given::Given;
use super::super::problem::{Absent, NotNow, Problem, Pruned, TooLong, Unreadable, Wrong};
use super::super::{App, Caller};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use quell_engine::clock::SystemClock;
use quell_engine::detect::{Draft, DraftOf, end_of_day};
use quell_engine::load::units;
use quell_engine::report::{self, ExceptionView};
use quell_engine::run::Request;
use quell_engine::run::answers::{IsFalsePositive, RunUndoing};
use quell_model::record::{ExceptionDrafted, NotExcepted};
use quell_model::{Clock, IncidentId, Name};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// A reason is not longer: it stands in lists, and in the exception.
const LONGEST: usize = 1_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Where nobody says how long the exception is to hold.
const EXPIRES: &str = "90d";
/// An exception is looked at again once a year.
const MOST_DAYS: u32 = 366;

/// Why an incident was no attack.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct NoAttack {
    /// In the incident's timeline, and in the exception. At least a word.
    #[schema(min_length = 1, max_length = 1_000, examples("the nightly mirror job, ticket 12"))]
    reason: String,
    /// How long the exception is to hold, from `1d` to `366d`; it ends with the last of its days, in UTC.
    #[serde(default)]
    #[schema(default = "90d", examples("90d"))]
    expires: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FalsePositiveResolved {
    /// The incident.
    pub(crate) id: IncidentId,
    /// Its runs that are being taken back, the latest first; how each ends stands in the run. Empty: nothing that they did stands and can
    /// be taken back.
    pub(crate) runs: Vec<RunUndoing>,
    /// The exception that was drafted; none: `left_out` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exception: Option<ExceptionView>,
    /// Rules of the incident to which none was drafted, and why.
    pub(crate) left_out: Vec<NotExcepted>,
}

/// Say that an incident was no attack
///
/// Takes back all that its runs did, the latest run first; resolves it as a false positive; and drafts an exception to the rules that have
/// detected it, as narrow as what they saw: for a person to read and commit. 409: it is resolved already, or not all of it can be taken back now.
/// 403: it would answer a `confirm` from where the suspect stands, and nothing is done.
#[utoipa::path(
    post, path = "/incidents/{id}/false-positive", tag = "incidents", extensions(("x-permission" = json!("undo"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    request_body(content = NoAttack, description = "Why, and how long the exception is to hold"),
    responses(
        (status = 200, description = "It is resolved, and what was done is being taken back", body = FalsePositiveResolved),
        Unreadable, Absent, NotNow, Pruned, TooLong, Wrong
    ),
)]
pub(in crate::api) async fn false_positive(
    Path(incident): Path<IncidentId>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    Extension(via): Extension<Via>,
    Extension(peer): Extension<PeerProcess>,
    State(app): State<App>,
    Given(said): Given<NoAttack>,
) -> Result<Json<FalsePositiveResolved>, Problem> {
    let (reason, way) = (reason(said.reason)?, app.way(via, peer).await?);
    let (exception, left_out) = drafted(&app, (&incident, &by), &reason, said.expires.as_deref()).await?;
    let is_drafted = exception.is_some();
    let request = Request::FalsePositive { incident: incident.clone(), reason, by, way, exception };
    let IsFalsePositive { id, runs } = app.ask(request).await?;
    let exception =
        if is_drafted { app.view(move |journal| report::exception(journal, &incident)).await? } else { None };
    Ok(Json(FalsePositiveResolved { id, runs, exception, left_out }))
}

/// The exception to the rules of an incident, if one can be written, and the rules to which none is.
pub(in crate::api) async fn drafted(
    app: &App,
    (incident, by): (&IncidentId, &Name),
    reason: &str,
    expires: Option<&str>,
) -> Result<(Option<Box<ExceptionDrafted>>, Vec<NotExcepted>), Problem> {
    let at = SystemClock.now().wall;
    let last_day = last_day(expires.unwrap_or(EXPIRES), at)?;
    let (of, rules) = (incident.clone(), app.desk.rules());
    let Some(drafting) = app.clone().view(move |journal| report::drafting(journal, &of)).await? else {
        return Err(app.clone().absent("incident", incident.as_str()).await);
    };
    let of = DraftOf { incident: incident.clone(), owner: by.clone(), reason: reason.to_owned(), at, last_day };
    let drafted = tokio::task::spawn_blocking(move || drafting.draft(&rules, &of)).await;
    let Draft { text, rules, left_out } =
        drafted.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the exception could not be drafted"))?;
    let exception = (!text.is_empty()).then(|| {
        let (by, reason, left_out) = (by.clone(), reason.to_owned(), left_out.clone());
        let expires = end_of_day(last_day).unwrap_or(Timestamp::MAX);
        Box::new(ExceptionDrafted { by, reason, expires, rules, text, left_out })
    });
    Ok((exception, left_out))
}

/// Show the exception that was drafted
///
/// What `false-positive` has drafted of this incident, the last one. 409: none was.
#[utoipa::path(
    get, path = "/incidents/{id}/exception", tag = "incidents", extensions(("x-permission" = json!("read"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    responses((status = 200, description = "The exception", body = ExceptionView), Absent, NotNow, Pruned),
)]
pub(in crate::api) async fn exception(
    Path(incident): Path<IncidentId>,
    State(app): State<App>,
) -> Result<Json<ExceptionView>, Problem> {
    let of = incident.clone();
    let found = app.clone().view(move |journal| {
        let stream = quell_model::StreamId::incident(&of);
        Ok((report::exception(journal, &of)?, journal.has(&stream)))
    });
    match found.await? {
        (Some(found), _) => Ok(Json(found)),
        (None, true) => {
            let what = format!("no exception was drafted of incident `{incident}`");
            let hint = format!("`quell incident false-positive {incident} --reason TEXT` drafts one");
            Err(Problem::new(StatusCode::CONFLICT, what).hint(hint))
        }
        (None, false) => Err(app.absent("incident", incident.as_str()).await),
    }
}

fn wrong(what: impl Into<String>, hint: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what).hint(hint)
}

pub(in crate::api) fn reason(text: String) -> Result<String, Problem> {
    let text = text.trim().to_owned();
    let long = text.chars().count();
    match long {
        0 => {
            Err(wrong("`reason` is empty", "say why it was no attack: it stands in the incident and in the exception"))
        }
        _ if long > LONGEST => Err(wrong(
            format!("`reason` has {long} characters; the most is {LONGEST}"),
            "a note can say more: `quell incident note`",
        )),
        _ => Ok(text),
    }
}

/// The last day on which an exception holds.
fn last_day(expires: &str, at: Timestamp) -> Result<jiff::civil::Date, Problem> {
    let lasts = units::duration(expires).filter(|lasts| (DAY..=DAY * MOST_DAYS).contains(lasts));
    let end = lasts.and_then(|lasts| at.checked_add(SignedDuration::try_from(lasts).ok()?).ok());
    let end =
        end.ok_or_else(|| wrong(format!("`expires` is `{expires}`"), "a duration from `1d` to `366d`, like `90d`"))?;
    Ok(end.to_zoned(TimeZone::UTC).date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_and_an_end_have_bounds() {
        assert_eq!(reason(" mirror ".to_owned()), Ok("mirror".to_owned()));
        assert!(reason(" \n".to_owned()).is_err() && reason("é".repeat(LONGEST + 1)).is_err());
        assert!(reason("é".repeat(LONGEST)).is_ok());
        let at: Timestamp = "2026-11-29T18:00:00Z".parse().unwrap();
        assert_eq!(last_day("90d", at).unwrap().to_string(), "2027-02-27");
        assert_eq!(end_of_day(last_day("1d", at).unwrap()).unwrap().to_string(), "2026-12-01T00:00:00Z");
        for wrong in ["", "soon", "23h", "0s", "367d", "-1d", "90"] {
            assert!(last_day(wrong, at).is_err(), "{wrong}");
        }
    }
}
