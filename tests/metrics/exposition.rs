//! Prometheus' text format, read strictly: what a scraper might forgive fails here.
//!
//! Owns the reading, by the format's description (prometheus.io, "Exposition formats", version 0.0.4), and knows nothing of quell.

use std::collections::{BTreeMap, BTreeSet};

/// A family: its help, its type, and its samples by name and labels.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) help: String,
    pub(super) kind: String,
    /// (name, labels) → value.
    pub(super) samples: BTreeMap<(String, Labels), f64>,
}

pub(super) type Labels = BTreeMap<String, String>;

/// A whole page, or the first line that is not right, and why.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in text.lines() {
        let wrong = |why: &str| format!("{why}: `{line}`");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
            if all.contains_key(name) {
                return Err(wrong("a family stands twice"));
            }
            current = name.to_owned();
            all.insert(current.clone(), Family { help: help.to_owned(), ..Family::default() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            let family =
                all.get_mut(name).filter(|_| name == current).ok_or_else(|| wrong("a type before its help"))?;
            if !["counter", "gauge", "histogram"].contains(&kind)
                || !family.kind.is_empty()
                || !family.samples.is_empty()
            {
                return Err(wrong("a type that is none, or too late"));
            }
            kind.clone_into(&mut family.kind);
        } else {
            let (name, labels, value) = sample(line).map_err(|why| wrong(&why))?;
            let family = all.get_mut(&current).ok_or_else(|| wrong("a sample without a family"))?;
            let ending = name.strip_prefix(&current).ok_or_else(|| wrong("a sample apart from its family"))?;
            let endings: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            if !endings.contains(&ending) {
                return Err(wrong("a sample that its family's type has not"));
            }
            if family.kind == "counter" && !(value >= 0.0 && value.is_finite()) {
                return Err(wrong("a counter that counts backwards"));
            }
            if family.samples.insert((name, labels), value).is_some() {
                return Err(wrong("a sample stands twice"));
            }
        }
    }
    for (name, family) in &all {
        if family.kind.is_empty() || family.samples.is_empty() {
            return Err(format!("`{name}` has no type or no sample"));
        }
        if family.kind == "histogram" {
            histogram(name, family)?;
        }
    }
    Ok(all)
}

/// Each series has its buckets in order, none smaller than the one before, and the last is the count.
fn histogram(name: &str, family: &Family) -> Result<(), String> {
    let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for ((sample, labels), value) in &family.samples {
        let mut labels = labels.clone();
        let bound = labels.remove("le");
        if sample.ends_with("_bucket") != bound.is_some() {
            return Err(format!("`{sample}`: `le` belongs to buckets"));
        }
        let buckets = series.entry(labels).or_default();
        if let Some(bound) = bound {
            let bound =
                if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|e| format!("{name}: {e}"))? };
            buckets.push((bound, *value));
        }
    }
    for (labels, mut buckets) in series {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = family.samples.get(&(format!("{name}_count"), labels.clone()));
        let sum = family.samples.get(&(format!("{name}_sum"), labels.clone()));
        let grows = buckets.windows(2).all(|two| two[0].1 <= two[1].1);
        let last = buckets.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, all)| all);
        if !grows || last.is_none() || last != count || sum.is_none() {
            return Err(format!("`{name}` {labels:?}: {buckets:?}, count {count:?}, sum {sum:?}"));
        }
    }
    Ok(())
}

fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = line.find(|c| !is_name(c)).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("no name".to_owned());
    }
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        let mut seen = BTreeSet::new();
        let mut at = inside;
        loop {
            if let Some(after) = at.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = at.split_once("=\"").ok_or("a label without a value")?;
            if label.is_empty() || !label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || !seen.insert(label)
            {
                return Err(format!("`{label}` is no label, or stands twice"));
            }
            let (value, after) = quoted(after)?;
            labels.insert(label.to_owned(), value);
            at = after.strip_prefix(',').unwrap_or(after);
            if !after.starts_with([',', '}']) {
                return Err("labels without a comma".to_owned());
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        _ => value.parse::<f64>().map_err(|e| e.to_string())?,
    };
    Ok((name.to_owned(), labels, value))
}

/// A value up to its quote; only `\\`, `\"` and `\n` are escapes.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                other => return Err(format!("an escape that is none: {other:?}")),
            },
            c => value.push(c),
        }
    }
    Err("a value without its end".to_owned())
}

#[test]
fn it_reads_what_is_right_and_refuses_what_is_not() {
    let right = "# HELP a_total A \\n b.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n}\",y=\"\"} 3\na_total 1e3\n";
    let all = read(right).unwrap();
    assert_eq!(all["a_total"].samples.len(), 2);
    let head = "# HELP a A.\n# TYPE a gauge\n";
    for wrong in [
        "a 1\n",
        "# HELP a A.\na 1\n",
        "# TYPE a gauge\na 1\n",
        &format!("{head}a 1"),
        &format!("{head}b 1\n"),
        &format!("{head}a 1\na 1\n"),
        &format!("{head}a{{x=\"1\",x=\"2\"}} 1\n"),
        &format!("{head}a{{x=\"\\q\"}} 1\n"),
        &format!("{head}a one\n"),
        head,
        &format!("{head}a 1\n{head}"),
        &format!("{head}a{{x=\"1\"y=\"2\"}} 1\n"),
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
