//! How far a person lets a playbook go: promoted, or held back.
//!
//! ```text
//! the playbook's own `mode` ◀── a person's word ──┐
//! `playbooks.modes` of quell.yaml ────────────────┼──▶ the strictest ──▶ warm-up, breaker, step
//! `mode` of quell.yaml ───────────────────────────┘
//! ```
//!
//! Owns the words that hold, and what is said of them. Keeps true: a word stands in the place of the playbook's own `mode` and
//! of nothing else, so that it never goes beyond the configuration; one that lets it go further than its text says is bound to
//! that text; one that holds it back outlives every change of the text, and stops also what is under way.

use super::answers::{self, Held, ModeSet, PersonsMode};
use super::request::Refusal;
use super::shell::Core;
use crate::store::Journal;
use quell_model::mistake::nearest;
use quell_model::playbook::Playbook;
use quell_model::record::{ModeChanged, NewRecord, RunStarted};
use quell_model::{Body, Hash, Json, Kind, Mode, Name, Stamp, StoreError};
use std::collections::HashMap;
use std::sync::Arc;

/// What people said of playbooks, the last word of each.
#[derive(Debug, Default)]
pub(super) struct Words(HashMap<Name, (ModeChanged, Stamp)>);

impl<W: Send + 'static> Core<W> {
    /// Takes up what people had said when the last engine ended.
    pub(super) fn recover_modes(&mut self, journal: &Journal) -> Result<(), StoreError> {
        for record in journal.latest(&[Kind::ModeChanged], usize::MAX)? {
            if let Body::ModeChanged(changed) = record.body {
                self.words.0.insert(changed.playbook.clone(), (*changed, record.at));
            }
        }
        Ok(())
    }

    /// How far a playbook may go by what is written and by a person's word, and what makes it so.
    pub(super) fn mode_by_word(&self, playbook: &Playbook) -> (Mode, String) {
        let (written, because) = self.definitions.mode_of(playbook);
        let Some((word, _)) = self.words.0.get(&playbook.name) else { return (written, because) };
        let (most, most_because) = self.definitions.most_of(&playbook.name);
        match word.text {
            Some(text) if text != playbook.hash => {
                let what = format!("{because}; {} promoted another text of it to {}", word.by, word.to);
                (written, what)
            }
            // The configuration may have come to allow less since, or more.
            Some(_) if word.to <= written => (written, because),
            Some(_) if word.to <= most => (word.to, format!("{} promoted it to {}{}", word.by, word.to, why_of(word))),
            Some(_) => (most, most_because),
            None if word.to < written => (word.to, format!("{} holds it at {}{}", word.by, word.to, why_of(word))),
            None => (written, because),
        }
    }

    /// What a person's word leaves of a run, whenever that began. One that is bound to another text says nothing of it.
    pub(super) fn held_by_word(&self, started: &RunStarted) -> Option<(Mode, String)> {
        let is_meant = |text: Option<Hash>| text.is_none_or(|text| text == started.definition);
        let (word, _) = self.words.0.get(&started.playbook).filter(|(word, _)| is_meant(word.text))?;
        Some((word.to, format!("{} holds it at {}{}", word.by, word.to, why_of(word))))
    }

    /// What people said of the playbooks that are loaded, where it makes a difference.
    pub(super) fn said_by_hand(&self) -> Vec<Held> {
        let one = |playbook: &Arc<Playbook>| {
            let (word, _) = self.words.0.get(&playbook.name)?;
            let (mode, because) = self.mode_by_word(playbook);
            let is_of_use = word.text.is_some() || mode < self.definitions.mode_of(playbook).0;
            is_of_use.then(|| Held { id: playbook.name.clone(), why: format!("{mode}: {because}") })
        };
        self.definitions.playbooks.iter().filter_map(one).collect()
    }

    /// The last word on a playbook, and whether it makes a difference to this text of it.
    pub(super) fn word_on(&self, playbook: &Playbook) -> Option<PersonsMode> {
        let (word, at) = self.words.0.get(&playbook.name)?;
        Some(PersonsMode {
            mode: word.to,
            by: word.by.clone(),
            why: word.why.clone(),
            at: *at,
            holds: word.text.is_none_or(|text| text == playbook.hash),
        })
    }

    /// A person lets a playbook go so far.
    pub(super) fn set_mode(
        &mut self,
        name: &Name,
        (to, meant): (Mode, Option<Hash>),
        by: Name,
        why: String,
    ) -> Result<Json, Refusal> {
        let playbook = self.loaded(name)?;
        if meant.is_some_and(|text| text != playbook.hash) {
            let what =
                format!("the text of `{name}` has changed since you looked; hint: look again, and then say it again");
            return Err(Refusal::NotNow(what));
        }
        let (most, most_because) = self.definitions.most_of(name);
        if to > most {
            let what = format!(
                "`{name}` cannot be promoted to {to}: {most_because}, and nothing goes beyond the configuration"
            );
            return Err(Refusal::NotNow(what));
        }
        let from = self.mode_by_word(&playbook).0;
        let text = (to > self.definitions.mode_of(&playbook).0).then_some(playbook.hash);
        // One that is at it by its text alone may still be held there, whatever its text becomes.
        let is_said = self.words.0.get(name).is_some_and(|(word, _)| word.to == to && word.text == text);
        if from == to && (is_said || to == most) {
            return Err(Refusal::NotNow(format!("`{name}` is at {to} already")));
        }
        let now = self.parts.clock.now();
        let changed = ModeChanged { playbook: name.clone(), from, to, by, why, text };
        self.write_system(vec![NewRecord::new(now, changed.clone())]);
        self.words.0.insert(name.clone(), (changed, now));
        // What only planned may now act; and what acts may have to stop.
        self.triggers.forget_planned();
        let (mode, because) = self.mode_of_playbook(&playbook);
        Ok(answers::json(ModeSet { id: name.clone(), from, to, mode, because }))
    }

    /// How a playbook stands: its mode here and now, what the configuration allows, and who said what.
    pub(super) fn mode_stands(&self, name: &Name) -> Result<Json, Refusal> {
        let playbook = self.loaded(name)?;
        let (mode, because) = self.mode_of_playbook(&playbook);
        let (most, most_because) = self.definitions.most_of(name);
        let word = self.word_on(&playbook);
        Ok(answers::json(answers::ModeStands {
            id: name.clone(),
            hash: playbook.hash,
            mode,
            because,
            own: playbook.mode,
            most,
            most_because,
            word,
        }))
    }

    fn loaded(&self, name: &Name) -> Result<Arc<Playbook>, Refusal> {
        let all = &self.definitions.playbooks;
        all.iter().find(|playbook| playbook.name == *name).map(Arc::clone).ok_or_else(|| {
            match nearest(name.as_str(), all.iter().map(|playbook| playbook.name.as_str())) {
                Some(near) => Refusal::Wrong(format!("there is no playbook `{name}`; did you mean `{near}`?")),
                None => Refusal::NotFound { kind: "playbook", id: name.to_string() },
            }
        })
    }
}

fn why_of(word: &ModeChanged) -> String {
    if word.why.is_empty() { String::new() } else { format!(" ({})", word.why) }
}
