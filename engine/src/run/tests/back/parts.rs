//! Goal: what is taken back is what was done last, in whichever order a run is undone in part, tried again and waits. Method: a
//! step whose target a person chooses, so that a second try can be about another.

use super::*;
use quell_model::playbook::{Approve, AskPerson, Confirm, ForEach, ItemErrors, Retry, Unanswered, Within};
use quell_model::record::RunState;

/// A question whose answer is what comes after it acts on.
fn chooses(id: &str) -> Step {
    let ask = AskPerson {
        question: "Which?".into(),
        person: None,
        by: None,
        choices: vec!["a".into(), "b".into()],
        within: Within(24 * HOUR),
        otherwise: "a".into(),
        remember: None,
        not_via: Vec::new(),
    };
    Step { kind: StepKind::Ask(Box::new(ask)), ..step(id, &[]) }
}

/// which ─▶ hold ─▶ last, which fails; `other` beside them. What `hold` did is looked at after two hours.
fn chosen() -> Playbook {
    playbook_of(vec![
        chooses("which"),
        with_lease(sets("hold", &["which"], "process.freeze", "${{ steps.which.answer }}"), 2 * HOUR, AtEnd::Ask),
        sets("last", &["hold"], "process.freeze", "fails"),
        sets("other", &[], "process.freeze", "o"),
    ])
}

impl Yard {
    fn choose(&mut self, run: &RunId, choice: &str) {
        let (step, choice) = (Some("which".into()), choice.into());
        let (item, plan, by, via, why) = (None, None, "ann".into(), "socket".into(), String::new());
        let run = run.clone();
        self.ask(Request::Answer(Box::new(AnswerGiven { run, step, item, choice, plan, by, via, from: None, why })))
            .unwrap();
    }

    /// Done with `a`, ended badly, and tried again from the question on: that waits, and `hold` still stands.
    fn tried_again() -> (Self, RunId) {
        let mut yard = Self::new(chosen());
        let run = yard.attack(1);
        yard.choose(&run, "a");
        assert_eq!(yard.end_of(&run), "RunFinished failed");
        yard.again_from(&run, Some("which")).unwrap();
        assert_eq!(yard.things.stand(), ["a", "o"], "it still stands");
        (yard, run)
    }

    fn again_from(&mut self, run: &RunId, from: Option<&str>) -> Result<Json, Refusal> {
        let from = from.map(StepId::from);
        self.ask(Request::Retry { run: run.clone(), from, by: "ann".into(), why: "it is mended".into() })
    }

    /// An attack of which nothing is awaited.
    fn begin(&mut self) {
        let mut attack = detection("7", 1);
        Arc::make_mut(&mut attack.event).head.at = self.clock.now();
        self.stage.core.detections([attack]);
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.ask(Request::Pause { paused, by: "ann".into() }).unwrap();
    }
}

impl Yard {
    /// An attack whose run does not end yet.
    pub(super) fn attack_that_waits(&mut self) -> RunId {
        let mut attack = detection("7", 1);
        Arc::make_mut(&mut attack.event).head.at = self.clock.now();
        self.stage.core.detections([attack]);
        self.stage.core.turn();
        self.stage.runs()[0].clone()
    }
}

#[test]
fn what_was_taken_back_before_its_step_began_again_is_not_what_the_step_does_then() {
    let (mut yard, run) = Yard::tried_again();
    yard.undo(&run, Some("hold")).unwrap();
    assert_eq!(yard.things.stand(), ["o"]);
    yard.choose(&run, "b");
    assert_eq!(yard.things.stand(), ["b", "o"], "the second try stands: nobody has asked for its undo");
    assert_eq!(yard.end_of(&run), "RunFinished failed");
    // Also for an engine that knows it from the records alone.
    let mut yard = yard.again("b");
    yard.undo(&run, Some("hold")).unwrap();
    assert_eq!(yard.things.stand(), ["o"], "and what is taken back is what it did");
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty());
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

#[test]
fn what_stands_no_more_by_itself_before_its_step_began_again_is_forgotten_too() {
    let (mut yard, run) = Yard::tried_again();
    yard.things.stand.lock().unwrap().remove("a");
    yard.pass(3 * HOUR);
    assert_eq!(yard.leases(&run).last().unwrap(), "lapsed");
    yard.choose(&run, "b");
    assert_eq!(yard.things.stand(), ["b", "o"]);
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty(), "{:?}", yard.things.stand());
}

#[test]
fn what_a_person_took_back_alone_lets_a_pause_hold_what_they_did_not_mean() {
    let ends_back = Confirm { by: None, within: Within(HOUR), undo: true };
    let steps = vec![
        Step { confirm: Some(ends_back), ..sets("asked", &[], "process.freeze", "a") },
        sets("meant", &[], "process.freeze", "b"),
    ];
    let mut yard = Yard::new(playbook_of(steps));
    let run = yard.attack(1);
    yard.undo(&run, Some("meant")).unwrap();
    assert_eq!(yard.things.stand(), ["a"]);
    yard.pause(true);
    yard.clock.advance(HOUR + Duration::from_secs(1));
    yard.stage.core.turn();
    assert_eq!(yard.things.stand(), ["a"], "nothing is done while all is paused");
    yard.pause(false);
    assert!(yard.things.stand().is_empty());
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

#[test]
fn what_a_person_wants_back_takes_what_came_after_it_along_through_a_pause() {
    let asks = |step| Step { confirm: Some(Confirm { by: None, within: Within(HOUR), undo: true }), ..step };
    let steps = vec![
        sets("first", &[], "process.freeze", "a"),
        asks(sets("after", &["first"], "process.freeze", "b")),
        asks(sets("beside", &[], "process.freeze", "c")),
    ];
    let mut yard = Yard::new(playbook_of(steps));
    let run = yard.attack(1);
    yard.pause(true);
    yard.clock.advance(HOUR + Duration::from_secs(1));
    yard.stage.core.turn();
    assert_eq!(yard.things.stand(), ["a", "b", "c"], "it is held");
    yard.undo(&run, Some("first")).unwrap();
    assert_eq!(yard.things.stand(), ["c"], "the order holds, and so does the pause for what is not in the way");
    yard.pause(false);
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

#[test]
fn a_step_that_was_refused_and_then_taken_back_is_tried_again_without_being_named() {
    let (mut yard, run) = Yard::tried_again();
    yard.choose(&run, "b");
    assert!(yard.stage.story(&run).contains(&"StepFinished hold refused".to_owned()), "`a` would be lost sight of");
    assert_eq!(yard.end_of(&run), "RunFinished failed");
    yard.undo(&run, Some("hold")).unwrap();
    assert_eq!((yard.things.stand(), yard.end_of(&run)), (vec!["o".to_owned()], "RunFinished failed".to_owned()));
    assert_eq!(yard.again_from(&run, None).unwrap()["again"], json!(["hold", "last"]));
    assert_eq!(yard.things.stand(), ["b", "o"]);
    // What ended well before it was taken back stays taken back.
    yard.undo(&run, Some("hold")).unwrap();
    assert_eq!(yard.again_from(&run, None).unwrap()["again"], json!(["last"]));
    let ended = yard.stage.journal.read(&StreamId::run(&run), 1).unwrap().pop().unwrap();
    assert!(matches!(ended.body, Body::RunFinished(finished) if finished.state == RunState::Failed));
}

/// Whoever wants the whole of it back does not want the rest of it done first.
#[test]
fn items_that_have_not_begun_are_dropped_when_their_step_is_taken_back() {
    let list = Expression { text: r#"["a", "later", "c"]"#.into(), span: Default::default() };
    let each = Step {
        for_each: Some(ForEach { list, max_parallel: 1, errors: ItemErrors::Collect }),
        retry: Retry { attempts: 3, backoff: HOUR, backoff_most: HOUR },
        ..sets("each", &[], "process.freeze", "${{ item }}")
    };
    let mut yard = Yard::new(playbook_of(vec![each, sets("then", &["each"], "process.freeze", "d")]));
    yard.things.early.store(1, Ordering::SeqCst);
    yard.begin();
    let run = yard.stage.runs().remove(0);
    assert_eq!(yard.things.said(), ["+a"], "the second waits to be tried again, the third for its turn");
    yard.undo(&run, Some("each")).unwrap();
    assert_eq!(yard.things.said(), ["-a"], "nothing else of it was begun");
    let story = yard.stage.story(&run);
    assert!(story.contains(&"StepFinished each cancelled".to_owned()), "{story:?}");
    assert!(yard.things.stand().is_empty() && yard.end_of(&run).starts_with("RunFinished"), "{story:?}");
    // Over a start as well: what its records make of it is over.
    let mut yard = yard.again("b");
    yard.pass(2 * HOUR);
    assert!(yard.things.said().is_empty() && yard.things.stand().is_empty());
}

/// An item that asks is dropped as well, and asks nobody any more.
#[test]
fn a_question_of_an_item_ends_with_its_step() {
    let list = Expression { text: r#"["a", "b"]"#.into(), span: Default::default() };
    let asks = Approve { by: None, within: Within(24 * HOUR), otherwise: Unanswered::Deny };
    let each = Step {
        for_each: Some(ForEach { list, max_parallel: 2, errors: ItemErrors::Collect }),
        approve: Some(asks),
        ..sets("each", &[], "process.freeze", "${{ item }}")
    };
    let mut yard = Yard::new(playbook_of(vec![each, chooses("which")]));
    let run = yard.attack(1);
    let (step, item, choice) = (Some("each".into()), Some(0), "approve".into());
    let (plan, by, via, why) = (None, "ann".into(), "socket".into(), String::new());
    let yes = AnswerGiven { run: run.clone(), step, item, choice, plan, by, via, from: None, why };
    yard.ask(Request::Answer(Box::new(yes))).unwrap();
    assert_eq!((yard.things.said(), yard.stage.core.runs[&run].run.asks()), (vec!["+a".to_owned()], 2));
    yard.undo(&run, Some("each")).unwrap();
    assert_eq!(yard.things.said(), ["-a"]);
    assert_eq!(yard.stage.core.runs[&run].run.asks(), 1, "only the other step asks");
    yard.choose(&run, "a");
    assert!(yard.end_of(&run).starts_with("RunFinished"), "{:?}", yard.stage.story(&run));
}
