//! What whoever comes in from Slack is held against, as it was read last.
//!
//! Owns the two words. Keeps true: both change with a reload that succeeds, and whoever holds a link there hears it.

use super::Desk;
use crate::api::slack::Door;
use crate::daemon::files::Loaded;
use quell_engine::escalation::Escalation;
use std::sync::Arc;
use tokio::sync::watch;

/// See the module.
pub(super) struct Inward {
    escalation: watch::Sender<Arc<Escalation>>,
    door: watch::Sender<Option<Arc<Door>>>,
}

impl Inward {
    /// By what was loaded.
    pub(super) fn of(loaded: &Loaded) -> Self {
        let escalation = watch::Sender::new(Arc::new(loaded.escalation.clone()));
        Self { escalation, door: watch::Sender::new(Door::of(&loaded.escalation.channels)) }
    }

    /// What was loaded holds from now on.
    pub(super) fn put(&self, loaded: &Loaded) {
        self.escalation.send_replace(Arc::new(loaded.escalation.clone()));
        self.door.send_replace(Door::of(&loaded.escalation.channels));
    }
}

impl Desk {
    /// Who is on call, and by which ways people are told, as it holds now.
    pub(crate) fn escalation(&self) -> Arc<Escalation> {
        Arc::clone(&self.inward.escalation.borrow())
    }

    /// What comes in from Slack, as it holds now, and whenever it is read anew.
    pub(crate) fn slack(&self) -> watch::Receiver<Option<Arc<Door>>> {
        self.inward.door.subscribe()
    }
}
