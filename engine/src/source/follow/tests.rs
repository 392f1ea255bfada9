//! Files that grow, are rotated, cut off, packed, and too many.

use super::{FILES, Follower, OPEN};
use quell_model::{Event, Stamp};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

fn now() -> Stamp {
    Stamp { wall: "2026-03-01T10:00:10Z".parse().unwrap(), boot_ns: 60_000_000_000 }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn line(n: u32) -> String {
    format!("{{\"Image\":\"/bin/sh\",\"n\":{n},\"time\":\"2026-03-01T10:00:00Z\"}}\n")
}

/// The numbers of the events that a look brought, and the places of what could not be read.
fn look(follower: &mut Follower) -> (Vec<String>, Vec<String>) {
    let (mut events, mut wrong) = (Vec::new(), Vec::new());
    for read in follower.poll(now()) {
        match read {
            Ok(event) => events.push(event.sigma("n").unwrap().to_json().to_string()),
            Err(unreadable) => {
                let place = unreadable.mistake.place();
                wrong.push(place.rsplit('/').next().unwrap().to_owned());
            }
        }
    }
    (events, wrong)
}

fn events(follower: &mut Follower) -> Vec<String> {
    let (events, wrong) = look(follower);
    assert!(wrong.is_empty(), "{wrong:?}");
    events
}

#[test]
fn what_is_appended_is_read_once_and_half_a_line_waits() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    append(&log, &line(0));
    let mut follower = Follower::new(&log, None);
    assert!(events(&mut follower).is_empty(), "what was there counts as read");
    append(&log, &line(1));
    let (half, rest) = (line(2)[..20].to_owned(), line(2)[20..].to_owned());
    append(&log, &half);
    assert_eq!(events(&mut follower), ["1"]);
    assert!(events(&mut follower).is_empty());
    append(&log, &rest);
    assert_eq!(events(&mut follower), ["2"]);
    append(&log, "nonsense\n");
    assert_eq!(look(&mut follower).1, ["log:4"], "places are those of the whole file");
}

#[test]
fn a_rotated_log_is_read_to_its_end_and_not_again() {
    for whole_folder in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        append(&log, &line(0));
        let mut follower = Follower::new(if whole_folder { dir.path() } else { &log }, None);
        append(&log, &line(1));
        fs::rename(&log, dir.path().join("log.1")).unwrap();
        append(&log, &line(2));
        let mut read = events(&mut follower);
        read.sort();
        assert_eq!(read, ["1", "2"]);
        assert!(events(&mut follower).is_empty());
    }
}

#[test]
fn a_file_cut_off_begins_again_and_a_new_one_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    append(&log, &[line(0), line(1)].concat());
    let mut follower = Follower::new(dir.path(), None);
    fs::write(&log, line(2)).unwrap();
    assert_eq!(events(&mut follower), ["2"]);
    // A CloudTrail file has one line, and no end of line.
    fs::create_dir(dir.path().join("day")).unwrap();
    append(&dir.path().join("day/new.json"), line(3).trim_end());
    assert_eq!(events(&mut follower), ["3"]);
    assert!(events(&mut follower).is_empty());
}

#[test]
fn a_packed_file_is_read_once_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut follower = Follower::new(dir.path(), None);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all([line(1), line(2)].concat().as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let path = dir.path().join("trail.json.gz");
    fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    assert!(events(&mut follower).is_empty());
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&packed[packed.len() / 2..]).unwrap();
    assert_eq!(events(&mut follower), ["1", "2"]);
    assert!(events(&mut follower).is_empty());
}

#[test]
fn ages_can_be_told_on_the_boot_clock() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut follower = Follower::new(&log, None);
    append(&log, &line(1));
    let event = follower.poll(now()).remove(0).unwrap();
    assert_eq!(event.head.at.boot_ns, 50_000_000_000);
    assert_eq!(event.head.seen, now());
}

#[test]
fn of_too_many_files_those_that_changed_last_are_followed_and_it_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: usize| dir.path().join(format!("{n:05}"));
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    for n in 0..FILES {
        fs::write(at(n), "").unwrap();
        fs::File::options().write(true).open(at(n)).unwrap().set_modified(long_ago).unwrap();
    }
    let mut follower = Follower::new(dir.path(), None);
    assert_eq!(look(&mut follower), (Vec::new(), Vec::new()));
    // By its name it comes last.
    append(&at(FILES), &line(1));
    let (events, said) = look(&mut follower);
    assert_eq!((events, said.len()), (vec!["1".to_owned()], 1), "{said:?}");
    append(&at(FILES), &line(2));
    assert_eq!(look(&mut follower), (vec!["2".to_owned()], Vec::new()));
}

fn held_open(follower: &Follower) -> usize {
    follower.tails.values().filter(|tail| tail.file.is_some()).count()
}

#[test]
fn few_files_are_held_open_however_many_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: usize| dir.path().join(format!("{n:05}"));
    (0..2 * OPEN).for_each(|n| append(&at(n), &line(0)));
    let mut follower = Follower::new(dir.path(), None);
    assert_eq!(held_open(&follower), OPEN);
    (2 * OPEN..4 * OPEN).for_each(|n| append(&at(n), &line(1)));
    assert_eq!(events(&mut follower).len(), 2 * OPEN);
    assert_eq!(held_open(&follower), OPEN);
    // What was there at first has lines that nobody counted yet.
    append(&at(0), "nonsense\n");
    assert_eq!(look(&mut follower).1, ["00000:2"]);
}

#[test]
fn a_packed_file_that_never_becomes_whole_is_tried_only_when_it_grew() {
    let dir = tempfile::tempdir().unwrap();
    let mut follower = Follower::new(dir.path(), None);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(line(1).as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let path = dir.path().join("trail.json.gz");
    fs::write(&path, &packed[..packed.len() - 1]).unwrap();
    let mut tried = Vec::new();
    for _ in 0..3 {
        assert!(events(&mut follower).is_empty());
        tried.push(follower.tails.values().map(|tail| tail.tries).sum::<u32>());
    }
    assert_eq!(tried, [1, 1, 1]);
    append_bytes(&path, &packed[packed.len() - 1..]);
    assert_eq!(events(&mut follower), ["1"]);
}

fn append_bytes(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}
