//! What expressions give, how they fail, and that none gets out of its bounds.

use super::*;
use serde_json::json;

fn now() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

fn with<T>(look: impl FnOnce(&Expressions, &Scope<'_>) -> T) -> T {
    let event = json!({
        "process": {"id": "b:42:1:2", "user": "web", "uid": 33, "parent": {"pid": 7}, "args": ["sh", "-i"], "stdio": null},
        "pod": null, "node": "n1", "time": "2026-01-31T11:50:00Z",
        "network": {"destination_ip": "10.1.2.3"}
    });
    let steps = json!({
        "kill": {"outcome": "verified", "killed": [{"pid": 1}, {"pid": 2}]},
        "proof": {"outcome": "failed"}, "later": null
    });
    let vars = json!({"corp": ["10.0.0.0/8"], "n": 3});
    let detections = json!([{"id": "d1"}, {"id": "d2"}]);
    let item = json!({"id": "AKIA", "owned": true});
    let scope = Scope {
        event: &event,
        steps: &steps,
        vars: &vars,
        detections: &detections,
        item: &item,
        ..Scope::empty(now())
    };
    look(&Expressions::new(), &scope)
}

fn eval(text: &str) -> Result<Json, String> {
    with(|expressions, scope| expressions.eval(text, scope).map_err(|error| error.to_string()))
}

#[test]
fn expressions_give_what_they_should() {
    let rows: &[(&str, Json)] = &[
        ("event.process.id", json!("b:42:1:2")),
        ("event.pod", json!(null)),
        ("event.pod?.namespace", json!(null)),
        ("event.pod?.owner.kind", json!(null)),
        ("event.pod != ()", json!(false)),
        ("event.process.user != \"builder\"", json!(true)),
        ("event.process.memfd", json!(null)),
        ("event.process.memfd == ()", json!(true)),
        ("event.file == ()", json!(true)),
        ("event.process.args.len()", json!(2)),
        ("event.process.args.len", json!(2)),
        ("event.process.args[0]", json!("sh")),
        ("event[\"node\"]", json!("n1")),
        ("event[\"process\"][\"user\"]", json!("web")),
        ("event.process[\"memfd\"] == ()", json!(true)),
        ("event.process.parent != () && event.process.parent.image != ()", json!(false)),
        ("event.process.parent.len() > 0 && event.process.parent.image == ()", json!(true)),
        ("event.process.uid + vars.n", json!(36)),
        ("steps.kill.killed", json!([{"pid": 1}, {"pid": 2}])),
        ("steps.kill?.killed?.len() ?? 0", json!(2)),
        ("steps.proof?.killed?.len() ?? 0", json!(0)),
        ("steps.later?.killed?.len() ?? 0", json!(0)),
        ("steps.never?.killed ?? []", json!([])),
        ("steps.proof.outcome == \"failed\"", json!(true)),
        ("steps.kill.killed.filter(|p| p.pid > 1).map(|p| p.pid)", json!([2])),
        ("item.owned && item.id.starts_with(\"AK\")", json!(true)),
        ("detections.map(|d| d.id)", json!(["d1", "d2"])),
        ("cidr_contains(vars.corp, event.network.destination_ip)", json!(true)),
        ("cidr_contains(vars.corp, event.process.cwd)", json!(false)),
        ("glob(\"b:*\", event.process.id)", json!(true)),
        ("sha256(\"abc\").sub_string(0, 8)", json!("ba7816bf")),
        ("base64_decode(\"aGk=\")", json!("hi")),
        ("json(\"{\\\"a\\\": [1, null]}\").a", json!([1, null])),
        ("field(event, \"process.user\")", json!("web")),
        ("field(event, \"process.nothing.at.all\")", json!(null)),
        ("field(event.pod, \"x\")", json!(null)),
        ("now()", json!("2026-01-31T12:00:00Z")),
        ("now() - time(event.time) < duration(\"15m\")", json!(true)),
        ("(now() - time(event.time)).seconds", json!(600)),
        ("now() - time(event.time)", json!("10m")),
        ("`${event.process.user} on ${event.node}`", json!("web on n1")),
        ("#{ a: 1.5, b: [true, ()] }", json!({"a": 1.5, "b": [true, null]})),
        ("1 == 1.0", json!(true)),
        ("if event.process.uid == 0 { \"root\" } else { \"user\" }", json!("user")),
        ("\"sh\" in event.process.args", json!(true)),
    ];
    for (text, want) in rows {
        assert_eq!(eval(text).as_ref(), Ok(want), "{text}");
    }
}

#[test]
fn mistakes_are_errors_and_never_a_silent_false() {
    for (text, says) in [
        ("event.proces.id", "there is no `proces` in `event`"),
        ("event.pod.namespace", "`event.pod` is absent; write `event.pod?.namespace`"),
        ("event.pod.namespace == \"x\"", "what stands before `.namespace` is absent"),
        ("event.process.stdio.socket", "`event.process.stdio` is absent"),
        ("event.node.name", "`event.node` has no parts"),
        ("event.proces.id == \"x\"", "there is no `proces`"),
        ("evnt.node", "there is no `evnt` here"),
        ("evnt.node == 1", "there is no `evnt` here"),
        ("0 == \"0\"", "a whole number and text cannot be compared"),
        ("event.process.uid == \"33\"", "a whole number and text cannot be compared"),
        ("event.process.uid != \"33\"", "a whole number and text cannot be compared"),
        ("event.process.uid < \"40\"", "`<` between a whole number and text has no answer"),
        ("event.process.args == \"sh\"", "a list and text cannot be compared"),
        ("[1, 2].contains(\"1\")", "cannot be compared"),
        ("nothing(1)", "there is no function `nothing"),
        ("1 +", "Script is incomplete"),
        ("|x| x", "which is no data"),
        ("cidr_contains(\"ten\", \"10.0.0.1\")", "`ten` is no network"),
        ("throw \"no\"", "Unexpected 'throw'"),
    ] {
        let error = eval(text).expect_err(text);
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn hostile_texts_are_stopped() {
    let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
    let rows: &[(&str, &str)] = &[
        ("let x = 0; loop { x += 1 }", "more than 50000 operations"),
        ("while true {}", "operations"),
        ("fn f(n) { f(n + 1) } f(0)", "deeper than 16"),
        ("let s = \"x\"; loop { s += s }", "grew too large"),
        ("\"x\".pad(100000000, \"y\")", "too large"),
        ("let a = []; a.pad(100000000, 0); a", "too large"),
        ("let a = [0]; loop { a += a }", "too large"),
        ("let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1 }", "operations"),
        ("let b = blob(1000000000, 0); b", "too large"),
        ("eval(\"1\")", "eval"),
        ("import \"x\" as y; y::f()", "import"),
        ("sleep(100)", "cannot sleep"),
        ("let f = Fn(\"eval\"); f.call(\"1\")", "eval"),
        ("let a = [1]; a.push(a); loop { a.push(a) }", "too large"),
        (&deep, "complexity"),
        ("timestamp()", "there is no function"),
        ("let x = [0, 1, 2]; for a in 0..1000000000 { x[0] += a }", "operations"),
        ("range(0, 1000000000).map(|x| x)", ""),
        ("let a = []; a.pad(90000, 1); let b = a; a.filter(|x| b.contains(2)); #{}", "operations"),
        ("let a = []; loop { a = [a]; }", "operations"),
        ("let a = #{}; loop { a = #{ a: a }; }", "operations"),
        ("let a = []; loop { a = [[[[[[[[a]]]]]]]]; }", "operations"),
        ("let a = #{}; loop { a = #{a:[#{a:[#{a:[a]}]}]}; }", "operations"),
        ("let f = |x| x; loop { f = f.curry(f); }", "curry"),
        ("let a = []; for i in 0..65 { a = [a]; } #{ a: a }", "nests deeper than 64"),
        ("let a = []; for i in 0..12000 { a = [a]; } #{ a: a }", "operations"),
    ];
    with(|expressions, scope| {
        for (text, says) in rows {
            let error = expressions.script(text, scope).expect_err(text).to_string();
            let stopped = error.to_lowercase().contains(says) || error.contains("longer than 100 ms");
            assert!(stopped, "{text}: {error}");
        }
    });
}

/// The compiler bounds what is in each other, and is asked before anybody else reads the text.
#[test]
fn no_depth_of_texts_in_texts_ends_the_stack() {
    let deep = format!("{}{}", "`${".repeat(20_000), "}".repeat(10_000));
    let expressions = Expressions::new();
    assert!(expressions.compile(&deep).is_err());
    assert!(expressions.compile_script(&deep).is_err());
    assert_eq!(crate::playbook::secret::named(&format!("${{{{ {deep} }}}}")), None);
}

#[test]
fn a_script_gives_a_map() {
    with(|expressions, scope| {
        let text = "let n = steps.kill.killed.len();\nif n > 1 { return #{ many: true, n: n } }\n#{ many: false }";
        assert_eq!(expressions.script(text, scope), Ok(json!({"many": true, "n": 2})));
        let error = expressions.script("1 + 1", scope).unwrap_err();
        assert!(error.what.contains("gives a map"), "{error}");
        let error = expressions.script("#{\n  a: event.proces.x\n}", scope).unwrap_err();
        assert_eq!(error.place.map(|place| place.0), Some(2), "{error:?}");
    });
}

#[test]
fn templates_keep_types_where_they_are_whole() {
    with(|expressions, scope| {
        let template = json!({
            "process": "${{ event.process.id }}", "n": "${{ vars.n }}", "scope": "tree", "deep": [1, {"k": " ${{ vars.corp }} "}],
            "text": "${{ vars.n }} of ${{ event.process.args }}, pod ${{ event.pod }}"
        });
        let want = json!({
            "process": "b:42:1:2", "n": 3, "scope": "tree", "deep": [1, {"k": ["10.0.0.0/8"]}],
            "text": "3 of sh, -i, pod none"
        });
        assert_eq!(expressions.render(&template, scope), Ok(want));
        assert!(expressions.render_text("${{ event.node", scope).is_err());
    });
}

#[test]
fn a_condition_is_true_or_false_and_nothing_else() {
    with(|expressions, scope| {
        assert_eq!(expressions.truth("vars.n == 3", scope), Ok(true));
        let error = expressions.truth("event.pod", scope).unwrap_err().to_string();
        assert_eq!(error, "`event.pod`: it gives `null`, and true or false is expected");
    });
}

#[test]
fn what_an_attacker_wrote_at_length_can_still_be_asked_about() {
    let event = json!({"process": {"command_line": "x".repeat(200_000), "args": vec!["a"; 20_000], "ancestors": vec!["a"; 2_000]}});
    let scope = Scope { event: &event, ..Scope::empty(now()) };
    let expressions = Expressions::new();
    for (text, want) in [
        ("event.process.command_line.contains(\"y\")", json!(false)),
        ("event.process.command_line == \"x\"", json!(false)),
        ("event.process.args.len() > 3", json!(true)),
        ("event.process.ancestors.contains(\"b\")", json!(false)),
    ] {
        assert_eq!(expressions.eval(text, &scope).as_ref(), Ok(&want), "{text}");
    }
}

/// One call is one operation, however long its text is.
#[test]
fn a_long_glob_is_stopped_by_the_time() {
    let event = json!({"process": {"command_line": "a".repeat(131_072), "cwd": "*a".repeat(500)}});
    let scope = Scope { event: &event, ..Scope::empty(now()) };
    let error = Expressions::new().eval("glob(event.process.cwd, event.process.command_line)", &scope).unwrap_err();
    assert_eq!(error.what, "it runs longer than 100 ms");
}

#[test]
fn person_of_knows_who_is_who_now() {
    use quell_model::people::{People, Person, System};
    let mut people = People::default();
    let mut add = |name: &str, identities: &[(System, &str)]| {
        let identities = identities.iter().map(|(system, text)| (*system, (*text).to_owned())).collect();
        people.people.insert(name.into(), Person { identities, ..Person::default() });
    };
    add("ana", &[(System::Unix, "ana.s"), (System::Kubernetes, "ana@example.org"), (System::Slack, "U1")]);
    add("bo", &[(System::Unix, "1007"), (System::Email, "bo@example.org")]);
    add("eve", &[(System::Unix, "bo@example.org")]);
    let people = Arc::new(people);
    let expressions = Expressions::new();
    let event = json!({ "actor": "U1", "process": { "uid": 1007, "user": "ana.s" } });
    let scope = Scope { event: &event, people: Some(&people), ..Scope::empty(now()) };
    for (text, want) in [
        ("person_of(event.actor)", json!("ana")),
        ("person_of(event.process.user)", json!("ana")),
        ("person_of(event.process.uid)", json!("bo")),
        ("person_of(\"unix\", event.process.uid)", json!("bo")),
        ("person_of(\"kubernetes\", \"ana@example.org\")", json!("ana")),
        ("person_of(\"unix\", \"ana@example.org\")", Json::Null),
        ("person_of(\"bo@example.org\")", Json::Null),
        ("person_of(\"email\", \"bo@example.org\")", json!("bo")),
        ("person_of(event.pod)", Json::Null),
        ("person_of(\"unix\", event.pod)", Json::Null),
        ("person_of(\"nobody\") == ()", json!(true)),
        ("person_of(\"nobody\") ?? \"lead\"", json!("lead")),
    ] {
        assert_eq!(expressions.eval(text, &scope), Ok(want), "{text}");
    }
    let error = expressions.eval("person_of(\"linux\", \"ana\")", &scope).unwrap_err().to_string();
    assert!(error.contains("`linux` is no system of identities: unix, slack"), "{error}");
    let nobody = Scope { people: None, ..scope };
    assert_eq!(expressions.eval("person_of(event.actor)", &nobody), Ok(Json::Null), "nobody is left bound");
}
