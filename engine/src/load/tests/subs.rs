//! Steps that start a playbook: what of it is a mistake, where it is told, and what is no mistake.

use super::{actions, print};
use crate::load::{Known, PlaybookSource, playbooks};
use std::sync::Arc;

/// A playbook that takes `host`, and `count` beside it.
fn source(name: &str, steps: &str) -> PlaybookSource {
    let inputs = "{ host: { type: string }, count: { type: integer, default: 1 } }";
    let text = format!("playbook: {name}\ninputs: {inputs}\nsteps:\n  {}\n", steps.replace('\n', "\n  "));
    PlaybookSource::Text { name: format!("{name}.yaml"), text }
}

/// Those of these that are in order, and what is wrong with the others.
fn check(all: &[(&str, &str)]) -> (Vec<String>, String) {
    let sources: Vec<PlaybookSource> = all.iter().map(|(name, steps)| source(name, steps)).collect();
    let (loaded, mistakes) = playbooks(&sources, &Known { actions: actions(), ..Known::default() });
    (loaded.iter().map(|playbook| playbook.name.to_string()).collect(), print(&mistakes))
}

const LEAF: (&str, &str) = ("leaf", "say: { tell: x }");

/// A row of playbooks that each start the next, and the last a leaf.
fn row(length: usize) -> Vec<(String, String)> {
    let next = |at: usize| if at + 1 == length { "leaf".to_owned() } else { format!("p{}", at + 1) };
    (0..length)
        .map(|at| (format!("p{at}"), format!("below: {{ playbook: {}, with: {{ host: h }} }}", next(at))))
        .collect()
}

#[test]
fn every_mistake_of_a_step_that_starts_a_playbook_is_told_with_its_place() {
    let rows: Vec<(&str, &str)> = vec![
        ("no such playbook", "below: { playbook: leav, with: { host: h } }"),
        ("a name that is made", "below: { playbook: \"${{ inputs.host }}\" }"),
        ("no input", "below: { playbook: leaf }"),
        ("an unknown input", "below:\n  playbook: leaf\n  with: { host: h, cuont: 2 }"),
        ("an input of the wrong type", "below:\n  playbook: leaf\n  with: { host: h, count: many }"),
        ("its own", "below: { playbook: top, with: { host: h } }"),
        ("beside it", "below: { playbook: leaf, with: { host: h }, action: process.kill }"),
        ("detached without a playbook", "below: { tell: x, detach: true }"),
        ("approve", "below: { playbook: leaf, with: { host: h }, approve: {} }"),
        ("confirm", "below: { playbook: leaf, with: { host: h }, confirm: {} }"),
        ("lease", "below: { playbook: leaf, with: { host: h }, lease: { for: 1h } }"),
        ("retry", "below: { playbook: leaf, with: { host: h }, retry: { attempts: 2 } }"),
        ("timeout", "below: { playbook: leaf, with: { host: h }, timeout: 1m }"),
    ];
    let said = |(name, steps): &(&str, &str)| {
        let (loaded, told) = check(&[("top", steps), LEAF]);
        assert_eq!(loaded, ["leaf"], "{name}: a file with an error gives nothing");
        format!("== {name}\n{told}")
    };
    let mut all: Vec<String> = rows.iter().map(said).collect();
    let circle = [
        ("a", "below: { playbook: b, with: { host: h } }"),
        ("b", "below: { playbook: c, with: { host: h } }"),
        ("c", "below: { playbook: a, with: { host: h } }"),
    ];
    let (loaded, told) = check(&circle);
    assert!(loaded.is_empty(), "{loaded:?}");
    all.push(format!("== a circle\n{told}"));
    let row = row(6);
    let deep: Vec<(&str, &str)> =
        row.iter().map(|(name, steps)| (name.as_str(), steps.as_str())).chain([LEAF]).collect();
    let (loaded, told) = check(&deep);
    assert_eq!(loaded, ["leaf", "p1", "p2", "p3", "p4", "p5"]);
    all.push(format!("== too deep\n{told}"));
    insta::assert_snapshot!(all.join("\n"));
}

/// What a file has wrong by itself hides nothing of what it starts, and whoever starts it is told why it cannot.
#[test]
fn errors_of_a_file_hide_none_of_its_other_mistakes() {
    let broken =
        "a: { playbook: nobody }\nb: { playbook: leaf, with: { host: h, count: many } }\nc: { tell: \"${{ evnt }}\" }";
    let (loaded, told) = check(&[("broken", broken), ("top", "below: { playbook: broken, with: { host: h } }"), LEAF]);
    assert_eq!(loaded, ["leaf"]);
    insta::assert_snapshot!(told);
}

#[test]
fn what_is_right_is_not_told() {
    let row = row(5);
    let mut all: Vec<(&str, &str)> = row.iter().map(|(name, steps)| (name.as_str(), steps.as_str())).collect();
    // Two ways to one playbook are no circle, and what an expression gives is known when it is made.
    let both = "a: { playbook: leaf, with: { host: h, count: 2 } }\nb: { playbook: leaf, detach: true, with: { host: h, count: \"${{ 1 + 1 }}\" } }";
    all.extend([("both", both), LEAF]);
    let (loaded, told) = check(&all);
    assert_eq!((loaded.len(), told.as_str()), (7, ""));
}

#[test]
fn what_it_gives_is_known_whichever_is_read_first_and_where_it_is_only_known() {
    let reads = |output: &str| {
        format!("below: {{ playbook: leaf }}\nsay: {{ needs: [below], tell: \"${{{{ steps.below?.{output} }}}}\" }}")
    };
    let leaf = PlaybookSource::Text {
        name: "leaf.yaml".to_owned(),
        text: "playbook: leaf\nsteps: { say: { tell: x } }\noutputs: { killed: \"${{ steps.say.outcome }}\" }\n"
            .to_owned(),
    };
    let known = Known { actions: actions(), ..Known::default() };
    for (output, is_one) in [("killed", true), ("outcome", true), ("kiled", false), ("run", false)] {
        let top = source("top", &reads(output));
        for all in [[top.clone(), leaf.clone()], [leaf.clone(), top.clone()]] {
            let told = print(&playbooks(&all, &known).1);
            assert_eq!(told.is_empty(), is_one, "{output}: {told}");
            assert!(is_one || told.contains(&format!("step `below` has no output `{output}`")), "{told}");
        }
        let (others, _) = playbooks(std::slice::from_ref(&leaf), &known);
        let told = print(&playbooks(&[top], &Known { playbooks: &others, ..known.clone() }).1);
        assert_eq!(told.is_empty(), is_one, "{output}: {told}");
    }
    let detached = reads("run").replace("leaf }", "leaf, detach: true }");
    let told = print(&playbooks(&[source("top", &detached), leaf], &known).1);
    assert_eq!(told, "", "one that nothing waits for gives its run");
}

#[test]
fn what_is_not_read_now_may_be_started_when_it_is_known() {
    let known = Known { actions: actions(), ..Known::default() };
    let (others, _) = playbooks(&[source(LEAF.0, LEAF.1)], &known);
    let steps = "below: { playbook: leaf, with: { host: 1 } }";
    let with = |others: &[Arc<_>]| {
        print(
            &playbooks(&[source("top", steps)], &Known { actions: actions(), playbooks: others, ..Known::default() }).1,
        )
    };
    assert!(with(&others).contains("`host` of `leaf` is 1"), "{}", with(&others));
    assert!(with(&[]).contains("there is no playbook `leaf`"), "{}", with(&[]));
}
