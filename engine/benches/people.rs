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
#[path = "people/filled.rs"]
mod filled;
#[path = "durable/stage.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod stage;

use filled::{GENERATION, WAIT, fill, incident, policy};
use quell_engine::clock::SystemClock;
use quell_engine::escalation::Escalation;
use quell_engine::escalation::policy::Route;
use quell_engine::run::pages::Post;
use quell_engine::run::{Definitions, Pressed, Request};
use quell_model::notice::{Channel, Letter, Receipt, SendError};
use quell_model::{Clock, Hash, LadderId, Mode, Name, Person, Stamp};
use serde_json::json;
use stage::{Stage, since};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Open ladders.
const MANY: usize = 10_000;

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

/// Each ladder tells somebody else, so that none of their pages go together.
fn person(n: usize) -> Name {
    format!("person-{n}").as_str().into()
}

fn definitions(channel: &Arc<Notes>) -> Definitions {
    let mut escalation = Escalation::default();
    escalation.policies.insert("bench".into(), policy(&person(0)));
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

/// Ten thousand wait for an answer; within ten seconds the time of each is over.
fn late() {
    let window = Duration::from_secs(10);
    let first = SystemClock.now().after(Duration::from_secs(20));
    let gap = window / u32::try_from(MANY).unwrap();
    let due = |n: usize| first.after(gap * u32::try_from(n).unwrap());
    let (dir, channel) = (tempfile::tempdir().unwrap(), Arc::new(Notes::default()));
    fill(dir.path(), MANY, person, due);
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

/// Answers to open ladders at the engine itself, each from its question to its answer, while runs write as much as they can; then those
/// that change nothing. How long a click takes at the whole daemon is `benches/clicks.rs`' to say.
fn answers() {
    const ANSWERS: usize = 1_000;
    let far = SystemClock.now().after(WAIT);
    let (dir, channel) = (tempfile::tempdir().unwrap(), Arc::new(Notes::default()));
    fill(dir.path(), MANY, person, |_| far);
    let chain = stage::read(&stage::chain(2_000, false));
    let definitions = Definitions { playbooks: vec![Arc::clone(&chain)], ..definitions(&channel) };
    let mut stage = Stage::with(dir, definitions);
    stage.recover();
    stage::row("a bare write and fdatasync", bare::syncs(500));
    let busy: Vec<(Name, quell_model::Json)> = (0..16).map(|n| (chain.name.clone(), json!({ "n": n }))).collect();
    let spans = stage.ask_beside(busy.clone(), (0..ANSWERS).map(|n| pressed(n, GENERATION, None)).collect());
    let taken = spans.iter().filter(|(_, answer)| answer.is_ok()).count();
    assert_eq!(taken, ANSWERS, "every answer counts");
    stage::row("an answer, journaled, beside 16 runs", spans.into_iter().map(|(span, _)| span).collect());
    // Of ladders that nobody looks after: generations of before, one to come, and a link that was used.
    let link = Some(Hash::of(b"used"));
    let used = stage.ask_beside(Vec::new(), vec![escalated(ANSWERS, link)]);
    assert!(used.iter().all(|(_, answer)| answer.is_ok()));
    let before = stage.ladder_records();
    let generations = [0, 1, GENERATION - 1, GENERATION + 1];
    let stale = (ANSWERS + 1..MANY).map(|n| pressed(n, generations[n % generations.len()], None));
    let stale: Vec<Request> = stale.chain([escalated(ANSWERS, link)]).collect();
    let count = stale.len();
    let spans = stage.ask_beside(Vec::new(), stale);
    let effects = spans.iter().filter(|(_, answer)| answer.is_ok()).count();
    println!(
        "{count} answers that mean what is no more: {effects} effects; {} records say who was late",
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
    let (ladder, generation) = (LadderId::incident(&incident(n)), GENERATION);
    Request::Press(Box::new(Pressed { ladder, generation, link, by, via, wants }))
}
