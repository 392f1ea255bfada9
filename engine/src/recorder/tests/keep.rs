//! What surrounds an incident: followed in the journal, copied out of the ring, and told once it is over.

use super::{BOOT, at, exec};
use crate::recorder::{Bounds, Keeper, Kept, Missed, Page, Part, Ring, pinned};
use crate::store::Journal;
use quell_model::record::{DetectionAccepted, IncidentChanged, IncidentOpened, IncidentState, RecorderPinned};
use quell_model::{
    Batch, Body, Detection, Durability, Hash, IncidentId, Level, NewRecord, OwnedEvent, RuleRef, Stamp, StreamId,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const MINUTE: u64 = 60_000;
const QUIET: Duration = Duration::from_secs(1800);
const SHELL: &[(u32, &str)] = &[(52, "/usr/bin/bash"), (51, "/usr/sbin/sshd"), (1, "/sbin/init")];

struct Stage {
    dir: tempfile::TempDir,
    journal: Journal,
    ring: Ring,
    keeper: Keeper,
    seq: u64,
}

const SIZE: u64 = 64 << 20;

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("data")).unwrap();
        let ring = Ring::open(&dir.path().join("ring"), Bounds { size: SIZE, age: Duration::from_secs(86_400) }, BOOT);
        let keeper = Keeper::open(&dir.path().join("ring"), SIZE, BOOT).unwrap();
        Self { journal, ring: ring.unwrap(), keeper, seq: 0, dir }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("ring")
    }

    /// Writes a page of these events.
    fn record(&mut self, events: &[OwnedEvent]) {
        let mut page = Page::default();
        events.iter().for_each(|event| page.note(event));
        self.ring.write(&mut page, events[0].head.at).unwrap();
    }

    fn journal(&mut self, at: Stamp, body: impl Into<Body>) {
        let batch = Batch {
            stream: StreamId::incident(&incident()),
            expected: self.seq,
            records: vec![NewRecord::new(at, body)],
            durability: Durability::Written,
        };
        self.journal.written(batch).unwrap();
        self.seq += 1;
    }

    fn open(&mut self, event: &OwnedEvent) {
        let at = event.head.at;
        let (entity, title) = (event.entity.clone(), "Odd".to_owned());
        self.journal(at, IncidentOpened { incident: incident(), entity, title, level: Level::High, backfill: false });
        let rule = RuleRef { name: "odd".into(), id: None, title: "Odd".into(), level: Level::High, tags: Vec::new() };
        let event = Arc::new(event.clone());
        let detection =
            Detection { id: Hash::of(b"d"), rule, event, events: Vec::new(), matched: Vec::new(), at, backfill: false };
        self.journal(at, DetectionAccepted { detection, decided: Vec::new(), counted_later: false });
    }

    /// One turn, of which everything is journaled.
    fn turn(&mut self, now: Stamp) -> Vec<Kept> {
        let said = self.keeper.turn(&self.journal, now, QUIET, &AtomicBool::new(false)).unwrap();
        for kept in &said {
            self.journal(now, kept.pinned.clone());
            self.keeper.journaled(kept);
        }
        said
    }

    /// The images of what is kept.
    fn kept(&self) -> Vec<String> {
        let mut images = Vec::new();
        let mut next = Some(0);
        while let Some(after) = next {
            let Part { events, next: more } = pinned(&self.folder(), &incident(), after).unwrap().unwrap();
            images.extend(events.iter().map(|event| event.sigma["Image"].as_str().unwrap().to_owned()));
            next = more;
        }
        images
    }
}

fn incident() -> IncidentId {
    "i-00112233aabb".into()
}

fn resolved(why: &str) -> IncidentChanged {
    IncidentChanged::to(IncidentState::Resolved, "ana".into(), why.into())
}

#[test]
fn the_tree_is_kept_from_ten_minutes_before_to_the_end() {
    let mut stage = Stage::new();
    let (first, second) = (SHELL, &SHELL[1..]);
    stage.record(&[
        exec(60, "too-early", first, 0),
        exec(52, "/usr/bin/bash", second, 3 * MINUTE),
        exec(61, "sibling-of-the-same-shell", first, 4 * MINUTE),
        exec(62, "other", &[(53, "/usr/bin/bash"), (51, "/usr/sbin/sshd")], 4 * MINUTE),
        exec(51, "sshd-itself", &[(1, "/sbin/init")], 5 * MINUTE),
    ]);
    let attack = exec(63, "attack", first, 12 * MINUTE);
    stage.record(&[attack.clone(), exec(64, "child", &[(63, "attack"), SHELL[0], SHELL[1]], 12 * MINUTE + 1)]);
    assert_eq!(stage.turn(at(12 * MINUTE)), [], "nothing is followed");
    stage.open(&attack);
    let said = stage.turn(at(12 * MINUTE + 100));
    let expected = ["/usr/bin/bash", "sibling-of-the-same-shell", "sshd-itself", "attack", "child"];
    assert_eq!(stage.kept(), expected);
    let [Kept { incident: id, pinned, last: false }] = &said[..] else { panic!("{said:?}") };
    assert_eq!((id, pinned.events, pinned.lost, pinned.unrecorded_ms), (&incident(), 5, 0, 0));
    assert_eq!(pinned.from, at(2 * MINUTE));
    assert!(pinned.bytes > 100);

    // It goes on: only what is new is copied, and nothing is said until it is over.
    assert_eq!(stage.turn(at(13 * MINUTE)), []);
    stage.record(&[exec(65, "later", &[(64, "child"), (63, "attack"), SHELL[0]], 14 * MINUTE)]);
    assert_eq!(stage.turn(at(15 * MINUTE)), []);
    stage.journal(at(16 * MINUTE), resolved("done"));
    let said = stage.turn(at(17 * MINUTE));
    let [Kept { pinned, last: true, .. }] = &said[..] else { panic!("{said:?}") };
    assert_eq!((pinned.events, pinned.to), (6, at(17 * MINUTE)));
    assert_eq!(stage.kept().last().unwrap(), "later");
    assert_eq!(stage.turn(at(18 * MINUTE)), [], "its own records wake nothing");

    // It comes back: the same file goes on.
    stage.record(&[exec(66, "again", first, 20 * MINUTE)]);
    let open = IncidentChanged { state: IncidentState::Open, ..resolved("seen again") };
    stage.journal(at(20 * MINUTE), open);
    stage.open(&exec(66, "again", first, 20 * MINUTE));
    stage.turn(at(20 * MINUTE + 1));
    let kept = stage.kept();
    assert_eq!(kept.iter().filter(|image| *image == "again").count(), 1, "{kept:?}");
    assert_eq!(kept.iter().filter(|image| *image == "attack").count(), 1, "{kept:?}");
}

#[test]
fn a_quiet_incident_is_over() {
    let mut stage = Stage::new();
    let attack = exec(63, "attack", SHELL, 0);
    stage.record(std::slice::from_ref(&attack));
    stage.open(&attack);
    assert!(!stage.turn(at(1))[0].last);
    assert_eq!(stage.turn(at(30 * MINUTE)), []);
    assert!(stage.turn(at(30 * MINUTE + 1))[0].last);
    // Nobody resolved it: a restart finds it open, and has nothing more to say of it.
    stage.keeper = Keeper::open(&stage.folder(), SIZE, BOOT).unwrap();
    assert_eq!(stage.turn(at(50 * MINUTE)), []);
}

#[test]
fn what_was_not_recorded_is_counted() {
    let mut stage = Stage::new();
    stage.record(&[exec(60, "a", SHELL, 0)]);
    let mut page = Page::default();
    page.miss(Missed { events: 77, from: at(5000), to: at(8000) });
    page.note(&exec(61, "b", SHELL, 9000));
    stage.ring.write(&mut page, at(9000)).unwrap();
    // A kill, and a start twenty seconds after the last event.
    let bounds = Bounds { size: SIZE, age: Duration::from_secs(86_400) };
    stage.ring = Ring::open(&stage.folder(), bounds, BOOT).unwrap();
    let attack = exec(63, "attack", SHELL, 29_000);
    stage.record(std::slice::from_ref(&attack));
    stage.open(&attack);
    let said = stage.turn(at(30_000));
    assert_eq!(said[0].pinned.lost, 77);
    // The ring begins 571 s after the pin does; then 3 s of drops, and 20 s without a recorder.
    assert_eq!(said[0].pinned.unrecorded_ms, 571_000 + 3000 + 20_000);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut stage = Stage::new();
    let attack = exec(63, "attack", SHELL, 1000);
    stage.record(std::slice::from_ref(&attack));
    stage.open(&attack);
    stage.turn(at(2000));
    stage.record(&[exec(64, "child", &[(63, "attack"), SHELL[0]], 3000)]);
    stage.keeper = Keeper::open(&stage.folder(), SIZE, BOOT).unwrap();
    assert_eq!(stage.turn(at(4000)), [], "it was told already");
    assert_eq!(stage.kept(), ["attack", "child"]);
    stage.journal(at(5000), resolved(""));
    assert_eq!(stage.turn(at(6000))[0].pinned.events, 2);
    // Once it is over, a restart does not take it up again.
    stage.keeper = Keeper::open(&stage.folder(), SIZE, BOOT).unwrap();
    assert_eq!(stage.turn(at(7000)), []);
}

#[test]
fn the_oldest_pins_go_when_there_are_too_many_and_that_is_said() {
    let mut stage = Stage::new();
    let attack = exec(63, "attack", SHELL, 1000);
    stage.record(std::slice::from_ref(&attack));
    stage.open(&attack);
    let old = stage.folder().join("pins/i-000000000001.pages.zst");
    std::fs::File::create(&old).unwrap().set_len(SIZE / 4).unwrap();
    let said = stage.keeper.turn(&stage.journal, at(2000), QUIET, &AtomicBool::new(false)).unwrap();
    assert!(!old.exists());
    let gone: Vec<_> = said.iter().filter(|kept| kept.pinned.let_go).collect();
    assert_eq!(gone.len(), 1, "{said:?}");
    assert_eq!(gone[0].incident, IncidentId::from("i-000000000001"));
    assert!(stage.keeper.watched().bytes < SIZE / 4);
    let RecorderPinned { events, let_go, .. } = said[0].pinned;
    assert_eq!((events, let_go), (1, false));
}

#[test]
fn an_id_from_outside_names_no_other_file() {
    let stage = Stage::new();
    std::fs::write(stage.dir.path().join("secret.pages.zst"), b"x").unwrap();
    for id in ["../../secret", "../pins/x", "", "i-none", "/etc/passwd"] {
        assert!(pinned(&stage.folder(), &id.into(), 0).unwrap().is_none(), "{id}");
    }
}

#[test]
fn a_long_way_is_gone_in_turns_and_the_last_word_waits_for_its_end() {
    let mut stage = Stage::new();
    assert_eq!(stage.turn(at(0)), []);
    let attack = exec(63, "attack", SHELL, 0);
    stage.record(std::slice::from_ref(&attack));
    stage.open(&attack);
    for n in 1..150 {
        stage.record(&[exec(64, "child", &[(63, "attack"), SHELL[0]], n)]);
    }
    stage.journal(at(500), resolved(""));
    let first = stage.turn(at(600));
    assert!(stage.keeper.is_behind() && !first[0].last && stage.kept().len() == 64, "{first:?}");
    assert_eq!(stage.turn(at(700)), []);
    let said = stage.turn(at(800));
    assert!(!stage.keeper.is_behind() && said[0].last, "{said:?}");
    assert_eq!((said[0].pinned.events, stage.kept().len()), (150, 150));
    // Told to stop, it leaves off at once.
    stage.journal(at(900), IncidentChanged { state: IncidentState::Open, ..resolved("again") });
    stage.record(&[exec(65, "late", &[(63, "attack"), SHELL[0]], 1000)]);
    stage.keeper.turn(&stage.journal, at(1001), QUIET, &AtomicBool::new(true)).unwrap();
    assert_eq!(stage.kept().len(), 150);
}
