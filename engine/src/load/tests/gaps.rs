//! What an attack or a slip could pass through if the check were silent: keys without a value, methods and names that
//! there are not, types that cannot fit.

use super::{load, print};

/// What is told of a step `s` of an enforcing playbook, started by a detection.
fn step(body: &str) -> String {
    said(&format!(
        "playbook: p\nmode: enforce\non: {{ detections: {{ level: high }} }}\nlimits: {{ runs: 5/h }}\n\
         inputs: {{ one: {{ type: string, default: ~ }} }}\nsteps:\n  k: {{ tell: x }}\n  s:\n    {}\n",
        body.replace('\n', "\n    ")
    ))
}

fn said(text: &str) -> String {
    print(&load(text).1)
}

fn on(body: &str) -> String {
    said(&format!("playbook: p\non:\n  {}\nsteps: {{ s: {{ tell: x }} }}\n", body.replace('\n', "\n  ")))
}

fn tell(expression: &str) -> String {
    step(&format!("needs: [k]\ntell: |\n  ${{{{ {expression} }}}}"))
}

#[test]
fn a_key_without_a_value_is_no_key_that_nobody_wrote() {
    let kill = "action: process.kill\nwith: { process: x }";
    for (told, key) in [
        (step(&format!("{kill}\napprove:\n#  by: lead")), "approve"),
        (step(&format!("{kill}\nconfirm: ~")), "confirm"),
        (step(&format!("{kill}\nif: # ${{{{ false }}}}")), "if"),
        (step(&format!("{kill}\napprove: {{ by: }}")), "by"),
        (step("action:\nwith: { process: x }"), "action"),
        (step("wait: { until: { rules: } }"), "rules"),
        (on("detections: { level: high }\nif: # ${{ false }}"), "if"),
        (on("detections: { level: high, rules: }"), "rules"),
        (on("detections: { level: high, tags: ~ }"), "tags"),
        (on("detections: # { rules: [reverse-shell] }"), "detections"),
        (said("playbook: p\non:\n#  detections: {}\nsteps: { s: { tell: x } }\n"), "on"),
    ] {
        assert!(told.contains(&format!("error: `{key}` has no value\n")), "{key}: {told}");
        assert!(told.contains(&format!("  expected a value, or no `{key}`\n")), "{key}: {told}");
    }
    // What a value may be is no key.
    assert_eq!(step("action: process.kill\nwith: { process: x, signal: ~ }"), "");
}

/// JSON has no word for them: as inputs they would be `null`.
#[test]
fn a_number_without_an_end_is_told() {
    for (number, shown) in [(".inf", "`.inf`"), ("-.inf", "`-.inf`"), (".NaN", "`.NaN`"), ("1e999", "this")] {
        let told = step(&format!("action: process.kill\nwith: {{ process: x, signal: {number} }}"));
        assert!(told.contains(&format!("error: {shown} is no number that can be counted with\n")), "{told}");
        assert!(told.contains("  expected a number with an end, or text (in quotes)\n"), "{told}");
    }
    assert_eq!(step("needs: [k]\ntell: \".inf\""), "");
}

/// YAML would take the tag's meaning for granted, and the value for what it is without it.
#[test]
fn a_tag_that_means_nothing_is_told_in_every_file() {
    let told = step("action: process.kill\nwith: { process: !env PID }");
    assert!(told.contains("error: the tag `!env` means nothing here\n") && told.contains("secrets.NAME"), "{told}");
    let told = said("playbook: !!binary cA==\nsteps: { s: { tell: x } }\n");
    assert!(told.contains("error: the tag `!!binary` means nothing here\n"), "{told}");
    assert_eq!(step("action: process.kill\nwith: { process: !!str 1 }"), "");
    let file = std::path::Path::new("quell.yaml");
    let (config, mistakes) = crate::load::config(file, "mode: !any observe\nvars: { a: !b c }\n");
    assert!(config.is_none() && print(&mistakes).matches("means nothing here").count() == 2, "{}", print(&mistakes));
    let (people, mistakes) = crate::load::escalation(file, "people: { ana: !b {} }\n", &crate::load::Roles::default());
    assert!(people.is_none() && print(&mistakes).contains("the tag `!b`"), "{}", print(&mistakes));
}

#[test]
fn a_list_of_no_rules_does_not_mean_every_rule() {
    for told in [
        on("detections: { rules: [] }"),
        on("detections: { level: high, tags: [] }"),
        step("wait: { until: { rules: [] } }"),
    ] {
        assert!(told.contains("names none\n") && told.contains("expected at least one, or no `"), "{told}");
    }
}

#[test]
fn what_is_called_must_be_there_and_take_as_much() {
    for (text, what, nearest) in [
        ("event.process.image.ends_wth(\"/sh\")", "there is no method `ends_wth`", "ends_with"),
        ("[1].fliter(|x| x == 1)", "there is no method `fliter`", "filter"),
        ("event.process.args?.lenn()", "there is no method `lenn`", "len"),
        ("globb(\"x\", event.node)", "there is no function `globb`", "glob"),
        ("`${event.node.to_uper()}`", "there is no method `to_uper`", "to_upper"),
    ] {
        let told = tell(text);
        assert!(told.contains(what) && told.contains(&format!("did you mean `{nearest}`?")), "{text}: {told}");
    }
    for (text, what, expected) in [
        ("glob(\"x\")", "`glob` is given 1 argument", "2 arguments"),
        ("event.node.starts_with()", "`starts_with` is given 0 arguments", "1 argument"),
        ("now(1)", "`now` is given 1 argument", "0 arguments"),
        ("event.node.sub_string(1, 2, 3)", "`sub_string` is given 3 arguments", "1 or 2 arguments"),
    ] {
        let told = tell(text);
        assert!(told.contains(&format!("error: {what}\n  |")), "{text}: {told}");
        assert!(told.contains(&format!("expected {expected}\n")), "{text}: {told}");
    }
    for fine in [
        "[1, 2].reduce(|sum, x| sum + x, 0)",
        "event.process.args.filter(|a| a.starts_with(\"-\")).map(|a| a.len()).len()",
        "(now() - time(event.time)).to_string()",
        "event.node.split(\".\")[0].to_upper()",
        "\"x\".glob(event.node)",
        "[3, 1].extract(0, 1).contains(1)",
        "person_of(\"unix\", event.process.uid)",
    ] {
        assert_eq!(tell(fine), "", "{fine}");
    }
    assert_eq!(
        step("script: |\n  fn twice(x) { x * 2 }\n  #{ n: twice(2), m: 2.twice() }").matches("twice`").count(),
        0
    );
}

#[test]
fn names_are_looked_up_wherever_and_however_they_are_written() {
    for (text, what) in [
        ("event.process.parent?.imgae", "there is no `imgae` in `event.process.parent`"),
        ("event.process.parent.stdio.sockt", "there is no `sockt` in `event.process.parent.stdio`"),
        ("event[\"proces\"]", "there is no `proces` in `event`"),
        ("event.process[\"imgae\"] == \"x\"", "there is no `imgae` in `event.process`"),
        ("steps[\"nope\"].told", "there is no step `nope`"),
        ("inputs[\"zz\"]", "there is no `zz` in `inputs`"),
        ("[\"x\"].some(|c| c == \"x\") && c == \"y\"", "there is no `c`"),
        ("inputs.one == \"x\" && [1].map(|d| d).len() == d", "there is no `d`"),
    ] {
        let told = tell(text);
        assert!(told.contains(&format!("error: {what}\n")), "{text}: {told}");
    }
    assert!(tell("event.process.parent?.imgae").contains("did you mean `image`?"));
    for fine in [
        "event.process.parent?.image",
        "event.process.parent?.stdio?.peer",
        "event[\"process\"][\"image\"]",
        "steps[\"k\"].told",
        "inputs[\"one\"]",
        "event.process.ancestors[0].image",
        "event.process.ancestors.len()",
        "[1].map(|a| [2].map(|b| a + b))",
    ] {
        assert_eq!(tell(fine), "", "{fine}");
    }
}

#[test]
fn a_switch_that_would_be_silent_is_refused() {
    let told = tell("switch event.process.uid { \"0\" => \"root\", _ => \"user\" }");
    assert!(
        told.contains("error: the expression cannot be read: ") && told.contains("expected `if` and `else`"),
        "{told}"
    );
}

#[test]
fn a_bare_bool_is_a_condition_and_nothing_else() {
    assert_eq!(step("if: false\ntell: x"), "");
    for told in [
        step("for_each: true\ntell: x"),
        on("detections: { level: high }\nrun_per: false"),
        step("ask: { question: q, person: true, choices: [a, b], otherwise: a }"),
    ] {
        assert!(told.contains("expected one expression: ${{ … }}\n"), "{told}");
    }
}

#[test]
fn a_question_has_no_attempts() {
    let ask = "ask: { question: q, by: lead, choices: [a, b], otherwise: a }";
    for key in ["timeout: 5m", "deadline: 5m", "retry: { attempts: 3 }"] {
        let told = step(&format!("{ask}\n{key}"));
        let word = key.split(':').next().unwrap();
        assert!(told.contains(&format!("error: step `s` asks a person, and has `{word}`\n")), "{told}");
    }
}

#[test]
fn a_default_is_told_as_it_stands_and_so_holds_no_expression() {
    let told = said(
        "playbook: p\ninputs: { r: { type: string, default: \"${{ event.node }}\" } }\nsteps: { s: { tell: x } }\n",
    );
    assert!(told.contains("error: the default of input `r` holds an expression"), "{told}");
}

/// Text beside an expression makes text of it.
#[test]
fn a_text_with_an_expression_in_it_is_text() {
    let input =
        |with: &str| step(&format!("action: process.capture\nwith: {{ process: \"${{{{ event.node }}}}\", {with} }}"));
    for with in ["memory: \"no ${{ event.node }}\"", "max_bytes: \"${{ 1 }}0\""] {
        let told = input(with);
        assert!(told.contains("holds text beside its expression"), "{told}");
    }
    assert_eq!(input("memory: \"${{ event.node == \\\"x\\\" }}\""), "");
    let told = step("action: process.kill\nwith: { process: \"x ${{ event.node }}\", scope: \"x ${{ event.node }}\" }");
    assert!(told.contains("`scope` of `process.kill` holds text") && !told.contains("`process` of"), "{told}");
}

/// JSON's escapes are not all Rhai's.
#[test]
fn a_list_that_is_written_out_is_the_same_list_in_a_run() {
    use crate::playbook::{Expressions, Scope};
    let text = "playbook: p\nsteps:\n  s: { tell: x, for_each: [\"a\\b\\f\\0c\", \"\\\"\\\\\\n\\t\\u0085\", { \"k\\b\": [1, ~] }] }\n";
    let (playbook, mistakes) = load(text);
    let playbook = playbook.unwrap_or_else(|| panic!("{}", print(&mistakes)));
    let list = playbook.steps[0].for_each.as_ref().unwrap();
    let scope = Scope::empty("2026-01-31T12:00:00Z".parse().unwrap());
    let want = serde_json::json!(["a\u{8}\u{c}\0c", "\"\\\n\t\u{85}", { "k\u{8}": [1, null] }]);
    assert_eq!(Expressions::new().eval(&list.list.text, &scope), Ok(want));
}

/// Whoever looks in another way than the check asks for is right too.
#[test]
fn a_look_by_a_variable_or_among_values_is_a_look() {
    let script = |text: &str| step(&format!("script: |\n  {text}"));
    assert_eq!(script("let there = event.pod != (); if there { #{ n: event.pod.name } } else { #{ n: \"\" } }"), "");
    assert_eq!(tell("[\"a\"].contains(event.pod?.name) && event.pod.name == \"a\""), "");
    for told in [
        script("let there = event.pod == (); if there { #{ n: event.pod.name } } else { #{ n: \"\" } }"),
        tell("[\"a\"].contains(event.pod?.name) || event.pod.name == \"a\""),
    ] {
        assert!(told.contains("warning: `event.pod` can be absent\n"), "{told}");
    }
}
