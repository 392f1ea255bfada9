//! Drawings in every format: all marks, hostile texts, colours with their words.

use super::*;
use quell_model::Outcome;
use quell_model::playbook::StepKind;

fn read(text: &str) -> Playbook {
    let (playbook, mistakes) =
        crate::load::playbook(std::path::Path::new("p.yaml"), text, &crate::load::Known::default());
    playbook.unwrap_or_else(|| panic!("{mistakes:?}"))
}

/// A playbook with every mark.
fn marked() -> Playbook {
    read(
        "playbook: every-mark\ndescription: Holds \"one\" & kills <others>.\nmode: enforce
on: { detections: { rules: [r], level: high } }
steps:
  hold: { if: '${{ event.node == \"n\" }}', tell: held, retry: { attempts: 3 } }
  each: { needs: [hold], for_each: '${{ [1, 2] }}', max_parallel: 2, tell: 'no ${{ item }}', on_failure: continue }
  sum: { needs: [each], script: '#{ n: 1 }', on_failure: undo, mode: observe }
  leased: { needs: [hold], tell: x, on_failure: halt }
  mourn: { needs: [sum, leased], when: failure, tell: it failed }
  report: { needs: [mourn], when: always, tell: all is told }
",
    )
}

fn with_lease() -> Playbook {
    let mut playbook = marked();
    let lease = quell_model::playbook::Lease { lasts: std::time::Duration::from_secs(8 * 3600), ..Default::default() };
    playbook.steps[3].lease = Some(lease);
    playbook.steps[3].kind = StepKind::Action { action: "process.freeze".into(), with: quell_model::Json::Null };
    playbook
}

fn fates() -> Fates {
    let steps = [
        ("hold", Fate::Ended(Outcome::Verified)),
        ("each", Fate::Ended(Outcome::Planned)),
        ("sum", Fate::Ended(Outcome::Refused)),
        ("leased", Fate::Ended(Outcome::Skipped)),
        ("mourn", Fate::Running),
    ];
    Fates::new("run r-1, running, enforce", steps.map(|(id, fate)| (StepId::from(id), fate)))
}

#[test]
fn dot_shows_every_mark() {
    insta::assert_snapshot!(Picture::new(&with_lease(), None).unwrap().dot());
}

#[test]
fn mermaid_shows_every_mark() {
    insta::assert_snapshot!(Picture::new(&with_lease(), None).unwrap().mermaid());
}

#[test]
fn text_says_how_far_each_step_came() {
    insta::assert_snapshot!(graph_text(&with_lease(), Some(&fates())));
}

#[test]
fn every_colour_has_its_word_beside_it() {
    let picture = Picture::new(&with_lease(), Some(&fates())).unwrap();
    for drawn in [picture.dot(), picture.mermaid(), picture.svg()] {
        for word in ["run r-1, running", "verified", "planned", "refused", "skipped", "not started"] {
            assert!(drawn.contains(word), "{word} is missing in {drawn}");
        }
        for fate in [Fate::Ended(Outcome::Refused), Fate::Running, Fate::NotStarted] {
            assert!(drawn.contains(fate.shade().fill), "{fate:?} in {drawn}");
        }
    }
    let plain = Picture::new(&with_lease(), None).unwrap().svg();
    assert!(!plain.contains("not started") && !plain.contains(Fate::Running.shade().fill));
}

const HOSTILE: &str =
    "\"];x -> y; </text><script>alert(1)</script> %%{init: {}}%% #quot; &amp; ]]> \\n \u{1b}[2J \u{202e} `a` | end";

fn hostile() -> Playbook {
    let mut playbook = marked();
    playbook.description = HOSTILE.into();
    playbook.name = HOSTILE.into();
    playbook.steps[0].id = HOSTILE.into();
    playbook.steps[1].needs = vec![HOSTILE.into()];
    playbook.steps[3].needs = vec![HOSTILE.into()];
    playbook.steps[4].kind = StepKind::Tell(HOSTILE.into());
    playbook.steps[0].condition.as_mut().unwrap().text = HOSTILE.into();
    playbook
}

/// As a reader of DOT sees it: what stands within quotes, and what without.
fn strings_of_dot(dot: &str) -> (Vec<String>, String) {
    let (mut inside, mut outside, mut chars) = (Vec::new(), String::new(), dot.chars());
    while let Some(c) = chars.next() {
        if c != '"' {
            outside.push(c);
            continue;
        }
        let mut string = String::new();
        loop {
            match chars.next().expect("a string ends") {
                '"' => break,
                '\\' => string.extend(['\\', chars.next().expect("a backslash escapes something")]),
                c => string.push(c),
            }
        }
        inside.push(string);
    }
    (inside, outside)
}

#[test]
fn hostile_texts_stay_within_their_quotes_in_dot() {
    let dot = Picture::new(&hostile(), None).unwrap().dot();
    let (inside, outside) = strings_of_dot(&dot);
    assert!(!outside.contains("script") && !outside.contains("x -> y"), "{outside}");
    assert!(inside.iter().any(|string| string.contains("<script>")), "{dot}");
    let label = inside.iter().find(|string| string.contains("tell \\\"\\\"];x")).unwrap();
    assert!(!label.contains("& "), "a label's own `&` is no entity: {label}");
    assert!(inside.iter().any(|string| string.contains("&amp;amp; ")), "{inside:?}");
    assert_eq!(outside.matches("->").count(), 6, "{outside}");
    assert!(!dot.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
}

#[test]
fn hostile_texts_are_entities_in_mermaid() {
    let mermaid = Picture::new(&hostile(), None).unwrap().mermaid();
    assert!(!mermaid.contains("%%") && !mermaid.contains("<script"), "{mermaid}");
    assert!(!mermaid.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
    for line in mermaid.lines().skip(3).take(6) {
        assert!(line.matches('"').count() == 2 && !line.contains('`'), "{line}");
    }
    assert!(mermaid.contains("#34;#93;#59;x"), "{mermaid}");
}

#[test]
fn an_svg_is_xml_alone_and_says_what_was_written() {
    for playbook in [marked(), hostile()] {
        for fates in [None, Some(fates())] {
            let svg = Picture::new(&playbook, fates.as_ref()).unwrap().svg();
            let read = roxmltree::Document::parse(&svg).unwrap_or_else(|e| panic!("{e}: {svg}"));
            let names: BTreeSet<&str> =
                read.descendants().filter(|n| n.is_element()).map(|n| n.tag_name().name()).collect();
            assert_eq!(Vec::from_iter(names), ["desc", "g", "path", "rect", "style", "svg", "text", "title"]);
            let refers = |n: roxmltree::Node<'_, '_>| {
                n.attributes()
                    .any(|a| a.name().contains("href") || a.name().starts_with("on") || a.value().contains("url("))
            };
            assert!(!read.descendants().any(refers), "{svg}");
            let boxes = read.descendants().filter(|n| n.attribute("class") == Some("qg-box")).count();
            assert_eq!(boxes, playbook.steps.len());
            assert!(!svg.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
        }
    }
    let svg = Picture::new(&hostile(), None).unwrap().svg();
    let read = roxmltree::Document::parse(&svg).unwrap();
    let title = read.descendants().find(|n| n.has_tag_name("title")).and_then(|n| n.text().map(str::to_owned)).unwrap();
    assert!(title.starts_with("\"];x -> y; </text><script>alert(1)</script>"), "{title}");
}

#[test]
fn long_ids_are_broken_and_not_cut() {
    let mut playbook = marked();
    let long = "collect_the_configuration_of_every_service_that_the_account_can_reach_and_keep_it";
    playbook.steps[5].id = long.into();
    let svg = Picture::new(&playbook, None).unwrap().svg();
    let read = roxmltree::Document::parse(&svg).unwrap();
    let ids = read.descendants().filter(|n| n.attribute("class") == Some("qg-id"));
    let texts: Vec<&str> = ids.filter_map(|n| n.text()).collect();
    assert!(texts.concat().contains(long), "{texts:?}");
    assert!(texts.iter().all(|text| text.len() <= 34), "{texts:?}");
}

#[test]
fn a_circle_has_no_drawing() {
    let mut playbook = marked();
    playbook.steps[0].needs = vec!["report".into()];
    assert!(Picture::new(&playbook, None).is_err());
}

#[test]
fn where_a_step_hands_on_to_is_said() {
    let text = "playbook: p\nsteps:\n  a: { escalate: night }\n  b: { escalate: { step: 2 } }\n  c: { escalate: { policy: night, step: 3 } }\n";
    let read = crate::load::playbook(std::path::Path::new("p.yaml"), text, &crate::load::Known::default());
    let playbook = read.0.unwrap_or_else(|| panic!("{:?}", read.1));
    let said: Vec<String> = playbook.steps.iter().map(super::picture::does).collect();
    assert_eq!(said, ["escalate to night", "escalate to step 2", "escalate to step 3 of night"]);
    let picture = Picture::new(&playbook, None).unwrap();
    assert!(
        picture.dot().contains("shape=\"cds\"") && picture.mermaid().contains("s0>\"<b>a</b>"),
        "{}",
        picture.mermaid()
    );
}
