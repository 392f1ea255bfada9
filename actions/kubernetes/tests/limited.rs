//! A cluster as somebody sees it who may do little.
//!
//! Keeps true: what they may is a Role in the test's own namespace, and nothing beyond.

use super::api::Place;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::config::Kubeconfig;
use quell_kubernetes::{Cluster, Settings};
use quell_model::Json;
use serde_json::json;
use std::sync::Arc;

impl Place {
    /// As a user who has these rules here.
    pub async fn as_user(&self, name: &str, rules: Json) -> Arc<Cluster> {
        let user = format!("{name}.{}", self.namespace);
        self.make::<Role>(json!({ "metadata": { "name": name }, "rules": rules })).await;
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        });
        self.make::<RoleBinding>(binding).await;
        let mut read = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        for auth in &mut read.auth_infos {
            auth.auth_info.as_mut().unwrap().impersonate = Some(user.clone());
        }
        // Whatever is JSON is YAML too.
        let file = self.kubeconfig.with_file_name(format!("{user}.kubeconfig"));
        std::fs::write(&file, serde_json::to_string(&read).unwrap()).unwrap();
        Arc::new(Cluster::new(Settings { name: "test".into(), kubeconfig: Some(file), context: None }))
    }
}
