//! The JSON Schemas of playbooks, quell.yaml and escalation.yaml, as an editor uses them.

use super::{quell, write};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const KEPT: &str = "docs/reference/playbook.schema.json";

fn schema() -> Value {
    quell(&["playbook", "schema"]).ends(0).json()
}

/// What does not hold, a line each.
fn against(schema: &Value, text: &str) -> Vec<String> {
    let draft = jsonschema::Draft::Draft202012;
    // Compiling holds the schema itself against the draft.
    let compiled = jsonschema::JSONSchema::options().with_draft(draft).compile(schema);
    let validator = compiled.unwrap_or_else(|e| panic!("no schema: {e}"));
    let read: Value = serde_yaml::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let held = validator.validate(&read);
    held.err().into_iter().flatten().map(|e| format!("{}: {e}", e.instance_path)).collect()
}

fn shipped() -> Vec<PathBuf> {
    let folders = fs::read_dir("playbooks").unwrap().map(|entry| entry.unwrap().path().join("playbook.yaml"));
    folders.filter(|file| file.is_file()).collect()
}

#[test]
fn the_kept_schema_is_the_one_that_is_printed() {
    let printed = quell(&["playbook", "schema"]).ends(0).out;
    let kept = fs::read_to_string(KEPT).unwrap_or_default();
    assert!(
        printed == kept,
        "{KEPT} is not what this build prints: after a change of keys or actions write it anew with\n\n    cargo run -- playbook schema > {KEPT}\n"
    );
}

#[test]
fn the_kept_schemas_of_the_configuration_are_those_that_are_printed_and_what_init_writes_holds_against_them() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    quell(&["init", made.to_str().unwrap()]).ends(0);
    for of in ["quell", "escalation"] {
        let printed = quell(&["config", "schema", of]).ends(0);
        let kept = format!("docs/reference/{of}.schema.json");
        let is = fs::read_to_string(&kept).unwrap_or_default();
        assert!(
            printed.out == is,
            "{kept} is not what this build prints: write it anew with\n\n    cargo run -- config schema {of} > {kept}\n"
        );
        let schema = printed.json();
        let text = fs::read_to_string(made.join(format!("{of}.yaml"))).unwrap();
        assert_eq!(against(&schema, &text), [""; 0], "{text}");
    }
}

/// Every key of an escalation.yaml but few.
const GOOD: &str = r##"
people: { ana: { name: Ana, email: ana@example.org, roles: [viewer], identities: { unix: 1000 }, wake: { webhook: phone } } }
approvers: { security: { people: [ana], quorum: 1, not_requester: false, policy: default } }
channels:
  console: {}
  slack: { bot_token: { env: BOT }, signing_secret: [{ env: NEW }, { env: OLD }], channel: "#incidents" }
  email: { smtp: "smtp://localhost", user: { env: USER }, password: { env: PASS }, from: q@example.org }
  beat: { url: { env: BEAT }, every: 1m }
  webhooks: { phone: { template: ntfy, url: https://ntfy.example.org/ana } }
schedules:
  primary:
    { time_zone: UTC, layers: [{ rotation: [ana], every: 1 week, handoff: { day: mon, at: "09:00" }, start: 2026-01-05, restrict: [{ days: mon..fri, from: "09:00", to: "24:00" }] }], overrides: [{ who: ana, from: 2026-12-24T18:00, to: 2026-12-27 }] }
policies:
  default: { steps: [{ notify: [schedule: primary], by: [wake, email], wait: 5m, ack: each }], repeat: 2, ack_timeout: 30m, severity: { critical: { wait: 1m } }, last_resort: [person: ana] }
routes: [{ when: "${{ incident.level == `low` }}", policy: default }, { policy: default }]
"##;

#[test]
fn what_the_configurations_check_refuses_by_its_shape_does_not_hold() {
    let schema = quell(&["config", "schema", "escalation"]).ends(0).json();
    let good = GOOD;
    assert_eq!(against(&schema, good), [""; 0]);
    let dir = tempfile::tempdir().unwrap();
    let config = write(dir.path(), "quell.yaml", "mode: observe\n");
    write(dir.path(), "escalation.yaml", good);
    quell(&["config", "check", config.to_str().unwrap()]).ends(0);
    for (part, bad) in [
        ("people: {", "persons: {"),
        ("email: ana@", "email: "),
        ("roles: [viewer]", "roles: viewer"),
        ("unix: 1000", "unix: [1000]"),
        ("unix: 1000", "linux: 1000"),
        ("quorum: 1", "quorum: 0"),
        ("{ people: [ana], ", "{ "),
        ("people: [ana]", "people: []"),
        ("wake: { webhook: phone }", "wake: phone"),
        ("console: {}", "console: true"),
        ("bot_token: { env: BOT }", "bot_token: xoxb-1"),
        ("bot_token: { env: BOT }, ", ""),
        ("signing_secret: [{ env: NEW }, { env: OLD }]", "signing_secret: []"),
        ("smtp: \"smtp://localhost\"", "smtp: localhost"),
        (", password: { env: PASS }", ""),
        ("every: 1m", "every: 1"),
        ("template: ntfy", "template: sms"),
        ("url: https://", "url: ftp://"),
        ("time_zone: UTC, ", ""),
        ("rotation: [ana]", "rotation: []"),
        ("every: 1 week", "every: weekly"),
        ("start: 2026-01-05", "start: 5.1.2026"),
        ("day: mon", "day: monday"),
        ("at: \"09:00\"", "at: \"25:00\""),
        ("days: mon..fri", "days: mon-fri"),
        ("to: \"24:00\"", "to: \"24:01\""),
        ("who: ana, ", ""),
        ("from: 2026-12-24T18:00", "from: 2026-12-24T18:00Z"),
        ("notify: [schedule: primary]", "notify: [primary]"),
        ("notify: [schedule: primary]", "notify: []"),
        ("by: [wake, email]", "by: [sms]"),
        ("wait: 5m, ", ""),
        ("ack: each", "ack: all"),
        ("repeat: 2", "repeat: 101"),
        (", last_resort: [person: ana]", ""),
        ("critical: {", "worst: {"),
        ("when: \"${{ incident.level == `low` }}\"", "when: critical"),
        ("policy: default }]", "policies: default }]"),
    ] {
        let text = good.replacen(part, bad, 1);
        assert_ne!(text, good, "`{part}` is not there");
        assert!(!against(&schema, &text).is_empty(), "the schema takes:\n{text}");
        write(dir.path(), "escalation.yaml", &text);
        let ran = quell(&["config", "check", config.to_str().unwrap()]).ends(1);
        assert!(ran.err.contains("escalation.yaml:"), "{}", ran.err);
    }
}

#[test]
fn it_is_a_schema_and_what_ships_and_what_is_written_to_begin_with_holds_against_it() {
    let schema = schema();
    let mut files = shipped();
    assert_eq!(files.len(), quell_playbooks::playbooks().len());
    files.push("src/cli/init/playbook.yaml".into());
    let dir = tempfile::tempdir().unwrap();
    quell(&["playbook", "new", "fresh", "--dir", dir.path().to_str().unwrap()]).ends(0);
    files.push(dir.path().join("fresh/playbook.yaml"));
    for file in files {
        let wrong = against(&schema, &fs::read_to_string(&file).unwrap());
        assert!(wrong.is_empty(), "{}: {wrong:#?}", file.display());
    }
}

#[test]
fn what_the_check_refuses_by_its_shape_does_not_hold() {
    let schema = schema();
    let dir = tempfile::tempdir().unwrap();
    let good = "playbook: p\nmode: observe\non: { manual: true }\nlimits: { runs: 20/h }\nsteps:\n  one: { action: process.freeze, with: { process: \"${{ event.process.id }}\", scope: tree }, timeout: 5s }\n  two: { needs: [one], tell: x }\n";
    assert_eq!(against(&schema, good), [""; 0]);
    for (part, bad) in [
        ("playbook: p", "playbook: Not A Name"),
        ("playbook: p\n", ""),
        ("mode: observe", "mode: obey"),
        ("mode: observe", "mod: observe"),
        ("manual: true", "manual: true, detections: { level: hgh }"),
        ("runs: 20/h", "runs: many"),
        ("process.freeze", "process.freese"),
        ("scope: tree", "scope: forest"),
        ("scope: tree", "skope: tree"),
        ("scope: tree", "scope: tree, reach: 7"),
        ("timeout: 5s", "timeout: five seconds"),
        ("timeout: 5s", "timeout: 5s, on_failure: ignore"),
        ("timeout: 5s", "timeout: 5s, tell: two things"),
        ("timeout: 5s", "timeout: 5s, lease: { for: 1h, at_end: forget }"),
        ("timeout: 5s", "timeout: 5s, retry: { attempts: 0 }"),
        ("needs: [one]", "needs: one"),
        ("tell: x", "when: never, tell: x"),
        ("two: { needs: [one], tell: x }", "two: { needs: [one] }"),
        ("two:", "Two-Step:"),
    ] {
        let text = good.replacen(part, bad, 1);
        assert_ne!(text, good, "`{part}` is not there");
        assert!(!against(&schema, &text).is_empty(), "the schema takes:\n{text}");
        let file = write(dir.path(), "p.yaml", &text);
        let ran = quell(&["playbook", "check", file.to_str().unwrap()]);
        // Without its name it is no playbook at all.
        assert!(matches!(ran.code, Some(1 | 2)), "the check takes:\n{text}\n{}", ran.err);
    }
}

#[test]
fn the_first_line_of_what_ships_leads_an_editor_to_the_schema() {
    let kept = Path::new(KEPT).canonicalize().unwrap();
    for file in shipped() {
        let text = fs::read_to_string(&file).unwrap();
        let link = text.lines().next().and_then(|line| line.strip_prefix("# yaml-language-server: $schema="));
        let link = link.unwrap_or_else(|| panic!("{} has no modeline", file.display()));
        assert_eq!(file.with_file_name(link).canonicalize().unwrap(), kept, "{}", file.display());
        let shown = quell(&["playbook", "show", file.to_str().unwrap()]).ends(0).out;
        assert_eq!(shown, text, "it is shown as it is");
    }
}
