//! `kubernetes.capture_pod`: puts what the cluster knows of a pod into the vault, before it is gone: what was wanted of it, how it stands, what its
//! containers said, what happened to it, who owns it, and what its service account may.
//!
//! Reads only. Keeps true: every piece is summed, put under its sum and read back; what a manifest or a log holds goes into the vault and
//! nowhere else: outputs bear names, sums and images.

#[cfg(feature = "client")]
mod bag;

use crate::object::PodRef;
#[cfg(feature = "client")]
use crate::{
    Cluster,
    account::{AccountRef, IDENTITY},
    call::{Calls, Needs},
    owner,
    rights::{Binding, By, told},
    verbs::isolate_pod,
    verbs::order::{input, order, to_json},
    verbs::written::Named,
};
#[cfg(feature = "client")]
use bag::Bag;
#[cfg(feature = "client")]
use k8s_openapi::api::core::v1::{Event, Pod, ServiceAccount};
#[cfg(feature = "client")]
use kube::{
    Resource,
    api::{ListParams, LogParams, Request},
};
#[cfg(feature = "client")]
use quell_actions::text::{one_line, plain};
#[cfg(feature = "client")]
use quell_model::{Action, ActionContext, ActionError, Admitted, Json, Plan, Truth, Want};
use quell_model::{ActionSpec, Evidence, Guarantee, Lane};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
#[cfg(feature = "client")]
use serde_json::json;
#[cfg(feature = "client")]
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "kubernetes.capture_pod",
    summary: "keeps what the cluster knows of a pod as evidence",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Capture,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    targets: &["pod"],
    permissions: with_owners![
        "kubernetes:get pods",
        "kubernetes:get pods/log",
        "kubernetes:list events",
        "kubernetes:get serviceaccounts",
        "kubernetes:list rolebindings.rbac.authorization.k8s.io",
        "kubernetes:list clusterrolebindings.rbac.authorization.k8s.io",
        "kubernetes:get roles.rbac.authorization.k8s.io",
        "kubernetes:get clusterroles.rbac.authorization.k8s.io",
    ],
    predict: |_| serde_json::to_value(Output::default()).expect("string keys only"),
};

/// A kubelet begins a new file of a container's log after 10 MiB (containerLogMaxSize), and tells no more than the one.
const MAX_BYTES: u64 = 16 << 20;
/// Of what is asked for at most: it is held in memory once.
#[cfg(feature = "client")]
const MOST_BYTES: u64 = 64 << 20;
/// So many rules are in the output; all are in the vault.
#[cfg(feature = "client")]
const RULES: usize = 50;
/// A rule in the output, in characters.
#[cfg(feature = "client")]
const RULE: usize = 300;
/// So much of an attempt is left to what the API server knows itself.
#[cfg(feature = "client")]
const FOR_THE_REST: Duration = Duration::from_secs(10);
/// Captures that `verify` can still speak for.
#[cfg(feature = "client")]
const REMEMBERED: usize = 1024;

/// What is to be kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The pod.
    pub pod: PodRef,
    /// The most of one piece, in bytes: of the log of one container, for example.
    #[serde(default = "max_bytes")]
    pub max_bytes: u64,
}

fn max_bytes() -> u64 {
    MAX_BYTES
}

/// What a container runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// The container.
    pub container: String,
    /// As its pod names it.
    pub image: String,
    /// What was pulled by that name; null: it is not known.
    pub digest: Option<String>,
}

/// An identity that the pod has.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Credential {
    /// `kubernetes_service_account`.
    pub kind: String,
    /// `namespace/name`.
    pub id: String,
    /// It belongs to the pod: its specification says so, which nobody in the pod can change.
    pub owned: bool,
}

#[cfg(feature = "client")]
impl Credential {
    /// The pod's own account.
    fn own(id: String) -> Self {
        Self { kind: IDENTITY.to_owned(), id, owned: true }
    }
}

/// What was kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The uid of the pod.
    pub uid: String,
    /// Where it was to run; null: nowhere yet.
    pub node: Option<String>,
    /// What its containers run.
    pub images: Vec<Image>,
    /// From what made it to the top: `replicaset/web-7d4b9`, `deployment/web`; also where they let it go because it is cut off.
    pub owners: Vec<String>,
    /// As whom it asks the API server: `namespace/name`.
    pub service_account: Option<String>,
    /// What that one may, with what gives it; the first of them, and all in the vault.
    pub rules: Vec<String>,
    /// The identities that belong to it: never a secret.
    pub credentials: Vec<Credential>,
    /// What lies in the vault.
    pub evidence: Vec<Evidence>,
    /// What could not be kept, and why.
    pub missing: Vec<String>,
}

/// What was decided when it was planned.
#[cfg(feature = "client")]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    pod: Named,
    max_bytes: u64,
    keeps: Vec<String>,
}

/// The verb.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct CapturePod {
    cluster: Arc<Cluster>,
    /// Pods of which the pieces were read back by this engine, the latest last.
    read_back: Mutex<VecDeque<String>>,
}

#[cfg(feature = "client")]
impl CapturePod {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, read_back: Mutex::default() }
    }

    fn remember(&self, uid: &str) {
        let mut known = self.read_back.lock().unwrap_or_else(PoisonError::into_inner);
        known.push_back(uid.to_owned());
        while known.len() > REMEMBERED {
            known.pop_front();
        }
    }
}

#[cfg(feature = "client")]
#[async_trait::async_trait]
impl Action for CapturePod {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let given: Input = input(json)?;
        if !(1..=MOST_BYTES).contains(&given.max_bytes) {
            let why = format!("`max_bytes` is {}: expected from 1 to {MOST_BYTES}", given.max_bytes);
            return Err(ActionError::GiveUp { why, hint: Some(format!("without it, it is {MAX_BYTES}")) });
        }
        let calls = self.cluster.calls(&SPEC);
        let (pod, named) = given.pod.find(&calls).await?;
        let owners = isolate_pod::owners(&calls, &pod).await?;
        let mut keeps: Vec<String> = ["manifest", "status", "events", "owners", "rules"].map(str::to_owned).into();
        keeps.extend(logs(&pod).into_iter().map(|log| log.name()));
        let namespace = named.namespace.as_deref();
        let needs = [
            Needs::of("get", "pods/log", namespace, Some(&named.name)),
            Needs::of("list", "events", namespace, None),
            Needs::of("list", "rolebindings.rbac.authorization.k8s.io", None, None),
            Needs::of("list", "clusterrolebindings.rbac.authorization.k8s.io", None, None),
        ];
        let would_fail = calls.lacks(&needs).await;
        let predicted = Output {
            uid: named.uid.clone(),
            images: images(&pod),
            owners: owners.chain.iter().map(ToString::to_string).collect(),
            service_account: account(&pod, &named).map(|account| account.to_string()),
            ..Output::default()
        };
        let order = Order { call: SPEC.name.to_owned(), pod: named, max_bytes: given.max_bytes, keeps };
        Ok(Plan {
            targets: vec![owner::target(self.cluster.name(), &pod, &owners, false)],
            calls: vec![to_json(&order)],
            predicted: to_json(&predicted),
            still_open: owners.unknown,
            would_fail,
            ..Plan::default()
        })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let Order { pod: named, max_bytes, .. } = order(go.plan())?;
        let calls = self.cluster.calls(&SPEC);
        let mut bag = Bag::new(cx.vault.clone(), usize::try_from(max_bytes).unwrap_or(usize::MAX));
        let raw = calls.raw::<Pod>(named.namespace.as_deref(), &named.name).await?;
        let raw = raw.filter(|raw| raw["metadata"]["uid"] == named.uid.as_str()).ok_or_else(|| {
            ActionError::give_up(format!("pod `{}` is gone, or another has its name by now", named.place()))
        })?;
        let pod =
            Pod::deserialize(&raw).map_err(|error| ActionError::give_up(format!("the pod cannot be read: {error}")))?;
        // First what goes soonest: a log goes with its container.
        let (mut manifest, status) = (raw.clone(), raw["status"].clone());
        if let Some(all) = manifest.as_object_mut() {
            all.shift_remove("status");
        }
        bag.json("manifest", &manifest).await?;
        bag.json("status", &status).await?;
        for log in logs(&pod) {
            // A kubelet that does not answer takes its time for each; the rest is to be kept all the same.
            if cx.stop.is_raised() || cx.deadline.since(cx.clock.now()) < FOR_THE_REST {
                bag.miss(&log.name(), "there was no time left for it");
                continue;
            }
            log.keep(&calls, &named, max_bytes, &mut bag).await?;
        }
        events(&calls, &named, &mut bag).await?;
        let owners = isolate_pod::owners(&calls, &pod).await;
        let owners = bag.or_missing("owners", owners)?.unwrap_or_default();
        for why in &owners.unknown {
            bag.miss("owners", why);
        }
        let chain = owners.chain.iter().map(|one| json!({ "kind": one.kind, "name": one.name, "uid": one.uid }));
        bag.json("owners", &chain.collect::<Json>()).await?;
        let account = account(&pod, &named);
        let rules = match &account {
            Some(account) => rules(&calls, account, &mut bag).await?,
            None => Vec::new(),
        };
        self.remember(&named.uid);
        let service_account = account.map(|account| account.to_string());
        Ok(to_json(&Output {
            uid: named.uid,
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            images: images(&pod),
            owners: owners.chain.iter().map(ToString::to_string).collect(),
            credentials: service_account.clone().map(Credential::own).into_iter().collect(),
            service_account,
            rules,
            evidence: bag.pieces,
            missing: bag.missing,
        }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let known = self.read_back.lock().unwrap_or_else(PoisonError::into_inner);
        let all = plan.targets.iter().all(|target| known.contains(&target.id));
        Ok(if all && want == Want::Acted { Truth::Holds } else { Truth::CannotAsk })
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("evidence is kept: it goes when its time is over"))
    }
}

/// The log of one run of a container.
#[cfg(feature = "client")]
struct Log {
    container: String,
    /// Of the run before the last.
    previous: bool,
}

/// What there is of logs: of every container that has started, and of what it was before it started anew.
#[cfg(feature = "client")]
fn logs(pod: &Pod) -> Vec<Log> {
    let status = pod.status.clone().unwrap_or_default();
    let lists = [status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses];
    let mut all = Vec::new();
    for one in lists.into_iter().flatten().flatten() {
        let has_ended = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
            state.as_ref().is_some_and(|state| state.terminated.is_some())
        };
        if has_ended(&one.last_state) {
            all.push(Log { container: one.name.clone(), previous: true });
        }
        if one.container_id.is_some() || has_ended(&one.state) {
            all.push(Log { container: one.name, previous: false });
        }
    }
    all
}

#[cfg(feature = "client")]
impl Log {
    fn name(&self) -> String {
        format!("log/{}{}", self.container, if self.previous { "/previous" } else { "" })
    }

    async fn keep(&self, calls: &Calls<'_>, pod: &Named, most: u64, bag: &mut Bag) -> Result<(), ActionError> {
        let params = LogParams {
            container: Some(self.container.clone()),
            // One more, by which it is seen whether there was more.
            limit_bytes: i64::try_from(most + 1).ok(),
            previous: self.previous,
            timestamps: true,
            ..LogParams::default()
        };
        let request = Request::new(Pod::url_path(&(), pod.namespace.as_deref())).logs(&pod.name, &params);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let got = calls.bytes::<Pod>("log", request, most).await;
        // It is the kubelet that is asked: whatever it does, the API server may answer the rest.
        match got {
            Ok((bytes, is_cut)) => bag.put(&self.name(), bytes, is_cut).await,
            Err(error) => {
                bag.miss(&self.name(), &error.to_string());
                Ok(())
            }
        }
    }
}

/// What happened to the pod, as the cluster tells it.
#[cfg(feature = "client")]
async fn events(calls: &Calls<'_>, pod: &Named, bag: &mut Bag) -> Result<(), ActionError> {
    let of_it = ListParams::default().fields(&format!("involvedObject.uid={}", pod.uid));
    let found = calls.list::<Event>(pod.namespace.as_deref(), &of_it).await;
    match bag.or_missing("events", found)? {
        Some(found) => bag.json("events", &to_json(&found)).await,
        None => Ok(()),
    }
}

/// As whom the pod asks the API server.
#[cfg(feature = "client")]
fn account(pod: &Pod, named: &Named) -> Option<AccountRef> {
    let name = pod.spec.as_ref()?.service_account_name.clone().filter(|name| !name.is_empty())?;
    Some(AccountRef { namespace: named.namespace.clone()?, name, uid: None })
}

/// What the account may: all of it into the vault, the first of it for people.
#[cfg(feature = "client")]
async fn rules(calls: &Calls<'_>, account: &AccountRef, bag: &mut Bag) -> Result<Vec<String>, ActionError> {
    let raw = calls.raw::<ServiceAccount>(Some(&account.namespace), &account.name).await;
    if let Some(Some(raw)) = bag.or_missing("service_account", raw)? {
        bag.json("service_account", &raw).await?;
    }
    let all = Binding::all(calls).await;
    let Some(all) = bag.or_missing("rules", all)? else { return Ok(Vec::new()) };
    let (mut kept, mut lines) = (Vec::new(), Vec::new());
    for binding in all {
        let by = binding.gives(account);
        let Some(first) = by.first() else { continue };
        let rules = binding.rules(calls).await;
        let Some(rules) = bag.or_missing(&binding.role_label(), rules)? else { continue };
        let (is_own, whom) = match first {
            By::Itself => (true, String::new()),
            By::Group(group) => (false, format!(", for everybody in {group}")),
        };
        let place = binding.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        lines.extend(rules.iter().flatten().map(|rule| {
            let line = format!("{}{place}: by {}{whom}", told(rule), binding.label());
            (!is_own, one_line(&line, RULE))
        }));
        kept.push(json!({
            "binding": binding.label(), "role": binding.role_label(), "by": if is_own { "itself".to_owned() } else { whom },
            "rules": rules,
        }));
    }
    bag.json("rules", &Json::Array(kept)).await?;
    // What it has for itself comes first.
    lines.sort();
    let more = lines.len().saturating_sub(RULES);
    let mut lines: Vec<String> = lines.into_iter().take(RULES).map(|(_, line)| line).collect();
    if more > 0 {
        lines.push(format!("and {more} more, in the vault"));
    }
    Ok(lines)
}

/// What its containers run, those that prepare and those that were added included.
#[cfg(feature = "client")]
fn images(pod: &Pod) -> Vec<Image> {
    let (spec, status) = (pod.spec.clone().unwrap_or_default(), pod.status.clone().unwrap_or_default());
    let containers = spec.init_containers.unwrap_or_default().into_iter().chain(spec.containers);
    let mut named: Vec<(String, Option<String>)> = containers.map(|one| (one.name, one.image)).collect();
    named.extend(spec.ephemeral_containers.unwrap_or_default().into_iter().map(|one| (one.name, one.image)));
    let lists = [status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses];
    let statuses: Vec<_> = lists.into_iter().flatten().flatten().collect();
    let digest = |name: &str| {
        let id = &statuses.iter().find(|one| one.name == name)?.image_id;
        let digest = id.rsplit('@').next().unwrap_or(id);
        (!digest.is_empty()).then(|| plain(digest))
    };
    let image = |(container, image): (String, Option<String>)| Image {
        digest: digest(&container),
        image: plain(&image.unwrap_or_default()),
        container,
    };
    named.into_iter().map(image).collect()
}

#[cfg(test)]
#[cfg(feature = "client")]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u" },
            "spec": {
                "serviceAccountName": "web",
                "initContainers": [{ "name": "init", "image": "i:1" }],
                "containers": [{ "name": "main", "image": "m:1", "env": [{ "name": "PASSWORD", "value": "hunter2" }] }],
            },
            "status": {
                "initContainerStatuses": [{ "name": "init", "image": "i:1", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "terminated": { "exitCode": 0 } } }],
                "containerStatuses": [{ "name": "main", "image": "m:1", "imageID": "docker.io/m@sha256:ab", "ready": true, "restartCount": 1,
                    "containerID": "containerd://1", "lastState": { "terminated": { "exitCode": 1 } } }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn every_container_that_ran_has_its_logs() {
        let names: Vec<String> = logs(&pod()).iter().map(Log::name).collect();
        assert_eq!(names, ["log/init", "log/main/previous", "log/main"]);
    }

    #[test]
    fn images_are_told_by_what_was_pulled() {
        let images = to_json(&images(&pod()));
        assert_eq!(
            images,
            json!([
                { "container": "init", "image": "i:1", "digest": null },
                { "container": "main", "image": "m:1", "digest": "sha256:ab" },
            ])
        );
    }
}
