//! `secrets` of a case: no test needs the real ones.
//!
//! Every secret that the playbook, or one that it starts, names has a text without being given one. Keeps true: one that
//! nothing names is a mistake.

use super::read::Against;
use crate::load::SecretFrom;
use crate::load::reader::{Fields, Reader, one_of};
use crate::load::yaml::{Node, Value};
use crate::playbook::secret;
use quell_model::playbook::{Playbook, StepKind};
use quell_model::{Name, Secret};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn read(reader: &mut Reader<'_>, fields: &Fields<'_>, against: &Against<'_>) -> BTreeMap<Name, SecretFrom> {
    let others = against.others.iter().map(|other| &**other);
    let names: BTreeSet<&str> = std::iter::once(against.playbook).chain(others).flat_map(named).collect();
    let stand_in = |name: &str| SecretFrom::Fixed(Secret::new(format!("stand-in for {name}")));
    let mut all: BTreeMap<Name, SecretFrom> = names.iter().map(|name| (Name::from(*name), stand_in(name))).collect();
    let Some(node) = fields.get("secrets") else { return all };
    for entry in reader.map(node, "`secrets`").unwrap_or_default() {
        let name = entry.key.as_str();
        if !names.contains(name) {
            let known: Vec<&str> = names.iter().copied().collect();
            let mistake = reader.source.error(entry.at, format!("no input of the playbook names the secret `{name}`"));
            reader.note_near(mistake.expected(one_of(&known)), name, names.iter().copied());
        } else if let Some(from) = from(reader, name, &entry.value) {
            all.insert(Name::from(name), from);
        }
    }
    all
}

fn named(playbook: &Playbook) -> Vec<&str> {
    let mut found = Vec::new();
    for step in &playbook.steps {
        if let StepKind::Action { with, .. } = &step.kind {
            secret::named_in(with, &mut found);
        }
    }
    found
}

/// A text, or why it cannot be read.
fn from(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<SecretFrom> {
    if let Value::Map(_) = node.value {
        let fields = reader.fields(node, &format!("the secret `{name}`"), &["fail"], &[])?;
        let why = fields.get("fail").map(|node| reader.text(node, "`fail`").map(str::to_owned));
        if why.is_none() {
            reader.error(node.at, format!("the secret `{name}` is nothing"), "a text, or `{ fail: why }`");
        }
        return why.flatten().map(SecretFrom::Nowhere);
    }
    match reader.text(node, &format!("the secret `{name}`"))? {
        "" => {
            reader.error(node.at, format!("the secret `{name}` is empty"), "a text, or `{ fail: why }`");
            None
        }
        text => Some(SecretFrom::Fixed(Secret::new(text))),
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::Rules;
    use crate::load::{Known, playbook};
    use crate::trial::{Bench, Coverage, play, read};
    use quell_model::{ActionSpec, Guarantee, Json, Lane, SecretRef};
    use serde_json::json;
    use std::path::Path;
    use std::sync::Arc;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Input {
        token: SecretRef,
    }

    static CALL: ActionSpec = ActionSpec {
        name: "api.call",
        summary: "",
        input: || schemars::schema_for!(Input),
        output: || schemars::json_schema!({ "type": "object", "properties": { "echo": { "type": "string" } } }),
        lane: Lane::Notify,
        guarantee: Guarantee::ExactlyOnceInEffect,
        undoable: false,
        asks_by_default: false,
        targets: &[],
        permissions: &[],
        predict: |_| json!({ "echo": "" }),
    };

    const PLAYBOOK: &str = "playbook: mine\nmode: enforce\nsteps:\n  \
        send: { action: api.call, with: { token: \"${{ secrets.ci_token }}\" } }\n";

    fn known() -> Known<'static> {
        Known { actions: vec![&CALL], ..Known::default() }
    }

    fn suite(cases: &str) -> (Option<crate::trial::Suite>, String) {
        let (read_playbook, mistakes) = playbook(Path::new("mine.yaml"), PLAYBOOK, &known());
        let all = [Arc::new(read_playbook.unwrap_or_else(|| panic!("{mistakes:?}")))];
        let text = format!("playbook: mine\ncases:\n{cases}");
        let (suite, mistakes) = read(Path::new("mine.test.yaml"), &text, &all, &known());
        let told: Vec<&str> = mistakes.iter().map(|mistake| mistake.what.as_str()).collect();
        (suite, told.join("\n"))
    }

    #[test]
    fn a_case_needs_none_or_gives_its_own() {
        let with = "with: { token: { secret: ci_token } }";
        let cases = format!(
            "  - case: nothing given\n    inputs: {{}}\n    expect: {{ run: succeeded, steps: {{ send: {{ outcome: verified, {with} }} }} }}\n  \
             - case: a text of its own\n    inputs: {{}}\n    secrets: {{ ci_token: hunter2 }}\n    mocks: {{ send: {{ ok: {{ echo: as hunter2 }} }} }}\n    \
               expect: {{ run: succeeded, steps: {{ send: {{ output: {{ echo: as *** }} }} }} }}\n  \
             - case: it cannot be read\n    inputs: {{}}\n    secrets: {{ ci_token: {{ fail: the vault is shut }} }}\n    \
               expect: {{ run: failed, steps: {{ send: {{ outcome: failed, error: \"the secret `ci_token` cannot be read: the vault is shut\" }} }} }}\n"
        );
        let (suite, told) = suite(&cases);
        let suite = suite.unwrap_or_else(|| panic!("{told}"));
        let scratch = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bench = Bench {
            specs: vec![&CALL],
            rules: Arc::new(Rules::default()),
            vars: Json::Null,
            scratch: scratch.path().to_owned(),
            runtime: runtime.handle().clone(),
        };
        let mut coverage = Coverage::of(&suite.playbook);
        for case in &suite.cases {
            let misses = play(&suite, case, &bench, &mut coverage).misses;
            assert!(misses.is_empty(), "{}: {misses:?}", case.name);
        }
    }

    #[test]
    fn what_nothing_names_or_nothing_is_told() {
        let case = |secrets: &str| {
            suite(&format!("  - case: one\n    inputs: {{}}\n    secrets: {secrets}\n    expect: {{ run: failed }}\n"))
                .1
        };
        for (secrets, what) in [
            ("{ ci_tokn: x }", "no input of the playbook names the secret `ci_tokn`"),
            ("{ ci_token: \"\" }", "is empty"),
            ("{ ci_token: {} }", "is nothing"),
            ("{ ci_token: { fial: x } }", "unknown key `fial`"),
            ("[ci_token]", "`secrets` is a list"),
        ] {
            assert!(case(secrets).contains(what), "{secrets}: {}", case(secrets));
        }
    }
}
