//! Moments that runs wait for, in one order, with one sleeper for the nearest.
//!
//! Owns which run is to be looked at when. Never decides what is due: the machine says that. Keeps true: ten thousand that wait
//! cost nothing until their own moment, and thousands that come at once do not keep the sensor waiting; a run has one moment,
//! and one that has ended none.

use super::job::Input;
use super::shell::{Core, INBOX_TURN};
use quell_model::{RunId, Stamp};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// See the module.
#[derive(Default)]
pub(super) struct Timers {
    /// With the run to be looked at; none: the engine itself wants to look.
    all: BTreeSet<(Stamp, Option<RunId>)>,
    /// The moment of each run.
    of_runs: HashMap<RunId, Stamp>,
    /// Who sleeps, and until when.
    sleeper: Option<(Stamp, AbortHandle)>,
}

impl Timers {
    /// A run waits for this moment at the earliest; none: for no moment. What has come and was not looked at stays.
    pub(super) fn set(&mut self, run: &RunId, at: Option<Stamp>, now: Stamp) {
        if self.of_runs.get(run).is_some_and(|before| *before <= now) {
            return;
        }
        self.forget(run);
        if let Some(at) = at {
            self.all.insert((at, Some(run.clone())));
            self.of_runs.insert(run.clone(), at);
        }
    }

    /// A run has ended.
    pub(super) fn forget(&mut self, run: &RunId) {
        if let Some(before) = self.of_runs.remove(run) {
            self.all.remove(&(before, Some(run.clone())));
        }
    }

    #[cfg(test)]
    pub(super) fn of_run(&self, run: &RunId) -> usize {
        self.all.iter().filter(|(_, of)| of.as_ref() == Some(run)).count()
    }

    /// The nearest moment.
    pub(super) fn next(&self) -> Option<Stamp> {
        self.all.first().map(|(at, _)| *at)
    }

    /// Takes out the first whose moment has come.
    fn due(&mut self, now: Stamp) -> Option<Option<RunId>> {
        self.next().filter(|at| *at <= now)?;
        let (_, run) = self.all.pop_first()?;
        if let Some(run) = &run {
            self.of_runs.remove(run);
        }
        Some(run)
    }
}

impl<W: Send + 'static> Core<W> {
    /// Wakes the engine at a moment: every turn looks at what is not a run's.
    pub(super) fn wake_at(&mut self, at: Stamp) {
        self.timers.all.insert((at, None));
    }

    /// Looks at the runs whose moments have come.
    pub(super) fn runs_go_on(&mut self, now: Stamp) {
        let until = now.after(INBOX_TURN);
        while let Some(run) = self.timers.due(now) {
            if let Some(run) = run {
                self.drive(&run);
            }
            if self.parts.clock.now().boot_ns >= until.boot_ns {
                // The rest has its turn after what the sensor sees now.
                (self.handle.wake)();
                break;
            }
        }
    }

    /// Has somebody sleep until the nearest moment.
    pub(super) fn set_sleeper(&mut self) {
        let Some(at) = self.timers.next() else { return };
        let now = self.parts.clock.now();
        let asleep = self.timers.sleeper.as_ref().map(|(until, _)| *until);
        // One that has woken has said so, or is about to.
        if asleep.is_some_and(|until| until > now && until <= at) {
            return;
        }
        if let Some((_, later)) = self.timers.sleeper.take() {
            later.abort();
        }
        let (clock, home) = (Arc::clone(&self.parts.clock), self.handle.clone());
        let sleeper = self.parts.runtime.spawn(async move {
            clock.sleep_until(at).await;
            home.send(Input::Tick).await;
        });
        self.timers.sleeper = Some((at, sleeper.abort_handle()));
    }
}
