//! The processes that were there before the sensor.
//!
//! Start times come from a BPF iterator where there is one, exact and in one read; the rest from /proc. Runs after the
//! probes are attached, so that nothing falls between; what both saw is told once.

use super::ask::PATIENT;
use super::{Key, Process, Table, proc};
use quell_model::process::TICK_NS;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;

/// One process of the iterator: `struct scanned` of bpf/record.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exact {
    start: u64,
    parent: Key,
    exec_id: u64,
}

const EXACT_LEN: usize = 32;

/// Reads the iterator to its end.
fn exact(mut iterator: File) -> HashMap<u32, Exact> {
    let mut bytes = Vec::new();
    if let Err(error) = iterator.read_to_end(&mut bytes) {
        tracing::warn!(%error, "the task iterator broke off: start times of older processes are exact to 10 ms only");
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> HashMap<u32, Exact> {
    let (records, _) = bytes.as_chunks::<EXACT_LEN>();
    let u32_at = |r: &[u8; EXACT_LEN], at: usize| r[at..at + 4].try_into().map_or(0, u32::from_ne_bytes);
    let u64_at = |r: &[u8; EXACT_LEN], at: usize| r[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
    let read = |r: &[u8; EXACT_LEN]| {
        let parent = Key::new(u32_at(r, 4), u64_at(r, 16));
        (u32_at(r, 0), Exact { start: u64_at(r, 8), parent, exec_id: u64_at(r, 24) })
    };
    records.iter().map(read).collect()
}

/// Fills the table; returns those that are new to it, parents before children where pids tell.
pub(crate) fn scan(table: &mut Table, iterator: Option<File>) -> Vec<Key> {
    let exact = iterator.map(exact).unwrap_or_default();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let stats: HashMap<u32, proc::Stat> = pids.iter().filter_map(|pid| Some((*pid, proc::stat(*pid)?))).collect();
    let mut found = Vec::new();
    for pid in pids {
        let Some(stat) = stats.get(&pid) else { continue };
        let exact = exact.get(&pid).filter(|e| e.start / TICK_NS == stat.start_ticks);
        let mut process = Process::blank(pid, exact.map_or(stat.start_ticks * TICK_NS, |e| e.start));
        process.exec_id = exact.map_or(0, |e| e.exec_id);
        process.parent = exact.map(|e| e.parent).filter(|p| p.pid != 0).or_else(|| {
            let ticks = stats.get(&stat.ppid)?.start_ticks;
            Some(Key { pid: stat.ppid, ticks })
        });
        proc::fill(&mut process, &table.users, &table.cgroups, PATIENT);
        if process.image.path.is_empty() {
            // A kernel thread has no image, and of some processes it is not to be read: then the name stands for it.
            std::sync::Arc::make_mut(&mut process.image).file.clone_from(&stat.comm);
        }
        found.extend(table.scanned(process));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_iterator_are_read_and_a_torn_one_is_passed_over() {
        let mut bytes = Vec::new();
        for (pid, ppid, start) in [(7_u32, 1_u32, 123_456_789_012_u64), (8, 7, 5)] {
            bytes.extend(pid.to_ne_bytes());
            bytes.extend(ppid.to_ne_bytes());
            bytes.extend(start.to_ne_bytes());
            bytes.extend(20_000_000_u64.to_ne_bytes());
            bytes.extend(3_u64.to_ne_bytes());
        }
        bytes.extend([0; 9]);
        let read = parse(&bytes);
        assert_eq!(read.len(), 2);
        let expected = Exact { start: 123_456_789_012, parent: Key { pid: 1, ticks: 2 }, exec_id: 3 };
        assert_eq!(read[&7], expected);
    }

    #[test]
    fn this_process_and_its_parents_are_found() {
        let mut table = Table::default();
        scan(&mut table, None);
        let me = table.iter().find(|p| p.key.pid == std::process::id()).unwrap();
        assert!(me.image.command_line.len() > 1);
        assert_eq!(table.parent(me).map(|p| p.key.pid), Some(std::os::unix::process::parent_id()));
        assert!(table.children(table.parent(me).unwrap().key).any(|child| child == me.key));
    }
}
