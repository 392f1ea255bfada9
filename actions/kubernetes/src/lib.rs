//! quell-kubernetes: all that speaks to Kubernetes: the verbs on pods, their owners and nodes, and who the pods of this node are.
//!
//! Owns what is asked of an API server and what is written there. Never reads the journal, decides nothing: each act needs the guard's
//! [`Admitted`](quell_model::Admitted). Keeps true: an object is addressed by its uid, never by its name alone; every write is held
//! against the uid and the version that were read; a verb makes no call that its permissions do not list.
//!
//! ```text
//! verbs/ ──ask──▶ call ──▶ cluster ──▶ API server
//!    │              └─ bounded in time, held against the verb's permissions, each error with its verdict
//!    ├─ owner: what owns a pod, and how many stand in for it
//!    ├─ workload: such an owner itself, and how far a change of it has come
//!    └─ rights: what a service account may, and by which bindings
//! pods/ ◀──list, watch──────────────────── API server
//!    └──▶ quell_model::Pods ──▶ the sensor's events; verbs that were given a pod's uid alone
//! ```
//!
//! Without the feature `client` the verbs are known, and have no hands.

#[cfg(feature = "client")]
mod access;
mod account;
#[cfg(feature = "client")]
mod busy;
#[cfg(feature = "client")]
mod call;
#[cfg(feature = "client")]
mod cluster;
#[cfg(all(feature = "client", debug_assertions))]
mod fault;
mod maker;
mod node;
mod object;
#[cfg(feature = "client")]
mod owner;
mod owner_ref;
#[cfg(feature = "client")]
mod pods;
pub mod rbac;
#[cfg(feature = "client")]
mod rights;
pub mod verbs;
#[cfg(feature = "client")]
mod workload;

#[cfg(feature = "client")]
pub use access::Rules;
pub use account::AccountRef;
#[cfg(feature = "client")]
pub use call::{CallError, Calls};
#[cfg(feature = "client")]
pub use cluster::{Cluster, Settings};
pub use node::NodeRef;
pub use object::PodRef;
pub use owner_ref::{CronJobRef, OwnerKind, OwnerRef};
#[cfg(feature = "client")]
pub use pods::{PERMISSIONS as WATCH_PERMISSIONS, PodWatch, PodsStatus};

use quell_model::ActionSpec;

/// What every build knows of the verbs, hands or not.
#[must_use]
pub fn specs() -> Vec<&'static ActionSpec> {
    verbs::specs()
}

/// Every verb of this crate, with hands on this cluster.
#[cfg(feature = "client")]
#[must_use]
pub fn crew(cluster: &std::sync::Arc<Cluster>) -> Vec<quell_model::world::Verb> {
    verbs::crew(cluster)
}
