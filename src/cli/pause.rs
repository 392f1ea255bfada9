//! `quell pause` and `quell resume`: the big red button. It works without a daemon too, on what a dead one left.

use super::client::{Client, Stands};
use super::escape::escape;
use super::term::Ink;
use super::{Exit, Fail, Global, Term, place};
use crate::daemon;
use quell_engine::run::answers::Paused;
use serde_json::json;

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
    let client = Client::new(global)?;
    let answer: Paused = match client.post("/pause", &json!({})) {
        Err(fail) if is_ours_to_do(&fail, &client) => return beside(true, fail, global, term),
        answer => answer?,
    };
    term.answer(&answer, || {
        format!("{}: no action runs until `quell resume`; detection goes on", term.ink(Ink::Warn, "paused"))
    });
    Ok(Exit::Right)
}

/// Lets actions go on.
pub(crate) fn resume(_: &ResumeArgs, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let client = Client::new(global)?;
    let answer: Paused = match client.post("/resume", &json!({})) {
        Err(fail) if is_ours_to_do(&fail, &client) => return beside(false, fail, global, term),
        answer => answer?,
    };
    if term.is_json() {
        term.document(&answer);
    } else {
        let word = term.ink(Ink::Good, "resumed");
        term.line(format!("{word}: actions run again as their modes allow"));
        match answer.refused_meanwhile {
            0 => {}
            refused => term.line(format!(
                "{}: {refused} refused meanwhile, and not done now: `quell run list` shows which",
                term.ink(Ink::Warn, "actions")
            )),
        }
    }
    Ok(Exit::Right)
}

/// Whether the daemon of this machine does not answer. Whoever has no right to its socket has none to what it leaves.
fn is_ours_to_do(fail: &Fail, client: &Client) -> bool {
    fail.exit == Exit::Unreachable && client.is_local() && client.stands() != Stands::Closed
}

/// No daemon answers: what it left in the kernel and in its journal is told instead.
fn beside(paused: bool, fail: Fail, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let done = daemon::pause_beside(&place::for_client(global.data_dir.as_deref()), daemon::me(), paused);
    if done.kernel_failed {
        let what = if paused { "what it left in the kernel strikes on" } else { "what it left in the kernel is held" };
        let fail = Fail::not_right(format!("{what}: {}", done.left_over.join("; ")));
        return Err(fail.hint("`sudo quell uninstall` takes it out of the kernel; `rm -r /sys/fs/bpf/quell` does too"));
    }
    if !done.is_done() {
        let also = done.left_over.first().map(|why| format!("; {why}")).unwrap_or_default();
        return Err(Fail { what: format!("{}{also}", fail.what), ..fail });
    }
    if term.is_json() {
        term.document(&done);
    } else {
        let (word, ink) = if paused { ("paused", Ink::Warn) } else { ("resumed", Ink::Good) };
        term.line(format!("{} without a daemon: {}", term.ink(ink, word), fail.what));
        if done.kernel {
            term.line(match paused {
                true => "what it left in the kernel does nothing from now on",
                false => "what it left in the kernel acts again",
            });
        }
        if done.journal {
            term.line(match paused {
                true => "the next `quell up` begins paused",
                false => "the next `quell up` acts as its modes allow",
            });
        }
        for why in &done.left_over {
            term.line(format!("{}  {}", term.ink(Ink::Bad, "not done"), escape(why)));
        }
    }
    Ok(Exit::Right)
}
