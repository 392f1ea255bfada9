//! `kubernetes.revoke_service_account` against a real API server and its controllers.

use super::act::{Act, outlives_every_crash, verb, wait_until};
use super::api::Place;
use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use quell_model::{Action, Decision, Json, Plan, Truth, Want};
use serde_json::json;
use std::sync::Arc;

const VERB: &str = "kubernetes.revoke_service_account";

/// What one account has, in a namespace of its own.
struct Rights {
    place: Place,
    verb: Arc<dyn Action>,
}

fn subject(kind: &str, name: &str, namespace: Option<&str>) -> Json {
    match namespace {
        Some(namespace) => json!({ "kind": kind, "name": name, "namespace": namespace }),
        None => json!({ "kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io" }),
    }
}

impl Rights {
    async fn new() -> Option<Self> {
        let place = Place::new("revoke").await?;
        let verb = verb(&place.cluster, VERB);
        let rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"] }]);
        place.make::<Role>(json!({ "metadata": { "name": "reader" }, "rules": rules })).await;
        Some(Self { place, verb })
    }

    /// An account that is one of three in a binding, by its user in another, alone in one of the cluster, and has a token.
    async fn account(&self, name: &str) -> Json {
        let place = &self.place;
        let namespace = place.namespace.as_str();
        place.make::<ServiceAccount>(json!({ "metadata": { "name": name } })).await;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        self.bind(
            &format!("{name}-shared"),
            json!([
                subject("User", "ana", None),
                subject("ServiceAccount", name, Some(namespace)),
                subject("User", "bo", None),
            ]),
        )
        .await;
        self.bind(&format!("{name}-user"), json!([subject("User", &user, None)])).await;
        let all: Api<ClusterRoleBinding> = Api::all(place.client.clone());
        let object = json!({
            "metadata": { "name": self.whole(name), "labels": { "team": "shop" } },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
            "subjects": [subject("ServiceAccount", name, Some(namespace))],
        });
        all.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        place
            .make::<Secret>(json!({
                "type": "kubernetes.io/service-account-token",
                "metadata": {
                    "name": format!("{name}-token"),
                    "labels": { "app": "web" },
                    "annotations": { "kubernetes.io/service-account.name": name },
                },
            }))
            .await;
        self.token(name).await;
        json!({ "account": place.named(name) })
    }

    /// What its binding of the whole cluster is called.
    fn whole(&self, name: &str) -> String {
        format!("{}:{name}", self.place.namespace)
    }

    async fn bind(&self, name: &str, subjects: Json) -> RoleBinding {
        let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" });
        self.place.make(json!({ "metadata": { "name": name }, "roleRef": role, "subjects": subjects })).await
    }

    /// Its token, once the controller has filled it in.
    async fn token(&self, name: &str) -> Vec<u8> {
        let secrets: Api<Secret> = self.place.api();
        let mut token = Vec::new();
        wait_until("the token is filled in", async || {
            let found = secrets.get_opt(&format!("{name}-token")).await.unwrap();
            let data = found.and_then(|found| found.data).unwrap_or_default();
            token = data.get("token").map(|token| token.0.clone()).unwrap_or_default();
            !token.is_empty()
        })
        .await;
        token
    }

    async fn may(&self, name: &str, verb: &str, resource: &str, namespace: Option<&str>) -> bool {
        let place = &self.place;
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{}", place.namespace)];
        let attributes = json!({ "verb": verb, "resource": resource, "namespace": namespace });
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{}:{name}", place.namespace)),
                groups: Some([groups.to_vec(), vec!["system:authenticated".to_owned()]].concat()),
                resource_attributes: Some(serde_json::from_value(attributes).unwrap()),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let all: Api<SubjectAccessReview> = Api::all(place.client.clone());
        all.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
    }

    /// Everything of its bindings that a person could see, without what the server counts.
    async fn bindings(&self, name: &str) -> Vec<Json> {
        let (of_place, of_cluster): (Api<RoleBinding>, Api<ClusterRoleBinding>) =
            (self.place.api(), Api::all(self.place.client.clone()));
        let mut all = Vec::new();
        for binding in ["shared", "user"] {
            all.push(serde_json::to_value(of_place.get(&format!("{name}-{binding}")).await.unwrap()).unwrap());
        }
        all.push(serde_json::to_value(of_cluster.get(&self.whole(name)).await.unwrap()).unwrap());
        for binding in &mut all {
            let meta = binding["metadata"].as_object_mut().unwrap();
            meta.retain(|key, _| key != "resourceVersion" && key != "managedFields");
        }
        all
    }
}

#[tokio::test]
async fn an_account_has_nothing_left_and_gets_it_back() {
    let Some(rights) = Rights::new().await else { return };
    let input = rights.account("web").await;
    let token = rights.token("web").await;
    let place = &rights.place;
    place.pod("web-1", json!({ "app": "web" }), json!({ "serviceAccountName": "web" })).await;
    let before = rights.bindings("web").await;
    assert!(rights.may("web", "list", "secrets", Some(&place.namespace)).await);
    assert!(rights.may("web", "list", "pods", None).await);

    let act = Act::of("r-1");
    let done = act.whole(&*rights.verb, &input).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    assert!(!rights.may("web", "list", "secrets", Some(&place.namespace)).await);
    assert!(!rights.may("web", "list", "pods", None).await);
    assert_eq!(done.output["pods"], json!(["web-1"]));
    assert_eq!(done.output["secrets"], json!(["web-token"]));
    assert_eq!(done.output["bindings"].as_array().unwrap().len(), 3);

    let told = serde_json::to_string(&done.plan).unwrap();
    assert!(!told.contains(std::str::from_utf8(&token).unwrap()), "a token is in no plan");
    assert!(done.plan.still_open[0].contains("web-1"), "{:?}", done.plan.still_open);
    assert!(done.plan.still_open.iter().any(|one| one.contains("system:authenticated")), "{:?}", done.plan.still_open);
    assert_eq!(done.plan.would_fail, Vec::<String>::new());
    let kinds: Vec<&str> = done.plan.targets.iter().map(|target| target.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["service_account", "serviceaccount", "clusterrolebinding", "rolebinding", "rolebinding", "secret"]
    );

    let now = rights.bindings("web").await;
    let uids = |of: &[Json]| of.iter().map(|one| one["metadata"]["uid"].clone()).collect::<Vec<_>>();
    assert_eq!(uids(&now), uids(&before), "each binding stays, also with nobody in it");
    assert_eq!(now[0]["subjects"], json!([subject("User", "ana", None), subject("User", "bo", None)]));

    let (output, truth) = act.taken_back(&*rights.verb, &done.plan).await.unwrap();
    assert_eq!((truth, output.get("still")), (Truth::Holds, None));
    assert_eq!(rights.bindings("web").await, before);
    assert_ne!(rights.token("web").await, token, "the token is a new one");
    let again = rights.verb.plan(&input).await.unwrap();
    assert!(!again.already);
}

#[tokio::test]
async fn what_a_group_gives_too_is_said_and_no_failure() {
    let Some(rights) = Rights::new().await else { return };
    let input = rights.account("web").await;
    let group = format!("system:serviceaccounts:{}", rights.place.namespace);
    rights.bind("everybody", json!([subject("Group", &group, None)])).await;
    let done = Act::of("r-1").whole(&*rights.verb, &input).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    let open = done.plan.still_open.join("\n");
    assert!(open.contains("everybody") && open.contains("what its groups may do too: get secrets in"), "{open}");
    assert!(rights.may("web", "list", "secrets", Some(&rights.place.namespace)).await, "as it says");
}

#[tokio::test]
async fn what_is_given_again_is_seen() {
    let Some(rights) = Rights::new().await else { return };
    let input = rights.account("web").await;
    let done = Act::of("r-1").whole(&*rights.verb, &input).await.unwrap();
    rights.bind("again", json!([subject("ServiceAccount", "web", Some(&rights.place.namespace))])).await;
    let truth = rights.verb.verify(&done.plan, Want::Acted).await.unwrap();
    let Truth::HoldsNot(why) = truth else { panic!("{truth:?}") };
    assert!(why.contains("again names it"), "{why}");
}

#[tokio::test]
async fn what_others_wrote_since_stays_as_they_wrote_it() {
    let Some(rights) = Rights::new().await else { return };
    let place = &rights.place;
    let input = rights.account("web").await;
    let act = Act::of("r-1");
    let done = act.whole(&*rights.verb, &input).await.unwrap();
    let bindings: Api<RoleBinding> = place.api();
    let cy = json!({ "subjects": [subject("User", "ana", None), subject("User", "cy", None)] });
    bindings.patch("web-shared", &PatchParams::default(), &Patch::Merge(cy)).await.unwrap();
    drop(bindings.delete("web-user", &DeleteParams::default()).await.unwrap());
    place.make::<Secret>(json!({ "metadata": { "name": "web-token" } })).await;
    let (output, truth) = act.taken_back(&*rights.verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
    let still = output["still"].as_str().unwrap();
    assert!(still.contains("web-user is gone") && still.contains("`web-token` is another one"), "{still}");
    let now = bindings.get("web-shared").await.unwrap().subjects.unwrap();
    let names: Vec<&str> = now.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["ana", "web", "cy"]);
}

#[tokio::test]
async fn an_account_that_was_made_anew_is_not_given_what_the_former_had() {
    let Some(rights) = Rights::new().await else { return };
    let place = &rights.place;
    let input = rights.account("web").await;
    let act = Act::of("r-1");
    let done = act.whole(&*rights.verb, &input).await.unwrap();
    let accounts: Api<ServiceAccount> = place.api();
    drop(accounts.delete("web", &DeleteParams::default()).await.unwrap());
    wait_until("it is gone", async || accounts.get_opt("web").await.unwrap().is_none()).await;
    place.make::<ServiceAccount>(json!({ "metadata": { "name": "web" } })).await;
    let before = rights.bindings("web").await;
    let (output, truth) = act.taken_back(&*rights.verb, &done.plan).await.unwrap();
    let Truth::Unproved(why) = truth else { panic!("{truth:?}") };
    assert!(why.contains("was made anew since") && output["still"] == json!(why), "{why}: {output}");
    assert_eq!(rights.bindings("web").await, before);
    assert!(!rights.may("web", "list", "secrets", Some(&place.namespace)).await);
    let secrets: Api<Secret> = place.api();
    assert!(secrets.get_opt("web-token").await.unwrap().is_none());
}

/// Each attempt plans by what the one before has left.
#[tokio::test]
async fn what_two_attempts_took_is_given_back() {
    let Some(rights) = Rights::new().await else { return };
    let input = rights.account("web").await;
    let before = rights.bindings("web").await;
    let act = Act::of("r-1");
    let first = act.whole(&*rights.verb, &input).await.unwrap();
    rights.bind("again", json!([subject("ServiceAccount", "web", Some(&rights.place.namespace))])).await;
    let second = act.whole(&*rights.verb, &input).await.unwrap();
    assert_eq!(second.output["bindings"].as_array().map(Vec::len), Some(1));
    for done in [second, first] {
        let (_, truth) = act.taken_back(&*rights.verb, &done.plan).await.unwrap();
        assert_eq!(truth, Truth::Holds);
    }
    assert_eq!(rights.bindings("web").await, before);
    let again: RoleBinding = rights.place.api().get("again").await.unwrap();
    assert_eq!(again.subjects.map(|all| all.len()), Some(1));
}

#[tokio::test]
async fn an_account_that_is_gone_or_another_is_not_touched() {
    let Some(rights) = Rights::new().await else { return };
    let place = &rights.place;
    let gone = rights.verb.plan(&json!({ "account": place.named("web") })).await.unwrap_err();
    assert!(gone.to_string().contains("is gone, and its tokens with it"), "{gone}");
    rights.account("web").await;
    let other = json!({ "account": { "namespace": place.namespace, "name": "web", "uid": "another" } });
    let other = rights.verb.plan(&other).await.unwrap_err();
    assert!(other.to_string().contains("is another one by now"), "{other}");
    place.make::<ServiceAccount>(json!({ "metadata": { "name": "bare" } })).await;
    let bare = rights.verb.plan(&json!({ "account": place.named("bare") })).await.unwrap();
    assert!(bare.already, "it has nothing");
}

#[tokio::test]
async fn quell_does_not_revoke_itself_and_says_what_it_lacks() {
    let Some(rights) = Rights::new().await else { return };
    let place = &rights.place;
    let input = rights.account("web").await;
    let quell = place.as_account("quell").await;
    let lacking = verb(&quell, VERB).plan(&input).await.unwrap_err();
    assert!(lacking.to_string().contains("forbids to get serviceaccounts"), "{lacking}");

    // May read all, and write nothing.
    let all: Api<ClusterRoleBinding> = Api::all(place.client.clone());
    let bound = |role: &str, as_what: &str| {
        serde_json::from_value::<ClusterRoleBinding>(json!({
            "metadata": { "name": format!("{}:{as_what}", place.namespace) },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": [subject("ServiceAccount", "quell", Some(&place.namespace))],
        }))
        .unwrap()
    };
    let reads: Api<k8s_openapi::api::rbac::v1::ClusterRole> = Api::all(place.client.clone());
    let name = format!("{}:reads", place.namespace);
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"] }]);
    let role = serde_json::from_value(json!({ "metadata": { "name": name }, "rules": rules })).unwrap();
    reads.create(&PostParams::default(), &role).await.unwrap();
    all.create(&PostParams::default(), &bound(&name, "reads")).await.unwrap();
    let lacks = async || verb(&quell, VERB).plan(&input).await.map(|plan: Plan| plan.would_fail);
    wait_until("its rights are known", async || lacks().await.is_ok()).await;
    let lacks = lacks().await.unwrap().join("\n");
    for wanted in ["create subjectaccessreviews", "patch rolebindings", "bind roles", "delete secrets"] {
        assert!(lacks.contains(&format!("forbidden: {wanted}")), "{wanted}: {lacks}");
    }
    let plan = verb(&quell, VERB).plan(&json!({ "account": place.named("quell") })).await.unwrap();
    match Act::of("r-1").decide(&*rights.verb, plan) {
        Decision::Refuse { guard, why, .. } => {
            assert_eq!((guard.as_str(), why.as_str()), ("protect", "quell itself works as this account"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_revocation_outlives_every_crash() {
    let Some(rights) = Rights::new().await else { return };
    let input = async |calls: u32| rights.account(&format!("web-{calls}")).await;
    let judge = async |input: &Json, want: Want| {
        let name = input["account"].as_str().unwrap().split_once('/').unwrap().1;
        let all = rights.bindings(name).await;
        let counts: Vec<usize> =
            all.iter().map(|one| one["subjects"].as_array().map(Vec::len).unwrap_or_default()).collect();
        let secrets: Api<Secret> = rights.place.api();
        let token = secrets.get_opt(&format!("{name}-token")).await.unwrap();
        match want {
            Want::Acted => assert_eq!((counts, token.is_some()), (vec![2, 0, 0], false)),
            Want::Undone => assert_eq!((counts, token.is_some()), (vec![3, 1, 1], true)),
        }
    };
    outlives_every_crash(&rights.place.cluster, VERB, input, judge).await;
}
