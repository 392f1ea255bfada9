//! What a service account may: which bindings give it rights, by which names of it, and by which rules.
//!
//! Reads only. Keeps true: a binding counts for every name under which RBAC knows the account (as itself, as a user, by its groups); what
//! cannot be read is said, and is never taken for nothing.

use crate::account::AccountRef;
use crate::call::{CallError, Calls};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::ListParams;
use quell_actions::text::plain;
use serde::{Deserialize, Serialize};

/// Under which name a subject means an account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum By {
    /// As the account that it is, or as the user that it is known as.
    Itself,
    /// By a group that it is in with others.
    Group(String),
}

/// What gives rights: a RoleBinding or a ClusterRoleBinding.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Binding {
    /// None: of the whole cluster.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) role: RoleRef,
    pub(crate) subjects: Vec<Subject>,
}

impl Binding {
    pub(crate) fn of_namespace(found: RoleBinding) -> Self {
        let meta = found.metadata;
        Self {
            namespace: meta.namespace,
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            role: found.role_ref,
            subjects: found.subjects.unwrap_or_default(),
        }
    }

    pub(crate) fn of_cluster(found: ClusterRoleBinding) -> Self {
        let meta = found.metadata;
        Self {
            namespace: None,
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            role: found.role_ref,
            subjects: found.subjects.unwrap_or_default(),
        }
    }

    /// Every one there is.
    ///
    /// # Errors
    /// When they cannot be read: without them nobody knows what an account may.
    pub(crate) async fn all(calls: &Calls<'_>) -> Result<Vec<Self>, CallError> {
        let every = ListParams::default();
        let cluster = calls.list::<ClusterRoleBinding>(None, &every).await?.into_iter().map(Self::of_cluster);
        let namespaces = calls.list::<RoleBinding>(None, &every).await?.into_iter().map(Self::of_namespace);
        Ok(cluster.chain(namespaces).collect())
    }

    /// `rolebinding shop/web-edit`, fit for a line: the names of bindings may have anything in them.
    pub(crate) fn label(&self) -> String {
        label(self.namespace.as_deref(), &self.name)
    }

    /// `clusterrole edit`.
    pub(crate) fn role_label(&self) -> String {
        format!("{} {}", self.role.kind.to_ascii_lowercase(), plain(&self.role.name))
    }

    /// Under which name this subject of it means the account; none: it means others.
    pub(crate) fn means(&self, subject: &Subject, account: &AccountRef) -> Option<By> {
        match subject.kind.as_str() {
            "ServiceAccount" => {
                // In a RoleBinding an account without a namespace is one of its own.
                let given = subject.namespace.as_deref().filter(|given| !given.is_empty());
                let of = given.or(self.namespace.as_deref());
                (of == Some(&account.namespace) && subject.name == account.name).then_some(By::Itself)
            }
            "User" => (subject.name == account.user()).then_some(By::Itself),
            "Group" => account.groups().contains(&subject.name).then(|| By::Group(subject.name.clone())),
            _ => None,
        }
    }

    /// Under which names it gives the account rights.
    pub(crate) fn gives(&self, account: &AccountRef) -> Vec<By> {
        let mut by: Vec<By> = self.subjects.iter().filter_map(|subject| self.means(subject, account)).collect();
        by.sort();
        by.dedup();
        by
    }

    /// The rules that it gives; none: its role is not there, so it gives nothing.
    ///
    /// # Errors
    /// When the role cannot be read.
    pub(crate) async fn rules(&self, calls: &Calls<'_>) -> Result<Option<Vec<PolicyRule>>, CallError> {
        if self.role.kind == "Role" {
            let found = calls.get::<Role>(self.namespace.as_deref(), &self.role.name).await?;
            return Ok(found.map(|role| role.rules.unwrap_or_default()));
        }
        let found = calls.get::<ClusterRole>(None, &self.role.name).await?;
        Ok(found.map(|role| role.rules.unwrap_or_default()))
    }
}

/// `rolebinding shop/web-edit`, `clusterrolebinding web`.
pub(crate) fn label(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("rolebinding {namespace}/{}", plain(name)),
        None => format!("clusterrolebinding {}", plain(name)),
    }
}

/// A rule for people: `get, list pods, deployments.apps`.
pub(crate) fn told(rule: &PolicyRule) -> String {
    let all = |of: &Option<Vec<String>>| of.clone().unwrap_or_default();
    let verbs = rule.verbs.join(", ");
    let urls = all(&rule.non_resource_urls);
    let groups = all(&rule.api_groups);
    let resources = all(&rule.resources);
    let of = resources.iter().flat_map(|resource| {
        groups.iter().map(move |group| match group.as_str() {
            "" => resource.clone(),
            group => format!("{resource}.{group}"),
        })
    });
    let what: Vec<String> = of.chain(urls).collect();
    let names = all(&rule.resource_names);
    let names = if names.is_empty() { String::new() } else { format!(" called {}", names.join(", ")) };
    plain(&format!("{verbs} {}{names}", what.join(", ")))
}

/// One thing that somebody may do, as an API server is asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(crate) struct Right {
    pub(crate) verb: String,
    /// A path; else a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) group: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) resource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// None: in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
}

impl Right {
    /// What a rule allows, in this namespace or in all: each thing, or `most` of them from all over. Whoever writes a role can make
    /// more of it than fits into memory.
    pub(crate) fn of_rule(rule: &PolicyRule, namespace: Option<&str>, most: usize) -> Vec<Self> {
        let of = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let (resources, groups) = (of(&rule.resources), of(&rule.api_groups));
        let names: Vec<Option<String>> = match of(&rule.resource_names) {
            names if names.is_empty() => vec![None],
            names => names.into_iter().map(Some).collect(),
        };
        let sizes = [rule.verbs.len(), resources.len(), groups.len(), names.len()];
        let count = sizes.iter().fold(1_usize, |count, size| count.saturating_mul(*size));
        let mut all = Vec::new();
        for at in 0..count.min(most) {
            // The names go round first, the verbs last.
            let mut rest = if count <= most { at } else { (count / most).saturating_mul(at) };
            let mut next = |size: usize| {
                let one = rest % size;
                rest /= size;
                one
            };
            let (name, group, resource) = (next(names.len()), next(groups.len()), next(resources.len()));
            all.push(Self {
                verb: rule.verbs[next(rule.verbs.len())].clone(),
                path: None,
                group: groups[group].clone(),
                resource: resources[resource].clone(),
                name: names[name].clone(),
                namespace: namespace.map(str::to_owned),
            });
        }
        // Paths are the cluster's: a RoleBinding gives none.
        let paths = of(&rule.non_resource_urls);
        let paths = paths.iter().filter(|_| namespace.is_none());
        let paths = paths.flat_map(|path| rule.verbs.iter().map(move |verb| (path, verb)));
        all.extend(paths.take(most).map(|(path, verb)| Self {
            verb: verb.clone(),
            path: Some(path.clone()),
            group: String::new(),
            resource: String::new(),
            name: None,
            namespace: None,
        }));
        all
    }

    /// `list secrets in shop`.
    pub(crate) fn label(&self) -> String {
        let what = self.path.clone().unwrap_or_else(|| match self.group.as_str() {
            "" => self.resource.clone(),
            group => format!("{}.{group}", self.resource),
        });
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let place = self.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        plain(&format!("{} {what}{name}{place}", self.verb))
    }

    /// Whether whoever has this name and is in these groups may, and by what in the server's words.
    ///
    /// # Errors
    /// When it cannot be asked, or the server cannot say.
    pub(crate) async fn is_given(
        &self,
        calls: &Calls<'_>,
        user: Option<String>,
        groups: Vec<String>,
    ) -> Result<Option<String>, CallError> {
        let (resource, sub) = match self.resource.split_once('/') {
            Some((whole, sub)) => (whole, Some(sub.to_owned())),
            None => (self.resource.as_str(), None),
        };
        let (resource_attributes, non_resource_attributes) = match &self.path {
            Some(path) => {
                let path = Some(path.clone());
                (None, Some(NonResourceAttributes { path, verb: Some(self.verb.clone()) }))
            }
            None => (
                Some(ResourceAttributes {
                    group: Some(self.group.clone()),
                    resource: Some(resource.to_owned()),
                    subresource: sub,
                    verb: Some(self.verb.clone()),
                    name: self.name.clone(),
                    namespace: self.namespace.clone(),
                    ..ResourceAttributes::default()
                }),
                None,
            ),
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user,
                groups: Some(groups),
                resource_attributes,
                non_resource_attributes,
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let status = calls.review(&review).await?.status.unwrap_or_default();
        Ok(status.allowed.then(|| plain(&status.reason.unwrap_or_default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn binding(namespace: Option<&str>, subjects: serde_json::Value) -> Binding {
        Binding {
            namespace: namespace.map(str::to_owned),
            name: "b".into(),
            uid: "u".into(),
            role: RoleRef::default(),
            subjects: serde_json::from_value(subjects).unwrap(),
        }
    }

    #[test]
    fn a_subject_means_an_account_by_every_name_that_rbac_knows() {
        let account = AccountRef { namespace: "shop".into(), name: "web".into(), uid: None };
        let (shop, cluster) = (Some("shop"), None);
        for (namespace, subject, by) in [
            (shop, json!({ "kind": "ServiceAccount", "name": "web", "namespace": "shop" }), Some(By::Itself)),
            (shop, json!({ "kind": "ServiceAccount", "name": "web" }), Some(By::Itself)),
            (Some("other"), json!({ "kind": "ServiceAccount", "name": "web" }), None),
            (cluster, json!({ "kind": "ServiceAccount", "name": "web" }), None),
            (cluster, json!({ "kind": "ServiceAccount", "name": "web", "namespace": "other" }), None),
            (cluster, json!({ "kind": "User", "name": "system:serviceaccount:shop:web" }), Some(By::Itself)),
            (cluster, json!({ "kind": "User", "name": "web" }), None),
            (cluster, json!({ "kind": "Group", "name": "system:masters" }), None),
            (
                cluster,
                json!({ "kind": "Group", "name": "system:serviceaccounts:shop" }),
                Some(By::Group("system:serviceaccounts:shop".into())),
            ),
        ] {
            let binding = binding(namespace, json!([subject]));
            assert_eq!(binding.gives(&account).first(), by.as_ref(), "{subject} in {namespace:?}");
        }
    }

    #[test]
    fn a_rule_is_asked_after_in_all_that_it_allows() {
        let rule = |rule| serde_json::from_value::<PolicyRule>(rule).unwrap();
        let of = rule(
            json!({ "verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods/log"], "resourceNames": ["a"] }),
        );
        let labels: Vec<String> = Right::of_rule(&of, Some("shop"), 9).iter().map(Right::label).collect();
        let wanted = ["get pods/log a in shop", "get pods/log.apps a in shop"];
        assert_eq!((labels.len(), &labels[..2]), (4, &wanted.map(str::to_owned)[..]));
        let paths = rule(json!({ "verbs": ["get"], "nonResourceURLs": ["/metrics"] }));
        assert_eq!(Right::of_rule(&paths, Some("shop"), 9), [], "a RoleBinding gives no path");
        assert_eq!(Right::of_rule(&paths, None, 9)[0].label(), "get /metrics");
        assert_eq!(told(&of), "get, list pods/log, pods/log.apps called a");
        assert_eq!(told(&paths), "get /metrics");
    }

    #[test]
    fn a_rule_that_allows_more_than_can_be_held_is_asked_after_from_all_over() {
        let many = |of: &str| (0..5_000).map(|number| format!("{of}{number}")).collect::<Vec<_>>();
        let rule =
            json!({ "verbs": many("v"), "apiGroups": many("g"), "resources": many("r"), "resourceNames": many("n") });
        let all = Right::of_rule(&serde_json::from_value(rule).unwrap(), None, 4);
        let verbs: Vec<&str> = all.iter().map(|right| right.verb.as_str()).collect();
        assert_eq!(verbs, ["v0", "v1250", "v2500", "v3750"]);
    }

    #[test]
    fn what_a_binding_is_called_breaks_no_line() {
        assert_eq!(label(None, "a\nb"), "clusterrolebinding a\\nb");
        assert_eq!(label(Some("shop"), "a"), "rolebinding shop/a");
    }
}
