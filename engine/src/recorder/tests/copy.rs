//! The quick look finds what reading whole would find, and what is copied is what was there.

use super::format::event;
use super::{AsSeen, exec, id};
use crate::recorder::interest::Interest;
use crate::recorder::page::copy::Copy;
use crate::recorder::pin::Wanted;
use crate::recorder::skim::Skim;
use crate::recorder::{Events, Page, kin};
use proptest::prelude::*;
use quell_model::{Event, Gather, OwnedEvent, ProcessId, Subject};

/// Some of the lines that processes descend by; 40 is above all but init.
const LINES: [&[(u32, &str)]; 4] = [
    &[(41, "/usr/bin/bash"), (40, "/usr/sbin/sshd"), (1, "/sbin/init")],
    &[(42, "/usr/bin/make"), (41, "/usr/bin/bash"), (40, "/usr/sbin/sshd")],
    &[(40, "/usr/sbin/sshd")],
    &[],
];

/// How an event is told.
#[derive(Clone, Debug)]
enum Told {
    InParts(OwnedEvent, u64),
    Whole(OwnedEvent),
}

impl Told {
    fn note(&self, page: &mut Page) {
        match self {
            Self::InParts(event, start) => page.note(&AsSeen(event.clone(), *start)),
            Self::Whole(event) => page.note(event),
        }
    }

    fn whole(&self) -> OwnedEvent {
        match self {
            Self::InParts(event, start) => AsSeen(event.clone(), *start).to_owned(),
            Self::Whole(event) => event.clone(),
        }
    }
}

fn told() -> impl Strategy<Value = Told> {
    let seen = || {
        (38..48u32, 0..LINES.len(), 0..4usize, any::<u16>()).prop_map(|(pid, line, image, ms)| {
            exec(pid, ["/usr/bin/cc", "/usr/bin/true", "ä", ""][image], LINES[line], ms.into())
        })
    };
    prop_oneof![
        (seen(), any::<u32>()).prop_map(|(event, start)| Told::InParts(event, start.into())),
        seen().prop_map(Told::Whole),
        event().prop_map(Told::Whole),
    ]
}

/// What an incident wants of whole events.
fn wants(wanted: &Wanted, event: &OwnedEvent) -> bool {
    let Subject::Process(own) = &event.subject else {
        return wanted.entities.contains(&(event.entity.kind.to_string(), event.entity.id.to_string()));
    };
    let line = event.own.get("process").and_then(|process| process.get("ancestors")).and_then(|line| line.as_array());
    let mut above = line.into_iter().flatten().filter_map(|one| one.get("id")?.as_str()?.parse::<ProcessId>().ok());
    wanted.trees.contains(&kin(own))
        || wanted.line.contains(&kin(own))
        || above.any(|above| wanted.trees.contains(&kin(&above)))
}

/// Copies what each of these wants of these pages.
fn copies(pages: &[Page], all: &[Wanted]) -> Vec<Copy> {
    let interest = Interest::of(all.iter());
    let mut copies: Vec<Copy> = all.iter().map(|_| Copy::default()).collect();
    for page in pages {
        copies.iter_mut().for_each(Copy::begin);
        let mut skim = Skim::new(page.bytes(), &interest);
        while let Some(event) = skim.step() {
            let event = event.unwrap();
            for (at, copy) in copies.iter_mut().enumerate().filter(|(at, _)| event.wanted >> at & 1 == 1) {
                copy.add(&skim, &event).unwrap_or_else(|damaged| panic!("{at}: {damaged}"));
            }
        }
    }
    copies
}

fn read(page: &Page) -> Vec<OwnedEvent> {
    Events::of(page.bytes()).map(|event| event.unwrap().into_event()).collect()
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let kins = || prop::collection::hash_set((38..44u32).prop_map(|pid| kin(&id(pid))), 0..2);
    let entities = prop::collection::hash_set(("[a-z]{1,5}", ".{0,9}"), 0..2);
    (kins(), kins(), entities, any::<bool>()).prop_map(|(trees, line, mut entities, session)| {
        if session {
            entities.insert(("session".to_owned(), "7".to_owned()));
        }
        Wanted { trees, line, entities }
    })
}

proptest! {
    #[test]
    fn what_is_copied_is_what_is_wanted_and_as_it_was(
        told in prop::collection::vec(prop::collection::vec(told(), 0..12), 1..4),
        all in prop::collection::vec(wanted(), 1..4),
    ) {
        let pages: Vec<Page> = told.iter().map(|events| {
            let mut page = Page::default();
            events.iter().for_each(|event| event.note(&mut page));
            page
        }).collect();
        for (copy, wanted) in copies(&pages, &all).iter().zip(&all) {
            let expected: Vec<OwnedEvent> =
                told.iter().flatten().map(Told::whole).filter(|event| wants(wanted, event)).collect();
            prop_assert_eq!(copy.page().events(), expected.len() as u64);
            prop_assert_eq!(read(copy.page()), expected);
        }
    }

    #[test]
    fn no_bytes_are_fatal_to_the_quick_look(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        told in prop::collection::vec(told(), 1..6),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut page = Page::default();
        told.iter().for_each(|event| event.note(&mut page));
        let mut bytes = page.bytes().to_vec();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let all = Wanted { trees: (30..50).map(|pid| kin(&id(pid))).collect(), ..Wanted::default() };
        let interest = Interest::of(std::iter::once(&all));
        for bytes in [&noise, &bytes] {
            let mut skim = Skim::new(bytes, &interest);
            let mut copy = Copy::default();
            while let Some(Ok(event)) = skim.step() {
                prop_assert!(copy.add(&skim, &event).is_ok());
            }
        }
    }
}

#[test]
fn a_page_that_tells_more_apart_than_it_can_is_copied_too() {
    let mut page = Page::default();
    let mut all = Vec::new();
    for n in 0..3000 {
        let event = exec(50, &format!("/bin/{n}"), LINES[0], n);
        page.note(&AsSeen(event.clone(), n));
        all.push(AsSeen(event, n).to_owned());
    }
    let wanted = Wanted { trees: [kin(&id(40))].into(), ..Wanted::default() };
    // From another page first: its numbers are others.
    let mut other = Page::default();
    other.note(&exec(51, "/bin/2999", LINES[1], 1));
    let copied = copies(&[other, page], &[wanted]);
    let read = read(copied[0].page());
    assert_eq!(read[0], exec(51, "/bin/2999", LINES[1], 1));
    assert_eq!(read[1..], all);
}

#[test]
fn what_is_shared_is_shared_in_the_copy() {
    let mut page = Page::default();
    for pid in 5000..5200 {
        page.note(&AsSeen(exec(pid, "/usr/bin/cc", LINES[0], pid.into()), 1));
    }
    let wanted = Wanted { trees: [kin(&id(41))].into(), ..Wanted::default() };
    let copied = copies(std::slice::from_ref(&page), &[wanted]);
    assert_eq!(copied[0].page().bytes(), page.bytes(), "all of it is wanted: the same bytes");
    assert_eq!(Gather::of(&read(copied[0].page())[7]), read(&page)[7]);
}
