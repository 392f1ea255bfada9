//! What the commands about schedules are asked: of which file, which schedule, and when.
//!
//! Reads escalation.yaml as `quell oncall check` does. Never goes by a file with an error.

use crate::cli::mistakes::{self, Tally};
use crate::cli::place::must_exist;
use crate::cli::{Fail, Term};
use crate::daemon::around;
use jiff::Timestamp;
use jiff::civil::DateTime;
use quell_engine::escalation::Escalation;
use quell_engine::escalation::schedule::{Resolved, Schedule, zone};
use quell_model::{Mistake, MistakeLevel, Name};
use std::path::PathBuf;

/// Ten years: what lies further ahead nobody plans, and its answer would be long.
pub(super) const LONGEST_DAYS: i64 = 3_660;

/// Of which file, and which of its schedules.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// Of this schedule [default: all of them]
    #[arg(long, value_name = "S", value_parser = |text: &str| Ok::<_, String>(Name::from(text)))]
    pub(super) schedule: Option<Name>,
    /// The escalation.yaml [default: that of /etc/quell/quell.yaml]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
}

impl Asked {
    /// What escalation.yaml says.
    pub(super) fn read(&self, term: &Term) -> Result<Escalation, Fail> {
        read(self.config.as_ref(), MistakeLevel::Error, term)
    }

    /// The schedules that are asked about.
    pub(super) fn schedules<'a>(&self, escalation: &'a Escalation) -> Result<Vec<(&'a Name, &'a Schedule)>, Fail> {
        let Some(name) = &self.schedule else { return Ok(escalation.schedules.iter().collect()) };
        let Some(found) = escalation.schedules.get_key_value(name) else {
            let all: Vec<&str> = escalation.schedules.keys().map(Name::as_str).collect();
            let hint = if all.is_empty() {
                "escalation.yaml has none".to_owned()
            } else {
                format!("there is {}", all.join(", "))
            };
            return Err(Fail::usage(format!("there is no schedule `{name}`")).hint(hint));
        };
        Ok(vec![found])
    }
}

/// What an escalation.yaml says; none given: that of this machine. Its mistakes are told from this level on.
pub(super) fn read(file: Option<&PathBuf>, from: MistakeLevel, term: &Term) -> Result<Escalation, Fail> {
    must_exist(file)?;
    let found = around::on_call(file.map(PathBuf::as_path));
    let told: Vec<Mistake> = found.mistakes.into_iter().filter(|mistake| mistake.level >= from).collect();
    mistakes::draw(term, &told);
    let tally = Tally::of(&told);
    found
        .escalation
        .filter(|_| tally.errors == 0)
        .ok_or_else(|| Fail::not_right(format!("who is on call is not known: {tally}")).hint("mend what is told above"))
}

/// A moment, as people give it.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// With an offset.
    Moment(Timestamp),
    /// On the clock of a schedule.
    Clock(DateTime),
}

/// Reads a moment.
pub(super) fn when(text: &str) -> Result<When, String> {
    if let Ok(at) = text.parse() {
        return Ok(When::Moment(at));
    }
    text.parse().map(When::Clock).map_err(|_| {
        "neither a moment like 2027-03-14T06:30:00Z nor a time of the schedule's clock like 2027-03-14T02:30".to_owned()
    })
}

/// Now, to the second: nobody is told parts of one.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The moment that is meant by a schedule; none given: now.
pub(super) fn moment(given: Option<When>, now: Timestamp, schedule: &Resolved<'_>) -> Timestamp {
    match given {
        None => now,
        Some(When::Moment(at)) => at,
        Some(When::Clock(time)) => zone::start_of(&schedule.zone(), time),
    }
}
