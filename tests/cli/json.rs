//! What `--json` prints: one document, lists as arrays of objects with `id`, pinned shapes.

use super::quell;
use serde_json::Value;

/// Keys and kinds of a document, with one element of each list.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(list) => Value::Array(list.iter().take(1).map(shape).collect()),
        Value::Object(map) => Value::Object(map.iter().map(|(key, v)| (key.clone(), shape(v))).collect()),
    }
}

fn pinned(args: &[&str]) -> String {
    serde_json::to_string_pretty(&shape(&quell(args).ends(0).json())).unwrap()
}

#[test]
fn lists_are_arrays_of_objects_with_an_id() {
    for args in [&["action", "list", "--json"][..], &["playbook", "list", "--json"]] {
        let list = quell(args).ends(0).json();
        let list = list.as_array().unwrap();
        assert!(list.len() >= 4, "{args:?}: {list:?}");
        assert!(list.iter().all(|item| item["id"].is_string()), "{args:?}: {list:?}");
    }
}

#[test]
fn the_shapes_are_pinned() {
    let mut list = quell(&["action", "list", "--json"]).ends(0).json();
    let one = list.as_array_mut().unwrap().iter_mut().find(|item| item["id"] == "process.kill").unwrap();
    // The schemas are pinned where the actions are.
    one["input"] = "schema".into();
    one["output"] = "schema".into();
    insta::assert_snapshot!("action", serde_json::to_string_pretty(one).unwrap());
    insta::assert_snapshot!("playbook_list", pinned(&["playbook", "list", "--json"]));
    insta::assert_snapshot!("completions", pinned(&["completions", "fish", "--json"]));
}

#[test]
fn doctor_says_for_each_thing_how_it_is() {
    let ran = quell(&["doctor", "--json"]);
    assert!(matches!(ran.code, Some(0 | 4)), "{ran:?}");
    let told = ran.json();
    assert!(
        told["checks"].as_array().unwrap().iter().all(|check| check["id"].is_string() && check["state"].is_string())
    );
    let zones = told["checks"].as_array().unwrap().iter().find(|check| check["id"] == "time zones").unwrap();
    assert!(zones["why"].as_str().unwrap().contains(" of tzdb 20"), "{zones}");
    assert!(told["protected"].as_array().unwrap().iter().all(|file| file["id"].is_string()));
    assert_eq!(ran.code == Some(0), told["ok"] == true);
}

#[test]
fn the_configuration_says_where_each_value_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = super::write(dir.path(), "quell.yaml", "mode: enforce\n");
    let told = quell(&["config", "show", "--config", file.to_str().unwrap(), "--json"]).ends(0).json();
    let values = told.as_array().unwrap();
    let mode = values.iter().find(|value| value["id"] == "mode").unwrap();
    assert_eq!(mode["value"], "enforce");
    assert!(mode["from"].as_str().unwrap().contains("quell.yaml"), "{mode}");
    assert!(values.iter().any(|value| value["from"] == "default"), "{told}");
}

#[test]
fn no_colour_where_nobody_looks() {
    for args in [&["action", "list"][..], &["playbook", "list"], &["doctor"], &["action", "show", "process.kill"]] {
        let ran = quell(args);
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{args:?}");
    }
}

/// Names of capitals and small letters mixed look like tokens, but for those of variables that are there.
#[test]
fn a_variable_that_is_there_may_be_called_as_it_likes() {
    let dir = tempfile::tempdir().unwrap();
    let text = "secrets: { db: { env: TF_VAR_dbPassword } }\n";
    let file = super::write(dir.path(), "quell.yaml", text);
    let args = ["config", "check", file.to_str().unwrap()];
    let refused = quell(&args).ends(1);
    assert!(!refused.err.contains("dbPassword") && !refused.out.contains("dbPassword"), "{refused:?}");
    let there = super::command(&args).env("TF_VAR_dbPassword", "hunter2").output().unwrap();
    super::Ran::of(there).ends(0);
}
