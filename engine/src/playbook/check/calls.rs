//! Calls: is there such a function or method, and does any of that name take so many arguments.
//!
//! Owns the table of what can be called. Never says what an argument must be: that a value tells, when it is there.
//! Keeps true: what is in the table the engine has, and what is not in it and is no function of the text is a mistake.

use crate::load::found::Found;
use crate::load::reader::{Reader, one_of};
use crate::load::yaml::Place;
use crate::playbook::functions;
use crate::playbook::names::{Call, Names};

/// What can be called, and with how many arguments; of a method the first is what stands before the dot. Of the language,
/// and quell's own.
const CALLS: &[(&str, &[usize])] = &[
    ("abs", &[1]),
    ("acos", &[1]),
    ("acosh", &[1]),
    ("all", &[2]),
    ("append", &[2]),
    ("as_string", &[1]),
    ("asin", &[1]),
    ("asinh", &[1]),
    ("atan", &[1, 2]),
    ("atanh", &[1]),
    ("base64_decode", &[1]),
    ("bits", &[1, 2, 3]),
    ("blob", &[1, 2]),
    ("bytes", &[1]),
    ("ceiling", &[1]),
    ("chars", &[1, 2, 3]),
    ("chop", &[2]),
    ("cidr_contains", &[2]),
    ("clear", &[1]),
    ("contains", &[2]),
    ("cos", &[1]),
    ("cosh", &[1]),
    ("crop", &[2, 3]),
    ("debug", &[1]),
    ("dedup", &[1, 2]),
    ("drain", &[2, 3]),
    ("duration", &[1]),
    ("E", &[0]),
    ("end", &[1]),
    ("ends_with", &[2]),
    ("exp", &[1]),
    ("extract", &[2, 3]),
    ("field", &[2]),
    ("fill_with", &[2]),
    ("filter", &[2]),
    ("find", &[2, 3]),
    ("find_map", &[2, 3]),
    ("floor", &[1]),
    ("Fn", &[1]),
    ("for_each", &[2]),
    ("fraction", &[1]),
    ("get", &[2]),
    ("get_bit", &[2]),
    ("get_bits", &[2, 3]),
    ("glob", &[2]),
    ("hypot", &[2]),
    ("index_of", &[2, 3]),
    ("insert", &[3]),
    ("int", &[1]),
    ("is_anonymous", &[1]),
    ("is_def_fn", &[2]),
    ("is_def_var", &[1]),
    ("is_empty", &[1]),
    ("is_even", &[1]),
    ("is_exclusive", &[1]),
    ("is_finite", &[1]),
    ("is_inclusive", &[1]),
    ("is_infinite", &[1]),
    ("is_nan", &[1]),
    ("is_odd", &[1]),
    ("is_shared", &[1]),
    ("is_zero", &[1]),
    ("json", &[1]),
    ("keys", &[1]),
    ("len", &[1]),
    ("ln", &[1]),
    ("log", &[1, 2]),
    ("make_lower", &[1]),
    ("make_upper", &[1]),
    ("map", &[2]),
    ("max", &[2]),
    ("min", &[2]),
    ("mixin", &[2]),
    ("name", &[1]),
    ("now", &[0]),
    ("order", &[1, 2]),
    ("order_by", &[2]),
    ("order_desc", &[1]),
    ("pad", &[3]),
    ("parse_be_float", &[2, 3]),
    ("parse_be_int", &[2, 3]),
    ("parse_float", &[1]),
    ("parse_int", &[1, 2]),
    ("parse_json", &[1]),
    ("parse_le_float", &[2, 3]),
    ("parse_le_int", &[2, 3]),
    ("person_of", &[1, 2]),
    ("PI", &[0]),
    ("pop", &[1, 2]),
    ("print", &[1]),
    ("push", &[2]),
    ("range", &[2, 3]),
    ("reduce", &[2, 3]),
    ("reduce_rev", &[2, 3]),
    ("remove", &[2]),
    ("replace", &[3]),
    ("retain", &[2, 3]),
    ("reverse", &[1]),
    ("round", &[1]),
    ("set", &[3]),
    ("set_bit", &[3]),
    ("set_bits", &[3, 4]),
    ("set_tag", &[2]),
    ("sha256", &[1]),
    ("shift", &[1]),
    ("sign", &[1]),
    ("sin", &[1]),
    ("sinh", &[1]),
    ("some", &[2]),
    ("sort", &[1, 2]),
    ("sort_by", &[2]),
    ("sort_desc", &[1]),
    ("splice", &[3, 4]),
    ("split", &[1, 2, 3]),
    ("split_rev", &[2, 3]),
    ("sqrt", &[1]),
    ("start", &[1]),
    ("starts_with", &[2]),
    ("sub_string", &[2, 3]),
    ("tag", &[1]),
    ("take", &[1]),
    ("tan", &[1]),
    ("tanh", &[1]),
    ("time", &[1]),
    ("to_array", &[1]),
    ("to_binary", &[1]),
    ("to_blob", &[1]),
    ("to_chars", &[1]),
    ("to_debug", &[1]),
    ("to_degrees", &[1]),
    ("to_float", &[1]),
    ("to_hex", &[1]),
    ("to_int", &[1]),
    ("to_json", &[1]),
    ("to_lower", &[1]),
    ("to_octal", &[1]),
    ("to_radians", &[1]),
    ("to_string", &[1]),
    ("to_upper", &[1]),
    ("trim", &[1]),
    ("truncate", &[2]),
    ("type_of", &[1]),
    ("values", &[1]),
    ("write_ascii", &[3, 4]),
    ("write_be", &[3, 4]),
    ("write_le", &[3, 4]),
    ("write_utf8", &[3, 4]),
    ("zip", &[3]),
];
/// Takes what the function takes that it calls.
const ANY: &str = "call";

/// Holds the calls of a text against what there is; whether all of them are.
pub(super) fn check(reader: &mut Reader<'_>, found: &Found, names: &Names<'_>) -> bool {
    let mut is_right = true;
    for call in &names.calls {
        if call.name == ANY {
            continue;
        }
        let at = found.place(reader.source, call.at, call.name.len());
        match CALLS.iter().find(|(name, _)| *name == call.name) {
            Some((_, counts)) if counts.contains(&call.arguments) => continue,
            Some((_, counts)) => {
                let own = usize::from(call.method);
                let counts: Vec<String> =
                    counts.iter().filter_map(|n| n.checked_sub(own)).map(|n| n.to_string()).collect();
                let given = call.arguments - own;
                let what = format!("`{}` is given {given} {}", call.name, arguments(given));
                let few = counts.as_slice() == ["1"];
                reader.error(at, what, format!("{} {}", one_of(&counts), arguments(usize::from(!few) + 1)));
            }
            None => unknown(reader, at, call),
        }
        is_right = false;
    }
    is_right
}

fn unknown(reader: &mut Reader<'_>, at: Place, call: &Call<'_>) {
    let (kind, expected) = match call.method {
        true => ("method", "a method of Rhai's lists, maps, texts or numbers".to_owned()),
        false => ("function", one_of(functions::NAMES)),
    };
    let mistake = reader.source.error(at, format!("there is no {kind} `{}`", call.name));
    reader.note_near(mistake.expected(expected), call.name, CALLS.iter().map(|(name, _)| *name));
}

fn arguments(count: usize) -> &'static str {
    if count == 1 { "argument" } else { "arguments" }
}

#[cfg(test)]
mod tests {
    use super::super::uses::COMPILER;
    use super::*;
    use crate::playbook::Scope;

    const SAMPLES: &[&str] = &[
        "\"a\"",
        "1",
        "[1]",
        "#{ a: 1 }",
        "|x| x",
        "0..3",
        "0..=3",
        "1.5",
        "'c'",
        "blob(8)",
        "()",
        "true",
        "\"2026-01-31T12:00:00Z\"",
        "\"10.0.0.0/8\"",
        "Fn(\"f\")",
    ];

    /// Whether the engine has a function of that name that takes so many arguments, of whatever kinds.
    fn is_there(name: &str, count: usize) -> bool {
        (0..SAMPLES.len().pow(count as u32)).any(|mut number| {
            let given = (0..count).map(|_| {
                let sample = SAMPLES[number % SAMPLES.len()];
                number /= SAMPLES.len();
                sample
            });
            let text = format!("{name}({})", given.collect::<Vec<_>>().join(", "));
            let scope = Scope::empty("2026-01-31T12:00:00Z".parse().unwrap());
            match COMPILER.eval(&text, &scope) {
                Ok(_) => true,
                Err(error) => !error.what.contains(&format!("no function `{name} (")) && !error.what.contains("absent"),
            }
        })
    }

    #[test]
    fn the_engine_has_every_call_of_the_table_and_no_others_beside_them() {
        let all = CALLS.iter().flat_map(|(name, counts)| counts.iter().map(move |count| (*name, *count)));
        let missing: Vec<_> = all.filter(|(name, count)| !is_there(name, *count)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for (name, count) in [("glob", 1), ("ends_with", 1), ("ends_wth", 2), ("sha256", 2), ("now", 1)] {
            assert!(!is_there(name, count), "{name} {count}");
        }
        for name in functions::NAMES {
            assert!(CALLS.iter().any(|(known, _)| known == name), "{name}");
        }
    }
}
