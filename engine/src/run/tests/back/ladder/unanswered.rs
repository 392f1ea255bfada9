//! A ladder of which the last resort was told: it is red until somebody does something about it.

use super::*;
use crate::report::{self, Wanted};
use crate::run::answers::EngineStatus;

/// Since when nobody has answered, which status, figures and the incident itself say alike; none: it is not red.
fn red(night: &mut Night) -> Option<Stamp> {
    let status: EngineStatus = serde_json::from_value(night.yard.ask(Request::Status).unwrap()).unwrap();
    night.yard.stage.settle();
    let incident = night.incident();
    let view = report::incident(&night.yard.stage.journal, &incident, Wanted::default()).unwrap().unwrap();
    let count = u64::from(view.exhausted.is_some());
    assert_eq!((status.exhausted.count, night.yard.stage.core.measure().exhausted), (count, count));
    let named: Vec<&str> = status.exhausted.first.iter().map(|ladder| ladder.id.as_str()).collect();
    assert_eq!(named, if count == 1 { vec![incident.as_str()] } else { Vec::new() });
    view.exhausted
}

/// Nobody answers from here on; so many receipts are there already.
fn nobody_answers(night: &mut Night, receipts: usize) -> Stamp {
    night.pass(MINUTE * 5);
    night.receive(receipts + 1);
    assert_eq!(red(night), None, "bo may answer yet");
    night.pass(MINUTE * 10);
    night.receive(receipts + 2);
    red(night).expect("the lead was told, and nobody comes after them")
}

#[test]
fn what_nobody_answers_is_red_until_somebody_does_something_about_it() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    assert_eq!(red(&mut night), None);
    let since = nobody_answers(&mut night, 1);
    // However long, and over a death.
    let mut night = night.again("b", &[Says::Takes]);
    night.pass(MINUTE * 600);
    assert_eq!(red(&mut night), Some(since));
    night.acks("ana", None).unwrap();
    assert_eq!(red(&mut night), None, "ana looks after it");
    // Who does nothing about it is asked anew, as everybody.
    night.pass(MINUTE * 30);
    night.receive(4);
    let again = nobody_answers(&mut night, 4);
    assert!(again > since, "{again:?} {since:?}");
    let (incident, why) = (night.incident(), "rebuilt".to_owned());
    night.yard.ask(Request::Resolve { incident, why, by: "bo".into(), via: "socket".into() }).unwrap();
    assert_eq!(red(&mut night), None, "it is over");
}
