//! What the reader of names finds, and that no text is too deep or too long for it.

use super::*;

fn paths(text: &str) -> Vec<String> {
    let join = |used: &Use<'_>| used.parts.iter().map(|part| part.name).collect::<Vec<_>>().join(".");
    names(text).uses.iter().map(join).collect()
}

#[test]
fn paths_are_found_and_methods_strings_and_locals_are_not() {
    let rows: &[(&str, &[&str])] = &[
        ("event.process.id", &["event.process.id"]),
        ("event.pod?.namespace == \"event.x\"", &["event.pod.namespace"]),
        ("steps.evidence?.credentials?.filter(|c| c.kind == \"k\" && c.owned) ?? []", &["steps.evidence.credentials"]),
        ("`a ${event.node} ${ #{a: run.id}.a }`", &["event.node", "run.id"]),
        ("let n = inputs.n; n.x + item", &["inputs.n", "item"]),
        ("#{ event: vars.a, b: 1..event.n }", &["vars.a", "event.n"]),
        ("event[\"process\"].id // steps.x", &["event.process.id"]),
        ("steps?[\"a\"][\"b\"] + vars[item.n].x", &["steps.a.b", "vars", "item.n"]),
        ("for (x, i) in detections { x.id }", &["detections"]),
        ("1.5 + evnt.a /* run /* item */ */", &["evnt.a"]),
        ("fn f(a) { a.b } f(event.id)", &["event.id"]),
    ];
    for (text, want) in rows {
        assert_eq!(paths(text), *want, "{text}");
    }
}

#[test]
fn a_path_alone_is_told_from_more() {
    for (text, want) in [
        ("event.process.id", true),
        (" event.pod?.name ", true),
        ("event.args.len()", false),
        ("!event.x", false),
        ("event.x + 1", false),
        ("now()", false),
        ("\"x\"", false),
    ] {
        assert_eq!(names(text).only_a_path, want, "{text}");
    }
}

#[test]
fn an_index_is_no_path_alone() {
    assert!(!names("event[\"process\"]").only_a_path);
}

#[test]
fn what_is_called_is_named_with_its_place_and_how_much_it_is_given() {
    type Called = (&'static str, usize, usize, bool);
    let rows: &[(&str, &[Called])] = &[
        ("glob(\"*\", now()) && x.len()", &[("glob", 0, 2, false), ("now", 10, 0, false), ("len", 22, 1, true)]),
        ("a.b.reduce(|sum, x| sum + x, 0)", &[("reduce", 4, 3, true)]),
        ("a.filter(|x| { f([x, 1], #{ a: 1, b: 2 },) })", &[("filter", 2, 2, true), ("f", 15, 2, false)]),
        ("fn f(a, b) { a } f(1, 2) + (`${g(1, 2)}`).h()", &[("g", 31, 2, false), ("h", 42, 1, true)]),
        ("let m = #{ f: |x| x }; m.f(1)", &[]),
    ];
    for (text, want) in rows {
        let calls = names(text).calls;
        let calls: Vec<_> = calls.iter().map(|c| (c.name, c.at, c.arguments, c.method)).collect();
        assert_eq!(calls, *want, "{text}");
    }
}

/// What one closure calls its item is no variable beside it.
#[test]
fn a_name_holds_only_where_it_was_made() {
    let rows: &[(&str, &[&str])] = &[
        ("[1].some(|c| c == 1) && c == 2", &["c"]),
        ("[1].some(|c| { let d = c; d == 1 }) && d == 2", &["d"]),
        ("[1].map(|a| [2].map(|b| a + b).some(|c| c == a + b))", &["b"]),
        ("[1].reduce(|a, b| a + b, a)", &["a"]),
        ("let x = x; x", &["x"]),
        ("let event = 1; [1].map(|item| 2)", &["event", "item"]),
        ("let f = |a| a + 1; f.call(2) + a", &["a"]),
        ("for (x, i) in x { x + i } i", &["x", "i"]),
        ("for x in [1].filter(|a| { a > 0 }) { x } x", &["x"]),
        ("for x in #{ a: 1 }.keys() { x }", &[]),
        ("fn f(a) { a.b } a", &["a"]),
        ("try { throw 1 } catch (e) { e } e", &["e"]),
        ("if true { let y = 1; y } else { y }", &["y"]),
        ("let z = 1; { let w = z; w + z } + z + w", &["w"]),
        ("let p = |a| |b| a + b; a", &["a"]),
        ("`${ [1].map(|q| q) } ${q}`", &["q"]),
    ];
    for (text, want) in rows {
        assert_eq!(paths(text), *want, "{text}");
    }
}

#[test]
fn no_depth_and_no_length_breaks_the_reading() {
    let n = 10_000;
    for text in [
        format!("{}{}", "`${".repeat(2 * n), "}".repeat(n)),
        "fn ".repeat(10 * n),
        "#".repeat(10 * n),
        "/*".repeat(10 * n),
        "for (".repeat(10 * n),
        "|a".repeat(10 * n),
        "let a ".repeat(10 * n),
    ] {
        // What takes a time that grows with the square of the length would not end in minutes.
        assert!(tokens(&text).len() <= text.len());
        names(&text);
    }
}
