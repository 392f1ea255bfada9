//! The search: goes once through the ring's pages that some incident has not seen, and copies what each wants.
//!
//! Owns the order in which pages are read, beside their writer. Unpacks a page only where its head says that it may hold
//! something, and makes no event of what is in it: who it is about is looked up, and what is wanted is copied as bytes.

use super::case::{Case, is_later};
use super::frame::{self, Packer, PageHead, Unpacker};
use super::interest::Interest;
use super::ring::{self, ENDING, Heads};
use super::skim::Skim;
use quell_model::{IncidentId, Stamp};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Pages of the ring that are looked at in one turn; what was found is in the pins then.
const PAGES_A_TURN: usize = 64;

/// The incidents that are followed.
pub(super) type Cases = BTreeMap<IncidentId, Case>;

/// See the module.
#[derive(Debug)]
pub(super) struct Search {
    ring: PathBuf,
    boot: u64,
    packer: Packer,
    unpacker: Unpacker,
    /// What the incidents want; none when that has changed.
    interest: Option<Interest>,
    /// The ring has pages that were not looked at for want of time.
    behind: bool,
}

impl Search {
    pub(super) fn new(ring: &Path, boot: u64) -> io::Result<Self> {
        let (packer, unpacker) = (Packer::new()?, Unpacker::default());
        Ok(Self { ring: ring.to_owned(), boot, packer, unpacker, interest: None, behind: false })
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// The incidents, or what one of them wants, are no longer the same.
    pub(super) fn changed(&mut self) {
        self.interest = None;
    }

    /// Goes on, so far or until `stop` is raised. Every incident has its pin.
    pub(super) fn turn(&mut self, cases: &mut Cases, stop: &AtomicBool) {
        let Ok(numbers) = numbers(&self.ring) else { return };
        let Some(oldest) = numbers.first().copied() else { return };
        self.begin(cases, &numbers);
        let Some(from) = cases.values().map(Case::next).min() else { return };
        let mut before: Option<Stamp> = None;
        let mut end = from;
        let mut looked = 0;
        self.behind = false;
        'files: for number in numbers.into_iter().filter(|number| *number >= from.0) {
            let start = if number == from.0 { from.1 } else { 0 };
            let path = self.file(number);
            // It may have been removed just now.
            let Ok(file) = File::open(&path) else { continue };
            let Ok(mut pages) = File::open(&path) else { continue };
            let Ok(mut heads) = Heads::after(file, start) else { continue };
            for (at, head) in heads.by_ref() {
                let is_first = (number, at) == (oldest, 0);
                let place = (number, at);
                if looked >= PAGES_A_TURN || stop.load(Ordering::Acquire) {
                    (end, self.behind) = (place, true);
                    break 'files;
                }
                looked += 1;
                let mut wants = false;
                for case in cases.values_mut().filter(|case| case.next() <= place) {
                    case.account(&head, before, is_first, self.boot);
                    wants |= case.overlaps(&head, self.boot);
                }
                before = Some(head.to);
                if wants
                    && head.events > 0
                    && let Err(error) = self.page(&mut pages, place, &head, cases)
                {
                    tracing::warn!(file = %path.display(), at, %error, "a page of the recording cannot be read");
                    for case in cases.values_mut() {
                        case.lost += head.events;
                    }
                }
            }
            end = (number, heads.at());
        }
        for case in cases.values_mut().filter(|case| case.pin.is_some()) {
            // Those that had seen more already keep their place.
            case.place = case.place.max(Some(end));
        }
        self.flush(cases);
    }

    fn file(&self, number: u64) -> PathBuf {
        self.ring.join(format!("{number:010}{ENDING}"))
    }

    /// Finds where those begin that have seen nothing yet.
    fn begin(&self, cases: &mut Cases, numbers: &[u64]) {
        for case in cases.values_mut().filter(|case| case.place.is_none()) {
            // The last file that begins before what it wants; those before it are passed over.
            let is_before = |number: &u64| {
                let first = ring::first(&self.file(*number));
                first.is_none_or(|head| !is_later(head.from, case.from(), head.boot == self.boot))
            };
            let after = numbers.partition_point(is_before);
            case.begin = (numbers[after.saturating_sub(1)], 0);
        }
    }

    /// Copies what is wanted of a page.
    fn page(
        &mut self,
        pages: &mut File,
        place: (u64, u64),
        head: &PageHead,
        cases: &mut Cases,
    ) -> Result<(), frame::Broken> {
        pages.seek(SeekFrom::Start(place.1 + frame::HEAD as u64))?;
        let bytes = self.unpacker.bytes(head, pages)?;
        let interest = self.interest.get_or_insert_with(|| Interest::of(cases.values().map(|case| &case.wanted)));
        let this_boot = head.boot == self.boot;
        let mut skim = Skim::new(bytes, interest);
        let mut begun = 0;
        while let Some(event) = skim.step() {
            let Ok(event) = event else {
                tracing::warn!(file = place.0, at = place.1, "a page of the recording cannot be read to its end");
                return Ok(());
            };
            if event.wanted == 0 {
                continue;
            }
            for (number, case) in cases.values_mut().enumerate() {
                let bit = 1_u64.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(0);
                if event.wanted & bit == 0 || case.next() > place || !case.is_within(event.at, this_boot) {
                    continue;
                }
                let Some(pin) = &mut case.pin else { continue };
                if pin.after.is_some_and(|after| !is_later(event.at, after, this_boot)) {
                    continue;
                }
                if begun & bit == 0 {
                    begun |= bit;
                    pin.begin();
                }
                if let Err(error) = pin.add(&skim, &event, &mut self.packer) {
                    tracing::warn!(file = %pin.path().display(), %error, "what surrounds an incident cannot be kept");
                }
            }
        }
        Ok(())
    }

    /// Writes what was found.
    fn flush(&mut self, cases: &mut Cases) {
        for (id, case) in cases {
            if let Some(pin) = &mut case.pin
                && let Err(error) = pin.flush(&mut self.packer)
            {
                tracing::warn!(incident = %id, %error, "what surrounds an incident cannot be kept");
            }
        }
    }
}

/// The numbers of the ring's files, in their order.
fn numbers(ring: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = std::fs::read_dir(ring)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(ENDING)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}
