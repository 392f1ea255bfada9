//! The world that cases are played in: what was done stands until it is taken back, which may fail; and what a case says and
//! nothing asks for is told.

use super::playbook_test::{EVENT, path, recorded, timed};
use super::{Ran, quell};
use std::fs;

fn case(name: &str, more: &str) -> String {
    format!("  - case: {name}\n    {EVENT}\n    {more}\n")
}

fn played(cases: &[String]) -> Ran {
    let dir = timed("yaml", &format!("cases:\n{}", cases.concat()));
    quell(&["playbook", "test", path(&dir)])
}

#[test]
fn a_lease_ends_when_the_clock_comes_there() {
    let ran = played(&[
        case("before", "clock: { advance: 59m }\n    expect: { run: succeeded, steps: { zeal: verified } }"),
        case("after", "clock: { advance: 61m }\n    expect: { run: undone, steps: { zeal: undone, ant: verified } }"),
        case(
            "nobody can be asked whether it stands",
            "mocks: { zeal: { ok: {}, proved: false } }\n    clock: { advance: 61m }\n    expect: { run: undone }",
        ),
        case(
            "what did not work does not stand",
            "mocks: { zeal: fail }\n    clock: { advance: 61m }\n    expect: { run: failed, steps: { zeal: failed } }",
        ),
        case(
            "it is needed again, and stands for longer",
            "then: { after: 30m, rule: it, event: { class: process_creation, own: { process: { id: 1.2.3@b, user: root } } } }\n    clock: { advance: 40m }\n    expect: { run: succeeded, steps: { zeal: verified } }",
        ),
    ]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

#[test]
fn what_cannot_be_taken_back_is_stuck() {
    let stuck = |why: &str| format!("{{ run: stuck, steps: {{ zeal: {{ outcome: stuck, error: \"{why}\" }} }} }}");
    let undo = |answer: &str, expect: &str| {
        format!("mocks: {{ zeal: {{ undo: {answer} }} }}\n    clock: {{ advance: 90m }}\n    expect: {expect}")
    };
    let ran = played(&[
        case("it fails", &undo("fail", &stuck("it failed"))),
        case("it fails for good", &undo("{ fail: the host is gone, for_good: true }", &stuck("the host is gone"))),
        case("it hangs", &undo("hang", &stuck("longer than its `timeout`"))),
        case("it lies", &undo("{ lie: its cgroup is still frozen }", &stuck("still frozen"))),
        case("at the second attempt it works", &undo("[fail, ok]", "{ run: undone, steps: { zeal: undone } }")),
    ]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

#[test]
fn a_mock_that_nothing_asks_for_is_a_miss() {
    for (more, found) in [
        ("mocks: { ant: fail }\n    mode: observe\n    expect: { run: succeeded }", "expected ant to be tried"),
        ("mocks: { process.hold: fail }\n    expect: { run: succeeded }", "no action"),
        ("mocks: { process.inspect: fail }\n    expect: { run: succeeded }", "expected process.inspect to be tried"),
        ("mocks: { process.kill: already, ant: ok }\n    expect: { run: succeeded }", "expected ant to be tried"),
        ("mocks: { zeal: { undo: fail } }\n    expect: { run: succeeded }", "expected zeal to be taken back"),
        ("mocks: { ant: { undo: fail } }\n    expect: { run: succeeded }", "`process.kill` cannot be undone"),
        ("mocks: { zeal: { undo: already } }\n    expect: { run: succeeded }", "`already` is no answer of the world"),
        (
            "mocks: { zeal: { undo: { ok: { frozen: [] } } } }\n    expect: { run: succeeded }",
            "an undo gives no outputs",
        ),
        (
            "mocks: { zeal: [{ fail: x, undo: fail }, { ok: {}, undo: fail }] }\n    expect: { run: succeeded }",
            "two answers",
        ),
    ] {
        let ran = played(&[case("x", more)]).ends(1);
        let told = format!("{}{}", ran.out, ran.err).replace('\n', " ");
        assert!(told.contains(found), "{more}: {told}");
    }
}

/// What is expected holds of every run, or of each its own.
#[test]
fn every_run_of_a_case_is_judged() {
    let with = |expect: &str| {
        let test = format!(
            "cases:\n  - case: two\n    recording: two.jsonl\n    mocks: {{ ant: [fail, ok] }}\n    expect: {expect}\n"
        );
        let dir = timed("yaml", &test);
        let second = recorded("b", 90).replace("1.2.3@b", "4.5.6@b");
        fs::write(dir.path().join("two.jsonl"), format!("{}{second}", recorded("a", 0))).unwrap();
        quell(&["playbook", "test", path(&dir)])
    };
    let of = |process: &str| {
        format!("{{ run: succeeded, steps: {{ ant: {{ attempts: 2, with: {{ process: {process} }} }} }} }}")
    };
    let (first, second) = (of("1.2.3@b"), of("4.5.6@b"));
    for right in ["{ run: succeeded, runs: 2, steps: { ant: { attempts: 2 } } }", &format!("[{first}, {second}]")] {
        let ran = with(right);
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    }
    for (wrong, found) in [
        (first.replace("run: succeeded", "run: succeeded, runs: 2"), "expected run 2: ant with"),
        (format!("[{second}, {first}]"), "expected run 1: ant with"),
        (format!("[{first}]"), "expected 1 runs"),
        (format!("[{first}, {{ runs: 2 }}]"), "unknown key `runs`"),
        ("[]".to_owned(), "expects nothing"),
    ] {
        let ran = with(&wrong).ends(1);
        assert!(format!("{}{}", ran.out, ran.err).contains(found), "{wrong}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_rule_is_meant_by_its_name_or_its_id() {
    let by_id = |id: &str| case("x", "expect: { run: succeeded }").replace("rule: it", &format!("rule: {id}"));
    let ran = played(&[by_id("3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2")]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let ran = played(&[by_id("3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c3")]).ends(1);
    assert!(ran.err.contains("no rule that is loaded is called"), "{}", ran.err);
}

/// Of a list's items stands what expressions see of them.
#[test]
fn what_came_of_each_item_can_be_expected() {
    let dir = tempfile::tempdir().unwrap();
    let text = "playbook: each\nmode: enforce\nlimits: { targets: 9/run }\nsteps:\n  kill: { for_each: [1.1.1@b, 2.2.2@b], action: process.kill, with: { process: \"${{ item }}\" } }\n";
    fs::write(dir.path().join("each.yaml"), text).unwrap();
    let test = "cases:\n  - case: x\n    inputs: {}\n    mocks: { \"kill[1]\": { fail: gone, for_good: true } }\n    expect:\n      run: failed\n      steps:\n        kill:\n          outcome: failed\n          output: { items: [{ item: 1.1.1@b, outcome: verified }, { item: 2.2.2@b, outcome: failed }], failed: [{ item: 2.2.2@b }] }\n";
    fs::write(dir.path().join("each.test.yaml"), test).unwrap();
    let ran = quell(&["playbook", "test", path(&dir)]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    fs::write(dir.path().join("each.test.yaml"), test.replace("failed: [{ item: 2.2.2@b }]", "failed: []")).unwrap();
    let ran = quell(&["playbook", "test", path(&dir)]).ends(1);
    assert!(ran.out.contains("kill gives"), "{}", ran.out);
}
