//! A cluster without a node: etcd, the API server and the controllers, one for this process, ended with it.
//!
//! Owns a namespace a test, and what a kubelet would tell. Keeps true: no test touches what is in another's namespace.

#[path = "../../../tests/cluster/mod.rs"]
mod cluster;

pub(crate) use cluster::not_tested;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Config, Resource};
use quell_kubernetes::{Cluster, Settings};
use quell_model::Json;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// The cluster of this process; none, loudly, where none can be had.
fn kubeconfig() -> Option<&'static Path> {
    static ONE: OnceLock<Option<(cluster::Cluster, PathBuf)>> = OnceLock::new();
    let one = ONE.get_or_init(|| {
        let cluster = cluster::Cluster::own("the verbs on a cluster", &["--api-only"])?;
        let kubeconfig = cluster.kubeconfig();
        Some((cluster, kubeconfig))
    });
    one.as_ref().map(|(_, kubeconfig)| kubeconfig.as_path())
}

/// A namespace of one test, and the way to the API server; removed with the cluster.
pub(crate) struct Place {
    pub(crate) client: Client,
    /// As the verbs reach it.
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) namespace: String,
    pub(crate) kubeconfig: PathBuf,
}

impl Place {
    /// None, loudly, where there is no cluster.
    pub(crate) async fn new(of: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let kubeconfig = tokio::task::spawn_blocking(kubeconfig).await.unwrap()?.to_owned();
        let read = kube::config::Kubeconfig::read_from(&kubeconfig).unwrap();
        let client =
            Client::try_from(Config::from_custom_kubeconfig(read, &Default::default()).await.unwrap()).unwrap();
        let namespace = format!("{of}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let all: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
        all.create(&PostParams::default(), &object).await.unwrap();
        let settings = Settings { name: "test".into(), kubeconfig: Some(kubeconfig.clone()), context: None };
        let place = Self { client, cluster: Arc::new(Cluster::new(settings)), namespace, kubeconfig };
        super::act::wait_until("the namespace has its account", async || {
            let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = place.api();
            accounts.get_opt("default").await.unwrap().is_some()
        })
        .await;
        Some(place)
    }

    /// The same cluster, reached as a service account of this namespace, which is made for it and may nothing yet.
    pub async fn as_account(&self, name: &str) -> Arc<Cluster> {
        use k8s_openapi::api::authentication::v1::TokenRequest;
        use k8s_openapi::api::core::v1::ServiceAccount;
        self.make::<ServiceAccount>(json!({ "metadata": { "name": name } })).await;
        let accounts: Api<ServiceAccount> = self.api();
        let wanted: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } })).unwrap();
        let token = accounts.create_token_request(name, &PostParams::default(), &wanted).await.unwrap();
        let read = kube::config::Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let cluster = read.clusters[0].cluster.as_ref().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "own",
            "clusters": [{ "name": "own", "cluster": {
                "server": cluster.server,
                "certificate-authority": cluster.certificate_authority,
                "certificate-authority-data": cluster.certificate_authority_data,
            } }],
            "users": [{ "name": "own", "user": { "token": token.status.unwrap().token } }],
            "contexts": [{ "name": "own", "context": { "cluster": "own", "user": "own" } }],
        });
        let dir = self.kubeconfig.parent().unwrap();
        let file = dir.join(format!("{}-{name}.kubeconfig", self.namespace));
        std::fs::write(&file, config.to_string()).unwrap();
        let settings = Settings { name: "test".into(), kubeconfig: Some(file), context: None };
        Arc::new(Cluster::new(settings))
    }

    pub(crate) fn api<K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes an object of the namespace from what a person would write of it.
    pub(crate) async fn make<K>(&self, object: Json) -> K
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        let (api, object): (Api<K>, K) = (self.api(), serde_json::from_value(object).unwrap());
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    /// A pod with these labels and this of its spec. No node is there: what kubelets tell is written by [`Place::ready`].
    pub(crate) async fn pod(&self, name: &str, labels: Json, spec: Json) -> Pod {
        let mut whole = json!({ "containers": [{ "name": "main", "image": "localhost/none:1" }] });
        for (key, value) in spec.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        self.make(json!({ "metadata": { "name": name, "labels": labels }, "spec": whole })).await
    }

    /// Tells the API server that a pod runs and is ready, as its kubelet would.
    pub(crate) async fn ready(&self, name: &str) -> Pod {
        let status = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
        let pods: Api<Pod> = self.api();
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap()
    }

    /// Takes a pod away at once, as its kubelet would when it has ended.
    pub(crate) async fn gone(&self, name: &str) {
        let pods: Api<Pod> = self.api();
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        drop(pods.delete(name, &now).await.unwrap());
        super::act::wait_until("the pod is gone", async || pods.get_opt(name).await.unwrap().is_none()).await;
    }

    /// Its labels now.
    pub(crate) async fn labels(&self, name: &str) -> Json {
        let pod: Pod = self.api().get(name).await.unwrap();
        serde_json::to_value(pod.metadata.labels.unwrap_or_default()).unwrap()
    }

    /// `namespace/name`, as an input has it.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }
}
