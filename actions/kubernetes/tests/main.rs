//! The verbs against a real API server. One binary, a module a subject; one cluster without a node for all of them, and a namespace a test.
//!
//! Where no API server can be started, each test says on stderr that it did not run, and fails where `CI` or `QUELL_REQUIRE_CLUSTER` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod act;
mod api;
mod isolate_pod;
mod label_pod;
