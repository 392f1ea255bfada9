//! Answers of the engine, for which nobody waits longer than they said.
//!
//! Owns what is told where the time is up. Never asks twice. Keeps true: what may still be done is told apart from what was not even
//! taken, of which nothing comes.

use quell_engine::run::{EngineHandle, Refusal, Request};
use quell_model::Json;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Asks the engine, and waits no longer than this in all.
///
/// # Errors
/// [`Refusal::NotNow`] where it has not even taken the request, [`Refusal::Late`] where it has and has not answered; what it refuses.
pub(super) async fn ask_within<T: DeserializeOwned>(
    engine: &EngineHandle,
    request: Request,
    limit: Duration,
) -> Result<T, Refusal> {
    read_answer(in_time(engine.sent(request), limit).await?)
}

/// What comes of something that is asked, within this time in all. What nobody has taken by then is not done.
async fn in_time<A: Future<Output = Result<Json, Refusal>>>(
    sent: impl Future<Output = Result<A, Refusal>>,
    limit: Duration,
) -> Result<Json, Refusal> {
    let ends = tokio::time::Instant::now() + limit;
    let full = |_| Refusal::NotNow(format!("the engine has taken nothing for {limit:?}: nothing was done"));
    let answer = tokio::time::timeout_at(ends, sent).await.map_err(full)??;
    let late = |_| Refusal::Late(format!("the engine has not answered within {limit:?}: it may still be done"));
    tokio::time::timeout_at(ends, answer).await.map_err(late)?
}

/// The engine's answer, as what was asked for.
///
/// # Errors
/// [`Refusal::NotNow`] where it is none.
pub(super) fn read_answer<T: DeserializeOwned>(answer: Json) -> Result<T, Refusal> {
    serde_json::from_value(answer).map_err(|e| Refusal::NotNow(format!("the engine's answer cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{Ready, pending, ready};

    #[tokio::test]
    async fn what_the_engine_has_not_taken_is_not_said_to_be_done_perhaps() {
        let limit = Duration::from_millis(1);
        let full = in_time(pending::<Result<Ready<Result<Json, Refusal>>, Refusal>>(), limit).await.unwrap_err();
        assert!(matches!(&full, Refusal::NotNow(why) if why.ends_with("nothing was done")), "{full}");
        let late = in_time(ready(Ok(pending())), limit).await.unwrap_err();
        assert!(matches!(late, Refusal::Late(_)), "{late}");
        assert_eq!(in_time(ready(Ok(ready(Ok(Json::Null)))), limit).await.unwrap(), Json::Null);
    }
}
