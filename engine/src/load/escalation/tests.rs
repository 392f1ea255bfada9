//! escalation.yaml right and wrong: what comes of it, and every mistake with its place.

use super::*;
use crate::escalation::DEFAULT;
use crate::load::tests::print;
use quell_model::people::{People, System};
use quell_model::{MistakeLevel, Name};
use std::collections::BTreeSet;

mod channels;
mod policies;
mod routes;
mod schedules;

fn load(text: &str) -> (Option<Escalation>, Vec<Mistake>) {
    escalation(Path::new("/etc/quell/escalation.yaml"), text, &Roles::default())
}

/// What comes of a text without a mistake.
fn right(text: &str) -> Escalation {
    let (read, mistakes) = load(text);
    assert_eq!(print(&mistakes), "", "{text}");
    read.unwrap()
}

/// Everything that is wrong with a text that gives nothing.
fn wrong(text: &str) -> String {
    let (read, mistakes) = load(text);
    assert!(read.is_none(), "{text}: {}", print(&mistakes));
    print(&mistakes)
}

/// The file of the specification.
const WHOLE: &str = r##"
people:
  ana:  { name: Ana,  email: ana@example.org,  time_zone: Europe/Lisbon, roles: [responder, approver], identities: { slack: U012, unix: ana, kubernetes: ana@example.org, aws: "arn:aws:iam::111122223333:user/ana" }, wake: { webhook: ana_phone } }
  bo:   { name: Bo,   email: bo@example.org,   time_zone: America/New_York, identities: { slack: U013 } }
  chi:  { name: Chi,  email: chi@example.org,  time_zone: Asia/Tokyo, identities: { slack: U014 } }
  lead: { name: Lead, email: lead@example.org, time_zone: Europe/Berlin, identities: { slack: U015 } }
channels:
  console: {}
  slack: { bot_token: { env: QUELL_TEST_BOT }, signing_secret: { env: QUELL_TEST_SIGNS }, app_token: { env: QUELL_TEST_APP }, api_url: https://slack.com/api, channel: "#incidents" }
  email: { smtp: "smtp://localhost:1025", from: quell@example.org }
  beat: { url: { env: QUELL_TEST_BEAT }, every: 1m }
  webhooks: { ana_phone: { template: ntfy, url: { env: QUELL_TEST_NTFY } } }
schedules:
  primary:
    time_zone: America/New_York
    layers:
      - { rotation: [ana, bo, chi], every: 1 week, handoff: { day: mon, at: "09:00" }, start: 2026-01-05 }
    overrides:
      - { who: bo, from: 2026-12-24T00:00, to: 2026-12-27T00:00 }
  secondary:
    time_zone: America/New_York
    layers:
      - { rotation: [bo, chi, ana], every: 1 week, handoff: { day: mon, at: "09:00" }, start: 2026-01-05, restrict: [{ days: mon..fri, from: "09:00", to: "17:00" }] }
policies:
  security:
    steps:
      - { notify: [schedule: primary], by: [slack, email, wake], wait: 5m, ack: any }
      - { notify: [schedule: secondary, person: lead], by: [slack, email], wait: 10m }
      - { notify: [channel: slack], wait: 15m }
    repeat: 2
    ack_timeout: 30m
    last_resort: [person: lead]
    severity: { critical: { wait: 1m } }
  default: { steps: [ { notify: [channel: slack], wait: 30m } ], last_resort: [person: lead] }
routes:
  - { when: "${{ incident.level == \"critical\" || incident.tags.contains(\"attack.impact\") }}", policy: security }
  - { policy: default }
approvers: { security: { people: [ana, lead], quorum: 1, not_requester: true, policy: security } }
"##;

#[test]
fn the_specifications_file_is_read_whole() {
    let (read, mistakes) = load(WHOLE);
    let read = read.unwrap_or_else(|| panic!("{}", print(&mistakes)));
    insta::assert_snapshot!(print(&mistakes));
    insta::assert_debug_snapshot!(read);
}

#[test]
fn people_and_approvers_are_read() {
    let people = right(
        r#"
people:
  ana:
    name: Ana
    email: ana@example.org
    time_zone: Europe/Lisbon
    roles: [responder, approver]
    identities: { slack: U012, unix: ana.s, kubernetes: ana@example.org, aws: "arn:aws:iam::111122223333:user/ana", azure: 0c1f }
  bo: { email: bo@example.org, time_zone: America/New_York, identities: { slack: U013, unix: 1007 } }
  lead: { roles: [admin], identities: { email: lead@example.org } }
approvers:
  security: { people: [ana, lead], policy: default }
  both: { people: [ana, bo], quorum: 2, not_requester: false }
"#,
    )
    .people;
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
        (1, true, Some(DEFAULT))
    );
    assert_eq!((both.quorum, both.not_requester, both.people.len()), (2, false, 2));
}

#[test]
fn a_file_of_people_alone_is_one_by_which_the_terminal_is_told() {
    let read = right("people: { ana: {} }\n");
    assert_eq!(read, Escalation { people: read.people.clone(), ..Escalation::default() });
}

#[test]
fn a_file_that_names_nobody_says_what_that_means() {
    for text in ["", "# people: { ana: {} }\n", "people: {}\n", "approvers: {}\n"] {
        let (read, mistakes) = load(text);
        assert_eq!(read.unwrap(), Escalation::default(), "{text}");
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
        ("people: { ana: { wake: } }\n", "wake"),
        ("people: { ana: { wake: { webhook: } } }\n", "webhook"),
        ("people: { ana: {} }\napprovers: { a: { people: [ana], quorum: } }\n", "quorum"),
        ("people: { ana: {} }\npolicies:\n", "policies"),
        ("people: { ana: {} }\nroutes:\n", "routes"),
        ("people: { ana: {} }\nroutes: [{ when: , policy: default }]\n", "when"),
        ("people: { ana: {} }\nchannels: { slack: }\n", "slack"),
        ("people: { ana: {} }\nchannels: { console: }\n", "console"),
        ("people: { ana: {} }\nschedules: { s: { time_zone: , layers: } }\n", "layers"),
        (
            "people: { ana: {} }\nschedules: { s: { layers: [{ rotation: , every: , start: , handoff: }] } }\n",
            "rotation",
        ),
        ("people: { ana: {} }\npolicies: { p: { steps: , last_resort: } }\n", "last_resort"),
        ("people: { ana: {} }\npolicies: { p: { steps: [{ notify: , wait: }] } }\n", "notify"),
    ] {
        let (read, mistakes) = load(text);
        assert!(read.is_none(), "{text}");
        let what = format!("`{key}` has no value");
        let told: Vec<_> = mistakes.iter().filter(|mistake| mistake.what == what).collect();
        assert_eq!(told.len(), 1, "{text}: {mistakes:?}");
        // And nothing else is said of it.
        let at = told[0].span;
        assert!(mistakes.iter().all(|mistake| mistake.span != at || mistake.what == what), "{text}: {mistakes:?}");
    }
    let told = load("people: { ana: }\n").1;
    assert!(told[0].what == "the person `ana` is nothing" && told[0].expected.as_deref() == Some("a map"), "{told:?}");
}

#[test]
fn every_mistake_is_told_at_once() {
    let told = wrong(
        r#"
persons: {}
people:
  ana: { nam: Ana, email: ana, time_zone: Europe/Lissabon, roles: [respnder, 5], identities: { slak: U1, unix: root } }
  bo: { email: bo@example.org, identities: { slack: U1, unix: 7, kubernetes: " x" } }
  chi: { identities: { slack: U1, email: bo@example.org } }
  dee: { identities: { unix: "7", aws: 5 }, wake: { webhook: phone } }
  quell: { wake: {} }
  "a b": { wake: phone }
  eve: nobody
approvers:
  none: {}
  empty: { people: [] }
  unknown: { people: [anna, bo], quorum: 0 }
  many: { people: [bo, chi], quorum: 3 }
  twice: { people: [bo, bo], not_requester: no, policy: securty }
  alone: { people: [bo] }
policies: { security: {} }
"#,
    );
    insta::assert_snapshot!(told);
}

#[test]
fn the_whole_file_with_a_letter_wrong_anywhere_gives_nothing_or_says_so() {
    // Every name in it that means another place, misspelt: none is taken for something else.
    for (part, bad) in [
        ("wake: { webhook: ana_phone", "wake: { webhook: ana_fone"),
        ("rotation: [ana, bo", "rotation: [anna, bo"),
        ("who: bo", "who: boo"),
        ("notify: [schedule: primary]", "notify: [schedule: primry]"),
        ("notify: [channel: slack], wait: 15m", "notify: [channel: slak], wait: 15m"),
        ("person: lead], by", "person: leed], by"),
        ("by: [slack, email, wake]", "by: [slack, emial, wake]"),
        ("policy: security }\n  - ", "policy: securty }\n  - "),
        ("{ critical: { wait", "{ criticl: { wait"),
        ("template: ntfy", "template: ntfi"),
        ("day: mon", "day: mun"),
        ("every: 1 week", "every: 1 weak"),
        ("incident.level", "incident.levl"),
        ("America/New_York\n", "America/New_Yorck\n"),
    ] {
        let text = WHOLE.replacen(part, bad, 1);
        assert_ne!(text, WHOLE, "`{part}` is not there");
        let (read, mistakes) = load(&text);
        assert!(read.is_none(), "{bad}");
        let errors: Vec<_> = mistakes.iter().filter(|mistake| mistake.level == MistakeLevel::Error).collect();
        assert_eq!(errors.len(), 1, "{bad}: {}", print(&mistakes));
        assert!(errors[0].nearest.is_some() && errors[0].span.line > 0, "{bad}: {}", print(&mistakes));
    }
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
    let (read, mistakes) = escalation_file(&file, &Roles::default());
    assert!(read.is_none() && mistakes[0].what.contains("can be written by anybody"), "{mistakes:?}");
    assert!(escalation_file(&dir.path().join("none.yaml"), &Roles::default()).0.is_none());
}

#[test]
fn who_is_who_is_what_it_was_to_those_who_ask_for_it_alone() {
    let known: People = load(WHOLE).0.unwrap().people;
    assert_eq!(known.who(System::Slack, "U012").map(Name::as_str), Some("ana"));
    assert_eq!(known.people["ana"].wake.as_ref().map(Name::as_str), Some("ana_phone"));
    assert_eq!(known.policies, std::collections::BTreeMap::from([("security".into(), 3), (DEFAULT.into(), 1)]));
    assert_eq!(known.approvers["security"].policy.as_ref().map(Name::as_str), Some("security"));
}
