//! A node is drained, and what is on it does not go: a budget of disruptions holds some, a finalizer the others. No kill waits for that.
//!
//! On a cluster of its own, as it is emptied. The guard's `only_within` knows no node, so it is the rules that keep this to the cluster: they
//! ask for its cgroup.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use super::node::{Node, ended, run_of, step, taken_back};
use super::shop::Shop;
use crate::cli::Bounded;
use crate::cluster::{Cluster, Pod, until};
use crate::daemon::Daemon;
use serde_json::Value;
use std::process::Stdio;

/// Both begin at once.
const DRAIN: &str = r#"
playbook: drain-and-kill
description: Empties the node of the attack, and ends the attack.
on: { detections: { rules: [drains] } }
mode: enforce
steps:
  drain: { action: kubernetes.drain_node, with: { node: node1, timeout: 9m }, timeout: 10m }
  kill: { action: process.kill, with: { process: "${{ event.process.id }}", scope: process } }
"#;

const KILL: &str = r#"
playbook: kill
description: Ends the attack.
on: { detections: { rules: [kills] } }
mode: enforce
limits: { runs: 100/h }
steps:
  kill: { action: process.kill, with: { process: "${{ event.process.id }}", scope: process } }
"#;

const RULE: &str = "title: NAME\nname: NAME\nstatus: test\nlevel: high\n\
    logsource: { product: linux, category: process_creation }\n\
    detection:\n  it: { CommandLine: sleep SECONDS, process.cgroup_path|startswith: CGROUP/ }\n  condition: it\n";

/// One whose pods do not go when they have ended, and a budget that lets none of the shop go.
const STUCK: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: held, namespace: NAMESPACE }
spec:
  selector: { matchLabels: { app: held } }
  template:
    metadata: { labels: { app: held }, finalizers: [quell.test/held] }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: main, image: "localhost/quell-bb:1", imagePullPolicy: Never, command: [sleep, "100000"] }]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: all, namespace: NAMESPACE }
spec: { maxUnavailable: 0, selector: { matchLabels: { app: web } } }
"#;

/// One that is there by its object alone: the last node that takes pods is nobody's to drain.
const OTHER_NODE: &str = r#"
apiVersion: v1
kind: Node
metadata: { name: node2 }
spec: { taints: [{ key: quell.test/nobody, effect: NoSchedule }] }
"#;

fn other_node(cluster: &Cluster) {
    cluster.apply(OTHER_NODE);
    let ready = r#"{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Test","message":"","lastHeartbeatTime":"2099-01-01T00:00:00Z"}]}}"#;
    cluster.say(&["patch", "node", "node2", "--subresource=status", "--type=merge", "-p", ready]);
}

/// A program of this many seconds in a pod.
fn attack(shop: &Shop<'_>, pod: &Pod<'_>, seconds: &str) -> Bounded {
    let mut kubectl =
        shop.namespace.cluster.kubectl(&["-n", &shop.namespace.name, "exec", pod.name(), "--", "sleep", seconds]);
    Bounded(kubectl.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[track_caller]
fn drain(daemon: &Daemon) -> Value {
    step(&run_of(daemon, "drain-and-kill", None).unwrap(), "drain").clone()
}

#[test]
fn a_drain_that_is_stuck_keeps_no_kill_waiting() {
    let what = "a kill beside a drain";
    let Some(cluster) = Cluster::own(what, &[]) else { return };
    let Some(node) = Node::of(&cluster, what) else { return };
    let shop = Shop::opens(&cluster, "drains", 2);
    let pods = shop.pods();
    cluster.apply(&STUCK.replace("NAMESPACE", &shop.namespace.name));
    let held = shop.namespace.ready("app=held", 1).remove(0).name().to_owned();
    until("the budget counts them", || {
        let budget = cluster.get(&["pdb", "all", "-n", &shop.namespace.name]);
        (budget["status"]["currentHealthy"] == 2 && budget["status"]["expectedPods"] == 2).then_some(())
    });
    for (name, seconds) in [("drains", "4141"), ("kills", "4242")] {
        let rule = RULE.replace("NAME", name).replace("SECONDS", seconds).replace("CGROUP", cluster.fact("CGROUP"));
        node.file(&format!("rules/{name}.yml"), &rule);
    }
    node.file("playbooks/drain.yaml", DRAIN);
    node.file("playbooks/kill.yaml", KILL);
    node.configure(false, &cluster.kubeconfig(), "guard: { limits: { min_ready: 0, nodes: 1 } }");
    let Some(daemon) = node.armed(what) else { return };
    other_node(&cluster);

    let mut first = attack(&shop, &pods[0], "4141");
    let killed = |run: &Value| step(run, "kill")["outcome"] == "verified";
    let run = until("the attack is ended", || run_of(&daemon, "drain-and-kill", None).filter(killed));
    until("kubectl has ended with it", || first.0.try_wait().unwrap());
    // It goes on all the while, and comes to where it is stuck.
    until("the node is closed, and the one with the finalizer has ended", || {
        let closed = cluster.get(&["node", "node1"])["spec"]["unschedulable"] == true;
        let ends =
            cluster.get(&["pod", &held, "-n", &shop.namespace.name])["metadata"]["deletionTimestamp"].is_string();
        assert_eq!(drain(&daemon)["outcome"], Value::Null, "{:#}", drain(&daemon));
        (closed && ends).then_some(())
    });
    for attacks in 1..=5 {
        let mut next = attack(&shop, &pods[attacks % 2], "4242");
        until("kubectl has ended with the attack", || next.0.try_wait().unwrap());
        until("that is proved", || {
            let runs = daemon.runs();
            let of_it =
                runs.iter().filter(|run| run["playbook"] == "kill" && run["state"] == "succeeded" && killed(run));
            (of_it.count() == attacks).then_some(())
        });
        assert_eq!(drain(&daemon)["outcome"], Value::Null, "{:#}", drain(&daemon));
    }
    let names = |pods: Vec<Pod<'_>>| pods.iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(shop.pods()), names(pods), "the budget has held");

    // Nothing holds them any more: it ends well.
    cluster.say(&["delete", "pdb", "all", "-n", &shop.namespace.name]);
    let none = r#"{"metadata":{"finalizers":null}}"#;
    cluster.say(&["patch", "pod", &held, "-n", &shop.namespace.name, "--type=merge", "-p", none]);
    let drained = ended(&daemon, "drain-and-kill", None);
    assert_eq!((&drained["id"], &step(&drained, "drain")["outcome"]), (&run["id"], &"verified".into()), "{drained:#}");
    assert_eq!(taken_back(&daemon, &drained)["state"], "undone");
    assert_eq!(cluster.get(&["node", "node1"])["spec"]["unschedulable"], Value::Null);
    daemon.end();
    node.says(&["uninstall"]).ends(0);
    drop((shop, node));
    cluster.end();
}
