//! What the seeds have come by.
//!
//! Owns the counts. Keeps true: a long enough search has come by each of them, or it says which it did not.

use super::post::Given;
use crate::run::sim::check::Streams;
use quell_model::Body;
use quell_model::record::{LadderChange, PageState, Place};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What the seeds have come by: a law over what never happens holds of itself.
#[derive(Default)]
pub(super) struct Met(Mutex<BTreeMap<&'static str, u64>>);

/// What a long enough search has to come by.
const HAS_TO_MEET: [&str; 22] = [
    "acknowledged",
    "too late",
    "a link",
    "unacknowledged",
    "escalated",
    "raised",
    "touched",
    "grown",
    "sent",
    "put off",
    "refused",
    "left by a death",
    "another way",
    "a repeat",
    "a correction",
    "an address of two",
    "a message for many",
    "silenced",
    "no longer silenced",
    "another file",
    "of the past",
    "an approval by others",
];

impl Met {
    pub(super) fn count(&self, streams: &Streams, tape: &[Given], (files, by_others): (usize, u64)) {
        let mut all = self.0.lock().unwrap();
        let mut add = |what: &'static str, is: bool| *all.entry(what).or_default() += u64::from(is);
        add("another file", files > 1);
        add("an approval by others", by_others > 0);
        for record in streams.values().flatten() {
            match &record.body {
                Body::IncidentOpened(opened) => add("of the past", opened.backfill),
                Body::LadderSilenced(silenced) => {
                    let is_held = silenced.until > record.at;
                    add(if is_held { "silenced" } else { "no longer silenced" }, true);
                }
                Body::LadderChanged(changed) => {
                    let what = match changed.change {
                        LadderChange::Answered => "acknowledged",
                        LadderChange::AnsweredTooLate => "too late",
                        LadderChange::Used => "a link",
                        LadderChange::Unacknowledged => "unacknowledged",
                        LadderChange::Escalated => "escalated",
                        LadderChange::Raised => "raised",
                        LadderChange::Touched => "touched",
                        LadderChange::Grown => "grown",
                        LadderChange::Progressed => "progressed",
                        LadderChange::TurnedAway => "turned away",
                    };
                    add(what, true);
                }
                Body::PageReceipted(receipted) => {
                    let what = match &receipted.state {
                        PageState::Sent(_) => "sent",
                        PageState::Waits { .. } => "put off",
                        PageState::Failed { .. } if receipted.attempt == 0 => "left by a death",
                        PageState::Failed { .. } => "refused",
                    };
                    add(what, true);
                    add("another way", !receipted.instead.is_empty());
                }
                Body::LadderMoved(moved) => {
                    add("an address of two", moved.pages.iter().any(|queued| !queued.page.also.is_empty()));
                    add("a last resort", moved.to == Place::LastResort);
                }
                _ => {}
            }
        }
        tape.iter().for_each(|given| {
            add("a repeat", given.repeat);
            add("a correction", given.page.quiet);
            add("a message for many", given.is_bundle);
            add("one for many once more", given.is_bundle && given.repeat);
        });
    }

    pub(super) fn is_enough(&self) {
        let met = self.0.lock().unwrap();
        for what in HAS_TO_MEET {
            assert!(met.get(what).is_some_and(|count| *count > 0), "no seed came by `{what}`: {met:?}");
        }
    }
}
