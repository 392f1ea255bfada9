//! A pod of a real Deployment is cut off by `kubernetes.isolate_pod` with the kernel's own cut on its node, and given back.
//!
//! Acts on pods of a namespace of its own. Whatever it does is admitted by the real guard.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../actions/kubernetes/tests/act.rs"]
#[allow(dead_code, reason = "each binary of tests uses its part")]
mod act;

use crate::cluster::{Cluster, Namespace, Pod, until};
use act::{Act, verb};
use quell_actions::HostWorld;
use quell_actions::network::PodCut;
use quell_detectors::cut::KernelCut;
use quell_kubernetes::Settings;
use quell_model::{TargetFacts, Truth};
use serde_json::{Value, json};
use std::sync::Arc;

const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: NAMESPACE }
spec:
  replicas: 3
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web, team: shop } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: localhost/quell-bb:1
          imagePullPolicy: Never
          command: [sh, -c, "hostname > /tmp/name; exec httpd -f -p 8080 -h /tmp"]
          readinessProbe: { exec: { command: [test, -e, /tmp/name] }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: NAMESPACE }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
"#;

/// What a pod hears of another, or nothing.
fn asks(one: &Pod<'_>, other: &Pod<'_>) -> String {
    let line = format!("printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc -w 3 {} 8080 | tail -n 1", other.ip());
    String::from_utf8(one.exec(&["sh", "-c", &line]).stdout).unwrap().trim().to_owned()
}

/// How many bytes a pod has heard over the connection that was open before.
fn heard(pod: &Pod<'_>) -> u64 {
    pod.says(&["sh", "-c", "wc -c < /tmp/heard"]).trim().parse().unwrap()
}

/// The pods behind the Service.
fn behind(namespace: &Namespace<'_>) -> Vec<String> {
    let fits = "kubernetes.io/service-name=web";
    let slices = namespace.cluster.get(&["endpointslices", "-n", &namespace.name, "-l", fits]);
    let all = slices["items"].as_array().unwrap().iter().flat_map(|slice| slice["endpoints"].as_array().cloned());
    all.flatten().filter_map(|one| Some(one["targetRef"]["name"].as_str()?.to_owned())).collect()
}

fn labels(namespace: &Namespace<'_>, pod: &str) -> Value {
    namespace.cluster.get(&["pod", pod, "-n", &namespace.name])["metadata"]["labels"].clone()
}

#[test]
fn a_pod_is_cut_off_with_what_was_open_and_its_siblings_go_on() {
    let Some(cluster) = Cluster::shared("a pod that is cut off") else { return };
    if cluster.try_fact("CGROUP").is_none() {
        eprintln!("NOT TESTED: the cut of a pod: the cluster's node is not this machine");
        return;
    }
    let kernel = match KernelCut::load(None) {
        Ok(kernel) => Arc::new(kernel),
        Err(why) => {
            assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "no cut can be loaded: {why}");
            eprintln!("NOT TESTED: the cut of a pod: {why}");
            return;
        }
    };
    let namespace = cluster.namespace("isolates");
    cluster.apply(&SHOP.replace("NAMESPACE", &namespace.name));
    let pods = namespace.ready("app=web", 3);
    let (it, one, other) = (&pods[0], &pods[1], &pods[2]);
    until("the Service leads to all of them", || (behind(&namespace).len() == 3).then_some(()));
    let before = labels(&namespace, it.name());

    // It talks to a sibling, and goes on doing so.
    one.says(&["sh", "-c", "nc -l -p 9000 > /tmp/heard 2>/dev/null < /dev/null & sleep 0.2"]);
    let talk = format!("while echo word; do sleep 0.05; done | nc {} 9000", one.ip());
    // Nothing of it holds what `exec` waits for the end of.
    it.says(&["sh", "-c", &format!("({talk}) < /dev/null > /dev/null 2>&1 &")]);
    until("it is heard", || (heard(one) > 20).then_some(()));

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let world = HostWorld::live("node1".into()).unwrap().with_cut(Arc::clone(&kernel) as _);
    let settings = Settings { name: "test".into(), kubeconfig: Some(cluster.kubeconfig()), context: None };
    let reached = Arc::new(quell_kubernetes::Cluster::new(settings).with_cut(PodCut::new(world)));
    let (act, verb) = (Act::of("r-1"), verb(&reached, "kubernetes.isolate_pod"));
    let input = json!({ "pod": { "namespace": namespace.name, "name": it.name(), "uid": it.uid() } });
    let done = runtime.block_on(act.whole(&*verb, &input)).unwrap();
    assert_eq!(done.truth, Truth::Holds, "{:#}", done.output);
    let TargetFacts::Object { owner, replicas: Some(replicas), .. } = &done.plan.targets[0].facts else {
        panic!("{:?}", done.plan.targets)
    };
    assert_eq!((owner.as_deref(), replicas.ready, replicas.takes), (Some("deployment/web"), 3, 1));
    let ended = done.output["cut"]["destroyed"].as_array().unwrap();
    assert!(ended.iter().any(|one| one.as_str().unwrap().contains(":9000")), "{:#}", done.output);

    // Not a byte more, while its siblings go on.
    let so_far = heard(one);
    assert_eq!((asks(one, other), asks(other, one)), (other.name().to_owned(), one.name().to_owned()));
    assert_eq!(asks(it, other), "", "a new connection");
    assert_eq!(asks(other, it), "", "and one to it");
    assert_eq!(heard(one), so_far);

    // The Service leads to another in its place; it stays.
    let healed = namespace.ready("app=web", 3);
    assert!(healed.iter().all(|pod| pod.uid() != it.uid()));
    until("the Service leads to it no more", || {
        let all = behind(&namespace);
        (all.len() == 3 && !all.contains(&it.name().to_owned())).then_some(())
    });
    assert_eq!(labels(&namespace, it.name()), json!({ "team": "shop", "quell/isolated": it.uid() }));
    let policies = || cluster.get(&["networkpolicies", "-n", &namespace.name])["items"].as_array().unwrap().len();
    assert_eq!(policies(), 1);

    // Given back, field by field.
    let (output, truth) = runtime.block_on(act.taken_back(&*verb, &done.plan)).unwrap();
    assert_eq!((truth, output.get("still")), (Truth::Holds, None), "{output:#}");
    assert!(output["cut"]["dropped"].to_string().contains("packets"), "{output:#}");
    assert_eq!((labels(&namespace, it.name()), policies()), (before, 0));
    assert_eq!(kernel.settle(), Ok(0));
    assert_eq!(asks(it, one), one.name());
    assert_eq!(asks(one, it), it.name());
    until("the Service leads to it again", || behind(&namespace).contains(&it.name().to_owned()).then_some(()));
}
