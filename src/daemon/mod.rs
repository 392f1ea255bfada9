//! `quell up`: configuration, the live crew, engine, API, shutdown. Reads as the life of the daemon.
//!
//! ```text
//! files ─▶ journal (the lock) ─▶ engine and sensor ─▶ socket ─▶ serve ── SIGHUP, changed files: reload
//!                                                                 └──── SIGTERM: stop taking in, drain, flush, detach
//! ```
//!
//! Invariant: all that people wrote is read and found right before anything is opened.

pub(crate) mod around;
mod assembly;
mod audit;
#[cfg(feature = "webhook")]
mod beat;
mod block;
mod cgroup_namespace;
mod crew;
mod deliveries;
mod desk;
mod eye;
mod family;
pub(crate) mod files;
mod hand;
mod handover;
mod in_time;
#[cfg(feature = "slack")]
mod inward;
mod kernel;
mod kube;
mod leave;
mod listening;
mod log;
mod needs;
mod own_pod;
mod pause;
mod pods;
mod post;
pub(crate) mod privilege;
mod recorder;
mod rehearsal;
mod retention;
mod seals;
mod signals;
mod slow_start;
mod source_meter;
mod sources;
mod sweep;
mod webhooks;

pub(crate) use assembly::{Assembly, AssemblyError, Plan, assemble, reread};
pub(crate) use cgroup_namespace::{LOST as CGROUPS_LOST, leave as leave_cgroup_namespace};
pub(crate) use crew::{live as live_crew, replay as replay_crew, specs};
pub(crate) use deliveries::{Accepted, Deliveries, NotTaken};
#[cfg(test)]
pub(crate) use deliveries::{EngineOfATest, deliveries_of_a_test};
pub(crate) use desk::{Desk, Figures, KernelFigures};
pub(crate) use eye::Sight;
pub(crate) use family::Family;
#[cfg(feature = "kubernetes")]
pub(crate) use kube::Lack;
pub(crate) use kube::{Kube, act_in_a_cluster};
pub(crate) use leave::{Fate, Left, Stands, leave, stands};
pub(crate) use needs::Needs;
pub(crate) use own_pod::told_node;
pub(crate) use pause::{PauseError, beside as pause_beside};
pub(crate) use recorder::{FOLDER as RECORDER, RecorderPlan};
pub(crate) use rehearsal::{Scratch, rehearse};
pub(crate) use source_meter::{Answered, SourceMeter, is_truncated};

use crate::api::{self, App, State};
use crate::cli::{Exit, Fail, Term, draw_mistakes, place};
use block::Block;
use files::{Given, Loaded};
use kernel::Kernel;
use quell_actions::HostWorld;
use quell_engine::load::{Config, socket_fits};
use quell_engine::run::Request;
use quell_engine::run::answers::EngineStatus;
use quell_model::{Mode, Name, StoreError};
use signals::{Signals, Told};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--mode`.
    pub(crate) mode: Option<Mode>,
    /// `--data-dir`.
    pub(crate) data_dir: Option<PathBuf>,
}

/// Runs get this long to come to a journaled point; what is under way then is taken up at the next start.
const DRAIN: Duration = Duration::from_secs(5);
/// Requests that were begun get this long to be answered, and what follows this long to come to its end (`api/slack/errand.rs` has less).
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// For the engine's thread and the journal to end. Whoever stands still for longer ends with the process: what was
/// written down is on the slate.
const LAST_RECORDS: Duration = Duration::from_secs(4);
/// For views and self-tests that are under way when everything else has ended.
const LAST_VIEWS: Duration = Duration::from_secs(2);
/// How often files are looked at for changes.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or Ctrl-C.
pub(crate) fn run(orders: Orders, term: &Term) -> Result<Exit, Fail> {
    before_others();
    let own_cgroups = cgroup_namespace::leave();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("quell-work")
        .enable_all()
        .build()
        .map_err(|e| Fail::missing(format!("no runtime: {e}")))?;
    let signals = {
        let _on = runtime.enter();
        Signals::open().map_err(|e| Fail::missing(format!("no signal handler: {e}")))?
    };
    let given = Given { config: orders.config, mode: orders.mode };
    let loaded = files::load_to_act(&given);
    if loaded.has_errors() {
        draw_mistakes(term, &loaded.mistakes);
        return Err(Fail::usage("the configuration, rules or playbooks have mistakes: nothing was started")
            .hint("`quell config check`, `quell playbook check` and `quell rules check` find them without a start"));
    }
    let _log = log::start(loaded.config.log, term.has_colour_err())
        .map_err(|e| Fail::missing(format!("no thread for the log: {e}")))?;
    if let Err(why) = own_cgroups {
        tracing::warn!(why, "{}", cgroup_namespace::LOST);
    }
    for mistake in &loaded.mistakes {
        tracing::warn!(place = mistake.place(), "{}", mistake.what);
    }
    let dir = orders.data_dir.unwrap_or_else(|| data_dir(&loaded.config));
    socket_fits(&dir).map_err(|why| Fail::usage(why).hint("give a shorter one with --data-dir"))?;
    is_a_directory(&dir)?;
    let world = HostWorld::live(node()).map_err(|e| Fail::missing(format!("/proc cannot be read: {e}")))?;

    // Once, however often the engine is put together.
    let kernel = Arc::new(Kernel::load(&world, &dir));
    let block = Arc::new(Block::load(&kernel));
    let ended = with_kernel((&kernel, &block), &given, &loaded, &world, &dir, (&runtime, signals));
    // The engine has ended: nobody is marked any more. What may not start stays so, where it is pinned.
    block.end(&dir);
    if pause_is_kept(&kernel, &dir) {
        kernel.end();
    }
    // A view of thousands of runs that nobody waits for any more must not hold up the end.
    runtime.shutdown_timeout(LAST_VIEWS);
    ended
}

/// Whether the journal says so too when the kernel's flag says paused: the flag goes with the end, and the next start goes by
/// the journal.
fn pause_is_kept(kernel: &Kernel, dir: &Path) -> bool {
    if !kernel.is_paused() {
        return true;
    }
    let written = pause::write(dir, desk::PAUSED_BESIDE.into(), true, || {});
    if let Err(error) = &written {
        tracing::error!(%error, "the journal does not say that quell is paused: the flag stays in the kernel for the next start");
    }
    written.is_ok()
}

/// Puts the engine together and serves until the end.
fn with_kernel(
    (kernel, block): (&Arc<Kernel>, &Arc<Block>),
    given: &Given,
    loaded: &Loaded,
    world: &HostWorld,
    dir: &Path,
    (runtime, signals): (&Runtime, Signals),
) -> Result<Exit, Fail> {
    if kernel.is_paused()
        && let Err(error) = pause::write(dir, desk::PAUSED_BESIDE.into(), true, || {})
    {
        return Err(refused(&AssemblyError::Store(error), dir));
    }
    let world = &kernel.lend_cut(block.lend(world.clone()));
    block.take_up(dir);
    kernel.take_up(dir);
    let marks = post::marks(dir).map_err(|e| Fail::not_right(format!("there are no random bytes: {e}")))?;
    let desk = Desk::new(given, loaded, world, (Arc::clone(kernel), Arc::clone(block)), (dir, marks));
    let start = |sight: Sight| {
        // Without a sensor nobody watches the forks, and the actions read /proc whole instead.
        let family = sight.off.is_none().then(|| Arc::new(Family::default()));
        let known = desk.pods.table().map_or_else(|| world.clone(), |pods| world.clone().with_pods(pods));
        let hands = kernel.lend(match &family {
            Some(family) => known.with_lineage(Arc::clone(family) as _),
            None => known,
        });
        let (definitions, ways) = loaded.in_force(&desk.marks);
        desk.ways.replace(ways);
        let plan = Plan {
            dir: dir.to_owned(),
            node: world.node.clone(),
            boot: world.boot.clone(),
            crew: crew::live(hands, &desk.ways, &desk.kube),
            rules: Arc::clone(&loaded.rules),
            definitions,
            only: None,
            sight,
            family,
            files: loaded.config.sources.files.clone(),
            webhooks: loaded.config.sources.webhooks.clone(),
            recorder: Some(RecorderPlan { keep: loaded.config.recorder, quiet: loaded.config.incidents.quiet }),
        };
        assemble(plan, runtime.handle()).map_err(|e| refused(&e, dir))
    };
    let wanted = Sight { pods: desk.pods.table(), ..sight(loaded) };
    let mut assembly = start(wanted.clone())?;
    if wanted.off.is_none()
        && let Some(why) = assembly.blind.clone()
    {
        assembly.close();
        assembly = start(Sight { off: Some(why), ..wanted })?;
    }
    block.taken_up();
    desk.adopt(&assembly);
    if assembly.recovered.paused && desk.hold(true).is_err() {
        tracing::error!("this quell begins paused, and what stands in the kernel strikes on: `quell status` says why");
    }
    runtime.block_on(live(assembly, Arc::new(desk), loaded, dir, signals))
}

/// A machine that is flooded must still let people ask and stop: every thread comes before ordinary work.
fn before_others() {
    const NICE: i32 = -10;
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "quell's threads wait in line with everybody's");
    }
}

/// What is there and is no directory can never be used as one.
fn is_a_directory(dir: &Path) -> Result<(), Fail> {
    let is_other = match std::fs::metadata(dir) {
        Ok(found) => !found.is_dir(),
        Err(error) => error.kind() == std::io::ErrorKind::NotADirectory,
    };
    let fail = || Fail::usage(format!("`{}` is no directory", dir.display())).hint("give one with --data-dir");
    if is_other { Err(fail()) } else { Ok(()) }
}

/// What keeps the engine from starting, by what a supervisor makes of it: it does not try again after a 2, which time does not heal.
fn refused(error: &AssemblyError, dir: &Path) -> Fail {
    match error {
        AssemblyError::Store(StoreError::Taken { .. }) => {
            Fail::usage(error.to_string()).hint("one engine owns a data directory; give another with --data-dir")
        }
        AssemblyError::Store(e @ StoreError::Corrupt(_)) => {
            Fail::usage(format!("the journal in `{}` is damaged, and nothing was started: {e}", dir.display())).hint(
                "`quell store check` says what does not hold; keep the directory for later, and put a backup in its \
                 place or start with another --data-dir",
            )
        }
        AssemblyError::Store(e @ StoreError::Newer(_)) => {
            Fail::usage(format!("nothing was started on `{}`: {e}", dir.display())).hint(crate::cli::NEWER)
        }
        // A full disk gets room, a lock is let go: a supervisor starts quell again.
        AssemblyError::Store(e) => Fail::not_right(format!("`{}` cannot be used: {e}", dir.display()))
            .hint("give a directory that quell may write to, on a disk with room, with --data-dir"),
        AssemblyError::Thread(_) => Fail::missing(error.to_string()),
    }
}

async fn live(
    assembly: Assembly,
    desk: Arc<Desk>,
    loaded: &Loaded,
    dir: &Path,
    mut signals: Signals,
) -> Result<Exit, Fail> {
    let socket = dir.join(place::SOCKET);
    let listener = api::bind(&socket, &loaded.config.socket_group).map_err(|e| Fail::not_right(with_source(&e)))?;
    let (end, ended) = watch::channel(false);
    #[cfg(feature = "slack")]
    let (errands, waiting) = api::slack::Errands::new();
    let app = App {
        engine: assembly.engine.clone(),
        journal: assembly.journal.clone(),
        desk: Arc::clone(&desk),
        seats: api::Seats::new(ended.clone()),
        views: api::Views::default(),
        #[cfg(feature = "slack")]
        errands,
    };
    let mut followers = tokio::task::JoinSet::new();
    followers.spawn(desk.pods.clone().follow(ended.clone()));
    #[cfg(feature = "slack")]
    inward::follow(&app, &desk, waiting, &mut followers, &ended);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(api::serve(listener, api::router(app.clone()), ended.clone()));
    if let Some(listen) = &loaded.config.listen {
        tasks.spawn(listening::serve(listen.clone(), app, Arc::clone(&desk), ended.clone()));
    }
    webhooks::follow(&assembly, &desk, dir, &mut tasks, &ended);

    follow_traces(&assembly, &desk, loaded, &mut followers, ended.clone());
    followers.spawn(seals::follow(assembly.journal.clone(), assembly.engine.clone(), ended.clone()));
    follow_beat(&assembly, &desk, &mut followers, ended.clone());
    followers.spawn(audit::follow(Arc::clone(&desk), assembly.journal.clone(), assembly.engine.clone(), ended.clone()));
    let keeper = retention::Keeper::new(&desk, (&assembly.journal, &assembly.engine), dir, ended.clone());
    followers.spawn(keeper.follow());
    announce(&assembly, &desk, loaded, dir);
    let tester = Arc::clone(&desk);
    let mut self_test = tokio::task::JoinSet::new();
    self_test.spawn_blocking(move || tester.self_test());
    // Beside what hears signals: files that cannot be read now, and an engine that stands still, take long. The
    // desk lets one wait for the one that is at work, and no more.
    let mut reloads = tokio::task::JoinSet::new();
    let reload = |reloads: &mut tokio::task::JoinSet<()>| {
        let desk = Arc::clone(&desk);
        reloads.spawn(async move { drop(desk.reload().await) });
    };
    // So is what is due in the kernel: each once at a time.
    let (mut kernel_turn, mut block_turn) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
    // Beside it too, one at a time: a disk that hangs is waited for by nobody.
    let mut looks = tokio::task::JoinSet::new();
    let mut changes = tokio::time::interval(LOOK);
    changes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Whether somebody told it to end; else something inside of it died.
    let told = loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::End => break true,
                Told::Reload => reload(&mut reloads),
            },
            Some(looked) = looks.join_next() => match looked {
                Ok(true) => reload(&mut reloads),
                Ok(false) => {}
                Err(e) => tracing::error!(%e, "a look at the files did not end well"),
            },
            Some(done) = reloads.join_next() => {
                if let Err(e) = done {
                    tracing::error!(%e, "a reload did not end well");
                }
            }
            Some(tested) = self_test.join_next() => {
                if let Err(e) = tested {
                    tracing::error!(%e, "the self-test of the actions did not end well");
                }
            }
            Some(Err(e)) = kernel_turn.join_next() => tracing::error!(%e, "a look at the kernel did not end well"),
            Some(Err(e)) = block_turn.join_next() => tracing::error!(%e, "what the kernel struck was not written down"),
            _ = changes.tick() => {
                desk.look(&assembly);
                let (of, engine) = (Arc::clone(&desk), assembly.engine.clone());
                if kernel_turn.is_empty() {
                    kernel_turn.spawn(async move { of.turn_kernel(&engine).await });
                }
                let (of, engine) = (Arc::clone(&desk), assembly.engine.clone());
                if block_turn.is_empty() {
                    block_turn.spawn(async move {
                        of.turn_block(&engine, false).await;
                        of.turn_cut(&engine, false).await;
                    });
                }
                let died = [
                    ("the engine's thread", assembly.eye.is_alive()),
                    ("the journal's writer", assembly.journal.is_writing()),
                ];
                if let Some((who, _)) = died.into_iter().find(|(_, is_alive)| !is_alive) {
                    tracing::error!("{who} has died: ending, so that a supervisor starts quell again");
                    break false;
                }
                if looks.is_empty() {
                    let desk = Arc::clone(&desk);
                    looks.spawn_blocking(move || desk.files_changed());
                }
            }
            served = tasks.join_next() => {
                tracing::error!(why = ?served, "the API has ended");
                break false;
            }
        }
    };

    tracing::info!("ending: runs come to a journaled point, then the sensor is detached");
    desk.set(State::Stopping);
    reloads.abort_all();
    kernel_turn.abort_all();
    if timeout(DRAIN, drain(&assembly, &desk)).await.is_err() {
        tracing::warn!("runs are still open: they are taken up at the next start");
    }
    while block_turn.join_next().await.is_some() {}
    desk.turn_block(&assembly.engine, true).await;
    desk.turn_cut(&assembly.engine, true).await;
    if end.send(true).is_err() {
        tracing::debug!("the API had ended already");
    }
    let answered = timeout(LAST_ANSWERS, async { while tasks.join_next().await.is_some() {} });
    // Traces of runs that have just ended are sent meanwhile; what does not get there waits in the journal.
    let followed = timeout(LAST_ANSWERS, async { while followers.join_next().await.is_some() {} });
    let (answered, followed) = tokio::join!(answered, followed);
    if followed.is_err() {
        tracing::debug!("the last traces are sent at the next start");
    }
    if answered.is_err() {
        tracing::warn!("a connection that nobody closed is cut off");
    }
    tasks.abort_all();
    followers.abort_all();
    if let Err(e) = std::fs::remove_file(&socket) {
        tracing::debug!(%e, "the socket was gone already");
    }
    match timeout(LAST_RECORDS, tokio::task::spawn_blocking(move || assembly.close())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the sensor or the journal did not end well"),
        Err(_) => tracing::error!("the sensor or the journal does not end: the next start takes up what they leave"),
    }
    tracing::info!("ended");
    Ok(if told { Exit::Right } else { Exit::NotRight })
}

/// Sends runs as traces until the end, where a collector is configured.
#[cfg(feature = "otlp")]
fn follow_traces(
    assembly: &Assembly,
    desk: &Desk,
    loaded: &Loaded,
    tasks: &mut tokio::task::JoinSet<()>,
    mut ended: watch::Receiver<bool>,
) {
    let Some(endpoint) = loaded.config.telemetry.otlp.clone() else { return };
    let traces = crate::telemetry::Traces {
        journal: assembly.journal.clone(),
        dir: desk.dir().to_owned(),
        endpoint,
        node: node(),
        meters: Arc::clone(desk.meters()),
    };
    tasks.spawn(traces.follow(async move { drop(ended.wait_for(|end| *end).await) }));
}

/// Without the means to send any in this build.
#[cfg(not(feature = "otlp"))]
fn follow_traces(_: &Assembly, _: &Desk, loaded: &Loaded, _: &mut tokio::task::JoinSet<()>, _: watch::Receiver<bool>) {
    if loaded.config.telemetry.otlp.is_some() {
        tracing::error!("no traces are sent: this quell was built without the feature `otlp`");
    }
}

/// Tells a dead man's switch until the end, where one is configured now or by a reload.
#[cfg(feature = "webhook")]
fn follow_beat(
    assembly: &Assembly,
    desk: &Arc<Desk>,
    tasks: &mut tokio::task::JoinSet<()>,
    ended: watch::Receiver<bool>,
) {
    let (engine, journal) = (assembly.engine.clone(), assembly.journal.clone());
    tasks.spawn(beat::Heart { desk: Arc::clone(desk), engine, journal, ended }.follow());
}

/// Without the means to tell one in this build.
#[cfg(not(feature = "webhook"))]
fn follow_beat(_: &Assembly, desk: &Arc<Desk>, _: &mut tokio::task::JoinSet<()>, _: watch::Receiver<bool>) {
    if desk.beat().is_some() {
        let why = "this quell was built without the feature `webhook`";
        tracing::error!(why, "the dead man's switch is not told");
        desk.tell_beat(|told| told.held = Some(why.to_owned()));
    }
}

/// Waits until no run is open, or nobody answers.
async fn drain(assembly: &Assembly, desk: &Desk) {
    while let Ok(status) = desk.ask_soon::<EngineStatus>(&assembly.engine, Request::Status).await
        && status.runs_open > 0
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn announce(assembly: &Assembly, desk: &Desk, loaded: &Loaded, dir: &Path) {
    let ceiling = loaded.definitions.ceiling;
    desk.set(if assembly.blind.is_some() { State::Blind } else { State::Armed });
    if let Some(why) = &assembly.blind {
        tracing::error!(
            why,
            "nothing is seen on this machine; the API answers, and `quell doctor` says what would help"
        );
    }
    if let Some(why) = desk.unprotected() {
        tracing::error!(why, "quell only observes here: nothing of this host would be protected from it");
    }
    let recovered = &assembly.recovered;
    if !recovered.runs.is_empty() || recovered.incidents > 0 {
        tracing::info!(runs = recovered.runs.len(), incidents = recovered.incidents, "taken up from the journal");
    }
    for run in &recovered.begun {
        tracing::info!(%run, "begun now: the engine ended when it had decided on it");
    }
    for (run, why) in &recovered.broken {
        tracing::error!(%run, why, "a run cannot go on");
    }
    tracing::info!(
        mode = %ceiling,
        playbooks = loaded.definitions.playbooks.len(),
        rules = loaded.rules.len(),
        data_dir = %dir.display(),
        "{}",
        if assembly.blind.is_some() { "up, and blind" } else { "armed" },
    );
    if ceiling == Mode::Observe {
        tracing::info!(
            "observing: quell plans and touches nothing. To let it act: `quell up --mode enforce`, or `mode: enforce` in quell.yaml"
        );
    }
    if ceiling == Mode::Approve {
        tracing::info!(
            "asking before each act: `quell run list` shows what waits, `quell run approve ID/STEP` lets it act"
        );
    }
    if recovered.paused {
        tracing::warn!("paused: no action runs until `quell resume`");
    }
}

/// As configured; where nothing is, a user's own daemon has the user's own directory.
fn data_dir(config: &Config) -> PathBuf {
    let set = config.show().into_iter().any(|row| row.key == "data_dir" && row.from != "default");
    if set { config.data_dir.clone() } else { place::for_daemon() }
}

fn sight(loaded: &Loaded) -> Sight {
    let off =
        (!loaded.config.sources.sensor).then(|| "the configuration says `sources.sensor.enabled: false`".to_owned());
    Sight { off, watch: loaded.watch.clone(), ..Sight::default() }
}

/// An error with what is behind it, on one line.
pub(crate) fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// This machine's name.
/// What this machine is called: in a pod what its cluster calls the node (`NODE_NAME`), since the name of a pod ends with it.
pub(crate) fn node() -> Name {
    if let Some(name) = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty()) {
        return name.into();
    }
    rustix::system::uname().nodename().to_string_lossy().as_ref().into()
}

/// Whoever runs this process, as the socket would name them.
pub(crate) fn me() -> Name {
    api::Caller::of_uid(rustix::process::getuid().as_raw()).0
}

/// What a sensor that cannot start means for the exit code.
#[cfg(feature = "ebpf")]
pub(crate) fn sensor_failed(error: &quell_detectors::SensorError) -> Fail {
    Fail::missing(with_source(error)).hint("`quell doctor` says what is missing, and what still works")
}
