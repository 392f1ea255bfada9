//! A daemon that dies by SIGKILL between two calls of `kubernetes.isolate_pod` to a real API server, and the next one, which goes on: whatever
//! the moment, the pod ends cut off and proved, once, and is given back whole. `QUELL_SEED` chooses the moments.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use super::gate::{Gate, Side};
use super::node::{Node, ended, step, taken_back};
use super::shop::{Shop, is_as_before};
use super::talk::asks;
use crate::bad_days::is_long;
use crate::bad_days::soak::Dice;
use crate::cluster::{Cluster, Pod};
use crate::daemon::Daemon;
use serde_json::json;

const PLAYBOOK: &str = r#"
playbook: cut-it-off
description: Cuts a pod off.
inputs: { namespace: { type: string }, name: { type: string }, uid: { type: string } }
mode: enforce
steps:
  isolate:
    action: kubernetes.isolate_pod
    with: { pod: { namespace: "${{ inputs.namespace }}", name: "${{ inputs.name }}", uid: "${{ inputs.uid }}" } }
    timeout: 30s
    retry: { attempts: 4, backoff: 200ms..1s }
    lease: { for: 4h, at_end: ask }
"#;

/// Gives the node the playbook.
pub(super) fn can_cut_off(node: &Node<'_>) {
    node.file("playbooks/it.yaml", PLAYBOOK);
}

/// Begins to cut a pod off.
pub(super) fn begins(daemon: &Daemon, shop: &Shop<'_>, pod: &Pod<'_>) {
    let inputs = [("namespace", &*shop.namespace.name), ("name", pod.name()), ("uid", pod.uid())];
    let words = inputs.map(|(key, value)| format!("{key}={value}"));
    let mut args = vec!["playbook", "run", "cut-it-off"];
    args.extend(words.iter().flat_map(|word| ["--input", word.as_str()]));
    daemon.ask(&args).ends(0);
}

#[test]
fn whenever_it_dies_between_two_calls_the_next_one_ends_it_verified() {
    let what = "a quell that dies while it cuts a pod off";
    let Some(cluster) = Cluster::shared(what) else { return };
    let Some(node) = Node::of(cluster, what) else { return };
    let shop = Shop::opens(cluster, "killed", 3);
    let pods = shop.pods();
    let (it, one, other) = (&pods[0], &pods[1], &pods[2]);
    let before = shop.objects(it.name());
    let gate = Gate::before(cluster);
    can_cut_off(&node);
    let guard = format!(
        "{}\n",
        node.within(&shop.namespace.name)
            .replace(" } }", " }, limits: { \"*\": 10000/h, all: 10000/h, per_playbook: { all: 10000/h } } }")
    );
    node.configure(false, &gate.kubeconfig, &guard);
    let Some(mut daemon) = node.armed(what) else { return };

    // How many calls there are when nobody dies.
    gate.counts_to(None);
    begins(&daemon, &shop, it);
    let calm = ended(&daemon, "cut-it-off", None);
    let calls = gate.count();
    assert_eq!(step(&calm, "isolate")["outcome"], "verified", "{calm:#}");
    assert!(calls > 6, "{calls}");
    assert_eq!(taken_back(&daemon, &calm)["state"], "undone");
    is_as_before(&shop, it.name(), &before);
    let mut last = calm["id"].clone();

    let seed = std::env::var("QUELL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9 + 1);
    let mut dice = Dice(seed);
    eprintln!("deaths between calls: QUELL_SEED={seed}, {calls} calls");
    for death in 0..if is_long() { 60 } else { 6 } {
        let at = dice.throw(calls) + 1;
        let side = if dice.throw(2) == 0 { Side::Before } else { Side::After };
        gate.counts_to(Some((at, side)));
        begins(&daemon, &shop, it);
        let is_new = |id: &serde_json::Value| *id != last;
        // Some calls are made side by side, so there may be one less.
        let died = gate.shuts(|| {
            super::node::run_of(&daemon, "cut-it-off", None)
                .is_some_and(|run| is_new(&run["id"]) && run["state"] == "succeeded")
        });
        daemon.kill();
        gate.counts_to(None);
        daemon = node.armed(what).unwrap();
        let run = ended(&daemon, "cut-it-off", None);
        assert!(is_new(&run["id"]), "{run:#}");
        last = run["id"].clone();
        let how = format!("death {death}, {side:?} call {at}, died in it: {died}, QUELL_SEED={seed}: {run:#}");
        let isolate = step(&run, "isolate");
        assert_eq!((&run["state"], &isolate["outcome"]), (&json!("succeeded"), &json!("verified")), "{how}");
        assert_eq!(shop.labels(it.name()), json!({ "team": "shop", "quell/isolated": it.uid() }), "{how}");
        assert_eq!(shop.policies().len(), 2, "{how}");
        assert_eq!(daemon.status()["cut"]["cut_off"].as_array().unwrap().len(), 1, "{how}");
        assert_eq!((asks(it, one.ip(), 8080), asks(one, it.ip(), 8080)), (String::new(), String::new()), "{how}");
        assert_eq!(asks(one, other.ip(), 8080), other.name(), "{how}");
        assert_eq!(taken_back(&daemon, &run)["state"], "undone", "{how}");
        is_as_before(&shop, it.name(), &before);
    }
    assert_eq!(asks(one, it.ip(), 8080), it.name());
    daemon.end();
    let left = node.says(&["uninstall", "--json"]).ends(0).json();
    assert_eq!((&left["stood"], &left["left_over"]), (&json!([]), &json!([])), "{left:#}");
}
