//! What the engine works by: playbooks, guard, modes, variables. Swapped as a whole; runs keep what they began with.

use super::contents::Apart;
use super::pages::Post;
use crate::escalation::Escalation;
use crate::load::SecretFrom;
use crate::trigger::Ground;
use quell_model::guard::Guard;
use quell_model::playbook::Playbook;
use quell_model::{Detection, Json, Level, Mode, Name, People};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// When incidents open and close.
#[derive(Clone, Debug)]
pub struct IncidentRules {
    /// A detection at this level or above opens one even when no playbook wants it.
    pub min_level: Level,
    /// Quiet for this long, it takes no more detections.
    pub quiet: Duration,
}

impl Default for IncidentRules {
    fn default() -> Self {
        Self { min_level: Level::High, quiet: Duration::from_secs(30 * 60) }
    }
}

/// What the engine works by.
#[derive(Clone, Debug)]
pub struct Definitions {
    /// In the order of their names.
    pub playbooks: Vec<Arc<Playbook>>,
    /// What may never be touched, and how much may.
    pub guard: Guard,
    /// Nothing goes further than this.
    pub ceiling: Mode,
    /// What set the ceiling, for people: ``mode is `observe` in /etc/quell/quell.yaml``.
    pub ceiling_because: String,
    /// Replaces a playbook's own mode.
    pub modes: BTreeMap<Name, Mode>,
    /// Why nobody is there to answer questions: they are settled at once, as when nobody answers in time.
    pub asks_nobody: Option<String>,
    /// `vars` in expressions.
    pub vars: Json,
    /// Where the secrets are that inputs of actions name.
    pub secrets: BTreeMap<Name, SecretFrom>,
    /// What of a run's values stands in its records.
    pub apart: Apart,
    /// When incidents open and close.
    pub incidents: IncidentRules,
    /// Sources that anybody can write.
    pub untrusted: BTreeSet<Name>,
    /// Who is who.
    pub people: Arc<People>,
    /// Who is told of incidents, when, and by which way; none: nobody is.
    pub escalation: Option<Arc<Escalation>>,
    /// What speaks to the ways by which people are told.
    pub post: Post,
}

impl Default for Definitions {
    fn default() -> Self {
        Self {
            playbooks: Vec::new(),
            guard: Guard::default(),
            ceiling: Mode::Observe,
            ceiling_because: "a fresh installation observes".to_owned(),
            modes: BTreeMap::new(),
            asks_nobody: None,
            vars: Json::Object(serde_json::Map::new()),
            secrets: BTreeMap::new(),
            apart: Apart::default(),
            incidents: IncidentRules::default(),
            untrusted: BTreeSet::new(),
            people: Arc::default(),
            escalation: None,
            post: Post::default(),
        }
    }
}

impl Definitions {
    /// How far a playbook may go by what is written, and what makes it so.
    #[must_use]
    pub fn mode_of(&self, playbook: &Playbook) -> (Mode, String) {
        let (own, because) = match self.modes.get(&playbook.name) {
            Some(mode) => (*mode, format!("the configuration sets `{}` to {mode}", playbook.name)),
            None => (playbook.mode, format!("its playbook says {}", playbook.mode)),
        };
        if self.ceiling < own { (self.ceiling, self.ceiling_because.clone()) } else { (own, because) }
    }

    /// How far a playbook may go whatever its own text says, and what makes it so.
    #[must_use]
    pub fn most_of(&self, name: &Name) -> (Mode, String) {
        match self.modes.get(name) {
            Some(mode) if *mode <= self.ceiling => (*mode, format!("the configuration sets `{name}` to {mode}")),
            _ => (self.ceiling, self.ceiling_because.clone()),
        }
    }

    /// What a trigger's expressions see of it.
    #[must_use]
    pub fn ground(&self) -> Ground<'_> {
        Ground { vars: &self.vars, people: &self.people }
    }

    /// Whether a source that anybody can write has a part in it: of a correlation any event may be the forged one.
    #[must_use]
    pub fn is_untrusted(&self, detection: &Detection) -> bool {
        let events = detection.events.iter().chain([&detection.event]);
        events.into_iter().any(|event| self.untrusted.contains(&event.head.source))
    }
}
