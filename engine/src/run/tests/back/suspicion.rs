//! Goal: nobody answers for themselves out of the session that is suspected. Method: an event with a login session and a user, and
//! answers from there and from elsewhere, over a restart and out of what is remembered.

use super::questions::{ask, asks_bo, asks_first, confirmed, people, why};
use super::*;
use crate::run::Way;
use quell_model::playbook::SubPlaybook;
use quell_model::record::AnswerRefused;

fn from(session: &str, uid: u32) -> Option<Box<Origin>> {
    let (node, cgroup) = ("n".into(), Some("/user.slice".to_owned()));
    let processes = vec!["99.90000000.0@b".parse().unwrap()];
    Some(Box::new(Origin { node, processes, uid, session: Some(session.to_owned()), cgroup }))
}

fn way(session: &str, uid: u32) -> Way {
    Way { via: "socket".into(), from: from(session, uid) }
}

impl Yard {
    /// An attack out of a login session of user id 1000 is seen.
    fn seen_in(&mut self, session: &str, number: u32) {
        let mut attack = detection("7", number);
        let event = Arc::make_mut(&mut attack.event);
        event.head.at = self.clock.now();
        event.subject = Subject::User(format!("{session}-{number}").into());
        event.own["process"] = json!({ "id": "7.5.1@b", "uid": 1000, "euid": 1000, "session": session });
        attack.at = self.clock.now();
        self.stage.core.detections([attack]);
    }

    /// The same, and it is answered.
    fn attack_in(&mut self, session: &str, number: u32) -> RunId {
        let before = self.stage.runs();
        self.seen_in(session, number);
        self.stage.settle();
        self.stage.runs().into_iter().find(|run| !before.contains(run)).unwrap()
    }

    fn says_from(
        &mut self,
        run: &RunId,
        (step, choice, by, via): (Option<&str>, &str, &str, &str),
        from: Option<Box<Origin>>,
    ) -> Result<Json, Refusal> {
        let given = AnswerGiven {
            run: run.clone(),
            step: step.map(StepId::from),
            item: None,
            choice: choice.into(),
            plan: None,
            by: by.into(),
            via: via.into(),
            from,
            why: String::new(),
        };
        let answer = self.ask(Request::Answer(Box::new(given)));
        self.stage.core.ink.commit();
        answer
    }

    fn refused(&self, run: &RunId) -> Vec<AnswerRefused> {
        let records = self.stage.journal.read(&StreamId::run(run), 1).unwrap();
        let refused = records.into_iter().filter_map(|record| match record.body {
            Body::AnswerRefused(refused) => Some(*refused),
            _ => None,
        });
        refused.collect()
    }
}

#[test]
fn an_answer_out_of_the_suspected_session_is_refused_once_kept_and_the_question_stays() {
    let mut yard = asks_bo();
    let run = yard.attack_in("7", 1);
    let refused = yard.says_from(&run, (None, "me", "bo", "socket"), from("7", 1000));
    assert!(matches!(&refused, Err(Refusal::Denied(why)) if why.contains("login session 7")), "{refused:?}");
    let refused = yard.says_from(&run, (None, "me", "bo", "socket"), from("8", 1000));
    assert!(why(refused).contains("user id 1000"), "they make sessions at will");
    assert!(yard.answers(&run).is_empty(), "the question stays open");
    let kept = yard.refused(&run);
    assert_eq!(kept.len(), 1, "nobody makes the story long");
    assert_eq!((kept[0].by.as_str(), kept[0].from.clone()), ("bo", from("7", 1000)));
    assert!(yard.stage.journal.latest(&[Kind::AnswerRemembered], 10).unwrap().is_empty());
    yard = yard.again("b");
    yard.stage.core.definitions.people = people(1);
    why(yard.says_from(&run, (None, "me", "bo", "socket"), from("7", 1000)));
    assert_eq!(yard.refused(&run).len(), 1, "a restart forgets nothing");
    yard.says_from(&run, (None, "not_me", "bo", "token"), None).unwrap();
    assert_eq!(yard.things.said(), ["+a"]);
    assert_eq!(yard.stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn what_was_said_before_out_of_a_session_answers_nothing_once_it_is_suspected() {
    let mut yard = asks_bo();
    let run = yard.attack_in("7", 1);
    yard.says_from(&run, (None, "me", "bo", "socket"), from("8", 1001)).unwrap();
    let other = yard.attack_in("9", 2);
    assert_eq!(yard.answers(&other).len(), 1, "it is remembered");
    let suspected = yard.attack_in("8", 3);
    assert!(yard.answers(&suspected).is_empty(), "that came from there");
    let mut yard = yard.again("b");
    yard.stage.core.definitions.people = people(1);
    let suspected = yard.attack_in("8", 4);
    assert!(yard.answers(&suspected).is_empty(), "also over a restart");
}

#[test]
fn nobody_approves_confirms_keeps_or_takes_back_out_of_the_suspected_session() {
    let steps = || {
        vec![
            asks_first(sets("first", &[], "cloud.cut", "a")),
            confirmed(sets("then", &[], "process.freeze", "b"), true),
        ]
    };
    let mut yard = Yard::new(playbook_of(steps()));
    let run = yard.attack_in("7", 1);
    assert_eq!(yard.things.said(), ["+b"]);
    for (step, choice) in [("first", "approve"), ("first", "deny"), ("then", "keep"), ("then", "undo")] {
        assert!(
            why(yard.says_from(&run, (Some(step), choice, "root (unverified)", "socket"), from("7", 0)))
                .contains("session 7")
        );
    }
    let by = || Name::from("root (unverified)");
    let keep = Request::Keep { run: run.clone(), step: None, lasts: Some(HOUR), by: by(), way: way("7", 0) };
    assert!(why(yard.ask(keep)).contains("session 7"));
    let undo = |way| Request::Undo { run: run.clone(), step: Some("then".into()), by: by(), way, why: String::new() };
    assert!(why(yard.ask(undo(way("7", 0)))).contains("session 7"));
    assert!(yard.things.said().is_empty() && yard.answers(&run).is_empty());
    assert_eq!(yard.refused(&run).len(), 2, "one a question");
    yard.says_from(&run, (Some("first"), "approve", "root (unverified)", "socket"), from("8", 0)).unwrap();
    yard.ask(undo(way("8", 0))).unwrap();
    assert_eq!(yard.things.said(), ["+a", "-b"]);
}

/// Each is as good as an answer to all that its runs ask.
#[test]
fn nobody_takes_back_an_incident_or_calls_it_no_attack_out_of_the_suspected_session() {
    let mut yard = Yard::new(playbook_of(vec![confirmed(sets("then", &[], "process.freeze", "b"), true)]));
    let run = yard.attack_in("7", 1);
    assert_eq!(yard.things.said(), ["+b"]);
    let incident = yard.stage.core.runs[&run].run.started.incident.clone().unwrap();
    let by = || Name::from("root (unverified)");
    let undo = |way| Request::UndoIncident { incident: incident.clone(), by: by(), way, why: String::new() };
    let no_attack = |way| {
        let (incident, reason) = (incident.clone(), "it was me".to_owned());
        Request::FalsePositive { incident, reason, by: by(), way, exception: None }
    };
    for request in [undo(way("7", 0)), no_attack(way("7", 0)), undo(way("8", 1000)), no_attack(way("8", 1000))] {
        let refused = yard.ask(request);
        assert!(matches!(&refused, Err(Refusal::Denied(why)) if why.contains(run.as_str())), "{refused:?}");
    }
    assert!(yard.things.said().is_empty() && yard.answers(&run).is_empty(), "it stands, and the question is open");
    let state = |yard: &Yard| crate::report::incidents(&yard.stage.journal).unwrap().remove(0).state;
    assert_eq!(state(&yard), quell_model::record::IncidentState::Open);
    yard.stage.core.ink.commit();
    let kept = yard.refused(&run);
    assert_eq!((kept.len(), kept[0].choice.as_str(), kept[0].from.clone()), (1, "undo", from("7", 0)));
    yard.ask(no_attack(way("8", 0))).unwrap();
    assert_eq!(yard.things.said(), ["-b"]);
    assert_eq!(state(&yard), quell_model::record::IncidentState::Resolved);
}

/// Taking back a run takes back what runs did that its steps have started, with what is asked about that.
#[test]
fn nobody_takes_back_what_a_step_has_started_out_of_the_suspected_session() {
    let asks = vec![confirmed(sets("then", &[], "process.freeze", "b"), true)];
    let (name, hash) = ("child".into(), Hash::of(b"child"));
    let child = Playbook { name, hash, on: crate::load::trigger::by_hand(), ..playbook_of(asks) };
    let starts = SubPlaybook {
        playbook: "child".into(),
        with: json!({}),
        detach: false,
        span: Default::default(),
        inputs: Default::default(),
    };
    let starts = Step { kind: StepKind::Playbook(Box::new(starts)), ..step("child", &[]) };
    let mut yard = Yard::new(playbook_of(vec![starts]));
    yard.stage.core.definitions.playbooks.push(Arc::new(child));
    yard.seen_in("7", 1);
    yard.stage.until(|stage| stage.core.open_questions() == 1);
    let runs = yard.stage.runs();
    let parent = runs.iter().find(|run| yard.stage.core.runs[*run].run.started.parent.is_none()).unwrap().clone();
    let undo = |way| {
        let (run, by) = (parent.clone(), "root (unverified)".into());
        Request::Undo { run, step: None, by, way, why: String::new() }
    };
    let refused = yard.stage.core.serve(undo(way("7", 0)));
    assert!(matches!(&refused, Err(Refusal::Denied(why)) if why.contains("session 7")), "{refused:?}");
    assert_eq!(yard.things.said(), ["+b"]);
    yard.stage.core.serve(undo(way("8", 0))).unwrap();
    yard.stage.until(|stage| stage.core.is_idle());
    assert_eq!(yard.things.said(), ["-b"]);
}

#[test]
fn whose_slack_is_suspected_does_not_answer_by_slack() {
    let mut step = ask(None);
    if let StepKind::Ask(ask) = &mut step.kind {
        ask.not_via.clear();
    }
    let mut yard = Yard::new(playbook_of(vec![step]));
    let mut known = (*people(1)).clone();
    let bo = known.people.get_mut("bo").unwrap();
    bo.identities.insert(people::System::Slack, "U007".to_owned());
    yard.stage.core.definitions.people = Arc::new(known);
    let mut attack = detection("7", 1);
    Arc::make_mut(&mut attack.event).own = json!({ "actor": "U007" }).as_object().unwrap().clone();
    yard.stage.core.detections([attack]);
    yard.stage.settle();
    let run = yard.stage.runs().remove(0);
    let refused = why(yard.says_from(&run, (None, "me", "bo", "slack"), None));
    assert!(refused.contains("by way of `slack` from `U007`"), "{refused}");
    yard.says_from(&run, (None, "me", "bo", "email"), None).unwrap();
    assert_eq!(yard.answers(&run).len(), 1);
}
