//! What runs on the node: a Deployment whose pods answer with their name behind a Service, in a namespace of the test's own, with a policy that
//! somebody else wrote.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use crate::cluster::{Cluster, Namespace, Pod, until};
use serde_json::{Value, json};

/// Its containers: one that has ended before the others begin, one that serves, one that is in its second life.
const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: NAMESPACE }
spec:
  replicas: REPLICAS
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web, team: shop } }
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{ name: lives, emptyDir: {} }]
      initContainers:
        - name: prepare
          image: localhost/quell-bb:1
          imagePullPolicy: Never
          command: [sh, -c, "echo the shelves are filled"]
      containers:
        - name: web
          image: localhost/quell-bb:1
          imagePullPolicy: Never
          command: [sh, -c, "hostname > /tmp/name; echo the shop is open; exec httpd -f -p 8080 -h /tmp"]
          readinessProbe: { exec: { command: [test, -e, /tmp/name] }, periodSeconds: 1 }
        - name: twice
          image: localhost/quell-bb:1
          imagePullPolicy: Never
          command: [sh, -c, "if mkdir /lives/first 2>/dev/null; then echo first life; exit 1; fi; echo second life; exec sleep 100000"]
          volumeMounts: [{ name: lives, mountPath: /lives }]
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: NAMESPACE }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: somebodys, namespace: NAMESPACE }
spec: { podSelector: { matchLabels: { app: web } }, ingress: [{}] }
"#;

/// See the module.
pub(super) struct Shop<'c> {
    pub(super) namespace: Namespace<'c>,
    replicas: usize,
}

impl<'c> Shop<'c> {
    /// Open once this returns.
    pub(super) fn opens(cluster: &'c Cluster, name: &str, replicas: usize) -> Self {
        let shop = Self { namespace: cluster.namespace(name), replicas };
        cluster.apply(&SHOP.replace("NAMESPACE", name).replace("REPLICAS", &replicas.to_string()));
        until("each is in the second life of its container", || {
            let twice = |pod: &Pod<'_>| {
                let all = pod.object["status"]["containerStatuses"].as_array().unwrap();
                all.iter().any(|one| one["name"] == "twice" && one["restartCount"] == 1 && one["ready"] == true)
            };
            shop.pods().iter().all(twice).then_some(())
        });
        until("the Service leads to all of them", || (shop.behind().len() == replicas).then_some(()));
        // Of too many its owner ends others first: those of the beginning stay, and what comes in their place goes.
        for pod in shop.pods() {
            let cost = "controller.kubernetes.io/pod-deletion-cost=100";
            cluster.say(&["-n", name, "annotate", "pod", pod.name(), cost]);
        }
        shop
    }

    /// Those that its owner counts, once all of them are ready.
    pub(super) fn pods(&self) -> Vec<Pod<'_>> {
        self.namespace.ready("app=web", self.replicas)
    }

    /// The names of the pods that the Service leads to.
    pub(super) fn behind(&self) -> Vec<String> {
        let fits = "kubernetes.io/service-name=web";
        let slices = self.namespace.cluster.get(&["endpointslices", "-n", &self.namespace.name, "-l", fits]);
        let all = slices["items"].as_array().unwrap().iter().flat_map(|slice| slice["endpoints"].as_array().cloned());
        all.flatten().filter_map(|one| Some(one["targetRef"]["name"].as_str()?.to_owned())).collect()
    }

    /// The names of the policies.
    pub(super) fn policies(&self) -> Vec<String> {
        let all = self.namespace.cluster.get(&["networkpolicies", "-n", &self.namespace.name]);
        let names = all["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap());
        names.map(str::to_owned).collect()
    }

    pub(super) fn labels(&self, pod: &str) -> Value {
        self.namespace.cluster.get(&["pod", pod, "-n", &self.namespace.name])["metadata"]["labels"].clone()
    }

    /// A pod and what stands around it, field by field, but for what every write changes.
    pub(super) fn objects(&self, pod: &str) -> Value {
        let get = |kind: &str, name: &str| {
            let mut object = self.namespace.cluster.get(&[kind, name, "-n", &self.namespace.name]);
            strip(&mut object);
            object
        };
        let mut policies = self.namespace.cluster.get(&["networkpolicies", "-n", &self.namespace.name]);
        policies["items"].as_array_mut().unwrap().iter_mut().for_each(strip);
        // That its owner was short of one for a moment stays in its status.
        let mut owner = get("deployment", "web");
        owner.as_object_mut().unwrap().remove("status");
        json!({ "pod": get("pod", pod), "service": get("service", "web"), "deployment": owner, "policies": policies["items"] })
    }
}

fn strip(object: &mut Value) {
    for field in ["resourceVersion", "managedFields"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
}

/// Waits until both are the same, and shows where they are not.
#[track_caller]
pub(super) fn is_as_before(shop: &Shop<'_>, pod: &str, before: &Value) {
    let begun = std::time::Instant::now();
    loop {
        let now = shop.objects(pod);
        if now == *before {
            return;
        }
        assert!(begun.elapsed() < crate::cli::PATIENCE, "{}", differences("", before, &now).join("\n"));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Where two documents differ.
fn differences(at: &str, one: &Value, other: &Value) -> Vec<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let of = |map: &serde_json::Map<String, Value>, key: &String| map.get(key).cloned().unwrap_or_default();
            keys.into_iter()
                .flat_map(|key| differences(&format!("{at}/{key}"), &of(one, key), &of(other, key)))
                .collect()
        }
        _ if one == other => Vec::new(),
        _ => vec![format!("{at}: {one} before, {other} now")],
    }
}
