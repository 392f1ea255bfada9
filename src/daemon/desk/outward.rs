//! What of the desk concerns those outside: who they are, what links of messages begin with, and the beat.
//!
//! Owns what was last said of the beat. Decides nothing.

use super::Desk;
use crate::api::{Access, BeatStatus};
use quell_engine::escalation::channels::Beat;
use quell_model::{Origin, Stamp};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What `status` says of the beat.
#[derive(Debug, Default)]
pub(super) struct BeatTold(Mutex<BeatStatus>);

impl Desk {
    /// Who may do what, as it holds now, and whenever it is read anew.
    pub(crate) fn access(&self) -> watch::Receiver<Arc<Access>> {
        self.access.subscribe()
    }

    /// Where the process stands that was connected then.
    pub(crate) fn origin(&self, pid: u32, uid: u32, connected: Stamp) -> Origin {
        quell_actions::process::origin(&self.world, pid, uid, connected)
    }

    /// Where whoever stands that came by TCP then, if from this host.
    pub(crate) fn origin_of_connection(&self, ends: (SocketAddr, SocketAddr), connected: Stamp) -> Option<Origin> {
        quell_actions::process::origin_of_connection(&self.world, ends, connected)
    }

    /// What links of messages begin with, as it was read last.
    pub(crate) fn public_url(&self) -> Option<String> {
        self.facts().config.public_url.clone()
    }

    /// Which dead man's switch is to be told, as it was read last.
    pub(crate) fn beat(&self) -> Option<Beat> {
        self.facts().beat.clone()
    }

    /// Changes what is said of it.
    pub(crate) fn tell_beat(&self, change: impl FnOnce(&mut BeatStatus)) {
        change(&mut self.beat_told.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How it stands; none: there is none.
    pub(super) fn beat_status(&self, beat: Option<&Beat>) -> Option<BeatStatus> {
        let told = self.beat_told.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        beat.map(|beat| BeatStatus { every_s: beat.every.as_secs(), ..told })
    }
}
