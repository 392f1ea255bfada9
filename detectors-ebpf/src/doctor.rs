//! What `quell doctor` says of the sensor: a check for each thing it needs, with what still works without.
//!
//! Loads every program to hear the verifier, hooks nothing in.

use crate::error::SensorError;
use crate::load::{self, Settings};
use crate::probes::PROBES;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// Works, with less.
    Degraded,
    /// Does not work.
    Missing,
}

impl CheckState {
    /// The word in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it is.
    pub state: CheckState,
    /// What was seen.
    pub why: String,
    /// What still works; empty when all does.
    pub works: String,
}

/// Looks at everything the sensor needs.
pub(crate) fn probe() -> Vec<Check> {
    let check = |name: &str, state, why: String, works: &str| Check {
        name: name.to_owned(),
        state,
        why,
        works: works.to_owned(),
    };
    let mut out = Vec::new();
    match load::load(&Settings::default(), true) {
        Ok(loaded) => {
            out.push(check("sensor", CheckState::Ok, "the kernel takes the maps and the needed probes".into(), ""));
            for probe in PROBES {
                let name = format!("probe {}", probe.program);
                out.push(match loaded.missing.iter().find(|m| m.probe.program == probe.program) {
                    None => check(&name, CheckState::Ok, probe.why.into(), ""),
                    Some(missing) => check(&name, CheckState::Degraded, missing.why.clone(), probe.without),
                });
            }
        }
        Err(error) => {
            let works = "replay of recordings, rules and playbooks; nothing is seen live";
            let name = match &error {
                SensorError::NotPermitted => "sensor: privileges",
                SensorError::NoBtf { .. } => "sensor: kernel types (BTF)",
                SensorError::TooOld { .. } => "sensor: kernel",
                _ => "sensor",
            };
            out.push(check(name, CheckState::Missing, error.to_string(), works));
            return out;
        }
    }
    out.push(match crate::schedule::may_be_first() {
        Ok(()) => check("sensor scheduling", CheckState::Ok, "SCHED_FIFO is allowed".into(), ""),
        Err(why) => check(
            "sensor scheduling",
            CheckState::Degraded,
            format!("SCHED_FIFO is not allowed: {why}"),
            "all of it, under CFS: waking takes some 150 µs longer",
        ),
    });
    out
}
