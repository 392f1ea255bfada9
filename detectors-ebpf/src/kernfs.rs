//! A cgroup by its number, in one call: the number is a file handle of its hierarchy's (fs/kernfs/mount.c: 5.5-6.18).
//!
//! Reads only. It takes CAP_DAC_READ_SEARCH; where that is missing the kernel says so, and who asks looks another way.

#![allow(unsafe_code, reason = "open_by_handle_at by libc")]

use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// `FILEID_KERNFS` (include/linux/exportfs.h).
const KIND: libc::c_int = 0xfe;

/// `struct file_handle` with eight bytes of handle.
#[repr(C)]
struct Handle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    number: [u8; 8],
}

/// Opens the directory of the cgroup with this number in the hierarchy that is mounted at `root`.
pub(crate) fn open(root: &Path, number: u64) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mount = rustix::fs::open(root, flags, Mode::empty())?;
    let mut handle = Handle { bytes: 8, kind: KIND, number: number.to_ne_bytes() };
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: `struct file_handle` begins with these two words, and as many bytes follow as the first says; the kernel
    // only reads it. The descriptor that comes back is nobody else's.
    unsafe {
        let fd = libc::open_by_handle_at(mount.as_raw_fd(), std::ptr::from_mut(&mut handle).cast(), flags);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Its path within the hierarchy, from `/`.
pub(crate) fn path(root: &Path, number: u64) -> io::Result<String> {
    let open = open(root, number)?;
    let path: PathBuf = std::fs::read_link(format!("/proc/self/fd/{}", open.as_raw_fd()))?;
    let within = path.strip_prefix(root).map_err(|_| io::Error::other("it lies outside of what is mounted there"))?;
    Ok(format!("/{}", within.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_number_leads_to_its_directory_and_an_unknown_one_nowhere() {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let mut parts = line.split(' ').skip(1);
            let (dir, kind) = (parts.next()?, parts.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(dir))
        });
        let Some(root) = root else { return eprintln!("NOT TESTED: cgroups by number: there is no v2 hierarchy") };
        let dir = root.join(format!("quell-kernfs-{}", std::process::id()));
        if let Err(why) = std::fs::create_dir(&dir) {
            return eprintln!("NOT TESTED: cgroups by number: {why}");
        }
        let number = std::fs::metadata(&dir).unwrap().ino();
        let found = path(&root, number);
        std::fs::remove_dir(&dir).unwrap();
        match found {
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
                return eprintln!("NOT TESTED: cgroups by number: {why}");
            }
            found => assert_eq!(found.unwrap(), format!("/quell-kernfs-{}", std::process::id())),
        }
        assert!(path(&root, number).is_err(), "it is gone");
        assert!(path(Path::new("/proc"), 1).is_err() && path(Path::new("/nowhere"), 1).is_err());
    }
}
