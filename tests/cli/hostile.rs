//! Names that attackers choose break no output.

use super::{quell, quell_fed, write};

/// Newlines, an escape that clears the screen, one that sets the title, C1, a direction override.
pub(crate) const HOSTILE: &str = "a\nb\x1b[2J\x1b]0;owned\x07\u{9b}31m\u{202e}gpj";

/// Nothing that a terminal would obey but line breaks.
pub(crate) fn is_clean(text: &str) -> bool {
    !text.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c))
}

fn rules(dir: &std::path::Path) -> String {
    let rule = "title: Shell\nname: shell\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2\nstatus: test\nlogsource: { product: linux, category: process_creation }\ndetection: { s: { Image|endswith: /sh }, condition: s }\nlevel: high\n";
    write(dir, "rules/shell.yml", rule);
    dir.join("rules").to_str().unwrap().to_owned()
}

#[test]
fn a_hostile_event_breaks_neither_text_nor_json() {
    let dir = tempfile::tempdir().unwrap();
    let rules = rules(dir.path());
    let event = serde_json::json!({ "Image": format!("/tmp/{HOSTILE}/sh"), "CommandLine": HOSTILE, "User": HOSTILE });
    let text = quell_fed(&["detect", "--rules", &rules, "-"], &format!("{event}\n")).ends(0);
    assert!(is_clean(&text.out) && is_clean(&text.err), "{text:?}");
    assert_eq!(text.out.lines().filter(|line| line.contains("shell")).count(), 1, "{}", text.out);

    let json = quell_fed(&["detect", "--rules", &rules, "--json", "-"], &format!("{event}\n")).ends(0);
    assert!(is_clean(&json.out), "{}", json.out);
    assert_eq!(json.out.lines().count(), 1);
    let line: serde_json::Value = serde_json::from_str(json.out.trim()).unwrap();
    assert_eq!(line["event"]["sigma"]["CommandLine"], HOSTILE, "JSON keeps the value itself");
}

#[test]
fn a_command_line_of_100_kilobytes_stays_one_short_line() {
    let dir = tempfile::tempdir().unwrap();
    let rules = rules(dir.path());
    let event = serde_json::json!({ "Image": "/bin/sh", "CommandLine": "x".repeat(100_000) });
    let ran = quell_fed(&["detect", "--rules", &rules, "-"], &format!("{event}\n")).ends(0);
    assert!(ran.out.lines().all(|line| line.len() < 1_000), "a line of {:?}", ran.out.lines().map(str::len).max());
}

#[test]
fn hostile_arguments_and_paths_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["action", "show", HOSTILE][..],
        &["playbook", "check", HOSTILE],
        &["rules", "check", HOSTILE],
        &["config", "check", HOSTILE],
        &["status", "--data-dir", HOSTILE],
        &["detect", "--rules", HOSTILE, "-"],
    ] {
        let ran = quell(args);
        assert!(is_clean(&ran.err) && is_clean(&ran.out), "{args:?}: {ran:?}");
    }
    let file = write(dir.path(), "e\x1b[31m.yaml", &format!("playbook: x\nst\x1b[2Jeps: {HOSTILE:?}\n"));
    let ran = quell(&["playbook", "check", file.to_str().unwrap()]).ends(1);
    assert!(is_clean(&ran.err), "{}", ran.err);
}

#[test]
fn lines_that_cannot_be_read_are_counted_and_named_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let rules = rules(dir.path());
    let lines = "{\"Image\":\"/bin/sh\"}\n{broken\n[1]\n{\"Image\":\"/bin/sh\",\"CommandLine\":\"two\"}\n";
    let file = write(dir.path(), "events.jsonl", lines);
    let ran = quell(&["detect", "--rules", &rules, "--json", file.to_str().unwrap()]).ends(0);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    assert!(ran.err.contains("events.jsonl:2") && ran.err.contains("2 lines could not be read"), "{}", ran.err);
}
