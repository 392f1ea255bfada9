//! What is written on a cluster to cut a pod off, and what is taken away again: the policy, the labels, and who wants it so.
//!
//! ```text
//! stand:    policy ──▶ labels and mark, in one write          killed between the two: a policy that selects nobody
//!           what Services and its owner know it by is read meanwhile, where the plan did not say it
//! withdraw: policy ──▶ labels and mark, in one write          killed between the two: the mark still says whose it is
//! ```
//!
//! Keeps true: each may be done again after any part of it; a policy that somebody else made is never touched, whatever it is called; while
//! somebody else wants the pod cut off, it stays so; a label is taken off in the write that notes, on the pod, what it was.

use super::allow::{Allow, ISOLATED};
use super::around::read_known_by;
use super::mark::{MARK, Mark, former_labels, is_labelled, told};
use crate::call::{CallError, Calls, MANAGER};
use crate::owner::Owner;
use crate::verbs::written::{Named, Words, giving_back, read, standing};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::ListParams;
use quell_model::{ActionError, Json};
use serde_json::json;

/// Says that an object is quell's.
const MANAGED: &str = "app.kubernetes.io/managed-by";
/// On a policy: the uid of the pod that it cuts off.
const ISOLATES: &str = "quell/isolates";
/// So often it is tried again that somebody else wrote meanwhile.
const TRIES: u32 = 8;

/// Whether a policy is one that quell made for this pod.
pub(super) fn is_own(policy: &NetworkPolicy, uid: &str) -> bool {
    let labels = policy.labels();
    labels.get(MANAGED).is_some_and(|by| by == MANAGER) && labels.get(ISOLATES).is_some_and(|of| of == uid)
}

/// The policy that quell made for this pod; several where somebody else made one that says it is: none of them may let anything pass.
async fn own_policies(calls: &Calls<'_>, pod: &Named) -> Result<Vec<NetworkPolicy>, CallError> {
    let fits = ListParams::default().labels(&format!("{MANAGED}={MANAGER},{ISOLATES}={}", pod.uid));
    calls.list(pod.namespace.as_deref(), &fits).await
}

/// What is to stand.
pub(super) struct Wanted<'w> {
    pub(super) pod: &'w Named,
    /// Each label with its value; none: taken off.
    pub(super) labels: &'w Words,
    /// By which labels it is known, which are taken off too, is to be read.
    pub(super) reads: bool,
    /// None: no policy would do anything.
    pub(super) allow: &'w Allow,
    pub(super) with_policy: bool,
    /// Whose it is.
    pub(super) key: &'w str,
}

/// What stands now.
pub(super) struct Stands {
    pub(super) policy: Option<String>,
    /// What all who want it allow.
    pub(super) allow: Allow,
    /// The labels that were changed.
    pub(super) labels: Words,
    /// Services that were read.
    pub(super) services: Vec<String>,
}

/// Cuts it off, as far as the API server can.
pub(super) async fn stand(calls: &Calls<'_>, wanted: &Wanted<'_>) -> Result<Stands, ActionError> {
    let pod = wanted.pod;
    for _ in 0..TRIES {
        let found: Pod = crate::verbs::written::there(calls, pod).await?;
        let mut mark = Mark::of(&found).unwrap_or_default();
        let allow = mark.narrowest(Some(wanted.allow)).unwrap_or_default();
        let policy = async {
            match wanted.with_policy {
                true => policy(calls, pod, &allow, wanted.key).await.map(Some),
                false => Ok(None),
            }
        };
        let (policy, off) = tokio::join!(policy, to_take_off(calls, wanted, &found, &mark));
        let ((mut changed, services), policy) = (off?, policy?);
        changed.extend(wanted.labels.clone());
        let labels = found.metadata.labels.clone().unwrap_or_default();
        for (key, _) in changed.iter().filter(|(_, value)| value.is_none()) {
            if let Some(value) = labels.get(key) {
                mark.labels.insert(key.clone(), value.clone());
            }
        }
        let is_marked = mark.by.get(wanted.key) == Some(wanted.allow);
        mark.by.insert(wanted.key.to_owned(), wanted.allow.clone());
        mark.maker = mark.maker.or_else(|| Owner::controller(found.owner_references()));
        let is_so = is_marked && standing(Some(&labels), &changed) == changed;
        let metadata = json!({ "labels": changed, "annotations": { MARK: mark.text() } });
        if is_so || write(calls, pod, &found, metadata).await? {
            return Ok(Stands { policy, allow, labels: changed, services });
        }
    }
    Err(busy(pod))
}

/// The labels that a plan has not said, by which the pod is known as it stands now or was taken off by, and the Services.
async fn to_take_off(
    calls: &Calls<'_>,
    wanted: &Wanted<'_>,
    found: &Pod,
    mark: &Mark,
) -> Result<(Words, Vec<String>), CallError> {
    if !wanted.reads {
        return Ok((Words::new(), Vec::new()));
    }
    let (keys, services) = read_known_by(calls, found, &former_labels(found, &wanted.pod.uid)).await?;
    Ok((keys.into_iter().chain(mark.labels.keys().cloned()).map(|key| (key, None)).collect(), services))
}

/// What an undo leaves.
#[derive(Default)]
pub(super) struct Left {
    /// The pod is gone.
    pub(super) gone: bool,
    /// For whose sake what stands all the same.
    pub(super) still: Vec<String>,
}

/// Takes back what stands for `wanted.key`. `was`: the labels as they were.
pub(super) async fn withdraw(calls: &Calls<'_>, wanted: &Wanted<'_>, was: &Words) -> Result<Left, ActionError> {
    let pod = wanted.pod;
    for _ in 0..TRIES {
        let Some(found) = read::<Pod>(calls, pod).await? else {
            remove_policy(calls, pod).await?;
            return Ok(Left { gone: true, ..Left::default() });
        };
        let mark = Mark::of(&found);
        let others: Vec<&str> = mark.iter().flat_map(|mark| mark.others(wanted.key)).collect();
        let mut rest = mark.clone().unwrap_or_default();
        let is_own = rest.by.remove(wanted.key).is_some();
        if let Some(allow) = rest.narrowest(None) {
            if is_own {
                if wanted.with_policy {
                    policy(calls, pod, &allow, others[0]).await?;
                }
                if !write(calls, pod, &found, json!({ "annotations": { MARK: rest.text() } })).await? {
                    continue;
                }
            }
            let why = format!("pod `{}` is cut off all the same, by {}", pod.place(), told(&others));
            return Ok(Left { still: vec![why], ..Left::default() });
        }
        remove_policy(calls, pod).await?;
        // Its mark may be gone while its label stands: somebody took it off by hand.
        let is_cut = is_own || is_labelled(&found, &pod.uid);
        if !is_cut && back_of(&found, wanted, was).is_empty() {
            return Ok(Left::default());
        }
        let (set, all) = changed(wanted, was, is_cut.then_some(mark));
        let now = standing(found.metadata.labels.as_ref(), &all);
        let (back, still) = giving_back(&now, &set, &all);
        if write(calls, pod, &found, json!({ "labels": back, "annotations": { MARK: null } })).await? {
            return Ok(Left { still, ..Left::default() });
        }
    }
    Err(busy(pod))
}

/// Of what was planned to be written, what stands as it was written, and would be given back.
fn back_of(found: &Pod, wanted: &Wanted<'_>, was: &Words) -> Words {
    giving_back(&standing(found.metadata.labels.as_ref(), was), wanted.labels, was).0
}

/// Which of these labels stand as they were written, though nobody wants the pod cut off any more; none: no label.
pub(super) async fn keeps(calls: &Calls<'_>, wanted: &Wanted<'_>, was: &Words) -> Result<Option<String>, CallError> {
    let Some(found) = read::<Pod>(calls, wanted.pod).await? else { return Ok(None) };
    if Mark::of(&found).is_some_and(|mark| !mark.by.is_empty()) {
        return Ok(None);
    }
    let key = back_of(&found, wanted, was).into_keys().next();
    Ok(key.map(|key| format!("label `{key}` of pod `{}` is as quell wrote it", wanted.pod.place())))
}

/// What was written on a pod, and what stood before. `mark`: what of it stands on the pod, where it is cut off; none: somebody took it off.
fn changed(wanted: &Wanted<'_>, was: &Words, mark: Option<Option<Mark>>) -> (Words, Words) {
    let (mut set, mut all) = (wanted.labels.clone(), was.clone());
    if mark.is_some() {
        set.entry(ISOLATED.to_owned()).or_insert_with(|| Some(wanted.pod.uid.clone()));
        all.entry(ISOLATED.to_owned()).or_insert(None);
    }
    match mark {
        // What was not planned by this one, and was written by it or by other attempts, as it stood by then.
        Some(Some(mark)) => {
            all.retain(|key, _| set.contains_key(key));
            for (key, value) in mark.labels {
                set.insert(key.clone(), None);
                all.insert(key, Some(value));
            }
        }
        // Of the labels that it had those were taken off which are not there.
        Some(None) => {
            for key in was.keys() {
                set.entry(key.clone()).or_insert(None);
            }
        }
        None => all.retain(|key, _| set.contains_key(key)),
    }
    (set, all)
}

/// Why what is wanted does not stand; none: it does.
pub(super) async fn lacks(calls: &Calls<'_>, wanted: &Wanted<'_>) -> Result<Option<String>, CallError> {
    let pod = wanted.pod;
    let Some(found) = read::<Pod>(calls, pod).await? else {
        return Ok(Some(format!("pod `{}` is gone", pod.place())));
    };
    let mark = Mark::of(&found);
    // What was found to be taken off only when it was written is in the mark.
    let off = mark.iter().flat_map(|mark| mark.labels.keys()).map(|key| (key.clone(), None));
    let mut labels: Words = off.collect();
    labels.extend(wanted.labels.clone());
    let now = standing(found.metadata.labels.as_ref(), &labels);
    if let Some((key, value)) = now.iter().find(|(key, value)| labels.get(*key) != Some(value)) {
        let value = value.as_ref().map_or_else(|| "not there".to_owned(), |value| format!("`{value}`"));
        return Ok(Some(format!("label `{key}` is {value}")));
    }
    if !wanted.with_policy {
        return Ok(None);
    }
    let allow = mark.and_then(|mark| mark.narrowest(None)).unwrap_or_else(|| wanted.allow.clone());
    let policies = own_policies(calls, pod).await?;
    if policies.is_empty() {
        return Ok(Some(format!("pod `{}` has no NetworkPolicy of quell's", pod.place())));
    }
    let is_so = |policy: &&NetworkPolicy| allow.is_within(wanted.allow) && allow.is_said_by(policy, &pod.uid);
    let other = policies.iter().find(|policy| !is_so(policy));
    Ok(other.map(|policy| format!("NetworkPolicy `{}` does not say what it should", policy.name_any())))
}

/// What stands of it; none: nothing. With a key: for its sake, or for nobody's.
pub(super) async fn remains(calls: &Calls<'_>, pod: &Named, key: Option<&str>) -> Result<Option<String>, CallError> {
    let found = read::<Pod>(calls, pod).await?;
    let mark = found.as_ref().and_then(Mark::of).unwrap_or_default();
    if key.is_some_and(|key| !mark.by.contains_key(key) && !mark.by.is_empty()) {
        return Ok(None);
    }
    let is_cut = !mark.by.is_empty() || found.as_ref().is_some_and(|found| is_labelled(found, &pod.uid));
    if is_cut {
        return Ok(Some(format!("pod `{}` has the label `{ISOLATED}`, or is marked so", pod.place())));
    }
    let policies = own_policies(calls, pod).await?;
    Ok(policies.first().map(|policy| format!("NetworkPolicy `{}` is there", policy.name_any())))
}

fn busy(pod: &Named) -> ActionError {
    ActionError::retry(format!("pod `{}` is written on all the time", pod.place()))
}

/// Writes on the version that was read; false: somebody else wrote before.
async fn write(calls: &Calls<'_>, pod: &Named, found: &Pod, mut metadata: Json) -> Result<bool, CallError> {
    metadata["uid"] = pod.uid.clone().into();
    metadata["resourceVersion"] = found.resource_version().unwrap_or_default().into();
    let patch = json!({ "metadata": metadata });
    match calls.merge::<Pod>(pod.namespace.as_deref(), &pod.name, &patch).await {
        Ok(_) => Ok(true),
        Err(CallError::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the pod's policy say this, whether it was there or not; gives its name.
async fn policy(calls: &Calls<'_>, pod: &Named, allow: &Allow, key: &str) -> Result<String, ActionError> {
    let namespace = pod.namespace.as_deref();
    let mut taken = 0;
    for _ in 0..TRIES {
        let found = own_policies(calls, pod).await?;
        if found.is_empty() {
            // Whatever else is called so is somebody's: the next name.
            let end = if taken == 0 { String::new() } else { format!("-{}", taken + 1) };
            let name = format!("quell-isolates-{}{end}", pod.uid);
            match calls.create::<NetworkPolicy>(namespace, &object(pod, &name, allow, key)).await {
                Ok(_) => return Ok(name),
                Err(CallError::Conflict(_)) => taken += 1,
                Err(error) => return Err(error.into()),
            }
            continue;
        }
        let Some(other) = found.iter().find(|policy| !allow.is_said_by(policy, &pod.uid)) else {
            return Ok(found[0].name_any());
        };
        let metadata = json!({ "uid": other.uid(), "resourceVersion": other.resource_version() });
        let patch = json!({ "metadata": metadata, "spec": spec(pod, allow, other) });
        match calls.merge::<NetworkPolicy>(namespace, &other.name_any(), &patch).await {
            Ok(_) | Err(CallError::Conflict(_) | CallError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ActionError::retry(format!("the NetworkPolicy of pod `{}` is written on all the time", pod.place())))
}

/// All of the spec, for a merge with what is found: what is null is taken off.
fn spec(pod: &Named, allow: &Allow, found: &NetworkPolicy) -> Json {
    let mut spec = crate::verbs::order::to_json(&allow.spec(&pod.uid));
    spec["podSelector"]["matchExpressions"] = Json::Null;
    let selector = found.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
    let labels = selector.and_then(|selector| selector.match_labels.as_ref());
    for key in labels.into_iter().flat_map(|labels| labels.keys()).filter(|key| *key != ISOLATED) {
        spec["podSelector"]["matchLabels"][key] = Json::Null;
    }
    spec
}

fn object(pod: &Named, name: &str, allow: &Allow, key: &str) -> Json {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "labels": { MANAGED: MANAGER, ISOLATES: pod.uid },
            "annotations": { "quell/run": key },
            // It goes with the pod, whoever ends that.
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid }],
        },
        "spec": allow.spec(&pod.uid),
    })
}

/// Takes away the policy that quell made for this pod, by its uid.
async fn remove_policy(calls: &Calls<'_>, pod: &Named) -> Result<(), CallError> {
    for found in own_policies(calls, pod).await? {
        let (name, uid) = (found.name_any(), found.uid().unwrap_or_default());
        match calls.delete::<NetworkPolicy>(pod.namespace.as_deref(), (&name, &uid), None).await {
            // Where another has its name, that very one is gone.
            Ok(()) | Err(CallError::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
