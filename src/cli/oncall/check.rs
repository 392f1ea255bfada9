//! `quell oncall check`: everything that is wrong with an escalation.yaml. Asks no daemon.
//!
//! Owns how that is shown; the mistakes are the engine's to find.

use crate::cli::escape::escape;
use crate::cli::mistakes::{self, Tally};
use crate::cli::place::must_exist;
use crate::cli::term::Ink;
use crate::cli::{Exit, Fail, Term};
use crate::daemon::around::{self, OnCall};
use quell_engine::escalation::Escalation;
use quell_engine::escalation::channels::Channels;
use serde_json::{Value, json};
use std::path::PathBuf;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell oncall check\n  quell oncall check --config escalation.yaml --json | jq '.mistakes[].what'\n\nEnds with 1 for errors. A channel whose secrets are not set here is off, which is a warning."
)]
pub(crate) struct Args {
    /// The escalation.yaml [default: that of /etc/quell/quell.yaml]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
}

/// Checks it.
pub(super) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    must_exist(&args.config)?;
    let found = around::on_call(args.config.as_deref());
    let tally = Tally::of(&found.mistakes);
    if term.is_json() {
        term.document(&document(&found, tally));
    } else {
        mistakes::draw(term, &found.mistakes);
        if tally.errors == 0 {
            let shown = found.file.as_ref().map(|file| file.display().to_string());
            let shown = shown.unwrap_or_else(|| "no file: what quell does without one".to_owned());
            term.line(format!("{}  {}", term.ink(Ink::Good, "ok"), escape(&shown)));
        }
    }
    let known = found.escalation.as_ref().map_or_else(String::new, |read| format!("; {}", counted(read)));
    term.note(format!("{tally}{known}"));
    Ok(if tally.errors == 0 { Exit::Right } else { Exit::NotRight })
}

fn document(found: &OnCall, tally: Tally) -> Value {
    let read = found.escalation.as_ref();
    let count = |count: fn(&Escalation) -> usize| read.map_or(0, count);
    json!({
        "ok": tally.errors == 0,
        "file": found.file.as_ref().map(|file| file.display().to_string()),
        "mistakes": mistakes::as_json(&found.mistakes),
        "people": count(|read| read.people.people.len()),
        "schedules": count(|read| read.schedules.len()),
        "policies": count(|read| read.policies.len()),
        "routes": count(|read| read.routes.len()),
        "channels": read.map(|read| channels(&read.channels)).unwrap_or_default(),
    })
}

fn counted(read: &Escalation) -> String {
    let some = |count: usize, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    [
        some(read.people.people.len(), "person", "people"),
        some(read.schedules.len(), "schedule", "schedules"),
        some(read.policies.len(), "policy", "policies"),
        some(read.routes.len(), "route", "routes"),
        format!("told by {}", channels(&read.channels).join(", ")),
    ]
    .join(", ")
}

/// What leads to somebody, by name.
fn channels(all: &Channels) -> Vec<String> {
    let own = [("console", all.console), ("slack", all.slack.is_some()), ("email", all.email.is_some())];
    let own = own.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned());
    own.chain(all.webhooks.keys().map(ToString::to_string)).collect()
}
