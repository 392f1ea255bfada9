//! What a cluster says of quell's own rights, and that the role which quell prints is enough, and no more than enough.

use super::act::{Act, verb, wait_until};
use super::api::Place;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::PostParams;
use quell_kubernetes::rbac::{Permission, Wanted};
use quell_kubernetes::{Cluster, Settings};
use quell_model::{ActionError, Truth};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The cluster, as an account of the namespace reaches it that may do this there.
async fn as_account(place: &Place, name: &str, may: BTreeSet<Permission>) -> (Arc<Cluster>, tempfile::TempDir) {
    place.make::<ServiceAccount>(json!({ "metadata": { "name": name } })).await;
    let wanted = Wanted { within: may, namespaces: [place.namespace.clone()].into(), ..Wanted::default() };
    for role in wanted.manifests(name) {
        place.make::<Role>(role).await;
        place
            .make::<RoleBinding>(json!({
                "metadata": { "name": name },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
                "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": place.namespace }],
            }))
            .await;
    }
    let accounts = place.api::<ServiceAccount>();
    let request: TokenRequest =
        serde_json::from_value(json!({ "spec": { "audiences": [], "expirationSeconds": 3600 } })).unwrap();
    let token = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    let token = token.status.unwrap().token;
    let read = std::fs::read_to_string(&place.kubeconfig).unwrap();
    let mut config: kube::config::Kubeconfig = kube::config::Kubeconfig::from_yaml(&read).unwrap();
    for user in &mut config.auth_infos {
        user.auth_info = serde_json::from_value(json!({ "token": token })).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    std::fs::write(&file, serde_json::to_string(&config).unwrap()).unwrap();
    let settings = Settings { name: "test".into(), kubeconfig: Some(file), context: None };
    (Arc::new(Cluster::new(settings)), dir)
}

fn of_verb(name: &str) -> BTreeSet<Permission> {
    let spec = quell_kubernetes::specs().into_iter().find(|spec| spec.name == name).unwrap();
    spec.permissions.iter().map(|listed| Permission::of_spec(listed).unwrap()).collect()
}

#[tokio::test]
async fn the_role_that_is_printed_is_enough_for_its_verb_and_for_nothing_else() {
    let Some(place) = Place::new("role").await else { return };
    place.pod("web", json!({ "app": "web" }), json!({})).await;
    let permissions = of_verb("kubernetes.label_pod");
    let (cluster, _dir) = as_account(&place, "labeller", permissions.clone()).await;
    let who = format!("system:serviceaccount:{}:labeller", place.namespace);
    assert_eq!(cluster.who().await.unwrap(), who);

    let (act, label) = (Act::of("r-1"), verb(&cluster, "kubernetes.label_pod"));
    let input = json!({ "pod": place.named("web"), "labels": { "seen": "yes" } });
    // The API server hears of a role a moment after it is made.
    wait_until("the role holds", async || label.plan(&input).await.is_ok_and(|plan| plan.would_fail.is_empty())).await;
    let done = act.whole(&*label, &input).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    let (_, truth) = act.taken_back(&*label, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);

    // What the cluster lists is what was wanted.
    let rules = cluster.rules(&place.namespace).await.unwrap();
    for one in &permissions {
        assert!(rules.grants.iter().any(|grant| grant.covers(one, Some(&place.namespace))), "{one}: {rules:?}");
    }
    let delete = Permission::of_spec("kubernetes:delete pods").unwrap();
    assert!(!rules.grants.iter().any(|grant| grant.covers(&delete, Some(&place.namespace))));
    assert!(!cluster.may(&delete, Some(&place.namespace)).await.unwrap());
    let patch = Permission::of_spec("kubernetes:patch pods").unwrap();
    assert!(cluster.may(&patch, Some(&place.namespace)).await.unwrap());
    assert!(!cluster.may(&patch, None).await.unwrap(), "a Role is no ClusterRole");
}

#[tokio::test]
async fn what_a_role_lacks_is_in_the_plan_and_fails_with_a_hint() {
    let Some(place) = Place::new("lacks").await else { return };
    place.pod("web", json!({ "app": "web" }), json!({})).await;
    let mut permissions = of_verb("kubernetes.label_pod");
    permissions.retain(|one| one.to_string() != "patch pods");
    let (cluster, _dir) = as_account(&place, "reader", permissions).await;
    let (act, label) = (Act::of("r-1"), verb(&cluster, "kubernetes.label_pod"));
    let input = json!({ "pod": place.named("web"), "labels": { "seen": "yes" } });
    wait_until("the role holds", async || label.plan(&input).await.is_ok()).await;
    let plan = label.plan(&input).await.unwrap();
    assert_eq!(plan.would_fail, [format!("forbidden: patch pods in {}", place.namespace)]);
    let error = act.whole(&*label, &input).await.map(|_| ()).unwrap_err();
    let ActionError::GiveUp { why, hint: Some(hint) } = error else { panic!("{error:?}") };
    assert!(why.contains("forbids to patch pods") && hint.contains("quell action permissions"), "{why}; {hint}");
    assert_eq!(place.labels("web").await, json!({ "app": "web" }));
}

#[tokio::test]
async fn the_hands_write_nowhere_but_within_whoever_admitted_it() {
    let Some(place) = Place::new("within").await else { return };
    place.pod("web", json!({ "app": "web" }), json!({})).await;
    let settings = Settings { name: "test".into(), kubeconfig: Some(place.kubeconfig.clone()), context: None };
    place.cluster.put(Some(settings.clone()), Some("elsewhere".into()));
    let (act, label) = (Act::of("r-1"), verb(&place.cluster, "kubernetes.label_pod"));
    let input = json!({ "pod": place.named("web"), "labels": { "seen": "yes" } });
    let error = act.whole(&*label, &input).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("lies outside of `elsewhere`"), "{error}");
    assert_eq!(place.labels("web").await, json!({ "app": "web" }));
    place.cluster.put(Some(settings), Some(place.namespace.as_str().into()));
    assert_eq!(act.whole(&*label, &input).await.unwrap().truth, Truth::Holds);
    // And once it is off, it reaches nothing.
    place.cluster.put(None, None);
    let error = label.plan(&input).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("`kubernetes.enabled` is false"), "{error}");
}

#[tokio::test]
async fn a_node_is_there_or_not() {
    let Some(place) = Place::new("node").await else { return };
    assert!(!place.cluster.has_node("quell-no-such-node").await.unwrap());
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(place.client.clone());
    let name = format!("node-of-{}", place.namespace);
    let node = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    assert!(place.cluster.has_node(&name).await.unwrap());
    nodes.delete(&name, &Default::default()).await.unwrap();
}
