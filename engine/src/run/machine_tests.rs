//! The machine's laws: the order law over any DAG, and the words of `when` and `on_failure` row by row.

use super::*;
use crate::run::fixtures::{playbook_of, started, step};
use proptest::prelude::*;
use quell_model::playbook::{ForEach, ItemErrors};
use quell_model::record::{PersonActed, StepBlocked, StepFailed, StepFinished, StepProgressed, StepSkipped, TimerSet};
use quell_model::{Outcome, Plan};

fn at(ms: u64) -> Stamp {
    Stamp { wall: jiff::Timestamp::from_millisecond(1_790_000_000_000 + ms as i64).unwrap(), boot_ns: ms * 1_000_000 }
}

fn whole(step: &str) -> Part {
    Part { step: step.into(), item: None }
}

fn finished(part: Part, outcome: Outcome) -> Body {
    StepFinished {
        part,
        action: None,
        outcome,
        output: Json::Null,
        proof: format!("was {outcome}"),
        attempts: 1,
        moments: Default::default(),
    }
    .into()
}

fn run_of(steps: Vec<Step>) -> Run {
    let playbook = Arc::new(playbook_of(steps));
    Run::new(Arc::clone(&playbook), started(&playbook), at(0))
}

/// Runs to the end, each started step ending as `ends` says (verified by default); gives the order of starts.
fn play(run: &mut Run, ends: &dyn Fn(&str) -> Outcome) -> Vec<String> {
    let mut order = Vec::new();
    for _ in 0..1000 {
        let commands = run.next(at(1));
        if commands.is_empty() {
            break;
        }
        for command in commands {
            let body: Body = match command {
                Command::Start { part, .. } => {
                    order.push(part.step.to_string());
                    let outcome = ends(part.step.as_str());
                    finished(part, outcome)
                }
                Command::Block { step, by, outcome } => StepBlocked { step, by, outcome }.into(),
                Command::Skip { step, why } => StepSkipped { step, why }.into(),
                Command::Finish { state, summary } => {
                    quell_model::record::RunFinished { state, outputs: Json::Null, summary }.into()
                }
                Command::Conclude { step } => finished(Part { step, item: None }, Outcome::Verified),
                Command::TakeUp { .. } | Command::Leave { .. } => unreachable!("nothing was left intended"),
                Command::Wake { .. } | Command::Follow { .. } => unreachable!("nothing waits"),
                Command::TakeBack { .. } | Command::BeginUndo { .. } => unreachable!("nothing contains"),
                Command::GoOn { .. } | Command::Settle { .. } | Command::Confirm { .. } => {
                    unreachable!("nothing asks")
                }
            };
            run.apply(at(1), &body);
        }
    }
    order
}

fn outcomes(run: &Run) -> Vec<String> {
    let one = |step: &Step| format!("{} {}", step.id, run.outcome(&step.id).map_or("-".to_owned(), |o| o.to_string()));
    run.playbook.steps.iter().map(one).collect()
}

#[test]
fn steps_follow_their_needs_and_the_run_succeeds() {
    let mut run = run_of(vec![step("report", &["kill"]), step("freeze", &[]), step("kill", &["freeze"])]);
    assert_eq!(play(&mut run, &|_| Outcome::Verified), ["freeze", "kill", "report"]);
    assert_eq!(run.state(), RunState::Succeeded);
}

#[test]
fn a_bad_end_blocks_its_dependents_only() {
    let mut run = run_of(vec![step("a", &[]), step("b", &["a"]), step("c", &["b"]), step("d", &[]), step("e", &["d"])]);
    play(&mut run, &|id| if id == "a" { Outcome::Failed } else { Outcome::Verified });
    assert_eq!(outcomes(&run), ["a failed", "b blocked", "c blocked", "d verified", "e verified"]);
    assert_eq!(run.state(), RunState::Failed);
}

#[test]
fn refused_under_continue_counts_as_met_everywhere() {
    let mut a = step("a", &[]);
    a.on_failure = OnFailure::Continue;
    let mut c = step("c", &["a"]);
    c.when = When::Failure;
    let mut run = run_of(vec![a, step("b", &["a"]), c]);
    play(&mut run, &|id| if id == "a" { Outcome::Refused } else { Outcome::Verified });
    assert_eq!(outcomes(&run), ["a refused", "b verified", "c skipped"]);
    assert_eq!(run.state(), RunState::Succeeded);
}

#[test]
fn when_failure_and_always_run_after_a_bad_end() {
    let mut failure = step("failure", &["b"]);
    failure.when = When::Failure;
    let mut always = step("always", &["b"]);
    always.when = When::Always;
    let mut run = run_of(vec![step("a", &[]), step("b", &["a"]), failure, always, step("success", &["b"])]);
    play(&mut run, &|id| if id == "a" { Outcome::Denied } else { Outcome::Verified });
    assert_eq!(outcomes(&run), ["a denied", "b blocked", "failure verified", "always verified", "success blocked"]);
}

#[test]
fn halt_cancels_what_has_not_begun_but_not_always_steps() {
    let mut a = step("a", &[]);
    a.on_failure = OnFailure::Halt;
    let mut always = step("tell", &["later"]);
    always.when = When::Always;
    let mut run = run_of(vec![a, step("b", &["a"]), step("first", &[]), step("later", &["first"]), always]);
    play(&mut run, &|id| if id == "a" { Outcome::Failed } else { Outcome::Verified });
    assert_eq!(outcomes(&run), ["a failed", "b cancelled", "first verified", "later cancelled", "tell verified"]);
    assert_eq!(run.state(), RunState::Failed);
}

#[test]
fn a_persons_cancel_ends_everything_that_has_not_begun() {
    let mut run = run_of(vec![step("a", &[]), step("b", &["a"])]);
    run.apply(at(1), &PersonActed { by: "ann".into(), what: "cancel".into(), detail: Json::Null }.into());
    play(&mut run, &|_| Outcome::Verified);
    assert_eq!(outcomes(&run), ["a cancelled", "b cancelled"]);
    assert_eq!(run.state(), RunState::Cancelled);
}

#[test]
fn a_step_that_waits_is_woken_at_its_moment_and_a_cancelled_one_waits_no_more() {
    let mut run = run_of(vec![step("a", &[]), step("b", &["a"])]);
    let timer = |what: &str| TimerSet { part: whole("a"), what: what.into(), until: at(50) };
    run.apply(at(1), &timer("another").into());
    assert_eq!(run.next_wait(at(1)), None, "another timer is no wait");
    run.apply(at(1), &timer(WAIT).into());
    assert_eq!((run.next(at(49)), run.next_wait(at(1))), (vec![], Some(at(50))));
    assert_eq!(run.next(at(50)), [Command::Wake { part: whole("a") }]);
    run.apply(at(50), &PersonActed { by: "ann".into(), what: "cancel".into(), detail: Json::Null }.into());
    play(&mut run, &|_| Outcome::Verified);
    assert_eq!(outcomes(&run), ["a cancelled", "b cancelled"]);
}

#[test]
fn a_failed_attempt_waits_for_its_moment() {
    let mut run = run_of(vec![step("a", &[])]);
    let failed = StepFailed {
        part: whole("a"),
        attempt: 1,
        error: "no".into(),
        hint: None,
        again_at: Some(at(50)),
        unknown: false,
    };
    run.apply(at(1), &failed.into());
    assert_eq!(run.next(at(49)), []);
    assert_eq!(run.next_wait(at(0)), Some(at(50)));
    assert_eq!(run.next(at(50)), [Command::Start { part: whole("a"), attempt: 2, item: Json::Null }]);
}

#[test]
fn an_intent_without_outcome_is_taken_up() {
    let mut run = run_of(vec![step("a", &[])]);
    let intent = StepIntended {
        part: whole("a"),
        attempt: 1,
        action: "process.kill".into(),
        input: Json::Null,
        plan: Plan::default(),
    };
    run.apply(at(1), &intent.into());
    assert_eq!(run.next(at(2)), [Command::TakeUp { part: whole("a"), item: Json::Null }]);
}

#[test]
fn items_go_no_more_at_once_than_allowed_and_stop_after_a_failure() {
    let mut each = step("each", &[]);
    each.for_each = Some(ForEach {
        list: quell_model::playbook::Expression { text: "[]".into(), span: Default::default() },
        max_parallel: 2,
        errors: ItemErrors::Stop,
    });
    let mut run = run_of(vec![each]);
    let listed = StepProgressed { part: whole("each"), mark: serde_json::json!({ "items": ["x", "y", "z"] }) };
    run.apply(at(1), &listed.into());
    let starts: Vec<_> = run
        .next(at(1))
        .into_iter()
        .filter_map(|c| if let Command::Start { part, .. } = c { part.item } else { None })
        .collect();
    assert_eq!(starts, [0, 1]);
    run.apply(at(1), &finished(Part { step: "each".into(), item: Some(0) }, Outcome::Failed));
    run.apply(at(1), &finished(Part { step: "each".into(), item: Some(1) }, Outcome::Verified));
    assert_eq!(run.next(at(2)), [Command::Conclude { step: "each".into() }]);
}

/// As an earlier quell could leave it: the step had ended over an item whose plan was still made.
#[test]
fn an_item_s_intent_is_taken_up_though_its_step_has_ended() {
    let mut each = step("each", &[]);
    let list = quell_model::playbook::Expression { text: "[]".into(), span: Default::default() };
    each.for_each = Some(ForEach { list, max_parallel: 2, errors: ItemErrors::Stop });
    let mut run = run_of(vec![each]);
    let item = |at| Part { step: "each".into(), item: Some(at) };
    let listed = StepProgressed { part: whole("each"), mark: serde_json::json!({ "items": ["x", "y"] }) };
    let intent = StepIntended {
        part: item(1),
        attempt: 1,
        action: "cloud.cut".into(),
        input: Json::Null,
        plan: Plan::default(),
    };
    let bodies: [Body; 4] =
        [listed.into(), finished(item(0), Outcome::Failed), finished(whole("each"), Outcome::Failed), intent.into()];
    bodies.iter().for_each(|body| run.apply(at(1), body));
    assert_eq!(run.next(at(2)), [Command::TakeUp { part: item(1), item: "y".into() }]);
    run.apply(at(2), &finished(item(1), Outcome::Verified));
    assert!(matches!(run.next(at(3))[..], [Command::Finish { state: RunState::Failed, .. }]));
}

const ENDS: [Outcome; 5] = [Outcome::Verified, Outcome::Failed, Outcome::Refused, Outcome::Already, Outcome::Denied];

proptest! {
    /// Order law: for any DAG, ends and interleaving, no step starts before its needs have ended, and the run ends.
    #[test]
    fn no_step_starts_before_its_needs_and_every_run_ends(
        edges in proptest::collection::vec((0usize..12, 0usize..12), 0..30),
        ends in proptest::collection::vec((0usize..5, 0u8..3, 0u8..3), 12),
        choices in proptest::collection::vec(0usize..12, 64),
    ) {
        let name = |n: usize| format!("s{n}");
        let steps: Vec<Step> = (0..12).map(|n| {
            let mut needs: Vec<String> = edges.iter().filter(|(a, b)| a.max(b) == &n && a != b).map(|(a, b)| name(*a.min(b))).collect();
            needs.dedup();
            let mut step = step(&name(n), &needs.iter().map(String::as_str).collect::<Vec<_>>());
            step.when = [When::Success, When::Failure, When::Always][ends[n].1 as usize];
            step.on_failure = [OnFailure::Block, OnFailure::Continue, OnFailure::Halt][ends[n].2 as usize];
            step
        }).collect();
        let mut run = run_of(steps);
        let mut choice = choices.into_iter().cycle();
        for _ in 0..200 {
            let commands = run.next(at(1));
            if commands.is_empty() { break; }
            let command = commands[choice.next().unwrap() % commands.len()].clone();
            let body: Body = match command {
                Command::Start { part, .. } => {
                    let needs = run.playbook.step(&part.step).unwrap().needs.clone();
                    for need in &needs {
                        prop_assert!(run.outcome(need).is_some(), "{} started before {}", part.step, need);
                    }
                    let number: usize = part.step.as_str()[1..].parse().unwrap();
                    finished(part, ENDS[ends[number].0])
                }
                Command::Block { step, by, outcome } => StepBlocked { step, by, outcome }.into(),
                Command::Skip { step, why } => StepSkipped { step, why }.into(),
                Command::Finish { state, summary } => quell_model::record::RunFinished { state, outputs: Json::Null, summary }.into(),
                other => return Err(TestCaseError::fail(format!("unexpected {other:?}"))),
            };
            run.apply(at(1), &body);
        }
        prop_assert!(run.state().is_over(), "{:?}", outcomes(&run));
    }
}

#[test]
fn a_key_stays_as_long_as_an_end_is_unknown_and_is_another_once_it_is_known() {
    let playbook = std::sync::Arc::new(playbook_of(vec![step("a", &[])]));
    let mut run = Run::new(std::sync::Arc::clone(&playbook), started(&playbook), at(0));
    let part = whole("a");
    let key = |run: &Run| run.key(&whole("a")).0;
    let first = key(&run);
    let intended = |attempt| StepIntended {
        part: whole("a"),
        attempt,
        action: "x".into(),
        input: Json::Null,
        plan: quell_model::Plan::default(),
    };
    let failed = |attempt, unknown| quell_model::record::StepFailed {
        part: whole("a"),
        attempt,
        error: "no".into(),
        hint: None,
        again_at: Some(at(5)),
        unknown,
    };
    run.apply(at(1), &intended(1).into());
    assert_eq!(key(&run), first, "after a crash it is asked for, and done again, under the same");
    run.apply(at(2), &failed(1, true).into());
    run.apply(at(3), &intended(2).into());
    assert_eq!(key(&run), first, "the first may have happened");
    run.apply(at(4), &failed(2, false).into());
    assert_eq!(key(&run), format!("{first}#2"), "nothing happened: what comes is something new");
    run.apply(at(6), &failed(2, false).into());
    assert_eq!(key(&run), format!("{first}#2"), "what never got as far as an intent was under no key");
    let keys = |run: &Run| run.undo_keys(&part).map(|key| key.0).collect::<Vec<_>>();
    assert_eq!(keys(&run), [format!("{first}/undo")], "both were of one plan");
    let other = quell_model::Plan { before: serde_json::json!("half of it"), ..Default::default() };
    run.apply(at(7), &StepIntended { plan: other, ..intended(3) }.into());
    run.apply(at(8), &failed(3, false).into());
    assert_eq!(keys(&run), [format!("{first}#2/undo"), format!("{first}/undo")], "the latest first");
    assert!(run.undo_keys(&part).all(|key| key.part() == first));
}
