//! `quell run output`: one value of a run, whole.
//!
//! Owns how it is asked for, and the hint to it where a view shows a reference.

use super::client::{Client, segment};
use super::escape::escape;
use super::{Exit, Fail, Term};
use quell_engine::report::StepView;
use quell_model::Json;
use quell_model::record::Stored;

/// See [`print`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell run output r-0f1e2d3c4b5a/evidence --path files > files.json\n  quell run output r-0f1e2d3c4b5a/revoke[2] --given\n  quell run output r-0f1e2d3c4b5a"
)]
pub(super) struct Output {
    /// The run's id, as in `quell run list`, or RUN/STEP, or RUN/STEP[ITEM]
    id: String,
    /// A part of it: names and numbers from 0, with dots between them
    #[arg(long, value_name = "A.B")]
    path: Option<String>,
    /// What it was given, and not what it gave
    #[arg(long)]
    given: bool,
}

/// Prints it.
pub(super) fn print(client: &Client, args: &Output, term: &Term) -> Result<Exit, Fail> {
    let (run, part) = args.id.split_once('/').map_or((args.id.as_str(), None), |(run, part)| (run, Some(part)));
    let (step, item) = match part.and_then(|part| part.strip_suffix(']')).and_then(|part| part.rsplit_once('[')) {
        Some((step, item)) => (Some(step), Some(item)),
        None => (part, None),
    };
    let mut asked: Vec<String> = Vec::new();
    asked.extend(step.map(|step| format!("step={}", segment(step))));
    asked.extend(item.map(|item| format!("item={}", segment(item))));
    asked.extend(args.path.as_deref().map(|path| format!("path={}", segment(path))));
    asked.extend(args.given.then(|| "given=true".to_owned()));
    let asked = if asked.is_empty() { String::new() } else { format!("?{}", asked.join("&")) };
    let value: Json = client.get(&format!("/runs/{}/output{asked}", segment(run)))?;
    if term.is_json() {
        term.document(&value);
    } else {
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        text.lines().for_each(|line| term.whole(escape(line)));
    }
    Ok(Exit::Right)
}

/// What of a step lies apart: what each is, and the command that shows it.
pub(super) fn apart(run: &str, step: &StepView) -> Vec<(String, String)> {
    let gave = found(&step.output).into_iter().map(|(path, of)| (path, of, ""));
    let given = found(&step.input).into_iter().map(|(path, of)| (path, of, " --given"));
    let line = |(path, of, given): (Option<&String>, Stored, &str)| {
        let at = path.map(|path| format!(" --path {path}")).unwrap_or_default();
        let name = path.map_or("all of it", |path| path.as_str());
        (format!("{name}: {of}"), format!("quell run output {run}/{}{at}{given}", step.id))
    };
    gave.chain(given).map(line).collect()
}

fn found(value: &Json) -> Vec<(Option<&String>, Stored)> {
    if let Some(of) = Stored::of(value) {
        return vec![(None, of)];
    }
    let map = value.as_object().into_iter().flatten();
    map.filter_map(|(key, value)| Some((Some(key), Stored::of(value)?))).collect()
}
