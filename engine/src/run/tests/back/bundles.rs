//! Many incidents at once: a few pages, then one for all the others, and every ladder knows what became of its own.

use super::ladder::{MINUTE, Night, Says, rung};
use super::*;
use crate::escalation::bundle::{ALONE, GATHER};
use crate::escalation::policy::Ack;
use quell_model::notice::Receipt;
use quell_model::record::PageState;
use quell_model::{LadderId, Level};

/// Incidents of so many units at once; the one of this number is critical.
fn flood(night: &mut Night, numbers: std::ops::Range<u32>, worst: Option<u32>) {
    for number in numbers {
        let mut attack = detection(&format!("{number}"), number);
        if worst == Some(number) {
            attack.rule.level = Level::Critical;
        }
        let event = Arc::make_mut(&mut attack.event);
        event.entity.id = format!("unit-{number}").as_str().into();
        event.head.at = night.yard.clock.now();
        night.yard.stage.core.detections([attack]);
    }
    night.yard.stage.settle();
}

fn ladders(night: &Night) -> Vec<(IncidentId, Vec<PageState>)> {
    let all = night.yard.stage.journal.incidents(None, 1000).unwrap();
    let of = |id: IncidentId| {
        let stream = StreamId::ladder(&LadderId::incident(&id));
        let records = night.yard.stage.journal.read(&stream, 1).unwrap();
        let states = records.into_iter().filter_map(|record| match record.body {
            Body::PageReceipted(receipted) => Some(receipted.state),
            _ => None,
        });
        (id, states.collect())
    };
    all.iter().filter_map(|listed| listed.stream.as_incident()).map(of).collect()
}

/// Waits until so many letters came and each ladder's last receipt says that its page went.
fn all_told(night: &mut Night, letters: usize) {
    let (mail, many) = (Arc::clone(&night.mail), night.yard.stage.journal.incidents(None, 1000).unwrap().len());
    let went = |stage: &Stage| {
        let is_told = |listed: &crate::store::Listed<crate::store::IncidentLine>| {
            let stream = StreamId::ladder(&LadderId::incident(&listed.stream.as_incident().unwrap()));
            let records = stage.journal.read(&stream, 1).unwrap();
            let last = records.iter().rev().find_map(|record| match &record.body {
                Body::PageReceipted(receipted) => Some(matches!(receipted.state, PageState::Sent(_))),
                _ => None,
            });
            last == Some(true)
        };
        stage.journal.incidents(None, 1000).unwrap().iter().filter(|listed| is_told(listed)).count()
    };
    night.yard.stage.until(|stage| mail.got().len() >= letters && went(stage) == many);
    assert_eq!(night.mail.got().len(), letters);
}

#[test]
fn a_flood_of_incidents_is_a_few_messages_and_then_one_that_counts_the_others() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    flood(&mut night, 0..40, Some(33));
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    night.pass(GATHER - Duration::from_secs(1));
    assert_eq!(night.mail.got().len(), ALONE);
    // Whatever waits says so in its own ladder.
    let waits =
        |states: &[PageState]| matches!(states, [PageState::Waits { why, .. }] if why.contains("goes with others"));
    assert_eq!(ladders(&night).iter().filter(|(_, states)| waits(states)).count(), 40 - ALONE);
    night.pass(Duration::from_secs(1));
    all_told(&mut night, ALONE + 1);
    let letter = night.mail.got().pop().unwrap();
    assert_eq!(letter.notice.title, "35 incidents at once, the worst: A rule");
    assert_eq!((letter.notice.level, letter.repeat), (Level::Critical, false));
    let lead = letter.notice.incident.clone().unwrap();
    let story = &letter.notice.story;
    assert_eq!(story[0], format!("this message stands for 35 incidents; an answer to it is one to {lead} alone:"));
    assert_eq!(story[1], format!("critical {lead}: A rule, about unit unit-33 on n"));
    assert_eq!(story[11], "and 25 more: `quell incident list`");
    let with_it = |state: &PageState| {
        let reference = match state {
            PageState::Sent(Receipt::Handed { reference }) => reference.as_deref(),
            _ => None,
        };
        reference.is_some_and(|reference| reference.starts_with("one message for 35 pages: "))
    };
    let bundled = ladders(&night).iter().filter(|(_, states)| states.last().is_some_and(with_it)).count();
    assert_eq!(bundled, 35);
    // Who answers it looks after the one that leads it; of the others the next is told, again in a few messages.
    let (by, via, why) = (Name::from("ana"), Name::from("email"), String::new());
    let generation = Some(letter.notice.generation);
    night.yard.ask(Request::Acknowledge { incident: lead, acknowledged: true, why, by, via, generation }).unwrap();
    night.pass(MINUTE * 5);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 2 * ALONE + 1);
    night.pass(GATHER);
    night.yard.stage.until(|_| mail.got().len() == 2 * ALONE + 2);
    let second = night.mail.got().pop().unwrap();
    assert_eq!(second.notice.title, "34 incidents at once, the worst: A rule");
    assert_eq!(second.page.to, quell_model::notice::To::Person("bo".into()));
}

#[test]
fn what_is_gathered_when_quell_is_killed_is_told_by_the_next_one() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    flood(&mut night, 0..20, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    night.yard.stage.until(|stage| {
        let incidents = stage.journal.incidents(None, 100).unwrap();
        let mut streams =
            incidents.iter().map(|listed| StreamId::ladder(&LadderId::incident(&listed.stream.as_incident().unwrap())));
        let has = |stream: StreamId| {
            let records = stage.journal.read(&stream, 1).unwrap();
            records.iter().any(|record| matches!(record.body, Body::PageReceipted(_)))
        };
        streams.all(has)
    });
    for boot in ["b", "c"] {
        night = night.again(boot, &[Says::Takes]);
    }
    night.pass(GATHER);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 2 * ALONE);
    night.pass(GATHER);
    all_told(&mut night, 2 * ALONE + 1);
    assert_eq!(night.mail.got().pop().unwrap().notice.title, "10 incidents at once, the worst: A rule");
}

#[test]
fn what_was_answered_or_silenced_meanwhile_goes_into_no_message() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    flood(&mut night, 0..8, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    let waits =
        |(id, states): (IncidentId, Vec<PageState>)| matches!(states[..], [PageState::Waits { .. }]).then_some(id);
    let waiting: Vec<IncidentId> = ladders(&night).into_iter().filter_map(waits).collect();
    assert_eq!(waiting.len(), 3);
    let (by, via) = (Name::from("ana"), Name::from("socket"));
    let resolve =
        Request::Resolve { incident: waiting[0].clone(), why: "seen".into(), by: by.clone(), via: "socket".into() };
    night.yard.ask(resolve).unwrap();
    let entity = night.yard.stage.core.incidents.get(&waiting[1]).unwrap().entity.to_string();
    let covers = quell_model::record::Covers { entity: Some(entity), ..Default::default() };
    let wanted = crate::run::Silenced { covers, lasts: MINUTE * 60, reason: "why".into(), maintenance: false };
    night.yard.ask(Request::Silence { wanted: wanted.into(), by, via }).unwrap();
    night.pass(GATHER);
    night.yard.stage.until(|_| mail.got().len() == ALONE + 1);
    let last = night.mail.got().pop().unwrap();
    assert_eq!((last.notice.title.as_str(), last.notice.incident.as_ref()), ("A rule", Some(&waiting[2])), "alone");
}

#[test]
fn when_a_channel_refuses_the_message_each_page_takes_its_other_way() {
    let mut says = vec![Says::Takes; ALONE];
    says.push(Says::Never);
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &says);
    flood(&mut night, 0..12, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    night.pass(GATHER);
    let console = Arc::clone(&night.console);
    night.yard.stage.until(|_| console.got().len() == ALONE);
    night.pass(GATHER);
    night.yard.stage.until(|_| console.got().len() == ALONE + 1);
    assert_eq!(night.console.got().pop().unwrap().notice.title, "2 incidents at once, the worst: A rule");
}
