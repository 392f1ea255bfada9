//! The breakers of playbooks: opened by the guard or by a person, closed by time or by a person.
//!
//! Owns what is written of them and what is said of them. Whether one is open is the guard's to say.

use super::answers::{self, BreakerSwitched, BreakerView};
use super::request::Refusal;
use super::shell::Core;
use crate::store::Journal;
use quell_model::mistake::nearest;
use quell_model::record::{BreakerChanged, NewRecord};
use quell_model::{Body, Json, Kind, Name, Stamp, StoreError};

impl<W: Send + 'static> Core<W> {
    /// Takes up which breakers were open when the last engine ended.
    pub(super) fn recover_breakers(&mut self, journal: &Journal) -> Result<(), StoreError> {
        for record in journal.latest(&[Kind::BreakerChanged], usize::MAX)? {
            if let Body::BreakerChanged(changed) = record.body {
                let at = self.aged(record.at, self.parts.clock.now());
                self.note_breaker(*changed, at);
            }
        }
        Ok(())
    }

    /// A breaker opens, or is closed.
    pub(super) fn breaker_changes(&mut self, changed: BreakerChanged, now: Stamp) {
        self.write_system(vec![NewRecord::new(now, changed.clone())]);
        self.note_breaker(changed, now);
    }

    fn note_breaker(&mut self, changed: BreakerChanged, at: Stamp) {
        match (changed.open, &changed.by) {
            (true, None) => self.memory.breaker_opened(&changed.playbook, at),
            (open, _) => self.memory.breaker_by_hand(&changed.playbook, open, at),
        }
        self.breakers.insert(changed.playbook.clone(), changed);
    }

    /// A person opens or closes the breaker of a playbook.
    pub(super) fn switch_breaker(
        &mut self,
        playbook: &Name,
        open: bool,
        by: Name,
        why: String,
    ) -> Result<Json, Refusal> {
        let now = self.parts.clock.now();
        let is_open = self.guard().breaker.is_open(&self.memory, playbook, now);
        let known = || self.definitions.playbooks.iter().map(|playbook| playbook.name.as_str());
        // One that is gone from what is loaded may still be closed.
        if !is_open && !known().any(|name| name == playbook.as_str()) {
            return Err(match nearest(playbook.as_str(), known()) {
                Some(near) => Refusal::Wrong(format!("there is no playbook `{playbook}`; did you mean `{near}`?")),
                None => Refusal::NotFound { kind: "playbook", id: playbook.to_string() },
            });
        }
        let by_hand = self.memory.opened(playbook).is_some_and(|opened| opened.by_hand);
        if open && is_open && by_hand {
            return Err(Refusal::NotNow(format!("the breaker of `{playbook}` was opened by a person already")));
        }
        if !open && !is_open {
            return Err(Refusal::NotNow(format!("the breaker of `{playbook}` is closed already")));
        }
        self.breaker_changes(BreakerChanged { playbook: playbook.clone(), open, why, by: Some(by) }, now);
        Ok(answers::json(BreakerSwitched { id: playbook.clone(), open }))
    }

    /// Why a playbook asks before it acts, if its breaker is open.
    pub(super) fn breaker_says(&self, playbook: &Name, now: Stamp) -> Option<String> {
        if !self.guard().breaker.is_open(&self.memory, playbook, now) {
            return None;
        }
        let said = self.breakers.get(playbook);
        Some(match said.and_then(|said| said.by.as_ref()) {
            Some(by) => {
                let why = said.map_or("", |said| said.why.as_str());
                let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
                format!(
                    "its breaker was opened by {by}{why}: before everything it asks, until `quell breaker close {playbook}`"
                )
            }
            None => {
                "its breaker is open: it would act on too many different images, owners or principals; where it has acted it goes on, and \
                     freezes what is new; before anything else it asks"
                    .to_owned()
            }
        })
    }

    /// The breaker of every playbook.
    pub(super) fn all_breakers(&self) -> Json {
        let now = self.parts.clock.now();
        let quiet = self.guard().breaker.quiet;
        let mut names: Vec<&Name> = self.definitions.playbooks.iter().map(|playbook| &playbook.name).collect();
        names.extend(self.breakers.keys().filter(|name| self.guard().breaker.is_open(&self.memory, name, now)));
        names.sort_unstable();
        names.dedup();
        let one = |name: &Name| {
            let Some(opened) =
                self.memory.opened(name).filter(|_| self.guard().breaker.is_open(&self.memory, name, now))
            else {
                return BreakerView { id: name.clone(), open: false, by: None, why: None, since: None, closes: None };
            };
            let said = self.breakers.get(name);
            let since = opened.at.wall_by(now);
            let later = jiff::SignedDuration::try_from(quiet).ok().and_then(|quiet| since.checked_add(quiet).ok());
            BreakerView {
                id: name.clone(),
                open: true,
                by: said.and_then(|said| said.by.clone()),
                why: said.map(|said| said.why.clone()),
                since: Some(since),
                closes: later.filter(|_| !opened.by_hand),
            }
        };
        answers::json(names.into_iter().map(one).collect::<Vec<_>>())
    }
}
