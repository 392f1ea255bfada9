//! The watch of this node's pods, for as long as the daemon lives.
//!
//! Owns the watch; which cluster it asks is [`Kube`]'s to say. Keeps true: nothing is asked of a cluster where nobody says, when quell starts, that
//! there is one. Without the feature `kubernetes` nothing is watched.

use super::Kube;
use crate::api::PodsStatus;
use quell_model::{Name, Pods};
use std::sync::Arc;
use tokio::sync::watch;

/// What the downward API tells a pod of its node.
#[cfg(feature = "kubernetes")]
const NODE_NAME: &str = "NODE_NAME";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct NodePods {
    /// None: nobody says where a cluster is.
    #[cfg(feature = "kubernetes")]
    watched: Option<(Arc<Pods>, Arc<quell_kubernetes::PodWatch>)>,
}

#[cfg(feature = "kubernetes")]
impl NodePods {
    /// Of the node that this is in a cluster; `host` is what this machine is called. Asks nobody yet.
    pub(crate) fn of(kube: &Kube, host: &Name) -> Self {
        let cluster = kube.cluster();
        let node = std::env::var(NODE_NAME).ok();
        let watch = || Arc::new(quell_kubernetes::PodWatch::new(Arc::clone(cluster), node, host.clone()));
        Self { watched: kube.told().is_ok().then(|| (Arc::clone(cluster.pods()), watch())) }
    }

    /// The pods of this node, where they are watched.
    pub(crate) fn table(&self) -> Option<Arc<Pods>> {
        self.watched.as_ref().map(|(pods, _)| Arc::clone(pods))
    }

    /// Watches them until the daemon ends.
    pub(crate) async fn follow(self, mut ended: watch::Receiver<bool>) {
        let Some((_, watched)) = self.watched else { return };
        tokio::select! {
            () = watched.follow() => {}
            _ = ended.wait_for(|end| *end) => {}
        }
    }

    /// How the watch stands.
    pub(crate) fn status(&self) -> Option<PodsStatus> {
        let status = self.watched.as_ref()?.1.status();
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
impl NodePods {
    /// There are none in this build.
    pub(crate) fn of(_: &Kube, _: &Name) -> Self {
        Self {}
    }

    /// There are none in this build.
    pub(crate) fn table(&self) -> Option<Arc<Pods>> {
        None
    }

    /// Nothing is watched in this build.
    pub(crate) async fn follow(self, _: watch::Receiver<bool>) {}

    /// Nothing is watched in this build.
    pub(crate) fn status(&self) -> Option<PodsStatus> {
        None
    }
}
