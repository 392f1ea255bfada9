//! Goal: a stream that was taken out whole, or cut at its end with its line put back, is missed. Method: seals as the daemon writes
//! them, and then the edits of somebody who knows the tables.

use super::basics::{append, notes};
use super::bodies::at;
use super::prune::{days, prune, put, retention, run};
use crate::store::Journal;
use quell_model::{Body, Durability, StreamId};
use std::path::Path;

/// Seals all that is not sealed yet; gives how many heads.
fn seal(journal: &Journal) -> usize {
    let mut after = journal.last_seal().unwrap().map_or(0, |seal| seal.upto);
    let mut count = 0;
    while let Some(heads) = journal.heads(after).unwrap() {
        (after, count) = (heads.upto, count + heads.heads.len());
        put(journal, "system", at(0), vec![heads.into()]);
    }
    count
}

fn edited(dir: &Path, sql: &str) -> Vec<String> {
    let db = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
    db.execute_batch(sql).unwrap();
    drop(db);
    Journal::open_read_only(dir).unwrap().verify().unwrap()
}

fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, vec![notes("run/a", 0, 5, Durability::Synced), notes("run/b", 0, 5, Durability::Synced)]).unwrap();
    assert_eq!(seal(&journal), 2);
    append(&journal, vec![notes("run/b", 5, 2, Durability::Synced), notes("run/c", 0, 2, Durability::Synced)]).unwrap();
    assert_eq!(seal(&journal), 2, "what went on, and what is new");
    assert_eq!(seal(&journal), 0, "a seal is not sealed");
    append(&journal, vec![notes("run/a", 5, 1, Durability::Synced)]).unwrap();
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    journal.close();
    dir
}

#[test]
fn a_stream_that_is_gone_or_ends_too_early_is_missed() {
    let whole = "DELETE FROM records WHERE stream = (SELECT id FROM streams WHERE name = 'run/c');
                 DELETE FROM streams WHERE name = 'run/c';";
    let cut = "UPDATE streams SET seq = 4,
                 last = (SELECT before FROM records WHERE id = (SELECT before FROM records WHERE id =
                        (SELECT before FROM records WHERE id = streams.last))),
                 hash = (SELECT prev FROM records WHERE stream = streams.id AND seq = 5) WHERE name = 'run/b';
               DELETE FROM records WHERE seq > 4 AND stream = (SELECT id FROM streams WHERE name = 'run/b');";
    let late = "UPDATE streams SET seq = 5,
                  last = (SELECT before FROM records WHERE id = streams.last),
                  hash = (SELECT prev FROM records WHERE id = streams.last) WHERE name = 'run/a';
                DELETE FROM records WHERE seq = 6 AND stream = (SELECT id FROM streams WHERE name = 'run/a');";
    for (sql, finding) in [
        (whole, "`run/c`: 2 records were sealed, and the stream is gone"),
        (cut, "`run/b`: ends with record 4, and 7 were sealed"),
        // What came after the last seal is tied to nothing.
        (late, ""),
    ] {
        let dir = filled();
        let found = edited(dir.path(), sql);
        assert_eq!(found.join("\n"), finding, "{sql}");
    }
}

/// Whoever writes a stream anew, with sums that fit, has other sums than those that were sealed.
#[test]
fn a_stream_that_was_written_anew_is_not_the_one_that_was_sealed() {
    let dir = filled();
    let other = tempfile::tempdir().unwrap();
    let journal = Journal::open(other.path()).unwrap();
    append(&journal, vec![notes("run/c", 0, 2, Durability::Synced)]).unwrap();
    journal.close();
    let from = other.path().join("journal.db");
    let sql = format!(
        "ATTACH '{}' AS theirs;
         UPDATE records SET (prev, salt, body, at_wall, at_boot) =
           (SELECT t.prev, t.salt, t.body, t.at_wall, t.at_boot FROM theirs.records t WHERE t.seq = records.seq)
           WHERE stream = (SELECT id FROM streams WHERE name = 'run/c');
         UPDATE streams SET hash = (SELECT hash FROM theirs.streams WHERE name = 'run/c') WHERE name = 'run/c';",
        from.display()
    );
    assert_eq!(edited(dir.path(), &sql), ["`run/c`: record 2 is not the one that was sealed"]);
}

#[test]
fn what_is_pruned_after_a_seal_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "run/old", days(1), run("old", None, true));
    put(&journal, "run/young", days(99), run("young", None, true));
    assert_eq!(seal(&journal), 2);
    assert_eq!(prune(&journal, dir.path(), &retention(90)).unwrap().runs, 1);
    assert!(journal.pruned(&StreamId::from("run/old")).unwrap().is_some());
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    assert_eq!(seal(&journal), 0, "what was pruned has no head any more");
}

/// A seal has a bounded number of heads, and the next goes on after it.
#[test]
fn many_streams_take_several_seals() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, (0..450).map(|n| notes(&format!("run/{n}"), 0, 1, Durability::Written)).collect()).unwrap();
    assert_eq!(seal(&journal), 450);
    let all = journal.latest(&[quell_model::Kind::HeadsSealed], 10).unwrap();
    let counts: Vec<usize> = all
        .into_iter()
        .map(|record| match record.body {
            Body::HeadsSealed(sealed) => sealed.heads.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [200, 200, 50]);
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
}

/// A seal goes onto the slate, whose pages the kernel may write before the database's log is synced: after a power cut there would
/// be a seal of what is gone.
#[test]
fn what_a_power_cut_may_take_is_not_sealed() {
    let (dir, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Journal::open_by_hand(dir.path()).unwrap();
    let on_the_medium = |name: &str| {
        std::fs::copy(dir.path().join(name), cut.path().join(name)).unwrap();
    };
    let sealed = |journal: &Journal| {
        let heads = journal.heads(journal.last_seal().unwrap().map_or(0, |seal| seal.upto)).unwrap()?;
        let names: Vec<String> = heads.heads.iter().map(|head| format!("{} {}", head.stream, head.last)).collect();
        let records = vec![quell_model::NewRecord::new(at(1), heads)];
        let (stream, durability) = (StreamId::system(), Durability::Written);
        let expected = journal.last(&stream);
        journal.written(quell_model::Batch { stream, expected, records, durability }).unwrap();
        Some(names)
    };
    journal.written(notes("run/a", 0, 2, Durability::Written)).unwrap();
    journal.work();
    assert_eq!(sealed(&journal).unwrap(), ["run/a 2"]);
    journal.work();
    ["journal.db", "journal.db-wal"].iter().for_each(|name| on_the_medium(name));
    // What is committed from here on does not get to the medium.
    journal.lose_sync(dir.path(), true);
    journal.written(notes("run/a", 2, 2, Durability::Written)).unwrap();
    journal.written(notes("run/b", 0, 2, Durability::Written)).unwrap();
    journal.work();
    assert_eq!(journal.read(&"run/b".into(), 1).unwrap().len(), 2, "readers see it");
    let early = sealed(&journal);
    on_the_medium("slate");
    let after = Journal::open(cut.path()).unwrap();
    assert_eq!(after.verify().unwrap(), Vec::<String>::new(), "an honest journal: {:?}", after.health().recovery);
    assert_eq!(early, None);
    journal.lose_sync(dir.path(), false);
    journal.written(notes("run/c", 0, 1, Durability::Written)).unwrap();
    journal.work();
    assert_eq!(sealed(&journal).unwrap(), ["run/a 4", "run/b 2", "run/c 1"]);
}

/// The text of a head, which the records of every journal have.
#[test]
fn the_text_of_a_head_is_as_it_was() {
    let hash = quell_model::Hash::of(b"head");
    let head = quell_model::record::SealedHead { stream: StreamId::from("run/r-1"), last: 3, hash };
    let text = format!(r#"{{"stream":"run/r-1","last":3,"hash":"{hash}"}}"#);
    assert_eq!(serde_json::to_string(&head).unwrap(), text);
    assert_eq!(serde_json::from_str::<quell_model::record::SealedHead>(&text).unwrap(), head);
}
