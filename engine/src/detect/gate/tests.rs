//! The gate's law: it turns away no rule that rsigma would match. Events are made to match: from what each rule wants, by
//! chance, and then spoilt by chance.

use super::{Gate, Memory};
use crate::detect::view::View;
use crate::detect::{RuleSource, Rules};
use quell_model::{Class, Entity, EventHead, Json, LogSource, OwnedEvent, Stamp, Subject};
use regex_syntax::hir::{Class as Letters, Hir, HirKind};
use rsigma_eval::{CompiledDetection, CompiledMatcher, CompiledRule, evaluate_rule};
use rsigma_parser::ConditionExpr;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A seeded source of chance (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn one<'t, T>(&mut self, of: &'t [T]) -> Option<&'t T> {
        of.get(self.below(of.len()))
    }
}

/// A text that an expression matches, mostly.
fn spelt(hir: &Hir, chance: &mut Chance, out: &mut String) {
    match hir.kind() {
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(Letters::Unicode(class)) => {
            if let Some(range) = chance.one(class.ranges()) {
                let span = u32::from(range.end()) - u32::from(range.start());
                let at = u32::from(range.start()) + u32::try_from(chance.below(span.min(90) as usize + 1)).unwrap();
                out.push(char::from_u32(at).unwrap_or('x'));
            }
        }
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min + u32::try_from(chance.below(2)).unwrap().min(repetition.max.unwrap_or(9)) {
                spelt(&repetition.sub, chance, out);
            }
        }
        HirKind::Capture(capture) => spelt(&capture.sub, chance, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| spelt(part, chance, out)),
        HirKind::Alternation(branches) => {
            if let Some(branch) = chance.one(branches) {
                spelt(branch, chance, out);
            }
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Letters::Bytes(_)) => {}
    }
}

/// A value that the matcher is content with, mostly.
fn value(matcher: &CompiledMatcher, chance: &mut Chance) -> Json {
    let text = |json: Json| json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    match matcher {
        CompiledMatcher::Exact { value, .. } => json!(value),
        CompiledMatcher::Contains { value, .. } => json!(format!("a {value} b")),
        CompiledMatcher::StartsWith { value, .. } => json!(format!("{value} b")),
        CompiledMatcher::EndsWith { value, .. } => json!(format!("a{value}")),
        CompiledMatcher::Regex(regex) => json!(spelling(regex.as_str(), chance)),
        CompiledMatcher::RegexSetMatch { set, .. } => {
            json!(chance.one(set.patterns()).cloned().map(|pattern| spelling(&pattern, chance)).unwrap_or_default())
        }
        CompiledMatcher::AhoCorasickSet { needles, .. } => json!(chance.one(needles)),
        CompiledMatcher::BoolEq(value) => json!(value),
        CompiledMatcher::NumericEq(number) => json!(number),
        CompiledMatcher::AnyOf(parts) => chance.one(parts).cloned().map_or(Json::Null, |part| value(&part, chance)),
        CompiledMatcher::AllOf(parts) | CompiledMatcher::CaseInsensitiveGroup { children: parts, .. } => {
            json!(parts.iter().map(|part| text(value(part, chance))).collect::<Vec<_>>().join(" "))
        }
        CompiledMatcher::Cidr(net) => json!(net.addr().to_string()),
        _ => json!("whatever"),
    }
}

fn spelling(pattern: &str, chance: &mut Chance) -> String {
    let mut out = String::new();
    spelt(&regex_syntax::parse(pattern).unwrap(), chance, &mut out);
    out
}

fn fill(detection: &CompiledDetection, chance: &mut Chance, into: &mut HashMap<String, Json>) {
    let mut put = |field: &str, given: Json| {
        let known = into.entry(field.to_owned()).or_insert(Json::Null);
        *known = match (&*known, &given) {
            (Json::String(before), Json::String(after)) => json!(format!("{before} {after}")),
            _ => given,
        };
    };
    match detection {
        CompiledDetection::AllOf(items) => {
            for item in items {
                put(item.field.as_deref().unwrap_or("Image"), value(&item.matcher, chance));
            }
        }
        CompiledDetection::Keywords(matcher) => put("CommandLine", value(matcher, chance)),
        CompiledDetection::AnyOf(parts) => {
            if let Some(part) = chance.one(parts) {
                fill(part, chance, into);
            }
        }
        CompiledDetection::And(parts) => parts.iter().for_each(|part| fill(part, chance, into)),
        CompiledDetection::ArrayMatch { .. } | CompiledDetection::Conditional { .. } => {}
    }
}

fn satisfy(condition: &ConditionExpr, rule: &CompiledRule, chance: &mut Chance, into: &mut HashMap<String, Json>) {
    match condition {
        ConditionExpr::Identifier(name) => fill(&rule.detections[name], chance, into),
        ConditionExpr::And(parts) => parts.iter().for_each(|part| satisfy(part, rule, chance, into)),
        ConditionExpr::Or(parts) => {
            if let Some(part) = chance.one(parts) {
                satisfy(part, rule, chance, into);
            }
        }
        ConditionExpr::Not(_) => {}
        ConditionExpr::Selector { pattern, .. } => {
            let mut chosen: Vec<_> =
                rule.detections.iter().filter(|(name, _)| pattern.matches_detection_name(name)).collect();
            chosen.sort_by_key(|(name, _)| *name);
            for (_, detection) in chosen {
                fill(detection, chance, into);
            }
        }
    }
}

/// What an attacker, or a strange source, would do to a value.
fn spoil(value: &mut Json, chance: &mut Chance) {
    let text = value.as_str().map(str::to_owned);
    match (chance.below(12), text) {
        (0, Some(text)) => *value = json!(text.to_uppercase()),
        (1, Some(text)) => *value = json!(format!("{text}é")),
        (2, Some(text)) => *value = json!([text, 7]),
        (3, Some(text)) => *value = json!(text.replace(' ', "\n")),
        (4, Some(text)) => *value = json!(text.replacen('k', "\u{212a}", 1)),
        (5, Some(text)) => *value = json!(text.chars().skip(1).collect::<String>()),
        (6, _) => *value = Json::Null,
        (7, _) => *value = json!(4444),
        (8, _) => *value = json!(true),
        (9, Some(text)) => *value = json!(format!("{}{text}", "long ".repeat(300))),
        _ => {}
    }
}

fn event(fields: HashMap<String, Json>) -> OwnedEvent {
    let at = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 0 };
    OwnedEvent {
        v: 1,
        head: EventHead {
            id: "e".into(),
            class: Class::ProcessCreation,
            source: "test".into(),
            node: "here".into(),
            at,
            seen: at,
        },
        logsource: LogSource::default(),
        sigma: fields.into_iter().collect(),
        own: serde_json::Map::new(),
        subject: Subject::Unknown,
        entity: Entity { kind: "node".into(), id: "here".into(), node: "here".into() },
    }
}

/// Asks each rule beside the gate; gives how many matched, and how many the gate let through.
fn law(rules: &Rules, rounds: usize, seed: u64) -> (usize, usize) {
    let mut chance = Chance(seed);
    let (mut matched, mut let_through) = (0, 0);
    for class in &rules.classes {
        let all: Vec<_> = class.rules().collect();
        let mut memory = Memory::default();
        for round in 0..rounds {
            for aimed in &all {
                let mut fields = HashMap::new();
                if let Some(condition) = aimed.conditions.first() {
                    satisfy(condition, aimed, &mut chance, &mut fields);
                }
                let mut names: Vec<String> = fields.keys().cloned().collect();
                names.sort();
                for name in names {
                    if round > 0 {
                        spoil(fields.get_mut(&name).unwrap(), &mut chance);
                    }
                }
                let event = event(fields);
                let open = class.gate.open(&mut memory, &View(&event)).to_vec();
                let_through += open.len();
                for (at, rule) in all.iter().enumerate() {
                    if evaluate_rule(rule, &View(&event)).is_some() {
                        matched += 1;
                        let named = open.contains(&u32::try_from(at).unwrap());
                        assert!(named, "seed {seed}: `{}` matches, and was turned away: {:?}", rule.title, event.sigma);
                        let asked = class.ask(u32::try_from(at).unwrap(), &View(&event));
                        assert_eq!(asked.len(), 1, "seed {seed}: `{}` matches, and makes no result", rule.title);
                    }
                }
            }
        }
    }
    (matched, let_through)
}

fn beside(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    path.exists().then_some(path)
}

#[test]
fn no_rule_that_matches_is_turned_away() {
    let ships = beside("../playbooks").expect("what ships lies beside the engine");
    let (shipped, report) = Rules::load(&[RuleSource::Dir(ships)], &[]);
    assert!(shipped.len() > 10 && report.skipped.is_empty(), "{:?}", report.skipped);
    let (matched, let_through) = law(&shipped, 30, 7);
    assert!(matched > 120, "the events are too poor to show anything: {matched}");
    assert!(let_through < matched * 20, "{let_through} let through for {matched}: the gate stands open");
    for part in ["linux", "cloud", "application"] {
        let Some(dir) = beside(&format!("../../shared/data/sigma/{part}")) else {
            eprintln!("NOT TESTED: the gate with rules of {part} that nobody here wrote: they are not at hand");
            continue;
        };
        let (rules, _) = Rules::load(&[RuleSource::Dir(dir)], &[]);
        let (matched, _) = law(&rules, 2, 11);
        assert!(matched > rules.len() / 4, "the events are too poor: {part}: {matched} of {}", rules.len());
    }
}

/// Every kind of matcher and condition that Sigma has, in rules of one selection.
const KINDS: &str = r"
title: exact
logsource: { product: k }
detection: { s: { A: 'Alpha', B: 7 }, condition: s }
---
title: lists
logsource: { product: k }
detection: { s: { A|contains: [one, two, x, three, four, five, six, seven, eight, nine] }, t: { B|startswith: 'be', C|endswith: 'ce' }, condition: s or t }
---
title: all
logsource: { product: k }
detection: { s: { A|contains|all: ['foo bar', baz] }, f: { A|contains: qux }, condition: s and not f }
---
title: cased and expressions
logsource: { product: k }
detection: { s: { A|contains|cased: 'MiXed' }, t: { 'A|re|i': 'k(el|al)vin[0-9]+' }, condition: 1 of them }
---
title: flags and absence
logsource: { product: k }
detection: { s: { D: true }, t: { E: null }, u: { D|exists: false }, v: { A: '' }, condition: s or (t and u) or v }
---
title: wildcards
logsource: { product: k }
detection: { s: { A: '/usr/*/se?ret*' }, condition: s }
---
title: keywords
logsource: { product: k }
detection: { s: [ 'magic word', 'other*thing' ], t: { '|all': [ p1p, p2p ] }, condition: s or t }
---
title: networks and numbers
logsource: { product: k }
detection: { s: { F|cidr: 10.0.0.0/8 }, t: { B|gt: 5, B|lt: 9 }, condition: all of them }
---
title: references and dashes
logsource: { product: k }
detection: { s: { A|fieldref: C }, t: { A|windash|contains: ' -enc ' }, u: { A|base64offset|contains: 'attack at dawn' }, condition: 1 of them }
---
title: quantities
logsource: { product: k }
detection: { x1: { A: aaaa }, x2: { B: bbbb }, x3: { C: cccc }, condition: 2 of x* }
";

#[test]
fn every_kind_of_rule_passes_the_gate() {
    let (rules, report) = Rules::load(&[RuleSource::Text { name: "kinds.yml".into(), text: KINDS.into() }], &[]);
    let errors: Vec<_> = report.skipped.iter().map(|mistake| mistake.what.as_str()).collect();
    assert_eq!((rules.len(), errors.len()), (10, 0), "{errors:?}");
    for seed in 0..5 {
        let (matched, _) = law(&rules, 30, seed);
        assert!(matched > 100, "{matched}");
    }
}

#[test]
fn honest_events_reach_no_rule() {
    let ships = beside("../playbooks").expect("what ships lies beside the engine");
    let (rules, _) = Rules::load(&[RuleSource::Dir(ships)], &[]);
    for (image, line) in [
        ("/usr/bin/gcc", "gcc -O2 -c main.c -o main.o"),
        ("/usr/bin/tar", "tar -C /tmp -xf archive.tar"),
        ("/usr/bin/rustc", "rustc --crate-name quell --edition 2024 src/main.rs --emit dep-info,link"),
    ] {
        let fields = [("Image", image), ("CommandLine", line), ("ParentImage", "/usr/bin/make")];
        let event = event(fields.map(|(name, text)| (name.to_owned(), json!(text))).into());
        for class in rules.classes.iter().filter(|c| c.logsource.category.as_deref() == Some("process_creation")) {
            let mut memory = Memory::default();
            let open = class.gate.open(&mut memory, &View(&event)).to_vec();
            let titles: Vec<&str> =
                open.iter().filter_map(|at| class.rules().nth(*at as usize)).map(|rule| rule.title.as_str()).collect();
            assert_eq!(titles, [""; 0], "{line}");
            assert_eq!(open, class.gate.open(&mut memory, &View(&event)), "the second time from memory");
        }
    }
}

#[test]
fn no_rules_are_no_gate() {
    let event = event(HashMap::new());
    assert!(Gate::new(&[]).open(&mut Memory::default(), &View(&event)).is_empty());
}
