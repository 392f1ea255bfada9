//! Of too many files none is read again that was read or was there before, none is left out in silence, and a start knows both.

use super::super::LOOKED_AT;
use super::super::aside::ASIDE;
use super::super::list::Listing;
use super::*;
use std::time::{Duration, SystemTime};

fn at(dir: &Path, n: usize) -> std::path::PathBuf {
    dir.join(format!("{n:05}"))
}

fn age(dir: &Path, n: usize, seconds: u64) {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().append(true).open(at(dir, n)).unwrap().set_modified(moment).unwrap();
}

/// The first of so many changed longest ago.
fn many(dir: &Path, files: usize) {
    for n in 0..files {
        append(&at(dir, n), &line(0));
        age(dir, n, 1000 + n as u64);
    }
}

fn changed(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// The clock of files goes on in ticks: writes to the one until it was changed after the other was born.
fn change_after_birth(path: &Path, other: &Path) {
    let born = fs::metadata(other).unwrap().created().unwrap();
    while changed(path) <= born {
        append(path, &line(0));
    }
}

fn unread(follower: &mut Follower) -> (usize, u64) {
    (follower.poll(now()).lines.len(), follower.unread())
}

#[test]
fn none_is_read_again_that_was_read_or_was_there_before() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    many(dir, FILES + 1);
    let mut follower = Follower::first(dir, None, Begin::End);
    let mut kept = Kept::of(&follower);
    assert_eq!(kept.0.len(), FILES + 1, "also of the one that is set aside");
    // The oldest was never among them; now it is, and another falls out, and comes back.
    append(&at(dir, 0), &line(1));
    assert_eq!(kept.read(&mut follower), ["1"]);
    append(&at(dir, 1), &line(2));
    assert_eq!(kept.read(&mut follower), ["2"]);
    assert_eq!((kept.0.len(), follower.tails.len()), (FILES + 1, FILES), "what is kept is bounded");
    (0..=GRACE).for_each(|_| assert_eq!(unread(&mut follower), (0, 0)));
    append(&at(dir, 2), &line(3));
    assert_eq!(kept.read(&mut follower), ["3"]);
    let (mut next, _) = kept.start(dir);
    append(&at(dir, 3), &line(4));
    assert_eq!(kept.read(&mut next), ["4"], "also after a start, of what is still too many then");
    // What is written to while nobody looks is among the latest at the next start.
    append(&at(dir, 4), &line(5));
    let (mut last, lost) = kept.start(dir);
    assert_eq!((kept.read(&mut last), lost), (of(&["5"]), 0));
    fs::remove_file(at(dir, 5)).unwrap();
    fs::remove_file(at(dir, 7)).unwrap();
    (0..=GRACE).for_each(|_| assert!(kept.read(&mut last).is_empty()));
    assert_eq!(kept.0.len(), FILES - 1, "what is removed is forgotten, wherever it stood");
}

#[test]
fn a_start_keeps_the_past_of_a_file_that_is_one_of_too_many_by_then() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    many(dir, FILES);
    append(&at(dir, 0), &line(9));
    age(dir, 0, 1000);
    let mut follower = Follower::first(dir, None, Begin::Start);
    let mut kept = Kept::of(&follower);
    append(&at(dir, FILES), &line(1));
    assert_eq!(kept.read(&mut follower), ["1"]);
    let (mut next, lost) = kept.start(dir);
    assert_eq!((kept.read(&mut next), lost), (Vec::new(), 0));
    let mut past = Vec::new();
    while next.has_backfill() {
        past.extend(told(&next.backfill(now())).0);
    }
    assert_eq!((past.len(), past.iter().filter(|number| *number == "9").count()), (FILES + 1, 1));
}

#[test]
fn what_is_not_read_to_its_end_is_not_set_aside() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    many(dir, FILES);
    let mut follower = Follower::first(dir, None, Begin::End);
    let mut kept = Kept::of(&follower);
    append(&at(dir, 0), &line(1));
    age(dir, 0, 1000);
    append(&at(dir, FILES), &line(2));
    let (mut next, _) = kept.start(dir);
    for one in [&mut follower, &mut next] {
        let mut read = kept.read(one);
        read.sort();
        assert_eq!((read, one.unread()), (of(&["1", "2"]), 0));
        assert_eq!(unread(one), (0, 0));
        assert_eq!((one.tails.len(), one.aside.len()), (FILES, 1));
    }
}

#[test]
fn what_comes_as_one_of_too_many_is_told_and_read_once_it_is_written_to() {
    let (home, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = home.path();
    many(dir, FILES);
    let mut follower = Follower::first(dir, None, Begin::End);
    append(&at(beside.path(), FILES), &line(1));
    age(beside.path(), FILES, 10);
    fs::rename(at(beside.path(), FILES), at(dir, FILES)).unwrap();
    let batch = follower.poll(now());
    let said: Vec<&str> = batch.said.iter().map(|one| one.what.as_str()).collect();
    let is_told = |part: &str| said.iter().any(|what| what.contains(part));
    assert_eq!((batch.lines.len(), batch.unreadable.len(), said.len()), (0, 0, 2), "{said:?}");
    assert!(is_told(&format!("1 files, of which the first is `{}`", at(dir, FILES).display())), "{said:?}");
    assert!(is_told("only those that changed last are followed"), "{said:?}");
    assert_eq!(follower.unread(), line(1).len() as u64);
    append(&at(dir, FILES), &line(2));
    assert_eq!((events(&mut follower), follower.unread()), (of(&["1", "2"]), 0));
}

#[test]
fn where_more_was_read_than_stays_known_that_is_said_and_nothing_is_left_out() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    many(dir, FILES);
    let mut follower = Follower::first(dir, None, Begin::End);
    let mut kept = Kept::of(&follower);
    let mut said = Vec::new();
    // In the order of their age all of these fall out.
    for n in FILES..=FILES + ASIDE {
        append(&at(dir, n), &line(1));
        let batch = follower.poll(now());
        assert_eq!(told(&batch).0, ["1"]);
        said.extend(batch.said.iter().map(|one| one.what.clone()));
        batch.files.into_iter().for_each(|file| kept.note(file));
    }
    assert_eq!((said.len(), kept.0.len()), (2, FILES + ASIDE), "{said:?}");
    assert!(said[1].contains("not known after a restart"), "{said:?}");
    let (mut next, lost) = kept.start(dir);
    assert_eq!((kept.read(&mut next), lost), (Vec::new(), 0));
    // The one that was forgotten is written to while nobody looks.
    append(&at(dir, 0), &line(2));
    let (mut last, batch) = Follower::again(dir, None, kept.0.values().cloned().collect(), Vec::new());
    let what = batch.said.iter().map(|one| one.what.clone()).collect::<Vec<_>>();
    assert!(what.len() == 1 && what[0].contains("1 that were written to meanwhile may have been read"), "{what:?}");
    assert_eq!(kept.read(&mut last), ["0", "2"]);
}

#[test]
fn of_more_than_are_looked_at_none_counts_as_gone_and_it_is_said() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    many(dir, LOOKED_AT);
    change_after_birth(&at(dir, LOOKED_AT - 1), &at(dir, LOOKED_AT - FILES));
    let mut follower = Follower::first(dir, None, Begin::End);
    let mut kept = Kept::of(&follower);
    // By its name it comes first, and pushes the last one out.
    append(&dir.join("00000-first"), &line(1));
    let (read, said) = look(&mut follower);
    assert_eq!((read, said.len()), (of(&["1"]), 3), "{said:?}");
    (0..=2 * GRACE).for_each(|_| assert_eq!(look(&mut follower), (Vec::new(), Vec::new())));
    append(&at(dir, LOOKED_AT - 1), &line(2));
    assert_eq!(events(&mut follower), ["2"], "the last one is followed still");
    let (mut next, lost) = kept.start(dir);
    assert_eq!((kept.read(&mut next).len(), lost), (2, 0), "also after a start");
    fs::remove_file(dir.join("00000-first")).unwrap();
    append(&at(dir, LOOKED_AT - 1), &line(3));
    assert_eq!((events(&mut follower), kept.read(&mut next)), (of(&["3"]), of(&["3"])));
}

#[test]
fn what_is_removed_is_forgotten_also_of_more_than_are_looked_at() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    many(dir, LOOKED_AT);
    let mut follower = Follower::first(dir, None, Begin::End);
    (0..5).for_each(|n| append(&dir.join(format!("00000-{n}")), &line(1)));
    let mut kept = Kept::of(&follower);
    assert_eq!(kept.read(&mut follower).len(), 5);
    let known = |kept: &Kept, n| {
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(at(dir, n)).unwrap());
        kept.0.keys().find(|(_, known)| *known == inode).copied()
    };
    let followed = known(&kept, LOOKED_AT - 2).expect("it is one of the latest");
    let aside = known(&kept, LOOKED_AT - FILES + 4).expect("it is set aside");
    fs::remove_file(at(dir, LOOKED_AT - 2)).unwrap();
    fs::remove_file(at(dir, LOOKED_AT - FILES + 4)).unwrap();
    // It was held open, as one that may be written to still.
    (0..=GRACE).for_each(|_| assert!(kept.read(&mut follower).is_empty()));
    assert!(!kept.0.contains_key(&followed) && !kept.0.contains_key(&aside));
    assert!(Listing::of(dir, Vec::new).is_cut);
}

#[test]
fn what_is_set_aside_stays_known_while_its_folder_is_an_empty_mount_point() {
    let home = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (home.path().join("logs"), home.path().join("elsewhere"));
    fs::create_dir(&dir).unwrap();
    let files = FILES + ASIDE + 1;
    many(&dir, files);
    let mut follower = Follower::first(&dir, None, Begin::End);
    let mut kept = Kept::of(&follower);
    let set_aside = follower.aside();
    look(&mut follower);
    fs::rename(&dir, &elsewhere).unwrap();
    fs::create_dir(&dir).unwrap();
    for _ in 0..=GRACE {
        let batch = follower.poll(now());
        assert!(batch.files.is_empty(), "{:?}", batch.files);
    }
    assert_eq!((set_aside, follower.aside()), (files as u64 - FILES as u64, set_aside));
    fs::remove_dir(&dir).unwrap();
    fs::rename(&elsewhere, &dir).unwrap();
    append(&at(&dir, 1), &line(1));
    assert_eq!((kept.read(&mut follower), follower.unread()), (of(&["1"]), 0), "none of it is read again");
}

#[test]
fn of_very_many_that_came_while_nobody_looked_each_is_read() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    many(dir, FILES + ASIDE + 1);
    let last = at(dir, FILES + ASIDE);
    change_after_birth(&last, &at(dir, 0));
    let mut kept = Kept::of(&Follower::first(dir, None, Begin::End));
    // One that may have been read before is written to first, so that it is not one of the latest either.
    append(&at(dir, 0), &line(2));
    while changed(&at(dir, 0)) <= changed(&last) {
        append(&at(dir, 0), "\n");
    }
    let just_after = changed(&last) + Duration::from_nanos(1);
    fs::File::options().append(true).open(at(dir, 0)).unwrap().set_modified(just_after).unwrap();
    (1..FILES - 50).for_each(|n| fs::remove_file(at(dir, n)).unwrap());
    // More than are followed, and all of them younger than what is known.
    let came = FILES + ASIDE + 1..2 * FILES + 2 * ASIDE;
    came.clone().for_each(|n| append(&at(dir, n), &line(1)));
    let (mut next, batch) = Follower::again(dir, None, kept.0.values().cloned().collect(), Vec::new());
    let what = batch.said.iter().map(|one| one.what.clone()).collect::<Vec<_>>();
    assert!(what.len() == 1 && what[0].contains("1 that were written to meanwhile may have been read"), "{what:?}");
    // A start knows of each before it is read, so that a further one leaves none out.
    let unread = next.positions().iter().filter(|file| file.offset == 0).count();
    assert_eq!(unread, came.len() + 1 - FILES);
    let mut read = kept.read(&mut next);
    read.sort();
    assert_eq!((read.len(), next.unread()), (came.len() + 2, 0));
    assert_eq!(read.iter().filter(|number| *number == "1").count(), came.len());
    assert!(kept.read(&mut next).is_empty());
    assert!(next.tails.len() <= FILES + 1, "they give up their place once they are read");
}
