//! Tests: an identity that no capture gave as owned is asked about in a case as it is by the daemon.

use crate::detect::Rules;
use crate::load::{Known, playbook};
use crate::trial::{Bench, Coverage, play, read};
use quell_model::action::IDENTITY_MARK;
use quell_model::{ActionSpec, Guarantee, Json, Lane};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

static CAPTURE: ActionSpec = ActionSpec {
    name: "process.capture",
    summary: "",
    input: || schemars::json_schema!({ "type": "object", "properties": { "process": { "type": "string" } } }),
    output: || schemars::json_schema!({ "type": "object", "properties": { "credentials": { "type": "array" } } }),
    lane: Lane::Capture,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &["process"],
    permissions: &[],
    predict: |_| json!({ "credentials": [] }),
};

static REVOKE: ActionSpec = ActionSpec {
    name: "aws.deactivate_access_key",
    input: || {
        let id = json!({ "type": "string", IDENTITY_MARK: "aws_access_key" });
        schemars::json_schema!({ "type": "object", "properties": { "access_key_id": id } })
    },
    output: || schemars::json_schema!({ "type": "object", "properties": {} }),
    lane: Lane::Cloud,
    targets: &["access_key_id"],
    predict: |_| json!({}),
    ..CAPTURE
};

const PLAYBOOK: &str = "playbook: mine\nmode: enforce\non: { detections: { level: high } }\nsteps:\n  \
    look: { action: process.capture, with: { process: \"${{ event.process.id }}\" } }\n  \
    revoke: { needs: [look], action: aws.deactivate_access_key, with: { access_key_id: AKIA1 } }\n";

fn misses(case: &str) -> Vec<String> {
    let known = Known { actions: vec![&CAPTURE, &REVOKE], ..Known::default() };
    let (read_playbook, mistakes) = playbook(Path::new("mine.yaml"), PLAYBOOK, &known);
    let all = [Arc::new(read_playbook.unwrap_or_else(|| panic!("{mistakes:?}")))];
    let rules = vec![quell_model::RuleRef {
        name: "a-rule".into(),
        id: None,
        title: "A rule".into(),
        level: quell_model::Level::High,
        tags: Vec::new(),
    }];
    let known = Known { rules: Some(&rules), ..known };
    let event = "{ class: process_creation, own: { process: { id: \"7.5.1@b\", pid: 7 } } }";
    let text = format!("playbook: mine\ncases:\n  - case: one\n    event: {event}\n    rule: a-rule\n{case}");
    let (suite, mistakes) = read(Path::new("mine.test.yaml"), &text, &all, &known);
    let suite = suite.unwrap_or_else(|| panic!("{mistakes:?}"));
    let scratch = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bench = Bench {
        specs: vec![&CAPTURE, &REVOKE],
        rules: Arc::new(Rules::default()),
        vars: Json::Null,
        scratch: scratch.path().to_owned(),
        runtime: runtime.handle().clone(),
    };
    let mut coverage = Coverage::of(&suite.playbook);
    let played = suite.cases.iter().flat_map(|case| play(&suite, case, &bench, &mut coverage).misses);
    played.map(|miss| format!("{miss:?}")).collect()
}

const OWNED: &str =
    "    mocks: { look: { ok: { credentials: [{ kind: aws_access_key, id: AKIA1, owned: OWNED }] } } }\n";

#[test]
fn what_no_capture_gave_as_owned_ends_in_the_question() {
    let asked = "    expect: { run: failed, asked: [revoke], steps: { revoke: { outcome: denied } } }\n";
    for mocks in [
        String::new(),
        OWNED.replace("OWNED", "false"),
        OWNED.replace("kind: aws_access_key", "kind: azure_client").replace("OWNED", "true"),
    ] {
        let misses = misses(&format!("{mocks}{asked}"));
        assert!(misses.is_empty(), "{mocks}: {misses:?}");
    }
    let answered =
        "    answers: { revoke: approve }\n    expect: { run: succeeded, steps: { revoke: { outcome: verified } } }\n";
    assert_eq!(misses(answered), Vec::<String>::new());
}

#[test]
fn what_a_capture_gave_as_owned_is_acted_on_alone() {
    let owned = OWNED.replace("OWNED", "true");
    let acts = "    expect: { run: succeeded, steps: { revoke: { outcome: verified } } }\n";
    assert_eq!(misses(&format!("{owned}{acts}")), Vec::<String>::new());
}
