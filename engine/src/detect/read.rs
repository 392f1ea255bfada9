//! Files → rules, correlations and exceptions, each with its place; every mistake with its place too.
//!
//! rsigma reads what a rule means; its errors name no place, so the place is looked up in our own marked tree.
//! YAML that is no Sigma document (a playbook, a manifest) is passed over and named, never an error.

use super::files::RuleFile;
use super::marked::{Found, Marked, NESTED, documents};
use quell_model::{Mistake, MistakeLevel, Span};
use rsigma_parser::{SigmaCollection, SigmaDocument, parse_sigma_yaml};
use std::path::PathBuf;
use std::sync::Arc;

/// A document that rsigma could read.
pub(super) struct Read {
    pub(super) what: SigmaDocument,
    pub(super) file: PathBuf,
    pub(super) source: usize,
    /// The file's name without its ending, with `-2`, `-3` … for the further documents of a file.
    pub(super) stem: String,
    pub(super) marked: Marked,
    /// The whole file, for the line that a mistake quotes.
    pub(super) lines: Arc<[String]>,
}

impl Read {
    /// A mistake about this document, with its line quoted.
    pub(super) fn mistake(&self, level: MistakeLevel, span: Span, what: impl Into<String>) -> Mistake {
        quote(Mistake::new(level, &self.file, span, what), &self.lines)
    }

    /// What rsigma said about this document, at its place.
    pub(super) fn placed(&self, level: MistakeLevel, error: &str) -> Mistake {
        quote(place(level, &self.file, &self.marked, error), &self.lines)
    }
}

/// The documents of a file; what is wrong goes to `mistakes`, YAML of another kind to `passed`.
pub(super) fn read(file: &RuleFile, out: &mut Vec<Read>, mistakes: &mut Vec<Mistake>, passed: &mut Vec<Mistake>) {
    let lines: Arc<[String]> = file.text.lines().map(str::to_owned).collect();
    let stem = file.path.file_stem().map_or_else(|| "rule".into(), |stem| stem.to_string_lossy().into_owned());
    let mut count = 0;
    let mut keep = |what, marked, out: &mut Vec<Read>| {
        count += 1;
        let stem = if count == 1 { stem.clone() } else { format!("{stem}-{count}") };
        out.push(Read { what, file: file.path.clone(), source: file.source, stem, marked, lines: lines.clone() });
    };
    let mut read_documents = Vec::new();
    for (before, text) in documents(&file.text) {
        match Marked::read(text, before) {
            Ok(marked) => {
                if let Some((nested, span)) = marked.deep_condition() {
                    let what = format!("the condition has {nested} brackets and `not`s; the most is {NESTED}");
                    mistakes.push(quote(Mistake::error(&file.path, span, what), &lines));
                    return;
                }
                read_documents.push((text, marked));
            }
            Err((span, why)) => {
                // A syntax error leaves nothing else of the file to trust.
                mistakes.push(quote(Mistake::error(&file.path, span, format!("is no YAML: {why}")), &lines));
                return;
            }
        }
    }
    if read_documents.iter().any(|(_, marked)| is_collection(marked)) {
        return read_collection(file, &lines, read_documents, &mut keep, out, mistakes);
    }
    for (text, marked) in read_documents {
        if marked.is_empty() {
            continue;
        }
        if !is_sigma(&marked) {
            let what =
                if marked.is_map() { "no Sigma rule: passed over" } else { "no map, so no Sigma rule: passed over" };
            passed.push(Mistake::new(MistakeLevel::Note, &file.path, marked.start(), what));
            continue;
        }
        let collection = match parse_sigma_yaml(text) {
            Ok(collection) => collection,
            Err(error) => SigmaCollection { errors: vec![error.to_string()], ..SigmaCollection::new() },
        };
        let usable = !collection.is_empty();
        let level = if usable { MistakeLevel::Warning } else { MistakeLevel::Error };
        for error in &collection.errors {
            mistakes.push(quote(place(level, &file.path, &marked, error), &lines));
        }
        if !usable && collection.errors.is_empty() {
            mistakes.push(quote(Mistake::error(&file.path, marked.start(), "holds no rule that can be read"), &lines));
        }
        if let Some(what) = pieces(collection).into_iter().next() {
            keep(what, marked, out);
        }
    }
}

/// The most documents of a collection: each is read with all before it.
const COLLECTED: usize = 100;

/// With `action: global` and its like a document means something only after those before it: what the file says up to
/// its end, and did not say without it, is its own.
fn read_collection(
    file: &RuleFile,
    lines: &[String],
    documents: Vec<(&str, Marked)>,
    keep: &mut dyn FnMut(SigmaDocument, Marked, &mut Vec<Read>),
    out: &mut Vec<Read>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut before = SigmaCollection::new();
    for (at, (text, marked)) in documents.into_iter().enumerate() {
        if at == COLLECTED {
            let what = format!("more than {COLLECTED} documents share what is global");
            mistakes.push(quote(Mistake::error(&file.path, marked.start(), what), lines));
            return;
        }
        let end = text.as_ptr() as usize - file.text.as_ptr() as usize + text.len();
        let mut so_far = match parse_sigma_yaml(&file.text[..end]) {
            Ok(so_far) => so_far,
            Err(error) => {
                mistakes.push(quote(Mistake::error(&file.path, marked.start(), error.to_string()), lines));
                return;
            }
        };
        let grown = so_far.len() > before.len();
        let level = if grown { MistakeLevel::Warning } else { MistakeLevel::Error };
        for error in so_far.errors.iter().skip(before.errors.len()) {
            mistakes.push(quote(place(level, &file.path, &marked, error), lines));
        }
        if grown {
            let what = if so_far.rules.len() > before.rules.len() {
                so_far.rules.last().cloned().map(|rule| SigmaDocument::Rule(Box::new(rule)))
            } else if so_far.correlations.len() > before.correlations.len() {
                so_far.correlations.last().cloned().map(SigmaDocument::Correlation)
            } else {
                so_far.filters.last().cloned().map(SigmaDocument::Filter)
            };
            if let Some(what) = what {
                keep(what, marked, out);
            }
        }
        before = std::mem::take(&mut so_far);
    }
}

fn pieces(collection: SigmaCollection) -> Vec<SigmaDocument> {
    let rules = collection.rules.into_iter().map(|rule| SigmaDocument::Rule(Box::new(rule)));
    let correlations = collection.correlations.into_iter().map(SigmaDocument::Correlation);
    let filters = collection.filters.into_iter().map(SigmaDocument::Filter);
    rules.chain(correlations).chain(filters).collect()
}

fn is_collection(marked: &Marked) -> bool {
    marked.text(&["action"]).is_some_and(|(action, _)| matches!(&*action, "global" | "repeat" | "reset"))
}

fn is_sigma(marked: &Marked) -> bool {
    let has = |wanted: &str| marked.keys().any(|key| key == wanted);
    has("detection") || has("correlation") || has("logsource") || (has("filter") && has("title"))
}

/// What rsigma's parser knows as modifiers.
const MODIFIERS: &[&str] = &[
    "contains",
    "startswith",
    "endswith",
    "all",
    "base64",
    "base64offset",
    "wide",
    "utf16le",
    "utf16be",
    "utf16",
    "windash",
    "re",
    "cidr",
    "cased",
    "exists",
    "expand",
    "fieldref",
    "gt",
    "gte",
    "lt",
    "lte",
    "neq",
    "i",
    "m",
    "s",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "year",
];

/// Puts an error of rsigma's where it belongs in the document.
fn place(level: MistakeLevel, file: &std::path::Path, marked: &Marked, error: &str) -> Mistake {
    let at = |span: Option<Span>| Mistake::new(level, file, span.unwrap_or_else(|| marked.start()), error);
    let named = quoted(error);
    if let Some(what) = error.strip_prefix("YAML parse error: ") {
        let (key, span) = marked.repeated().map_or((None, None), |(key, span)| (Some(key), Some(span)));
        return match key {
            Some(key) => Mistake { what: format!("the key `{key}` is repeated"), ..at(span) },
            None => Mistake { what: format!("is no YAML: {what}"), ..at(None) },
        };
    }
    if error.starts_with("Condition") {
        return at(marked.text(&["detection", "condition"]).map(|(_, span)| span).or_else(|| {
            marked.key(&["detection", "condition"]).or_else(|| marked.key(&["correlation", "condition"]))
        }));
    }
    if let Some(name) = error.strip_prefix("unknown detection identifier: ") {
        let known: Vec<&str> = marked.detections().collect();
        return at(marked.key(&["detection", "condition"])).nearest(name, known);
    }
    if let Some(name) = error.strip_prefix("unknown rule reference: ") {
        return at(
            marked.find(&|found| matches!(found, Found::Value(v) if v.value.text().is_some_and(|text| text == name)))
        );
    }
    if error.starts_with("Unknown modifier") {
        let tail = format!("|{named}");
        let key = marked.find(&|found| matches!(found, Found::Key(key) if key.value.contains(&tail)));
        return at(key).expected("a modifier of Sigma's").nearest(named, MODIFIERS.iter().copied());
    }
    if error.starts_with("`not` is not a value modifier") {
        return at(marked.find(&|found| matches!(found, Found::Key(key) if key.value.contains("|not"))));
    }
    if error.starts_with("Missing required field") {
        let last = named.rsplit('.').next().unwrap_or(named);
        let spelled = quell_model::mistake::nearest(last, marked.keys()).map(str::to_owned);
        let place = spelled.as_deref().and_then(|key| marked.key(&[key]));
        let mut mistake = at(place).expected(format!("the key `{named}`"));
        if spelled.is_some() {
            mistake.nearest = Some(last.to_owned());
        }
        return mistake;
    }
    if let Some(rest) = error.strip_prefix("invalid ").filter(|_| !named.is_empty()) {
        let key = rest.split(':').next().unwrap_or_default();
        let known: &[&str] = match key {
            "level" => &["informational", "low", "medium", "high", "critical"],
            "status" => &["stable", "test", "experimental", "deprecated", "unsupported"],
            _ => &[],
        };
        if let Some((_, span)) = marked.text(&[key]) {
            let mistake = at(Some(span)).nearest(named, known.iter().copied());
            return if known.is_empty() { mistake } else { mistake.expected(known.join(", ")) };
        }
    }
    if error.starts_with("invalid regex") {
        let value = marked.find(&|found| {
            matches!(found, Found::Value(value) if value.value.text().is_some_and(|text| text.len() > 1 && error.contains(&*text)))
        });
        return Mistake { what: format!("invalid regular expression: {}", last_line(error)), ..at(value) };
    }
    if error.starts_with("Invalid timespan") {
        return at(marked.text(&["correlation", "timespan"]).map(|(_, span)| span));
    }
    if error.to_lowercase().contains("correlation") {
        return at(marked.key(&["correlation"]));
    }
    if error.starts_with("related") || error.starts_with("'related'") {
        return at(marked.key(&["related"]));
    }
    if error.starts_with("invalid CIDR") {
        return at(marked.find(&|found| matches!(found, Found::Key(key) if key.value.contains("|cidr"))));
    }
    at(marked.key(&["detection"]).or_else(|| marked.key(&["filter"])))
}

fn quoted(error: &str) -> &str {
    error.split('\'').nth(1).unwrap_or_default()
}

fn last_line(error: &str) -> &str {
    error.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(error).trim()
}

/// Adds the line that the mistake is about.
pub(super) fn quote(mut mistake: Mistake, lines: &[String]) -> Mistake {
    let at = usize::try_from(mistake.span.line).unwrap_or(0);
    mistake.line_text = at.checked_sub(1).and_then(|at| lines.get(at)).cloned();
    mistake
}
