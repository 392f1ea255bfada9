//! The watch of this node's pods, for the life of the daemon.
//!
//! Owns when it runs. Nothing is asked of a cluster where nobody says that there is one; a reload that names one is followed. Without the feature
//! `kubernetes` there is none.

use super::kube::Kube;
use crate::api::PodsStatus;
use quell_engine::load::Config;
use quell_model::{Name, Pods};
use std::sync::Arc;
use tokio::sync::watch;

/// See the module.
#[derive(Clone)]
pub(crate) struct NodePods {
    /// Who watches.
    #[cfg(feature = "kubernetes")]
    watched: Arc<quell_kubernetes::PodWatch>,
    #[cfg(feature = "kubernetes")]
    kube: Kube,
}

#[cfg(feature = "kubernetes")]
impl NodePods {
    /// Of this cluster, wherever it is led; `host` is what this machine calls itself. Asks nobody yet but the kubelet's files.
    pub(crate) fn of(kube: &Kube, config: &Config, host: &Name) -> Self {
        let node = super::own_pod::told_node(config);
        let watch = quell_kubernetes::PodWatch::new(Arc::clone(kube.cluster()), node, host.clone());
        let watch = watch.on_host(quell_actions::protect::host_root());
        Self { watched: Arc::new(watch), kube: kube.clone() }
    }

    /// As a reload says.
    pub(crate) fn put(&self, config: &Config) {
        self.watched.put_node(super::own_pod::told_node(config));
    }

    /// What is known of them.
    pub(crate) fn table(&self) -> Option<Arc<Pods>> {
        Some(Arc::clone(self.kube.cluster().pods()))
    }

    /// Watches them until the daemon ends.
    pub(crate) async fn follow(self, mut ended: watch::Receiver<bool>) {
        tokio::select! {
            () = self.watched.follow() => {}
            _ = ended.wait_for(|end| *end) => {}
        }
    }

    /// How the watch stands; none: nobody says where a cluster is.
    pub(crate) fn status(&self) -> Option<PodsStatus> {
        self.kube.told().ok()?;
        let status = self.watched.status();
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
        Self {}
    }

    /// There is nobody to tell.
    pub(crate) fn put(&self, _: &Config) {}

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
