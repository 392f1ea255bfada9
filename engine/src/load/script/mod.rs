//! A playbook that is written as a Rhai script: run once in the sandbox, it gives the tree that YAML would have given.
//!
//! ```text
//! script ──run──▶ calls ──build──▶ tree with places ──▶ the reader and the checks of every playbook
//!                   │                    ▲
//!                   └──── laid beside the text: which literal stands where
//! ```
//!
//! Knows no time and nothing of the world, so that the same text always gives the same playbook: a run that goes on reads
//! it again. Never judges keys, names or graphs. Invariant: a script ends within `sandbox::BUILDING`, whatever it holds.

mod build;
mod calls;
mod laid;
mod value;

use super::reader::one_of;
use super::yaml::{Node, Place, Source};
use crate::playbook::{names, sandbox};
use build::Build;
use calls::{SIGNATURES, Shared};
use quell_model::Mistake;
use rhai::{EvalAltResult, ParseError, ParseErrorType, Position};
use std::path::Path;

/// Bytes of a script: ten thousand lines.
const LONGEST: usize = sandbox::LONGEST_STRING;
/// Variables that a script may have at once: one a step.
const MOST_VARIABLES: usize = build::MOST_STEPS;

/// Items of a list, with all that is in them. Also how deep lists nest, which the script engine walks by recursion.
const MOST_ITEMS: usize = 1000;
/// Entries of a map, the same way: a level of maps takes 2 KiB of the stack of an unoptimised build.
const MOST_ENTRIES: usize = 500;

/// Whether a file is a script, by its name.
pub(crate) fn is_script(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "rhai")
}

/// Runs a script. The tree that it made, with what was noted on the way; or why there is none.
pub(crate) fn tree(source: &Source) -> Result<(Node, Vec<Mistake>), Vec<Mistake>> {
    if source.text.len() > LONGEST {
        let what = format!("the script is larger than {LONGEST} bytes");
        return Err(vec![
            source.error(Place::default(), what).expected("one playbook a script; loops make many steps"),
        ]);
    }
    let shared = Shared::new(Build::new(source));
    let mut engine = sandbox::engine();
    // What a script does wrong is told, and not caught.
    engine
        .disable_symbol("try")
        .set_max_operations(sandbox::BUILDING.operations)
        .set_max_variables(MOST_VARIABLES)
        .set_max_array_size(MOST_ITEMS)
        .set_max_map_size(MOST_ENTRIES);
    calls::register(&mut engine, &shared);
    let _bound = sandbox::bind_building();
    let ran = match engine.compile(&source.text) {
        Ok(program) => engine.run_ast(&program).map_err(|error| stopped(source, &error)),
        Err(error) => Err(unread(source, &error)),
    };
    if let Err(mistake) = ran {
        // What the script has made is not whole, and so no more is said of it.
        let mut mistakes = shared.with(Build::mistakes);
        mistakes.push(mistake);
        return Err(mistakes);
    }
    // The engine keeps the build alive, and is done with.
    shared.with(|build| std::mem::replace(build, Build::new(source))).finish()
}

/// The place that the script engine tells.
fn place(source: &Source, at: Position) -> Place {
    let narrow = |n: Option<usize>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    match at.line() {
        Some(_) => source.place(narrow(at.line()), narrow(at.position()), 1),
        None => Place::default(),
    }
}

/// A script that is no Rhai.
fn unread(source: &Source, error: &ParseError) -> Mistake {
    let ParseError(kind, at) = error;
    let mistake = source.error(place(source, *at), format!("the script cannot be read: {kind}"));
    let rest = &source.text[place(source, *at).offset..];
    let word = rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let is_key = !word.is_empty() && rest[word.len()..].trim_start().starts_with(':');
    match **kind {
        // `#{ for: … }`
        ParseErrorType::MissingToken(..) | ParseErrorType::PropertyExpected if is_key => {
            mistake.expected(format!("a word of the language in quotes where it is a key: \"{word}\""))
        }
        _ if word == "switch" => mistake.expected(sandbox::NO_SWITCH),
        _ => mistake.expected("Rhai, as the how-to of playbooks in Rhai has it"),
    }
}

/// A script that did not come to its end.
fn stopped(source: &Source, error: &EvalAltResult) -> Mistake {
    let (what, at) = sandbox::explain(error);
    let names = || SIGNATURES.iter().map(|(name, _)| *name);
    match innermost(error) {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            let name = signature.split([' ', '(']).next().unwrap_or_default();
            match SIGNATURES.iter().find(|(known, _)| *known == name) {
                Some((_, how)) => {
                    let what = format!("`{name}` cannot be called with {}", given(signature));
                    source.error(place(source, at), what).expected(*how)
                }
                None => {
                    let mistake = source.error(place(source, at), format!("there is no function `{name}`"));
                    mistake.expected(one_of(&names().collect::<Vec<_>>())).nearest(name, names())
                }
            }
        }
        EvalAltResult::ErrorVariableNotFound(name, _) if names::ROOTS.contains(&name.as_str()) => {
            let what = format!("`{name}` is not known yet: it is there when the playbook runs");
            source
                .error(place(source, at), what)
                .expected(format!("x(\"{name}…\"), or \"${{{{ {name}… }}}}\" in a text"))
        }
        _ => {
            let mistake = source.error(place(source, at), format!("the script was stopped: {what}"));
            mistake.expected("a script that makes one playbook and ends")
        }
    }
}

/// What a call was given, of the signature that the script engine looked for.
fn given(signature: &str) -> String {
    let inside = signature.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(inside, _)| inside);
    let word = |kind: &str| match kind.trim() {
        kind if kind.starts_with("&str") => "text".to_owned(),
        "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        "bool" => "true or false".to_owned(),
        "array" => "a list".to_owned(),
        "map" => "a map".to_owned(),
        "Fn" => "a function".to_owned(),
        other => other.to_owned(),
    };
    let words: Vec<String> = inside.split(", ").filter(|kind| !kind.is_empty()).map(word).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn innermost(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => innermost(inner),
        other => other,
    }
}

#[cfg(test)]
mod tests;
