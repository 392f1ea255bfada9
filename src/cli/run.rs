//! `quell run list|show|output|approve|deny|answer|cancel|retry|skip|undo|keep`.

use super::client::{Client, segment};
use super::escape::escape;
use super::follow::Following;
use super::run_output::{self, Output};
use super::run_retry::{self, Retry, Skip};
use super::since::moment;
use super::{Exit, Fail, Global, Term, run_view};
use jiff::Timestamp;
use quell_engine::report::{RunSummary, RunView};
use quell_engine::run::answers::{AnswerTaken, OfRun, RunKept, RunUndoing};
use quell_model::Kind;
use serde_json::{Value, json};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell run list\n  quell run show r-0f1e2d3c4b5a\n  quell run cancel r-0f1e2d3c4b5a"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List every run, the latest first
    #[command(
        after_help = "Examples:\n  quell run list --failed --since 2h\n  quell run list --stuck\n  quell run list --json | jq -r '.[] | select(.state == \"waiting\") | .id'"
    )]
    List {
        /// Only those that failed
        #[arg(long)]
        failed: bool,
        /// Only those that do not move, with why: there should be none
        #[arg(long)]
        stuck: bool,
        /// Only those that had not ended by then: a time (2026-11-28T12:00:00Z), or how long ago (2h)
        #[arg(long, value_name = "T", value_parser = moment)]
        since: Option<Timestamp>,
    },
    /// Show a run: each step with its outcome, proof and times
    #[command(after_help = "Examples:\n  quell run show r-0f1e2d3c4b5a\n  quell run show r-0f1e2d3c4b5a --follow")]
    Show {
        /// The run's id, as in `quell run list`
        id: String,
        /// Then print what happens in it, until it ends; with --json only that, a record a line
        #[arg(long)]
        follow: bool,
    },
    /// Show what a run or a step gave, whole, as JSON
    Output(Output),
    /// Take back what a run did, proved: all of it, or one step
    #[command(
        after_help = "Examples:\n  quell run undo r-0f1e2d3c4b5a --why \"a drill of ours\"\n  quell run undo r-0f1e2d3c4b5a/freeze"
    )]
    Undo {
        /// The run's id, as in `quell run list`, or ID/STEP
        id: String,
        /// Why, for the timeline
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Let what a run contained stand: for a time from now, or without an end
    #[command(
        after_help = "Examples:\n  quell run keep r-0f1e2d3c4b5a --for 8h\n  quell run keep r-0f1e2d3c4b5a/freeze"
    )]
    Keep {
        /// The run's id, as in `quell run list`, or ID/STEP
        id: String,
        /// From now; without it there is no end
        #[arg(long = "for", value_name = "D")]
        lasts: Option<String>,
    },
    /// Let a step act that asks first
    #[command(
        after_help = "Examples:\n  quell run approve r-0f1e2d3c4b5a/revoke\n  quell run approve r-0f1e2d3c4b5a/revoke[2] --why \"seen in the console too\""
    )]
    Approve(Words),
    /// Keep a step that asks first from acting
    #[command(after_help = "Example:\n  quell run deny r-0f1e2d3c4b5a/revoke --why \"that key is the backup's\"")]
    Deny(Words),
    /// Answer what a run asks
    #[command(
        after_help = "Examples:\n  quell run answer r-0f1e2d3c4b5a/ask not_me\n  quell run answer r-0f1e2d3c4b5a/isolate keep"
    )]
    Answer {
        #[command(flatten)]
        words: Words,
        /// One of the choices, as in `quell run show`
        choice: String,
    },
    /// Try a run again that has ended, after a fix by hand: what was done stays done
    Retry(Retry),
    /// Leave out a step that has not ended: what needs it goes on
    Skip(Skip),
    /// End a run: what runs finishes, nothing new starts
    #[command(after_help = "Example:\n  quell run cancel r-0f1e2d3c4b5a")]
    Cancel {
        /// The run's id, as in `quell run list`
        id: String,
    },
}

/// What is answered, and why.
#[derive(Debug, clap::Args)]
struct Words {
    /// The run's id and the step that asks, as RUN/STEP; RUN alone where only one does
    id: String,
    /// Why, for the timeline
    #[arg(long, default_value = "")]
    why: String,
    /// The number in the message that you answer: refused if it asks something else since
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
}

/// RUN, or RUN/STEP.
fn part(id: &str) -> (&str, Option<&str>) {
    id.split_once('/').map_or((id, None), |(run, step)| (run, Some(step)))
}

fn names(list: &[String]) -> String {
    list.iter().map(|name| escape(name).into_owned()).collect::<Vec<_>>().join(", ")
}

/// Lists, shows or changes.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let client = Client::new(global)?;
    match &args.what {
        What::List { failed, stuck, since } => {
            let path = run_retry::listed(*failed, *stuck, *since);
            if term.is_json() {
                term.document(&client.all::<Value>(&path)?);
            } else {
                let nothing = match (*failed, *stuck, since) {
                    (false, false, None) => "no run has been started yet",
                    (_, true, _) => "no run is stuck",
                    _ => "no such run",
                };
                run_view::list(&client.all::<RunSummary>(&path)?, nothing, term);
            }
        }
        What::Output(args) => return run_output::print(&client, args, term),
        What::Retry(args) => return run_retry::retry(&client, args, term),
        What::Skip(args) => return run_retry::skip(&client, args, term),
        What::Show { id, follow: true } => follow(&client, id, term)?,
        What::Show { id, .. } if term.is_json() => {
            term.document(&client.get::<Value>(&format!("/runs/{}", segment(id)))?)
        }
        What::Show { id, .. } => run_view::show(&client.get(&format!("/runs/{}", segment(id)))?, term),
        What::Undo { id, why } => {
            let (run, step) = part(id);
            let answer: RunUndoing =
                client.post(&format!("/runs/{}/undo", segment(run)), &json!({ "step": step, "why": why }))?;
            term.answer(&answer, || {
                let parts = names(&answer.undoing);
                let what =
                    if parts.is_empty() { "nothing new starts".to_owned() } else { format!("{parts} is taken back") };
                format!("{}: {what}; `quell run show {}` says how it ends", escape(id), escape(run))
            });
        }
        What::Keep { id, lasts } => {
            let (run, step) = part(id);
            let answer: RunKept =
                client.post(&format!("/runs/{}/keep", segment(run)), &json!({ "step": step, "for": lasts }))?;
            term.answer(&answer, || {
                let until =
                    lasts.as_ref().map_or("without an end".to_owned(), |lasts| format!("for {}", escape(lasts)));
                format!("{}: {} stands {until}", escape(run), names(&answer.kept))
            });
        }
        What::Approve(words) => answer(&client, words, "approve", term)?,
        What::Deny(words) => answer(&client, words, "deny", term)?,
        What::Answer { words, choice } => answer(&client, words, choice, term)?,
        What::Cancel { id } => {
            let answer: OfRun = client.post(&format!("/runs/{}/cancel", segment(id)), &json!({}))?;
            term.answer(&answer, || format!("{} is cancelled: what runs finishes, nothing new starts", escape(id)));
        }
    }
    Ok(Exit::Right)
}

fn follow(client: &Client, id: &str, term: &Term) -> Result<(), Fail> {
    let following = Following::begin(client, &format!("run={}", segment(id)))?;
    let run: RunView = client.get(&format!("/runs/{}", segment(id)))?;
    if !term.is_json() {
        run_view::show(&run, term);
    }
    if run.state.is_over() {
        return Ok(());
    }
    following.print(&run.timeline, term, |happening| happening.kind == Kind::RunFinished)
}

fn answer(client: &Client, words: &Words, choice: &str, term: &Term) -> Result<(), Fail> {
    let (run, step) = part(&words.id);
    let mut given = json!({ "step": step, "choice": choice, "why": words.why });
    if let Some(generation) = words.generation {
        given["generation"] = json!(generation);
    }
    let answer: AnswerTaken = client.post(&format!("/runs/{}/answer", segment(run)), &given)?;
    term.answer(&answer, || match answer.missing {
        1.. => format!("{}: noted `{}`; {} more have to say so", escape(&words.id), escape(choice), answer.missing),
        0 => format!("{}: `{}`; `quell run show {}` says what follows", escape(&words.id), escape(choice), escape(run)),
    });
    Ok(())
}
