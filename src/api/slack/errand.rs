//! What is to be done for people in Slack, once Slack was answered.
//!
//! Owns what waits, and the doing. Decides nothing: `answers` and the engine do. Keeps true: so many wait and no more, so many are
//! at work at once; whoever asked is told what came of it, done or refused; nobody's act waits for what others are told; what was
//! taken in is begun, also where the daemon ends.

use super::super::answers::{self, Outcome, Pressing};
use super::super::{App, Problem};
use super::payload::{Errand, What};
use super::reply::Replies;
use super::{VIA, command};
use axum::http::StatusCode;
use quell_model::notice::Act;
use quell_model::people::System;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

/// Errands that wait: more than a whole team clicks while the engine's thread stands still for a while. Whoever comes then is
/// told so by Slack.
const MOST_WAITING: usize = 256;
/// At work at once: the engine takes one at a time, and views of the journal a few.
const AT_ONCE: usize = 16;
/// So many are told at once what came of it, each by a connection of its own. When Slack takes that of none, what comes then waits.
const MOST_TOLD: usize = 128;

/// Where errands are given.
#[derive(Clone)]
pub(crate) struct Errands(mpsc::Sender<Errand>);

/// Those that wait.
pub(crate) struct Waiting(mpsc::Receiver<Errand>);

impl Errands {
    /// Both ends.
    pub(crate) fn new() -> (Self, Waiting) {
        let (give, take) = mpsc::channel(MOST_WAITING);
        (Self(give), Waiting(take))
    }

    /// Gives one; false: there is no room.
    pub(super) fn give(&self, errand: Errand) -> bool {
        self.0.try_send(errand).is_ok()
    }

    /// Room for one, to be used once Slack was answered; none: there is no room.
    pub(super) fn room(&self) -> Option<mpsc::Permit<'_, Errand>> {
        self.0.try_reserve().ok()
    }
}

#[cfg(test)]
impl Waiting {
    /// The next that waits.
    pub(super) fn next(&mut self) -> Option<Errand> {
        self.0.try_recv().ok()
    }
}

/// What came of an errand, and where it is told.
struct Told {
    response_url: String,
    said: String,
}

/// Does what comes until the daemon's end, and what waits by then.
pub(crate) async fn work(app: App, waiting: Waiting, ended: watch::Receiver<bool>) {
    let replies = match Replies::new(app.desk.slack()) {
        Ok(replies) => replies,
        Err(why) => return tracing::error!(why, "nothing is taken in from Slack"),
    };
    let act = |errand| {
        let app = app.clone();
        async move { run(&app, errand).await }
    };
    let tell = |Told { response_url, said }: Told| {
        let replies = replies.clone();
        async move { replies.tell(&response_url, &said).await }
    };
    carry_through(waiting, ended, act, tell).await;
}

/// Does each by `act`, and tells what came of it by `tell`.
async fn carry_through<A, T>(
    mut waiting: Waiting,
    mut ended: watch::Receiver<bool>,
    act: impl Fn(Errand) -> A,
    tell: impl Fn(Told) -> T,
) where
    A: Future<Output = Option<Told>> + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let (mut at_work, mut telling) = (JoinSet::new(), JoinSet::new());
    loop {
        let has_room = at_work.len() < AT_ONCE && at_work.len() + telling.len() < MOST_TOLD;
        let errand = tokio::select! {
            Some(done) = at_work.join_next() => {
                if let Some(told) = well(done).flatten() {
                    telling.spawn(tell(told));
                }
                continue;
            }
            Some(done) = telling.join_next() => {
                well(done);
                continue;
            }
            // Whoever says so may have gone, which is an end too.
            _ = ended.wait_for(|end| *end), if !waiting.0.is_closed() => {
                waiting.0.close();
                continue;
            }
            errand = waiting.0.recv(), if has_room => errand,
        };
        let Some(errand) = errand else { break };
        at_work.spawn(act(errand));
    }
    while let Some(done) = at_work.join_next().await {
        if let Some(told) = well(done).flatten() {
            telling.spawn(tell(told));
        }
    }
    while let Some(done) = telling.join_next().await {
        well(done);
    }
}

/// What a task came to.
fn well<T>(done: Result<T, JoinError>) -> Option<T> {
    done.inspect_err(|error| tracing::error!(%error, "what somebody wanted by Slack did not end well")).ok()
}

async fn run(app: &App, errand: Errand) -> Option<Told> {
    let Errand { user, response_url, what } = errand;
    let said = match what {
        What::Click(act, mark) => told(click(app, &user, act, &mark).await),
        What::Command(text) => command::answer(app, &user, &text).await,
    };
    if response_url.is_none() {
        tracing::debug!(user, "Slack gave no place for what is to be told them");
    }
    response_url.map(|response_url| Told { response_url, said })
}

/// Somebody has clicked.
async fn click(app: &App, user: &str, act: Act, mark: &str) -> Outcome {
    let Some(mark) = app.desk.marks.open(mark) else {
        tracing::warn!(user, act = act.word(), "a button was pressed in Slack whose mark is none of this quell's");
        let what = "this button is none of this quell's: nothing was done";
        let hint = "the message is another installation's, or its `marks.key` is gone: answer by `quell`";
        return Problem::new(StatusCode::NOT_FOUND, what).hint(hint).into();
    };
    let access = app.desk.access().borrow().clone();
    let Some(person) = access.person(System::Slack, user) else {
        return answers::stranger(app, VIA, user, &act, &mark).await;
    };
    let pressing = Pressing { person, via: VIA, from: None, act, mark, link: None, why: String::new() };
    answers::press(app, pressing).await
}

/// An outcome, for whoever asked.
pub(super) fn told(Outcome { said, hint, .. }: Outcome) -> String {
    match hint {
        Some(hint) => format!("{said}\nhint: {hint}"),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use tokio::sync::Notify;

    fn errand(number: usize) -> Errand {
        Errand { user: number.to_string(), response_url: Some("u".to_owned()), what: What::Command(String::new()) }
    }

    /// Slack takes nothing of what people are to be told: what they want is done all the same.
    #[tokio::test]
    async fn nobodys_act_waits_for_what_others_are_told() {
        let (give, waiting) = Errands::new();
        let ended = watch::Sender::new(false);
        let (done, slack) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let told = Arc::new(Mutex::new(Vec::new()));
        let act = {
            let done = Arc::clone(&done);
            move |errand: Errand| {
                done.fetch_add(1, Ordering::SeqCst);
                async move { Some(Told { response_url: "u".to_owned(), said: errand.user }) }
            }
        };
        let tell = {
            let (slack, told) = (Arc::clone(&slack), Arc::clone(&told));
            move |one: Told| {
                let (slack, told) = (Arc::clone(&slack), Arc::clone(&told));
                async move {
                    slack.notified().await;
                    told.lock().unwrap().push(one.said);
                }
            }
        };
        let all = MOST_TOLD + AT_ONCE;
        assert!((0..all).all(|number| give.give(errand(number))));
        let work = tokio::spawn(carry_through(waiting, ended.subscribe(), act, tell));
        let count = |wanted: usize| {
            let done = Arc::clone(&done);
            async move {
                while done.load(Ordering::SeqCst) < wanted {
                    tokio::task::yield_now().await;
                }
            }
        };
        let minute = std::time::Duration::from_secs(60);
        tokio::time::timeout(minute, count(MOST_TOLD)).await.expect("more than are at work at once are done");
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(done.load(Ordering::SeqCst), MOST_TOLD, "the bound");
        assert!(told.lock().unwrap().is_empty());
        // Slack takes it again, and the daemon ends: what was taken in is done and told.
        ended.send_replace(true);
        let takes = async {
            while !work.is_finished() {
                slack.notify_waiters();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(minute, takes).await.expect("it comes to its end");
        assert_eq!((done.load(Ordering::SeqCst), told.lock().unwrap().len()), (all, all));
    }
}
