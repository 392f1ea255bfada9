//! The events behind what is being counted.
//!
//! Owns them until they are older than every window. Keeps true: they are bounded in number and in bytes, since whoever is
//! counted also says how long a command line is; past a bound the earliest go, and a detection then carries fewer.

use quell_model::{EventId, Json, OwnedEvent};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The most events.
const EVENTS: usize = 4_096;
/// The most bytes of all of them, as [`size`] counts.
const BYTES: usize = 16 << 20;
/// What an event takes beside its texts, at least.
const BARE: usize = 1_024;

/// See the module.
#[derive(Default)]
pub(super) struct Kept {
    events: HashMap<EventId, Arc<OwnedEvent>>,
    /// In the order of arrival, with the second of each and its bytes.
    order: VecDeque<(i64, usize, EventId)>,
    bytes: usize,
}

impl Kept {
    /// One more, of this second; those before `oldest` are needed no more.
    pub(super) fn keep(&mut self, event: &Arc<OwnedEvent>, second: i64, oldest: i64) {
        let id = &event.head.id;
        if self.events.insert(id.clone(), Arc::clone(event)).is_none() {
            let bytes = size(event);
            self.bytes += bytes;
            self.order.push_back((second, bytes, id.clone()));
        }
        while self.order.len() > EVENTS
            || (self.bytes > BYTES && self.order.len() > 1)
            || self.order.front().is_some_and(|(second, ..)| *second < oldest)
        {
            let Some((_, bytes, id)) = self.order.pop_front() else { return };
            self.bytes -= bytes;
            self.events.remove(&id);
        }
    }

    /// One that is still kept.
    pub(super) fn get(&self, id: &EventId) -> Option<&Arc<OwnedEvent>> {
        self.events.get(id)
    }
}

/// About how many bytes an event takes.
pub(super) fn size(event: &OwnedEvent) -> usize {
    fn of(value: &Json) -> usize {
        size_of::<Json>()
            + match value {
                Json::String(text) => text.len(),
                Json::Array(members) => members.iter().map(of).sum(),
                Json::Object(parts) => parts.iter().map(|(name, part)| name.len() + of(part)).sum(),
                _ => 0,
            }
    }
    let parts = event.sigma.iter().chain(&event.own);
    BARE + parts.map(|(name, part)| name.len() + of(part)).sum::<usize>()
}
