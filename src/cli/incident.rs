//! `quell incident list|show|explain|note|resolve|reopen`.

use super::client::{Client, segment};
use super::escape::escape;
use super::{Exit, Fail, Global, Term};
use serde_json::{Value, json};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell incident list\n  quell incident explain i-0f1e2d3c4b5a\n  quell incident note i-0f1e2d3c4b5a \"the host is being rebuilt\""
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List every incident, the latest first
    #[command(after_help = "Example:\n  quell incident list --json | jq -r '.[] | select(.state == \"open\") | .id'")]
    List,
    /// Show an incident: detections, runs, timeline
    #[command(
        after_help = "Examples:\n  quell incident show i-0f1e2d3c4b5a\n  quell incident show i-0f1e2d3c4b5a --events > around.jsonl"
    )]
    Show(Shown),
    /// Say which fields matched, what every playbook decided and why, what was held back, what was lost
    #[command(after_help = "Example:\n  quell incident explain i-0f1e2d3c4b5a")]
    Explain(Id),
    /// Add a line to an incident's timeline
    #[command(after_help = "Example:\n  quell incident note i-0f1e2d3c4b5a \"the host is being rebuilt\"")]
    Note {
        /// The incident's id, as in `quell incident list`
        id: String,
        /// The line
        text: String,
    },
    /// End an incident
    #[command(after_help = "Example:\n  quell incident resolve i-0f1e2d3c4b5a --why \"a drill of ours\"")]
    Resolve(Why),
    /// Open an incident again that was resolved
    #[command(after_help = "Example:\n  quell incident reopen i-0f1e2d3c4b5a --why \"it came back\"")]
    Reopen(Why),
}

#[derive(Debug, clap::Args)]
struct Id {
    /// The incident's id, as in `quell incident list`
    id: String,
}

#[derive(Debug, clap::Args)]
struct Shown {
    /// The incident's id, as in `quell incident list`
    id: String,
    /// Print the events around it instead, as JSON Lines: its process tree, from ten minutes before
    #[arg(long)]
    events: bool,
}

#[derive(Debug, clap::Args)]
struct Why {
    /// The incident's id, as in `quell incident list`
    id: String,
    /// Why
    #[arg(long, default_value = "")]
    why: String,
}

/// Lists, shows, explains or changes.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let client = Client::new(global)?;
    let path = |id: &str| format!("/incidents/{}", segment(id));
    match &args.what {
        What::List if term.is_json() => term.document(&client.get::<Value>("/incidents")?),
        What::List => super::incident_view::list(&client.get::<Vec<_>>("/incidents")?, term),
        What::Show(Shown { id, events: true }) => events(&client, &path(id), term)?,
        What::Show(Shown { id, .. }) if term.is_json() => term.document(&client.get::<Value>(&path(id))?),
        What::Show(Shown { id, .. }) => super::incident_view::show(&client.get(&path(id))?, term),
        What::Explain(Id { id }) if term.is_json() => {
            term.document(&client.get::<Value>(&format!("{}/explain", path(id)))?);
        }
        What::Explain(Id { id }) => {
            super::incident_view::explain(&client.get(&format!("{}/explain", path(id)))?, term);
        }
        What::Note { id, text } => change(&client, term, id, "note", "the note is in its timeline", text)?,
        What::Resolve(Why { id, why }) => change(&client, term, id, "resolve", "resolved", why)?,
        What::Reopen(Why { id, why }) => change(&client, term, id, "reopen", "open again", why)?,
    }
    Ok(Exit::Right)
}

/// A part of the events around an incident.
#[derive(serde::Deserialize)]
struct Part {
    events: Vec<Value>,
    next: Option<u64>,
}

fn events(client: &Client, path: &str, term: &Term) -> Result<(), Fail> {
    let mut next = Some(0);
    while let Some(after) = next
        && !term.is_deaf()
    {
        let part: Part = client.get(&format!("{path}/events?after={after}"))?;
        part.events.iter().for_each(|event| term.row(event));
        next = part.next;
    }
    Ok(())
}

fn change(client: &Client, term: &Term, id: &str, verb: &str, done: &str, text: &str) -> Result<(), Fail> {
    let answer: Value = client.post(&format!("/incidents/{}/{verb}", segment(id)), &json!({ "text": text }))?;
    if term.is_json() {
        term.document(&answer);
    } else {
        term.line(format!("{}: {done}", escape(id)));
    }
    Ok(())
}
