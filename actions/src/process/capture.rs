//! `process.capture`: puts what a process is, holds and runs into the vault, before it is gone.
//!
//! Reads only; the process is not stopped (freeze it first for a still picture). Keeps true: every piece is summed, put
//! under its sum and read back; secrets go into the vault and nowhere else: outputs bear ids and paths.

use super::cgroup::Paths;
use super::credentials::{self, Credential, Sources};
use super::evidence::{self, Bag};
use super::fds::{self, FdKind, OpenFd};
use super::hands::{Hands, input};
use super::identity::{Held, cannot};
use super::inspect::{gone, namespaces, parents, sockets};
use super::may;
use super::memory;
use super::pace::Pace;
use super::scope::{Circle, Scope};
use super::sockets::Socket;
use super::storage::Storage;
use super::target::Seen;
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, Evidence, Guarantee, Hash, Json, Lane, Plan, ProcessId,
    Truth, Want,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "process.capture",
    summary: "keeps what a process is, holds and runs as evidence",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Capture,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    targets: &["process"],
    permissions: &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"],
    predict: |_| to_json(&Output::default()),
};

/// The bound on one file, and on memory in all, unless the input has another.
const MAX_BYTES: u64 = 64 << 20;
/// The bound on one text of /proc.
const TEXT_MOST: u64 = 4 << 20;
/// Deleted files that are kept.
const FILES_MOST: usize = 64;
/// The bound on one file in which keys are looked for.
const KEYS_MOST: u64 = 64 << 10;
/// Captures that `verify` can still speak for.
const REMEMBERED: usize = 1024;

/// The texts of /proc that are kept as they are.
const TEXTS: &[&str] =
    &["status", "stat", "maps", "limits", "mountinfo", "cmdline", "environ", "cgroup", "io", "sched"];

/// What is to be kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The process.
    pub process: ProcessId,
    /// Its memory too, as far as no file holds it.
    #[serde(default)]
    pub memory: bool,
    /// The most of one file, and of the memory in all, in bytes.
    #[serde(default = "max_bytes")]
    pub max_bytes: u64,
}

fn max_bytes() -> u64 {
    MAX_BYTES
}

/// One open file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OpenFile {
    /// The descriptor.
    pub fd: u32,
    /// Its path.
    pub path: String,
    /// No directory names it any more; then its content is kept.
    pub deleted: bool,
    /// The sum of its whole content, where it was kept.
    pub sha256: Option<String>,
}

/// What was kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The sum of what it runs, whole, also when that is deleted or a memfd.
    pub exe_sha256: Option<String>,
    /// Its sockets, with their peers.
    pub sockets: Vec<Socket>,
    /// Its open files.
    pub files: Vec<OpenFile>,
    /// What looks like a cloud credential: ids, never secrets.
    pub credentials: Vec<Credential>,
    /// What lies in the vault.
    pub evidence: Vec<Evidence>,
    /// What could not be kept, and why.
    pub missing: Vec<String>,
}

fn to_json(output: &Output) -> Json {
    serde_json::to_value(output).expect("an output has string keys only")
}

/// The verb.
#[derive(Debug)]
pub(crate) struct Capture {
    hands: Arc<Hands>,
    /// Targets whose pieces were read back by this engine, the latest last.
    read_back: Mutex<VecDeque<String>>,
}

impl Capture {
    pub(crate) fn new(hands: Arc<Hands>) -> Self {
        Self { hands, read_back: Mutex::default() }
    }

    async fn texts(&self, held: &Held, bag: &mut Bag<'_>) -> Result<(), ActionError> {
        for name in TEXTS {
            match File::open(self.hands.world.of(held.id.pid, name)) {
                // A kernel that was built without it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !held.is_dead() => {}
                file => drop(bag.take(name, file, TEXT_MOST).await?),
            }
        }
        let world = &self.hands.world;
        let parents = parents(world, &held.stat).map_err(|error| cannot("read", &held.stat.label(), &error))?;
        let told = json!({
            "process": Seen::read(world, &held.id),
            "parents": parents,
            "namespaces": namespaces(world, held.id.pid),
        });
        bag.put("lineage", told.to_string().into_bytes(), false).await.map(|_| ())
    }

    async fn files(
        &self,
        held: &Held,
        fds: &[OpenFd],
        storage: &Storage,
        most: u64,
        bag: &mut Bag<'_>,
    ) -> Result<Vec<OpenFile>, ActionError> {
        let mut files = Vec::new();
        let mut kept = 0;
        for fd in fds.iter().filter(|fd| fd.kind == FdKind::File) {
            let mut sha256 = None;
            if fd.deleted && kept < FILES_MOST {
                kept += 1;
                let path = self.hands.world.of(held.id.pid, "fd").join(fd.fd.to_string());
                let name = format!("file/{}", fd.fd);
                sha256 = take_file(&name, &path, storage, most, bag).await?.map(|sum| sum.to_string());
            } else if fd.deleted {
                bag.missing.push(format!("file/{}: more than {FILES_MOST} deleted files are open", fd.fd));
            }
            files.push(OpenFile { fd: fd.fd, path: fd.target.clone(), deleted: fd.deleted, sha256 });
        }
        Ok(files)
    }

    async fn memory(&self, held: &Held, most: u64, bag: &mut Bag<'_>) -> Result<(), ActionError> {
        let world = &self.hands.world;
        let maps = std::fs::read_to_string(world.of(held.id.pid, "maps"));
        let (maps, mem) = match (maps, File::open(world.of(held.id.pid, "mem"))) {
            (Ok(maps), Ok(mem)) => (maps, mem),
            (Err(error), _) | (_, Err(error)) => {
                bag.missing.push(format!("memory: {error}"));
                return Ok(());
            }
        };
        let mut left = most;
        for region in memory::regions(&maps) {
            let mut from = region.from;
            while from < region.to && left > 0 {
                let length = (region.to - from).min(memory::PIECE).min(left);
                let (bytes, unread) = memory::piece(&mem, from, length);
                let name = format!("memory/{from:x}-{:x}", from + length);
                if unread > 0 {
                    bag.missing.push(format!("{name}: {unread} pages could not be read"));
                }
                bag.put(&name, bytes, false).await?;
                (from, left) = (from + length, left - length);
                tokio::task::yield_now().await;
            }
            if from < region.to {
                bag.missing.push(format!("memory/{from:x}-{:x}: beyond max_bytes", region.to));
            }
        }
        Ok(())
    }

    async fn credentials(&self, held: &Held, fds: &[OpenFd], storage: &Storage) -> Vec<Credential> {
        let world = &self.hands.world;
        let files = || fds.iter().filter(|fd| fd.kind == FdKind::File);
        let mut texts = Vec::new();
        for fd in files().filter(|fd| credentials::is_worth_reading(&fd.target)).take(FILES_MOST) {
            if let Ok(file) = storage.open(&world.of(held.id.pid, "fd").join(fd.fd.to_string()))
                && let Ok(kept) = evidence::read(file.take(KEYS_MOST), KEYS_MOST).await
            {
                texts.push(kept.bytes);
            }
        }
        let read = |name: &str| std::fs::read(world.of(held.id.pid, name)).unwrap_or_default();
        let (environ, command_line, mountinfo) = (read("environ"), read("cmdline"), read("mountinfo"));
        credentials::find(&Sources {
            environ: &environ,
            first_environ: &credentials::first_environ(world, &held.stat),
            command_line: &command_line,
            open: files().map(|fd| fd.target.clone()).collect(),
            texts,
            mountinfo: &String::from_utf8_lossy(&mountinfo),
        })
    }

    async fn whole(&self, input: &Input, held: &Held, bag: &mut Bag<'_>) -> Result<Output, ActionError> {
        let world = &self.hands.world;
        let label = held.stat.label();
        let wrong = |error: std::io::Error| cannot("read", &label, &error);
        let (fds, cut) = fds::read(world, held.id.pid).map_err(wrong)?;
        if cut {
            bag.missing.push("fds: more are open than are listed".to_owned());
        }
        let sockets = sockets(world, held.id.pid, &fds).map_err(wrong)?;
        let storage = Storage::of(world, held.id.pid).map_err(wrong)?;
        let credentials = self.credentials(held, &fds, &storage).await;
        if held.is_dead() {
            return Err(gone(&held.id));
        }
        // The file that runs, by the link of /proc: also when it is deleted, replaced or a memfd.
        let exe = take_file("exe", &world.of(held.id.pid, "exe"), &storage, input.max_bytes, bag).await?;
        self.texts(held, bag).await?;
        let lists = json!({ "fds": fds, "sockets": sockets });
        bag.put("open", lists.to_string().into_bytes(), false).await?;
        let files = self.files(held, &fds, &storage, input.max_bytes, bag).await?;
        if input.memory {
            self.memory(held, input.max_bytes, bag).await?;
        }
        let paths = Paths::read(world, held.id.pid).map_err(wrong)?.unwrap_or_default();
        if let Some(container) = paths.container() {
            bag.put("container", container.into_bytes(), false).await?;
        }
        Ok(Output { exe_sha256: exe.map(|sum| sum.to_string()), sockets, files, credentials, ..Output::default() })
    }

    fn remember(&self, plan: &Plan) {
        let mut known = self.read_back.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(plan.targets.iter().map(|target| target.id.clone()));
        while known.len() > REMEMBERED {
            known.pop_front();
        }
    }
}

/// Keeps a file that a link of /proc leads to, unless its server could hold us; gives the sum of the whole.
async fn take_file(
    name: &str,
    path: &Path,
    storage: &Storage,
    most: u64,
    bag: &mut Bag<'_>,
) -> Result<Option<Hash>, ActionError> {
    match storage.open(path) {
        Ok(file) => bag.take(name, Ok(file), most).await,
        Err(why) => {
            bag.missing.push(format!("{name}: {why}"));
            Ok(None)
        }
    }
}

#[async_trait::async_trait]
impl Action for Capture {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let input: Input = input(json)?;
        let (world, mut pace) = (&self.hands.world, Pace::begin());
        let circle = Circle::around(world, &input.process, Scope::Process, &mut pace).await?;
        if circle.members.is_empty() {
            return Err(gone(&input.process));
        }
        let mut calls = vec![serde_json::to_value(&input).expect("an input has string keys only")];
        calls.push(json!({ "call": "read", "of": "/proc/PID", "texts": TEXTS, "also": ["exe", "fd", "net"] }));
        if input.memory {
            calls.push(json!({ "call": "read", "of": "/proc/PID/mem", "at_most": input.max_bytes }));
        }
        let files: &[&str] = if input.memory { &["environ", "mem"] } else { &["environ"] };
        let would_fail = may::read(world, input.process.pid, files);
        let (targets, predicted) = (circle.targets(world, &mut pace).await?, to_json(&Output::default()));
        Ok(Plan { targets, calls, predicted, would_fail, ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.hands.may_do(go.plan())?;
        let input: Input = input(go.plan().calls.first().unwrap_or(&Json::Null))?;
        let held = Held::take(&self.hands.world, &input.process)?.filter(|held| !held.is_dead());
        let held = held.ok_or_else(|| gone(&input.process))?;
        let mut bag = Bag::new(&held, cx.vault.clone());
        let output = self.whole(&input, &held, &mut bag).await?;
        self.remember(go.plan());
        Ok(to_json(&Output { evidence: bag.pieces, missing: bag.missing, ..output }))
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

#[cfg(test)]
#[path = "capture/tests.rs"]
mod tests;
