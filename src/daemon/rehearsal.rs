//! A playbook run by hand without a daemon: the real engine in observe mode, in a directory of its own that is gone
//! afterwards. It plans against this host, knows what the daemon would know, and touches nothing.

use super::around::Found;
use super::assembly::{Plan, assemble};
use super::eye::Sight;
use super::{crew, me, node, post};
use crate::cli::{Exit, Fail};
use quell_actions::HostWorld;
use quell_actions::send::ways::Ways;
use quell_engine::detect::Rules;
use quell_engine::report::{self, RunView};
use quell_engine::run::{Apart, Definitions, Refusal, Request};
use quell_model::playbook::Playbook;
use quell_model::{Json, Mode, OwnedEvent, RunId};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Plans take milliseconds; a script may take its whole timeout.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of this process's own, gone when it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes it, for nobody else to read.
    pub(crate) fn new(what: &str) -> std::io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("quell-{what}-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is gone already is as it should be.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Runs it and gives what the journal says of it.
pub(crate) fn rehearse(
    playbook: &Playbook,
    around: &Found,
    event: Option<OwnedEvent>,
    inputs: Json,
) -> Result<RunView, Fail> {
    let cannot = |e: &dyn std::fmt::Display| Fail::missing(format!("the playbook cannot be rehearsed: {e}"));
    let scratch = Scratch::new("rehearsal").map_err(|e| cannot(&e))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|e| cannot(&e))?;
    let world = HostWorld::live(node()).map_err(|e| cannot(&e))?;
    let name = playbook.name.clone();
    let base = around.definitions(playbook);
    let definitions = Definitions {
        ceiling: Mode::Observe,
        ceiling_because: "without a daemon a playbook only observes".to_owned(),
        asks_nobody: Some("without a daemon nobody is asked".to_owned()),
        // Its journal goes with it: nobody could ask for what lies apart there.
        apart: Apart { inline: usize::MAX, ..base.apart },
        ..base
    };
    let ways = Arc::new(Ways::default());
    if let (Some(channels), Some(people)) = (&around.channels, &around.people) {
        ways.replace(post::ways((channels, people), &around.config.http).map_err(|e| cannot(&e))?);
    }
    let plan = Plan {
        dir: scratch.path().to_owned(),
        node: world.node.clone(),
        boot: world.boot.clone(),
        crew: crew::live(world, &ways, &super::Kube::of(&around.config)),
        rules: Arc::new(Rules::default()),
        definitions,
        only: None,
        sight: Sight { off: Some("a rehearsal sees nothing".to_owned()), ..Sight::default() },
        family: None,
        files: Vec::new(),
        webhooks: Vec::new(),
        recorder: None,
    };
    let assembly = assemble(plan, runtime.handle()).map_err(|e| cannot(&e))?;
    let (engine, journal) = (&assembly.engine, &assembly.journal);
    let told = runtime.block_on(async {
        let start = Request::Start { playbook: name, event: event.map(Box::new), inputs, mode: None, by: me() };
        let answer = engine.request(start).await.map_err(|refusal| match refusal {
            Refusal::Wrong(why) => Fail::usage(why),
            other => Fail::not_right(other.to_string()),
        })?;
        let id = RunId::from(answer["id"].as_str().unwrap_or_default());
        let until = Instant::now() + PATIENCE;
        loop {
            let view = report::run(journal, &id).map_err(|e| cannot(&e))?;
            match view {
                Some(view) if view.state.is_over() => return Ok(view.with_guarantees(&crate::daemon::specs())),
                _ if Instant::now() > until => {
                    return Err(Fail::new(Exit::NotRight, format!("run `{id}` did not end within {PATIENCE:?}")));
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    assembly.close();
    told
}
