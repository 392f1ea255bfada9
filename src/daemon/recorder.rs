//! The flight recorder's threads: one packs and writes what the sensor's thread noted, one keeps what surrounds incidents.
//!
//! Owns the threads, their clock and what `status` says of them. Never holds up the sensor: it hands over pages and looks
//! for spare ones, and waits for neither. A recorder that cannot start leaves a daemon that records nothing and says so.

use crate::api::RecorderStatus;
use quell_engine::clock::SystemClock;
use quell_engine::load::config;
use quell_engine::recorder::{self, Bounds, Counts, Keeper, Noter, Page, Ring};
use quell_engine::run::{EngineHandle, Request};
use quell_engine::store::Journal;
use quell_model::{BootId, Clock, IncidentId};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The folder below the data directory.
pub(crate) const FOLDER: &str = "recorder";
/// What is too old is looked for so often when nothing happens.
const TIDY: Duration = Duration::from_secs(10);
/// While there is more to look at the keeper rests so long at least,
const SOON: Duration = Duration::from_millis(20);
/// … and so many times what its turn took: looking back never takes more than a tenth of a core.
const REST: u32 = 9;
/// The journal is looked at for new incidents so often.
const LOOK: Duration = Duration::from_secs(2);

/// What is recorded, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct RecorderPlan {
    /// As configured.
    pub(crate) keep: config::Recorder,
    /// An incident is over after so long.
    pub(crate) quiet: Duration,
}

/// What its threads say of themselves.
#[derive(Debug, Default)]
struct Said {
    bytes: u64,
    oldest: Option<jiff::Timestamp>,
    trouble: Option<String>,
    pins: recorder::Watched,
}

/// What others may ask of it.
#[derive(Clone, Debug)]
pub(crate) struct RecorderView {
    dir: PathBuf,
    size: u64,
    counts: Arc<Counts>,
    said: Arc<Mutex<Said>>,
}

/// The running threads.
#[derive(Debug)]
pub(crate) struct Recorder {
    view: RecorderView,
    writer: JoinHandle<()>,
    keeper: Option<JoinHandle<()>>,
    end: Arc<AtomicBool>,
}

fn locked(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RecorderView {
    /// How it stands.
    pub(crate) fn status(&self) -> RecorderStatus {
        let said = locked(&self.said);
        RecorderStatus {
            noted: self.counts.noted(),
            dropped: self.counts.dropped(),
            bytes: said.bytes,
            size: self.size,
            oldest: said.oldest,
            followed: said.pins.followed as u64,
            pinned_bytes: said.pins.bytes,
            trouble: said.trouble.clone(),
        }
    }

    /// Events that are kept of an incident, from where the part before ended. Reads the disk.
    pub(crate) fn pinned(&self, incident: &IncidentId, after: u64) -> io::Result<Option<recorder::Part>> {
        recorder::pinned(&self.dir, incident, after)
    }
}

impl Recorder {
    /// Starts the writer; gives what the sensor's thread notes with.
    pub(super) fn start(dir: &Path, plan: &RecorderPlan, boot: &BootId) -> io::Result<(Self, Noter)> {
        let dir = dir.join(FOLDER);
        let bounds = Bounds { size: plan.keep.size, age: plan.keep.age };
        let ring = Ring::open(&dir, bounds, &boot.0)?;
        let (counts, said) = (Arc::<Counts>::default(), Arc::<Mutex<Said>>::default());
        let (noter, full, back) = recorder::channel(Arc::clone(&counts));
        let view = RecorderView { dir, size: plan.keep.size, counts, said };
        let seen = view.clone();
        let writer = std::thread::Builder::new()
            .name("quell-recorder".into())
            .spawn(move || write(ring, &full, &back, &seen))?;
        Ok((Self { view, writer, keeper: None, end: Arc::default() }, noter))
    }

    /// Starts the keeper, once there is an engine to tell.
    pub(super) fn keep(
        &mut self,
        plan: &RecorderPlan,
        boot: &BootId,
        journal: Journal,
        engine: EngineHandle,
        runtime: tokio::runtime::Handle,
    ) -> io::Result<()> {
        let keeper = Keeper::open(&self.view.dir, plan.keep.size, &boot.0)?;
        let (end, view, quiet) = (Arc::clone(&self.end), self.view.clone(), plan.quiet);
        let run = move || keep(keeper, &end, &view, quiet, &journal, &engine, &runtime);
        self.keeper = Some(std::thread::Builder::new().name("quell-keeper".into()).spawn(run)?);
        Ok(())
    }

    /// What others may ask of it.
    pub(crate) fn view(&self) -> RecorderView {
        self.view.clone()
    }

    /// Ends the keeper, while there is still an engine to tell.
    pub(super) fn end_keeper(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(keeper) = self.keeper.take() {
            keeper.thread().unpark();
            if keeper.join().is_err() {
                tracing::error!("the thread that keeps what surrounds incidents ended with a panic");
            }
        }
    }

    /// Waits until all is written; who noted has ended before.
    pub(super) fn close(mut self) {
        self.end_keeper();
        if self.writer.join().is_err() {
            tracing::error!("the recorder's thread ended with a panic");
        }
    }
}

/// The writer's life: until nobody notes any more.
fn write(mut ring: Ring, full: &Receiver<Box<Page>>, back: &SyncSender<Box<Page>>, view: &RecorderView) {
    loop {
        let said = &view.said;
        match full.recv_timeout(TIDY) {
            Ok(mut page) => {
                let events = page.events();
                let written = ring.write(&mut page, SystemClock.now());
                page.clear();
                // There is a place for every page; if nobody takes them back, the sensor's thread has ended.
                drop(back.try_send(page));
                let trouble = written.err().map(|error| error.to_string());
                if trouble.is_some() {
                    view.counts.drop_more(events);
                }
                let mut said = locked(said);
                match (&said.trouble, &trouble) {
                    (None, Some(why)) => tracing::error!(why, "nothing is recorded: the disk does not take it"),
                    (Some(_), None) => tracing::info!("recording again"),
                    _ => {}
                }
                said.trouble = trouble;
            }
            Err(RecvTimeoutError::Timeout) => ring.tidy(SystemClock.now()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let mut said = locked(said);
        (said.bytes, said.oldest) = (ring.bytes(), ring.oldest().map(|oldest| oldest.wall));
    }
}

/// The keeper's life.
fn keep(
    mut keeper: Keeper,
    end: &AtomicBool,
    view: &RecorderView,
    quiet: Duration,
    journal: &Journal,
    engine: &EngineHandle,
    runtime: &tokio::runtime::Handle,
) {
    // It copies what happened already: whoever works comes first. At the very end of the line it would never get on on a
    // busy machine.
    const NICE: i32 = 10;
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the keeper waits in line with everybody");
    }
    while !end.load(Ordering::Acquire) {
        let begun = SystemClock.now();
        match keeper.turn(journal, begun, quiet, end) {
            Ok(said) => {
                for kept in said {
                    let (incident, pinned) = (kept.incident.clone(), Box::new(kept.pinned.clone()));
                    let request = Request::Pinned { incident, pinned, last: kept.last };
                    // What is not taken is said again at the next turn.
                    match runtime.block_on(engine.request(request)) {
                        Ok(_) => keeper.journaled(&kept),
                        Err(why) => tracing::debug!(%why, "what is kept of an incident could not be journaled yet"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "incidents cannot be followed"),
        }
        locked(&view.said).pins = keeper.watched();
        let rest = SOON.max(SystemClock.now().since(begun) * REST);
        std::thread::park_timeout(if keeper.is_behind() { rest.min(LOOK) } else { LOOK });
    }
}
