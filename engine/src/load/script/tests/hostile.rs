//! Scripts that mean harm: each ends, in bounded time, with a mistake that has a place; and no text breaks the reader.

use super::load;
use crate::load::tests::print;
use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// What this thread has had of the processor: the machine may be busy with others.
fn spent() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap(), u32::try_from(used.tv_nsec).unwrap())
}

/// An unoptimised build with its checks is slower than what ships.
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn hostile_scripts_are_stopped() {
    let deep = format!("let a = {}1{};", "(".repeat(500), ")".repeat(500));
    let giant = format!("tell(\"{}\", \"x\").after(\"{}\");", "a".repeat(100_000), "b".repeat(100_000));
    let large = format!("let a = 1;{}", " ".repeat(300_000));
    let many = (0..2000).map(|n| format!("let v{n} = {n};")).collect::<String>();
    let rows: &[(&str, &str)] = &[
        ("loop {}", "more than 200000 operations"),
        ("let n = 0; while true { n += 1; }", "operations"),
        ("fn f(n) { f(n + 1) } f(0);", "deeper than 16"),
        ("fn f(n) { g(n) } fn g(n) { f(n) } f(0);", "deeper than 16"),
        ("let s = \"x\"; loop { s += s; }", "grew too large"),
        ("let s = \"x\"; s.pad(100000000, \"y\");", "too large"),
        ("let a = []; a.pad(100000000, 0);", "too large"),
        ("let a = [0]; loop { a += a; }", "too large"),
        ("let a = [1]; loop { a.push(a); }", "too large"),
        ("let a = []; loop { a = [a]; }", "too large"),
        ("let a = []; loop { a = [[[[[[[[a]]]]]]]]; }", "too large"),
        ("let a = #{}; loop { a = #{a:[#{a:[#{a:[a]}]}]}; }", "too large"),
        ("let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1; }", "operations|too large"),
        ("let m = #{}; loop { m = #{ a: m, b: m }; }", "too large|operations"),
        ("let b = blob(1000000000, 0);", "too large"),
        ("eval(\"1\");", "eval"),
        ("let f = Fn(\"eval\"); f.call(\"1\");", "eval"),
        ("import \"x\" as y;", "import"),
        ("sleep(100);", "cannot sleep"),
        ("for n in 0..10000000 { tell(`s${n}`, \"x\"); }", "more than 1000 steps"),
        ("for n in 0..10000000 { tell(\"s\", \"x\"); }", "more than 1000 steps"),
        ("for n in 0..10000000 { s.after(s); }", "more than 20000 values|operations"),
        ("for n in 0..10000000 { s.timeout(\"1s\"); }", "more than 20000 values|operations"),
        ("for n in 0..10000000 { s.after(n); }", "more than 100 mistakes|operations"),
        ("for n in 0..10000000 { playbook(`p${n}`); }", "more than 20000 values|operations"),
        ("let t = \"\"; t.pad(200000, \"y\"); for n in 0..100 { output(`o${n}`, t); }", "more than 1048576 bytes"),
        ("let t = \"\"; t.pad(200000, \"y\"); for n in 0..100 { x(t); }", "more than 1048576 bytes"),
        ("let a = []; a.pad(300, 1); for n in 0..100 { output(`a${n}`, [a, a, a]); }", "more than 20000 values"),
        ("let a = 1; for n in 0..40 { a = [a]; } output(\"a\", a);", "nests deeper than 24"),
        ("let a = #{}; for n in 0..40 { a = #{ a: a }; } action(\"a\", \"process.kill\", a);", "nests deeper than 24"),
        ("let f = |x| x; loop { f = f.curry(f); }", "curry"),
        (&deep, "complexity"),
        (&giant, "there is no step"),
        (&large, "larger than 262144 bytes"),
        (&many, "too many variables"),
    ];
    for (text, says) in rows {
        let before = spent();
        let (playbook, mistakes) = load(&format!("playbook(\"p\"); let s = tell(\"s\", \"x\");\n{text}"));
        let (took, said) = (spent() - before, print(&mistakes));
        let text = &text[..text.len().min(80)];
        assert!(playbook.is_none(), "{text}");
        let stopped = says.split('|').any(|says| said.to_lowercase().contains(says));
        assert!(stopped || said.contains("longer than 2000 ms"), "{text}: {}", &said[..said.len().min(2000)]);
        let placed = mistakes.iter().any(|mistake| mistake.span.line == 2) || *says == "larger than 262144 bytes";
        assert!(placed && mistakes.iter().all(|mistake| mistake.expected.is_some()), "{text}: {mistakes:?}");
        assert!(took < BOUND, "{text}: {took:?}");
    }
}

#[test]
fn the_largest_playbook_is_checked_in_bounded_time() {
    let before = spent();
    let one_line = "playbook(\"p\"); let last = []; for n in 0..1000 { \
        last = tell(`s${n}`, `${x(\"evnt.a\")} ${x(\"steps.s0.b\")} é`).after(last).only_if(\"event.nothing\"); }";
    let (playbook, mistakes) = load(&format!("{one_line} /* {} */", "é".repeat(100_000)));
    assert!(playbook.is_none() && mistakes.iter().all(|mistake| mistake.span.line == 1));
    assert!(spent() - before < BOUND, "{:?}", spent() - before);
}

fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "playbook(\"p\");\n",
        "let a = ",
        "tell(\"a\", ",
        "action(\"b\", \"process.kill\", ",
        "script(\"c\", `",
        "#{ process: ",
        "x(\"event.process.id\")",
        "x(\"",
        "${{ ",
        " }}",
        "evnt.x",
        ".after(a)",
        ".after([a, \"b\"])",
        ".for_each([1, x(\"1\")], ",
        ".only_if(\"",
        ".timeout(\"1s\")",
        ".lease(#{ \"for\": ",
        "\"",
        "`",
        "'",
        "${",
        "(",
        ")",
        "}",
        "[",
        "]",
        ",",
        ";",
        ";\n",
        "\\",
        "\\u00e9",
        "é",
        "\u{1F600}",
        "\r",
        "\t",
        "/*",
        "*/",
        "//",
        "|a| a",
        "fn f() { ",
        "\u{0}",
    ]);
    prop_oneof![4 => words.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

#[test]
fn a_carriage_return_that_ends_no_line_leads_to_none_that_is_not_there() {
    let (_, mistakes) = load("playbook(\"a\", #{}); //\r let a = ");
    assert!(!mistakes.is_empty() && mistakes.iter().all(|mistake| mistake.span.line == 1), "{mistakes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_the_reader(pieces in prop::collection::vec(piece(), 0..40)) {
        let (playbook, mistakes) = load(&pieces.concat());
        prop_assert!(playbook.is_some() || !mistakes.is_empty());
        prop_assert!(mistakes.iter().all(|mistake| !mistake.what.is_empty()));
    }

    #[test]
    fn no_value_breaks_the_places(inside in prop::collection::vec(piece(), 0..12), at in 0usize..2400, cut in 0usize..30) {
        let whole = super::WHOLE;
        let start = (0..=at.min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
        let end = (start..=(start + cut).min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(start);
        let text = format!("{}{}{}", &whole[..start], inside.concat(), &whole[end..]);
        let (playbook, mistakes) = load(&text);
        let lines = text.split('\n').count() as u32;
        prop_assert!(mistakes.iter().all(|mistake| mistake.span.line <= lines));
        prop_assert!(playbook.is_some() || !mistakes.is_empty());
    }
}
