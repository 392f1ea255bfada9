//! Who descends from whom, kept from every fork, exec and exit that the sensor tells: what /proc forgets when a parent
//! dies. Freeze and kill find the re-parented through it, and need not read /proc whole.
//!
//! Bounded: the dead are forgotten in the order of their deaths, their children go to the grandparent, so that descent
//! from the living is never lost; the living are as many as the kernel lets live.

use quell_actions::{JustSeen, Lineage};
use quell_engine::clock::SystemClock;
use quell_model::seeded::Seeded;
use quell_model::{Class, Clock, Event, Field, ProcessId, Stamp, Subject};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The source of live events.
const SENSOR: &str = "sensor";
/// The dead that are kept: some seconds of a fork bomb, hours of a quiet host.
const DEAD: usize = 16_384;
/// No more processes than this in all; a kernel with the default pid_max has 32,768 alive. Past it exits were lost, and
/// the tree begins anew.
const MOST: usize = 1 << 17;
/// What is kept of a command line: what the actions show of one.
const LONGEST: usize = 4096;

/// A process for good: its pid and its start in ticks, which a scan of /proc knows too.
type Key = (u32, u64);

fn key(id: &ProcessId) -> Key {
    (id.pid, id.start_ticks())
}

#[derive(Debug)]
struct Node {
    id: ProcessId,
    parent: Option<Key>,
    /// In order, so that one of the thousands that a shell has had is taken out at once.
    children: BTreeSet<Key>,
    command_line: Option<Arc<str>>,
    /// Known by more than a child that names it.
    told: bool,
    dead: bool,
}

impl Node {
    fn new(id: ProcessId) -> Self {
        Self { id, parent: None, children: BTreeSet::new(), command_line: None, told: false, dead: false }
    }
}

#[derive(Debug, Default)]
struct Tree {
    nodes: HashMap<Key, Node, Seeded>,
    dead: VecDeque<Key>,
}

/// For so long what an exec told is how the process stands: about as long as reading /proc and acting on it take when a
/// machine is busy. Whoever is asked later asks /proc.
const FRESH: Duration = Duration::from_millis(10);

/// Who was seen last, when, and how.
type Latest = (ProcessId, Stamp, Arc<JustSeen>);

/// See the module. Written on the sensor's thread, read by the actions.
#[derive(Debug, Default)]
pub(crate) struct Family {
    tree: Mutex<Tree>,
    latest: Mutex<Option<Latest>>,
}

impl Family {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> MutexGuard<'_, Option<Latest>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exec that a rule matched: what is done next is done to this process.
    pub(super) fn matched(&self, event: &dyn Event) {
        // A scan tells what stood in /proc; of other events the process' part may be old.
        if event.head().class != Class::ProcessCreation || event.head().source.as_str() != SENSOR {
            return;
        }
        let Subject::Process(id) = event.subject() else { return };
        let text = |path: &str| match event.own(path) {
            Some(Field::Str(text)) if !text.is_empty() => Some(text.into_owned()),
            _ => None,
        };
        let is = |path: &str| event.own(path) == Some(Field::Bool(true));
        let Some(Field::Int(euid)) = event.own("process.euid") else { return };
        let Ok(euid) = u32::try_from(euid) else { return };
        // /proc marks what has no name any more.
        let nameless = is("process.deleted") || is("process.memfd");
        let seen = JustSeen {
            image: text("process.image").filter(|_| !nameless),
            cgroup: text("process.cgroup_path").filter(|path| path != "/"),
            unit: text("process.unit"),
            euid,
        };
        *self.latest() = Some((id, event.head().at, Arc::new(seen)));
    }

    /// Learns from an event.
    pub(super) fn learn(&self, event: &dyn Event) {
        let class = event.head().class;
        if !matches!(class, Class::ProcessFork | Class::ProcessCreation | Class::ProcessTermination) {
            return;
        }
        let Subject::Process(id) = event.subject() else { return };
        if class == Class::ProcessTermination {
            return self.tree().ended(&id);
        }
        let text = |path: &str| match event.own(path) {
            Some(Field::Str(text)) => Some(text.into_owned()),
            _ => None,
        };
        let command_line = (class == Class::ProcessCreation).then(|| text("process.command_line")).flatten();
        self.tree().lives(&id, event.parent_id(), command_line.map(cut));
    }
}

/// At most [`LONGEST`] bytes, at a character's end.
fn cut(mut text: String) -> Arc<str> {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text.into()
}

impl Tree {
    fn lives(&mut self, id: &ProcessId, parent: Option<ProcessId>, command_line: Option<Arc<str>>) {
        let own = key(id);
        if let Some(known) = self.nodes.get_mut(&own).filter(|known| known.told) {
            // An exec: another image in the same process.
            known.id = id.clone();
            known.command_line = command_line.or_else(|| known.command_line.take());
            return;
        }
        if self.nodes.len() >= MOST {
            tracing::warn!(
                "the tree of processes is full and begins anew: who was left by a parent that died may be missed"
            );
            (self.nodes, self.dead) = (HashMap::default(), VecDeque::new());
        }
        let parent = parent.map(|parent| {
            let above = key(&parent);
            self.nodes.entry(above).or_insert_with(|| Node::new(parent)).children.insert(own);
            above
        });
        // Until it executes something it bears its parent's arguments.
        let inherited = || parent.and_then(|above| self.nodes.get(&above)?.command_line.clone());
        let command_line = command_line.or_else(inherited);
        // A child may have named it before.
        let node = self.nodes.entry(own).or_insert_with(|| Node::new(id.clone()));
        (node.id, node.parent, node.command_line, node.told) = (id.clone(), parent, command_line, true);
    }

    fn ended(&mut self, id: &ProcessId) {
        let own = key(id);
        let Some(node) = self.nodes.get_mut(&own).filter(|node| !node.dead) else { return };
        node.dead = true;
        self.dead.push_back(own);
        while self.dead.len() > DEAD {
            if let Some(oldest) = self.dead.pop_front() {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, own: Key) {
        let Some(node) = self.nodes.remove(&own) else { return };
        for child in &node.children {
            if let Some(child) = self.nodes.get_mut(child) {
                child.parent = node.parent;
            }
        }
        if let Some(above) = node.parent.and_then(|above| self.nodes.get_mut(&above)) {
            above.children.remove(&own);
            above.children.extend(node.children);
        }
    }
}

impl Lineage for Family {
    fn descendants(&self, of: &ProcessId) -> Vec<ProcessId> {
        let tree = self.tree();
        let mut found = Vec::new();
        let mut open: VecDeque<Key> =
            tree.nodes.get(&key(of)).into_iter().flat_map(|node| &node.children).copied().collect();
        while let Some(next) = open.pop_front() {
            let Some(node) = tree.nodes.get(&next) else { continue };
            found.push(node.id.clone());
            open.extend(&node.children);
        }
        found
    }

    fn command_line(&self, of: &ProcessId) -> Option<String> {
        self.tree().nodes.get(&key(of))?.command_line.as_deref().map(str::to_owned)
    }

    fn just_seen(&self, of: &ProcessId) -> Option<Arc<JustSeen>> {
        let latest = self.latest();
        let (_, _, seen) = latest.as_ref().filter(|(id, at, _)| id == of && SystemClock.now().since(*at) <= FRESH)?;
        Some(Arc::clone(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::{BootId, Entity, EventHead, OwnedEvent};

    fn id(pid: u32) -> ProcessId {
        ProcessId { boot: BootId("b".into()), pid, start_ns: u64::from(pid) * 1_000_000_000, exec_id: 1 }
    }

    fn pids(family: &Family, of: u32) -> Vec<u32> {
        family.descendants(&id(of)).iter().map(|id| id.pid).collect()
    }

    #[test]
    fn the_child_of_a_dead_parent_is_still_found_also_when_the_parent_is_forgotten() {
        let family = Family::default();
        for (child, parent) in [(2, 1), (3, 2), (4, 3)] {
            family.tree().lives(&id(child), Some(id(parent)), None);
        }
        family.tree().ended(&id(3));
        assert_eq!(pids(&family, 1), [2, 3, 4]);
        family.tree().forget(key(&id(3)));
        assert_eq!(pids(&family, 1), [2, 4]);
        assert_eq!(pids(&family, 2), [4]);
    }

    #[test]
    fn an_exec_changes_the_arguments_and_a_fork_inherits_them() {
        let family = Family::default();
        family.tree().lives(&id(1), None, Some("sh -c x".into()));
        family.tree().lives(&id(2), Some(id(1)), None);
        assert_eq!(family.command_line(&id(2)).as_deref(), Some("sh -c x"));
        family.tree().lives(&id(2), Some(id(1)), Some("curl".into()));
        assert_eq!(family.command_line(&id(2)).as_deref(), Some("curl"));
        assert_eq!(pids(&family, 1), [2]);
    }

    fn exec(of: &ProcessId, source: &str, at: Stamp) -> OwnedEvent {
        let own = serde_json::json!({ "process": {
            "image": "/tmp/x", "cgroup_path": "/box", "unit": null, "euid": 7, "deleted": false, "memfd": false } });
        OwnedEvent {
            v: 1,
            head: EventHead {
                id: "e".into(),
                class: Class::ProcessCreation,
                source: source.into(),
                node: "n".into(),
                at,
                seen: at,
            },
            logsource: Default::default(),
            sigma: Default::default(),
            own: own.as_object().cloned().unwrap_or_default(),
            subject: Subject::Process(of.clone()),
            entity: Entity { kind: "node".into(), id: "n".into(), node: "n".into() },
        }
    }

    #[test]
    fn an_exec_is_told_again_only_while_it_is_fresh_and_only_of_that_image() {
        let family = Family::default();
        let now = SystemClock.now();
        family.matched(&exec(&id(2), "scan", now));
        assert_eq!(family.just_seen(&id(2)), None, "a scan tells what stood in /proc");
        // A machine that is busy may need longer than that between two lines of this test.
        let later = now.after(Duration::from_secs(600));
        family.matched(&exec(&id(2), SENSOR, later));
        let seen = family.just_seen(&id(2)).unwrap();
        assert_eq!((seen.image.as_deref(), seen.cgroup.as_deref(), seen.euid), (Some("/tmp/x"), Some("/box"), 7));
        assert_eq!(family.just_seen(&ProcessId { exec_id: 2, ..id(2) }), None, "another image");
        let earlier = Stamp { boot_ns: now.boot_ns.saturating_sub(1_000_000_000), ..now };
        family.matched(&exec(&id(2), SENSOR, earlier));
        assert_eq!(family.just_seen(&id(2)), None, "a second ago");
    }

    #[test]
    fn who_was_first_named_by_a_child_gets_a_parent_too() {
        let family = Family::default();
        // A scan tells them by their numbers, and those begin anew: a child may come before its parent.
        for (child, parent) in [(2, 9), (9, 5), (5, 1)] {
            family.tree().lives(&id(child), Some(id(parent)), None);
        }
        assert_eq!(pids(&family, 1), [5, 9, 2]);
        assert_eq!(pids(&family, 5), [9, 2]);
        family.tree().ended(&id(9));
        family.tree().forget(key(&id(9)));
        assert_eq!(pids(&family, 1), [5, 2]);
    }

    #[test]
    fn the_dead_are_bounded() {
        let family = Family::default();
        for pid in 2..u32::try_from(DEAD).unwrap() + 100 {
            family.tree().lives(&id(pid), Some(id(1)), None);
            family.tree().ended(&id(pid));
        }
        assert_eq!(family.tree().nodes.len(), DEAD + 1);
        assert_eq!(family.tree().nodes[&key(&id(1))].children.len(), DEAD);
    }

    #[test]
    fn long_arguments_are_cut_at_a_character() {
        assert_eq!(cut("ä".repeat(LONGEST)).len(), LONGEST);
        assert_eq!(cut(format!("x{}", "ä".repeat(LONGEST))).len(), LONGEST - 1);
    }
}
