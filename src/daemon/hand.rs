//! From event to act on one thread: what the sensor gives goes through the rules, and what matches into the engine.
//!
//! ```text
//! sensor ──event──▶ Detector ──detections──▶ Core ──▶ (trigger, guard, freeze or kill) on this same thread
//! ```
//!
//! Invariant: nothing here waits. What a reload brings is swapped between two turns, rules and definitions in one (`handover.rs`).

use super::deliveries::{Inbox, Turn};
use super::family::Family;
use super::handover::Handover;
use super::sources::{Portion, Receivers, Then};
use quell_engine::detect::Detector;
use quell_engine::recorder::Noter;
use quell_engine::run::Core;
use quell_engine::source::Line;
use quell_model::record::{DetectionHeld, LossSeen};
use quell_model::{Class, Clock, Detection, Event, Field};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why the sensor loses events, in its words; what has another word is counted after them.
const REASONS: [&str; 3] = ["ring_full", "cgroup_budget", "cgroup_share"];

/// Events seen and lost, by class.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By the sensor.
    seen: [AtomicU64; Class::ALL.len()],
    /// By others.
    foreign: [AtomicU64; Class::ALL.len()],
    lost: [[AtomicU64; Class::ALL.len()]; REASONS.len() + 1],
}

impl Counts {
    fn at(list: &[AtomicU64], class: Class) -> Option<&AtomicU64> {
        Class::ALL.iter().position(|one| *one == class).and_then(|at| list.get(at))
    }

    fn add(list: &[AtomicU64], class: Class, more: u64) {
        if let Some(count) = Self::at(list, class) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn lose(&self, class: Class, why: &str, count: u64) {
        let reason = REASONS.iter().position(|reason| *reason == why).unwrap_or(REASONS.len());
        Self::add(&self.lost[reason], class, count);
    }

    fn read(list: &[AtomicU64], class: Class) -> u64 {
        Self::at(list, class).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// (class, seen, lost), for every class.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Class, u64, u64)> + '_ {
        Class::ALL.into_iter().map(move |class| {
            let seen = Self::read(&self.seen, class) + Self::read(&self.foreign, class);
            (class, seen, self.lost.iter().map(|list| Self::read(list, class)).sum())
        })
    }

    /// What the sensor saw, by class.
    pub(crate) fn by_sensor(&self) -> impl Iterator<Item = (Class, u64)> + '_ {
        Class::ALL.into_iter().map(|class| (class, Self::read(&self.seen, class)))
    }

    /// What was lost, by class and reason; what never was, too.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (Class, &'static str, u64)> + '_ {
        let reasons = REASONS.into_iter().chain(["other"]).zip(&self.lost);
        reasons.flat_map(|(reason, list)| {
            Class::ALL.into_iter().map(move |class| (class, reason, Self::read(list, class)))
        })
    }
}

/// What a hand is made of.
pub(super) struct HandParts<W> {
    /// The engine.
    pub(super) core: Core<W>,
    /// The rules.
    pub(super) detector: Detector,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
    /// What is counted.
    pub(super) counts: Arc<Counts>,
    /// Brings later rules and definitions.
    pub(super) handover: Handover,
    /// Brings events from elsewhere: what is live, and what is past.
    pub(super) foreign: Receivers,
    /// Brings what others bring, who wait for the word that it is kept.
    pub(super) inbox: Inbox,
    /// Learns who descends from whom.
    pub(super) family: Option<Arc<Family>>,
    /// Detections outside this cgroup go no further.
    pub(super) only: Option<String>,
    /// Records what it sees.
    pub(super) recorder: Option<Noter>,
}

/// The detector and the engine, on whichever thread turns them.
pub(crate) struct Hand<W> {
    detector: Detector,
    core: Core<W>,
    clock: Arc<dyn Clock>,
    counts: Arc<Counts>,
    handover: Handover,
    foreign: Receivers,
    inbox: Inbox,
    family: Option<Arc<Family>>,
    only: Option<String>,
    recorder: Option<Noter>,
    found: Vec<Detection>,
}

impl<W: Send + 'static> Hand<W> {
    /// Of these parts.
    pub(super) fn new(parts: HandParts<W>) -> Self {
        let HandParts { core, detector, clock, counts, handover, foreign, inbox, family, only, recorder } = parts;
        let found = Vec::with_capacity(16);
        Self { detector, core, clock, counts, handover, foreign, inbox, family, only, recorder, found }
    }

    /// One event. What it leads to is done before it is recorded.
    pub(crate) fn event(&mut self, event: &dyn Event) {
        Counts::add(&self.counts.seen, event.head().class, 1);
        self.take(event);
    }

    fn take(&mut self, event: &dyn Event) {
        self.look(event, None);
        if let Some(recorder) = &mut self.recorder {
            recorder.note(event);
        }
    }

    /// What came from elsewhere, in its order, and then how far that was read.
    fn portion(&mut self, portion: &Portion) {
        for line in &portion.lines {
            Counts::add(&self.counts.foreign, line.event.head.class, 1);
            self.look(&line.event, Some((line, portion)));
            // The ring is of the last day: a log of years would push all that is live out of it.
            if let Some(recorder) = self.recorder.as_mut().filter(|_| !line.backfill) {
                recorder.note(&line.event);
            }
        }
        let (source, positions) = (&portion.source, portion.positions());
        match portion.then {
            Then::More => {}
            Then::Read => self.core.advanced(source, positions, false),
            Then::All => self.core.advanced(source, positions, true),
            Then::Found => self.core.found(source, positions),
        }
    }

    /// A piece of what was brought; with the last, whoever brought it is answered once all of it is kept.
    fn delivery(&mut self, turn: Turn) {
        let (events, last) = match turn {
            Turn::More(events) => (events, None),
            Turn::Last(events, last) => (events, Some(last)),
        };
        for event in &events {
            Counts::add(&self.counts.foreign, event.head.class, 1);
            self.take(event);
        }
        if let Some(last) = last {
            self.core.when_committed(move |committed| last.end(committed));
        }
    }

    fn look(&mut self, event: &dyn Event, from: Option<(&Line, &Portion)>) {
        let class = event.head().class;
        if let Some(family) = &self.family {
            family.learn(event);
        }
        if class == Class::Loss {
            self.loss(event);
            return;
        }
        self.detector.event(event, self.clock.now(), &mut self.found);
        if self.found.is_empty() {
            return;
        }
        if let Some(family) = &self.family {
            family.matched(event);
        }
        if let Some(only) = &self.only {
            self.found.retain(|detection| is_within(detection, only));
        }
        match from {
            None => self.core.detections(self.found.drain(..)),
            Some((line, portion)) => {
                self.found.iter_mut().for_each(|detection| detection.backfill = line.backfill);
                let position = line.position(&portion.files);
                self.core.detections_at(self.found.drain(..), &portion.source, position);
            }
        }
    }

    /// After a batch of events, or when something else is due.
    pub(crate) fn turn(&mut self) {
        if let Some(taken) = self.handover.take() {
            self.detector.swap(taken.change.rules);
            self.core.reload(*taken.change.definitions);
            if taken.in_force.send(()).is_err() {
                tracing::debug!("whoever handed over a reload has gone");
            }
        }
        // One portion a turn: what the sensor saw meanwhile comes first, and what is past comes last.
        if let Ok(portion) = self.foreign.0.try_recv().or_else(|_| self.foreign.1.try_recv()) {
            self.portion(&portion);
        }
        let core = &mut self.core;
        if let Some(turn) = self.inbox.turn(|| core.can_take_in()) {
            self.delivery(turn);
        }
        let held = self.detector.take_held();
        if !held.is_empty() {
            self.core.held(held.into_iter().map(|held| {
                let reason = format!("the exception `{}` holds it back", held.exception);
                (held.at, DetectionHeld { detection: held.id, rule: held.rule, playbook: None, reason })
            }));
        }
        self.core.turn();
        if let Some(recorder) = &mut self.recorder {
            recorder.turn(self.clock.now());
        }
    }

    fn loss(&mut self, event: &dyn Event) {
        let number = |path: &str| match event.own(path) {
            Some(Field::Int(n)) => u64::try_from(n).ok(),
            _ => None,
        };
        let text = |path: &str| match event.own(path) {
            Some(Field::Str(text)) => Some(text.into_owned()),
            _ => None,
        };
        let class = text("loss.class").and_then(|word| Class::ALL.into_iter().find(|class| class.as_str() == word));
        let count = number("loss.count").unwrap_or(1);
        let why = text("loss.why").unwrap_or_else(|| "not said".to_owned());
        self.counts.lose(class.unwrap_or(Class::Loss), &why, count);
        let path = text("loss.cgroup_path").map(Into::into);
        let loss = LossSeen { class, count, cgroup: number("loss.cgroup"), path, since: None, why };
        self.core.loss(loss, event.head().at);
    }
}

/// Whether the detection's process lies in this cgroup or below it.
fn is_within(detection: &Detection, cgroup: &str) -> bool {
    match detection.event.own("process.cgroup_path") {
        Some(Field::Str(path)) => {
            path.strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::handover::Change;
    use crate::daemon::replay_crew;
    use quell_engine::clock::SystemClock;
    use quell_engine::detect::{RuleSource, Rules};
    use quell_engine::load::{self, Known};
    use quell_engine::report;
    use quell_engine::run::{Definitions, Parts};
    use quell_engine::store::{DirVault, Journal};
    use quell_model::{BootId, Entity, EventHead, LogSource, OwnedEvent, Replay, Subject};
    use std::path::Path;
    use std::time::Duration;

    /// A rule for an image of this name, and a playbook of this name that answers it.
    fn answering(name: &str) -> Change {
        let text = format!(
            "title: {name}\nname: {name}\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2\nstatus: test\nlogsource: {{ product: linux, category: process_creation }}\ndetection: {{ s: {{ Image|endswith: /{name} }}, condition: s }}\nlevel: high\n"
        );
        let (rules, report) = Rules::load(&[RuleSource::Text { name: name.to_owned(), text }], &[]);
        assert_eq!(report.errors().count(), 0);
        let text = format!(
            "playbook: {name}\non: {{ detections: {{ rules: [{name}], level: low }} }}\nsteps:\n  say: {{ tell: hello }}\n"
        );
        let (playbook, mistakes) = load::playbook(Path::new("p.yaml"), &text, &Known::default());
        let playbook = playbook.unwrap_or_else(|| panic!("{mistakes:?}"));
        let definitions = Definitions { playbooks: vec![Arc::new(playbook)], ..Definitions::default() };
        Change { rules: Arc::new(rules), definitions: Box::new(definitions) }
    }

    fn event(image: &str) -> OwnedEvent {
        let at = SystemClock.now();
        let class = Class::ProcessCreation;
        let head = EventHead { id: image.into(), class, source: "sensor".into(), node: "n".into(), at, seen: at };
        let logsource = LogSource {
            product: Some("linux".into()),
            category: Some("process_creation".into()),
            ..LogSource::default()
        };
        let sigma = serde_json::Map::from_iter([("Image".to_owned(), format!("/bin/{image}").into())]);
        let entity = Entity { kind: "node".into(), id: "n".into(), node: "n".into() };
        OwnedEvent { v: 1, head, logsource, sigma, own: serde_json::Map::new(), subject: Subject::Unknown, entity }
    }

    fn hand(
        dir: &Path,
        runtime: &tokio::runtime::Runtime,
        begin: Change,
        handover: Handover,
    ) -> (Hand<Replay>, Journal) {
        let journal = Journal::open(dir).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let parts = Parts {
            clock: Arc::clone(&clock),
            journal: journal.clone(),
            vault: Arc::new(DirVault::new(dir)),
            node: "n".into(),
            boot: BootId("b".into()),
            crew: replay_crew(&"n".into()),
            runtime: runtime.handle().clone(),
            wake: Arc::new(|| {}),
        };
        let hand = Hand::new(HandParts {
            core: Core::new(parts, *begin.definitions),
            detector: Detector::new(begin.rules),
            clock,
            counts: Arc::default(),
            handover,
            foreign: crate::daemon::sources::ways().1,
            inbox: crate::daemon::deliveries::ways(0, &(Arc::new(|| {}) as Arc<dyn Fn() + Send + Sync>)).1,
            family: None,
            only: None,
            recorder: None,
        });
        (hand, journal)
    }

    #[test]
    fn rules_and_definitions_of_a_reload_hold_from_the_same_turn_on() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let handover = Handover::new(Arc::new(|| {}));
        let (mut hand, journal) = hand(dir.path(), &runtime, answering("former"), handover.clone());
        let put = runtime.spawn(async move { handover.put(answering("latter"), Duration::from_secs(60)).await });
        let runs = || {
            let all = journal.runs(None, 10).unwrap();
            let run =
                |stream: &quell_model::StreamId| report::run(&journal, &stream.as_run().unwrap()).unwrap().unwrap();
            all.iter().map(|listed| run(&listed.stream).playbook.to_string()).collect::<Vec<_>>()
        };
        hand.event(&event("latter"));
        hand.core.turn();
        assert_eq!(runs(), Vec::<String>::new(), "what is not in force answers nothing");
        hand.event(&event("former"));
        hand.core.turn();
        assert_eq!(runs(), ["former"], "what was in force answers until then");
        while !put.is_finished() {
            hand.turn();
        }
        assert_eq!(runtime.block_on(put).unwrap(), Ok(()));
        hand.event(&event("latter"));
        hand.turn();
        assert_eq!(runs(), ["latter", "former"]);
        drop(hand);
        journal.close();
    }
}
