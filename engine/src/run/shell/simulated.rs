//! An engine whose answers are taken in one at a time, in whatever order a simulation wants.
//!
//! Owns what a simulation does instead of `turn`. Moves no clock. Keeps true: each answer is taken in as `turn` would.

use super::Core;
use crate::run::job::{Answer, Input};
use crate::run::losses::Losses;
use crate::run::request::{Refusal, Request};
use quell_model::record::Part;
use quell_model::{Json, RunId};

/// An answer on its way to a part of a run.
pub(in crate::run) type Arrival = (RunId, Part, Answer);

impl<W: Send + 'static> Core<W> {
    /// What has come.
    pub(in crate::run) fn arrived(&mut self) -> Vec<Arrival> {
        let mut all = Vec::new();
        while let Ok(input) = self.inbox.try_recv() {
            if let Input::Answer(run, part, answer) = input {
                all.push((run, part, answer));
            }
        }
        all
    }

    /// Takes one in.
    pub(in crate::run) fn take(&mut self, (run, part, answer): Arrival) {
        self.answer(&run, &part, answer);
        self.drive(&run);
        self.moments();
    }

    /// Does what a person asks.
    pub(in crate::run) fn asked(&mut self, request: Request) -> Result<Json, Refusal> {
        let answer = self.serve(request);
        self.ink.commit();
        self.moments();
        answer
    }

    /// Moves on what waits for a moment that has come.
    pub(in crate::run) fn pass(&mut self) {
        self.moments();
    }

    /// It was killed: nothing that it had in memory is written any more.
    pub(in crate::run) fn killed(mut self) {
        self.losses = Losses::default();
        self.ink.forget();
    }
}
