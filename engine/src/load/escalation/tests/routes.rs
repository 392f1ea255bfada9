//! Routes: conditions over incidents, what none of them reaches, and what nobody uses.

use super::{load, print, right, wrong};
use crate::escalation::facts::Facts;
use crate::escalation::policy::Route;
use crate::playbook::{Expressions, Scope};
use quell_model::{Level, MistakeLevel};

const POLICIES: &str = "people: { ana: {} }\npolicies:\n  night: &p { steps: [{ notify: [channel: console], wait: 5m }], last_resort: [channel: console] }\n  default: *p\n";

fn of(routes: &str) -> String {
    format!("{POLICIES}routes: {routes}\n")
}

#[test]
fn a_route_that_is_read_answers_for_an_incident() {
    let text = of(
        r#"[{ when: '${{ incident.level == "critical" || incident.entity.kind == "pod" && "attack.impact" in incident.tags }}', policy: night }, { policy: default }]"#,
    );
    let read = right(&text);
    assert_eq!(read.routes[1], Route { when: None, policy: "default".into() });
    let when = read.routes[0].when.as_deref().unwrap();
    let mut facts = Facts::sample();
    let wants = |facts: &Facts| {
        let incident = facts.to_json();
        let scope = Scope { incident: &incident, ..Scope::empty("2026-01-01T00:00:00Z".parse().unwrap()) };
        Expressions::new().truth(when, &scope).unwrap()
    };
    assert!(!wants(&facts));
    facts.entity.kind = "pod".into();
    assert!(!wants(&facts));
    facts.tags.insert("attack.impact".into());
    assert!(wants(&facts));
    let mut facts = Facts::sample();
    facts.level = Level::Critical;
    assert!(wants(&facts));
}

#[test]
fn every_mistake_of_routes_is_told() {
    let told = wrong(&of(r#"
  - { when: incident.level, policy: nihgt }
  - { when: "${{ incident.levl == \"high\" }}", policy: night }
  - { when: "${{ incident.kind == \"pod\" }}", policy: night }
  - { when: "${{ incident.entity.name == \"pod\" }}", policy: night }
  - { when: "${{ event.process.pid == 1 }}", policy: night }
  - { when: "${{ incidnt.level == \"high\" }}", policy: night }
  - { when: "${{ incident.level == }}", policy: night }
  - { when: "${{ incident.level }}", policy: night }
  - { when: "${{ incident.level > 3 }}", policy: night }
  - { when: "${{ incident.tags.contain(\"attack.impact\") }}", policy: night }
  - { when: "${{ secrets.token == \"x\" }}", policy: night }
  - { when: "${{ |incident| true }}", policy: night }
  - { when: true, policy: night }
  - { when: "on ${{ incident.id == \"x\" }}", policy: night }
  - { if: "${{ true }}", policy: 5 }
  - {}
  - { policy: night }
  - { when: "${{ incident.level == \"low\" }}", policy: default }
  - night"#));
    insta::assert_snapshot!(told);
    let told = wrong(&of("[]"));
    assert!(told.contains("`routes` is empty"), "{told}");
}

#[test]
fn what_takes_the_incidents_that_no_route_wants_is_said() {
    let some = r#"[{ when: '${{ incident.level == "low" }}', policy: night }]"#;
    let mut all = Vec::new();
    for text in [
        of(some),
        of(some).replace("default:", "day:"),
        POLICIES.replace("default:", "day:"),
        "people: { ana: {} }\nchannels: { console: {} }\n".to_owned(),
    ] {
        let (read, mistakes) = load(&text);
        let read = read.unwrap();
        let last = read.routes.last().unwrap();
        assert_eq!((last.when.as_deref(), last.policy.as_str()), (None, "default"), "{text}");
        assert!(read.policies.contains_key("default") && read.channels.console, "{text}");
        all.push(print(&mistakes));
    }
    insta::assert_snapshot!(all.join("--\n"));
    // A policy of that name needs no route.
    let read = right(
        "people: { ana: {} }\npolicies: { default: { steps: [{ notify: [channel: console], wait: 5m }], last_resort: [channel: console] } }\n",
    );
    assert_eq!(read.routes.len(), 1);
}

#[test]
fn what_nobody_uses_is_worth_a_note() {
    let (read, mistakes) = load(
        r#"
people: { ana: { email: a@example.org, wake: { webhook: phone } } }
channels: { email: { smtp: "smtp://localhost", from: q@example.org }, webhooks: { phone: &w { template: ntfy, url: "http://localhost/1" }, room: *w, spare: *w } }
schedules:
  first: &s { time_zone: UTC, layers: [{ rotation: [ana], every: 1 week, start: 2026-01-05 }] }
  second: *s
  third: *s
policies:
  asked: &p { steps: [{ notify: [schedule: first, channel: room], wait: 5m }], last_resort: [schedule: second] }
  taken: *p
  spare: *p
  default: *p
approvers: { a: { people: [ana], not_requester: false, policy: asked } }
routes: [{ policy: taken }]
"#,
    );
    assert!(read.is_some());
    let notes = mistakes.iter().filter(|mistake| mistake.level == MistakeLevel::Note).map(|note| note.what.as_str());
    assert_eq!(
        notes.collect::<Vec<_>>(),
        [
            "nothing goes by the webhook `spare`",
            "nothing goes by the schedule `third`",
            "nothing goes by the policy `spare`",
            "nothing goes by the policy `default`",
        ]
    );
    assert_eq!(mistakes.len(), 4, "{}", print(&mistakes));
}
