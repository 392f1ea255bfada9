//! Tags of YAML (`!env X`, `!!binary x`): what gives a value a meaning that quell does not know.
//!
//! Owns which tags mean something here: those of YAML's own types. Never reads a value. Keeps true: no other is passed over, wherever
//! it stands, and each is told once, also where an alias repeats its value.

use super::yaml::{Place, Source};
use granit_parser::{Event, Parser, Tag};
use quell_model::Mistake;

/// What is written beside a value without one: each is what the value is anyway, or makes text of it.
const KNOWN: &[&str] = &["!!str", "!!int", "!!float", "!!bool", "!!null", "!!seq", "!!map"];

/// What is meant by a tag with one of these words in its name.
const MEANT: &[(&[&str], &str)] = &[
    (
        &["env", "secret", "vault", "sops"],
        "`${{ secrets.NAME }}` in a playbook, with `secrets: { NAME: { env: VARIABLE } }` in quell.yaml",
    ),
    (&["include", "import", "file"], "the text itself: no file is read into another"),
];
const ELSE: &str = "the value without a tag: only those of YAML's own types (`!!str`) mean something; text that begins with `!` in quotes";

/// A mistake for each tag of a document that means nothing here.
pub(super) fn unknown(source: &Source) -> Vec<Mistake> {
    // Whoever writes none pays for no second reading.
    if !source.text.contains('!') {
        return Vec::new();
    }
    // What is no YAML has been told by whoever made the tree.
    let events = Parser::new_from_str(&source.text).map_while(Result::ok);
    let tags = events.filter_map(|(event, span)| {
        let (Event::Scalar(.., tag) | Event::SequenceStart(.., tag) | Event::MappingStart(.., tag)) = event else {
            return None;
        };
        let tag = tag.filter(|tag| !is_known(tag))?;
        let written = span.tag_span()?.byte_range()?;
        Some(mistake(source, source.at(written.start, (written.len() as u32).max(1)), &tag.original()))
    });
    tags.collect()
}

/// `!` alone says that it is text.
fn is_known(tag: &Tag) -> bool {
    tag.core_suffix().is_some() || tag.original() == "!"
}

fn mistake(source: &Source, at: Place, tag: &str) -> Mistake {
    // A text without its quotes is a tag as well, and may be a secret.
    let shown = match tag.contains(|c: char| c.is_ascii_digit()) {
        true => "this tag".to_owned(),
        false => format!("the tag `{tag}`"),
    };
    let name = tag.to_lowercase();
    let meant = MEANT.iter().find(|(words, _)| words.iter().any(|word| name.contains(word)));
    let expected = meant.map_or(ELSE, |(_, expected)| *expected);
    let mistake = source.error(at, format!("{shown} means nothing here")).expected(expected);
    match tag.starts_with("!!") {
        true => mistake.nearest(tag, KNOWN.iter().copied()),
        // A word of somebody's own is like one of YAML's by chance alone.
        false => Mistake {
            nearest: KNOWN.iter().find(|known| known[1..] == *tag).map(|known| (*known).to_owned()),
            ..mistake
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What is told: the place, and what it says.
    fn told(text: &str) -> Vec<String> {
        let source = Source::new(Path::new("x.yaml"), text);
        let line = |mistake: Mistake| {
            let span = mistake.span;
            let nearest = mistake.nearest.map(|near| format!(" ({near})")).unwrap_or_default();
            format!("{}:{}+{} {}{nearest}", span.line, span.column, span.length, mistake.what)
        };
        unknown(&source).into_iter().map(line).collect()
    }

    #[test]
    fn every_tag_that_means_nothing_is_told_where_it_stands() {
        let text =
            "ä: &x !env HOME\nb: !!binary aGk=\nc: !list [1, !of 2]\nd: !all\n  x: *x\n!key e: 1\nf: !text |\n  !no\n";
        assert_eq!(
            told(text),
            [
                "1:7+4 the tag `!env` means nothing here",
                "2:4+8 the tag `!!binary` means nothing here",
                "3:4+5 the tag `!list` means nothing here",
                "3:14+3 the tag `!of` means nothing here",
                "4:4+4 the tag `!all` means nothing here",
                "6:1+4 the tag `!key` means nothing here",
                "7:4+5 the tag `!text` means nothing here",
            ]
        );
        assert_eq!(told("a: !str x\n"), ["1:4+4 the tag `!str` means nothing here (!!str)"]);
        assert_eq!(told("a: !!strr x\n"), ["1:4+6 the tag `!!strr` means nothing here (!!str)"]);
        assert_eq!(told("a: !<tag:x.org:y> z\n"), ["1:4+14 the tag `!<tag:x.org:y>` means nothing here"]);
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        assert_eq!(told("token: !hunter2\n"), ["1:8+8 this tag means nothing here"]);
    }

    #[test]
    fn yamls_own_types_and_exclamation_marks_elsewhere_are_no_mistake() {
        for text in [
            "a: !!str 1\nb: !!int 1\nc: !!float 1\nd: !!bool true\ne: !!null ~\nf: !!seq [1]\ng: !!map { x: 1 }\n",
            "a: ! x\nb: !<tag:yaml.org,2002:str> x\n",
            "a: \"!x\"\nb: x!y ! z # !c\nc: |\n  !d\n'!e': 1\n",
            "",
        ] {
            assert_eq!(told(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn what_is_meant_is_said() {
        let expected = |text: &str| unknown(&Source::new(Path::new("x.yaml"), text)).remove(0).expected.unwrap();
        assert!(expected("a: !ENV X\n").contains("secrets.NAME"));
        assert!(expected("a: !vault X\n").contains("secrets.NAME"));
        assert!(expected("a: !include x.yaml\n").contains("no file is read"));
        assert!(expected("a: !!binary x\n").contains("`!!str`"));
    }
}
