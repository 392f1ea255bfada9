//! A real reverse shell in a real pod, against what ships: the shell is ended by its identity, its pod is cut off and kept as evidence, its
//! siblings and its Service go on, and all of it is given back, field by field.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use super::attacker::Attacker;
use super::node::{Node, ended, step, taken_back};
use super::shop::{Shop, is_as_before};
use super::talk::{Talk, asks};
use crate::cluster::{Cluster, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The pieces of evidence by name, out of the vault of a data directory.
fn pieces(state: &Path, evidence: &Value) -> BTreeMap<String, String> {
    let read = |one: &Value| {
        let (name, sum) = (one["name"].as_str().unwrap(), one["sha256"].as_str().unwrap());
        let path = state.join("vault").join(&sum[..2]).join(&sum[2..]);
        let text = std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        (name.to_owned(), String::from_utf8(text).unwrap())
    };
    evidence.as_array().unwrap().iter().map(read).collect()
}

#[test]
fn a_pod_with_a_reverse_shell_is_cut_off_kept_replaced_and_given_back() {
    let what = "a reverse shell in a pod";
    let Some(cluster) = Cluster::shared(what) else { return };
    let Some(node) = Node::of(cluster, what) else { return };
    let shop = Shop::opens(cluster, "reverse-shell", 3);
    let (pods, attacker) = (shop.pods(), Attacker::new(cluster));
    let (it, one, other) = (&pods[0], &pods[1], &pods[2]);
    let server = until("its server alone runs", || Some(it.pids("web")).filter(|pids| pids.len() == 1));

    // Nobody is there to hold it back: it is a shell.
    let mut shell = attacker.shell(it, "web");
    assert!(shell.answers());
    shell.ends();
    until("nothing of it is left", || (it.pids("web") == server).then_some(()));

    let talk = Talk::between(it, one, 9000);
    let beside = Talk::between(one, other, 9001);
    let before = shop.objects(it.name());

    node.configure(true, &cluster.kubeconfig(), &node.within(&shop.namespace.name));
    let Some(daemon) = node.armed(what) else { return };
    let mut shell = attacker.shell(it, "web");
    let ends = ended(&daemon, "contain-reverse-shell", Some(it.uid()));
    let cut = ended(&daemon, "isolate-compromised-pod", Some(it.uid()));

    // Seen for what it is: whose process, in which container, of which image.
    let event = &cut["event"];
    assert_eq!(
        (&event["pod"]["namespace"], &event["pod"]["name"], &event["pod"]["owner"], &event["container"]["name"]),
        (&json!(shop.namespace.name), &json!(it.name()), &json!("deployment/web"), &json!("web")),
        "{event:#}"
    );
    assert_eq!(
        (&event["container"]["id"], &event["container"]["image"]),
        (&json!(it.container("web")), &json!("localhost/quell-bb:1"))
    );

    // Ended by its identity, and nobody else in its container.
    assert_eq!(
        (&ends["state"], &step(&ends, "kill")["outcome"]),
        (&json!("succeeded"), &json!("verified")),
        "{ends:#}"
    );
    let killed = step(&ends, "kill")["output"]["killed"].to_string();
    assert!(killed.contains(ends["event"]["process"]["id"].as_str().unwrap()), "{killed}");
    assert!(!shell.answers());
    assert!(it.pids("web").contains(&server[0]), "who serves is not who was typed to");

    // Cut off, by all three of them.
    let isolate = step(&cut, "isolate");
    assert_eq!((&cut["state"], &isolate["outcome"]), (&json!("succeeded"), &json!("verified")), "{cut:#}");
    let destroyed = isolate["output"]["cut"]["destroyed"].to_string();
    assert!(destroyed.contains(":9000"), "{isolate:#}");
    let so_far = talk.heard();
    beside.goes_on();
    let asked = |from, to: &crate::cluster::Pod<'_>| asks(from, to.ip(), 8080);
    assert_eq!((asked(one, other), asked(other, one)), (other.name().to_owned(), one.name().to_owned()));
    assert_eq!(
        (asked(it, other), asked(other, it)),
        (String::new(), String::new()),
        "new connections, from it and to it"
    );
    assert_eq!(talk.heard(), so_far, "not a byte more over the one that was open");

    // Its owner has made another, and the Service leads there.
    let healed = shop.pods();
    assert!(healed.iter().all(|pod| pod.uid() != it.uid()));
    until("the Service leads to it no more, and to another in its place", || {
        let behind = shop.behind();
        (behind.len() == 3 && !behind.contains(&it.name().to_owned())).then_some(())
    });
    assert_eq!(shop.labels(it.name()), json!({ "team": "shop", "quell/isolated": it.uid() }));
    assert_eq!(shop.policies().len(), 2, "somebody's, and quell's");

    // Kept: what the cluster had of it, and what its containers said, as its kubelet has it.
    let evidence = step(&cut, "evidence");
    assert_eq!(
        (&evidence["outcome"], &evidence["output"]["missing"]),
        (&json!("verified"), &json!([])),
        "{evidence:#}"
    );
    let kept = pieces(&node.state(), &evidence["output"]["evidence"]);
    let manifest: Value = serde_json::from_str(&kept["manifest"]).unwrap();
    assert_eq!((&manifest["metadata"]["uid"], &manifest["spec"]), (&json!(it.uid()), &it.object["spec"]));
    for (log, said) in [
        ("log/prepare", "the shelves are filled"),
        ("log/web", "the shop is open"),
        ("log/twice", "second life"),
        ("log/twice/previous", "first life"),
    ] {
        assert!(kept.get(log).is_some_and(|text| text.contains(said)), "{log}: {:?}", kept.get(log));
    }
    assert!(!kept["log/twice"].contains("first life"));
    until("whoever describes the pod reads why", || {
        let fits = format!("involvedObject.uid={},reason=CutOffByQuell", it.uid());
        let events = cluster.get(&["events", "-n", &shop.namespace.name, "--field-selector", &fits]);
        (!events["items"].as_array().unwrap().is_empty()).then_some(())
    });

    // Given back.
    let back = taken_back(&daemon, &cut);
    assert_eq!(back["state"], "undone", "{back:#}");
    is_as_before(&shop, it.name(), &before);
    assert_eq!((asked(it, one), asked(one, it)), (one.name().to_owned(), it.name().to_owned()));
    until("the Service leads to it again", || {
        let behind = shop.behind();
        (behind.len() == 3 && behind.contains(&it.name().to_owned())).then_some(())
    });
    beside.goes_on();
    daemon.end();
    let left = node.says(&["uninstall", "--json"]).ends(0).json();
    assert_eq!((&left["stood"], &left["left_over"]), (&json!([]), &json!([])), "{left:#}");
}
