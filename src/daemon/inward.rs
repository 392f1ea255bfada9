//! What comes in from Slack, while the daemon lives.
//!
//! Owns the tasks: the one that does what people want there, and the one that holds Socket Mode's links. Both end with the daemon.

use super::Desk;
use crate::api::App;
use crate::api::slack::{self, Waiting};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Begins both.
pub(super) fn follow(
    app: &App,
    desk: &Arc<Desk>,
    waiting: Waiting,
    tasks: &mut JoinSet<()>,
    ended: &watch::Receiver<bool>,
) {
    tasks.spawn(slack::follow(desk.slack(), app.errands.clone(), ended.clone()));
    tasks.spawn(slack::work(app.clone(), waiting, ended.clone()));
}
