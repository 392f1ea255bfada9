//! The heads of the journal's streams, sealed now and then and at the end.
//!
//! Owns when. Keeps true: the log has the sum of each seal, so that whoever keeps the log elsewhere can prove what the journal was.

use quell_engine::run::{EngineHandle, Request};
use quell_engine::store::Journal;
use quell_model::StoreError;
use std::time::Duration;
use tokio::sync::watch;

/// How long what was written stays unsealed.
const EVERY: Duration = Duration::from_secs(600);

/// Seals that are written in a row: of 200,000 streams. The rest is for the next time.
const MOST: usize = 1000;

/// Seals until the end, and then once more.
pub(super) async fn follow(journal: Journal, engine: EngineHandle, mut ended: watch::Receiver<bool>) {
    let mut upto = None;
    loop {
        let is_end = tokio::time::timeout(EVERY, ended.wait_for(|end| *end)).await.is_ok();
        if let Err(error) = seal(&journal, &engine, &mut upto).await {
            tracing::warn!(error, "the journal's heads are not sealed this time");
        }
        if is_end {
            return;
        }
    }
}

/// Everything that is in the database by now and not sealed yet.
async fn seal(journal: &Journal, engine: &EngineHandle, upto: &mut Option<u64>) -> Result<(), String> {
    let mut after = match *upto {
        Some(upto) => upto,
        None => beside(journal, Journal::last_seal).await?.map_or(0, |seal| seal.upto),
    };
    let mut streams = 0;
    for _ in 0..MOST {
        let Some(heads) = beside(journal, move |journal| journal.heads(after)).await? else { break };
        (after, streams) = (heads.upto, streams + heads.heads.len());
        // What goes on meanwhile is for the next time: a flood would be sealed without an end.
        let more = Journal::is_full(&heads);
        engine.request(Request::Seal(Box::new(heads))).await.map_err(|refusal| refusal.to_string())?;
        *upto = Some(after);
        if !more {
            break;
        }
    }
    if streams > 0
        && let Some(seal) = beside(journal, Journal::last_seal).await?
    {
        tracing::info!(streams, record = seal.record, sum = %seal.hash, "the journal's heads are sealed");
    }
    Ok(())
}

/// Where a disk that hangs holds up nobody.
pub(super) async fn beside<T: Send + 'static>(
    journal: &Journal,
    what: impl FnOnce(&Journal) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, String> {
    let journal = journal.clone();
    let done = tokio::task::spawn_blocking(move || what(&journal)).await;
    done.map_err(|died| died.to_string())?.map_err(|error| error.to_string())
}
