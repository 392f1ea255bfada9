//! What a node's kubelet would tell of the pods of one namespace, where no node is: those that stand are ready, and those that terminate
//! are gone.
//!
//! Keeps true: it ends with its test, and touches nothing outside its namespace.

use super::api::Place;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use std::time::Duration;

/// One namespace's.
pub struct Kubelet(tokio::task::JoinHandle<()>);

impl Kubelet {
    /// Plays it until it is dropped.
    pub fn of(place: &Place) -> Self {
        let pods: Api<Pod> = place.api();
        Self(tokio::spawn(async move {
            loop {
                let Ok(all) = pods.list(&ListParams::default()).await else { return };
                for pod in all {
                    tell(&pods, &pod).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A pod may be gone, or another, by the time it is told of: then nothing is told.
async fn tell(pods: &Api<Pod>, pod: &Pod) {
    let (name, uid) = (pod.metadata.name.clone().unwrap(), pod.metadata.uid.clone().unwrap());
    if pod.metadata.deletion_timestamp.is_some() {
        let preconditions = Preconditions { uid: Some(uid), resource_version: None };
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        drop(pods.delete(&name, &now).await);
        return;
    }
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True") {
        return;
    }
    let ready = json!({
        "metadata": { "uid": uid },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    drop(pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(ready)).await);
}
