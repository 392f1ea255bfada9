//! What is to be done for people in Slack, once Slack was answered.
//!
//! Owns what waits, and the doing. Decides nothing: `answers` and the engine do. Keeps true: so many wait and no more, so many are
//! at work at once; whoever asked is told what came of it, done or refused; what was taken in is begun, also where the daemon ends.

use super::super::answers::{self, Outcome, Pressing};
use super::super::{App, Problem};
use super::payload::{Errand, What};
use super::reply::Replies;
use super::{VIA, command};
use axum::http::StatusCode;
use quell_model::notice::Act;
use quell_model::people::System;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Errands that wait: more than a whole team clicks while the engine's thread stands still for a while. Whoever comes then is
/// told so by Slack.
const MOST_WAITING: usize = 256;
/// At work at once: the engine takes one at a time, and views of the journal a few.
const AT_ONCE: usize = 16;

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

/// Does what comes until the daemon's end, and what waits by then.
pub(crate) async fn work(app: App, mut waiting: Waiting, mut ended: watch::Receiver<bool>) {
    let replies = match Replies::new(app.desk.slack()) {
        Ok(replies) => replies,
        Err(why) => return tracing::error!(why, "nothing is taken in from Slack"),
    };
    let mut at_work = JoinSet::new();
    loop {
        let errand = tokio::select! {
            Some(done) = at_work.join_next() => {
                if let Err(error) = done {
                    tracing::error!(%error, "what somebody wanted by Slack did not end well");
                }
                continue;
            }
            // Whoever says so may have gone, which is an end too.
            _ = ended.wait_for(|end| *end), if !waiting.0.is_closed() => {
                waiting.0.close();
                continue;
            }
            errand = waiting.0.recv(), if at_work.len() < AT_ONCE => errand,
        };
        let Some(errand) = errand else { break };
        let (app, replies) = (app.clone(), replies.clone());
        at_work.spawn(async move { run(&app, &replies, errand).await });
    }
    while at_work.join_next().await.is_some() {}
}

async fn run(app: &App, replies: &Replies, errand: Errand) {
    let Errand { user, response_url, what } = errand;
    let said = match what {
        What::Click(act, mark) => told(click(app, &user, act, &mark).await),
        What::Command(text) => command::answer(app, &user, &text).await,
    };
    match response_url {
        Some(url) => replies.tell(&url, &said).await,
        None => tracing::debug!(user, "Slack gave no place for what is to be told them"),
    }
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
