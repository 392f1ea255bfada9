//! Bad input: the whole output of each, as a person sees it.

use super::{quell, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The output with the test's own directory taken out.
/// Without what changes: where the test ran, and how much ships.
fn whole(text: &str, dir: &Path) -> String {
    let shipped = format!(
        "{} playbooks and {} rules in order",
        quell_playbooks::playbooks().len(),
        quell_playbooks::rules().len()
    );
    text.replace(dir.to_str().unwrap(), "DIR").replace(&shipped, "what ships in order")
}

/// A rule without a mistake.
const GOOD: &str = "title: Good\nname: good\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2\nstatus: test\nlogsource: { product: linux, category: process_creation }\ndetection: { s: { Image|endswith: /sh }, condition: s }\nlevel: high\n";

const TWELVE: &str = r#"playbook: Twelve Mistakes
descripton: a key that is no key
on:
  detections: { rules: [reverse-shel], level: severe }
mode: enforc
steps:
  freeze:
    action: process.freez
    with: { process: "${{ event.process.id }}" }
  kill:
    nedes: [freeze]
    action: process.kill
    with: { proces: "${{ event.process.id }}", scope: family }
  look:
    needs: [nobody]
    action: process.inspect
    with: { process: "${{ event.proces.id }}" }
    timeout: soon
  report:
    when: sometimes
    tell: "${{ steps.kill.killed. }}"
"#;

#[test]
fn twelve_mistakes_are_twelve_places_and_nothing_is_loaded_half() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "twelve.yaml", TWELVE);
    let ran = quell(&["playbook", "check", file.to_str().unwrap()]).ends(1);
    assert!(ran.out.is_empty(), "{}", ran.out);
    insta::assert_snapshot!(whole(&ran.err, dir.path()));

    let json = quell(&["playbook", "check", "--json", file.to_str().unwrap()]).ends(1).json();
    let mistakes = json["mistakes"].as_array().unwrap();
    assert!(mistakes.len() >= 12, "{mistakes:#?}");
    assert!(mistakes.iter().all(|m| m["line"].as_u64() > Some(0) && m["column"].as_u64() > Some(0)), "{mistakes:#?}");
    assert_eq!(json["playbooks"], serde_json::json!([]));
}

#[test]
fn unknown_keys_of_the_configuration_have_their_place_and_the_nearest_spelling() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mode: enforce\nplaybok: { shipped: true }\nrules:\n  dir: [rules]\nguard:\n  protect: {}\n  limts: { process.kill: 60/h }\nincidents: { min_level: hihg }\n";
    let file = write(dir.path(), "quell.yaml", text);
    let ran = quell(&["config", "check", file.to_str().unwrap()]).ends(1);
    insta::assert_snapshot!(whole(&ran.err, dir.path()));
}

#[test]
fn a_file_that_is_no_yaml_is_one_mistake_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "broken.yaml", "playbook: x\nsteps: [\n  a: }\n");
    let ran = quell(&["playbook", "check", file.to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("broken.yaml:"), "{}", ran.err);
    assert!(ran.err.contains("1 error"), "{}", ran.err);
}

#[test]
fn a_rule_that_cannot_be_read_is_named_and_the_others_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "rules/bad.yml",
        "title: Bad\nlogsource: { product: linux, category: process_creation }\ndetection:\n  s: { Image|endswit: /sh }\n  condition: s and t\nlevel: high\n",
    );
    write(dir.path(), "rules/good.yml", GOOD);
    write(dir.path(), "rules/other.yml", "some: thing\nelse: here\n");
    let ran = quell(&["rules", "check", dir.path().join("rules").to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("bad.yml:"), "{}", ran.err);
    assert!(ran.out.starts_with("1 rules loaded"), "{}", ran.out);
    let json = quell(&["rules", "check", "--json", dir.path().join("rules").to_str().unwrap()]).ends(1).json();
    assert_eq!((&json["loaded"], &json["rules"][0]["id"]), (&1.into(), &"good".into()));
    assert_eq!(json["passed_over"].as_array().unwrap().len(), 1, "{json}");
}

#[test]
fn rules_that_others_could_write_are_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let rule = write(dir.path(), "rules/a.yml", GOOD);
    let config = write(dir.path(), "quell.yaml", "rules: { dirs: [rules] }\n");
    let check = |code| quell(&["config", "check", config.to_str().unwrap()]).ends(code).err;
    check(0);
    for (path, mode, kept) in [(rule.as_path(), 0o666, 0o644), (rule.parent().unwrap(), 0o777, 0o755)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let err = check(1);
        assert!(err.contains("can be written by anybody"), "{err}");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(kept)).unwrap();
    }
    check(0);
}

#[test]
fn a_fifo_among_rules_makes_nobody_wait() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rules/a.yml", GOOD);
    let fifo = dir.path().join("rules/b.yml");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
    let ran = quell(&["rules", "check", dir.path().join("rules").to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("is no file"), "{}", ran.err);
}
