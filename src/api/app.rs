//! What the routes reach: the engine's thread, the journal, what the daemon knows of itself.

use super::access::Via;
use super::caller::{Connected, PeerProcess};
use super::{Problem, Seats, Views};
use crate::daemon::Desk;
use axum::http::StatusCode;
use quell_engine::run::{EngineHandle, Request, Way};
use quell_engine::store::{Journal, print_age};
use quell_model::{StoreError, StreamId};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// See the module.
#[derive(Clone)]
pub(crate) struct App {
    /// The engine's thread.
    pub(crate) engine: EngineHandle,
    /// The one log.
    pub(crate) journal: Journal,
    /// What the daemon knows of itself.
    pub(crate) desk: Arc<Desk>,
    /// Room for those who follow what happens.
    pub(crate) seats: Seats,
    /// Room for those who look.
    pub(crate) views: Views,
    /// What is to be done for people in Slack.
    #[cfg(feature = "slack")]
    pub(crate) errands: super::slack::Errands,
}

impl App {
    /// By which way somebody asks, and where on this host they stand, as far as that can be known. What they want is not done where that
    /// could not be looked at.
    pub(super) async fn way(&self, Via(via): Via, peer: PeerProcess) -> Result<Way, Problem> {
        let desk = Arc::clone(&self.desk);
        // Beside the runtime: whose socket it is, is sought among all descriptors of the host.
        let found = tokio::task::spawn_blocking(move || match peer {
            PeerProcess::Unknown => None,
            PeerProcess::Connected(Connected { pid, uid, at }) => Some(desk.origin(pid, uid, at)),
            PeerProcess::Tcp { from, to, at } => desk.origin_of_connection((from, to), at),
        });
        let failed =
            |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "where this comes from could not be looked at");
        Ok(Way { via: via.into(), from: found.await.map_err(failed)?.map(Box::new) })
    }

    /// Asks the engine.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, Problem> {
        Ok(self.desk.ask(&self.engine, request).await?)
    }

    /// Reads from the journal beside the runtime: a view of many runs takes a while, and a disk may hang.
    pub(super) async fn view<T: Send + 'static>(
        self,
        read: impl FnOnce(&Journal) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        self.views.make(move || read(&self.journal)).await
    }

    /// There is no such thing, or there was.
    pub(super) async fn absent(self, kind: &'static str, id: &str) -> Problem {
        self.pruned(kind, id).await.unwrap_or_else(|| Problem::not_found(kind, id))
    }

    /// There was such a thing; none: it was never pruned.
    pub(super) async fn pruned(self, kind: &'static str, id: &str) -> Option<Problem> {
        let stream = StreamId::from(format!("{kind}/{id}"));
        match self.view(move |journal| journal.pruned(&stream)).await {
            Ok(mark) => mark.map(|mark| {
                let (age, by, at) = (print_age(mark.older_than), mark.by, mark.at.wall);
                let what = format!("{kind} `{id}` had been over for more than {age} and was pruned by {by} at {at:.0}");
                Problem::new(StatusCode::GONE, what).hint("a backup from before has it: `quell up --data-dir` on that")
            }),
            Err(problem) => Some(problem),
        }
    }
}
