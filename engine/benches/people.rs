//! Ladders in number, by the shipped engine on a journal of its own: how late the pages of ten thousand open ones are, and how
//! long an answer takes while the journal is busy.
//!
//! Owns a journal and a channel that only notes what it is given. A bare baseline stands beside the figures of the disk. Asserts no
//! times: machines are noisy. `QUELL_SCENE=late` runs the scenes whose name has the word.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

#[path = "durable/bare.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod bare;
#[path = "durable/stage.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod stage;

use quell_engine::clock::SystemClock;
use quell_engine::escalation::Escalation;
use quell_engine::escalation::policy::{By, Policy, Route, Step, Target};
use quell_engine::run::pages::Post;
use quell_engine::run::{Definitions, Pressed, Request};
use quell_engine::store::Journal;
use quell_model::notice::{Channel, Letter, Page, PageKey, Receipt, SendError, To, Way};
use quell_model::record::{
    EngineStarted, IncidentOpened, LadderMoved, LadderRouted, LadderStarted, NewRecord, PageReceipted, PageState,
    Place, Queued,
};
use quell_model::{
    Batch, BootId, Clock, Durability, Entity, Hash, IncidentId, LadderId, Level, Mode, Name, Person, Stamp, StreamId,
};
use serde_json::json;
use stage::{Stage, since};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Open ladders.
const MANY: usize = 10_000;
/// How long each waits for an answer before its second step.
const WAIT: Duration = Duration::from_secs(3600);

fn main() {
    let wanted = stage::wanted();
    let scenes: [(&str, fn()); 2] = [("late", late), ("answers", answers)];
    for (name, scene) in scenes {
        if name.contains(&wanted) {
            println!("\n{name}");
            scene();
        }
    }
}

/// Notes what it is given, and when.
#[derive(Default)]
struct Notes(Mutex<Vec<(LadderId, Stamp)>>);

#[async_trait::async_trait]
impl Channel for Notes {
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError> {
        let now = SystemClock.now();
        self.0.lock().unwrap().push((letter.notice.ladder.clone(), now));
        Ok(Receipt::Handed { reference: None })
    }
}

/// One after the other, an hour between; each ladder tells somebody else, so that none of their pages go together.
fn policy(n: usize) -> Policy {
    let target = || vec![Target::Person(person(n))];
    let step = || Step { notify: target(), by: vec![By::Console], wait: WAIT, ack: Default::default() };
    Policy { steps: vec![step(), step()], last_resort: target(), ..Policy::default() }
}

fn person(n: usize) -> Name {
    format!("person-{n}").as_str().into()
}

fn definitions(channel: &Arc<Notes>) -> Definitions {
    let mut escalation = Escalation::default();
    escalation.policies.insert("bench".into(), policy(0));
    escalation.people.people.extend((0..MANY).map(|n| (person(n), Person::default())));
    escalation.routes = vec![Route { when: None, policy: "bench".into() }];
    let channels: BTreeMap<Name, Arc<dyn Channel>> = [("console".into(), channel.clone() as Arc<dyn Channel>)].into();
    Definitions {
        ceiling: Mode::Enforce,
        escalation: Some(Arc::new(escalation)),
        post: Post::new(channels),
        ..Definitions::default()
    }
}

fn incident(n: usize) -> IncidentId {
    IncidentId::of(&[b"bench", &n.to_le_bytes()])
}

/// Ladders as an engine leaves them that ended an hour ago: each has told its first step, and is due at its own moment.
fn fill(data: &Path, count: usize, due: impl Fn(usize) -> Stamp) {
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
        let definition = serde_json::to_value(policy(n)).unwrap();
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
            generation: 1,
            gathers: false,
        };
        let routed = LadderRouted { policy: "bench".into(), definition, route: String::new(), up_to: None };
        let page = Page::new(To::Person(person(n)), Way::Console, "named by the policy".to_owned());
        let key = PageKey::of(id.as_str(), 3, &page);
        let to = Place::Step { round: 0, step: 0 };
        let pages = vec![Queued { key: key.clone(), page }];
        let moved = LadderMoved { generation: 1, to, because, pages, nobody: Vec::new() };
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

/// Ten thousand wait for an answer; within ten seconds the time of each is over.
fn late() {
    let window = Duration::from_secs(10);
    let first = SystemClock.now().after(Duration::from_secs(20));
    let gap = window / u32::try_from(MANY).unwrap();
    let due = |n: usize| first.after(gap * u32::try_from(n).unwrap());
    let (dir, channel) = (tempfile::tempdir().unwrap(), Arc::new(Notes::default()));
    fill(dir.path(), MANY, due);
    let (memory, begin) = (stage::rss_anon_kb(), SystemClock.now());
    let mut stage = Stage::with(dir, definitions(&channel));
    stage.recover();
    let kept = stage::rss_anon_kb().saturating_sub(memory);
    println!("{MANY} open ladders taken up in {:.2} s; memory {kept} kB more", since(begin).as_secs_f64());
    if SystemClock.now() >= first {
        println!("    the first moment came before that: the pages below are late by it");
    }
    let cpu = stage::cpu();
    let told = || channel.0.lock().unwrap().len();
    stage.turn_until(|_| told() >= MANY);
    println!("    {:.1} s of processor until the last was told", (stage::cpu() - cpu).as_secs_f64());
    let of: BTreeMap<LadderId, usize> = (0..MANY).map(|n| (LadderId::incident(&incident(n)), n)).collect();
    let told = channel.0.lock().unwrap();
    let spans: Vec<Duration> = told.iter().map(|(ladder, at)| at.since(due(of[ladder]))).collect();
    assert_eq!(spans.len(), MANY, "everybody is told, once");
    stage::row("pages late by (1000 a second)", spans);
}

/// Answers to open ladders, each from its question to its answer, while runs write as much as they can; then those that change
/// nothing.
fn answers() {
    const ANSWERS: usize = 1_000;
    let far = SystemClock.now().after(WAIT);
    let (dir, channel) = (tempfile::tempdir().unwrap(), Arc::new(Notes::default()));
    fill(dir.path(), MANY, |_| far);
    let chain = stage::read(&stage::chain(2_000, false));
    let definitions = Definitions { playbooks: vec![Arc::clone(&chain)], ..definitions(&channel) };
    let mut stage = Stage::with(dir, definitions);
    stage.recover();
    stage::row("a bare write and fdatasync", bare::syncs(500));
    let busy: Vec<(Name, quell_model::Json)> = (0..16).map(|n| (chain.name.clone(), json!({ "n": n }))).collect();
    let spans = stage.ask_beside(busy.clone(), (0..ANSWERS).map(|n| pressed(n, 1, None)).collect());
    let taken = spans.iter().filter(|(_, answer)| answer.is_ok()).count();
    assert_eq!(taken, ANSWERS, "every answer counts");
    stage::row("an answer, journaled, beside 16 runs", spans.into_iter().map(|(span, _)| span).collect());
    // Of an earlier generation, of one to come, and by a link that was used: nothing happens.
    let link = Some(Hash::of(b"used"));
    let used = stage.ask_beside(Vec::new(), vec![escalated(ANSWERS, link)]);
    assert!(used.iter().all(|(_, answer)| answer.is_ok()));
    let before = stage.ladder_records();
    let stale = (0..MANY - 1).map(|n| pressed(n % ANSWERS, 7, None)).chain([escalated(ANSWERS, link)]).collect();
    let spans = stage.ask_beside(Vec::new(), stale);
    let effects = spans.iter().filter(|(_, answer)| answer.is_ok()).count();
    println!(
        "{MANY} answers that mean what is no more: {effects} effects; {} records say who was late",
        stage.ladder_records() - before
    );
    assert_eq!(effects, 0);
    stage::row("an answer that is refused", spans.into_iter().map(|(span, _)| span).collect());
}

fn pressed(n: usize, generation: u32, link: Option<Hash>) -> Request {
    let (by, via): (Name, Name) = ("ana".into(), "slack".into());
    let wants = Request::Acknowledge {
        incident: incident(n),
        acknowledged: true,
        why: String::new(),
        by: by.clone(),
        via: via.clone(),
        generation: Some(generation),
    };
    Request::Press(Box::new(Pressed { ladder: LadderId::incident(&incident(n)), generation, link, by, via, wants }))
}

fn escalated(n: usize, link: Option<Hash>) -> Request {
    let (by, via): (Name, Name) = ("ana".into(), "email".into());
    let wants = Request::Escalate { incident: incident(n), why: String::new(), by: by.clone(), via: via.clone() };
    Request::Press(Box::new(Pressed { ladder: LadderId::incident(&incident(n)), generation: 1, link, by, via, wants }))
}
