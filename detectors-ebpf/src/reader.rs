//! The sensor's thread: rings → table → events → sink.
//!
//! Looks every millisecond while events flow, so that the kernel side need not wake it (sleep.rs). Urgent records wake it
//! at once. The process ring goes first: a process is known before what it does is told. Holds at most one record
//! between batches.

use crate::block::DUMMY;
use crate::event::{Context, FileChange, Loss, SensorEvent, What};
use crate::load::Loaded;
use crate::losses::Losses;
use crate::process::{Key, Process, Table, scan};
use crate::record::{FileOp, Head, Record};
use crate::schedule::Pace;
use crate::sensor::{Counters, Sink};
use crate::sleep::Sleep;
use crate::watch::Watch;
use quell_model::{Class, Event};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Records of one ring between two looks at the other.
const BATCH: usize = 256;
/// The sink gets a turn at least so often.
const TURN_MS: u32 = 100;
const TURN_NS: u64 = TURN_MS as u64 * 1_000_000;
/// Who is told to stop reads on for so long, where a flood has no end.
const STOP_NS: u64 = 1_000_000_000;
/// Now and then: users, ended processes.
const CARE_NS: u64 = 5_000_000_000;

pub(crate) struct Reader {
    loaded: Loaded,
    world: World,
    sleep: Sleep,
    /// A record of the second ring that still waits for its process.
    held: Option<Vec<u8>>,
    last_turn: u64,
    last_care: u64,
    last_losses: u64,
    losses: Losses,
    pace: Pace,
}

/// What a record meets on its way; apart from the rings, which it is borrowed from.
pub(crate) struct World {
    pub(crate) cx: Context,
    pub(crate) table: Table,
    pub(crate) watch: Watch,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) counters: Arc<Counters>,
    /// The moment of the latest record of the first ring.
    come_to: u64,
    /// While a scan is under way: whose birth or exec the first ring has told.
    heard: Option<HashSet<Key>>,
}

impl Reader {
    pub(crate) fn new(
        loaded: Loaded,
        watch: Watch,
        cx: Context,
        sink: Box<dyn Sink>,
        counters: Arc<Counters>,
        sleep: Sleep,
        pace: Pace,
    ) -> Self {
        let world = World::new(cx, watch, sink, counters);
        let losses = Losses::default();
        Self { loaded, world, sleep, held: None, last_turn: 0, last_care: 0, last_losses: 0, losses, pace }
    }

    pub(crate) fn run(mut self) {
        self.scan();
        loop {
            self.world.cx.tick();
            let stopping = self.world.counters.stop.load(Ordering::Acquire);
            let some = self.drain();
            let now = self.world.cx.now_ns();
            if stopping {
                self.losses(true);
                self.world.sink.turn();
                return;
            }
            let due = now.saturating_sub(self.last_turn) >= TURN_NS;
            if due {
                self.losses(false);
            }
            if some || due {
                self.turn(now);
            }
            if now.saturating_sub(self.last_care) >= CARE_NS {
                self.last_care = now;
                self.world.table.users.refresh();
                self.world.table.forget(now);
            }
            self.wait(some);
        }
    }

    fn turn(&mut self, now: u64) {
        self.last_turn = now;
        self.pace.keep(now);
        self.world.sink.turn();
        let counters = &self.world.counters;
        counters.processes.store(self.world.table.len() as u64, Ordering::Relaxed);
        counters.unasked.fetch_add(self.world.cx.allowance.take_refused(), Ordering::Relaxed);
    }

    /// Sleeps until something is there, at most the time to the next turn.
    fn wait(&mut self, some: bool) {
        if self.sleep.sleep(&mut self.loaded, some, TURN_MS) {
            self.world.cx.tick();
            let now = self.world.cx.now_ns();
            self.turn(now);
        }
    }

    /// All that is there, in batches; false when there was nothing. Between two batches the sink has its turn, however
    /// much there is and however long each event takes: who answers and who stops must be heard in a flood too. Neither
    /// ring waits for the other to be empty: in a flood none ever is.
    fn drain(&mut self) -> bool {
        let (mut some, mut ends) = (false, None);
        loop {
            let (processes, others) = (self.take_processes(), self.take_others());
            some |= processes.count + others.count > 0;
            if !processes.more && !others.more {
                return some;
            }
            self.world.cx.tick();
            let now = self.world.cx.now_ns();
            // A flood may keep this loop busy for long: what it cost is told meanwhile.
            if now.saturating_sub(self.last_losses) >= TURN_NS {
                self.losses(false);
            }
            self.turn(now);
            if self.world.counters.stop.load(Ordering::Acquire) && now >= *ends.get_or_insert(now + STOP_NS) {
                return some;
            }
        }
    }

    fn take_processes(&mut self) -> Batch {
        let mut batch = Batch::new(&self.world);
        while batch.goes_on(&self.world) {
            let Some(item) = self.loaded.process_ring.next() else { return batch };
            self.world.take_process(&item);
            batch.count += 1;
        }
        batch.and_more()
    }

    /// Each once the records of processes have come to its moment, or its process is known as it was then.
    fn take_others(&mut self) -> Batch {
        let mut batch = Batch::new(&self.world);
        while batch.goes_on(&self.world) {
            let held = self.held.take();
            let item = if held.is_none() { self.loaded.other_ring.next() } else { None };
            let Some(bytes) = held.as_deref().or(item.as_deref()) else { return batch };
            let Some(record) = read(bytes) else { continue };
            while self.world.is_ahead(record.head()) {
                if !batch.goes_on(&self.world) {
                    self.held = Some(bytes.to_vec());
                    return batch.and_more();
                }
                let Some(earlier) = self.loaded.process_ring.next() else { break };
                self.world.take_process(&earlier);
                batch.count += 1;
            }
            self.world.take(&record);
            batch.count += 1;
        }
        batch.and_more()
    }

    /// Tells of the processes that were there before. Who was born, executed something or ended while they were looked for
    /// is told by records of its own, which are taken before.
    fn scan(&mut self) {
        let found = scan(&mut self.world.table, self.loaded.iterator.take());
        self.world.cx.tick();
        let now = self.world.cx.now_ns();
        self.world.heard = Some(HashSet::new());
        while self.world.come_to < now && self.take_processes().more {}
        self.world.tell_scanned(found, now);
        self.world.counters.scanned.store(true, Ordering::Release);
        self.turn(now);
    }

    /// What the kernel side counted as lost since the last look becomes events.
    fn losses(&mut self, last: bool) {
        self.world.cx.tick();
        let now = self.world.cx.now_ns();
        self.last_losses = now;
        for (lost, count) in self.losses.look(&mut self.loaded, now, last) {
            let World { cx, table, sink, counters, .. } = &mut self.world;
            let (class, cgroup, why) = (lost.class(), lost.cgroup, lost.word());
            counters.lost[class as usize].fetch_add(count, Ordering::Relaxed);
            counters.events[Class::Loss as usize].fetch_add(1, Ordering::Relaxed);
            // Its processes may not be known yet, and where all of theirs was lost they never will be.
            let path = Arc::clone(&table.cgroups.get(cgroup, None).path);
            let what = What::Loss(Loss { class, count, cgroup, path, why });
            sink.event(&SensorEvent::new(cx, table, None, what, now, lost.short()));
        }
    }
}

/// Some records: at most [`BATCH`], for at most the time between two turns.
struct Batch {
    count: usize,
    /// There may be more.
    more: bool,
    until: u64,
}

impl Batch {
    fn new(world: &World) -> Self {
        Self { count: 0, more: false, until: world.cx.now_ns() + TURN_NS }
    }

    fn goes_on(&self, world: &World) -> bool {
        // The time is asked for now and then: most records take a microsecond.
        if self.count % 8 == 7 {
            world.cx.tick();
        }
        self.count < BATCH && world.cx.now_ns() < self.until
    }

    fn and_more(self) -> Self {
        Self { more: true, ..self }
    }
}

/// A record; says loudly when it is none.
fn read(bytes: &[u8]) -> Option<Record<'_>> {
    let record = Record::read(bytes);
    if record.is_none() {
        tracing::error!(length = bytes.len(), "a record that the kernel side cannot have written");
    }
    record
}

impl World {
    pub(crate) fn new(cx: Context, watch: Watch, sink: Box<dyn Sink>, counters: Arc<Counters>) -> Self {
        Self { cx, table: Table::default(), watch, sink, counters, come_to: 0, heard: None }
    }

    /// Takes in what the first ring has next.
    pub(crate) fn take_process(&mut self, bytes: &[u8]) {
        if let Some(record) = read(bytes) {
            self.come_to = self.come_to.max(record.head().at);
            if let (Some(heard), Record::Fork(head) | Record::Exec(head, _)) = (&mut self.heard, &record) {
                heard.insert(Key::new(head.pid, head.start));
            }
            self.take(&record);
        }
    }

    /// Told twice, one process would be two: /proc knows its start less exactly, and not which of its execs that was.
    fn tell_scanned(&mut self, found: Vec<Key>, now: u64) {
        let heard = self.heard.take().unwrap_or_default();
        for key in found.into_iter().filter(|key| !heard.contains(key)) {
            let Self { cx, table, sink, counters, .. } = self;
            // Whoever is told to be there after its end was told would be taken for alive for ever.
            let is_there = |p: &Process| p.lives() && !(p.image.path.is_empty() && p.image.command_line.is_empty());
            if !table.get(key).is_some_and(is_there) || is_own_trial(table, key) {
                continue;
            }
            let event = SensorEvent::new(cx, table, Some(key), What::Exec, now, key.pid).scanned();
            counters.events[Class::ProcessCreation as usize].fetch_add(1, Ordering::Relaxed);
            sink.event(&event);
        }
    }

    /// The record tells of a process, or an image of it, that the table has not heard of, and may yet: an exec was in its
    /// ring before what its process did next, and before whatever came to that ring later.
    fn is_ahead(&self, head: &Head) -> bool {
        self.come_to < head.at
            && self.table.get(Key::new(head.pid, head.start)).is_none_or(|p| p.exec_id < head.exec_id)
    }

    fn take(&mut self, record: &Record<'_>) {
        let head = record.head();
        let table = &mut self.table;
        let (key, what) = match record {
            Record::Fork(_) => (table.fork(head), What::Fork),
            Record::Exec(_, exec) => (table.exec(head, exec), What::Exec),
            Record::Exit(_, code) => (table.exit(head), What::Exit(*code)),
            Record::Cred(_, cred) => {
                let (key, old) = table.credentials(head, cred);
                if table.get(key).is_some_and(|p| p.ids == old) {
                    return;
                }
                (key, What::Cred { call: head.sub, old })
            }
            Record::Access(_, target) => {
                let key = table.touch(head);
                let target = table.in_namespace_of(key, *target).map(|p| p.key);
                (key, What::Access { call: head.sub, target })
            }
            Record::Net(_, net) => (table.touch(head), What::Net(*net)),
            Record::File(_, file) => {
                let Some(mut op) = FileOp::of(head.sub) else { return };
                let path = file.path();
                let watched = self.watch.covers(&path);
                // Of a watched path it matters that it was read, whatever else the opener may do.
                if op == FileOp::Write && watched && file.reads_too() {
                    op = FileOp::Read;
                }
                if op == FileOp::Read && !watched {
                    return;
                }
                let target = match op {
                    FileOp::Symlink => Some(String::from_utf8_lossy(file.second_name()).into_owned()),
                    _ => file.second(),
                };
                let change = FileChange {
                    op,
                    path,
                    target,
                    inode: file.inode(),
                    device: file.device(),
                    mode: file.mode(),
                    watched,
                };
                (table.touch(head), What::File(change))
            }
        };
        if matches!(what, What::Exec) && is_own_trial(&self.table, key) {
            return;
        }
        let class = what.class();
        let event = SensorEvent::new(&self.cx, &self.table, Some(key), what, head.at, head.tid);
        self.counters.events[class as usize].fetch_add(1, Ordering::Relaxed);
        self.sink.event(&event as &dyn Event);
    }
}

/// A dummy that this very process starts to try its hands on is no attack; nobody else's is one by that name.
fn is_own_trial(table: &Table, key: Key) -> bool {
    table.get(key).is_some_and(|process| {
        let image = &process.image;
        let is_own = |parent: Key| parent.pid == std::process::id();
        image.memfd && image.path.strip_prefix("/memfd:") == Some(DUMMY) && process.parent.is_some_and(is_own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::KIND_EXIT;
    use crate::record::tests::{Bytes, exec_bytes};
    use std::sync::Mutex;

    /// Source and process of each event.
    struct Kept(Arc<Mutex<Vec<(String, String)>>>);

    impl Sink for Kept {
        fn event(&mut self, event: &dyn Event) {
            let subject = event.subject().to_string();
            let pid = subject.split('.').next().and_then(|text| text.rsplit([':', ' ']).next()).unwrap_or_default();
            self.0.lock().unwrap().push((event.head().source.to_string(), pid.to_owned()));
        }

        fn turn(&mut self) {}
    }

    #[test]
    fn who_executes_something_or_ends_while_a_scan_is_under_way_is_told_by_its_own_records_alone() {
        let seen = Arc::default();
        let (cx, watch) = (Context::new("n".into(), None), Watch::default());
        let mut world = World::new(cx, watch, Box::new(Kept(Arc::clone(&seen))), Arc::default());
        let mut there = |pid| {
            // As /proc tells it.
            let mut process = Process::blank(pid, 5_000_000_000);
            Arc::make_mut(&mut process.image).path.push_str("/usr/bin/env");
            world.table.scanned(process).unwrap()
        };
        let found = vec![there(5_000_001), there(5_000_002), there(5_000_003)];
        world.heard = Some(HashSet::new());
        world.take_process(&exec_bytes(5_000_001, 5_000_000_123, 0, 0).0);
        world.take_process(&Bytes::new(KIND_EXIT, 256).head(5_000_003, 5_000_000_456, 0, 0).0);
        world.tell_scanned(found, 6_000_000_000);
        let told = |source: &str, pid: &str| (source.to_owned(), pid.to_owned());
        assert_eq!(
            *seen.lock().unwrap(),
            [told("sensor", "5000001"), told("sensor", "5000003"), told("scan", "5000002")]
        );
        assert!(world.heard.is_none());
    }

    #[test]
    fn what_quell_tries_its_hands_on_is_no_event_and_what_others_call_so_is_one() {
        let seen = Arc::default();
        let (cx, watch) = (Context::new("n".into(), None), Watch::default());
        let mut world = World::new(cx, watch, Box::new(Kept(Arc::clone(&seen))), Arc::default());
        let mut there = |pid, parent, path: &str| {
            let mut process = Process::blank(pid, 5_000_000_000);
            let image = Arc::make_mut(&mut process.image);
            image.path.push_str(path);
            image.memfd = true;
            process.parent = Some(Key::new(parent, 4_000_000_000));
            world.table.scanned(process).unwrap()
        };
        let own = std::process::id();
        let found = vec![
            there(5_000_001, own, "/memfd:quell-dummy"),
            there(5_000_002, 1, "/memfd:quell-dummy"),
            there(5_000_003, own, "/memfd:quell-dummy-not"),
        ];
        world.heard = Some(HashSet::new());
        world.tell_scanned(found, 6_000_000_000);
        let told = |pid: &str| ("scan".to_owned(), pid.to_owned());
        assert_eq!(*seen.lock().unwrap(), [told("5000002"), told("5000003")]);
    }
}
