//! Whom a step reaches: by which ways, once each, and who is told of when nobody is there.

use super::*;
use crate::escalation::channels::{Email, Slack, Template, Webhook};
use crate::load::SecretFrom;

fn person(slack: Option<&str>, email: Option<&str>, wake: Option<&str>) -> Person {
    let identities = slack.map(|id| (System::Slack, id.to_owned())).into_iter().collect();
    Person { email: email.map(str::to_owned), wake: wake.map(Name::from), identities, ..Person::default() }
}

fn escalation() -> Escalation {
    let mut escalation = Escalation::default();
    let people = [
        ("ana", person(Some("U1"), Some("ana@example.org"), Some("ana_phone"))),
        ("bo", person(None, Some("bo@example.org"), None)),
        ("chi", person(None, Some("bo@example.org"), None)),
        ("dee", person(None, None, None)),
    ];
    escalation.people.people = people.into_iter().map(|(name, person)| (name.into(), person)).collect();
    let secret = || SecretFrom::Env("TOKEN".into());
    escalation.channels = Channels {
        console: false,
        slack: Some(Slack {
            bot_token: secret(),
            signing_secret: vec![secret()],
            app_token: None,
            api_url: "https://slack.com/api".into(),
            channel: "#incidents".into(),
        }),
        email: Some(Email {
            smtp: SecretFrom::Env("SMTP_URL".into()),
            user: None,
            password: None,
            from: "quell@example.org".into(),
        }),
        beat: None,
        webhooks: [("ana_phone".into(), Webhook { template: Template::Ntfy, url: secret(), secret: None })].into(),
    };
    escalation
}

/// `bo` is on call in primary, nobody in the others.
fn on_call(name: &Name) -> (Option<Name>, String) {
    if name.as_str() == "primary" {
        (Some("bo".into()), "layer 1".into())
    } else {
        (None, "outside of its hours".into())
    }
}

fn told(escalation: &Escalation, targets: &[Target], by: &[By]) -> Vec<String> {
    let reached = escalation.reach(targets, by, &on_call);
    let page = |page: &Page| {
        let to = match &page.to {
            To::Person(name) => name.to_string(),
            To::Channel(name) => format!("#{name}"),
        };
        let also: String = page.also.iter().map(|name| format!("+{name}")).collect();
        format!("{to}{also} {} ({})", page.way.channel(), page.because)
    };
    let nobody = reached.nobody.iter().map(|nobody| format!("nobody for {}: {}", nobody.target, nobody.because));
    reached.pages.iter().map(page).chain(nobody).collect()
}

/// Those whom nothing reaches.
fn unreachable(escalation: &Escalation) -> Vec<&Name> {
    escalation.people.people.keys().filter(|name| escalation.ways_to(name, &[]).is_empty()).collect()
}

fn person_target(name: &str) -> Target {
    Target::Person(name.into())
}

#[test]
fn a_person_is_told_by_every_way_or_by_those_that_are_asked_for() {
    let escalation = escalation();
    let named = "named by the policy";
    assert_eq!(
        told(&escalation, &[person_target("ana")], &[]),
        ["ana_phone", "slack", "email"].map(|way| format!("ana {way} ({named})"))
    );
    assert_eq!(
        told(&escalation, &[person_target("ana")], &[By::Email, By::Wake]),
        ["email", "ana_phone"].map(|way| format!("ana {way} ({named})"))
    );
    assert_eq!(
        told(&escalation, &[Target::Channel("slack".into())], &[By::Email]),
        [format!("#slack slack ({named})")],
        "a channel is its own way"
    );
}

#[test]
fn nobody_is_told_twice_and_nobody_is_passed_over() {
    let escalation = escalation();
    let twice = [Target::Schedule("primary".into()), person_target("bo"), person_target("chi")];
    let all = told(&escalation, &twice, &[]);
    assert_eq!(
        all,
        ["bo+chi email (on call in primary: layer 1)"],
        "the first reason holds, and one address is one mail, which tells both"
    );
    assert_eq!(
        told(&escalation, &[person_target("dee"), Target::Schedule("secondary".into()), person_target("eve")], &[]),
        [
            "nobody for person dee: nothing reaches dee: named by the policy",
            "nobody for schedule secondary: outside of its hours",
            "nobody for person eve: nothing reaches eve: named by the policy",
        ]
    );
    assert_eq!(
        told(&escalation, &[person_target("bo")], &[By::Slack]),
        ["nobody for person bo: nothing reaches bo: named by the policy"]
    );
    assert_eq!(unreachable(&escalation), [&Name::from("dee")]);
}

#[test]
fn the_terminal_is_there_where_nothing_else_is() {
    let mut escalation = escalation();
    let console = [Target::Channel("console".into())];
    assert_eq!(
        told(&escalation, &console, &[]),
        ["nobody for channel console: there is no such channel, or it is off"]
    );
    escalation.channels = Channels { console: true, ..Channels::default() };
    assert_eq!(told(&escalation, &console, &[]), ["#console console (named by the policy)"]);
    assert_eq!(told(&escalation, &[person_target("dee")], &[By::Slack]), ["dee console (named by the policy)"]);
    assert!(unreachable(&escalation).is_empty());
}
