//! `quell pause` and `quell resume`: the big red button.

use super::client::Client;
use super::term::Ink;
use super::{Exit, Fail, Global, Term};
use serde_json::{Value, json};

/// Stop every action at once; detection goes on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  quell pause      nothing is frozen, killed or cut until `quell resume`")]
pub(crate) struct PauseArgs {}

/// Let actions go on after a pause
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  quell resume")]
pub(crate) struct ResumeArgs {}

/// Stops every action.
pub(crate) fn pause(_: &PauseArgs, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let answer: Value = Client::new(global)?.post("/pause", &json!({}))?;
    if term.is_json() {
        term.document(&answer);
    } else {
        let word = term.ink(Ink::Warn, "paused");
        term.line(format!("{word}: no action runs until `quell resume`; detection goes on"));
    }
    Ok(Exit::Right)
}

/// Lets actions go on.
pub(crate) fn resume(_: &ResumeArgs, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let answer: Value = Client::new(global)?.post("/resume", &json!({}))?;
    if term.is_json() {
        term.document(&answer);
    } else {
        let word = term.ink(Ink::Good, "resumed");
        term.line(format!("{word}: actions run again as their modes allow"));
        match answer["refused_meanwhile"].as_u64() {
            None | Some(0) => {}
            Some(refused) => term.line(format!(
                "{}: {refused} refused meanwhile, and not done now: `quell run list` shows which",
                term.ink(Ink::Warn, "actions")
            )),
        }
    }
    Ok(Exit::Right)
}
