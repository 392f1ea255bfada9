//! Many more short processes than the table keeps: the daemon's memory stays level.

use super::attack::Attack;
use super::daemon::Daemon;
use super::load::Load;

/// In all; the table keeps 32,768 processes at most, of ended ones 8,192.
fn processes() -> u64 {
    if crate::bad_days::is_long() { 300_000 } else { 0 }
}

/// What a daemon may take in such a flood: a debug build on a busy machine took 93, 101 and 102 MB after the thirds.
const MOST_KB: u64 = 128 * 1024;
/// How far it may still grow once the table is full: what the allocator keeps differs from time to time.
const LEVEL_KB: u64 = 12 * 1024;

#[test]
fn memory_stays_level_under_many_more_processes_than_are_kept() {
    if processes() == 0 {
        eprintln!("NOT TESTED: memory under 300,000 short processes: it takes QUELL_LONG (`make test-long`)");
        return;
    }
    let Some(daemon) = Daemon::start("memory") else { return };
    let churn = daemon.inside.below("churn");
    let armed = daemon.rss_anon_kb();
    // Each third is far more than the table holds; execs bring images and arguments, forks alone share their parent's.
    let thirds = [0, 1, 2].map(|_| {
        let each = processes() / 3 / 4;
        let loads = ["execs", "execs", "execs", "forks"].map(|what| Load::start(&churn, what, each));
        assert_eq!(loads.map(Load::done), [each; 4]);
        daemon.rss_anon_kb()
    });
    eprintln!("RssAnon: {armed} kB armed, {thirds:?} kB after each 100,000 processes");
    assert!(thirds.iter().all(|kb| *kb < MOST_KB), "{armed} {thirds:?}");
    assert!(thirds[2] < thirds[0] + LEVEL_KB, "{armed} {thirds:?}");
    // It still sees and acts.
    Attack::start(&churn).contained(&daemon);
}
