//! Whatever a file holds, a parser ends: in what it reads, or in mistakes that have places, and never in a panic.
//!
//! ```text
//! corpus/KIND/FILE ─┐
//! what ships ───────┴─mutate──▶ bytes ──▶ door of KIND ──▶ something, or mistakes, in bounded time
//! ```
//!
//! What a right file holds is read as it stands there: the snapshots say so, file by file.
//!
//! Owns the kept hostile files and the doors through which files of people and lines of sources come in. What once broke
//! a door is added to the corpus, whole. A panic names its seed; a stack that runs over names the test it ran over in.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod doors;
mod mutate;
mod right;

use doors::{DOORS, Door};
use proptest::test_runner::{Config, TestRunner};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Mutated inputs of one door; with QUELL_LONG more.
const CASES: u32 = 60;
const LONG_CASES: u32 = 20_000;
/// One input, in a build without optimisation on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

fn corpus(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parsers/corpus").join(kind)
}

/// The kept files of a kind, sorted.
fn kept(kind: &str) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(corpus(kind))
        .unwrap_or_else(|error| panic!("no corpus of {kind}: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all.into_iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

/// Right files of a kind, which mutations begin with.
fn right(ends: &[&str]) -> Vec<Vec<u8>> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks")];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.to_string_lossy().into_owned();
            if path.is_dir() {
                open.push(path);
            } else if ends.iter().any(|end| name.ends_with(end)) {
                found.push(std::fs::read(&path).unwrap());
            }
        }
    }
    assert!(!found.is_empty() || ends.is_empty(), "nothing ships that ends with {ends:?}");
    found
}

#[expect(clippy::disallowed_methods, reason = "a parser that does not end is found by a real clock")]
fn timed(door: &Door, name: &str, bytes: &[u8]) {
    let began = Instant::now();
    (door.enter)(name, bytes);
    let took = began.elapsed();
    assert!(took < PATIENCE, "{} took {took:?} for {name}", door.kind);
}

#[test]
fn every_kept_file_goes_through_every_door() {
    for other in DOORS {
        for (name, bytes) in kept(other.kind) {
            for door in DOORS {
                timed(door, &format!("{}/{name}", other.kind), &bytes);
            }
        }
    }
}

#[test]
fn every_right_sample_goes_through_its_door() {
    for door in DOORS {
        door.samples.iter().for_each(|text| timed(door, "a sample", text.as_bytes()));
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a test searches is no key of the configuration")]
fn is_long() -> bool {
    std::env::var_os("QUELL_LONG").is_some()
}

/// Mutations of what ships and of the kept files of one kind.
fn mutated(kind: &str) {
    let door = DOORS.iter().find(|door| door.kind == kind).expect("a door of this kind");
    let mut seeds = right(door.right);
    seeds.extend(door.samples.iter().map(|text| text.as_bytes().to_vec()));
    // Long ones would be mutated where nobody looks.
    seeds.extend(kept(kind).into_iter().map(|(_, bytes)| bytes).filter(|bytes| bytes.len() < 4_000));
    let cases = if is_long() { LONG_CASES } else { CASES };
    let config = Config { cases, failure_persistence: None, max_shrink_time: 30_000, ..Config::default() };
    let ran = TestRunner::new(config).run(&mutate::bytes(seeds), |bytes| {
        timed(door, "mutated", &bytes);
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{kind}: {error}"));
}

#[test]
fn no_mutation_of_a_playbook_breaks_its_door() {
    mutated("playbook");
}

#[test]
fn no_mutation_of_a_script_breaks_its_door() {
    mutated("script");
}

#[test]
fn no_mutation_of_an_expression_breaks_its_door() {
    mutated("expression");
}

#[test]
fn no_mutation_of_a_configuration_breaks_its_door() {
    mutated("config");
}

#[test]
fn no_mutation_of_a_rule_breaks_its_door() {
    mutated("rule");
}

#[test]
fn no_mutation_of_a_test_breaks_its_door() {
    mutated("test");
}

#[test]
fn no_mutation_of_an_event_breaks_its_door() {
    mutated("event");
}
