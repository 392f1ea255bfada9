//! Goal: what was asked, paused, cancelled or timed holds at the act, and afterwards. Method: something changes between the
//! question or the intent and the act.

use super::questions::{QUARTER, ask, asks_first, confirmed, people, why};
use super::*;
use quell_model::playbook::{Approve, Retry, StepKind, SubPlaybook, Unanswered, Within};

fn silence_acts() -> Playbook {
    let mut cut = sets("cut", &[], "cloud.cut", "later");
    cut.approve = Some(Approve { by: None, within: Within(QUARTER), otherwise: Unanswered::Run });
    cut.retry = Retry { attempts: 2, backoff: Duration::from_secs(1), backoff_most: Duration::from_secs(1) };
    playbook_of(vec![cut])
}

/// A person opens the breaker, or sets a stricter mode, while the question waits.
#[test]
fn silence_that_was_a_yes_is_none_once_something_else_wants_the_question() {
    let opens = |yard: &mut Yard| {
        let (playbook, why) = ("test".into(), String::new());
        drop(yard.ask(Request::Breaker { playbook, open: true, by: "ann".into(), why }).unwrap());
    };
    let stricter = |yard: &mut Yard| yard.stage.core.definitions.ceiling = Mode::Approve;
    let nothing = |_: &mut Yard| ();
    let meanwhile: [&dyn Fn(&mut Yard); 3] = [&opens, &stricter, &nothing];
    for (at, (meanwhile, acts)) in meanwhile.into_iter().zip([false, false, true]).enumerate() {
        let mut yard = Yard::new(silence_acts());
        let run = yard.attack(1);
        meanwhile(&mut yard);
        yard.pass(QUARTER);
        assert_eq!(yard.answers(&run)[0].by, None);
        assert_eq!(yard.things.said().len(), usize::from(acts), "{at}");
        let end = if acts { "StepFinished cut verified" } else { "StepFinished cut denied" };
        assert!(yard.stage.story(&run).contains(&end.to_owned()), "{at}: {:?}", yard.stage.story(&run));
    }
}

#[test]
fn what_acts_by_silence_is_tried_again_without_a_second_question() {
    let mut yard = Yard::new(silence_acts());
    yard.things.early.store(1, Ordering::SeqCst);
    let run = yard.attack(1);
    yard.clock.advance(QUARTER);
    yard.stage.until(|stage| stage.story(&run).contains(&"StepFailed".to_owned()));
    yard.pass(Duration::from_secs(2));
    assert_eq!(yard.asked(&run).len(), 1);
    assert_eq!(yard.things.said(), ["+later"]);
}

#[test]
fn a_pause_holds_what_waits_for_the_disk() {
    let mut yard = Yard::new(playbook_of(vec![sets("cut", &[], "cloud.cut", "a")]));
    let mut attack = detection("7", 1);
    Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
    yard.stage.core.detections([attack]);
    yard.stage.until(|stage| stage.only_story().contains(&"StepIntended".to_owned()));
    yard.stage.core.serve(Request::Pause { paused: true, by: "ann".into() }).unwrap();
    yard.stage.settle();
    assert_eq!(yard.things.said(), Vec::<String>::new());
    let story = ["RunStarted", "StepIntended", "GuardRefused", "StepFinished cut refused", "RunFinished failed"];
    assert_eq!(yard.stage.only_story(), story, "and nothing stands that could be taken back");
    let resumed = yard.stage.core.serve(Request::Pause { paused: false, by: "ann".into() }).unwrap();
    assert_eq!(resumed["refused_meanwhile"], 1);
}

#[test]
fn a_pause_holds_a_taking_back_that_waits_for_the_disk() {
    let cut = with_lease(sets("cut", &[], "cloud.cut", "a"), HOUR, AtEnd::Undo);
    let mut yard = Yard::new(playbook_of(vec![cut]));
    let run = yard.attack(1);
    yard.clock.advance(HOUR);
    yard.stage.until(|stage| stage.story(&run).contains(&"UndoIntended".to_owned()));
    yard.stage.core.serve(Request::Pause { paused: true, by: "ann".into() }).unwrap();
    yard.stage.until(|stage| stage.core.runs.get(&run).is_none_or(|live| live.under_way.is_empty()));
    assert_eq!(yard.things.stand(), ["a"]);
    assert_eq!(yard.stage.core.serve(Request::Stuck).unwrap(), json!([]), "it waits for the end of the pause");
    yard.ask(Request::Pause { paused: false, by: "ann".into() }).unwrap();
    assert!(yard.things.stand().is_empty());
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

#[test]
fn what_a_cancelled_run_did_is_asked_about_again_when_it_goes_on() {
    let cut = confirmed(sets("cut", &[], "cloud.cut", "a"), true);
    let mut yard = Yard::new(playbook_of(vec![cut, asks_first(sets("then", &[], "cloud.cut", "b"))]));
    yard.stage.core.definitions.people = people(1);
    let run = yard.attack(1);
    assert_eq!(yard.asked(&run).len(), 2);
    yard.ask(Request::Cancel { run: run.clone(), by: "ana".into() }).unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished cancelled");
    yard.ask(Request::Retry { run: run.clone(), from: None, by: "ana".into(), why: String::new() }).unwrap();
    assert_eq!(yard.asked(&run).len(), 4, "whether `a` is to stand, and whether `b` is to be done");
    yard.pass(HOUR);
    assert!(yard.things.stand().is_empty(), "nobody says that it is to stand");
    // What was settled is not asked again.
    let before = yard.asked(&run).len();
    yard.ask(Request::Retry { run: run.clone(), from: None, by: "ana".into(), why: String::new() }).unwrap();
    yard.says(&run, "then", "approve", "lead").unwrap();
    assert_eq!(yard.asked(&run).len(), before + 1);
}

/// A playbook that starts another and does not wait for it.
fn starts_another(first: Step) -> Yard {
    let (playbook, with, span) = ("child".into(), json!({}), Default::default());
    let sub = SubPlaybook { playbook, with, detach: true, span, inputs: Default::default() };
    let sub = Step { kind: StepKind::Playbook(Box::new(sub)), ..step("sub", &[first.id.as_str()]) };
    let mut yard = Yard::new(playbook_of(vec![first, sub]));
    let mut child = playbook_of(vec![asks_first(sets("cut", &[], "cloud.cut", "a"))]);
    (child.name, child.hash, child.on.detections) = ("child".into(), Hash::of(b"child"), None);
    yard.stage.core.definitions.playbooks.push(Arc::new(child));
    yard.stage.core.definitions.people = people(1);
    yard
}

fn child_of(yard: &Yard, parent: &RunId) -> RunId {
    yard.stage.runs().into_iter().find(|run| run != parent).unwrap()
}

#[test]
fn whoever_wanted_a_run_approves_of_nothing_that_it_started() {
    let mut yard = starts_another(sets("first", &[], "cloud.cut", "later"));
    yard.things.early.store(1, Ordering::SeqCst);
    let run = yard.attack(1);
    yard.ask(Request::Retry { run: run.clone(), from: None, by: "ana".into(), why: String::new() }).unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    let child = child_of(&yard, &run);
    let refused = why(yard.says(&child, "cut", "approve", "ana"));
    assert!(refused.contains("wants somebody else"), "{refused}");
    yard.says(&child, "cut", "approve", "lead").unwrap();
    assert_eq!(yard.things.stand(), ["a", "later"]);
}

#[test]
fn whoever_is_suspected_approves_of_nothing_further_down() {
    let mut yard = starts_another(ask(Some(r#""lead""#)));
    let run = yard.attack(1);
    yard.says(&run, "ask", "not_me", "lead").unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    let child = child_of(&yard, &run);
    assert!(why(yard.says(&child, "cut", "approve", "lead")).contains("whether it was them"));
    yard.says(&child, "cut", "approve", "ana").unwrap();
    assert_eq!(yard.things.stand(), ["a"]);
}

#[test]
fn the_time_of_a_person_is_none_of_the_step_s() {
    let mut cut = asks_first(sets("cut", &[], "cloud.cut", "later"));
    cut.deadline = Some(Duration::from_secs(60));
    cut.retry = Retry { attempts: 2, backoff: Duration::from_secs(1), backoff_most: Duration::from_secs(1) };
    let mut yard = Yard::new(playbook_of(vec![cut]));
    yard.things.early.store(1, Ordering::SeqCst);
    let run = yard.attack(1);
    yard.pass(Duration::from_secs(600));
    let (step, by, via) = (Some("cut".into()), "ana".into(), "socket".into());
    let (item, plan, why) = (None, None, String::new());
    let given = AnswerGiven { run: run.clone(), step, item, choice: "approve".into(), plan, by, via, from: None, why };
    yard.stage.core.serve(Request::Answer(Box::new(given))).unwrap();
    yard.stage.until(|stage| stage.story(&run).contains(&"StepFailed".to_owned()));
    yard.pass(Duration::from_secs(2));
    assert_eq!(yard.things.said(), ["+later"]);
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
}

/// Does not come back, and nobody knows.
struct Hangs(&'static ActionSpec, Arc<AtomicU32>);

#[async_trait::async_trait]
impl Action for Hangs {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn plan(&self, _: &Json) -> Result<Plan, ActionError> {
        Ok(Plan::default())
    }

    async fn run(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::CannotAsk)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("has no undo"))
    }
}

#[test]
fn an_attempt_ends_with_the_deadline_of_its_step() {
    for (deadline, said) in [(Some(10), "`deadline`"), (None, "`timeout`")] {
        let mut cut = sets("cut", &[], "cloud.cut", "a");
        (cut.timeout, cut.deadline) = (Duration::from_secs(30), deadline.map(Duration::from_secs));
        let mut yard = Yard::new(playbook_of(vec![cut]));
        let (spec, begun) = (spec("cloud.cut", Lane::Cloud, Guarantee::ExactlyOnceInEffect), Arc::default());
        yard.stage.core.parts.crew = Crew::new(vec![Verb::Acts(Arc::new(Hangs(spec, Arc::clone(&begun))))]);
        let mut attack = detection("7", 1);
        Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
        yard.stage.core.detections([attack]);
        yard.stage.until(|_| begun.load(Ordering::SeqCst) > 0);
        yard.clock.advance(Duration::from_secs(deadline.unwrap_or(30)));
        yard.stage.until(|stage| stage.core.is_idle());
        let records = yard.stage.journal.read(&StreamId::run(&yard.stage.runs()[0]), 1).unwrap();
        let proof = records.iter().find_map(|record| match &record.body {
            Body::StepFinished(finished) => Some(finished.proof.clone()),
            _ => None,
        });
        assert!(proof.as_ref().is_some_and(|proof| proof.contains(said)), "{proof:?}");
    }
}
