//! Goal: what a playbook says about time holds: how long a step has, how long it waits before it tries again, how long a person has.
//! Method: verbs that take as long as the test says and that say when they are to be asked again, on a clock that the test moves.

use super::items::each;
use super::questions::{QUARTER, asks_first};
use super::*;
use crate::run::conclude::backoff;
use crate::run::fixtures::socket;
use quell_model::playbook::{ItemErrors, Retry};
use quell_model::record::QuestionKind;

const MINUTE: Duration = Duration::from_secs(60);

/// Sets things, each in its time, and is busy first.
struct Slow {
    spec: &'static ActionSpec,
    clock: Arc<SimulatedClock>,
    takes: Duration,
    /// So many calls are told to come again, after so long.
    busy: AtomicU32,
    after: Duration,
    did: Mutex<Vec<String>>,
    stand: Mutex<BTreeSet<String>>,
}

impl Slow {
    fn call(&self, go: &Admitted) -> Result<Json, ActionError> {
        self.clock.advance(self.takes);
        if self.busy.load(Ordering::SeqCst) > 0 {
            self.busy.fetch_sub(1, Ordering::SeqCst);
            return Err(ActionError::Retry { after: Some(self.after), why: "come again".into() });
        }
        self.did.lock().unwrap().push(go.plan().targets[0].id.clone());
        Ok(json!({}))
    }
}

#[async_trait::async_trait]
impl Action for Slow {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        let id = input["process"].as_str().unwrap_or("x").to_owned();
        let facts = TargetFacts::Other;
        let target = Target { node: "n".into(), kind: "thing".into(), label: id.clone(), id, named: true, facts };
        Ok(Plan { targets: vec![target], ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let done = self.call(go)?;
        self.stand.lock().unwrap().insert(go.plan().targets[0].id.clone());
        Ok(done)
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let stands = self.stand.lock().unwrap().contains(&plan.targets[0].id);
        Ok(if stands == (want == Want::Acted) { Truth::Holds } else { Truth::HoldsNot("it is otherwise".into()) })
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let done = self.call(go)?;
        self.stand.lock().unwrap().remove(&go.plan().targets[0].id);
        Ok(done)
    }
}

/// A yard whose one verb, `cloud.cut`, is a slow one.
fn slow(playbook: Playbook, takes: Duration, (busy, after): (u32, Duration)) -> (Yard, Arc<Slow>) {
    let mut yard = Yard::new(playbook);
    let plain = spec("cloud.cut", Lane::Contain, Guarantee::ExactlyOnceInEffect);
    let spec = &*Box::leak(Box::new(ActionSpec { undoable: true, ..plain.clone() }));
    let (clock, busy) = (Arc::clone(&yard.clock), AtomicU32::new(busy));
    let verb = Arc::new(Slow { spec, clock, takes, busy, after, did: Mutex::default(), stand: Mutex::default() });
    yard.stage.core.parts.crew = Crew::new(vec![Verb::Acts(verb.clone())]);
    (yard, verb)
}

impl Yard {
    /// An attack, and its run up to this line of its story.
    fn begins(&mut self, number: u32, line: &str) -> RunId {
        self.stage.core.detections([detection("7", number)]);
        self.stage.until(|stage| stage.runs().iter().any(|run| stage.story(run).contains(&line.to_owned())));
        self.stage.runs().remove(0)
    }

    /// Moves the clock, where something goes on to wait.
    fn turns(&mut self, time: Duration) {
        self.clock.advance(time);
        (0..3).for_each(|_| self.stage.core.turn());
    }
}

fn five_in_a_minute() -> Step {
    let cut = sets("cut", &[], "cloud.cut", "${{ item }}");
    let mut cut = each(cut, r#"["a", "b", "c", "d", "e"]"#, ItemErrors::Collect);
    (cut.deadline, cut.timeout) = (Some(MINUTE), MINUTE / 2);
    cut.for_each.as_mut().unwrap().max_parallel = 1;
    cut
}

fn proof(yard: &Yard, run: &RunId) -> String {
    let ends = yard.records(run, |body| match body {
        Body::StepFinished(done) if done.part.item == Some(4) => Some(done.proof.clone()),
        _ => None,
    });
    ends.concat()
}

/// Five of 25 seconds each do not fit a minute: two end in it, and the third ends it.
#[test]
fn the_items_of_a_list_have_one_deadline_between_them() {
    let (mut yard, verb) = slow(playbook_of(vec![five_in_a_minute()]), Duration::from_secs(25), (0, MINUTE));
    let run = yard.attack(1);
    assert_eq!(*verb.did.lock().unwrap(), ["a", "b", "c"]);
    assert!(proof(&yard, &run).contains("its step's `deadline` was over"), "{}", proof(&yard, &run));
    assert_eq!(yard.end_of(&run), "RunFinished failed");
    // Tried again it has its time again, for what is left.
    yard.ask(Request::Retry { run: run.clone(), from: None, by: "ann".into(), why: String::new() }).unwrap();
    assert_eq!(*verb.did.lock().unwrap(), ["a", "b", "c", "d", "e"]);
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
}

/// An hour of thinking is none of the step's minute; the work is.
#[test]
fn the_time_that_people_take_over_items_is_none_of_the_steps() {
    let mut cut = asks_first(five_in_a_minute());
    cut.approve.as_mut().unwrap().within = quell_model::playbook::Within(2 * HOUR);
    let (mut yard, verb) = slow(playbook_of(vec![cut]), Duration::from_secs(25), (0, MINUTE));
    yard.stage.core.definitions.people = super::questions::people(1);
    let run = yard.attack(1);
    yard.pass(HOUR);
    yard.says(&run, "cut", "approve", "ana").unwrap();
    assert_eq!(*verb.did.lock().unwrap(), ["a", "b", "c"]);
    assert!(proof(&yard, &run).contains("its step's `deadline` was over"), "{}", proof(&yard, &run));
    assert_eq!(yard.stage.core.open_questions(), 0);
}

/// An hour of thinking about five at once is one hour.
#[test]
fn what_people_think_about_at_once_counts_once() {
    let mut cut = asks_first(five_in_a_minute());
    cut.approve.as_mut().unwrap().within = quell_model::playbook::Within(2 * HOUR);
    cut.for_each.as_mut().unwrap().max_parallel = 5;
    let (mut yard, _) = slow(playbook_of(vec![cut]), Duration::ZERO, (0, MINUTE));
    yard.stage.core.definitions.people = super::questions::people(2);
    let run = yard.attack(1);
    let counts_from = |yard: &Yard, earliest: Option<Stamp>| {
        yard.stage.core.runs[&run].run.counts_from(&"cut".into(), earliest, yard.clock.now()).unwrap()
    };
    let first = yard.clock.now();
    let took = |yard: &Yard| counts_from(yard, None).since(first);
    yard.says(&run, "cut", "approve", "lead").unwrap();
    // Whoever was asked first may answer last.
    for item in [4, 2, 0] {
        yard.pass(MINUTE);
        yard.says_of(&run, "cut", item, "approve", "ana").unwrap();
        yard.stage.core.ink.commit();
    }
    assert_eq!(took(&yard), 3 * MINUTE);
    yard.pass(MINUTE);
    assert_eq!(took(&yard), 4 * MINUTE, "two are asked about yet");
    // An engine that has started since gives it none of the time from before.
    let started = first.after(5 * MINUTE / 2);
    assert_eq!(counts_from(&yard, Some(started)).since(started), 3 * MINUTE / 2);
}

#[test]
fn what_says_when_to_come_again_is_not_asked_before_either_way() {
    let mut cut = sets("cut", &[], "cloud.cut", "a");
    cut.retry = Retry { attempts: 3, backoff: Duration::from_millis(10), backoff_most: Duration::from_millis(50) };
    let (mut yard, verb) = slow(playbook_of(vec![cut]), Duration::ZERO, (1, 40 * MINUTE));
    let run = yard.begins(1, "StepFailed");
    let again = |yard: &Yard| {
        let at = |body: &Body| match body {
            Body::StepFailed(failed) => failed.again_at.map(|at| at.since(yard.clock.now())),
            Body::UndoFailed(failed) => Some(failed.again_at.since(yard.clock.now())),
            _ => None,
        };
        yard.records(&run, at).last().copied()
    };
    assert_eq!(again(&yard), Some(40 * MINUTE));
    yard.turns(39 * MINUTE);
    assert_eq!(verb.did.lock().unwrap().len(), 0);
    yard.pass(MINUTE);
    assert_eq!(verb.did.lock().unwrap().len(), 1);
    verb.busy.store(1, Ordering::SeqCst);
    let undo = Request::Undo { run: run.clone(), step: None, by: "ann".into(), why: "a drill".into(), way: socket() };
    yard.stage.core.serve(undo).unwrap();
    yard.stage.until(|stage| stage.story(&run).contains(&"UndoFailed".to_owned()));
    assert_eq!(again(&yard), Some(40 * MINUTE));
    yard.turns(39 * MINUTE);
    assert_eq!(verb.did.lock().unwrap().len(), 1);
    yard.pass(MINUTE);
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

/// Each bound is twice the one before, up to the most; below it each moment is as likely as another, and the same each time.
#[test]
fn what_is_tried_again_waits_longer_each_time_and_runs_do_not_wait_alike() {
    let retry = Retry { attempts: 9, backoff: Duration::from_millis(200), backoff_most: Duration::from_secs(2) };
    let part = record::Part { step: "cut".into(), item: None };
    for (attempt, bound) in [(1, 200), (2, 400), (3, 800), (4, 1600), (5, 2000), (40, 2000)] {
        let wait = |run: u32| backoff(retry, &format!("r-{run}").into(), &part, attempt).as_secs_f64() * 1000.0;
        let waits: Vec<f64> = (0..1000).map(wait).collect();
        assert_eq!(waits, (0..1000).map(wait).collect::<Vec<_>>());
        let most = waits.iter().copied().fold(0.0, f64::max);
        let least = waits.iter().copied().fold(f64::MAX, f64::min);
        let (mean, bound) = (waits.iter().sum::<f64>() / 1000.0, f64::from(bound));
        assert!(most <= bound && most > 0.95 * bound && least < 0.05 * bound, "{attempt}: {least} to {most}");
        assert!((0.45..0.55).contains(&(mean / bound)), "{attempt}: {mean} of {bound}");
    }
}

/// Nobody has to write a block for a person to be asked.
#[test]
fn in_mode_approve_a_person_has_a_quarter_of_an_hour_and_silence_is_a_no() {
    let playbook = playbook_of(vec![sets("cut", &[], "cloud.cut", "a")]);
    let mut yard = Yard::new(Playbook { mode: Mode::Approve, ..playbook });
    let run = yard.attack(1);
    assert_eq!(yard.stage.core.open_questions(), 1);
    yard.pass(QUARTER - Duration::from_secs(1));
    assert_eq!(yard.stage.core.open_questions(), 1);
    yard.pass(Duration::from_secs(1));
    assert_eq!(yard.stage.core.open_questions(), 0);
    assert!(yard.things.stand().is_empty());
    assert!(yard.stage.story(&run).contains(&"StepFinished cut denied".to_owned()));
}

/// Two that ask at once are named; nobody's word for the one counts for the other.
#[test]
fn two_approvals_of_a_run_never_cross() {
    let one = asks_first(sets("one", &[], "cloud.cut", "a"));
    let two = asks_first(sets("two", &[], "cloud.cut", "b"));
    let mut yard = Yard::new(playbook_of(vec![one, two]));
    yard.stage.core.definitions.people = super::questions::people(1);
    let run = yard.attack(1);
    let refused = yard.says(&run, "", "approve", "ana").unwrap_err().to_string();
    let both = format!("asks more than one thing: {run}/one, {run}/two");
    assert!(refused.contains(&both), "{refused}");
    assert_eq!((yard.stage.core.open_questions(), yard.things.stand().len()), (2, 0));
    yard.says(&run, "two", "approve", "ana").unwrap();
    assert_eq!(yard.things.stand(), ["b"]);
    // Now one is left, and need not be named.
    let asked = yard.records(&run, |body| match body {
        Body::QuestionAsked(asked) if asked.question == QuestionKind::Approve => Some(asked.sum),
        _ => None,
    });
    assert_ne!(asked[0], asked[1], "each is bound to a plan of its own");
    yard.says(&run, "", "deny", "ana").unwrap();
    assert_eq!(yard.things.stand(), ["b"]);
}

/// A step at work or waiting for its next attempt when another says `halt` is seen to its end; nothing new begins.
#[test]
fn after_a_halt_what_runs_finishes() {
    let mut later = sets("later", &[], "process.freeze", "later");
    later.retry = Retry { attempts: 2, backoff: MINUTE, backoff_most: MINUTE };
    let fails = Step { on_failure: OnFailure::Halt, ..sets("fails", &[], "process.freeze", "fails") };
    let mut yard = Yard::new(playbook_of(vec![later, fails, sets("after", &["later"], "process.freeze", "c")]));
    yard.things.early.store(1, Ordering::SeqCst);
    let run = yard.begins(1, "StepFinished fails failed");
    assert_eq!(yard.things.stand(), Vec::<String>::new());
    yard.pass(MINUTE);
    let story = yard.stage.story(&run);
    assert!(story.contains(&"StepFinished later verified".to_owned()), "{story:?}");
    assert_eq!(yard.things.stand(), ["later"], "{story:?}");
    assert_eq!(yard.end_of(&run), "RunFinished failed");
}

/// Of several events, what a playbook looks at are all of them, and the last is `event`.
#[test]
fn a_playbook_reads_every_event_of_a_correlation() {
    let which = "${{ detection.events.map(|e| e.process.id).reduce(|all, one| if all == () { one } else { all + \" \" + one }) }}";
    let mut yard = Yard::new(playbook_of(vec![sets("cut", &[], "process.freeze", which)]));
    let mut attack = detection("9", 3);
    attack.events =
        ["7", "8"].map(|who| detection(who, 1).event).into_iter().chain([Arc::clone(&attack.event)]).collect();
    yard.stage.core.detections([attack]);
    yard.stage.settle();
    assert_eq!(yard.things.stand(), ["7.5.1@b 8.5.1@b 9.5.1@b"]);
}
