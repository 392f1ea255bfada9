//! The auditor at work: every minute what the ladders' records say is held against the clock.
//!
//! ```text
//! engine: does it answer? ─┐
//! journal: open ladders ───┼─▶ differences ─▶ log, figures, `quell status`
//!                          └────────────────▶ content, and since when: what a dead man's switch is told by
//! ```
//!
//! Owns when it looks, and what it saw last. Never sends, and decides nothing about a ladder: `quell_engine::escalation::audit`
//! does. Keeps true: whoever asks hears that all is well only of a look that is fresh and found nothing.

use super::desk::Desk;
use super::seals::beside;
use crate::api::AuditStatus;
use quell_engine::clock::SystemClock;
use quell_engine::escalation::audit::{Account, Difference, Watch, What};
use quell_engine::run::answers::EngineStatus;
use quell_engine::run::pages::PATIENCE;
use quell_engine::run::{EngineHandle, Request};
use quell_engine::store::Journal;
use quell_model::{Clock, LadderId, Stamp, StoreError};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// A look that is older says nothing any more: whoever looks has stood still.
const STALE: Duration = Duration::from_secs(180);
/// Of what differs, so many are told in a sentence.
const TOLD: usize = 3;

/// What the last look saw.
#[derive(Default)]
pub(crate) struct Audit(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// When it ended.
    at: Option<Stamp>,
    looks: u64,
    ladders: u64,
    differences: Vec<Difference>,
    /// Why nothing could be looked at.
    blind: Option<String>,
    /// Since when every look has found nothing.
    since: Option<Stamp>,
    /// What the log has been told of.
    told: BTreeSet<(LadderId, What)>,
}

/// The auditor, in figures.
pub(crate) struct AuditFigures {
    pub(crate) is_content: bool,
    pub(crate) looks: u64,
    pub(crate) ladders: u64,
    /// How many of each kind.
    pub(crate) differences: Vec<(What, u64)>,
}

impl Audit {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when all was sent that should have been by then, if a fresh look says so; else why not.
    ///
    /// # Errors
    /// A sentence: what differs, why nobody could look, or how long nobody has.
    pub(crate) fn content(&self, now: Stamp) -> Result<Stamp, String> {
        let seen = self.seen();
        let Some(at) = seen.at else { return Err("the auditor has not looked yet".to_owned()) };
        let gone = now.since(at);
        if gone > STALE {
            return Err(format!("the auditor has not looked for {} s", gone.as_secs()));
        }
        if let Some(why) = &seen.blind {
            return Err(why.clone());
        }
        if seen.differences.is_empty() {
            return Ok(seen.since.unwrap_or(at));
        }
        let mut why: Vec<String> =
            seen.differences.iter().take(TOLD).map(|one| format!("{}: {}", one.ladder, one.why)).collect();
        why.extend((seen.differences.len() > TOLD).then(|| format!("and {} more", seen.differences.len() - TOLD)));
        Err(why.join("; "))
    }

    /// Whether the first look has ended.
    #[cfg(feature = "webhook")]
    pub(crate) fn has_looked(&self) -> bool {
        self.seen().at.is_some()
    }

    /// For `quell status`.
    pub(crate) fn status(&self, now: Stamp) -> AuditStatus {
        let content = self.content(now);
        let ladders = self.seen().ladders;
        AuditStatus {
            content: content.is_ok(),
            since: content.as_ref().ok().map(|since| since.wall_by(now)),
            why: content.err(),
            ladders,
        }
    }

    /// For whoever asks for figures.
    pub(crate) fn figures(&self, now: Stamp) -> AuditFigures {
        let is_content = self.content(now).is_ok();
        let seen = self.seen();
        let count = |kind: What| seen.differences.iter().filter(|one| one.kind == kind).count() as u64;
        let differences = What::ALL.map(|kind| (kind, count(kind))).into();
        AuditFigures { is_content, looks: seen.looks, ladders: seen.ladders, differences }
    }

    fn saw(&self, now: Stamp, found: Result<(u64, Vec<Difference>), String>) {
        let mut seen = self.seen();
        (seen.at, seen.looks) = (Some(now), seen.looks + 1);
        let was_blind = seen.blind.take();
        match found {
            Ok((ladders, differences)) => (seen.ladders, seen.differences) = (ladders, differences),
            Err(why) => {
                if was_blind.is_none() {
                    tracing::error!(why, "nobody knows whether all was sent that should have been");
                }
                seen.blind = Some(why);
            }
        }
        let known: BTreeSet<_> = seen.differences.iter().map(|one| (one.ladder.clone(), one.kind)).collect();
        for one in seen.differences.iter().filter(|one| !seen.told.contains(&(one.ladder.clone(), one.kind))) {
            tracing::error!(ladder = %one.ladder, kind = one.kind.as_str(), why = one.why, "not all was sent that should have been");
        }
        let is_content = seen.blind.is_none() && seen.differences.is_empty();
        if is_content && seen.since.is_none() && seen.looks > 1 {
            tracing::info!("all was sent that should have been");
        }
        seen.since = if is_content { seen.since.or(Some(now)) } else { None };
        seen.told = known;
    }
}

/// Looks until the end.
pub(super) async fn follow(desk: Arc<Desk>, journal: Journal, engine: EngineHandle, mut ended: watch::Receiver<bool>) {
    loop {
        let found = look(&desk, &journal, &engine).await;
        desk.audit().saw(SystemClock.now(), found);
        if tokio::time::timeout(EVERY, ended.wait_for(|end| *end)).await.is_ok() {
            return;
        }
    }
}

/// How many ladders are open, and what differs.
async fn look(desk: &Desk, journal: &Journal, engine: &EngineHandle) -> Result<(u64, Vec<Difference>), String> {
    // It has had its turn: what is due by now it has done.
    let status = desk.ask_soon::<EngineStatus>(engine, Request::Status).await;
    let status = status.map_err(|refusal| format!("the engine does not say how it stands: {refusal}"))?;
    if status.records_waiting > 0 {
        return Err(format!("{} records wait for a journal that does not take them", status.records_waiting));
    }
    let watch = Watch { now: SystemClock.now(), since: desk.started(), patience: PATIENCE };
    beside(journal, move |journal| audited(journal, &watch)).await.map_err(|why| format!("the journal: {why}"))
}

fn audited(journal: &Journal, watch: &Watch) -> Result<(u64, Vec<Difference>), StoreError> {
    let (mut ladders, mut differences) = (0, Vec::new());
    for stream in journal.open_streams()? {
        let Some(ladder) = stream.as_ladder() else { continue };
        ladders += 1;
        differences.extend(Account::of(&ladder, &journal.read(&stream, 1)?).differences(watch));
    }
    Ok((ladders, differences))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Stamp {
        Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 }.after(Duration::from_secs(seconds))
    }

    fn late() -> Vec<Difference> {
        vec![Difference { ladder: "i-1".into(), kind: What::PageLate, why: "nothing is known".into() }]
    }

    #[test]
    fn only_a_fresh_look_that_found_nothing_is_content() {
        let audit = Audit::default();
        assert!(audit.content(at(0)).unwrap_err().contains("has not looked yet"));
        audit.saw(at(10), Ok((2, Vec::new())));
        audit.saw(at(70), Ok((2, Vec::new())));
        assert_eq!(audit.content(at(71)), Ok(at(10)), "since the first of them");
        assert_eq!(audit.content(at(70 + 181)).unwrap_err(), "the auditor has not looked for 181 s");
        audit.saw(at(130), Ok((2, late())));
        assert_eq!(audit.content(at(131)).unwrap_err(), "i-1: nothing is known");
        assert_eq!(audit.figures(at(131)).differences[0], (What::PageLate, 1));
        audit.saw(at(190), Err("the journal: no".to_owned()));
        assert_eq!(audit.content(at(191)).unwrap_err(), "the journal: no");
        audit.saw(at(250), Ok((1, Vec::new())));
        assert_eq!(audit.content(at(251)), Ok(at(250)), "it begins anew");
        assert_eq!(audit.figures(at(251)).looks, 5);
    }
}
