//! What is read of right files, pinned: a parser that ends may still have read something else than what stands there.
//!
//! Owns a line or more for each sample and kept file: what it holds, or that it holds nothing and where that shows.

use super::doors::{DOORS, PLAYBOOK, steps, with};
use super::kept;
use quell_engine::adapt;
use quell_engine::detect::{RuleSource, Rules};
use quell_engine::load;
use quell_engine::playbook::{Expressions, Scope};
use quell_engine::trial;
use quell_model::{Hash, Json, Mistake};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// A longer value is pinned by its sum.
const SHOWN: usize = 3_000;
/// Lines of a file, and events of it, that are shown.
const MOST: usize = 20;

fn shown(value: &Json) -> String {
    let text = value.to_string();
    if text.len() <= SHOWN { text } else { format!("{} bytes, {}", text.len(), Hash::of(text.as_bytes())) }
}

fn wrong(mistakes: &[Mistake]) -> String {
    // Not their words, of which some are a library's.
    let first = mistakes.first().map(|mistake| format!(", the first at {}:{}", mistake.span.line, mistake.span.column));
    format!("nothing; mistakes: {}{}", mistakes.len(), first.unwrap_or_default())
}

fn playbook(file: &str, text: &str) -> String {
    let (read, mistakes) = with(|known| load::playbook(Path::new(file), text, known));
    read.map_or_else(|| wrong(&mistakes), |playbook| shown(&steps(&playbook)))
}

fn expressions(text: &str) -> String {
    let expressions = Expressions::new();
    let event =
        json!({ "process": { "id": "4.5.1@n", "image": "/tmp/x", "args": ["a", "bb"] }, "pod": null, "node": "n" });
    let now = jiff::Timestamp::constant(1_767_225_600, 0);
    let scope = Scope { event: &event, ..Scope::empty(now) };
    let each = text.lines().take(MOST).map(|line| match expressions.eval(line, &scope) {
        Ok(value) => shown(&value),
        // Which bound is hit first depends on how the engine was built.
        Err(_) => "no value".to_owned(),
    });
    each.collect::<Vec<_>>().join("\n")
}

fn config(text: &str) -> String {
    let (read, mistakes) = load::config(Path::new("quell.yaml"), text);
    let Some(config) = read else { return wrong(&mistakes) };
    let rows = config.show().into_iter().filter(|row| row.from != "default");
    rows.map(|row| format!("{} = {}", row.key, shown(&row.value))).collect::<Vec<_>>().join("\n")
}

fn rules(text: &str) -> String {
    let (rules, report) = Rules::load(&[RuleSource::Text { name: "r.yml".to_owned(), text: text.to_owned() }], &[]);
    let each: Vec<String> = rules.refs().take(MOST).map(|rule| shown(&json!(rule))).collect();
    if each.is_empty() { wrong(&report.skipped) } else { each.join("\n") }
}

fn test(text: &str) -> String {
    let (playbook, _) = with(|known| load::playbook(Path::new("p.yaml"), PLAYBOOK, known));
    let playbooks = [Arc::new(playbook.expect("the sample is right"))];
    let (suite, mistakes) = with(|known| trial::read(Path::new("p.test.yaml"), text, &playbooks, known));
    let Some(suite) = suite else { return wrong(&mistakes) };
    suite.cases.iter().map(|case| format!("{} on line {}", case.name, case.line.0)).collect::<Vec<_>>().join("\n")
}

fn events(name: &str, bytes: &[u8]) -> String {
    let each = adapt::read(None, Path::new(name), bytes).take(MOST).map(|read| match read {
        Ok(event) => shown(&event.for_playbooks()),
        Err(unreadable) => wrong(&[unreadable.mistake]),
    });
    each.collect::<Vec<_>>().join("\n")
}

fn read(kind: &str, name: &str, bytes: &[u8]) -> String {
    if kind == "event" {
        return events(name, bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
    match kind {
        "playbook" => playbook("p.yaml", text),
        "script" => playbook("p.rhai", text),
        "expression" => expressions(text),
        "config" => config(text),
        "rule" => rules(text),
        "test" => test(text),
        other => panic!("no reader of {other}"),
    }
}

#[test]
fn what_stands_in_a_file_is_what_is_read() {
    for door in DOORS {
        let mut all = String::new();
        let samples =
            door.samples.iter().enumerate().map(|(at, text)| (format!("sample {at}"), text.as_bytes().to_vec()));
        for (name, bytes) in samples.chain(kept(door.kind)) {
            writeln!(all, "== {name}\n{}", read(door.kind, &name, &bytes)).unwrap();
        }
        insta::assert_snapshot!(door.kind, all);
    }
}
