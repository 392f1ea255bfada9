//! On a real Kubernetes, a module a subject. Every test has a namespace of its own on the cluster that all share, or a cluster of its own.
//!
//! `node` is a quell on the node of its pods, `shop` what runs there, `talk` connections that go on, `attacker` who waits at the other end of
//! a reverse shell, `gate` what stands before the API server.

#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
pub(crate) mod attacker;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod deaths;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod drains;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod gate;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod killed;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod leaves;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod node;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod reverse_shell;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod shop;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod stands;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod talk;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod two;
