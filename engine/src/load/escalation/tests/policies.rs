//! Policies: who is told in which order, and every way in which one could end in silence.

use super::{right, wrong};
use crate::escalation::policy::{Ack, By, Step, Target};
use std::time::Duration;

const PEOPLE: &str = r##"
people:
  ana: { email: ana@example.org, identities: { slack: U1 }, wake: { webhook: phone } }
  bo: { email: bo@example.org }
  chi: { email: chi@example.org, identities: { slack: U3 } }
channels:
  email: { smtp: "smtp://localhost", from: q@example.org }
  slack: { bot_token: { file: /etc/hostname }, signing_secret: { file: /etc/hostname }, channel: "#incidents" }
  webhooks: { phone: { template: ntfy, url: "http://localhost/ana" }, room: { template: ntfy, url: "http://localhost/room" } }
schedules:
  both: { time_zone: UTC, layers: [{ rotation: [ana, bo], every: 1 week, start: 2026-01-05 }] }
  one: { time_zone: UTC, layers: [{ rotation: [ana], every: 1 week, start: 2026-01-05 }], overrides: [{ who: bo, from: 2026-02-01, to: 2026-02-02 }] }
"##;

/// What is wrong with a file of one policy with these steps.
fn steps(steps: &str) -> String {
    let text = format!("{PEOPLE}policies: {{ default: {{ last_resort: [person: bo], steps: {steps} }} }}\n");
    let found = super::load(&text).1;
    // What a file at hand can be read of, and what these policies do not use, is another's concern.
    let found =
        found.into_iter().filter(|one| !one.what.contains("off for now") && !one.what.contains("nothing goes by"));
    super::print(&found.collect::<Vec<_>>())
}

#[test]
fn a_policy_is_read_as_it_is_meant() {
    let text = PEOPLE.replace("{ file: /etc/hostname }", "{ env: CARGO_PKG_NAME }");
    let read = right(&format!(
        "{text}policies:\n  default:\n    steps:\n      - notify:\n          - schedule: both\n          - schedule: one\n          - channel: room\n        by: [wake, email]\n        wait: 90s\n        ack: 2\n      - {{ notify: [person: ana, person: chi], wait: 1h, ack: each }}\n    last_resort:\n      - channel: slack\n    ack_timeout: 2d\n    severity: {{ low: {{ wait: 1h }} }}\n"
    ));
    let policy = &read.policies["default"];
    let [both, one] = ["both", "one"].map(|name| Target::Schedule(name.into()));
    assert_eq!(
        policy.steps,
        [
            Step {
                notify: vec![both, one, Target::Channel("room".into())],
                by: vec![By::Wake, By::Email],
                wait: Duration::from_secs(90),
                ack: Ack::Count(2),
            },
            Step {
                notify: ["ana", "chi"].map(|name| Target::Person(name.into())).to_vec(),
                by: Vec::new(),
                wait: Duration::from_secs(3600),
                ack: Ack::Each,
            },
        ]
    );
    assert_eq!((policy.repeat, policy.ack_timeout), (0, Some(Duration::from_secs(2 * 86_400))));
    assert_eq!(policy.last_resort, [Target::Channel("slack".into())]);
    assert!(!read.channels.console, "other ways are there");
}

#[test]
fn every_mistake_of_policies_is_told() {
    let told = wrong(
        r#"
people: { ana: { email: ana@example.org }, bo: { email: bo@example.org } }
channels: { console: {}, email: { smtp: "smtp://localhost", from: q@example.org } }
schedules: { s: { time_zone: UTC, layers: [{ rotation: [ana], every: 1 week, start: 2026-01-05 }] } }
policies:
  nothing: {}
  empty: { steps: [], last_resort: [] }
  "a b": { steps: [{ notify: [person: bo], wait: 5m }], last_resort: [person: bo] }
  wrong:
    steps:
      - {}
      - { notify: [], wait: 5m, by: [] }
      - { notify: [ana, s, console, nobody], wait: 5 }
      - { notify: [person: anna, schedule: sun, channel: consle, channel: email], wait: 0s }
      - { notify: [{ person: ana, schedule: s }, {}], wait: 500ms }
      - { notify: [person: ana, schedule: s, person: ana, schedule: s], wait: 91d }
      - { notify: [persons: ana], wait: 5m, by: [mail, slack, wake, email, email] }
      - { notify: person, wait: 5m, by: email, ack: all }
      - { notify: [person: ana], wait: 5m, ack: 2 }
      - { notify: [person: ana, channel: console], wait: 5m, ack: 0 }
      - { notify: [channel: console], wait: 5m, ack: each, waits: 5m }
    repeat: 101
    ack_timeout: 30
    last_resort: [person: bo, person: bo, channel: slack]
    severity: { critcal: { wait: 1m }, high: {}, low: { wait: soon }, medium: { repeat: 1 } }
routes: [{ policy: wrong }]
"#,
    );
    insta::assert_snapshot!(told);
}

#[test]
fn a_step_that_may_reach_nobody_is_an_error() {
    assert_eq!(steps("[{ notify: [schedule: both], wait: 5m }]"), "");
    assert_eq!(steps("[{ notify: [schedule: both], by: [slack, email], wait: 5m }]"), "");
    assert_eq!(steps("[{ notify: [person: ana], by: [wake], wait: 5m }]"), "");
    let rows = [
        // Whoever has no webhook is not woken.
        "[{ notify: [person: bo], by: [wake], wait: 5m }]",
        "[{ notify: [schedule: both], by: [wake], wait: 5m }]",
        // Also when it is an override's turn.
        "[{ notify: [schedule: one], by: [wake], wait: 5m }]",
        "[{ notify: [person: bo, schedule: one], by: [slack, wake], wait: 5m }]",
        // Somebody is told, whoever else is not.
        "[{ notify: [schedule: both, person: ana], by: [wake], wait: 5m }]",
        "[{ notify: [schedule: both, channel: slack], by: [wake], wait: 5m }]",
    ];
    let all: Vec<String> = rows.iter().map(|row| format!("== {row}\n{}", steps(row))).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_terminal_is_a_way_where_a_step_says_so() {
    let file = |by: &str, console: &str| {
        format!(
            "people: {{ ana: {{}} }}\n{console}policies: {{ default: {{ steps: [{{ notify: [person: ana], by: [{by}], wait: 5m }}], last_resort: [channel: console] }} }}\n"
        )
    };
    assert!(right(&file("console", "")).channels.console);
    assert!(right(&file("console", "channels: { console: {} }\n")).channels.console);
    assert!(wrong(&file("email", "")).contains("there is no `channels.email`"));
    // Whoever configures another way has no terminal unless they say so.
    let mail = "channels: { email: { smtp: \"smtp://localhost\", from: q@example.org } }\n";
    assert!(wrong(&file("console", mail)).contains("there is no `channels.console`"));
}
