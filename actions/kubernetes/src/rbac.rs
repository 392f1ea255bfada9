//! Permissions as RBAC has them: what is needed as a manifest, and what a manifest or the cluster grants.
//!
//! Owns both shapes. Asks nobody. Keeps true: what is written grants what was asked for and nothing else: no wildcard, each verb on the very
//! resources that need it.

use quell_model::Json;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Before what an action's spec lists of Kubernetes: `kubernetes:patch pods`.
pub(crate) const PREFIX: &str = "kubernetes:";
/// Stands for anything, in a grant.
const ANY: &str = "*";
/// The verb that lets bindings of a role be written without holding what the role gives. It may be had of some roles alone: who is to write on
/// a binding asks for its role by name.
const BIND: &str = "bind";

/// A verb on a resource: `patch pods`, `create pods/eviction`, `get deployments.apps`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Permission {
    /// `""` is the core.
    pub group: String,
    /// With its subresource: `pods/eviction`.
    pub resource: String,
    /// `get`, `patch` …
    pub verb: String,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plural, sub) =
            self.resource.split_once('/').map_or((&*self.resource, None), |(plural, sub)| (plural, Some(sub)));
        write!(f, "{} {plural}", self.verb)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        sub.map_or(Ok(()), |sub| write!(f, "/{sub}"))
    }
}

impl Permission {
    /// As an action's spec lists it: `kubernetes:create pods/eviction`. None: it is no permission of a cluster.
    #[must_use]
    pub fn of_spec(listed: &str) -> Option<Self> {
        let (verb, rest) = listed.strip_prefix(PREFIX)?.split_once(' ')?;
        let (whole, sub) = rest.split_once('/').map_or((rest, None), |(whole, sub)| (whole, Some(sub)));
        let (plural, group) = whole.split_once('.').unwrap_or((whole, ""));
        let resource = sub.map_or_else(|| plural.to_owned(), |sub| format!("{plural}/{sub}"));
        Some(Self { group: group.to_owned(), resource, verb: verb.to_owned() })
    }

    /// Whether it may be had of some objects alone, by their names.
    #[must_use]
    pub fn is_by_name(&self) -> bool {
        self.verb == BIND
    }

    /// Whether it is of something that lives in a namespace.
    #[must_use]
    pub fn is_namespaced(&self) -> bool {
        let plural = self.resource.split('/').next().unwrap_or_default();
        !CLUSTER_WIDE.contains(&(plural, self.group.as_str()))
    }
}

/// What lives in no namespace, of all that actions ask for or might.
const CLUSTER_WIDE: &[(&str, &str)] = &[
    ("nodes", ""),
    ("namespaces", ""),
    ("persistentvolumes", ""),
    ("clusterroles", "rbac.authorization.k8s.io"),
    ("clusterrolebindings", "rbac.authorization.k8s.io"),
    ("subjectaccessreviews", "authorization.k8s.io"),
    ("selfsubjectaccessreviews", "authorization.k8s.io"),
    ("selfsubjectrulesreviews", "authorization.k8s.io"),
    ("selfsubjectreviews", "authentication.k8s.io"),
    ("tokenreviews", "authentication.k8s.io"),
    ("storageclasses", "storage.k8s.io"),
    ("priorityclasses", "scheduling.k8s.io"),
];

/// What is to be granted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// In every namespace, and of what lives in none.
    pub everywhere: BTreeSet<Permission>,
    /// In these namespaces alone; each has all of it.
    pub within: BTreeSet<Permission>,
    /// Which they are.
    pub namespaces: BTreeSet<String>,
    /// Of which roles what [is had by name](Permission::is_by_name) is to be granted; empty: of all.
    pub roles: BTreeSet<String>,
}

impl Wanted {
    /// Each, with the namespace in which it is needed; none: everywhere.
    pub fn each(&self) -> impl Iterator<Item = (&Permission, Option<&str>)> {
        let within =
            self.namespaces.iter().flat_map(move |name| self.within.iter().map(move |one| (one, Some(name.as_str()))));
        self.everywhere.iter().map(|one| (one, None)).chain(within)
    }

    /// A ClusterRole, and a Role a namespace: what `kubectl apply` takes.
    #[must_use]
    pub fn manifests(&self, name: &str) -> Vec<Json> {
        let labels = json!({ "app.kubernetes.io/name": "quell" });
        let cluster = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name, "labels": labels }, "rules": rules(&self.everywhere, &self.roles),
        });
        let roles = self.namespaces.iter().map(|namespace| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": { "name": name, "namespace": namespace, "labels": labels }, "rules": rules(&self.within, &self.roles),
            })
        });
        let cluster = (!self.everywhere.is_empty()).then_some(cluster);
        cluster.into_iter().chain(roles.filter(|_| !self.within.is_empty())).collect()
    }
}

/// One rule for the resources of a group that have the same verbs; one of its own for those of some names alone.
fn rules(of: &BTreeSet<Permission>, names: &BTreeSet<String>) -> Vec<Json> {
    let mut verbs: BTreeMap<(bool, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    for one in of {
        let Permission { group, resource, verb } = one;
        let by_name = one.is_by_name() && !names.is_empty();
        verbs.entry((by_name, group.as_str(), resource.as_str())).or_default().insert(verb);
    }
    let mut rows: BTreeMap<(bool, &str, BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
    for ((by_name, group, resource), verbs) in verbs {
        rows.entry((by_name, group, verbs)).or_default().push(resource);
    }
    let row = |((by_name, group, verbs), resources): ((bool, &str, BTreeSet<&str>), Vec<&str>)| {
        let mut row = json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
        if by_name {
            row["resourceNames"] = json!(names);
        }
        row
    };
    rows.into_iter().map(row).collect()
}

/// What a rule grants.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Grant {
    /// What; each part may be `*`.
    pub of: Permission,
    /// Where; none: everywhere.
    pub namespace: Option<String>,
    /// Of those that are called so alone; empty: of all.
    pub names: BTreeSet<String>,
}

impl Grant {
    /// Whether it gives this, there; of what is had by name, to some of those names.
    #[must_use]
    pub fn covers(&self, wanted: &Permission, namespace: Option<&str>) -> bool {
        let fits = |own: &str, wanted: &str| own == ANY || own == wanted;
        let sub =
            |own: &str, wanted: &str| own.strip_prefix("*/").is_some_and(|sub| wanted.ends_with(&format!("/{sub}")));
        let there = self.namespace.as_deref().is_none_or(|own| namespace == Some(own));
        there
            && (self.names.is_empty() || wanted.is_by_name())
            && fits(&self.of.verb, &wanted.verb)
            && fits(&self.of.group, &wanted.group)
            && (fits(&self.of.resource, &wanted.resource) || sub(&self.of.resource, &wanted.resource))
    }

    /// Whether it gives more than one thing.
    #[must_use]
    pub fn is_broad(&self) -> bool {
        let Permission { group, resource, verb } = &self.of;
        [group, resource, verb].iter().any(|part| part.contains(ANY))
    }
}

/// `patch pods in shop, only web-1`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.of)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        if !self.names.is_empty() {
            write!(f, ", only {}", self.names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// What a manifest grants: the rules of its Roles and ClusterRoles; whatever else is in it grants nothing.
///
/// # Errors
/// A document that is no object, or a rule that has no lists of text where it should.
pub fn granted(documents: &[Json]) -> Result<Vec<Grant>, String> {
    let mut all = Vec::new();
    for document in documents.iter().filter(|document| !document.is_null()) {
        let kind = document
            .get("kind")
            .and_then(Json::as_str)
            .ok_or("a document has no `kind`: it is no object of a cluster")?;
        if kind == "List" {
            all.extend(granted(document["items"].as_array().map(Vec::as_slice).unwrap_or_default())?);
            continue;
        }
        let namespace = match kind {
            "ClusterRole" => None,
            "Role" => Some(document["metadata"]["namespace"].as_str().unwrap_or("default").to_owned()),
            _ => continue,
        };
        for rule in document["rules"].as_array().into_iter().flatten() {
            all.extend(of_rule(rule, namespace.as_deref())?);
        }
    }
    Ok(all)
}

/// What one rule grants, as manifests and SelfSubjectRulesReviews have it. A rule about paths that are no resources grants nothing here.
///
/// # Errors
/// A part of it that is no list of texts.
pub fn of_rule(rule: &Json, namespace: Option<&str>) -> Result<Vec<Grant>, String> {
    let list = |key: &str| -> Result<Vec<&str>, String> {
        let all = rule.get(key).filter(|list| !list.is_null()).map(|list| list.as_array().ok_or(key)).transpose();
        let all = all.map_err(|key| format!("`{key}` of a rule is no list"))?;
        let texts = all
            .into_iter()
            .flatten()
            .map(|one| one.as_str().ok_or_else(|| format!("`{key}` of a rule has {one} in it, which is no text")));
        texts.collect()
    };
    let (groups, resources, verbs, names) =
        (list("apiGroups")?, list("resources")?, list("verbs")?, list("resourceNames")?);
    let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
    let mut all = Vec::new();
    for group in groups {
        for resource in &resources {
            for verb in &verbs {
                let of =
                    Permission { group: group.to_owned(), resource: (*resource).to_owned(), verb: (*verb).to_owned() };
                all.push(Grant { of, namespace: namespace.map(str::to_owned), names: names.clone() });
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listed: &str) -> Permission {
        Permission::of_spec(&format!("kubernetes:{listed}")).unwrap()
    }

    #[test]
    fn a_permission_is_read_as_specs_list_it_and_told_so() {
        for text in [
            "patch pods",
            "create pods/eviction",
            "get deployments.apps",
            "patch deployments.apps/scale",
            "get clusterroles.rbac.authorization.k8s.io",
        ] {
            assert_eq!(of(text).to_string(), text);
        }
        assert_eq!(of("patch deployments.apps/scale").resource, "deployments/scale");
        assert_eq!(Permission::of_spec("CAP_KILL"), None);
        assert!(of("get pods/log").is_namespaced() && of("get roles.rbac.authorization.k8s.io").is_namespaced());
        assert!(!of("get nodes").is_namespaced() && !of("patch nodes/status").is_namespaced());
    }

    #[test]
    fn every_permission_of_the_verbs_can_be_granted() {
        for spec in crate::specs() {
            for listed in spec.permissions.iter().filter(|one| one.starts_with(PREFIX)) {
                let one = Permission::of_spec(listed).unwrap_or_else(|| panic!("{}: {listed}", spec.name));
                assert_eq!(format!("{PREFIX}{one}"), *listed, "{}", spec.name);
                assert!(!one.to_string().contains(ANY), "{}: {listed}", spec.name);
            }
        }
    }

    #[test]
    fn what_is_written_grants_what_was_wanted_and_nothing_else() {
        let everywhere: BTreeSet<_> =
            ["get pods", "list pods", "watch pods", "get nodes", "get replicasets.apps"].map(of).into();
        let within: BTreeSet<_> = ["patch pods", "create pods/eviction", "get pods"].map(of).into();
        let wanted = Wanted {
            everywhere,
            within,
            namespaces: ["pay".to_owned(), "shop".to_owned()].into(),
            ..Wanted::default()
        };
        let manifests = wanted.manifests("quell");
        let kinds: Vec<_> = manifests
            .iter()
            .map(|one| (one["kind"].as_str().unwrap(), one["metadata"]["namespace"].as_str()))
            .collect();
        assert_eq!(kinds, [("ClusterRole", None), ("Role", Some("pay")), ("Role", Some("shop"))]);
        assert_eq!(
            manifests[0]["rules"],
            json!([
                { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] },
                { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] },
                { "apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get"] },
            ])
        );
        let granted = granted(&manifests).unwrap();
        for (one, namespace) in wanted.each() {
            assert!(granted.iter().any(|grant| grant.covers(one, namespace)), "{one} {namespace:?}");
        }
        // And each of them is one that is wanted there.
        for grant in &granted {
            assert!(
                wanted.each().any(|(one, namespace)| *one == grant.of && namespace == grant.namespace.as_deref()),
                "{grant}"
            );
        }
        assert!(Wanted::default().manifests("quell").is_empty());
    }

    #[test]
    fn what_is_had_by_name_is_written_and_read_so() {
        let roles = "clusterroles.rbac.authorization.k8s.io";
        let everywhere: BTreeSet<_> = [format!("get {roles}"), format!("bind {roles}")].map(|one| of(&one)).into();
        let mut wanted = Wanted { everywhere, ..Wanted::default() };
        let rule = |verbs: Json| json!({ "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": verbs });
        assert_eq!(wanted.manifests("quell")[0]["rules"], json!([rule(json!(["bind", "get"]))]));
        wanted.roles = ["view".to_owned(), "edit".to_owned()].into();
        let mut bind = rule(json!(["bind"]));
        bind["resourceNames"] = json!(["edit", "view"]);
        let manifests = wanted.manifests("quell");
        assert_eq!(manifests[0]["rules"], json!([rule(json!(["get"])), bind]), "nothing else is by name");
        let granted = granted(&manifests).unwrap();
        for (one, namespace) in wanted.each() {
            assert!(granted.iter().any(|grant| grant.covers(one, namespace)), "{one}");
        }
        assert!(granted.iter().any(|grant| grant.to_string() == format!("bind {roles}, only edit, view")));
    }

    #[test]
    fn a_grant_covers_what_it_names_where_it_holds() {
        let grant = |rule: Json, namespace: Option<&str>| of_rule(&rule, namespace).unwrap().remove(0);
        let rule = |group: &str, resource: &str, verb: &str| json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] });
        let everything = grant(rule("*", "*", "*"), None);
        assert!(
            everything.covers(&of("patch pods"), None)
                && everything.covers(&of("get nodes"), Some("x"))
                && everything.is_broad()
        );
        let in_shop = grant(rule("", "pods", "*"), Some("shop"));
        assert!(in_shop.covers(&of("patch pods"), Some("shop")));
        assert!(!in_shop.covers(&of("patch pods"), None), "it is needed everywhere");
        assert!(!in_shop.covers(&of("patch pods"), Some("pay")));
        assert!(!in_shop.covers(&of("create pods/eviction"), Some("shop")), "a subresource is one of its own");
        assert!(grant(rule("apps", "*/scale", "patch"), None).covers(&of("patch deployments.apps/scale"), None));
        assert!(
            !grant(rule("", "deployments", "get"), None).covers(&of("get deployments.apps"), None),
            "another group"
        );
        let mut one = rule("", "pods", "get");
        one["resourceNames"] = json!(["web-1"]);
        let one = grant(one, Some("shop"));
        assert!(!one.covers(&of("get pods"), Some("shop")));
        assert_eq!(one.to_string(), "get pods in shop, only web-1");
    }

    #[test]
    fn a_manifest_that_is_none_is_told() {
        assert!(granted(&[json!(5)]).is_err());
        assert!(
            granted(&[json!({ "kind": "Role", "rules": [{ "apiGroups": "", "verbs": [] }] })])
                .unwrap_err()
                .contains("`apiGroups`")
        );
        assert!(
            granted(&[json!({ "kind": "Role", "rules": [{ "apiGroups": [5] }] })]).unwrap_err().contains("no text")
        );
        let list = json!({ "kind": "List", "items": [{ "kind": "Role", "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }] }] });
        assert_eq!(
            granted(&[Json::Null, json!({ "kind": "Pod" }), list]).unwrap()[0].namespace.as_deref(),
            Some("default")
        );
        assert_eq!(
            granted(&[json!({ "kind": "ClusterRole", "rules": [{ "nonResourceURLs": ["/x"], "verbs": ["get"] }] })]),
            Ok(Vec::new())
        );
    }
}
