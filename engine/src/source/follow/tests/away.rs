//! What cannot be seen for a moment is not gone; and what comes to be seen late is not new.

use super::*;

/// A folder with a file in it, that was followed for the first time, and where else it may be.
fn folder(begin: Begin) -> (tempfile::TempDir, Follower, Kept) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("logs")).unwrap();
    append(&dir.path().join("logs/log"), &line(0));
    let follower = Follower::first(dir.path().join("logs"), None, begin);
    let kept = Kept::of(&follower);
    (dir, follower, kept)
}

fn is_live(batch: &Batch) -> bool {
    batch.lines.iter().all(|line| !line.backfill)
}

#[test]
fn a_folder_that_is_away_for_a_while_is_read_on_and_it_is_said_once() {
    // Not there, or an empty mount point.
    for mount_point in [false, true] {
        let (dir, mut follower, mut kept) = folder(Begin::End);
        let (logs, elsewhere) = (dir.path().join("logs"), dir.path().join("elsewhere"));
        append(&logs.join("log"), &line(1));
        assert_eq!(kept.read(&mut follower), ["1"]);
        fs::rename(&logs, &elsewhere).unwrap();
        if mount_point {
            fs::create_dir(&logs).unwrap();
        }
        let mut said = Vec::new();
        // It is held open no more, as any that are too many.
        follower.tails.values_mut().for_each(|tail| tail.file = None);
        for _ in 0..=GRACE {
            let batch = follower.poll(now());
            said.extend(told(&batch).1);
            assert!(batch.files.is_empty(), "{:?}", batch.files);
        }
        assert_eq!(said.len(), 1, "{said:?}");
        // A start meanwhile forgets nothing either.
        let (mut next, lost) = kept.start(&logs);
        // What is empty on the same device lost its files.
        assert_eq!((next.positions().len(), lost), (usize::from(!mount_point), 0));
        append(&elsewhere.join("log"), &line(2));
        if mount_point {
            fs::remove_dir(&logs).unwrap();
        }
        fs::rename(&elsewhere, &logs).unwrap();
        append(&logs.join("new"), &line(3));
        assert_eq!(events(&mut follower), ["2", "3"], "{mount_point}");
        if !mount_point {
            assert_eq!(kept.read(&mut next), ["2", "3"]);
        }
    }
}

/// After a boot a device may have another number; here only that tells the mount point.
#[test]
fn a_start_before_the_folder_is_mounted_keeps_what_is_known_and_so_does_the_next() {
    // All of it was read; all that is live; and all but half of what was there before.
    for (before, past) in [(0, None), (8, None), (8, Some(4))] {
        let (dir, _, mut kept) = folder(Begin::End);
        let (logs, elsewhere) = (dir.path().join("logs"), dir.path().join("elsewhere"));
        fs::rename(&logs, &elsewhere).unwrap();
        fs::create_dir(&logs).unwrap();
        let mut all = std::mem::take(&mut kept.0).into_values();
        let mut one = all.next().unwrap();
        let (bytes, padded) = (line(7).len() as u64, line(7).repeat(8));
        fs::write(elsewhere.join("log"), &padded).unwrap();
        let mut file = fs::File::open(elsewhere.join("log")).unwrap();
        one.head = super::super::tail::head_of(&mut file, padded.len() as u64).unwrap();
        (one.offset, one.device) = (padded.len() as u64, one.device + 1);
        (one.before, one.past) = (before * bytes, past.map(|lines: u64| lines * bytes));
        kept.take(one.clone());
        let (mut follower, lost) = kept.start(&logs);
        assert_eq!((follower.positions(), lost), (vec![one.clone()], 0));
        assert!(follower.poll(now()).lines.is_empty());
        fs::remove_dir(&logs).unwrap();
        fs::rename(&elsewhere, &logs).unwrap();
        append(&logs.join("log"), &line(1));
        let batch = follower.poll(now());
        assert_eq!(told(&batch), (of(&["1"]), Vec::new()));
        let of_found =
            |gone| batch.found.iter().filter(move |file| file.gone == gone).map(|file| (file.device, file.past));
        let is_gone: Vec<_> = of_found(true).collect();
        assert_eq!(is_gone, [(one.device, None)], "it goes on under its new number");
        assert_eq!(of_found(false).collect::<Vec<_>>(), [(one.device - 1, one.past)]);
        batch.found.into_iter().for_each(|file| kept.take(file));
        batch.files.into_iter().for_each(|file| kept.note(file));
        let (mut next, lost) = kept.start(&logs);
        assert_eq!((kept.read(&mut next), lost), (Vec::new(), 0), "and none of it is read again");
        let rest = told(&next.backfill(now())).0.len() as u64;
        assert_eq!(rest, past.map_or(0, |read| before - read));
    }
}

#[test]
fn a_folder_that_comes_after_the_first_start_begins_with_what_it_holds() {
    // Not there, or an empty mount point.
    for mount_point in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (logs, elsewhere) = (dir.path().join("logs"), dir.path().join("elsewhere"));
        if mount_point {
            fs::create_dir(&logs).unwrap();
        }
        fs::create_dir(&elsewhere).unwrap();
        append(&elsewhere.join("log"), &line(1));
        let mut follower = Follower::first(&logs, None, Begin::Start);
        assert_eq!((events(&mut follower), follower.has_begun()), (Vec::new(), false), "nothing is known of it");
        if mount_point {
            fs::remove_dir(&logs).unwrap();
        }
        fs::rename(&elsewhere, &logs).unwrap();
        let batch = follower.poll(now());
        assert!(batch.lines.is_empty());
        assert_eq!(batch.ground.map(|ground| ground.len()), Some(1), "{mount_point}");
        append(&logs.join("log"), &line(2));
        assert_eq!((events(&mut follower), told(&follower.backfill(now())).0), (of(&["2"]), of(&["1"])));
    }
}

#[test]
fn what_comes_into_an_empty_folder_or_a_file_that_was_not_there_is_live() {
    for is_folder in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut follower = Follower::first(if is_folder { dir.path() } else { &log }, None, Begin::Start);
        assert!(follower.poll(now()).ground.is_none());
        append(&log, &line(1));
        let batch = follower.poll(now());
        assert_eq!((told(&batch).0, is_live(&batch)), (of(&["1"]), true));
        assert_eq!((batch.ground, follower.poll(now()).ground), (Some(Vec::new()), None), "{is_folder}");
    }
}

#[test]
fn files_that_were_removed_are_forgotten_though_the_folder_is_empty_then() {
    let (dir, mut follower, _) = folder(Begin::End);
    fs::remove_file(dir.path().join("logs/log")).unwrap();
    let gone = (0..=GRACE).any(|_| follower.poll(now()).files.iter().any(|file| file.gone));
    assert_eq!((gone, follower.tails.len()), (true, 0));
}

#[test]
fn an_empty_log_that_is_rotated_twice_while_nobody_looks_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (log, one) = (dir.path().join("log"), dir.path().join("log.1"));
    append(&log, &line(0));
    let mut follower = Follower::first(&log, None, Begin::End);
    let mut kept = Kept::of(&follower);
    fs::rename(&log, &one).unwrap();
    append(&log, "");
    assert!(kept.read(&mut follower).is_empty());
    append(&log, &line(1));
    fs::rename(&one, dir.path().join("log.2")).unwrap();
    fs::rename(&log, &one).unwrap();
    append(&log, &line(2));
    // By its time it is no newer than what was read last.
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    OpenOptions::new().append(true).open(&one).unwrap().set_modified(long_ago).unwrap();
    let (mut next, lost) = kept.start(&log);
    let mut read = kept.read(&mut next);
    read.sort();
    assert_eq!((read, lost), (of(&["1", "2"]), 0));
}

#[test]
fn a_file_with_two_names_is_read_and_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    append(&log, "");
    std::os::unix::fs::symlink(&log, dir.path().join("same")).unwrap();
    fs::hard_link(&log, dir.path().join("too")).unwrap();
    let mut follower = Follower::first(dir.path(), None, Begin::Start);
    append(&log, &line(1));
    assert_eq!((events(&mut follower), follower.unread()), (of(&["1"]), 0));
}

#[test]
fn of_a_packed_file_that_is_too_large_and_rotated_away_the_position_is_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (log, one) = (dir.path().join("log"), dir.path().join("log.1"));
    let mut follower = Follower::first(&log, None, Begin::End);
    fs::write(&log, [0x1f, 0x8b]).unwrap();
    assert!(events(&mut follower).is_empty());
    fs::rename(&log, &one).unwrap();
    let size = 65 * 1024 * 1024;
    OpenOptions::new().write(true).open(&one).unwrap().set_len(size).unwrap();
    let batch = follower.poll(now());
    assert_eq!((batch.unreadable.len(), batch.files.iter().map(|file| file.offset).max()), (1, Some(size)));
}
