//! Folders that the kubelet fills: a ConfigMap, a Secret or a projection of them, mounted read-only into a pod.
//!
//! The kubelet gives the root of such a volume the mode 0777, whatever is asked for; the folder that it is mounted from lies below its own
//! directory, which is root's alone. Keeps true: only what the kernel says of the mount counts (proc_pid_mountinfo(5)), never a name that
//! somebody could choose.

use std::path::{Path, PathBuf};

/// What the kubelet calls the folders of such volumes, below `pods/UID/volumes/`.
const KINDS: [&str; 3] = ["kubernetes.io~configmap", "kubernetes.io~secret", "kubernetes.io~projected"];

/// Whether this folder is such a volume, or in one.
pub(super) fn is_of_the_kubelet(folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| is_in(&mounts, &folder))
}

fn is_in(mounts: &str, folder: &Path) -> bool {
    // Of two mounts at one place the later covers the earlier.
    let of_folder = mounts.lines().filter_map(Mount::read).filter(|mount| folder.starts_with(&mount.at));
    let mount = of_folder.max_by_key(|mount| mount.at.as_os_str().len());
    mount.is_some_and(|mount| mount.is_read_only && mount.is_volume())
}

/// A line of mountinfo.
struct Mount {
    root: String,
    at: PathBuf,
    is_read_only: bool,
}

impl Mount {
    fn read(line: &str) -> Option<Self> {
        let mut parts = line.split(' ').skip(3);
        let (root, at, options) = (parts.next()?, parts.next()?, parts.next()?);
        let is_read_only = options.split(',').any(|option| option == "ro");
        Some(Self { root: unescape(root), at: unescape(at).into(), is_read_only })
    }

    /// `…/pods/UID/volumes/KIND/NAME`, below wherever the kubelet's directory is.
    fn is_volume(&self) -> bool {
        let parts: Vec<&str> = self.root.split('/').collect();
        parts.windows(5).any(|five| matches!(five, ["pods", _, "volumes", kind, _] if KINDS.contains(kind)))
    }
}

/// Undoes the octal escapes of mountinfo (space, tab, newline, backslash).
fn unescape(text: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "bf3e1eaa-c098-4c39-a8b6-549fee209b1c";

    fn mounts(root: &str, options: &str) -> String {
        format!(
            "1 0 0:1 / / rw,relatime - overlay overlay rw\n\
             2 1 254:1 /var/lib/kubelet/pods/{UID}{root} /etc/quell {options},relatime - ext4 /dev/vda1 rw\n"
        )
    }

    #[test]
    fn what_the_kubelet_mounts_read_only_is_its_own() {
        for kind in KINDS {
            let text = mounts(&format!("/volumes/{kind}/config"), "ro");
            assert!(is_in(&text, Path::new("/etc/quell")), "{kind}");
            assert!(is_in(&text, Path::new("/etc/quell/playbooks")), "{kind}");
            assert!(!is_in(&text, Path::new("/etc")), "{kind}");
        }
    }

    #[test]
    fn what_may_be_written_or_is_mounted_from_elsewhere_is_not() {
        for (root, options) in [
            ("/volumes/kubernetes.io~configmap/config", "rw"),
            ("/volumes/kubernetes.io~empty-dir/config", "ro"),
            ("/volumes/kubernetes.io~configmap", "ro"),
            ("/kubernetes.io~configmap/config", "ro"),
        ] {
            assert!(!is_in(&mounts(root, options), Path::new("/etc/quell")), "{root} {options}");
        }
        // Covered by another.
        let over = "3 2 254:1 /tmp/x /etc/quell/playbooks ro - ext4 /dev/vda1 rw\n";
        let text = mounts("/volumes/kubernetes.io~configmap/config", "ro") + over;
        assert!(!is_in(&text, Path::new("/etc/quell/playbooks/a")));
        assert!(!is_in("", Path::new("/etc/quell")));
    }
}
