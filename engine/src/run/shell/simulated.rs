//! An engine whose answers are taken in one at a time, in whatever order a simulation wants.
//!
//! Owns what a simulation does instead of `turn`. Moves no clock. Keeps true: each answer is taken in as `turn` would.

use super::Core;
use super::stepwise::Arrival;
use crate::run::losses::Losses;
use crate::run::request::{Refusal, Request};
use quell_model::Json;

impl<W: Send + 'static> Core<W> {
    /// Takes one in.
    pub(in crate::run) fn take(&mut self, (run, part, answer): Arrival) {
        self.answer(&run, &part, answer);
        self.drive_after(&run);
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
