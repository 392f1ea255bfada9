//! escalation.yaml right and wrong: who comes of it, and every mistake with its place.

use super::*;

fn load(text: &str) -> (Option<People>, Vec<Mistake>) {
    escalation(Path::new("/etc/quell/escalation.yaml"), text, &Roles::default())
}

const WHOLE: &str = r#"
people:
  ana:
    name: Ana
    email: ana@example.org
    time_zone: Europe/Lisbon
    roles: [responder, approver]
    identities: { slack: U012, unix: ana.s, kubernetes: ana@example.org, aws: "arn:aws:iam::111122223333:user/ana", azure: 0c1f }
  bo: { email: bo@example.org, time_zone: America/New_York, identities: { slack: U013, unix: 1007 } }
  lead: { roles: [admin], identities: { email: lead@example.org } }
policies:
  security: { steps: [] }
approvers:
  security: { people: [ana, lead], policy: security }
  both: { people: [ana, bo], quorum: 2, not_requester: false }
"#;

#[test]
fn people_and_approvers_are_read() {
    let (people, mistakes) = load(WHOLE);
    let people = people.unwrap_or_else(|| panic!("{}", crate::load::tests::print(&mistakes)));
    let who = |system, identity: &str| people.who(system, identity).map(Name::as_str);
    assert_eq!(who(System::Unix, "ana.s"), Some("ana"));
    assert_eq!(who(System::Unix, "1007"), Some("bo"));
    assert_eq!(who(System::Email, "lead@example.org"), Some("lead"));
    assert_eq!(who(System::Email, "bo@example.org"), Some("bo"));
    assert_eq!(who(System::Aws, "arn:aws:iam::111122223333:user/ana"), Some("ana"));
    assert_eq!(people.people["ana"].time_zone.as_deref(), Some("Europe/Lisbon"));
    assert_eq!((people.people["ana"].name.as_str(), people.people["bo"].name.as_str()), ("Ana", "bo"));
    assert_eq!(people.deciders, BTreeSet::from(["ana".into()]), "who has a role with `approve`");
    let (security, both) = (&people.approvers["security"], &people.approvers["both"]);
    assert_eq!(
        (security.quorum, security.not_requester, security.policy.as_ref().map(Name::as_str)),
        (1, true, Some("security"))
    );
    assert_eq!((both.quorum, both.not_requester, both.people.len()), (2, false, 2));
    assert_eq!(mistakes.len(), 1, "that policies are names only: {mistakes:?}");
}

#[test]
fn what_this_version_does_not_read_is_said_with_its_place() {
    let text = "people:\n  ana: { wake: { webhook: phone } }\nchannels: { console: {} }\nschedules: {}\nroutes: []\npolicies: { p: {} }\n";
    let (people, mistakes) = load(text);
    assert!(people.is_some());
    assert!(mistakes.iter().all(|mistake| mistake.level == MistakeLevel::Warning));
    let places: Vec<(u32, u32)> = mistakes.iter().map(|mistake| (mistake.span.line, mistake.span.column)).collect();
    assert_eq!(places, [(2, 10), (3, 1), (4, 1), (5, 1), (6, 1)]);
}

#[test]
fn a_file_that_names_nobody_says_what_that_means() {
    for text in ["", "# people: { ana: {} }\n", "people: {}\n", "approvers: {}\n"] {
        let (people, mistakes) = load(text);
        assert!(people.unwrap().is_empty());
        assert!(mistakes.iter().any(|mistake| mistake.what.contains("names nobody")), "{text}: {mistakes:?}");
        assert!(!has_errors(&mistakes), "{text}: {mistakes:?}");
    }
}

#[test]
fn a_key_whose_value_is_commented_out_is_told() {
    for (text, key) in [
        ("people:\n#  ana: {}\n", "people"),
        ("people: { ana: {} }\napprovers:\n#  security: { people: [ana] }\n", "approvers"),
        ("people: { ana: { roles: } }\n", "roles"),
        ("people: { ana: { identities:\n } }\n", "identities"),
        ("people: { ana: { identities: { unix: } } }\n", "unix"),
        ("people: { ana: {} }\napprovers: { a: { people: [ana], quorum: } }\n", "quorum"),
        ("people: { ana: {} }\npolicies:\n", "policies"),
    ] {
        let (people, mistakes) = load(text);
        assert!(people.is_none(), "{text}");
        let what = format!("`{key}` has no value");
        assert!(mistakes.iter().any(|mistake| mistake.what == what), "{text}: {mistakes:?}");
    }
    let told = load("people: { ana: }\n").1;
    assert!(told[0].what == "the person `ana` is nothing" && told[0].expected.as_deref() == Some("a map"), "{told:?}");
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = r#"
persons: {}
people:
  ana: { nam: Ana, email: ana, time_zone: Europe/Lissabon, roles: [respnder, 5], identities: { slak: U1, unix: root } }
  bo: { email: bo@example.org, identities: { slack: U1, unix: 7, kubernetes: " x" } }
  chi: { identities: { slack: U1, email: bo@example.org } }
  dee: { identities: { unix: "7", aws: 5 } }
  quell: {}
  "a b": {}
  eve: nobody
approvers:
  none: {}
  empty: { people: [] }
  unknown: { people: [anna, bo], quorum: 0 }
  many: { people: [bo, chi], quorum: 3 }
  twice: { people: [bo, bo], not_requester: no, policy: securty }
  alone: { people: [bo] }
policies: { security: {} }
"#;
    let (people, mistakes) = load(text);
    assert!(people.is_none());
    insta::assert_snapshot!(crate::load::tests::print(&mistakes));
}

#[test]
fn a_file_that_others_can_write_names_nobody() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("escalation.yaml");
    std::fs::write(&file, WHOLE).unwrap();
    let set = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o644);
    assert!(escalation_file(&file, &Roles::default()).0.is_some());
    set(0o666);
    let (people, mistakes) = escalation_file(&file, &Roles::default());
    assert!(people.is_none() && mistakes[0].what.contains("can be written by anybody"), "{mistakes:?}");
    assert!(escalation_file(&dir.path().join("none.yaml"), &Roles::default()).0.is_none());
}
