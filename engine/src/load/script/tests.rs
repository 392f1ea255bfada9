//! Scripts as people write them: what they make, and what is said of their mistakes.

use crate::load::tests::{print, with_known};
use crate::load::{playbook, playbook_yaml};
use quell_model::playbook::{Playbook, StepKind};
use quell_model::{Json, Mistake};
use std::path::Path;

mod coin;
mod hostile;
mod mistakes;

fn load_as(file: &str, text: &str) -> (Option<Playbook>, Vec<Mistake>) {
    with_known(|known| playbook(Path::new(file), text, known))
}

fn load(text: &str) -> (Option<Playbook>, Vec<Mistake>) {
    load_as("p.rhai", text)
}

/// A playbook without a mistake.
fn made(text: &str) -> Playbook {
    let (playbook, mistakes) = load(text);
    assert_eq!(print(&mistakes), "", "{text}");
    playbook.unwrap()
}

/// The model without what tells from which text it came.
fn model(playbook: &Playbook) -> Json {
    let mut json = serde_json::to_value(playbook).unwrap();
    for key in ["hash", "file"] {
        json.as_object_mut().unwrap().remove(key);
    }
    json
}

/// The same model, written in YAML and read again.
fn through_yaml(playbook: &Playbook) -> Json {
    let text = playbook_yaml(playbook).unwrap();
    let (read, mistakes) = load_as("p.yaml", &text);
    assert!(!crate::playbook::has_errors(&mistakes), "{}{text}", print(&mistakes));
    model(&read.unwrap())
}

/// Whoever looks for a call looks there.
#[test]
fn the_guide_names_every_call() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/write-a-playbook-in-rhai.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    for (name, _) in super::calls::SIGNATURES {
        assert!(
            guide.contains(&format!("| `{name}("))
                || guide.contains(&format!("`.{name}("))
                || guide.contains(&format!(", `{name}(")),
            "{name}"
        );
    }
}

const WHOLE: &str = r##"
playbook("contain-miner", #{ description: "A miner is frozen and killed.", mode: "enforce" });
on_detection(#{ rules: ["crypto-miner"], tags: ["attack.t1496"], level: "high",
    only_if: "event.process.user != \"builder\"", run_per: x("event.subject"), max_age: "20m" });
limits(#{ runs: "20/h", targets: "5/run" });
input("reason", #{ type: "string", "default": "detected" });

fn told(step) { "steps." + step + "?.killed?.len() ?? 0" }

let p = x("event.process.id");
let freeze = action("freeze", "process.freeze", #{ process: p, scope: "tree" });
let proof = action("evidence", "process.capture", #{ process: p, memory: false })
    .after(freeze).timeout("10s").deadline("1m").on_failure("continue");
let kill = action("kill", "process.kill", #{ process: p, scope: "tree" })
    .after(proof)
    .only_if("event.pod == () || event.pod?.namespace != \"kube-system\"")
    .retry(#{ attempts: 3, backoff: "200ms..2s" });
let count = script("count", `
let n = steps.kill?.killed?.len() ?? 0;
#{ killed: n, many: n > 3 }
`).after([kill]);
let name_it = tell("name_it", "found " + x("item"))
    .after(["evidence"])
    .for_each(x("(steps.evidence?.credentials?.filter(|c| c != \"\") ?? []).extract(0, 20)"), #{ max_parallel: 2, errors: "stop" })
    .mode("observe");
tell("report", `Miner on ${x("event.node")}: ${x(told(kill))} killed, ` + "${{ inputs.reason }}")
    .after([kill, count, name_it]).when("always");
output("killed", x("steps.kill.killed"));
"##;

const SAME: &str = r#"
playbook: contain-miner
description: A miner is frozen and killed.
mode: enforce
on:
  detections: { rules: [crypto-miner], tags: [attack.t1496], level: high }
  if: ${{ event.process.user != "builder" }}
  max_age: 20m
limits: { runs: 20/h, targets: 5/run }
inputs: { reason: { type: string, default: detected } }
steps:
  freeze: { action: process.freeze, with: { process: "${{ event.process.id }}", scope: tree } }
  evidence:
    needs: [freeze]
    action: process.capture
    with: { process: "${{ event.process.id }}", memory: false }
    timeout: 10s
    deadline: 1m
    on_failure: continue
  kill:
    needs: [evidence]
    if: ${{ event.pod == () || event.pod?.namespace != "kube-system" }}
    action: process.kill
    with: { process: "${{ event.process.id }}", scope: tree }
    retry: { attempts: 3, backoff: 200ms..2s }
  count:
    needs: [kill]
    script: |
      let n = steps.kill?.killed?.len() ?? 0;
      #{ killed: n, many: n > 3 }
  name_it:
    needs: [evidence]
    for_each: ${{ (steps.evidence?.credentials?.filter(|c| c != "") ?? []).extract(0, 20) }}
    max_parallel: 2
    errors: stop
    mode: observe
    tell: "found ${{ item }}"
  report:
    needs: [kill, count, name_it]
    when: always
    tell: "Miner on ${{ event.node }}: ${{ steps.kill?.killed?.len() ?? 0 }} killed, ${{ inputs.reason }}"
outputs: { killed: "${{ steps.kill.killed }}" }
"#;

#[test]
fn a_script_makes_what_yaml_would_have_made() {
    let script = made(WHOLE);
    let (yaml, mistakes) = load_as("p.yaml", SAME);
    assert_eq!(print(&mistakes), "");
    assert_eq!(model(&script), model(&yaml.unwrap()));
    assert_eq!((&*script.text, script.hash), (WHOLE, quell_model::Hash::of(WHOLE.as_bytes())));
}

#[test]
fn steps_and_expressions_know_where_they_stand() {
    let script = made(WHOLE);
    let stands = |span: quell_model::Span| {
        let line = WHOLE.lines().nth(span.line as usize - 1).unwrap();
        line.chars().skip(span.column as usize - 1).take(span.length as usize).collect::<String>()
    };
    let ids: Vec<String> = script.steps.iter().map(|step| stands(step.span)).collect();
    assert_eq!(ids, ["\"freeze\"", "\"evidence\"", "\"kill\"", "\"count\"", "\"name_it\"", "\"report\""]);
    assert!(stands(script.on.condition.unwrap().span).starts_with("event.process.user"));
    assert!(stands(script.on.run_per.span).starts_with("event.subject"));
    let each = script.steps[4].for_each.as_ref().unwrap();
    assert!(stands(each.list.span).starts_with("(steps.evidence?"));
    let StepKind::Script(count) = &script.steps[3].kind else { panic!() };
    assert!(stands(count.span).starts_with("let n"), "{count:?}");
}

#[test]
fn loops_and_functions_make_many_steps() {
    let text = r#"
        playbook("sweep");
        fn chain(names, last) {
            for name in names {
                last = tell("look_" + name, "looking at " + name).after(last);
            }
            last
        }
        let last = chain(["a", "b", "c"], tell("begin", "begins"));
        for n in 0..500 { tell(`s${n}`, "x").after(last); }
    "#;
    let playbook = made(text);
    assert_eq!(playbook.steps.len(), 504);
    let needs = |id: &str| playbook.step(&id.into()).unwrap().needs.clone();
    assert_eq!(needs("look_b"), ["look_a".into()]);
    assert_eq!(needs("s499"), ["look_c".into()]);
    assert_eq!(model(&made(text)), through_yaml(&playbook));
}

#[test]
fn what_is_printed_as_yaml_is_the_same_playbook() {
    let script = made(WHOLE);
    assert_eq!(through_yaml(&script), model(&script));
    insta::assert_snapshot!(playbook_yaml(&script).unwrap());
    let (yaml, _) = load_as("p.yaml", SAME);
    assert_eq!(playbook_yaml(&yaml.unwrap()).unwrap(), SAME);
}

#[test]
fn a_step_that_waits_is_written_as_in_yaml() {
    let playbook = made(
        r#"
        playbook("p");
        on_detection(#{ level: "low" });
        let nap = wait("nap", "1h30m");
        wait("second", #{ "until": #{ rules: ["reverse-shell"], level: "high", "if": x("seen.rule == vars.corp_cidrs[0]") },
            timeout: "30m", anywhere: true }).after(nap);
        wait("third", #{ "until": #{ tags: ["attack.t1496"] } }).on_failure("continue");
        "#,
    );
    assert_eq!(through_yaml(&playbook), model(&playbook));
    insta::assert_snapshot!(playbook_yaml(&playbook).unwrap());
}

#[test]
fn a_step_that_escalates_is_written_as_in_yaml() {
    let playbook = made(
        r#"
        playbook("p");
        on_detection(#{ level: "low" });
        let first = escalate("first", "default");
        let second = escalate("second", #{ step: 2 }).after(first).when("failure");
        escalate("third", #{ policy: "default", step: 1 }).after([first, second]).when("always");
        "#,
    );
    assert_eq!(through_yaml(&playbook), model(&playbook));
    let text = playbook_yaml(&playbook).unwrap();
    for line in [
        "    escalate: default\n",
        "    escalate:\n      step: 2\n",
        "    escalate:\n      policy: default\n      step: 1\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn no_value_changes_on_its_way_through_yaml() {
    let nasty = [
        "yes",
        "no",
        "on",
        "~",
        "null",
        "true",
        "010",
        "0x1F",
        "0o14",
        "1_000",
        "1e3",
        ".inf",
        "-.inf",
        ".nan",
        "1.0",
        "-",
        "--- x",
        "...",
        "2026-01-01",
        "12:30:45",
        "",
        " ",
        " x ",
        "a: b",
        "a #b",
        "#",
        "*a",
        "&a",
        "!t",
        "%d",
        "@x",
        "`x`",
        "|",
        ">",
        "{",
        "}",
        "[",
        "]",
        "\\\"",
        "'",
        "''",
        "?",
        "? x",
        ":",
        "- x",
        "<<",
        "=",
        "é\u{1F600}",
        "\\t",
        "a\\nb",
        "a\\nb\\n",
        "\\n",
        "\\na",
        "a\\r\\nb",
        "\\x07",
        "\\n  a\\n b",
        "a \\nb",
        "+1",
        "1.",
        "0b1",
        "NaN",
        "Infinity",
        "~x",
        "1 2",
    ];
    for text in nasty {
        // As a key it would be YAML's merge, and is refused.
        let key = if text == "<<" { "key" } else { text };
        let script = format!(
            "playbook(\"p\"); output(\"a\", [\"{text}\", #{{ \"{key}\": \"x {text}\" }}]); tell(\"s\", \"{text}\"); \
             input(\"b\", #{{ type: \"list\", \"default\": [\"{text}\", (), 1, -7, 1.5, 1e300, true] }});"
        );
        let playbook = made(&script);
        assert_eq!(through_yaml(&playbook), model(&playbook), "{text:?}:\n{}", playbook_yaml(&playbook).unwrap());
    }
}

#[test]
fn no_expression_changes_on_its_way_through_yaml() {
    for text in [
        "[1].map(|c| #{ y: c })",
        "`a: ${1} # b`",
        "\"'\" + '\"'",
        "[1, 2]",
        "#{ a: 1 }.a > 0 && true || !false",
        "if 1 > 0 { \"%\" } else { \"\\n\" }",
        "1 +\n  2 // two\n  + 3",
        "\"}}\"",
        "-1",
        "&a",
    ] {
        let script = format!(
            "playbook(\"p\"); let t = {text:?}; tell(\"s\", \"a \" + x(t)).only_if(t).for_each(x(t), #{{ max_parallel: 1 }}); output(\"o\", x(t));"
        );
        let (playbook, mistakes) = load(&script);
        match playbook {
            Some(playbook) => assert_eq!(through_yaml(&playbook), model(&playbook), "{text}"),
            None => assert!(text == "&a", "{text}: {}", print(&mistakes)),
        }
    }
}

#[test]
fn what_yaml_would_change_is_not_written() {
    for text in ["\u{2028}", "\u{2029}"] {
        let error = playbook_yaml(&made(&format!("playbook(\"p\"); tell(\"s\", \"{text}\");"))).unwrap_err();
        assert!(error.to_string().contains("would not be read as it is"), "{error}");
    }
}

#[test]
fn every_key_that_a_script_writes_is_written_as_yaml() {
    let each = made(
        "playbook(\"p\"); on_detection(#{ level: \"low\" }); let a = tell(\"a\", \"${{ item }}\").for_each([1, \"}}\", #{ b: [2] }]); \
         tell(\"b\", \"x\").after(a).when(\"failure\").on_failure(\"halt\").only_if(true).timeout(duration(\"90s\"));",
    );
    assert_eq!(through_yaml(&each), model(&each));
    assert_eq!(each.steps[1].timeout, std::time::Duration::from_secs(90));
}

/// As no expression has one: `1` where a text is meant would go on as `_`, in silence.
#[test]
fn there_is_no_switch() {
    let text = "playbook(\"p\", #{});\nlet mode = switch 1 { \"1\" => \"a\", _ => \"b\" };\ntell(\"s\", mode);\n";
    let (playbook, mistakes) = load(text);
    assert!(playbook.is_none());
    assert_eq!((mistakes[0].span.line, mistakes[0].span.column), (2, 12), "{mistakes:?}");
    assert_eq!(mistakes[0].expected.as_deref(), Some(crate::playbook::sandbox::NO_SWITCH));
    made("playbook(\"p\", #{});\nlet mode = if 1 == 1 { \"a\" } else { \"b\" };\ntell(\"s\", mode);\n");
}
