//! `quell playbook graph`: the steps of playbooks, or of one run with how far each came, as text, DOT, Mermaid or SVG.
//!
//! A run is drawn from the text that it is pinned to, which the daemon has; playbooks need no daemon.

use super::client::{Client, segment};
use super::escape::escape;
use super::{Exit, Fail, Global, Term};
use quell_engine::playbook::{Fate, Fates, Picture, graph_text};
use quell_engine::report::{DefinitionView, RunView};
use quell_model::StepId;
use quell_model::playbook::{Playbook, StepKind};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell playbook graph contain-reverse-shell\n  quell playbook graph playbooks/\n  quell playbook graph contain-reverse-shell --format svg > shell.svg\n  quell playbook graph --run r-0f1e2d3c4b5a --format mermaid"
)]
pub(crate) struct Args {
    /// Files, directories, or names of playbooks that ship or are installed
    #[arg(required_unless_present = "run", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How: text, dot, mermaid or svg
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// A run instead: the playbook as it was when the run began, with how far each step came
    #[arg(long, value_name = "ID", conflicts_with = "paths")]
    run: Option<String>,
}

impl Args {
    /// Whether it asks a daemon.
    pub(super) fn asks_a_daemon(&self) -> bool {
        self.run.is_some()
    }
}

/// How a playbook is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Format {
    /// Lines for a terminal
    Text,
    /// Graphviz
    Dot,
    /// A Mermaid flowchart, which forges and wikis draw
    Mermaid,
    /// A picture that stands alone
    Svg,
}

impl Format {
    fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Dot => "dot",
            Self::Mermaid => "mermaid",
            Self::Svg => "svg",
        }
    }

    fn draw(self, playbook: &Playbook, fates: Option<&Fates>) -> Result<String, Fail> {
        let picture =
            || Picture::new(playbook, fates).map_err(|cycle| Fail::not_right(format!("{}: {cycle}", playbook.name)));
        Ok(match self {
            Self::Text => graph_text(playbook, fates),
            Self::Dot => picture()?.dot(),
            Self::Mermaid => picture()?.mermaid(),
            Self::Svg => picture()?.svg(),
        })
    }
}

/// Draws.
pub(crate) fn run(
    args: &Args,
    named: impl FnOnce(&[PathBuf]) -> Result<Vec<Arc<Playbook>>, Fail>,
    global: &Global,
    term: &Term,
) -> Result<Exit, Fail> {
    let (all, fates) = match &args.run {
        None => (named(&args.paths)?, None),
        Some(id) => {
            let (playbook, fates) = of_run(id, &Client::new(global)?)?;
            (vec![Arc::new(playbook)], Some(fates))
        }
    };
    if term.is_json() {
        let document = |playbook: &Arc<Playbook>| document(playbook, args, fates.as_ref());
        term.document(&all.iter().map(document).collect::<Result<Vec<_>, _>>()?);
        return Ok(Exit::Right);
    }
    if matches!(args.format, Format::Mermaid | Format::Svg) && all.len() != 1 {
        let what = format!("{} playbooks do not fit into one file of {}", all.len(), args.format.word());
        return Err(Fail::usage(what).hint("give one of them, or --json for all"));
    }
    for (at, playbook) in all.iter().enumerate() {
        if at > 0 {
            term.line("");
        }
        args.format.draw(playbook, fates.as_ref())?.lines().for_each(|line| term.whole(escape(line)));
    }
    Ok(Exit::Right)
}

/// A run's playbook as it was when it began, and how far each step came.
fn of_run(id: &str, client: &Client) -> Result<(Playbook, Fates), Fail> {
    let run: RunView = client.get(&format!("/runs/{}", segment(id)))?;
    let pinned: DefinitionView = client.get(&format!("/runs/{}/playbook", segment(id)))?;
    let playbook = crate::daemon::reread(Path::new(&pinned.file), &pinned.text).ok_or_else(|| {
        Fail::not_right(format!("the playbook that run `{id}` began with is no longer understood by this version"))
            .hint(format!("`quell run show {id}` lists its steps"))
    })?;
    let fate = |outcome: Option<_>| outcome.map_or(Fate::Running, Fate::Ended);
    let begun = run.steps.iter().filter(|step| !step.again);
    let steps = begun.map(|step| (StepId::from(step.id.as_str()), fate(step.outcome)));
    let about = format!("run {}, {}, {}", run.id, run.state.as_str(), run.mode);
    Ok((playbook, Fates::new(about, steps)))
}

fn document(playbook: &Playbook, args: &Args, fates: Option<&Fates>) -> Result<Value, Fail> {
    let step = |step: &quell_model::playbook::Step| {
        let does = match &step.kind {
            StepKind::Action { action, .. } => action.as_str(),
            StepKind::Script(_) => "script",
            StepKind::Tell(_) => "tell",
            StepKind::Escalate(_) => "escalate",
            StepKind::Ask(_) => "ask",
            StepKind::Wait(_) => "wait",
            StepKind::Playbook(_) => "playbook",
        };
        let mut value = json!({ "id": step.id, "does": does, "needs": step.needs, "when": step.when });
        if let Some(fates) = fates {
            value["outcome"] = fates.of(&step.id).word().into();
        }
        value
    };
    let steps: Vec<Value> = playbook.steps.iter().map(step).collect();
    let mut value = json!({ "id": playbook.name, "steps": steps, "text": graph_text(playbook, fates) });
    if let Some(run) = &args.run {
        value["run"] = run.as_str().into();
    }
    if args.format != Format::Text {
        value[args.format.word()] = args.format.draw(playbook, fates)?.into();
    }
    Ok(value)
}
