//! What a watch of 5,000 pods costs: the memory of a process that has nothing else to do, and the time until all are known.
//!
//! Owns a cluster without a node (`scripts/cluster up --api-only`), whose pods are made here; no kubelet runs them. The watch is in a process of
//! its own, this program once more, so that what makes the pods is not counted. Fails past the bound. Where no cluster can be started it says
//! so, and fails where `CI` or `QUELL_REQUIRE_CLUSTER` is set.

use futures_util::stream::{StreamExt, iter};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use quell_kubernetes::{Cluster, PodWatch, Settings};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PODS: usize = 5_000;
/// Megabytes of the whole process.
const BOUND_MB: u64 = 100;
const NODE: &str = "crowded";
/// Where this program is the one that watches, the kubeconfig.
const WATCHES: &str = "QUELL_BENCH_PODS_OF";
/// Pods that are made at the same time.
const AT_ONCE: usize = 32;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return told(&format!("no runtime: {error}")),
    };
    let done = match std::env::var(WATCHES) {
        Ok(kubeconfig) => runtime.block_on(watch(&kubeconfig)),
        Err(_) => runtime.block_on(measure()),
    };
    done.unwrap_or_else(|error| told(&error.to_string()))
}

fn told(why: &str) -> ExitCode {
    let is_needed = ["CI", "QUELL_REQUIRE_CLUSTER"].iter().any(|name| std::env::var_os(name).is_some());
    eprintln!("NOT MEASURED: a watch of {PODS} pods: {why}");
    if is_needed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Starts the cluster, makes the pods, and lets the other process say what it needed.
async fn measure() -> Result<ExitCode, Failed> {
    let dir = tempfile::Builder::new().prefix("quell-bench-").tempdir()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/cluster");
    let mut cluster = Command::new(script)
        .arg("up")
        .arg(dir.path().join("c"))
        .args(["--api-only", "--until-eof"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(cluster.stdout.take().ok_or("its output is not there")?).read_line(&mut line)?;
    let kubeconfig = line.trim();
    if kubeconfig.is_empty() {
        return Ok(told(&format!("scripts/cluster up ended with {}", cluster.wait()?)));
    }
    let begun = Instant::now();
    make(kubeconfig).await?;
    eprintln!("{PODS} pods were made in {:.1} s", begun.elapsed().as_secs_f64());
    let watching = Command::new(std::env::current_exe()?).env(WATCHES, kubeconfig).stderr(Stdio::inherit()).output()?;
    let said: Value = serde_json::from_slice(&watching.stdout)?;
    let number = |key: &str| said[key].as_u64().unwrap_or(u64::MAX);
    let (begin, now, peak) = (number("begin_kb") / 1024, number("resident_kb") / 1024, number("peak_kb") / 1024);
    let mut out = std::io::stdout();
    writeln!(
        out,
        "watch of {PODS} pods: {now} MB resident, {peak} MB at its peak, of which {begin} MB before it began; all known after {} ms",
        number("known_ms")
    )?;
    // Its end is the cluster's.
    drop(cluster.stdin.take());
    cluster.wait()?;
    if peak >= BOUND_MB {
        writeln!(out, "past its bound of {BOUND_MB} MB")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn client(kubeconfig: &str) -> Result<Client, Failed> {
    let read = kube::config::Kubeconfig::read_from(kubeconfig)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(read, &Default::default()).await?)?)
}

/// Pods as they are in a real cluster: with labels, notes, mounts, conditions and whose fields are whose.
fn pod(n: usize) -> Value {
    let mounts = json!([{ "name": "data", "mountPath": "/data" }, { "name": "config", "mountPath": "/config", "readOnly": true }]);
    let env: Vec<Value> =
        (0..12).map(|at| json!({ "name": format!("SETTING_{at}"), "value": format!("value-{n}-{at}") })).collect();
    json!({
        "metadata": {
            "name": format!("web-7d4b9c6f5d-{n:05}"),
            "labels": {
                "app.kubernetes.io/name": "web", "app.kubernetes.io/instance": format!("shop-{}", n % 50), "app.kubernetes.io/version": "1.2.3",
                "pod-template-hash": "7d4b9c6f5d", "team": format!("team-{}", n % 9), "tier": "front",
            },
            "annotations": { "checksum/config": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "prometheus.io/scrape": "true" },
        },
        "spec": {
            "nodeName": NODE,
            "containers": [
                { "name": "web", "image": "registry.example.org/shop/web:1.2.3", "env": env, "volumeMounts": mounts },
                { "name": "proxy", "image": "registry.example.org/mesh/proxy:0.9", "env": env, "volumeMounts": mounts },
            ],
            "volumes": [{ "name": "data", "emptyDir": {} }, { "name": "config", "configMap": { "name": "web" } }],
        },
    })
}

fn status(n: usize) -> Value {
    let condition =
        |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": "2026-11-30T20:00:00Z" });
    let container = |name: &str, image: &str, at: usize| {
        json!({
            "name": name, "image": image, "imageID": format!("{image}@sha256:{:064x}", 7), "ready": true, "restartCount": 0, "started": true,
            "containerID": format!("containerd://{:064x}", n * 2 + at), "state": { "running": { "startedAt": "2026-11-30T20:00:00Z" } },
        })
    };
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    json!({ "status": {
        "phase": "Running", "podIP": format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256),
        "conditions": conditions,
        "containerStatuses": [
            container("web", "registry.example.org/shop/web", 0), container("proxy", "registry.example.org/mesh/proxy", 1),
        ],
    } })
}

async fn make(kubeconfig: &str) -> Result<(), Failed> {
    let client = client(kubeconfig).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    while accounts.get_opt("default").await?.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let mut made = iter((0..PODS).map(|n| one(pods.clone(), n))).buffer_unordered(AT_ONCE);
    while let Some(done) = made.next().await {
        done?;
    }
    Ok(())
}

async fn one(pods: Api<Pod>, n: usize) -> Result<(), Failed> {
    let object: Pod = serde_json::from_value(pod(n))?;
    let made = pods.create(&PostParams::default(), &object).await?;
    let name = made.metadata.name.unwrap_or_default();
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status(n))).await?;
    Ok(())
}

/// Watches until all are known, and says what that took.
async fn watch(kubeconfig: &str) -> Result<ExitCode, Failed> {
    let begin = memory("VmRSS:")?;
    let settings = Settings { name: "bench".into(), kubeconfig: Some(kubeconfig.into()), context: None };
    let watch = PodWatch::new(Arc::new(Cluster::new(settings)), Some(NODE.into()), "host".into());
    let begun = Instant::now();
    let all = async {
        while !(watch.status().live && watch.status().pods == PODS) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = watch.follow() => {}
        known = tokio::time::timeout(Duration::from_secs(60), all) => known?,
    }
    let known = u64::try_from(begun.elapsed().as_millis())?;
    let said =
        json!({ "begin_kb": begin, "resident_kb": memory("VmRSS:")?, "peak_kb": memory("VmHWM:")?, "known_ms": known });
    writeln!(std::io::stdout(), "{said}")?;
    Ok(ExitCode::SUCCESS)
}

/// A line of proc_pid_status(5), in kB.
fn memory(of: &str) -> Result<u64, Failed> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(of)).ok_or("the kernel does not say")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
