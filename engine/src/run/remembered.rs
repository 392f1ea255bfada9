//! Answers that also answer the same question to the same person for a while.
//!
//! Owns them, and the journal's word on each: a start takes up those that still hold. Keeps true: an answer is remembered
//! from the moment it was given, whatever was restarted since; where nobody knows how long ago that was, it is asked again.

use super::shell::Core;
use crate::store::Journal;
use quell_model::record::{AnswerRemembered, NewRecord, QuestionAnswered, QuestionAsked};
use quell_model::{Body, Kind, Name, Origin, Stamp, StoreError};
use std::collections::HashMap;

/// So many at once: beyond it people are asked again.
const MOST: usize = 10_000;

/// By whom was asked and what.
#[derive(Debug, Default)]
pub(super) struct Remembered(HashMap<(Option<Name>, String), Known>);

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) choice: Name,
    pub(super) by: Name,
    /// By which way it came.
    pub(super) via: Option<Name>,
    /// From where on this host.
    pub(super) from: Option<Box<Origin>>,
    /// By the boot clock.
    until: Stamp,
}

impl Known {
    fn holds(&self, now: Stamp) -> bool {
        now.boot_ns <= self.until.boot_ns
    }
}

impl Remembered {
    /// What is to be remembered of an answer, if anything is.
    pub(super) fn of(asked: &QuestionAsked, answered: &QuestionAnswered) -> Option<AnswerRemembered> {
        let (lasts, by) = (asked.remember?, answered.by.clone().filter(|_| answered.settles)?);
        let (run, choice) = (asked.run.clone(), answered.choice.clone());
        let (person, text) = (asked.person.clone(), asked.text.clone());
        let (via, from) = (answered.via.clone(), answered.from.clone());
        Some(AnswerRemembered { run, person, text, choice, by, via, from, lasts })
    }

    /// What was answered to this question, if that still holds.
    pub(super) fn answer(&self, person: Option<&Name>, text: &str, now: Stamp) -> Option<&Known> {
        self.0.get(&(person.cloned(), text.to_owned())).filter(|known| known.holds(now))
    }

    fn add(&mut self, answer: AnswerRemembered, until: Stamp, now: Stamp) {
        if self.0.len() >= MOST {
            self.0.retain(|_, known| known.holds(now));
        }
        let key = (answer.person, answer.text);
        if self.0.len() < MOST || self.0.contains_key(&key) {
            self.0
                .insert(key, Known { choice: answer.choice, by: answer.by, via: answer.via, from: answer.from, until });
        }
    }
}

impl<W: Send + 'static> Core<W> {
    /// An answer was given.
    pub(super) fn remember(&mut self, answer: AnswerRemembered, now: Stamp) {
        self.write_system(vec![NewRecord::new(now, answer.clone())]);
        let until = now.after(answer.lasts);
        self.remembered.add(answer, until, now);
    }

    /// Takes up what was answered before this start.
    pub(super) fn recover_remembered(&mut self, journal: &Journal) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        for record in journal.latest(&[Kind::AnswerRemembered], MOST)? {
            let Body::AnswerRemembered(answer) = &record.body else { continue };
            // Of another boot's moments only the wall clock tells how long ago they are, and that was set back.
            let is_known = record.at.wall <= now.wall || self.is_of_this_boot(record.at, now);
            if let Some(left) = answer.lasts.checked_sub(self.age(record.at)).filter(|_| is_known) {
                self.remembered.add(AnswerRemembered::clone(answer), now.after(left), now);
            }
        }
        Ok(())
    }
}
