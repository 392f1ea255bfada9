//! `kubernetes.revoke_service_account`: takes a service account out of every binding that names it, and deletes its token Secrets.
//!
//! Keeps true: a binding stays, with its uid, labels and the others' subjects, also when nobody is left in it (its role cannot be changed
//! later, so one that is made anew is another); undo puts each subject back where it was, and nothing over what somebody else has
//! written since, and nothing at all for an account that was made anew under the name: that one never had it; what a token Secret holds never leaves the API server, so undo makes an empty one of its name, which Kubernetes fills anew.

#[cfg(feature = "client")]
mod bindings;
#[cfg(feature = "client")]
mod tokens;

use crate::account::AccountRef;
#[cfg(feature = "client")]
use crate::{
    Cluster,
    account::IDENTITY,
    call::{CallError, Calls, Needs},
    rights::{Binding, By, Right},
    verbs::order::{before, input, order, to_json},
    verbs::written::Named,
};
#[cfg(feature = "client")]
use bindings::Kept;
#[cfg(feature = "client")]
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
#[cfg(feature = "client")]
use kube::{ResourceExt, api::ListParams};
#[cfg(feature = "client")]
use quell_actions::text::plain;
#[cfg(feature = "client")]
use quell_model::{Action, ActionContext, ActionError, Admitted, Json, Name, Plan, Target, TargetFacts, Truth, Want};
use quell_model::{ActionSpec, Guarantee, Lane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
#[cfg(feature = "client")]
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
#[cfg(feature = "client")]
use tokens::Token;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.revoke_service_account",
    summary: "takes a service account's rights away, and deletes its token Secrets",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Cloud,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["account"],
    permissions: &[
        "kubernetes:get serviceaccounts",
        "kubernetes:list pods",
        "kubernetes:list secrets",
        "kubernetes:delete secrets",
        "kubernetes:create secrets",
        "kubernetes:list rolebindings.rbac.authorization.k8s.io",
        "kubernetes:list clusterrolebindings.rbac.authorization.k8s.io",
        "kubernetes:get rolebindings.rbac.authorization.k8s.io",
        "kubernetes:get clusterrolebindings.rbac.authorization.k8s.io",
        "kubernetes:patch rolebindings.rbac.authorization.k8s.io",
        "kubernetes:patch clusterrolebindings.rbac.authorization.k8s.io",
        "kubernetes:get roles.rbac.authorization.k8s.io",
        "kubernetes:get clusterroles.rbac.authorization.k8s.io",
        // Whoever writes on a binding has to hold what its role gives, or may bind it: also to take somebody out.
        "kubernetes:bind roles.rbac.authorization.k8s.io",
        "kubernetes:bind clusterroles.rbac.authorization.k8s.io",
        "kubernetes:create subjectaccessreviews.authorization.k8s.io",
    ],
    predict: |input| json!({ "account": input.get("account").cloned().unwrap_or_default(), "bindings": [], "secrets": [], "pods": [] }),
};

/// Whose rights.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The service account.
    pub account: AccountRef,
}

/// What it has no more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// `namespace/name`.
    pub account: String,
    /// The bindings that named it: `rolebinding shop/web-edit`, `clusterrolebinding web`.
    pub bindings: Vec<String>,
    /// Its token Secrets.
    pub secrets: Vec<String>,
    /// The pods that run as it: the tokens in them are known until they end, and give no more than its groups do.
    pub pods: Vec<String>,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    account: Named,
    bindings: Vec<String>,
    secrets: Vec<String>,
}

/// What stood before.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    bindings: Vec<Kept>,
    secrets: Vec<Token>,
    pods: Vec<String>,
    /// What the account may because of these bindings, and whether one of its groups may so too.
    rights: Vec<(Right, bool)>,
}

/// So many rights are asked after; all bindings are read in any case.
#[cfg(feature = "client")]
const RIGHTS: usize = 64;
/// So many pods are named.
#[cfg(feature = "client")]
const PODS: usize = 50;
/// An API server goes by what it has been told of bindings: so long it may take until it has heard.
#[cfg(feature = "client")]
const SETTLES: Duration = Duration::from_secs(5);
/// Between two questions.
#[cfg(feature = "client")]
const PAUSE: Duration = Duration::from_millis(100);

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct RevokeServiceAccount(pub(crate) Arc<Cluster>);

#[cfg(feature = "client")]
impl RevokeServiceAccount {
    async fn account(&self, calls: &Calls<'_>, given: &AccountRef) -> Result<Named, ActionError> {
        let found = calls.get::<ServiceAccount>(Some(&given.namespace), &given.name).await?;
        let uid = found.and_then(|found| found.uid()).ok_or_else(|| ActionError::GiveUp {
            why: format!("service account `{given}` is gone, and its tokens with it"),
            hint: Some("bindings that name it give their rights to whoever makes it anew".to_owned()),
        })?;
        if let Some(wanted) = given.uid.as_ref().filter(|wanted| **wanted != uid) {
            let why =
                format!("service account `{given}` is another one by now: its uid is {uid}, and {wanted} was meant");
            return Err(ActionError::give_up(why));
        }
        Ok(Named { namespace: Some(given.namespace.clone()), name: given.name.clone(), uid })
    }

    /// What is touched: the account as an identity and as an object, and each binding and Secret.
    fn targets(&self, given: &AccountRef, account: &Named, is_own: bool, before: &Before) -> Vec<Target> {
        let cluster = self.0.name();
        let object = |resource: &str, label: String, of: &Named, needed: Option<String>| Target {
            node: cluster.clone(),
            kind: Name::from(resource.split('.').next().unwrap_or_default().trim_end_matches('s')),
            id: of.uid.clone(),
            label,
            named: false,
            facts: TargetFacts::Object {
                cluster: cluster.clone(),
                resource: resource.into(),
                namespace: of.namespace.as_deref().map(Name::from),
                name: of.name.clone(),
                uid: of.uid.clone(),
                owner: None,
                replicas: None,
                needed,
            },
        };
        let identity = Target {
            node: cluster.clone(),
            kind: "service_account".into(),
            id: account.uid.clone(),
            label: format!("service account {given}"),
            named: true,
            facts: TargetFacts::Identity {
                provider: "kubernetes".into(),
                identity: IDENTITY.into(),
                id: given.to_string(),
                account: Some(cluster.to_string()),
            },
        };
        let needed = is_own.then(|| "quell itself works as this account".to_owned());
        let label = format!("service account {given}");
        let mut all = vec![identity, object("serviceaccounts", label, account, needed)];
        all.extend(before.bindings.iter().map(|kept| object(kept.resource(), kept.label(), &kept.binding, None)));
        all.extend(before.secrets.iter().map(|token| {
            let named = token.named(&given.namespace);
            object("secrets", format!("secret {}", named.place()), &named, None)
        }));
        all
    }

    /// What keeps it from working, as far as the API server says.
    async fn would_fail(
        &self,
        calls: &Calls<'_>,
        given: &AccountRef,
        before: &Before,
        roles: &[Binding],
    ) -> Vec<String> {
        let mut needs = vec![Needs::of("create", "subjectaccessreviews.authorization.k8s.io", None, None)];
        for kept in &before.bindings {
            let namespace = kept.binding.namespace.as_deref();
            needs.push(Needs::of("patch", kept.resource(), namespace, Some(&kept.binding.name)));
        }
        for binding in roles {
            let kind = if binding.role.kind == "Role" { "roles" } else { "clusterroles" };
            let of = format!("{kind}.rbac.authorization.k8s.io");
            needs.push(Needs::of("bind", &of, binding.namespace.as_deref(), Some(&binding.role.name)));
        }
        for token in &before.secrets {
            needs.push(Needs::of("delete", "secrets", Some(&given.namespace), Some(&token.name)));
        }
        if !before.secrets.is_empty() {
            needs.push(Needs::of("create", "secrets", Some(&given.namespace), None));
        }
        calls.lacks(&needs).await
    }
}

/// What these bindings give, each thing once, as far as it is asked after, of each binding something; and what nobody can say.
#[cfg(feature = "client")]
async fn rights(calls: &Calls<'_>, of: &[Binding], open: &mut Vec<String>) -> Result<Vec<Right>, ActionError> {
    let share = (RIGHTS / of.len().max(1)).max(1);
    let mut all = std::collections::BTreeSet::new();
    for binding in of {
        match binding.rules(calls).await {
            Ok(rules) => {
                let rules = rules.unwrap_or_default();
                let each = (share / rules.len().max(1)).max(1);
                let place = binding.namespace.as_deref();
                all.extend(rules.iter().flat_map(|rule| Right::of_rule(rule, place, each)).take(share));
            }
            Err(CallError::Forbidden { why, .. }) => {
                open.push(format!("what {} gives cannot be read: {why}", binding.role_label()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all.into_iter().take(RIGHTS).collect())
}

/// The same in a sentence, of so many.
#[cfg(feature = "client")]
fn listed(all: &[String]) -> String {
    let shown: Vec<&str> = all.iter().take(10).map(String::as_str).collect();
    let more = all.len() - shown.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

/// What stays open when all of it is done.
#[cfg(feature = "client")]
fn still_open(given: &AccountRef, pods: &[String], more: usize, all: &[Binding]) -> Vec<String> {
    let mut open = Vec::new();
    if !pods.is_empty() {
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        open.push(format!("pods that run as it, whose tokens are known until they end: {}{more}", pods.join(", ")));
    }
    open.push(
        "a token that was asked for without a pod is known until it expires: only deleting the account ends it"
            .to_owned(),
    );
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for binding in all {
        for by in binding.gives(given) {
            if let By::Group(group) = by {
                groups.entry(group).or_default().push(format!("{} ({})", binding.label(), binding.role_label()));
            }
        }
    }
    open.extend(groups.into_iter().map(|(group, by)| {
        format!("everybody in `{group}`, and so this account, keeps what this gives: {}", listed(&by))
    }));
    open
}

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for RevokeServiceAccount {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { account: given } = input(json)?;
        let calls = self.0.calls(&SPEC);
        let account = self.account(&calls, &given).await?;
        let is_own = self.0.who().await? == given.user();
        let all = Binding::all(&calls).await?;
        let ours: Vec<Binding> = all.iter().filter(|one| one.gives(&given).contains(&By::Itself)).cloned().collect();
        let secrets = tokens::of(&calls, &given).await?;
        let as_it = ListParams::default().fields(&format!("spec.serviceAccountName={}", given.name));
        let pods = calls.metas::<Pod>(Some(&given.namespace), &as_it).await?;
        let more = pods.len().saturating_sub(PODS);
        let pods: Vec<String> = pods.into_iter().filter_map(|pod| pod.name).take(PODS).collect();
        let mut open = still_open(&given, &pods, more, &all);
        let rights = rights(&calls, &ours, &mut open).await?;
        let mut asked = Vec::new();
        for right in rights {
            let by_group = right.is_given(&calls, None, given.groups().to_vec()).await;
            // Who may not ask now may not later: what the bindings say is read all the same.
            let by_group = match by_group {
                Ok(by) => by.is_some(),
                Err(CallError::Forbidden { .. }) => false,
                Err(error) => return Err(error.into()),
            };
            asked.push((right, by_group));
        }
        let by_group: Vec<String> = asked.iter().filter(|(_, by)| *by).map(|(right, _)| right.label()).collect();
        if !by_group.is_empty() {
            open.push(format!("what its groups may do too: {}", listed(&by_group)));
        }
        let bindings: Vec<Kept> = ours.iter().map(|binding| Kept::of(binding, &given)).collect();
        let before = Before { bindings, secrets, pods, rights: asked };
        let would_fail = self.would_fail(&calls, &given, &before, &ours).await;
        let order = Order {
            call: SPEC.name.to_owned(),
            account: account.clone(),
            bindings: before.bindings.iter().map(Kept::label).collect(),
            secrets: before.secrets.iter().map(|token| token.name.clone()).collect(),
        };
        Ok(Plan {
            targets: self.targets(&given, &account, is_own, &before),
            calls: vec![to_json(&order)],
            already: before.bindings.is_empty() && before.secrets.is_empty(),
            predicted: to_json(&output(&order, &before)),
            before: to_json(&before),
            still_open: open,
            would_fail,
        })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        let before: Before = before(go.plan())?;
        let calls = self.0.calls(&SPEC);
        let given = reference(&order);
        for kept in &before.bindings {
            kept.take_out(&calls, &given).await?;
        }
        for token in &before.secrets {
            token.delete(&calls, &given.namespace).await?;
        }
        Ok(to_json(&output(&order, &before)))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let order: Order = order(plan)?;
        let before: Before = before(plan)?;
        let calls = self.0.calls(&SPEC);
        let given = reference(&order);
        if want == Want::Undone {
            return stands_again(&calls, &given, &before).await;
        }
        let all = Binding::all(&calls).await?;
        if let Some(binding) = all.iter().find(|one| one.gives(&given).contains(&By::Itself)) {
            return Ok(Truth::HoldsNot(format!("{} names it", binding.label())));
        }
        if let Some(token) = tokens::of(&calls, &given).await?.first() {
            return Ok(Truth::HoldsNot(format!("its token Secret `{}` is there", token.name)));
        }
        // Not the bindings' word alone: what is in force is asked.
        let begun = Instant::now();
        for (right, by_group) in &before.rights {
            // What a group may too, the account is asked after without its groups.
            let groups = if *by_group { Vec::new() } else { given.groups().to_vec() };
            while let Some(why) = right.is_given(&calls, Some(given.user()), groups.clone()).await? {
                if begun.elapsed() > SETTLES {
                    let may = right.label();
                    return Ok(Truth::HoldsNot(format!("it may still {may}: {}", plain(&why))));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(Truth::Holds)
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        let before: Before = before(go.plan())?;
        let calls = self.0.calls(&SPEC);
        let given = reference(&order);
        let mut still = Vec::new();
        let now = calls.get::<ServiceAccount>(Some(&given.namespace), &given.name).await?;
        if let Some(why) = another(now.as_ref(), &given) {
            let mut output = to_json(&output(&order, &before));
            output["still"] = why.into();
            return Ok(output);
        }
        let is_there = now.is_some();
        for token in &before.secrets {
            if is_there {
                still.extend(token.make_anew(&calls, &given).await?);
            } else {
                still.push(format!("secret `{}` was not made anew: its account is gone", token.name));
            }
        }
        for kept in &before.bindings {
            still.extend(kept.put_back(&calls).await?);
        }
        let mut output = to_json(&output(&order, &before));
        if !still.is_empty() {
            output["still"] = still.join("; ").into();
        }
        Ok(output)
    }
}

#[cfg(feature = "client")]
fn reference(order: &Order) -> AccountRef {
    let Named { namespace, name, uid } = order.account.clone();
    AccountRef { namespace: namespace.unwrap_or_default(), name, uid: Some(uid) }
}

#[cfg(feature = "client")]
fn output(order: &Order, before: &Before) -> Output {
    Output {
        account: reference(order).to_string(),
        bindings: order.bindings.clone(),
        secrets: order.secrets.clone(),
        pods: before.pods.clone(),
    }
}

/// That the name is another account's by now, if it is.
#[cfg(feature = "client")]
fn another(now: Option<&ServiceAccount>, meant: &AccountRef) -> Option<String> {
    let (uid, wanted) = (now?.uid()?, meant.uid.as_ref()?);
    (uid != *wanted).then(|| {
        format!(
            "service account `{meant}` was made anew since (its uid is {uid}, and was {wanted}): the bindings and token Secrets of the \
             former are not given to this one"
        )
    })
}

/// Whether nothing of it is left: each binding that still stands names the account again, and each Secret is there.
#[cfg(feature = "client")]
async fn stands_again(calls: &Calls<'_>, given: &AccountRef, before: &Before) -> Result<Truth, ActionError> {
    let now = calls.get::<ServiceAccount>(Some(&given.namespace), &given.name).await?;
    if let Some(why) = another(now.as_ref(), given) {
        return Ok(Truth::Unproved(why));
    }
    for kept in &before.bindings {
        if kept.lacks(calls).await? {
            return Ok(Truth::HoldsNot(format!("{} does not name it", kept.label())));
        }
    }
    for token in before.secrets.iter().filter(|_| now.is_some()) {
        if !token.is_taken(calls, &given.namespace).await? {
            return Ok(Truth::HoldsNot(format!("its token Secret `{}` is not there", token.name)));
        }
    }
    Ok(Truth::Holds)
}

#[cfg(test)]
#[cfg(feature = "client")]
mod tests {
    use super::*;

    #[test]
    fn what_stays_open_is_said() {
        let given = AccountRef { namespace: "shop".into(), name: "web".into(), uid: None };
        let subjects = json!([{ "kind": "Group", "name": "system:authenticated" }]);
        let role = json!({ "apiGroup": "", "kind": "ClusterRole", "name": "system:discovery" });
        let all = [Binding {
            namespace: None,
            name: "all".into(),
            uid: "u".into(),
            role: serde_json::from_value(role).unwrap(),
            subjects: serde_json::from_value(subjects).unwrap(),
        }];
        let open = still_open(&given, &["a".to_owned(), "b".to_owned()], 3, &all);
        assert_eq!(open[0], "pods that run as it, whose tokens are known until they end: a, b and 3 more");
        assert_eq!(
            open[2],
            "everybody in `system:authenticated`, and so this account, keeps what this gives: \
             clusterrolebinding all (clusterrole system:discovery)"
        );
    }
}
