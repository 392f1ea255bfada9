//! What a pod finds in itself: quell reaches its cluster by that, with nothing configured.
//!
//! A pod's files lie at one place that cannot be moved, so this test runs itself once more in a mount namespace that has them there.

use super::act::looks;
use super::api::Place;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, PostParams};
use kube::config::Kubeconfig;
use quell_kubernetes::{Cluster, Settings};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Set within: the pod's account.
const WITHIN: &str = "QUELL_TEST_WITHIN_POD_OF";
const FILES: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[tokio::test]
async fn what_a_pod_finds_in_itself_is_enough() {
    if let Ok(account) = std::env::var(WITHIN) {
        return within(&account).await;
    }
    let Some(place) = Place::new("incluster").await else { return };
    place.make::<ServiceAccount>(json!({ "metadata": { "name": "quell" } })).await;
    let rules = json!([{ "apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"] }]);
    place.make::<Role>(json!({ "metadata": { "name": "quell" }, "rules": rules })).await;
    let binding = json!({
        "metadata": { "name": "quell" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "quell" },
        "subjects": [{ "kind": "ServiceAccount", "name": "quell", "namespace": place.namespace }],
    });
    place.make::<RoleBinding>(binding).await;
    let accounts: Api<ServiceAccount> = place.api();
    let wanted: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } })).unwrap();
    let token = accounts.create_token_request("quell", &PostParams::default(), &wanted).await.unwrap();
    let read = Kubeconfig::read_from(&place.kubeconfig).unwrap();
    let cluster = read.clusters[0].cluster.as_ref().unwrap();
    let server = cluster.server.as_deref().unwrap().trim_start_matches("https://").trim_end_matches('/');
    let (host, port) = server.rsplit_once(':').unwrap();
    let files = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(files.path().join(name), text).unwrap();
    put("token", &token.status.unwrap().token);
    put("namespace", &place.namespace);
    put("ca.base64", cluster.certificate_authority_data.as_deref().unwrap());

    let script = format!(
        "mount -t tmpfs none /var/run/ && mkdir -p {FILES} && cp \"$1\"/token \"$1\"/namespace {FILES}/ && \
         base64 -d \"$1\"/ca.base64 >{FILES}/ca.crt && shift && exec \"$@\""
    );
    let mut again = Command::new("unshare");
    again.args(["--mount", "sh", "-c", &script, "sh"]).arg(files.path()).arg(std::env::current_exe().unwrap());
    again.args(["in_cluster::what_a_pod_finds_in_itself_is_enough", "--exact", "--nocapture"]).stdin(Stdio::null());
    again.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port).env_remove("KUBECONFIG");
    again.env(WITHIN, format!("system:serviceaccount:{}:quell", place.namespace));
    let out = tokio::task::spawn_blocking(move || again.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&out.stderr));
}

/// As a pod of that account.
async fn within(account: &str) {
    let cluster = Arc::new(Cluster::new(Settings::default()));
    assert_eq!(cluster.told(), Ok(()));
    assert_eq!(cluster.who().await.unwrap(), account);
    let namespace = std::fs::read_to_string(Path::new(FILES).join("namespace")).unwrap();
    let input = json!({ "kind": "serviceaccount", "namespace": namespace, "name": "quell" });
    let get = looks(&cluster, "kubernetes.get");
    super::act::wait_until("its role is in force", async || get.look(&input).await.is_ok()).await;
    // A kubeconfig that is named goes before what the pod has; and what the pod lacks is told.
    let named = Settings { kubeconfig: Some("/nowhere/kubeconfig".into()), ..Settings::default() };
    let error = Cluster::new(named).who().await.unwrap_err().to_string();
    assert!(error.contains("`/nowhere/kubeconfig` cannot be used"), "{error}");
    std::fs::remove_file(Path::new(FILES).join("ca.crt")).unwrap();
    let error = Cluster::new(Settings::default()).who().await.unwrap_err().to_string();
    assert!(error.contains("what the pod says of it cannot be used") && error.contains("certificate"), "{error}");
}
