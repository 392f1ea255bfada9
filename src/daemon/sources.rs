//! Files and folders that are followed: their events go to the engine's thread beside the sensor's.
//!
//! Owns one thread that polls every follower. It waits when the engine is behind; the files keep what is not read yet.
//! Invariant: an event bears the name of the file that it came from, by which the engine knows whether to trust it.

use super::source_meter::SourceMeter;
use quell_engine::clock::SystemClock;
use quell_engine::load::config::FileSource;
use quell_engine::source::Follower;
use quell_model::{Class, Clock, Name, OwnedEvent};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Batches that may wait for the engine: one is at most 4 MiB of text.
pub(super) const AHEAD: usize = 4;
/// At most so many unreadable lines are named; all are counted.
const NAMED: u64 = 20;

/// The running thread.
pub(crate) struct Sources {
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    meters: Vec<Arc<SourceMeter>>,
}

/// What events of this file are called.
fn name(source: &FileSource) -> Name {
    format!("file:{}", source.path.display()).into()
}

/// The sources that anybody can write, by the names of their events.
pub(super) fn untrusted(sources: &[FileSource]) -> BTreeSet<Name> {
    sources.iter().filter(|source| !source.trusted).map(name).collect()
}

impl Sources {
    /// Follows all of them from now on; none where nothing is to be followed.
    pub(super) fn follow(
        sources: &[FileSource],
        to: SyncSender<Vec<OwnedEvent>>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> std::io::Result<Option<Self>> {
        if sources.is_empty() {
            return Ok(None);
        }
        let follow = |source: &FileSource| {
            (Arc::new(SourceMeter::new(name(source))), Follower::new(&source.path, source.format))
        };
        let mut followers: Vec<(Arc<SourceMeter>, Follower)> = sources.iter().map(follow).collect();
        let meters = followers.iter().map(|(meter, _)| Arc::clone(meter)).collect();
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::Builder::new().name("quell-sources".into()).spawn(move || {
            let mut unreadable = 0;
            while !ended.load(Ordering::Acquire) {
                for (meter, follower) in &mut followers {
                    let batch = read(meter, follower, &mut unreadable);
                    if !batch.is_empty() && !hand_over(batch, &to, &wake, &ended) {
                        return;
                    }
                }
                std::thread::park_timeout(LOOK);
            }
        })?;
        Ok(Some(Self { end, thread, meters }))
    }

    /// What is measured of each.
    pub(super) fn meters(&self) -> Vec<Arc<SourceMeter>> {
        self.meters.clone()
    }

    /// Ends the thread.
    pub(super) fn close(self) {
        self.end.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the thread that follows files ended with a panic");
        }
    }
}

fn read(meter: &SourceMeter, follower: &mut Follower, unreadable: &mut u64) -> Vec<OwnedEvent> {
    let (name, now) = (&meter.name, SystemClock.now());
    let mut batch = Vec::new();
    for event in follower.poll(now) {
        match event {
            // The kernel's side counts what it loses; who writes a file could make every incident doubtful.
            Ok(event) if event.head.class == Class::Loss => {
                tracing::debug!(source = %name, "a file tells of losses: passed over");
            }
            Ok(mut event) => {
                event.head.source = name.clone();
                batch.push(event);
            }
            Err(broken) => {
                *unreadable += 1;
                meter.unreadable();
                if *unreadable <= NAMED {
                    tracing::warn!(
                        place = broken.mistake.place(),
                        count = *unreadable,
                        "a line cannot be read: {}",
                        broken.mistake.what
                    );
                }
            }
        }
    }
    meter.looked(&batch, follower.unread(), now);
    batch
}

/// Whether the engine took it; false once one of the two has ended.
fn hand_over(
    mut batch: Vec<OwnedEvent>,
    to: &SyncSender<Vec<OwnedEvent>>,
    wake: &Arc<dyn Fn() + Send + Sync>,
    ended: &AtomicBool,
) -> bool {
    while !ended.load(Ordering::Acquire) {
        match to.try_send(batch) {
            Ok(()) => {
                wake();
                return true;
            }
            Err(TrySendError::Full(back)) => {
                batch = back;
                wake();
                std::thread::park_timeout(LOOK);
            }
            Err(TrySendError::Disconnected(_)) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::{Entity, EventHead, LogSource, Subject};

    fn line(class: Class) -> String {
        let at = SystemClock.now();
        let event = OwnedEvent {
            v: 1,
            head: EventHead {
                id: class.as_str().into(),
                class,
                source: "sensor".into(),
                node: "n".into(),
                at,
                seen: at,
            },
            logsource: LogSource::default(),
            sigma: serde_json::Map::new(),
            own: serde_json::Map::new(),
            subject: Subject::Unknown,
            entity: Entity { kind: "node".into(), id: "n".into(), node: "n".into() },
        };
        serde_json::to_string(&event).unwrap() + "\n"
    }

    #[test]
    fn an_event_bears_its_files_name_and_no_file_tells_of_losses() {
        let dir = tempfile::tempdir().unwrap();
        let mut follower = Follower::new(dir.path(), Some(quell_engine::adapt::Format::Recording));
        std::fs::write(dir.path().join("log"), [line(Class::Loss), line(Class::ProcessCreation)].concat()).unwrap();
        let mut unreadable = 0;
        let meter = SourceMeter::new("file:log".into());
        let batch = read(&meter, &mut follower, &mut unreadable);
        let heads: Vec<(&str, Class)> = batch.iter().map(|e| (e.head.source.as_str(), e.head.class)).collect();
        assert_eq!((heads, unreadable), (vec![("file:log", Class::ProcessCreation)], 0));
        let figures = meter.figures();
        assert_eq!((figures.read, figures.unread), (vec![(Class::ProcessCreation, 1)], 0));
        let (lag, at) = figures.last.expect("an event was read");
        assert!((0.0..60.0).contains(&lag) && at > 1e9, "{lag} {at}");
    }
}
