//! Tests of proofs: the shape of the spec's example, with one thing wrong at a time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::escalation::channels::{Channels, Email};
use crate::escalation::policy::{Ack, Step};
use crate::escalation::schedule::{Every, Handoff, Layer, Override, Schedule, Unit, Window};
use crate::load::SecretFrom;
use quell_model::Person;
use std::collections::BTreeMap;
use std::time::Duration;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn weekly(rotation: &str) -> Schedule {
    let layer = Layer {
        rotation: rotation.split(' ').map(Name::from).collect(),
        every: Every { count: 1, unit: Unit::Week },
        handoff: Handoff { day: None, at: "09:00".parse().unwrap() },
        start: "2026-01-05".parse().unwrap(),
        restrict: Vec::new(),
    };
    Schedule { time_zone: "America/New_York".to_owned(), layers: vec![layer], overrides: Vec::new() }
}

fn step(notify: &[Target]) -> Step {
    Step { notify: notify.to_vec(), by: Vec::new(), wait: Duration::from_secs(300), ack: Ack::Any }
}

fn on_call(schedule: &str) -> Target {
    Target::Schedule(schedule.into())
}

fn lead() -> Target {
    Target::Person("lead".into())
}

fn policy(steps: Vec<Step>, last_resort: &[Target]) -> Policy {
    let last_resort = last_resort.to_vec();
    Policy { steps, repeat: 0, ack_timeout: None, last_resort, severity: BTreeMap::new() }
}

/// A primary that is always there, a secondary by day beside the lead.
fn example() -> Escalation {
    let mut all = Escalation::default();
    let mut secondary = weekly("bo chi ana");
    let days = (0..5).collect();
    secondary.layers[0].restrict = vec![Window { days, from: "09:00".parse().unwrap(), to: "17:00".parse().unwrap() }];
    all.schedules = [("primary".into(), weekly("ana bo chi")), ("secondary".into(), secondary)].into();
    let steps = vec![step(&[on_call("primary")]), step(&[on_call("secondary"), lead()])];
    all.policies.insert("security".into(), policy(steps, &[lead()]));
    all
}

/// With all of them within reach of mail, but for one; the terminal of the daemon apart.
fn proof(escalation: &Escalation, unreachable: &str, days: u16) -> Proof {
    let mut all = escalation.clone();
    all.channels = by_mail();
    // The one on the terminal.
    all.policies.remove(crate::escalation::DEFAULT);
    for name in ["ana", "bo", "chi", "lead"] {
        let email = (name != unreachable).then(|| format!("{name}@example.org"));
        all.people.people.insert(name.into(), Person { email, ..Person::default() });
    }
    prove(&all, at("2026-02-02T14:00:00Z"), days)
}

fn by_mail() -> Channels {
    let (smtp, from) = (SecretFrom::Env("SMTP_URL".to_owned()), "quell@example.org".to_owned());
    Channels { email: Some(Email { smtp, user: None, password: None, from }), ..Channels::default() }
}

fn lines(proof: &Proof) -> Vec<String> {
    let line = |finding: &Finding| format!("{:?}: {} ({})", finding.level, finding.problem, finding.when.len());
    proof.findings.iter().map(line).collect()
}

#[test]
fn what_is_meant_to_have_gaps_is_noted_and_holds() {
    let proof = proof(&example(), "", 28);
    assert_eq!(lines(&proof), ["Note: schedule `secondary` has nobody (20)"]);
    assert!(proof.holds());
    let gap = Period { from: at("2026-02-06T22:00:00Z"), to: at("2026-02-09T14:00:00Z") };
    assert!(proof.findings[0].when.contains(&gap), "{:?}", proof.findings[0]);
}

#[test]
fn a_step_that_reaches_nobody_is_a_warning() {
    let mut all = example();
    all.policies.get_mut(&Name::from("security")).unwrap().steps[1].notify.pop();
    let found = proof(&all, "", 28);
    let expected = [
        "Warning: step 2 of policy `security` reaches nobody: the next one comes at once (20)",
        "Warning: schedule `secondary` has nobody (20)",
    ];
    assert_eq!(lines(&found), expected);
    assert!(found.holds());
}

/// Two schedules that leave out different hours leave out what they have in common.
#[test]
fn a_ladder_is_empty_when_every_target_of_every_step_is() {
    let mut all = example();
    let primary = all.schedules.get_mut(&Name::from("primary")).unwrap();
    primary.layers[0].restrict =
        vec![Window { days: [4, 5].into(), from: "09:00".parse().unwrap(), to: "09:00".parse().unwrap() }];
    let steps = vec![step(&[on_call("primary")]), step(&[on_call("secondary")])];
    all.policies.insert("security".into(), policy(steps, &[lead()]));
    let found = proof(&all, "", 7);
    let ladder = found.findings.iter().find(|f| matches!(f.problem, Problem::LadderEmpty { .. })).unwrap();
    let period = |from, to| Period { from: at(from), to: at(to) };
    // Nights from Monday to Thursday; on Friday the primary comes when the night ends, and goes on Sunday morning.
    assert_eq!(
        ladder.when,
        [
            period("2026-02-02T22:00:00Z", "2026-02-03T14:00:00Z"),
            period("2026-02-03T22:00:00Z", "2026-02-04T14:00:00Z"),
            period("2026-02-04T22:00:00Z", "2026-02-05T14:00:00Z"),
            period("2026-02-05T22:00:00Z", "2026-02-06T14:00:00Z"),
            period("2026-02-08T14:00:00Z", "2026-02-09T14:00:00Z"),
        ]
    );
    assert!(!found.holds());
    assert_eq!(found.findings[0].level, MistakeLevel::Error, "the worst first");
}

#[test]
fn whom_nothing_reaches_is_nobody() {
    let found = proof(&example(), "bo", 21);
    assert_eq!(
        lines(&found),
        [
            "Error: `bo` is on call in `primary`, and no channel reaches them (1)",
            "Error: `bo` is on call in `secondary`, and no channel reaches them (5)",
            "Warning: step 1 of policy `security` reaches nobody: the next one comes at once (1)",
            "Note: schedule `secondary` has nobody (15)",
        ]
    );
    let found = proof(&example(), "lead", 1);
    let expected = [
        "Error: the last resort of policy `security` reaches nobody (1)",
        "Error: a policy names `lead`, and no channel reaches them (1)",
        "Warning: step 2 of policy `security` reaches nobody: the next one comes at once (1)",
    ];
    assert_eq!(lines(&found)[..3], expected);
}

/// As a page does, a proof goes by a step's own ways, and by the channels that there are.
#[test]
fn a_channel_that_is_none_and_a_way_that_somebody_has_not_reach_nobody() {
    let mut all = example();
    let steps = &mut all.policies.get_mut(&Name::from("security")).unwrap().steps;
    steps[0].by = vec![By::Slack];
    steps[1] = step(&[Target::Channel("slack".into())]);
    all.policies.get_mut(&Name::from("security")).unwrap().last_resort.push(Target::Channel("console".into()));
    let expected = [
        "Error: no step of policy `security` reaches anybody: only its last resort is left (1)",
        "Warning: step 1 of policy `security` reaches nobody: the next one comes at once (1)",
        "Warning: step 2 of policy `security` reaches nobody: the next one comes at once (1)",
    ];
    assert_eq!(lines(&proof(&all, "", 1))[..3], expected);
    assert!(
        lines(&proof(&all, "lead", 1))
            .contains(&"Error: the last resort of policy `security` reaches nobody (1)".to_owned())
    );
}

#[test]
fn a_policy_without_end_or_steps_and_a_schedule_without_zone_or_user_are_found() {
    let mut all = example();
    all.policies.insert("bare".into(), policy(Vec::new(), &[]));
    all.schedules.insert("unused".into(), Schedule { layers: Vec::new(), ..weekly("ana") });
    all.schedules.insert("nowhere".into(), Schedule { time_zone: "Moon/Tycho".to_owned(), ..weekly("ana") });
    assert_eq!(
        lines(&proof(&all, "", 1)),
        [
            "Error: no step of policy `bare` reaches anybody: only its last resort is left (1)",
            "Error: the last resort of policy `bare` reaches nobody (1)",
            "Error: schedule `nowhere` has nobody: there is no time zone `Moon/Tycho` (1)",
            "Warning: schedule `unused` has nobody (1)",
            "Note: schedule `secondary` has nobody (1)",
        ]
    );
}

#[test]
fn load_is_counted_in_hours_nights_and_weekends_of_whom_it_falls_on() {
    let mut all = Escalation::default();
    let mut days = weekly("ana bo chi");
    days.layers[0].restrict =
        vec![Window { days: (0..7).collect(), from: "09:00".parse().unwrap(), to: "17:00".parse().unwrap() }];
    all.schedules.insert("days".into(), days);
    let tokyo = Person { time_zone: Some("Asia/Tokyo".to_owned()), ..Person::default() };
    all.people.people.insert("chi".into(), tokyo);
    // Six weeks of 24-hour days from a handoff on; the clocks go forward in between, so ana has an hour of a third turn.
    let found = prove(&all, at("2026-02-16T14:00:00Z"), 42);
    let load = |load: &Load| (load.person.to_string(), load.minutes, load.shifts, load.nights, load.weekends);
    let turns = 2 * 7 * 8 * 60;
    assert_eq!(
        found.load.iter().map(load).collect::<Vec<_>>(),
        [
            ("ana".to_owned(), turns + 60, 3, 0, 2),
            ("bo".to_owned(), turns, 2, 0, 2),
            // Day in New York is night in Tokyo.
            ("chi".to_owned(), turns, 2, 14, 2),
        ]
    );
}

#[test]
fn who_has_much_more_is_noted() {
    let mut all = example();
    let primary = all.schedules.get_mut(&Name::from("primary")).unwrap();
    primary.overrides = vec![Override {
        who: "ana".into(),
        from: "2026-02-09T09:00".parse().unwrap(),
        to: "2026-02-23T09:00".parse().unwrap(),
    }];
    let found = proof(&all, "", 42);
    let uneven = "Note: schedule `primary` is uneven: 504 h on `ana`, 167 h on `chi` (1)";
    assert!(lines(&found).iter().any(|line| line == uneven), "{:?}", lines(&found));
}
