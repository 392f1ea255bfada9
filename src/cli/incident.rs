//! `quell incident list|show|explain|ack|unack|escalate|note|resolve|reopen|undo|false-positive`.

use super::client::{Client, segment};
use super::escape::escape;
use super::follow::Following;
use super::since::moment;
use super::{Exit, Fail, Global, Term, incident_false_positive};
use jiff::Timestamp;
use quell_engine::report::{Happening, IncidentView, MOST_SHOWN, SHOWN};
use quell_engine::run::answers::{IncidentAcknowledged, IncidentUndoing, OfIncident};
use quell_model::Kind;
use quell_model::record::IncidentState;
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
        after_help = "Examples:\n  quell incident show i-0f1e2d3c4b5a\n  quell incident show i-0f1e2d3c4b5a --since 10m --limit 1000\n  quell incident show i-0f1e2d3c4b5a --events > around.jsonl\n  quell incident show i-0f1e2d3c4b5a --follow"
    )]
    Show(Shown),
    /// Say which fields matched, what every playbook decided and why, what was held back, what was lost
    #[command(after_help = "Example:\n  quell incident explain i-0f1e2d3c4b5a")]
    Explain(Part),
    /// Say that you look after an incident
    #[command(after_help = "Example:\n  quell incident ack i-0f1e2d3c4b5a")]
    Ack(Why),
    /// Say that nobody looks after an incident any more
    #[command(after_help = "Example:\n  quell incident unack i-0f1e2d3c4b5a --why \"my shift is over\"")]
    Unack(Why),
    /// Hand an incident on: whoever is next is told at once
    #[command(after_help = "Example:\n  quell incident escalate i-0f1e2d3c4b5a --why \"it is beyond me\"")]
    Escalate(Why),
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
    /// Take back all that the runs of an incident did, proved
    #[command(after_help = "Example:\n  quell incident undo i-0f1e2d3c4b5a --why \"a false alarm\"")]
    Undo(Why),
    /// Say that it was no attack: take back what was done, resolve it, and draft an exception to its rules
    #[command(
        after_help = "Examples:\n  quell incident false-positive i-0f1e2d3c4b5a --reason \"the nightly mirror job\" > exceptions/mirror.yml\n  quell incident false-positive i-0f1e2d3c4b5a --reason \"the nightly mirror job\" --expires 30d --out exceptions/mirror.yml"
    )]
    FalsePositive(incident_false_positive::Args),
}

#[derive(Debug, clap::Args)]
struct Part {
    /// The incident's id, as in `quell incident list`
    id: String,
    /// So many of each list at the most, the first half and the last: 1 to 1000
    #[arg(long, value_name = "N", default_value_t = SHOWN, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=MOST_SHOWN as u64))]
    limit: usize,
    /// Only what was recorded since: a time (2026-11-28T12:00:00Z), or how long ago (10m)
    #[arg(long, value_name = "T", value_parser = moment)]
    since: Option<Timestamp>,
}

impl Part {
    /// Where the API has it; `what` is the view, empty or with its slash.
    fn path(&self, what: &str) -> String {
        let since = self.since.map(|at| format!("&since={}", segment(&at.to_string()))).unwrap_or_default();
        format!("/incidents/{}{what}?limit={}{since}", segment(&self.id), self.limit)
    }
}

#[derive(Debug, clap::Args)]
struct Shown {
    #[command(flatten)]
    part: Part,
    /// Print the events around it instead, as JSON Lines: its process tree, from ten minutes before
    #[arg(long)]
    events: bool,
    /// Then print what happens in it and its runs, until it is resolved; with --json only that, a record a line
    #[arg(long, conflicts_with = "events")]
    follow: bool,
    /// Print the exception instead that was drafted when it was said to be no attack
    #[arg(long, conflicts_with_all = ["events", "follow", "limit", "since"])]
    exception: bool,
}

#[derive(Debug, clap::Args)]
struct Why {
    /// The incident's id, as in `quell incident list`
    id: String,
    /// Why
    #[arg(long, default_value = "")]
    why: String,
    /// The number in the message that you answer: refused if the incident has been raised anew since
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
}

impl Why {
    fn words(&self) -> Value {
        match self.generation {
            None => json!({ "text": self.why }),
            Some(generation) => json!({ "text": self.why, "generation": generation }),
        }
    }
}

/// Lists, shows, explains or changes.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let client = Client::new(global)?;
    match &args.what {
        What::List if term.is_json() => term.document(&client.all::<Value>("/incidents")?),
        What::List => super::incident_view::list(&client.all("/incidents")?, term),
        What::Show(Shown { part, events: true, .. }) => {
            events(&client, &format!("/incidents/{}", segment(&part.id)), term)?
        }
        What::Show(Shown { part, exception: true, .. }) => incident_false_positive::show(&client, &part.id, term)?,
        What::Show(Shown { part, follow: true, .. }) => follow(&client, part, term)?,
        What::Show(Shown { part, .. }) if term.is_json() => term.document(&client.get::<Value>(&part.path(""))?),
        What::Show(Shown { part, .. }) => super::incident_view::show(&client.get(&part.path(""))?, term),
        What::Explain(part) if term.is_json() => term.document(&client.get::<Value>(&part.path("/explain"))?),
        What::Explain(part) => super::incident_view::explain(&client.get(&part.path("/explain"))?, term),
        What::Ack(why) => acknowledge(&client, term, why, "ack")?,
        What::Unack(why) => acknowledge(&client, term, why, "unack")?,
        What::Escalate(why) => change(&client, term, &why.id, ("escalate", "handed on"), &why.words())?,
        What::Note { id, text } => {
            change(&client, term, id, ("note", "the note is in its timeline"), &json!({ "text": text }))?;
        }
        What::Resolve(why) => change(&client, term, &why.id, ("resolve", "resolved"), &why.words())?,
        What::Reopen(why) => change(&client, term, &why.id, ("reopen", "open again"), &why.words())?,
        What::FalsePositive(args) => return incident_false_positive::run(&client, args, term),
        What::Undo(why) => {
            let id = &why.id;
            let answer: IncidentUndoing = client.post(&format!("/incidents/{}/undo", segment(id)), &why.words())?;
            let refused = answer.runs.iter().filter_map(|run| Some((run.id.as_str(), run.error.as_ref()?)));
            let refused: Vec<String> = refused.map(|(run, why)| format!("{}: {}", escape(run), escape(why))).collect();
            let count = answer.runs.len() - refused.len();
            term.answer(&answer, || {
                format!("{}: {count} runs are taken back; its timeline says how it ends", escape(id))
            });
            if !refused.is_empty() {
                return Err(Fail::new(Exit::NotRight, refused.join("; ")));
            }
        }
    }
    Ok(Exit::Right)
}

fn events(client: &Client, path: &str, term: &Term) -> Result<(), Fail> {
    client.pages(&format!("{path}/events"), |events: Vec<Value>| {
        events.iter().for_each(|event| term.row(event));
        !term.is_deaf()
    })
}

fn follow(client: &Client, part: &Part, term: &Term) -> Result<(), Fail> {
    let following = Following::begin(client, &format!("incident={}", segment(&part.id)))?;
    let incident: IncidentView = client.get(&part.path(""))?;
    if !term.is_json() {
        super::incident_view::show(&incident, term);
    }
    if incident.state == IncidentState::Resolved {
        return Ok(());
    }
    let is_resolved = |happening: &Happening| {
        happening.kind == Kind::IncidentChanged && happening.body["state"] == json!(IncidentState::Resolved)
    };
    following.print(&incident.timeline, term, is_resolved)
}

fn acknowledge(client: &Client, term: &Term, why: &Why, verb: &str) -> Result<(), Fail> {
    let id = &why.id;
    let path = format!("/incidents/{}/{verb}", segment(id));
    let answer: IncidentAcknowledged = client.post(&path, &why.words())?;
    term.answer(&answer, || {
        let said = match (&answer.acknowledged, answer.changed) {
            (Some(_), true) => "acknowledged".to_owned(),
            (Some(who), false) => format!("was {} already", super::incident_view::acknowledged(who)),
            (None, true) => "nobody looks after it any more".to_owned(),
            (None, false) if answer.waits_for_others => "that counts, and others have to say so too".to_owned(),
            (None, false) => "nobody looked after it".to_owned(),
        };
        format!("{}: {said}", escape(id))
    });
    Ok(())
}

fn change(client: &Client, term: &Term, id: &str, (verb, done): (&str, &str), words: &Value) -> Result<(), Fail> {
    let answer: OfIncident = client.post(&format!("/incidents/{}/{verb}", segment(id)), words)?;
    term.answer(&answer, || format!("{}: {done}", escape(id)));
    Ok(())
}
