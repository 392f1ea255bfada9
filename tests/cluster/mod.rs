//! One real Kubernetes of a single node, which `scripts/cluster` builds, starts and takes away: how tests get at it.
//!
//! Owns the cluster that the tests of a process share, started by the first that asks, and says loudly where there is none.
//! Knows nothing of quell, and no other module: tests of other crates take this file by its path. A cluster never outlives the
//! process: its keeper ends it when the pipe closes that this process holds.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]
#![allow(dead_code, reason = "each binary of tests uses its part")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The script that owns clusters.
pub(crate) fn script() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().map(|dir| dir.join("scripts/cluster")).find(|script| script.exists()).unwrap()
}

/// Asks again and again until there is an answer; fails the test when there is none in time.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not so within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A cluster that stands. It ends with its value, and the shared one with the process.
pub(crate) struct Cluster {
    /// Its state.
    pub(crate) dir: PathBuf,
    /// What `scripts/cluster` says of it.
    facts: BTreeMap<String, String>,
    up: Child,
}

impl Cluster {
    /// The cluster of this process; where none can be had, nothing, loudly, and a failure where it must be.
    #[track_caller]
    pub(crate) fn shared(what: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::start(&[], true)) {
            Ok(cluster) => Some(cluster),
            Err(why) => {
                not_tested(what, why);
                None
            }
        }
    }

    /// A cluster of the test's own, never one that somebody has already, with these options of `scripts/cluster up`.
    #[track_caller]
    pub(crate) fn own(what: &str, options: &[&str]) -> Option<Self> {
        match Self::start(options, false) {
            Ok(cluster) => Some(cluster),
            Err(why) => {
                not_tested(what, &why);
                None
            }
        }
    }

    fn start(options: &[&str], existing: bool) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("quell-cluster-{}-{number}", std::process::id()));
        let mut up = Command::new(script());
        up.arg("up").arg(&dir).arg("--until-eof").args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        if !existing {
            up.env_remove("KUBECONFIG");
        }
        // Its progress is for who waits: it goes to the real stderr, past the test's.
        let mut up = up.spawn().map_err(|e| format!("`{}`: {e}", script().display()))?;
        let mut ready = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        if ready.is_empty() {
            let status = up.wait().unwrap();
            let (why, log) =
                (format!("`scripts/cluster up` ended with {status}, its reason is above"), dir.join("log"));
            return Err(if log.exists() { format!("{why}; its logs are in {}", log.display()) } else { why });
        }
        let text = fs::read_to_string(dir.join("env")).unwrap();
        let facts = text.lines().filter_map(|line| line.split_once('='));
        let facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { dir, facts, up })
    }

    /// A line of its `env`, if there is one: a cluster that somebody had already tells of no process or cgroup.
    pub(crate) fn try_fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }

    /// A line of its `env`; fails the test where it has none.
    #[track_caller]
    pub(crate) fn fact(&self, name: &str) -> &str {
        self.try_fact(name).unwrap_or_else(|| panic!("the cluster has no {name}: {:?}", self.facts))
    }

    /// What its administrator speaks to it with, from this machine.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.fact("KUBECONFIG").into()
    }

    /// The pid of `up`, which started it and waits for its keeper.
    pub(crate) fn pid(&self) -> u32 {
        self.up.id()
    }

    /// Stops, starts, pauses one of its services, or lets it go on.
    #[track_caller]
    pub(crate) fn service(&self, name: &str, word: &str) {
        let out = Command::new(script()).arg("service").arg(&self.dir).args([name, word]).output().unwrap();
        assert!(out.status.success(), "{name} {word}: {out:?}");
    }

    /// Gives its node an image of this name: a program at that path with the libraries that it is linked against, and what `more` puts
    /// beside it below the image's root.
    #[track_caller]
    pub(crate) fn give_image(&self, name: &str, program: &Path, at: &str, more: impl FnOnce(&Path)) {
        let dir = tempfile::tempdir().unwrap();
        let (root, tar) = (dir.path().join("root"), dir.path().join("tar"));
        let within = |path: &str| root.join(path.trim_start_matches('/'));
        for path in [within(at).parent().unwrap(), &root.join("tmp")] {
            fs::create_dir_all(path).unwrap();
        }
        // What is there to debug it by is most of it.
        let stripped = Command::new("strip").arg("-o").arg(within(at)).arg(program).status();
        if !stripped.is_ok_and(|status| status.success()) {
            fs::copy(program, within(at)).unwrap();
        }
        let libraries = Command::new("ldd").arg(program).output().unwrap();
        let libraries = String::from_utf8(libraries.stdout).unwrap();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            fs::create_dir_all(within(library).parent().unwrap()).unwrap();
            fs::copy(library, within(library)).unwrap();
        }
        more(&root);
        let mut pack = Command::new(script());
        let packed = pack.args(["pack", name]).arg(&root).arg(at).stdout(fs::File::create(&tar).unwrap()).output();
        let given = Command::new(script()).arg("image").args([&self.dir, &tar]).output();
        for out in [packed.unwrap(), given.unwrap()] {
            assert!(out.status.success(), "{name}: {out:?}");
        }
    }

    /// kubectl with these arguments, ready to run.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Command {
        let mut kubectl = Command::new(self.fact("KUBECTL"));
        kubectl.arg("--kubeconfig").arg(self.kubeconfig()).args(args).stdin(Stdio::null());
        kubectl
    }

    /// What kubectl says; fails the test when it refuses.
    #[track_caller]
    pub(crate) fn say(&self, args: &[&str]) -> String {
        let out = self.kubectl(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// What the API has, as JSON.
    #[track_caller]
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        let all = [&["get", "-o", "json"], args].concat();
        serde_json::from_str(&self.say(&all)).unwrap()
    }

    /// Applies a manifest, YAML or JSON.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) {
        let mut kubectl = self.kubectl(&["apply", "-f", "-"]);
        let mut child = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{out:?}: {manifest}");
    }

    /// A namespace of a test's own, in which pods may be made.
    #[track_caller]
    pub(crate) fn namespace(&self, name: &str) -> Namespace<'_> {
        let namespace = Namespace { cluster: self, name: name.to_owned() };
        self.say(&["create", "namespace", name]);
        // Who makes a pod before there is its account is refused. Where there are no controllers, nobody else makes it.
        if self.try_fact("API_ALONE").is_some() {
            self.say(&["-n", name, "create", "serviceaccount", "default"]);
        }
        until("the namespace has its service account", || {
            let out = self.kubectl(&["-n", name, "get", "serviceaccount", "default"]).output().unwrap();
            out.status.success().then_some(())
        });
        namespace
    }

    /// Ends it, waits for the end, and fails the test unless it ended well.
    #[track_caller]
    pub(crate) fn end(mut self) {
        drop(self.up.stdin.take());
        let status = self.up.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.up.stdin.take());
        drop(self.up.wait());
    }
}

/// Says what was not tested, past the test's own output, which nobody sees of one that passes; fails where it must be.
#[track_caller]
pub(crate) fn not_tested(what: &str, why: &str) {
    for required in ["QUELL_REQUIRE_CLUSTER", "CI"] {
        assert!(std::env::var_os(required).is_none(), "{required} is set, and {why}");
    }
    writeln!(std::io::stderr(), "NOT TESTED: {what}: {why}").unwrap();
}

/// A namespace of a test's own; what is in it goes with its value, without being waited for.
pub(crate) struct Namespace<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) name: String,
}

impl Namespace<'_> {
    /// The pods of a selector, once there are so many and all are ready, by name.
    #[track_caller]
    pub(crate) fn ready(&self, selector: &str, count: usize) -> Vec<Pod<'_>> {
        let what = format!("{count} pods {selector} are ready in {}", self.name);
        let items = until(&what, || {
            let list = self.cluster.get(&["pods", "-n", &self.name, "-l", selector]);
            let items = list["items"].as_array().unwrap().clone();
            let ready = |pod: &Value| {
                let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
                pod["metadata"]["deletionTimestamp"].is_null()
                    && conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
            };
            (items.len() == count && items.iter().all(ready)).then_some(items)
        });
        items.into_iter().map(|object| Pod { cluster: self.cluster, object }).collect()
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        drop(self.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]).output());
    }
}

/// A pod as it was when it was looked at.
pub(crate) struct Pod<'c> {
    cluster: &'c Cluster,
    /// What the API said of it.
    pub(crate) object: Value,
}

impl Pod<'_> {
    fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {:#}", self.object))
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub(crate) fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    pub(crate) fn ip(&self) -> &str {
        self.text("/status/podIP")
    }

    /// The id of a container, without the name of its runtime.
    pub(crate) fn container(&self, name: &str) -> &str {
        let all = self.object["status"]["containerStatuses"].as_array().unwrap();
        let one = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}: {all:?}"));
        let id = one["containerID"].as_str().unwrap();
        id.split_once("://").map_or(id, |(_, id)| id)
    }

    /// Executes in its first container, as `kubectl exec` does.
    pub(crate) fn exec(&self, args: &[&str]) -> Output {
        let all = [&["-n", self.text("/metadata/namespace"), "exec", self.name(), "--"], args].concat();
        self.cluster.kubectl(&all).output().unwrap()
    }

    /// What it says to that; fails the test when it ends badly.
    #[track_caller]
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let out = self.exec(args);
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// The processes of a container, as this machine sees them: their pids here.
    pub(crate) fn pids(&self, container: &str) -> Vec<u32> {
        let id = self.container(container);
        let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut pids: Vec<u32> = numbers.filter(|pid| cgroups(*pid).iter().any(|path| path.contains(id))).collect();
        pids.sort_unstable();
        pids
    }
}

/// The cgroups of a process, one a hierarchy, below their roots.
pub(crate) fn cgroups(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().filter_map(|line| Some(line.splitn(3, ':').nth(2)?.to_owned())).collect()
}
