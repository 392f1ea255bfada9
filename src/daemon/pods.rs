//! The watch of this node's pods, for the life of the daemon.
//!
//! Owns when it runs. Nothing is asked of a cluster where nobody says that there is one. Without the feature `kubernetes` there is none.

use super::kube::Kube;
use crate::api::PodsStatus;
use quell_engine::load::Config;
use quell_model::{Name, Pods};
use std::sync::Arc;
use tokio::sync::watch;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodePods {
    /// Where they are known, and who watches; none: nobody says where a cluster is.
    #[cfg(feature = "kubernetes")]
    watched: Option<(Arc<Pods>, Arc<quell_kubernetes::PodWatch>)>,
}

#[cfg(feature = "kubernetes")]
impl NodePods {
    /// Of this cluster; `host` is what this machine calls itself. Asks nobody yet.
    pub(crate) fn of(kube: &Kube, config: &Config, host: &Name) -> Self {
        if kube.told().is_err() {
            return Self::default();
        }
        let node = super::own_pod::told_node(config);
        let cluster = kube.cluster();
        let watch = quell_kubernetes::PodWatch::new(Arc::clone(cluster), node, host.clone());
        Self { watched: Some((Arc::clone(cluster.pods()), Arc::new(watch))) }
    }

    /// What is known of them, where they are watched.
    pub(crate) fn table(&self) -> Option<Arc<Pods>> {
        self.watched.as_ref().map(|(table, _)| Arc::clone(table))
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
        let (_, watched) = self.watched.as_ref()?;
        let status = watched.status();
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
    pub(crate) fn of(_: &Kube, _: &Config, _: &Name) -> Self {
        Self::default()
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
