//! Every process that lives, and for a while those that ended: parents by identity, ancestors, images.
//!
//! Owns the links; the sensor's thread owns the table. Survives pids that are used again (the start time is part of the
//! key), records that come late or never (what is missing is asked of /proc, or stays blank), and floods (bounded).

use super::ask::BRIEF;
use super::images::Images;
use super::living::Living;
use super::{Ids, Image, Key, Process, comm, proc};
use crate::cgroup::Cgroups;
use crate::record::{Cred, Exec, Head};
use crate::users::Users;
use quell_model::process::TICK_NS;
use quell_model::seeded::Seeded;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// An ended process is kept so long, in ns: rules and playbooks ask for parents of what happened a moment ago.
pub(crate) const EXITED_KEPT: u64 = 300 * 1_000_000_000;
/// At most so many processes are kept: past that the longest ended go first. As many as the default pid_max lets live;
/// the living are never forgotten.
pub(crate) const PROCESSES_MAX: usize = 32_768;
/// Of those that ended at most so many, as long as they are nobody's parents: seconds of a storm, five minutes of most
/// hosts. With what hangs on it one takes about 1 kB.
pub(crate) const ENDED_MAX: usize = 8_192;
/// … and at most so many bytes of paths and arguments: those of one may be 8 KiB long.
const ENDED_TEXT_MAX: usize = 8 * 1024 * 1024;
/// How many of the ended one look passes over because they have children.
const PASSED_OVER: usize = 64;
/// Chains of parents are followed so far.
const ANCESTORS_MAX: usize = 64;
/// A search for the living looks at so many at most.
const LOOKED_THROUGH: usize = 2048;

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_key: HashMap<Key, Process, Seeded>,
    by_pid: HashMap<u32, Key, Seeded>,
    /// The links from parents, known or not, to children that are known.
    children: HashMap<Key, BTreeSet<Key>, Seeded>,
    living: Living,
    ended: VecDeque<(u64, Key)>,
    /// Bytes of text that the ended hold, each counted as if it were alone.
    ended_text: usize,
    images: Images,
    /// Names of users.
    pub(crate) users: Users,
    /// Names of cgroups.
    pub(crate) cgroups: Cgroups,
}

impl Table {
    /// The process of this identity.
    #[must_use]
    pub(crate) fn get(&self, key: Key) -> Option<&Process> {
        self.by_key.get(&key)
    }

    /// It lives in this cgroup.
    #[cfg(test)]
    pub(crate) fn place(&mut self, key: Key, path: &str) {
        self.by_key.get_mut(&key).unwrap().cgroup = Arc::new(crate::cgroup::Cgroup::of_path(path));
    }

    /// It is of the login with this number.
    #[cfg(test)]
    pub(crate) fn log_in(&mut self, key: Key, session: u32) {
        self.by_key.get_mut(&key).unwrap().session = session;
    }

    /// How many are known.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// All that are known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Process> {
        self.by_key.values()
    }

    /// The parent of a process.
    #[must_use]
    pub(crate) fn parent(&self, process: &Process) -> Option<&Process> {
        self.get(process.parent?)
    }

    /// The process that another one calls by this pid, which holds in the other's pid namespace.
    pub(crate) fn in_namespace_of(&self, other: Key, pid: u32) -> Option<&Process> {
        let other = self.get(other)?;
        // 0 is not known: then it is taken for the initial namespace, as long as nothing speaks against it.
        if other.ns_pid == 0 || other.ns_pid == other.key.pid {
            return self.get(*self.by_pid.get(&pid)?);
        }
        self.iter().find(|p| p.lives() && p.ns_pid == pid && p.namespaces.pid == other.namespaces.pid)
    }

    /// Parent, its parent, and so on; ends at what is not known.
    pub(crate) fn ancestors<'a>(&'a self, process: &'a Process) -> impl Iterator<Item = &'a Process> {
        std::iter::successors(self.parent(process), |p| self.parent(p)).take(ANCESTORS_MAX)
    }

    /// Those born of a process that are still known.
    #[cfg(test)]
    pub(crate) fn children(&self, key: Key) -> impl Iterator<Item = Key> {
        self.children.get(&key).into_iter().flatten().copied()
    }

    /// The living among children, their children and so on: breadth first, the youngest first, at most `most`.
    #[must_use]
    pub(crate) fn living_below(&self, process: &Process, most: usize) -> Vec<&Process> {
        let mut out: Vec<&Process> = Vec::new();
        let mut seen = HashSet::from([process.key]);
        let mut todo: VecDeque<Key> = self.living.youngest_first(process.key).take(LOOKED_THROUGH).collect();
        while let Some(key) = todo.pop_front() {
            if out.len() >= most || seen.len() > LOOKED_THROUGH {
                break;
            }
            if let Some(child) = self.get(key).filter(|_| seen.insert(key)) {
                todo.extend(self.living.youngest_first(key).take(LOOKED_THROUGH));
                out.extend(Some(child).filter(|c| c.lives()));
            }
        }
        out
    }

    /// Makes sure that the record's process is known, and takes over what the record says of it.
    pub(crate) fn touch(&mut self, head: &Head) -> Key {
        let key = Key::new(head.pid, head.start);
        if !self.by_key.contains_key(&key) {
            self.add_unseen(head);
        }
        self.take_head(key, head);
        key
    }

    /// A process was born: it is its parent in all but identity.
    pub(crate) fn fork(&mut self, head: &Head) -> Key {
        let key = Key::new(head.pid, head.start);
        let parent = Key::new(head.ppid, head.parent_start);
        let mut child = match self.by_key.get(&parent) {
            Some(parent) => Process { exited: None, ..parent.clone() },
            None => Process { image: Arc::new(named_only(head)), ..Process::blank(head.pid, head.start) },
        };
        child.key = key;
        child.ns_pid = 0;
        // A record of its own may have come first.
        if let Some(known) = self.by_key.get(&key).filter(|known| known.start == head.start) {
            child.image = Arc::clone(&known.image);
            child.exited = known.exited;
        }
        child.parent = (head.ppid != 0).then_some(parent);
        self.insert(child);
        self.take_head(key, head);
        key
    }

    /// A process executed an image.
    pub(crate) fn exec(&mut self, head: &Head, exec: &Exec<'_>) -> Key {
        let key = Key::new(head.pid, head.start);
        if !self.by_key.contains_key(&key) {
            // Its fork was lost: what the exec does not tell need not be asked for, as it tells nearly all.
            let mut process = Process::blank(head.pid, head.start);
            process.parent = (head.ppid != 0).then(|| Key::new(head.ppid, head.parent_start));
            self.insert(process);
        }
        self.take_head(key, head);
        if let Some(process) = self.by_key.get_mut(&key) {
            let before = process.ended_text();
            process.take_exec(exec, self.images.of(exec));
            self.ended_text = self.ended_text.saturating_sub(before) + process.ended_text();
        }
        key
    }

    /// A process ended.
    pub(crate) fn exit(&mut self, head: &Head) -> Key {
        let key = self.touch(head);
        if let Some(process) = self.by_key.get_mut(&key).filter(|p| p.exited.is_none()) {
            process.exited = Some(head.at);
            self.ended_text += process.ended_text();
            self.ended.push_back((head.at, key));
            self.living.settle(key, &self.by_key);
        }
        self.forget(head.at);
        key
    }

    /// Ids or capabilities changed: returns what they were.
    pub(crate) fn credentials(&mut self, head: &Head, cred: &Cred) -> (Key, Ids) {
        let key = Key::new(head.pid, head.start);
        if !self.by_key.contains_key(&key) {
            self.add_unseen(head);
        }
        let old = self.by_key.get(&key).map(|p| p.ids).unwrap_or_default();
        self.take_head(key, head);
        if let Some(process) = self.by_key.get_mut(&key) {
            process.ids.cap_effective = cred.cap_effective;
            process.ids.cap_permitted = cred.cap_permitted;
        }
        (key, old)
    }

    /// A process that was there before the sensor. One that is already known from its own records stays as it is.
    pub(crate) fn scanned(&mut self, process: Process) -> Option<Key> {
        let key = process.key;
        if let Some(known) = self.by_key.get_mut(&key).filter(|known| !known.image.path.is_empty()) {
            if known.parent.is_none() {
                known.parent = process.parent;
                if let Some(parent) = process.parent {
                    self.children.entry(parent).or_default().insert(key);
                }
                self.living.settle(key, &self.by_key);
            }
            return None;
        }
        self.insert(process);
        Some(key)
    }

    /// What ended too long ago or is beyond a bound, as long as it has no known children; those too when all are too many.
    pub(crate) fn forget(&mut self, now: u64) {
        let mut looked = self.ended.len().min(PASSED_OVER);
        while let Some((at, key)) = self.ended.front().copied() {
            let full = self.by_key.len() > PROCESSES_MAX;
            let many = self.ended.len() > ENDED_MAX || self.ended_text > ENDED_TEXT_MAX;
            if !full && !many && now.saturating_sub(at) < EXITED_KEPT {
                break;
            }
            self.ended.pop_front();
            if !full && self.children.contains_key(&key) {
                self.ended.push_back((now, key));
                looked -= 1;
                if looked == 0 {
                    break;
                }
                continue;
            }
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(gone) = self.by_key.remove(&key) else { return };
        self.ended_text = self.ended_text.saturating_sub(gone.ended_text());
        if self.by_pid.get(&key.pid) == Some(&key) {
            self.by_pid.remove(&key.pid);
        }
        self.unlink(key, gone.parent);
    }

    fn unlink(&mut self, key: Key, parent: Option<Key>) {
        self.living.unlink(key, parent, &self.by_key);
        let Some(parent) = parent else { return };
        if let Some(of) = self.children.get_mut(&parent) {
            of.remove(&key);
            if of.is_empty() {
                self.children.remove(&parent);
            }
        }
    }

    /// Puts a process in, with the link from its parent. A pid that is used again ends the one that had it.
    fn insert(&mut self, process: Process) {
        let key = process.key;
        if let Some(old) = self.by_pid.insert(key.pid, key).filter(|old| *old != key) {
            if old.ticks > key.ticks {
                self.by_pid.insert(key.pid, old);
            } else if let Some(old_process) = self.by_key.get_mut(&old).filter(|p| p.exited.is_none()) {
                let at = process.start;
                old_process.exited = Some(at);
                self.ended_text += old_process.ended_text();
                self.ended.push_back((at, old));
                self.living.settle(old, &self.by_key);
            }
        }
        if let Some(parent) = process.parent {
            self.children.entry(parent).or_default().insert(key);
        }
        let parent = process.parent;
        self.ended_text += process.ended_text();
        if let Some(before) = self.by_key.insert(key, process) {
            self.ended_text = self.ended_text.saturating_sub(before.ended_text());
            if before.parent != parent {
                self.unlink(key, before.parent);
            }
        }
        self.living.settle(key, &self.by_key);
    }

    /// A record about a process of which nothing is known: asked of /proc while it is there.
    fn add_unseen(&mut self, head: &Head) {
        let mut process = Process::blank(head.pid, head.start);
        process.parent = (head.ppid != 0).then(|| Key::new(head.ppid, head.parent_start));
        process.image = Arc::new(named_only(head));
        let is = |stat: &proc::Stat| stat.start_ticks == head.start / TICK_NS;
        if proc::stat(head.pid).as_ref().is_some_and(is) {
            proc::fill(&mut process, &self.users, &self.cgroups, BRIEF);
        }
        self.insert(process);
    }

    fn take_head(&mut self, key: Key, head: &Head) {
        let Some(process) = self.by_key.get_mut(&key) else { return };
        if process.ids.uid != head.uid || process.user.is_empty() {
            process.user = self.users.name(head.uid);
        }
        process.take_head(head);
        if head.cgroup != 0 && process.cgroup_id != head.cgroup {
            process.cgroup_id = head.cgroup;
            process.cgroup = self.cgroups.get(head.cgroup, Some(head.pid));
        }
    }
}

/// All that is left of a process that came and went unseen: the name of its thread.
fn named_only(head: &Head) -> Image {
    Image { file: comm(head), ..Image::default() }
}

#[cfg(test)]
mod tests;
