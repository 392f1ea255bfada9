//! Work of a step that may take a while: polled once here, else moved to the runtime.
//!
//! Owns the way a future goes: a contain verb that is ready at once never leaves the engine's thread; what is pending
//! goes on beside it, and the answer comes back through the inbox. Every future has a deadline. Keeps true: every piece
//! of work is answered, also one that panics: neither does its run wait for ever, nor does it take this thread along.

use super::request::{EngineHandle, Refusal, Request};
use super::workers::Workers;
use futures_util::future::{FutureExt, select};
use quell_model::notice::PageKey;
use quell_model::record::Part;
use quell_model::{ActionError, Clock, Json, Plan, RunId, Stamp, Stop, StoreError, Truth};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// How an attempt at the world went.
#[derive(Debug)]
pub(super) struct Acted {
    /// What `run` gave; `None`: only asked, not done.
    pub(super) run: Option<Result<Json, ActionError>>,
    /// What `verify` said afterwards.
    pub(super) truth: Result<Truth, ActionError>,
    /// When the act began.
    pub(super) started: Stamp,
    /// When the world had answered.
    pub(super) verified: Stamp,
}

/// An answer to a step.
#[derive(Debug)]
pub(super) enum Answer {
    /// The plan is made.
    Planned(Result<Plan, ActionError>),
    /// The plan is made, and nobody was asked.
    PlannedAtOnce(Plan),
    /// The intent is synced: the act may begin.
    Intended(Result<(), StoreError>),
    /// The act is over.
    Acted(Acted),
    /// The intent to take back is synced: it may begin.
    UndoIntended(Result<(), StoreError>),
    /// The taking back is over: of each intent that was come to, the latest first.
    TakenBack(Vec<super::take_back::TakenBack>),
    /// The world said whether a containment whose lease is over still stands.
    Stands(Result<Truth, ActionError>),
    /// What is to be held in the world is, or is not.
    Hold(super::hold::Told),
    /// A look or a script is over.
    Looked(Result<Json, ActionError>),
    /// The work panicked, with these words.
    Died(String),
}

/// What reaches the engine's thread from elsewhere.
pub(super) enum Input {
    /// A step's answer.
    Answer(RunId, Part, Answer),
    /// A person's request.
    Request(Request, oneshot::Sender<Result<Json, Refusal>>),
    /// A channel took a page, by itself or in this message for many, or did not.
    Sent(super::bundled::Part, Option<PageKey>, super::pages::Sent),
    /// A moment that the engine waits for has come.
    Tick,
}

pub(super) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where a piece of work may wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// First here, then beside.
    Here,
    /// Beside at once: it may block.
    Beside,
}

/// Runs `work`; gives its answer if it was ready at once, else sends it to the inbox later.
pub(super) fn run(
    (runtime, workers): (&tokio::runtime::Handle, &Workers),
    home: &EngineHandle,
    to: (RunId, Part),
    place: Where,
    work: Work<Answer>,
) -> Option<Answer> {
    let mut work =
        Box::pin(AssertUnwindSafe(work).catch_unwind().map(|done| done.unwrap_or_else(|why| died(words(&*why)))));
    if place == Where::Here
        && let Poll::Ready(answer) = work.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    {
        return Some(answer);
    }
    let home = home.clone();
    let (run, part) = to;
    let deliver = async move {
        let answer = work.await;
        home.send(Input::Answer(run, part, answer)).await;
    };
    match place {
        Where::Beside => workers.give(deliver),
        Where::Here => drop(runtime.spawn(deliver)),
    }
    None
}

/// What a panic left.
pub(super) fn words(why: &(dyn Any + Send)) -> String {
    let words = why.downcast_ref::<&str>().map(|text| (*text).to_owned());
    words.or_else(|| why.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it did not say why".into())
}

/// Work that panicked with these words.
pub(super) fn died(words: String) -> Answer {
    tracing::error!(why = words, "a step's work panicked");
    Answer::Died(words)
}

/// `work`, or what `late` says once `deadline` has passed.
pub(super) async fn within<T>(
    clock: Arc<dyn Clock>,
    deadline: Stamp,
    stop: Stop,
    work: impl Future<Output = T> + Send,
    late: impl FnOnce() -> T,
) -> T {
    let work = pin!(work);
    let timer = async { clock.sleep_until(deadline).await }.boxed();
    match select(work, timer).await {
        futures_util::future::Either::Left((value, _)) => value,
        futures_util::future::Either::Right(((), _)) => {
            stop.raise();
            late()
        }
    }
}
