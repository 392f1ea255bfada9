//! Goal: a link does each thing once and nothing more, and whoever was not first, or may not any more, learns it and changes nothing.
//! Method: answers as links give them, of two people, over kills, and with roles that change while an answer waits.

use super::*;
use crate::run::answers::NoticeNow;
use crate::run::fixtures::socket;
use crate::run::ladder::Change;
use crate::run::{May, Pressed};
use quell_model::Hash;
use std::sync::atomic::{AtomicBool, Ordering};

fn link() -> Hash {
    Hash::of(b"the link in ana's mail")
}

impl Night {
    /// Ana presses something that her link has, of a message of the first generation.
    fn by_link(&mut self, wants: Request) -> Result<Json, Refusal> {
        let (ladder, by, via) = (LadderId::incident(&self.incident()), "ana".into(), "email".into());
        let pressed = Pressed { ladder, generation: 1, link: Some(link()), by, via, wants };
        let answer = self.yard.ask(Request::Press(Box::new(pressed)));
        self.yard.stage.settle();
        answer
    }

    fn acknowledges(&mut self) -> Result<Json, Refusal> {
        let (incident, by, via, why) = (self.incident(), "ana".into(), "email".into(), String::new());
        self.by_link(Request::Acknowledge { incident, acknowledged: true, why, by, via, generation: Some(1) })
    }

    fn keeps(&mut self) -> Result<Json, Refusal> {
        let incident = self.incident();
        self.by_link(Request::KeepIncident { incident, lasts: None, by: "ana".into(), way: socket() })
    }

    /// For what her link was used, as its page shows it.
    fn used(&mut self) -> Vec<String> {
        let ladder = LadderId::incident(&self.incident());
        let now = self.yard.ask(Request::Notice { ladder, link: Some(link()) }).unwrap();
        serde_json::from_value::<NoticeNow>(now).unwrap().used.into_iter().collect()
    }

    fn changes_of(&self, what: LadderChange) -> usize {
        let is_it = |body: &Body| matches!(body, Body::LadderChanged(changed) if changed.change == what);
        self.records().iter().filter(|body| is_it(body)).count()
    }
}

#[test]
fn a_link_does_each_thing_once() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    assert_eq!(night.used(), Vec::<String>::new());
    night.keeps().unwrap();
    let again = night.keeps().unwrap_err().to_string();
    assert!(again.contains("used for that already"), "{again}");
    assert_eq!(night.used(), ["keep"]);
    // What she kept does not hold her up: every message of this generation has the same link.
    let answer = night.acknowledges().unwrap();
    assert_eq!((&answer["acknowledged"]["by"], &answer["changed"]), (&json!("ana"), &json!(true)));
    let answer = night.acknowledges().unwrap();
    assert_eq!(answer["changed"], false, "said twice it is so once");
    assert_eq!((night.changes_of(LadderChange::Used), night.changes_of(LadderChange::Answered)), (2, 1));
    let mut night = night.again("b", &[Says::Takes]);
    let again = night.keeps().unwrap_err().to_string();
    assert!(again.contains("used for that already"), "over a kill: {again}");
    let undo =
        Request::UndoIncident { incident: night.incident(), way: socket(), by: "ana".into(), why: String::new() };
    night.by_link(undo).unwrap();
    assert!(night.yard.things.stand().is_empty());
    assert_eq!(night.used(), ["keep", "undo"]);
    let told = night.yard.stage.journal.read(&StreamId::system(), 1).unwrap();
    let kept = told.iter().find_map(|record| match &record.body {
        Body::LeaseChanged(changed) if changed.state.as_str() == "kept" => changed.via.clone(),
        _ => None,
    });
    assert_eq!(kept.as_ref().map(Name::as_str), Some("socket"), "by which way she said so is kept");
    let resolve =
        Request::Resolve { incident: night.incident(), why: "rebuilt".into(), by: "ana".into(), via: "email".into() };
    night.by_link(resolve).unwrap();
    let records = night.yard.stage.journal.read(&StreamId::incident(&night.incident()), 1).unwrap();
    let resolved = records.iter().find_map(|record| match &record.body {
        Body::IncidentChanged(changed) => changed.via.clone(),
        _ => None,
    });
    assert_eq!(resolved.as_ref().map(Name::as_str), Some("email"));
}

/// Until each answer was counted apart, the journal had the sum of the link itself.
#[test]
fn a_link_that_was_used_when_it_did_one_thing_does_nothing_more() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    let (ladder, now) = (LadderId::incident(&night.incident()), night.yard.clock.now());
    let whose = (&Name::from("ana"), &Name::from("email"));
    let used = Change::by(whose, LadderChange::Used, String::new()).by_link(link());
    night.yard.stage.core.change_ladder(&ladder, used, now);
    let mut night = night.again("b", &[Says::Takes]);
    let again = night.keeps().unwrap_err().to_string();
    assert!(again.contains("used for that already"), "{again}");
    assert!(night.used().contains(&"keep".to_owned()), "and its page says so");
}

#[test]
fn a_link_is_not_used_up_where_somebody_else_was_first() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    night.acks("bo", None).unwrap();
    assert_eq!(night.acknowledges().unwrap()["acknowledged"]["by"], "bo");
    assert_eq!(night.changes_of(LadderChange::Used), 0);
    // Handed on by bo: whoever answers the message of before learns by whom.
    let (incident, by, via) = (night.incident(), Name::from("bo"), Name::from("socket"));
    night.yard.ask(Request::Escalate { incident: incident.clone(), why: "not mine".into(), by, via }).unwrap();
    let (by, via) = ("ana".into(), "email".into());
    let late = night.by_link(Request::Escalate { incident, why: String::new(), by, via }).unwrap_err().to_string();
    assert!(late.contains("raised anew since that was asked (bo hands it on: not mine)"), "{late}");
    let mut night = night.again("b", &[Says::Takes]);
    let late = night.acknowledges().unwrap_err().to_string();
    assert!(late.contains("(bo hands it on: not mine)"), "over a kill: {late}");
}

/// What the roles say when the engine comes to it holds, and not what they said when somebody came.
#[test]
fn who_may_no_longer_changes_nothing() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    let may = Arc::new(AtomicBool::new(false));
    let resolves = |night: &Night| {
        let may = Arc::clone(&may);
        let may = May::by(move || may.load(Ordering::SeqCst).then_some(()).ok_or_else(|| "no role".to_owned()));
        let incident = night.incident();
        let (ladder, by, via) = (LadderId::incident(&incident), Name::from("ana"), "slack".into());
        let wants = Request::Resolve { incident, why: String::new(), by: by.clone(), via: "socket".into() };
        let pressed = Pressed { ladder, generation: 1, link: None, by, via, wants };
        Request::IfMay { may, wants: Box::new(Request::Press(Box::new(pressed))) }
    };
    let before = night.records().len();
    let wants = resolves(&night);
    assert_eq!(night.yard.ask(wants), Err(Refusal::Denied("no role".to_owned())));
    assert_eq!(night.records().len(), before);
    may.store(true, Ordering::SeqCst);
    let wants = resolves(&night);
    night.yard.ask(wants).unwrap();
}
