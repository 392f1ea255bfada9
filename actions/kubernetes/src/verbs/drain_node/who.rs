//! Which pods of a node go, and which stay.
//!
//! Keeps true: what the node runs from a file, and what has run to its end, stays; whom nothing makes anew goes only by `force`.

use super::Order;
use crate::call::{CallError, Calls};
use crate::node;
use crate::owner::{Owner, is_mirror};
use crate::verbs::gone::is_over;
use k8s_openapi::api::core::v1::Pod;
use quell_model::ActionError;
use std::collections::BTreeSet;

/// The pods of a node.
#[derive(Debug, Default)]
pub(super) struct Who {
    pub(super) go: Vec<Pod>,
    /// With why.
    pub(super) stay: Vec<String>,
}

/// Why a pod stays, if it does.
fn stays(pod: &Pod, ignore_daemonsets: bool) -> Option<&'static str> {
    if is_mirror(pod) {
        Some("its node runs it from a file")
    } else if is_over(pod) {
        Some("it has run to its end")
    } else if ignore_daemonsets && is_of_daemons(pod) {
        Some("a daemon set's")
    } else {
        None
    }
}

fn maker(pod: &Pod) -> Option<Owner> {
    Owner::controller(pod.metadata.owner_references.as_deref().unwrap_or_default())
}

fn is_of_daemons(pod: &Pod) -> bool {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    maker(pod).is_some_and(|maker| maker.kind == "DaemonSet" && maker.makes(name))
}

/// Sorts them.
///
/// # Errors
/// When some may neither go nor stay by what was asked for.
pub(super) fn sort(pods: Vec<Pod>, ignore_daemonsets: bool, force: bool) -> Result<Who, ActionError> {
    let mut who = Who::default();
    let (mut daemons, mut bare) = (Vec::new(), Vec::new());
    for pod in pods {
        let place = node::named(&pod).place();
        if let Some(why) = stays(&pod, ignore_daemonsets) {
            who.stay.push(format!("{place}: {why}"));
            continue;
        }
        if is_of_daemons(&pod) {
            daemons.push(place);
        } else if maker(&pod).is_none() && !force {
            bare.push(place);
        }
        who.go.push(pod);
    }
    if !daemons.is_empty() {
        return Err(ActionError::GiveUp {
            why: format!("pods of daemon sets would be made there again at once: {}", super::listed(&daemons)),
            hint: Some("`ignore_daemonsets: true` leaves them".to_owned()),
        });
    }
    if !bare.is_empty() {
        return Err(ActionError::GiveUp {
            why: format!("nothing would make these pods anew: {}", super::listed(&bare)),
            hint: Some("`force: true` evicts them all the same".to_owned()),
        });
    }
    Ok(who)
}

impl Who {
    /// What is left after it, or lost by it.
    pub(super) fn open(&self) -> Vec<String> {
        let stay = (!self.stay.is_empty()).then(|| format!("these stay on it: {}", super::listed(&self.stay)));
        let keeps = |pod: &&Pod| {
            let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
            volumes.into_iter().any(|volume| volume.empty_dir.is_some())
        };
        let lose: Vec<String> = self.go.iter().filter(keeps).map(|pod| node::named(pod).place()).collect();
        let lost =
            (!lose.is_empty()).then(|| format!("what these keep in an emptyDir is lost: {}", super::listed(&lose)));
        stay.into_iter().chain(lost).collect()
    }
}

/// Of those that were planned, the ones that are there yet.
pub(super) async fn left(calls: &Calls<'_>, order: &Order) -> Result<Vec<String>, CallError> {
    let planned: BTreeSet<&str> = order.pods.iter().map(|pod| pod.uid.as_str()).collect();
    let all = node::pods(calls, &order.node.name).await?;
    let named = all.iter().map(node::named);
    Ok(named.filter(|pod| planned.contains(pod.uid.as_str())).map(|pod| pod.place()).collect())
}

/// Those that should go and were not planned: they came later.
pub(super) async fn strangers(calls: &Calls<'_>, order: &Order) -> Result<Vec<String>, CallError> {
    let planned: BTreeSet<&str> = order.pods.iter().map(|pod| pod.uid.as_str()).collect();
    let all = node::pods(calls, &order.node.name).await?;
    let goes = all.iter().filter(|pod| stays(pod, order.ignore_daemonsets).is_none());
    let named = goes.map(node::named);
    Ok(named.filter(|pod| !planned.contains(pod.uid.as_str())).map(|pod| pod.place()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, owner: Option<&str>, more: Value) -> Pod {
        let maker = name.rsplit_once('-').map_or("o", |(maker, _)| maker);
        let owner = owner.map(
            |kind| json!([{ "apiVersion": "apps/v1", "kind": kind, "name": maker, "uid": "o", "controller": true }]),
        );
        let mut pod = json!({ "metadata": { "name": name, "namespace": "shop", "uid": name, "ownerReferences": owner }, "spec": { "containers": [] } });
        for (key, value) in more.as_object().unwrap() {
            pod[key] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn who_goes_and_who_stays() {
        let mut mirror = pod("etcd", Some("Node"), json!({}));
        mirror.metadata.annotations = Some([("kubernetes.io/config.mirror".to_owned(), "x".to_owned())].into());
        let web = pod(
            "web",
            Some("ReplicaSet"),
            json!({ "spec": { "containers": [], "volumes": [{ "name": "t", "emptyDir": {} }] } }),
        );
        let all = [
            mirror,
            web,
            pod("agent-x2x7k", Some("DaemonSet"), json!({})),
            pod("done", Some("Job"), json!({ "status": { "phase": "Succeeded" } })),
        ];
        let who = sort(all.to_vec(), true, false).unwrap();
        assert_eq!(who.go.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect::<Vec<_>>(), ["web"]);
        let open = who.open().join("\n");
        for says in
            ["etcd: its node runs it", "agent-x2x7k: a daemon set's", "done: it has run", "emptyDir is lost: shop/web"]
        {
            assert!(open.contains(says), "{open}");
        }
        assert!(sort(all.to_vec(), false, false).unwrap_err().to_string().contains("daemon sets"));
        let forged = pod("web-x2x7k-0", Some("DaemonSet"), json!({}));
        assert_eq!(sort(vec![forged], true, false).unwrap().go.len(), 1, "no daemon set makes it, whatever it says");
        let bare = vec![pod("bare", None, json!({}))];
        assert!(sort(bare.clone(), true, false).unwrap_err().to_string().contains("shop/bare"));
        assert_eq!(sort(bare, true, true).unwrap().go.len(), 1);
    }
}
