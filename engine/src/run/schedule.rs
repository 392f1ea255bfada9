//! From a moment of a calendar to a run.
//!
//! Owns what is journaled about schedules: which holds since when, and which moments passed without a run. Keeps true:
//! the run's id is made of the playbook and the moment, so that a moment starts one run, whatever crashes in between.

use super::shell::Core;
use crate::store::Journal;
use crate::trigger::schedule::{Due, run_of};
use quell_model::playbook::Playbook;
use quell_model::record::{Moments, NewRecord, RunStarted, ScheduleMissed, ScheduleSet};
use quell_model::{Body, Kind, Stamp, StoreError, StreamId};
use std::sync::Arc;
use std::time::Duration;

/// The wall clock may be set meanwhile: it is looked at again at least this often.
const LOOK: Duration = Duration::from_secs(60);
/// Who starts the runs of schedules, where a person's name would stand.
const BY: &str = "schedule";

impl<W: Send + 'static> Core<W> {
    /// Takes up which schedules held when the last engine ended, and then those that hold now.
    pub(super) fn recover_schedules(&mut self, journal: &Journal) -> Result<(), StoreError> {
        for record in journal.latest(&[Kind::ScheduleSet, Kind::ScheduleMissed], usize::MAX)? {
            match &record.body {
                Body::ScheduleSet(set) => {
                    self.triggers.schedules.known(&set.playbook, set.schedule.as_ref(), record.at.wall);
                }
                Body::ScheduleMissed(missed) => self.triggers.schedules.told(&missed.playbook, missed.last),
                _ => {}
            }
        }
        Ok(())
    }

    /// The loaded playbooks are others, or are loaded for the first time.
    pub(super) fn set_schedules(&mut self) {
        let now = self.parts.clock.now();
        let changed = self.triggers.schedules.set(&self.definitions.playbooks, now.wall);
        let set = |(playbook, schedule)| NewRecord::new(now, ScheduleSet { playbook, schedule });
        self.write_system(changed.into_iter().map(set).collect());
        self.triggers.schedules.look_at(now);
        self.schedules_start();
    }

    /// Starts what is due, and wakes the engine for what comes next.
    pub(super) fn schedules_start(&mut self) {
        let now = self.parts.clock.now();
        if !self.triggers.schedules.is_time(now) {
            return;
        }
        let ink = &self.ink;
        for due in self.triggers.schedules.due(now.wall, &|run| ink.has(&StreamId::run(run))) {
            let found = self.definitions.playbooks.iter().find(|playbook| playbook.name == due.playbook);
            if let Some(playbook) = found.map(Arc::clone) {
                self.moment_came(&playbook, &due, now);
            }
        }
        if let Some(next) = self.triggers.schedules.next(now.wall) {
            let wait = Duration::try_from(next.duration_since(now.wall)).unwrap_or_default();
            let again = now.after(wait.min(LOOK));
            self.triggers.schedules.look_at(again);
            self.wake_at(again);
        }
    }

    fn moment_came(&mut self, playbook: &Arc<Playbook>, due: &Due, now: Stamp) {
        let moment = due.moment.timestamp();
        let age = Duration::try_from(now.wall.duration_since(moment)).unwrap_or_default();
        let is_old = age > playbook.on.max_age;
        let missed = match due.missed {
            Some((first, last)) => Some((first, if is_old { moment } else { last })),
            None => is_old.then_some((moment, moment)),
        };
        if let Some((first, last)) = missed {
            let why = if is_old {
                format!("quell did not run then, and the last of them is older than {:?}", playbook.on.max_age)
            } else {
                "quell did not run then; only the latest moment is made up for".to_owned()
            };
            tracing::warn!(playbook = %playbook.name, %first, %last, why, "moments of a schedule were missed");
            let missed = ScheduleMissed { playbook: playbook.name.clone(), first, last, why };
            self.write_system(vec![NewRecord::new(now, missed)]);
        }
        if is_old {
            return;
        }
        let (run, mode) = (run_of(&playbook.name, moment), self.mode_of_playbook(playbook));
        let started = RunStarted {
            inputs: super::start::default_inputs(playbook),
            by: Some(BY.into()),
            moments: Moments { decided: Some(now), ..Moments::default() },
            ..self.start_of(playbook, run, mode, due.moment.to_string())
        };
        self.begin(playbook, started, now);
    }
}
