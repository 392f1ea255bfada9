//! What a source held before it was first followed: it holds up nothing, nothing of it is lost, and it is never taken for live.

use super::*;

fn long_ago(path: &Path) {
    let file = OpenOptions::new().append(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
}

fn packed(text: &str) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

/// All that can be had now.
fn backfill(follower: &mut Follower) -> Vec<String> {
    let mut read = Vec::new();
    while follower.has_backfill() {
        let batch = follower.backfill(now());
        assert!(batch.lines.iter().all(|line| line.backfill));
        read.extend(told(&batch).0);
    }
    read
}

#[test]
fn what_is_appended_to_a_file_waits_for_no_backfill_not_even_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (log, other) = (dir.path().join("log"), dir.path().join("other"));
    append(&log, &line(1).repeat(20_000));
    append(&other, &line(2));
    long_ago(&log);
    let mut follower = Follower::first(dir.path(), None, Begin::Start);
    assert_eq!(told(&follower.backfill(now())).0.len(), 256 * 1024 / line(1).len(), "a piece of what is oldest");
    append(&log, &line(3));
    append(&other, &line(4));
    let batch = follower.poll(now());
    assert_eq!(told(&batch).0, ["3", "4"]);
    assert!(batch.lines.iter().all(|line| !line.backfill));
    let rest = backfill(&mut follower);
    assert_eq!(rest.iter().filter(|number| *number == "2").count(), 1);
    assert!(!rest.iter().any(|number| number == "3" || number == "4"), "once is enough");
    assert_eq!(follower.poll(now()).files.len(), 0);
    assert_eq!(follower.unread(), 0);
}

/// As the engine notes them: both ways at their own pace, and each position by itself.
#[test]
fn a_start_goes_on_with_both_wherever_each_of_them_was() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    append(&log, &line(1).repeat(6_000));
    let mut follower = Follower::first(&log, None, Begin::Start);
    let mut kept = Kept::of(&follower);
    let first = follower.backfill(now());
    let taken_in = first.lines.len();
    append(&log, &line(2));
    let live = follower.poll(now());
    // All of the past was read by then, and of that only the first piece was taken in, after what is live.
    assert!(!backfill(&mut follower).is_empty());
    append(&log, &line(3));
    let later = follower.poll(now());
    for batch in [live, first, later] {
        for line in &batch.lines {
            let Some(Position::File(file)) = line.position(&batch.files) else { panic!() };
            kept.note(file);
        }
        batch.files.into_iter().for_each(|file| kept.note(file));
    }
    let (mut next, lost) = kept.start(&log);
    assert_eq!((kept.read(&mut next), lost), (Vec::new(), 0), "what is live was taken in");
    let rest = backfill(&mut next);
    assert_eq!((rest.len(), rest.iter().all(|number| number == "1")), (6_000 - taken_in, true));
}

#[test]
fn a_file_whose_past_cannot_be_read_on_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (log, other) = (dir.path().join("log"), dir.path().join("other"));
    append(&log, &line(1));
    append(&other, &line(2));
    let mut follower = Follower::first(dir.path(), None, Begin::Start);
    let file = OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(0).unwrap();
    long_ago(&log);
    follower.tails.values_mut().filter(|tail| tail.path == log).for_each(|tail| tail.modified = jiff::Timestamp::MIN);
    assert_eq!(told(&follower.backfill(now())).0, ["2"]);
    assert!(!follower.has_backfill(), "it is not tried again at once");
    let (read, lost) = look(&mut follower);
    assert_eq!((read, lost.len()), (Vec::new(), 1), "it was cut off: {lost:?}");
}

#[test]
fn a_packed_file_that_was_being_written_is_told_of_and_read_once_it_is_whole() {
    for looks_first in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("trail.json.gz"), dir.path().join("other"));
        let all = packed(&[line(1), line(2)].concat());
        let (half, rest) = all.split_at(all.len() / 2);
        fs::write(&path, half).unwrap();
        long_ago(&path);
        append(&other, &line(3));
        let mut follower = Follower::first(dir.path(), None, Begin::Start);
        let mut said = Vec::new();
        if looks_first {
            for _ in 0..3 {
                assert!(events(&mut follower).is_empty());
                while follower.has_backfill() {
                    said.extend(told(&follower.backfill(now())).1);
                }
            }
            assert_eq!(said, ["trail.json.gz"], "once");
        }
        append_bytes(&path, rest);
        assert_eq!(events(&mut follower), ["1", "2"], "{looks_first}");
        assert!(events(&mut follower).is_empty());
        assert_eq!(backfill(&mut follower), of(if looks_first { &[] } else { &["3"] }));
    }
}

#[test]
fn a_packed_file_that_never_becomes_whole_is_forgotten_once_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trail.json.gz");
    let all = packed(&line(1));
    fs::write(&path, &all[..all.len() - 1]).unwrap();
    let mut follower = Follower::first(dir.path(), None, Begin::Start);
    append(&dir.path().join("other"), &line(2));
    assert!(backfill(&mut follower).is_empty());
    fs::remove_file(&path).unwrap();
    let mut said = Vec::new();
    for _ in 0..=GRACE {
        said.extend(look(&mut follower).1);
    }
    assert_eq!((said.len(), follower.tails.len()), (1, 1), "{said:?}");
}

#[test]
fn a_whole_packed_file_is_a_backfill_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("trail.json.gz"), packed(&[line(1), line(2)].concat())).unwrap();
    let mut follower = Follower::first(dir.path(), None, Begin::Start);
    let mut kept = Kept::of(&follower);
    assert!(kept.read(&mut follower).is_empty());
    let (mut next, _) = kept.start(dir.path());
    assert!(kept.read(&mut next).is_empty());
    let batch = next.backfill(now());
    assert_eq!(told(&batch).0, ["1", "2"]);
    let after = |n: usize| batch.lines[n].position(&batch.files);
    let past = |at: Option<Position>| at.map(|Position::File(file)| file.past);
    assert_eq!(past(after(0)), Some(Some(0)), "it is read once its last event is");
    batch.files.iter().cloned().for_each(|file| kept.note(file));
    let (mut last, _) = kept.start(dir.path());
    assert_eq!((kept.read(&mut last), backfill(&mut last)), (Vec::new(), Vec::new()));
}

#[test]
fn what_is_written_to_a_file_that_was_cut_off_before_its_backfill_is_live() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    append(&log, &[line(0), line(1)].concat());
    let mut follower = Follower::first(&log, None, Begin::Start);
    let mut kept = Kept::of(&follower);
    fs::write(&log, line(2)).unwrap();
    let batch = follower.poll(now());
    assert_eq!((told(&batch).0, batch.lines[0].backfill), (of(&["2"]), false));
    assert_eq!(batch.unreadable.len(), 1, "and what is missing is told");
    assert!(backfill(&mut follower).is_empty());
    batch.files.into_iter().for_each(|file| kept.note(file));
    let (mut next, lost) = kept.start(&log);
    assert_eq!((kept.read(&mut next), backfill(&mut next), lost), (Vec::new(), Vec::new(), 0));
}

#[test]
fn documents_that_end_without_an_end_of_line_were_whole() {
    let pretty = format!("{{\n\"Records\": [\n{},\n{}\n]}}", line(1).trim_end(), line(2).trim_end());
    for document in [line(1).trim_end().to_owned(), pretty] {
        let dir = tempfile::tempdir().unwrap();
        append(&dir.path().join("trail.json"), &document);
        let mut follower = Follower::first(dir.path(), Some(crate::adapt::Format::Plain), Begin::Start);
        assert!(events(&mut follower).is_empty());
        let past = backfill(&mut follower);
        assert_eq!(past.first().map(String::as_str), Some("1"), "{document}");
    }
}
