//! Mistakes in scripts: what is said of each, and where.

use super::load;
use crate::load::tests::print;

/// What is said of a text.
fn said(text: &str) -> String {
    let (playbook, mistakes) = load(text);
    let errors = crate::playbook::has_errors(&mistakes);
    assert_eq!(playbook.is_none(), errors, "half loaded: {}", print(&mistakes));
    assert!(!mistakes.is_empty(), "nothing is said of {text}");
    print(&mistakes)
}

const MANY: &str = r##"playbook("contain-shell", #{ descripton: "many mistakes", mode: "enforced" });
on_detection(#{ rules: ["reverse-shel"], level: "hihg", max_age: 15, rulez: [] });
let wrong = "tre";
let kill = action("kill-tree", "proces.kill", #{ process: x("event.proces.id") });
let look = action("look", "process.capture", #{ process: x("event.process.id"), memry: true }).after("kil");
action("end", "process.kill", #{ process: "a ${{ evnt.node }}", scope: wrong }).after([look, "lok"]).retry(#{ attempst: 3 });
tell("said", "${{ steps.look.exe_sha25 }}" + x("1 + ")).after(look).when("allways").timeout(10);
let a = tell("a", "x"); let b = tell("b", "x").after(a); a.after(b);
script("count", `
    let n = steps.look?.exe_sha256;
    #{ n: nn(n) }
`).after(look);
"##;

#[test]
fn many_mistakes_are_all_told() {
    insta::assert_snapshot!(said(MANY));
}

#[test]
fn every_kind_of_mistake_is_told() {
    let rows: Vec<(&str, &str)> = vec![
        ("empty", ""),
        ("no playbook", "let a = tell(\"a\", \"x\");"),
        ("no steps", "playbook(\"p\");"),
        ("no rhai", "playbook(\"p\");\nlet = 3;"),
        ("unclosed", "playbook(\"p\");\ntell(\"a\", \"x"),
        ("a name of the language as a key", "playbook(\"p\");\ntell(\"a\", \"x\").lease(#{ for: \"1h\" });"),
        ("two playbooks", "playbook(\"p\");\nplaybook(\"q\");\ntell(\"a\", \"x\");"),
        ("name", "playbook(\"P q\");\ntell(\"a\", \"x\");"),
        (
            "two triggers",
            "playbook(\"p\");\non_detection(#{ level: \"low\" });\non_detection(#{ level: \"high\" });\ntell(\"a\", \"x\");",
        ),
        ("two of one id", "playbook(\"p\");\ntell(\"a\", \"x\");\ntell(\"a\", \"y\");"),
        ("id", "playbook(\"p\");\ntell(\"A b\", \"x\");\ntell(\"case\", \"y\");"),
        ("its own need", "playbook(\"p\");\nlet a = tell(\"a\", \"x\");\na.after(a);"),
        ("no such need", "playbook(\"p\");\ntell(\"begin\", \"x\");\ntell(\"a\", \"x\").after(\"begn\");"),
        ("cycle", "playbook(\"p\");\nlet a = tell(\"a\", \"x\");\nlet b = tell(\"b\", \"x\").after(a);\na.after(b);"),
        ("twice", "playbook(\"p\");\ntell(\"a\", \"x\").timeout(\"1s\")\n    .timeout(\"2s\");"),
        ("no function", "playbook(\"p\");\nactoin(\"a\", \"process.kill\", #{ process: \"x\" });"),
        ("arguments", "playbook(\"p\");\naction(\"a\");"),
        ("inside a function", "fn f() {\n  tell(1)\n}\nplaybook(\"p\");\nf();"),
        ("thrown", "playbook(\"p\");\nthrow \"no such host\";"),
        ("absent", "playbook(\"p\");\ntell(\"a\", nothing);"),
        ("not known yet", "playbook(\"p\");\naction(\"a\", \"process.kill\", #{ process: event.process.id });"),
        ("braces", "playbook(\"p\");\ntell(\"a\", \"x\").only_if(\"${{ event.pod != () }}\");"),
        ("time", "playbook(\"p\");\ntell(\"a\", `${now()}`);"),
        ("item", "playbook(\"p\");\ntell(\"a\", x(\"item.id\"));"),
        (
            "for each",
            "playbook(\"p\");\ntell(\"a\", x(\"item\")).for_each(x(\"event.process.args\"), #{ paralel: 3, errors: \"halt\" });",
        ),
        (
            "an expression over lines",
            "playbook(\"p\");\ntell(\"a\", \"x\").only_if(`\n  true &&\n  event.proces.uid == 0`);",
        ),
        ("merge", "playbook(\"p\");\ntell(\"a\", \"x\");\noutput(\"b\", #{ \"<<\": #{} });"),
        ("escapes", "playbook(\"p\");\ntell(\"a\", \"\\\"é\\\" \\u00e9 ${{ evnt.x }}\");"),
    ];
    let all: Vec<String> = rows.iter().map(|(name, text)| format!("== {name}\n{}", said(text))).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn each_call_says_what_it_takes() {
    let rows = [
        "playbook();",
        "playbook(5, #{});",
        "playbook(\"p\", 5);",
        "on_detection([]);",
        "on_detection(#{ rules: \"a\", only_if: 5, run_per: [] });",
        "limits(5);",
        "limits(#{ runs: 20, targets: \"x\" });",
        "input(5, #{ type: \"string\" });",
        "input(\"a\", 5);",
        "output(5, 5);",
        "output(\"a\", || 5);",
        "action(5, \"process.kill\", #{ process: \"x\" });",
        "action(\"a\", 5, #{ process: \"x\" });",
        "action(\"a\", \"process.kill\", 5);",
        "action(\"a\", \"process.kill\", #{ process: s });",
        "script(\"a\", 5);",
        "script(\"a\", x(\"1\"));",
        "tell(5, \"x\").timeout(\"1s\").after(s); tell(\"a\", \"x\").after(tell(5, \"x\")).timeout(1);",
        "tell(\"a\", 5);",
        "tell(\"a\", s);",
        "tell(x(\"a\"), \"x\");",
        "tell(\"a\", x(5));",
        "tell(\"a\", x(\"\"));",
        "tell(\"a\", x(\"1 }} ${ 2\"));",
        "s.after(5);",
        "s.after([s, #{}]);",
        "s.after(x(\"1\"));",
        "s.only_if(5);",
        "s.for_each(5);",
        "s.for_each([1], 5);",
        "s.when(5);",
        "s.timeout(5);",
        "s.deadline([]);",
        "s.retry(3);",
        "s.on_failure(true);",
        "s.mode(#{});",
        "s.lease(\"24h\");",
        "x(\"event.node\").after(s);",
        "5.timeout(\"1s\");",
        "x(\"event.node\");",
    ];
    let said = |row: &str| {
        let named = if row.starts_with("playbook(") { "" } else { "playbook(\"p\"); " };
        said(&format!("{named}let s = tell(\"s\", \"x\");\n{row}"))
    };
    let all: Vec<String> = rows.iter().map(|row| format!("== {row}\n{}", said(row))).collect();
    insta::assert_snapshot!(all.join("\n"));
}
