//! What ships is whole: every threat has its parts, and they name each other.

use super::*;
use serde_yaml::Value;
use std::collections::BTreeSet;

fn parse(file: &Shipped) -> Value {
    serde_yaml::from_str(file.text).unwrap_or_else(|e| panic!("{}: {e}", file.name))
}

/// The rules of a file: the last is what it is called after, those before it are what that one counts.
fn rules_in(file: &Shipped) -> Vec<Value> {
    let all = file.text.split("\n---\n").map(serde_yaml::from_str).collect::<Result<Vec<Value>, _>>();
    all.unwrap_or_else(|e| panic!("{}: {e}", file.name))
}

fn last_in(file: &Shipped) -> Value {
    rules_in(file).pop().unwrap_or_else(|| panic!("{} is empty", file.name))
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_sequence()
        .map(|list| list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
        .unwrap_or_default()
}

fn names_of_rules() -> Vec<String> {
    rules().iter().map(|rule| last_in(rule)["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_threat_ships_whole() {
    let folders = [
        "cluster-admin",
        "compromised-pod",
        "credential-theft",
        "crypto-miner",
        "fileless-execution",
        "pod-exec",
        "privileged-pod",
        "reverse-shell",
        "secrets-enumeration",
        "stolen-token",
    ];
    let with = |file: &str| folders.map(|folder| format!("{folder}/{file}")).to_vec();
    assert_eq!(playbooks().iter().map(|f| f.name.to_owned()).collect::<Vec<_>>(), with("playbook.yaml"));
    assert_eq!(pages().iter().map(|f| f.name.to_owned()).collect::<Vec<_>>(), with("README.md"));
    // A pod's shell is found by the rules of reverse-shell.
    for folder in folders.into_iter().filter(|folder| *folder != "compromised-pod") {
        assert!(rules().iter().any(|rule| rule.name.starts_with(folder)), "{folder} has no rule");
    }
}

#[test]
fn every_rule_says_what_a_person_needs() {
    let mut seen = BTreeSet::new();
    for file in rules() {
        let all = rules_in(&file);
        for rule in &all {
            for key in ["title", "id", "name", "description"] {
                assert!(!rule[key].is_null(), "{} has no `{key}`", file.name);
            }
            let seen = seen.insert(rule["id"].as_str().unwrap().to_owned());
            assert!(seen, "{}: its id is used twice", file.name);
        }
        let (rule, counted) = all.split_last().unwrap();
        let mut keys = vec!["references", "author", "date"];
        keys.extend(if counted.is_empty() { vec!["logsource", "detection"] } else { vec!["correlation"] });
        for key in keys {
            assert!(!rule[key].is_null(), "{} has no `{key}`", file.name);
        }
        let name = rule["name"].as_str().unwrap();
        assert!(file.name.ends_with(&format!("/{name}.yml")), "{} is called {name}", file.name);
        assert!(texts(&rule["tags"]).iter().any(|tag| tag.starts_with("attack.t")), "{} names no technique", file.name);
        assert!(!texts(&rule["falsepositives"]).is_empty(), "{} names no false positive", file.name);
        let asks = playbooks().into_iter().map(|playbook| parse(&playbook)["on"]["detections"].clone());
        let asks: Vec<Value> = asks.filter(|asks| texts(&asks["rules"]).iter().any(|one| one == name)).collect();
        let level = rule["level"].as_str().unwrap();
        let starts = |asks: &Value| ["high", "critical"].contains(&level) || asks["level"] == level;
        assert!(!asks.is_empty() && asks.iter().all(starts), "{}: its level starts nothing", file.name);
    }
}

#[test]
fn every_rule_starts_the_playbook_beside_it_and_is_on_its_page() {
    let known: BTreeSet<String> = names_of_rules().into_iter().collect();
    let mut wanted = BTreeSet::new();
    for file in playbooks() {
        let playbook = parse(&file);
        let folder = file.name.split('/').next().unwrap();
        let page = pages().into_iter().find(|page| page.name.starts_with(folder)).unwrap();
        for rule in texts(&playbook["on"]["detections"]["rules"]) {
            assert!(known.contains(&rule), "{}: no rule is called {rule}", file.name);
            assert!(page.text.contains(&format!("| `{rule}` |")), "{} does not tell of {rule}", page.name);
            wanted.insert(rule);
        }
        assert!(!playbook["limits"].is_null(), "{} has no limits", file.name);
    }
    assert_eq!(wanted, known);
}

#[test]
fn what_is_watched_can_be_told_to_the_kernel() {
    for path in watched() {
        assert!(path.starts_with('/'), "{path}");
        let name = path.split('/').rfind(|part| !part.is_empty() && !part.contains('*'));
        assert!(name.is_some_and(|name| name.len() < 32), "{path} has no name to look for");
    }
    assert!(watched().contains(&"/etc/shadow"));
}
