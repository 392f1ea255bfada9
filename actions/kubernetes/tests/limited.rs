//! A cluster as somebody sees it who may do little.
//!
//! Keeps true: what they may is a Role in the test's own namespace, or the permissions of one verb, and nothing beyond.

use super::act::wait_until;
use super::api::Place;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, PostParams};
use kube::config::Kubeconfig;
use quell_kubernetes::{Cluster, Settings};
use quell_model::Json;
use serde_json::json;
use std::sync::Arc;

impl Place {
    /// As a user who has these rules here.
    pub(crate) async fn as_user(&self, name: &str, rules: Json) -> Arc<Cluster> {
        let user = format!("{name}.{}", self.namespace);
        self.make::<Role>(json!({ "metadata": { "name": name }, "rules": rules })).await;
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        });
        self.make::<RoleBinding>(binding).await;
        self.impersonating(&user)
    }

    /// As a user who may everywhere what this verb lists, but for one of its permissions (`patch pods`). It is in force once this returns.
    pub(crate) async fn as_user_without(&self, name: &str, verb: &str, without: &str) -> Arc<Cluster> {
        let spec = quell_kubernetes::specs().into_iter().find(|spec| spec.name == verb).unwrap();
        let listed: Vec<&str> = spec.permissions.iter().filter_map(|one| one.strip_prefix("kubernetes:")).collect();
        assert!(listed.contains(&without), "{verb} does not list {without}");
        let given: Vec<Needed<'_>> = listed.into_iter().filter(|one| *one != without).map(Needed::of).collect();
        let name = format!("{name}.{}", self.namespace);
        let subject = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name });
        let role = json!({ "metadata": { "name": name }, "rules": given.iter().map(Needed::rule).collect::<Json>() });
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": [subject],
        });
        let (roles, bindings): (Api<ClusterRole>, Api<ClusterRoleBinding>) =
            (Api::all(self.client.clone()), Api::all(self.client.clone()));
        roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        // The API server hears of a role a moment after it is made.
        wait_until("the role is in force", async || {
            for needed in &given {
                let review =
                    serde_json::from_value(json!({ "spec": { "user": name, "resourceAttributes": needed.asked() } }));
                let answer = reviews.create(&PostParams::default(), &review.unwrap()).await.unwrap();
                if !answer.status.unwrap().allowed {
                    return false;
                }
            }
            true
        })
        .await;
        self.impersonating(&name)
    }

    fn impersonating(&self, user: &str) -> Arc<Cluster> {
        let mut read = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        for auth in &mut read.auth_infos {
            auth.auth_info.as_mut().unwrap().impersonate = Some(user.to_owned());
        }
        // Whatever is JSON is YAML too.
        let file = self.kubeconfig.with_file_name(format!("{user}.kubeconfig"));
        std::fs::write(&file, serde_json::to_string(&read).unwrap()).unwrap();
        Arc::new(Cluster::new(Settings { name: "test".into(), kubeconfig: Some(file), context: None }))
    }
}

/// `create pods/eviction`, `patch deployments.apps/scale`, in its parts.
struct Needed<'n> {
    verb: &'n str,
    plural: &'n str,
    group: &'n str,
    sub: Option<&'n str>,
}

impl<'n> Needed<'n> {
    fn of(listed: &'n str) -> Self {
        let (verb, of) = listed.split_once(' ').unwrap();
        let (whole, sub) = of.split_once('/').map_or((of, None), |(whole, sub)| (whole, Some(sub)));
        let (plural, group) = whole.split_once('.').unwrap_or((whole, ""));
        Self { verb, plural, group, sub }
    }

    fn rule(&self) -> Json {
        let resource = self.sub.map_or_else(|| self.plural.to_owned(), |sub| format!("{}/{sub}", self.plural));
        json!({ "apiGroups": [self.group], "resources": [resource], "verbs": [self.verb] })
    }

    fn asked(&self) -> Json {
        json!({ "verb": self.verb, "group": self.group, "resource": self.plural, "subresource": self.sub })
    }
}
