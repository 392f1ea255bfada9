//! An engine on this host, put together: journal, crew, guard, rules, sensor. What `quell up` and `quell demo` share.

use super::deliveries::{self, Deliveries};
use super::eye::{Eye, Sight, Wake};
use super::family::Family;
use super::hand::{Counts, Hand, HandParts};
use super::handover::Handover;
use super::recorder::{Recorder, RecorderPlan, RecorderView};
use super::slow_start;
use super::source_meter::SourceMeter;
use super::sources::{self, Sources};
use quell_engine::clock::SystemClock;
use quell_engine::detect::{Detector, Rules};
use quell_engine::load::WebhookSource;
use quell_engine::load::config::FileSource;
use quell_engine::recorder::Noter;
use quell_engine::run::{Core, Definitions, EngineHandle, Parts, RecoveryReport};
use quell_engine::store::{DirVault, Journal};
use quell_model::playbook::Playbook;
use quell_model::{BootId, Clock, Crew, Name, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an engine is put together from.
pub(crate) struct Plan<W> {
    /// The data directory.
    pub(crate) dir: PathBuf,
    /// What it can touch.
    pub(crate) crew: Crew<W>,
    /// This machine.
    pub(crate) node: Name,
    /// This boot.
    pub(crate) boot: BootId,
    /// Rules in force.
    pub(crate) rules: Arc<Rules>,
    /// Playbooks, guard, modes.
    pub(crate) definitions: Definitions,
    /// Detections outside this cgroup go no further.
    pub(crate) only: Option<String>,
    /// What the sensor sees.
    pub(crate) sight: Sight,
    /// What learns who descends from whom, where the crew asks it.
    pub(crate) family: Option<Arc<Family>>,
    /// Files that are followed.
    pub(crate) files: Vec<FileSource>,
    /// Where others bring events.
    pub(crate) webhooks: Vec<WebhookSource>,
    /// What is recorded; none: nothing.
    pub(crate) recorder: Option<RecorderPlan>,
}

/// Where others bring events, to be opened.
pub(crate) struct WebhookDoor {
    /// As it is configured.
    pub(crate) webhook: WebhookSource,
    /// The way of what is brought there.
    pub(crate) deliveries: Deliveries,
    /// What is measured there.
    pub(crate) meter: Arc<SourceMeter>,
}

/// An engine that runs.
pub(crate) struct Assembly {
    /// The way to it.
    pub(crate) engine: EngineHandle,
    /// Its journal.
    pub(crate) journal: Journal,
    /// What it saw.
    pub(crate) counts: Arc<Counts>,
    /// Where new rules and definitions go.
    pub(crate) handover: Handover,
    /// Who turns it.
    pub(crate) eye: Eye,
    sources: Option<Sources>,
    /// See [`Plan::webhooks`].
    pub(crate) webhooks: Vec<WebhookDoor>,
    recorder: Option<Recorder>,
    /// Why nothing is recorded, if nothing is.
    pub(crate) unrecorded: Option<String>,
    /// Why there is no sensor, if there is none.
    pub(crate) blind: Option<String>,
    /// What it took up.
    pub(crate) recovered: RecoveryReport,
}

/// It could not be put together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssemblyError {
    /// The journal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
}

impl Assembly {
    /// Detaches what sees, ends the engine, writes what is waiting.
    pub(crate) fn close(self) {
        if let Some(sources) = self.sources {
            sources.close();
        }
        let mut recorder = self.recorder;
        if let Some(recorder) = &mut recorder {
            recorder.end_keeper();
        }
        self.eye.close();
        if let Some(recorder) = recorder {
            recorder.close();
        }
        self.journal.close();
    }

    /// What is measured of the files that it follows, and of what others bring.
    pub(crate) fn source_meters(&self) -> Vec<Arc<SourceMeter>> {
        let followed = self.sources.as_ref().map(Sources::meters).unwrap_or_default();
        followed.into_iter().chain(self.webhooks.iter().map(|door| Arc::clone(&door.meter))).collect()
    }

    /// What can be asked of its recorder.
    pub(crate) fn recorder(&self) -> Option<RecorderView> {
        self.recorder.as_ref().map(Recorder::view)
    }
}

/// Puts one together and starts it. Takes the directory's lock first: a second engine is refused before it does anything.
pub(crate) fn assemble<W: Send + 'static>(
    plan: Plan<W>,
    runtime: &tokio::runtime::Handle,
) -> Result<Assembly, AssemblyError> {
    let place = plan.dir.display();
    let journal = slow_start::said(&format!("the journal in `{place}` is opened"), || Journal::open(&plan.dir))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let wake = Wake::default();
    let parts = Parts {
        clock: Arc::clone(&clock),
        journal: journal.clone(),
        vault: Arc::new(DirVault::new(&plan.dir)),
        node: plan.node.clone(),
        boot: plan.boot.clone(),
        crew: plan.crew,
        runtime: runtime.clone(),
        wake: wake.as_fn(),
    };
    let mut core = Core::new(parts, plan.definitions);
    let engine = core.handle();
    let taken_up = format!("what stood in the journal in `{place}` is taken up");
    let recovered = slow_start::said(&taken_up, || core.recover(Arc::new(reread)))?;
    let counts = Arc::new(Counts::default());
    let handover = Handover::new(wake.as_fn());
    let names = plan.files.iter().map(sources::name);
    let known = names.filter_map(|name| Some((name.clone(), core.positions(&name)?))).collect();
    let (to_hand, foreign) = sources::ways();
    let (deliveries, inbox) = deliveries::ways(plan.webhooks.len(), &wake.as_fn());
    let (mut recorder, noter, mut unrecorded) = start_recorder(&plan.dir, plan.recorder.as_ref(), &plan.boot);
    let hand = Hand::new(HandParts {
        core,
        detector: Detector::new(plan.rules),
        clock,
        counts: Arc::clone(&counts),
        handover: handover.clone(),
        foreign,
        inbox,
        family: plan.family,
        only: plan.only,
        recorder: noter,
    });
    let (eye, blind) = Eye::open(hand, plan.node, &plan.sight, &wake).map_err(AssemblyError::Thread)?;
    if let (Some(recorder), Some(recorded)) = (&mut recorder, &plan.recorder)
        && let Err(error) = recorder.keep(recorded, &plan.boot, journal.clone(), engine.clone(), runtime.clone())
    {
        unrecorded = Some(format!("what surrounds incidents is not kept: {error}"));
    }
    let sources = Sources::follow(&plan.files, &known, to_hand, wake.as_fn()).map_err(AssemblyError::Thread)?;
    let door = |(webhook, deliveries): (WebhookSource, Deliveries)| {
        let meter = Arc::new(SourceMeter::of_webhook(webhook.source()));
        WebhookDoor { webhook, deliveries, meter }
    };
    let webhooks = plan.webhooks.into_iter().zip(deliveries).map(door).collect();
    Ok(Assembly { engine, journal, counts, handover, eye, sources, webhooks, recorder, unrecorded, blind, recovered })
}

/// A recorder that cannot start stops nothing else.
fn start_recorder(
    dir: &Path,
    plan: Option<&RecorderPlan>,
    boot: &BootId,
) -> (Option<Recorder>, Option<Noter>, Option<String>) {
    match plan.map(|plan| Recorder::start(dir, plan, boot)) {
        None => (None, None, None),
        Some(Ok((recorder, noter))) => (Some(recorder), Some(noter), None),
        Some(Err(error)) => {
            tracing::error!(%error, "nothing is recorded");
            (None, None, Some(error.to_string()))
        }
    }
}

/// A pinned definition, read again. Rules are not asked for: they may have changed since.
pub(crate) fn reread(file: &Path, text: &str) -> Option<Playbook> {
    let known = quell_engine::load::Known { actions: crate::daemon::specs(), ..Default::default() };
    quell_engine::load::playbook(file, text, &known).0
}
