//! The verbs against a real API server. One binary, a module a subject; one cluster without a node for all of them, and a namespace a test.
//!
//! Where no API server can be started, each test says on stderr that it did not run, and fails where `CI` or `QUELL_REQUIRE_CLUSTER` is set.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking; what its modules share is the binary's own"
)]

mod access;
mod act;
mod api;
mod between;
mod busy;
mod capture_pod;
mod emit_event;
mod ends;
mod forbidden;
mod forged;
mod get;
mod in_cluster;
mod isolate_pod;
mod kubelet;
mod label_pod;
mod limited;
mod min_ready;
mod nodes;
mod owners;
mod pods;
mod renewed;
mod restrict_owner;
mod revoke_service_account;
mod stub;
