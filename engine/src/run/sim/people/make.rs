//! What a seed makes of people: who they are, by which ways they are reached, and policies of any shape.
//!
//! Owns the shapes. Keeps true: each is one that escalation.yaml can say.

use super::post::{Mood, Played, Tape};
use crate::escalation::Escalation;
use crate::escalation::channels::{Channels, Email, Slack, Template, Webhook};
use crate::escalation::policy::{Ack, AtLevel, By, Policy, Route, Step, Target};
use crate::load::SecretFrom;
use crate::run::fixtures::playbook_of;
use crate::run::pages::Post;
use crate::run::sim::make;
use crate::run::sim::rng::Rng;
use crate::run::sim::world::World;
use quell_model::notice::Channel;
use quell_model::people::{Approvers, Person, System};
use quell_model::playbook::{Approve, Confirm, Escalate, ForEach, ItemErrors, Playbook, StepKind, Unanswered, Within};
use quell_model::{Level, Mode, Name};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The step that hands on.
pub(super) const HANDS_ON: &str = "hand_on";

/// Who there is. `dee` has no way of their own.
pub(super) const PEOPLE: [&str; 4] = ["ann", "bo", "cy", "dee"];

fn secret() -> SecretFrom {
    SecretFrom::Env("NOTHING".into())
}

/// People, channels, policies, routes.
pub(super) fn escalation(rng: &mut Rng) -> Escalation {
    let mut escalation = Escalation { routes: Vec::new(), ..Escalation::default() };
    // Two of them may share an address.
    let shared = rng.chance(30);
    for name in PEOPLE {
        let mut person = Person { name: name.into(), ..Person::default() };
        if name != "dee" {
            let mailbox = if shared && name != "ann" { "ops" } else { name };
            person.email = rng.chance(80).then(|| format!("{mailbox}@example.org"));
            person.wake = rng.chance(40).then(|| "phone".into());
            if rng.chance(50) {
                person.identities.insert(System::Slack, format!("U-{name}"));
            }
        }
        escalation.people.people.insert(name.into(), person);
    }
    let email = Email { smtp: secret(), user: None, password: None, from: "q@example.org".into() };
    let slack = Slack {
        bot_token: secret(),
        signing_secret: vec![secret()],
        app_token: None,
        api_url: "https://slack.com/api".into(),
        channel: "#incidents".into(),
    };
    let phone = Webhook { template: Template::Json, url: secret(), secret: None };
    escalation.channels = Channels {
        console: rng.chance(40),
        slack: rng.chance(60).then_some(slack),
        email: rng.chance(80).then_some(email),
        beat: None,
        webhooks: rng.chance(60).then(|| ("phone".into(), phone)).into_iter().collect(),
    };
    policies(rng, &mut escalation);
    let when = "incident.level == \"critical\"".to_owned();
    escalation.routes =
        vec![Route { when: Some(when), policy: "security".into() }, Route { when: None, policy: "default".into() }];
    let pair = Approvers {
        people: PEOPLE[..3].iter().map(|name| Name::from(*name)).collect(),
        quorum: 1 + u32::try_from(rng.below(2)).unwrap(),
        not_requester: rng.chance(50),
        policy: rng.chance(50).then(|| "security".into()),
    };
    escalation.people.approvers.insert("pair".into(), pair);
    escalation.people.deciders = PEOPLE[..3].iter().map(|name| Name::from(*name)).collect();
    escalation
}

/// Who is told of what, and when.
pub(super) fn policies(rng: &mut Rng, escalation: &mut Escalation) {
    for name in ["default", "security"] {
        escalation.policies.insert(name.into(), policy(rng));
    }
}

fn target(rng: &mut Rng) -> Target {
    match rng.below(9) {
        0 => Target::Person("gone".into()),
        1 => Target::Schedule("nobody".into()),
        2 => Target::Channel(rng.of(&["slack", "console", "off", "phone"]).into()),
        _ => Target::Person(rng.of(&PEOPLE).into()),
    }
}

fn targets(rng: &mut Rng) -> Vec<Target> {
    (0..1 + rng.below(2)).map(|_| target(rng)).collect()
}

fn policy(rng: &mut Rng) -> Policy {
    let step = |rng: &mut Rng| Step {
        notify: targets(rng),
        by: if rng.chance(60) { Vec::new() } else { vec![rng.of(&[By::Email, By::Slack, By::Wake, By::Console])] },
        wait: Duration::from_secs(rng.of(&[20, 120, 300])),
        ack: rng.of(&[Ack::Any, Ack::Any, Ack::Each, Ack::Count(2)]),
    };
    let steps = (0..rng.below(4)).map(|_| step(rng)).collect();
    let at = AtLevel { wait: Some(Duration::from_secs(15)) };
    Policy {
        steps,
        repeat: u32::try_from(rng.below(3)).unwrap(),
        ack_timeout: rng.of(&[None, Some(Duration::from_secs(90)), Some(Duration::from_secs(1800))]),
        last_resort: targets(rng),
        severity: rng.chance(20).then_some((Level::Critical, at)).into_iter().collect(),
    }
}

/// The channels that are there, each with how it is disposed; their words, and whether `slack` takes keys. What is
/// configured may be missing all the same.
pub(super) fn post(rng: &mut Rng, tape: &Arc<Mutex<Tape>>, world: &Arc<World>) -> (Post, BTreeSet<Name>, bool) {
    let slack = rng.chance(50);
    let all = [("console", false, false), ("slack", slack, true), ("email", false, false), ("phone", true, false)];
    let mut channels: Vec<(Name, Arc<dyn Channel>)> = Vec::new();
    for (word, takes_keys, writes) in all {
        let mood = Mood {
            wrong: if word == "console" { rng.of(&[0, 0, 10]) } else { rng.of(&[0, 0, 10, 50, 100]) },
            slow: rng.of(&[0, 0, 30, 80]),
            refuses: rng.chance(20),
        };
        tape.lock().unwrap().moods.insert(word.into(), mood);
        if word == "console" || rng.chance(95) {
            let (tape, world) = (Arc::clone(tape), Arc::clone(world));
            channels.push((word.into(), Arc::new(Played { word: word.into(), takes_keys, writes, tape, world })));
        }
    }
    let words = channels.iter().map(|(word, _)| word.clone()).collect();
    (Post::new(channels.into_iter().collect()), words, slack)
}

/// A step that hands the incident on, to where there may be nothing.
fn hands_on(rng: &mut Rng) -> quell_model::playbook::Step {
    let policy = rng.of(&[None, Some("security"), Some("default"), Some("gone")]).map(Name::from);
    let step = if policy.is_none() || rng.chance(50) { Some(1 + u32::try_from(rng.below(4)).unwrap()) } else { None };
    let mut hands = make::says(HANDS_ON, StepKind::Escalate(Escalate { policy, step }));
    hands.mode = rng.chance(10).then_some(Mode::Observe);
    hands
}

/// Playbooks that ask, and one that does not; some tell, and hand on.
pub(super) fn playbooks(rng: &mut Rng) -> Vec<Arc<Playbook>> {
    let within = |rng: &mut Rng| Within(Duration::from_secs(rng.of(&[20, 300, 3600])));
    let by = |rng: &mut Rng| rng.chance(70).then(|| Name::from("pair"));
    let mut which = make::asks_in_time("which");
    if let StepKind::Ask(ask) = &mut which.kind {
        (ask.within, ask.by) = (within(rng), by(rng));
        ask.not_via = if rng.chance(20) { vec!["email".into()] } else { Vec::new() };
    }
    let mut cut = make::acts("cut", &[], "cloud.cut");
    cut.approve = Some(Approve { by: by(rng), within: within(rng), otherwise: Unanswered::Deny });
    if let (StepKind::Action { with, .. }, true) = (&mut cut.kind, rng.chance(50)) {
        with["item"] = serde_json::json!("${{ item }}");
        let list = quell_model::playbook::Expression { text: "[1, 2]".into(), span: Default::default() };
        cut.for_each = Some(ForEach { list, max_parallel: 2, errors: ItemErrors::Collect });
    }
    let mut hold = make::acts("hold", &[], "process.freeze");
    hold.confirm = rng.chance(50).then(|| Confirm { by: by(rng), within: within(rng), undo: rng.chance(50) });
    let all = [("asks", vec![which]), ("cuts", vec![cut]), ("holds", vec![hold])];
    let all = all.map(|(name, mut steps)| {
        if rng.chance(40) {
            steps.push(make::says("say", StepKind::Tell("on ${{ event.node }}".into())));
        }
        if rng.chance(40) {
            steps.push(hands_on(rng));
        }
        (name, steps)
    });
    let all = all.into_iter().map(|(name, steps)| make::named(playbook_of(steps), name));
    let count = rng.below(4);
    all.take(count).collect()
}
