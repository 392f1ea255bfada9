//! What slipped through once: a page at its channel when quell died, an address of two, a reload, and what counts as a move.

use super::*;

#[test]
fn a_page_that_an_answer_made_needless_before_a_death_is_not_sent_again_and_the_journal_says_so() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Nothing]);
    night.yard.attack(1);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 1);
    night.acks("ana", None).unwrap();
    let mut night = night.again("b", &[Says::Takes]);
    night.receive(1);
    let PageState::Failed { why } = night.receipts().remove(0) else { panic!("{:?}", night.receipts()) };
    assert!(why.contains("made it needless, and quell ended before it knew"), "{why}");
    night.pass(MINUTE);
    assert_eq!(night.mail.got().len(), 1, "somebody looks after it");
    // Once is enough.
    let night = night.again("b", &[Says::Takes]);
    assert_eq!(night.receipts().len(), 1);
}

#[test]
fn two_behind_one_address_are_told_there_once_and_both_have_to_answer() {
    let mut escalation = escalation(rung(&["ana", "bo"], 5, Ack::Each));
    for name in ["ana", "bo"] {
        escalation.people.people.get_mut(name).unwrap().email = Some("ops@example.org".into());
    }
    let playbook = || playbook_of(vec![sets("one", &[], "process.freeze", "a")]);
    let mut night = Night::of(playbook(), escalation.clone(), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    assert_eq!(night.acks("ana", None).unwrap()["waits_for_others"], json!(true), "bo was told too");
    assert_eq!(night.acks("bo", None).unwrap()["state"], json!("acknowledged"));
    // Whom the address does not take is told by their other way: here that is one again.
    let mut night = Night::of(playbook(), escalation, &[Says::Never]);
    night.yard.attack(1);
    night.receive(2);
    let got = night.console.got();
    let told: Vec<&Name> = got[0].page.people().collect();
    assert_eq!((got.len(), told), (1, vec![&Name::from("ana"), &Name::from("bo")]));
}

#[test]
fn an_undo_and_a_keep_of_a_run_move_its_incident() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    night.acks("ana", None).unwrap();
    let runs = night.yard.stage.journal.streams().unwrap();
    let run = runs.into_iter().find_map(|(stream, _)| stream.as_run()).expect("it was answered");
    let way = || crate::run::fixtures::socket();
    night.pass(MINUTE * 20);
    let keep = Request::Keep { run: run.clone(), step: None, lasts: None, by: "ana".into(), way: way() };
    night.yard.ask(keep).unwrap();
    night.pass(MINUTE * 20);
    assert_eq!(night.moves().len(), 1, "somebody has kept it");
    let undo = Request::Undo { run, step: None, by: "bo".into(), way: way(), why: "it was ours".into() };
    night.yard.ask(undo).unwrap();
    night.pass(MINUTE * 20);
    assert_eq!(night.moves().len(), 1, "somebody has taken it back");
    night.pass(MINUTE * 10);
    night.receive(2);
    assert_eq!(night.moves()[1], (2, to(0)), "and nobody has moved it since");
}

#[test]
fn a_reload_lets_no_channel_be_given_more_than_before() {
    let mut night = Night::new(rung(&["ana", "bo"], 5, Ack::Any), &[Says::Nothing]);
    // Two pages each: no more to one person than go one by one.
    night.flood(0..4, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 8);
    let channels: [(Name, Arc<dyn Channel>); 2] =
        [("email".into(), night.mail.clone()), ("console".into(), night.console.clone())];
    let post = Post::new(channels.into());
    let definitions = Definitions { post, ..night.yard.stage.core.definitions.clone() };
    night.yard.stage.core.reload(definitions);
    night.flood(4..5, None);
    // Eight give up after their patience; only then the ninth's turn comes, and the tenth's.
    assert_eq!(night.mail.got().len(), 8);
    night.pass(Duration::from_secs(31));
    night.yard.stage.until(|_| mail.got().len() == 10);
}
