//! Every key of a playbook is used by one that ships or is tested: none is read and then of no use.

use super::quell;
use std::fs;

/// All of them, as the reference's first example has them; `escalate` waits for ladders.
const KEYS: &[&str] = &[
    "playbook",
    "description",
    "on",
    "detections",
    "rules",
    "tags",
    "level",
    "if",
    "run_per",
    "max_age",
    "mode",
    "limits",
    "runs",
    "targets",
    "inputs",
    "type",
    "default",
    "steps",
    "action",
    "with",
    "needs",
    "timeout",
    "on_failure",
    "retry",
    "attempts",
    "backoff",
    "lease",
    "for",
    "at_end",
    "confirm",
    "within",
    "otherwise",
    "for_each",
    "max_parallel",
    "approve",
    "when",
    "tell",
    "outputs",
];

#[test]
fn every_key_is_used_by_a_playbook_that_ships_or_is_tested() {
    let mut texts: Vec<String> = quell_playbooks::playbooks().into_iter().map(|file| file.text.to_owned()).collect();
    texts.push(fs::read_to_string("tests/cli/every_key.yaml").unwrap());
    // A key stands at the beginning of a line or of what is in braces.
    let has = |text: &str, key: &str| {
        text.match_indices(&format!("{key}:")).any(|(at, _)| {
            let before = text[..at].trim_end_matches(' ');
            before.is_empty() || before.ends_with(['\n', '{', ','])
        })
    };
    let unused: Vec<&&str> = KEYS.iter().filter(|key| !texts.iter().any(|text| has(text, key))).collect();
    assert!(unused.is_empty(), "no playbook uses {unused:?}");
}

#[test]
fn the_playbook_of_every_key_checks_clean_and_is_tested_to_its_last_step() {
    quell(&["playbook", "check", "--deny", "warnings", "tests/cli/every_key.yaml"]).ends(0);
    let ran = quell(&["playbook", "test", "--coverage", "--json", "tests/cli/every_key.yaml"]).ends(0);
    let told = ran.json();
    assert_eq!(told["cases"].as_array().unwrap().len(), 4, "{told}");
    let left = told["coverage"][0]["branches_not_reached"].as_array().unwrap().len();
    assert_eq!(left, 0, "a branch that no case takes: {told}");
}
