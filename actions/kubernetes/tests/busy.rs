//! An API server that is busy and says until when: nothing is asked of it before.

use super::act::looks;
use super::stub::{Reply, Stub};
use quell_kubernetes::{CallError, Cluster, Settings};
use quell_model::ActionError;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn what_it_asks_to_wait_for_in_a_header_is_what_the_engine_is_told() {
    let stub = Stub::new(|_| Reply::Busy(7, "Too many requests, please try again later.\n")).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { name: "test".into(), kubeconfig: Some(stub.kubeconfig(dir.path())), context: None };
    let cluster = Arc::new(Cluster::new(settings));
    let CallError::Wait { why, after } = cluster.has_node("node1").await.unwrap_err() else { panic!("another error") };
    assert_eq!((why.as_str(), after), ("Too many requests, please try again later.", Some(Duration::from_secs(7))));
    let input = json!({ "kind": "pod", "namespace": "shop", "name": "web-1" });
    let error = looks(&cluster, "kubernetes.get").look(&input).await.unwrap_err();
    let ActionError::Retry { after, why } = error else { panic!("{error:?}") };
    assert_eq!(after, Some(Duration::from_secs(7)), "{why}");
    assert_eq!(stub.asked().len(), 2, "nothing was asked twice");
}
