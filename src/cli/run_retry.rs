//! `quell run retry|skip`: what goes on after somebody has mended what was in the way.
//!
//! A whole outage is a loop here over what the daemon lists: each run is asked for alone, and each answer is printed as it comes.

use super::client::{Client, segment};
use super::escape::escape;
use super::since::moment;
use super::{Exit, Fail, Term};
use jiff::Timestamp;
use quell_engine::report::RunSummary;
use quell_engine::run::answers::{RunAgain, RunSkipped};
use quell_model::RunId;
use serde::Serialize;
use serde_json::{Value, json};

/// See [`retry`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell run retry r-0f1e2d3c4b5a --why \"the disk has room again\"\n  quell run retry r-0f1e2d3c4b5a --from evidence\n  quell run retry --since 2h --failed --why \"the registry is back\""
)]
pub(super) struct Retry {
    /// The run's id, as in `quell run list`
    #[arg(required_unless_present = "failed")]
    id: Option<String>,
    /// From this step on, with all that comes after it; without it, what did not end well
    #[arg(long, value_name = "STEP", requires = "id")]
    from: Option<String>,
    /// Every run that failed, instead of one
    #[arg(long, conflicts_with = "id", requires = "since")]
    failed: bool,
    /// With --failed: those that ended since, a time (2026-11-28T12:00:00Z) or how long ago (2h)
    #[arg(long, value_name = "T", value_parser = moment, requires = "failed")]
    since: Option<Timestamp>,
    /// Why, for the timeline
    #[arg(long, default_value = "")]
    why: String,
}

/// See [`skip`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  quell run skip r-0f1e2d3c4b5a/evidence --why \"the disk is gone, there is nothing to copy\""
)]
pub(super) struct Skip {
    /// The run's id and the step, as RUN/STEP
    id: String,
    /// Why, for the timeline
    #[arg(long)]
    why: String,
}

/// Tries one run again, or all that failed.
pub(super) fn retry(client: &Client, args: &Retry, term: &Term) -> Result<Exit, Fail> {
    let body = json!({ "from": args.from, "why": args.why });
    let Some(id) = &args.id else { return all(client, args.since, &body, term) };
    let answer = Tried::Again(client.post(&format!("/runs/{}/retry", segment(id)), &body)?);
    term.answer(&answer, || format!("{}; `quell run show {}` says how it ends", answer.line(), escape(id)));
    Ok(Exit::Right)
}

fn all(client: &Client, since: Option<Timestamp>, body: &Value, term: &Term) -> Result<Exit, Fail> {
    let runs: Vec<RunSummary> = client.all(&listed(true, false, since))?;
    let (mut exit, mut answers, mut gone) = (Exit::Right, Vec::new(), None);
    // The earliest first: later ones may build on what it does.
    for run in runs.iter().rev() {
        let answer = match client.post(&format!("/runs/{}/retry", segment(run.id.as_str())), body) {
            Ok(again) => Tried::Again(again),
            Err(fail) if fail.exit == Exit::NotRight => {
                exit = Exit::NotRight;
                Tried::Not { id: run.id.clone(), error: fail.what }
            }
            // Whoever cannot be reached is not asked for each; what was done until then is told.
            Err(fail) => {
                gone = Some(fail);
                break;
            }
        };
        if !term.is_json() {
            term.line(answer.line());
        }
        answers.push(answer);
    }
    if term.is_json() && (gone.is_none() || !answers.is_empty()) {
        term.document(&answers);
    } else if runs.is_empty() {
        term.line("no run has failed since then");
    }
    gone.map_or(Ok(exit), Err)
}

/// What became of one run.
#[derive(Serialize)]
#[serde(untagged)]
enum Tried {
    Again(RunAgain),
    Not { id: RunId, error: String },
}

impl Tried {
    fn line(&self) -> String {
        match self {
            Self::Again(RunAgain { id, again }) => {
                let parts: Vec<_> = again.iter().map(|part| escape(part)).collect();
                format!("{}: again {}", escape(id.as_str()), parts.join(", "))
            }
            Self::Not { id, error } => format!("{}: not tried again: {}", escape(id.as_str()), escape(error)),
        }
    }
}

/// Where the API lists runs.
pub(super) fn listed(failed: bool, stuck: bool, since: Option<Timestamp>) -> String {
    let since = since.map(|at| format!("&since={}", segment(&at.to_string()))).unwrap_or_default();
    format!("/runs?failed={failed}&stuck={stuck}{since}")
}

/// Leaves a step out.
pub(super) fn skip(client: &Client, args: &Skip, term: &Term) -> Result<Exit, Fail> {
    let Some((run, step)) = args.id.split_once('/') else {
        return Err(Fail::usage(format!("`{}` names no step", args.id)).hint("RUN/STEP, as in `quell run show RUN`"));
    };
    let answer: RunSkipped =
        client.post(&format!("/runs/{}/skip", segment(run)), &json!({ "step": step, "why": args.why }))?;
    term.answer(&answer, || format!("{}: skipped; what needs it goes on", escape(&args.id)));
    Ok(Exit::Right)
}
