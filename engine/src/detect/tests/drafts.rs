//! Exceptions that are drafted: how narrow they are, that they hold once they are loaded, and when there is none.

use super::*;
use crate::detect::{Draft, DraftOf, Drafting};
use serde_json::json;

const RULE: &str = "title: Download\nname: download\nlogsource: {category: process_creation, product: linux}\n\
    detection:\n  s: {Image|endswith: /curl, CommandLine|contains: mirror}\n  condition: s\n";

fn of(reason: &str) -> DraftOf {
    DraftOf {
        incident: "i-1".into(),
        owner: "ana".into(),
        reason: reason.into(),
        at: at(0).wall,
        last_day: "2026-12-31".parse().unwrap(),
    }
}

/// A process of a unit on a node.
fn in_unit(id: &str, unit: &str, node: &str, sigma: Json) -> OwnedEvent {
    let mut event = event(Class::ProcessCreation, id, 0, sigma, json!({"process": {"unit": unit}}));
    event.entity = Entity { kind: "unit".into(), id: unit.into(), node: node.into() };
    event.head.node = node.into();
    event
}

fn curl(id: &str, line: &str) -> OwnedEvent {
    in_unit(id, "mirror.service", "here", json!({"Image": "/usr/bin/curl", "CommandLine": line}))
}

/// What comes of these events under these rules.
fn drafted(rules: &str, events: &[OwnedEvent]) -> (Draft, usize) {
    let (loaded, report) = load(rules);
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    let mut detector = Detector::new(loaded.clone());
    let (mut drafting, mut count) = (Drafting::default(), 0);
    for event in events {
        for detection in run(&mut detector, event) {
            drafting.see(&detection);
            count += 1;
        }
    }
    (drafting.draft(&loaded, &of("nightly")), count)
}

/// A detector with the rules and what was drafted to them.
fn with(rules: &str, draft: &Draft) -> Detector {
    let (rules, report) = Rules::load(&[text("rules.yml", rules)], &[text("draft.yml", &draft.text)]);
    assert!(report.skipped.is_empty(), "{:?}\n{}", report.skipped, draft.text);
    assert_eq!(report.exceptions.len(), draft.rules.len());
    assert!(
        report.exceptions.iter().all(|one| one.owner == "ana" && one.expires.to_string() == "2027-01-01T00:00:00Z")
    );
    Detector::new(Arc::new(rules))
}

#[test]
fn a_draft_holds_what_was_in_common_where_it_was_seen_and_nothing_else() {
    let (draft, count) = drafted(RULE, &[curl("e1", "curl mirror a"), curl("e2", "curl mirror b")]);
    assert_eq!((count, draft.rules.len(), draft.left_out.len()), (2, 1, 0), "{draft:?}");
    insta::assert_snapshot!(draft.text);
    let mut detector = with(RULE, &draft);
    let mut seen = |event: &OwnedEvent| run(&mut detector, event).len();
    assert_eq!(seen(&curl("e3", "curl mirror c")), 0, "what differed is not compared");
    let other = json!({"Image": "/opt/curl", "CommandLine": "curl mirror a"});
    assert_eq!(seen(&in_unit("e4", "mirror.service", "here", other)), 1, "another image");
    let same = || json!({"Image": "/usr/bin/curl", "CommandLine": "curl mirror a"});
    assert_eq!(seen(&in_unit("e5", "web.service", "here", same())), 1, "another unit");
    assert_eq!(seen(&in_unit("e6", "mirror.service", "there", same())), 1, "another machine");
    let upper = json!({"Image": "/USR/bin/curl", "CommandLine": "curl mirror a"});
    assert_eq!(seen(&in_unit("e7", "mirror.service", "here", upper)), 1, "letter by letter");
    assert_eq!(detector.held().map(|held| held.held).collect::<Vec<_>>(), [1]);
}

/// Whoever shapes a command line writes no filter with it.
#[test]
fn what_was_seen_stands_for_itself_alone() {
    let rule = "title: \"T\\n# x: \\\"y\\\"\"\nname: download\nlogsource: {category: process_creation}\n\
        detection:\n  s: {CommandLine|contains: evil}\n  condition: s\n";
    for hostile in [
        "evil *",
        "evil ?",
        r"evil \* \? \\ \",
        r"\\evil\\*",
        "evil\nfilter:\n  rules: any",
        "evil\" }\n---\ntitle: x",
        "evil: {a: [b], \u{1b}[31m \u{202e} \u{feff} ' # ${{ x }}",
        "evil\u{0}\u{85}\u{2028}\u{10ffff}",
        "~evil",
        "!evil &a *b",
    ] {
        let (draft, count) = drafted(rule, &[curl("e1", hostile)]);
        assert_eq!((count, draft.rules.len()), (1, 1), "{hostile:?}: {draft:?}");
        assert!(draft.text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{}", draft.text);
        let mut detector = with(rule, &draft);
        assert_eq!(run(&mut detector, &curl("e2", hostile)).len(), 0, "{hostile:?}\n{}", draft.text);
        for other in ["evil x", "evil xy", &format!("{hostile}x"), &format!("x{hostile}")] {
            assert_eq!(run(&mut detector, &curl("e3", other)).len(), 1, "{hostile:?} {other:?}\n{}", draft.text);
        }
    }
}

#[test]
fn each_rule_has_a_filter_of_its_own_and_one_that_shares_nothing_has_none() {
    let rules = format!(
        "{RULE}---\ntitle: Any\nid: 0f1e2d3c-0000-4000-8000-000000000001\nlogsource: {{product: linux}}\n\
         detection:\n  s: {{CommandLine|contains: mirror}}\n  condition: s\n"
    );
    let (draft, _) = drafted(&rules, &[curl("e1", "curl mirror a"), curl("e2", "curl mirror b")]);
    assert_eq!(draft.rules.iter().map(Name::as_str).collect::<Vec<_>>(), ["download"]);
    let [left] = &draft.left_out[..] else { panic!("{draft:?}") };
    assert_eq!(left.rule.as_str(), "0f1e2d3c-0000-4000-8000-000000000001");
    assert!(left.why.contains("`CommandLine` was not the same in all detections"), "{}", left.why);
    assert!(draft.text.contains("# Not about the rule \"0f1e2d3c"), "{}", draft.text);
    let (both, _) = drafted(&rules, &[curl("e1", "curl mirror a")]);
    assert_eq!((both.rules.len(), both.text.matches("\n---\n").count()), (2, 1));
    assert_eq!(run(&mut with(&rules, &both), &curl("e2", "curl mirror a")).len(), 0);
    assert_eq!(run(&mut with(&rules, &both), &curl("e2", "curl mirror b")).len(), 2);
    // Made of what it says: the same again is the same, and something else is something else.
    let id = |draft: &Draft| draft.text.lines().find(|line| line.starts_with("id: ")).unwrap().to_owned();
    assert_eq!(id(&both), id(&drafted(&rules, &[curl("e9", "curl mirror a")]).0));
    assert_ne!(id(&both), id(&draft));
}

#[test]
fn no_draft_is_wider_than_what_it_was_made_of() {
    // Words match no field that could be named.
    let words = "title: Words\nname: words\nlogsource: {product: linux}\ndetection:\n  k: [evil]\n  condition: k\n";
    let (draft, count) = drafted(words, &[curl("e1", "so evil")]);
    assert_eq!((count, draft.text.as_str(), draft.left_out.len()), (1, "", 1));
    // Only that something is absent is no value either.
    let absent =
        "title: A\nname: a\nlogsource: {product: linux}\ndetection:\n  s: {ParentImage: null}\n  condition: s\n";
    let (draft, count) = drafted(absent, &[curl("e1", "x")]);
    assert_eq!((count, draft.text.as_str()), (1, ""), "{draft:?}");
    // A value that nobody would read.
    let (draft, _) = drafted(&rule("CommandLine|contains: x"), &[curl("e1", &"x".repeat(5_000))]);
    assert!(draft.text.is_empty() && draft.left_out[0].why.contains("is too long"), "{draft:?}");
    // Where it was seen has no name.
    let mut nowhere = curl("e1", "curl mirror a");
    nowhere.own.clear();
    let (draft, _) = drafted(RULE, &[nowhere]);
    assert!(draft.text.is_empty() && draft.left_out[0].why.contains("(a unit)"), "{draft:?}");
    // The rule is gone.
    let mut drafting = Drafting::default();
    let mut detector = Detector::new(load(RULE).0);
    run(&mut detector, &curl("e1", "curl mirror a")).iter().for_each(|detection| drafting.see(detection));
    let draft = drafting.draft(&load(&rule("User: x")).0, &of("nightly"));
    assert!(draft.text.is_empty() && draft.left_out[0].why.contains("not loaded any more"), "{draft:?}");
}

#[test]
fn numbers_and_what_auditd_would_have_said_can_be_excepted() {
    let port = "title: P\nname: p\nlogsource: {category: network_connection, product: linux}\n\
        detection:\n  s: {DestinationPort: 4444, Initiated: true}\n  condition: s\n";
    let to = |id: &str, port: u16| {
        let sigma = json!({"Image": "/bin/x", "DestinationPort": port, "Initiated": true});
        event(Class::NetworkConnection, id, 0, sigma, json!({"process": {"unit": "x"}}))
    };
    let (draft, _) = drafted(port, &[to("e1", 4444)]);
    assert!(
        draft.text.contains("    DestinationPort: 4444\n    Initiated: true\n    node|cased: \"here\"\n"),
        "{}",
        draft.text
    );
    assert_eq!(run(&mut with(port, &draft), &to("e2", 4444)).len(), 0);

    let auditd = "title: D\nname: d\nlogsource: {product: linux, service: auditd}\n\
        detection:\n  s: {type: EXECVE, a0|endswith: evil, a1: '-x'}\n  condition: s\n";
    let ran = |id: &str, arg: &str| {
        let own = json!({"process": {"image": "/opt/evil", "args": ["/opt/evil", arg]}});
        event(Class::ProcessCreation, id, 0, json!({}), own)
    };
    let (draft, count) = drafted(auditd, &[ran("e1", "-x")]);
    assert_eq!((count, draft.rules.len()), (1, 1), "{draft:?}");
    assert_eq!(run(&mut with(auditd, &draft), &ran("e2", "-x")).len(), 0, "{}", draft.text);
}

#[test]
fn a_correlation_is_excepted_for_its_group() {
    let rules = format!(
        "{RULE}---\ntitle: many\nname: many\ncorrelation:\n  type: event_count\n  rules: [download]\n  group-by: [User]\n\
         \x20 timespan: 1m\n  condition: {{gte: 1}}\n"
    );
    let by = |id: &str, user: &str| {
        in_unit(id, "u", "here", json!({"Image": "/usr/bin/curl", "CommandLine": "mirror", "User": user}))
    };
    let (draft, count) = drafted(&rules, &[by("e1", "ana")]);
    assert_eq!((count, draft.rules.len()), (1, 1), "{draft:?}");
    assert!(!draft.text.contains("count"), "{}", draft.text);
    let mut detector = with(&rules, &draft);
    assert_eq!((run(&mut detector, &by("e2", "ana")).len(), run(&mut detector, &by("e3", "bo")).len()), (0, 1));
}

#[test]
fn a_container_whose_owner_became_known_is_excepted_as_the_owner_s() {
    let sigma = || json!({"Image": "/usr/bin/curl", "CommandLine": "curl mirror a"});
    let at = |id: &str, container: &str, owner: Option<&str>| {
        let pod = owner.map(|owner| json!({"namespace": "shop", "owner": owner}));
        let own = json!({"container": {"id": container}, "pod": pod});
        let mut event = event(Class::ProcessCreation, id, 0, sigma(), own);
        let (kind, name) =
            owner.map_or(("container", container.to_owned()), |owner| ("owner", format!("shop/{owner}")));
        event.entity = Entity { kind: kind.into(), id: name.as_str().into(), node: "here".into() };
        event.head.node = "here".into();
        event
    };
    let web = Some("deployment/web");
    for seen in [[at("e1", "c1", None), at("e2", "c1", web)], [at("e1", "c1", web), at("e2", "c1", None)]] {
        let (draft, count) = drafted(RULE, &seen);
        assert_eq!((count, draft.rules.len()), (2, 1), "{draft:?}");
        let mut detector = with(RULE, &draft);
        assert_eq!(run(&mut detector, &at("e3", "c2", web)).len(), 0, "a replica");
        assert_eq!(run(&mut detector, &at("e4", "c9", Some("deployment/db"))).len(), 1, "somebody else's");
    }
    // Of two containers nobody says that they are one thing.
    let (draft, _) = drafted(RULE, &[at("e1", "c1", None), at("e2", "c2", web)]);
    assert!(draft.text.is_empty() && draft.left_out[0].why.contains("was not the same"), "{draft:?}");
}
