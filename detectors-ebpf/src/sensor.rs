//! The sensor as the rest of quell holds it: start, wake, count, stop.
//!
//! Owns the thread. Decides nothing: what it sees it hands to the [`Sink`], on that thread.

use crate::doctor::{self, Check};
use crate::error::SensorError;
use crate::event::Context;
use crate::fill::Fill;
use crate::load::{self, Missing, Settings};
use crate::probes::Probe;
use crate::reader::Reader;
use crate::schedule::Pace;
use crate::sleep::Sleep;
use crate::watch::Watch;
use quell_model::{Class, Event, Name, Pods};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Where events go. Called on the sensor's own thread: what it does there delays what comes after.
pub trait Sink: Send {
    /// One event, borrowed for the call.
    fn event(&mut self, event: &dyn Event);
    /// After each batch, whenever woken by a [`Waker`], and at least every 100 ms.
    fn turn(&mut self);
}

/// What the sensor is told.
#[derive(Clone, Debug)]
pub struct SensorConfig {
    /// Paths whose reads are events: absolute; `*` within a component; a trailing `/` for everything below.
    pub watch: Vec<String>,
    /// The name of this machine in events.
    pub node: Name,
    /// Processes whose file and network events are not wanted: quell's own.
    pub ignore_pids: Vec<u32>,
    /// File and network events that one cgroup may send in about a second; what is beyond is counted as loss.
    pub budget: u64,
    /// Bytes of each of the two rings, a power of two and whole pages; none: 8 MiB, a quarter of a second of the worst flood.
    pub ring: Option<u32>,
    /// Ask for SCHED_FIFO.
    pub first: bool,
    /// Whose the containers of this node are, where a cluster is watched.
    pub pods: Option<Arc<Pods>>,
}

/// The word for the good case in [`Stats::scheduling`].
const FIRST: &str = "SCHED_FIFO";

/// A busy build makes some 10,000 file events a second; a flood 100,000 and more.
const BUDGET: u64 = 20_000;

impl SensorConfig {
    /// The usual: nothing watched, this process ignored.
    #[must_use]
    pub fn new(node: Name) -> Self {
        Self {
            watch: Vec::new(),
            node,
            ignore_pids: vec![std::process::id()],
            budget: BUDGET,
            ring: None,
            first: true,
            pods: None,
        }
    }
}

/// Counts since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Events handed to the sink, by class.
    pub events: Vec<(Class, u64)>,
    /// Events lost, by class.
    pub lost: Vec<(Class, u64)>,
    /// The probes that are in.
    pub attached: Vec<&'static str>,
    /// The probes that are not, with what the kernel said.
    pub missing: Vec<(&'static str, String)>,
    /// Processes in the table.
    pub processes: u64,
    /// `SCHED_FIFO`, or `CFS` and why.
    pub scheduling: String,
    /// The processes that were there before have been told.
    pub scanned: bool,
    /// Questions about relays that found no time.
    pub unasked: u64,
    /// Of each ring: its name, the bytes that wait in it, and the bytes that it holds.
    pub rings: Vec<(&'static str, u64, u64)>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) events: [AtomicU64; Class::ALL.len()],
    pub(crate) lost: [AtomicU64; Class::ALL.len()],
    pub(crate) processes: AtomicU64,
    pub(crate) unasked: AtomicU64,
    pub(crate) scanned: AtomicBool,
    pub(crate) stop: AtomicBool,
    pub(crate) scheduling: Mutex<String>,
}

/// Makes the sensor's thread take a turn now. Cheap, from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    fd: Arc<OwnedFd>,
}

impl Waker {
    /// Wakes it.
    pub fn wake(&self) {
        // A full counter means that it is awake already; there is nothing else that can fail on an eventfd.
        if let Err(error) = rustix::io::write(&*self.fd, &1_u64.to_ne_bytes()) {
            tracing::debug!(%error, "the sensor's waker was not written");
        }
    }
}

/// The sensor.
#[derive(Debug)]
pub struct Sensor;

impl Sensor {
    /// What this machine lets the sensor do, for `quell doctor`.
    #[must_use]
    pub fn probe() -> Vec<Check> {
        doctor::probe()
    }

    /// Loads, hooks in, and starts the thread. Events of the processes that were there before are marked `scan`; only what
    /// happened while they were looked for comes earlier.
    ///
    /// # Errors
    /// When nothing can be seen here at all; each error says what to do.
    pub fn start(config: SensorConfig, sink: Box<dyn Sink>) -> Result<Running, SensorError> {
        let watch = Watch::new(&config.watch)?;
        let settings =
            Settings { watch, ignore_pids: config.ignore_pids.clone(), budget: config.budget, ring: config.ring };
        let mut loaded = load::load(&settings, false)?;
        let fills = std::mem::take(&mut loaded.fills);
        let attached = loaded.attached.iter().map(|p: &&Probe| p.program).collect();
        let missing = loaded.missing.iter().map(|m: &Missing| (m.probe.program, m.why.clone())).collect();
        let counters = Arc::new(Counters::default());
        let fd =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| SensorError::Thread(e.into()))?;
        let waker = Waker { fd: Arc::new(fd) };
        let sleep = Sleep::new(&loaded, Arc::clone(&waker.fd)).map_err(SensorError::Thread)?;
        let (told, first) = (Arc::clone(&counters), config.first);
        let thread = std::thread::Builder::new()
            .name("quell-sensor".to_owned())
            .spawn(move || {
                let scheduling = match first.then(crate::schedule::be_first) {
                    Some(Ok(())) => FIRST.to_owned(),
                    Some(Err(why)) => format!("CFS: SCHED_FIFO is not allowed ({why})"),
                    None => "CFS: not asked for more".to_owned(),
                };
                let pace = Pace::new(scheduling == FIRST);
                *told.scheduling.lock().unwrap_or_else(PoisonError::into_inner) = scheduling;
                let cx = Context::new(config.node, config.pods);
                Reader::new(loaded, settings.watch, cx, sink, told, sleep, pace).run();
            })
            .map_err(SensorError::Thread)?;
        Ok(Running { waker, counters, attached, missing, fills, thread: Some(thread) })
    }
}

/// A sensor that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    waker: Waker,
    counters: Arc<Counters>,
    attached: Vec<&'static str>,
    missing: Vec<(&'static str, String)>,
    fills: Vec<(&'static str, Fill)>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// A handle that makes the thread take a turn.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Whether the thread still runs; it ends early only if the sink panicked.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Counts and facts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let c = &self.counters;
        let by_class = |counts: &[AtomicU64; Class::ALL.len()]| {
            let read = Class::ALL.into_iter().zip(counts).map(|(class, n)| (class, n.load(Ordering::Relaxed)));
            read.filter(|(_, n)| *n > 0).collect()
        };
        Stats {
            events: by_class(&c.events),
            lost: by_class(&c.lost),
            attached: self.attached.clone(),
            missing: self.missing.clone(),
            processes: c.processes.load(Ordering::Relaxed),
            scheduling: c.scheduling.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            scanned: c.scanned.load(Ordering::Acquire),
            unasked: c.unasked.load(Ordering::Relaxed),
            rings: self
                .fills
                .iter()
                .map(|(name, fill)| {
                    let (waiting, size) = fill.now();
                    (*name, waiting, size)
                })
                .collect(),
        }
    }

    /// Takes in what the rings hold, takes the probes out and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.counters.stop.store(true, Ordering::Release);
        self.waker.wake();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the sensor's thread had died");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
