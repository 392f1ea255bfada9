//! `quell playbook test`: what ships is green, what is wrong is named with its place, and nothing runs without end.

use super::quell;
use std::fmt::Write;
use std::fs;

const PLAYBOOK: &str = r#"playbook: mine
mode: enforce
inputs: { ids: { type: list, default: [] } }
steps:
  freeze:
    for_each: ${{ inputs.ids }}
    max_parallel: 50
    action: process.freeze
    with: { process: "${{ item }}" }
  copy:
    needs: [freeze]
    action: process.capture
    with: { process: "1.2.3@b" }
    timeout: 10m
  say:
    needs: [copy]
    when: failure
    tell: it went wrong
"#;

fn folder(test: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.yaml"), PLAYBOOK).unwrap();
    fs::write(dir.path().join("mine.test.yaml"), test).unwrap();
    dir
}

pub(super) fn path(dir: &tempfile::TempDir) -> &str {
    dir.path().to_str().unwrap()
}

#[test]
fn what_ships_is_tested_to_its_last_step_and_each_time_the_same() {
    let args = ["playbook", "test", "--coverage", "--json", "playbooks/"];
    let first = quell(&args).ends(0);
    let told = first.json();
    assert_eq!(told["ok"], true);
    assert_eq!(told["coverage"].as_array().unwrap().len(), quell_playbooks::playbooks().len(), "{told}");
    assert!(told["cases"].as_array().unwrap().len() > 25);
    assert_eq!(first.out, quell(&args).ends(0).out);
    quell(&["playbook", "check", "playbooks/"]).ends(0);
}

#[test]
fn what_does_not_hold_is_named_with_its_place_in_tree_and_junit() {
    let dir = folder(
        "cases:\n  - case: \"a & b\\a\"\n    inputs: {}\n    mocks: { copy: { lie: gone } }\n    expect:\n      run: succeeded\n      not_run: [say]\n",
    );
    let junit = dir.path().join("out.xml");
    let ran = quell(&["playbook", "test", "--junit", junit.to_str().unwrap(), path(&dir)]).ends(1);
    assert!(ran.out.contains("mine.test.yaml:6:12") && ran.out.contains("mine.test.yaml:7:17"), "{}", ran.out);
    assert!(ran.out.contains("found    failed"), "{}", ran.out);
    let xml = fs::read_to_string(junit).unwrap();
    let xml = roxmltree::Document::parse(&xml).unwrap();
    let has = |tag: &str, name: &str, value: &str| {
        xml.descendants().any(|node| node.has_tag_name(tag) && node.attribute(name) == Some(value))
    };
    // What XML cannot hold is not there.
    assert!(has("testsuites", "failures", "1") && has("testcase", "name", "a & b"), "{xml:?}");
    let failure = xml.descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert!(failure.text().unwrap().contains("found    failed"), "{failure:?}");
}

#[test]
fn a_step_that_no_case_reaches_ends_with_1_only_when_coverage_is_asked_for() {
    let dir =
        folder("cases:\n  - case: good\n    inputs: {}\n    expect: { run: succeeded, steps: { freeze: skipped } }\n");
    quell(&["playbook", "test", path(&dir)]).ends(0);
    let ran = quell(&["playbook", "test", "--coverage", path(&dir)]).ends(1);
    assert!(ran.out.contains("not reached  say") && ran.out.contains("freeze: an item of its list"), "{}", ran.out);
}

/// A playbook that waits for a second rule, and its cases.
#[test]
fn what_a_step_waits_for_happens_later_and_the_clock_goes_there() {
    let dir = tempfile::tempdir().unwrap();
    let playbook = r#"playbook: mine
mode: enforce
on: { detections: { rules: [reverse-shell] } }
steps:
  nap: { wait: 10m }
  again:
    needs: [nap]
    wait: { until: { rules: [crypto-miner-name], if: "${{ seen.event.node == event.node }}" }, timeout: 30m }
  say:
    needs: [again]
    tell: "${{ steps.again.seen?.rule }} on ${{ steps.again.seen?.event.node }}"
"#;
    let case = |name: &str, after: &str, expect: &str| {
        let event = "{ class: process_creation }";
        format!(
            "  - case: {name}\n    event: {event}\n    rule: reverse-shell\n    then: [{{ after: {after}, event: {event}, \
             rule: crypto-miner-name }}]\n    expect: {expect}\n"
        )
    };
    let cases = [
        case("in time", "20m", "{ run: succeeded, told: [crypto-miner-name on test], order: [nap, again, say] }"),
        case(
            "too early",
            "5m",
            "{ run: failed, steps: { again: { error: nothing matched within 30m } }, not_run: [say] }",
        ),
        case("too late", "41m", "{ run: failed, not_run: [say] }"),
        "  - case: observed\n    mode: observe\n    event: { class: process_creation }\n    rule: reverse-shell\n    \
         expect: { run: succeeded, steps: { nap: planned, again: planned } }\n"
            .to_owned(),
    ];
    fs::write(dir.path().join("mine.yaml"), playbook).unwrap();
    fs::write(dir.path().join("mine.test.yaml"), format!("cases:\n{}", cases.concat())).unwrap();
    quell(&["playbook", "test", path(&dir)]).ends(0);
    let idle = "  - case: idle\n    event: { class: process_creation }\n    rule: reverse-shell\n    \
                expect: { run: waiting, not_run: [nap] }\n";
    fs::write(dir.path().join("mine.test.yaml"), format!("cases:\n{idle}")).unwrap();
    let ran = quell(&["playbook", "test", path(&dir)]).ends(1);
    assert!(ran.out.contains("nap does not run"), "who waits has begun: {}", ran.out);
    let late = case("backwards", "20m", "{ run: failed }").replace("}]", "}, { after: 1m }]");
    fs::write(dir.path().join("mine.test.yaml"), format!("cases:\n{late}")).unwrap();
    let ran = quell(&["playbook", "test", path(&dir)]).ends(1);
    assert!(ran.err.contains("it lacks `after` or `event`"), "{}", ran.err);
}

/// A playbook that starts another, and its cases.
#[test]
fn what_a_step_starts_is_played_with_it_and_told_by_that_step() {
    let dir = tempfile::tempdir().unwrap();
    let mine = r#"playbook: mine
mode: enforce
steps:
  contain: { playbook: contain, with: { process: "4242.7.1@test" } }
  archive: { playbook: contain, detach: true, with: { process: "4243.7.1@test" } }
  say:
    needs: [contain]
    tell: "${{ steps.contain?.target }} killed"
"#;
    let contain = r#"playbook: contain
mode: enforce
inputs: { process: { type: string } }
steps:
  freeze: { action: process.freeze, with: { process: "${{ inputs.process }}" } }
  kill: { needs: [freeze], action: process.kill, with: { process: "${{ inputs.process }}" } }
outputs: { target: "${{ inputs.process }}" }
"#;
    fs::write(dir.path().join("mine.yaml"), mine).unwrap();
    fs::write(dir.path().join("contain.yaml"), contain).unwrap();
    let cases = r#"cases:
  - case: it works
    inputs: {}
    expect:
      run: succeeded
      steps: { contain: { outcome: verified, output: { target: 4242.7.1@test } }, archive: done }
      told: [4242.7.1@test killed]
  - case: what fails below fails above
    inputs: {}
    mocks: { process.kill: fail }
    expect:
      run: failed
      steps: { contain: { outcome: failed, error: "`kill` failed" }, archive: done }
      not_run: [say]
  - case: it only plans
    inputs: {}
    mode: observe
    expect: { run: succeeded, steps: { contain: planned } }
"#;
    let test = dir.path().join("mine.test.yaml");
    fs::write(&test, cases).unwrap();
    quell(&["playbook", "test", path(&dir)]).ends(0);
    fs::write(&test, cases.replace("target: 4242", "targt: 4242")).unwrap();
    let ran = quell(&["playbook", "test", path(&dir)]).ends(1);
    assert!(ran.err.contains("step `contain` has no output `targt`") && ran.err.contains("`target`"), "{}", ran.err);
    // Its file alone: the other stands beside it.
    let file = dir.path().join("mine.yaml");
    quell(&["playbook", "check", file.to_str().unwrap()]).ends(0);
    fs::remove_file(dir.path().join("contain.yaml")).unwrap();
    let ran = quell(&["playbook", "check", file.to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("mine.yaml:4:24") && ran.err.contains("there is no playbook `contain`"), "{}", ran.err);
}

#[test]
fn every_mistake_is_told_with_the_nearest_spelling() {
    let dir = folder(
        "cases:\n  - case: x\n    inputs: { idz: [] }\n    mocks: { coppy: ok, copy: hangs, process.kill: { ok: { kiled: 1 } } }\n    expect: { steps: { freez: verified, copy: verfied }, odrer: [a] }\n",
    );
    let ran = quell(&["playbook", "test", "--json", path(&dir)]).ends(1);
    let told = ran.json();
    let near: Vec<&str> = told["mistakes"].as_array().unwrap().iter().filter_map(|m| m["nearest"].as_str()).collect();
    for word in ["ids", "copy", "hang", "killed", "freeze", "verified", "order"] {
        assert!(near.contains(&word), "{word}: {told}");
    }
    assert_eq!(told["cases"].as_array().unwrap().len(), 0);
}

#[test]
fn garbage_is_a_mistake_and_no_test_is_wrong_usage() {
    for text in ["", "\u{1}\u{2}", "[[[[[[", "cases: 7", "cases: []", "- a", "cases:\n  - case: x\n"] {
        let dir = folder(text);
        let ran = quell(&["playbook", "test", path(&dir)]).ends(1);
        assert!(ran.err.contains("mine.test.yaml"), "{text:?}: {}", ran.err);
    }
    let dir = folder("");
    fs::remove_file(dir.path().join("mine.test.yaml")).unwrap();
    quell(&["playbook", "test", path(&dir)]).ends(2);
    fs::write(dir.path().join("mine.yaml"), "playbook: mine\nsteps: 7\n").unwrap();
    fs::write(dir.path().join("mine.test.yaml"), "cases: [{ case: x, inputs: {}, expect: { run: none } }]").unwrap();
    quell(&["playbook", "test", path(&dir)]).ends(1);
}

#[test]
fn a_thousand_items_hang_and_fail_without_taking_time() {
    let mut ids = String::new();
    for id in 0..1000 {
        write!(ids, "{id}.1.1@b, ").unwrap();
    }
    let dir = folder(&format!(
        "cases:\n  - case: many\n    inputs: {{ ids: [{ids}] }}\n    mocks: {{ \"freeze[7]\": hang }}\n    expect: {{ run: failed, steps: {{ freeze: failed, copy: blocked, say: done }}, told: [it went wrong] }}\n  - case: hours\n    inputs: {{}}\n    mocks: {{ copy: hang }}\n    expect: {{ run: failed, steps: {{ copy: {{ outcome: failed, error: timeout }} }} }}\n"
    ));
    quell(&["playbook", "test", "--coverage", path(&dir)]).ends(0);
}

/// The worst that a test can do is to pass.
#[test]
fn what_is_not_so_does_not_pass() {
    let two = "inputs: { ids: [1.1.1@b, 2.2.2@b] }";
    for (start, expect, found) in [
        (two, "{ steps: { copy: { with: { process: 9.9.9@b } } } }", "1.2.3@b"),
        (two, "{ steps: { freeze: { with: { process: 1.1.1@b, scope: tree } } } }", "freeze with"),
        (two, "{ steps: { copy: { output: { exe_sha256: abc } } } }", "copy gives"),
        (two, "{ steps: { copy: { output: { nothing: ~ } } } }", "has no output `nothing`"),
        (two, "{ steps: { copy: { with: { proces: 1.2.3@b } } } }", "has no input `proces`"),
        (two, "{ steps: { say: { with: { process: x } } } }", "`say` has no inputs"),
        (two, "{ steps: { freeze: { output: { killed: [] } } } }", "step `freeze` has no output `killed`"),
        ("event: { class: process_creation, sigma: { Imagee: x } }", "{ run: none }", "no rule can read `Imagee`"),
        ("inputs: {}\n    clock: { advanc: 5m }", "{ run: succeeded }", "unknown key `advanc`"),
        ("inputs: {}\n    mocks: { \"copy[1]\": hang }", "{ run: succeeded }", "`copy` has no items"),
        ("inputs: {}\n    mocks: { copy: already }", "{ run: succeeded }", "already"),
        (
            "inputs: {}\n    mocks: { copy: { ok: { exe_sha256: 7 } } }",
            "{ run: succeeded }",
            "never gives such a `exe_sha256`",
        ),
        ("inputs: {}\n    mocks: { copy: { lie: x, proved: false } }", "{ run: failed }", "stands beside `ok` only"),
        (two, "{ run: waiting }", "found    succeeded"),
        (
            "inputs: { ids: [1.1.1@b, 2.2.2@b] }\n    mocks: { \"freeze[2]\": hang }",
            "{ run: succeeded }",
            "freeze has 2 items",
        ),
        ("inputs: {}\n    mocks: { \"freeze[0]\": hang }", "{ run: succeeded }", "freeze has no items"),
        (two, "{ order: [freeze, say] }", "say skipped"),
        (two, "{ told: [it went wrong] }", "nothing"),
        ("event: { class: process_creation }", "{ not_run: [copy] }", "no run started"),
        (two, "{ steps: { copy: {} } }", "nothing is expected"),
        (two, "{ steps: {} }", "expects nothing"),
        (two, "{ runs: 1, told: ~ }", "`told` has no value"),
        (two, "{ run: succeeded, steps: }", "`steps` has no value"),
        (two, "{ run: succeeded, steps: { copy: { attempts: .inf } } }", "`.inf` is no number"),
        ("inputs: {}\n    mocks:", "{ run: succeeded }", "`mocks` has no value"),
        (two, "{ runs: 1, told: [\"\"] }", "expects nothing"),
        (two, "{ runs: 1, steps: { copy: { with: {} } } }", "expects nothing"),
    ] {
        let dir = folder(&format!("cases:\n  - case: x\n    {start}\n    expect: {expect}\n"));
        let ran = quell(&["playbook", "test", path(&dir)]).ends(1);
        assert!(format!("{}{}", ran.out, ran.err).contains(found), "{expect}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn nothing_to_test_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    quell(&["playbook", "test", "--coverage", path(&dir)]).ends(2);
    let dir = folder("cases:\n  - case: x\n    recording: pipe\n    expect: { run: none }\n");
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
    assert!(made.success());
    let ran = quell(&["playbook", "test", path(&dir)]).ends(1);
    assert!(ran.err.contains("is no file") || ran.out.contains("is no file"), "{}{}", ran.out, ran.err);
}

const ASKS: &str = r#"playbook: mine
mode: enforce
inputs: { who: { type: string } }
steps:
  you: { ask: { question: "You?", person: "${{ person_of(inputs.who) }}", choices: [me, not_me], otherwise: not_me } }
  stop:
    needs: [you]
    if: ${{ steps.you.answer == "not_me" }}
    action: process.kill
    with: { process: "1.2.3@b" }
    approve: { by: security }
"#;

const WHO: &str = "people:
  ana: { identities: { slack: U1, unix: ana } }
  bo: { identities: { slack: U2 } }
approvers: { security: { people: [ana, bo], quorum: 2 } }
";

#[test]
fn people_of_a_test_answer_what_they_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        fs::write(dir.path().join("mine.yaml"), ASKS).unwrap();
        fs::write(dir.path().join("mine.test.yaml"), format!("{WHO}cases:\n{text}")).unwrap();
        quell(&["playbook", "test", dir.path().to_str().unwrap()])
    };
    let ran = file(
        r#"  - case: ana says that it was her
    inputs: { who: U1 }
    answers: { you: me }
    expect: { run: succeeded, steps: { you: { output: { answer: me, by: ana } }, stop: skipped } }
  - case: two have to agree
    inputs: { who: U2 }
    answers: { you: not_me, stop: [{ choice: approve, by: ana }, { choice: approve, by: ana, after: 1m }] }
    expect: { run: failed }
  - case: and they do
    inputs: { who: ana }
    answers: { you: { choice: not_me, by: ana }, stop: [{ choice: approve, by: bo }] }
    expect: { run: failed, steps: { stop: denied } }
  - case: a stranger is nobody
    inputs: { who: U9 }
    expect: { run: failed, steps: { you: { output: { answer: not_me } }, stop: denied } }
"#,
    )
    .ends(1);
    assert!(ran.out.contains("ana has said `approve` already"), "{}", ran.out);
    assert!(ran.err.contains("4 cases, 1 failed"), "{}\n{}", ran.out, ran.err);

    let ran = file("  - case: x\n    inputs: { who: U1 }\n    answers: { you: { choice: me, by: anna }, stop: approve }\n    expect: { run: succeeded }\n").ends(1);
    let told = ran.err.replace('\n', " ");
    assert!(told.contains("mine.test.yaml:8:39") && told.contains("did you mean `ana`?"), "{told}");
    assert!(told.contains("whose answer is it?"), "{told}");
    fs::write(
        dir.path().join("mine.test.yaml"),
        "people: { ana: {} }\ncases:\n  - case: x\n    inputs: { who: U1 }\n    expect: { run: failed }\n",
    )
    .unwrap();
    let ran = quell(&["playbook", "test", dir.path().to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("the approvers `security`"), "{}", ran.err);
}

/// A timer, a lease, a trigger that decides, and two steps that end in one moment.
const TIMED: &str = r#"playbook: timed
on: { detections: { rules: [it] }, if: "${{ event.process.user != \"root\" }}" }
mode: enforce
limits: { runs: 20/h }
steps:
  zeal: { action: process.freeze, with: { process: "${{ event.process.id }}" }, lease: { for: 1h, at_end: undo } }
  ant: { action: process.kill, with: { process: "${{ event.process.id }}" }, retry: { attempts: 3, backoff: 30s..30s } }
"#;

const RULE: &str = "title: It\nname: it\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2\nstatus: test\nlogsource: { product: linux, category: process_creation }\ndetection: { s: { Image|endswith: /it }, condition: s }\nlevel: high\n";

pub(super) fn timed(end: &str, cases: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(format!("timed.{end}")), TIMED).unwrap();
    fs::create_dir(dir.path().join("rules")).unwrap();
    fs::write(dir.path().join("rules/it.yml"), RULE).unwrap();
    fs::write(dir.path().join("timed.test.yaml"), cases).unwrap();
    dir
}

pub(super) const EVENT: &str =
    "rule: it\n    event: { class: process_creation, own: { process: { id: 1.2.3@b, user: web } } }";

#[test]
fn the_clock_is_looked_at_where_a_case_says() {
    let case = |name: &str, more: &str| format!("  - case: {name}\n    {EVENT}\n    {more}\n");
    let cases = [
        case("the lease stands", "clock: { advance: 59m }\n    expect: { run: succeeded, steps: { zeal: verified } }"),
        case("it waits to try again", "mocks: { ant: fail }\n    clock: { advance: 1s }\n    expect: { run: waiting }"),
        case("it has failed", "mocks: { ant: fail }\n    clock: { advance: 5m }\n    expect: { run: failed }"),
        case("the journal's order", "expect: { order: [zeal, ant] }"),
        case(
            "it is so already",
            "mocks: { process.kill: already }\n    expect: { run: succeeded, steps: { ant: already } }",
        ),
        case("nobody can be asked", "mocks: { ant: { ok: {}, proved: false } }\n    expect: { steps: { ant: done } }"),
    ];
    let dir = timed("yaml", &format!("cases:\n{}", cases.concat()));
    let ran = quell(&["playbook", "test", path(&dir)]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

/// A line of a recording: so many seconds after the first.
pub(super) fn recorded(id: &str, second: u32) -> String {
    let at = format!(
        "{{\"wall\":\"2026-01-01T00:0{}:{:02}Z\",\"boot_ns\":{}}}",
        second / 60,
        second % 60,
        u64::from(second + 1) * 1_000_000_000
    );
    format!(
        "{{\"v\":1,\"id\":\"{id}\",\"class\":\"process_creation\",\"source\":\"sensor\",\"node\":\"n\",\"at\":{at},\"seen\":{at},\"logsource\":{{\"category\":\"process_creation\",\"product\":\"linux\"}},\"sigma\":{{\"Image\":\"/it\"}},\"own\":{{\"process\":{{\"id\":\"1.2.3@b\",\"user\":\"web\"}}}},\"subject\":{{\"process\":\"1.2.3@b\"}},\"entity\":{{\"kind\":\"unit\",\"id\":\"x\",\"node\":\"n\"}}}}\n"
    )
}

/// Two events a minute apart: the first one's run has ended by then, and the second starts another.
#[test]
fn in_a_recording_open_runs_go_on_between_events() {
    let test = "cases:\n  - case: two\n    recording: two.jsonl\n    mocks: { ant: [fail, ok] }\n    expect: { run: succeeded, runs: 2 }\n";
    let dir = timed("yaml", test);
    fs::write(dir.path().join("two.jsonl"), format!("{}{}", recorded("a", 0), recorded("b", 90))).unwrap();
    let ran = quell(&["playbook", "test", path(&dir)]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    // Within its wait the second joins; and two runs of which nobody says that they are two are none that is tested.
    fs::write(dir.path().join("two.jsonl"), format!("{}{}", recorded("a", 0), recorded("b", 5))).unwrap();
    let ran = quell(&["playbook", "test", path(&dir)]).ends(1);
    assert!(ran.out.contains("expected 2 runs"), "{}", ran.out);
    fs::write(dir.path().join("two.jsonl"), format!("{}{}", recorded("a", 0), recorded("b", 90))).unwrap();
    fs::write(dir.path().join("timed.test.yaml"), test.replace(", runs: 2", "")).unwrap();
    let ran = quell(&["playbook", "test", path(&dir)]).ends(1);
    assert!(ran.out.contains("expected one run") && ran.out.contains("2 runs, and no `runs: 2`"), "{}", ran.out);
}

#[test]
fn both_ways_of_the_triggers_condition_count() {
    let good = format!(
        "cases:\n  - case: good\n    {EVENT}\n    mocks: {{ ant: {{ fail: x, times: 1 }} }}\n    expect: {{ run: succeeded }}\n"
    );
    let dir = timed("yml", &good);
    let ran = quell(&["playbook", "test", "--coverage", dir.path().join("timed.yml").to_str().unwrap()]).ends(0);
    assert!(ran.out.contains("on:: `if` false") && !ran.out.contains("`if` true"), "{}", ran.out);
    let root = EVENT.replace("user: web", "user: root");
    fs::write(
        dir.path().join("timed.test.yaml"),
        format!("{good}  - case: root\n    {root}\n    expect: {{ run: none }}\n"),
    )
    .unwrap();
    let ran = quell(&["playbook", "test", "--coverage", path(&dir)]).ends(0);
    assert!(!ran.out.contains("no case goes there"), "{}", ran.out);
}

#[test]
fn a_script_finds_the_test_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s.rhai"), "playbook(\"s\");\ntell(\"say\", \"hello\");\n").unwrap();
    fs::write(dir.path().join("s.test.yaml"), "cases:\n  - case: x\n    inputs: {}\n    expect: { told: [hello] }\n")
        .unwrap();
    for given in [dir.path().join("s.rhai"), dir.path().join("s.test.yaml"), dir.path().to_owned()] {
        let ran = quell(&["playbook", "test", "--coverage", given.to_str().unwrap()]).ends(0);
        assert!(ran.err.contains("1 cases, 0 failed"), "{}", ran.err);
    }
}

#[test]
fn junit_tells_of_steps_that_no_case_reaches() {
    let dir = folder("cases:\n  - case: good\n    inputs: {}\n    expect: { run: succeeded }\n");
    let junit = dir.path().join("out.xml");
    quell(&["playbook", "test", "--coverage", "--junit", junit.to_str().unwrap(), path(&dir)]).ends(1);
    let xml = fs::read_to_string(&junit).unwrap();
    let xml = roxmltree::Document::parse(&xml).unwrap();
    let say = xml.descendants().find(|node| node.has_tag_name("testcase") && node.attribute("name") == Some("say"));
    let text = say.expect("the step has its own line").descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert!(text.text().unwrap().contains("mine.yaml:15"), "{text:?}");
}

/// Two scripts are done by threads; both end in one moment, and stand in the journal as in the file.
#[test]
fn what_ends_in_one_moment_has_the_order_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = "playbook: s\nsteps:\n  z: { script: \"#{}\" }\n  a: { script: \"#{}\" }\n  m: { script: \"#{}\" }\n";
    fs::write(dir.path().join("s.yaml"), text).unwrap();
    let case =
        |name: &str, order: &str| format!("  - case: {name}\n    inputs: {{}}\n    expect: {{ order: [{order}] }}\n");
    fs::write(dir.path().join("s.test.yaml"), format!("cases:\n{}", case("file", "z, a, m"))).unwrap();
    quell(&["playbook", "test", path(&dir)]).ends(0);
    fs::write(dir.path().join("s.test.yaml"), format!("cases:\n{}", case("name", "a, m, z"))).unwrap();
    quell(&["playbook", "test", path(&dir)]).ends(1);
}

#[test]
fn a_case_goes_through_the_moments_of_an_incident() {
    let dir = tempfile::tempdir().unwrap();
    let playbook = |moments: &str| {
        let text = format!(
            "playbook: mine\nmode: enforce\non:\n  incident: {moments}\n  if: ${{{{ incident.by != \"bo\" }}}}\nsteps:\n  \
             say: {{ tell: \"${{{{ incident.moment }}}} by ${{{{ incident.by ?? `nobody` }}}}: ${{{{ detection.rule }}}}\" }}\n"
        );
        fs::write(dir.path().join("mine.yaml"), text).unwrap();
    };
    let cases = |more: &str| {
        let event = "{ class: process_creation, own: { process: { id: 4242.5.1@test } } }";
        let test =
            format!("cases:\n  - case: it goes on\n    rule: crypto-miner-name\n    event: {event}\n    {more}\n");
        fs::write(dir.path().join("mine.test.yaml"), test).unwrap();
        quell(&["playbook", "test", "--coverage", path(&dir)])
    };
    playbook("opened");
    cases("expect: { runs: 1, told: [\"opened by nobody: crypto-miner-name\"] }").ends(0);
    playbook("[acknowledged, resolved]");
    let then = "then:\n      - { after: 1m, incident: acknowledged, by: ana }\n      - { after: 2m, incident: resolved, by: bo }";
    let expect = "expect: { runs: 1, told: [\"acknowledged by ana\"] }";
    let ran = cases(&format!("{then}\n    {expect}")).ends(0);
    assert!(!ran.out.contains("no case goes there"), "{}", ran.out);
    for (wrong, wanted) in [
        ("incident: resolvd, by: ana", "did you mean `resolved`?"),
        ("incident: opened", "an event opens an incident"),
        ("incident: resolved, rule: x", "`rule` stands beside `event` only"),
        ("rule: x", "it lacks `after` or `event`"),
    ] {
        let ran = cases(&format!("{}\n    {expect}", then.replace("incident: acknowledged, by: ana", wrong))).ends(1);
        assert!(ran.err.contains(wanted), "{wrong}: {}", ran.err);
    }
}
