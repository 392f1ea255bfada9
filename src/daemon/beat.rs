//! The beat: somebody else's dead man's switch is told as long as all is well here, and calls people when it hears nothing.
//!
//! ```text
//! every `every` ─▶ does the engine answer, does the journal take, is the auditor content? ─ yes ─▶ GET url ─▶ 2xx
//!                                                                      └ no ─▶ nothing is said; the log and `status` say why
//! ```
//!
//! Owns when, and what `status` says of it. Keeps true: who cannot tell people at night does not say that all is well; the address is
//! shown as its host alone.

use super::desk::Desk;
use crate::api::BeatStatus;
use quell_actions::notify::http::{Ask, Client, Target};
use quell_engine::clock::SystemClock;
use quell_engine::escalation::channels::Beat;
use quell_engine::run::answers::EngineStatus;
use quell_engine::run::{EngineHandle, Request};
use quell_engine::store::Journal;
use quell_model::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// So long the auditor has for its first look.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// A reload may have changed who is told, and how often.
const LOOK: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Heart {
    pub(super) desk: Arc<Desk>,
    pub(super) engine: EngineHandle,
    pub(super) journal: Journal,
    pub(super) ended: watch::Receiver<bool>,
}

impl Heart {
    /// Until the end.
    pub(super) async fn follow(mut self) {
        let client = match Client::new() {
            Ok(client) => client,
            Err(error) => return tracing::error!(%error, "no dead man's switch can be told"),
        };
        let begun = SystemClock.now();
        // The auditor's first look is under way: until then nobody knows, which is no reason to wake anybody.
        while !self.desk.audit().has_looked() && SystemClock.now().since(begun) < FIRST_LOOK {
            if self.ends_within(Duration::from_millis(100)).await {
                return;
            }
        }
        let (mut by, mut last) = (None, None);
        loop {
            let (beat, now) = (self.desk.beat(), SystemClock.now());
            if beat != by {
                (by, last) = (beat.clone(), None);
                self.desk.tell_beat(|told| *told = BeatStatus::default());
            }
            let Some(beat) = beat else {
                if self.ends_within(LOOK).await {
                    return;
                }
                continue;
            };
            let since = last.map_or(beat.every, |last| now.since(last));
            if since < beat.every {
                if self.ends_within((beat.every - since).min(LOOK)).await {
                    return;
                }
                continue;
            }
            last = Some(now);
            let mut ended = self.ended.clone();
            tokio::select! {
                () = self.turn(&client, &beat) => {}
                _ = ended.wait_for(|end| *end) => return,
            }
        }
    }

    async fn ends_within(&mut self, limit: Duration) -> bool {
        timeout(limit, self.ended.wait_for(|end| *end)).await.is_ok()
    }

    /// Tells it once, or says why not.
    async fn turn(&self, client: &Client, beat: &Beat) {
        let held = self.unwell().await;
        let failed = match &held {
            Some(_) => None,
            None => tell(client, beat).await.err(),
        };
        let at = SystemClock.now().wall;
        let mut before = BeatStatus::default();
        self.desk.tell_beat(|told| {
            before = told.clone();
            if held.is_none() && failed.is_none() {
                told.told = Some(at);
            }
            (told.held, told.failed) = (held.clone(), failed.clone());
        });
        match (&held, &failed) {
            (Some(why), _) if before.held != held => {
                tracing::error!(why, "the dead man's switch is not told: not all is well here");
            }
            (None, Some(why)) if before.failed != failed => tracing::warn!(why, "the dead man's switch cannot be told"),
            (None, None) if before.held.is_some() || before.failed.is_some() => {
                tracing::info!("the dead man's switch is told again");
            }
            _ => {}
        }
    }

    /// Why not all is well here.
    async fn unwell(&self) -> Option<String> {
        if let Err(refusal) = self.desk.ask_soon::<EngineStatus>(&self.engine, Request::Status).await {
            return Some(refusal.to_string());
        }
        if let Some(trouble) = self.journal.health().trouble {
            return Some(format!("the journal takes nothing: {trouble}"));
        }
        self.desk.audit().content(SystemClock.now()).err()
    }
}

async fn tell(client: &Client, beat: &Beat) -> Result<(), String> {
    let to = Target::of(&beat.url.read()?).map_err(|error| error.to_string())?;
    let ask = Ask { method: hyper::Method::GET, headers: Vec::new(), body: Vec::new() };
    let answer = client.ask(&to, ask).await.map_err(|error| error.to_string())?;
    if (200..300).contains(&answer.status) { Ok(()) } else { Err(answer.said) }
}
