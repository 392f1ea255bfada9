//! The crash law, on the real daemon: it is killed at every record and between them, started again, and the end of the
//! world and of the journal is that of the run that nobody disturbed.
//!
//! Goal: for every action and every playbook that ships. Method: a debug build dies by SIGKILL at the write that
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

#[test]
fn every_playbook_that_ships_is_in_the_crash_law() {
    let folders: Vec<&str> =
        quell_playbooks::playbooks().iter().map(|file| file.name.split('/').next().unwrap()).collect();
    // What answers a cluster's audit log acts by verbs on a cluster, whose own law is in actions/kubernetes.
    let on_a_cluster =
        ["cluster-admin", "compromised-pod", "pod-exec", "privileged-pod", "secrets-enumeration", "stolen-token"];
    let on_a_host: Vec<&str> = folders.into_iter().filter(|folder| !on_a_cluster.contains(folder)).collect();
    assert_eq!(on_a_host, ["credential-theft", "crypto-miner", "fileless-execution", "reverse-shell"]);
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

/// The cgroup is cut off before its processes are ended.
const CUT_OFF: &str = r#"
playbook: cut-off
description: Holds a tree, cuts its cgroup off, and ends it.
on: { detections: { rules: [cut-off] } }
mode: enforce
limits: { runs: 1000/h, targets: 100/run }
steps:
  hold: { action: process.freeze, with: { process: "${{ event.process.id }}", scope: tree } }
  cut: { needs: [hold], action: network.isolate, with: { process: "${{ event.process.id }}", for: 24h } }
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
