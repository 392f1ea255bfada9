//! What was refused because of whom it is about, and comes again just so.
//!
//! Owns which runs those were, and what makes a detection the same as another. Keeps true: one differs that has another rule, matched
//! something else, or is of an event in which anything but its id and its time is otherwise; what is remembered is bounded, and short.

use super::{Key, Taker};
use quell_model::{Hash, Json, Mode, RunId, Stamp};
use std::collections::HashMap;
use std::time::Duration;

/// So long the same again is not tried anew: whoever is protected may be so by where he is, which can change.
const LASTS: Duration = Duration::from_secs(10 * 60);
/// Of one value of `run_per`, so many different ones.
const MOST_ALIKE: usize = 16;
/// And so many values: past it all are forgotten, and are refused by a run of their own once more.
const MOST: usize = 10_000;

/// A run that was refused.
#[derive(Clone, Debug)]
struct Refused {
    taker: Taker,
    like: Hash,
    at: Stamp,
}

/// All that were lately, by the guard as it is.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<Key, Vec<Refused>>);

impl Refusals {
    pub(super) fn add(&mut self, key: Key, taker: Taker, like: Hash, at: Stamp) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let alike = self.0.entry(key).or_default();
        alike.retain(|one| one.like != like && at.since(one.at) <= LASTS);
        if alike.len() == MOST_ALIKE {
            alike.remove(0);
        }
        alike.push(Refused { taker, like, at });
    }

    /// The run that was refused for just this.
    pub(super) fn find(&self, key: &Key, like: impl FnOnce() -> Hash, most: Mode, now: Stamp) -> Option<RunId> {
        let alike = self.0.get(key)?;
        let like = like();
        let is_it = |one: &&Refused| one.like == like && one.taker.most >= most && now.since(one.at) <= LASTS;
        alike.iter().find(is_it).map(|one| one.taker.run.clone())
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// What two detections have in common that are the same but for when they came; of `event` and `detection` as expressions see them.
pub(super) fn likeness(event: &Json, detection: &Json) -> Hash {
    let without = |event: &Json| {
        let mut event = event.clone();
        if let Json::Object(event) = &mut event {
            event.remove("id");
            event.remove("time");
        }
        event
    };
    let mut detection = detection.clone();
    if let Json::Object(detection) = &mut detection {
        detection.remove("id");
        if let Some(Json::Array(events)) = detection.get_mut("events") {
            events.iter_mut().for_each(|event| *event = without(event));
        }
    }
    Hash::of_parts(&[without(event).to_string().as_bytes(), detection.to_string().as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stamp(seconds: u64) -> Stamp {
        Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: seconds * 1_000_000_000 }
    }

    #[test]
    fn two_are_alike_that_differ_in_nothing_but_when_they_came() {
        let event = |id: &str, path: &str| json!({ "id": id, "time": id, "file": { "path": path, "id": "f" } });
        let detection =
            |id: &str, rule: &str, events: Json| json!({ "id": id, "rule": rule, "matched": [], "events": events });
        let one = likeness(&event("1", "/x"), &detection("1", "r", json!([event("1", "/y")])));
        assert_eq!(one, likeness(&event("2", "/x"), &detection("2", "r", json!([event("3", "/y")]))));
        for (event, detection) in [
            (event("2", "/z"), detection("2", "r", json!([event("3", "/y")]))),
            (event("2", "/x"), detection("2", "other", json!([event("3", "/y")]))),
            (event("2", "/x"), detection("2", "r", json!([event("3", "/z")]))),
            (event("2", "/x"), detection("2", "r", json!([]))),
        ] {
            assert_ne!(one, likeness(&event, &detection), "{event} {detection}");
        }
    }

    #[test]
    fn it_is_short_and_bounded_and_takes_what_may_go_no_further() {
        let (mut all, key): (_, Key) = (Refusals::default(), ("p".into(), "x".into()));
        let taker = |run: &str| Taker { run: run.into(), most: Mode::Approve };
        let like = |n: usize| Hash::of(&n.to_le_bytes());
        let find = |all: &Refusals, n, most, at| all.find(&key, || like(n), most, stamp(at)).map(|run| run.to_string());
        all.add(key.clone(), taker("r-0"), like(0), stamp(0));
        assert_eq!(find(&all, 0, Mode::Approve, 600).as_deref(), Some("r-0"));
        assert_eq!(find(&all, 0, Mode::Enforce, 1), None, "it might act where that one had to ask");
        assert_eq!(find(&all, 0, Mode::Approve, 601), None);
        for n in 1..=MOST_ALIKE {
            all.add(key.clone(), taker("r"), like(n), stamp(1));
        }
        assert_eq!((find(&all, 0, Mode::Approve, 2), find(&all, 1, Mode::Approve, 2).is_some()), (None, true));
        for n in 0..MOST {
            all.add(("p".into(), n.to_string()), taker("r"), like(n), stamp(1));
        }
        assert!(all.0.len() <= MOST);
    }
}
