//! `process.inspect`: what a process is, has open and may do. Only reads: it runs in observe mode too.
//!
//! Keeps true: what is told belongs to the process that was named; if it goes while it is read, nothing is told.

use super::cgroup::Paths;
use super::fds::{self, FdKind, OpenFd};
use super::hands::{Hands, input};
use super::identity::{Held, cannot};
use super::sockets::{Socket, Sockets};
use super::stat::{Stat, Status, there};
use super::target::Seen;
use crate::world::HostWorld;
use quell_model::{ActionError, ActionSpec, Guarantee, Json, Lane, Look, ProcessId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "process.inspect",
    summary: "tells what a process is, has open and may do",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Read,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &["process"],
    permissions: &["CAP_SYS_PTRACE"],
    predict: |_| json!({ "parents": [], "fds": [], "sockets": [], "namespaces": {} }),
};

/// Parents that are told: more than any honest chain has.
const PARENTS: usize = 64;

/// Whom to look at.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The process.
    pub process: ProcessId,
}

/// What confines a process.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Confinement {
    /// `none`, `strict` or `filter`.
    pub seccomp: String,
    /// Whether exec can give it more than it has.
    pub no_new_privs: bool,
    /// Effective capabilities, 16 hex digits.
    pub caps: String,
    /// The most it can ever have, 16 hex digits.
    pub caps_bounding: String,
    /// What AppArmor, SELinux or Smack calls it.
    pub label: Option<String>,
}

/// What was seen.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Itself.
    pub process: Seen,
    /// What it calls itself.
    pub name: String,
    /// The kernel's letter: R, S, D, T, Z …
    pub state: String,
    /// How many threads it has.
    pub threads: u32,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// The working directory.
    pub cwd: Option<String>,
    /// The root directory.
    pub root: Option<String>,
    /// Its parents, the next one first.
    pub parents: Vec<Seen>,
    /// What it has open.
    pub fds: Vec<OpenFd>,
    /// It has more open than is told.
    pub fds_truncated: bool,
    /// Those of them that are sockets, with their peers.
    pub sockets: Vec<Socket>,
    /// Its namespaces: kind to inode.
    pub namespaces: BTreeMap<String, u64>,
    /// Its cgroup below the hierarchy's root.
    pub cgroup: Option<String>,
    /// The systemd unit.
    pub unit: Option<String>,
    /// The container's id.
    pub container: Option<String>,
    /// What confines it.
    pub confinement: Confinement,
}

/// The verb.
#[derive(Debug)]
pub(crate) struct Inspect(pub(crate) Arc<Hands>);

/// The error of looking at somebody who is gone.
pub(crate) fn gone(id: &ProcessId) -> ActionError {
    ActionError::give_up(format!("process {} is gone", id.pid))
}

impl Inspect {
    fn look_now(&self, input: &Input) -> Result<Output, ActionError> {
        let world = &self.0.world;
        let id = &input.process;
        let held = Held::take(world, id)?.ok_or_else(|| gone(id))?;
        let label = held.stat.label();
        let wrong = |error: std::io::Error| cannot("read", &label, &error);
        let status = Status::read(world, id.pid).map_err(wrong)?.ok_or_else(|| gone(id))?;
        // A zombie has nothing open, and its list is root's alone.
        let dead = held.is_dead();
        let (fds, fds_truncated) = if dead { (Vec::new(), false) } else { fds::read(world, id.pid).map_err(wrong)? };
        let paths = Paths::read(world, id.pid).map_err(wrong)?.unwrap_or_default();
        let out = Output {
            process: Seen::read(world, id),
            name: held.stat.name.clone(),
            state: held.stat.state.to_string(),
            threads: held.stat.threads,
            uid: status.uid,
            euid: status.euid,
            gid: status.gid,
            cwd: link(world, id.pid, "cwd"),
            root: link(world, id.pid, "root"),
            parents: parents(world, &held.stat).map_err(wrong)?,
            sockets: sockets(world, id.pid, &fds).map_err(wrong)?,
            fds,
            fds_truncated,
            namespaces: namespaces(world, id.pid),
            cgroup: paths.path().map(str::to_owned),
            unit: paths.unit(),
            container: paths.container(),
            confinement: confinement(world, id.pid, &status),
        };
        // Read after it all: the number was its own throughout.
        let now = Stat::read(world, id.pid).map_err(wrong)?;
        now.filter(|stat| stat.is(id, world)).map(|_| out).ok_or_else(|| gone(id))
    }
}

fn link(world: &HostWorld, pid: u32, name: &str) -> Option<String> {
    std::fs::read_link(world.of(pid, name)).ok().map(|path| path.to_string_lossy().into_owned())
}

/// The parents, the next one first.
pub(crate) fn parents(world: &HostWorld, of: &Stat) -> std::io::Result<Vec<Seen>> {
    let mut parents = Vec::new();
    let mut below = of.clone();
    while parents.len() < PARENTS
        && below.parent != 0
        && let Some(parent) = Stat::read(world, below.parent)?
        && parent.start_ticks <= below.start_ticks
    {
        parents.push(Seen::read(world, &parent.id(world)));
        below = parent;
    }
    Ok(parents)
}

/// The sockets among these descriptors; each once.
pub(crate) fn sockets(world: &HostWorld, pid: u32, fds: &[OpenFd]) -> std::io::Result<Vec<Socket>> {
    let mut open: Vec<&OpenFd> = fds.iter().filter(|fd| fd.kind == FdKind::Socket).collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    open.sort_by_key(|fd| (fd.inode(), fd.fd));
    open.dedup_by_key(|fd| fd.inode());
    open.sort_by_key(|fd| fd.fd);
    let all = Sockets::read(world, pid)?;
    Ok(open.into_iter().map(|fd| all.at(fd.fd, fd.inode())).collect())
}

/// Kind to inode, of every namespace that the kernel lists.
pub(crate) fn namespaces(world: &HostWorld, pid: u32) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(world.of(pid, "ns")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            let inode = target.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()?;
            Some((entry.file_name().to_str()?.to_owned(), inode))
        })
        .collect()
}

fn confinement(world: &HostWorld, pid: u32, status: &Status) -> Confinement {
    let seccomp = match status.seccomp {
        0 => "none",
        1 => "strict",
        _ => "filter",
    };
    let label = there(std::fs::read(world.of(pid, "attr/current"))).ok().flatten();
    let label = label.map(|bytes| String::from_utf8_lossy(&bytes).trim_matches(['\n', '\0']).to_owned());
    Confinement {
        seccomp: seccomp.to_owned(),
        no_new_privs: status.no_new_privs,
        caps: status.caps_effective.clone(),
        caps_bounding: status.caps_bounding.clone(),
        label: label.filter(|label| !label.is_empty()),
    }
}

#[async_trait::async_trait]
impl Look for Inspect {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn look(&self, json: &Json) -> Result<Json, ActionError> {
        let output = self.look_now(&input(json)?)?;
        Ok(serde_json::to_value(output).expect("an output has string keys only"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Family, wait_until};
    use std::net::TcpListener;

    #[tokio::test]
    async fn a_process_is_told_with_its_parents_files_and_peers() {
        let family = Family::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script =
            format!("exec 7<>/dev/tcp/127.0.0.1/{port}; exec 8>$DIR/open; rm $DIR/open; echo $$ >$DIR/up; read x <&7");
        let pid = family.start(std::process::Command::new("bash").arg("-c").arg(script));
        assert_eq!(family.pid("up"), pid);
        let id = family.id(pid);
        let inspect = Inspect(Arc::new(Hands::new(family.world())));
        let seen = inspect.look(&json!({ "process": id })).await.unwrap();
        assert_eq!(seen["process"]["pid"], pid);
        assert_eq!(seen["parents"][0]["pid"], std::process::id());
        let socket = &seen["sockets"][0];
        assert_eq!(socket["state"], "established", "{seen}");
        assert_eq!(socket["peer"], format!("127.0.0.1:{port}"));
        let open = seen["fds"].as_array().unwrap().iter().find(|fd| fd["fd"] == 8).unwrap();
        assert_eq!((&open["kind"], &open["deleted"]), (&json!("file"), &json!(true)));
        assert_eq!(seen["confinement"]["seccomp"], "none");
        assert!(seen["namespaces"]["net"].is_u64());

        let wrong = ProcessId { start_ns: id.start_ns + 10_000_000, ..id };
        assert!(matches!(inspect.look(&json!({ "process": wrong })).await, Err(ActionError::GiveUp { .. })));
        assert!(matches!(inspect.look(&json!({ "process": "42" })).await, Err(ActionError::GiveUp { .. })));
    }

    #[tokio::test]
    async fn a_zombie_is_told_as_what_it_is() {
        let family = Family::new();
        family.spawn("sh -c 'echo $$ >$DIR/zombie; exit 0' & exec sleep 300");
        let pid = family.pid("zombie");
        wait_until("it is a zombie", || family.stat(pid).is_some_and(|stat| stat.state == 'Z'));
        let inspect = Inspect(Arc::new(Hands::new(family.world())));
        let seen = inspect.look(&json!({ "process": family.id(pid) })).await.unwrap();
        assert_eq!((&seen["state"], &seen["process"]["image"], &seen["fds"]), (&json!("Z"), &Json::Null, &json!([])));
    }
}
