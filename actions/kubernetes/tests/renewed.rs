//! How quell is known to a cluster: a kubeconfig that is renewed where it is, and one whose plugin gives no answer.

use super::act::wait_until;
use super::stub::{Reply, Stub};
use quell_kubernetes::{Cluster, Settings};
use quell_model::Json;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn node() -> Reply {
    Reply::Json(200, json!({ "metadata": { "name": "node1" } }))
}

fn reached(kubeconfig: PathBuf) -> Cluster {
    Cluster::new(Settings { name: "test".into(), kubeconfig: Some(kubeconfig), context: None })
}

#[tokio::test]
async fn a_kubeconfig_that_was_renewed_is_read_again_once_the_server_knows_quell_no_more() {
    let unknown: Json = json!({ "kind": "Status", "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized", "code": 401 });
    let former = Stub::new(move |_| Reply::Json(401, unknown.clone())).await;
    let renewed = Stub::new(|_| node()).await;
    let dir = tempfile::tempdir().unwrap();
    let cluster = reached(former.kubeconfig(dir.path()));
    let error = cluster.has_node("node1").await.unwrap_err().to_string();
    assert!(error.contains("Unauthorized"), "{error}");
    // One that was made a moment ago is not made again: a plugin is not called in a loop.
    assert_eq!(former.asked().len(), 1);
    renewed.kubeconfig(dir.path());
    wait_until("it is known again", async || cluster.has_node("node1").await == Ok(true)).await;
}

/// What a plugin waits at. Opened at the latest with its end, that nobody is left waiting.
struct Gate(PathBuf);

impl Gate {
    fn open(&self) {
        // For both: it waits for nobody.
        drop(std::fs::OpenOptions::new().read(true).write(true).open(&self.0));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

#[tokio::test]
async fn nobody_waits_for_long_for_a_plugin_that_gives_no_answer() {
    let (stub, dir) = (Stub::new(|_| node()).await, tempfile::tempdir().unwrap());
    let (gate, file) = (Gate(dir.path().join("gate")), stub.kubeconfig(dir.path()));
    rustix::fs::mkfifoat(rustix::fs::CWD, &gate.0, rustix::fs::Mode::RWXU).unwrap();
    // It says who quell is once somebody opens the gate.
    let login = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
    let script = format!("cat '{}' > /dev/null; echo '{login}'", gate.0.display());
    let exec = json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script], "interactiveMode": "Never" });
    let text =
        std::fs::read_to_string(&file).unwrap().replace("user: {}", &format!("user: {}", json!({ "exec": exec })));
    std::fs::write(&file, text).unwrap();
    let cluster = reached(file);
    let begun = Instant::now();
    // Side by side, and the task's own thread goes on meanwhile.
    let (one, other, ()) = tokio::join!(cluster.has_node("node1"), cluster.has_node("node1"), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(begun.elapsed() < Duration::from_secs(4), "it was held up for {:?}", begun.elapsed());
    });
    for error in [one.unwrap_err(), other.unwrap_err()] {
        assert!(error.to_string().contains("no client could be made of its configuration within 5 s"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // It is asked once for a token, and once for a certificate.
    wait_until("the one that was begun is there", async || {
        gate.open();
        cluster.has_node("node1").await == Ok(true)
    })
    .await;
}
