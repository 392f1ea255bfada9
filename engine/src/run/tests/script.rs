//! Scripts in runs: hostile steps end as failed and the run goes on as `on_failure` says; a run of a playbook that a
//! script made is taken up from the script's pinned text.

use super::*;
use crate::load::{Known, playbook};
use quell_model::playbook::OnFailure;
use rustix::time::{ClockId, clock_gettime};

/// What each script means to do, and what is said of it.
const HOSTILE: &[(&str, &str)] = &[
    ("loop {}", "operations"),
    ("let n = 0; while true { n += 1; }", "operations"),
    ("fn f(n) { f(n + 1) } f(0)", "deeper than 16"),
    ("let s = \"x\"; loop { s += s; }", "grew too large"),
    ("let s = \"\"; s.pad(1000000000, \"y\"); #{ s: s }", "too large"),
    ("let a = [0]; loop { a += a; }", "grew too large"),
    ("let a = []; loop { a = [[[[[[[[a]]]]]]]]; }", "operations"),
    ("let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1; }", "operations"),
    ("let m = #{}; loop { m = #{ a: m, b: m }; }", "grew too large"),
    ("let a = []; for n in 0..500 { a = [a]; } #{ a: a }", "nests deeper than 64"),
    ("let a = #{}; for n in 0..200 { a = #{ a: [a] }; } a", "nests deeper than 64"),
    ("eval(\"1\")", "eval"),
    ("import \"x\" as y; y::f()", "import"),
    ("sleep(100000)", "cannot sleep"),
];

fn script_step(id: &str, text: &str, on_failure: OnFailure) -> Step {
    let kind = StepKind::Script(Expression { text: text.into(), span: Default::default() });
    Step { kind, on_failure, ..step(id, &[]) }
}

/// What the whole process has had of the processor: scripts run beside the test's thread.
fn spent() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap(), u32::try_from(used.tv_nsec).unwrap())
}

#[test]
fn a_hostile_script_fails_its_step_and_the_run_goes_on() {
    for (text, says) in HOSTILE {
        let steps = vec![
            script_step("borne", text, OnFailure::Continue),
            script_step("barred", text, OnFailure::Block),
            step("behind", &["borne"]),
            step("stopped", &["barred"]),
            acts("kill", &[], "process.kill"),
        ];
        let mut stage = stage(World::default(), playbook_of(steps));
        let (begun, cpu) = (SystemClock.now(), spent());
        stage.core.detections([detection("7", 1)]);
        stage.settle();
        let took = SystemClock.now().since(begun);
        let story = stage.only_story();
        for want in ["borne failed", "barred failed", "behind done", "kill verified"] {
            assert!(story.contains(&format!("StepFinished {want}")), "{text}: no `{want}` in {story:?}");
        }
        assert!(story.iter().any(|record| record == "StepBlocked"), "{text}: {story:?}");
        assert!(!story.iter().any(|record| record.starts_with("StepFinished stopped")), "{text}: {story:?}");
        assert_eq!(story.last().map(String::as_str), Some("RunFinished failed"), "{text}");
        let records = stage.journal.read(&StreamId::run(&stage.runs()[0]), 1).unwrap();
        let said: Vec<&str> = records
            .iter()
            .filter_map(|record| match &record.body {
                Body::StepFinished(end) if end.outcome == Outcome::Failed => Some(end.proof.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(said.len(), 2, "{text}: {said:?}");
        let clear = |said: &&str| said.to_lowercase().contains(says) || said.contains("longer than 100 ms");
        assert!(said.iter().all(clear), "{text}: {said:?}");
        // Both scripts have a tenth of a second each; the rest is the machine's and the journal's.
        assert!(took < Duration::from_secs(20), "{text}: {took:?}, {:?} of the processor", spent() - cpu);
    }
}

#[test]
fn a_run_of_a_script_goes_on_from_the_scripts_pinned_text() {
    const TEXT: &str = "playbook(\"test\", #{ mode: \"enforce\" });\n\
        let last = tell(\"s0\", \"first\");\n\
        for n in 1..4 { last = tell(`s${n}`, \"at \" + x(\"run.id\")).after(last); }\n";
    let read = |file: &std::path::Path, text: &str| playbook(file, text, &Known::default()).0;
    let made = read("lost/playbook.rhai".as_ref(), TEXT).unwrap();
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = Journal::open(dir.path()).unwrap();
        let at = SystemClock.now();
        let write = |stream: StreamId, records: Vec<NewRecord>| {
            journal.written(Batch { stream, expected: 0, records, durability: Durability::Written }).unwrap()
        };
        let pinned = record::DefinitionPinned {
            playbook: "test".into(),
            hash: made.hash,
            file: "lost/playbook.rhai".into(),
            text: TEXT.into(),
        };
        write(StreamId::system(), vec![NewRecord::new(at, pinned)]);
        let first = record::StepFinished {
            part: record::Part { step: "s0".into(), item: None },
            action: None,
            outcome: Outcome::Done,
            output: json!({}),
            proof: String::new(),
            attempts: 1,
            moments: Default::default(),
        };
        let started = super::super::fixtures::started(&made);
        write(StreamId::run(&"r-1".into()), vec![NewRecord::new(at, started), NewRecord::new(at, first)]);
        journal.close();
    }
    let mut stage = stage_in(dir, World::default(), definitions(playbook_of(vec![step("other", &[])])));
    let report = stage.core.recover(Arc::new(read)).unwrap();
    assert_eq!((report.runs, report.broken), (vec!["r-1".into()], vec![]));
    stage.settle();
    let story = stage.only_story();
    assert_eq!(
        story[2..],
        ["StepFinished s1 done", "StepFinished s2 done", "StepFinished s3 done", "RunFinished succeeded"]
    );
}
