//! A node of the cluster: how an input names it, how many there are that take pods, and which pods are on it.
//!
//! Reads only. Keeps true: a node that is not ready, or takes no pods already, counts for none that could stand in.

use crate::object::is_name;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;
#[cfg(feature = "client")]
use {
    crate::{
        call::{CallError, Calls},
        owner::{Owner, Owners},
        verbs::written::Named,
    },
    k8s_openapi::api::core::v1::{Node, Pod},
    kube::api::ListParams,
    quell_model::{ActionError, Name, Target, TargetFacts, action::Replicas},
    std::collections::HashMap,
};

/// A node, by its name in the cluster: `event.pod.node`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct NodeRef(pub String);

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(deserializer)
            .map_err(|_| D::Error::custom("a node is named by text, as the cluster calls it"))?;
        if !is_name(&text) {
            return Err(D::Error::custom(format!("no node is called `{}`", quell_actions::text::one_line(&text, 120))));
        }
        Ok(Self(text))
    }
}

impl JsonSchema for NodeRef {
    fn schema_name() -> Cow<'static, str> {
        "NodeRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A node, by its name in the cluster, as `event.pod.node`." })
    }
}

#[cfg(feature = "client")]
impl NodeRef {
    /// The node as it stands now.
    pub(crate) async fn find(&self, calls: &Calls<'_>) -> Result<(Node, Named), ActionError> {
        let found = calls.get::<Node>(None, &self.0).await?;
        let node = found.ok_or_else(|| ActionError::give_up(format!("there is no node `{self}`")))?;
        let uid = node.metadata.uid.clone().unwrap_or_default();
        Ok((node, Named { namespace: None, name: self.0.clone(), uid }))
    }
}

/// Whether pods that may be anywhere are put there.
#[cfg(feature = "client")]
pub(crate) fn is_open(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
    ready && !is_cordoned(node) && node.metadata.deletion_timestamp.is_none()
}

/// Whether it takes no pods.
#[cfg(feature = "client")]
pub(crate) fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// The nodes of the cluster, of which this one is `taken` from those that take pods.
#[cfg(feature = "client")]
pub(crate) async fn share(calls: &Calls<'_>, taken: &Node) -> Result<Replicas, CallError> {
    let all = calls.list::<Node>(None, &ListParams::default()).await?;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Replicas {
        wanted: count(all.len()),
        ready: count(all.iter().filter(|node| is_open(node)).count()),
        takes: u32::from(is_open(taken)),
    })
}

/// As the guard sees it.
#[cfg(feature = "client")]
pub(crate) fn target(cluster: &Name, named: &Named, replicas: Option<Replicas>) -> Target {
    Target {
        node: cluster.clone(),
        kind: "node".into(),
        id: named.uid.clone(),
        label: format!("node {}", named.name),
        named: true,
        facts: TargetFacts::Object {
            cluster: cluster.clone(),
            resource: "nodes".into(),
            namespace: None,
            name: named.name.clone(),
            uid: named.uid.clone(),
            owner: None,
            replicas,
            needed: None,
        },
    }
}

/// Every pod on a node, in the order of their names.
#[cfg(feature = "client")]
pub(crate) async fn pods(calls: &Calls<'_>, node: &str) -> Result<Vec<Pod>, CallError> {
    let on = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let mut all = calls.list::<Pod>(None, &on).await?;
    let key = |pod: &Pod| (pod.metadata.namespace.clone(), pod.metadata.name.clone());
    all.sort_by_key(key);
    Ok(all)
}

/// What owns each of these pods. What is said to make several of them is asked after once, and confirmed of each.
#[cfg(feature = "client")]
pub(crate) async fn owners(calls: &Calls<'_>, pods: &[Pod]) -> Result<Vec<Owners>, CallError> {
    let mut known: HashMap<(Option<String>, Owner), Owners> = HashMap::new();
    let mut all = Vec::with_capacity(pods.len());
    for pod in pods {
        let Some(maker) = Owner::controller(pod.metadata.owner_references.as_deref().unwrap_or_default()) else {
            all.push(Owners::default());
            continue;
        };
        let key = (pod.metadata.namespace.clone(), maker.clone());
        let behind = match known.get(&key) {
            Some(behind) => behind,
            None => {
                let behind = Owners::behind(calls, key.0.as_deref(), maker.clone()).await?;
                known.entry(key).or_insert(behind)
            }
        };
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        all.push(behind.confirmed(&maker, pod, &labels));
    }
    Ok(all)
}

/// A pod, as a plan names it.
#[cfg(feature = "client")]
pub(crate) fn named(pod: &Pod) -> Named {
    Named {
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
    }
}

#[cfg(feature = "client")]
#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_takes_pods_when_it_is_ready_and_not_cordoned() {
        let node = |ready: &str, cordoned: bool| {
            serde_json::from_value::<Node>(json!({ "metadata": {}, "spec": { "unschedulable": cordoned },
                "status": { "conditions": [{ "type": "MemoryPressure", "status": "True" }, { "type": "Ready", "status": ready }] } }))
            .unwrap()
        };
        assert!(is_open(&node("True", false)));
        for (ready, cordoned) in [("True", true), ("False", false), ("Unknown", false)] {
            assert!(!is_open(&node(ready, cordoned)), "{ready} {cordoned}");
        }
    }

    #[test]
    fn a_node_is_named_by_text() {
        let of = |json: serde_json::Value| NodeRef::deserialize(&json).map_err(|error| error.to_string());
        assert_eq!(of(json!("worker-1.eu")), Ok(NodeRef("worker-1.eu".into())));
        assert!(of(json!("a/b")).unwrap_err().contains("no node is called `a/b`"));
        assert!(of(json!({ "name": "x" })).unwrap_err().contains("named by text"));
    }
}
