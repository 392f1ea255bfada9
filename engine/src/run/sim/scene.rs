//! Scenes: an attack, the playbook that answers it and whoever is asked; and how each ended.
//!
//! Owns which there are: of every playbook that ships as many cases of its own test file as it takes to try each of its acts, one playbook with
//! every shape of step, and a few that between them use every verb that ships. Owns what must be the same in two endings.

use super::rng::Rng;
use super::shipped::{self, Shipped};
use super::stage::Stage;
use super::{check, make, world};
use crate::run::fixtures::socket;
use crate::run::{Refusal, Request};
use crate::store::by_hand;
use crate::trial::Plain;
use quell_model::playbook::{OnFailure, Playbook, Step, StepKind, When};
use quell_model::record::{Part, RunState};
use quell_model::{Body, Class, Detection, Json, Outcome, Record, RunId, Stamp, StepId, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// An attack and the playbook that answers it.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) playbook: Arc<Playbook>,
    attack: Attack,
}

#[derive(Clone, Copy)]
enum Attack {
    /// What a test file has happen.
    Case(&'static Shipped, &'static Plain),
    /// An event of this class.
    Made(Class),
}

/// All of them.
pub(super) fn scenes() -> &'static [Scene] {
    static SCENES: OnceLock<Vec<Scene>> = OnceLock::new();
    SCENES.get_or_init(|| {
        let made = std::iter::once(make::every_verb()).chain(make::every_act());
        let made = made.map(|playbook| Scene { playbook, attack: Attack::Made(Class::ProcessCreation) });
        shipped::all().iter().flat_map(of_shipped).chain(made).collect()
    })
}

/// Those of which something can be taken back.
pub(super) fn undoable() -> impl Iterator<Item = &'static Scene> {
    scenes().iter().filter(|scene| scene.playbook.steps.iter().any(is_undoable))
}

/// Its cases, but for those that try no act which an earlier one has not tried.
fn of_shipped(shipped: &'static Shipped) -> Vec<Scene> {
    let (mut scenes, mut tried) = (Vec::new(), BTreeSet::new());
    for case in &shipped.cases {
        let scene = Scene { playbook: Arc::clone(&shipped.playbook), attack: Attack::Case(shipped, case) };
        let before = tried.len();
        tried.extend(scene.tried().into_iter().map(|step| step.id));
        scenes.extend((tried.len() > before).then_some(scene));
    }
    scenes
}

/// The verb of a step that acts.
pub(super) fn action_of(step: &Step) -> Option<&str> {
    if let StepKind::Action { action, .. } = &step.kind { Some(action.as_str()) } else { None }
}

pub(super) fn is_undoable(step: &Step) -> bool {
    action_of(step).is_some_and(world::is_undoable)
}

impl Scene {
    /// The same attack, answered by another.
    pub(super) fn with(&self, playbook: Arc<Playbook>) -> Self {
        Self { playbook, attack: self.attack }
    }

    pub(super) fn stage(&self) -> Stage {
        let mut stage = Stage::new(vec![Arc::clone(&self.playbook)], Rng::new(7));
        if let Attack::Case(shipped, case) = self.attack {
            stage.definitions.people = Arc::clone(&shipped.people);
            stage.said.clone_from(&case.answers);
        }
        stage.start();
        by_hand::die_at(None);
        stage
    }

    fn detection(&self, seen: Stamp) -> Detection {
        let rules = self.playbook.on.detections.as_ref().map(|filter| filter.rules.clone()).unwrap_or_default();
        let first = rules.first().map_or("rule", |rule| rule.as_str());
        match self.attack {
            Attack::Case(_, case) => {
                make::of_case(case, case.rule.as_ref().map_or(first, |rule| rule.as_str()), 1, seen)
            }
            Attack::Made(class) => make::about(first, 0, class, 1, seen, std::time::Duration::ZERO),
        }
    }

    /// Whoever saw it tells it again, until somebody has taken it.
    pub(super) fn attack(&self, stage: &mut Stage) -> Result<(), String> {
        let detection = self.detection(stage.now());
        loop {
            stage.start();
            if stage.alive(|life| life.core.detections([detection.clone()])).is_some() {
                return stage.settle();
            }
        }
    }

    pub(super) fn undo(&self, stage: &mut Stage) -> Option<Result<Json, Refusal>> {
        let run = only_run(stage);
        let request = Request::Undo { way: socket(), run, step: None, by: "ann".into(), why: "a drill".into() };
        stage.alive(|life| life.core.asked(request))
    }

    /// Steps that touch the world, with their lanes, that this attack comes to.
    pub(super) fn tried(&self) -> Vec<Step> {
        let mut stage = self.stage();
        self.attack(&mut stage).unwrap();
        let state = stage.world.state();
        let is_called =
            |step: &&Step| state.calls.iter().any(|call| call.key.split('/').nth(1) == Some(step.id.as_str()));
        self.playbook.steps.iter().filter(is_called).cloned().collect()
    }

    /// After a step has ended badly, what waited for a need that had not ended then never begins, save what runs whatever happened.
    pub(super) fn nothing_began_after(&self, step: &StepId, stage: &mut Stage, place: &str) {
        let run = only_run(stage);
        let (mut over, mut ended) = (false, BTreeSet::new());
        for record in &stage.records()[&StreamId::run(&run)] {
            match &record.body {
                Body::StepFinished(done) if !over => {
                    over = done.part.step == *step;
                    ended.extend(done.part.item.is_none().then(|| done.part.step.clone()));
                }
                Body::StepSkipped(skipped) if !over => drop(ended.insert(skipped.step.clone())),
                Body::StepIntended(intended) if over => {
                    let begun = self.playbook.step(&intended.part.step).unwrap();
                    let was_at_it = begun.needs.iter().all(|need| ended.contains(need) && need != step);
                    assert!(was_at_it || begun.when != When::Success, "{place}: {} began after it", begun.id);
                }
                _ => {}
            }
        }
        assert!(over, "{place}: it did not end");
    }

    pub(super) fn told(&self, what: &str) -> String {
        match self.attack {
            Attack::Case(_, case) => format!("`{}`, {}: {what}", self.playbook.name, case.name),
            Attack::Made(class) => format!("`{}`, {class}: {what}", self.playbook.name),
        }
    }
}

fn runs(stage: &Stage) -> Vec<RunId> {
    let life = stage.life.as_ref().expect("it lives");
    life.journal.streams().unwrap().into_iter().filter_map(|(stream, _)| stream.as_run()).collect()
}

pub(super) fn only_run(stage: &Stage) -> RunId {
    let runs = runs(stage);
    assert_eq!(runs.len(), 1, "one attack has one run: {runs:?}");
    runs[0].clone()
}

/// How it all ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    pub(super) parts: BTreeMap<Part, Outcome>,
    pub(super) state: Option<RunState>,
    pub(super) summary: String,
    /// What people were told.
    told: Vec<String>,
    /// What stands in the world, and what has a lease.
    pub(super) stands: BTreeMap<String, &'static str>,
    leased: BTreeSet<Part>,
    sent: BTreeMap<String, u32>,
}

/// After all has been held against the invariants.
pub(super) fn end(stage: &mut Stage, playbook: &Arc<Playbook>) -> Result<End, String> {
    Ok(end_if_any(stage, playbook)?.expect("the attack has a run"))
}

/// The same; none where a power cut has taken the attack with it, before it was on the disk.
pub(super) fn end_if_any(stage: &mut Stage, playbook: &Arc<Playbook>) -> Result<Option<End>, String> {
    let streams = check::at_the_end(stage, std::slice::from_ref(playbook))?;
    if runs(stage).is_empty() {
        return Ok(None);
    }
    let run = only_run(stage);
    let life = stage.life.as_ref().expect("it lives");
    let leased = life.core.leases.of(&run, None).into_iter().collect();
    let state = stage.world.state();
    let mut end = End {
        parts: BTreeMap::new(),
        state: None,
        summary: String::new(),
        told: Vec::new(),
        stands: state.stands.clone(),
        leased,
        sent: state.sent.clone(),
    };
    for record in &streams[&StreamId::run(&run)] {
        end.take(record);
    }
    end.told.sort();
    Ok(Some(end))
}

impl End {
    fn take(&mut self, record: &Record) {
        let whole = |step: &StepId| Part { step: step.clone(), item: None };
        match &record.body {
            Body::StepFinished(b) => {
                self.parts.insert(b.part.clone(), b.outcome);
                let told = b.output.get("told").map(|told| format!("{}: {told}", b.part));
                self.told.extend(told);
            }
            Body::StepSkipped(b) => drop(self.parts.insert(whole(&b.step), Outcome::Skipped)),
            Body::StepBlocked(b) => drop(self.parts.insert(whole(&b.step), b.outcome)),
            Body::RunFinished(b) => (self.state, self.summary) = (Some(b.state), b.summary.clone()),
            _ => {}
        }
    }

    /// Whether it is the end of the run that nobody disturbed. Of what may be done once at most, and was under way, nobody can say whether it was done:
    /// that is told as failed. Where `loose`, the world did not answer once, and what it was not asked about is as good as what it showed.
    pub(super) fn is_that_of(&self, undisturbed: &Self, playbook: &Playbook, loose: bool) -> Result<(), String> {
        self.has_the_same_parts(undisturbed, playbook, loose)?;
        let lost = self.lost(undisturbed, playbook);
        for (key, times) in &undisturbed.sent {
            let sent = self.sent.get(key).copied().unwrap_or_default();
            let step = key.split('/').nth(1).unwrap_or_default();
            let is_lost = lost.iter().any(|lost| lost.id.as_str() == step);
            same(&format!("what was sent of `{key}`"), &sent, if is_lost && sent == 0 { &0 } else { times })?;
        }
        same("what stands", &self.stands, &undisturbed.stands)?;
        same("what has a lease", &self.leased, &undisturbed.leased)
    }

    /// The same after a power cut: what only the machine held is over, and whether it was done again depends on the moment.
    pub(super) fn is_that_of_before_the_cut(&self, undisturbed: &Self, playbook: &Playbook) -> Result<(), String> {
        self.has_the_same_parts(undisturbed, playbook, false)?;
        let outlasts = |end: &Self| -> BTreeMap<String, &'static str> {
            let stands = end.stands.iter().filter(|(_, by)| !world::ends_with_power(by));
            stands.map(|(thing, by)| (thing.clone(), *by)).collect()
        };
        same("what outlasts a power cut", &outlasts(self), &outlasts(undisturbed))?;
        let more = self.stands.keys().find(|thing| !undisturbed.stands.contains_key(*thing));
        more.map_or(Ok(()), |thing| Err(format!("`{thing}` stands, and does not undisturbed")))
    }

    /// Each part's outcome; with them the run's state, its summary, and what people were told.
    fn has_the_same_parts(&self, undisturbed: &Self, playbook: &Playbook, loose: bool) -> Result<(), String> {
        let lost = self.lost(undisturbed, playbook);
        let parts = |end: &Self| -> BTreeMap<Part, Outcome> {
            let kept = end.parts.iter().filter(|(part, _)| lost.iter().all(|step| step.id != part.step));
            let as_good =
                |outcome: Outcome| if loose && outcome == Outcome::Done { Outcome::Verified } else { outcome };
            kept.map(|(part, outcome)| (part.clone(), as_good(*outcome))).collect()
        };
        same("how its parts ended", &parts(self), &parts(undisturbed))?;
        let fails = lost.iter().find(|step| step.on_failure != OnFailure::Continue);
        let was_bad = undisturbed.state != Some(RunState::Succeeded);
        let state = if fails.is_some() && !was_bad { Some(RunState::Failed) } else { undisturbed.state };
        same("its state", &self.state, &state)?;
        if self.parts == undisturbed.parts {
            same("its summary", &self.summary, &undisturbed.summary)?;
            return same("what people were told", &self.told, &undisturbed.told);
        }
        // Other words for other ends, in as many sentences.
        same("how often people were told", &self.told.len(), &undisturbed.told.len())?;
        match fails.filter(|_| !was_bad) {
            Some(step) if !self.summary.contains(&format!("`{}", step.id)) => {
                Err(format!("its summary does not name `{}`: {}", step.id, self.summary))
            }
            _ => Ok(()),
        }
    }

    /// Steps that may be done once at most, of which nobody could say whether they were.
    fn lost<'p>(&self, undisturbed: &Self, playbook: &'p Playbook) -> Vec<&'p Step> {
        let once = playbook.steps.iter().filter(|step| action_of(step).is_some_and(world::is_once));
        let part = |step: &Step| Part { step: step.id.clone(), item: None };
        let is_lost = |step: &&Step| {
            let (now, then) = (self.parts.get(&part(step)), undisturbed.parts.get(&part(step)));
            now == Some(&Outcome::Failed) && now != then
        };
        once.filter(is_lost).collect()
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, was: &T) -> Result<(), String> {
    if is == was { Ok(()) } else { Err(format!("{what}: {is:?}\nundisturbed: {was:?}")) }
}

#[test]
fn each_act_of_each_playbook_that_ships_and_each_verb_is_tried() {
    let tried = |scene: &Scene| -> Vec<(String, StepId)> {
        scene.tried().into_iter().map(|step| (scene.playbook.name.to_string(), step.id)).collect()
    };
    let tried: BTreeSet<(String, StepId)> = scenes().iter().flat_map(tried).collect();
    let all = shipped::playbooks().into_iter().chain(make::every_act());
    for playbook in all {
        for step in playbook.steps.iter().filter(|step| action_of(step).is_some_and(world::acts)) {
            assert!(tried.contains(&(playbook.name.to_string(), step.id.clone())), "`{}/{}`", playbook.name, step.id);
        }
    }
}
