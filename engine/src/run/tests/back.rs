//! What a run did is taken back: in order, proved, at the end of a lease or because a person wants it; and what cannot be
//! is told as stuck.

mod attempts;
mod bait;
mod boots;
mod bounds;
mod breaker;
mod bundles;
mod by_hand;
mod escalate;
mod hangs;
mod holds;
mod incidents;
mod items;
mod joined;
mod ladder;
mod leases;
mod pace;
mod parts;
mod promote;
mod questions;
mod remembered;
mod silences;
mod suspicion;
mod undo_admitted;
mod unknown;
mod warm_up;

use super::*;
use crate::clock::SimulatedClock;
use crate::run::fixtures::socket;
use quell_model::playbook::{AtEnd, Lease, OnFailure};
use std::collections::{BTreeMap, BTreeSet};

const HOUR: Duration = Duration::from_secs(3600);

/// A world of things that stand or do not.
#[derive(Default)]
struct Things {
    stand: Mutex<BTreeSet<String>>,
    /// What was done and taken back, in order.
    said: Mutex<Vec<String>>,
    /// These cannot be taken back.
    firm: Mutex<BTreeSet<String>>,
    /// Under which keys.
    keys: Mutex<Vec<String>>,
    /// So many attempts to take something back fail first.
    busy: AtomicU32,
    /// So many attempts to set `later` fail first.
    early: AtomicU32,
    /// What ends by itself, each with its moment on the boot clock.
    fading: Mutex<BTreeMap<String, u64>>,
    /// How often the machine was booted: what fades lies elsewhere then.
    boots: AtomicU32,
}

impl Things {
    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }

    fn stand(&self) -> Vec<String> {
        self.stand.lock().unwrap().iter().cloned().collect()
    }
}

struct Sets(&'static ActionSpec, Arc<Things>);

#[async_trait::async_trait]
impl Action for Sets {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        let id = input["process"].as_str().unwrap_or("x").to_owned();
        let target = Target {
            node: "n".into(),
            kind: "thing".into(),
            label: id.clone(),
            id,
            named: true,
            facts: TargetFacts::Other,
        };
        Ok(Plan { targets: vec![target], ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.1.keys.lock().unwrap().push(cx.key.0.clone());
        let id = go.plan().targets[0].id.clone();
        if id == "fails" {
            return Err(ActionError::give_up("it does not work"));
        }
        if id == "later" && self.1.early.load(Ordering::SeqCst) > 0 {
            self.1.early.fetch_sub(1, Ordering::SeqCst);
            return Err(ActionError::retry("it is too early"));
        }
        self.1.said.lock().unwrap().push(format!("+{id}"));
        self.1.stand.lock().unwrap().insert(id.clone());
        if id == "half" { Err(ActionError::give_up("it is done in part")) } else { Ok(json!({})) }
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let stands = self.1.stand.lock().unwrap().contains(&plan.targets[0].id);
        let holds = stands == (want == Want::Acted);
        Ok(if holds { Truth::Holds } else { Truth::HoldsNot("it is otherwise".into()) })
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.1.keys.lock().unwrap().push(cx.key.0.clone());
        let id = go.plan().targets[0].id.clone();
        if self.1.firm.lock().unwrap().contains(&id) {
            return Err(ActionError::give_up("it does not move"));
        }
        if self.1.busy.load(Ordering::SeqCst) > 0 {
            self.1.busy.fetch_sub(1, Ordering::SeqCst);
            return Err(ActionError::retry("it is busy"));
        }
        self.1.said.lock().unwrap().push(format!("-{id}"));
        if id == SHARED {
            return Ok(json!({ "still": "it stands all the same, by run r-other" }));
        }
        self.1.stand.lock().unwrap().remove(&id);
        Ok(json!({}))
    }

    async fn verify_undone(&self, plan: &Plan, _: &ActionContext) -> Result<Truth, ActionError> {
        if plan.targets[0].id == SHARED && self.1.said.lock().unwrap().iter().any(|said| said == "-shared") {
            return Ok(Truth::Holds);
        }
        self.verify(plan, Want::Undone).await
    }
}

/// A thing that another wants too: it stands on.
const SHARED: &str = "shared";

/// Ends a thing for good.
struct Ends(&'static ActionSpec, Arc<Things>);

#[async_trait::async_trait]
impl Action for Ends {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn plan(&self, _: &Json) -> Result<Plan, ActionError> {
        Ok(Plan::default())
    }

    async fn run(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        self.1.stand.lock().unwrap().clear();
        Ok(json!({}))
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::Holds)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("has no undo"))
    }
}

/// A stage whose verbs set and remove things, on a clock that the test moves.
struct Yard {
    stage: Stage,
    clock: Arc<SimulatedClock>,
    things: Arc<Things>,
    playbook: Playbook,
}

impl Yard {
    fn new(mut playbook: Playbook) -> Self {
        playbook.text = "pinned".into();
        let clock = Arc::new(SimulatedClock::new(SystemClock.now()));
        Self::on(tempfile::tempdir().unwrap(), playbook, clock, Arc::default(), "b")
    }

    fn on(
        dir: tempfile::TempDir,
        playbook: Playbook,
        clock: Arc<SimulatedClock>,
        things: Arc<Things>,
        boot: &str,
    ) -> Self {
        let definitions = definitions(playbook.clone());
        Self::with(dir, playbook, definitions, clock, things, boot)
    }

    fn with(
        dir: tempfile::TempDir,
        playbook: Playbook,
        definitions: Definitions,
        clock: Arc<SimulatedClock>,
        things: Arc<Things>,
        boot: &str,
    ) -> Self {
        Self::crewed(dir, playbook, definitions, (clock, things), boot, None)
    }

    fn crewed(
        dir: tempfile::TempDir,
        playbook: Playbook,
        definitions: Definitions,
        (clock, things): (Arc<SimulatedClock>, Arc<Things>),
        boot: &str,
        crew: Option<Crew<Sandbox>>,
    ) -> Self {
        let mut stage = stage_in(dir, World::default(), definitions);
        let spec = |name, lane| {
            let plain = spec(name, lane, Guarantee::ExactlyOnceInEffect);
            &*Box::leak(Box::new(ActionSpec { undoable: true, ..plain.clone() }))
        };
        let verbs = [spec("process.freeze", Lane::Contain), spec("cloud.cut", Lane::Cloud)];
        let mut verbs: Vec<Verb> = verbs.map(|spec| Verb::Acts(Arc::new(Sets(spec, Arc::clone(&things))))).into();
        let kill = self::spec("process.kill", Lane::Contain, Guarantee::ExactlyOnceInEffect);
        verbs.push(Verb::Acts(Arc::new(Ends(kill, Arc::clone(&things)))));
        let block = spec("kernel.block", Lane::Contain);
        let once = self::spec("page.once", Lane::Notify, Guarantee::AtMostOnce);
        verbs.push(Verb::Acts(Arc::new(unknown::Once(once))));
        verbs.push(Verb::Acts(Arc::new(holds::Fades(block, Arc::clone(&things), clock.clone()))));
        stage.core.parts.crew = crew.unwrap_or_else(|| Crew::new(verbs));
        stage.core.parts.clock = clock.clone();
        stage.core.parts.boot = process::BootId(boot.into());
        let pinned = playbook.clone();
        let read = move |_: &std::path::Path, text: &str| (text == "pinned").then(|| pinned.clone());
        stage.core.recover(Arc::new(read)).unwrap();
        Self { stage, clock, things, playbook }
    }

    /// As a crash leaves it, and an engine that starts on it, in this boot or the next.
    fn again(self, boot: &str) -> Self {
        let Self { stage, clock, things, playbook } = self;
        let Stage { core, journal, dir, .. } = stage;
        drop(core);
        journal.close();
        Self::on(dir, playbook, clock, things, boot)
    }

    fn attack(&mut self, number: u32) -> RunId {
        self.attack_by("7", number)
    }

    fn attack_by(&mut self, subject: &str, number: u32) -> RunId {
        let mut attack = detection(subject, number);
        Arc::make_mut(&mut attack.event).head.at = self.clock.now();
        attack.at = self.clock.now();
        let before = self.stage.runs();
        self.stage.core.detections([attack]);
        self.stage.settle();
        let runs = self.stage.runs();
        let new = runs.iter().find(|run| !before.contains(run));
        new.or(runs.last()).unwrap().clone()
    }

    /// Moves the clock, and lets everything happen that waits for it.
    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.stage.settle();
    }

    fn ask(&mut self, request: Request) -> Result<Json, Refusal> {
        let done = self.stage.core.serve(request);
        if done.is_ok() && !self.stage.core.paused {
            self.stage.settle();
        }
        done
    }

    fn undo(&mut self, run: &RunId, step: Option<&str>) -> Result<Json, Refusal> {
        let step = step.map(StepId::from);
        self.ask(Request::Undo { way: socket(), run: run.clone(), step, by: "ann".into(), why: "a drill".into() })
    }

    fn end_of(&self, run: &RunId) -> String {
        self.stage.story(run).pop().unwrap()
    }

    /// The states that a run's leases went through.
    fn leases(&self, run: &RunId) -> Vec<String> {
        let records = self.stage.journal.read(&StreamId::run(run), 1).unwrap();
        let state = |record: &Record| match &record.body {
            Body::LeaseGranted(_) => Some("granted".to_owned()),
            Body::LeaseChanged(changed) => Some(changed.state.to_string()),
            _ => None,
        };
        records.iter().filter_map(state).collect()
    }

    fn notes(&self) -> Vec<String> {
        let streams = self.stage.journal.streams().unwrap();
        let incidents = streams.into_iter().filter(|(stream, _)| stream.as_incident().is_some());
        let records = incidents.flat_map(|(stream, _)| self.stage.journal.read(&stream, 1).unwrap());
        let note = |record: Record| if let Body::NoteAdded(note) = record.body { Some(note.text) } else { None };
        records.filter_map(note).collect()
    }
}

fn sets(id: &str, needs: &[&str], action: &str, what: &str) -> Step {
    let kind = StepKind::Action { action: action.into(), with: json!({ "process": what }) };
    Step { kind, ..step(id, needs) }
}

fn with_lease(step: Step, lasts: Duration, at_end: AtEnd) -> Step {
    Step { lease: Some(Lease { lasts, at_end }), ..step }
}

/// first ─▶ left, right ─▶ last; `right` in the cloud's lane.
fn diamond() -> Playbook {
    playbook_of(vec![
        sets("first", &[], "process.freeze", "a"),
        sets("left", &["first"], "process.freeze", "b"),
        sets("right", &["first"], "cloud.cut", "c"),
        sets("last", &["left", "right"], "process.freeze", "d"),
    ])
}

#[test]
fn all_of_it_is_taken_back_in_the_reverse_order_of_the_dag() {
    let mut yard = Yard::new(diamond());
    let run = yard.attack(1);
    assert_eq!(yard.things.said().len(), 4);
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    yard.undo(&run, None).unwrap();
    let mut said = yard.things.said();
    said[1..3].sort();
    assert_eq!(said, ["-d", "-b", "-c", "-a"]);
    assert_eq!(yard.end_of(&run), "RunFinished undone");
    assert!(yard.things.stand().is_empty());
    // Repeated, it is refused and nothing happens.
    let again = yard.undo(&run, None).unwrap_err();
    assert!(again.to_string().contains("nothing that run"), "{again}");
    assert!(yard.things.said().is_empty());
    assert!(matches!(yard.undo(&"r-none".into(), None), Err(Refusal::NotFound { .. })));
}

#[test]
fn one_step_is_taken_back_and_the_others_stand() {
    let mut yard = Yard::new(diamond());
    let run = yard.attack(1);
    yard.undo(&run, Some("right")).unwrap();
    assert_eq!(yard.things.stand(), ["a", "b", "d"]);
    assert_eq!(yard.end_of(&run), "RunFinished succeeded", "it ended as it had; the rest stands");
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty());
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

#[test]
fn a_bad_end_takes_back_what_the_run_did() {
    let mut playbook = diamond();
    playbook.steps.push(Step { on_failure: OnFailure::Undo, ..sets("more", &["last"], "process.freeze", "fails") });
    playbook.steps.push(Step { when: quell_model::playbook::When::Always, ..step("report", &["more"]) });
    let mut yard = Yard::new(playbook);
    let run = yard.attack(1);
    assert!(yard.things.stand().is_empty(), "{:?}", yard.things.said());
    let story = yard.stage.story(&run);
    assert_eq!(story.last().unwrap(), "RunFinished undone");
    let at = |what: &str| story.iter().position(|line| line == what).unwrap();
    assert!(at("StepFinished report done") < at("UndoIntended"), "what is told always is told first: {story:?}");
}

#[test]
fn what_cannot_be_taken_back_is_stuck_and_told_and_may_be_tried_again() {
    let mut yard = Yard::new(diamond());
    yard.things.firm.lock().unwrap().insert("b".into());
    let run = yard.attack(1);
    yard.undo(&run, None).unwrap();
    assert_eq!(yard.things.stand(), ["b"], "it holds nothing else up");
    assert_eq!(yard.end_of(&run), "RunFinished stuck");
    assert!(yard.notes().iter().any(|note| note.contains("could not be taken back")), "{:?}", yard.notes());
    yard.things.firm.lock().unwrap().clear();
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty());
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

#[test]
fn a_busy_world_is_tried_again() {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
    yard.things.busy.store(2, Ordering::SeqCst);
    let run = yard.attack(1);
    let before = yard.stage.core.serve(Request::Undo {
        way: socket(),
        run: run.clone(),
        step: None,
        by: "ann".into(),
        why: String::new(),
    });
    before.unwrap();
    for _ in 0..2 {
        assert!(!yard.stage.core.is_idle());
        yard.clock.advance(Duration::from_secs(60));
        yard.stage.core.turn();
    }
    assert!(yard.things.stand().is_empty());
    assert_eq!(yard.end_of(&run), "RunFinished undone");
    assert_eq!(yard.stage.story(&run).iter().filter(|line| *line == "UndoFailed").count(), 2);
}

#[test]
fn what_stands_for_anothers_sake_is_taken_back_and_that_it_stands_is_said() {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", SHARED)]));
    let run = yard.attack(1);
    yard.undo(&run, None).unwrap();
    assert_eq!((yard.end_of(&run).as_str(), yard.things.stand()), ("RunFinished undone", vec![SHARED.to_owned()]));
    let records = yard.stage.journal.read(&StreamId::run(&run), 1).unwrap();
    let proof = records.into_iter().find_map(|record| match record.body {
        Body::UndoFinished(finished) => Some(finished.proof),
        _ => None,
    });
    assert!(
        proof.as_deref().is_some_and(|proof| proof.ends_with("; it stands all the same, by run r-other")),
        "{proof:?}"
    );
}

#[test]
fn what_stands_no_more_is_not_undone_a_second_time() {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
    let run = yard.attack(1);
    yard.things.stand.lock().unwrap().clear();
    yard.things.said();
    yard.undo(&run, None).unwrap();
    assert!(yard.things.said().is_empty(), "the world was asked first");
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

/// Tried again after hours.
fn patient(step: Step) -> Step {
    let wait = Duration::from_secs(4 * 3600);
    Step {
        retry: quell_model::playbook::Retry { attempts: 3, backoff: wait, backoff_most: wait },
        deadline: None,
        ..step
    }
}

#[test]
fn once_it_is_to_be_taken_back_nothing_of_it_acts_any_more() {
    let steps =
        vec![sets("first", &[], "process.freeze", "a"), patient(sets("next", &["first"], "process.freeze", "later"))];
    let mut yard = Yard::new(playbook_of(steps));
    yard.things.early.store(1, Ordering::SeqCst);
    let run = yard.attack_that_waits();
    assert!(!yard.stage.core.is_idle());
    yard.undo(&run, None).unwrap();
    yard.pass(12 * HOUR);
    assert_eq!(yard.things.said(), ["+a", "-a"]);
    assert_eq!(yard.end_of(&run), "RunFinished undone");
    assert!(yard.stage.story(&run).contains(&"StepBlocked".to_owned()));
}

#[test]
fn what_was_done_in_part_is_taken_back_too() {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "half")]));
    let run = yard.attack(1);
    assert_eq!(yard.end_of(&run), "RunFinished failed");
    assert_eq!(yard.things.stand(), ["half"]);
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty());
    // And of what was not done at all nothing is left to be asked about.
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "fails")]));
    let run = yard.attack(1);
    assert_eq!(yard.leases(&run), ["granted", "lapsed"]);
}

#[test]
fn a_lease_that_ends_while_its_run_goes_on_stops_nothing_of_it() {
    let each = quell_model::playbook::ForEach {
        list: Expression { text: r#"["a", "later"]"#.into(), span: Default::default() },
        max_parallel: 1,
        errors: quell_model::playbook::ItemErrors::Stop,
    };
    let step = patient(with_lease(sets("each", &[], "process.freeze", "${{ item }}"), HOUR / 60, AtEnd::Undo));
    let after = sets("after", &["each"], "process.freeze", "c");
    let mut yard = Yard::new(playbook_of(vec![Step { for_each: Some(each), ..step }, after]));
    yard.things.early.store(1, Ordering::SeqCst);
    let run = yard.attack_that_waits();
    yard.clock.advance(HOUR / 30);
    yard.stage.core.turn();
    assert!(yard.things.stand().is_empty(), "its lease is over");
    let end = SystemClock.now().after(Duration::from_secs(20));
    while !yard.stage.core.is_idle() {
        assert!(SystemClock.now() < end, "{:?}", yard.stage.story(&run));
        yard.clock.advance(HOUR);
        yard.stage.core.turn();
    }
    assert!(yard.things.said().contains(&"+later".to_owned()) && yard.things.stand().contains(&"c".to_owned()));
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
}

#[test]
fn what_is_stuck_is_not_tried_again_by_itself() {
    let mut yard = Yard::new(playbook_of(vec![with_lease(
        sets("one", &[], "process.freeze", "${{ event.process.id }}"),
        HOUR,
        AtEnd::Undo,
    )]));
    let run = yard.attack(1);
    let firm = yard.things.stand();
    yard.things.firm.lock().unwrap().extend(firm);
    yard.pass(2 * HOUR);
    assert_eq!(yard.end_of(&run), "RunFinished stuck");
    for subject in ["8", "9", "10"] {
        let mut attack = detection(subject, 1);
        Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
        yard.stage.core.detections([attack]);
        yard.stage.settle();
    }
    let began = yard.stage.story(&run).iter().filter(|line| *line == "UndoBegan").count();
    assert_eq!(began, 1, "a person has to say");
    assert!(yard.leases(&run).contains(&"due".to_owned()));
}
