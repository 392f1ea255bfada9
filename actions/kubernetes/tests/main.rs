//! The verbs against a real API server. One binary, a module a subject; one cluster without a node for all of them, and a namespace a test.
//!
//! Where no API server can be started, each test says on stderr that it did not run, and fails where `CI` or `QUELL_REQUIRE_CLUSTER` is set.

mod act;
mod api;
mod label_pod;
mod pods;
mod stub;
