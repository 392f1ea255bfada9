//! The cluster, as `quell doctor` looks at it: whether it is reached and as whom, what the loaded playbooks lack there, which node this is.
//!
//! Owns the words. Asks the cluster only about quell itself. Keeps true: what was not answered is never said to be all right.

use super::doctor::{Check, Mark};
use crate::daemon::files::{self, Given};
use crate::daemon::{Kube, Needs, act_in_a_cluster, told_node};
use quell_model::Name;
use std::path::Path;
use std::time::Duration;

const PART: &str = "cluster";
/// So many lacks are named.
#[cfg(feature = "kubernetes")]
const NAMED: usize = 12;
/// For all that is asked: a doctor is waited for by a person.
const PATIENCE: Duration = Duration::from_secs(30);

/// All of it.
pub(super) fn checks(config: Option<&Path>) -> Vec<Check> {
    let loaded = files::load(&Given { config: config.map(Path::to_owned), mode: None });
    let playbooks = &loaded.definitions.playbooks;
    let kube = Kube::of(&loaded.config);
    if let Err(why) = kube.told() {
        let check = |state, why: String| Check::new(PART, "kubernetes", state, why);
        let nowhere = kube.nowhere(playbooks);
        if nowhere.is_empty() {
            let asks = if act_in_a_cluster(playbooks) {
                "; playbooks that ship pass over what they would do in one"
            } else {
                ""
            };
            return vec![check(Mark::Ok, format!("none: {why}{asks}"))];
        }
        let actions: Vec<&str> = nowhere.keys().map(String::as_str).collect();
        let why = format!("none: {why}; loaded playbooks use {}", actions.join(", "));
        return vec![check(Mark::Degraded, why).works("everything on this host; steps with these actions fail")];
    }
    let asked = async {
        let needs = Needs::of(playbooks, &[], &crate::daemon::specs());
        let within = loaded.definitions.guard.only_within.as_ref().and_then(|within| within.namespace.clone());
        let node = told_node(&loaded.config);
        tokio::time::timeout(PATIENCE, ask(&kube, &needs, within.as_ref().map(Name::as_str), node.as_deref())).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(asked)) {
        Ok(Ok(checks)) => checks,
        Ok(Err(_)) => {
            vec![away(&loaded.config.kubernetes.cluster, &format!("it has not answered within {PATIENCE:?}"))]
        }
        Err(error) => vec![away(&loaded.config.kubernetes.cluster, &format!("nothing can be asked: {error}"))],
    }
}

fn away(cluster: &Name, why: &str) -> Check {
    Check::new(PART, cluster.to_string(), Mark::Missing, why)
        .works("everything on this host; what playbooks do in the cluster fails")
}

#[cfg(feature = "kubernetes")]
async fn ask(kube: &Kube, needs: &Needs, within: Option<&str>, node: Option<&str>) -> Vec<Check> {
    let cluster = kube.cluster();
    let mut checks = Vec::new();
    match cluster.who().await {
        Ok(who) => checks.push(Check::new(PART, cluster.name().to_string(), Mark::Ok, format!("reached, as {who}"))),
        Err(error) => return vec![away(cluster.name(), &error.to_string())],
    }
    checks.push(permissions(kube.lacks(needs, within).await));
    let host = crate::daemon::node();
    let name = node.unwrap_or(host.as_str());
    let row = |state, why: String| Check::new(PART, "node", state, why);
    let named_by = "`kubernetes.node` in quell.yaml names it, or NODE_NAME by the downward API";
    checks.push(match cluster.has_node(name).await {
        Ok(true) => row(Mark::Ok, format!("this is its node `{name}`")),
        Ok(false) => row(Mark::Degraded, format!("it has no node `{name}`; {named_by}"))
            .works("what is done in the cluster; the pods of this node are not known"),
        Err(error) => row(Mark::Degraded, format!("whether this is its node `{name}` is not known: {error}"))
            .works("what is done in the cluster"),
    });
    checks
}

/// Without hands nothing can be asked, and nobody comes here.
#[cfg(not(feature = "kubernetes"))]
async fn ask(_: &Kube, _: &Needs, _: Option<&str>, _: Option<&str>) -> Vec<Check> {
    Vec::new()
}

#[cfg(feature = "kubernetes")]
fn permissions(lacks: Result<Vec<crate::daemon::Lack>, String>) -> Check {
    const ID: &str = "permissions";
    match lacks {
        Ok(lacks) if lacks.is_empty() => {
            Check::new(PART, ID, Mark::Ok, "all that the loaded playbooks and quell itself need")
        }
        Ok(lacks) => {
            let one = |lack: &crate::daemon::Lack| format!("{} (for {})", lack.what, lack.needed_by.join(", "));
            let named: Vec<String> = lacks.iter().take(NAMED).map(one).collect();
            let more = match lacks.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let why = format!("quell may not {}{more}", named.join(", "));
            Check::new(PART, ID, Mark::Degraded, why).works(
                "what else they do; `quell action permissions --format kubernetes-rbac` prints the role that is needed",
            )
        }
        Err(why) => Check::new(PART, ID, Mark::Degraded, format!("what quell may do there is not known: {why}"))
            .works("what it may do, which nobody could say"),
    }
}

#[cfg(all(test, feature = "kubernetes"))]
mod tests {
    use super::*;
    use crate::daemon::Lack;

    #[test]
    fn what_is_lacked_is_named_with_what_needs_it_and_what_was_not_answered_is_not_right() {
        let lack = |what: &str| Lack { what: what.to_owned(), needed_by: vec!["kubernetes.label_pod".to_owned()] };
        let told = |lacks| serde_json::to_value(permissions(lacks)).unwrap();
        assert_eq!(told(Ok(Vec::new()))["state"], "ok");
        let some = told(Ok(vec![lack("patch pods in shop")]));
        assert_eq!(some["why"], "quell may not patch pods in shop (for kubernetes.label_pod)");
        assert_eq!(some["state"], "degraded");
        let many = told(Ok((0..20).map(|_| lack("get nodes")).collect()));
        assert!(many["why"].as_str().unwrap().ends_with(", and 8 more"), "{many}");
        assert_eq!(told(Err("the API server cannot be asked".to_owned()))["state"], "degraded");
    }

    #[test]
    fn a_cluster_that_is_named_and_not_there_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("quell.yaml");
        std::fs::write(&file, "kubernetes: { cluster: prod, kubeconfig: none.conf }\n").unwrap();
        let told = serde_json::to_value(checks(Some(&file))).unwrap();
        assert_eq!((&told[0]["id"], &told[0]["state"]), (&"prod".into(), &"missing".into()));
        assert!(told[0]["why"].as_str().unwrap().contains("none.conf"), "{told}");
        std::fs::write(&file, "kubernetes: { enabled: false }\n").unwrap();
        let told = serde_json::to_value(checks(Some(&file))).unwrap();
        assert_eq!(told[0]["state"], "ok");
        assert!(told[0]["why"].as_str().unwrap().contains("`kubernetes.enabled` is false"), "{told}");
    }
}
