//! Which files can be looked at and read without asking somebody who may never answer.
//!
//! A FUSE or network file system can hold its reader for ever, and the server may be the very attacker, or frozen by us a
//! moment ago. Keeps true: [`look`] asks the kernel only (AT_STATX_DONT_SYNC); content is read only where
//! [`Storage::open`] finds it safe.

use super::stat::there;
use crate::world::HostWorld;
use rustix::fs::{AtFlags, CWD, FileType, MemfdFlags, Mode, OFlags, StatxFlags, makedev, memfd_create, statx};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// What the kernel knows of a file by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    /// As stat(2) gives them: what the guard compares.
    pub(crate) file: (u64, u64),
    pub(crate) kind: FileType,
    pub(crate) links: u32,
    /// `None` before Linux 5.8.
    mount: Option<u64>,
    device: (u32, u32),
}

/// Looks at a file, through links too, without waiting for a server.
pub(crate) fn look(path: &Path) -> io::Result<Meta> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let found = statx(CWD, path, AtFlags::STATX_DONT_SYNC, wanted)?;
    let has_mount = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Ok(Meta {
        file: (makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino),
        kind: FileType::from_raw_mode(u32::from(found.stx_mode)),
        links: found.stx_nlink,
        mount: has_mount.then_some(found.stx_mnt_id),
        device: (found.stx_dev_major, found.stx_dev_minor),
    })
}

/// The mounts that one process and we see, by what their file systems are.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    by_mount: HashMap<u64, String>,
    by_device: HashMap<(u32, u32), String>,
    /// Where memfds live: a mount of the kernel's own, in no list.
    memfds: Option<u64>,
}

impl Storage {
    pub(crate) fn of(world: &HostWorld, pid: u32) -> io::Result<Self> {
        let mut storage = Self::default();
        for path in [world.of(pid, "mountinfo"), world.proc.join("self/mountinfo")] {
            let text = there(std::fs::read(path))?.unwrap_or_default();
            storage.add(&String::from_utf8_lossy(&text));
        }
        let own = memfd_create("quell-looks-where-memfds-live", MemfdFlags::CLOEXEC);
        storage.memfds = own.ok().and_then(|fd| rustix::fs::fstat(fd).ok()).map(|stat| stat.st_dev);
        Ok(storage)
    }

    /// `ID PARENT MAJOR:MINOR ROOT AT OPTIONS … - TYPE SOURCE OPTIONS` (proc(5)).
    fn add(&mut self, mountinfo: &str) {
        for line in mountinfo.lines() {
            let (Some((before, after)), mut parts) = (line.split_once(" - "), line.split(' ')) else { continue };
            let Some(id) = parts.next().and_then(|id| id.parse().ok()) else { continue };
            let device = before.split(' ').nth(2).and_then(|text| text.split_once(':'));
            let device = device.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
            let kind = after.split(' ').next().unwrap_or_default().to_owned();
            if let Some(device) = device {
                self.by_device.insert(device, kind.clone());
            }
            self.by_mount.insert(id, kind);
        }
    }

    /// Opens a file for reading. It is pinned by O_PATH, which asks no server, before it is looked at: between the look
    /// and the opening nobody can put another in its place.
    ///
    /// # Errors
    /// Why it is not read, for people.
    pub(crate) fn open(&self, path: &Path) -> Result<File, String> {
        let pinned = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let pinned = pinned.map_err(|error| error.to_string())?;
        let own = format!("/proc/self/fd/{}", pinned.as_raw_fd());
        self.may_read(&look(Path::new(&own)).map_err(|error| error.to_string())?)?;
        File::open(own).map_err(|error| error.to_string())
    }

    /// Why the content of this file is not read, if it is not.
    fn may_read(&self, meta: &Meta) -> Result<(), String> {
        if meta.kind != FileType::RegularFile {
            return Err("it is no regular file".to_owned());
        }
        if self.memfds == Some(meta.file.0) {
            return Ok(());
        }
        let kind = match meta.mount {
            Some(mount) => self.by_mount.get(&mount),
            None => self.by_device.get(&meta.device),
        };
        match kind {
            Some(kind) if waits(kind) => Err(format!("it lies on {kind}, whose server could hold the reader")),
            Some(_) => Ok(()),
            // An unmounted FUSE is in no list, and has no device number of a disk.
            None if meta.device.0 != 0 && meta.mount.is_none() => Ok(()),
            None => Err("its mount is in no list, and could hold the reader".to_owned()),
        }
    }
}

/// File systems whose answers come from another process or another machine.
fn waits(kind: &str) -> bool {
    ["fuse", "nfs", "cifs", "smb3", "9p", "ceph", "afs", "coda", "gfs2", "ocfs2", "lustre"]
        .iter()
        .any(|one| kind.starts_with(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn here() -> (HostWorld, Storage) {
        let world = HostWorld::live("here".into()).unwrap();
        let storage = Storage::of(&world, std::process::id()).unwrap();
        (world, storage)
    }

    #[test]
    fn what_is_looked_at_is_what_stat_tells() {
        let exe = std::env::current_exe().unwrap();
        let (meta, stat) = (look(&exe).unwrap(), std::fs::metadata(&exe).unwrap());
        assert_eq!(meta.file, (stat.dev(), stat.ino()));
        assert_eq!(u64::from(meta.links), stat.nlink());
    }

    #[test]
    fn what_lies_on_this_machine_is_read_and_devices_are_not() {
        let (_, storage) = here();
        assert_eq!(storage.may_read(&look(&std::env::current_exe().unwrap()).unwrap()), Ok(()));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(std::io::read_to_string(storage.open(&path).unwrap()).unwrap(), "x");
        for other in [Path::new("/dev/null"), dir.path(), Path::new("/nonexistent")] {
            assert!(storage.open(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn what_a_server_answers_for_is_not_read() {
        let (_, mut storage) = here();
        let meta = look(&std::env::current_exe().unwrap()).unwrap();
        storage.by_mount.clear();
        storage.by_device.clear();
        let foreign = Meta { mount: Some(7), device: (0, 99), ..meta };
        assert!(storage.may_read(&foreign).is_err(), "an unmounted one");
        storage.add("7 1 0:99 / /mnt rw shared:1 - fuse.sshfs them: rw\n8 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
        assert!(storage.may_read(&foreign).unwrap_err().contains("fuse.sshfs"));
        assert!(storage.may_read(&Meta { mount: None, ..foreign }).is_err(), "on an old kernel");
        assert_eq!(storage.may_read(&Meta { mount: Some(8), device: (8, 1), ..meta }), Ok(()));
    }
}
