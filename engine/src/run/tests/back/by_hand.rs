//! A run is tried again after a fix by hand, and a step is left out by a person.

use super::*;
use crate::report;
use quell_model::playbook::{ForEach, ItemErrors, When};
use quell_model::record::RunState;

/// first ─▶ left, right ─▶ last ─▶ report; `left` fails as long as it is too early.
fn broken() -> Playbook {
    playbook_of(vec![
        sets("first", &[], "process.freeze", "a"),
        sets("left", &["first"], "process.freeze", "later"),
        sets("right", &["first"], "cloud.cut", "c"),
        sets("last", &["left", "right"], "process.freeze", "d"),
        Step { when: When::Always, ..step("report", &["last"]) },
    ])
}

impl Yard {
    /// One whose `left` fails `early` times.
    fn broken(early: u32) -> Self {
        let yard = Self::new(broken());
        yard.things.early.store(early, Ordering::SeqCst);
        yard
    }

    fn retry(&mut self, run: &RunId, from: Option<&str>) -> Result<Json, Refusal> {
        let from = from.map(StepId::from);
        self.ask(Request::Retry { run: run.clone(), from, by: "ann".into(), why: "it is mended".into() })
    }

    fn skip(&mut self, run: &RunId, step: &str) -> Result<Json, Refusal> {
        self.ask(Request::Skip { run: run.clone(), step: step.into(), by: "ann".into(), why: "not needed".into() })
    }

    fn outcomes(&self, run: &RunId) -> Vec<String> {
        let view = report::run(&self.stage.journal, run).unwrap().unwrap();
        let told =
            |step: &report::StepView| format!("{} {}", step.id, step.outcome.map_or("-", |outcome| outcome.as_str()));
        view.steps.iter().map(told).collect()
    }

    fn listed(&self, run: &RunId) -> report::RunSummary {
        report::runs(&self.stage.journal).unwrap().into_iter().find(|line| line.id == *run).unwrap()
    }
}

#[test]
fn what_failed_is_tried_again_and_what_was_done_stays() {
    let mut yard = Yard::broken(1);
    let run = yard.attack(1);
    assert_eq!(yard.end_of(&run), "RunFinished failed");
    let mut said = yard.things.said();
    said.sort();
    assert_eq!(said, ["+a", "+c"]);
    let again = yard.retry(&run, None).unwrap();
    assert_eq!(again["again"], json!(["left", "last", "report"]));
    assert_eq!(yard.things.said(), ["+later", "+d"], "the others stay as they are");
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    let all = ["first verified", "left verified", "right verified", "last verified", "report done"];
    assert_eq!(BTreeSet::from_iter(yard.outcomes(&run)), all.map(str::to_owned).into());
    let line = yard.listed(&run);
    assert_eq!((line.state, line.summary.as_str()), (RunState::Succeeded, "4 verified, 1 done"));
    let view = report::run(&yard.stage.journal, &run).unwrap().unwrap();
    let told = |what: &str| view.timeline.iter().filter(|line| line.text.contains(what)).count();
    assert_eq!(told("test is tried again by ann (left, last, report): it is mended"), 1);
    assert_eq!(told("at report"), 2, "it tells how it ended, again: {:#?}", view.timeline);
    assert_eq!(told("test failed"), 1, "and how it was before stands there too");
    assert_eq!(view.people[0].what.as_str(), "retry");
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty(), "all of it can be taken back");
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

#[test]
fn a_run_that_is_tried_again_is_open_until_it_ends() {
    let mut yard = Yard::broken(2);
    let run = yard.attack(1);
    let before = yard.listed(&run);
    assert!(before.ended.is_some() && before.state == RunState::Failed);
    yard.stage
        .core
        .serve(Request::Retry { run: run.clone(), from: None, by: "ann".into(), why: String::new() })
        .unwrap();
    yard.stage.settle();
    assert_eq!(yard.end_of(&run), "RunFinished failed", "it was still too early");
    // A detection of the same meanwhile joins it and starts no other.
    let asks = |mut playbook: Playbook| {
        playbook.steps[1].approve = Some(Default::default());
        playbook
    };
    let mut yard = Yard::new(asks(broken()));
    yard.things.early.store(1, Ordering::SeqCst);
    let run = yard.attack(1);
    yard.ask(Request::Cancel { run: run.clone(), by: "ann".into() }).unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished cancelled");
    let again = yard.retry(&run, None).unwrap();
    assert_eq!(again["again"], json!(["left", "last", "report"]), "what was cancelled, with what comes after it");
    let line = yard.listed(&run);
    assert_eq!((line.state, line.ended), (RunState::Waiting, None), "{}", line.summary);
    assert!(line.summary.contains("left waits for its approval"), "{}", line.summary);
    assert!(yard.stage.journal.open_streams().unwrap().contains(&StreamId::run(&run)));
    assert_eq!(yard.attack(2), run, "it takes what is of the same");
    assert_eq!(yard.stage.runs().len(), 1);
}

#[test]
fn from_a_step_on_it_is_done_again_with_what_comes_after_it() {
    let mut yard = Yard::broken(1);
    let run = yard.attack(1);
    yard.things.said();
    let again = yard.retry(&run, Some("left")).unwrap();
    assert_eq!(again["again"], json!(["left", "last", "report"]));
    assert_eq!(yard.things.said(), ["+later", "+d"]);
    // What stands is not lost sight of, though it was done twice.
    let mut yard = Yard::broken(1);
    let run = yard.attack(1);
    yard.things.said();
    let again = yard.retry(&run, Some("right")).unwrap();
    assert_eq!(again["again"], json!(["right", "last", "report"]));
    assert_eq!(yard.things.said(), ["+c"], "`last` is blocked by `left`, which was not tried again");
    assert_eq!(yard.end_of(&run), "RunFinished failed");
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty(), "{:?}", yard.things.stand());
}

#[test]
fn whoever_asks_for_what_cannot_be_tried_again_hears_why() {
    let mut yard = Yard::broken(0);
    let run = yard.attack(1);
    let why = |yard: &mut Yard, run: &RunId, from| yard.retry(run, from).unwrap_err().to_string();
    assert!(why(&mut yard, &run, None).contains("succeeded"));
    assert!(matches!(yard.retry(&"r-none".into(), None), Err(Refusal::NotFound { .. })));
    yard.undo(&run, None).unwrap();
    assert!(why(&mut yard, &run, None).contains("was taken back"));

    let mut yard = Yard::broken(1);
    let run = yard.attack(1);
    let refused = yard.retry(&run, Some("lost")).unwrap_err();
    assert_eq!(refused, Refusal::Wrong("`lost` is no step of `test`; did you mean `last`?".into()));
    yard.ask(Request::Pause { paused: true, by: "ann".into() }).unwrap();
    assert!(why(&mut yard, &run, None).contains("paused"));
    yard.ask(Request::Pause { paused: false, by: "ann".into() }).unwrap();
    let records = yard.stage.story(&run).len();
    assert_eq!(yard.stage.story(&run).len(), records, "what is refused leaves nothing");
    yard.things.firm.lock().unwrap().insert("a".into());
    yard.undo(&run, None).unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished stuck");
    assert!(why(&mut yard, &run, None).contains("could not be taken back"));

    let mut playbook = broken();
    playbook.steps[1].approve = Some(Default::default());
    let mut yard = Yard::new(playbook);
    let run = yard.attack(1);
    assert!(why(&mut yard, &run, None).contains("has not ended"));
}

#[test]
fn of_many_items_only_those_that_failed_are_done_again() {
    let mut each = sets("each", &[], "process.freeze", "${{ item }}");
    let list = Expression { text: r#"["a", "later", "b"]"#.into(), span: Default::default() };
    each.for_each = Some(ForEach { list, max_parallel: 1, errors: ItemErrors::Collect });
    let mut yard = Yard::new(playbook_of(vec![each]));
    yard.things.early.store(1, Ordering::SeqCst);
    let run = yard.attack(1);
    assert_eq!(yard.things.said(), ["+a", "+b"]);
    assert_eq!(yard.end_of(&run), "RunFinished failed");
    assert_eq!(yard.retry(&run, None).unwrap()["again"], json!(["each[1]"]));
    assert_eq!(yard.things.said(), ["+later"]);
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    let view = report::run(&yard.stage.journal, &run).unwrap().unwrap();
    assert!(view.steps[0].items.iter().all(|item| item.outcome == Some(Outcome::Verified)), "{:#?}", view.steps);
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty());
}

#[test]
fn an_engine_that_dies_while_it_tries_again_goes_on_where_it_was() {
    let mut uninterrupted = Yard::broken(1);
    let run = uninterrupted.attack(1);
    uninterrupted.retry(&run, Some("right")).unwrap();
    let whole = uninterrupted.stage.story(&run);
    // `right` is in the cloud's lane: of that nothing has happened when the engine ends.
    let mut yard = Yard::broken(1);
    let run = yard.attack(1);
    yard.things.said();
    let request = Request::Retry { run: run.clone(), from: Some("right".into()), by: "ann".into(), why: String::new() };
    yard.stage.core.serve(request).unwrap();
    assert!(yard.stage.core.runs.contains_key(&run));
    let mut yard = yard.again("b");
    yard.stage.settle();
    assert_eq!(yard.end_of(&run), *whole.last().unwrap());
    assert_eq!(yard.outcomes(&run), uninterrupted.outcomes(&run));
    assert_eq!(yard.things.stand(), uninterrupted.things.stand());
    assert!(yard.things.said().len() <= 1, "it is not done twice");
}

#[test]
fn a_step_that_waits_is_left_out_and_what_needs_it_goes_on() {
    let mut playbook = diamond();
    playbook.steps[1].approve = Some(Default::default());
    let mut yard = Yard::new(playbook.clone());
    let run = yard.attack(1);
    assert_eq!(yard.outcomes(&run)[1], "left -");
    assert_eq!(yard.skip(&run, "left").unwrap()["skipped"], "left");
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    assert_eq!(yard.things.stand(), ["a", "c", "d"]);
    let view = report::run(&yard.stage.journal, &run).unwrap().unwrap();
    let step = view.steps.iter().find(|step| step.id == "left").unwrap();
    assert_eq!((step.outcome, step.proof.as_str()), (Some(Outcome::Skipped), "skipped by ann: not needed"));
    assert!(step.open_question().is_none() && step.waits.is_none());
    let told = view.timeline.iter().filter(|line| line.text.contains("left skipped")).count();
    assert_eq!(told, 1, "one line says it: {:#?}", view.timeline);
    let why = |refused: Result<Json, Refusal>| refused.unwrap_err().to_string();
    assert!(why(yard.skip(&run, "left")).contains("has ended: `quell run retry"));
    assert!(matches!(yard.skip(&"r-none".into(), "left"), Err(Refusal::NotFound { .. })));

    let mut yard = Yard::new(playbook);
    let run = yard.attack(1);
    assert!(why(yard.skip(&run, "first")).contains("`first` has ended: verified"));
    assert!(matches!(yard.skip(&run, "lift"), Err(Refusal::Wrong(why)) if why.contains("did you mean `left`?")));
    // One that nothing has been tried of yet: its turn never comes.
    yard.skip(&run, "last").unwrap();
    yard.skip(&run, "left").unwrap();
    assert_eq!(yard.things.stand(), ["a", "c"]);
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
}

#[test]
fn a_step_that_acts_is_not_left_out() {
    let mut yard = Yard::new(diamond());
    let mut attack = detection("7", 1);
    Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
    yard.stage.core.detections([attack]);
    let run = yard.stage.runs().pop().unwrap();
    let request = Request::Skip { run: run.clone(), step: "right".into(), by: "ann".into(), why: String::new() };
    let refused = yard.stage.core.serve(request).unwrap_err().to_string();
    assert!(refused.contains("`right` is"), "{refused}");
    yard.stage.settle();
    assert_eq!(yard.things.stand(), ["a", "b", "c", "d"]);
}

#[test]
fn what_a_person_left_out_stays_so_when_the_rest_is_tried_again() {
    let mut playbook = broken();
    playbook.steps[1].approve = Some(Default::default());
    playbook.steps[3].needs = vec!["first".into()];
    playbook.steps[3].approve = Some(Default::default());
    playbook.steps.push(sets("more", &["last"], "process.freeze", "fails"));
    let mut yard = Yard::new(playbook);
    let run = yard.attack(1);
    yard.skip(&run, "left").unwrap();
    yard.skip(&run, "last").unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished failed");
    assert_eq!(yard.retry(&run, None).unwrap()["again"], json!(["more"]));
}

#[test]
fn nothing_is_stuck_or_it_says_why() {
    let mut playbook = diamond();
    playbook.steps[1].approve = Some(Default::default());
    let mut yard = Yard::new(playbook);
    let run = yard.attack(1);
    assert_eq!(yard.ask(Request::Stuck).unwrap(), json!([]), "it waits for a person, who is named");
    let Yard { stage, .. } = yard;
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    let mut stage = stage_in(dir, World::default(), Definitions::default());
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    let stuck = stage.core.serve(Request::Stuck).unwrap();
    assert_eq!(stuck[0]["id"], run.as_str());
    assert!(stuck[0]["why"].as_str().unwrap().contains("pinned"), "{stuck}");
    let why = stage.core.serve(Request::Retry { run, from: None, by: "ann".into(), why: String::new() });
    assert!(why.unwrap_err().to_string().contains("cannot"), "a sentence");
}

#[test]
fn a_time_s_runs_and_those_that_failed_are_listed() {
    let mut yard = Yard::broken(1);
    let failed = yard.attack(1);
    yard.clock.advance(HOUR);
    let noon = yard.clock.now().wall;
    let good = yard.attack_by("8", 2);
    let list = |wanted| -> Vec<RunId> {
        let page = report::run_page_of(&yard.stage.journal, None, report::LONGEST, &wanted).unwrap();
        page.lines.into_iter().map(|line| line.id).collect()
    };
    let wanted = report::RunsWanted::default;
    assert_eq!(list(wanted()), [good.clone(), failed.clone()]);
    assert_eq!(list(report::RunsWanted { failed: true, ..wanted() }), [failed]);
    assert_eq!(list(report::RunsWanted { since: Some(noon), ..wanted() }), std::slice::from_ref(&good));
    let stuck = std::collections::HashMap::from([(good.clone(), "it hangs".to_owned())]);
    let page = report::run_page_of(
        &yard.stage.journal,
        None,
        report::LONGEST,
        &report::RunsWanted { stuck: Some(stuck), ..wanted() },
    );
    let lines = page.unwrap().lines;
    assert_eq!(lines.iter().map(|line| (&line.id, line.summary.as_str())).collect::<Vec<_>>(), [(&good, "it hangs")]);
}

#[test]
fn what_is_done_again_has_a_key_of_its_own_and_its_undo_the_key_of_what_it_undoes() {
    let mut yard = Yard::broken(2);
    let run = yard.attack(1);
    yard.retry(&run, None).unwrap();
    yard.retry(&run, None).unwrap();
    let keys = |yard: &Yard, step: &str| -> Vec<String> {
        let all = std::mem::take(&mut *yard.things.keys.lock().unwrap());
        let of_step = all.into_iter().filter(|key| key.split(['/', '#']).nth(1) == Some(step));
        of_step.map(|key| key.strip_prefix(&format!("{run}/")).unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&yard, "left"), ["left", "left#2", "left#3"], "each was known to have failed before the next");
    yard.undo(&run, None).unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished undone");
    let all = std::mem::take(&mut *yard.things.keys.lock().unwrap());
    assert!(all.contains(&format!("{run}/right/undo")), "{all:?}");
}
