//! What was written down and not sent before its step was over goes out first, and its step waits anew.

use super::*;

#[test]
fn what_a_dead_engine_has_not_sent_goes_out_before_the_next_step_however_late() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Nothing]);
    night.yard.attack(1);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 1);
    night.yard.clock.advance(MINUTE * 6);
    let mut night = night.again("b", &[Says::Takes]);
    night.receive(2);
    let opened = "an incident of level high was opened";
    assert_eq!(night.mail.told(), [format!("ana: {opened}"), format!("ana: {opened} (repeat)")]);
    assert_eq!(night.mail.got()[0].key, night.mail.got()[1].key);
    night.pass(MINUTE * 5 - Duration::from_secs(1));
    assert_eq!(night.moves(), [(1, to(0))], "ana has all of her time");
    night.pass(Duration::from_secs(1));
    night.receive(3);
    assert_eq!(night.mail.told()[2], "bo: nobody answered in time");
}

#[test]
fn a_page_at_a_channel_that_hangs_holds_no_step_up() {
    let mut first = rung(&["ana"], 5, Ack::Any);
    first.wait = Duration::from_secs(20);
    let mut night = Night::new(first, &[Says::Nothing, Says::Takes]);
    night.yard.attack(1);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 1);
    night.pass(Duration::from_secs(20));
    night.yard.stage.until(|_| mail.got().len() == 2);
    assert_eq!(night.mail.told()[1], "bo: nobody answered in time");
}

#[test]
fn a_page_that_waits_for_another_at_the_same_place_holds_its_step_up_once() {
    let mut escalation = escalation(rung(&["ana"], 5, Ack::Any));
    let short = |seconds| Rung { wait: Duration::from_secs(seconds), ..rung(&["ana"], 5, Ack::Any) };
    escalation.policies.get_mut("security").unwrap().steps = vec![short(20), short(2)];
    let playbook = playbook_of(vec![sets("one", &[], "process.freeze", "a")]);
    let mut night = Night::of(playbook, escalation, &[Says::Nothing, Says::Takes]);
    night.yard.attack(1);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 1);
    night.pass(Duration::from_secs(20));
    assert_eq!((night.moves().len(), night.mail.got().len()), (2, 1), "the first one is still at the channel");
    night.pass(Duration::from_secs(2));
    assert_eq!((night.moves().len(), night.mail.got().len()), (2, 1), "its step waits as long again");
    night.pass(Duration::from_secs(2));
    night.yard.stage.until(|_| mail.got().len() == 2);
    assert_eq!(night.mail.told()[1], "lead: nobody answered in time");
    assert_eq!(night.moves(), [(1, to(0)), (1, to(1)), (1, Place::LastResort)]);
}

#[test]
fn what_a_silence_held_at_its_first_page_is_told_to_whom_it_was_for() {
    // The channel is full of others' pages when the silence comes.
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.flood(0..7, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 5);
    let covers = quell_model::record::Covers { level: Some(quell_model::Level::High), ..Default::default() };
    let wanted = crate::run::Silenced { covers, lasts: MINUTE * 60, reason: "why".into(), maintenance: false };
    night.yard.ask(Request::Silence { wanted: wanted.into(), by: "cy".into(), via: "socket".into() }).unwrap();
    night.pass(MINUTE * 59);
    assert_eq!(night.mail.got().len(), 5);
    night.pass(MINUTE);
    // Of five bo is told now, as ana was before; of the two that were gathered ana is.
    let last = |mail: &Tape| mail.got().into_iter().filter(|letter| letter.page.to == To::Person("ana".into())).nth(5);
    night.yard.stage.until(|_| last(&mail).is_some());
    assert_eq!(last(&mail).unwrap().notice.title, "2 incidents at once, the worst: A rule");
    // After that both go up as ever, and say so.
    night.yard.stage.until(|stage| stage.core.pages_under_way() == 0);
    night.pass(MINUTE * 5);
    let to_bo = |mail: &Tape| {
        let told = mail.got().into_iter().filter(|letter| letter.page.to == To::Person("bo".into()));
        told.map(|letter| letter.notice.because).collect::<Vec<_>>()
    };
    night.yard.stage.until(|_| to_bo(&mail).len() == 7);
    assert_eq!(to_bo(&mail)[5..], ["nobody answered in time"; 2]);
}
