//! One list of this node's pods, and the watch that goes on from there.
//!
//! Owns the calls. Decides nothing about what is kept. Keeps true: it is told when a watch is there again, not only when it is not (which is
//! why this is no `kube::runtime::watcher`: that one is silent while nothing changes); a connection that went dead without a word is found
//! out; only fields that are kept are read out of what the server sends.

use super::kept::{Made, Whose};
use super::seen::{Reference, Seen};
use crate::call::{CallError, Does, answered, asked, is_unknown};
use crate::cluster::Cluster;
use futures_util::stream::{BoxStream, StreamExt};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{GetParams, ListParams, Request, WatchParams};
use kube::core::WatchEvent;
use serde::Deserialize;
use std::time::Duration;

/// What the watch of this node's pods needs of the cluster, as a spec of an action lists it.
pub const PERMISSIONS: &[&str] = &[
    "kubernetes:list pods",
    "kubernetes:watch pods",
    "kubernetes:get nodes",
    "kubernetes:get replicasets.apps",
    "kubernetes:get jobs.batch",
];

/// An answer that took so long is given up.
const ANSWER: Duration = Duration::from_secs(10);
/// Pods a page of the list: with all that is not kept some 3 MB.
const PAGE: u32 = 250;
/// The server ends a watch after so long, and another goes on from there.
const WATCH_S: u32 = 120;
/// Whatever is silent for so much longer is no connection any more.
pub(super) const SILENT: Duration = Duration::from_secs(WATCH_S as u64 + 15);
/// Changes that are taken in before the table is put anew.
pub(super) const BATCH: usize = 256;

/// Why a watch ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As it does now and then: it goes on from where it was.
    InTime,
    /// The server does not know any more what came after that version: all is listed anew.
    TooOld,
    /// Something is wrong.
    Wrong(CallError),
}

/// A part of the list.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default)]
    items: Option<Vec<Seen>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    #[serde(rename = "continue")]
    go_on: Option<String>,
    resource_version: Option<String>,
}

/// Only of an object that owns another: whose it is itself.
#[derive(Clone, Deserialize)]
struct Maker {
    metadata: MakerMeta,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MakerMeta {
    uid: String,
    #[serde(default)]
    owner_references: Option<Vec<Reference>>,
}

fn of_node(node: &str) -> String {
    format!("spec.nodeName={node}")
}

fn bad(error: impl ToString) -> CallError {
    CallError::Refused(error.to_string())
}

async fn ask<T: serde::de::DeserializeOwned>(
    cluster: &Cluster,
    permission: &str,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<T, CallError> {
    asked(cluster, (permission, Does::Reads), ANSWER, request.map_err(bad)?).await
}

/// Lists the pods of a node, and gives each to `take`; the version to go on from.
pub(super) async fn list(
    cluster: &Cluster,
    node: &str,
    take: &mut (dyn FnMut(Seen) + Send),
) -> Result<String, CallError> {
    let mut params = ListParams { limit: Some(PAGE), ..ListParams::default().fields(&of_node(node)) };
    loop {
        let request = Request::new(Pod::url_path(&(), None)).list(&params);
        let page: Page = ask(cluster, "list pods", request).await?;
        page.items.into_iter().flatten().for_each(&mut *take);
        match page.metadata.go_on.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => {
                let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                return version.ok_or_else(|| bad("its list of pods has no version to go on from"));
            }
        }
    }
}

/// Watches from a version on. It is there once this has answered.
pub(super) async fn watch(
    cluster: &Cluster,
    node: &str,
    version: &str,
) -> Result<BoxStream<'static, Result<WatchEvent<Seen>, kube::Error>>, Ended> {
    let params = WatchParams::default().fields(&of_node(node)).timeout(WATCH_S);
    let request = Request::new(Pod::url_path(&(), None)).watch(&params, version);
    let request = request.map_err(|error| Ended::Wrong(bad(error)))?;
    let login = cluster.login().await.map_err(Ended::Wrong)?;
    let answer = tokio::time::timeout(ANSWER, login.client.request_events::<Seen>(request)).await;
    if is_unknown(&answer) {
        // The next watch begins by a new one.
        cluster.unknown(&login).await;
    }
    if let Ok(Err(kube::Error::Api(status))) = &answer
        && status.code == 410
    {
        return Err(Ended::TooOld);
    }
    let stream = answered(answer, "watch pods", Does::Reads).map_err(Ended::Wrong)?;
    Ok(stream.boxed())
}

/// An error in the midst of a watch.
pub(super) fn ended(error: kube::Error) -> Ended {
    match error {
        kube::Error::Api(status) if status.code == 410 => Ended::TooOld,
        error => match answered::<()>(Ok(Err(error)), "watch pods", Does::Reads) {
            Err(error) => Ended::Wrong(error),
            Ok(()) => Ended::InTime,
        },
    }
}

/// What is at the top of what made a pod: one step further up, or itself where there is none or it is another one by now.
pub(super) async fn top(cluster: &Cluster, made: &Made) -> Result<Whose, CallError> {
    let (namespace, by) = (made.namespace.as_str(), &made.by);
    let (path, of) = match by.kind.as_str() {
        "Job" => (Job::url_path(&(), Some(namespace)), "get jobs.batch"),
        _ => (ReplicaSet::url_path(&(), Some(namespace)), "get replicasets.apps"),
    };
    let request = Request::new(path).get(&by.name, &GetParams::default());
    match ask::<Maker>(cluster, of, request).await {
        Ok(maker) if maker.metadata.uid == by.uid => {
            let above = maker.metadata.owner_references.into_iter().flatten().find(|one| one.controller == Some(true));
            Ok(Whose::Is(above.as_ref().unwrap_or(by).named()))
        }
        // Nobody will ever say it: it is gone, or there never was one.
        Ok(_) | Err(CallError::NotFound(_)) => Ok(Whose::Is(by.named())),
        // Somebody may grant it yet.
        Err(CallError::Forbidden { .. }) => Ok(Whose::ForNow(by.named())),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_is_too_old_begins_anew_and_what_is_wrong_is_told() {
        let api = |code: u16| {
            let status = kube::core::Status { code, message: "m".into(), ..kube::core::Status::failure("m", "r") };
            kube::Error::Api(Box::new(status))
        };
        assert!(matches!(ended(api(410)), Ended::TooOld));
        assert!(matches!(ended(api(403)), Ended::Wrong(CallError::Forbidden { .. })));
        assert!(matches!(ended(api(500)), Ended::Wrong(CallError::Away(_))));
    }

    #[test]
    fn a_page_says_whether_there_is_another() {
        let page: Page = serde_json::from_str(
            r#"{ "kind": "PodList", "metadata": { "continue": "x", "resourceVersion": "5" }, "items": [{ "metadata": { "uid": "u" } }] }"#,
        )
        .unwrap();
        assert_eq!((page.metadata.go_on.as_deref(), page.items.map(|all| all.len())), (Some("x"), Some(1)));
        let page: Page = serde_json::from_str(r#"{ "metadata": { "resourceVersion": "5" }, "items": null }"#).unwrap();
        assert_eq!((page.metadata.go_on, page.items.is_none()), (None, true));
    }
}
