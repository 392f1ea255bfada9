//! `quell playbook promote NAME`: what a playbook would have done, and then how far it may go.
//!
//! Prints what the daemon counted. Without `--to` it changes nothing; with it, what was looked at is what is meant. Where the
//! look fails, only what needs none is done: a text that was named, and the least that a playbook may do.

use super::client::{Client, segment};
use super::escape::escape;
use super::since::moment;
use super::{Exit, Fail, Global, Term};
use crate::api::PlaybookMode;
use jiff::Timestamp;
use quell_engine::run::answers::ModeSet;
use quell_model::{Hash, Mode};
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell playbook promote contain-crypto-miner --since 7d\n  quell playbook promote contain-crypto-miner --to enforce --why \"a week of it was right\"\n  quell playbook promote contain-crypto-miner --to observe --yes"
)]
pub(crate) struct Args {
    /// The playbook
    name: String,
    /// Count what it did and would have done since: a time (2026-11-28T12:00:00Z), or how long ago (24h) [default: 7 days]
    #[arg(long, value_name = "T", value_parser = moment)]
    since: Option<Timestamp>,
    /// Let it go so far from now on: observe, approve or enforce
    #[arg(long, value_name = "M")]
    to: Option<Mode>,
    /// The text that is meant, by its sum (`stands.hash` of --json): then a look that fails keeps nobody from it
    #[arg(long, value_name = "SUM", requires = "to")]
    hash: Option<Hash>,
    /// Why, for whoever looks next
    #[arg(long, default_value = "")]
    why: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Reports, and changes its mode if that is wanted.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let client = Client::new(global)?;
    let route = format!("/playbooks/{}/mode", segment(&args.name));
    let since = args.since.map(|at| format!("?since={}", segment(&at.to_string()))).unwrap_or_default();
    let looked = client.get::<PlaybookMode>(&format!("{route}{since}"));
    let Some(to) = args.to else {
        let found = looked?;
        if term.is_json() {
            term.document(&found);
        } else {
            show(&found, term);
        }
        return Ok(Exit::Right);
    };
    // What was looked at, and no other text that was loaded meanwhile.
    let hash = match looked {
        Ok(found) => {
            if !term.is_json() {
                show(&found, term);
            }
            Some(args.hash.unwrap_or(found.stands.hash))
        }
        Err(fail) => {
            let fail = may_be_done_unseen(fail, args, to)?;
            term.warn(&format!("what it did and would have done cannot be looked at: {fail}"));
            args.hash
        }
    };
    if !args.yes && !confirmed(&args.name, to, term)? {
        return Err(Fail::new(Exit::NotRight, "nothing was changed"));
    }
    let set: ModeSet = client.post(&route, &json!({ "to": to, "hash": hash, "why": args.why }))?;
    term.answer(&set, || {
        let now = if set.mode == to { String::new() } else { format!(" (now {}: {})", set.mode, escape(&set.because)) };
        format!("{}: {} before, {to} from now on{now}", escape(&args.name), set.from)
    });
    Ok(Exit::Right)
}

/// Why nobody could look, where that keeps nobody from the change; else why nothing was changed. Whoever may not look, or asked
/// for what there is not, may not change it either.
fn may_be_done_unseen(fail: Fail, args: &Args, to: Mode) -> Result<Fail, Fail> {
    let is_known = args.hash.is_some() || to == Mode::Observe;
    match fail.exit {
        Exit::NotRight | Exit::Unreachable if is_known => Ok(fail),
        Exit::NotRight | Exit::Unreachable => {
            let hint = fail.hint.unwrap_or_else(|| {
                "`--hash SUM` names the text that is meant and needs no look; `--to observe` needs none".to_owned()
            });
            Err(Fail::new(
                fail.exit,
                format!("what it did cannot be looked at, and nothing was changed: {}", fail.what),
            )
            .hint(hint))
        }
        _ => Err(fail),
    }
}

fn confirmed(name: &str, to: Mode, term: &Term) -> Result<bool, Fail> {
    if !stdin().is_terminal() {
        return Err(Fail::usage("nobody is there to confirm it").hint("`--yes` changes the mode without asking"));
    }
    term.note(format!("`{}` is to go as far as {to} from now on: y or n?", escape(name)));
    stderr().flush().map_err(|error| Fail::not_right(error.to_string()))?;
    let mut said = String::new();
    stdin().lock().read_line(&mut said).map_err(|error| Fail::not_right(error.to_string()))?;
    Ok(matches!(said.trim(), "y" | "yes"))
}

fn show(found: &PlaybookMode, term: &Term) {
    let stands = &found.stands;
    term.line(format!("{}  {}  {}", escape(stands.id.as_str()), stands.mode, escape(&stands.because)));
    term.line(format!("  its own mode is {}; at most {}: {}", stands.own, stands.most, escape(&stands.most_because)));
    if let Some(word) = &stands.word {
        let why = if word.why.is_empty() { String::new() } else { format!(": {}", word.why) };
        let holds = if word.holds { "" } else { ", for another text of it, so that it no longer holds" };
        let by = super::show::moment(word.at.wall);
        term.line(format!("  {} said {} at {by}{holds}{}", escape(word.by.as_str()), word.mode, escape(&why)));
    }
    let tried = &found.tried;
    term.line(format!("since {}", super::show::moment(found.since)));
    term.line(format!("  {} runs of its present text", tried.runs));
    if tried.of_another_text > 0 {
        term.line(format!("  {} runs of other texts, not counted", tried.of_another_text));
    }
    if tried.unreadable > 0 {
        term.line(format!("  {} of them cannot be read: `quell store check` says why", tried.unreadable));
    }
    if tried.runs_unread > 0 {
        term.line(format!("  the earliest {} of them were not looked at", tried.runs_unread));
    }
    for act in &tried.acts {
        term.line(format!("  {}: {} planned and not done, {} done", escape(act.id.as_str()), act.planned, act.done));
    }
    if tried.targets > 0 {
        let more = if tried.targets as usize > tried.named.len() { ", …" } else { "" };
        term.line(format!("  {} targets: {}{more}", tried.targets, escape(&tried.named.join(", "))));
    }
    for guard in &tried.refused {
        term.line(format!("  refused by the guard {}: {}", escape(guard.id.as_str()), guard.count));
    }
    term.line(format!("  asked before an act: {}, of which {} were denied", tried.asked, tried.denied));
}
