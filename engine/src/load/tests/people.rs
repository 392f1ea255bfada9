//! Whom a playbook asks: approvers and people that an escalation.yaml has or has not.

use super::*;
use crate::load::escalation::escalation;
use quell_model::People;

fn asked(people: &People) -> Vec<Mistake> {
    let text = r#"
playbook: p
on: { manual: true }
limits: { targets: 5/run }
steps:
  good: { action: process.kill, with: { process: x }, approve: { by: security } }
  near: { action: process.kill, with: { process: x }, approve: { by: securty } }
  person: { action: process.kill, with: { process: x }, approve: { by: ana } }
  policy: { action: process.kill, with: { process: x }, approve: { by: night } }
  ask: { ask: { question: x, by: nobody, choices: [a, b], otherwise: a, person: '${{ "anna" }}' } }
  fine: { ask: { question: x, choices: [a, b], otherwise: a, person: '${{ "ana" }}' } }
  later: { ask: { question: x, choices: [a, b], otherwise: a, person: "${{ person_of(event.actor) }}" } }
"#;
    with_known(|known| playbook(Path::new("p.yaml"), text, &Known { people: Some(people), ..known.clone() }).1)
}

#[test]
fn whom_a_playbook_asks_must_be_known() {
    let who = "people: { ana: {}, bo: {} }\npolicies: { night: { steps: [{ notify: [channel: console], wait: 5m }], last_resort: [channel: console] } }\napprovers: { security: { people: [ana, bo] } }\n";
    let people = escalation(Path::new("escalation.yaml"), who, &crate::load::Roles::default()).0.unwrap().people;
    insta::assert_snapshot!(print(&asked(&people)));
}

#[test]
fn where_a_way_cannot_be_seen_the_check_says_so() {
    let who = "people: { ana: {} }\n";
    let people = escalation(Path::new("escalation.yaml"), who, &crate::load::Roles::default()).0.unwrap().people;
    let said = |not_via: &str, personal_tokens: bool| {
        let text = format!(
            "playbook: p\non: {{ manual: true }}\nsteps:\n  you: {{ ask: {{ question: x, person: '${{{{ person_of(event.actor) }}}}', choices: [a, b], otherwise: a, not_via: {not_via} }} }}\n"
        );
        with_known(|known| {
            let known = Known { people: Some(&people), personal_tokens, ..known.clone() };
            let found = playbook(Path::new("p.yaml"), &text, &known).1;
            found
                .iter()
                .filter(|mistake| mistake.what.contains("not_via") || mistake.what.contains("token"))
                .map(|mistake| mistake.what.clone())
                .collect::<Vec<_>>()
                .join("; ")
        })
    };
    assert_eq!(said("[]", false), "");
    assert_eq!(said("[socket]", false), "");
    assert!(said("[]", true).contains("a token of theirs answers from anywhere"));
    assert_eq!(said("[token]", true), "");
    assert!(said("[token, slack, email]", true).contains("leaves the socket alone"));
    assert!(said("[token, slack, email, socket]", false).contains("leaves no way"));
}

#[test]
fn without_people_a_question_says_who_will_answer() {
    let mistakes = asked(&People::default());
    assert!(mistakes.iter().all(|mistake| mistake.level < MistakeLevel::Error), "{mistakes:?}");
    let has = |level, text: &str| mistakes.iter().filter(|m| m.level == level && m.what.contains(text)).count();
    assert_eq!(has(MistakeLevel::Note, "whoever may use the socket answers this `approve`"), 4);
    assert_eq!(has(MistakeLevel::Note, "answers this `ask`"), 1);
    assert_eq!(has(MistakeLevel::Warning, "nobody to ask"), 3);
}

fn escalated(people: &People) -> Vec<Mistake> {
    let text = r#"
playbook: p
on: { schedule: { cron: "0 6 * * mon" } }
steps:
  good: { escalate: { policy: night, step: 1 } }
  of_quell: { escalate: default }
  up: { escalate: { step: 9 } }
  near: { escalate: nigth }
  past: { escalate: { policy: night, step: 2 } }
"#;
    with_known(|known| playbook(Path::new("p.yaml"), text, &Known { people: Some(people), ..known.clone() }).1)
}

#[test]
fn whom_a_playbook_hands_on_to_must_be_known_and_the_step_there() {
    let who = "people: { ana: {} }\npolicies: { night: { steps: [{ notify: [channel: console], wait: 5m }], last_resort: [channel: console] } }\n";
    let people = escalation(Path::new("escalation.yaml"), who, &crate::load::Roles::default()).0.unwrap().people;
    insta::assert_snapshot!(print(&escalated(&people)));
    // Where nobody has written policies, what is named is no error: the file is everybody's.
    let none = crate::escalation::Escalation::default().people;
    let mistakes = escalated(&none);
    assert!(mistakes.iter().all(|mistake| mistake.level < MistakeLevel::Error), "{mistakes:?}");
    let says = |text: &str| mistakes.iter().filter(|mistake| mistake.what.contains(text)).count();
    assert_eq!((says("there is no `night`"), says("there is no `nigth`"), says("belongs to no incident")), (2, 1, 5));
}
