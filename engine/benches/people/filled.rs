//! A journal with open ladders in number, as an engine leaves them that ended a while ago: each has told its first step, and waits.
//!
//! Owns what is written. Of the benchmark of ladders, and of the one that clicks at the whole daemon.

use quell_engine::clock::SystemClock;
use quell_engine::escalation::policy::{By, Policy, Step, Target};
use quell_engine::store::Journal;
use quell_model::notice::{Page, PageKey, Receipt, To, Way};
use quell_model::record::{
    EngineStarted, IncidentOpened, LadderMoved, LadderRouted, LadderStarted, NewRecord, PageReceipted, PageState,
    Place, Queued,
};
use quell_model::{Batch, BootId, Clock, Durability, Entity, IncidentId, LadderId, Level, Mode, Name, Stamp, StreamId};
use std::path::Path;
use std::time::Duration;

/// How long each waits for an answer before its second step.
pub(super) const WAIT: Duration = Duration::from_secs(3600);
/// The generation that each is in: of those before it messages may still be about.
pub(super) const GENERATION: u32 = 3;
/// Records of an incident, and of its ladder.
#[allow(dead_code, reason = "each benchmark uses a part of it")]
pub(super) const RECORDS: (usize, usize) = (1, 4);

/// An hour apart, the same people twice.
pub(super) fn policy(who: &Name) -> Policy {
    let target = || vec![Target::Person(who.clone())];
    let step = || Step { notify: target(), by: vec![By::Console], wait: WAIT, ack: Default::default() };
    Policy { steps: vec![step(), step()], last_resort: target(), ..Policy::default() }
}

pub(super) fn incident(n: usize) -> IncidentId {
    IncidentId::of(&[b"bench", &n.to_le_bytes()])
}

/// So many; the `n`th has told `who(n)`, and its next step is due at `due(n)`.
pub(super) fn fill(data: &Path, count: usize, who: impl Fn(usize) -> Name, due: impl Fn(usize) -> Stamp) {
    let journal = Journal::open(data).unwrap();
    let append = |stream: StreamId, records: Vec<NewRecord>| {
        let batch = Batch { stream, expected: 0, records, durability: Durability::Written };
        while journal.written(batch.clone()).is_err() {
            std::thread::yield_now();
        }
    };
    let (version, boot) = ("bench".into(), BootId("b".into()));
    let boot = EngineStarted { version, boot, pid: 1, mode: Mode::Enforce, tzdb: None };
    append(StreamId::system(), vec![NewRecord::new(SystemClock.now(), boot)]);
    for n in 0..count {
        let definition = serde_json::to_value(policy(&who(n))).unwrap();
        let (id, at) = (incident(n), before(due(n), WAIT));
        let entity = Entity { kind: "unit".into(), id: format!("web-{n}").into(), node: "n1".into() };
        let opened = IncidentOpened {
            incident: id.clone(),
            entity: entity.clone(),
            title: "A shell reads from a socket".to_owned(),
            level: Level::High,
            backfill: false,
        };
        append(StreamId::incident(&id), vec![NewRecord::new(at, opened)]);
        let because = "an incident of level high was opened".to_owned();
        let started = LadderStarted {
            incident: Some(id.clone()),
            question: None,
            title: "A shell reads from a socket".to_owned(),
            entity,
            level: Level::High,
            tags: Default::default(),
            rules: Default::default(),
            because: because.clone(),
            generation: GENERATION,
            gathers: false,
        };
        let routed = LadderRouted { policy: "bench".into(), definition, route: String::new(), up_to: None };
        let page = Page::new(To::Person(who(n)), Way::Console, "named by the policy".to_owned());
        let key = PageKey::of(id.as_str(), 3, &page);
        let to = Place::Step { round: 0, step: 0 };
        let pages = vec![Queued { key: key.clone(), page }];
        let moved = LadderMoved { generation: GENERATION, to, because, pages, nobody: Vec::new() };
        let state = PageState::Sent(Receipt::Handed { reference: None });
        let receipted = PageReceipted { key, attempt: 1, state, instead: Vec::new(), together: None };
        let records = vec![
            NewRecord::new(at, started),
            NewRecord::new(at, routed),
            NewRecord::new(at, moved),
            NewRecord::new(at, receipted),
        ];
        append(StreamId::ladder(&LadderId::incident(&id)), records);
    }
    journal.close();
}

fn before(at: Stamp, span: Duration) -> Stamp {
    let nanos = u64::try_from(span.as_nanos()).unwrap();
    Stamp { wall: at.wall - span, boot_ns: at.boot_ns.saturating_sub(nanos) }
}
