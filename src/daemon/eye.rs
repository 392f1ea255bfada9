//! Who turns the engine: the sensor's thread where there is a sensor, else a thread of its own that only answers.

use super::hand::Hand;
use crate::api::ProbeStatus;
use quell_engine::clock::SystemClock;
use quell_model::{Clock, Name, OwnedEvent, Pods};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
#[cfg(feature = "ebpf")]
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Wakes the thread that turns the engine, once it is known.
#[derive(Clone, Default)]
pub(super) struct Wake(Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>);

impl Wake {
    /// As the engine takes it.
    pub(super) fn as_fn(&self) -> Arc<dyn Fn() + Send + Sync> {
        let wake = self.clone();
        Arc::new(move || {
            // Before the thread runs there is nobody to wake: it looks at its inbox first.
            if let Some(wake) = wake.0.get() {
                wake();
            }
        })
    }

    fn set(&self, wake: impl Fn() + Send + Sync + 'static) {
        // Set once, by whoever starts the thread.
        drop(self.0.set(Box::new(wake)));
    }
}

/// The running thread.
pub(crate) enum Eye {
    /// It sees.
    #[cfg(feature = "ebpf")]
    Sensor(quell_detectors::Running),
    /// It only answers.
    Blind(Blind),
}

/// What the sensor is started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// No sensor, and why.
    pub(crate) off: Option<String>,
    /// Files whose reads are events.
    #[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "only the sensor reads it"))]
    pub(crate) watch: Vec<String>,
    /// Whose the containers of this node are, where a cluster is watched.
    #[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "only the sensor reads it"))]
    pub(crate) pods: Option<Arc<Pods>>,
    /// What is seen instead where there is no sensor.
    pub(crate) replay: Vec<OwnedEvent>,
}

impl Eye {
    /// Starts the sensor with `hand` on its thread; where it cannot run, a blind thread, and says why.
    #[cfg(feature = "ebpf")]
    pub(super) fn open<W: Send + 'static>(
        mut hand: Hand<W>,
        node: Name,
        sight: &Sight,
        wake: &Wake,
    ) -> std::io::Result<(Self, Option<String>)> {
        use quell_detectors::{Sensor, SensorConfig};
        let off = match &sight.off {
            Some(off) => off.clone(),
            None => {
                let lent = Arc::new(Mutex::new(Some(hand)));
                let (watch, pods) = (sight.watch.clone(), sight.pods.clone());
                let config = SensorConfig { watch, pods, ..SensorConfig::new(node) };
                match Sensor::start(config, Box::new(Slot { hand: None, lent: Arc::clone(&lent) })) {
                    Ok(running) => {
                        let waker = running.waker();
                        wake.set(move || waker.wake());
                        return Ok((Self::Sensor(running), None));
                    }
                    Err(why) => {
                        let back = lent.lock().unwrap_or_else(PoisonError::into_inner).take();
                        hand = back.ok_or_else(|| std::io::Error::other(why.to_string()))?;
                        why.to_string()
                    }
                }
            }
        };
        Ok((Self::Blind(Blind::start(hand, sight.replay.clone(), wake)?), Some(off)))
    }

    /// Without a sensor in this build.
    #[cfg(not(feature = "ebpf"))]
    pub(super) fn open<W: Send + 'static>(
        hand: Hand<W>,
        _: Name,
        sight: &Sight,
        wake: &Wake,
    ) -> std::io::Result<(Self, Option<String>)> {
        let why = sight.off.clone().unwrap_or_else(|| "this quell was built without the feature `ebpf`".to_owned());
        Ok((Self::Blind(Blind::start(hand, sight.replay.clone(), wake)?), Some(why)))
    }

    /// Whether its thread still runs.
    pub(super) fn is_alive(&self) -> bool {
        match self {
            #[cfg(feature = "ebpf")]
            Self::Sensor(running) => running.is_alive(),
            Self::Blind(blind) => !blind.thread.is_finished(),
        }
    }

    /// What it can see, and how its thread is scheduled.
    pub(super) fn probes(&self) -> (Vec<ProbeStatus>, String) {
        match self {
            #[cfg(feature = "ebpf")]
            Self::Sensor(running) => {
                let stats = running.stats();
                let attached = stats.attached.iter().map(|id| (*id, true, String::new()));
                let missing = stats.missing.iter().map(|(id, why)| (*id, false, why.clone()));
                let row = |(id, attached, why): (&str, bool, String)| ProbeStatus { id: id.to_owned(), attached, why };
                (attached.chain(missing).map(row).collect(), stats.scheduling)
            }
            Self::Blind(_) => (Vec::new(), String::new()),
        }
    }

    /// Of each ring of the sensor: its name, the bytes that wait in it, and the bytes that it holds.
    pub(super) fn rings(&self) -> Vec<(&'static str, u64, u64)> {
        match self {
            #[cfg(feature = "ebpf")]
            Self::Sensor(running) => running.stats().rings,
            Self::Blind(_) => Vec::new(),
        }
    }

    /// Questions about relays that found no time.
    pub(super) fn unasked(&self) -> u64 {
        match self {
            #[cfg(feature = "ebpf")]
            Self::Sensor(running) => running.stats().unasked,
            Self::Blind(_) => 0,
        }
    }

    /// Detaches the sensor and ends the thread; the engine goes with it.
    pub(crate) fn close(self) {
        match self {
            #[cfg(feature = "ebpf")]
            Self::Sensor(running) => drop(running),
            Self::Blind(blind) => blind.close(),
        }
    }
}

/// The hand's place on the sensor's thread: taken by its first event, so that it is still ours when there is no sensor.
#[cfg(feature = "ebpf")]
struct Slot<W> {
    hand: Option<Hand<W>>,
    lent: Arc<Mutex<Option<Hand<W>>>>,
}

#[cfg(feature = "ebpf")]
impl<W: Send + 'static> Slot<W> {
    fn hand(&mut self) -> Option<&mut Hand<W>> {
        if self.hand.is_none() {
            self.hand = self.lent.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        self.hand.as_mut()
    }
}

#[cfg(feature = "ebpf")]
impl<W: Send + 'static> quell_detectors::Sink for Slot<W> {
    fn event(&mut self, event: &dyn quell_model::Event) {
        if let Some(hand) = self.hand() {
            hand.event(event);
        }
    }

    fn turn(&mut self) {
        if let Some(hand) = self.hand() {
            hand.turn();
        }
    }
}

/// A thread that turns an engine which sees nothing: the API still answers.
pub(crate) struct Blind {
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// A wake-up between look and sleep is not lost (`unpark` keeps its token); this only bounds a mistake.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Blind {
    fn start<W: Send + 'static>(mut hand: Hand<W>, replay: Vec<OwnedEvent>, wake: &Wake) -> std::io::Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::Builder::new().name("quell-engine".into()).spawn(move || {
            for mut event in replay {
                // As if it happened now: an old attack would be held back for its age.
                let now = SystemClock.now();
                (event.head.at, event.head.seen) = (now, now);
                hand.event(&event);
            }
            while !ended.load(Ordering::Acquire) {
                hand.turn();
                std::thread::park_timeout(LOOK_AGAIN);
            }
        })?;
        let sleeper = thread.thread().clone();
        wake.set(move || sleeper.unpark());
        Ok(Self { end, thread })
    }

    fn close(self) {
        self.end.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the engine's thread ended with a panic");
        }
    }
}
