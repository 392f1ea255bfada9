//! What has been over for as long as `retention` says goes, while the daemon runs.
//!
//! ```text
//! look (readers) ─▶ a quiet moment ─▶ look again ─▶ record, by the engine ─▶ writer takes it away ─▶ pause ─▶ the next part
//! ```
//!
//! Owns when, and what `status` says of it. Decides nothing about what goes: the store does, and the engine keeps what it works with.
//! Keeps true: nothing goes where `retention` is not written, nor from a journal that does not hold; what goes at once is one short
//! transaction, and between two of them the writer is everybody's.

use super::desk::Desk;
use super::seals::beside;
use crate::api::{RetentionStatus, Went};
use quell_engine::clock::SystemClock;
use quell_engine::load::Ages;
use quell_engine::run::answers::EngineStatus;
use quell_engine::run::{EngineHandle, Request};
use quell_engine::store::{DirVault, Journal, PrunePlan, Pruned, Retention, print_age};
use quell_model::record::StreamPruned;
use quell_model::{Body, Clock, Kind, StoreError};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// In whose name.
const BY: &str = "retention";
/// How often it is looked whether `retention` was changed, or a look is due.
const TICK: Duration = Duration::from_secs(10);
/// Looks between which nothing becomes much older.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// So long nothing was detected and nothing waited for the journal: a quiet moment.
const QUIET: Duration = Duration::from_secs(5);
/// Quiet moments that are waited for. A machine without one for an hour prunes all the same: its disk fills too.
const MOMENTS: u32 = 720;
/// Between two parts.
const PAUSE: Duration = Duration::from_millis(500);

/// What `status` says of it.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<RetentionStatus>);

impl Told {
    fn now(&self) -> MutexGuard<'_, RetentionStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it stands, under what is configured.
    pub(super) fn status(&self, ages: Ages) -> RetentionStatus {
        RetentionStatus {
            incidents: ages.incidents.map(print_age),
            evidence: ages.evidence.map(print_age),
            ..self.now().clone()
        }
    }
}

/// Who prunes.
#[derive(Clone)]
pub(super) struct Keeper {
    desk: Arc<Desk>,
    journal: Journal,
    engine: EngineHandle,
    vault: Arc<DirVault>,
    ended: watch::Receiver<bool>,
}

impl Keeper {
    pub(super) fn new(
        desk: &Arc<Desk>,
        (journal, engine): (&Journal, &EngineHandle),
        dir: &Path,
        ended: watch::Receiver<bool>,
    ) -> Self {
        let (desk, vault) = (Arc::clone(desk), Arc::new(DirVault::new(dir)));
        Self { desk, journal: journal.clone(), engine: engine.clone(), vault, ended }
    }

    /// Until the end.
    pub(super) async fn follow(mut self) {
        let (mut by, mut looked) = (Ages::default(), None);
        loop {
            let (ages, now) = (self.desk.ages(), SystemClock.now());
            let is_due = looked.is_none_or(|looked| now.since(looked) >= EVERY);
            if ages != Ages::default() && (ages != by || is_due) {
                (by, looked) = (ages, Some(now));
                let trouble = self.turn(ages).await.err();
                if let Some(why) = &trouble {
                    tracing::error!(why, "what is old is not pruned this time");
                }
                self.desk.retention().now().trouble = trouble;
            }
            if self.ends_within(TICK).await {
                return;
            }
        }
    }

    async fn ends_within(&mut self, limit: Duration) -> bool {
        timeout(limit, self.ended.wait_for(|end| *end)).await.is_ok()
    }

    /// Looks, waits for a quiet moment, looks again, and lets go.
    async fn turn(&mut self, ages: Ages) -> Result<(), String> {
        let (_, would) = self.look(ages).await?;
        let is_any = would.runs + would.incidents + would.blobs > 0;
        let last = beside(&self.journal, |journal| journal.latest(&[Kind::StreamPruned], 1)).await?;
        {
            let mut told = self.desk.retention().now();
            told.looked = Some(SystemClock.now().wall);
            told.would = is_any.then(|| Went::from(&would));
            if let Some((record, Body::StreamPruned(pruned))) = last.last().map(|record| (record, &record.body)) {
                (told.pruned, told.pruned_by) = (Some(record.at.wall), Some(pruned.by.clone()));
            }
        }
        if !is_any || !self.quiet().await {
            return Ok(());
        }
        let wrong = beside(&self.journal, Journal::verify).await?;
        if let Some(first) = wrong.first() {
            return Err(format!("the journal does not hold: {first}; `quell store check` says all of it"));
        }
        let (plan, _) = self.look(ages).await?;
        let (retention, keeper) = (self.retention(ages), self.clone());
        let done = beside(&self.journal, move |journal| {
            journal.prune(&keeper.vault, plan, &retention, &mut |part| keeper.write(part))
        });
        let went = match done.await {
            Err(_) if *self.ended.borrow() => return Ok(()),
            done => done?,
        };
        tracing::info!(
            runs = went.runs,
            incidents = went.incidents,
            records = went.records,
            blobs = went.blobs,
            kept_for_leases = went.kept_for_leases,
            kept_for_open = went.kept_for_open,
            "pruned what had been over for as long as `retention` says"
        );
        let mut told = self.desk.retention().now();
        (told.would, told.went) = (None, Some(Went::from(&went)));
        (told.pruned, told.pruned_by) = (Some(SystemClock.now().wall), Some(BY.into()));
        Ok(())
    }

    fn retention(&self, ages: Ages) -> Retention {
        let Ages { incidents, evidence } = ages;
        Retention { incidents, evidence, now: SystemClock.now(), boot: self.desk.boot(), by: BY.into() }
    }

    async fn look(&self, ages: Ages) -> Result<(PrunePlan, Pruned), String> {
        let (retention, vault) = (self.retention(ages), Arc::clone(&self.vault));
        let look = move |journal: &Journal| {
            let plan = journal.prunable(&retention)?;
            let blobs = journal.orphans(&vault, &plan, &retention)?;
            let blob_bytes = blobs.iter().map(|blob| blob.bytes).sum();
            let would = Pruned { blobs: blobs.len() as u64, blob_bytes, ..plan.counts().clone() };
            Ok((plan, would))
        };
        beside(&self.journal, look).await
    }

    /// Waits for a quiet moment; false: the daemon ends.
    async fn quiet(&mut self) -> bool {
        let mut before = None;
        for _ in 0..MOMENTS {
            let status = self.desk.ask_soon::<EngineStatus>(&self.engine, Request::Status).await.ok();
            let is_idle = self.journal.health().waiting == 0;
            let now = status.filter(|status| is_idle && status.records_waiting == 0).map(|status| status.detections);
            if now.is_some() && now == before {
                return true;
            }
            before = now;
            if self.ends_within(QUIET).await {
                return false;
            }
        }
        true
    }

    /// On a thread of its own, which may wait.
    fn write(&self, part: StreamPruned) -> Result<StreamPruned, StoreError> {
        let mut ended = self.ended.clone();
        let asked = tokio::runtime::Handle::current().block_on(async {
            if timeout(PAUSE, ended.wait_for(|end| *end)).await.is_ok() {
                return Err(StoreError::Closed);
            }
            let answer = self.engine.request(Request::Prune(Box::new(part))).await;
            answer.map_err(|refusal| StoreError::Unwritable(refusal.to_string()))
        });
        serde_json::from_value(asked?).map_err(|e| StoreError::Unwritable(e.to_string()))
    }
}
