//! Every key of a playbook is used by one that is tested: none is read and then of no use. The schema says which there are.

use super::quell;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Playbooks that use every key between them, with their tests.
const FOLDER: &str = "tests/cli/every_key";

/// A key by its way from the top; `*` is a name of the writer's own, or an item of a list.
type Way = Vec<String>;

/// The keys below a part of the schema.
fn keys(schema: &Value, part: &Value, way: &Way, all: &mut BTreeSet<Way>) {
    let at = |key: &str| way.iter().cloned().chain([key.to_owned()]).collect::<Way>();
    if let Some(link) = part["$ref"].as_str() {
        let target = schema.pointer(link.strip_prefix('#').unwrap()).unwrap();
        keys(schema, target, way, all);
    }
    for (key, below) in part["properties"].as_object().into_iter().flatten() {
        all.insert(at(key));
        // What stands there is the action's, or the other playbook's.
        if key != "with" {
            keys(schema, below, &at(key), all);
        }
    }
    let own = part["patternProperties"].as_object().into_iter().flatten().map(|(_, below)| below);
    for below in own.chain([&part["additionalProperties"], &part["items"]]).filter(|below| below.is_object()) {
        keys(schema, below, &at("*"), all);
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        part[word].as_array().into_iter().flatten().for_each(|one| keys(schema, one, way, all));
    }
    let branches = ["if", "then", "else"].map(|word| &part[word]);
    branches.into_iter().filter(|branch| branch.is_object()).for_each(|branch| keys(schema, branch, way, all));
}

/// The keys that a file uses, of those that there are.
fn used(value: &serde_yaml::Value, way: &Way, all: &BTreeSet<Way>, out: &mut BTreeSet<Way>) {
    let mut below = |key: &str, value: &serde_yaml::Value| {
        let mut next: Way = way.iter().cloned().chain([key.to_owned()]).collect();
        if all.contains(&next) {
            out.insert(next.clone());
        } else {
            *next.last_mut().unwrap() = "*".to_owned();
        }
        used(value, &next, all, out);
    };
    match value {
        serde_yaml::Value::Mapping(map) => map.iter().for_each(|(key, value)| below(key.as_str().unwrap(), value)),
        serde_yaml::Value::Sequence(list) => list.iter().for_each(|value| below("*", value)),
        _ => {}
    }
}

#[test]
fn every_key_is_used_by_a_playbook_that_is_tested() {
    let schema = quell(&["playbook", "schema"]).ends(0).json();
    let (mut all, mut found) = (BTreeSet::new(), BTreeSet::new());
    keys(&schema, &schema, &Vec::new(), &mut all);
    for key in ["playbook", "steps.*.playbook", "steps.*.detach", "steps.*.ask.by", "steps.*.wait.until.if"] {
        assert!(all.contains(&key.split('.').map(str::to_owned).collect::<Way>()), "the schema is read wrongly: {key}");
    }
    for name in ["detected", "followed", "scheduled", "sent", "started"] {
        let text = fs::read_to_string(format!("{FOLDER}/{name}.yaml")).unwrap();
        used(&serde_yaml::from_str(&text).unwrap(), &Vec::new(), &all, &mut found);
    }
    let unused: Vec<String> = all.difference(&found).map(|way| way.join(".")).collect();
    assert!(unused.is_empty(), "no playbook uses {unused:?}");
}

#[test]
fn every_action_that_sends_is_used_by_a_playbook_that_is_tested() {
    let text = fs::read_to_string(format!("{FOLDER}/sent.yaml")).unwrap();
    let actions = quell(&["action", "list", "--json"]).ends(0).json();
    // Those on a cluster have playbooks of their own.
    let is_here = |action: &&Value| !action["id"].as_str().unwrap().starts_with("kubernetes.");
    let sends = actions.as_array().unwrap().iter().filter(|action| action["lane"] == "notify").filter(is_here);
    let names: Vec<&str> = sends.map(|action| action["id"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    let unused: Vec<&&str> = names.iter().filter(|name| !text.contains(&format!("action: {name}"))).collect();
    assert!(unused.is_empty(), "no playbook uses {unused:?}");
}

#[test]
fn the_playbooks_of_every_key_check_clean_and_are_tested_to_their_last_step() {
    let checked = quell(&["playbook", "check", "--deny", "warnings", FOLDER]).ends(0);
    let by_hand: Vec<&str> = checked.out.lines().filter(|line| line.contains("nothing starts it by itself")).collect();
    assert!(
        matches!(by_hand[..], [sent, started] if sent.contains("sent.yaml") && started.contains("started.yaml")),
        "{}",
        checked.out
    );
    let ran = quell(&["playbook", "test", "--coverage", "--json", FOLDER]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let told = ran.json();
    assert_eq!(told["cases"].as_array().unwrap().len(), 11, "{told}");
    for playbook in told["coverage"].as_array().unwrap() {
        assert_eq!(playbook["branches_not_reached"], serde_json::json!([]), "a branch that no case takes: {told}");
    }
}
