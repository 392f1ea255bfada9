//! What `init` writes is right as it stands, and nothing is written twice.

use super::quell;

#[test]
fn what_init_writes_passes_every_check() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let ran = quell(&["init", &text(made.clone()), "--json"]).ends(0);
    let files = ran.json()["files"].as_array().unwrap().clone();
    assert!(
        files.iter().any(|f| f["id"] == "quell.yaml") && files.iter().any(|f| f["id"] == ".gitignore"),
        "{files:?}"
    );

    let ran = quell(&["config", "check", &text(made.join("quell.yaml"))]).ends(0);
    assert!(ran.err.contains("`email` is off for now") && ran.err.contains("1 warning;"), "{}", ran.err);
    assert!(ran.err.contains("1 person"), "{}", ran.err);
    let written = std::fs::read_to_string(made.join("escalation.yaml")).unwrap();
    assert_eq!(written, std::fs::read_to_string("escalation.yaml").unwrap(), "it is the one that ships");
    let ran = quell(&["playbook", "check", "--deny", "warnings", &text(made.join("playbooks"))]).ends(0);
    assert!(ran.err.contains("no mistakes"), "{}", ran.err);
    quell(&["rules", "check", &text(made.join("rules"))]).ends(0);
    quell(&["playbook", "graph", &text(made.join("playbooks"))]).ends(0);
}

#[test]
fn init_writes_nothing_over_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    super::write(dir.path(), "quell.yaml", "mode: enforce\n");
    let ran = quell(&["init", dir.path().to_str().unwrap()]).ends(2);
    assert!(ran.err.contains("quell.yaml"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(dir.path().join("quell.yaml")).unwrap(), "mode: enforce\n");
    assert!(!dir.path().join("playbooks").exists());
}
