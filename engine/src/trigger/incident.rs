//! Moments of incidents: when a playbook with `on: { incident: … }` is due, and how often it may act on them.
//!
//! Owns the bound of the circle that such a playbook could make: what it does is seen, opens an incident, and starts it again.
//! Starts nothing. Keeps true: by itself a playbook acts on so many moments in a time and no more; on further ones it asks, so
//! that a person has a part in every further turn. Every run counts here, wherever it is about: each turn may be elsewhere.

use quell_model::playbook::{IncidentMoment, Playbook, Rate};
use quell_model::{IncidentId, Mode, Name, RunId, Seq, Stamp};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Where the playbook has no `limits.runs`.
pub const RATE: Rate = Rate { count: 20, per: Duration::from_secs(3600) };

/// The run that a playbook's answer to a moment is: the record of the moment is its cause.
#[must_use]
pub fn run_of(playbook: &Name, incident: &IncidentId, record: Seq) -> RunId {
    RunId::of(&[playbook.as_str().as_bytes(), b"incident", incident.as_str().as_bytes(), &record.to_le_bytes()])
}

/// Whether this moment starts it.
#[must_use]
pub fn due(playbook: &Playbook, moment: IncidentMoment) -> bool {
    playbook.on.incident.contains(&moment)
}

/// When each playbook lately began a run that may act, because of an incident's moment.
#[derive(Debug, Default)]
pub struct Starts {
    lately: HashMap<Name, VecDeque<Stamp>>,
}

impl Starts {
    /// Why a further run of this playbook would have to ask, if it would.
    #[must_use]
    pub fn is_at_limit(&self, playbook: &Playbook, now: Stamp) -> Option<String> {
        let rate = playbook.limits.runs.unwrap_or(RATE);
        let lately = self.lately.get(&playbook.name)?;
        let count = lately.iter().filter(|at| now.since(**at) <= rate.per).count();
        (count >= rate.count as usize).then(|| {
            format!(
                "incidents started it {} times in {:?}, which is its limit: on further ones it asks",
                rate.count, rate.per
            )
        })
    }

    /// Counts a run that has begun; one that cannot act does not count.
    pub fn counted(&mut self, playbook: &Playbook, mode: Mode, at: Stamp) {
        if mode != Mode::Enforce {
            return;
        }
        let rate = playbook.limits.runs.unwrap_or(RATE);
        let lately = self.lately.entry(playbook.name.clone()).or_default();
        lately.push_back(at);
        // Past the limit no run counts, so that more are of no use.
        while lately.len() > rate.count as usize {
            lately.pop_front();
        }
    }
}
