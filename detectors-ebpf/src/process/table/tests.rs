//! The table's laws: links are mutual, chains end, pids may be used again, records may come late or never.

use super::*;
use crate::record::Record;
use crate::record::tests::{Bytes, exec_bytes};
use crate::record::{KIND_EXIT, KIND_FORK};
use proptest::prelude::*;

const MS: u64 = 1_000_000;
/// Beyond any pid of this machine, so that nothing is found in /proc.
const BASE: u32 = 5_000_000;

fn head(pid: u32, start: u64, ppid: u32, parent_start: u64) -> Head {
    let bytes = Bytes::new(KIND_FORK, 96).head(BASE + pid, start * MS, BASE + ppid, parent_start * MS);
    *Record::read(&bytes.0).unwrap().head()
}

fn exec(table: &mut Table, head: &Head) -> Key {
    let bytes = exec_bytes(head.pid, head.start, head.ppid, head.parent_start);
    let Some(Record::Exec(head, exec)) = Record::read(&bytes.0) else { panic!("no exec") };
    table.exec(&head, &exec)
}

fn exit(table: &mut Table, head: &Head, at: u64) -> Key {
    table.exit(&Head { at, kind: KIND_EXIT, ..*head })
}

#[test]
fn a_child_has_its_parents_image_until_it_executes_its_own() {
    let mut table = Table::default();
    let parent = exec(&mut table, &head(1, 100, 0, 0));
    let child = table.fork(&head(2, 200, 1, 100));
    assert_eq!(table.get(child).unwrap().image.path, "/usr/bin/env");
    assert_eq!(table.parent(table.get(child).unwrap()).unwrap().key, parent);
    assert_eq!(table.children(parent).collect::<Vec<_>>(), [child]);
    assert!(Arc::ptr_eq(&table.get(child).unwrap().image, &table.get(parent).unwrap().image));
    exec(&mut table, &head(2, 200, 1, 100));
    assert_eq!(table.get(child).unwrap().image, table.get(parent).unwrap().image, "the same again, kept once");
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let mut table = Table::default();
    let parent = table.fork(&head(1, 100, 0, 0));
    let old = table.fork(&head(2, 200, 1, 100));
    let new = table.fork(&head(2, 90_000, 1, 100));
    assert_ne!(old, new);
    assert!(table.get(old).unwrap().exited.is_some(), "its end was lost, but somebody else has its pid");
    assert!(table.get(new).unwrap().lives());
    assert_eq!(table.children(parent).collect::<Vec<_>>(), [old, new]);
}

#[test]
fn a_child_before_its_fork_and_an_exit_before_all_are_understood() {
    let mut table = Table::default();
    let child = exec(&mut table, &head(2, 200, 1, 100));
    assert!(table.parent(table.get(child).unwrap()).is_none());
    table.fork(&head(1, 100, 0, 0));
    table.fork(&head(2, 200, 1, 100));
    assert_eq!(table.get(child).unwrap().image.path, "/usr/bin/env", "the later fork record does not undo the exec");
    assert_eq!(table.parent(table.get(child).unwrap()).map(|p| p.key.pid), Some(BASE + 1));
    let unseen = exit(&mut table, &head(9, 900, 1, 100), 5);
    assert_eq!(table.get(unseen).unwrap().exited, Some(5));
}

#[test]
fn the_ended_are_kept_for_a_while_and_longer_while_they_have_children() {
    let mut table = Table::default();
    let parent = table.fork(&head(1, 100, 0, 0));
    let child = table.fork(&head(2, 200, 1, 100));
    exit(&mut table, &head(1, 100, 0, 0), 1_000);
    table.forget(1_000 + EXITED_KEPT - 1);
    assert!(table.get(parent).is_some());
    table.forget(1_000 + EXITED_KEPT);
    assert!(table.get(parent).is_some(), "its child lives and has ancestors");
    let end = 2_000 + EXITED_KEPT;
    exit(&mut table, &head(2, 200, 1, 100), end);
    table.forget(end + EXITED_KEPT);
    table.forget(end + 2 * EXITED_KEPT);
    table.forget(end + 3 * EXITED_KEPT);
    assert!(table.get(child).is_none() && table.get(parent).is_none());
    assert_eq!(table.len(), 0);
}

#[test]
fn a_flood_of_processes_is_bounded() {
    let mut table = Table::default();
    table.fork(&head(1, 100, 0, 0));
    for n in 0..70_000 {
        let head = head(2 + n, 200 + u64::from(n) * 20, 1, 100);
        table.fork(&head);
        exit(&mut table, &head, 1_000);
    }
    assert!(table.len() <= ENDED_MAX + 2, "{}", table.len());
    assert!(table.get(Key::new(BASE + 1, 100 * MS)).is_some(), "who lives stays");
}

#[test]
fn long_arguments_of_the_dead_are_bounded() {
    let mut table = Table::default();
    table.fork(&head(1, 100, 0, 0));
    for n in 0..4_000 {
        let head = head(2 + n, 200 + u64::from(n) * 20, 1, 100);
        let key = table.fork(&head);
        let image = Image { command_line: "x".repeat(8_192), ..Image::default() };
        table.by_key.get_mut(&key).unwrap().image = Arc::new(image);
        exit(&mut table, &head, 1_000);
    }
    assert!(table.ended_text <= ENDED_TEXT_MAX && table.len() > 1_000, "{} of {}", table.ended_text, table.len());
}

#[test]
fn a_chain_of_forks_and_deaths_is_bounded() {
    let mut table = Table::default();
    for n in 0..70_000 {
        let head = head(1 + n, 100 + u64::from(n) * 20, n, (100 + u64::from(n) * 20).saturating_sub(20));
        table.fork(&head);
        if n > 0 {
            exit(&mut table, &self::head(n, 100 + u64::from(n - 1) * 20, 0, 0), 1_000);
        }
    }
    assert!(table.len() <= PROCESSES_MAX + 1, "{}", table.len());
}

#[test]
fn the_living_are_found_among_many_dead() {
    let mut table = Table::default();
    let parent = table.fork(&head(1, 100, 0, 0));
    for n in 0..1_000 {
        let head = head(10 + n, 200 + u64::from(n) * 20, 1, 100);
        table.fork(&head);
        if n != 500 {
            exit(&mut table, &head, 1_000);
        }
    }
    let grandchild = table.fork(&head(5_000, 90_000, 509, 200 + 499 * 20));
    let found: Vec<Key> = table.living_below(table.get(parent).unwrap(), 8).iter().map(|p| p.key).collect();
    assert_eq!(found, [Key::new(BASE + 510, (200 + 500 * 20) * MS), grandchild]);
}

/// The same by all links there are.
fn all_living_below(table: &Table, key: Key) -> HashSet<Key> {
    let mut seen = HashSet::from([key]);
    let mut todo: Vec<Key> = table.children(key).collect();
    while let Some(next) = todo.pop() {
        if table.get(next).is_some() && seen.insert(next) {
            todo.extend(table.children(next));
        }
    }
    seen.retain(|one| *one != key && table.get(*one).is_some_and(Process::lives));
    seen
}

#[derive(Clone, Debug)]
enum Step {
    Fork(u32, u32),
    Exec(u32),
    Exit(u32),
    /// The kernel gave the pid to somebody else and the end of the first was lost.
    Again(u32),
    Later(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let pid = 1_u32..12;
    prop_oneof![
        (pid.clone(), pid.clone()).prop_map(|(p, c)| Step::Fork(p, c)),
        pid.clone().prop_map(Step::Exec),
        pid.clone().prop_map(Step::Exit),
        pid.prop_map(Step::Again),
        (0_u64..400).prop_map(Step::Later),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever happens, links are mutual, chains end and the latest holder of a pid is known by it.
    #[test]
    fn links_are_mutual_and_chains_end(steps in proptest::collection::vec(step(), 1..120)) {
        let mut table = Table::default();
        let mut born: HashMap<u32, (u64, u32, u64)> = HashMap::new();
        let mut now = 1_000_u64;
        for step in steps {
            now += 20;
            let of = |born: &HashMap<u32, (u64, u32, u64)>, pid: u32| {
                let (start, ppid, parent_start) = born.get(&pid).copied().unwrap_or((pid.into(), 0, 0));
                head(pid, start, ppid, parent_start)
            };
            match step {
                Step::Fork(parent, child) if parent != child => {
                    let parent_start = born.get(&parent).map_or(u64::from(parent), |b| b.0);
                    born.insert(child, (now, parent, parent_start));
                    table.fork(&of(&born, child));
                }
                Step::Again(pid) => {
                    born.insert(pid, (now, 0, 0));
                    table.fork(&of(&born, pid));
                }
                Step::Exec(pid) => { exec(&mut table, &of(&born, pid)); }
                Step::Exit(pid) => { exit(&mut table, &of(&born, pid), now * MS); }
                Step::Later(seconds) => { now += seconds * 1_000; table.forget(now * MS); }
                Step::Fork(..) => {}
            }
            for process in table.iter() {
                prop_assert!(table.ancestors(process).count() < ANCESTORS_MAX);
                if let Some(parent) = process.parent {
                    prop_assert!(table.children(parent).any(|child| child == process.key));
                }
            }
            for (parent, children) in &table.children {
                prop_assert!(!children.is_empty());
                for child in children {
                    prop_assert_eq!(table.get(*child).and_then(|c| c.parent), Some(*parent));
                }
            }
            for process in table.iter() {
                let found: HashSet<Key> = table.living_below(process, usize::MAX).iter().map(|p| p.key).collect();
                prop_assert_eq!(found, all_living_below(&table, process.key));
            }
            let text: usize = table.iter().map(Process::ended_text).sum();
            prop_assert_eq!(table.ended_text, text);
            for (pid, key) in &table.by_pid {
                prop_assert!(table.get(*key).is_some());
                let latest = table.iter().filter(|p| p.key.pid == *pid).map(|p| p.key.ticks).max();
                prop_assert_eq!(latest, Some(key.ticks));
            }
        }
    }
}
