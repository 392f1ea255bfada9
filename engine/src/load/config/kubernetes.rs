//! `kubernetes`: where the cluster is, and what of one the guard protects by itself.
//!
//! Owns the shape and the words. Asks no cluster: whether there is one is found by who reaches it.

use quell_model::Name;
use quell_model::guard::{EACH, MinReady, Share};
use std::path::PathBuf;

/// The cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kubernetes {
    /// Whether it is looked for at all.
    pub enabled: bool,
    /// What targets and messages call it.
    pub cluster: Name,
    /// How it is reached; none: as the pod that quell runs in says.
    pub kubeconfig: Option<PathBuf>,
    /// Of the kubeconfig; none: its current one.
    pub context: Option<String>,
    /// Which of its nodes this machine is; none: found out.
    pub node: Option<Name>,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self { enabled: true, cluster: "kubernetes".into(), kubeconfig: None, context: None, node: None }
    }
}

/// Without what lives there a cluster does not work, or nobody can say that it does.
pub const NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// What has to stay where nothing else is said: half of an owner's replicas, for every action, and nine nodes of ten.
#[must_use]
pub(super) fn min_ready() -> MinReady {
    MinReady { rows: [(EACH.to_owned(), Share::Percent(50))].into(), nodes: Some(Share::Percent(10)) }
}
