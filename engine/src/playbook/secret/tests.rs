//! Places of secrets, right and wrong, and what becomes of a value that would be one.

use super::*;
use quell_model::Guarantee;
use std::collections::BTreeMap;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum Header {
    Plain(String),
    Secret(SecretRef),
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used")]
struct Input {
    url: String,
    token: SecretRef,
    #[serde(default)]
    second: Option<SecretRef>,
    #[serde(default)]
    headers: BTreeMap<String, Header>,
    #[serde(default)]
    keys: Vec<SecretRef>,
    #[serde(default)]
    data: Json,
}

fn spec(lane: Lane) -> ActionSpec {
    ActionSpec {
        name: "api.call",
        summary: "",
        input: || schemars::schema_for!(Input),
        output: || schemars::json_schema!({}),
        lane,
        guarantee: Guarantee::ExactlyOnceInEffect,
        undoable: false,
        asks_by_default: false,
        targets: &[],
        permissions: &[],
        predict: |_| Json::Null,
    }
}

fn rendered(with: &Json, event: &Json) -> Result<Json, String> {
    let schema = schema_of(&spec(Lane::Notify)).unwrap();
    let scope = Scope { event, ..Scope::empty(jiff::Timestamp::UNIX_EPOCH) };
    Expressions::new().render_input(with, &schema, &scope).map_err(|error| error.to_string())
}

#[test]
fn a_secret_is_named_by_a_whole_text_and_by_nothing_else() {
    assert_eq!(named("${{ secrets.ci_token }}"), Some("ci_token"));
    for text in [
        "${{ secrets }}",
        "${{ secrets?.a }}",
        "${{ secrets.a.b }}",
        "${{ secrets.a.len() }}",
        "${{ secrets[\"a\"] }}",
        "x ${{ secrets.a }}",
        "${{ secrets.a }}${{ secrets.b }}",
        "${{ (secrets.a) }}",
        "${{ vars.a }}",
        "secrets.a",
        "",
    ] {
        assert_eq!(named(text), None, "{text}");
    }
}

#[test]
fn an_input_has_references_where_its_schema_takes_secrets() {
    let with = json!({
        "url": "${{ event.url }}/x", "token": "${{ secrets.a }}", "second": "${{ secrets.b }}",
        "headers": { "accept": "${{ event.url }}", "authorization": "${{ secrets.c }}" }, "keys": ["${{ secrets.d }}"],
    });
    let event = json!({ "url": "https://x" });
    let input = rendered(&with, &event).unwrap();
    let of = |name: &str| json!({ "secret": name });
    assert_eq!(
        input,
        json!({
            "url": "https://x/x", "token": of("a"), "second": of("b"),
            "headers": { "accept": "https://x", "authorization": of("c") }, "keys": [of("d")],
        })
    );
    let mut names = references(&input, &schema_of(&spec(Lane::Notify)).unwrap());
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c", "d"].map(Name::from));
    assert!(schema_of(&spec(Lane::Read)).is_none(), "what only reads is given none");
}

#[test]
fn no_value_becomes_a_secret_and_no_secret_a_value() {
    let event = json!({ "map": { "secret": "a" }, "list": [{ "secret": "a" }], "headers": { "h": { "secret": "a" } } });
    let token = "${{ secrets.a }}";
    for with in [
        json!({ "url": "", "token": "${{ event.map }}" }),
        json!({ "url": "", "token": { "secret": "a" } }),
        json!({ "url": "", "token": { "secret": "${{ event.map.secret }}" } }),
        json!({ "url": "", "token": "hunter2" }),
        json!({ "url": "", "token": token, "second": "${{ event.map }}" }),
        json!({ "url": "", "token": token, "headers": "${{ event.headers }}" }),
        json!({ "url": "", "token": token, "headers": { "h": "${{ event.map }}" } }),
        json!({ "url": "", "token": token, "headers": { "h": { "secret": "a" } } }),
        json!({ "url": "", "token": token, "keys": "${{ event.list }}" }),
        json!({ "url": token, "token": token }),
        json!({ "url": "x${{ secrets.a }}", "token": token }),
        json!({ "url": "${{ `x` + secrets.a }}", "token": token }),
        json!({ "url": "", "token": token, "data": token }),
        json!({ "url": "", "token": token, "data": { "deep": [token] } }),
        json!({ "url": "", "token": token, "headers": { "h": "Bearer ${{ secrets.a }}" } }),
    ] {
        let why = rendered(&with, &event).expect_err(&with.to_string());
        assert!(why.contains("secret"), "{with}: {why}");
    }
    // A map of somebody else's that only looks so is data, where no secret is taken.
    let data = json!({ "url": "", "token": token, "data": "${{ event.map }}" });
    let input = rendered(&data, &event).unwrap();
    assert_eq!(references(&input, &schema_of(&spec(Lane::Notify)).unwrap()), ["a".into()]);
    assert_eq!(secrets_of(&spec(Lane::Notify), &input), ["a".into()]);
    assert_eq!(secrets_of(&spec(Lane::Read), &input), [], "what only reads is given none");
    assert!(rendered(&json!({ "url": "", "token": token, "second": null }), &event).is_ok());
}

#[test]
fn scripts_and_expressions_see_none() {
    let all = Expressions::new();
    let empty = Scope::empty(jiff::Timestamp::UNIX_EPOCH);
    for text in [
        "secrets",
        "secrets.a",
        "secrets?.a ?? 1",
        "secrets.a == \"x\"",
        "`${secrets.a}`",
        "secrets.to_string()",
        "to_json(secrets)",
        "sha256(secrets.a)",
        "[secrets.a].len()",
        "secrets[\"a\"]",
        "json(secrets.a)",
    ] {
        let why = all.eval(text, &empty).expect_err(text).to_string();
        assert!(why.contains("no expression sees a secret"), "{text}: {why}");
        assert!(all.script(&format!("let x = {text}; #{{ x: x }}"), &empty).is_err(), "{text}");
    }
    assert!(all.truth("secrets.a != ()", &empty).is_err());
    assert!(all.render_text("a ${{ secrets.a }}", &empty).is_err());
}
