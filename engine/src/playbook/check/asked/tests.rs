//! Where a look counts, and where it does not.

use super::*;

/// The place is marked with `@`.
fn asks(marked: &str) -> bool {
    let at = marked.find('@').unwrap();
    let text = marked.replace('@', "");
    Asked::of(&text, "event.pod").before(at)
}

#[test]
fn a_look_counts_on_the_branch_that_it_leads_to() {
    for text in [
        "event.pod != () && @event.pod.name == \"x\"",
        "event.pod == () || @event.pod.name == \"x\"",
        "() != event.pod && @event.pod.name == \"x\"",
        "(event.pod != ()) && (1 == 1 || @event.pod.name == \"x\")",
        "!(event.pod == ()) && @event.pod.name == \"x\"",
        "!(event.pod == () || 1 == 2) && @event.pod.name == \"x\"",
        "1 == 1 && event.pod != () && @event.pod.name == \"x\"",
        "event.pod?.name == \"x\" && @event.pod.name == \"x\"",
        "event.pod?.name != () && @event.pod.name == \"x\"",
        "event.pod?.name.starts_with(\"x\") && @event.pod.name == \"x\"",
        "if event.pod != () { @event.pod.name } else { \"none\" }",
        "if event.pod == () { \"none\" } else { @event.pod.name }",
        "if event.pod == () { \"none\" } else if 1 == 2 { 1 } else { @event.pod.name }",
        "if 1 == 2 { 1 } else if event.pod != () { @event.pod.name }",
        "\"a\" + if event.pod == () { \"none\" } else { @event.pod.name }",
        "glob(\"x\", if event.pod == () { \"\" } else { @event.pod.name })",
        "[1].some(|one| event.pod != () && @event.pod.name == \"x\")",
        "event.pod != () && [1].some(|one| @event.pod.name == \"x\")",
        "event.pod != () && [1].some(|one| { let a = 1; @event.pod.name == \"x\" })",
        "if event.pod == () { return 1; } @event.pod.name",
        "if event.pod == () || 1 == 2 { throw \"no\" }\nlet a = 1; @event.pod.name",
        "let there = event.pod != () && @event.pod.name == \"x\"; there",
        "`${if event.pod == () { \"-\" } else { @event.pod.name }}`",
        "#{ name: event.pod != () && @event.pod.name == \"x\" }",
        "[\"a\", 'b', `c`, 1].contains(event.pod?.name) && @event.pod.name == \"x\"",
        "!([\"a\"].contains(event.pod?.name.to_lower())) || @event.pod.name == \"x\"",
        "event.pod?.name in [\"a\", \"b\"] && @event.pod.name == \"x\"",
        "event.pod?.name !in [\"a\", \"b\"] || @event.pod.name == \"x\"",
    ] {
        assert!(asks(text), "{text}");
    }
}

#[test]
fn what_a_variable_keeps_of_a_look_is_a_look() {
    for text in [
        "let there = event.pod != (); if there { @event.pod.name }",
        "let there = event.pod != (); there && @event.pod.name == \"x\"",
        "const there = (event.pod != ()) && 1 == 1; if (there) { @event.pod.name }",
        "let gone = event.pod == (); if gone { return \"none\"; } @event.pod.name",
        "let gone = event.pod == (); if !gone { @event.pod.name }",
        "let gone = event.pod == (); if gone { \"none\" } else { @event.pod.name }",
        "let there = event.pod != (); let wanted = there && event.node == \"n\"; if wanted { @event.pod.name }",
        "let there = event.pod?.name == \"x\"; [1].some(|one| there && @event.pod.name == \"x\")",
        "[1].map(|one| { let there = event.pod != (); if there { @event.pod.name } })",
        "let there = event.pod != (); if there == true || 1 == 1 { 1 } if there { @event.pod.name }",
    ] {
        assert!(asks(text), "{text}");
    }
    for text in [
        "let there = event.pod != (); if !there { @event.pod.name }",
        "let there = event.pod != (); if there { 1 } else { @event.pod.name }",
        "let there = event.pod == (); if there { @event.pod.name }",
        "let there = event.container != (); if there { @event.pod.name }",
        "let there = event.pod != () || 1 == 1; if there { @event.pod.name }",
        "let there = event.pod != (); there = true; if there { @event.pod.name }",
        "let there = event.pod != (); there |= true; if there { @event.pod.name }",
        "let there = event.pod != (); [true].for_each(|x| there = x); if there { @event.pod.name }",
        "fn turn() { this = true; } let there = event.pod != (); there.turn(); if there { @event.pod.name }",
        "let there = event.pod != (); let there = true; if there { @event.pod.name }",
        "let there = event.pod != (); [true].map(|there| there && @event.pod.name == \"x\")",
        "let there = event.pod != (); for there in [true] { if there { @event.pod.name } }",
        "if 1 == 1 { let there = event.pod != (); } if there { @event.pod.name }",
        "if there { @event.pod.name } let there = event.pod != ();",
        "let there = there; if there { @event.pod.name }",
        "let there = if 1 == 1 { event.pod != () } else { true }; if there { @event.pod.name }",
    ] {
        assert!(!asks(text), "{text}");
    }
}

#[test]
fn what_is_absent_may_be_among_what_is_not_written_out() {
    for text in [
        "![\"a\"].contains(event.pod?.name) && @event.pod.name == \"x\"",
        "[\"a\", ()].contains(event.pod?.name) && @event.pod.name == \"x\"",
        "[\"a\", vars.b].contains(event.pod?.name) && @event.pod.name == \"x\"",
        "vars.list.contains(event.pod?.name) && @event.pod.name == \"x\"",
        "[].contains(event.pod?.name) && @event.pod.name == \"x\"",
        "[\"a\"].contains(event.pod?.name ?? \"a\") && @event.pod.name == \"x\"",
        "[\"a\"].contains(event.pod?.name + \"a\") && @event.pod.name == \"x\"",
        "[\"a\"].contains(event.container?.id) && @event.pod.name == \"x\"",
        "[\"a\"].contains(event.pod?.name) || @event.pod.name == \"x\"",
        "[\"a\"].any(event.pod?.name) && @event.pod.name == \"x\"",
        "event.pod?.name !in [\"a\"] && @event.pod.name == \"x\"",
        "event.pod?.name in vars.list && @event.pod.name == \"x\"",
    ] {
        assert!(!asks(text), "{text}");
    }
}

#[test]
fn a_look_that_leads_elsewhere_does_not_count() {
    for text in [
        "@event.pod.name == \"x\"",
        "@event.pod.name == \"x\" && event.pod != ()",
        "event.pod == () && @event.pod.name == \"x\"",
        "event.pod != () || @event.pod.name == \"x\"",
        "(event.pod != () || 1 == 1) && @event.pod.name == \"x\"",
        "event.pod?.name != \"x\" && @event.pod.name == \"x\"",
        "event.pod?.name ?? \"x\" == \"x\" && @event.pod.name == \"x\"",
        "event.pods != () && @event.pod.name == \"x\"",
        "event.container != () && @event.pod.name == \"x\"",
        "if event.pod == () { @event.pod.name } else { \"none\" }",
        "if event.pod != () { \"none\" } else { @event.pod.name }",
        "if event.pod != () { \"there\" } @event.pod.name",
        "if event.pod == () { 1 } @event.pod.name",
        "if event.pod != () { return 1; } @event.pod.name",
        "if event.pod == () { return 1; } else { 2 } ; if 1 == 1 { @event.pod.name }",
        "[1].some(|one| event.pod != ()) && @event.pod.name == \"x\"",
        "let there = event.pod != (); @event.pod.name",
    ] {
        assert!(!asks(text), "{text}");
    }
}

#[test]
fn a_class_of_events_has_its_groups() {
    let there = |text: &str, path| Asked::of(text, path).when_true();
    assert!(there("event.class == \"network_connection\"", "event.network"));
    assert!(there("event.class == \"file_event\" || event.class == \"process_creation\"", "event.process"));
    for (text, path) in [
        ("event.class != \"network_connection\"", "event.network"),
        ("event.class == \"file_event\"", "event.network"),
        ("event.class == \"network_connection\" || event.class == \"file_event\"", "event.network"),
        ("event.source == \"network_connection\"", "event.network"),
        ("event.class == \"process_creation\"", "event.pod"),
    ] {
        assert!(!there(text, path), "{text} {path}");
    }
}

#[test]
fn a_condition_that_holds_says_that_something_is_there() {
    let says = |text| Asked::of(text, "event.pod").when_true();
    for text in ["event.pod != ()", "(1 == 1) && event.pod?.name == \"x\"", "!(event.pod == ())"] {
        assert!(says(text), "{text}");
    }
    for text in ["event.pod == ()", "event.pod == () || event.pod?.name == \"x\"", "event.pod?.name != \"x\"", "true"] {
        assert!(!says(text), "{text}");
    }
}
