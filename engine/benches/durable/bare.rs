//! What the disk and SQLite do alone: the baselines.
//!
//! Owns files beside the journal's own directory, on the same disk. Knows nothing of quell.

use super::stage::since;
use quell_engine::clock::SystemClock;
use quell_model::Clock;
use std::io::Write as _;
use std::time::Duration;

/// Of some lengths like a step's two records.
const INTENT: usize = 420;
const OUTCOME: usize = 330;

/// Steps a second of `chains` chains, a group's records in one transaction: all intents, synced, then all outcomes, synced.
pub(crate) fn steps(chains: usize, rounds: usize) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bare.db");
    let mut db = rusqlite::Connection::open(&path).unwrap();
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    db.pragma_update(None, "synchronous", "NORMAL").unwrap();
    db.execute_batch("CREATE TABLE records (id INTEGER PRIMARY KEY, stream INTEGER, seq INTEGER, body TEXT)").unwrap();
    let log = std::fs::File::open(dir.path().join("bare.db-wal")).unwrap();
    let (intent, outcome) = ("x".repeat(INTENT), "y".repeat(OUTCOME));
    let begin = SystemClock.now();
    for round in 0..rounds {
        for (half, body) in [&intent, &outcome].into_iter().enumerate() {
            let change = db.transaction().unwrap();
            {
                let mut put =
                    change.prepare_cached("INSERT INTO records (stream, seq, body) VALUES (?1, ?2, ?3)").unwrap();
                for chain in 0..chains {
                    put.execute(rusqlite::params![chain as i64, (round * 2 + half) as i64, body]).unwrap();
                }
            }
            change.commit().unwrap();
            log.sync_data().unwrap();
        }
    }
    (chains * rounds) as f64 / since(begin).as_secs_f64()
}

/// How long a write of a record's length and its sync take.
pub(crate) fn syncs(times: usize) -> Vec<Duration> {
    let dir = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(dir.path().join("probe")).unwrap();
    let one = |_| {
        let begin = SystemClock.now();
        file.write_all(&[7; 512]).unwrap();
        file.sync_data().unwrap();
        since(begin)
    };
    (0..times).map(one).collect()
}
