//! `quell breaker show|open|close`: whether a playbook asks before it acts, and a person's word on it.

use super::client::{Client, segment};
use super::escape::escape;
use super::show::moment;
use super::table::{Table, cell};
use super::term::Ink;
use super::{Exit, Fail, Global, Term};
use jiff::Timestamp;
use quell_engine::run::answers::{BreakerSwitched, BreakerView};
use serde_json::json;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell breaker\n  quell breaker open contain-crypto-miner --why \"we roll out a new miner's rule\"\n  quell breaker close contain-crypto-miner --why \"it was the build farm\""
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show the breaker of every playbook; so does `quell breaker` alone
    #[command(after_help = "Example:\n  quell breaker show --json | jq -r '.[] | select(.open) | .id'")]
    Show,
    /// Let a playbook ask before everything that it would do, until somebody closes its breaker
    #[command(after_help = "Example:\n  quell breaker open contain-crypto-miner --why \"it kills the build farm\"")]
    Open(Named),
    /// Let it act again: what it has acted on so far does not open it a second time
    #[command(after_help = "Example:\n  quell breaker close contain-crypto-miner --why \"it was the build farm\"")]
    Close(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The playbook
    name: String,
    /// Why, for whoever looks next
    #[arg(long)]
    why: String,
}

/// Shows, opens or closes.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let client = Client::new(global)?;
    match &args.what {
        None | Some(What::Show) => {
            let all: Vec<BreakerView> = client.all("/breakers")?;
            if term.is_json() { term.document(&all) } else { show(&all, term) }
        }
        Some(What::Open(Named { name, why })) => {
            let answer: BreakerSwitched =
                client.post(&format!("/breakers/{}/open", segment(name)), &json!({ "why": why }))?;
            term.answer(&answer, || format!("{}: asks before everything that it would do", escape(name)));
        }
        Some(What::Close(Named { name, why })) => {
            let answer: BreakerSwitched =
                client.post(&format!("/breakers/{}/close", segment(name)), &json!({ "why": why }))?;
            term.answer(&answer, || format!("{}: acts as far as its mode allows", escape(name)));
        }
    }
    Ok(Exit::Right)
}

fn show(all: &[BreakerView], term: &Term) {
    let mut table = Table::new(&["playbook", "breaker", "since", "closes", "why"]);
    for one in all {
        let at = |at: Option<Timestamp>| at.map(moment).unwrap_or_default();
        let closes = if one.open && one.closes.is_none() { "by hand".to_owned() } else { at(one.closes) };
        let by = one.by.as_ref().map(|by| format!("{by}: ")).unwrap_or_default();
        table.row([
            (Ink::Name, one.id.to_string()),
            if one.open { (Ink::Warn, "open".to_owned()) } else { (Ink::Dim, "closed".to_owned()) },
            cell(at(one.since)),
            cell(closes),
            cell(format!("{by}{}", one.why.as_deref().unwrap_or_default())),
        ]);
    }
    table.print(term, "no playbook is loaded");
}
