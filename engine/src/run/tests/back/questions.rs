//! Goal: a person's word is what acts, once, and by whom it may. Method: playbooks that ask, on a clock that the test moves,
//! with answers in time, late, of the wrong people and over restarts.

use super::*;
use crate::run::fixtures::socket;
use quell_model::people::{Approvers, People, Person};
use quell_model::playbook::{Approve, AskPerson, Confirm, ForEach, Retry, Unanswered, Within};
use quell_model::record::{QuestionAnswered, QuestionAsked};

pub(super) const QUARTER: Duration = Duration::from_secs(15 * 60);

pub(super) fn asks_first(step: Step) -> Step {
    Step { approve: Some(Approve { by: Some("security".into()), ..Approve::default() }), ..step }
}

pub(super) fn confirmed(step: Step, undo: bool) -> Step {
    Step { confirm: Some(Confirm { by: None, within: Within(HOUR), undo }), ..step }
}

/// ana, bo and lead; `security` is ana and lead, so many of them.
pub(super) fn people(quorum: u32) -> Arc<People> {
    let mut all = People::default();
    for name in ["ana", "bo", "lead"] {
        all.people.insert(name.into(), Person::default());
        all.deciders.insert(name.into());
    }
    let people = ["ana", "lead"].map(Name::from).into();
    all.approvers.insert("security".into(), Approvers { people, quorum, not_requester: true, policy: None });
    Arc::new(all)
}

impl Yard {
    pub(super) fn says(&mut self, run: &RunId, step: &str, choice: &str, by: &str) -> Result<Json, Refusal> {
        let given = AnswerGiven {
            run: run.clone(),
            step: (!step.is_empty()).then(|| step.into()),
            item: None,
            choice: choice.into(),
            plan: None,
            by: by.into(),
            via: "socket".into(),
            from: None,
            why: String::new(),
        };
        let answer = self.ask(Request::Answer(Box::new(given)));
        self.stage.core.ink.commit();
        answer
    }

    /// The wall clock is set, by so many hours.
    pub(super) fn wall_moves(&self, hours: i64) {
        let now = self.clock.now();
        let wall = now.wall + jiff::SignedDuration::from_hours(hours);
        self.clock.set(Stamp { wall, boot_ns: now.boot_ns + 1 });
    }

    pub(super) fn records<T>(&self, run: &RunId, pick: impl Fn(&Body) -> Option<T>) -> Vec<T> {
        let records = self.stage.journal.read(&StreamId::run(run), 1).unwrap();
        records.iter().filter_map(|record| pick(&record.body)).collect()
    }

    pub(super) fn asked(&self, run: &RunId) -> Vec<QuestionAsked> {
        self.records(run, |body| if let Body::QuestionAsked(asked) = body { Some((**asked).clone()) } else { None })
    }

    pub(super) fn answers(&self, run: &RunId) -> Vec<QuestionAnswered> {
        self.records(run, |body| if let Body::QuestionAnswered(one) = body { Some((**one).clone()) } else { None })
    }
}

pub(super) fn why(refused: Result<Json, Refusal>) -> String {
    refused.unwrap_err().to_string()
}

#[test]
fn what_a_person_approves_is_done_and_nothing_before() {
    let mut yard =
        Yard::new(playbook_of(vec![asks_first(sets("cut", &[], "cloud.cut", "a")), step("after", &["cut"])]));
    let run = yard.attack(1);
    assert_eq!(yard.things.said(), Vec::<String>::new());
    let asked = yard.asked(&run);
    let plan = asked[0].plan.as_ref().unwrap();
    assert_eq!((asked[0].text.as_str(), asked[0].otherwise.as_str()), ("cloud.cut a?", "deny"));
    assert_eq!(asked[0].sum, Some(plan.sum()));
    // A second attack on the same subject joins the run that asks.
    assert_eq!(yard.attack(2), run);
    yard.says(&run, "cut", "approve", "ana").unwrap();
    assert_eq!(yard.things.said(), ["+a"]);
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    let late = yard.says(&run, "cut", "deny", "bo");
    assert!(why(late).contains("ana answered `approve` before"));
    assert_eq!(yard.things.said(), Vec::<String>::new(), "a late answer changes nothing");
    let kept = |yard: &Yard| yard.records(&run, |body| matches!(body, Body::AnswerTooLate(_)).then_some(())).len();
    assert_eq!(kept(&yard), 1);
    assert!(why(yard.says(&run, "cut", "deny", "bo")).contains("ana answered `approve` before"));
    assert!(why(yard.says(&run, "cut", "perhaps", "lead")).contains("no answer to it"));
    assert_eq!(kept(&yard), 1, "nobody makes the story long");
    assert_eq!(yard.stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn a_no_denies_and_blocks_what_needs_it() {
    let mut yard = Yard::new(playbook_of(vec![
        asks_first(sets("cut", &[], "cloud.cut", "a")),
        sets("then", &["cut"], "process.freeze", "b"),
        sets("beside", &[], "process.freeze", "c"),
    ]));
    let run = yard.attack(1);
    assert_eq!(yard.things.said(), ["+c"], "an independent branch goes on");
    yard.says(&run, "", "deny", "ana").unwrap();
    assert!(yard.things.said().is_empty());
    let story = yard.stage.story(&run);
    assert!(story.contains(&"StepFinished cut denied".to_owned()), "{story:?}");
    assert_eq!(yard.end_of(&run), "RunFinished failed");
}

#[test]
fn when_nobody_answers_it_holds_what_the_step_says() {
    for (otherwise, done) in [(Unanswered::Deny, vec![]), (Unanswered::Run, vec!["+a"])] {
        let mut cut = asks_first(sets("cut", &[], "cloud.cut", "a"));
        cut.approve = Some(Approve { by: None, within: Within(QUARTER), otherwise });
        let mut yard = Yard::new(playbook_of(vec![cut]));
        let run = yard.attack(1);
        yard.pass(QUARTER - Duration::from_secs(1));
        assert!(yard.answers(&run).is_empty() && yard.things.said().is_empty());
        yard.pass(Duration::from_secs(1));
        let answer = yard.answers(&run).remove(0);
        assert_eq!((answer.by, answer.settles), (None, true));
        assert_eq!(yard.things.said(), done);
    }
}

/// The step says that it acts when nobody answers; what else wants the question says that nobody's silence is a yes.
#[test]
fn silence_is_no_yes_where_more_than_the_step_wants_the_question() {
    let mut cut = asks_first(sets("cut", &[], "cloud.cut", "a"));
    cut.approve = Some(Approve { by: None, within: Within(QUARTER), otherwise: Unanswered::Run });
    let mut playbook = playbook_of(vec![cut]);
    playbook.mode = Mode::Approve;
    let mut yard = Yard::new(playbook);
    let run = yard.attack(1);
    yard.pass(QUARTER);
    assert_eq!(yard.answers(&run)[0].choice.as_str(), "deny");
    assert!(yard.things.said().is_empty());
}

#[test]
fn the_mode_approve_asks_before_each_act() {
    let mut playbook = diamond();
    playbook.mode = Mode::Approve;
    let mut yard = Yard::new(playbook);
    let run = yard.attack(1);
    for (step, what) in [("first", "+a"), ("left", "+b"), ("right", "+c"), ("last", "+d")] {
        assert!(yard.things.said().is_empty(), "{step}");
        yard.says(&run, step, "approve", "root (unverified)").unwrap();
        assert_eq!(yard.things.said(), [what]);
    }
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
}

#[test]
fn who_does_not_count_is_told_so_and_changes_nothing() {
    let mut yard = Yard::new(playbook_of(vec![asks_first(sets("cut", &[], "cloud.cut", "a"))]));
    yard.stage.core.definitions.people = people(2);
    let run = yard.attack(1);
    for (by, said) in [("bo", "none of the approvers"), ("root (unverified)", "nobody in escalation.yaml")] {
        let refused = yard.says(&run, "cut", "approve", by);
        assert!(matches!(&refused, Err(Refusal::Denied(why)) if why.contains(said)), "{by}: {refused:?}");
    }
    assert!(matches!(yard.says(&run, "cut", "perhaps", "ana"), Err(Refusal::Wrong(_))));
    assert_eq!(yard.says(&run, "cut", "approve", "ana").unwrap()["missing"], 1);
    assert!(why(yard.says(&run, "cut", "approve", "ana")).contains("has said `approve` already"));
    assert!(yard.things.said().is_empty(), "one of two is not enough");
    yard = yard.again("b");
    yard.stage.core.definitions.people = people(2);
    assert_eq!(yard.says(&run, "cut", "approve", "lead").unwrap()["missing"], 0);
    assert_eq!(yard.things.said(), ["+a"], "what ana said before the restart counts");
}

#[test]
fn whoever_started_the_run_is_no_second_pair_of_eyes() {
    let mut yard = Yard::new(playbook_of(vec![asks_first(sets("cut", &[], "cloud.cut", "a"))]));
    yard.stage.core.definitions.people = people(1);
    let start =
        Request::Start { playbook: "test".into(), event: None, inputs: json!({}), mode: None, by: "ana".into() };
    let run: RunId = yard.ask(start).unwrap()["id"].as_str().unwrap().into();
    assert!(why(yard.says(&run, "cut", "approve", "ana")).contains("ana started the run"));
    yard.says(&run, "cut", "approve", "lead").unwrap();
    assert_eq!(yard.things.said(), ["+a"]);
}

#[test]
fn a_question_outlives_a_crash_and_a_reboot_and_waits_no_longer_for_them() {
    for boot in ["b", "another"] {
        let mut cut = sets("cut", &[], "cloud.cut", "a");
        cut.approve = Some(Approve { by: None, within: Within(HOUR), otherwise: Unanswered::Deny });
        let mut yard = Yard::new(playbook_of(vec![cut]));
        let run = yard.attack(1);
        yard.pass(HOUR / 2);
        yard = yard.again(boot);
        assert_eq!((yard.asked(&run).len(), yard.answers(&run).len()), (1, 0), "{boot}: it is not asked twice");
        yard.pass(HOUR / 2 - Duration::from_secs(60));
        assert!(yard.answers(&run).is_empty(), "{boot}");
        yard.pass(Duration::from_secs(61));
        assert_eq!(yard.answers(&run).len(), 1, "{boot}");
        assert_eq!(yard.end_of(&run), "RunFinished failed");
    }
}

#[test]
fn an_approved_plan_is_tried_again_without_a_second_question() {
    let mut cut = asks_first(sets("cut", &[], "cloud.cut", "later"));
    cut.retry = Retry { attempts: 3, backoff: Duration::from_secs(1), backoff_most: Duration::from_secs(2) };
    let mut yard = Yard::new(playbook_of(vec![cut]));
    yard.things.early.store(1, Ordering::SeqCst);
    let run = yard.attack(1);
    let given = AnswerGiven {
        run: run.clone(),
        step: None,
        item: None,
        choice: "approve".into(),
        plan: None,
        by: "ana".into(),
        via: "socket".into(),
        from: None,
        why: String::new(),
    };
    yard.stage.core.serve(Request::Answer(Box::new(given))).unwrap();
    let is_waiting = |yard: &Yard| yard.stage.core.runs[&run].run.next_wait(yard.clock.now()).is_some();
    while !is_waiting(&yard) {
        yard.stage.core.turn();
        let _woken_or_late = yard.stage.woken.recv_timeout(Duration::from_millis(10));
    }
    yard.pass(Duration::from_secs(3));
    assert_eq!(yard.asked(&run).len(), 1);
    assert_eq!(yard.things.said(), ["+later"]);
}

#[test]
fn items_are_asked_about_at_once_and_one_answer_holds_for_all() {
    let mut cut = asks_first(sets("cut", &[], "cloud.cut", "${{ item }}"));
    let list = Expression { text: r#"["a", "b", "c", "d", "e"]"#.into(), span: Default::default() };
    cut.for_each = Some(ForEach { list, max_parallel: 1, errors: Default::default() });
    let mut yard = Yard::new(playbook_of(vec![cut]));
    let run = yard.attack(1);
    assert_eq!(yard.asked(&run).len(), 5, "who waits for a person takes no place");
    yard.ask(Request::Answer(Box::new(AnswerGiven {
        run: run.clone(),
        step: Some("cut".into()),
        item: Some(1),
        choice: "deny".into(),
        plan: None,
        by: "ana".into(),
        via: "socket".into(),
        from: None,
        why: "that one is ours".into(),
    })))
    .unwrap();
    assert!(yard.things.said().is_empty());
    yard.says(&run, "cut", "approve", "ana").unwrap();
    assert_eq!(yard.things.said(), ["+a", "+c", "+d", "+e"]);
    assert_eq!(yard.end_of(&run), "RunFinished failed", "one was denied");
}

#[test]
fn an_answer_means_the_plan_that_was_shown() {
    let mut yard = Yard::new(playbook_of(vec![asks_first(sets("cut", &[], "cloud.cut", "a"))]));
    let run = yard.attack(1);
    let mut given = AnswerGiven {
        run: run.clone(),
        step: Some("cut".into()),
        item: None,
        choice: "approve".into(),
        plan: Some(Hash::of(b"another")),
        by: "ana".into(),
        via: "socket".into(),
        from: None,
        why: String::new(),
    };
    let refused = yard.ask(Request::Answer(Box::new(given.clone())));
    assert!(why(refused).contains("something else"));
    given.plan = yard.asked(&run)[0].sum;
    yard.ask(Request::Answer(Box::new(given))).unwrap();
    assert_eq!(yard.things.said(), ["+a"]);
}

#[test]
fn who_has_a_run_tried_again_wants_it_as_whoever_started_it_does() {
    let mut yard = Yard::new(playbook_of(vec![asks_first(sets("cut", &[], "cloud.cut", "a"))]));
    yard.stage.core.definitions.people = people(1);
    let run = yard.attack(1);
    yard.says(&run, "cut", "deny", "lead").unwrap();
    let retry = Request::Retry { run: run.clone(), from: None, by: "ana".into(), why: String::new() };
    yard.ask(retry).unwrap();
    let refused = why(yard.says(&run, "cut", "approve", "ana"));
    assert!(refused.contains("has tried it again, and `security` wants somebody else"), "{refused}");
    // Neither over a start, nor where the answer comes too late.
    let mut yard = yard.again("b");
    yard.stage.core.definitions.people = people(1);
    assert!(why(yard.says(&run, "cut", "approve", "ana")).contains("has tried it again"));
    yard.says(&run, "cut", "approve", "lead").unwrap();
    assert_eq!(yard.things.said(), ["+a"]);
    assert!(why(yard.says(&run, "cut", "approve", "ana")).contains("has tried it again"));
}

#[test]
fn what_the_configuration_says_of_a_playbook_holds_at_the_act() {
    for ceiling in [false, true] {
        let mut yard = Yard::new(playbook_of(vec![sets("cut", &[], "cloud.cut", "later")]));
        yard.things.early.store(1, Ordering::SeqCst);
        let run = yard.attack(1);
        assert!(yard.stage.story(&run).contains(&"RunFinished failed".to_owned()));
        let definitions = &mut yard.stage.core.definitions;
        if ceiling {
            definitions.ceiling = Mode::Observe;
        } else {
            definitions.modes = [("test".into(), Mode::Observe)].into();
        }
        yard.ask(Request::Retry { run: run.clone(), from: None, by: "ana".into(), why: String::new() }).unwrap();
        assert!(yard.things.said().is_empty(), "ceiling: {ceiling}");
        assert!(yard.stage.story(&run).contains(&"StepFinished cut planned".to_owned()));
    }
}

#[test]
fn a_late_answer_does_not_wait_for_a_disk_that_hangs() {
    let mut yard = Yard::new(playbook_of(vec![asks_first(sets("cut", &[], "cloud.cut", "a"))]));
    let run = yard.attack(1);
    yard.says(&run, "cut", "approve", "ana").unwrap();
    assert!(why(yard.says(&run, "cut", "approve", "bo")).contains("ana answered `approve` before"));
    let hang = yard.hang();
    assert!(why(yard.says(&run, "cut", "approve", "lead")).contains("ana answered `approve` before"), "all is there");
    assert!(why(yard.says(&run, "cut", "approve", "zoe")).contains("the journal takes nothing now"), "that is not yet");
    drop(hang);
    assert!(why(yard.says(&run, "cut", "approve", "zoe")).contains("ana answered `approve` before"));
}

#[test]
fn a_moment_that_nobody_waits_for_any_more_is_forgotten() {
    let mut yard = Yard::new(playbook_of(vec![
        asks_first(sets("cut", &[], "cloud.cut", "a")),
        confirmed(sets("then", &["cut"], "process.freeze", "b"), true),
    ]));
    let run = yard.attack(1);
    assert_eq!(yard.stage.core.timers.of_run(&run), 1);
    yard.says(&run, "cut", "approve", "ana").unwrap();
    assert_eq!(yard.stage.core.timers.of_run(&run), 1, "of the question that it asks now");
    yard.says(&run, "then", "keep", "ana").unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    assert_eq!(yard.stage.core.timers.of_run(&run), 0, "a run that has ended waits for no moment");
}

#[test]
fn what_is_confirmed_stands_and_what_is_not_is_taken_back() {
    for (answer, by_time, stands) in
        [(Some("keep"), false, true), (Some("undo"), false, false), (None, false, true), (None, true, false)]
    {
        let mut yard = Yard::new(playbook_of(vec![
            confirmed(sets("cut", &[], "cloud.cut", "a"), by_time),
            sets("then", &["cut"], "process.freeze", "b"),
        ]));
        let run = yard.attack(1);
        assert_eq!(yard.things.said(), ["+a", "+b"], "it holds nothing up");
        assert!(!yard.end_of(&run).starts_with("RunFinished"), "the run waits for the answer");
        yard = yard.again("b");
        match answer {
            Some(choice) => drop(yard.says(&run, "cut", choice, "ana").unwrap()),
            None => yard.pass(HOUR),
        }
        assert_eq!(yard.things.stand().contains(&"a".to_owned()), stands, "{answer:?} {by_time}");
        assert!(yard.things.stand().contains(&"b".to_owned()), "the other stands");
        assert!(yard.end_of(&run).starts_with("RunFinished"), "{:?}", yard.stage.story(&run));
    }
}

/// Whoever comes second to a question learns who was first, also where the same step asks something else by now.
#[test]
fn a_late_yes_to_what_acted_already_is_told_who_was_first() {
    let mut yard = Yard::new(playbook_of(vec![asks_first(confirmed(sets("cut", &[], "cloud.cut", "a"), false))]));
    let run = yard.attack(1);
    yard.says(&run, "cut", "approve", "ana").unwrap();
    for choice in ["approve", "deny"] {
        let late = why(yard.says(&run, "cut", choice, "bo"));
        assert!(late.contains("ana answered `approve` before"), "{late}");
    }
    assert!(why(yard.says(&run, "cut", "perhaps", "bo")).contains("it takes keep, undo"));
    yard.says(&run, "cut", "keep", "bo").unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
}

#[test]
fn keeping_or_taking_back_answers_the_question_too() {
    let mut yard = Yard::new(playbook_of(vec![confirmed(sets("cut", &[], "cloud.cut", "a"), true)]));
    let kept = yard.attack(1);
    yard.ask(Request::Keep { way: socket(), run: kept.clone(), step: None, lasts: Some(HOUR), by: "ana".into() })
        .unwrap();
    assert_eq!(yard.answers(&kept)[0].choice.as_str(), "keep");
    assert_eq!(yard.end_of(&kept), "RunFinished succeeded");
    let mut yard = Yard::new(playbook_of(vec![confirmed(sets("cut", &[], "cloud.cut", "a"), false)]));
    let undone = yard.attack(1);
    yard.undo(&undone, Some("cut")).unwrap();
    assert_eq!(yard.answers(&undone)[0].choice.as_str(), "undo");
    assert!(yard.things.stand().is_empty());
    assert!(yard.end_of(&undone).starts_with("RunFinished"));
}

#[test]
fn whoever_does_not_count_keeps_nothing_that_others_are_asked_about() {
    let mut step = confirmed(sets("cut", &[], "cloud.cut", "a"), true);
    step.confirm.as_mut().unwrap().by = Some("security".into());
    let mut yard = Yard::new(playbook_of(vec![step]));
    yard.stage.core.definitions.people = people(1);
    let run = yard.attack(1);
    let keep =
        |by: &str| Request::Keep { way: socket(), run: run.clone(), step: None, lasts: Some(HOUR), by: by.into() };
    let refused = yard.ask(keep("bo")).unwrap_err();
    assert!(refused.to_string().contains("none of the approvers `security`"), "{refused}");
    assert!(yard.answers(&run).is_empty(), "the question stays open");
    yard.ask(keep("ana")).unwrap();
    assert_eq!(yard.answers(&run)[0].choice.as_str(), "keep");
}

pub(super) fn ask(person: Option<&str>) -> Step {
    let ask = AskPerson {
        question: "Did you ${{ 1 + 1 }}?".into(),
        person: person.map(|text| Expression { text: text.into(), span: Default::default() }),
        by: None,
        choices: vec!["me".into(), "not_me".into()],
        within: Within(QUARTER),
        otherwise: "not_me".into(),
        remember: Some(HOUR),
        not_via: vec!["slack".into()],
    };
    Step { kind: StepKind::Ask(Box::new(ask)), ..step("ask", &[]) }
}

pub(super) fn asks_bo() -> Yard {
    let mut kill = sets("cut", &["ask"], "cloud.cut", "a");
    kill.condition = Some(Expression { text: r#"steps.ask.answer == "not_me""#.into(), span: Default::default() });
    let mut yard = Yard::new(playbook_of(vec![ask(Some(r#""bo""#)), kill]));
    yard.stage.core.definitions.people = people(1);
    yard
}

#[test]
fn the_person_concerned_answers_and_nobody_for_them() {
    let mut yard = asks_bo();
    let run = yard.attack(1);
    assert_eq!(yard.asked(&run)[0].text, "Did you 2?");
    assert!(why(yard.says(&run, "ask", "me", "ana")).contains("it is bo who is asked"));
    let given = AnswerGiven {
        run: run.clone(),
        step: None,
        item: None,
        choice: "me".into(),
        plan: None,
        by: "bo".into(),
        via: "slack".into(),
        from: None,
        why: String::new(),
    };
    assert!(why(yard.ask(Request::Answer(Box::new(given)))).contains("by way of `slack`"));
    yard.says(&run, "ask", "me", "bo").unwrap();
    assert!(yard.things.said().is_empty(), "it was them");
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    // The next run of the same hour does not wake them again.
    let again = yard.attack_by("8", 2);
    assert_eq!(yard.answers(&again)[0].choice.as_str(), "me");
    yard.pass(HOUR + Duration::from_secs(1));
    let later = yard.attack_by("9", 3);
    assert!(yard.answers(&later).is_empty(), "it is remembered for an hour");
    yard.pass(QUARTER);
    assert_eq!(yard.things.said(), ["+a"], "silence is `not_me` here");
}

#[test]
fn what_was_said_answers_no_question_that_takes_another_s_word_or_another_answer() {
    let asks = |by: Option<&str>, first: &str| {
        let mut step = ask(None);
        if let StepKind::Ask(ask) = &mut step.kind {
            (ask.by, ask.choices) = (by.map(Name::from), vec![first.into(), "not_me".into()]);
        }
        playbook_of(vec![step])
    };
    let mut yard = Yard::new(asks(None, "me"));
    yard.stage.core.definitions.people = people(1);
    let run = yard.attack(1);
    yard.says(&run, "ask", "me", "bo").unwrap();
    let rows = [("2", None, "me", true), ("3", Some("security"), "me", false), ("4", None, "yes", false)];
    for (subject, by, first, is_answered) in rows {
        yard.stage.core.definitions.playbooks = vec![Arc::new(asks(by, first))];
        let run = yard.attack_by(subject, 2);
        assert_eq!(yard.answers(&run).len(), usize::from(is_answered), "{by:?} {first}");
    }
}

#[test]
fn after_a_boot_with_a_clock_that_went_back_it_is_asked_again() {
    let mut yard = asks_bo();
    let run = yard.attack(1);
    yard.says(&run, "ask", "me", "bo").unwrap();
    yard.wall_moves(-1);
    let mut yard = yard.again("another");
    yard.stage.core.definitions.people = people(1);
    let run = yard.attack_by("8", 2);
    assert!(yard.answers(&run).is_empty(), "nobody knows how long ago it was");
}

#[test]
fn without_anybody_to_ask_it_goes_on_at_once() {
    for person in ["()", r#""zoe""#] {
        let mut yard = Yard::new(playbook_of(vec![ask(Some(person))]));
        yard.stage.core.definitions.people = people(1);
        let run = yard.attack(1);
        assert_eq!(yard.answers(&run)[0].choice.as_str(), "not_me", "{person}");
        assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    }
}

#[test]
fn the_suspect_approves_of_nothing_in_the_same_run() {
    let mut yard =
        Yard::new(playbook_of(vec![ask(Some(r#""lead""#)), asks_first(sets("cut", &["ask"], "cloud.cut", "a"))]));
    yard.stage.core.definitions.people = people(1);
    let run = yard.attack(1);
    yard.says(&run, "ask", "not_me", "lead").unwrap();
    assert!(why(yard.says(&run, "cut", "approve", "lead")).contains("whether it was them"));
    yard.says(&run, "cut", "approve", "ana").unwrap();
    assert_eq!(yard.things.said(), ["+a"]);
}

#[test]
fn a_cancelled_run_asks_no_more() {
    let mut yard = Yard::new(playbook_of(vec![asks_first(sets("cut", &[], "cloud.cut", "a"))]));
    let run = yard.attack(1);
    yard.ask(Request::Cancel { run: run.clone(), by: "ana".into() }).unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished cancelled");
    assert!(why(yard.says(&run, "cut", "approve", "ana")).contains("its run ended before an answer came"));
    assert!(yard.things.said().is_empty());
}

#[test]
fn what_is_paused_is_refused_also_after_a_yes() {
    let mut yard = Yard::new(playbook_of(vec![asks_first(sets("cut", &[], "cloud.cut", "a"))]));
    let run = yard.attack(1);
    yard.ask(Request::Pause { paused: true, by: "ana".into() }).unwrap();
    yard.says(&run, "cut", "approve", "ana").unwrap();
    yard.stage.settle();
    assert!(yard.stage.story(&run).contains(&"StepFinished cut refused".to_owned()));
    assert!(yard.things.said().is_empty());
}

#[test]
fn ever_new_subjects_do_not_hold_ever_more_runs_open() {
    let mut playbook = playbook_of(vec![sets("cut", &[], "process.freeze", "a")]);
    playbook.mode = Mode::Approve;
    let mut yard = Yard::new(playbook);
    let attacks: Vec<Detection> = (0..250)
        .map(|subject| {
            let mut attack = detection(&subject.to_string(), 1);
            Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
            attack
        })
        .collect();
    yard.stage.core.detections(attacks);
    yard.stage.settle();
    assert_eq!(yard.stage.core.open_questions(), 200);
    let planned = |run: &RunId| yard.stage.story(run).contains(&"StepFinished cut planned".to_owned());
    assert_eq!(yard.stage.runs().iter().filter(|run| planned(run)).count(), 50);
    let status = yard.stage.core.serve(Request::Status).unwrap();
    assert_eq!(status["questions"], 200);
}
