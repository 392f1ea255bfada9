//! A daemon that dies by SIGKILL at each write of its verbs to a real API server, before it or once it is done and nobody has the answer, and
//! the next one, which goes on: how every step ends, what stands, and what is given back is what nobody's death would have left.
//!
//! On an API server without a node and without a sensor: what is done on a node is in `killed`. Chains, as in `tests/crash`: each life comes
//! one write further.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use super::gate::{Gate, Side};
use crate::cli::{command, write};
use crate::cluster::{Cluster, Namespace, until};
use crate::daemon::Daemon;
use serde_json::{Value, json};

/// Lives of one story: far more than it has writes.
const MOST_LIVES: usize = 30;

const PLAYBOOK: &str = r#"
playbook: all-of-it
description: Does what can be done in a cluster to what is called by its name.
mode: enforce
limits: { runs: 1000/h, targets: 100/run }
steps:
  isolate: { action: kubernetes.isolate_pod, with: { pod: POD-it }, lease: { for: 4h, at_end: ask } }
  label: { needs: [isolate], action: kubernetes.label_pod, with: { pod: POD-it, labels: { quarantine: "yes", team: null } } }
  annotate: { needs: [label], action: kubernetes.annotate_pod, with: { pod: POD-it, annotations: { by: quell } } }
  tell: { needs: [annotate], action: kubernetes.emit_event, with: { object: POD-it, reason: Drill, message: A drill. } }
  scale: { needs: [tell], action: kubernetes.scale_owner, with: { owner: NAMESPACE/deployment/other, to: 1 } }
  suspend: { needs: [scale], action: kubernetes.suspend_cronjob, with: { cronjob: NAMESPACE/backup } }
  name: { needs: [suspend], action: kubernetes.label_node, with: { node: node-NAMESPACE, labels: { quarantine: "yes" } } }
  taint: { needs: [name], action: kubernetes.taint_node, with: { node: node-NAMESPACE, key: quell.test/drill, effect: NoSchedule } }
  cordon: { needs: [taint], action: kubernetes.cordon_node, with: { node: node-NAMESPACE } }
  evict: { needs: [cordon], action: kubernetes.evict_pod, with: { pod: POD-evicted } }
  delete: { needs: [evict], action: kubernetes.delete_pod, with: { pod: POD-deleted } }
"#;

/// What is done it to.
const SCENE: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: web, namespace: NAMESPACE }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: other, namespace: NAMESPACE }
spec:
  replicas: 2
  selector: { matchLabels: { app: other } }
  template:
    metadata: { labels: { app: other } }
    spec: { containers: [{ name: main, image: "localhost/none:1" }] }
---
apiVersion: batch/v1
kind: CronJob
metadata: { name: backup, namespace: NAMESPACE }
spec:
  schedule: 0 0 1 1 *
  jobTemplate: { spec: { template: { spec: { restartPolicy: Never, containers: [{ name: main, image: "localhost/none:1" }] } } } }
---
apiVersion: v1
kind: Node
metadata: { name: node-NAMESPACE }
"#;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: NAME, namespace: NAMESPACE, labels: { app: web, team: shop } }
spec: { containers: [{ name: main, image: "localhost/none:1" }] }
"#;

const PODS: [&str; 3] = ["it", "evicted", "deleted"];

/// One telling of the story: a namespace, and the home of a daemon.
struct Take<'c> {
    namespace: Namespace<'c>,
    gate: &'c Gate,
    home: tempfile::TempDir,
    /// The uid of the pod that stays.
    uid: String,
}

impl<'c> Take<'c> {
    fn new(cluster: &'c Cluster, gate: &'c Gate, name: &str) -> Self {
        let namespace = cluster.namespace(name);
        cluster.apply(&SCENE.replace("NAMESPACE", name));
        let mut playbook = PLAYBOOK.replace("NAMESPACE", name);
        let mut uids = Vec::new();
        for pod in PODS {
            cluster.apply(&POD.replace("NAMESPACE", name).replace("NAME", pod));
            let uid = cluster.get(&["pod", pod, "-n", name])["metadata"]["uid"].as_str().unwrap().to_owned();
            let named = format!("{{ namespace: {name}, name: {pod}, uid: {uid} }}");
            playbook = playbook.replace(&format!("POD-{pod}"), &named);
            uids.push(uid);
        }
        let home = tempfile::tempdir().unwrap();
        write(home.path(), "playbooks/it.yaml", &playbook);
        let config = format!(
            "mode: enforce\nsources: {{ sensor: {{ enabled: false }} }}\nrules: {{ shipped: false }}\n\
             playbooks: {{ shipped: false, dirs: [playbooks] }}\nkubernetes: {{ cluster: test, kubeconfig: {} }}\n\
             guard: {{ limits: {{ min_ready: 0 }} }}\n",
            gate.kubeconfig.display()
        );
        write(home.path(), "quell.yaml", &config);
        let take = Self { namespace, gate, home, uid: uids.remove(0) };
        take.has_pods(2);
        take
    }

    /// Waits until the deployment has so many.
    fn has_pods(&self, count: usize) {
        until(&format!("the deployment has {count} pods"), || {
            let fits = ["pods", "-n", &self.namespace.name, "-l", "app=other"];
            let pods = self.namespace.cluster.get(&fits);
            (pods["items"].as_array().unwrap().len() == count).then_some(())
        });
    }

    fn lives(&self) -> Daemon {
        let at = |name: &str| self.home.path().join(name);
        let mut daemon = Daemon::start(command(&["up"]), Some(&at("quell.yaml")), &at("state"), &at("log"));
        daemon.stands();
        daemon
    }

    /// Life after life, each of which dies at this write of its own, until the run has come to one of these states; gives the run, and how
    /// many lives there were.
    fn chain(&self, at: Option<(u64, Side)>, begins: &[&str], ends: &[&str]) -> (Value, usize) {
        self.gate.counts_writes_to(None);
        let mut daemon = self.lives();
        self.gate.counts_writes_to(at);
        daemon.ask(begins).ends(0);
        let run = |daemon: &Daemon| daemon.get("/runs").map(|runs| runs["items"][0].clone());
        let is_over =
            |daemon: &Daemon| run(daemon).is_some_and(|run| ends.contains(&run["state"].as_str().unwrap_or_default()));
        for lives in 1..MOST_LIVES {
            if !self.gate.shuts(|| is_over(&daemon)) {
                let id = run(&daemon).unwrap()["id"].as_str().unwrap().to_owned();
                let shown = daemon.ask_json(&["run", "show", &id]);
                daemon.end();
                return (shown, lives);
            }
            daemon.kill();
            self.gate.counts_writes_to(at);
            daemon = self.lives();
        }
        panic!("{MOST_LIVES} lives, and no end ({at:?}): {:#}", run(&daemon).unwrap_or_default());
    }

    fn acts(&self, at: Option<(u64, Side)>) -> (Value, usize) {
        self.chain(at, &["playbook", "run", "all-of-it"], &["succeeded", "failed", "cancelled"])
    }

    fn takes_back(&self, run: &Value, at: Option<(u64, Side)>) -> (Value, usize) {
        let id = run["id"].as_str().unwrap();
        self.chain(at, &["run", "undo", id, "--why", "a drill"], &["undone", "stuck"])
    }

    /// What stands, the same whatever it is called in this telling.
    fn world(&self, run: Option<&Value>) -> String {
        let (cluster, name) = (self.namespace.cluster, self.namespace.name.as_str());
        let items = |kind: &str| cluster.get(&[kind, "-n", name])["items"].as_array().unwrap().clone();
        let it = cluster.get(&["pod", "it", "-n", name]);
        let pods = items("pods").into_iter().map(|pod| pod["metadata"].clone());
        let bare: Vec<Value> =
            pods.filter(|pod| pod["ownerReferences"].is_null()).map(|pod| pod["name"].clone()).collect();
        let policies = items("networkpolicies").into_iter();
        let policies: Vec<Value> = policies
            .map(|one| {
                json!([one["metadata"]["name"], one["metadata"]["labels"], one["metadata"]["annotations"], one["spec"]])
            })
            .collect();
        let events = items("events").into_iter().filter(|event| event["reason"] == "Drill");
        let events: Vec<Value> = events.map(|event| json!([event["message"], event["count"]])).collect();
        let mut annotations = it["metadata"]["annotations"].clone();
        if let Some(all) = annotations.as_object_mut() {
            all.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        let node = cluster.get(&["node", &format!("node-{name}")]);
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let taints: Vec<&Value> = taints.iter().filter(|taint| taint["key"] == "quell.test/drill").collect();
        let world = json!({
            "pods": bare, "labels": it["metadata"]["labels"], "annotations": annotations, "policies": policies, "events": events,
            "replicas": cluster.get(&["deployment", "other", "-n", name])["spec"]["replicas"],
            "suspended": cluster.get(&["cronjob", "backup", "-n", name])["spec"]["suspend"],
            "node": [node["metadata"]["labels"]["quarantine"], taints, node["spec"]["unschedulable"]],
        });
        let text = format!("{world:#}").replace(&self.uid, "UID").replace(name, "NAMESPACE");
        run.map_or_else(|| text.clone(), |run| text.replace(run["id"].as_str().unwrap(), "RUN"))
    }
}

/// How it ended, and each step of it.
fn story(run: &Value) -> Vec<String> {
    let steps = run["steps"].as_array().unwrap().iter();
    let steps = steps.map(|step| format!("{} {}", step["id"].as_str().unwrap(), step["outcome"]));
    std::iter::once(run["state"].to_string()).chain(steps).collect()
}

#[test]
fn whatever_it_had_written_when_it_died_the_next_life_ends_it_the_same() {
    let Some(cluster) = Cluster::own("deaths at each write to an API server", &["--api-only"]) else { return };
    let gate = Gate::before(&cluster);
    let calm = Take::new(&cluster, &gate, "deaths-calm");
    let before = calm.world(None);
    let (run, _) = calm.acts(None);
    let writes = gate.count();
    let (acted, stands) = (story(&run), calm.world(Some(&run)));
    assert!(acted[0] == "\"succeeded\"" && writes >= 11, "{writes} writes: {run:#}");
    let (run, _) = calm.takes_back(&run, None);
    let (undone, back) = (story(&run), calm.world(Some(&run)));
    calm.has_pods(2);
    assert!(undone[0] == "\"undone\"" && gate.count() >= 8, "{} writes: {run:#}", gate.count());

    for (name, at) in [("deaths-after", (1, Side::After)), ("deaths-before", (2, Side::Before))] {
        let take = Take::new(&cluster, &gate, name);
        assert_eq!(take.world(None), before);
        let (run, lives) = take.acts(Some(at));
        assert!(lives > 5, "{lives} lives of {name}");
        assert_eq!(story(&run), acted, "after {lives} lives of {name}: {run:#}");
        assert_eq!(take.world(Some(&run)), stands, "after {lives} lives of {name}: {run:#}");
        let (run, lives) = take.takes_back(&run, Some(at));
        assert!(lives > 3, "{lives} lives of {name}");
        assert_eq!(story(&run), undone, "after {lives} lives of {name}: {run:#}");
        assert_eq!(take.world(Some(&run)), back, "after {lives} lives of {name}: {run:#}");
        take.has_pods(2);
    }
    drop(calm);
    drop(gate);
    cluster.end();
}
