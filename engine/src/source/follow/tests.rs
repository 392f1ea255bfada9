//! Files that grow, are rotated, cut off, packed, and too many.

use super::{Batch, Begin, FILES, Follower, GRACE, OPEN};
use quell_model::record::source::{FilePosition, Position};
use quell_model::{Event, Stamp};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

mod aside;
mod away;
mod past;

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
    told(&follower.poll(now()))
}

fn told(batch: &Batch) -> (Vec<String>, Vec<String>) {
    let events = batch.lines.iter().map(|line| line.event.sigma("n").unwrap().to_json().to_string());
    let place = |place: String| place.rsplit('/').next().unwrap().to_owned();
    let wrong = batch.unreadable.iter().map(|one| &one.mistake).chain(&batch.said);
    (events.collect(), wrong.map(|one| place(one.place())).collect())
}

fn of(numbers: &[&str]) -> Vec<String> {
    numbers.iter().map(|number| (*number).to_owned()).collect()
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
    let mut follower = Follower::first(&log, None, Begin::End);
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
        let mut follower = Follower::first(if whole_folder { dir.path() } else { &log }, None, Begin::End);
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
    let mut follower = Follower::first(dir.path(), None, Begin::End);
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
    let mut follower = Follower::first(dir.path(), None, Begin::End);
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

/// An API server's record may have some mebibytes, and more than are read at a time.
#[test]
fn a_large_audit_record_is_read_cut_short_and_the_next_one_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut follower = Follower::first(&log, None, Begin::Start);
    let record = |n: u32, object: &str| {
        format!(
            "{{\"auditID\":\"{n}\",\"verb\":\"create\",\"stageTimestamp\":\"2026-03-01T10:00:00Z\",\"n\":{n},\"requestObject\":\"{object}\"}}\n"
        )
    };
    let large = record(1, &"x".repeat(9 << 20));
    append(&log, &large[..6 << 20]);
    for _ in 0..3 {
        assert!(events(&mut follower).is_empty());
    }
    append(&log, &large[6 << 20..]);
    append(&log, &record(2, "x"));
    let mut read = Vec::new();
    for _ in 0..4 {
        let batch = follower.poll(now());
        assert_eq!(told(&batch).1, Vec::<String>::new());
        read.extend(batch.lines.into_iter().map(|line| line.event));
    }
    let cut = |event: &quell_model::OwnedEvent| event.sigma("requestObject").is_none();
    assert_eq!(read.iter().map(cut).collect::<Vec<_>>(), [true, false]);
    assert!(events(&mut follower).is_empty());
}

#[test]
fn ages_can_be_told_on_the_boot_clock() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut follower = Follower::first(&log, None, Begin::End);
    append(&log, &line(1));
    let event = follower.poll(now()).lines.remove(0).event;
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
    let mut follower = Follower::first(dir.path(), None, Begin::End);
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
    let mut follower = Follower::first(dir.path(), None, Begin::End);
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
    let mut follower = Follower::first(dir.path(), None, Begin::End);
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

/// What an engine would go on from: of each file the last position that it was told; and what others follow.
#[derive(Default)]
struct Kept(std::collections::BTreeMap<(u64, u64), FilePosition>, Vec<std::path::PathBuf>);

impl Kept {
    fn of(follower: &Follower) -> Self {
        let mut kept = Self::default();
        follower.positions().into_iter().for_each(|file| kept.take(file));
        kept
    }

    /// Of what is not known, the last of its past brings it not back.
    fn note(&mut self, file: FilePosition) {
        if file.before == 0 || self.0.contains_key(&(file.device, file.inode)) {
            self.take(file);
        }
    }

    fn take(&mut self, file: FilePosition) {
        let key = (file.device, file.inode);
        let told = Position::File(file);
        let known = self.0.get(&key).map(|known| Position::File(known.clone()).join(&told));
        let now = known.unwrap_or(told);
        let is_gone = now.is_gone();
        let Position::File(now) = now;
        if is_gone { drop(self.0.remove(&key)) } else { drop(self.0.insert(key, now)) }
    }

    fn read(&mut self, follower: &mut Follower) -> Vec<String> {
        let batch = follower.poll(now());
        batch.found.iter().cloned().for_each(|file| self.take(file));
        batch.files.iter().cloned().for_each(|file| self.note(file));
        told(&batch).0
    }

    /// The next engine; and what could not be found again.
    fn start(&self, path: &Path) -> (Follower, usize) {
        let (follower, batch) = Follower::again(path, None, self.0.values().cloned().collect(), self.1.clone());
        (follower, batch.unreadable.len())
    }
}

#[test]
fn a_start_goes_on_after_the_last_whole_line() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    append(&log, &line(0));
    let mut follower = Follower::first(&log, None, Begin::End);
    let mut kept = Kept::of(&follower);
    append(&log, &line(1));
    append(&log, &line(2)[..20]);
    assert_eq!(kept.read(&mut follower), ["1"]);
    append(&log, &line(2)[20..]);
    append(&log, &line(3));
    let (mut next, lost) = kept.start(&log);
    assert_eq!((kept.read(&mut next), lost), (vec!["2".to_owned(), "3".to_owned()], 0));
    append(&log, "nonsense\n");
    assert_eq!(look(&mut next).1, ["log:5"], "places are those of the whole file");
    let (mut last, _) = kept.start(&log);
    assert_eq!(look(&mut last), (Vec::new(), vec!["log:5".to_owned()]), "nobody noted that it was read");
}

#[test]
fn a_log_that_was_rotated_while_nobody_looked_is_read_to_its_end() {
    for whole_folder in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (log, one, two) = (dir.path().join("log"), dir.path().join("log.1"), dir.path().join("log.2"));
        let path = if whole_folder { dir.path() } else { &log };
        append(&log, &line(0));
        let mut follower = Follower::first(path, None, Begin::End);
        let mut kept = Kept::of(&follower);
        append(&log, &line(1));
        assert_eq!(kept.read(&mut follower), ["1"]);
        append(&log, &line(2));
        // Twice, in the end.
        for n in [3, 4] {
            if one.exists() {
                fs::rename(&one, &two).unwrap();
            }
            fs::rename(&log, &one).unwrap();
            append(&log, &line(n));
        }
        let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 32);
        [&log, &one].iter().for_each(|path| {
            OpenOptions::new().append(true).open(path).unwrap().set_modified(later).unwrap();
        });
        let (mut next, lost) = kept.start(path);
        let mut read = kept.read(&mut next);
        read.sort();
        assert_eq!((read, lost), (vec!["2".to_owned(), "3".to_owned(), "4".to_owned()], 0), "{whole_folder}");
        let (mut last, _) = kept.start(path);
        assert!(kept.read(&mut last).is_empty(), "and not again");
    }
}

#[test]
fn what_bears_a_longer_name_or_is_a_source_itself_is_no_rotated_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("node1");
    append(&log, &line(0));
    let mut kept = Kept::of(&Follower::first(&log, None, Begin::End));
    kept.1 = vec![dir.path().join("node1.7")];
    let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 32);
    let names = ["node10", "node1-2", "node1.old", "node1.7", "node1.3", "node1-20260301", "node1.2026-03-01"];
    for (n, name) in (1..).zip(names) {
        append(&dir.path().join(name), &line(n));
        OpenOptions::new().append(true).open(dir.path().join(name)).unwrap().set_modified(later).unwrap();
    }
    let (mut next, lost) = kept.start(&log);
    let mut read = kept.read(&mut next);
    read.sort();
    assert_eq!((read, lost), (of(&["5", "6", "7"]), 0));
}

#[test]
fn of_a_log_that_was_copied_and_cut_off_the_copy_is_read_on_and_the_log_from_its_beginning() {
    for whole_folder in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let path = if whole_folder { dir.path() } else { &log };
        append(&log, &line(0));
        let mut follower = Follower::first(path, None, Begin::End);
        let mut kept = Kept::of(&follower);
        append(&log, &line(1));
        assert_eq!(kept.read(&mut follower), ["1"]);
        append(&log, &line(2));
        fs::copy(&log, dir.path().join("log.1")).unwrap();
        // It is longer than it was: only how it begins tells that it was cut off.
        fs::write(&log, [line(31), line(32), line(33), line(34)].concat()).unwrap();
        let (mut next, lost) = kept.start(path);
        let mut read = kept.read(&mut next);
        read.sort();
        assert_eq!((read, lost), (["2", "31", "32", "33", "34"].map(str::to_owned).to_vec(), 0), "{whole_folder}");
    }
}

#[test]
fn what_is_not_found_again_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    append(&log, &[line(0), line(1)].concat());
    let follower = Follower::first(&log, None, Begin::End);
    let kept = Kept::of(&follower);
    fs::write(&log, line(2)).unwrap();
    let (mut next, lost) = kept.start(&log);
    assert_eq!((events(&mut next), lost), (vec!["2".to_owned()], 1));
}

#[test]
fn who_still_writes_to_a_rotated_log_is_read_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let (log, one) = (dir.path().join("log"), dir.path().join("log.1"));
    append(&log, &line(0));
    let mut follower = Follower::first(&log, None, Begin::End);
    fs::rename(&log, &one).unwrap();
    append(&log, &line(1));
    assert_eq!(events(&mut follower), ["1"]);
    append(&one, &line(2));
    assert_eq!(events(&mut follower), ["2"]);
    let forgotten = (0..=GRACE).find(|_| follower.poll(now()).files.iter().any(|file| file.gone));
    assert_eq!((forgotten, follower.tails.len()), (Some(GRACE - 1), 1));
}

#[test]
fn what_was_there_before_is_given_out_apart_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let other = dir.path().join("other");
    append(&log, &[line(0), line(1)].concat());
    append(&log, &line(2)[..20]);
    append(&other, "");
    let mut follower = Follower::first(dir.path(), None, Begin::Start);
    let mut kept = Kept::of(&follower);
    append(&other, &line(3));
    assert_eq!(kept.read(&mut follower), ["3"], "what is live does not wait for it");
    append(&log, &line(2)[20..]);
    let past = follower.backfill(now());
    assert_eq!(told(&past).0, ["0", "1"]);
    assert!(past.lines.iter().all(|line| line.backfill) && !follower.has_backfill());
    let batch = follower.poll(now());
    assert_eq!((told(&batch).0, batch.lines[0].backfill), (of(&["2"]), false), "it was not whole then");
    // One that ended within its backfill goes on with it.
    let (mut next, _) = kept.start(dir.path());
    assert_eq!((told(&next.poll(now())).0, told(&next.backfill(now())).0), (of(&["2"]), of(&["0", "1"])));
    past.files.into_iter().for_each(|file| kept.note(file));
    let (mut last, _) = kept.start(dir.path());
    assert_eq!(kept.read(&mut last), ["2"]);
    assert!(last.backfill(now()).lines.is_empty() && !last.has_backfill());
}

#[test]
fn a_backfill_comes_in_pieces_the_oldest_file_first() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    append(&at("log"), &line(9));
    append(&at("log.1"), &line(1).repeat(20_000));
    let before = std::time::SystemTime::UNIX_EPOCH;
    OpenOptions::new().append(true).open(at("log.1")).unwrap().set_modified(before).unwrap();
    let mut follower = Follower::first(dir.path(), None, Begin::Start);
    let mut read = Vec::new();
    assert!(events(&mut follower).is_empty());
    while follower.has_backfill() {
        let piece = follower.backfill(now());
        assert!(piece.lines.len() < 10_000, "{}", piece.lines.len());
        read.extend(told(&piece).0);
    }
    assert_eq!((read.len(), read.last().map(String::as_str)), (20_001, Some("9")));
}

#[test]
fn a_document_of_many_events_is_read_once_its_last_event_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut follower = Follower::first(&log, None, Begin::End);
    let list = format!("[{},{}]\n", line(1).trim(), line(2).trim());
    append(&log, &[line(0), list.clone(), line(3)].concat());
    let batch = follower.poll(now());
    let first = line(0).len() as u64;
    let second = first + list.len() as u64;
    let upto: Vec<u64> = batch.lines.iter().map(|line| line.upto).collect();
    assert_eq!(upto, [first, first, second, second + line(3).len() as u64]);
    assert_eq!(batch.files[0].offset, *upto.last().unwrap());
}
