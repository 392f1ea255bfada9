//! Answers that also answer the same question for a while.

use super::questions::{asks_bo, people};
use super::*;

#[test]
fn what_was_said_by_a_way_that_another_question_may_not_take_does_not_answer_it() {
    let mut yard = asks_bo();
    let run = yard.attack(1);
    yard.says(&run, "ask", "me", "bo").unwrap();
    let mut other = yard.playbook.clone();
    other.hash = Hash::of(b"another text");
    let StepKind::Ask(ask) = &mut other.steps[0].kind else { panic!("{:?}", other.steps[0]) };
    ask.not_via.push("socket".into());
    yard.stage.core.definitions.playbooks = vec![Arc::new(other)];
    let again = yard.attack_by("8", 2);
    assert!(yard.answers(&again).is_empty(), "they are asked once more");
}

#[test]
fn what_a_person_has_said_outlives_restarts_and_boots_and_no_longer_than_it_should() {
    let mut yard = asks_bo();
    let run = yard.attack(1);
    yard.says(&run, "ask", "me", "bo").unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    let said = |yard: &mut Yard, subject: &str, number: u32| {
        yard.stage.core.definitions.people = people(1);
        let run = yard.attack_by(subject, number);
        yard.answers(&run).first().map(|answer| (answer.choice.to_string(), answer.by.clone()))
    };
    let me = Some(("me".to_owned(), Some(Name::from("bo"))));
    yard.clock.advance(HOUR / 2);
    // In the same boot the wall clock may be set as it will.
    yard.wall_moves(48);
    let mut yard = yard.again("b");
    assert_eq!(said(&mut yard, "8", 2), me, "half an hour is not over");
    yard.wall_moves(-48);
    // What was answered by it is not said once more: it does not begin anew.
    let remembered = yard.stage.journal.latest(&[Kind::AnswerRemembered], 10).unwrap();
    assert_eq!(remembered.len(), 1);
    let mut yard = yard.again("another");
    assert_eq!(said(&mut yard, "9", 3), me);
    yard.clock.advance(HOUR / 2 + Duration::from_secs(1));
    assert_eq!(said(&mut yard, "10", 4), None, "an hour is over");
    let mut yard = yard.again("a third");
    assert_eq!(said(&mut yard, "11", 5), None);
}
