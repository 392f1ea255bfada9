//! Many incidents at once: a few pages, then one for all the others, and every ladder knows what became of its own.

use super::ladder::{MINUTE, Night, Says, rung};
use super::*;
use crate::escalation::bundle::{ALONE, GATHER};
use crate::escalation::policy::Ack;
use quell_model::notice::Receipt;
use quell_model::record::PageState;
use quell_model::{LadderId, Level};

impl Night {
    /// Incidents of so many units at once; the one of this number is critical.
    pub(super) fn flood(&mut self, numbers: std::ops::Range<u32>, worst: Option<u32>) {
        for number in numbers {
            let mut attack = detection(&format!("{number}"), number);
            if worst == Some(number) {
                attack.rule.level = Level::Critical;
            }
            let event = Arc::make_mut(&mut attack.event);
            event.entity.id = format!("unit-{number}").as_str().into();
            event.head.at = self.yard.clock.now();
            self.yard.stage.core.detections([attack]);
        }
        self.yard.stage.settle();
    }
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
    night.flood(0..40, Some(33));
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
    night.flood(0..20, None);
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
    night.flood(0..8, None);
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

/// The ladders of all incidents, with what each says of its pages.
fn receipts(night: &Night) -> Vec<(IncidentId, Vec<quell_model::record::PageReceipted>)> {
    let of = |(id, _): (IncidentId, Vec<PageState>)| {
        let records = night.yard.stage.journal.read(&StreamId::ladder(&LadderId::incident(&id)), 1).unwrap();
        let receipted = |record: quell_model::Record| match record.body {
            Body::PageReceipted(receipted) => Some(receipted),
            _ => None,
        };
        (id, records.into_iter().filter_map(receipted).map(|receipted| *receipted).collect())
    };
    ladders(night).into_iter().map(of).collect()
}

#[test]
fn a_message_for_many_of_which_nobody_knows_whether_it_went_goes_again_as_the_same() {
    let mut says = vec![Says::Takes; ALONE];
    says.extend([Says::Dies, Says::Nothing]);
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &says);
    night.flood(0..12, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    night.pass(GATHER);
    night.yard.stage.until(|_| mail.got().len() == ALONE + 1);
    // Each of its pages says so: one of them is answered meanwhile.
    let unknown = |receipts: &[quell_model::record::PageReceipted]| {
        receipts.last().is_some_and(|last| last.attempt == 1 && matches!(last.state, PageState::Waits { .. }))
    };
    let all: Vec<LadderId> = ladders(&night).iter().map(|(id, _)| LadderId::incident(id)).collect();
    night.yard.stage.until(|stage| {
        let lasts = all.iter().filter_map(|id| stage.journal.read(&StreamId::ladder(id), 1).unwrap().pop());
        let is_unknown = |record: quell_model::Record| match record.body {
            Body::PageReceipted(last) => last.together.is_some() && unknown(&[*last]),
            _ => false,
        };
        lasts.filter(|record| is_unknown(record.clone())).count() == 7
    });
    let one = receipts(&night).into_iter().find(|(_, receipts)| unknown(receipts)).unwrap().0;
    let (by, via, why) = (Name::from("ana"), Name::from("email"), String::new());
    night.yard.ask(Request::Acknowledge { incident: one, acknowledged: true, why, by, via, generation: None }).unwrap();
    night.pass(Duration::from_secs(3));
    night.yard.stage.until(|_| mail.got().len() == ALONE + 2);
    // And quell is killed while its channel is at it.
    let mut night = night.again("b", &[Says::Takes]);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE + 3);
    let letters = mail.got().split_off(ALONE);
    let keys: std::collections::BTreeSet<_> = letters.iter().map(|letter| &letter.key).collect();
    assert_eq!(keys.len(), 1, "whoever takes keys has it once");
    assert_eq!(
        letters.iter().map(|letter| (letter.is_bundle, letter.repeat)).collect::<Vec<_>>(),
        [(true, false), (true, true), (true, true)]
    );
    assert!(letters[0].notice.title.starts_with("7 incidents at once"), "{}", letters[0].notice.title);
    assert!(letters[2].notice.title.starts_with("6 incidents at once"), "{}", letters[2].notice.title);
}

#[test]
fn a_page_that_may_have_been_taken_goes_again_by_itself_and_not_with_others() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Dies, Says::Takes]);
    night.flood(0..12, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    let first = mail.got()[0].key.clone();
    let all: Vec<LadderId> = ladders(&night).iter().map(|(id, _)| LadderId::incident(id)).collect();
    let is_unknown = |record: quell_model::Record| match record.body {
        Body::PageReceipted(last) => last.attempt == 1 && matches!(last.state, PageState::Waits { .. }),
        _ => false,
    };
    night.yard.stage.until(|stage| {
        all.iter().filter_map(|id| stage.journal.read(&StreamId::ladder(id), 1).unwrap().pop()).any(is_unknown)
    });
    night.pass(Duration::from_secs(3));
    night.yard.stage.until(|_| mail.got().len() == ALONE + 1);
    night.pass(GATHER);
    night.yard.stage.until(|_| mail.got().len() == ALONE + 2);
    let (again, others): (Vec<_>, Vec<_>) =
        mail.got().split_off(ALONE).into_iter().partition(|letter| letter.key == first);
    let told = |letters: &[quell_model::notice::Letter]| {
        letters.iter().map(|letter| (letter.is_bundle, letter.repeat)).collect::<Vec<_>>()
    };
    assert_eq!((told(&again), told(&others)), (vec![(false, true)], vec![(true, false)]));
    assert!(others[0].notice.title.starts_with("7 incidents at once"), "{}", others[0].notice.title);
}

#[test]
fn a_message_for_many_that_goes_again_late_leaves_each_of_its_ladders_its_time() {
    let mut says = vec![Says::Takes; ALONE];
    says.push(Says::Nothing);
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &says);
    night.flood(0..12, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    night.pass(GATHER);
    night.yard.stage.until(|_| mail.got().len() == ALONE + 1);
    // It is killed with the message at its channel, and is down for longer than the step lasts.
    night.yard.clock.advance(MINUTE * 6);
    let mut night = night.again("b", &[Says::Takes]);
    // Of those that went alone bo is told.
    all_told(&mut night, 2 * ALONE + 2);
    let moves = |night: &Night, (id, receipts): &(IncidentId, Vec<quell_model::record::PageReceipted>)| {
        let records = night.yard.stage.journal.read(&StreamId::ladder(&LadderId::incident(id)), 1).unwrap();
        let moves = records.iter().filter(|record| matches!(record.body, Body::LadderMoved(_))).count();
        (receipts.iter().any(|receipted| receipted.together.is_some()), moves)
    };
    let count =
        |night: &Night, what: (bool, usize)| receipts(night).iter().filter(|of| moves(night, of) == what).count();
    assert_eq!((count(&night, (false, 2)), count(&night, (true, 1))), (ALONE, 7));
    night.pass(MINUTE * 5);
    night.pass(GATHER);
    assert_eq!(count(&night, (true, 2)), 7, "and no more than that");
}

#[test]
fn what_is_gathered_goes_before_a_short_step_is_over() {
    let mut first = rung(&["ana"], 5, Ack::Any);
    first.wait = Duration::from_secs(2);
    let mut night = Night::new(first, &[Says::Takes]);
    night.flood(0..9, None);
    let to_ana = |mail: &super::ladder::Tape| {
        let is_ana =
            |letter: &quell_model::notice::Letter| letter.page.to.person().is_some_and(|name| name.as_str() == "ana");
        mail.got().into_iter().filter(is_ana).collect::<Vec<_>>()
    };
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| to_ana(&mail).len() == ALONE);
    for _ in 0..8 {
        night.pass(Duration::from_secs(2));
    }
    night.yard.stage.until(|_| to_ana(&mail).len() == ALONE + 1);
    let last = to_ana(&mail).pop().unwrap();
    assert_eq!(last.notice.title, "4 incidents at once, the worst: A rule");
}

#[test]
fn the_last_of_a_message_for_many_says_so_at_its_end() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.flood(0..7, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    night.pass(GATHER);
    all_told(&mut night, ALONE + 1);
    let bundle = night.mail.got().pop().unwrap();
    let is_in = |receipts: &[quell_model::record::PageReceipted]| receipts.last().unwrap().together.is_some();
    let both: Vec<IncidentId> =
        receipts(&night).into_iter().filter(|(_, receipts)| is_in(receipts)).map(|(id, _)| id).collect();
    assert_eq!(both.len(), 2);
    for (number, incident) in both.into_iter().enumerate() {
        night
            .yard
            .ask(Request::Resolve { incident, why: "rebuilt".into(), by: "bo".into(), via: "test".into() })
            .unwrap();
        let mail = Arc::clone(&night.mail);
        night.yard.stage.until(|_| mail.got().len() == ALONE + 2 + number);
    }
    let ends = night.mail.got().split_off(ALONE + 1);
    let last_of: Vec<_> = ends.iter().map(|letter| letter.last_of.clone()).collect();
    assert_eq!(last_of, [vec![], vec![bundle.key]]);
}

#[test]
fn the_last_of_a_message_for_many_are_known_also_where_another_leads_the_next() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.flood(0..7, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    night.pass(GATHER);
    all_told(&mut night, ALONE + 1);
    let bundle = night.mail.got().pop().unwrap();
    for (incident, receipts) in receipts(&night) {
        let is_in = receipts.last().unwrap().together.is_some();
        let (by, via) = (Name::from("ana"), Name::from("test"));
        let answer = match is_in {
            true => {
                let why = String::new();
                Request::Acknowledge { incident, acknowledged: true, why, by, via, generation: None }
            }
            false => Request::Resolve { incident, why: "rebuilt".into(), by, via },
        };
        night.yard.ask(answer).unwrap();
    }
    let told = |night: &mut Night, many: usize| {
        let mail = Arc::clone(&night.mail);
        night.yard.stage.until(|stage| mail.got().len() == many && stage.core.pages_under_way() == 0);
    };
    told(&mut night, 2 * ALONE + 1);
    // As many others come just before both are raised again, and one more that is worse.
    night.pass(MINUTE * 30 - Duration::from_secs(1));
    night.flood(10..15, None);
    told(&mut night, 3 * ALONE + 1);
    night.flood(20..21, Some(20));
    night.pass(Duration::from_secs(1));
    night.pass(GATHER);
    told(&mut night, 3 * ALONE + 2);
    let next = night.mail.got().pop().unwrap();
    assert_eq!(next.notice.title, "3 incidents at once, the worst: A rule");
    assert_eq!((next.notice.level, next.last_of), (Level::Critical, vec![bundle.key]));
}

#[test]
fn when_a_channel_refuses_the_message_each_page_takes_its_other_way() {
    let mut says = vec![Says::Takes; ALONE];
    says.push(Says::Never);
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &says);
    night.flood(0..12, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == ALONE);
    night.pass(GATHER);
    let console = Arc::clone(&night.console);
    night.yard.stage.until(|_| console.got().len() == ALONE);
    night.pass(GATHER);
    night.yard.stage.until(|_| console.got().len() == ALONE + 1);
    assert_eq!(night.console.got().pop().unwrap().notice.title, "2 incidents at once, the worst: A rule");
}
