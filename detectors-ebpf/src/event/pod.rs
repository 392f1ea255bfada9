//! `container.*` and `pod.*`: where a process lives, from its cgroup's path and from what the cluster says of that pod.
//!
//! Owns how the two are joined. Asks nobody: a pod that is not known yet is its uid alone, and that is right. Keeps true: one event sees one
//! state of its pod, however often it is asked.

use super::SensorEvent;
use super::process::session;
use crate::process::Process;
use quell_model::{Field, Pod, PodContainer};
use std::borrow::Cow;
use std::sync::Arc;

/// Of a pod that is known: what an event says of it, and its container.
pub(super) const CONTAINER: [&str; 5] =
    ["container.id", "container.runtime", "container.name", "container.image", "container.image_digest"];
pub(super) const POD: [&str; 9] = [
    "pod.uid",
    "pod.namespace",
    "pod.name",
    "pod.labels",
    "pod.node",
    "pod.owner",
    "pod.service_account",
    "pod.host_network",
    "pod.ip",
];

fn text(text: Option<&Arc<str>>) -> Option<Field<'_>> {
    text.map(|text| Field::text(text))
}

impl SensorEvent<'_> {
    /// The pod of the event's process, as it was known when this was asked first.
    pub(super) fn pod(&self) -> Option<&Pod> {
        let look = || {
            let group = &self.process?.cgroup;
            let (uid, container) = (group.pod.as_deref(), group.container.as_deref());
            // What is in no container is in no pod.
            if uid.is_none() && container.is_none() {
                return None;
            }
            self.cx.pods.as_ref()?.find(uid, container)
        };
        self.pod.get_or_init(look).as_deref()
    }

    fn pod_container(&self) -> Option<&PodContainer> {
        self.pod()?.container(self.process?.cgroup.container.as_deref()?)
    }

    /// A field of `container` or `pod`.
    pub(super) fn place_value(&self, path: &str) -> Option<Field<'_>> {
        let group = &self.process?.cgroup;
        if let Some(key) = path.strip_prefix("pod.labels.") {
            return Some(Field::or_null(self.pod().and_then(|pod| pod.label(key)), Field::text));
        }
        let value = match path {
            "container.id" => group.container.as_deref().map(Field::text),
            "container.runtime" => group.runtime.map(Field::text),
            "container.name" => self.pod_container().map(|container| Field::text(&container.name)),
            "container.image" => text(self.pod_container().and_then(|container| container.image.as_ref())),
            "container.image_digest" => text(self.pod_container().and_then(|container| container.digest.as_ref())),
            "pod.uid" => self.pod().map(|pod| &*pod.uid).or(group.pod.as_deref()).map(Field::text),
            "pod.namespace" => self.pod().map(|pod| Field::text(pod.namespace.as_str())),
            "pod.name" => self.pod().map(|pod| Field::text(pod.name.as_str())),
            "pod.node" => self.pod().map(|pod| Field::text(pod.node.as_str())),
            "pod.owner" => self.pod().and_then(|pod| pod.owner.as_ref()).map(|owner| Field::text(owner.as_str())),
            "pod.service_account" => {
                self.pod().and_then(|pod| pod.service_account.as_ref()).map(|account| Field::text(account.as_str()))
            }
            "pod.host_network" => self.pod().map(|pod| Field::Bool(pod.host_network)),
            "pod.ip" => text(self.pod().and_then(|pod| pod.ip.as_ref())),
            "pod.labels" => self.pod().map(|pod| {
                let labels = pod.labels.iter();
                Field::Map(labels.map(|(key, value)| (Cow::Borrowed(&**key), Field::text(value))).collect())
            }),
            _ => return None,
        };
        Some(value.unwrap_or(Field::Null))
    }

    /// The pod's owner, else the container, session, unit, cgroup or node, whichever is the first that is known; and where.
    pub(super) fn entity_of(&self, process: &Process, say: &mut dyn FnMut(&str, &str, &str)) {
        let (group, node) = (&process.cgroup, self.cx.node.as_str());
        if let (Some(owner), Some(pods)) = (self.pod().and_then(Pod::workload), &self.cx.pods) {
            return say("owner", &owner, pods.cluster().as_str());
        }
        if let Some(container) = &group.container {
            return say("container", container, node);
        }
        if let Field::Str(session) = session(process) {
            return say("session", &session, node);
        }
        if let Some(unit) = &group.unit {
            return say("unit", unit, node);
        }
        match &*group.path {
            "" | "/" => say("node", node, node),
            path => say("cgroup", path, node),
        }
    }
}
