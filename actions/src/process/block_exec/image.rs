//! From an input to the open file that it means, and what there is to say of it.
//!
//! Reads only. Keeps true: what is looked at afterwards is the open file, not its path; a process is compared by identity
//! before its files are believed.

use super::{Input, is_same};
use crate::process::identity::cannot;
use crate::process::target::image as image_path;
use crate::world::{CgroupKind, CgroupRoot, HostWorld};
use quell_model::{ActionError, Around, ProcessId};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Read at once; after the first piece the reading goes on beside the engine's thread.
const PIECE: usize = 1 << 20;
/// Running processes that are named.
const NAMED: usize = 4;
/// `OVERLAYFS_SUPER_MAGIC` (include/uapi/linux/magic.h).
const OVERLAY: i64 = 0x794c_7630;

/// The file.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) handle: File,
    /// As people know it.
    pub(super) path: String,
    /// Where it can be opened again.
    pub(super) from: PathBuf,
    /// The root that its path is below.
    pub(super) root: PathBuf,
    /// (device, inode) as `stat` tells them.
    pub(super) file: (u64, u64),
    pub(super) script: bool,
    pub(super) overlay: bool,
}

/// This moment on the boot clock.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// The number of a process that is still the one that was meant.
pub(super) fn living(world: &HostWorld, id: &ProcessId) -> Result<u32, ActionError> {
    if is_same(world, id) { Ok(id.pid) } else { Err(ActionError::give_up(format!("process {} has ended", id.pid))) }
}

/// A cgroup in one hierarchy, where it is there.
pub(super) fn cgroup(root: &CgroupRoot, path: &str) -> Option<Around> {
    let meta = std::fs::metadata(root.dir.join(path.trim_start_matches('/'))).ok()?;
    meta.is_dir().then(|| Around::Cgroup { number: meta.ino(), v2: root.kind == CgroupKind::V2 })
}

/// Opens without a wait: a fifo or a device is no image.
fn readable(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// The same once more, where it is there.
pub(super) fn reopen(path: &Path) -> Option<File> {
    readable(path).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))
}

/// Which file the input means.
pub(super) fn open(world: &HostWorld, input: &Input) -> Result<Opened, ActionError> {
    let (from, path, root) = match (&input.path, &input.process, input.inode) {
        (Some(path), None, _) => (PathBuf::from(path), path.clone(), PathBuf::from("/")),
        (Some(path), Some(id), _) => {
            let root = world.of(living(world, id)?, "root");
            (root.join(path.trim_start_matches('/')), path.clone(), root)
        }
        (None, Some(id), _) => of_process(world, living(world, id)?),
        (None, None, Some(inode)) => of_process(world, running_inode(world, inode)?),
        (None, None, None) => return Err(ActionError::give_up("name a `path`, a `process` or an `inode`")),
    };
    if !path.starts_with('/') {
        return Err(ActionError::give_up(format!("`{path}` is no path from the root")));
    }
    let handle = readable(&from).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ActionError::give_up(format!("there is no `{path}`")),
        _ => cannot("opened", &path, &error),
    })?;
    let meta = handle.metadata().map_err(|error| cannot("read", &path, &error))?;
    if !meta.is_file() {
        return Err(ActionError::give_up(format!("`{path}` is no file")));
    }
    if let Some(inode) = input.inode.filter(|inode| *inode != meta.ino()) {
        return Err(ActionError::give_up(format!("`{path}` leads to inode {} now, not to {inode}", meta.ino())));
    }
    let mut start = [0; 2];
    let script = rustix::io::pread(&handle, &mut start, 0).is_ok_and(|n| n == 2) && start == *b"#!";
    let overlay = rustix::fs::fstatfs(&handle).is_ok_and(|stat| stat.f_type == OVERLAY);
    Ok(Opened { file: (meta.dev(), meta.ino()), handle, path, from, root, script, overlay })
}

fn of_process(world: &HostWorld, pid: u32) -> (PathBuf, String, PathBuf) {
    let path = image_path(world, pid).unwrap_or_else(|| format!("/proc/{pid}/exe"));
    (world.of(pid, "exe"), path.trim_end_matches(" (deleted)").to_owned(), world.of(pid, "root"))
}

/// Everyone's number and image.
fn images(world: &HostWorld) -> impl Iterator<Item = (u32, std::fs::Metadata)> + '_ {
    let entries = std::fs::read_dir(&world.proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, std::fs::metadata(world.of(pid, "exe")).ok()?)))
}

fn running_inode(world: &HostWorld, inode: u64) -> Result<u32, ActionError> {
    let found: Vec<(u32, u64)> =
        images(world).filter(|(_, meta)| meta.ino() == inode).map(|(pid, meta)| (pid, meta.dev())).collect();
    match found.first() {
        Some((pid, device)) if found.iter().all(|(_, other)| other == device) => Ok(*pid),
        Some(_) => Err(ActionError::give_up(format!("several file systems have an inode {inode}: name a `path`"))),
        None => Err(ActionError::give_up(format!("nothing that runs has inode {inode}: name a `path`"))),
    }
}

/// Who runs it now, for people.
pub(super) fn running(world: &HostWorld, file: (u64, u64)) -> Vec<String> {
    let same = images(world).filter(|(_, meta)| (meta.dev(), meta.ino()) == file);
    let mut names: Vec<String> = same.take(NAMED + 1).map(|(pid, _)| format!("pid {pid}")).collect();
    if names.len() > NAMED {
        names[NAMED] = "others".to_owned();
    }
    names
}

impl Opened {
    /// The sum of its content.
    pub(super) async fn sha256(self) -> Result<String, ActionError> {
        let mut sum = Sha256::new();
        let mut file = self.handle;
        let mut piece = vec![0; PIECE];
        loop {
            let got = file.read(&mut piece).map_err(|error| cannot("read", &self.path, &error))?;
            sum.update(&piece[..got]);
            if got < PIECE {
                return Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
            }
            tokio::task::yield_now().await;
        }
    }
}
