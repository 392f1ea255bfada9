//! Goal: evidence that a record names and the vault lacks, or has altered, is told with its run and its step, by the check and of a
//! copy; what was pruned is not missed. Method: journals whose steps name blobs in every way in which an output can stand, and a hand
//! in the vault.

use super::basics::append;
use super::bodies::{at, one_of_each};
use super::prune::{days, prune, retention, run};
use crate::store::read::Readers;
use crate::store::{DirVault, Journal, back_up, backup, evidence};
use quell_model::record::stored::STORED;
use quell_model::{Batch, BlobHash, Body, Durability, Evidence, Hash, Json, Kind, NewRecord, Stamp, StreamId};
use serde_json::json;
use std::fs;
use std::path::Path;

fn names(sums: &[BlobHash]) -> Json {
    let piece = |sum: &BlobHash| Evidence { name: "exe".into(), sha256: *sum, bytes: 6, truncated: false };
    sums.iter().map(piece).map(|piece| json!(piece)).collect()
}

/// A step's end, whose output has apart what has more than so many bytes.
fn finished(when: Stamp, output: Json, inline: usize) -> NewRecord {
    let body = one_of_each().into_iter().find(|body| body.kind() == Kind::StepFinished).unwrap();
    let Body::StepFinished(mut finished) = body else { panic!() };
    finished.output = output;
    NewRecord::new(when, *finished).with_large_apart(inline)
}

fn batch(journal: &Journal, stream: &str, records: Vec<NewRecord>, durability: Durability) -> Batch {
    let stream = StreamId::from(stream);
    Batch { expected: journal.last(&stream), stream, records, durability }
}

fn put(journal: &Journal, stream: &str, records: Vec<NewRecord>) {
    append(journal, vec![batch(journal, stream, records, Durability::Synced)]).unwrap();
}

/// What the check says of the vault, beside whoever holds the directory.
fn told(dir: &Path) -> Vec<String> {
    let journal = Journal::open_read_only(dir).unwrap();
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    journal.evidence(&DirVault::new(dir)).unwrap().findings
}

/// The same of a copy, from its own place; and what was told when it was made.
fn of_a_copy(dir: &Path) -> (Vec<String>, Vec<String>) {
    let copies = tempfile::tempdir().unwrap();
    let to = copies.path().join("copy");
    let made = back_up(dir, &to).unwrap();
    let kept = Journal::open(&to).unwrap().evidence(&DirVault::new(&to)).unwrap();
    assert_eq!(kept.blobs, made.blobs);
    (made.findings, kept.findings)
}

#[test]
fn what_is_missing_is_told_with_its_run_and_step_however_its_output_stands() {
    let large = |sums: &[BlobHash]| json!({ "evidence": names(sums) });
    let many = |sums: &[BlobHash]| {
        let mut output = large(sums);
        (0..40).for_each(|n| output[format!("value_{n}")] = json!("a text of some length"));
        output
    };
    for (how, inline) in [("in its record", 4096), ("apart", 300), ("apart as a whole", 300), ("on the slate", 300)] {
        let dir = tempfile::tempdir().unwrap();
        let (vault, journal) = (DirVault::new(dir.path()), Journal::open(dir.path()).unwrap());
        let sum = vault.keep(b"memory").unwrap();
        let others = ["one", "two", "three"].map(|text| vault.keep(text.as_bytes()).unwrap());
        let sums = [&[sum][..], &others].concat();
        let output = if how == "apart as a whole" { many(&sums) } else { large(&sums) };
        let record = finished(at(1), output, inline);
        let Body::StepFinished(written) = &record.body else { panic!() };
        let is_apart = |value: &Json| value.get(STORED).is_some();
        assert_eq!(is_apart(&written.output), how == "apart as a whole", "{how}");
        assert_eq!(is_apart(&written.output["evidence"]), !how.ends_with("record") && !how.ends_with("whole"), "{how}");
        put(&journal, "run/b", vec![finished(at(1), large(&others), 4096)]);
        let holder = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        if how == "on the slate" {
            holder.execute_batch("BEGIN IMMEDIATE").unwrap();
        }
        journal.written(batch(&journal, "run/a", vec![record], Durability::Written)).unwrap();
        journal.close();
        assert_eq!((told(dir.path()), of_a_copy(dir.path())), (vec![], (vec![], vec![])), "{how}");
        fs::remove_file(vault.path(&sum)).unwrap();
        let missing =
            vec![format!("`run/a`, record 1: the evidence `exe` of step `kill[0]` is not in the vault: {}", sum.0)];
        assert_eq!(told(dir.path()), missing, "{how}");
        assert_eq!(of_a_copy(dir.path()), (missing.clone(), missing), "{how}");
    }
}

#[test]
fn what_is_not_as_it_was_kept_is_told_and_the_rest_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, journal) = (DirVault::new(dir.path()), Journal::open(dir.path()).unwrap());
    let [good, bad, dir_now, nobodys] =
        ["good", "bad", "soon a directory", "nobody's"].map(|text| vault.keep(text.as_bytes()).unwrap());
    for sum in [good, bad, dir_now, bad] {
        put(&journal, "run/a", vec![finished(at(1), json!({ "evidence": names(&[sum]) }), 1 << 10)]);
    }
    for sum in [bad, nobodys] {
        fs::write(vault.path(&sum), "changed").unwrap();
    }
    fs::remove_file(vault.path(&dir_now)).unwrap();
    fs::create_dir(vault.path(&dir_now)).unwrap();
    let mut found = told(dir.path());
    found.sort_by_key(String::len);
    let of = |sum| vault.path(sum).display().to_string();
    assert_eq!(found[0], format!("`{}` does not have the bytes that its name says", of(&nobodys)));
    assert!(found[1].contains("record 3: the evidence `exe` of step `kill[0]` cannot be used: "), "{found:?}");
    assert!(found[1].ends_with("Is a directory (os error 21)"), "{found:?}");
    let damaged = "`run/a`, record 2: the evidence `exe` of step `kill[0]` (and of 1 more) cannot be used:";
    assert_eq!(found[2], format!("{damaged} `{}` does not have the bytes that its name says", of(&bad)));
    assert_eq!(found.len(), 3);
    let copies = tempfile::tempdir().unwrap();
    let made = back_up(dir.path(), &copies.path().join("copy")).unwrap();
    assert_eq!((made.records, made.blobs, made.findings.len()), (4, 1, 2), "{made:?}");
    assert!(found[1..].iter().all(|told| made.findings.contains(told)), "{made:?}");
    assert_eq!(DirVault::new(&copies.path().join("copy")).fetch(&good).unwrap(), b"good");
}

#[test]
fn what_was_pruned_is_not_missed_and_what_a_young_run_names_is() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, journal) = (DirVault::new(dir.path()), Journal::open(dir.path()).unwrap());
    let [old, shared] = ["old", "shared"].map(|text| vault.keep(text.as_bytes()).unwrap());
    for sum in [old, shared] {
        // Before any day of the test.
        fs::File::open(vault.path(&sum)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    for (id, day, sums) in [("old", 2, vec![old, shared]), ("young", 95, vec![shared])] {
        let mut records: Vec<NewRecord> =
            run(id, None, true).into_iter().map(|body| NewRecord::new(days(day), body)).collect();
        let steps = sums.into_iter().map(|sum| finished(days(day), json!({ "evidence": names(&[sum]) }), 1 << 10));
        records.splice(2..2, steps);
        put(&journal, &format!("run/{id}"), records);
    }
    let readers = Readers::new(&dir.path().join("journal.db"));
    let before = evidence::Named::of(&readers, &[]).unwrap();
    assert_eq!(prune(&journal, dir.path(), &retention(90)).unwrap().blobs, 1);
    assert!(vault.lacks(&old) && !vault.lacks(&shared));
    assert_eq!((told(dir.path()), of_a_copy(dir.path())), (vec![], (vec![], vec![])));
    // A copy that was begun before has records of what went meanwhile.
    let late = backup::absent(before, &vault, &readers).unwrap();
    let expected = "`run/old`, record 3: the evidence `exe` of step `kill[0]` was pruned meanwhile, and is not in the copy: take another";
    assert_eq!(late, [expected]);
    fs::remove_file(vault.path(&shared)).unwrap();
    let missing =
        format!("`run/young`, record 3: the evidence `exe` of step `kill[0]` is not in the vault: {}", shared.0);
    assert_eq!(told(dir.path()), [missing]);
}

/// A blob that the journal says was taken away is not missed; one that is named again after that is.
#[test]
fn the_last_word_on_a_blob_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (sum, journal) = (BlobHash(Hash::of(b"memory")), Journal::open(dir.path()).unwrap());
    let step = || vec![finished(at(1), json!({ "evidence": names(&[sum]) }), 1 << 10)];
    let body = one_of_each().into_iter().find(|body| body.kind() == Kind::StreamPruned).unwrap();
    let Body::StreamPruned(mut pruned) = body else { panic!() };
    (pruned.streams, pruned.blobs) = (Vec::new(), vec![sum]);
    put(&journal, "run/a", step());
    assert_eq!(told(dir.path()).len(), 1);
    put(&journal, "system", vec![NewRecord::new(at(2), *pruned)]);
    assert_eq!(told(dir.path()), Vec::<String>::new());
    put(&journal, "run/a", step());
    assert!(told(dir.path())[0].starts_with("`run/a`, record 2:"));
}
