//! Many playbooks at once: namesakes, what ships, what is no playbook, and what others could have written.

use super::{print, with_known};
use crate::load::{PlaybookSource, playbooks};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn small(name: &str, action: &str) -> String {
    format!(
        "playbook: {name}\nmode: enforce\nlimits: {{ runs: 5/h }}\non: {{ detections: {{ rules: [reverse-shell] }} }}\nsteps:\n  s: {{ action: {action}, with: {{ process: \"${{{{ event.process.id }}}}\" }} }}\n"
    )
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
}

fn load(sources: &[PlaybookSource]) -> (Vec<String>, String) {
    let (all, mistakes) = with_known(|known| playbooks(sources, known));
    let names =
        all.iter().map(|playbook| format!("{} from {}", playbook.name, playbook.file.file_name().unwrap().display()));
    (names.collect(), print(&mistakes))
}

#[test]
fn a_folders_playbook_replaces_its_shipped_namesake() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "deep/one.yaml", &small("one", "process.kill"));
    write(dir.path(), "rule.yml", "title: a rule\ndetection: { condition: x }\n");
    write(dir.path(), "rules.yml", "title: a rule\n---\ntitle: another\n");
    write(dir.path(), "one.test.yaml", "playbook: one\nexpect: {}\n");
    write(dir.path(), ".hidden.yaml", "playbook: [\n");
    let shipped =
        |name: &str| PlaybookSource::Text { name: format!("shipped/{name}.yaml"), text: small(name, "process.freeze") };
    let (names, said) = load(&[shipped("one"), shipped("two"), PlaybookSource::Dir(dir.path().to_owned())]);
    assert_eq!(names, ["one from one.yaml", "two from two.yaml"]);
    assert_eq!(said, "");
}

#[test]
fn two_of_one_name_are_both_left_out_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.yaml", &small("one", "process.kill"));
    write(dir.path(), "b.yaml", &small("one", "process.kill"));
    write(dir.path(), "c.yaml", &small("three", "process.kill"));
    write(dir.path(), "d.yaml", &small("four", "process.kil"));
    let (names, said) =
        load(&[PlaybookSource::Dir(dir.path().to_owned()), PlaybookSource::File(dir.path().join("c.yaml"))]);
    assert_eq!(names, ["three from c.yaml"]);
    assert!(said.contains("two playbooks are called `one`"), "{said}");
    assert!(said.contains("did you mean `process.kill`?"), "{said}");
}

#[test]
fn two_that_act_on_one_trigger_are_told() {
    let text = |name: &str| PlaybookSource::Text { name: format!("{name}.yaml"), text: small(name, "process.kill") };
    let (names, said) = load(&[text("one"), text("two")]);
    assert_eq!(names.len(), 2);
    assert!(said.contains("`one` and `two` would both do `process.kill` on rule `reverse-shell`"), "{said}");
}

#[test]
fn what_others_can_write_is_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.yaml", &small("one", "process.kill"));
    std::fs::set_permissions(dir.path().join("a.yaml"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let (names, said) =
        load(&[PlaybookSource::Dir(dir.path().to_owned()), PlaybookSource::Dir(dir.path().join("nowhere"))]);
    assert_eq!(names, Vec::<String>::new());
    assert!(said.contains("hint: chmod go-w"), "{said}");
    assert!(said.contains("nowhere error: it cannot be read"), "{said}");
}

#[test]
fn scripts_are_read_beside_yaml_and_by_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str| {
        format!(
            "// A script.\nplaybook(\"{name}\", #{{ mode: \"enforce\" }});\nlimits(#{{ runs: \"5/h\" }});\n\
             on_detection(#{{ rules: [\"reverse-shell\"] }});\naction(\"s\", \"process.freeze\", #{{ process: x(\"event.process.id\") }});\n"
        )
    };
    write(dir.path(), "deep/one.rhai", &script("one"));
    write(dir.path(), "two.yaml", &small("two", "process.kill"));
    write(dir.path(), "rule.yml", "title: a rule\ndetection: { condition: x }\n");
    write(dir.path(), ".hidden.rhai", "playbook(");
    let shipped = PlaybookSource::Text { name: "shipped/x/playbook.rhai".to_owned(), text: script("three") };
    let folder = PlaybookSource::Dir(dir.path().to_owned());
    let file = PlaybookSource::File(dir.path().join("deep/one.rhai"));
    let (names, said) = load(&[shipped, folder.clone(), file]);
    assert_eq!(names, ["one from one.rhai", "three from playbook.rhai", "two from two.yaml"]);
    assert!(said.contains("`one` and `three` would both do `process.freeze`"), "{said}");
    // Of two namesakes neither is loaded, whatever they are written in; what is no playbook is a mistake.
    write(dir.path(), "one.yaml", &small("one", "process.kill"));
    write(dir.path(), "words.rhai", "let a = 1;\n");
    std::fs::write(dir.path().join("bytes.rhai"), b"playbook(\"p\");\n// \xff\n").unwrap();
    let (names, said) = load(&[folder]);
    assert_eq!(names, ["two from two.yaml"]);
    for part in [
        "one.yaml:1:1 error: two playbooks are called `one`",
        "words.rhai error: the script makes no playbook",
        "bytes.rhai:2:4 error: the file is no UTF-8 from here on",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
}
