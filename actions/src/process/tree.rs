//! Who descends from a process, as /proc shows it now.
//!
//! Two ways, one answer: `/proc/PID/task/*/children` where the kernel has it (CONFIG_PROC_CHILDREN), else one reading of
//! every `/proc/PID/stat`. The latter also finds children whose parent died and who were given to another: by the
//! session or the process group that somebody in the tree leads.
//!
//! Keeps true: parents come before their children; nobody is taken for a descendant who started before its ancestor.

use super::identity::cannot;
use super::pace::{Over, Pace};
use super::stat::{Stat, there};
use super::target::Relation;
use crate::world::HostWorld;
use quell_model::ActionError;
use std::collections::{HashMap, HashSet};
use std::io;

/// Every process of the host at one reading.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_pid: HashMap<u32, Stat>,
}

impl Table {
    /// Reads all of /proc: about 10 µs a process.
    pub(crate) async fn read(world: &HostWorld, pace: &mut Pace) -> Result<Self, ActionError> {
        let whole = |error: &io::Error| cannot("read", "/proc", error);
        let mut by_pid = HashMap::new();
        for entry in std::fs::read_dir(&world.proc).map_err(|error| whole(&error))? {
            let entry = entry.map_err(|error| whole(&error))?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            pace.step().await.map_err(Over::of_scope)?;
            if let Some(stat) = Stat::read(world, pid).map_err(|error| whole(&error))? {
                by_pid.insert(pid, stat);
            }
        }
        Ok(Self { by_pid })
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Stat> {
        self.by_pid.values()
    }

    /// Everyone below these who is not one of them: children by their parent, and the re-parented by their leaders.
    pub(crate) fn below(&self, roots: &[Stat]) -> Vec<(Stat, Relation)> {
        let mut children: HashMap<u32, Vec<&Stat>> = HashMap::new();
        let mut led: HashMap<u32, Vec<&Stat>> = HashMap::new();
        for stat in self.by_pid.values() {
            children.entry(stat.parent).or_default().push(stat);
            if stat.session != stat.pid {
                led.entry(stat.session).or_default().push(stat);
            }
            if stat.group != stat.pid && stat.group != stat.session {
                led.entry(stat.group).or_default().push(stat);
            }
        }
        let mut known: HashSet<u32> = roots.iter().map(|root| root.pid).collect();
        let mut found: Vec<(Stat, Relation)> = Vec::new();
        let mut todo: Vec<Stat> = roots.iter().filter(|root| self.is_here(root)).cloned().collect();
        let mut at = 0;
        while at < todo.len() {
            let one = todo[at].clone();
            at += 1;
            let own = children.get(&one.pid).into_iter().flatten().map(|child| (*child, Relation::Below));
            let orphans = led.get(&one.pid).into_iter().flatten().filter_map(|stat| {
                // A session is left only by making another: whoever is in it descends from its leader.
                let in_session = stat.session == one.pid && one.session == one.pid;
                // A job's processes are siblings while their shell lives; without it they are told apart from strangers
                // by the group alone, so that protection still holds for them.
                let in_job = stat.group == one.pid && one.group == one.pid && self.is_given_away(stat);
                in_session.then_some((*stat, Relation::Below)).or(in_job.then_some((*stat, Relation::Scope)))
            });
            for (stat, relation) in own.chain(orphans) {
                if stat.start_ticks >= one.start_ticks && known.insert(stat.pid) {
                    found.push((stat.clone(), relation));
                    todo.push(stat.clone());
                }
            }
        }
        found
    }

    fn is_here(&self, stat: &Stat) -> bool {
        self.by_pid.get(&stat.pid).is_some_and(|now| now.start_ticks == stat.start_ticks)
    }

    /// Whether its parent is not of its session: it was given to init or to a subreaper.
    fn is_given_away(&self, stat: &Stat) -> bool {
        self.by_pid.get(&stat.parent).is_none_or(|parent| parent.session != stat.session)
    }
}

/// Everyone below these, as cheaply as this kernel tells: `whole` asks for the re-parented too, whatever it costs.
pub(crate) async fn descendants(
    world: &HostWorld,
    roots: &[Stat],
    whole: bool,
    pace: &mut Pace,
) -> Result<Vec<(Stat, Relation)>, ActionError> {
    let leads = roots.iter().any(|root| root.session == root.pid || root.group == root.pid);
    if whole && leads || !has_children_files(world) {
        return Ok(Table::read(world, pace).await?.below(roots));
    }
    let found = walk(world, roots, pace).await?;
    let leads = found.iter().any(|(stat, _)| stat.session == stat.pid || stat.group == stat.pid);
    if whole && leads { Ok(Table::read(world, pace).await?.below(roots)) } else { Ok(found) }
}

fn has_children_files(world: &HostWorld) -> bool {
    world.proc.join("thread-self/children").exists()
}

/// Follows `/proc/PID/task/*/children`, parents first.
async fn walk(world: &HostWorld, roots: &[Stat], pace: &mut Pace) -> Result<Vec<(Stat, Relation)>, ActionError> {
    let unread = |error: io::Error| cannot("read", "/proc", &error);
    let mut known: HashSet<u32> = roots.iter().map(|root| root.pid).collect();
    let mut todo: Vec<Stat> = roots.to_vec();
    let mut found = Vec::new();
    let mut at = 0;
    while at < todo.len() {
        let one = todo[at].clone();
        at += 1;
        for task in there(std::fs::read_dir(world.of(one.pid, "task"))).map_err(unread)?.into_iter().flatten().flatten()
        {
            pace.step().await.map_err(Over::of_scope)?;
            let text =
                there(std::fs::read_to_string(task.path().join("children"))).map_err(unread)?.unwrap_or_default();
            for pid in text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
                pace.step().await.map_err(Over::of_scope)?;
                let Some(stat) = Stat::read(world, pid).map_err(unread)? else { continue };
                if stat.parent == one.pid && stat.start_ticks >= one.start_ticks && known.insert(pid) {
                    found.push((stat.clone(), Relation::Below));
                    todo.push(stat);
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::pace::on_own_thread;
    use super::*;
    use quell_model::BootId;

    fn stat(pid: u32, parent: u32, group: u32, session: u32, start_ticks: u64) -> Stat {
        Stat {
            pid,
            name: "x".to_owned(),
            state: 'S',
            parent,
            group,
            session,
            kernel_thread: false,
            threads: 1,
            start_ticks,
            processor: None,
        }
    }

    fn table(stats: &[Stat]) -> Table {
        Table { by_pid: stats.iter().map(|stat| (stat.pid, stat.clone())).collect() }
    }

    fn pids(found: Vec<(Stat, Relation)>) -> Vec<(u32, Relation)> {
        let mut pids: Vec<_> = found.into_iter().map(|(stat, relation)| (stat.pid, relation)).collect();
        pids.sort_by_key(|(pid, _)| *pid);
        pids
    }

    #[test]
    fn children_of_children_and_no_siblings() {
        let all = [stat(10, 1, 10, 10, 5), stat(20, 10, 20, 10, 6), stat(21, 10, 21, 10, 6), stat(30, 20, 20, 10, 7)];
        assert_eq!(pids(table(&all).below(&all[1..2])), [(30, Relation::Below)]);
    }

    #[test]
    fn who_was_given_away_is_found_by_its_leader() {
        let root = stat(20, 10, 20, 10, 5);
        let all = [
            stat(10, 1, 10, 10, 4),
            root.clone(),
            stat(30, 20, 30, 30, 6), // setsid by a child of the root
            stat(31, 1, 31, 30, 7),  // its orphan, in the session that 30 leads
            stat(32, 1, 20, 10, 7),  // an orphan in the root's job: given to init
            stat(33, 10, 20, 10, 7), // a sibling in the root's job, its shell lives
            stat(34, 1, 34, 10, 7),  // an orphan of the shell's session in a job of its own
        ];
        assert_eq!(
            pids(table(&all).below(&[root])),
            [(30, Relation::Below), (31, Relation::Below), (32, Relation::Scope)]
        );
    }

    #[test]
    fn nobody_descends_from_one_who_came_later() {
        let all = [stat(20, 10, 20, 20, 9), stat(30, 20, 30, 20, 3)];
        assert!(table(&all).below(&all[..1]).is_empty(), "the number of the parent was another's before");
        assert!(table(&all).below(&[stat(20, 10, 20, 20, 1)]).is_empty(), "the root is gone");
    }

    #[test]
    fn where_the_kernel_lists_children_its_lists_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let put = |pid: u32, parent: u32, start: u64, children: &[(u32, &str)]| {
            let own = root.join(pid.to_string());
            for (tid, text) in children {
                std::fs::create_dir_all(own.join(format!("task/{tid}"))).unwrap();
                std::fs::write(own.join(format!("task/{tid}/children")), text).unwrap();
            }
            let text = format!("{pid} (x) S {parent} {pid} 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 {start} 0\n");
            std::fs::write(own.join("stat"), text).unwrap();
        };
        put(20, 1, 5, &[(20, "30 "), (25, "31 32 ")]);
        put(30, 20, 6, &[(30, "40 ")]);
        put(31, 20, 6, &[(31, "")]);
        put(32, 77, 6, &[(32, "")]);
        put(40, 30, 8, &[(40, "")]);
        std::fs::create_dir_all(root.join("thread-self/children")).unwrap();
        let world = HostWorld {
            proc: root.to_owned(),
            etc: root.to_owned(),
            cgroups: Vec::new(),
            node: "n".into(),
            boot: BootId("b".into()),
            units_apart: false,
            within: None,
            lineage: None,
            doom: None,
            reflex: None,
            cut: None,
            pods: None,
        };
        let named = Stat::read(&world, 20).unwrap().unwrap();
        let found = |mut pace| on_own_thread(async { descendants(&world, &[named.clone()], false, &mut pace).await });
        let error = found(Pace::of_steps(3)).unwrap_err().to_string();
        assert!(error.contains("what is in the scope is more than is looked through: 3 "), "{error}");
        let found = found(Pace::begin()).unwrap();
        assert_eq!(pids(found), [(30, Relation::Below), (31, Relation::Below), (40, Relation::Below)]);
    }
}
