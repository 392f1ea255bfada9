//! Runs that steps of other runs start: one story each, and the laws at every record of both streams.
//!
//! Owns the stories; chance plays such runs as well.

use super::check;
use super::make;
use super::rng::Rng;
use super::stage::{Death, Stage};
use super::world::Doing;
use crate::run::fixtures::socket;
use crate::run::fixtures::{playbook_of, step};
use crate::run::{Refusal, Request};
use crate::store::by_hand::{self, At};
use quell_model::playbook::{
    DetectionFilter, Expression, ForEach, InputSpec, InputType, ItemErrors, Playbook, Step, StepKind, SubPlaybook,
};
use quell_model::record::{RunStarted, RunState, StepFinished};
use quell_model::{Body, Class, Json, Mode, Outcome, Record, RunId, StreamId};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A playbook that nothing but another starts.
fn child(name: &str, steps: Vec<Step>) -> Arc<Playbook> {
    let mut playbook = playbook_of(steps);
    playbook.on.detections = None;
    playbook.inputs =
        [("who".to_owned(), InputSpec { kind: InputType::String, default: Some(json!("nobody")) })].into();
    playbook.outputs = [("told".to_owned(), json!("${{ inputs.who }} on ${{ event.node }}"))].into();
    make::named(playbook, name)
}

fn parent(steps: Vec<Step>) -> Arc<Playbook> {
    let mut playbook = playbook_of(steps);
    let (rules, level) = (vec!["rule".into()], quell_model::Level::Informational);
    playbook.on.detections = Some(DetectionFilter { rules, tags: Vec::new(), level });
    playbook.outputs = [("told".to_owned(), json!("${{ steps.sub?.told }}"))].into();
    make::named(playbook, "parent")
}

/// Freezes, starts two steps of a playbook that acts, and acts after it.
fn family() -> Vec<Arc<Playbook>> {
    let lower =
        child("lower", vec![make::acts("hold", &[], "process.freeze"), make::acts("cut", &["hold"], "cloud.cut")]);
    let middle =
        child("middle", vec![make::acts("first", &[], "cloud.cut"), make::starts("deeper", &["first"], "lower")]);
    let steps = vec![
        make::acts("freeze", &[], "process.freeze"),
        with(make::starts("sub", &["freeze"], "middle"), json!({ "who": "${{ event.subject }}" })),
        make::acts("after", &["sub"], "cloud.cut"),
    ];
    vec![parent(steps), middle, lower]
}

fn with(mut step: Step, with: Json) -> Step {
    sub_of(&mut step).with = with;
    step
}

fn sub_of(step: &mut Step) -> &mut SubPlaybook {
    match &mut step.kind {
        StepKind::Playbook(sub) => sub,
        other => panic!("{other:?}"),
    }
}

fn stage(playbooks: &[Arc<Playbook>]) -> Stage {
    let mut stage = Stage::new(playbooks.to_vec(), Rng::new(3));
    stage.start();
    by_hand::die_at(None);
    stage
}

/// Whoever saw it tells it again, until somebody has taken it.
fn attack(stage: &mut Stage) {
    loop {
        stage.start();
        let detection = make::about("rule", 0, Class::FileEvent, 1, stage.now(), Duration::ZERO);
        if stage.alive(|life| life.core.detections([detection])).is_some() {
            return stage.settle().unwrap();
        }
    }
}

fn first_run(stage: &mut Stage) -> RunId {
    let streams = stage.records();
    let firsts = streams.values().filter_map(|records| started(records)).filter(|run| run.parent.is_none());
    let runs: Vec<RunId> = firsts.map(|run| run.run.clone()).collect();
    assert_eq!(runs.len(), 1, "one attack has one run of its own");
    runs[0].clone()
}

fn started(records: &[Record]) -> Option<&RunStarted> {
    crate::run::shell::run_started(&records.first()?.body)
}

fn run_of(stage: &mut Stage, playbook: &str) -> RunId {
    let streams = stage.records();
    let mut all = streams.values().filter_map(|records| started(records));
    all.find(|run| run.playbook.as_str() == playbook).expect("it was started").run.clone()
}

fn undo(stage: &mut Stage) {
    let run = first_run(stage);
    loop {
        stage.start();
        let request =
            Request::Undo { way: socket(), run: run.clone(), step: None, by: "ann".into(), why: "a drill".into() };
        match stage.alive(|life| life.core.asked(request)) {
            Some(Ok(_) | Err(Refusal::NotNow(_))) => return stage.settle().unwrap(),
            Some(Err(error)) => panic!("{error}"),
            None => stage.settle().unwrap(),
        }
    }
}

/// How each step of each playbook ended, how each run did, and what stands.
#[derive(Debug, PartialEq)]
struct End {
    steps: BTreeMap<String, Outcome>,
    runs: BTreeMap<String, RunState>,
    stands: BTreeMap<String, &'static str>,
}

fn end(stage: &mut Stage, playbooks: &[Arc<Playbook>]) -> End {
    let streams = check::at_the_end(stage, playbooks).unwrap();
    let mut end = End { steps: BTreeMap::new(), runs: BTreeMap::new(), stands: stage.world.state().stands.clone() };
    for records in streams.values() {
        let Some(run) = started(records) else { continue };
        let of =
            run.parent.as_ref().map(|parent| format!("{}>", parent.part)).unwrap_or_default() + run.playbook.as_str();
        for record in records {
            match &record.body {
                Body::StepFinished(b) => drop(end.steps.insert(format!("{of}/{}", b.part), b.outcome)),
                Body::UndoFinished(b) => drop(end.steps.insert(format!("{of}/{}", b.part), b.outcome)),
                Body::RunFinished(b) => drop(end.runs.insert(of.clone(), b.state)),
                _ => {}
            }
        }
    }
    end
}

fn finished(stage: &mut Stage, step: &str) -> StepFinished {
    let run = first_run(stage);
    let records = stage.records().remove(&StreamId::run(&run)).unwrap();
    let is_it = |record: Record| match record.body {
        Body::StepFinished(b) if b.part.step.as_str() == step && b.part.item.is_none() => Some(*b),
        _ => None,
    };
    records.into_iter().find_map(is_it).expect("it ended by itself")
}

#[test]
fn a_step_ends_as_the_run_that_it_started_and_gives_its_outputs() {
    let playbooks = family();
    let mut stage = stage(&playbooks);
    attack(&mut stage);
    let ended = end(&mut stage, &playbooks);
    let all = ["parent", "sub>middle", "deeper>lower"];
    assert!(all.iter().all(|run| ended.runs[*run] == RunState::Succeeded), "{ended:?}");
    let sub = finished(&mut stage, "sub");
    assert_eq!((sub.outcome, sub.output), (Outcome::Verified, json!({ "told": "user:user0 on n" })));
    let streams = stage.records();
    let of =
        |name: &str| streams.values().filter_map(|records| started(records)).find(|run| run.playbook.as_str() == name);
    let (top, low) = (of("parent").unwrap(), of("lower").unwrap());
    assert_eq!(
        (&low.incident, &low.event, &low.per, low.untrusted),
        (&top.incident, &top.event, &top.per, top.untrusted)
    );
    assert_eq!(low.parent.as_ref().unwrap().depth, 2);
    // A detection of the same joins the first, and no run that a step has started.
    let before = streams.len();
    attack(&mut stage);
    assert_eq!(stage.records().len(), before);
}

#[test]
fn crash_law_an_engine_killed_at_any_record_of_either_run_comes_to_the_same_end() {
    let playbooks = family();
    let acted = |stage: &mut Stage| attack(stage);
    let undone = |stage: &mut Stage| {
        let place = by_hand::pending();
        by_hand::die_at(None);
        attack(stage);
        by_hand::die_at(place);
        undo(stage);
    };
    let both: [&dyn Fn(&mut Stage); 2] = [&acted, &undone];
    for then in both {
        let mut undisturbed = stage(&playbooks);
        then(&mut undisturbed);
        let most = by_hand::writes();
        let expected = end(&mut undisturbed, &playbooks);
        assert!(most > 5, "{most}");
        for at in [At::Before, At::After] {
            for number in 1..=most {
                let mut stage = stage(&playbooks);
                by_hand::die_at(Some((at, number)));
                then(&mut stage);
                assert_eq!(end(&mut stage, &playbooks), expected, "killed {at:?} write {number} of {most}");
                let state = stage.world.state();
                let keys: Vec<(&String, bool)> = state.calls.iter().map(|call| (&call.key, call.undo)).collect();
                let twice = keys.iter().find(|key| keys.iter().filter(|other| other == key).count() > 1);
                assert_eq!(twice, None, "killed {at:?} write {number} of {most}: it was done twice");
            }
        }
    }
}

#[test]
fn reboot_law_a_power_cut_at_any_record_of_either_run_leaves_nothing_open() {
    let playbooks = family();
    let mut undisturbed = stage(&playbooks);
    attack(&mut undisturbed);
    let most = by_hand::writes();
    for at in [At::Before, At::After] {
        for number in 1..=most {
            let mut stage = stage(&playbooks);
            stage.next_death = Death::PowerCut;
            by_hand::die_at(Some((at, number)));
            attack(&mut stage);
            end(&mut stage, &playbooks);
        }
    }
}

#[test]
fn undo_law_what_a_run_and_those_below_it_did_is_taken_back_in_reverse_and_once() {
    let playbooks = family();
    let mut stage = stage(&playbooks);
    attack(&mut stage);
    assert_eq!(stage.world.state().stands.len(), 5);
    undo(&mut stage);
    let ended = end(&mut stage, &playbooks);
    assert!(ended.runs.values().all(|state| *state == RunState::Undone) && ended.stands.is_empty(), "{ended:?}");
    let undone: Vec<String> = {
        let state = stage.world.state();
        state
            .calls
            .iter()
            .filter(|call| call.undo)
            .map(|call| call.key.rsplit('/').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(undone, ["after", "cut", "hold", "first", "freeze"], "the last step first, also across runs");
    let calls = stage.world.state().calls.len();
    undo(&mut stage);
    assert_eq!(stage.world.state().calls.len(), calls, "asked for again, there is nothing left");
}

#[test]
fn a_run_below_that_cannot_be_taken_back_makes_those_above_stuck_until_it_can() {
    let playbooks = family();
    let mut stage = stage(&playbooks);
    attack(&mut stage);
    stage.world.state().wanted.insert("-hold".into(), vec![Doing::GivesUp]);
    undo(&mut stage);
    let ended = end(&mut stage, &playbooks);
    assert!(ended.runs.values().all(|state| *state == RunState::Stuck), "{ended:?}");
    assert_eq!((ended.steps["parent/sub"], ended.stands.len()), (Outcome::Stuck, 1), "{ended:?}");
    undo(&mut stage);
    let ended = end(&mut stage, &playbooks);
    assert!(ended.runs.values().all(|state| *state == RunState::Undone) && ended.stands.is_empty(), "{ended:?}");
}

#[test]
fn what_fails_below_fails_above_and_on_failure_undo_reaches_down() {
    let mut playbooks = family();
    let mut steps = playbooks[0].steps.clone();
    steps[2].on_failure = quell_model::playbook::OnFailure::Undo;
    for (fails, sub) in [("cut", Outcome::Failed), ("after", Outcome::Verified)] {
        playbooks[0] = parent(steps.clone());
        let mut stage = stage(&playbooks);
        stage.world.state().wanted.insert(fails.into(), vec![Doing::GivesUp]);
        attack(&mut stage);
        let ended = end(&mut stage, &playbooks);
        if sub == Outcome::Failed {
            assert_eq!((ended.steps["parent/sub"], ended.runs["parent"]), (sub, RunState::Failed));
            assert!(finished(&mut stage, "sub").proof.contains("`cut` failed: it will never work"));
        } else {
            assert!(
                ended.stands.is_empty() && ended.runs.values().all(|state| *state == RunState::Undone),
                "{ended:?}"
            );
        }
    }
}

#[test]
fn a_step_starts_another_run_once_nothing_of_the_earlier_one_stands() {
    let playbooks = family();
    let mut stage = stage(&playbooks);
    stage.world.state().wanted.insert("cut".into(), vec![Doing::GivesUp]);
    attack(&mut stage);
    let top = first_run(&mut stage);
    let retry = || Request::Retry { run: top.clone(), from: None, by: "ann".into(), why: "it is mended".into() };
    let why = stage.alive(|life| life.core.asked(retry())).unwrap().unwrap_err().to_string();
    let middle = run_of(&mut stage, "middle");
    let told =
        format!("`first` of run `{middle}`, which `sub` has started, still stands: `quell run undo {middle}` first");
    assert!(why.contains(&told), "{why}");
    let undo_it = Request::Undo { way: socket(), run: middle, step: None, by: "ann".into(), why: "a drill".into() };
    stage.alive(|life| life.core.asked(undo_it)).unwrap().unwrap();
    stage.settle().unwrap();
    assert_eq!(stage.world.state().stands.len(), 1, "what the first step did");
    stage.alive(|life| life.core.asked(retry())).unwrap().unwrap();
    stage.settle().unwrap();
    assert_eq!(stage.world.state().stands.len(), 5);
    assert_eq!(stage.records().values().filter_map(|records| started(records)).count(), 5, "two runs are new");
    undo(&mut stage);
    assert_eq!(end(&mut stage, &playbooks).stands.len(), 0);
}

#[test]
fn a_run_below_is_tried_again_by_itself_only_where_an_undo_above_reaches_it() {
    let playbooks = family();
    let mut stage = stage(&playbooks);
    stage.world.state().wanted.insert("hold".into(), vec![Doing::GivesUp]);
    attack(&mut stage);
    let low = run_of(&mut stage, "lower");
    let retry = || Request::Retry { run: low.clone(), from: None, by: "ann".into(), why: "it is mended".into() };
    stage.alive(|life| life.core.asked(retry())).unwrap().unwrap();
    stage.settle().unwrap();
    assert_eq!(end(&mut stage, &playbooks).runs["deeper>lower"], RunState::Succeeded);
    undo(&mut stage);
    assert_eq!(end(&mut stage, &playbooks).stands.len(), 0, "also what it did at the second try");

    let mut stage = self::stage(&playbooks);
    stage.world.state().wanted.insert("hold".into(), vec![Doing::GivesUp]);
    attack(&mut stage);
    undo(&mut stage);
    let low = run_of(&mut stage, "lower");
    let retry = Request::Retry { run: low, from: None, by: "ann".into(), why: "it is mended".into() };
    let why = stage.alive(|life| life.core.asked(retry)).unwrap().unwrap_err().to_string();
    assert!(why.contains("`deeper` of run `") && why.contains("was taken back or begun again"), "{why}");
    assert_eq!(end(&mut stage, &playbooks).stands.len(), 0);
}

#[test]
fn a_step_whose_run_goes_on_is_not_skipped() {
    let nap = child("nap", vec![make::waits("nap", &[], 600)]);
    let playbooks = vec![parent(vec![make::starts("sub", &[], "nap")]), nap];
    let mut stage = stage(&playbooks);
    let detection = make::about("rule", 0, Class::FileEvent, 1, stage.now(), Duration::ZERO);
    stage.alive(|life| life.core.detections([detection]));
    let (run, below) = (first_run(&mut stage), run_of(&mut stage, "nap"));
    let skip = Request::Skip { run, step: "sub".into(), by: "ann".into(), why: String::new() };
    let why = stage.alive(|life| life.core.asked(skip)).unwrap().unwrap_err().to_string();
    assert!(why.contains(&format!("`quell run cancel {below}` ends it")), "{why}");
    stage.alive(|life| life.core.asked(Request::Cancel { run: below, by: "ann".into() })).unwrap().unwrap();
    stage.settle().unwrap();
    let ended = end(&mut stage, &playbooks);
    assert_eq!((ended.runs["parent"], ended.runs["sub>nap"]), (RunState::Failed, RunState::Cancelled));
}

#[test]
fn a_cancel_reaches_down_but_not_to_what_is_detached() {
    for detach in [false, true] {
        let nap = child("nap", vec![make::waits("nap", &[], 600), make::acts("cut", &["nap"], "cloud.cut")]);
        let mut sub = make::starts("sub", &[], "nap");
        sub_of(&mut sub).detach = detach;
        let playbooks = vec![parent(vec![sub, make::waits("long", &[], 60)]), nap];
        let mut stage = stage(&playbooks);
        let detection = make::about("rule", 0, Class::FileEvent, 1, stage.now(), Duration::ZERO);
        stage.alive(|life| life.core.detections([detection]));
        let run = first_run(&mut stage);
        stage.alive(|life| life.core.asked(Request::Cancel { run, by: "ann".into() })).unwrap().unwrap();
        stage.settle().unwrap();
        let ended = end(&mut stage, &playbooks);
        let below = if detach { RunState::Succeeded } else { RunState::Cancelled };
        assert_eq!((ended.runs["parent"], ended.runs["sub>nap"]), (RunState::Cancelled, below), "{ended:?}");
        assert_eq!(stage.world.state().calls.len(), usize::from(detach));
        assert_eq!(ended.steps["parent/sub"], if detach { Outcome::Done } else { Outcome::Cancelled });
    }
}

/// A run whose step has started one that holds something and then naps for ten minutes.
fn napping(stage: &mut Stage) -> (RunId, RunId) {
    let detection = make::about("rule", 0, Class::FileEvent, 1, stage.now(), Duration::ZERO);
    stage.alive(|life| life.core.detections([detection]));
    (first_run(stage), run_of(stage, "nap"))
}

fn naps() -> Vec<Arc<Playbook>> {
    let hold = make::acts("hold", &[], "process.freeze");
    let nap = child("nap", vec![hold, make::waits("nap", &["hold"], 600), make::acts("cut", &["nap"], "cloud.cut")]);
    let beside = make::acts("beside", &[], "process.freeze");
    vec![parent(vec![make::starts("sub", &[], "nap"), make::acts("after", &["sub"], "cloud.cut"), beside]), nap]
}

#[test]
fn a_step_whose_run_goes_on_is_taken_back_at_once() {
    let playbooks = naps();
    let mut stage = stage(&playbooks);
    let (run, _) = napping(&mut stage);
    let began = stage.now();
    assert_eq!(stage.world.state().stands.len(), 2);
    let request =
        Request::Undo { way: socket(), run, step: Some("sub".into()), by: "ann".into(), why: "a drill".into() };
    let told = stage.alive(|life| life.core.asked(request)).unwrap().unwrap();
    assert!(told["undoing"][0].as_str().unwrap().ends_with("/hold"), "{told}");
    stage.settle().unwrap();
    assert!(stage.now().since(began) < Duration::from_secs(60), "it is not waited for");
    let ended = end(&mut stage, &playbooks);
    assert_eq!(ended.runs["sub>nap"], RunState::Undone);
    assert_eq!((ended.steps["parent/sub"], ended.runs["parent"]), (Outcome::Undone, RunState::Failed), "{ended:?}");
    let left: Vec<&String> = ended.stands.keys().collect();
    assert!(
        left.len() == 1 && left[0].ends_with("beside"),
        "what it did itself stands, and nothing after it: {left:?}"
    );
}

#[test]
fn a_step_whose_run_goes_on_and_did_nothing_yet_is_ended_when_it_is_taken_back() {
    let nap = child("nap", vec![make::waits("nap", &[], 600), make::acts("cut", &["nap"], "cloud.cut")]);
    let playbooks = vec![parent(vec![make::starts("sub", &[], "nap")]), nap];
    let mut stage = stage(&playbooks);
    let (run, _) = napping(&mut stage);
    let request =
        Request::Undo { way: socket(), run, step: Some("sub".into()), by: "ann".into(), why: "a drill".into() };
    stage.alive(|life| life.core.asked(request)).unwrap().unwrap();
    stage.settle().unwrap();
    let ended = end(&mut stage, &playbooks);
    assert_eq!((ended.runs["sub>nap"], stage.world.state().calls.len()), (RunState::Cancelled, 0), "{ended:?}");
}

#[test]
fn who_waits_for_a_run_is_not_stuck_and_says_so_where_that_one_is() {
    let playbooks = naps();
    let mut stage = stage(&playbooks);
    let (run, below) = napping(&mut stage);
    let stuck = stage.alive(|life| life.core.asked(Request::Stuck)).unwrap().unwrap();
    assert_eq!(stuck, json!([]), "the run below waits for its moment");
    // The moment passes, and nobody looks: a mistake, which the run above has no part in.
    stage.clock.advance(Duration::from_secs(601));
    let stuck = stage.alive(|life| life.core.asked(Request::Stuck)).unwrap().unwrap();
    let why =
        |id: &RunId| stuck.as_array().unwrap().iter().find(|one| one["id"] == id.as_str()).unwrap()["why"].clone();
    assert_eq!(why(&run), format!("`sub` waits for run `{below}`, which does not move"));
    assert!(why(&below).as_str().unwrap().contains("a mistake in quell"), "{stuck}");
    stage.settle().unwrap();
    end(&mut stage, &playbooks);
}

#[test]
fn each_item_has_a_run_of_its_own() {
    let mut each = with(make::starts("sub", &[], "lower"), json!({ "who": "${{ item }}" }));
    let list = Expression { text: "[\"a\", \"b\", \"c\"]".into(), span: Default::default() };
    each.for_each = Some(ForEach { list, max_parallel: 2, errors: ItemErrors::Collect });
    let mut playbooks = family();
    playbooks[0] = parent(vec![each]);
    let mut stage = stage(&playbooks);
    attack(&mut stage);
    let ended = end(&mut stage, &playbooks);
    assert_eq!(ended.runs.len(), 4, "{ended:?}");
    assert_eq!(ended.steps["parent/sub"], Outcome::Verified);
    undo(&mut stage);
    assert_eq!(end(&mut stage, &playbooks).stands.len(), 0);
}

#[test]
fn what_a_step_starts_for_many_items_counts_for_the_run_that_has_the_step() {
    let playbooks = |targets: u32| {
        let lower =
            child("lower", vec![make::acts("cut", &[], "cloud.cut"), make::acts("hold", &[], "process.freeze")]);
        let mut each = make::starts("each", &[], "lower");
        let list = Expression { text: "[1, 2, 3, 4]".into(), span: Default::default() };
        each.for_each = Some(ForEach { list, max_parallel: 1, errors: ItemErrors::Collect });
        let mut top = Playbook::clone(&parent(vec![each]));
        top.limits.targets = Some(targets);
        vec![make::named(top, "parent"), lower]
    };
    for (number, death) in [(0, At::Before), (7, At::After), (11, At::After), (15, At::Before)] {
        let playbooks = playbooks(5);
        let mut stage = stage(&playbooks);
        by_hand::die_at((number > 0).then_some((death, number)));
        attack(&mut stage);
        let ended = end(&mut stage, &playbooks);
        assert_eq!(ended.stands.len(), 5, "killed at write {number}: {ended:?}");
        assert_eq!(ended.runs["parent"], RunState::Failed);
        let retry = Request::Retry { run: first_run(&mut stage), from: None, by: "ann".into(), why: String::new() };
        stage.alive(|life| drop(life.core.asked(retry)));
        stage.settle().unwrap();
        assert!(stage.world.state().stands.len() <= 5, "nor at a second try");
    }
    let playbooks = playbooks(8);
    let mut stage = stage(&playbooks);
    attack(&mut stage);
    assert_eq!(end(&mut stage, &playbooks).runs["parent"], RunState::Succeeded, "as many as it allows");
}

/// What nobody reads is not made: with all of it for each item, twice the items would be four times the work.
#[test]
fn a_step_of_many_items_makes_each_item_s_results_so_often_and_no_more() {
    use crate::run::scope::ITEMS_TOLD;
    let told = |kind: &dyn Fn() -> Step, items: usize| {
        let mut each = kind();
        let list: Vec<String> = (0..items).map(|item| item.to_string()).collect();
        let list = Expression { text: format!("[{}]", list.join(", ")), span: Default::default() };
        each.for_each = Some(ForEach { list, max_parallel: 10_000, errors: ItemErrors::Collect });
        let mut before = make::acts("before", &[], "process.freeze");
        before.for_each = each.for_each.clone();
        each.needs = vec!["before".into()];
        let mut stage = stage(&[parent(vec![before, each]), child("tells", vec![step("tell", &[])])]);
        let begun = ITEMS_TOLD.get();
        attack(&mut stage);
        ITEMS_TOLD.get() - begun
    };
    let sub = || make::starts("each", &[], "tells");
    let waits = || make::awaits("each", &[], "second", 1);
    let asks = || make::asks_in_time("each");
    let kinds: [&dyn Fn() -> Step; 3] = [&sub, &waits, &asks];
    for kind in kinds {
        let (some, twice) = (told(kind, 20), told(kind, 40));
        assert!(twice <= 2 * some, "{some} for 20 items, {twice} for 40");
    }
}

#[test]
fn a_run_goes_no_further_than_the_one_above_it() {
    let rows = [(Mode::Observe, Mode::Enforce, Outcome::Planned), (Mode::Enforce, Mode::Observe, Outcome::Planned)];
    for (above, below, outcome) in rows {
        let playbooks = family();
        let mut stage = stage(&playbooks);
        stage.die(Death::Ended);
        stage.definitions.modes = [("parent".into(), above), ("middle".into(), below), ("lower".into(), below)].into();
        stage.start();
        attack(&mut stage);
        assert_eq!(finished(&mut stage, "sub").outcome, outcome, "{above} over {below}");
        let state = stage.world.state();
        let below_acted = state.calls.iter().any(|call| !call.key.ends_with("freeze") && !call.key.ends_with("after"));
        assert!(!below_acted, "{:?}", state.calls);
    }
}

#[test]
fn what_cannot_be_started_is_a_failure_with_a_reason() {
    let deep: Vec<Arc<Playbook>> =
        (0..7).map(|at| child(&format!("p{at}"), vec![make::starts("next", &[], &format!("p{}", at + 1))])).collect();
    let rows = [
        (make::starts("sub", &[], "nobody"), "there is no playbook `nobody` now"),
        (with(make::starts("sub", &[], "middle"), json!({ "whoo": 1 })), "did you mean `who`?"),
        (with(make::starts("sub", &[], "middle"), json!({ "who": 1 })), "input `who` is no string"),
        (make::starts("sub", &[], "p0"), "runs lie 5 deep already, which is the most"),
    ];
    for (sub, why) in rows {
        let mut playbooks = family();
        playbooks[0] = parent(vec![sub]);
        playbooks.extend(deep.iter().cloned());
        let mut stage = stage(&playbooks);
        attack(&mut stage);
        let proof = finished(&mut stage, "sub").proof;
        assert!(proof.contains(why), "{proof}");
        end(&mut stage, &playbooks);
    }
}
