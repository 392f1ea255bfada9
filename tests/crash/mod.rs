//! The crash law, on the real daemon: it is killed at every record and between them, started again, and the end of the
//! world and of the journal is that of the run that nobody disturbed.
//!
//! Goal: for every verb on a process and its network, and every playbook that acts by them alone; what acts on a cluster dies at each call in
//! actions/kubernetes/tests, and which playbook is where is held below. Method: a debug build dies by SIGKILL at the write that
//! `QUELL_DIE_AT` names (`engine/src/store/fault.rs`), before it (all earlier acts are done, the record is not there) or
//! after it (the record is there, nothing has followed). *Chains* let every life write one record and die, so that one
//! run meets its death at each of them; in `make test-long` each record also has a death to itself, with the sensor
//! before and after. A release build has no such place: the soak
//! kills it at moments of its own choosing, and so does `by_chance`, while runs are in flight.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

mod by_chance;
mod law;
mod scene;
mod story;

use scene::Scene;
use std::collections::BTreeSet;

/// A playbook that ships, its text as it is; its rules are replaced by narrow ones.
fn shipped(folder: &str) -> String {
    let name = format!("{folder}/playbook.yaml");
    let found = quell_playbooks::playbooks().into_iter().find(|file| file.name == name);
    found.unwrap_or_else(|| panic!("`{name}` does not ship")).text.to_owned()
}

/// The rules that a playbook's text asks for: the first matches, the others never do.
fn rules_of(text: &str) -> Vec<String> {
    let (_, list) = text.split_once("rules:").unwrap();
    // In one line within brackets, or a line each.
    let flow = list.trim_start().strip_prefix('[').and_then(|list| list.split(']').next());
    let list = flow.unwrap_or_else(|| list.split("level:").next().unwrap());
    let words = list.split(|c: char| c == ',' || c.is_whitespace()).map(|word| word.trim_start_matches('-'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Playbooks that act on this host alone, each with its test below.
const ON_A_HOST: [(&str, &str); 4] = [
    ("credential-theft", "credential_theft_outlives_every_crash"),
    ("crypto-miner", "crypto_miner_outlives_every_crash"),
    ("fileless-execution", "fileless_execution_outlives_every_crash"),
    ("reverse-shell", "reverse_shell_outlives_every_crash"),
];

/// Verbs on a cluster, each with the test in which it dies at every call to a real API server. The playbooks that use them meet the engine's
/// deaths in the simulation, as all do.
const ON_A_CLUSTER: [(&str, &str); 5] = [
    ("kubernetes.capture_pod", "a_capture_outlives_every_crash"),
    ("kubernetes.delete_pod", "ends_outlive_every_crash"),
    ("kubernetes.emit_event", "an_event_is_told_once_however_often_it_is_written"),
    ("kubernetes.isolate_pod", "it_outlives_every_crash"),
    ("kubernetes.revoke_service_account", "a_revocation_outlives_every_crash"),
];

/// The verbs that a playbook's text names.
fn verbs_of(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix("action: ")).map(str::trim).collect()
}

/// What stands between the begin of a function and the next one.
fn body<'s>(sources: &'s [String], name: &str) -> &'s str {
    let begin = format!("fn {name}()");
    let rest = sources.iter().find_map(|text| text.split_once(&begin).map(|(_, rest)| rest));
    rest.unwrap_or_else(|| panic!("there is no `{begin}`")).split("\n}\n").next().unwrap()
}

#[test]
fn every_playbook_that_ships_is_in_the_crash_law() {
    let here = [include_str!("mod.rs").to_owned()];
    let there = walk("actions/kubernetes/tests");
    let (mut on_a_host, mut verbs) = (BTreeSet::new(), BTreeSet::new());
    for file in quell_playbooks::playbooks() {
        let folder = file.name.split('/').next().unwrap();
        let on_a_cluster: Vec<&str> =
            verbs_of(file.text).into_iter().filter(|verb| verb.starts_with("kubernetes.")).collect();
        assert!(!verbs_of(file.text).is_empty(), "`{folder}` does nothing that could be looked at here");
        if on_a_cluster.is_empty() {
            on_a_host.insert(folder);
        }
        verbs.extend(on_a_cluster);
    }
    assert_eq!(on_a_host, BTreeSet::from(ON_A_HOST.map(|(folder, _)| folder)), "playbooks with a test in this file");
    assert_eq!(
        verbs,
        BTreeSet::from(ON_A_CLUSTER.map(|(verb, _)| verb)),
        "verbs with a test in actions/kubernetes/tests"
    );
    for (folder, test) in ON_A_HOST {
        assert!(body(&here, test).contains(&format!("shipped(\"{folder}\")")), "`{test}` is not about `{folder}`");
    }
    for (verb, test) in ON_A_CLUSTER {
        let of: Vec<String> = there.iter().filter(|text| text.contains(&format!("\"{verb}\""))).cloned().collect();
        let dies = ["outlives_every_crash(", "dying("].iter().any(|how| body(&of, test).contains(how));
        assert!(dies, "`{test}` does not let `{verb}` die");
    }
}

/// The sources below a folder.
fn walk(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(path.to_str().unwrap()));
        } else {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
    found
}

#[test]
fn credential_theft_outlives_every_crash() {
    law::holds(|| Scene::new("crash-credential", &shipped("credential-theft"), scene::Attack::Reader));
}

#[test]
fn crypto_miner_outlives_every_crash() {
    law::holds(|| Scene::new("crash-miner", &shipped("crypto-miner"), scene::Attack::Tree));
}

#[test]
fn fileless_execution_outlives_every_crash() {
    law::holds(|| Scene::new("crash-fileless", &shipped("fileless-execution"), scene::Attack::Tree));
}

#[test]
fn reverse_shell_outlives_every_crash() {
    law::holds(|| Scene::new("crash-shell", &shipped("reverse-shell"), scene::Attack::Tree));
}

/// Every verb, every scope that can be made here, a list, a script, a condition, a refusal, and a failure.
const EVERY_VERB: &str = r##"
playbook: every-verb
description: Does all that can be done to a process.
on: { detections: { rules: [every-verb] } }
mode: enforce
limits: { runs: 1000/h }
steps:
  look: { action: process.inspect, with: { process: "${{ event.process.id }}" } }
  hold: { needs: [look], action: process.freeze, with: { process: "${{ event.process.id }}", scope: tree } }
  again:
    needs: [hold]
    for_each: "${{ [1, 2, 3] }}"
    max_parallel: 2
    action: process.freeze
    with: { process: "${{ event.process.id }}", scope: process }
  sum: { needs: [again], script: "#{ twice: 2 * 21 }" }
  never: { needs: [sum], if: "${{ steps.sum.twice != 42 }}", tell: "arithmetic has failed" }
  parent: { needs: [hold], action: process.freeze, with: { process: "${{ event.process.parent.id }}" }, on_failure: continue }
  keep: { needs: [sum], action: process.capture, with: { process: "${{ event.process.id }}" } }
  kill: { needs: [keep, parent, never], action: process.kill, with: { process: "${{ event.process.id }}", scope: tree } }
  failed: { needs: [parent], when: failure, tell: "the parent is not ours" }
  report: { needs: [kill, failed], when: always, tell: "${{ steps.sum.twice }}: ${{ steps.kill?.killed?.len() ?? 0 }} killed" }
"##;

#[test]
fn every_verb_outlives_every_crash() {
    law::holds(|| Scene::new("crash-verbs", EVERY_VERB, scene::Attack::Tree));
}

/// A whole cgroup is frozen and killed at once.
const WHOLE_CGROUP: &str = r#"
playbook: whole-cgroup
description: Holds a cgroup, and ends it.
on: { detections: { rules: [whole-cgroup] } }
mode: enforce
limits: { runs: 1000/h, targets: 100/run }
steps:
  hold: { action: process.freeze, with: { process: "${{ event.process.id }}", scope: cgroup } }
  kill: { needs: [hold], action: process.kill, with: { process: "${{ event.process.id }}", scope: cgroup } }
"#;

#[test]
fn a_whole_cgroup_outlives_every_crash() {
    law::holds(|| Scene::new("crash-cgroup", WHOLE_CGROUP, scene::Attack::Tree));
}

/// The image is kept from starting before its processes are ended.
const BLOCKED: &str = r#"
playbook: kept-from-starting
description: Holds a tree, keeps its image from starting, and ends it.
on: { detections: { rules: [kept-from-starting] } }
mode: enforce
limits: { runs: 1000/h }
steps:
  hold: { action: process.freeze, with: { process: "${{ event.process.id }}", scope: tree } }
  block:
    needs: [hold]
    action: process.block_exec
    with:
      path: "${{ event.process.image }}"
      scope: cgroup
      cgroup: "${{ event.process.cgroup_path }}"
      for: 24h
  kill: { needs: [block], action: process.kill, with: { process: "${{ event.process.id }}", scope: tree } }
"#;

#[test]
fn what_is_kept_from_starting_outlives_every_crash() {
    law::holds(|| Scene::new("crash-block", BLOCKED, scene::Attack::Tree));
}

/// The cgroup is kept from a peer and cut off before its processes are ended.
const CUT_OFF: &str = r#"
playbook: cut-off
description: Holds a tree, keeps its cgroup from a peer, cuts it off, and ends it.
on: { detections: { rules: [cut-off] } }
mode: enforce
limits: { runs: 1000/h, targets: 100/run }
steps:
  hold: { action: process.freeze, with: { process: "${{ event.process.id }}", scope: tree } }
  peer:
    needs: [hold]
    action: network.block_peer
    with: { cidr: 192.0.2.7, scope: cgroup, process: "${{ event.process.id }}", for: 24h }
  cut: { needs: [peer], action: network.isolate, with: { process: "${{ event.process.id }}", for: 24h } }
  kill: { needs: [cut], action: process.kill, with: { process: "${{ event.process.id }}", scope: tree } }
"#;

#[test]
fn what_is_cut_off_outlives_every_crash() {
    law::holds(|| Scene::new("crash-cut", CUT_OFF, scene::Attack::Tree));
}

/// What is only held stays held.
const ONLY_HELD: &str = r#"
playbook: only-held
description: Holds a tree, and leaves it so.
on: { detections: { rules: [only-held] } }
mode: enforce
limits: { runs: 1000/h }
steps:
  hold: { action: process.freeze, with: { process: "${{ event.process.id }}", scope: tree } }
"#;

#[test]
fn what_is_only_held_outlives_every_crash() {
    law::holds(|| Scene::new("crash-held", ONLY_HELD, scene::Attack::Tree));
}
