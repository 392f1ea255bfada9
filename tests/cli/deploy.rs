//! What `deploy/kustomize` grants is what quell prints that it needs.

use super::quell;
use std::fs;

const ROLE: &str = "deploy/kustomize/role.yaml";

#[test]
fn the_role_of_the_manifests_is_what_their_playbook_needs() {
    let words = ["action", "permissions", "--format", "kubernetes-rbac", "--playbooks", "playbooks/compromised-pod"];
    let printed = quell(&words).ends(0).out;
    let kept = fs::read_to_string(ROLE).unwrap();
    assert!(
        printed == kept,
        "{ROLE} is not what this build prints: write it anew with\n\n    cargo run -- {} > {ROLE}\n",
        words.join(" ")
    );
}
