//! Nights, played: what is supposed of them shows in their rows, and who is not told is named.

use super::*;
use crate::load::{Roles, escalation};

const WHO: &str = r##"
people:
  ana: { email: ana@example.org, identities: { slack: U1 } }
  bo: { email: bo@example.org }
  lead: { email: lead@example.org }
channels:
  email: { smtp: "smtp://localhost:1025", from: q@example.org }
  slack: { bot_token: { env: T }, signing_secret: { env: S }, channel: "#incidents" }
schedules:
  primary:
    time_zone: UTC
    layers: [{ rotation: [ana, bo], every: 1 week, handoff: { day: mon, at: "09:00" }, start: 2026-01-05 }]
policies:
  security:
    steps:
      - { notify: [schedule: primary], by: [slack, email], wait: 5m }
      - { notify: [person: lead], by: [email], wait: 10m }
    last_resort: [person: bo]
    ack_timeout: 30m
    severity: { critical: { wait: 1m } }
  default: { steps: [{ notify: [channel: slack], wait: 30m }], last_resort: [person: lead] }
routes:
  - { when: "${{ incident.level == \"critical\" || incident.tags.contains(\"attack.impact\") }}", policy: security }
  - { policy: default }
"##;

fn who() -> Escalation {
    let (found, mistakes) = escalation(Path::new("escalation.yaml"), WHO, &Roles::default());
    found.unwrap_or_else(|| panic!("{mistakes:?}"))
}

fn told(text: &str) -> Told {
    Told::read(Path::new("i.yaml"), text).unwrap()
}

/// Monday 2026-01-05, 12:00: ana has the week.
fn night(escalation: &Escalation, incident: &str, what_if: &str) -> Played {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let supposed = suppose(what_if, escalation).unwrap();
    let at = "2026-01-05T12:00:00Z".parse().unwrap();
    play(escalation, &told(incident), at, &supposed, (dir.path(), runtime.handle())).unwrap()
}

/// `+5m lead email sent`, a row each.
fn rows(played: &Played) -> Vec<String> {
    let row = |row: &Row| {
        let what = match &row.what {
            What::Page { to, by, outcome, .. } => {
                let outcome = match outcome {
                    Outcome::Sent => "sent",
                    Outcome::SentAfter { .. } => "sent later",
                    Outcome::NotSent { .. } => "not sent",
                };
                format!("{to} {by} {outcome}")
            }
            What::Nobody { target, .. } => format!("nobody for {target}"),
            What::Answers { by } => format!("{by} answers"),
            What::Restarts => "restart".to_owned(),
        };
        format!("+{}s {what}", row.after.as_secs())
    };
    played.rows.iter().map(row).collect()
}

const IMPACT: &str = "{ level: high, tags: [attack.impact] }";

#[test]
fn nobody_answers_and_everybody_is_told_up_to_the_last_resort() {
    let played = night(&who(), IMPACT, "");
    let expected = ["+0s ana slack sent", "+0s ana email sent", "+300s lead email sent", "+900s bo email sent"];
    assert_eq!(rows(&played), expected);
    assert_eq!((played.policy.as_str(), &played.end, &played.untold), ("security", &End::Exhausted, &vec![]));
    let What::Page { why, because, .. } = &played.rows[0].what else { panic!("it is a page") };
    assert!(why.starts_with("on call in primary: layer 1, shift 1"), "{why}");
    assert_eq!(because, "an incident of level high was opened");
    assert_eq!(played, night(&who(), IMPACT, "ana-silent"), "the same question has the same answer");
    let critical = night(&who(), "{ level: critical }", "");
    assert_eq!(rows(&critical)[2..], ["+60s lead email sent", "+120s bo email sent"]);
    assert_eq!(night(&who(), "{ level: low }", "").policy.as_str(), "default");
}

#[test]
fn what_is_supposed_happens() {
    let who = who();
    let acked = night(&who, IMPACT, "ana-acks@2m");
    assert_eq!(rows(&acked)[2..], ["+120s ana answers"]);
    let again = "2026-01-05T12:32:00Z".parse().ok();
    assert_eq!(acked.end, End::Acknowledged { by: "ana".into(), raised_again: again });

    let down = night(&who, IMPACT, "slack-down");
    assert_eq!(
        rows(&down),
        ["+0s ana slack not sent", "+0s ana email sent", "+300s lead email sent", "+900s bo email sent"]
    );
    assert!(down.untold.is_empty(), "ana has a mail");
    let refuses = night(&who, IMPACT, "slack-refuses");
    assert_eq!(rows(&refuses), rows(&down));
    let outcome = |played: &Played| match &played.rows[0].what {
        What::Page { outcome: Outcome::NotSent { attempts, why }, .. } => (*attempts, why.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(outcome(&refuses), (1, "it refuses (what-if)".to_owned()), "it is not asked again");
    assert!(outcome(&down).0 > 1, "it is");

    let restarted = night(&who, IMPACT, "restart@7m, ana-acks@10m");
    assert_eq!(rows(&restarted)[2..], ["+300s lead email sent", "+420s restart", "+600s ana answers"]);
    let twice = night(&who, IMPACT, "restart@1m,restart@20m");
    assert_eq!(
        rows(&twice).iter().filter(|row| !row.contains("restart")).count(),
        4,
        "no page is sent twice: {:?}",
        rows(&twice)
    );
}

#[test]
fn who_is_not_told_is_named() {
    let down = night(&who(), IMPACT, "slack-down,email-down");
    assert_eq!(
        down.untold,
        [
            "nobody at all is told",
            "person ana is told by no way",
            "person bo is told by no way",
            "person lead is told by no way"
        ]
    );
    let mut nobody = who();
    nobody.people.people.remove("bo");
    let played = night(&nobody, IMPACT, "");
    let all = rows(&played);
    assert!(all.contains(&"+900s nobody for person bo".to_owned()), "{all:?}");
    assert!(played.untold[0].starts_with("last resort reaches nobody (person bo: "), "{:?}", played.untold);
    assert!(all.contains(&"+900s channel console console sent".to_owned()), "the terminal has the last word: {all:?}");
}

#[test]
fn what_cannot_be_supposed_is_told_with_the_nearest_right_word() {
    let who = who();
    let said = [
        "slak-down",
        "an-silent",
        "lede-acks@5m",
        "restart@soon",
        "restart",
        "ana-acks",
        "rain",
        "ana-silent,ana-acks@1m",
        "slack-down,slack-refuses",
        "console-down",
    ];
    let said: Vec<String> = said.iter().map(|one| suppose(one, &who).unwrap_err()).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn an_incident_is_read_as_people_write_it_and_as_quell_shows_it() {
    let written = told("level: high\nrules: [first, second]\nentity: { kind: unit, id: nginx.service, node: web-1 }\n");
    assert_eq!((written.rule.as_str(), &written.others), ("first", &vec!["second".into()]));
    let shown = r#"{ "id": "i-1", "level": "critical", "state": "open", "title": "t", "entity": { "kind": "unit", "id": "u", "node": "n" },
        "detections": [{ "rule": "r", "title": "A shell", "tags": ["attack.impact"] }] }"#;
    let shown = told(shown);
    assert_eq!((shown.rule.as_str(), shown.title.as_str(), shown.tags), ("r", "A shell", vec!["attack.impact".into()]));
    let wrong = |text: &str| Told::read(Path::new("i.yaml"), text).unwrap_err();
    assert_eq!(wrong("{ level: high, tag: [x] }").nearest.as_deref(), Some("tags"));
    assert!(wrong("{ level: awful }").what.contains("awful"));
    assert!(wrong("[1]").what.contains("no incident"));
}
