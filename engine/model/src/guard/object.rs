//! Objects of a cluster: where they stand, and to what they belong.
//!
//! Owns the names under which the guard counts them. Never asks the cluster. Keeps true: whoever can make pods at will cannot multiply what
//! is counted: pods belong to their owner.

use crate::action::TargetFacts;

/// `deployment/web` of `deployments.apps` and `web`: as what is acted on itself is called where it is the owner of another.
fn own(resource: &str, name: &str) -> String {
    let plural = resource.split('.').next().unwrap_or(resource);
    format!("{}/{name}", plural.strip_suffix('s').unwrap_or(plural))
}

/// To whom an object belongs: `NAMESPACE/OWNER`, as events name the owner of a pod; what has no owner is its own.
#[must_use]
pub(super) fn owner(facts: &TargetFacts) -> Option<String> {
    let TargetFacts::Object { resource, namespace: Some(namespace), name, owner, .. } = facts else { return None };
    let owner = owner.clone().unwrap_or_else(|| own(resource.as_str(), name));
    Some(format!("{namespace}/{owner}"))
}

/// What it counts as among places.
#[must_use]
pub(super) fn place(facts: &TargetFacts) -> Option<String> {
    let TargetFacts::Object { cluster, resource, name, .. } = facts else { return None };
    let inner = owner(facts).unwrap_or_else(|| own(resource.as_str(), name));
    // No path of a cgroup begins so.
    Some(format!("kubernetes:{cluster}/{inner}"))
}

/// Of which group it is one, where a group has to stay: the replicas of its owner, or the nodes of its cluster.
#[must_use]
pub(super) fn group(facts: &TargetFacts) -> Option<String> {
    let TargetFacts::Object { cluster, resource, .. } = facts else { return None };
    if resource.as_str() == "nodes" {
        return Some(format!("kubernetes:{cluster}/nodes"));
    }
    place(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_belong_to_their_owner_under_the_name_that_events_have() {
        let object = |resource: &str, namespace: Option<&str>, name: &str, of: Option<&str>| TargetFacts::Object {
            cluster: "prod".into(),
            resource: resource.into(),
            namespace: namespace.map(Into::into),
            name: name.into(),
            uid: "u".into(),
            owner: of.map(str::to_owned),
            replicas: None,
            needed: None,
        };
        let pod = object("pods", Some("shop"), "web-1", Some("deployment/web"));
        let itself = object("deployments.apps", Some("shop"), "web", None);
        assert_eq!(owner(&pod).as_deref(), Some("shop/deployment/web"));
        assert_eq!(owner(&itself), owner(&pod));
        assert_eq!(
            (place(&pod).as_deref(), group(&pod)),
            (Some("kubernetes:prod/shop/deployment/web"), place(&itself))
        );
        let bare = object("pods", Some("shop"), "one", None);
        assert_eq!(owner(&bare).as_deref(), Some("shop/pod/one"));
        let node = object("nodes", None, "n-1", None);
        assert_eq!((owner(&node), place(&node).as_deref()), (None, Some("kubernetes:prod/node/n-1")));
        assert_eq!(group(&node).as_deref(), Some("kubernetes:prod/nodes"));
        assert_eq!(
            (owner(&TargetFacts::Other), place(&TargetFacts::Other), group(&TargetFacts::Other)),
            (None, None, None)
        );
    }
}
