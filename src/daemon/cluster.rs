//! The cluster that this daemon reaches, and the watch of this node's pods.
//!
//! Owns both for the life of the daemon: its verbs, its sensor and its status have the same. Nothing is asked of a cluster where nobody
//! says that there is one. Without the feature `kubernetes` there is none.

use crate::api::PodsStatus;
use quell_model::{Name, Pods};
use std::sync::Arc;
use tokio::sync::watch;

/// What the downward API tells a pod of its node.
#[cfg(feature = "kubernetes")]
const NODE_NAME: &str = "NODE_NAME";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    #[cfg(feature = "kubernetes")]
    reached: Arc<quell_kubernetes::Cluster>,
    /// None: nobody says where a cluster is.
    #[cfg(feature = "kubernetes")]
    watched: Option<Arc<quell_kubernetes::PodWatch>>,
}

#[cfg(feature = "kubernetes")]
impl Cluster {
    /// As it is to be found from here; `host` is what this machine is called. Asks nobody yet.
    pub(crate) fn find(host: &Name) -> Self {
        let settings = quell_kubernetes::Settings::default();
        let is_told = quell_kubernetes::Cluster::is_told(&settings);
        let reached = Arc::new(quell_kubernetes::Cluster::new(settings));
        let node = std::env::var(NODE_NAME).ok();
        let watch = || Arc::new(quell_kubernetes::PodWatch::new(Arc::clone(&reached), node, host.clone()));
        let watched = is_told.then(watch);
        Self { reached, watched }
    }

    /// The same without the watch: for who sees nothing.
    pub(crate) fn unwatched() -> Self {
        Self { reached: Arc::new(quell_kubernetes::Cluster::new(quell_kubernetes::Settings::default())), watched: None }
    }

    /// What verbs reach it by.
    pub(crate) fn reached(&self) -> &Arc<quell_kubernetes::Cluster> {
        &self.reached
    }

    /// The pods of this node, where they are watched.
    pub(crate) fn pods(&self) -> Option<Arc<Pods>> {
        self.watched.as_ref().map(|_| Arc::clone(self.reached.pods()))
    }

    /// Watches them until the daemon ends.
    pub(crate) async fn follow(self, mut ended: watch::Receiver<bool>) {
        let Some(watched) = self.watched else { return };
        tokio::select! {
            () = watched.follow() => {}
            _ = ended.wait_for(|end| *end) => {}
        }
    }

    /// How the watch stands.
    pub(crate) fn status(&self) -> Option<PodsStatus> {
        let status = self.watched.as_ref()?.status();
        Some(PodsStatus {
            node: status.node,
            live: status.live,
            stale_seconds: status.stale.map(|stale| stale.as_secs()),
            why: status.why,
            count: status.pods as u64,
            left_out: status.left_out,
        })
    }
}

#[cfg(not(feature = "kubernetes"))]
impl Cluster {
    /// There is none in this build.
    pub(crate) fn find(_: &Name) -> Self {
        Self {}
    }

    /// There is none in this build.
    pub(crate) fn unwatched() -> Self {
        Self {}
    }

    /// There are none in this build.
    pub(crate) fn pods(&self) -> Option<Arc<Pods>> {
        None
    }

    /// Nothing is watched in this build.
    pub(crate) async fn follow(self, _: watch::Receiver<bool>) {}

    /// Nothing is watched in this build.
    pub(crate) fn status(&self) -> Option<PodsStatus> {
        None
    }
}
