//! What the daemon knows of itself: its state, what is loaded, what the sensor can do; and the way to reload.
//!
//! Invariant: a reload is whole or not at all. With a mistake the former definitions hold, and the refusal is shown until
//! one succeeds.

mod figures;

pub(crate) use figures::{Figures, KernelFigures};

use super::assembly::Assembly;
use super::block::Block;
use super::files::{self, Given, Loaded};
use super::hand::Counts;
use super::kernel::Kernel;
use super::pause::PauseError;
use super::recorder::RecorderView;
use super::source_meter::SourceMeter;
use crate::api::{
    Access, ActionMissing, Counted, JournalStatus, NotArmed, PlaybookStatus, ProbeStatus, RecorderStatus, SensorStatus,
    State, Status,
};
use crate::telemetry::Meters;
use quell_actions::HostWorld;
use quell_engine::clock::SystemClock;
use quell_engine::detect::Rules;
use quell_engine::load::{Config, Tls};
use quell_engine::run::answers::{EngineStatus, Paused, ReflexWritten, Reloaded};
use quell_engine::run::{Definitions, EngineHandle, Refusal, Request};
use quell_engine::source::Snapshot;
use quell_engine::store::Journal;
use quell_model::playbook::{Playbook, StepKind};
use quell_model::{Clock, Hash, Name, Stamp};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// See the module.
pub(crate) struct Desk {
    given: Given,
    world: HostWorld,
    kernel: Arc<Kernel>,
    block: Arc<Block>,
    dir: PathBuf,
    started: Stamp,
    facts: Mutex<Facts>,
    /// Who may do what, as it was read last.
    access: watch::Sender<Arc<Access>>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    /// One pause or its end at a time.
    pausing: tokio::sync::Mutex<()>,
    /// What is counted for whoever asks for figures.
    meters: Arc<Meters>,
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
    watched: Vec<PathBuf>,
    seen: Snapshot,
    counts: Arc<Counts>,
    to_hand: Option<SyncSender<Arc<Rules>>>,
    blind: Option<String>,
    recorder: Option<RecorderView>,
    unrecorded: Option<String>,
    /// Why the last pause, or its end, did not reach the kernel.
    pause_failed: Option<String>,
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
/// stands still is told so.
const ANSWER: Duration = Duration::from_secs(30);
/// The daemon itself waits no longer: it may be told to end.
const SOON: Duration = Duration::from_secs(5);

/// What is looked at for changes.
const ENDINGS: &[&str] = &["yml", "yaml", "rhai"];

impl Desk {
    /// Of a daemon that is starting.
    pub(crate) fn new(
        given: &Given,
        loaded: &Loaded,
        world: &HostWorld,
        (kernel, block): (Arc<Kernel>, Arc<Block>),
        dir: &Path,
    ) -> Self {
        let facts = Facts {
            state: State::Starting,
            definitions: loaded.definitions.clone(),
            rules: Arc::clone(&loaded.rules),
            rules_skipped: loaded.rules_skipped,
            actions_missing: Vec::new(),
            dead: BTreeMap::new(),
            reload_refused: None,
            config: loaded.config.clone(),
            seen: look(&loaded.files),
            watched: loaded.files.clone(),
            counts: Arc::default(),
            to_hand: None,
            blind: None,
            recorder: None,
            unrecorded: None,
            pause_failed: None,
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
            started: SystemClock.now(),
            facts: Mutex::new(facts),
            access: watch::Sender::new(Arc::new(Access::of(loaded))),
            reloading: tokio::sync::Mutex::new(()),
            pausing: tokio::sync::Mutex::new(()),
            meters: Arc::default(),
        }
    }

    /// Learns of the engine that was put together.
    pub(crate) fn adopt(&self, assembly: &Assembly) {
        let mut facts = self.facts();
        facts.counts = Arc::clone(&assembly.counts);
        facts.to_hand = Some(assembly.rules.clone());
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

    /// Pauses every action, in the engine and in the kernel, or lets them go on.
    pub(crate) async fn pause(&self, engine: &EngineHandle, paused: bool, by: Name) -> Result<Paused, PauseError> {
        let _one = self.pausing.lock().await;
        if paused {
            let held = self.hold(true);
            let answer = self.ask(engine, Request::Pause { paused, by }).await?;
            return held.map(|()| answer).map_err(PauseError::Kernel);
        }
        let answer = self.ask(engine, Request::Pause { paused, by }).await?;
        self.hold(false).map_err(PauseError::StillHeld)?;
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
    pub(crate) async fn turn_kernel(&self, engine: &EngineHandle) {
        self.kernel.turn();
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

    /// Tries every action on processes of its own, and says loudly what would not work here. Blocks for a moment.
    pub(crate) fn self_test(&self) {
        let (gone, failed) = super::sweep::leftovers(&self.world);
        for dir in gone {
            tracing::info!(dir = %dir.display(), "removed what a killed quell had left");
        }
        for why in failed {
            tracing::warn!(why, "what a killed quell had left cannot be removed");
        }
        let tested = quell_actions::self_test(&self.world);
        let failed = tested.iter().filter(|check| !check.ok);
        let missing =
            failed.map(|check| ActionMissing { id: check.name.clone(), why: check.why.clone().unwrap_or_default() });
        let missing: Vec<ActionMissing> = missing.collect();
        for check in &missing {
            tracing::warn!(action = check.id, why = check.why, "an action does not work here");
        }
        let mut facts = self.facts();
        facts.dead = dead(&tested);
        facts.actions_missing = missing;
        for playbook in Self::not_armed(&facts) {
            tracing::error!(playbook = playbook.id, why = playbook.why, "a playbook cannot answer here");
        }
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
                StepKind::Action { action, .. } => facts.dead.get_key_value(action.as_str()),
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

    /// How the daemon stands; `engine` is the engine's own answer.
    pub(crate) fn status(&self, engine: &EngineStatus, journal: &Journal) -> Status {
        // Before the lock: while the database refuses, a reader waits for the writer, and others want these facts.
        let open = journal.open_streams().unwrap_or_default();
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
            block: self.block.status(),
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
            incidents_open: open.iter().filter(|stream| stream.as_incident().is_some()).count() as u64,
            incidents_degraded: engine.incidents_degraded,
            journal: JournalStatus {
                // What the journal took, and what the engine keeps until it takes it.
                waiting: health.waiting as u64 + engine.records_waiting,
                in_memory_only: health.in_memory_only as u64 + engine.records_waiting,
                unwritten: engine.records_lost,
                trouble: health.trouble,
                recovery: health.recovery,
            },
            recorder: Self::recorder_status(&facts),
            reload_refused: facts.reload_refused.clone(),
        }
    }

    fn recorder_status(facts: &Facts) -> RecorderStatus {
        let status = facts.recorder.as_ref().map(RecorderView::status).unwrap_or_default();
        RecorderStatus { trouble: facts.unrecorded.clone().or(status.trouble), ..status }
    }

    /// What can be asked of the recorder.
    pub(crate) fn recorder(&self) -> Option<RecorderView> {
        self.facts().recorder.clone()
    }

    /// What answers; `engine` is the engine's own status.
    pub(crate) fn playbooks(&self, engine: &EngineStatus) -> Vec<PlaybookStatus> {
        playbooks(&self.facts().definitions, engine)
    }

    /// Who may do what, as it holds now, and whenever it is read anew.
    pub(crate) fn access(&self) -> watch::Receiver<Arc<Access>> {
        self.access.subscribe()
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.facts().rules)
    }

    /// The sum of a loaded playbook's text.
    pub(crate) fn hash_of(&self, playbook: &Name) -> Option<Hash> {
        self.facts().definitions.playbooks.iter().find(|loaded| loaded.name == *playbook).map(|loaded| loaded.hash)
    }

    /// Whether a file that was loaded, or could be, has changed since the last look.
    pub(crate) fn files_changed(&self) -> bool {
        let mut facts = self.facts();
        let now = look(&facts.watched);
        let changed = now != facts.seen;
        facts.seen = now;
        changed
    }

    /// Reads everything again and puts it in force, or says why not.
    pub(crate) async fn reload(&self, engine: &EngineHandle) -> Result<Vec<String>, String> {
        let _one = self.reloading.lock().await;
        let (given, watched) = (self.given.clone(), self.facts().watched.clone());
        // Before they are read: what is saved meanwhile is a change at the next look, and so is a list of files that is another now.
        let before = look(&watched);
        let mut loaded = tokio::task::spawn_blocking(move || files::load(&given)).await.map_err(|e| e.to_string())?;
        loaded.mistakes.extend(files::nobody_left(&self.facts().definitions.people, &loaded));
        let has_mistakes = loaded.has_errors();
        let done = self.put_in_force(engine, loaded).await;
        let mut facts = self.facts();
        facts.seen = before;
        match &done {
            Ok(_) => (facts.reloads.0, facts.reloaded) = (facts.reloads.0 + 1, Some(SystemClock.now())),
            Err(_) if has_mistakes => facts.reloads.1 += 1,
            Err(why) => {
                tracing::error!(why, "not reloaded; it is tried again at the next look");
                (facts.reloads.1, facts.reload_refused) = (facts.reloads.1 + 1, Some(why.clone()));
                facts.seen = look(&[]);
            }
        }
        done
    }

    async fn put_in_force(&self, engine: &EngineHandle, loaded: Loaded) -> Result<Vec<String>, String> {
        if loaded.has_errors() {
            return Err(self.refuse(&loaded));
        }
        let mut said = Vec::new();
        let (sender, then) = {
            let facts = self.facts();
            (facts.to_hand.clone(), facts.config.clone())
        };
        for key in needs_restart(&then, &loaded.config) {
            tracing::warn!(key, "`{key}` was changed and needs a restart: what it was at the start holds");
            said.push(format!("`{key}` needs a restart"));
        }
        if let Some(sender) = sender
            && sender.try_send(Arc::clone(&loaded.rules)).is_err()
        {
            return Err("the engine has not taken the rules of the last reload yet; try again".to_owned());
        }
        let request = Request::Reload(Box::new(loaded.definitions.clone()));
        self.ask::<Reloaded>(engine, request).await.map_err(|refusal| refusal.to_string())?;
        let mut facts = self.facts();
        facts.rules = Arc::clone(&loaded.rules);
        facts.rules_skipped = loaded.rules_skipped;
        facts.watched.clone_from(&loaded.files);
        facts.reload_refused = None;
        self.access.send_replace(Arc::new(Access::of(&loaded)));
        tracing::info!(playbooks = loaded.definitions.playbooks.len(), rules = loaded.rules.len(), "reloaded");
        facts.definitions = loaded.definitions;
        Ok(said)
    }

    fn refuse(&self, loaded: &Loaded) -> String {
        let errors: Vec<String> = loaded.errors().map(|m| format!("{}: {}", m.place(), m.what)).collect();
        for mistake in loaded.errors() {
            tracing::error!(place = mistake.place(), "not reloaded, the former definitions hold: {}", mistake.what);
        }
        let first = errors.first().cloned().unwrap_or_default();
        let why = if errors.len() > 1 { format!("{first} (and {} more)", errors.len() - 1) } else { first };
        self.facts().reload_refused = Some(why.clone());
        why
    }
}

fn not_armed_count(facts: &Facts) -> u64 {
    Desk::not_armed(facts).len() as u64
}

async fn ask_within<T: DeserializeOwned>(
    engine: &EngineHandle,
    request: Request,
    limit: Duration,
) -> Result<T, Refusal> {
    let answer = tokio::time::timeout(limit, engine.request(request)).await;
    let late = |_| Refusal::NotNow(format!("the engine has not answered within {limit:?}"));
    let unread = |e| Refusal::NotNow(format!("the engine's answer cannot be read: {e}"));
    serde_json::from_value(answer.map_err(late)??).map_err(unread)
}

/// Keys that were changed and that a running daemon cannot follow.
fn needs_restart(then: &Config, now: &Config) -> Vec<&'static str> {
    [
        ("data_dir", then.data_dir != now.data_dir),
        ("sources", then.sources != now.sources),
        ("recorder", then.recorder != now.recorder),
        ("access.socket.group", then.socket_group != now.socket_group),
        ("access.listen", where_listened(then) != where_listened(now)),
        ("log", then.log != now.log),
        ("telemetry", then.telemetry != now.telemetry),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// Tokens are followed while it runs; where it listens, and with which files, is not.
fn where_listened(config: &Config) -> Option<(std::net::SocketAddr, Option<&Tls>)> {
    config.listen.as_ref().map(|listen| (listen.address, listen.tls.as_ref()))
}

/// Actions of which every means failed.
fn dead(tested: &[quell_actions::Check]) -> BTreeMap<String, String> {
    let action = |check: &quell_actions::Check| check.name.split(' ').next().unwrap_or_default().to_owned();
    let works = |name: &str| tested.iter().any(|check| check.ok && action(check) == name);
    let failed = tested.iter().filter(|check| !check.ok && !works(&action(check)));
    failed.map(|check| (action(check), check.why.clone().unwrap_or_default())).collect()
}

fn look(watched: &[PathBuf]) -> Snapshot {
    let paths: Vec<&Path> = watched.iter().map(PathBuf::as_path).collect();
    Snapshot::of(&paths, ENDINGS)
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
