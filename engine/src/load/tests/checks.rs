//! The list of what a check must find, item by item: what is told, where, and what is not told of what is right.

use super::{CAPTURE, FREEZE, KILL, kill_input, kill_output, print, rules, spec};
use crate::load::{Known, PlaybookSource, playbook, playbooks};
use quell_model::{ActionSpec, Lane, Level, RuleRef};
use std::path::Path;

/// Contains, and can be taken back.
static HOLD: ActionSpec = ActionSpec { undoable: true, ..spec("process.hold", Lane::Contain, kill_input, kill_output) };
/// Says something to somebody.
static SAY: ActionSpec = ActionSpec { targets: &[], ..spec("chat.say", Lane::Notify, kill_input, kill_output) };

fn loaded_rules() -> Vec<RuleRef> {
    let low = RuleRef {
        level: Level::Low,
        tags: vec!["attack.t1082".into()],
        name: "look-around".into(),
        ..rules()[0].clone()
    };
    let id = RuleRef {
        id: Some("5f0e7d0a".into()),
        tags: vec!["attack.t1059.006".into()],
        name: "python".into(),
        ..rules()[0].clone()
    };
    rules().into_iter().chain([low, id]).collect()
}

fn with<T>(look: impl FnOnce(&Known<'_>) -> T) -> T {
    let rules = loaded_rules();
    look(&Known { actions: vec![&KILL, &FREEZE, &CAPTURE, &HOLD, &SAY], rules: Some(&rules), ..Known::default() })
}

fn said(text: &str) -> String {
    with(|known| print(&playbook(Path::new("p.yaml"), text, known).1))
}

/// A playbook that detections start, that acts by itself and has a limit of runs.
fn steps(body: &str) -> String {
    format!(
        "playbook: p\nmode: enforce\nlimits: {{ runs: 5/h }}\non: {{ detections: {{ level: high }} }}\nsteps:\n  {}\n",
        body.replace('\n', "\n  ")
    )
}

/// The same, started by a schedule.
fn scheduled(body: &str) -> String {
    steps(body).replace("{ detections: { level: high } }", "{ schedule: { cron: \"0 6 * * *\" } }")
}

/// The same, started by people and other runs.
fn by_hand(body: &str) -> String {
    steps(body).replace("on: { detections: { level: high } }\n", "")
}

fn on(body: &str) -> String {
    format!("playbook: p\non:\n  detections: {body}\nsteps: {{ s: {{ tell: x }} }}\n")
}

#[test]
fn every_item_is_told_with_its_place() {
    let kill = "action: process.kill, with: { process: \"1.2.3@b\" }";
    let hold = "action: process.hold, with: { process: \"1.2.3@b\" }";
    let look = "action: process.capture, with: { process: \"1.2.3@b\" }";
    let rows: Vec<(&str, String)> = vec![
        ("unknown key", steps("s: { tell: x, neds: [] }")),
        ("unknown action", steps("s: { action: process.kil, with: { process: x } }")),
        ("unknown input", steps("s: { action: process.kill, with: { process: x, scop: tree } }")),
        ("type of an input", steps("s: { action: process.capture, with: { process: x, max_bytes: many } }")),
        ("need", steps("s: { tell: x, needs: [t] }")),
        ("cycle", steps("a: { tell: x, needs: [b] }\nb: { tell: x, needs: [c] }\nc: { tell: x, needs: [a] }")),
        ("no ancestor", steps(&format!("k: {{ {kill} }}\ns: {{ tell: \"${{{{ steps.k.killed }}}}\" }}"))),
        ("no output", steps(&format!("k: {{ {kill} }}\ns: {{ needs: [k], tell: \"${{{{ steps.k.kiled }}}}\" }}"))),
        ("expression", steps("s: { tell: \"${{ 1 + }}\" }")),
        ("unknown name", steps("s: { tell: \"${{ evnt.node }}\" }")),
        ("no such rule", on("{ rules: [reverse-shel] }")),
        ("no such tag", on("{ tags: [attack.t1495] }")),
        ("a tag that is narrower than any rule's", on("{ tags: [attack.t1496.001] }")),
        ("half a tag", on("{ tags: [attack.t105] }")),
        ("a rule that is too low", on("{ rules: [look-around, reverse-shell], level: high }")),
        ("a tag that is too low", on("{ tags: [attack.t1082], level: medium }")),
        ("nothing so high", on("{ level: critical }")),
        (
            "irreversible",
            format!(
                "playbook: p\nmode: enforce\nsteps:\n  a: {{ {kill} }}\n  b: {{ {kill}, approve: {{}} }}\n  c: {{ {kill}, mode: approve }}\n  d: {{ {hold} }}\n"
            ),
        ),
        ("lease without undo", steps(&format!("s: {{ {kill}, lease: {{ for: 1h }} }}"))),
        ("confirm without undo", steps(&format!("s: {{ {kill}, confirm: {{}} }}"))),
        ("for_each without a bound", steps("s: { for_each: \"${{ event.process.args }}\", max_parallel: 2, tell: x }")),
        (
            "for_each of an act without a bound",
            steps(
                "s: { for_each: \"${{ event.process.args }}\", action: process.kill, with: { process: \"${{ item }}\" } }",
            ),
        ),
        ("attempts", steps("s: { tell: x, retry: { attempts: 101 } }")),
        (
            "a capture that takes back",
            steps(&format!(
                "a: {{ {hold} }}\nb: {{ needs: [a], {look}, on_failure: undo }}\nc: {{ {hold}, when: always, needs: [b] }}"
            )),
        ),
        (
            "a script that takes back",
            steps(&format!("a: {{ {hold} }}\nb: {{ needs: [a], script: \"#{{}}\", on_failure: undo }}")),
        ),
        ("no need that could fail", steps("s: { tell: x, when: failure }")),
        (
            "needs whose failure counts as met",
            steps(
                "a: { tell: x, on_failure: continue }\nw: { wait: 5m }\ns: { needs: [a, w], tell: x, when: failure }",
            ),
        ),
        (
            "a mode that goes further",
            "playbook: p\nmode: approve\nsteps: { s: { tell: x, mode: enforce } }\n".to_owned(),
        ),
        ("a wait about nothing", scheduled("w: { wait: { until: { rules: [reverse-shell] } } }")),
        ("a wait that may be about nothing", by_hand("w: { wait: { until: { rules: [reverse-shell] } } }")),
        ("runs that nothing counts", by_hand(&format!("a: {{ {kill} }}"))),
        ("irreversible at moments", scheduled(&format!("a: {{ {kill} }}"))),
        ("what a plain wait has seen", steps("w: { wait: 5m }\ns: { needs: [w], tell: \"${{ steps.w.seen }}\" }")),
        (
            "a cut of something else",
            steps("s: { for_each: \"${{ event.process.args ?? [].extract(0, 20) }}\", tell: x }"),
        ),
        ("a dash", steps("a-b: { tell: x }\ns: { needs: [a-b], tell: \"${{ steps.a-b.told }}\" }")),
        ("words the other way round", steps("s: { action: kill_process, with: { process: x } }")),
        ("one number for a map", steps("s: { tell: x, retry: 3 }")),
        ("single quotes", steps("s: { tell: \"${{ event.node == 'root' }}\" }")),
        ("steps in a list", "playbook: p\nsteps:\n  - s: { tell: x }\n".to_owned()),
        ("keys beside their step", "playbook: p\nsteps:\n  s:\n  tell: x\n".to_owned()),
    ];
    let all: Vec<String> = rows.iter().map(|(name, text)| format!("== {name}\n{}", said(text))).collect();
    assert!(all.iter().all(|said| said.lines().count() > 1), "not told: {all:?}");
    insta::assert_snapshot!(all.join("\n"));
}

/// Steps that contain, and steps that look and would take back: each of these is told in one line, whose length is bounded.
#[test]
fn what_would_be_taken_back_is_told_in_one_line_a_step() {
    let told = |holds: usize, looks: usize| {
        let hold = (0..holds).map(|n| format!("h{n}: {{ action: process.hold, with: {{ process: \"1.2.3@b\" }} }}"));
        let look = (0..looks).map(|n| {
            format!("l{n}: {{ action: process.capture, with: {{ process: \"1.2.3@b\" }}, on_failure: undo }}")
        });
        let text = steps(&hold.chain(look).collect::<Vec<_>>().join("\n"));
        let mistakes = with(|known| playbook(Path::new("p.yaml"), &text, known).1);
        mistakes.into_iter().map(|mistake| mistake.what).collect::<Vec<_>>()
    };
    let back = |names: &str| vec![format!("should `l0` fail, {names} would be taken back, which contains")];
    assert_eq!(told(3, 1), back("`h0`, `h1` and `h2`"));
    assert_eq!(told(4, 1), back("`h0`, `h1`, `h2` and 1 more"));
    assert_eq!(told(40, 1), back("`h0`, `h1`, `h2` and 37 more"));
    let many = told(2_000, 100);
    assert_eq!(many.len(), 100);
    assert!(many[0].contains("`h2` and 1997 more would"), "{}", many[0]);
    assert!(many[99].contains("`h2` and more would"), "beyond the bound nobody counts: {}", many[99]);
}

/// Of a rule about processes there is no file, and of one that counts others nobody knows.
#[test]
fn a_group_that_events_of_the_starting_rules_lack_is_asked_for() {
    use quell_model::Class::{FileEvent, ProcessCreation};
    let brings = [("reverse-shell", ProcessCreation), ("crypto-miner", ProcessCreation), ("python", FileEvent)];
    let told = |on: &str, tell: &str| {
        with(|known| {
            let brings = brings.iter().map(|(name, class)| ((*name).into(), [*class].into())).collect();
            let known = Known { brings, ..known.clone() };
            let text = format!("playbook: p\non: {{ detections: {on} }}\nsteps: {{ s: {{ {tell} }} }}\n");
            playbook(Path::new("p.yaml"), &text, &known).1
        })
        .into_iter()
        .map(|mistake| (mistake.what, mistake.expected.unwrap_or_default()))
        .collect::<Vec<_>>()
    };
    let (processes, both) = ("{ rules: [reverse-shell, crypto-miner] }", "{ rules: [reverse-shell, python] }");
    let file = "tell: '${{ event.file.path }}'";
    let none = "no rule that starts this playbook brings `event.file`".to_owned();
    assert_eq!(told(processes, file), [(none, "what the events of its rules have, or other rules".to_owned())]);
    let some = "`event.file` can be absent: the rule `reverse-shell` brings none".to_owned();
    assert_eq!(told(both, file), [(some, "`event.file?.path`".to_owned())]);
    // Of one that counts others nobody knows what it brings: it may be this.
    let unknown = "{ rules: [reverse-shell, look-around] }";
    let may = (
        "`event.file` can be absent: the rule `reverse-shell` brings none".to_owned(),
        "`event.file?.path`".to_owned(),
    );
    assert_eq!(told(unknown, file), [may]);
    for (on, tell) in [
        (both, "tell: '${{ event.file?.path }}'"),
        (both, "tell: '${{ if event.file != () { event.file.path } else { event.process.image } }}'"),
        (both, "if: '${{ event.file != () }}', tell: '${{ event.file.path }}'"),
        (both, "tell: '${{ event.process.image }} ${{ event.node }} ${{ event.file }}'"),
        ("{ rules: [python] }", file),
        ("{ rules: [look-around] }", file),
        (processes, "wait: { until: { rules: [python], if: '${{ seen.event.file.path == \"x\" }}' }, timeout: 1m }"),
    ] {
        assert_eq!(told(on, tell), [], "{on} {tell}");
    }
}

#[test]
fn what_is_right_is_not_told() {
    let kill = "action: process.kill, with: { process: \"1.2.3@b\" }";
    let hold = "action: process.hold, with: { process: \"1.2.3@b\" }";
    let look = "action: process.capture, with: { process: \"1.2.3@b\" }";
    for text in [
        on("{ rules: [5f0e7d0a], tags: [attack.t1059, attack.t1059.004], level: high }"),
        on("{ rules: [look-around], level: low }"),
        on("{ level: high }"),
        format!("playbook: p\nmode: enforce\nlimits: {{ targets: 5/run }}\nsteps: {{ s: {{ {kill} }} }}\n"),
        format!("playbook: p\nsteps: {{ s: {{ {kill} }} }}\n"),
        steps(&format!("s: {{ {hold}, lease: {{ for: 1h }}, confirm: {{}} }}")),
        steps("s: { for_each: [1, 2], tell: x }"),
        steps("s: { for_each: \"${{ event.process.args.extract(0, 20) }}\", tell: x }"),
        steps(
            "s: { for_each: \"${{ event.process.args }}\", action: process.kill, with: { process: \"${{ item }}\" } }",
        )
        .replace("runs: 5/h", "targets: 5/run"),
        steps("s: { tell: x, retry: { attempts: 100 } }"),
        steps("a: { tell: x }\ns: { needs: [a], tell: \"${{ steps.a.told }}\" }"),
        // One that goes on after its own failure may still be blocked by another's.
        steps(
            "a: { tell: x }\nb: { needs: [a], tell: x, on_failure: continue }\nc: { needs: [b], tell: x, when: failure }",
        ),
        "playbook: p\nmode: approve\nsteps: { s: { tell: x, mode: observe }, t: { tell: x, mode: approve } }\n"
            .to_owned(),
        scheduled("w: { wait: { until: { rules: [reverse-shell] }, anywhere: true } }"),
        scheduled(&format!("a: {{ {kill} }}")).replace("runs: 5/h", "targets: 5/run"),
        // What waits for the capture has not begun when it fails; a kill that fails is a reason to take back.
        steps(&format!("a: {{ {look}, on_failure: undo }}\nb: {{ {hold}, needs: [a] }}")),
        steps(&format!("a: {{ {hold} }}\nb: {{ {kill}, needs: [a], on_failure: undo }}")),
        steps(&format!("a: {{ {hold} }}\nb: {{ {look}, needs: [a], on_failure: continue }}")),
    ] {
        assert_eq!(said(&text), "", "{text}");
    }
}

/// What checks clean starts: a tag means those below it in the check and in the trigger.
#[test]
fn a_tag_above_starts_what_is_below_it() {
    let text = on("{ tags: [attack.t1059] }");
    let filter = with(|known| playbook(Path::new("p.yaml"), &text, known).0).unwrap().on.detections.unwrap();
    let wanted: Vec<String> = loaded_rules()
        .iter()
        .filter(|rule| crate::trigger::wants(&filter, rule))
        .map(|rule| rule.name.to_string())
        .collect();
    assert_eq!(wanted, ["reverse-shell", "python"]);
    let other = RuleRef { tags: vec!["attack.t10590".into()], ..rules()[0].clone() };
    assert!(!crate::trigger::wants(&filter, &other));
}

/// A playbook with an own trigger whose second step acts.
fn acting(name: &str, on: &str, act: &str) -> PlaybookSource {
    let text = format!(
        "playbook: {name}\nmode: enforce\nlimits: {{ runs: 5/h }}\non: {{ {on} }}\nsteps:\n  say: {{ tell: x }}\n  act: {{ {act}, with: {{ process: \"1.2.3@b\" }} }}\n"
    );
    PlaybookSource::Text { name: format!("{name}.yaml"), text }
}

fn both(first: (&str, &str), second: (&str, &str)) -> String {
    let sources = [acting("one", first.0, first.1), acting("two", second.0, second.1)];
    with(|known| print(&playbooks(&sources, known).1))
}

#[test]
fn two_that_would_answer_the_same_are_told_by_what_really_starts_both() {
    let kill = "action: process.kill";
    for (first, second, shared) in [
        ("detections: { rules: [reverse-shell] }", "detections: { tags: [attack.t1059] }", "rule `reverse-shell`"),
        ("detections: { tags: [attack.t1059.006] }", "detections: { rules: [5f0e7d0a] }", "rule `python`"),
        ("detections: { level: high }", "detections: { tags: [attack.t1059] }", "rules `python`, `reverse-shell`"),
        (
            "detections: { level: low }",
            "detections: { level: informational }",
            "rules `crypto-miner`, `look-around`, `python` and 1 more",
        ),
        (
            "detections: { rules: [crypto-miner] }, if: \"${{ true }}\"",
            "detections: { rules: [crypto-miner] }",
            "rule `crypto-miner`",
        ),
        ("detections: { rules: [nowhere] }", "detections: { rules: [nowhere] }", "rule `nowhere`"),
        ("detections: { tags: [attack.t9.001] }", "detections: { tags: [attack.t9] }", "tag `attack.t9.001`"),
        ("incident: opened", "incident: [resolved, opened]", "an incident that is opened"),
        ("schedule: { cron: \"0 6 * * *\" }", "schedule: { cron: \"0 6 * * *\" }", "the schedule `0 6 * * *`"),
    ] {
        let told = both((first, kill), (second, kill));
        let what = format!("two.yaml:7:3 warning: `one` and `two` would both do `process.kill` on {shared}\n");
        assert!(told.contains(&what), "{first} and {second}: {told}");
        assert!(
            told.contains("  |   act: { action: process.kill") && told.contains("(the other is one.yaml:7:3)"),
            "{told}"
        );
    }
}

#[test]
fn one_is_held_against_what_is_installed_besides() {
    let on = "detections: { rules: [crypto-miner] }";
    let kill = "action: process.kill";
    let told = with(|known| {
        let (installed, _) = playbooks(&[acting("two", on, kill), acting("three", on, kill)], known);
        let known = Known { playbooks: &installed, ..known.clone() };
        // Its own former text is no other playbook.
        print(&playbooks(&[acting("two", on, kill)], &known).1)
    });
    assert_eq!(told.matches("would both do").count(), 1, "{told}");
    assert!(told.contains("two.yaml:7:3 warning: `three` and `two` would both do `process.kill`"), "{told}");
}

#[test]
fn two_that_do_not_meet_are_not_told() {
    let kill = "action: process.kill";
    let row = |first: &str, second: &str, acts: (&str, &str)| both((first, acts.0), (second, acts.1));
    for told in [
        row("detections: { rules: [reverse-shell] }", "detections: { rules: [crypto-miner] }", (kill, kill)),
        row("detections: { tags: [attack.t1059.004] }", "detections: { tags: [attack.t1059.006] }", (kill, kill)),
        // The level leaves the only rule that both name to one of them.
        row(
            "detections: { rules: [look-around] }",
            "detections: { tags: [attack.t1082, attack.t1059], level: high }",
            (kill, kill),
        ),
        row("incident: opened", "incident: resolved", (kill, kill)),
        row("detections: { level: high }", "schedule: { cron: \"0 6 * * *\" }", (kill, kill)),
        row("detections: { level: high }", "detections: { level: high }", (kill, "action: process.freeze")),
        row(
            "detections: { level: high }",
            "detections: { level: high }",
            (kill, "mode: observe, action: process.kill"),
        ),
        row(
            "detections: { level: high }, if: \"${{ 1 == 1 }}\"",
            "detections: { level: high }, if: \"${{ 2 == 2 }}\"",
            (kill, kill),
        ),
    ] {
        assert!(!told.contains("would both do"), "{told}");
    }
}
