//! A playbook as a picture: SVG that stands alone.
//!
//! Owns how it looks. Refers to nothing outside and inside (several may stand in one page), holds no script, and every
//! text is escaped. It brings its own ground, light or dark as its reader prefers, so that it is legible anywhere.

use super::fate::{Fate, PLAIN};
use super::layout::{Pair, Way, layout};
use super::picture::{Node, Picture, Shape};
use std::fmt::Write as _;

/// Of the one font's size: wide enough for any of the fonts that may stand for it.
const CELL: f64 = 7.25;
const LINE: f64 = 16.0;
const PAD: f64 = 12.0;
const MARGIN: f64 = 24.0;
/// Cells of a line in a box, and of one in the heading.
const BOX_CELLS: usize = 34;
const HEADING_CELLS: usize = 64;

const STYLE: &str = "\
.qg-ground{fill:#ffffff;stroke:#d5dae0}.qg-text{fill:#1c2126}.qg-dim{fill:#5a636e}\
.qg-way{fill:none;stroke:#6b7480;stroke-width:1.5}.qg-tip{fill:#6b7480}.qg-dash{stroke-dasharray:6 4}\
.qg-box{stroke-width:1.5}.qg-id{font-weight:bold;fill:#15191d}.qg-does{fill:#1c2126}.qg-mark{fill:#4a525c;font-style:italic}.qg-fate{font-weight:bold}\
@media (prefers-color-scheme:dark){.qg-ground{fill:#1b1f24;stroke:#3a424c}.qg-text{fill:#e8ebee}.qg-dim{fill:#aab3bd}.qg-way{stroke:#98a2ae}.qg-tip{fill:#98a2ae}}";

/// A line of text in a box.
struct Line {
    class: &'static str,
    text: String,
    ink: Option<&'static str>,
}

impl Picture {
    /// As SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let boxes: Vec<Vec<Line>> = self.nodes.iter().map(lines).collect();
        let sizes: Vec<Pair> = boxes.iter().map(|lines| size(lines)).collect();
        let edges: Vec<(usize, usize)> = self.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let placed = layout(&sizes, &edges);
        let heading = self.heading();
        let widest = heading.iter().map(|line| cells(&line.text)).max().unwrap_or(0) as f64 * CELL;
        let top = MARGIN + heading.len() as f64 * LINE + PAD;
        let foot = if self.edges.iter().any(|edge| edge.dashed) { LINE + PAD } else { 0.0 };
        let width = placed.size.0.max(widest) + 2.0 * MARGIN;
        let height = top + placed.size.1 + foot + MARGIN;
        let left = (width - placed.size.0) / 2.0;
        let mut out = String::new();
        put(
            &mut out,
            format_args!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace\" font-size=\"12\">\n"
            ),
        );
        put(&mut out, format_args!("<title>{}</title>\n", escaped(&self.name)));
        put(&mut out, format_args!("<desc>{}</desc>\n<style>{STYLE}</style>\n", escaped(&self.description)));
        put(
            &mut out,
            format_args!(
                "<rect class=\"qg-ground\" x=\"0.5\" y=\"0.5\" width=\"{:.1}\" height=\"{:.1}\" rx=\"8\"/>\n",
                width - 1.0,
                height - 1.0
            ),
        );
        for (at, line) in heading.iter().enumerate() {
            text(&mut out, line, (MARGIN, MARGIN + 12.0 + at as f64 * LINE));
        }
        put(&mut out, format_args!("<g transform=\"translate({left:.1} {top:.1})\">\n"));
        for (edge, way) in self.edges.iter().zip(&placed.ways) {
            line_to(&mut out, way, edge.dashed);
        }
        for ((node, lines), (corner, size)) in self.nodes.iter().zip(&boxes).zip(placed.boxes.iter().zip(&sizes)) {
            one(&mut out, node, lines, *corner, *size);
        }
        out.push_str("</g>\n");
        if foot > 0.0 {
            let line = Line { class: "qg-dim", text: "dashed: only when a need failed".to_owned(), ink: None };
            text(&mut out, &line, (MARGIN, height - MARGIN));
        }
        out.push_str("</svg>\n");
        out
    }

    fn heading(&self) -> Vec<Line> {
        let line = |class, text| Line { class, text, ink: None };
        let mut lines = vec![line("qg-text qg-fate", self.name.clone())];
        lines.extend(wrapped(&self.about, HEADING_CELLS).into_iter().map(|text| line("qg-dim", text)));
        lines.extend(wrapped(&self.description, HEADING_CELLS).into_iter().map(|text| line("qg-text", text)));
        lines
    }
}

fn lines(node: &Node) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |class, text: &str, ink| {
        lines.extend(wrapped(text, BOX_CELLS).into_iter().map(|text| Line { class, text, ink }));
    };
    add("qg-id", &node.id, None);
    add("qg-does", &node.does, None);
    for mark in &node.marks {
        add("qg-mark", mark, None);
    }
    if let Some(fate) = node.fate {
        add("qg-fate", fate.word(), Some(fate.shade().line));
    }
    lines
}

fn size(lines: &[Line]) -> Pair {
    let widest = lines.iter().map(|line| cells(&line.text)).max().unwrap_or(0);
    (widest as f64 * CELL + 2.0 * PAD, lines.len() as f64 * LINE + PAD)
}

fn one(out: &mut String, node: &Node, lines: &[Line], (x, y): Pair, (width, height): Pair) {
    let shade = node.fate.map_or(PLAIN, Fate::shade);
    let round = match node.shape {
        Shape::Action => 6,
        Shape::Script => 0,
        Shape::Tell => 18,
        Shape::Escalate => 9,
        Shape::Ask => 12,
        Shape::Wait => 3,
        Shape::Playbook => 24,
    };
    let said: Vec<&str> = [&node.id, &node.does].into_iter().chain(&node.marks).map(String::as_str).collect();
    let fate = node.fate.map(|fate| format!(": {}", fate.word())).unwrap_or_default();
    put(out, format_args!("<g><title>{}{fate}</title>", escaped(&said.join(", "))));
    put(
        out,
        format_args!(
            "<rect class=\"qg-box\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{round}\" fill=\"{}\" stroke=\"{}\"/>\n",
            shade.fill, shade.line
        ),
    );
    for (at, line) in lines.iter().enumerate() {
        text(out, line, (x + PAD, y + PAD / 2.0 + 12.0 + at as f64 * LINE));
    }
    out.push_str("</g>\n");
}

/// Straight through rows, curved between them, with a tip at its end.
fn line_to(out: &mut String, way: &Way, dashed: bool) {
    let dash = if dashed { " qg-dash" } else { "" };
    let ((mut x, from), (end, tip)) = (way.start, way.end);
    put(out, format_args!("<path class=\"qg-way{dash}\" d=\"M{x:.1} {from:.1}V{:.1}", way.leaves));
    let mut y = way.leaves;
    for (to, top, bottom) in way.passes.iter().copied().chain([(end, way.enters, tip - 5.0)]) {
        let middle = (y + top) / 2.0;
        if (to - x).abs() > 0.05 {
            // The last curve ends where the tip begins, even where the box fills its row.
            let top = top.min(bottom);
            put(out, format_args!("C{x:.1} {middle:.1} {to:.1} {middle:.1} {to:.1} {top:.1}"));
        }
        put(out, format_args!("V{bottom:.1}"));
        (x, y) = (to, bottom);
    }
    put(out, format_args!("\"/><path class=\"qg-tip\" d=\"M{end:.1} {tip:.1}l-4 -7h8z\"/>\n"));
}

fn text(out: &mut String, line: &Line, (x, y): Pair) {
    let ink = line.ink.map(|ink| format!(" fill=\"{ink}\"")).unwrap_or_default();
    put(
        out,
        format_args!("<text class=\"{}\" x=\"{x:.1}\" y=\"{y:.1}\"{ink}>{}</text>\n", line.class, escaped(&line.text)),
    );
}

/// Lines no wider than so many cells: broken between words; a word that is wider, after `_`, `.` or `-`, else anywhere.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut add = |piece: &str, glue: &str| {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() || cells(line) + cells(glue) + cells(piece) <= most {
            line.push_str(if line.is_empty() { "" } else { glue });
            line.push_str(piece);
        } else {
            lines.push(piece.to_owned());
        }
    };
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if cells(word) <= most {
            add(word, " ");
            continue;
        }
        for (at, part) in word.split_inclusive(['_', '.', '-']).enumerate() {
            let glue = if at == 0 { " " } else { "" };
            if cells(part) <= most {
                add(part, glue);
            } else {
                part.chars()
                    .enumerate()
                    .for_each(|(n, c)| add(c.encode_utf8(&mut [0; 4]), if n == 0 { glue } else { "" }));
            }
        }
    }
    lines
}

/// Columns in a font of one width: from the CJK blocks on a character may take two.
fn cells(text: &str) -> usize {
    text.chars().map(|c| if c >= '\u{1100}' { 2 } else { 1 }).sum()
}

/// Text of an element or an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a String takes everything");
}
