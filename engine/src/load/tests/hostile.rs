//! Whatever a file holds, reading it ends in a playbook or in mistakes, and never in a panic.

use super::{WHOLE, load};
use proptest::prelude::*;

fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "playbook: p\n",
        "steps:\n",
        "  a:\n",
        "    action: process.kill\n",
        "    tell: ",
        "    needs: [a, b]\n",
        "${{ ",
        " }}",
        "event.process.id",
        "steps.a?.b",
        "\"",
        "'",
        "`",
        "${",
        "}",
        "{",
        "[",
        "]",
        "#",
        " #{",
        ": ",
        "\n",
        "\\",
        "\\u00e9",
        "é",
        "\u{1F600}",
        "|\n",
        ">\n      x\n",
        "|c| c.x",
        "&a ",
        "*a",
        "<<: ",
        "- ",
        "if: ",
        "with: { process: ",
        "/*",
        "*/",
        "//",
        "..",
        "::",
        "0x",
        "1.5",
        "~",
        "\t",
        "\u{0}",
    ]);
    prop_oneof![4 => words.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_the_reader(pieces in prop::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        let (playbook, mistakes) = load(&text);
        prop_assert!(playbook.is_some() || !mistakes.is_empty());
        prop_assert!(mistakes.iter().all(|mistake| !mistake.what.is_empty()));
    }

    #[test]
    fn no_value_breaks_the_places(inside in prop::collection::vec(piece(), 0..12), at in 0usize..2000, cut in 0usize..30) {
        let start = (0..=at.min(WHOLE.len())).rev().find(|at| WHOLE.is_char_boundary(*at)).unwrap_or(0);
        let end = (start..=(start + cut).min(WHOLE.len())).rev().find(|at| WHOLE.is_char_boundary(*at)).unwrap_or(start);
        let text = format!("{}{}{}", &WHOLE[..start], inside.concat(), &WHOLE[end..]);
        let (playbook, mistakes) = load(&text);
        let lines = text.split(['\n', '\r']).count() as u32;
        prop_assert!(mistakes.iter().all(|mistake| mistake.span.line <= lines));
        prop_assert!(playbook.is_some() || !mistakes.is_empty());
    }
}

#[test]
fn no_depth_breaks_the_reader() {
    let deep =
        |open: &str, close: &str, n: usize| format!("playbook: p\nsteps: {}{}\n", open.repeat(n), close.repeat(n));
    for n in [100, 1_000, 10_000, 100_000] {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("[", ""), ("\n- ", "")] {
            let (playbook, mistakes) = load(&deep(open, close, n));
            assert!(playbook.is_none() && !mistakes.is_empty(), "{open} {n}");
        }
    }
    let nested = |n: usize| {
        format!("playbook: p\nsteps: {{ s: {{ tell: \"${{{{ {}1{} }}}}\" }} }}\n", "(".repeat(n), ")".repeat(n))
    };
    for n in [10, 100, 10_000] {
        let (playbook, mistakes) = load(&nested(n));
        assert_eq!(playbook.is_none(), n > 10, "{n}: {mistakes:?}");
    }
    let deep = format!("${{{{ {}{} }}}}", "`${".repeat(20_000), "}".repeat(10_000));
    let (playbook, mistakes) = load(&format!("playbook: p\nsteps: {{ s: {{ tell: '{deep}' }} }}\n"));
    assert!(playbook.is_none() && !mistakes.is_empty());
    let steps: String = (0..500)
        .map(|n| {
            format!("  s{n}: {{ tell: x, needs: [{}] }}\n", if n > 0 { format!("s{}", n - 1) } else { String::new() })
        })
        .collect();
    let (playbook, _) = load(&format!("playbook: p\nsteps:\n{steps}"));
    assert_eq!(playbook.unwrap().steps.len(), 500);
}

/// Each held against all would be a hundred million comparisons.
#[test]
fn ten_thousand_mistakes_among_ten_thousand_names_are_all_told() {
    for body in
        ["needs: [stp_NUMBER], tell: x", "tell: '${{ steps.stp_NUMBER.told }}'", "tell: '${{ steps.st-NUMBER.told }}'"]
    {
        let steps: String = (0..10_000)
            .map(|n| format!("  step_{n:05}: {{ {} }}\n", body.replace("NUMBER", &format!("{n:05}"))))
            .collect();
        let (playbook, mistakes) = load(&format!("playbook: p\nsteps:\n{steps}"));
        assert!(playbook.is_none());
        assert_eq!(mistakes.len(), 10_000, "{body}");
        let last = mistakes.last().unwrap();
        assert!(last.what.starts_with("there is no step `st") && last.expected.is_some(), "{last:?}");
        assert_eq!(last.nearest, None, "{body}: the search has a bound");
    }
    let (_, mistakes) = load("playbook: p\nsteps: { step_1: { needs: [stp_1], tell: x } }\n");
    assert_eq!(mistakes[0].nearest, None, "itself is not meant");
    let (_, mistakes) = load("playbook: p\nsteps: { step_1: { tell: x }, b: { needs: [stp_1], tell: x } }\n");
    assert_eq!(mistakes[0].nearest.as_deref(), Some("step_1"));
}

/// Each use is looked at beside all that stands before it.
#[test]
fn what_is_asked_in_a_very_long_expression_is_looked_at_within_a_bound() {
    let uses = format!("[{}]", vec!["event.pod.name"; 20_000].join(", "));
    let (_, mistakes) = load(&format!("playbook: p\nsteps: {{ s: {{ script: '#{{ a: {uses} }}' }} }}\n"));
    assert!((1..1_000).contains(&mistakes.len()), "{}", mistakes.len());
    let choices = "if 1 == 2 { 1 } else ".repeat(20_000);
    let (playbook, mistakes) =
        load(&format!("playbook: p\nsteps: {{ s: {{ script: '{choices} {{ #{{ a: event.pod.name }} }}' }} }}\n"));
    assert!(playbook.is_some() || !mistakes.is_empty());
}
