//! What a process has open, as `/proc/PID/fd` lists it.
//!
//! Reads links and looks at what they lead to; opens nothing (opening a fifo or a device would be felt). Bounded:
//! [`MOST`] descriptors.

use super::stat::there;
use super::storage::{self, Meta};
use crate::world::HostWorld;
use rustix::fs::FileType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io;

/// Descriptors that are told of one process.
const MOST: usize = 4096;

/// What a descriptor leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FdKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A socket.
    Socket,
    /// A pipe or a named pipe.
    Pipe,
    /// A device: a terminal, /dev/null …
    Device,
    /// A kernel object without a place: eventfd, epoll, pidfd …
    Other,
}

/// One open descriptor.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OpenFd {
    /// Its number.
    pub fd: u32,
    /// What it is.
    pub kind: FdKind,
    /// The path, or `socket:[INODE]`, `pipe:[INODE]`, `anon_inode:…`.
    pub target: String,
    /// A regular file that no directory names any more: unlinked, or a memfd.
    pub deleted: bool,
    #[serde(skip)]
    pub(crate) meta: Option<Meta>,
}

impl OpenFd {
    pub(crate) fn inode(&self) -> u64 {
        self.meta.map_or(0, |meta| meta.file.1)
    }
}

/// All that is open, by number; and whether there was more than is told.
pub(crate) fn read(world: &HostWorld, pid: u32) -> io::Result<(Vec<OpenFd>, bool)> {
    let dir = world.of(pid, "fd");
    let mut numbers: Vec<u32> = there(std::fs::read_dir(&dir))?
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let cut = numbers.len() > MOST;
    numbers.truncate(MOST);
    let fds = numbers.into_iter().filter_map(|fd| {
        let link = dir.join(fd.to_string());
        let target = std::fs::read_link(&link).ok()?.to_string_lossy().into_owned();
        let meta = storage::look(&link).ok()?;
        let kind = match meta.kind {
            FileType::RegularFile if target.starts_with('/') => FdKind::File,
            FileType::Directory => FdKind::Directory,
            FileType::Socket => FdKind::Socket,
            FileType::Fifo => FdKind::Pipe,
            FileType::CharacterDevice | FileType::BlockDevice => FdKind::Device,
            _ => FdKind::Other,
        };
        // The link count, and not the ` (deleted)` in the link, which may be the file's own name.
        let deleted = kind == FdKind::File && meta.links == 0;
        Some(OpenFd { fd, kind, target, deleted, meta: Some(meta) })
    });
    Ok((fds.collect(), cut))
}
