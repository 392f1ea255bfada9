//! Secrets in playbooks: where one may be named, and what is said of it everywhere else.

use super::{actions, print};
use crate::load::{Known, PlaybookSource, SecretFrom, playbook, playbooks};
use quell_model::{ActionSpec, Json, Lane, SecretRef};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used")]
struct CallInput {
    url: String,
    token: SecretRef,
    #[serde(default)]
    second: Option<SecretRef>,
    #[serde(default)]
    data: Json,
}

fn call_input() -> schemars::Schema {
    schemars::schema_for!(CallInput)
}

static CALL: ActionSpec =
    ActionSpec { targets: &[], ..super::spec("api.call", Lane::Notify, call_input, super::kill_output) };
/// Reads, and is given no secret.
static ASK: ActionSpec =
    ActionSpec { targets: &[], ..super::spec("api.ask", Lane::Read, call_input, super::kill_output) };

fn known(look: impl FnOnce(&Known<'_>) -> String) -> String {
    let secrets = BTreeMap::from([("ci_token".into(), SecretFrom::Env("CI_TOKEN".into()))]);
    let actions = actions().into_iter().chain([&CALL, &ASK]).collect();
    look(&Known { actions, secrets: Some(&secrets), ..Known::default() })
}

fn said(steps: &str) -> String {
    let text = format!("playbook: p\nsteps:\n  {}\n", steps.replace('\n', "\n  "));
    known(|known| print(&playbook(Path::new("p.yaml"), &text, known).1))
}

#[test]
fn one_is_named_by_the_input_of_an_action_that_takes_it() {
    let token = "token: \"${{ secrets.ci_token }}\"";
    for right in [
        format!("s: {{ action: api.call, with: {{ url: x, {token} }} }}"),
        format!("s: {{ action: api.call, with: {{ url: x, {token}, second: \"${{{{secrets.ci_token}}}}\" }} }}"),
        format!(
            "s: {{ for_each: [1], action: api.call, with: {{ url: \"${{{{ item }}}}\", {token}, second: null }} }}"
        ),
    ] {
        assert_eq!(said(&right), "", "{right}");
    }
    let script =
        "playbook(\"p\", #{});\naction(\"s\", \"api.call\", #{ url: \"x\", token: x(\"secrets.ci_token\") });\n";
    assert_eq!(known(|known| print(&playbook(Path::new("p.rhai"), script, known).1)), "");
}

#[test]
fn everywhere_else_it_is_a_mistake() {
    let call = |with: &str| format!("s: {{ action: api.call, with: {{ {with} }} }}");
    let token = "url: x, token: \"${{ secrets.ci_token }}\"";
    let rows: Vec<(&str, String)> = vec![
        ("unknown", call("url: x, token: \"${{ secrets.ci_tokn }}\"")),
        ("missing", call("url: x")),
        ("written out", call("url: x, token: hunter2")),
        ("written as what is journaled", call("url: x, token: { secret: hunter2 }")),
        ("from elsewhere", call("url: x, token: \"${{ event.node }}\"")),
        ("in a text", call("url: x, token: \"Bearer ${{ secrets.ci_token }}\"")),
        ("computed", call("url: x, token: \"${{ secrets.ci_token ?? secrets.ci_token }}\"")),
        ("deeper", call("url: x, token: \"${{ secrets.ci_token.value }}\"")),
        ("whole map", call("url: x, token: \"${{ secrets }}\"")),
        ("where none is taken", call("token: \"${{ secrets.ci_token }}\", url: \"${{ secrets.ci_token }}\"")),
        ("in data", call(&format!("{token}, data: {{ a: [\"${{{{ secrets.ci_token }}}}\"] }}"))),
        ("of what only reads", format!("s: {{ action: api.ask, with: {{ {token} }} }}")),
        ("tell", "s: { tell: \"${{ secrets.ci_token }}\" }".into()),
        ("script", "s: { script: \"#{ x: secrets.ci_token }\" }".into()),
        ("if", "s: { tell: x, if: \"${{ secrets.ci_token == \\\"x\\\" }}\" }".into()),
        ("for_each", "s: { for_each: \"${{ [secrets.ci_token] }}\", tell: x }".into()),
        ("ask", "s: { ask: { question: \"${{ secrets.ci_token }}?\", choices: [y, n], otherwise: n } }".into()),
        (
            "wait",
            "s: { wait: { until: { level: high, if: \"${{ secrets.ci_token == seen.rule }}\" }, timeout: 1m } }".into(),
        ),
        ("a variable", "s: { script: \"let secrets = 1; #{}\" }".into()),
        ("a function", "s: { tell: \"${{ secrets(1) }}\" }".into()),
    ];
    let all: Vec<String> = rows.iter().map(|(name, steps)| format!("== {name}\n{}", said(steps))).collect();
    assert!(all.iter().all(|said| said.lines().count() > 1), "not told: {all:?}");
    let all = all.join("\n");
    let hidden = "a value that somebody wrote out is in no line of";
    assert!(!all.contains("hunter2"), "{hidden} {all}");
    insta::assert_snapshot!(all);
}

#[test]
fn triggers_outputs_and_playbooks_that_are_started_see_none() {
    let top = |body: &str| format!("playbook: p\n{body}\n");
    let texts = [
        top("on: { detections: { level: high }, if: \"${{ secrets.ci_token != () }}\" }\nsteps: { s: { tell: x } }"),
        top("on: { detections: { level: high }, run_per: \"${{ secrets.ci_token }}\" }\nsteps: { s: { tell: x } }"),
        top("steps: { s: { tell: x } }\noutputs: { a: \"${{ secrets.ci_token }}\" }"),
        top("steps: { s: { playbook: q, with: { a: \"${{ secrets.ci_token }}\" } } }"),
    ];
    let other = PlaybookSource::Text {
        name: "q.yaml".into(),
        text: "playbook: q\ninputs: { a: { type: string } }\nsteps: { s: { tell: \"${{ inputs.a }}\" } }\n".into(),
    };
    for text in texts {
        let sources = [PlaybookSource::Text { name: "p.yaml".into(), text: text.clone() }, other.clone()];
        let told = known(|known| print(&playbooks(&sources, known).1));
        assert_eq!(told.matches("sees a secret").count(), 1, "{text}\n{told}");
    }
}
