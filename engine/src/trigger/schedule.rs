//! Moments of calendars: when a playbook with `on: { schedule: … }` is due.
//!
//! Owns the reading of cron's five fields, and up to which moment each schedule has been looked at. Starts nothing and
//! reads no clock. Keeps true: a moment is due once; one that a clock skips is due right after the gap, one that a clock
//! shows twice is due the first time (minutes and hours that are written out; `*` goes on with the clock).

use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use quell_model::playbook::{Playbook, Schedule};
use quell_model::{Name, RunId, Stamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Moments that are looked back for when many were missed; what lies before the last thousand is told with them.
const LOOK_BACK: usize = 1000;
/// Where the search for a schedule's first moment begins when it is read: any moment will do.
const SOME_MOMENT: Timestamp = Timestamp::UNIX_EPOCH;

/// A schedule, ready.
#[derive(Clone, Debug)]
pub struct Calendar {
    cron: croner::Cron,
    zone: TimeZone,
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongSchedule {
    /// The five fields.
    #[error("{0}")]
    Cron(String),
    /// February the 30th.
    #[error("it never comes")]
    Never,
    /// Nobody knows the time zone.
    #[error("there is no such time zone")]
    Zone,
}

impl Calendar {
    /// Reads what is written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(schedule: &Schedule) -> Result<Self, WrongSchedule> {
        let count = schedule.cron.split_whitespace().count();
        if count != 5 {
            return Err(WrongSchedule::Cron(format!("it has {count} field{}", if count == 1 { "" } else { "s" })));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&schedule.cron).map_err(|error| {
            let said = error.to_string();
            let said = said.split_once(": ").map_or(said.as_str(), |(_, said)| said);
            WrongSchedule::Cron(said.trim_end_matches('.').replace("CronPattern contains ", "it has the "))
        })?;
        let zone = TimeZone::get(&schedule.time_zone).map_err(|_| WrongSchedule::Zone)?;
        let calendar = Self { cron, zone };
        calendar.after(SOME_MOMENT).ok_or(WrongSchedule::Never)?;
        Ok(calendar)
    }

    /// Every time zone that is known.
    #[must_use]
    pub fn zones() -> Vec<String> {
        jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect()
    }

    /// Whether there is a time zone of this name.
    #[must_use]
    pub fn is_zone(name: &str) -> bool {
        TimeZone::get(name).is_ok()
    }

    /// The first moment after this one.
    #[must_use]
    pub fn after(&self, moment: Timestamp) -> Option<Zoned> {
        self.cron.find_next_occurrence(&moment.to_zoned(self.zone.clone()), false).ok()
    }

    /// The last moment that is not after this one.
    #[must_use]
    pub fn until(&self, moment: Timestamp) -> Option<Zoned> {
        self.cron.find_previous_occurrence(&moment.to_zoned(self.zone.clone()), true).ok()
    }

    /// The last moment before this one.
    fn before(&self, moment: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_previous_occurrence(&moment.to_zoned(self.zone.clone()), false).ok()?;
        Some(found.timestamp())
    }
}

/// The run that a playbook's moment starts.
#[must_use]
pub fn run_of(playbook: &Name, moment: Timestamp) -> RunId {
    RunId::of(&[playbook.as_str().as_bytes(), b"schedule", &moment.as_second().to_le_bytes()])
}

/// A schedule in force.
#[derive(Clone, Debug)]
struct Armed {
    written: Schedule,
    calendar: Calendar,
    /// What lies after it has not been looked at.
    from: Timestamp,
}

/// What has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Of which playbook.
    pub playbook: Name,
    /// The latest moment, with its zone.
    pub moment: Zoned,
    /// The first and last of the earlier ones that started no run.
    pub missed: Option<(Timestamp, Timestamp)>,
}

/// The schedules of all playbooks that have one.
#[derive(Debug, Default)]
pub struct Schedules {
    armed: BTreeMap<Name, Armed>,
    /// When, on the boot clock, the calendars are to be looked at again.
    look: u64,
}

impl Schedules {
    /// Whether it is time to look at the calendars: every turn asks, and most have nothing to do.
    #[must_use]
    pub fn is_time(&self, now: Stamp) -> bool {
        !self.armed.is_empty() && now.boot_ns >= self.look
    }

    /// They are looked at again at this moment.
    pub fn look_at(&mut self, at: Stamp) {
        self.look = at.boot_ns;
    }

    /// Takes up what the journal says of a playbook's schedule.
    pub fn known(&mut self, playbook: &Name, schedule: Option<&Schedule>, from: Timestamp) {
        match schedule.and_then(|written| Some((written.clone(), Calendar::of(written).ok()?))) {
            Some((written, calendar)) => drop(self.armed.insert(playbook.clone(), Armed { written, calendar, from })),
            None => drop(self.armed.remove(playbook)),
        }
    }

    /// Takes up that the moments until this one were told as missed.
    pub fn told(&mut self, playbook: &Name, last: Timestamp) {
        if let Some(armed) = self.armed.get_mut(playbook) {
            armed.from = armed.from.max(last);
        }
    }

    /// These playbooks hold from now on. Gives what has changed: a schedule that is new, another, or gone.
    pub fn set(&mut self, playbooks: &[Arc<Playbook>], now: Timestamp) -> Vec<(Name, Option<Schedule>)> {
        let scheduled = |name: &Name| playbooks.iter().find(|playbook| playbook.name == *name)?.on.schedule.as_ref();
        let gone = self.armed.keys().filter(|name| scheduled(name).is_none()).cloned();
        let mut changed: Vec<(Name, Option<Schedule>)> = gone.map(|name| (name, None)).collect();
        for playbook in playbooks {
            let Some(written) = &playbook.on.schedule else { continue };
            if self.armed.get(&playbook.name).is_none_or(|armed| armed.written != *written) {
                changed.push((playbook.name.clone(), Some(written.clone())));
            }
        }
        for (name, schedule) in &changed {
            self.known(name, schedule.as_ref(), now);
        }
        changed
    }

    /// What has come until now, each once. `ran` says whether a moment started its run.
    pub fn due(&mut self, now: Timestamp, ran: &dyn Fn(&RunId) -> bool) -> Vec<Due> {
        let mut due = Vec::new();
        for (name, armed) in &mut self.armed {
            // The clock was set back: what comes again and started its run is known by the run.
            armed.from = armed.from.min(now);
            let Some(moment) = armed.calendar.until(now).filter(|moment| moment.timestamp() > armed.from) else {
                continue;
            };
            let (latest, from) = (moment.timestamp(), armed.from);
            armed.from = latest;
            if ran(&run_of(name, latest)) {
                continue;
            }
            let mut missed: Option<(Timestamp, Timestamp)> = None;
            let mut at = latest;
            for _ in 0..LOOK_BACK {
                let earlier = armed.calendar.before(at).filter(|earlier| *earlier > from);
                let Some(earlier) = earlier.filter(|earlier| !ran(&run_of(name, *earlier))) else { break };
                missed = Some((earlier, missed.map_or(earlier, |(_, last)| last)));
                at = earlier;
            }
            due.push(Due { playbook: name.clone(), moment, missed });
        }
        due
    }

    /// The next moment of all, after this one.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.armed.values().filter_map(|armed| Some(armed.calendar.after(now)?.timestamp())).min()
    }
}

#[cfg(test)]
mod tests;
