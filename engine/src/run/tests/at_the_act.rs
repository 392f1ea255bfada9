//! The guard at the act: what came between the intent and its being on the disk.

use super::*;
use quell_model::guard::Within;

/// What comes between.
type Comes<'a> = &'a dyn Fn(&mut Core<Sandbox>);

/// An attempt whose intent is written, and waits for the disk while this comes.
fn meanwhile(comes: Comes<'_>) -> (Stage, RunId) {
    let mut stage = stage(World::default(), playbook_of(vec![acts("copy", &[], "file.copy")]));
    stage.core.definitions.guard.limits.0.insert("file.copy".into(), playbook::Rate { count: 1, per: HOUR });
    let hang = stage.hang();
    stage.core.detections([detection("1", 1)]);
    let part = record::Part { step: "copy".into(), item: None };
    stage.until(|stage| stage.core.runs.values().any(|live| live.run.intent(&part).is_some()));
    assert_eq!(stage.done(), Vec::<String>::new());
    comes(&mut stage.core);
    drop(hang);
    let run = stage.core.runs.keys().next().unwrap().clone();
    stage.settle();
    (stage, run)
}

const HOUR: Duration = Duration::from_secs(3600);

fn end(stage: &Stage, run: &RunId) -> String {
    let records = stage.journal.read(&StreamId::run(run), 1).unwrap();
    let ends = records.iter().filter_map(|record| match &record.body {
        Body::StepFinished(finished) => Some(format!("{}: {}", finished.outcome, finished.proof)),
        Body::GuardRefused(refused) => Some(format!("{} of {}: ", refused.guard, refused.target)),
        _ => None,
    });
    ends.collect()
}

#[test]
fn what_the_guard_does_not_allow_any_more_is_not_done() {
    let cases: [(&str, Comes<'_>, &str, usize); 7] = [
        ("nothing comes", &|_| (), "verified: ", 1),
        (
            "only_within",
            &|core| {
                core.definitions.guard.only_within = Some(Within::cgroup("/elsewhere"));
            },
            "only_within of 1.5.1@b: refused: ",
            0,
        ),
        ("protect", &|core| core.definitions.guard.protect.uids = [1000].into(), "protect of 1.5.1@b: refused: ", 0),
        (
            "a limit",
            &|core| {
                core.definitions.guard.limits.0.insert("file.copy".into(), playbook::Rate { count: 0, per: HOUR });
            },
            "limits of 1.5.1@b: refused: ",
            0,
        ),
        ("observe", &|core| core.definitions.ceiling = Mode::Observe, "planned: ", 0),
        ("a pause", &|core| core.paused = true, "pause of 1.5.1@b: refused: every action is paused", 0),
        (
            "its end",
            &|core| {
                let run = core.runs.keys().next().unwrap().clone();
                core.serve(Request::Cancel { run, by: "ann".into() }).unwrap();
            },
            "cancelled: ",
            0,
        ),
    ];
    for (what, comes, said, times) in cases {
        let (stage, run) = meanwhile(comes);
        assert_eq!(stage.done().len(), times, "{what}");
        let end = end(&stage, &run);
        assert!(end.starts_with(said), "{what}: {end}");
    }
}

#[test]
fn what_is_to_be_asked_about_by_then_is_asked_about_and_counted_once() {
    for (choice, times) in [("approve", 1), ("deny", 0)] {
        let (mut stage, run) = meanwhile(&|core| core.definitions.ceiling = Mode::Approve);
        assert_eq!(stage.story(&run).last().unwrap(), "QuestionAsked", "{choice}");
        let asked = |stage: &Stage| {
            let records = stage.journal.read(&StreamId::run(&run), 1).unwrap();
            records.into_iter().find_map(|record| match record.body {
                Body::QuestionAsked(asked) => Some(asked.intended),
                _ => None,
            })
        };
        assert_eq!(asked(&stage), Some(record::Intended::Untouched));
        let answer = AnswerGiven { run: run.clone(), ..super::taken_up::answer(choice) };
        stage.core.serve(Request::Answer(Box::new(answer))).unwrap();
        stage.settle();
        assert_eq!(stage.done().len(), times, "{choice}: {}", end(&stage, &run));
        if times == 0 {
            assert!(end(&stage, &run).starts_with("denied: "), "nothing of it may have been done");
        }
    }
}
