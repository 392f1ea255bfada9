//! What ships for a cluster's audit log, over what a real API server (1.34) wrote of real requests, by deploy/kubernetes/audit-policy.yaml:
//! the attacks among them, and all the honest ones.

use quell_engine::adapt::{Format, read};
use quell_engine::clock::SystemClock;
use quell_engine::detect::{Detector, RuleSource, Rules};
use quell_model::{Clock, Event, Field, OwnedEvent};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const RECORDED: &str = include_str!("../../engine/src/adapt/tests/kubernetes-audit.jsonl");

fn detector() -> Detector {
    let text =
        |file: quell_playbooks::Shipped| RuleSource::Text { name: file.name.to_owned(), text: file.text.to_owned() };
    let sources: Vec<RuleSource> = quell_playbooks::rules().into_iter().map(text).collect();
    Detector::new(Arc::new(Rules::load(&sources, &[]).0))
}

fn events(text: &str) -> Vec<OwnedEvent> {
    let all = read(Some(Format::KubernetesAudit), Path::new("audit.log"), text.as_bytes());
    all.map(|event| event.unwrap_or_else(|wrong| panic!("{}", wrong.mistake.what))).collect()
}

fn text(event: &OwnedEvent, path: &str) -> String {
    match event.own(path).or_else(|| event.sigma(path)) {
        Some(Field::Str(text)) => text.into_owned(),
        _ => "-".to_owned(),
    }
}

/// What matched: the rule, who did it, what it was done to.
fn found(detector: &mut Detector, events: &[OwnedEvent]) -> Vec<String> {
    let mut all = Vec::new();
    let mut found = Vec::new();
    for event in events {
        detector.event(event, SystemClock.now(), &mut found);
        let of = |path: &str| text(event, path);
        let what = format!("{} {} {}", of("actor"), of("cloud.action"), of("objectRef.name"));
        all.extend(found.drain(..).map(|detection| format!("{}: {what}", detection.rule.name)));
    }
    all
}

#[test]
fn each_recorded_attack_is_found_and_nothing_else() {
    let events = events(RECORDED);
    let found: BTreeSet<String> = found(&mut detector(), &events).into_iter().collect();
    // Every use of a service account is one, until the playbook is given the cluster's networks.
    let (used, found): (BTreeSet<String>, BTreeSet<String>) =
        found.into_iter().partition(|one| one.starts_with("service-account-used: "));
    let pod = events.iter().find(|event| text(event, "cloud.action") == "get pods/exec").unwrap();
    let pod = text(pod, "pod.name");
    let expected = [
        "cluster-admin-bound: admin create clusterrolebindings ana-admin".to_owned(),
        "cluster-admin-bound: ana@example.org create clusterrolebindings spare-admin".to_owned(),
        format!("pod-exec: admin patch pods/ephemeralcontainers {pod}"),
        format!("pod-exec: ana@example.org get pods/exec {pod}"),
        "privileged-pod: ana@example.org create pods mounts-host".to_owned(),
        "privileged-pod: ana@example.org create pods privileged".to_owned(),
        "secrets-listed-everywhere: ana@example.org list secrets -".to_owned(),
        "secrets-listed-everywhere: system:serviceaccount:shop:spare list secrets -".to_owned(),
    ];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    assert!(!used.is_empty() && used.iter().all(|one| one.contains("system:serviceaccount:shop:")), "{used:?}");
}

#[test]
fn many_secrets_of_one_identity_are_one_detection_and_those_of_many_are_none() {
    let one = RECORDED
        .lines()
        .find(|line| line.contains("\"verb\":\"get\"") && line.contains("\"resource\":\"secrets\""))
        .unwrap();
    let reads = |count: usize, who: &dyn Fn(usize) -> String| {
        let lines = (0..count).map(|number| {
            let line =
                one.replace("ana@example.org", &who(number)).replace("/secrets/db", &format!("/secrets/db-{number}"));
            line.replace("\"name\":\"db\"", &format!("\"name\":\"db-{number}\""))
        });
        events(&lines.collect::<Vec<_>>().join("\n"))
    };
    let by_one = found(&mut detector(), &reads(20, &|_| "eve".to_owned()));
    assert_eq!(by_one, ["secrets-read-many: eve get secrets db-19"]);
    assert!(found(&mut detector(), &reads(19, &|_| "eve".to_owned())).is_empty());
    assert!(found(&mut detector(), &reads(40, &|number| format!("user{number}"))).is_empty());
    assert!(found(&mut detector(), &reads(40, &|_| "system:node:node1".to_owned())).is_empty());
    let watched: Vec<OwnedEvent> = reads(20, &|_| "eve".to_owned());
    let verb = |mut event: OwnedEvent| {
        event.sigma["verb"] = "watch".into();
        event
    };
    let watched: Vec<OwnedEvent> = watched.into_iter().map(verb).collect();
    assert_eq!(found(&mut detector(), &watched).len(), 1, "who watches reads");
}

/// A recorded request, changed as an attacker would.
fn changed(like: &str, change: &dyn Fn(&mut serde_json::Value)) -> Vec<String> {
    let line = RECORDED.lines().find(|line| line.contains(like)).unwrap();
    let mut record = serde_json::from_str(line).unwrap();
    change(&mut record);
    let found = found(&mut detector(), &events(&record.to_string()));
    found.iter().map(|one| one.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn who_asks_otherwise_is_found_all_the_same() {
    use serde_json::{Value, json};
    let pod = "\"name\":\"privileged\",\"apiVersion\"";
    let mounts = |path: &str| {
        let spec =
            json!({ "containers": [{ "name": "c" }], "volumes": [{ "name": "v", "hostPath": { "path": path } }] });
        changed(pod, &|record: &mut Value| record["requestObject"]["spec"] = spec.clone())
    };
    for path in [
        "/.",
        "//",
        "/./etc//kubernetes",
        "/etc",
        "etc",
        "/var/lib/kubelet/pods",
        "/var/run/docker.sock",
        "/proc/1/root",
        "/sys/fs/cgroup",
        "/run/containerd/containerd.sock",
        "/run/crio/crio.sock",
        "/var/log/.",
        "/dev/sda1",
        "/root/.ssh",
        "/etc/shadow",
        "/home",
    ] {
        assert_eq!(mounts(path), ["privileged-pod"], "{path}");
    }
    for path in ["/srv/data", "/etc/localtime", "/lib/modules", "/var/log/app", "/procfs", "/etc/ssl/certs", "/dev/shm"]
    {
        assert!(mounts(path).is_empty(), "{path}");
    }
    let cut = |record: &mut Value| {
        drop(record.as_object_mut().unwrap().remove("requestObject"));
        record["annotations"] = json!({ "audit.k8s.io/truncated": "true" });
    };
    assert_eq!(changed(pod, &cut), ["privileged-pod-unseen"]);
    let large =
        |record: &mut Value| record["requestObject"]["metadata"]["annotations"] = json!({ "a": "x".repeat(1 << 20) });
    assert_eq!(changed(pod, &large), ["privileged-pod-unseen"]);
    let bound = "\"name\":\"spare-admin\"";
    assert_eq!(changed(bound, &cut), ["cluster-admin-unseen"]);
    let everybody = |record: &mut Value| {
        record["requestObject"]["subjects"] = json!([{ "kind": "Group", "name": "system:serviceaccounts:a" }])
    };
    let mut found = changed(bound, &everybody);
    found.sort_unstable();
    assert_eq!(found, ["cluster-admin-bound", "cluster-admin-for-everybody"]);
    let by_node = |path: &str| {
        let uri = format!("/api/v1/nodes/node1/proxy{path}");
        changed("/exec?command", &|record: &mut Value| {
            record["objectRef"] =
                json!({ "resource": "nodes", "name": "node1", "apiVersion": "v1", "subresource": "proxy" });
            record["requestURI"] = uri.as_str().into();
        })
    };
    for path in
        ["/exec/shop/web-0/c?command=id", "/run/shop/web-0/c", "//%65xec/shop/web-0/c", "/attach/a/b/c", "/cri/exec/x"]
    {
        assert_eq!(by_node(path), ["pod-exec-by-node"], "{path}");
    }
    assert!(by_node("/metrics/cadvisor").is_empty());
}

#[test]
fn a_session_that_begins_and_ends_is_one_detection() {
    let session: Vec<&str> = RECORDED.lines().filter(|line| line.contains("/exec?command")).collect();
    assert_eq!(session.len(), 2);
    assert_eq!(found(&mut detector(), &events(&session.join("\n"))).len(), 1);
}

#[test]
fn a_token_from_a_public_address_is_found_whatever_headers_say() {
    let one = RECORDED.lines().find(|line| line.contains("system:serviceaccount:shop:default")).unwrap();
    let from = |addresses: &str| {
        let line = one.replace("[\"198.18.173.2\"]", addresses);
        assert!(line.contains(addresses));
        found(&mut detector(), &events(&line)).iter().any(|one| one.starts_with("service-account-outside"))
    };
    for outside in [
        "[\"203.0.113.7\"]",
        "[\"10.0.0.1\",\"203.0.113.7\"]",
        "[\"2001:db8::1\"]",
        "[\"172.32.0.1\"]",
        "[\"8.8.8.8\"]",
    ] {
        assert!(from(outside), "{outside}");
    }
    for inside in [
        "[\"10.9.9.9\"]",
        "[\"172.31.255.255\"]",
        "[\"192.168.1.1\"]",
        "[\"100.64.0.1\"]",
        "[\"127.0.0.1\"]",
        "[\"fd00::1\"]",
        "[\"169.254.1.1\"]",
    ] {
        assert!(!from(inside), "{inside}");
    }
}
