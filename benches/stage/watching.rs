//! Somebody else who watches a namespace: when the NetworkPolicy and the labels of a pod that is cut off came to them; and what a bare PATCH of the
//! same API server takes.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, Patch, PatchParams, WatchEvent, WatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Config, Resource};
use quell_model::Stamp;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

/// By the uid of a pod.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) policies: BTreeMap<String, Stamp>,
    pub(crate) labels: BTreeMap<String, Stamp>,
}

/// See the module.
pub(crate) struct Watching {
    runtime: Runtime,
    client: Client,
    namespace: String,
    seen: Arc<Mutex<Seen>>,
}

impl Watching {
    pub(crate) fn of(kubeconfig: &Path, namespace: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let read = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
            Client::try_from(Config::from_custom_kubeconfig(read, &Default::default()).await.unwrap()).unwrap()
        });
        let seen = Arc::<Mutex<Seen>>::default();
        let (pods, policies) = (Arc::clone(&seen), Arc::clone(&seen));
        runtime.spawn(watch::<Pod>(Api::namespaced(client.clone(), namespace), move |pod, at| {
            let uid = pod.metadata.labels.as_ref().and_then(|labels| labels.get("quell/isolated"));
            if let Some(uid) = uid {
                pods.lock().unwrap().labels.entry(uid.clone()).or_insert(at);
            }
        }));
        runtime.spawn(watch::<NetworkPolicy>(Api::namespaced(client.clone(), namespace), move |policy, at| {
            let uid = policy.metadata.labels.as_ref().and_then(|labels| labels.get("quell/isolates"));
            if let Some(uid) = uid {
                policies.lock().unwrap().policies.entry(uid.clone()).or_insert(at);
            }
        }));
        Self { runtime, client, namespace: namespace.to_owned(), seen }
    }

    /// How long a bare PATCH of a ConfigMap takes, there and back, on a connection that is open.
    pub(crate) fn patches(&self, name: &str) -> Duration {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = |n: u64| {
            let body = json!({ "data": { "at": format!("{:?}{n}", crate::now()) } });
            drop(self.runtime.block_on(api.patch(name, &PatchParams::default(), &Patch::Merge(body))).unwrap());
        };
        patch(0);
        crate::took(|| patch(1))
    }

    pub(crate) fn end(self) -> Seen {
        self.runtime.shutdown_background();
        self.seen.lock().unwrap().clone()
    }
}

/// Tells of each change when it comes, as long as the runtime stands.
async fn watch<K>(api: Api<K>, told: impl Fn(&K, Stamp) + Send)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    use futures_util::TryStreamExt;
    loop {
        let Ok(stream) = api.watch(&WatchParams::default(), "0").await else { continue };
        let mut stream = std::pin::pin!(stream);
        while let Ok(Some(event)) = stream.try_next().await {
            if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                told(&object, crate::now());
            }
        }
    }
}
