//! What the daemon knows of itself: its state, what is loaded, what the sensor can do; and its pauses. Reloading has a file of
//! its own.
//!
//! Owns the facts, behind one lock. Invariant: nobody waits for the engine, a file or a disk while they hold it; a pause, or its
//! end, reaches the engine and what acts in the kernel, or says that it did not.

mod cut;
mod figures;
#[cfg(feature = "slack")]
mod inward;
mod outward;
mod reload;
mod self_test;

pub(crate) use figures::{Figures, KernelFigures};

use super::assembly::Assembly;
use super::audit::Audit;
use super::block::Block;
use super::files::{Given, Loaded};
use super::hand::Counts;
use super::handover::Handover;
use super::in_time::{ask_within, read_answer};
use super::kernel::Kernel;
use super::kube::{Kube, asks_for_a_pod};
use super::pause::PauseError;
use super::pods::NodePods;
use super::recorder::RecorderView;
use super::retention::Told;
use super::source_meter::SourceMeter;
use super::webhooks;
use crate::api::webhook::Keys;
use crate::api::{
    Access, ActionMissing, Counted, JournalStatus, NotArmed, PlaybookStatus, ProbeStatus, RecorderStatus, SensorStatus,
    State, Status,
};
use crate::telemetry::{Look, Meters};
use quell_actions::{HostWorld, notify::mark::MarkKey, send::ways::Ways};
use quell_engine::clock::SystemClock;
use quell_engine::detect::Rules;
use quell_engine::escalation::channels::Beat;
use quell_engine::load::{Ages, Config};
use quell_engine::run::answers::{EngineStatus, Paused, ReflexWritten};
use quell_engine::run::{Definitions, EngineHandle, Refusal, Request};
use quell_engine::source::Snapshot;
use quell_engine::store::Journal;
use quell_model::playbook::{Playbook, StepKind};
use quell_model::{BootId, Clock, Hash, Name, Stamp};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// See the module.
pub(crate) struct Desk {
    given: Given,
    world: HostWorld,
    kernel: Arc<Kernel>,
    block: Arc<Block>,
    dir: PathBuf,
    /// Under which marks of messages are made and known.
    pub(crate) marks: MarkKey,
    /// By which ways what playbooks send goes out.
    pub(crate) ways: Arc<Ways>,
    /// The cluster that playbooks act in.
    pub(crate) kube: Kube,
    /// The watch of this node's pods.
    pub(crate) pods: NodePods,
    started: Stamp,
    /// Why nothing of this host is protected, if nothing is.
    unprotected: Option<String>,
    facts: Mutex<Facts>,
    /// Who may do what, as it was read last.
    access: watch::Sender<Arc<Access>>,
    /// Where the tokens of webhooks are, as it was read last.
    keys: watch::Sender<Arc<Keys>>,
    #[cfg(feature = "slack")]
    inward: inward::Inward,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    /// Room for one that is at work, and one more: it reads whatever is changed until its turn.
    reloads: Arc<Semaphore>,
    /// One pause or its end at a time, in the order in which they were asked for.
    pausing: tokio::sync::Mutex<()>,
    /// Pauses that hold the kernel and that the engine has not taken yet. While it is locked nobody else moves the kernel's flag.
    pauses: Mutex<usize>,
    /// What is counted for whoever asks for figures.
    meters: Arc<Meters>,
    /// One look into the journal for `status` at a time.
    looking: Look,
    retention: Told,
    beat_told: outward::BeatTold,
    audit: Audit,
}

struct Facts {
    state: State,
    definitions: Definitions,
    rules: Arc<Rules>,
    rules_skipped: usize,
    actions_missing: Vec<ActionMissing>,
    /// Actions that no means works for, each with a reason.
    dead: BTreeMap<String, String>,
    reload_refused: Option<String>,
    config: Config,
    /// Which dead man's switch is to be told.
    beat: Option<Beat>,
    watched: Vec<PathBuf>,
    seen: Snapshot,
    counts: Arc<Counts>,
    to_hand: Option<Handover>,
    blind: Option<String>,
    recorder: Option<RecorderView>,
    unrecorded: Option<String>,
    /// Why the last pause, or its end, did not reach the kernel.
    pause_failed: Option<String>,
    /// Why nobody comes in over TCP, though somebody should.
    listen_failed: Option<String>,
    probes: Vec<ProbeStatus>,
    scheduling: String,
    unasked: u64,
    rings: Vec<(&'static str, u64, u64)>,
    sources: Vec<Arc<SourceMeter>>,
    /// Reloads that were done and that were refused, and the last that was done.
    reloads: (u64, u64),
    reloaded: Option<Stamp>,
}

/// In whose name a daemon pauses that finds the flag in the kernel set.
pub(super) const PAUSED_BESIDE: &str = "the pause flag";

/// The engine's thread answers within milliseconds, on a machine that is starved within seconds. Whoever asks one that
/// stands still is told so, before its client gives up (`cli::client` waits 30 s).
const ANSWER: Duration = Duration::from_secs(20);
/// The daemon itself waits no longer: it may be told to end.
const SOON: Duration = Duration::from_secs(5);

impl Desk {
    /// Of a daemon that is starting.
    pub(crate) fn new(
        given: &Given,
        loaded: &Loaded,
        world: &HostWorld,
        (kernel, block): (Arc<Kernel>, Arc<Block>),
        (dir, marks): (&Path, MarkKey),
    ) -> Self {
        let kube = Kube::of(&loaded.config);
        let facts = Facts {
            state: State::Starting,
            definitions: loaded.definitions.clone(),
            rules: Arc::clone(&loaded.rules),
            rules_skipped: loaded.rules_skipped,
            actions_missing: Vec::new(),
            dead: BTreeMap::new(),
            reload_refused: None,
            config: loaded.config.clone(),
            beat: loaded.escalation.channels.beat.clone(),
            seen: reload::look(&loaded.files),
            watched: loaded.files.clone(),
            counts: Arc::default(),
            to_hand: None,
            blind: None,
            recorder: None,
            unrecorded: None,
            pause_failed: None,
            listen_failed: None,
            probes: Vec::new(),
            scheduling: String::new(),
            unasked: 0,
            rings: Vec::new(),
            sources: Vec::new(),
            reloads: (0, 0),
            reloaded: None,
        };
        Self {
            given: given.clone(),
            world: world.clone(),
            kernel,
            block,
            dir: dir.to_owned(),
            marks,
            ways: Arc::default(),
            pods: NodePods::of(&kube, &loaded.config, &world.node),
            kube,
            started: SystemClock.now(),
            unprotected: super::files::unprotected(),
            facts: Mutex::new(facts),
            access: watch::Sender::new(Arc::new(Access::of(loaded))),
            keys: watch::Sender::new(Arc::new(webhooks::keys(&loaded.config, &loaded.config))),
            #[cfg(feature = "slack")]
            inward: inward::Inward::of(loaded),
            reloading: tokio::sync::Mutex::new(()),
            reloads: Arc::new(Semaphore::new(2)),
            pausing: tokio::sync::Mutex::new(()),
            pauses: Mutex::new(0),
            meters: Arc::default(),
            looking: Look::default(),
            retention: Told::default(),
            beat_told: outward::BeatTold::default(),
            audit: Audit::default(),
        }
    }

    /// Learns of the engine that was put together.
    pub(crate) fn adopt(&self, assembly: &Assembly) {
        let mut facts = self.facts();
        facts.counts = Arc::clone(&assembly.counts);
        facts.to_hand = Some(assembly.handover.clone());
        facts.blind.clone_from(&assembly.blind);
        facts.recorder = assembly.recorder();
        facts.unrecorded.clone_from(&assembly.unrecorded);
        facts.sources = assembly.source_meters();
    }

    /// Asks the engine, and waits no longer than [`ANSWER`]: what was asked may be done later all the same.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, engine: &EngineHandle, request: Request) -> Result<T, Refusal> {
        ask_within(engine, request, ANSWER).await
    }

    /// The same for the daemon itself, for [`SOON`].
    pub(crate) async fn ask_soon<T: DeserializeOwned>(
        &self,
        engine: &EngineHandle,
        request: Request,
    ) -> Result<T, Refusal> {
        ask_within(engine, request, SOON).await
    }

    /// Pauses every action, in the engine and in the kernel, or lets them go on. It is carried through beside: neither a client that
    /// leaves nor an engine that answers late leaves the one paused and the other not. Cancel-safe.
    pub(crate) async fn pause(
        self: &Arc<Self>,
        engine: &EngineHandle,
        paused: bool,
        by: Name,
    ) -> Result<Paused, PauseError> {
        // At once, whoever still waits for the engine.
        let held = if paused { self.begin_pause() } else { Ok(()) };
        let is_held = paused && held.is_ok();
        let (desk, engine) = (Arc::clone(self), engine.clone());
        let through = tokio::spawn(async move { desk.pause_through(&engine, paused, by, held).await });
        match tokio::time::timeout(ANSWER, through).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Refusal::NotNow("it could not be carried through".to_owned()).into()),
            Err(_) => {
                let now = if is_held { "what acts in the kernel is held, and " } else { "" };
                let then = if paused { "it pauses" } else { "it goes on" };
                let what = format!("the engine has not answered within {ANSWER:?}: {now}{then} as soon as it does");
                Err(Refusal::NotNow(what).into())
            }
        }
    }

    fn begin_pause(&self) -> Result<(), String> {
        let mut pauses = self.pauses();
        *pauses += 1;
        self.hold(true)
    }

    async fn pause_through(
        &self,
        engine: &EngineHandle,
        paused: bool,
        by: Name,
        held: Result<(), String>,
    ) -> Result<Paused, PauseError> {
        let _one = self.pausing.lock().await;
        let answer = engine.request(Request::Pause { paused, by }).await;
        if paused {
            *self.pauses() -= 1;
            let answer = read_answer(answer?)?;
            return held.map(|()| answer).map_err(PauseError::Kernel);
        }
        let answer = read_answer(answer?)?;
        {
            let pauses = self.pauses();
            // Whoever has asked for a pause meanwhile has it held, and has it from the engine next.
            if *pauses > 0 {
                return Ok(answer);
            }
            self.hold(false).map_err(PauseError::StillHeld)?;
        }
        let (kernel, block) = (Arc::clone(&self.kernel), Arc::clone(&self.block));
        let tried = tokio::task::spawn_blocking(move || {
            kernel.try_again();
            block.try_again();
        });
        if tried.await.is_err() {
            tracing::error!("the trial of the kernel's hands did not end well");
        }
        Ok(answer)
    }

    fn pauses(&self) -> MutexGuard<'_, usize> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds what acts in the kernel, or lets it go on; what could not be done stands in `status`.
    pub(crate) fn hold(&self, paused: bool) -> Result<(), String> {
        let failed: Vec<String> =
            [self.kernel.pause(paused), self.block.pause(paused)].into_iter().filter_map(Result::err).collect();
        let done = if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) };
        if let Err(why) = &done {
            tracing::error!(why, paused, "the pause flag in the kernel cannot be set");
        }
        self.facts().pause_failed = done.as_ref().err().cloned();
        done
    }

    /// What is due in the kernel about once a second; a pause that somebody set there beside this daemon becomes its own. It may
    /// take as long as the engine takes to answer, and can be cut off at any point.
    pub(crate) async fn turn_kernel(self: &Arc<Self>, engine: &EngineHandle) {
        // It looks through cgroups, of which others make as many as they like.
        let kernel = Arc::clone(&self.kernel);
        if let Err(error) = tokio::task::spawn_blocking(move || kernel.turn()).await {
            tracing::error!(%error, "a look at the kernel did not end well");
        }
        if self.pausing.try_lock().is_ok() && self.kernel.is_paused_beside() {
            tracing::warn!("the pause flag in the kernel was set beside this daemon: it pauses too");
            if let Err(why) = self.pause(engine, true, PAUSED_BESIDE.into()).await {
                tracing::error!(%why, "not all of it is paused");
            }
        }
    }

    /// Writes down what the kernel's reflex struck since the last time; `last`: this daemon ends. Within [`SOON`]; not to be cut
    /// off, nor to be begun again before it ends.
    pub(crate) async fn turn_block(&self, engine: &EngineHandle, last: bool) {
        let Some(turn) = self.block.turn(last) else { return };
        for one in &turn.fired {
            tracing::warn!(
                image = one.image,
                count = one.count,
                spent = one.spent,
                "the kernel kept an image from starting"
            );
        }
        match self.ask_soon::<ReflexWritten>(engine, Request::Reflex { fired: turn.fired.clone() }).await {
            Ok(answer) if answer.waiting == 0 => self.block.kept(&turn),
            Ok(_) => self.block.owed(&turn),
            Err(refusal) => {
                tracing::error!(%refusal, "what the kernel's reflex struck is not written yet");
                self.block.refused();
            }
        }
    }

    /// Asks the sensor how it is: its thread learns its place in the queue only once it runs.
    pub(crate) fn look(&self, assembly: &Assembly) {
        let (probes, scheduling) = assembly.eye.probes();
        let (unasked, rings) = (assembly.eye.unasked(), assembly.eye.rings());
        let mut facts = self.facts();
        (facts.probes, facts.scheduling, facts.unasked, facts.rings) = (probes, scheduling, unasked, rings);
    }

    /// Where the tokens of webhooks are, now and later.
    pub(super) fn keys(&self) -> watch::Receiver<Arc<Keys>> {
        self.keys.subscribe()
    }

    /// Why nobody comes in over TCP, from now on; whether that is something new.
    pub(super) fn listens_not(&self, why: Option<String>) -> bool {
        let mut facts = self.facts();
        let is_new = facts.listen_failed != why;
        facts.listen_failed = why;
        is_new
    }

    /// Why nothing of this host's executables is protected, if nothing is.
    pub(crate) fn unprotected(&self) -> Option<&str> {
        self.unprotected.as_deref()
    }

    /// Where the daemon is in its life from now on.
    pub(crate) fn set(&self, state: State) {
        self.facts().state = state;
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Playbooks that an action is missing for.
    fn not_armed(facts: &Facts) -> Vec<NotArmed> {
        let lacks = |playbook: &Playbook| {
            playbook.steps.iter().find_map(|step| match &step.kind {
                // Where there is no cluster there are no pods, and the step is not come to.
                StepKind::Action { action, .. }
                    if !(action.as_str().starts_with("kubernetes.") && asks_for_a_pod(playbook, step)) =>
                {
                    facts.dead.get_key_value(action.as_str())
                }
                _ => None,
            })
        };
        let all = facts.definitions.playbooks.iter();
        all.filter_map(|playbook| {
            let (action, why) = lacks(playbook)?;
            Some(NotArmed { id: playbook.name.to_string(), why: format!("`{action}` does not work here: {why}") })
        })
        .collect()
    }

    /// How many incidents have not ended, or why nobody knows. A disk that hangs is not waited for, and by one thread at the most.
    pub(crate) async fn open_incidents(&self, journal: &Journal) -> Result<u64, String> {
        open_incidents(&self.looking, journal).await
    }

    /// How the daemon stands; `engine` is the engine's own answer, `open` what [`Desk::open_incidents`] found.
    pub(crate) fn status(&self, engine: &EngineStatus, journal: &Journal, open: Result<u64, String>) -> Status {
        let (incidents_open, unread) = (open.as_ref().ok().copied(), open.err());
        let health = journal.health();
        let facts = self.facts();
        let count = |pick: fn((quell_model::Class, u64, u64)) -> (quell_model::Class, u64)| {
            facts.counts.all().map(pick).map(|(id, count)| Counted { id, count }).collect::<Vec<_>>()
        };
        Status {
            state: facts.state,
            mode: facts.definitions.ceiling,
            mode_because: facts.definitions.ceiling_because.clone(),
            paused: engine.paused,
            pause_failed: facts.pause_failed.clone(),
            listen_failed: facts.listen_failed.clone(),
            unprotected: self.unprotected.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            node: self.world.node.clone(),
            data_dir: self.dir.display().to_string(),
            started: self.started.wall_by(SystemClock.now()),
            sensor: SensorStatus {
                running: facts.blind.is_none(),
                why: facts.blind.clone(),
                probes: facts.probes.clone(),
                events: count(|(class, seen, _)| (class, seen)),
                lost: count(|(class, _, lost)| (class, lost)),
                scheduling: facts.scheduling.clone(),
                unasked: facts.unasked,
            },
            hands: self.kernel.status(),
            block: self.block.status(&engine.leases),
            cut: self.kernel.cut_status(&engine.leases),
            pods: self.pods.status(),
            rules: facts.rules.len(),
            rules_skipped: facts.rules_skipped,
            playbooks: playbooks(&facts.definitions, engine),
            not_armed: Self::not_armed(&facts),
            held: engine.held.clone(),
            by_hand: engine.by_hand.clone(),
            actions_missing: facts.actions_missing.clone(),
            detections: engine.detections,
            runs_open: engine.runs_open,
            standing: engine.standing,
            questions: engine.questions,
            standing_due: engine.standing_due,
            leases: engine.leases.clone(),
            silences: engine.silences.clone(),
            incidents_open,
            incidents_degraded: engine.incidents_degraded,
            journal: JournalStatus {
                // What the journal took, and what the engine keeps until it takes it.
                waiting: health.waiting as u64 + engine.records_waiting,
                in_memory_only: health.in_memory_only as u64 + engine.records_waiting,
                unwritten: engine.records_lost,
                trouble: health.trouble.or(unread),
                recovery: health.recovery,
            },
            recorder: Self::recorder_status(&facts),
            sources: facts.sources.iter().map(|source| source.status()).collect(),
            retention: self.retention.status(facts.config.retention),
            beat: self.beat_status(facts.beat.as_ref()),
            audit: self.audit.status(SystemClock.now()),
            reload_refused: facts.reload_refused.clone(),
        }
    }

    fn recorder_status(facts: &Facts) -> RecorderStatus {
        let status = facts.recorder.as_ref().map(RecorderView::status).unwrap_or_default();
        RecorderStatus { trouble: facts.unrecorded.clone().or(status.trouble), ..status }
    }

    /// How long what is over is kept, as it was read last.
    pub(super) fn ages(&self) -> Ages {
        self.facts().config.retention
    }

    /// What went by its age.
    pub(super) fn retention(&self) -> &Told {
        &self.retention
    }

    /// Whether all was sent that should have been.
    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// When this daemon began.
    pub(super) fn started(&self) -> Stamp {
        self.started
    }

    /// This boot.
    pub(super) fn boot(&self) -> BootId {
        self.world.boot.clone()
    }

    /// What can be asked of the recorder.
    pub(crate) fn recorder(&self) -> Option<RecorderView> {
        self.facts().recorder.clone()
    }

    /// What answers; `engine` is the engine's own status.
    pub(crate) fn playbooks(&self, engine: &EngineStatus) -> Vec<PlaybookStatus> {
        playbooks(&self.facts().definitions, engine)
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.facts().rules)
    }

    /// The sum of a loaded playbook's text.
    pub(crate) fn hash_of(&self, playbook: &Name) -> Option<Hash> {
        self.facts().definitions.playbooks.iter().find(|loaded| loaded.name == *playbook).map(|loaded| loaded.hash)
    }
}

fn not_armed_count(facts: &Facts) -> u64 {
    Desk::not_armed(facts).len() as u64
}

async fn open_incidents(looking: &Look, journal: &Journal) -> Result<u64, String> {
    let journal = journal.clone();
    let found = looking.beside(move || Some(journal.open_streams())).await;
    let open = found.ok_or("the journal does not answer")?.map_err(|e| format!("the journal cannot be read: {e}"))?;
    Ok(open.iter().filter(|stream| stream.as_incident().is_some()).count() as u64)
}

/// What is loaded, and how far each may go now: that is the engine's to say, which knows what is new here.
fn playbooks(definitions: &Definitions, engine: &EngineStatus) -> Vec<PlaybookStatus> {
    let row = |playbook: &Arc<Playbook>| {
        let said = engine.modes.iter().find(|now| now.id == playbook.name);
        let (mode, mode_because) =
            said.map_or_else(|| definitions.mode_of(playbook), |now| (now.mode, now.because.clone()));
        PlaybookStatus {
            id: playbook.name.clone(),
            mode,
            mode_because,
            file: playbook.file.display().to_string(),
            description: playbook.description.clone(),
        }
    };
    definitions.playbooks.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::record::{NewRecord, NoteAdded};
    use quell_model::{Batch, Durability, IncidentId, StreamId};
    use std::sync::mpsc;

    fn note(stream: StreamId) -> Batch {
        let note = NoteAdded { by: "ann".into(), text: "seen".to_owned() };
        let records = vec![NewRecord::new(SystemClock.now(), note)];
        Batch { stream, expected: 0, records, durability: Durability::Synced }
    }

    /// The writer's thread stands still, as it does in a sync that does not come back.
    #[test]
    fn a_status_does_not_wait_for_a_disk_that_hangs_and_does_not_say_that_nothing_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let (let_go, held) = mpsc::sync_channel::<()>(1);
        let (hang, hangs) = mpsc::channel();
        let done = Box::new(move |_| {
            hang.send(()).unwrap();
            assert!(held.recv().is_err());
        });
        journal.submit(vec![note(StreamId::incident(&IncidentId::from("i-1")))], done);
        // What comes before that is in one commit with it.
        hangs.recv().unwrap();
        journal.written(note(StreamId::incident(&IncidentId::from("i-2")))).unwrap();
        let looking = Look::default();
        runtime.block_on(async {
            let unknown = Err("the journal does not answer".to_owned());
            assert_eq!(open_incidents(&looking, &journal).await, unknown);
            drop(let_go);
            assert_eq!(open_incidents(&looking, &journal).await, Ok(2));
        });
        journal.close();
    }
}
