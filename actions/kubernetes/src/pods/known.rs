//! The pods of this node as whoever has only a uid asks for them.
//!
//! Owns the table that the watch fills, and who waits for it. Keeps true: who waits hears of every change; where nobody watches nobody waits.

use super::makers::AllMakers;
use super::standing::{AllStanding, Standing};
use crate::call::CallError;
use quell_model::{Name, Pod, Pods};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// So long a pod is waited for that was told of by its uid alone: a list of a node's pods takes less.
const WAITED: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Known {
    table: Arc<Pods>,
    pub(super) standing: AllStanding,
    pub(super) makers: AllMakers,
    watched: AtomicBool,
    live: AtomicBool,
    changed: Notify,
}

impl Known {
    /// Nothing is known yet of the pods of this cluster, and nobody watches them.
    pub(crate) fn new(cluster: Name) -> Self {
        let table = Arc::new(Pods::new(cluster));
        Self {
            table,
            standing: AllStanding::default(),
            makers: AllMakers::default(),
            watched: AtomicBool::new(false),
            live: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    pub(crate) fn table(&self) -> &Arc<Pods> {
        &self.table
    }

    /// Who stands in for the pod with this uid, as it was told last; none: nobody told.
    pub(crate) fn standing(&self, uid: &str) -> Option<Standing> {
        self.standing.of(uid, &self.table)
    }

    /// Whether somebody will watch them.
    pub(super) fn is_watched(&self, watched: bool) {
        self.watched.store(watched, Ordering::Release);
    }

    /// Whether the cluster tells of each change.
    pub(super) fn put_live(&self, live: bool) {
        self.live.store(live, Ordering::Release);
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Wakes whoever waits for a pod.
    pub(super) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// The pod of this node with that uid: one that began a moment ago, or before quell did, may not be known yet, and is waited for.
    ///
    /// # Errors
    /// Nobody watches the pods of this node, or it is not known by then.
    pub(crate) async fn by_uid(&self, uid: &str) -> Result<Arc<Pod>, CallError> {
        if !self.watched.load(Ordering::Acquire) {
            let why = format!("no pod is known by its uid `{uid}` alone: the pods of this node are not watched");
            return Err(CallError::Unwatched(why));
        }
        let until = tokio::time::Instant::now() + WAITED;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Who changes it between the look and the wait is heard too.
            changed.as_mut().enable();
            if let Some(pod) = self.table.by_uid(uid) {
                return Ok(pod);
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                let why = format!("the cluster has not told yet which pod of this node has the uid `{uid}`");
                return Err(CallError::NotToldYet(why));
            }
        }
    }
}
