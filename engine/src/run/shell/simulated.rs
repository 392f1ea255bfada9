//! An engine whose answers are taken in one at a time, in whatever order a simulation wants.
//!
//! Owns what a simulation does instead of `turn`. Moves no clock. Keeps true: each answer is taken in as `turn` would.

use super::Core;
use crate::run::job::Input;
use crate::run::losses::Losses;
use crate::run::request::{Refusal, Request};
use quell_model::Json;

/// What has come from elsewhere, and is not taken in yet.
pub(in crate::run) struct Came(Input);

impl<W: Send + 'static> Core<W> {
    /// What has come: answers to parts of runs, and those of channels.
    pub(in crate::run) fn came(&mut self) -> Vec<Came> {
        let all = std::iter::from_fn(|| self.inbox.try_recv().ok());
        all.filter(|input| matches!(input, Input::Answer(..) | Input::Sent(..))).map(Came).collect()
    }

    /// Takes one in.
    pub(in crate::run) fn take(&mut self, Came(input): Came) {
        match input {
            Input::Answer(run, part, answer) => {
                self.answer(&run, &part, answer);
                self.drive_after(&run);
            }
            Input::Sent(part, together, sent) => self.page_sent(&part, together, sent),
            Input::Request(..) | Input::Tick => {}
        }
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
