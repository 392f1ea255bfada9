//! What of a run an expression reads, known before it is evaluated: only that is made for it.
//!
//! Owns no values. Keeps true: whatever an expression could read is among its reads; one that cannot be compiled reads all.

use super::compiled::Compiled;
use super::expression::{ExpressionError, Expressions};
use super::names;
use super::template::{self, Piece};
use super::values::Wanted;
use quell_model::Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads(BTreeMap<String, Wanted>);

impl Reads {
    /// What a variable is read for; none: it is not.
    pub(crate) fn of(&self, variable: &str) -> Option<&Wanted> {
        self.0.get(variable)
    }

    fn add(&mut self, compiled: &Result<Arc<Compiled>, ExpressionError>) {
        match compiled.as_deref() {
            Ok(Compiled::Path(path)) => self.0.entry(path[0].name().to_owned()).or_default().add_path(&path[1..]),
            Ok(Compiled::Code { wanted, .. }) => {
                for (variable, wanted) in wanted {
                    self.0.entry(variable.clone()).or_default().add(wanted);
                }
            }
            // Whoever evaluates it is told why.
            Err(_) => {}
        }
    }
}

impl Expressions {
    /// What an expression reads (without `${{ }}`).
    pub(crate) fn reads(&self, text: &str) -> Reads {
        let mut reads = Reads::default();
        reads.add(&self.expression(text));
        reads
    }

    /// What a script reads.
    pub(crate) fn script_reads(&self, text: &str) -> Reads {
        let mut reads = Reads::default();
        reads.add(&self.program(text));
        reads
    }

    /// What the strings of a template read.
    pub(crate) fn template_reads(&self, template: &Json) -> Reads {
        let mut reads = Reads::default();
        self.add_template(template, &mut reads);
        reads
    }

    /// What a text reads.
    pub(crate) fn text_reads(&self, text: &str) -> Reads {
        let mut reads = Reads::default();
        self.add_text(text, &mut reads);
        reads
    }

    fn add_template(&self, template: &Json, reads: &mut Reads) {
        match template {
            Json::String(text) => self.add_text(text, reads),
            Json::Array(list) => list.iter().for_each(|item| self.add_template(item, reads)),
            Json::Object(map) => map.values().for_each(|value| self.add_template(value, reads)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn add_text(&self, text: &str, reads: &mut Reads) {
        if !text.contains(template::OPEN) {
            return;
        }
        if let Some(whole) = template::whole(text) {
            return reads.add(&self.expression(whole));
        }
        for piece in template::pieces(text).unwrap_or_default() {
            if let Piece::Expression(range) = piece {
                reads.add(&self.expression(&text[range]));
            }
        }
    }
}

/// Whether what an expression or a script gives is the same as long as these variables are: it reads no other, and not the time.
pub(crate) fn depends_only_on(text: &str, variables: &[&str]) -> bool {
    // A function may be called by its name in a text.
    const UNTOLD: [&str; 3] = ["now", "Fn", "call"];
    let names = names::names(text);
    names.uses.iter().all(|used| variables.contains(&used.root()))
        && names.calls.iter().all(|call| !UNTOLD.contains(&call.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_read_is_told_and_no_more() {
        let all = Expressions::new();
        let step = |reads: &Reads, id: &str| reads.of("steps").and_then(|steps| steps.part(id).cloned());
        let with =
            json!({ "a": "${{ steps.one.outcome }}", "b": ["x ${{ steps.two.items.len() }} y ${{ inputs.n }}"] });
        let reads = all.template_reads(&with);
        assert!(reads.of("inputs").is_some() && reads.of("detections").is_none());
        assert!(step(&reads, "one").is_some_and(|one| one.part("outcome").is_some() && one.part("items").is_none()));
        assert!(step(&reads, "two").is_some_and(|two| two.part("items").is_some()));
        assert!(step(&reads, "three").is_none());
        for whole in
            ["steps", "let all = steps; all.one.outcome", "let id = \"one\"; steps[id].outcome", "steps.keys()"]
        {
            assert!(step(&all.script_reads(whole), "three").is_some(), "`{whole}` may read any step");
        }
        assert!(step(&all.script_reads("steps[\"one\"].outcome"), "three").is_none());
        assert!(step(&all.reads("steps.one"), "one").is_some_and(|one| one.part("items").is_some()));
        assert_eq!(all.text_reads("no expression, ${{ 1 + }} and one that is none"), Reads::default());
    }

    #[test]
    fn what_depends_on_more_than_what_is_named_is_told() {
        let settled = |text| depends_only_on(text, &["event", "vars"]);
        for text in
            ["event.file?.path == vars.path", "let x = event.n; #{ n: x + 1 }", "true", "event.n.some(|n| n > 1)"]
        {
            assert!(settled(text), "{text}");
        }
        for text in [
            "incident.detections > 1",
            "event.n + detections.len()",
            "now() > time(event.time)",
            "let f = Fn(\"now\"); f.call()",
            "`${item}`",
        ] {
            assert!(!settled(text), "{text}");
        }
    }
}
