//! The pod that a cgroup is of, as its path names it, and what is known of that pod.
//!
//! Owns what of a path is believed. Asks no cluster: what somebody knows of this node's pods is read, without waiting. Keeps true: nobody comes
//! into a pod by a name. The topmost component that is called after a pod counts, where root has made it and all above it, and
//! no container stands above it: what a user or a container made there may be called as they liked.

use super::cgroup::{Paths, container_id, pod_uid};
use crate::world::HostWorld;
use quell_model::InPod;
use std::os::unix::fs::MetadataExt;

impl Paths {
    /// The pod of a process that is there.
    pub(crate) fn pod(&self, world: &HostWorld) -> Option<InPod> {
        self.by_worth().into_iter().find_map(|(_, path)| of_path(world, path?))
    }
}

/// The pod that the cgroup with this path is of, whichever hierarchy it is in.
pub(crate) fn of_path(world: &HostWorld, path: &str) -> Option<InPod> {
    let (mut end, mut named) = (0, None);
    for part in path.split('/') {
        end += part.len();
        let (uid, container) = (pod_uid(part), container_id(part));
        if uid.is_some() || container.is_some() {
            named = Some((uid, container, &path[..end]));
            break;
        }
        end += 1;
    }
    // Of most there is nothing to look at.
    let (uid, own, top) = named?;
    if !is_roots(world, top) {
        return None;
    }
    let below = path[top.len()..].split('/').find_map(container_id);
    let container = own.or(below);
    match &world.pods {
        Some(pods) => pods.place(uid.as_deref(), container),
        None => uid.map(|uid| InPod { uid, namespace: None, name: None }),
    }
}

/// Whether root has made the cgroup and all above it, in each hierarchy that has it.
fn is_roots(world: &HostWorld, path: &str) -> bool {
    world.cgroups.iter().all(|root| {
        let mut dir = root.dir.clone();
        path.split('/').filter(|part| !part.is_empty()).all(|part| {
            dir.push(part);
            std::fs::metadata(&dir).map_or(true, |meta| meta.uid() == 0)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::freeze::Freeze;
    use crate::process::hands::Hands;
    use crate::process::kill::Kill;
    use crate::testing::{Act, Family};
    use crate::world::{CgroupKind, CgroupRoot};
    use quell_model::guard::Within;
    use quell_model::{Action, Decision, PodPlace, Pods};
    use serde_json::json;
    use std::sync::Arc;

    const UID: &str = "1b2c3d4e-0000-1111-2222-333344445555";
    const OTHER: &str = "9b2c3d4e-0000-1111-2222-333344445555";

    /// A hierarchy on paper, and a table that knows two pods.
    fn world(family: &Family) -> HostWorld {
        let pods = Pods::new("kubernetes".into());
        let place =
            |uid: &str, namespace: &str| PodPlace { uid: uid.into(), namespace: namespace.into(), name: "p".into() };
        pods.note_places([place(UID, "kube-system"), place(OTHER, "shop")].into_iter());
        let root = CgroupRoot { dir: family.dir().to_owned(), kind: CgroupKind::V2 };
        HostWorld { cgroups: vec![root], ..family.world().with_pods(Arc::new(pods)) }
    }

    #[test]
    fn a_pod_is_who_the_topmost_name_says_and_what_is_below_is_the_containers_own() {
        let family = Family::new();
        let world = world(&family);
        let id = "0".repeat(64);
        let of = |path: &str| of_path(&world, path).map(|pod| pod.to_string());
        let under = UID.replace('-', "_");
        for path in [
            format!("/kubepods/burstable/pod{UID}/{id}"),
            format!("/kubepods.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{id}.scope/init.scope"),
            format!("/kubepods-besteffort-pod{under}.slice:cri-containerd:{id}"),
            // Who is in a container makes what they like below it.
            format!("/kubepods/pod{UID}/{id}/pod{OTHER}"),
        ] {
            std::fs::create_dir_all(family.dir().join(path.trim_start_matches('/'))).unwrap();
            assert_eq!(of(&path).as_deref(), Some("kube-system/p"), "{path}");
        }
        assert_eq!(of(&format!("/docker/{id}/kubepods/pod{UID}")), None, "a container that calls itself so");
        assert_eq!(of("/system.slice/ssh.service"), None);
        let unknown = "7b2c3d4e-0000-1111-2222-333344445555";
        assert_eq!(of(&format!("/kubepods/pod{unknown}")), Some(format!("with the uid {unknown}")));
        let nobodys = HostWorld { pods: None, ..world.clone() };
        assert_eq!(of_path(&nobodys, &format!("/kubepods/pod{UID}")).map(|pod| pod.namespace), Some(None));
    }

    #[test]
    fn nobody_comes_into_a_protected_pod_by_the_name_of_a_cgroup() {
        let family = Family::new();
        let world = world(&family);
        let theirs = family.dir().join("user.slice");
        std::fs::create_dir_all(theirs.join(format!("mine/pod{UID}"))).unwrap();
        let path = format!("/user.slice/mine/pod{UID}");
        assert!(of_path(&world, &path).is_some());
        std::os::unix::fs::chown(theirs.join("mine"), Some(65_534), None).unwrap();
        assert_eq!(of_path(&world, &path), None);
    }

    #[tokio::test]
    async fn a_process_of_a_protected_pod_is_neither_killed_nor_frozen_however_it_is_reached() {
        let family = Family::new();
        let Some(dir) = family.group(CgroupKind::V2) else { return };
        let uid = format!("{:08x}-0001-4111-8222-333344445555", std::process::id());
        let pod = family.below(&dir, &format!("kubepods-pod{}.slice", uid.replace('-', "_")));
        let parent = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
        let child = family.pid("child");
        std::fs::write(pod.join("cgroup.procs"), child.to_string()).unwrap();
        let pods = Arc::new(Pods::new("kubernetes".into()));
        let world = family.world().with_pods(Arc::clone(&pods));
        let hands = Arc::new(Hands::new(world));
        let (kill, freeze) = (Kill::new(Arc::clone(&hands)), Freeze(hands));
        let mut act = Act::new();
        act.guard.protect.namespaces = vec!["kube-system".into()];
        let said = async |act: &Act, verb: &dyn Action, pid: u32, scope: &str| {
            let plan = verb.plan(&json!({ "process": family.id(pid), "scope": scope })).await.unwrap();
            act.decide(verb, plan)
        };
        let reached = [(child, "process"), (child, "cgroup"), (parent, "tree")];
        let verbs: [&dyn Action; 2] = [&kill, &freeze];
        // While nobody can say where it lives an attacker is contained all the same, and that is said.
        for (verb, (pid, scope)) in verbs.into_iter().flat_map(|verb| reached.map(|reached| (verb, reached))) {
            let Decision::Act(go) = said(&act, verb, pid, scope).await else { panic!("{scope}") };
            let open = &go.plan().still_open;
            assert!(
                open.iter().any(|one| one.contains(&uid) && one.contains("held nothing back")),
                "{scope}: {open:?}"
            );
        }
        let place =
            |namespace: &str| PodPlace { uid: uid.as_str().into(), namespace: namespace.into(), name: "dns".into() };
        pods.note_places([place("kube-system")].into_iter());
        for (verb, (pid, scope)) in verbs.into_iter().flat_map(|verb| reached.map(|reached| (verb, reached))) {
            let Decision::Refuse { guard, why, .. } = said(&act, verb, pid, scope).await else { panic!("{scope}") };
            assert!(guard.as_str() == "protect" && why.contains("in the pod `kube-system/dns`"), "{scope}: {why}");
        }
        // Its parent alone is in no pod.
        assert!(matches!(said(&act, &kill, parent, "process").await, Decision::Act(_)));
        pods.note_places([place("shop")].into_iter());
        assert!(matches!(said(&act, &kill, child, "cgroup").await, Decision::Act(_)));
        act.guard.only_within = Some(Within::namespace("shop"));
        assert!(matches!(said(&act, &kill, child, "cgroup").await, Decision::Act(_)));
        let outside = said(&act, &kill, parent, "process").await;
        assert!(matches!(&outside, Decision::Refuse { guard, .. } if guard.as_str() == "only_within"), "{outside:?}");
    }
}
