//! One case, played: an engine of its own in a directory of its own, on the simulated clock.
//!
//! Owns when the clock moves: only while nobody is at work, to the next moment that a run or an attempt waits for.

use super::answers::Given;
use super::case::{Case, Happens, Start, Suite};
use super::coverage::{Coverage, TriggerWas};
use super::judge::{Miss, judge};
use super::story::Story;
use super::world::{Unused, World};
use crate::clock::{Countdown, SimulatedClock};
use crate::detect::{Detector, Rules};
use crate::playbook::{Expressions, Scope};
use crate::run::{Core, Definitions, Kept, Parts};
use crate::store::{DirVault, Journal};
use crate::trigger::wants;
use quell_model::playbook::{IncidentMoment, Playbook};
use quell_model::record::IncidentCame;
use quell_model::{
    ActionSpec, Body, BootId, Clock, Detection, Hash, Json, Mode, Name, OwnedEvent, RuleRef, Sandbox, Stamp, StreamId,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Real time without any progress, after which a case is given up: a script may take its whole bound.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that a run may take on its own clock.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What cases are played with.
pub struct Bench {
    /// The actions of this build.
    pub specs: Vec<&'static ActionSpec>,
    /// What events go through.
    pub rules: Arc<Rules>,
    /// `vars` in expressions.
    pub vars: Json,
    /// A directory for the journals; each is gone after its case.
    pub scratch: PathBuf,
    /// Where work goes.
    pub runtime: tokio::runtime::Handle,
}

/// How a case went.
#[derive(Debug)]
pub struct Played {
    /// What does not hold; none: it passed.
    pub misses: Vec<Miss>,
}

/// Plays one case and adds what it reached.
pub fn play(suite: &Suite, case: &Case, bench: &Bench, coverage: &mut Coverage) -> Played {
    let place = format!("{}:{}:{}", suite.file.display(), case.line.0, case.line.1);
    let dir = bench.scratch.join("case");
    let told = std::fs::create_dir(&dir).map_err(|e| e.to_string()).and_then(|()| stories(suite, case, bench, &dir));
    // A directory that stays makes the next case say so.
    drop(std::fs::remove_dir_all(&dir));
    match told {
        Ok((stories, trigger, unused)) => {
            stories.iter().for_each(|story| coverage.add(&suite.playbook, story));
            coverage.add_trigger(trigger);
            Played { misses: judge(case, &place, &stories, &unused) }
        }
        Err(why) => Played { misses: vec![Miss::at(place, "the case can be played to its end", why)] },
    }
}

fn stories(suite: &Suite, case: &Case, bench: &Bench, dir: &Path) -> Result<(Vec<Story>, TriggerWas, Unused), String> {
    let journal = Journal::open(dir).map_err(|e| e.to_string())?;
    let mut stage = Stage::new(suite, case, bench, dir, &journal);
    let played = stage.play(suite, case, bench);
    let (trigger, unused) = (stage.trigger, stage.world.unused());
    drop(stage);
    let read = || {
        let streams = journal.streams().map_err(|e| e.to_string())?;
        let mut runs = Vec::new();
        for run in streams.into_iter().filter_map(|(stream, _)| stream.as_run()) {
            // What a case expects is held against values, wherever they lie.
            let records = journal.read(&StreamId::run(&run), 1).map_err(|e| e.to_string())?.into_iter();
            let records = records.map(|record| journal.whole(record)).collect::<Result<Vec<_>, _>>();
            let records = records.map_err(|e| e.to_string())?;
            // What another run has started is told by its step.
            if records.first().is_some_and(|first| matches!(&first.body, Body::RunStarted(run) if run.parent.is_some()))
            {
                continue;
            }
            runs.push((records.first().map(|first| first.at), Story::of(&records, &suite.playbook)));
        }
        runs.sort_by_key(|(began, _)| *began);
        Ok((runs.into_iter().map(|(_, story)| story).collect(), trigger, unused))
    };
    let stories = played.and_then(|()| read());
    journal.close();
    stories
}

fn vars<'a>(case: &'a Case, bench: &'a Bench) -> &'a Json {
    case.vars.as_ref().unwrap_or(&bench.vars)
}

/// How long the clock is moved on.
#[derive(Clone, Copy)]
enum Until {
    /// Until no run is open.
    Idle,
    /// Up to a moment, and no further.
    Moment(Stamp),
}

pub(super) struct Stage {
    pub(super) core: Core<Sandbox>,
    clock: Arc<SimulatedClock>,
    world: Arc<World>,
    woken: mpsc::Receiver<()>,
    trigger: TriggerWas,
    /// What the latest incident began with.
    began: Option<Detection>,
}

impl Stage {
    fn new(suite: &Suite, case: &Case, bench: &Bench, dir: &Path, journal: &Journal) -> Self {
        let clock = Arc::new(SimulatedClock::new(case.at));
        let (bell, woken) = mpsc::sync_channel(1);
        let bell = Mutex::new(bell);
        // One ring that waits is enough.
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            bell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).try_send(()).unwrap_or_default()
        });
        let node = Name::from("test");
        let world = World::new(case.mocks.clone(), Arc::clone(&wake));
        let parts = Parts {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            journal: journal.clone(),
            vault: Arc::new(DirVault::new(dir)),
            crew: world.crew(&bench.specs, &node),
            runtime: bench.runtime.clone(),
            wake,
            node,
            boot: BootId("test".into()),
        };
        let modes = case.mode.map(|mode| (suite.playbook.name.clone(), mode)).into_iter().collect();
        let definitions = Definitions {
            playbooks: std::iter::once(&suite.playbook).chain(&suite.others).map(Arc::clone).collect(),
            ceiling: Mode::Enforce,
            modes,
            vars: vars(case, bench).clone(),
            secrets: case.secrets.clone(),
            people: Arc::clone(&suite.people),
            ..Definitions::default()
        };
        Self { core: Core::new(parts, definitions), clock, world, woken, trigger: TriggerWas::default(), began: None }
    }

    fn play(&mut self, suite: &Suite, case: &Case, bench: &Bench) -> Result<(), String> {
        self.core.recover(Arc::new(|_, _| None)).map_err(|e| e.to_string())?;
        let mut answers = case.answers.clone();
        let mut detector = Detector::new(Arc::clone(&bench.rules));
        match &case.start {
            Start::Inputs(inputs) => {
                self.core.start_with(&suite.playbook, inputs.clone())?;
            }
            Start::Events(events, rule) => {
                for event in events {
                    self.until(&mut answers, event.head.seen.after(case.age))?;
                    let found = self.found(event, rule.as_ref(), &mut detector);
                    self.happens(found, &suite.playbook, vars(case, bench));
                }
            }
        }
        for later in &case.then {
            self.until(&mut answers, case.at.after(case.age).after(later.after))?;
            match &later.what {
                Happens::Event(event, rule) => {
                    let found = self.found(event, rule.as_ref(), &mut detector);
                    self.happens(found, &suite.playbook, vars(case, bench));
                }
                Happens::Moment(moment, by) => {
                    self.look_at_moment(&suite.playbook, *moment, Some(by), vars(case, bench));
                    self.core.incident_moves(*moment, by.clone())?;
                }
            }
        }
        match case.advance {
            None => self.settle(&mut answers, Until::Idle)?,
            Some(advance) => {
                let at = self.clock.now().after(advance);
                self.settle(&mut answers, Until::Moment(at))?;
                self.clock.set(at);
                self.settle(&mut answers, Until::Moment(at))?;
            }
        }
        let unused = answers.first().map(|given| (given.at.0, given.part.as_str()));
        unused.map_or(Ok(()), |(line, part)| Err(format!("`{part}` never asked what line {line} answers")))
    }

    fn found(&self, event: &OwnedEvent, rule: Option<&RuleRef>, detector: &mut Detector) -> Vec<Detection> {
        match rule {
            Some(rule) => vec![matched(event, rule, self.clock.now())],
            None => {
                let mut found = Vec::new();
                detector.event(event, self.clock.now(), &mut found);
                found
            }
        }
    }

    fn happens(&mut self, found: Vec<Detection>, playbook: &Playbook, vars: &Json) {
        found.iter().for_each(|detection| self.look_at_trigger(playbook, detection, vars));
        for detection in found {
            let before = self.core.incidents_so_far();
            self.core.detections([detection.clone()]);
            if self.core.incidents_so_far() > before {
                self.began = Some(detection);
                self.look_at_moment(playbook, IncidentMoment::Opened, None, vars);
            }
        }
    }

    /// Lets go on what goes on until a moment.
    fn until(&mut self, answers: &mut Vec<Given>, at: Stamp) -> Result<(), String> {
        if at.boot_ns > self.clock.now().boot_ns {
            self.settle(answers, Until::Moment(at))?;
        }
        self.clock.set(at);
        Ok(())
    }

    /// The same, of a moment of the latest incident.
    fn look_at_moment(&mut self, playbook: &Playbook, moment: IncidentMoment, by: Option<&Name>, vars: &Json) {
        let (Some(began), Some(condition)) = (&self.began, &playbook.on.condition) else { return };
        if !crate::trigger::incident::due(playbook, moment) {
            return;
        }
        let (level, by) = (began.rule.level, by.cloned());
        let came = IncidentCame { moment, record: 1, level, by, why: String::new() };
        let incident = crate::run::incident_for_expressions(&"i-test".into(), Some(&came));
        let (event, described) = (began.event.for_playbooks(), began.for_playbooks());
        let now = self.clock.now().wall;
        let scope = Scope { event: &event, detection: &described, incident: &incident, vars, ..Scope::empty(now) };
        self.trigger_goes(&condition.text, &scope);
    }

    /// Which way the playbook's own `if` goes, for who asks what its cases reach.
    fn look_at_trigger(&mut self, playbook: &Playbook, detection: &Detection, vars: &Json) {
        let (Some(filter), Some(condition)) = (&playbook.on.detections, &playbook.on.condition) else { return };
        if !wants(filter, &detection.rule) {
            return;
        }
        let (event, described) = (detection.event.for_playbooks(), detection.for_playbooks());
        let now = self.clock.now().wall;
        let scope = Scope { event: &event, detection: &described, vars, ..Scope::empty(now) };
        self.trigger_goes(&condition.text, &scope);
    }

    fn trigger_goes(&mut self, condition: &str, scope: &Scope<'_>) {
        match Expressions::new().truth(condition, scope) {
            Ok(true) => self.trigger.true_once = true,
            Ok(false) => self.trigger.false_once = true,
            Err(_) => {}
        }
    }

    /// Lets everybody work, and moves the clock to what they wait for, until no run is open, or up to a moment.
    fn settle(&mut self, answers: &mut Vec<Given>, until: Until) -> Result<(), String> {
        let (mut kept, began) = (Kept::default(), self.clock.now());
        let mut idle = Countdown::of(PATIENCE);
        loop {
            let patience = Countdown::of(PATIENCE);
            while !self.core.step(&mut kept, self.world.hanging(self.clock.now())) {
                if patience.left().is_zero() {
                    return Err(format!("a step did not end within {PATIENCE:?}"));
                }
                // Woken, or time to look again.
                let _woken_or_late = self.woken.recv_timeout(Duration::from_millis(5));
            }
            let now = self.clock.now();
            if self.answer(answers, now)? {
                continue;
            }
            if matches!(until, Until::Idle) && self.core.is_idle() {
                return Ok(());
            }
            if self.core.at_work() > self.world.hanging(now) {
                continue;
            }
            if matches!(until, Until::Moment(_)) && !self.core.is_settled() {
                if idle.left().is_zero() {
                    return Err(format!("the journal did not take what was said within {PATIENCE:?}"));
                }
                let _woken_or_late = self.woken.recv_timeout(Duration::from_millis(1));
                continue;
            }
            idle = Countdown::of(PATIENCE);
            let next: Option<Stamp> = self
                .core
                .next_moment()
                .into_iter()
                .chain(self.world.next_end(now))
                .chain(self.next_answer(answers))
                .min_by_key(|at| at.boot_ns);
            match (next, until) {
                (next, Until::Moment(last)) if next.is_none_or(|next| next.boot_ns > last.boot_ns) => return Ok(()),
                (None, _) => return Err("the run has not ended, and waits for nothing".to_owned()),
                (Some(at), Until::Idle) if at.since(began) > LONGEST => {
                    return Err(format!("the run did not end within {} days", LONGEST.as_secs() / 86_400));
                }
                (Some(at), _) => self.clock.set(at),
            }
        }
    }
}

/// A detection of a rule that the case names.
fn matched(event: &OwnedEvent, rule: &RuleRef, now: Stamp) -> Detection {
    Detection {
        id: Hash::of_parts(&[event.head.id.as_str().as_bytes(), rule.name.as_str().as_bytes()]),
        rule: rule.clone(),
        event: Arc::new(event.clone()),
        events: vec![],
        matched: vec![],
        at: now,
        backfill: false,
    }
}
