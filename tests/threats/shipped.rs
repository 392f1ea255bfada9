//! What ships stands before the engine's own readers without a mistake, also the exceptions that its pages show.

use quell_engine::detect::{RuleSource, Rules};
use quell_engine::load::{Known, PlaybookSource, playbooks};
use quell_engine::playbook::{Expressions, Scope};
use quell_model::playbook::{Playbook, StepKind};
use quell_model::{OwnedEvent, RuleRef};
use serde_json::{Value, json};

fn rules() -> Vec<RuleSource> {
    let text =
        |file: quell_playbooks::Shipped| RuleSource::Text { name: file.name.to_owned(), text: file.text.to_owned() };
    quell_playbooks::rules().into_iter().map(text).collect()
}

fn shipped_playbooks() -> Vec<PlaybookSource> {
    let text = |file: quell_playbooks::Shipped| PlaybookSource::Text {
        name: file.name.to_owned(),
        text: file.text.to_owned(),
    };
    quell_playbooks::playbooks().into_iter().map(text).collect()
}

/// As the binary knows them.
fn specs() -> Vec<&'static quell_model::ActionSpec> {
    [quell_actions::specs(), quell_kubernetes::specs()].concat()
}

#[test]
fn what_ships_is_loaded_without_a_mistake() {
    let (loaded, report) = Rules::load(&rules(), &[]);
    assert!(
        report.skipped.is_empty() && report.passed_over.is_empty(),
        "{:#?} {:#?}",
        report.skipped,
        report.passed_over
    );
    let silent: Vec<String> = report.never_fires().map(|(line, why)| format!("{}: {why}", line.id)).collect();
    assert!(silent.is_empty(), "these rules can never match: {silent:?}");

    let refs: Vec<RuleRef> = loaded.refs().cloned().collect();
    let known = Known { actions: specs(), rules: Some(&refs), vars: None, ..Known::default() };
    let text = |file: quell_playbooks::Shipped| PlaybookSource::Text {
        name: file.name.to_owned(),
        text: file.text.to_owned(),
    };
    let sources: Vec<PlaybookSource> = quell_playbooks::playbooks().into_iter().map(text).collect();
    let (all, mistakes) = playbooks(&sources, &known);
    assert!(mistakes.is_empty(), "{mistakes:#?}");
    assert_eq!(all.len(), 10);
}

#[test]
fn the_exceptions_on_the_pages_are_exceptions() {
    let mut shown = Vec::new();
    for page in quell_playbooks::pages() {
        for block in page.text.split("```yaml\n").skip(1) {
            let text = block.split("```").next().unwrap().to_owned();
            shown.push(RuleSource::Text { name: page.name.to_owned(), text });
        }
    }
    assert!(shown.len() >= 2);
    let (_, report) = Rules::load(&rules(), &shown);
    assert!(report.skipped.is_empty(), "{:#?}", report.skipped);
    assert_eq!(report.exceptions.len(), shown.len());
}

/// An event of the sensor's, as playbooks read it, with little more than every such event has.
fn event(class: &str, parent: &Value) -> Value {
    let stamp = json!({ "wall": "2026-11-28T12:00:00Z", "boot_ns": 1 });
    let mut own = json!({ "process": { "id": "7.1.1@b", "image": "/usr/bin/cat", "parent": parent } });
    match class {
        "file_event" => own["file"] = json!({ "path": "/etc/shadow" }),
        "network_connection" => own["network"] = json!({ "shell": "8.1.1@b" }),
        _ => {}
    }
    let whole = json!({
        "v": 1, "id": "e-1", "class": class, "source": "sensor", "node": "n1", "at": stamp, "seen": stamp, "logsource": {},
        "sigma": {}, "own": own, "subject": "unknown", "entity": { "kind": "node", "id": "n1", "node": "n1" },
    });
    serde_json::from_value::<OwnedEvent>(whole).unwrap().for_playbooks()
}

/// Goes through a playbook as a run would, each step that acts or tells ending like `end`; gives what was said.
fn walk(playbook: &Playbook, event: &Value, rule: &str, end: &Value) -> String {
    let (expressions, detection) = (Expressions::new(), json!({ "rule": rule }));
    let (mut steps, mut said) = (json!({}), String::new());
    for step in &playbook.steps {
        let scope = Scope { event, detection: &detection, steps: &steps, ..Scope::empty(jiff::Timestamp::UNIX_EPOCH) };
        let wrong = |e| -> Value { panic!("{}/{} on {event}: {e}", playbook.name, step.id) };
        let meant = step.condition.as_ref().is_none_or(|only| match expressions.truth(&only.text, &scope) {
            Ok(meant) => meant,
            Err(e) => wrong(e).is_null(),
        });
        match &step.kind {
            StepKind::Action { with, .. } if meant => {
                let with = expressions.render(with, &scope).unwrap_or_else(wrong);
                assert!(with["process"].is_string(), "{}/{}: {with}", playbook.name, step.id);
            }
            StepKind::Tell(text) => {
                said = expressions.render_text(text, &scope).unwrap_or_else(|e| wrong(e).to_string())
            }
            _ => {}
        }
        steps[step.id.as_str()] = if meant { end.clone() } else { json!({ "outcome": "skipped" }) };
    }
    said
}

#[test]
fn every_expression_has_a_value_whatever_an_event_lacks_and_however_steps_end() {
    let known = Known { actions: specs(), rules: None, vars: None, ..Known::default() };
    let (all, _) = playbooks(&shipped_playbooks(), &known);
    let shell = json!({ "id": "6.1.1@b", "image": "/usr/bin/bash" });
    let well = json!({ "outcome": "verified", "killed": [{}, {}], "exe_sha256": "ab" });
    for (name, class, rule, parent) in [
        ("contain-reverse-shell", "process_creation", "reverse-shell", &Value::Null),
        ("contain-reverse-shell", "process_creation", "reverse-shell-command", &shell),
        ("contain-reverse-shell", "network_connection", "reverse-shell-connects", &Value::Null),
        ("contain-fileless-execution", "process_creation", "fileless-memfd", &Value::Null),
        ("contain-crypto-miner", "process_creation", "crypto-miner-name", &Value::Null),
        ("contain-crypto-miner", "network_connection", "crypto-miner-pool", &shell),
        ("contain-credential-theft", "file_event", "credential-shadow", &Value::Null),
        ("contain-credential-theft", "file_event", "credential-shadow", &shell),
    ] {
        let playbook = all.iter().find(|playbook| playbook.name.as_str() == name).unwrap();
        let event = event(class, parent);
        assert!(walk(playbook, &event, rule, &well).contains("2 processes killed"), "{name} on {class}");
        assert!(walk(playbook, &event, rule, &json!({ "outcome": "failed" })).contains("0 processes killed"), "{name}");
    }
}

/// `secret=$(cat FILE)`: whose shell ends, and whose does not.
#[test]
fn a_shell_ends_with_its_reader_unless_a_person_sits_at_a_terminal() {
    let known = Known { actions: specs(), rules: None, vars: None, ..Known::default() };
    let (all, _) = playbooks(&shipped_playbooks(), &known);
    let playbook = all.iter().find(|playbook| playbook.name.as_str() == "contain-credential-theft").unwrap();
    let step = playbook.steps.iter().find(|step| step.id.as_str() == "freeze_caller").unwrap();
    let ends = |reader: &str, image: &str, tty: Value| {
        let mut event = event("file_event", &json!({ "id": "6.1.1@b", "image": image }));
        event["process"]["tty"] = tty;
        event["process"]["image"] = reader.into();
        let scope = Scope { event: &event, ..Scope::empty(jiff::Timestamp::UNIX_EPOCH) };
        Expressions::new().truth(&step.condition.as_ref().unwrap().text, &scope).unwrap()
    };
    for shell in ["/usr/bin/bash", "/usr/bin/dash", "/tmp/sh"] {
        assert!(ends("/usr/bin/cat", shell, Value::Null), "{shell}");
        assert!(!ends("/usr/bin/cat", shell, json!("pts/0")), "{shell}");
        assert!(!ends("/usr/bin/tar", shell, Value::Null), "a script that archives is not the thief");
    }
    assert!(!ends("/usr/bin/cat", "/usr/bin/ssh", Value::Null) && !ends("/usr/bin/cat", "/usr/sbin/sshd", Value::Null));
}
