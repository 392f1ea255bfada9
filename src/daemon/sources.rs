//! Files and folders that are followed: their events go to the engine's thread beside the sensor's.
//!
//! ```text
//! files ─▶ what is new ──────▶ live ─▶ ┐
//!       └▶ a backfill, a piece ▶ past ─▶ ├ the engine's thread, a portion a turn: the past only while nothing is live
//!                                       └─▶ its detections, and how far that was read: journaled together
//! ```
//!
//! Owns one thread that polls every follower. It waits when the engine is behind; the files keep what is not read yet.
//! Invariant: an event bears the name of the file that it came from, by which the engine knows whether to trust it. What is live
//! never waits for a backfill.

use super::source_meter::SourceMeter;
use quell_engine::clock::SystemClock;
use quell_engine::load::config::{self, FileSource, WebhookSource};
use quell_engine::source::{Batch, Follower, Line};
use quell_model::record::source::{FilePosition, Position};
use quell_model::{Class, Clock, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How soon a piece of a backfill is offered again that had no room.
const OFFER: Duration = Duration::from_millis(5);
/// Portions that may wait for the engine.
const AHEAD: usize = 4;
/// So many lines are a portion: what the sensor sees meanwhile waits for one at most.
const PORTION: usize = 2000;
/// And of a backfill, which can wait itself.
const PORTION_PAST: usize = 250;
/// At most so many unreadable lines are named; all are counted. What is said of a source itself is always logged.
const NAMED: u64 = 20;

/// What goes to the engine's thread in one.
pub(super) struct Portion {
    /// Whose.
    pub(super) source: Name,
    /// What was read.
    pub(super) lines: Vec<Line>,
    /// The files that they are of.
    pub(super) files: Arc<[FilePosition]>,
    /// What holds once they are taken in.
    pub(super) then: Then,
}

/// What a portion says of its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// The rest of these files' lines follows.
    More,
    /// Its files were read so far.
    Read,
    /// The same, and it has no others.
    All,
    /// These are known by another number than before, with all that was read of them.
    Found,
}

impl Portion {
    /// How far its files were read.
    pub(super) fn positions(&self) -> Vec<Position> {
        self.files.iter().cloned().map(Position::File).collect()
    }
}

/// The beginnings of the two ways to the engine's thread: for what is live, and for what is past.
pub(super) type Senders = (SyncSender<Portion>, SyncSender<Portion>);
/// Their ends there.
pub(super) type Receivers = (Receiver<Portion>, Receiver<Portion>);

/// The two ways to the engine's thread.
pub(super) fn ways() -> (Senders, Receivers) {
    let ((live, of_live), (past, of_past)) = (sync_channel(AHEAD), sync_channel(AHEAD));
    ((live, past), (of_live, of_past))
}

/// The running thread.
pub(crate) struct Sources {
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    meters: Vec<Arc<SourceMeter>>,
}

/// What events of this file are called.
pub(super) fn name(source: &FileSource) -> Name {
    format!("file:{}", source.path.display()).into()
}

/// The sources that anybody can write, by the names of their events.
pub(super) fn untrusted(sources: &config::Sources) -> BTreeSet<Name> {
    let files = sources.files.iter().filter(|source| !source.trusted).map(name);
    let webhooks = sources.webhooks.iter().filter(|webhook| !webhook.trusted).map(WebhookSource::source);
    files.chain(webhooks).collect()
}

/// One of them at work.
struct Followed {
    meter: Arc<SourceMeter>,
    follower: Follower,
}

impl Sources {
    /// Follows all of them from where they were read to, by the journal's word; none where nothing is to be followed.
    pub(super) fn follow(
        sources: &[FileSource],
        known: &BTreeMap<Name, Vec<Position>>,
        (live, past): Senders,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> std::io::Result<Option<Self>> {
        if sources.is_empty() {
            return Ok(None);
        }
        let (mut followed, mut first) = (Vec::new(), Vec::new());
        for source in sources {
            let meter = Arc::new(SourceMeter::new(name(source)));
            let (follower, batch) = match known.get(&meter.name).cloned() {
                None => (Follower::first(&source.path, source.format, source.from), Batch::default()),
                Some(positions) => {
                    let others = sources.iter().map(|other| other.path.clone()).filter(|path| *path != source.path);
                    Follower::again(&source.path, source.format, files(positions), others.collect())
                }
            };
            let all = Batch { files: follower.positions(), ..batch };
            // Of what was not there yet nothing is known: its first listing is its beginning.
            if follower.has_begun() {
                first.push((Arc::clone(&meter), all));
            }
            followed.push(Followed { meter, follower });
        }
        let meters = followed.iter().map(|one| Arc::clone(&one.meter)).collect();
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::Builder::new().name("quell-sources".into()).spawn(move || {
            let out = Out { live, past, wake, ended };
            let mut unreadable = 0;
            for (meter, batch) in first {
                let portions = portions(&meter, batch, Then::All, &mut unreadable);
                if !out.hand_over(portions) {
                    return;
                }
            }
            turn_until_end(&mut followed, &out, &mut unreadable);
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

fn files(positions: Vec<Position>) -> Vec<FilePosition> {
    let file = |position| match position {
        Position::File(file) => file,
    };
    positions.into_iter().map(file).collect()
}

fn turn_until_end(followed: &mut [Followed], out: &Out, unreadable: &mut u64) {
    let mut waiting = Vec::new();
    while !out.ended.load(Ordering::Acquire) {
        let began = SystemClock.now();
        for Followed { meter, follower } in followed.iter_mut() {
            let mut batch = follower.poll(began);
            meter.looked(&batch.lines, (follower.unread(), follower.aside()), began);
            let ground = batch.ground.take().map(|files| Batch { files, ..Batch::default() });
            let mut all = ground.map_or_else(Vec::new, |ground| portions(meter, ground, Then::All, unreadable));
            let found = std::mem::take(&mut batch.found);
            let found = Batch { files: found, ..Batch::default() };
            all.extend(portions(meter, found, Then::Found, unreadable));
            all.extend(portions(meter, batch, Then::Read, unreadable));
            if !out.hand_over(all) {
                return;
            }
        }
        loop {
            let left = LOOK.saturating_sub(SystemClock.now().since(began));
            if left.is_zero() || out.ended.load(Ordering::Acquire) {
                break;
            }
            if waiting.is_empty() {
                waiting = next_piece(followed, unreadable);
            }
            if waiting.is_empty() {
                std::thread::park_timeout(left);
                break;
            }
            match out.offer(waiting) {
                None => return,
                Some(back) => waiting = back,
            }
            if !waiting.is_empty() {
                std::thread::park_timeout(OFFER.min(left));
            }
        }
    }
}

/// A piece of the first backfill that has one; the latest portion first.
fn next_piece(followed: &mut [Followed], unreadable: &mut u64) -> Vec<Portion> {
    for Followed { meter, follower } in followed {
        if follower.has_backfill() {
            let now = SystemClock.now();
            let batch = follower.backfill(now);
            meter.read_back(&batch.lines);
            let mut portions = portions(meter, batch, Then::Read, unreadable);
            portions.reverse();
            // One that cannot be read on holds up no other.
            if !portions.is_empty() {
                return portions;
            }
        }
    }
    Vec::new()
}

/// What goes to the engine, in portions that hold nobody up.
fn portions(meter: &SourceMeter, batch: Batch, then: Then, unreadable: &mut u64) -> Vec<Portion> {
    let source = &meter.name;
    // Of these there are few, however many lines were unreadable before.
    for said in &batch.said {
        tracing::warn!(%source, place = said.place(), "{}", said.what);
    }
    for broken in batch.unreadable {
        *unreadable += 1;
        meter.unreadable();
        if *unreadable <= NAMED {
            let (place, what) = (broken.mistake.place(), &broken.mistake.what);
            tracing::warn!(place, count = *unreadable, "a line cannot be read: {what}");
        }
    }
    let mut lines = batch.lines;
    // The kernel's side counts what it loses; who writes a file could make every incident doubtful.
    lines.retain(|line| line.event.head.class != Class::Loss);
    lines.iter_mut().for_each(|line| line.event.head.source = source.clone());
    let size = if lines.iter().any(|line| line.backfill) { PORTION_PAST } else { PORTION };
    let files: Arc<[FilePosition]> = batch.files.into();
    let mut portions = Vec::new();
    while lines.len() > size {
        let rest = lines.split_off(size);
        let part = std::mem::replace(&mut lines, rest);
        portions.push(Portion { source: source.clone(), lines: part, files: Arc::clone(&files), then: Then::More });
    }
    if !lines.is_empty() || !files.is_empty() || then == Then::All {
        portions.push(Portion { source: source.clone(), lines, files, then });
    }
    portions
}

/// The way to the engine's thread.
struct Out {
    live: SyncSender<Portion>,
    past: SyncSender<Portion>,
    wake: Arc<dyn Fn() + Send + Sync>,
    ended: Arc<AtomicBool>,
}

impl Out {
    /// Whether the engine took all; false once one of the two has ended.
    fn hand_over(&self, portions: Vec<Portion>) -> bool {
        portions.into_iter().all(|portion| self.hand_over_one(portion))
    }

    fn hand_over_one(&self, mut portion: Portion) -> bool {
        while !self.ended.load(Ordering::Acquire) {
            match self.live.try_send(portion) {
                Ok(()) => {
                    (self.wake)();
                    return true;
                }
                Err(TrySendError::Full(back)) => {
                    portion = back;
                    (self.wake)();
                    std::thread::park_timeout(OFFER);
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        false
    }

    /// Gives the engine what it has room for, and the rest back; none once it has ended.
    fn offer(&self, mut portions: Vec<Portion>) -> Option<Vec<Portion>> {
        while let Some(portion) = portions.pop() {
            match self.past.try_send(portion) {
                Ok(()) => (self.wake)(),
                Err(TrySendError::Full(back)) => {
                    portions.push(back);
                    (self.wake)();
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return None,
            }
        }
        Some(portions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_engine::source::Begin;
    use quell_model::{Entity, EventHead, LogSource, OwnedEvent, Subject};
    use std::io::Write;
    use std::sync::Mutex;

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

    fn source(path: &std::path::Path) -> FileSource {
        let format = Some(quell_engine::adapt::Format::Recording);
        FileSource { format, path: path.to_owned(), trusted: true, from: Begin::Start }
    }

    #[test]
    fn an_event_bears_its_files_name_and_no_file_tells_of_losses() {
        let dir = tempfile::tempdir().unwrap();
        let format = Some(quell_engine::adapt::Format::Recording);
        let mut follower = Follower::first(dir.path(), format, Begin::End);
        std::fs::write(dir.path().join("log"), [line(Class::Loss), line(Class::ProcessCreation)].concat()).unwrap();
        let mut unreadable = 0;
        let meter = SourceMeter::new("file:log".into());
        let now = SystemClock.now();
        let batch = follower.poll(now);
        meter.looked(&batch.lines, (follower.unread(), follower.aside()), now);
        let portions = portions(&meter, batch, Then::Read, &mut unreadable);
        let lines = portions.iter().flat_map(|portion| &portion.lines);
        let heads: Vec<(&str, Class)> = lines.map(|l| (l.event.head.source.as_str(), l.event.head.class)).collect();
        assert_eq!((heads, unreadable), (vec![("file:log", Class::ProcessCreation)], 0));
        let figures = meter.figures();
        assert_eq!((figures.read, figures.unread), (vec![(Class::ProcessCreation, 1)], 0));
        let (lag, at) = figures.last.expect("an event was read");
        assert!((0.0..60.0).contains(&lag) && at > 1e9, "{lag} {at}");
    }

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn that_a_folder_is_away_is_logged_after_any_number_of_unreadable_lines_and_is_none_of_them() {
        let (home, log) = (tempfile::tempdir().unwrap(), Log::default());
        let (dir, meter) = (home.path().join("logs"), SourceMeter::new("file:logs".into()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("log"), line(Class::ProcessCreation)).unwrap();
        let mut follower = Follower::first(&dir, source(&dir).format, Begin::End);
        let wrong = usize::try_from(NAMED).unwrap() + 5;
        let mut file = std::fs::OpenOptions::new().append(true).open(dir.join("log")).unwrap();
        file.write_all("nonsense\n".repeat(wrong).as_bytes()).unwrap();
        let (to, mut unreadable) = (log.clone(), 0);
        let logger = tracing_subscriber::fmt().with_writer(move || to.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(logger, || {
            portions(&meter, follower.poll(SystemClock.now()), Then::Read, &mut unreadable);
            std::fs::rename(&dir, home.path().join("elsewhere")).unwrap();
            portions(&meter, follower.poll(SystemClock.now()), Then::Read, &mut unreadable);
        });
        let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let of = |what: &str| told.lines().filter(|line| line.contains(what)).count() as u64;
        assert_eq!((of("a line cannot be read"), of("cannot be looked at")), (NAMED, 1), "{told}");
        let counted = meter.figures().unreadable;
        assert_eq!((unreadable, counted), (wrong as u64, wrong as u64));
    }

    /// So that a start after a crash goes on there, whatever is found in them.
    #[test]
    fn what_an_empty_folder_begins_with_is_told_before_its_first_lines() {
        let (dir, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (senders, (live, _past)) = ways();
        let one = source(dir.path());
        let wake = Arc::new(|| {});
        let sources = Sources::follow(std::slice::from_ref(&one), &BTreeMap::new(), senders, wake).unwrap().unwrap();
        std::fs::write(beside.path().join("log"), line(Class::ProcessCreation)).unwrap();
        std::fs::rename(beside.path().join("log"), dir.path().join("log")).unwrap();
        let wait = Duration::from_secs(60);
        let [begin, then] = [(); 2].map(|()| live.recv_timeout(wait).unwrap());
        assert_eq!((begin.source, begin.then, begin.lines.len(), begin.files.len()), (name(&one), Then::All, 0, 0));
        assert_eq!((then.then, then.lines.len(), then.lines[0].backfill), (Then::Read, 1, false));
        sources.close();
    }

    #[test]
    fn what_is_mounted_late_under_another_number_is_told_before_its_lines() {
        let (home, wait) = (tempfile::tempdir().unwrap(), Duration::from_secs(60));
        let (dir, elsewhere) = (home.path().join("logs"), home.path().join("elsewhere"));
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("log"), line(Class::ProcessCreation)).unwrap();
        std::fs::rename(&elsewhere, &dir).unwrap();
        let mut known = Follower::first(&dir, source(&dir).format, Begin::Start).positions();
        std::fs::rename(&dir, &elsewhere).unwrap();
        std::fs::create_dir(&dir).unwrap();
        known[0].device += 1;
        let one = source(&dir);
        let known = BTreeMap::from([(name(&one), known.into_iter().map(Position::File).collect())]);
        let (senders, (live, _past)) = ways();
        let sources = Sources::follow(std::slice::from_ref(&one), &known, senders, Arc::new(|| {})).unwrap().unwrap();
        assert_eq!(live.recv_timeout(wait).unwrap().then, Then::All);
        let mut file = std::fs::OpenOptions::new().append(true).open(elsewhere.join("log")).unwrap();
        file.write_all(line(Class::ProcessCreation).as_bytes()).unwrap();
        std::fs::rename(&elsewhere, &dir).unwrap();
        let [found, lines] = [(); 2].map(|()| live.recv_timeout(wait).unwrap());
        let gone: Vec<bool> = found.files.iter().map(|file| file.gone).collect();
        assert_eq!((found.then, found.lines.len(), gone), (Then::Found, 0, vec![false, true]));
        assert_eq!((lines.then, lines.lines.len()), (Then::Read, 1));
        sources.close();
    }

    /// The engine takes nothing of the past here: it has no time for that.
    #[test]
    fn a_gigantic_backfill_holds_up_nothing_that_is_live() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::write(&old, line(Class::ProcessCreation).repeat(20_000)).unwrap();
        // It holds something too, and that comes after all of the other's.
        std::fs::write(&new, line(Class::ProcessCreation)).unwrap();
        let (senders, (live, past)) = ways();
        let both = [source(&old), source(&new)];
        let sources = Sources::follow(&both, &BTreeMap::new(), senders, Arc::new(|| {})).unwrap().unwrap();
        let wait = Duration::from_secs(60);
        for one in &both {
            let begin = live.recv_timeout(wait).unwrap();
            assert_eq!((&begin.source, begin.then, begin.lines.len()), (&name(one), Then::All, 0));
        }
        let mut waits = past.recv_timeout(wait).unwrap().lines.len();
        let mut file = std::fs::OpenOptions::new().append(true).open(&new).unwrap();
        file.write_all(line(Class::ProcessCreation).as_bytes()).unwrap();
        let told = live.recv_timeout(wait).unwrap();
        assert_eq!((told.source, told.lines.len()), (name(&both[1]), 1));
        // And what waits of the past is bounded.
        while let Ok(portion) = past.try_recv() {
            waits += portion.lines.len();
            assert!(portion.lines.len() <= PORTION_PAST && portion.lines.iter().all(|line| line.backfill));
        }
        assert!((1..=2 * AHEAD * PORTION_PAST).contains(&waits), "{waits}");
        sources.close();
    }
}
