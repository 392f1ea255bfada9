//! What a regular expression cannot match without: texts that every match holds.
//!
//! Sound for ASCII texts only, which is all that the gate searches: of a class of characters the others are left out, so
//! that `(?i)k`, which means the Kelvin sign too, is one letter. Anchors and word boundaries only narrow a match.

use super::want::{SHORTEST, Want};
use regex_syntax::hir::{Class, Hir, HirKind};

/// Alternatives are written out as long as they are so few.
const SPELLINGS: usize = 64;
/// A class of more characters ends a text.
const CLASS: usize = 8;
/// Lengths below this say nothing.
const LONG: usize = 24;

/// What the text of a field must hold for this expression to match in it.
pub(super) fn of_regex(field: Option<&str>, pattern: &str) -> Want {
    match regex_syntax::parse(pattern) {
        Ok(hir) => Want::all([of_hir(field, &hir), length(field, &hir)]),
        Err(_) => Want::Anything,
    }
}

/// A long expression turns short texts away.
fn length(field: Option<&str>, hir: &Hir) -> Want {
    match (field, hir.properties().minimum_len()) {
        (Some(field), Some(bytes)) if bytes >= LONG => Want::Long { field: field.to_owned(), bytes },
        _ => Want::Anything,
    }
}

fn of_hir(field: Option<&str>, hir: &Hir) -> Want {
    if let Some(spellings) = spellings(hir) {
        return one_of(field, spellings);
    }
    match hir.kind() {
        HirKind::Capture(capture) => of_hir(field, &capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => of_hir(field, &repetition.sub),
        HirKind::Alternation(branches) => Want::any(branches.iter().map(|branch| of_hir(field, branch))),
        HirKind::Concat(parts) => of_concat(field, parts),
        _ => Want::Anything,
    }
}

/// Neighbours whose spellings are few are joined into longer texts.
fn of_concat(field: Option<&str>, parts: &[Hir]) -> Want {
    let mut wants = Vec::new();
    let mut run = vec![String::new()];
    for part in parts {
        match spellings(part) {
            Some(next) if run.len() * next.len() <= SPELLINGS => run = joined(&run, &next),
            Some(next) => wants.push(one_of(field, std::mem::replace(&mut run, next))),
            None => {
                wants.push(one_of(field, std::mem::replace(&mut run, vec![String::new()])));
                wants.push(of_hir(field, part));
            }
        }
    }
    wants.push(one_of(field, run));
    Want::all(wants)
}

/// One of these texts; those that hold another one are left out.
fn one_of(field: Option<&str>, spellings: Vec<String>) -> Want {
    if spellings.is_empty() || spellings.iter().any(|text| text.len() < SHORTEST) {
        return Want::Anything;
    }
    let redundant = |text: &String| spellings.iter().any(|other| other.len() < text.len() && text.contains(other));
    Want::any(spellings.iter().filter(|text| !redundant(text)).map(|text| Want::text(field, text)))
}

fn joined(before: &[String], after: &[String]) -> Vec<String> {
    before.iter().flat_map(|first| after.iter().map(move |second| format!("{first}{second}"))).collect()
}

/// Every ASCII text that this part can match, in lower case, where they are few.
fn spellings(hir: &Hir) -> Option<Vec<String>> {
    let empty = || vec![String::new()];
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(empty()),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok().filter(|text| text.is_ascii())?;
            Some(vec![text.to_ascii_lowercase()])
        }
        HirKind::Class(class) => letters(class),
        HirKind::Capture(capture) => spellings(&capture.sub),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.filter(|most| *most <= 4)?;
            let once = spellings(&repetition.sub)?;
            let (mut all, mut now) = (Vec::new(), empty());
            for times in 0..=most {
                if times >= repetition.min {
                    all.extend(now.iter().cloned());
                }
                if times < most {
                    now = joined(&now, &once);
                }
                if all.len() + now.len() > SPELLINGS {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Concat(parts) => {
            let mut all = empty();
            for part in parts {
                let next = spellings(part)?;
                if all.len() * next.len() > SPELLINGS {
                    return None;
                }
                all = joined(&all, &next);
            }
            Some(all)
        }
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(spellings(branch)?);
                if all.len() > SPELLINGS {
                    return None;
                }
            }
            Some(all)
        }
    }
}

fn letters(class: &Class) -> Option<Vec<String>> {
    let mut found: Vec<u8> = Vec::new();
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect(),
        Class::Bytes(class) => class.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect(),
    };
    for (start, end) in ranges {
        for letter in start..=end.min(0x7f) {
            let letter = u8::try_from(letter).ok()?.to_ascii_lowercase();
            if !found.contains(&letter) {
                found.push(letter);
            }
            if found.len() > CLASS {
                return None;
            }
        }
    }
    // Without an ASCII letter it matches nothing here; that is not for the gate to say.
    (!found.is_empty()).then(|| found.into_iter().map(|letter| char::from(letter).to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(want: &Want) -> String {
        let list = |parts: &[Want], with: &str| parts.iter().map(shown).collect::<Vec<_>>().join(with);
        match want {
            Want::Anything => "?".into(),
            Want::Text { needle, .. } => needle.clone(),
            Want::Flag { .. } => "flag".into(),
            Want::Long { bytes, .. } => format!("{bytes} bytes"),
            Want::All(parts) => format!("({})", list(parts, " & ")),
            Want::Any(parts) => format!("({})", list(parts, " | ")),
        }
    }

    #[test]
    fn expressions_are_reduced_to_the_texts_that_they_cannot_do_without() {
        for (pattern, wanted) in [
            ("abc", "abc"),
            ("(?i)Kelvin", "kelvin"),
            (r"^/(usr/)?s?bin/(id|ls)$", "(/bin/id | /bin/ls | /sbin/id | /sbin/ls)"),
            (r"/(nc|ncat)[0-9]*$", "/nc"),
            (r"\bwhile\b(.|\n)*\bread\b", "(while & read)"),
            (r"(foo|b.r)", "?"),
            // `a+` ends the text, and one letter is too short: nothing is known of that branch.
            (r"(foo|ba+r)", "?"),
            (r"x{2,3}y", "xxy"),
            (r"a*", "?"),
            (r"\d+", "?"),
            (r"ü|ab", "?"),
            (r"[ÄÖ]ab", "ab"),
            (r"[.]ssh/", ".ssh/"),
            ("(", "?"),
        ] {
            let got = shown(&of_regex(None, pattern));
            assert_eq!(got, wanted, "{pattern}");
        }
    }

    fn holds(want: &Want, text: &str) -> bool {
        match want {
            Want::Anything | Want::Flag { .. } | Want::Long { .. } => true,
            Want::Text { needle, .. } => text.to_ascii_lowercase().contains(needle.as_str()),
            Want::All(parts) => parts.iter().all(|part| holds(part, text)),
            Want::Any(parts) => parts.iter().any(|part| holds(part, text)),
        }
    }

    /// Expressions over a small alphabet, so that they match now and then.
    fn pattern() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[abAB]{1,3}",
            Just("[ab]".to_owned()),
            Just("[^a]".to_owned()),
            Just(".".to_owned()),
            Just(r"\b".to_owned()),
            Just("^".to_owned()),
            Just("$".to_owned()),
            Just("(?i:kB)".to_owned()),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
                (inner, prop_oneof![Just("?"), Just("*"), Just("+"), Just("{2}"), Just("{1,3}"), Just("{0}")])
                    .prop_map(|(part, times)| format!("({part}){times}")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
        /// What matches holds what was said to be needed.
        #[test]
        fn nothing_that_matches_is_turned_away(pattern in pattern(), flags in "(\\(\\?i\\))?", texts in prop::collection::vec("[abABkK c]{0,8}", 8)) {
            let pattern = format!("{flags}{pattern}");
            let want = of_regex(None, &pattern);
            let matches = by_rsigma(&pattern);
            for text in texts {
                if matches(&text) {
                    prop_assert!(holds(&want, &text), "{pattern} matches {text:?}, wanted {}", shown(&want));
                }
            }
        }
    }

    /// Matching by rsigma itself, which is what the gate stands before.
    fn by_rsigma(pattern: &str) -> impl Fn(&str) -> bool + use<> {
        let yaml = format!(
            "title: t\nlogsource: {{product: p}}\ndetection:\n  s:\n    f|re: '{}'\n  condition: s\n",
            pattern.replace('\'', "''")
        );
        let parsed = rsigma_parser::parse_sigma_yaml(&yaml).unwrap();
        let rule = rsigma_eval::compile_rule(&parsed.rules[0]).ok();
        move |text| {
            let event = serde_json::json!({ "f": text });
            rule.as_ref()
                .is_some_and(|rule| rsigma_eval::evaluate_rule(rule, &rsigma_eval::JsonEvent::borrow(&event)).is_some())
        }
    }
}
