//! A playbook as Graphviz's DOT.
//!
//! Owns DOT's escapes (graphviz.org/doc/info/lang.html): within quotes a quote and a backslash are escaped; a label also reads HTML's `&name;`.

use super::fate::{Fate, PLAIN};
use super::picture::{Picture, Shape};
use std::fmt::Write as _;

impl Picture {
    /// As DOT, for `dot -Tsvg` and others.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut out = format!("digraph \"{}\" {{\n", quoted(&self.name));
        let heading = [&self.name, &self.about, &self.description];
        let heading: Vec<String> =
            heading.into_iter().filter(|text| !text.is_empty()).map(|text| label(text)).collect();
        out.push_str("  rankdir=TB;\n  bgcolor=\"transparent\";\n");
        put(
            &mut out,
            format_args!(
                "  graph [fontname=\"Helvetica\", fontcolor=\"#6b7480\", labelloc=\"t\", labeljust=\"l\", label=\"{}\\l\"];\n",
                heading.join("\\l")
            ),
        );
        out.push_str("  node [shape=\"box\", style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11, fontcolor=\"#1c2126\"];\n");
        out.push_str("  edge [color=\"#7a838e\"];\n");
        for node in &self.nodes {
            let shade = node.fate.map_or(PLAIN, Fate::shade);
            let mut lines = vec![label(&node.id), label(&node.does)];
            lines.extend(node.marks.iter().map(|mark| label(mark)));
            lines.extend(node.fate.map(|fate| label(fate.word())));
            let shape = match node.shape {
                Shape::Action => "",
                Shape::Script => ", style=\"filled\"",
                Shape::Tell => ", shape=\"note\", style=\"filled\"",
                Shape::Escalate => ", shape=\"cds\", style=\"filled\"",
                Shape::Ask => ", shape=\"hexagon\", style=\"filled\"",
                Shape::Playbook => ", peripheries=\"2\"",
                Shape::Wait => ", shape=\"parallelogram\", style=\"filled\"",
            };
            put(
                &mut out,
                format_args!(
                    "  \"{}\" [label=\"{}\", fillcolor=\"{}\", color=\"{}\"{shape}];\n",
                    quoted(&node.id),
                    lines.join("\\n"),
                    shade.fill,
                    shade.line
                ),
            );
        }
        for edge in &self.edges {
            let style = if edge.dashed { " [style=\"dashed\"]" } else { "" };
            let (from, to) = (quoted(&self.nodes[edge.from].id), quoted(&self.nodes[edge.to].id));
            put(&mut out, format_args!("  \"{from}\" -> \"{to}\"{style};\n"));
        }
        out.push_str("}\n");
        out
    }
}

/// Text within quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Text of a label: no entity, no escape of its own.
fn label(text: &str) -> String {
    quoted(&text.replace('&', "&amp;"))
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a String takes everything");
}
