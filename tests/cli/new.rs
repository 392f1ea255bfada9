//! What `playbook new` writes is right as it stands, and nothing is written twice.

use super::{Ran, command, quell};
use std::path::Path;

fn at(dir: &Path, args: &[&str]) -> Ran {
    Ran::of(command(args).current_dir(dir).output().unwrap())
}

#[test]
fn what_it_writes_passes_every_check() {
    let dir = tempfile::tempdir().unwrap();
    let told = at(dir.path(), &["playbook", "new", "stop-sleeper", "--json"]).ends(0).json();
    let files: Vec<&str> = told["files"].as_array().unwrap().iter().map(|file| file["id"].as_str().unwrap()).collect();
    assert_eq!(
        files,
        ["playbook.yaml", "playbook.test.yaml", "rules/stop-sleeper.yml", "README.md", "playbook.schema.json"]
    );
    let home = dir.path().join("playbooks/stop-sleeper");
    for path in [".", "playbook.yaml"] {
        let ran = at(&home, &["playbook", "check", "--deny", "warnings", path]).ends(0);
        assert!(ran.err.contains("no mistakes"), "{}", ran.err);
    }
    at(&home, &["playbook", "test", "--coverage", "."]).ends(0);
    let rules = at(&home, &["rules", "check", "rules", "--json"]).ends(0).json();
    assert_eq!((&rules["loaded"], &rules["mistakes"]), (&1.into(), &serde_json::json!([])), "{rules}");
    assert_eq!(rules["never_fire"], serde_json::json!([]));
    at(&home, &["playbook", "graph", ".", "--format", "svg"]).ends(0);

    let text = std::fs::read_to_string(home.join("playbook.yaml")).unwrap();
    let link = text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
    let schema = std::fs::read_to_string(home.join(link)).unwrap();
    assert_eq!(schema, quell(&["playbook", "schema"]).ends(0).out);
    for file in files {
        let text = std::fs::read_to_string(home.join(file)).unwrap();
        assert!(!text.contains("@NAME@") && !text.contains("@ID@") && !text.contains("@DATE@"), "{file}:\n{text}");
    }
    let id = |home: &Path, name: &str| {
        let rule = std::fs::read_to_string(home.join(format!("rules/{name}.yml"))).unwrap();
        rule.lines().find(|line| line.starts_with("id: ")).unwrap().to_owned()
    };
    at(dir.path(), &["playbook", "new", "another"]).ends(0);
    assert_ne!(id(&home, "stop-sleeper"), id(&dir.path().join("playbooks/another"), "another"), "ids are fresh");
    // Both are loaded together, with what ships.
    at(dir.path(), &["playbook", "check", "--deny", "warnings", "playbooks/stop-sleeper", "playbooks/another"]).ends(0);
}

#[test]
fn its_rule_finds_the_example_that_its_page_names() {
    let dir = tempfile::tempdir().unwrap();
    at(dir.path(), &["playbook", "new", "mine"]).ends(0);
    let event = "{\"Image\":\"/bin/sh\",\"CommandLine\":\"sh -c : quell-mine-example\"}\n";
    let rules = dir.path().join("playbooks/mine/rules");
    let found = super::quell_fed(&["detect", "--rules", rules.to_str().unwrap(), "--json", "-"], event).ends(0);
    assert_eq!(found.out.lines().count(), 1, "{}", found.out);
    assert!(std::fs::read_to_string(rules.with_file_name("README.md")).unwrap().contains("quell-mine-example"));
}

#[test]
fn it_writes_nothing_over_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("playbooks/mine")).unwrap();
    let ran = at(dir.path(), &["playbook", "new", "mine"]).ends(2);
    assert!(ran.err.contains("playbooks/mine") && ran.err.contains("hint: nothing was written"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(dir.path().join("playbooks/mine")).unwrap().count(), 0);
    std::os::unix::fs::symlink("/nowhere", dir.path().join("playbooks/link")).unwrap();
    at(dir.path(), &["playbook", "new", "link"]).ends(2);
}

#[test]
fn a_bad_name_is_refused_with_the_nearest_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let ran = at(dir.path(), &["playbook", "new", "Stop Sleeper!"]).ends(2);
    assert!(ran.err.contains("did you mean `stop-sleeper`?"), "{}", ran.err);
    let ran = at(dir.path(), &["playbook", "new", "contain-reverse-shell"]).ends(2);
    assert!(ran.err.contains("ships") && ran.err.contains("`my-contain-reverse-shell`"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}
