//! `quell playbook check --running`: open runs of the daemon, held against the playbooks as the files have them now.
//!
//! Owns the asking. What a difference is, the engine says; nothing of a run is changed.

use super::Fail;
use super::client::{Client, segment};
use super::playbook_from::make_own_whole;
use quell_engine::playbook::check::{OpenRun, running};
use quell_engine::report::{DefinitionView, RunSummary, RunView};
use quell_model::playbook::Playbook;
use quell_model::{Mistake, StepId};
use std::path::Path;
use std::sync::Arc;

/// What open runs have that the playbooks lack.
pub(super) struct Running {
    /// A warning for each difference.
    pub(super) mistakes: Vec<Mistake>,
    /// Runs of these playbooks that have not ended.
    pub(super) open: usize,
    /// Those of them that go by another text.
    pub(super) pinned: usize,
}

/// Asks the daemon.
pub(super) fn ask(playbooks: &[Arc<Playbook>], client: &Client) -> Result<Running, Fail> {
    let listed: Vec<RunSummary> = client.all("/runs")?;
    let mut told = Running { mistakes: Vec::new(), open: 0, pinned: 0 };
    for playbook in playbooks {
        let mine = listed.iter().filter(|run| run.playbook == playbook.name && !run.state.is_over());
        let mut runs = Vec::new();
        for run in mine {
            told.open += 1;
            let address = format!("/runs/{}", segment(run.id.as_str()));
            let pinned: DefinitionView = client.get(&format!("{address}/playbook"))?;
            if pinned.hash != playbook.hash {
                let mut run: RunView = client.get(&address)?;
                make_own_whole(client, &mut run)?;
                runs.push(open(run, &pinned));
            }
        }
        told.pinned += runs.len();
        told.mistakes.extend(running(playbook, &runs));
    }
    Ok(told)
}

fn open(run: RunView, pinned: &DefinitionView) -> OpenRun {
    OpenRun {
        id: run.id,
        pinned: crate::daemon::reread(Path::new(&pinned.file), &pinned.text),
        begun: run.steps.iter().map(|step| StepId::from(step.id.as_str())).collect(),
        inputs: run.inputs,
    }
}
