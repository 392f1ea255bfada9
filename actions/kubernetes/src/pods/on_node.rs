//! Where this node's pods live, as its kubelet's own directories say it: `/var/log/pods/NAMESPACE_NAME_UID`.
//!
//! That is where it keeps the logs of each pod while that is there (BuildPodLogsDirectory, pkg/kubelet/kuberuntime/helpers.go); of a static pod the
//! uid is the hash of its manifest, as in the name of its cgroup. Reads only, and asks no cluster: what is told so is there before the cluster
//! has answered, and where nobody says that there is one. Keeps true: only what root has made is believed.

use crate::object::is_name;
use quell_model::PodPlace;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Below the host's root.
const LOGS: &str = "var/log/pods";
/// Pods of one node that are kept, as of those that the cluster tells of.
const MOST: usize = 10_000;

/// All that are there; none where there is no kubelet. Blocks as long as the disk does.
pub(super) fn read(root: &Path) -> Vec<PodPlace> {
    let dir = root.join(LOGS);
    if !fs::symlink_metadata(&dir).is_ok_and(|meta| is_roots(&meta)) {
        return Vec::new();
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.metadata().is_ok_and(|meta| is_roots(&meta)));
    ours.filter_map(|entry| place(entry.file_name().to_str()?)).take(MOST).collect()
}

/// A directory that root alone writes in.
fn is_roots(meta: &Metadata) -> bool {
    meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o022 == 0
}

/// Neither a namespace nor the name of a pod has an underscore.
fn place(name: &str) -> Option<PodPlace> {
    let mut parts = name.split('_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let is_one = parts.next().is_none() && is_name(namespace) && is_name(pod) && is_name(uid);
    is_one.then(|| PodPlace { uid: uid.into(), namespace: namespace.into(), name: pod.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_kubelets_directories_say_where_its_pods_live() {
        let root = tempfile::tempdir().unwrap();
        assert!(read(root.path()).is_empty(), "there is no kubelet");
        let logs = root.path().join(LOGS);
        let uid = "1b2c3d4e-0000-1111-2222-333344445555";
        let hash = "0123456789abcdef0123456789abcdef";
        let theirs = format!("kube-system_theirs_{hash}");
        for name in [
            &format!("kube-system_coredns-5d78c9869d-x_{uid}"),
            &format!("kube-system_etcd-cp_{hash}"),
            &theirs,
            &"lost+found".to_owned(),
            &"a_b_c_d".to_owned(),
            &"_x_y".to_owned(),
        ] {
            fs::create_dir_all(logs.join(name)).unwrap();
        }
        fs::write(logs.join(format!("shop_file_{uid}")), "").unwrap();
        std::os::unix::fs::chown(logs.join(theirs), Some(65_534), None).unwrap();
        let mut found: Vec<String> =
            read(root.path()).iter().map(|one| format!("{}/{} {}", one.namespace, one.name, one.uid)).collect();
        found.sort();
        assert_eq!(found, [format!("kube-system/coredns-5d78c9869d-x {uid}"), format!("kube-system/etcd-cp {hash}")]);
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(read(root.path()).is_empty(), "anybody could have written it");
    }
}
