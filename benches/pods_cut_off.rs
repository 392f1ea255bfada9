//! A pod with a reverse shell, measured on a real cluster: from the kernel's exec of the shell to the last byte that got out of its pod, and to
//! what stands in the API, as somebody else's watch sees it; beside it, in the same run, a bare PATCH of that API server.
//!
//! Owns a cluster of its own and a daemon that may act in one namespace of it. Prints medians and tails and the figures that are aimed at, writes
//! JSON under the target directory, asserts no times. Where no cluster can be started it says so, and fails where `CI` or
//! `QUELL_REQUIRE_CLUSTER` is set.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

#[path = "../tests/cluster/mod.rs"]
mod cluster;
#[path = "stage/implant.rs"]
mod implant;
#[path = "stage/mod.rs"]
mod stage;
#[path = "stage/watching.rs"]
mod watching;

use cluster::{Cluster, until};
use implant::{Callers, Signs};
use quell_engine::clock::SystemClock;
use quell_model::record::StepFinished;
use quell_model::{Clock, Outcome, Stamp};
use serde_json::{Value, json};
use stage::{Daemon, quantile, row, save};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};
use watching::{Seen, Watching};

/// Attacks that count, one after another; `QUELL_ATTACKS` says another number.
const ATTACKS: usize = 60;
/// Attacks before them: the first of a daemon opens its connections.
const BEFORE: usize = 2;
const NAMESPACE: &str = "shop";

/// The playbooks that ship; of the one, as many as there are attacks.
const ISOLATES: &str = include_str!("../playbooks/compromised-pod/playbook.yaml");
const CONTAINS: &str = include_str!("../playbooks/reverse-shell/playbook.yaml");

const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: 3
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web, team: shop } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - { name: web, image: "localhost/quell-bench:1", imagePullPolicy: Never, command: [/bin/play, implant, HOST, "PORT"] }
        - { name: ticks, image: "localhost/quell-bench:1", imagePullPolicy: Never, command: [/bin/play, ticks, HOST, "PORT"] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: baseline, namespace: shop }
"#;

/// One attack.
struct Attack {
    uid: String,
    signs: Signs,
    /// A bare PATCH just before it.
    patch: Duration,
}

fn main() {
    if implant::plays() {
        return;
    }
    let what = "how fast a pod is cut off";
    let Some(cluster) = Cluster::own(what, &[]) else { return };
    let count: usize = std::env::var("QUELL_ATTACKS").ok().and_then(|n| n.parse().ok()).unwrap_or(ATTACKS);
    let own = std::env::current_exe().unwrap();
    cluster.give_image("localhost/quell-bench:1", &own, "/bin/play", implant::shell);
    let namespace = cluster.namespace(NAMESPACE);
    let (callers, port) = Callers::at(cluster.fact("HOST_ADDRESS"));
    cluster.apply(&SHOP.replace("HOST", cluster.fact("HOST_ADDRESS")).replace("PORT", &port.to_string()));
    namespace.ready("app=web", 3);
    let daemon = start(&cluster);
    let watching = Watching::of(&cluster.kubeconfig(), NAMESPACE);

    let mut attacks = Vec::new();
    for _ in 0..count + BEFORE {
        let pods = namespace.ready("app=web", 3);
        let pod = until("somebody of a pod has called", || pods.iter().find(|pod| callers.have(pod.name())));
        let patch = watching.patches("baseline");
        let signs = Signs::of(callers.take("ticks", pod.name()));
        let mut implant = callers.take("implant", pod.name());
        implant.write_all(b"g").unwrap();
        attacks.push(Attack { uid: pod.uid().to_owned(), signs, patch });
        until("its runs have ended", || (over(&daemon) == Some(attacks.len())).then_some(()));
        cluster.say(&["-n", NAMESPACE, "delete", "pod", pod.name(), "--wait=false"]);
    }
    let steps = daemon.end_with_steps();
    let seen = watching.end();
    drop(namespace);
    cluster.end();
    print(&attacks[BEFORE..], &steps, &seen);
}

/// quell on the node of the pods; armed, and it knows them.
fn start(cluster: &Cluster) -> Daemon {
    let config = format!(
        "mode: enforce\nkubernetes: {{ cluster: bench, kubeconfig: {}, node: {} }}\n\
         playbooks: {{ shipped: false, dirs: [playbooks] }}\n\
         guard:\n  only_within: {{ namespace: {NAMESPACE}, cgroup: {} }}\n  limits: {{ \"*\": 10000/h, all: 10000/h, per_playbook: {{ all: 10000/h }} }}\n",
        cluster.kubeconfig().display(),
        cluster.fact("NODE"),
        cluster.fact("CGROUP"),
    );
    assert!(ISOLATES.contains("runs: 20/h") && CONTAINS.contains("runs: 200/h"), "the playbooks bound their runs");
    let files = [
        ("playbooks/isolates.yaml".to_owned(), ISOLATES.replace("runs: 20/h", "runs: 10000/h")),
        ("playbooks/contains.yaml".to_owned(), CONTAINS.replace("runs: 200/h", "runs: 10000/h")),
    ];
    let daemon = Daemon::start_configured(&config, &files);
    until("it knows the pods of its node", || (said(&daemon, &["status"])["pods"]["live"] == true).then_some(()));
    daemon
}

fn said(daemon: &Daemon, words: &[&str]) -> Value {
    let out = daemon.quell(words).arg("--json").stdout(Stdio::piped()).output().unwrap();
    serde_json::from_slice(&out.stdout).unwrap_or_default()
}

/// How many pods' runs have ended, once none is open.
fn over(daemon: &Daemon) -> Option<usize> {
    let runs = said(daemon, &["run", "list"]);
    let runs = runs.as_array()?;
    let is_open = |run: &Value| ["running", "waiting"].contains(&run["state"].as_str().unwrap_or("running"));
    let of_pods = runs.iter().filter(|run| run["playbook"] == "isolate-compromised-pod").count();
    (!runs.iter().any(is_open)).then_some(of_pods)
}

fn print(attacks: &[Attack], steps: &[StepFinished], seen: &Seen) {
    let of = |attack: &Attack| {
        let is_its =
            |step: &&StepFinished| step.part.step.as_str() == "isolate" && step.output["uid"] == attack.uid.as_str();
        steps.iter().find(is_its).filter(|step| step.outcome == Outcome::Verified)
    };
    let proved: Vec<(&Attack, &StepFinished, Stamp)> =
        attacks.iter().filter_map(|attack| Some((attack, of(attack)?, of(attack)?.moments.kernel?))).collect();
    println!(
        "\nexec of a reverse shell in a pod (the kernel's stamp) to …; {} of {} pods cut off and proved",
        proved.len(),
        attacks.len()
    );
    let since = |get: &dyn Fn(&Attack, &StepFinished) -> Option<Stamp>| -> Vec<Duration> {
        proved.iter().filter_map(|(attack, step, kernel)| Some(get(attack, step)?.since(*kernel))).collect()
    };
    let out: Vec<Duration> = proved.iter().map(|(attack, _, kernel)| attack.signs.last_after(*kernel)).collect();
    let policy = since(&|attack, _| seen.policies.get(&attack.uid).copied());
    let labels = since(&|attack, _| seen.labels.get(&attack.uid).copied());
    let api: Vec<Duration> = policy.iter().zip(&labels).map(|(policy, labels)| *policy.max(labels)).collect();
    let rows = [
        row("  seen by the sensor's thread", since(&|_, step| step.moments.seen)),
        row("  decided by the trigger", since(&|_, step| step.moments.decided)),
        row("  act begun: planned, its intent journaled", since(&|_, step| step.moments.started)),
        row("  last byte out of the pod (every 0.2 ms)", out.clone()),
        row("  NetworkPolicy seen by a watch", policy),
        row("  labels seen by a watch", labels),
        row("  proved", since(&|_, step| step.moments.verified)),
        row("  beside it: a bare PATCH, there and back", proved.iter().map(|(attack, ..)| attack.patch).collect()),
    ];
    for (what, mut spans, most) in [("cut on its node", out, 20), ("policy and labels in the API", api, 150)] {
        spans.sort();
        let (p99, most) = (quantile(&spans, 0.99), most * 1000);
        println!(
            "{what}: p99 {p99} us, {} the {most} us that are aimed at",
            if p99 < most { "within" } else { "past" }
        );
    }
    save("pods_cut_off", &[json!({ "attacks": attacks.len(), "proved": proved.len(), "rows": rows })]);
}

/// How long something took.
fn took(of: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    of();
    begun.elapsed()
}

fn now() -> Stamp {
    SystemClock.now()
}
