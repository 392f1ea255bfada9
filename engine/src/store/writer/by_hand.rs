//! The writer's turns without its thread, and what a disk does to it.
//!
//! Owns one turn. Waits for nothing, also not between two tries. Keeps true: what refuses is SQLite and the kernel
//! themselves, so that the writer's own words for it are what is tried.

use super::*;
use std::fs::File;
use std::path::Path;

impl Writer {
    /// Takes what has come, chains it, commits it.
    pub(in crate::store) fn turn(&mut self) {
        let taken = self.counter.take(Some(Countdown::of(Duration::ZERO)));
        self.backlog.extend(taken.orders);
        self.chainer.tails.extend(taken.revived);
        self.fill(if self.pause.is_some() { usize::MAX } else { MOST_GROUP });
        if !self.group.items.is_empty() {
            self.commit();
        }
    }

    /// SQLite refuses every write of this connection.
    pub(in crate::store) fn refuse(&self, refuses: bool) {
        self.rows.db.pragma_update(None, "query_only", refuses).unwrap();
    }

    /// What is synced instead of the log cannot be.
    pub(in crate::store) fn lose_sync(&mut self, database: &Path, lost: bool) {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let path = if lost { Path::new("/dev/null") } else { Path::new(&log) };
        self.rows.log = File::open(path).unwrap();
    }
}
