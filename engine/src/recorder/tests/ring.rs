//! The ring's files: how they go round, what a kill leaves, what is told of what was dropped.

use super::{AsSeen, BOOT, at, exec};
use crate::recorder::ring::Heads;
use crate::recorder::{Bounds, Broken, Counts, Missed, PAGES, Page, Refused, Ring, channel, segments};
use quell_model::Stamp;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HOUR: u64 = 3_600_000;

fn bounds(size: u64) -> Bounds {
    Bounds { size, age: Duration::from_secs(24 * 3600) }
}

/// A page that does not compress to nothing.
fn page(ms: u64) -> Page {
    let mut page = Page::default();
    let mut noise = ms.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for n in 0..40 {
        let mut event = exec(4000 + n, "/usr/bin/cc", &[], ms + u64::from(n));
        let text: String = (0..60)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                format!("{noise:x}")
            })
            .collect();
        event.sigma.insert("CommandLine".into(), text.into());
        page.note(&event);
    }
    page
}

fn heads(path: &Path) -> (usize, Option<Broken>) {
    let mut heads = Heads::new(File::open(path).unwrap());
    (heads.by_ref().count(), heads.broken)
}

#[test]
fn the_oldest_goes_when_there_is_too_much_and_the_size_holds() {
    let dir = tempfile::tempdir().unwrap();
    let size = 1 << 20;
    let mut ring = Ring::open(dir.path(), bounds(size), BOOT).unwrap();
    for n in 0..120 {
        ring.write(&mut page(n * 1000), at(n * 1000)).unwrap();
        assert!(ring.bytes() <= size, "{}", ring.bytes());
    }
    let found = segments(dir.path()).unwrap();
    assert_eq!(found.iter().map(|s| s.bytes).sum::<u64>(), ring.bytes());
    assert!(found.len() > 16 && found[0].number > 1, "{found:?}");
    assert_eq!(found[0].from, ring.oldest());
    assert!(found[0].from.unwrap() > at(0));
    assert!(ring.bytes() > size / 2, "it is used: {}", ring.bytes());
}

#[test]
fn what_is_too_old_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(dir.path(), bounds(1 << 20), BOOT).unwrap();
    for n in 0..8 {
        ring.write(&mut page(n * HOUR), at(n * HOUR)).unwrap();
    }
    let files = |ring: &Ring| (segments(dir.path()).unwrap().len(), ring.oldest().unwrap());
    let (before, _) = files(&ring);
    ring.tidy(at(27 * HOUR));
    let (after, oldest) = files(&ring);
    assert!(after < before && oldest >= at(2 * HOUR), "{before} {after} {oldest:?}");
    ring.tidy(at(400 * HOUR));
    assert!(segments(dir.path()).unwrap().len() <= 1);
}

#[test]
fn a_step_of_the_wall_clock_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(dir.path(), bounds(1 << 20), BOOT).unwrap();
    for n in 0..8 {
        ring.write(&mut page(n * HOUR), at(n * HOUR)).unwrap();
    }
    let files = || segments(dir.path()).unwrap().len();
    let all = files();
    // A year and more ahead, and at the beginning of time.
    let stepped = |ms: u64, wall: i64| Stamp { wall: jiff::Timestamp::from_second(wall).unwrap(), ..at(ms) };
    for wall in [9_000_000_000, 0] {
        ring.tidy(stepped(9 * HOUR, wall));
        assert_eq!(files(), all, "{wall}");
    }
    let mut again = Ring::open(dir.path(), bounds(1 << 20), BOOT).unwrap();
    again.tidy(stepped(9 * HOUR, 9_000_000_000));
    assert_eq!(files(), all, "nor those of an earlier quell");
    ring.tidy(stepped(27 * HOUR, 0));
    assert!(files() < all, "it does grow old, as the boot clock says");
    let mut other = Ring::open(dir.path(), bounds(1 << 20), "another boot").unwrap();
    other.tidy(stepped(9 * HOUR, 9_000_000_000));
    assert_eq!(files(), 0, "of another boot only the wall tells");
}

#[test]
fn a_torn_end_is_told_and_a_new_file_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(dir.path(), bounds(64 << 20), BOOT).unwrap();
    for n in 0..3 {
        ring.write(&mut page(n), at(n)).unwrap();
    }
    drop(ring);
    let torn = segments(dir.path()).unwrap()[0].path.clone();
    let whole = std::fs::read(&torn).unwrap();
    // Wherever the writer was killed: all whole pages are there, and the rest is named.
    for cut in [1, 50, 200, 5000] {
        std::fs::write(&torn, &whole[..whole.len() - cut]).unwrap();
        let (pages, broken) = heads(&torn);
        assert_eq!(pages, 2, "{cut}");
        assert!(matches!(broken, Some(Broken::Torn)), "{cut}: {broken:?}");
    }
    std::fs::write(&torn, &whole[..7]).unwrap();
    assert!(matches!(heads(&torn), (0, Some(Broken::Torn))));
    std::fs::write(&torn, [&whole[..], &[b'x'; 500]].concat()).unwrap();
    assert!(matches!(heads(&torn), (3, Some(Broken::NoPage))));

    let mut ring = Ring::open(dir.path(), bounds(64 << 20), BOOT).unwrap();
    ring.write(&mut page(9), at(9)).unwrap();
    let found = segments(dir.path()).unwrap();
    assert_eq!(found.iter().map(|s| s.number).collect::<Vec<_>>(), [1, 2]);
    let first = Heads::new(File::open(&found[1].path).unwrap()).next().unwrap().1;
    assert!(first.began, "the time in between was not recorded, and the page says so");
}

#[test]
fn what_the_disk_refused_is_told_in_the_next_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(&dir.path().join("ring"), bounds(64 << 20), BOOT).unwrap();
    std::fs::remove_dir(dir.path().join("ring")).unwrap();
    for n in 0..2 {
        assert!(matches!(ring.write(&mut page(n * 1000), at(n)), Err(Refused::Disk(_))));
    }
    let missed = Missed { events: 80, from: at(0), to: at(1039) };
    assert_eq!(ring.missed(), Some(missed));
    std::fs::create_dir(dir.path().join("ring")).unwrap();
    ring.write(&mut page(5000), at(5000)).unwrap();
    assert_eq!(ring.missed(), None);
    let file = &segments(&dir.path().join("ring")).unwrap()[0].path;
    let head = Heads::new(File::open(file).unwrap()).next().unwrap().1;
    assert_eq!(head.missed, Some(missed));
}

#[test]
fn who_notes_never_waits_and_what_was_dropped_is_told() {
    let counts = Arc::new(Counts::default());
    let (mut noter, full, back) = channel(Arc::clone(&counts));
    // Nobody takes pages: all of them fill, and from then on whole pages are let go.
    let mut noted = 0;
    while counts.dropped() == 0 {
        noter.note(&AsSeen(exec(noted, "/usr/bin/cc", &[], noted.into()), 1));
        noted += 1;
    }
    for _ in 0..10 {
        noter.note(&AsSeen(exec(noted, "/usr/bin/cc", &[], noted.into()), 1));
        noted += 1;
    }
    assert_eq!(counts.noted(), u64::from(noted));
    let mut kept = 0;
    let mut told = 0;
    for _ in 1..PAGES {
        let mut page = full.try_recv().unwrap();
        kept += page.events();
        assert_eq!(page.missed(), None);
        page.clear();
        back.try_send(page).unwrap();
    }
    noter.turn(at(3_600_000));
    let page = full.try_recv().unwrap();
    kept += page.events();
    told += page.missed().unwrap().events;
    assert_eq!(told, counts.dropped());
    assert_eq!(kept + told, u64::from(noted), "every event is kept or told of");
}

#[test]
fn a_page_is_handed_over_when_it_has_waited_and_at_the_end() {
    let (mut noter, full, back) = channel(Arc::default());
    noter.note(&exec(1, "a", &[], 0));
    noter.turn(at(900));
    assert!(full.try_recv().is_err(), "not yet");
    noter.turn(at(1001));
    assert_eq!(full.try_recv().unwrap().events(), 1);
    noter.turn(at(5000));
    assert!(full.try_recv().is_err(), "nothing to hand over");
    noter.note(&exec(2, "a", &[], 6000));
    drop(noter);
    assert_eq!(full.try_recv().unwrap().events(), 1);
    drop(back);
}
