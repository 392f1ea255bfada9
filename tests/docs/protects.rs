//! The page about protecting a cluster, done as it is written, and the script that does all of it: on real clusters of one node, with the
//! binary under test for the image that a reader would build.
//!
//! It enforces in one namespace of the test's own cluster, and in that cluster's cgroup.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use super::page::{self, Piece};
use super::redirected;
use crate::cli::{Ran, binary};
use crate::cluster::{Cluster, Namespace, Pod, not_tested, until};
use crate::kubernetes::attacker::Attacker;
use serde_json::Value;
use std::fs;
use std::process::Command;

const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: 3
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: web, image: "localhost/quell-bb:1", imagePullPolicy: Never, command: [sleep, "100000"] }]
"#;

/// What `scripts/cluster` ends with where something is missing.
const MISSING: i32 = 4;

/// Who reads the page, and does what it says.
struct Reader<'c> {
    cluster: &'c Cluster,
    shop: Namespace<'c>,
    home: tempfile::TempDir,
}

impl<'c> Reader<'c> {
    /// With a shop to protect, and the manifests beside.
    fn of(cluster: &'c Cluster) -> Self {
        let home = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").args(["-r", "deploy"]).arg(home.path()).status().unwrap();
        assert!(copied.success());
        // A node that is somebody's has this mounted; it is this cluster's own here.
        let mount = "mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf";
        let mounted = Command::new("nsenter")
            .args(["--target", cluster.fact("HOLDER"), "--mount", "--", "sh", "-c", mount])
            .status();
        assert!(mounted.unwrap().success());
        let shop = cluster.namespace("shop");
        cluster.apply(SHOP);
        Self { cluster, shop, home }
    }

    fn pods(&self) -> Vec<Pod<'_>> {
        self.shop.ready("app=web", 3)
    }

    /// The pod of quell, once it is there alone.
    fn quell(&self) -> String {
        let fits = ["pods", "-n", "quell-system", "-l", "app.kubernetes.io/name=quell"];
        until("one pod of quell is there", || match &self.cluster.get(&fits)["items"].as_array().unwrap()[..] {
            [one] => Some(one["metadata"]["name"].as_str().unwrap().to_owned()),
            _ => None,
        })
    }

    /// What quell says in its pod; nothing: it does not answer.
    fn asks(&self, words: &[&str]) -> Option<Value> {
        let pod = self.quell();
        let all = [&["-n", "quell-system", "exec", &pod, "--", "quell"], words, &["--json"]].concat();
        serde_json::from_slice(&self.cluster.kubectl(&all).output().unwrap().stdout).ok()
    }

    /// The last run of a playbook about this pod, once it has ended.
    fn ended(&self, playbook: &str, pod: &Pod<'_>) -> Value {
        until(&format!("a run of {playbook} has ended"), || {
            let runs = self.asks(&["run", "list"])?;
            let of_it = runs.as_array()?.iter().filter(|run| run["playbook"] == playbook);
            let shown = of_it.filter_map(|run| self.asks(&["run", "show", run["id"].as_str()?]));
            let run = shown.filter(|run| run["event"]["pod"]["uid"] == pod.uid()).next()?;
            (!["running", "waiting"].contains(&run["state"].as_str()?)).then_some(run)
        })
    }

    /// A file that the page has; what is enforced stays in the cluster, whatever else is called `shop` on this machine.
    fn writes(&self, path: &str, text: &str) {
        let within = format!("namespace: shop, cgroup: {} }}", self.cluster.fact("CGROUP"));
        crate::cli::write(self.home.path(), path, &text.replace("namespace: shop }", &within));
    }

    /// A line of the page, in which `RUN` is this; nothing: it is not for here.
    fn does(&self, line: &str, run: &str) -> Option<Ran> {
        let (line, file) = redirected(line);
        let incident = || self.asks(&["incident", "list"]).unwrap()[0]["id"].as_str().unwrap().to_owned();
        let mean = |word: &str| match word {
            "POD" => self.quell(),
            "ID" => incident(),
            "RUN" => run.to_owned(),
            "DIR" => format!("{}/playbooks/compromised-pod", env!("CARGO_MANIFEST_DIR")),
            word => word.to_owned(),
        };
        let words: Vec<String> = line.split_whitespace().map(mean).collect();
        let mut command = match words[0].as_str() {
            "kubectl" => self.cluster.kubectl(&[]),
            "quell" => crate::cli::command(&[]),
            "mkdir" | "cp" => Command::new(&words[0]),
            "podman" if words[1] == "build" => {
                let named = words.iter().skip_while(|word| *word != "-t").nth(1).unwrap();
                self.cluster.give_image(named, &binary(), "/usr/bin/quell", |_| ());
                return None;
            }
            // The image is on the node by now; the other test is about the script.
            "podman" | "scripts/protect-a-cluster" => return None,
            _ => panic!("nobody knows how to do `{line}`"),
        };
        // It would wait for ever.
        let bound = line.contains("rollout status").then_some("--timeout=180s");
        let ran = Ran::of(command.args(&words[1..]).args(bound).current_dir(self.home.path()).output().unwrap());
        if let Some(file) = file {
            crate::cli::write(self.home.path(), file, &ran.out);
        }
        Some(ran)
    }
}

/// Whether quell cannot be armed here, which is said.
fn is_blind(reader: &Reader<'_>) -> bool {
    let status = reader.asks(&["status"]).unwrap_or_default();
    if status["state"] == "armed" || std::env::var_os("QUELL_REQUIRE_BPF").is_some() {
        return false;
    }
    eprintln!("NOT TESTED: the page about protecting a cluster: {}", status["sensor"]);
    true
}

#[test]
fn protecting_a_cluster_goes_as_its_page_says() {
    let Some(cluster) = Cluster::own("the page about protecting a cluster", &[]) else { return };
    let reader = Reader::of(&cluster);
    let pods = reader.pods();
    let attacker = Attacker::new(&cluster);
    let (mut shells, mut done, mut last) = (Vec::new(), Vec::new(), String::new());
    for piece in page::pieces(&fs::read_to_string("docs/how-to/protect-a-cluster.md").unwrap()) {
        let line = match piece {
            Piece::File { path, text } => {
                reader.writes(&path, &text);
                continue;
            }
            Piece::Command(line) => line,
        };
        // What it is for has to have happened first.
        if line.contains("quell run list") {
            shells.push(attacker.shell(&pods[0], "web"));
            for playbook in ["contain-reverse-shell", "isolate-compromised-pod"] {
                assert_eq!(reader.ended(playbook, &pods[0])["mode"], "observe");
            }
            assert!(shells[0].answers(), "it only observes");
        }
        if line.contains("quell run undo") {
            shells.push(attacker.shell(&pods[1], "web"));
            until("the pod is cut off", || {
                (labels(&cluster, &pods[1])["quell/isolated"] == pods[1].uid()).then_some(())
            });
            assert_eq!(reader.ended("contain-reverse-shell", &pods[1])["state"], "succeeded");
            reader.ended("isolate-compromised-pod", &pods[1])["id"].as_str().unwrap().clone_into(&mut last);
            assert!(!shells[1].answers());
            let healed = reader.pods();
            assert!(healed.iter().all(|pod| pod.uid() != pods[1].uid()));
        }
        let Some(ran) = reader.does(&line, &last) else { continue };
        if line.contains("rollout status") && ran.code != Some(0) && is_blind(&reader) {
            return;
        }
        assert_eq!(ran.code, Some(0), "`{line}`:\n{}{}", ran.out, ran.err);
        done.push(line);
    }
    until("what was cut off is given back", || (labels(&cluster, &pods[1])["app"] == "web").then_some(()));
    for due in
        ["apply -k", "rollout status", "quell status", "quell doctor", "permissions", "run list", "explain", "undo"]
    {
        assert!(done.iter().any(|line| line.contains(due)), "`{due}` is not in {done:?}");
    }
    drop((shells, pods));
    drop(reader);
    cluster.end();
}

fn labels(cluster: &Cluster, pod: &Pod<'_>) -> Value {
    cluster.get(&["pod", pod.name(), "-n", "shop"])["metadata"]["labels"].clone()
}

#[test]
fn the_script_protects_a_cluster_and_shows_what_happened() {
    let page = fs::read_to_string("docs/how-to/protect-a-cluster.md").unwrap();
    let line = Piece::Command("scripts/protect-a-cluster".to_owned());
    assert!(page::pieces(&page).contains(&line), "the page has it no more");
    let ran = Ran::of(Command::new("scripts/protect-a-cluster").arg("--binary").arg(binary()).output().unwrap());
    let what = "scripts/protect-a-cluster";
    if ran.code == Some(MISSING) {
        return not_tested(what, &ran.err);
    }
    if ran.err.contains("not within 60 s: quell is armed") && std::env::var_os("QUELL_REQUIRE_BPF").is_none() {
        return eprintln!("NOT TESTED: {what}: {}", ran.err);
    }
    let ran = ran.ends(0);
    for word in ["isolate-compromised-pod", "contain-reverse-shell", "quell/isolated=", "networkpolicy"] {
        assert!(ran.out.contains(word), "{word}: {}\n{}", ran.out, ran.err);
    }
}
