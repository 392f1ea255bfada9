//! Files → rules: every mistake with its place, what is passed over, what replaces what, reload.

use super::*;
use quell_model::MistakeLevel;

#[test]
fn every_mistake_has_its_place_and_the_nearest_spelling() {
    let good = rule("Image|endswith: /x");
    let rows: &[(&str, &str, &str, &str, Option<&str>)] = &[
        ("|endswith", "|endwith", "rules.yml:6:5", "Unknown modifier 'endwith'", Some("endswith")),
        ("condition: selection", "condition: selecton", "rules.yml:7:3", "selecton", Some("selection")),
        ("condition: selection", "condition: selection and (", "rules.yml:7:14", "Condition parse error", None),
        ("detection:", "detecton:", "rules.yml:4:1", "Missing required field 'detection'", Some("detection")),
        ("title: t\n", "", "rules.yml:1:1", "Missing required field 'title'", None),
        ("|endswith: /x", "|re: '(['", "rules.yml:6:15", "invalid regular expression", None),
        ("name: t", "name: [t", "rules.yml", "is no YAML", None),
        ("name: t", "name: t\nlevel: low\nlevel: high", "rules.yml:4:1", "the key `level` is repeated", None),
    ];
    for (from, to, place, what, nearest) in rows {
        let (rules, report) = load(&good.replacen(from, to, 1));
        let errors: Vec<_> = report.errors().collect();
        assert_eq!(errors.len(), 1, "{to}: {:?}", report.skipped);
        assert!(errors[0].place().starts_with(place), "{to}: {} {}", errors[0].place(), errors[0].what);
        assert!(errors[0].what.contains(what), "{to}: {}", errors[0].what);
        assert_eq!(errors[0].nearest.as_deref(), *nearest, "{to}");
        assert!(errors[0].line_text.is_some(), "{to}");
        assert!(rules.is_empty(), "{to}");
    }
}

#[test]
fn a_wrong_level_is_a_warning_and_the_rule_stands() {
    let (rules, report) = load(&format!("{}level: hgih\n", rule("Image: x")));
    assert_eq!(rules.len(), 1);
    assert_eq!(report.skipped[0].level, MistakeLevel::Warning);
    assert_eq!(
        (report.skipped[0].place().as_str(), report.skipped[0].nearest.as_deref()),
        ("rules.yml:8:8", Some("high"))
    );
}

#[test]
fn documents_of_one_file_have_places_of_the_file_and_names_of_their_own() {
    let one = rule("Image: x").replace("name: t\n", "");
    let broken = one.replace("condition: selection", "condition: nothing");
    let (rules, report) = load(&format!("---\n{one}---\n{broken}---\n# nothing here\n---\n{one}"));
    assert_eq!(rules.refs().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["rules", "rules-3"]);
    assert_eq!(report.errors().map(|m| m.place()).collect::<Vec<_>>(), ["rules.yml:14:3"]);
    assert_eq!(report.rules[1].line, 18);
}

#[test]
fn yaml_of_another_kind_is_passed_over_and_named() {
    let (rules, report) = load("apiVersion: v1\nkind: Pod\n---\n- a list\n");
    assert!(rules.is_empty() && report.skipped.is_empty());
    assert_eq!(report.passed_over.iter().map(|m| m.place()).collect::<Vec<_>>(), ["rules.yml:1:1", "rules.yml:4:1"]);
}

#[test]
fn a_later_source_replaces_and_the_same_source_does_not() {
    let id = "id: 6f1bd6c9-7f0e-4f2e-9f0b-0d6f6d2a3c11\n";
    let shipped = format!("{id}{}", rule("Image: shipped"));
    let folder = format!("{id}{}", rule("Image: folder"));
    let (rules, report) = Rules::load(&[text("shipped.yml", &shipped), text("folder.yml", &folder)], &[]);
    assert_eq!(rules.len(), 1);
    assert_eq!(report.rules[0].file.to_str(), Some("folder.yml"));
    assert_eq!(report.skipped[0].level, MistakeLevel::Note);
    let (rules, report) = load(&format!("{shipped}---\n{folder}"));
    assert_eq!(rules.refs().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["t", "t#2"]);
    assert_eq!(report.skipped[0].level, MistakeLevel::Warning);
}

#[test]
fn the_report_counts_and_says_what_can_never_fire() {
    let rules = [
        rule("Image: x"),
        rule("IntegrityLevel: High").replace("name: t", "name: integrity\nstatus: deprecated\nlevel: low"),
        rule("EventID: 1").replace("name: t", "name: windows").replace("product: linux", "product: windows"),
        rule("a0: x\n    type: EXECVE")
            .replace("name: t", "name: audit")
            .replace("category: process_creation", "service: auditd"),
        rule("type: ADD_USER").replace("name: t", "name: log").replace("category: process_creation", "service: auditd"),
        rule("IntegrityLevel: High\n  other:\n    Image: x")
            .replace("condition: selection", "condition: 1 of *")
            .replace("name: t", "name: either"),
        rule("process.memfd: true").replace("name: t", "name: own"),
    ];
    let (_, report) = load(&rules.join("---\n"));
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    let never: Vec<(&str, &str)> = report.never_fires().map(|(rule, why)| (rule.id.as_str(), why)).collect();
    assert_eq!(
        never,
        [
            ("integrity", "no source gives `IntegrityLevel`"),
            ("windows", "no source gives category process_creation, product windows"),
        ]
    );
    assert_eq!(report.rules[4].given, super::super::Given::Records("auditd's log"));
    assert_eq!((report.by_status["none"], report.by_status["deprecated"]), (6, 1));
    assert_eq!((report.by_level["medium"], report.by_level["low"]), (6, 1));
    assert_eq!(report.by_logsource["product linux, service auditd"], 2);
}

#[test]
fn folders_are_walked_and_a_broken_file_is_named_while_the_rest_holds() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("below")).unwrap();
    std::fs::write(dir.path().join("below/good.yaml"), rule("Image: x")).unwrap();
    std::fs::write(dir.path().join("bad.yml"), b"title: \xff\n").unwrap();
    std::fs::write(dir.path().join("notes.txt"), "no rule").unwrap();
    std::os::unix::fs::symlink("..", dir.path().join("below/loop")).unwrap();
    let sources = vec![RuleSource::Dir(dir.path().into()), RuleSource::Dir(dir.path().join("nowhere"))];
    let mut reloader = super::super::Reloader::new(sources, Vec::new());
    let (rules, report) = reloader.load();
    assert_eq!(rules.len(), 1);
    assert!(report.errors().any(|m| m.what.contains("UTF-8")));
    assert!(report.errors().any(|m| m.file.ends_with("nowhere")));
    assert!(!reloader.changed());
    std::fs::remove_file(dir.path().join("bad.yml")).unwrap();
    assert!(reloader.changed());
    assert!(!reloader.changed());
}

#[test]
fn hostile_rules_are_mistakes_and_nothing_worse() {
    let good = rule("Image: x");
    let values: Vec<String> = (0..20_000).map(|n| format!("v{n}")).collect();
    let many = rule(&format!("Image: [{}]", values.join(", ")));
    let bomb: String =
        (1..12).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","))).collect();
    let rows: &[(&str, String, bool)] = &[
        (
            "nested lists",
            good.replace("Image: x", &format!("Image: {}x{}", "[".repeat(20_000), "]".repeat(20_000))),
            false,
        ),
        ("nested maps", good.replace("Image: x", &"{a: ".repeat(5_000)), false),
        (
            "nested condition",
            good.replace(
                "condition: selection",
                &format!("condition: {}selection{}", "(".repeat(5_000), ")".repeat(5_000)),
            ),
            false,
        ),
        (
            "long condition",
            good.replace("condition: selection", &format!("condition: selection{}", " or selection".repeat(100_000))),
            false,
        ),
        (
            "nested nots",
            good.replace("condition: selection", &format!("condition: [{}selection]", "not ".repeat(5_000))),
            false,
        ),
        (
            "many nots",
            good.replace("condition: selection", &format!("condition: {}selection", "not ".repeat(150))),
            true,
        ),
        ("aliases", format!("a0: &a0 [x,x]\n{bomb}{good}"), false),
        ("huge pattern", good.replace("Image: x", "Image|re: '(a{1000}){1000}'"), false),
        ("NUL", good.replace("title: t", "title: \0"), false),
        ("escapes", good.replace("title: t", "title: \"\\e[31m\\n\\0\""), true),
        ("many values", many, true),
        ("binary", "\u{1}\u{2}\u{3}".into(), false),
    ];
    for (what, text, usable) in rows {
        let (rules, report) = load(text);
        assert_eq!(
            !rules.is_empty(),
            *usable,
            "{what}: {:?}",
            report.skipped.iter().map(|m| &m.what).collect::<Vec<_>>()
        );
        assert_eq!(report.has_errors() || !report.passed_over.is_empty(), !*usable, "{what}");
    }
}

#[test]
fn the_rules_that_ship_load_and_the_sensor_gives_what_they_need() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks");
    let (rules, report) = Rules::load(&[RuleSource::Dir(dir)], &[]);
    assert!(!rules.is_empty());
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    // Those over a cluster's audit log are told by its records, or are about such rules.
    let (audit, sensor): (Vec<_>, Vec<_>) = report
        .rules
        .iter()
        .partition(|rule| matches!(rule.given, super::super::Given::Records(_) | super::super::Given::Rules));
    assert!(!audit.is_empty() && sensor.len() > audit.len());
    for rule in sensor {
        assert_eq!(rule.given, super::super::Given::Sensor, "{}", rule.id);
    }
}

#[test]
fn documents_of_a_collection_share_what_is_global() {
    let text = "action: global\ntitle: shared\nlogsource: {category: process_creation, product: linux}\nlevel: high\n---\n\
        name: one\ndetection:\n  s: {Image: /bin/a}\n  condition: s\n---\n\
        name: two\ndetection:\n  s: {Image: /bin/b}\n  condition: s\n---\n\
        name: three\ndetection:\n  s: {Image|nope: /bin/b}\n  condition: s\n";
    let (rules, report) = load(text);
    let levels: Vec<(&str, &str)> = rules.refs().map(|r| (r.name.as_str(), r.level.as_str())).collect();
    assert_eq!(levels, [("one", "high"), ("two", "high")]);
    assert_eq!(report.errors().count(), 1, "{:?}", report.skipped);
    assert_eq!(report.errors().next().unwrap().place(), "rules.yml:18:7");
    assert_eq!(report.rules.iter().map(|rule| rule.line).collect::<Vec<_>>(), [6, 11]);
}

#[test]
fn a_name_that_was_given_is_nobody_elses() {
    let named = |name: &str| rule("Image: x").replace("name: t", &format!("name: {name}"));
    let (rules, _) = load(&[named("a"), named("a"), named("'a#2'"), named("a")].join("---\n"));
    let mut refs: Vec<&str> = rules.refs().map(|one| one.name.as_str()).collect();
    refs.sort_unstable();
    refs.dedup();
    assert_eq!(refs.len(), 4, "{refs:?}");
    let found = run(&mut Detector::new(rules.clone()), &process("e1", 0, serde_json::json!({"Image": "x"})));
    assert_eq!(found.len(), 4, "each is a rule of its own");
}
