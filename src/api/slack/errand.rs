//! What is to be done for people in Slack, once Slack was answered.
//!
//! ```text
//! Slack ─▶ errands that wait ─▶ acts ─▶ what came of it ─▶ replies ─▶ response_url
//! ```
//!
//! Owns what waits, and the doing. Decides nothing: `answers` and the engine do. Keeps true: so many wait and no more, so many are
//! at work at once; nobody's act waits until another has been told what came of theirs; what was taken in is begun, also where the
//! daemon ends.

use super::super::answers::{self, Outcome, Pressing};
use super::super::{App, Problem};
use super::payload::{Errand, What};
use super::reply::Replies;
use super::{VIA, command};
use axum::http::StatusCode;
use quell_model::notice::Act;
use quell_model::people::System;
use std::future::Future;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Errands that wait: more than a whole team clicks while the engine's thread stands still for a while. Whoever comes then is
/// told so by Slack.
const MOST_WAITING: usize = 256;
/// At work at once: the engine takes one at a time, and views of the journal a few.
const AT_ONCE: usize = 16;
/// Of what came of it so much is on its way to Slack at once, each for some 25 s at most. What is done then is told nobody but by the
/// message itself.
const MOST_TOLD: usize = 256;
/// At the daemon's end what waits gets so long: less than the daemon gives those who follow it.
const LAST: Duration = Duration::from_secs(2);

/// Where errands are given.
#[derive(Clone)]
pub(crate) struct Errands(mpsc::Sender<Errand>);

/// Room for one.
pub(super) type Room<'a> = mpsc::Permit<'a, Errand>;

/// Those that wait.
pub(crate) struct Waiting(mpsc::Receiver<Errand>);

impl Errands {
    /// Both ends.
    pub(crate) fn new() -> (Self, Waiting) {
        let (give, take) = mpsc::channel(MOST_WAITING);
        (Self(give), Waiting(take))
    }

    /// Room for one, to be used once Slack was answered; none: there is no room.
    pub(super) fn room(&self) -> Option<Room<'_>> {
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

/// What somebody is to be told, and where.
struct Reply {
    url: String,
    said: String,
}

/// Does what comes until the daemon's end, and what waits by then, within [`LAST`].
pub(crate) async fn work(app: App, waiting: Waiting, ended: watch::Receiver<bool>) {
    let replies = match Replies::new(app.desk.slack()) {
        Ok(replies) => replies,
        Err(why) => return tracing::error!(why, "nothing is taken in from Slack"),
    };
    let act = move |errand| {
        let app = app.clone();
        async move { done(&app, errand).await }
    };
    let tell = move |Reply { url, said }| {
        let replies = replies.clone();
        async move { replies.tell(&url, &said).await }
    };
    Work { waiting, acts: JoinSet::new(), replies: JoinSet::new() }.go_on(act, tell, ended).await;
}

/// What is under way.
struct Work {
    waiting: Waiting,
    acts: JoinSet<Option<Reply>>,
    replies: JoinSet<()>,
}

impl Work {
    /// Each errand is done by `act`, and whoever wanted it told by `tell`.
    async fn go_on<A, T>(
        mut self,
        act: impl Fn(Errand) -> A,
        tell: impl Fn(Reply) -> T,
        mut ended: watch::Receiver<bool>,
    ) where
        A: Future<Output = Option<Reply>> + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        loop {
            tokio::select! {
                // Whoever says so may have gone, which is an end too.
                _ = ended.wait_for(|end| *end) => break,
                () = self.step(&act, &tell) => {}
            }
        }
        self.waiting.0.close();
        let rest = async {
            while !self.is_done() {
                self.step(&act, &tell).await;
            }
        };
        if timeout(LAST, rest).await.is_err() {
            let (acts, replies) = (self.waiting.0.len() + self.acts.len(), self.replies.len());
            tracing::warn!(acts, replies, "the end came before all was done, or told, that somebody wanted by Slack");
        }
    }

    /// The next that comes, or comes to its end. Cancel-safe.
    async fn step<A, T>(&mut self, act: &impl Fn(Errand) -> A, tell: &impl Fn(Reply) -> T)
    where
        A: Future<Output = Option<Reply>> + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        tokio::select! {
            Some(told) = self.replies.join_next() => {
                if let Err(error) = told {
                    tracing::error!(%error, "what somebody is to be told in Slack did not end well");
                }
            }
            Some(done) = self.acts.join_next() => match done {
                Ok(Some(_)) if self.replies.len() >= MOST_TOLD => {
                    tracing::warn!("Slack is slow to take what people are told: somebody is not told what came of what they wanted");
                }
                Ok(Some(reply)) => drop(self.replies.spawn(tell(reply))),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "what somebody wanted by Slack did not end well"),
            },
            Some(errand) = self.waiting.0.recv(), if self.acts.len() < AT_ONCE => drop(self.acts.spawn(act(errand))),
            // Nothing is under way, and nothing comes any more.
            else => std::future::pending().await,
        }
    }

    fn is_done(&self) -> bool {
        self.waiting.0.is_empty() && self.acts.is_empty() && self.replies.is_empty()
    }
}

/// Does it, and says what came of it.
async fn done(app: &App, errand: Errand) -> Option<Reply> {
    let Errand { user, response_url, what } = errand;
    let said = match what {
        What::Click(act, mark) => told(click(app, &user, act, &mark).await),
        What::Command(text) => command::answer(app, &user, &text).await,
    };
    if response_url.is_none() {
        tracing::debug!(user, "Slack gave no place for what is to be told them");
    }
    Some(Reply { url: response_url?, said })
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
        return answers::stranger(app, (VIA, user), &act, (mark.ladder, mark.generation)).await;
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
    use std::sync::Arc;
    use std::sync::Mutex;
    use tokio::sync::Notify;

    fn errand(number: usize) -> Errand {
        Errand { user: number.to_string(), response_url: None, what: What::Command("help".to_owned()) }
    }

    /// What was done, in order, and whoever waits for it.
    #[derive(Clone, Default)]
    struct Done(Arc<(Mutex<Vec<String>>, Notify)>);

    impl Done {
        fn add(&self, user: String) {
            self.0.0.lock().unwrap().push(user);
            self.0.1.notify_one();
        }

        async fn are(&self, many: usize) {
            let all = async {
                while self.0.0.lock().unwrap().len() < many {
                    self.0.1.notified().await;
                }
            };
            timeout(Duration::from_secs(30), all).await.expect("so many are done");
        }
    }

    /// Does what `errands` are given; nobody who is told ever answers.
    fn begun() -> (Errands, watch::Sender<bool>, Done, tokio::task::JoinHandle<()>) {
        let ((errands, waiting), (end, ended), done) = (Errands::new(), watch::channel(false), Done::default());
        let of = done.clone();
        let act = move |errand: Errand| {
            let done = of.clone();
            async move {
                done.add(errand.user);
                Some(Reply { url: "x".to_owned(), said: "done".to_owned() })
            }
        };
        let work = Work { waiting, acts: JoinSet::new(), replies: JoinSet::new() };
        let work = tokio::spawn(work.go_on(act, |_| std::future::pending(), ended));
        (errands, end, done, work)
    }

    #[tokio::test]
    async fn nobody_waits_for_what_others_are_told() {
        let (errands, _end, done, _work) = begun();
        // More than are at work, or told, at once.
        for number in 0..MOST_TOLD + 2 * AT_ONCE {
            errands.room().expect("there is room").send(errand(number));
            done.are(number + 1).await;
        }
    }

    #[tokio::test]
    async fn at_the_end_what_waits_is_done_though_nobody_can_be_told() {
        let (errands, end, done, work) = begun();
        for number in 0..MOST_WAITING {
            errands.room().expect("there is room").send(errand(number));
        }
        end.send_replace(true);
        done.are(MOST_WAITING).await;
        assert!(errands.room().is_none(), "nothing is taken in any more");
        work.await.unwrap();
    }
}
