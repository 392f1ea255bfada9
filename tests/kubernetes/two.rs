//! What is not one pod of many in a network of its own: a pod in its node's network, and two pods that are attacked at once.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use super::attacker::{Attacker, answers};
use super::node::{Node, ended, step, taken_back};
use super::shop::{Shop, is_as_before};
use super::talk::{Talk, asks};
use crate::cluster::{Cluster, Pod, until};
use serde_json::{Value, json};

/// Two in their node's network, which nobody owns.
const AGENTS: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: { name: agent, namespace: NAMESPACE, labels: { app: agent, beside: "no" } }
  spec:
    hostNetwork: true
    terminationGracePeriodSeconds: 1
    containers:
      - name: web
        image: localhost/quell-bb:1
        imagePullPolicy: Never
        command: [sh, -c, "echo agent > /tmp/name; exec httpd -f -p 18080 -h /tmp"]
        readinessProbe: { exec: { command: [test, -e, /tmp/name] }, periodSeconds: 1 }
- apiVersion: v1
  kind: Pod
  metadata: { name: beside, namespace: NAMESPACE, labels: { app: agent, beside: "yes" } }
  spec:
    hostNetwork: true
    terminationGracePeriodSeconds: 1
    containers:
      - name: web
        image: localhost/quell-bb:1
        imagePullPolicy: Never
        command: [sh, -c, "echo beside > /tmp/name; exec httpd -f -p 18081 -h /tmp"]
        readinessProbe: { exec: { command: [test, -e, /tmp/name] }, periodSeconds: 1 }
"#;

#[test]
fn a_pod_in_its_nodes_network_is_cut_off_and_its_node_is_not() {
    let what = "a pod in its node's network";
    let Some(cluster) = Cluster::shared(what) else { return };
    let Some(node) = Node::of(cluster, what) else { return };
    let shop = Shop::opens(cluster, "host-network", 1);
    cluster.apply(&AGENTS.replace("NAMESPACE", &shop.namespace.name));
    let (agents, pods) = (shop.namespace.ready("app=agent", 2), shop.pods());
    let (it, beside) = (&agents[0], &agents[1]);
    let address = cluster.fact("NODE_ADDRESS");
    assert_eq!((it.name(), it.ip(), asks(&pods[0], address, 18080).as_str()), ("agent", address, "agent"));
    let before = shop.objects(it.name());

    node.configure(true, &cluster.kubeconfig(), &node.within(&shop.namespace.name));
    let Some(daemon) = node.armed(what) else { return };
    let attacker = Attacker::new(cluster);
    let shell = attacker.shell(it, "web");
    let cut = ended(&daemon, "isolate-compromised-pod", Some(it.uid()));
    let ends = ended(&daemon, "contain-reverse-shell", Some(it.uid()));
    shell.ends();
    let isolate = step(&cut, "isolate");
    assert_eq!((&isolate["outcome"], &isolate["output"]["policy"]), (&json!("verified"), &Value::Null), "{cut:#}");
    assert_eq!(
        (&step(&ends, "kill")["outcome"], &cut["event"]["pod"]["host_network"]),
        (&json!("verified"), &json!(true))
    );
    assert_eq!(shop.policies(), ["somebodys"]);
    assert_eq!(asks(&pods[0], address, 18080), "", "it answers nobody");
    assert_eq!(asks(it, address, 18081), "", "nor is it answered");
    // Its node, and who else is in that network, goes on: this is asked through the node's own kubelet.
    assert_eq!(asks(&pods[0], address, 18081), "beside");
    assert_eq!(asks(beside, pods[0].ip(), 8080), pods[0].name());

    let back = taken_back(&daemon, &cut);
    assert_eq!(back["state"], "undone", "{back:#}");
    is_as_before(&shop, it.name(), &before);
    assert_eq!(asks(&pods[0], address, 18080), "agent");
    assert_eq!(asks(it, address, 18081), "beside");
    daemon.end();
    node.says(&["uninstall"]).ends(0);
}

#[test]
fn two_pods_that_are_attacked_at_once_are_both_cut_off() {
    let what = "two pods at once";
    let Some(cluster) = Cluster::shared(what) else { return };
    let Some(node) = Node::of(cluster, what) else { return };
    let shop = Shop::opens(cluster, "two-at-once", 5);
    let pods = shop.pods();
    let (two, others) = pods.split_at(2);
    let talks = [Talk::between(&two[0], &others[0], 9000), Talk::between(&two[1], &others[1], 9001)];
    let beside = Talk::between(&others[0], &others[1], 9002);
    let before = [0, 1].map(|at: usize| shop.objects(two[at].name()));

    node.configure(true, &cluster.kubeconfig(), &node.within(&shop.namespace.name));
    let Some(daemon) = node.armed(what) else { return };
    let attacker = Attacker::new(cluster);
    let started = [attacker.starts(&two[0], "web"), attacker.starts(&two[1], "web")];
    let mut lines = [attacker.comes(), attacker.comes()];
    let runs = [0, 1].map(|at: usize| {
        let (ends, cut) = ("contain-reverse-shell", "isolate-compromised-pod");
        let [ends, cut] = [ends, cut].map(|playbook| ended(&daemon, playbook, Some(two[at].uid())));
        assert_eq!(
            (&step(&ends, "kill")["outcome"], &step(&cut, "isolate")["outcome"]),
            (&json!("verified"), &json!("verified")),
            "{ends:#}\n{cut:#}"
        );
        cut
    });
    assert!(lines.iter_mut().all(|line| !answers(line)));
    drop(started);
    let so_far = [0, 1].map(|at: usize| talks[at].heard());
    beside.goes_on();
    let asked = |from: &Pod<'_>, to: &Pod<'_>| asks(from, to.ip(), 8080);
    for (from, to) in [(0, 2), (2, 0), (1, 2), (2, 1), (0, 1), (1, 0)] {
        assert_eq!(asked(&pods[from], &pods[to]), "", "{from} to {to}");
    }
    assert_eq!(asked(&pods[2], &pods[3]), pods[3].name());
    assert_eq!([0, 1].map(|at: usize| talks[at].heard()), so_far);
    let healed = shop.pods();
    assert!(healed.iter().all(|pod| two.iter().all(|cut| cut.uid() != pod.uid())));
    assert_eq!(shop.policies().len(), 3);

    // One is given back, and the other stays as it is.
    assert_eq!(taken_back(&daemon, &runs[0])["state"], "undone");
    until("it answers again", || (asked(&pods[2], &pods[0]) == pods[0].name()).then_some(()));
    assert_eq!(asked(&pods[2], &pods[1]), "");
    assert_eq!(taken_back(&daemon, &runs[1])["state"], "undone");
    for (pod, before) in two.iter().zip(&before) {
        is_as_before(&shop, pod.name(), before);
    }
    assert_eq!(asked(&pods[2], &pods[1]), pods[1].name());
    daemon.end();
    node.says(&["uninstall"]).ends(0);
}
