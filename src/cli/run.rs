//! `quell run list|show|cancel`.

use super::client::{Client, segment};
use super::escape::escape;
use super::{Exit, Fail, Global, Term, run_view};
use quell_engine::report::RunSummary;
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
    #[command(after_help = "Example:\n  quell run list --json | jq -r '.[] | select(.state == \"failed\") | .id'")]
    List,
    /// Show a run: each step with its outcome, proof and times
    #[command(after_help = "Example:\n  quell run show r-0f1e2d3c4b5a")]
    Show {
        /// The run's id, as in `quell run list`
        id: String,
    },
    /// End a run: what runs finishes, nothing new starts
    #[command(after_help = "Example:\n  quell run cancel r-0f1e2d3c4b5a")]
    Cancel {
        /// The run's id, as in `quell run list`
        id: String,
    },
}

/// Lists, shows or cancels.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let client = Client::new(global)?;
    match &args.what {
        What::List if term.is_json() => term.document(&client.get::<Value>("/runs")?),
        What::List => run_view::list(&client.get::<Vec<RunSummary>>("/runs")?, term),
        What::Show { id } if term.is_json() => term.document(&client.get::<Value>(&format!("/runs/{}", segment(id)))?),
        What::Show { id } => run_view::show(&client.get(&format!("/runs/{}", segment(id)))?, term),
        What::Cancel { id } => {
            let answer: Value = client.post(&format!("/runs/{}/cancel", segment(id)), &json!({}))?;
            if term.is_json() {
                term.document(&answer);
            } else {
                term.line(format!("{} is cancelled: what runs finishes, nothing new starts", escape(id)));
            }
        }
    }
    Ok(Exit::Right)
}
