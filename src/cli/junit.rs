//! JUnit XML of cases that were played: a suite a file, a case a case; mistakes in files are a suite of their own.
//!
//! Owns the form, which CI servers read. Times are left out: the same cases give the same file.

use super::playbook_test::Told;
use quell_model::{Mistake, MistakeLevel};
use std::fmt::Write;

/// The whole document.
pub(super) fn xml(told: &[Told], mistakes: &[Mistake]) -> String {
    let mut suites = String::new();
    let (mut all, mut bad) = (0, 0);
    for one in told {
        let failed = one.cases.iter().filter(|(.., misses)| !misses.is_empty()).count();
        let cases = one.cases.iter().map(|(name, _, misses)| {
            let lines = misses.iter().map(|m| format!("{}\nexpected {}\nfound    {}", m.place, m.expected, m.found));
            case(name, one.playbook.name.as_str(), "failure", &lines.collect::<Vec<_>>())
        });
        suite(&mut suites, &one.file.display().to_string(), one.cases.len(), failed, 0, &cases.collect::<String>());
        (all, bad) = (all + one.cases.len(), bad + failed);
    }
    let errors: Vec<&Mistake> = mistakes.iter().filter(|mistake| mistake.level == MistakeLevel::Error).collect();
    if !errors.is_empty() {
        let cases = errors.iter().map(|one| case(&one.place(), "files", "error", std::slice::from_ref(&one.what)));
        suite(&mut suites, "files", errors.len(), 0, errors.len(), &cases.collect::<String>());
    }
    let (all, errors) = (all + errors.len(), errors.len());
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"quell\" tests=\"{all}\" failures=\"{bad}\" errors=\"{errors}\">\n{suites}</testsuites>\n"
    )
}

fn suite(into: &mut String, name: &str, tests: usize, failures: usize, errors: usize, cases: &str) {
    let name = escaped(name);
    // Writing to a text cannot fail.
    let _always_ok = write!(
        into,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{cases}  </testsuite>\n"
    );
}

fn case(name: &str, class: &str, kind: &str, wrong: &[String]) -> String {
    let (name, class) = (escaped(name), escaped(class));
    if wrong.is_empty() {
        return format!("    <testcase name=\"{name}\" classname=\"{class}\"/>\n");
    }
    let first = escaped(wrong[0].lines().next().unwrap_or_default());
    let text = escaped(&wrong.join("\n"));
    format!(
        "    <testcase name=\"{name}\" classname=\"{class}\">\n      <{kind} message=\"{first}\">{text}</{kind}>\n    </testcase>\n"
    )
}

/// What XML 1.0 cannot hold is replaced: a file may be hostile.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{case, escaped};

    #[test]
    fn what_xml_cannot_hold_is_escaped_or_replaced() {
        assert_eq!(escaped("a<b & \"c\" \u{1b}[0m"), "a&lt;b &amp; &quot;c&quot; \u{fffd}[0m");
        let failed = case("one", "p", "failure", &["f:1:2\nexpected a\nfound b".to_owned()]);
        assert!(failed.contains("<failure message=\"f:1:2\">f:1:2\nexpected a\nfound b</failure>"), "{failed}");
        assert_eq!(case("one", "p", "failure", &[]), "    <testcase name=\"one\" classname=\"p\"/>\n");
    }
}
