//! Where those were who were moved into a cgroup: written on that cgroup itself, so that whoever takes them back knows it, whichever run or quell
//! moved them.
//!
//! Owns the extended attribute `trusted.quell.from` of cgroups that quell made. Keeps true: only who has CAP_SYS_ADMIN on the host can write it
//! (fs/xattr.c `xattr_permission`); it is bounded, and whoever is not in it was where its cgroup was made.

use crate::process::Stat;
use crate::world::HostWorld;
use rustix::fs::XattrFlags;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const NAME: &str = "trusted.quell.from";
/// So many are kept apart; the kernel takes 64 KiB.
const MOST: usize = 1500;
/// Generations that are looked up for one who was in it.
const DEPTH: usize = 64;

/// Who was where: the paths below the v2 hierarchy's root, each with the pids and start times (in ticks) of those who were there.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Origins(BTreeMap<String, Vec<(u32, u64)>>);

impl Origins {
    /// Notes where somebody was, unless it is known; false where there is no room for more.
    pub(super) fn note(&mut self, stat: &Stat, path: &str) -> bool {
        let who = (stat.pid, stat.start_ticks);
        let known = self.0.values().any(|there| there.contains(&who));
        if !known && self.0.values().map(Vec::len).sum::<usize>() >= MOST {
            return false;
        }
        if !known {
            self.0.entry(path.to_owned()).or_default().push(who);
        }
        true
    }

    /// Takes over what another knows.
    pub(super) fn add(&mut self, other: Self) {
        for (path, there) in other.0 {
            let all = self.0.entry(path).or_default();
            all.extend(there);
            all.sort_unstable();
            all.dedup();
        }
    }

    /// Where it was, or whoever started it.
    pub(super) fn of(&self, world: &HostWorld, pid: u32) -> Option<&str> {
        let mut next = pid;
        for _ in 0..DEPTH {
            let stat = Stat::read(world, next).ok().flatten()?;
            let who = (stat.pid, stat.start_ticks);
            if let Some((path, _)) = self.0.iter().find(|(_, there)| there.contains(&who)) {
                return Some(path);
            }
            next = stat.parent;
        }
        None
    }

    /// As it is written on this cgroup; none where nothing is.
    pub(super) fn read(dir: &Path) -> Self {
        let mut bytes = vec![0; 1 << 16];
        let length = rustix::fs::getxattr(dir, NAME, &mut bytes[..]);
        let text = length.ok().and_then(|length| bytes.get(..length));
        text.and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default()
    }

    /// Writes it there.
    pub(super) fn write(&self, dir: &Path) {
        let text = serde_json::to_vec(self).expect("origins have string keys only");
        if let Err(error) = rustix::fs::setxattr(dir, NAME, &text, XattrFlags::empty()) {
            // Where they were is in the journal too.
            tracing::warn!(%error, cgroup = %dir.display(), "where they were who are moved cannot be written on their cgroup");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Family;

    #[test]
    fn each_has_their_own_and_children_their_parents() {
        let family = Family::new();
        let parent = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
        let child = family.pid("child");
        let mut origins = Origins::default();
        assert_eq!(origins.of(&family.world(), child), None);
        let stat = |pid| family.stat(pid).unwrap();
        assert!(origins.note(&stat(parent), "/a"));
        assert_eq!(origins.of(&family.world(), child), Some("/a"), "it was born there");
        assert!(origins.note(&stat(child), "/b") && origins.note(&stat(child), "/c"));
        assert_eq!(origins.of(&family.world(), child), Some("/b"), "what came first is so");
        let stranger = Stat { start_ticks: 1, ..stat(child) };
        for pid in 0..=u32::try_from(MOST).unwrap() {
            origins.note(&Stat { pid, ..stranger.clone() }, "/many");
        }
        assert!(!origins.note(&Stat { pid: 4_000_000, ..stranger }, "/d"), "it is bounded");
        assert!(serde_json::to_vec(&origins).unwrap().len() < 1 << 16);
        let mut other = Origins::default();
        other.add(origins.clone());
        other.add(origins.clone());
        assert_eq!(other, origins);
    }
}
