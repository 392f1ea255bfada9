//! On a real Kubernetes, a module a subject. Every test has a namespace of its own on the cluster that all share, or a cluster of its own.

#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod stands;
