//! `quell uninstall` while a pod is cut off: what it says stands, stands; what it says is free, is free; and what it says to do gives the rest back.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use super::killed::{begins, can_cut_off};
use super::node::{Node, ended, run_of, step};
use super::shop::{Shop, is_as_before};
use super::talk::asks;
use crate::cluster::{Cluster, until};
use serde_json::json;

#[test]
fn what_uninstall_says_of_a_pod_that_is_cut_off_is_so() {
    let what = "leaving while a pod is cut off";
    let Some(cluster) = Cluster::shared(what) else { return };
    let Some(node) = Node::of(cluster, what) else { return };
    let shop = Shop::opens(cluster, "leaves", 3);
    let pods = shop.pods();
    let (it, one) = (&pods[0], &pods[1]);
    let before = shop.objects(it.name());
    can_cut_off(&node);
    node.configure(false, &cluster.kubeconfig(), &node.within(&shop.namespace.name));
    let Some(daemon) = node.armed(what) else { return };
    begins(&daemon, &shop, it);
    let run = ended(&daemon, "cut-it-off", None);
    assert_eq!(step(&run, "isolate")["outcome"], "verified", "{run:#}");
    let id = run["id"].as_str().unwrap();
    daemon.end();

    // It is to stay, and does, without any quell.
    let left = node.says(&["uninstall", "--keep", "--json"]).ends(0).json();
    assert_eq!((&left["stood"][0]["id"], &left["keeps"]), (&json!(format!("{id}/isolate")), &json!(true)), "{left:#}");
    assert_eq!((asks(one, it.ip(), 8080).as_str(), shop.policies().len()), ("", 2));
    let told = node.says(&["uninstall", "--keep"]).ends(0).out;
    assert!(told.contains(&format!("kubernetes.isolate_pod of {id}/isolate")), "{told}");

    // What is in the kernel goes; what is in the cluster only a daemon gives back, and that is said.
    let left = node.says(&["uninstall", "--json"]).ends(1).json();
    assert!(left["uncut"][0]["id"].as_str().unwrap().contains(it.uid()), "{left:#}");
    let [over] = &left["left_over"].as_array().unwrap()[..] else { panic!("{left:#}") };
    let over = over.as_str().unwrap();
    for word in ["on this node it is cut off no more", "in the cluster", &format!("`quell run undo {id}/isolate`")] {
        assert!(over.contains(word), "{word}: {over}");
    }
    assert_eq!(asks(one, it.ip(), 8080), it.name());
    assert_eq!(shop.labels(it.name()), json!({ "team": "shop", "quell/isolated": it.uid() }));
    assert_eq!(shop.policies().len(), 2);
    // Said again, it is so yet.
    let again = node.says(&["uninstall", "--json"]).ends(1).json();
    assert_eq!((&again["left_over"], &again["uncut"]), (&left["left_over"], &json!([])), "{again:#}");

    // The next one does not cut it off anew, nor says that nothing stands.
    let daemon = node.armed(what).unwrap();
    until("it has looked at what stood", || {
        let run = run_of(&daemon, "cut-it-off", None)?;
        (step(&run, "isolate")["lease"]["due"] == true).then_some(())
    });
    assert_eq!(daemon.status()["cut"]["cut_off"], json!([]));
    assert_eq!(asks(one, it.ip(), 8080), it.name());
    // What it said to do.
    daemon.ask(&["run", "undo", &format!("{id}/isolate")]).ends(0);
    is_as_before(&shop, it.name(), &before);
    until("nothing stands", || (daemon.status()["standing"] == 0).then_some(()));
    daemon.end();
    let left = node.says(&["uninstall", "--json"]).ends(0).json();
    assert_eq!((&left["stood"], &left["left_over"]), (&json!([]), &json!([])), "{left:#}");
}
