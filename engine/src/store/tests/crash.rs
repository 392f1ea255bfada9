//! Goal: what `written` returned and what `done` acknowledged is there after SIGKILL, once, in order, with whole chains.
//! Method: a child process (this same test binary) appends as fast as it can and says on its pipe what it was promised;
//! it is killed at some line, the journal is opened again and compared, and the next child goes on from there.

use super::basics::append;
use super::bodies::{at, note};
use crate::store::Journal;
use quell_model::{Batch, Body, Durability, NewRecord, Seq, StreamId};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const DIR: &str = "QUELL_TEST_CRASH_DIR";
const CHILD: &str = "store::tests::crash::the_child";
const LIVES: usize = 12;
const LOCKED: std::ops::Range<usize> = 5..9;

/// Anything between a few bytes and some pages, told by the number alone.
fn text(stream: &str, seq: Seq) -> String {
    format!("{stream} {seq} {}", "x".repeat(usize::try_from(seq * 7919 % 3000).unwrap()))
}

fn batch(stream: &str, expected: Seq, durability: Durability) -> Batch {
    let records = vec![NewRecord::new(at(expected + 1), note(&text(stream, expected + 1)))];
    Batch { stream: stream.into(), expected, records, durability }
}

fn say(stream: &str, seq: Seq) {
    // A pipe whose reader is gone: the parent has seen enough.
    std::io::stdout().write_all(format!("\npromised {stream} {seq}\n").as_bytes()).ok();
}

/// Three threads, each with streams of its own, until the kill, or until the journal refuses.
fn append_forever(dir: &Path) {
    let journal = Journal::open(dir).unwrap();
    let heads: HashMap<StreamId, Seq> = journal.streams().unwrap().into_iter().collect();
    let head = |stream: &str| heads.get(stream).copied().unwrap_or(0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for seq in head("run/written").. {
                if journal.written(batch("run/written", seq, Durability::Written)).is_err() {
                    return;
                }
                say("run/written", seq + 1);
            }
        });
        threads.spawn(|| {
            for seq in head("run/pair").. {
                let both = ["run/pair", "incident/pair"].map(|stream| batch(stream, seq, Durability::Synced));
                if append(&journal, both.into()).is_err() {
                    return;
                }
                say("run/pair", seq + 1);
            }
        });
        threads.spawn(|| {
            for seq in (head("run/mixed")..).step_by(3) {
                journal.submit(vec![batch("run/mixed", seq, Durability::Written)], Box::new(|_| {}));
                journal.submit(vec![batch("run/mixed", seq + 1, Durability::Synced)], Box::new(|_| {}));
                // Refused only while more waits than fits: then it is one of those who wait.
                let last = batch("run/mixed", seq + 2, Durability::Written);
                if journal.written(last.clone()).is_err() && append(&journal, vec![last]).is_err() {
                    return;
                }
                say("run/mixed", seq + 3);
            }
        });
    });
}

/// Not a test by itself: what the child runs.
#[test]
fn the_child() {
    #[expect(clippy::disallowed_methods, reason = "how the parent tells the child that it is one")]
    if let Some(dir) = std::env::var_os(DIR) {
        append_forever(Path::new(&dir));
    }
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn nothing_promised_is_lost_or_doubled_by_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut promised: HashMap<String, Seq> = HashMap::new();
    let mut lock = None;
    for life in 0..LIVES {
        // Some lives in a row find the database held by somebody else: only the slate has what they were promised.
        if LOCKED.contains(&life) && lock.is_none() {
            let other = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            lock = Some(other);
        }
        let mut child = spawn(dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The first lives are short: the kill comes while things are being made.
        let enough = if lock.is_some() { 150 } else { life * life * 8 };
        let mut seen = 0;
        while seen < enough {
            let Some(line) = lines.next() else {
                assert!(lock.is_some(), "the child goes on until it is killed, or until a full slate refuses");
                break;
            };
            seen += usize::from(keep(&line.unwrap(), &mut promised));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            keep(&line, &mut promised);
        }
        if !LOCKED.contains(&life) || !LOCKED.contains(&(life + 1)) {
            drop(lock.take());
            check(dir.path(), &promised, life);
        }
    }
    assert!(promised.len() == 3, "every thread got somewhere: {promised:?}");
}

/// The promises grow; a line that the kill cut off is none.
fn keep(line: &str, promised: &mut HashMap<String, Seq>) -> bool {
    let Some((stream, seq)) = line.strip_prefix("promised ").and_then(|rest| rest.split_once(' ')) else {
        return false;
    };
    let Ok(seq) = seq.parse() else { return false };
    promised.insert(stream.to_owned(), seq);
    true
}

fn check(dir: &Path, promised: &HashMap<String, Seq>, life: usize) {
    let journal = Journal::open(dir).unwrap();
    assert_eq!(journal.health().recovery, Vec::<String>::new());
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    let mut lengths = HashMap::new();
    for (stream, last) in journal.streams().unwrap() {
        let records = journal.read(&stream, 1).unwrap();
        assert_eq!(records.len() as Seq, last);
        for (seq, record) in (1..).zip(&records) {
            assert_eq!((record.seq, record.at), (seq, at(seq)), "life {life}, {stream}");
            let Body::NoteAdded(note) = &record.body else { panic!("{record:?}") };
            assert_eq!(note.text, text(stream.as_str(), seq), "life {life}");
        }
        lengths.insert(stream.to_string(), last);
    }
    for (stream, seq) in promised {
        assert!(lengths.get(stream) >= Some(seq), "life {life}: {stream} was promised up to {seq}: {lengths:?}");
    }
    assert_eq!(lengths.get("run/pair"), lengths.get("incident/pair"), "life {life}: both or neither");
    journal.close();
}
