//! A playbook as a Mermaid flowchart, which forges and wikis draw.
//!
//! Owns Mermaid's escapes: it has no quoting that holds, but reads `#number;` for any character. Everything that is no
//! letter, digit, space, `_`, `.` or `,` is written so, `%` too, for directives are looked for in the whole text.

use super::fate::{Fate, PLAIN, Shade};
use super::picture::{Picture, Shape};
use std::fmt::Write as _;

impl Picture {
    /// As Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart TD\n");
        put(&mut out, format_args!("  accTitle: {}\n", plain(&format!("{} ({})", self.name, self.about))));
        if !self.description.is_empty() {
            put(&mut out, format_args!("  accDescr: {}\n", plain(&self.description)));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let mut lines = vec![format!("<b>{}</b>", escaped(&node.id)), escaped(&node.does)];
            lines.extend(node.marks.iter().map(|mark| format!("<i>{}</i>", escaped(mark))));
            lines.extend(node.fate.map(|fate| format!("<b>{}</b>", escaped(fate.word()))));
            let (open, close) = match node.shape {
                Shape::Action => ("(", ")"),
                Shape::Script => ("[", "]"),
                Shape::Tell => ("([", "])"),
                Shape::Escalate => (">", "]"),
                Shape::Ask => ("{{", "}}"),
                Shape::Playbook => ("[[", "]]"),
                Shape::Wait => ("[/", "/]"),
            };
            put(&mut out, format_args!("  s{at}{open}\"{}\"{close}\n", lines.join("<br/>")));
        }
        for edge in &self.edges {
            let arrow = if edge.dashed { "-.->" } else { "-->" };
            put(&mut out, format_args!("  s{} {arrow} s{}\n", edge.from, edge.to));
        }
        // A class a shade, in the order in which the boxes first need it.
        let mut classes: Vec<(Shade, Vec<usize>)> = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let shade = node.fate.map_or(PLAIN, Fate::shade);
            match classes.iter_mut().find(|(one, _)| *one == shade) {
                Some((_, members)) => members.push(at),
                None => classes.push((shade, vec![at])),
            }
        }
        for (at, (shade, members)) in classes.iter().enumerate() {
            let members: Vec<String> = members.iter().map(|node| format!("s{node}")).collect();
            put(&mut out, format_args!("  classDef c{at} fill:{},stroke:{},color:#1c2126\n", shade.fill, shade.line));
            put(&mut out, format_args!("  class {} c{at}\n", members.join(",")));
        }
        out
    }
}

/// Text of a label.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || matches!(c, ' ' | '_' | '.' | ',') {
            out.push(c);
        } else {
            put(&mut out, format_args!("#{};", u32::from(c)));
        }
    }
    out
}

/// Text of a line that reads no escapes: without the signs of a directive, a comment, an entity or a tag.
fn plain(text: &str) -> String {
    let other = |c| match c {
        ';' => ',',
        '<' => '‹',
        '>' => '›',
        '{' => '(',
        '}' => ')',
        '%' | '#' => '\u{fffd}',
        c => c,
    };
    text.chars().map(other).collect()
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a String takes everything");
}
