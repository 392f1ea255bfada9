//! An API server that is down, slow or forbids: each has its stated end, and none is a success.

use super::super::act::{Act, verb, wait_until};
use super::super::api::Place;
use super::{VERB, opens, policies, service};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, PostParams};
use quell_kubernetes::{Cluster, Settings};
use quell_model::{ActionError, Json, Truth, Want};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lets {
    Pass,
    Stall,
    Refuse,
}

/// Stands before the API server: lets pass, takes and never answers, or refuses. What passed before ends with each change.
pub(super) struct Proxy {
    pub(super) kubeconfig: PathBuf,
    lets: watch::Sender<Lets>,
    _dir: tempfile::TempDir,
}

impl Proxy {
    pub(super) async fn before(place: &Place) -> Self {
        let text = std::fs::read_to_string(&place.kubeconfig).unwrap();
        let server = text.lines().find_map(|line| line.trim().strip_prefix("server: https://")).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (dir, port) = (tempfile::tempdir().unwrap(), listener.local_addr().unwrap().port());
        let kubeconfig = dir.path().join("kubeconfig");
        std::fs::write(&kubeconfig, text.replace(&server, &format!("127.0.0.1:{port}"))).unwrap();
        let (lets, seen) = watch::channel(Lets::Pass);
        tokio::spawn(async move {
            loop {
                let Ok((one, _)) = listener.accept().await else { return };
                tokio::spawn(serve(one, server.clone(), seen.clone()));
            }
        });
        Self { kubeconfig, lets, _dir: dir }
    }

    pub(super) fn pass(&self) {
        self.lets.send_replace(Lets::Pass);
    }

    pub(super) fn stall(&self) {
        self.lets.send_replace(Lets::Stall);
    }

    pub(super) fn refuse(&self) {
        self.lets.send_replace(Lets::Refuse);
    }

    fn cluster(&self) -> Arc<Cluster> {
        reached_by(self.kubeconfig.clone())
    }
}

async fn serve(mut one: TcpStream, server: String, mut lets: watch::Receiver<Lets>) {
    let now = *lets.borrow_and_update();
    match now {
        Lets::Refuse => {}
        Lets::Stall => drop(lets.changed().await),
        Lets::Pass => {
            let Ok(mut other) = TcpStream::connect(server).await else { return };
            tokio::select! {
                ended = tokio::io::copy_bidirectional(&mut one, &mut other) => drop(ended),
                changed = lets.changed() => {
                    drop(changed);
                    // A connection that stood goes silent, as a server does that is too slow.
                    if *lets.borrow_and_update() == Lets::Stall {
                        drop(lets.changed().await);
                    }
                }
            }
        }
    }
}

fn reached_by(kubeconfig: PathBuf) -> Arc<Cluster> {
    let settings = Settings { name: "test".into(), kubeconfig: Some(kubeconfig), context: None };
    Arc::new(Cluster::new(settings))
}

#[tokio::test]
async fn an_api_server_that_is_away_or_slow_is_asked_again_later() {
    let Some(place) = Place::new("outage").await else { return };
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let (proxy, input) = (Proxy::before(&place).await, json!({ "pod": place.named("web-1") }));
    let (act, verb) = (Act::of("r-1"), verb(&proxy.cluster(), VERB));
    proxy.refuse();
    let error = verb.plan(&input).await.unwrap_err();
    assert!(matches!(&error, ActionError::Retry { .. }), "{error:?}");
    proxy.pass();
    let plan = verb.plan(&input).await.unwrap();
    let go = act.admitted(&*verb, plan.clone());
    proxy.stall();
    let begun = std::time::Instant::now();
    let error = verb.run(&go, &act.context()).await.unwrap_err();
    assert!(matches!(&error, ActionError::Retry { .. } | ActionError::Unknown { .. }), "{error:?}");
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
    assert!(verb.verify(&plan, Want::Acted).await.is_err(), "nobody was asked");
    proxy.pass();
    verb.run(&go, &act.context()).await.unwrap();
    assert!(matches!(verb.verify(&plan, Want::Acted).await.unwrap(), Truth::Unproved(_)));
}

/// Rules of a role that may what the verb needs, but for one.
fn rules(without: &str) -> Json {
    let needs = quell_kubernetes::verbs::isolate_pod::SPEC.permissions.iter();
    let rules = needs.filter_map(|need| need.strip_prefix("kubernetes:")).filter(|need| *need != without).map(|need| {
        let (verb, of) = need.split_once(' ').unwrap();
        let (resource, group) = of.split_once('.').unwrap_or((of, ""));
        json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] })
    });
    rules.collect()
}

/// The cluster as an account reaches it that lacks one permission.
async fn lacking(place: &Place, number: usize, without: &str) -> (Arc<Cluster>, tempfile::TempDir) {
    let name = format!("quell-{number}");
    place.make::<ServiceAccount>(json!({ "metadata": { "name": name } })).await;
    place.make::<Role>(json!({ "metadata": { "name": name }, "rules": rules(without) })).await;
    let subject = json!([{ "kind": "ServiceAccount", "name": name, "namespace": place.namespace }]);
    let of = |kind: &str, name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
    let binding = json!({ "metadata": { "name": name }, "roleRef": of("Role", &name), "subjects": subject });
    place.make::<RoleBinding>(binding).await;
    if without != "list daemonsets.apps" {
        // Enforcers are looked for in all namespaces.
        let whole = format!("{}-{name}", place.namespace);
        let reads = json!([{ "apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["list"] }]);
        let role = json!({ "metadata": { "name": whole }, "rules": reads });
        let roles: Api<ClusterRole> = Api::all(place.client.clone());
        roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
        let binding =
            json!({ "metadata": { "name": whole }, "roleRef": of("ClusterRole", &whole), "subjects": subject });
        let bindings: Api<ClusterRoleBinding> = Api::all(place.client.clone());
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    }
    let asked: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } })).unwrap();
    let accounts: Api<ServiceAccount> = place.api();
    let token = accounts.create_token_request(&name, &PostParams::default(), &asked).await.unwrap();
    let text = std::fs::read_to_string(&place.kubeconfig).unwrap();
    let of = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap().trim().to_owned();
    let cluster = json!({ "server": of("server:"), "certificate-authority-data": of("certificate-authority-data:") });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{ "name": "it", "cluster": cluster }],
        "users": [{ "name": "it", "user": { "token": token.status.unwrap().token } }],
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it" } }],
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    // JSON is YAML.
    std::fs::write(&file, config.to_string()).unwrap();
    (reached_by(file), dir)
}

/// Whether the account may do this by now: a role is in force a moment after it is made.
async fn may(place: &Place, number: usize, permission: &str) -> bool {
    let (verb, of) = permission.split_once(' ').unwrap();
    let (resource, group) = of.split_once('.').unwrap_or((of, ""));
    let user = format!("system:serviceaccount:{}:quell-{number}", place.namespace);
    let attributes = json!({ "verb": verb, "resource": resource, "group": group, "namespace": place.namespace });
    let review = json!({ "spec": { "user": user, "resourceAttributes": attributes } });
    let reviews: Api<SubjectAccessReview> = Api::all(place.client.clone());
    let answer = reviews.create(&PostParams::default(), &serde_json::from_value(review).unwrap()).await.unwrap();
    answer.status.unwrap().allowed
}

#[tokio::test]
async fn a_permission_that_is_missing_is_told_before_and_is_no_success() {
    let Some(place) = Place::new("rbac").await else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    let needs = [
        ("get pods", false),
        ("list pods", false),
        ("list services", false),
        ("list networkpolicies.networking.k8s.io", false),
        ("create networkpolicies.networking.k8s.io", true),
        ("patch pods", true),
    ];
    for (number, (without, is_write)) in needs.into_iter().enumerate() {
        let pod = format!("web-{number}");
        place.pod(&pod, json!({ "app": "web" }), json!({})).await;
        let (cluster, _dir) = lacking(&place, number, without).await;
        let others: Vec<_> = needs.iter().map(|(need, _)| *need).filter(|need| *need != without).collect();
        wait_until("its role is in force", async || {
            let mut all = true;
            for need in &others {
                all &= may(&place, number, need).await;
            }
            all
        })
        .await;
        let (act, verb, input) = (Act::of("r-1"), verb(&cluster, VERB), json!({ "pod": place.named(&pod) }));
        let plan = verb.plan(&input).await;
        let error = if is_write {
            let plan = plan.unwrap();
            let told = format!("forbidden: {without} in {}", place.namespace);
            assert_eq!(plan.would_fail, [told]);
            let go = act.admitted(&*verb, plan.clone());
            let error = verb.run(&go, &act.context()).await.unwrap_err();
            assert!(matches!(verb.verify(&plan, Want::Acted).await.unwrap(), Truth::HoldsNot(_)), "{without}");
            let (_, truth) = act.taken_back(&*verb, &plan).await.unwrap();
            assert_eq!(truth, Truth::Holds, "{without}");
            error
        } else {
            plan.unwrap_err()
        };
        let is_told = matches!(&error, ActionError::GiveUp { why, hint: Some(_) } if why.contains(&format!("forbids to {without}")));
        assert!(is_told, "{without}: {error:?}");
        assert_eq!(place.labels(&pod).await, json!({ "app": "web" }), "{without}");
        assert!(policies(&place).await.is_empty(), "{without}");
    }
    // Who may not look for enforcers cuts off all the same, and says so.
    place.pod("web-last", json!({ "app": "web" }), json!({})).await;
    let (cluster, _dir) = lacking(&place, 99, "list daemonsets.apps").await;
    wait_until("its role is in force", async || may(&place, 99, "patch pods").await).await;
    let verb = verb(&cluster, VERB);
    let done = Act::of("r-1").whole(&*verb, &json!({ "pod": place.named("web-last") })).await.unwrap();
    assert!(opens(&done.plan, "whether anything enforces NetworkPolicies may not be read"), "{:?}", done.plan);
}

/// Waits until the account may all of the others by now.
async fn in_force(place: &Place, number: usize, without: &str) {
    let needs = ["get pods", "list pods", "patch pods", CREATE, PATCH, DELETE];
    wait_until("its role is in force", async || {
        let mut all = true;
        for need in needs.iter().filter(|need| **need != without) {
            all &= may(place, number, need).await;
        }
        all
    })
    .await;
}

const CREATE: &str = "create networkpolicies.networking.k8s.io";
const PATCH: &str = "patch networkpolicies.networking.k8s.io";
const DELETE: &str = "delete networkpolicies.networking.k8s.io";

fn is_told(error: &ActionError, without: &str) {
    let told = format!("forbids to {without}");
    assert!(matches!(error, ActionError::GiveUp { why, hint: Some(_) } if why.contains(&told)), "{error:?}");
}

#[tokio::test]
async fn an_undo_that_may_not_take_the_policy_away_is_no_success_and_leaves_the_pod_cut_off() {
    let Some(place) = Place::new("rbac").await else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let (cluster, _dir) = lacking(&place, 0, DELETE).await;
    in_force(&place, 0, DELETE).await;
    let (act, limited) = (Act::of("r-1"), verb(&cluster, VERB));
    let done = act.whole(&*limited, &json!({ "pod": place.named("web-1") })).await.unwrap();
    // Before anything is done it is told that it could not be taken back.
    assert_eq!(done.plan.would_fail, [format!("forbidden: {DELETE} in {}", place.namespace)]);
    let cut_off = place.labels("web-1").await;
    is_told(&act.taken_back(&*limited, &done.plan).await.map(|_| ()).unwrap_err(), DELETE);
    let truth = limited.verify_undone(&done.plan, &act.back()).await.unwrap();
    assert!(matches!(truth, Truth::HoldsNot(_)), "{truth:?}");
    assert_eq!((place.labels("web-1").await, policies(&place).await.len()), (cut_off, 1));
    // Once it may, what is left is taken back by the same plan.
    let whole = verb(&place.cluster, VERB);
    let (_, truth) = act.taken_back(&*whole, &done.plan).await.unwrap();
    assert_eq!((truth, policies(&place).await.len()), (Truth::Holds, 0));
    assert_eq!(place.labels("web-1").await, json!({ "app": "web" }));
}

#[tokio::test]
async fn an_undo_that_may_not_loosen_the_policy_for_another_is_no_success() {
    let Some(place) = Place::new("rbac").await else { return };
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let whole = verb(&place.cluster, VERB);
    let (narrow, wide) = (Act::of("r-1"), Act::of("r-2"));
    let input = |egress: Json| json!({ "pod": place.named("web-1"), "allow": { "egress": egress } });
    let first = narrow.whole(&*whole, &input(json!(["10.1.0.0/16"]))).await.unwrap();
    let second = wide.whole(&*whole, &input(json!(["10.1.0.0/16", "10.2.0.0/16"]))).await.unwrap();
    let before = policies(&place).await;
    let (cluster, _dir) = lacking(&place, 0, PATCH).await;
    in_force(&place, 0, PATCH).await;
    let limited = verb(&cluster, VERB);
    is_told(&narrow.taken_back(&*limited, &first.plan).await.map(|_| ()).unwrap_err(), PATCH);
    let truth = limited.verify_undone(&first.plan, &narrow.back()).await.unwrap();
    assert!(matches!(truth, Truth::HoldsNot(_)), "{truth:?}");
    assert_eq!(policies(&place).await, before, "it lets no more pass than before");
    // Nor is a cut that could not be made as narrow as it should be.
    place.pod("web-2", json!({ "app": "web" }), json!({})).await;
    let of = |egress: Json| json!({ "pod": place.named("web-2"), "allow": { "egress": egress } });
    let (third, fourth) = (Act::of("r-3"), Act::of("r-4"));
    third.whole(&*whole, &of(json!(["10.1.0.0/16", "10.2.0.0/16"]))).await.unwrap();
    let plan = limited.plan(&of(json!(["10.1.0.0/16"]))).await.unwrap();
    assert_eq!(plan.would_fail, [format!("forbidden: {PATCH} in {}", place.namespace)]);
    let go = fourth.admitted(&*limited, plan.clone());
    is_told(&limited.run(&go, &fourth.context()).await.unwrap_err(), PATCH);
    assert!(matches!(limited.verify(&plan, Want::Acted).await.unwrap(), Truth::HoldsNot(_)));
    for (act, plan) in [(&narrow, &first.plan), (&wide, &second.plan)] {
        let (_, truth) = act.taken_back(&*whole, plan).await.unwrap();
        assert_eq!(truth, Truth::Holds);
    }
    assert_eq!(place.labels("web-1").await, json!({ "app": "web" }));
}
