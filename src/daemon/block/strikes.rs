//! From the kernel's ledger to records, and what of it the journal has.
//!
//! Keeps true: all records of one reading are one append, and each names the last line that the reading came to; so the
//! journal itself says where the next one begins.

use quell_detectors::block::{Fate, Fired};
use quell_detectors::pin;
use quell_engine::clock::SystemClock;
use quell_engine::store::Journal;
use quell_model::record::{NewRecord, ReflexFired, Struck};
use quell_model::{Batch, Body, Clock, Durability, Kind, Record, StreamId};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Strikes of one entry that a record names; the rest are counted.
const NAMED: usize = 8;

/// Whose an entry is: its path and its run.
pub(super) type Whose = (String, String);

/// The last line of a ledger that the journal has.
pub(super) fn through(system: &[Record], ledger: u64) -> u64 {
    let through = system.iter().rev().filter_map(|record| match &record.body {
        Body::ReflexFired(fired) if fired.ledger == ledger => Some(fired.through),
        _ => None,
    });
    through.max().unwrap_or(0)
}

/// The system's records that say how far a ledger was read.
pub(in crate::daemon) fn written(journal: &Journal) -> Result<Vec<Record>, String> {
    journal.latest(&[Kind::ReflexFired], usize::MAX).map_err(|e| e.to_string())
}

/// Into the system's stream, all or none.
pub(super) fn write(journal: &Journal, fired: Vec<ReflexFired>) -> Result<(), String> {
    if fired.is_empty() {
        return Ok(());
    }
    let at = SystemClock.now();
    let records = fired.into_iter().map(|fired| NewRecord::new(at, fired)).collect();
    let stream = StreamId::system();
    let expected = journal.last(&stream);
    let batch = Batch { stream, expected, records, durability: Durability::Synced };
    journal.written(batch).map(drop).map_err(|e| e.to_string())
}

/// One record an entry, and one more where some of it was seen by none.
pub(super) fn told(fired: Fired, known: &HashMap<u64, Whose>, came_ns: u64) -> Vec<ReflexFired> {
    let (ledger, through) = (fired.ledger, fired.through);
    let new = |reflex: String, image: String, unattended: bool| ReflexFired {
        action: "process.block_exec".into(),
        reflex,
        image,
        count: 0,
        struck: Vec::new(),
        spent: false,
        unattended,
        run: None,
        missed: 0,
        ledger,
        through,
    };
    let mut all = BTreeMap::new();
    for one in fired.firings {
        let unattended = one.boot_ns < came_ns;
        let record = all.entry((one.id, !unattended)).or_insert_with(|| {
            let (label, run) = known.get(&one.id).cloned().unwrap_or_else(|| (one.asked.clone(), String::new()));
            let run = (!run.is_empty()).then(|| run.as_str().into());
            ReflexFired { run, ..new(format!("{:016x}", one.id), label, unattended) }
        });
        match one.fate {
            Fate::Spent => record.spent = true,
            Fate::Missed => record.missed += 1,
            Fate::Killed | Fate::Denied => {
                record.count += 1;
                if record.struck.len() < NAMED {
                    record.struck.push(Struck {
                        pid: one.pid,
                        start_ns: one.start_ns,
                        parent: one.parent,
                        uid: one.uid,
                        boot_ns: one.boot_ns,
                        asked: one.asked,
                    });
                }
            }
        }
    }
    let mut all: Vec<ReflexFired> = all.into_values().collect();
    if fired.lost > 0 {
        let lost = new(String::new(), "images that the ledger names no more".into(), false);
        all.push(ReflexFired { count: fired.lost, ..lost });
    }
    all
}

/// What a daemon left pinned: what stands, and what of its ledger the journal lacks.
pub(in crate::daemon) struct Remains {
    /// Path and strikes of each.
    pub(in crate::daemon) standing: Vec<(String, u64)>,
    fired: Vec<ReflexFired>,
}

/// For `quell uninstall`, which holds the journal; nothing where another's is pinned.
pub(in crate::daemon) fn remains(owner: &Path, system: &[Record]) -> Result<Remains, String> {
    let dir = Path::new(pin::DIR);
    if !pin::belongs(dir, owner) {
        return Ok(Remains { standing: Vec::new(), fired: Vec::new() });
    }
    let all = quell_detectors::block::pinned(dir)?;
    let fired = quell_detectors::block::fired(dir, |ledger| through(system, ledger))?;
    let known = all.iter().map(|one| (one.terms.id, (one.terms.label.clone(), one.terms.owner.clone()))).collect();
    let fired = told(fired, &known, u64::MAX);
    Ok(Remains { standing: all.into_iter().map(|one| (one.terms.label, one.struck)).collect(), fired })
}

/// Brings what fired unseen into the journal, before its ledger goes.
pub(in crate::daemon) fn write_remains(journal: &Journal, remains: &mut Remains) -> Result<(), String> {
    write(journal, std::mem::take(&mut remains.fired))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_detectors::block::Firing;

    fn firing(id: u64, pid: u32, fate: Fate) -> Firing {
        Firing { id, boot_ns: 5, pid, start_ns: 4, parent: 2, uid: 0, cgroup: 1, asked: format!("./{id}"), fate }
    }

    #[test]
    fn one_record_tells_of_an_entry_and_counts_the_rest() {
        let mut firings: Vec<Firing> = (10..30).map(|pid| firing(7, pid, Fate::Killed)).collect();
        firings.push(firing(8, 40, Fate::Denied));
        firings.push(firing(7, 41, Fate::Spent));
        firings.push(firing(7, 42, Fate::Missed));
        firings.push(Firing { boot_ns: 9, ..firing(7, 43, Fate::Killed) });
        let known = HashMap::from([(7, ("/tmp/x".to_owned(), "r-1".to_owned()))]);
        let told = told(Fired { firings, lost: 3, ledger: 77, through: 26 }, &known, 6);
        let seen: Vec<_> =
            told.iter().map(|r| (r.image.as_str(), r.count, r.struck.len(), r.spent, r.missed, r.unattended)).collect();
        let lost = "images that the ledger names no more";
        let expected = [
            ("/tmp/x", 20, NAMED, true, 1, true),
            ("/tmp/x", 1, 1, false, 0, false),
            ("./8", 1, 1, false, 0, true),
            (lost, 3, 0, false, 0, false),
        ];
        assert_eq!(seen, expected);
        assert!(told.iter().all(|record| (record.ledger, record.through) == (77, 26)));
        assert_eq!(told[0].run.as_ref().map(ToString::to_string).as_deref(), Some("r-1"));
    }
}
