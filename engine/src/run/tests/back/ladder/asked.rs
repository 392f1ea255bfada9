//! Goal: whoever may answer a question hears of it, until it is answered; a message answers what it showed, and nothing else.
//! Method: playbooks that ask, channels that keep what they are given, answers as buttons and links give them, and kills.

use super::*;
use crate::run::Pressed;
use crate::run::ladder::Change;
use crate::run::tests::back::questions::{asks_first, why};
use quell_model::people::Approvers;
use quell_model::playbook::{Approve, AskPerson, Expression, ForEach, ItemErrors, Unanswered, Within};
use quell_model::{Hash, OfLadder};

const HOUR: Duration = Duration::from_secs(3600);

/// ana and the lead are asked, so many of them have to say yes; the policy goes on with bo.
fn asked(quorum: u32) -> Escalation {
    let mut escalation = escalation(rung(&["bo"], 5, Ack::Any));
    let people = ["ana", "lead"].map(Name::from).into();
    let security = Approvers { people, quorum, not_requester: true, policy: Some("security".into()) };
    escalation.people.approvers.insert("security".into(), security);
    escalation.routes.clear();
    escalation
        .policies
        .insert("quiet".into(), Policy { last_resort: vec![Target::Person("bo".into())], ..Policy::default() });
    escalation.routes.push(Route { when: None, policy: "quiet".into() });
    escalation
}

fn cut() -> Step {
    asks_first(sets("cut", &[], "cloud.cut", "a"))
}

impl Night {
    /// The ladders of questions, by their ids.
    fn carried(&self) -> Vec<LadderId> {
        let streams = self.yard.stage.journal.streams().unwrap();
        let ladders = streams.into_iter().filter_map(|(stream, _)| stream.as_ladder());
        ladders.filter(|id| matches!(id.of(), OfLadder::Question(_))).collect()
    }

    fn of_ladder(&self, id: &LadderId) -> Vec<Body> {
        let records = self.yard.stage.journal.read(&StreamId::ladder(id), 1).unwrap();
        records.into_iter().map(|record| record.body).collect()
    }

    /// Waits until so many pages of a ladder have their receipt.
    fn receive_of(&mut self, id: &LadderId, many: usize) {
        let stream = StreamId::ladder(id);
        let count = |stage: &Stage| {
            let records = stage.journal.read(&stream, 1).unwrap();
            records.iter().filter(|record| matches!(record.body, Body::PageReceipted(_))).count()
        };
        self.yard.stage.until(|stage| count(stage) >= many);
        assert_eq!(count(&self.yard.stage), many);
    }

    /// What of a ladder went by mail: to whom, whether it calls them, and why.
    fn mailed(&self, id: &LadderId) -> Vec<(String, bool, String)> {
        let of_it = self.mail.got().into_iter().filter(|letter| letter.notice.ladder == *id);
        of_it.map(|letter| (letter.page.to.shown(), !letter.page.quiet, letter.notice.because)).collect()
    }

    /// Somebody answers a message of this generation.
    fn press(
        &mut self,
        id: &LadderId,
        by: &str,
        choice: &str,
        (generation, link): (u32, Option<Hash>),
    ) -> Result<Json, Refusal> {
        let (run, step, item) = match id.as_question() {
            Some(question) => question,
            None => id.as_str().split_once('/').map(|(run, step)| (run.into(), step.into(), None)).unwrap(),
        };
        let wants = Request::Answer(Box::new(AnswerGiven {
            run,
            step: Some(step),
            item,
            choice: choice.into(),
            plan: None,
            by: by.into(),
            via: "slack".into(),
            from: None,
            why: String::new(),
        }));
        self.pressed(id, by, (generation, link), wants)
    }

    fn pressed(
        &mut self,
        id: &LadderId,
        by: &str,
        (generation, link): (u32, Option<Hash>),
        wants: Request,
    ) -> Result<Json, Refusal> {
        let pressed = Pressed { ladder: id.clone(), generation, link, by: by.into(), via: "slack".into(), wants };
        let answer = self.yard.ask(Request::Press(Box::new(pressed)));
        self.yard.stage.settle();
        answer
    }
}

fn told(to: &str, calls: bool, because: &str) -> (String, bool, String) {
    (to.to_owned(), calls, because.to_owned())
}

#[test]
fn those_who_may_answer_hear_it_first_and_those_who_were_told_hear_the_answer() {
    let mut night = Night::of(playbook_of(vec![cut()]), asked(1), &[Says::Takes]);
    let run = night.yard.attack(1);
    let id = night.carried().remove(0);
    assert_eq!(id.as_str(), format!("{run}/cut/approve"));
    night.receive_of(&id, 2);
    let asks = format!("run {run} of test asks");
    let first: BTreeSet<(String, bool, String)> = night.mailed(&id).into_iter().collect();
    assert_eq!(first, ["person ana", "person lead"].map(|to| told(to, true, &asks)).into());
    let letter = night.mail.got().into_iter().find(|letter| letter.notice.ladder == id).unwrap();
    let asking = letter.notice.question.clone().unwrap();
    assert_eq!(
        (asking.action.as_ref().map(Name::as_str), &asking.targets[..], asking.otherwise.as_str()),
        (Some("cloud.cut"), &["a".to_owned()][..], "deny")
    );
    assert_eq!(asking.who, "1 of ana, lead, but not who started the run");
    let choices: Vec<String> = letter.notice.acts().iter().map(quell_model::notice::Act::word).collect();
    assert_eq!(choices, ["choose:approve", "choose:deny"]);
    night.pass(MINUTE * 5);
    night.receive_of(&id, 3);
    assert_eq!(night.mailed(&id)[2], told("person bo", true, "nobody answered in time"), "the policy carries it up");
    // A number that was never sent, and one who is none of the approvers.
    assert!(why(night.press(&id, "ana", "approve", (9, None))).contains("has changed since"));
    assert!(why(night.press(&id, "bo", "approve", (1, None))).contains("none of the approvers"));
    assert!(night.yard.things.said().is_empty());
    night.press(&id, "lead", "approve", (1, None)).unwrap();
    assert_eq!(night.yard.things.said(), ["+a"]);
    night.receive_of(&id, 6);
    let ended: BTreeSet<(String, bool, String)> = night.mailed(&id).split_off(3).into_iter().collect();
    let said = "lead answered `approve`";
    assert_eq!(ended, ["person ana", "person bo", "person lead"].map(|to| told(to, true, said)).into());
    let last = night.mail.got().pop().unwrap();
    assert!(last.notice.acts().is_empty() && last.notice.stands() == "settled");
    assert!(matches!(night.of_ladder(&id).last(), Some(Body::LadderClosed(_))));
    let late = why(night.press(&id, "ana", "deny", (1, None)));
    assert!(late.contains("lead answered `approve` before"), "{late}");
    night.pass(HOUR);
    assert_eq!(night.mailed(&id).len(), 6);
    assert_eq!(night.yard.stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn what_nobody_answers_is_told_with_what_that_meant() {
    let mut cut = cut();
    cut.approve =
        Some(Approve { by: Some("security".into()), within: Within(MINUTE * 4), otherwise: Unanswered::Deny });
    let mut night = Night::of(playbook_of(vec![cut]), asked(1), &[Says::Takes]);
    night.yard.attack(1);
    let id = night.carried().remove(0);
    night.receive_of(&id, 2);
    night.pass(MINUTE * 4);
    night.yard.stage.until(|stage| {
        let records = stage.journal.read(&StreamId::ladder(&id), 1).unwrap();
        matches!(records.last().map(|record| &record.body), Some(Body::LadderClosed(_)))
    });
    let said = &night.mailed(&id).pop().unwrap().2;
    assert!(said.starts_with("nobody answered within") && said.ends_with("which means `deny`"), "{said}");
}

fn each(list: &str, step: Step) -> Step {
    let list = Expression { text: list.to_owned(), span: Default::default() };
    Step { for_each: Some(ForEach { list, max_parallel: 2, errors: ItemErrors::Collect }), ..step }
}

fn of_item(run: &RunId, item: u32, choice: &str, by: &str) -> Request {
    Request::Answer(Box::new(AnswerGiven {
        run: run.clone(),
        step: Some("each".into()),
        item: Some(item),
        choice: choice.into(),
        plan: None,
        by: by.into(),
        via: "socket".into(),
        from: None,
        why: String::new(),
    }))
}

/// Items ask together, and call once; an answer to what stood there before one more means something else.
#[test]
fn items_ask_by_one_ladder_and_a_message_answers_what_it_showed() {
    let asks = each(r#"["a", "b", "c"]"#, asks_first(sets("each", &[], "process.freeze", "${{ item }}")));
    let mut night = Night::of(playbook_of(vec![asks]), asked(1), &[Says::Takes]);
    let run = night.yard.attack(1);
    let [id] = night.carried().try_into().unwrap();
    assert!(night.mailed(&id).is_empty(), "more of the same may come in a moment");
    night.pass(Duration::from_secs(1));
    night.receive_of(&id, 2);
    assert_eq!(night.mailed(&id).len(), 2, "one message each, for all of them");
    let asking = |night: &Night| {
        let carried = night.yard.stage.core.ladders.all[&id].started.question.clone().unwrap();
        night.yard.stage.core.asking(&carried).unwrap()
    };
    assert_eq!(asking(&night).targets, ["a", "b", "c"]);
    let late = |night: &Night| {
        let is_late =
            |body: &&Body| matches!(body, Body::LadderChanged(c) if c.change == LadderChange::AnsweredTooLate);
        night.of_ladder(&id).iter().filter(is_late).count()
    };
    for generation in [0, 0, 7, 0] {
        let refused = night.press(&id, "ana", "approve", (generation, None));
        assert!(why(refused).contains("has changed since"), "{generation}");
    }
    assert!(night.yard.things.said().is_empty());
    assert_eq!(late(&night), 1, "whoever says it often is in the journal once, and what was never sent is not");
    // One less is a part of what the message showed.
    night.yard.ask(of_item(&run, 1, "deny", "lead")).unwrap();
    assert_eq!(asking(&night).targets, ["a", "c"]);
    night.press(&format!("{run}/each").as_str().into(), "ana", "approve", (1, None)).unwrap();
    let mut said = night.yard.things.said();
    said.sort();
    assert_eq!(said, ["+a", "+c"]);
}

/// Each is asked for themselves.
#[test]
fn items_that_ask_different_people_have_a_ladder_each() {
    let ask = AskPerson {
        person: Some(Expression { text: "item".into(), span: Default::default() }),
        by: None,
        question: "${{ item }}, was it you?".into(),
        choices: vec!["me".into(), "not_me".into()],
        within: Within(HOUR),
        otherwise: "not_me".into(),
        remember: None,
        not_via: Vec::new(),
    };
    let asks = Step { kind: StepKind::Ask(Box::new(ask)), ..step("each", &[]) };
    let mut night = Night::of(playbook_of(vec![each(r#"["ana", "bo"]"#, asks)]), asked(1), &[Says::Takes]);
    let run = night.yard.attack(1);
    assert_eq!(night.carried().len(), 2);
    for (item, name) in [(0, "ana"), (1, "bo")] {
        let id = LadderId::from(format!("{run}/each/ask-{item}"));
        assert_eq!(id.as_question(), Some((run.clone(), "each".into(), Some(item))));
        night.receive_of(&id, 1);
        let letter = night.mail.got().into_iter().find(|letter| letter.notice.ladder == id).unwrap();
        assert_eq!(letter.page.to.person().map(Name::as_str), Some(name));
        assert_eq!(letter.notice.title, format!("{name}, was it you?"));
        night.pressed(&id, name, (1, None), of_item(&run, item, "me", name)).unwrap();
        assert!(night.of_ladder(&id).iter().any(|body| matches!(body, Body::LadderEnded(_))));
    }
    // What is wanted is about what the message is about.
    let other = LadderId::incident(&night.incident());
    assert!(matches!(night.pressed(&other, "ana", (1, None), of_item(&run, 0, "me", "ana")), Err(Refusal::Wrong(_))));
}

/// Whoever comes last in the policy hears of a question before its time is over.
#[test]
fn a_question_goes_all_the_way_up_within_its_time() {
    let mut cut = cut();
    cut.approve =
        Some(Approve { by: Some("security".into()), within: Within(MINUTE * 4), otherwise: Unanswered::Deny });
    let mut night = Night::of(playbook_of(vec![cut]), asked(1), &[Says::Takes]);
    night.yard.attack(1);
    let id = night.carried().remove(0);
    night.receive_of(&id, 2);
    // approvers, bo, bo, and the lead as the last resort.
    for receipts in 3..=5 {
        night.pass(MINUTE);
        night.receive_of(&id, receipts);
    }
    assert_eq!(night.mailed(&id)[4].0, "person lead");
}

#[test]
fn a_quorum_goes_on_asking_and_says_who_has_said_yes() {
    let mut night = Night::of(playbook_of(vec![cut()]), asked(2), &[Says::Delivers]);
    night.yard.attack(1);
    let id = night.carried().remove(0);
    night.receive_of(&id, 2);
    night.press(&id, "ana", "approve", (1, None)).unwrap();
    night.receive_of(&id, 4);
    let (calls, quiet): (Vec<_>, Vec<_>) = night.mailed(&id).into_iter().partition(|(_, calls, _)| *calls);
    assert_eq!((calls.len(), quiet.len()), (2, 2), "what they have is put right, and nobody is called");
    let put_right: Vec<_> = night.mail.got().into_iter().filter(|letter| letter.page.quiet).collect();
    assert!(put_right.iter().all(|letter| letter.earlier.as_ref().is_some_and(|name| name.starts_with("m-"))));
    night.press(&id, "lead", "approve", (1, None)).unwrap();
    assert_eq!(night.yard.things.said(), ["+a"]);
    assert!(matches!(night.of_ladder(&id)[..], [Body::LadderStarted(_), ..]));
}

/// Who was taken out of the approvers since has said yes, and it counts no more.
#[test]
fn a_yes_counts_as_long_as_its_approver_does() {
    let mut night = Night::of(playbook_of(vec![cut()]), asked(2), &[Says::Takes]);
    night.yard.attack(1);
    let id = night.carried().remove(0);
    night.receive_of(&id, 2);
    let taken = night.press(&id, "ana", "approve", (1, None)).unwrap();
    assert_eq!(taken["missing"], 1);
    let definitions = &mut night.yard.stage.core.definitions;
    let mut people = (*definitions.people).clone();
    people.approvers.get_mut("security").unwrap().people = ["bo", "lead"].map(Name::from).into();
    definitions.people = Arc::new(people);
    let taken = night.press(&id, "lead", "approve", (1, None)).unwrap();
    assert_eq!((&taken["missing"], night.yard.things.said()), (&json!(1), Vec::new()), "ana's is none any more");
    night.press(&id, "bo", "approve", (1, None)).unwrap();
    assert_eq!(night.yard.things.said(), ["+a"]);
}

/// While more may come, nothing is shown under the number that all of it will have.
#[test]
fn what_is_put_right_while_more_may_come_shows_no_part_of_it() {
    let asks = each(r#"["a", "b", "c"]"#, asks_first(sets("each", &[], "process.freeze", "${{ item }}")));
    let mut night = Night::of(playbook_of(vec![asks]), asked(1), &[Says::Delivers]);
    let run = night.yard.attack(1);
    let id = night.carried().remove(0);
    night.pass(Duration::from_secs(1));
    night.receive_of(&id, 2);
    let now = night.yard.clock.now();
    let grown = Change::by((&"quell".into(), &"engine".into()), LadderChange::Grown, "more is asked".to_owned());
    night.yard.stage.core.change_ladder(&id, grown, now);
    night.yard.ask(of_item(&run, 1, "deny", "lead")).unwrap();
    night.yard.stage.settle();
    assert_eq!(night.mailed(&id).len(), 2);
    night.pass(Duration::from_secs(1));
    night.receive_of(&id, 4);
    let last = night.mail.got().pop().unwrap().notice;
    assert_eq!((last.generation, &last.question.unwrap().targets[..]), (2, &["a".to_owned(), "c".to_owned()][..]));
}

/// Where the engine dies does not matter: the question is carried on, under the same number, and a button of before works once.
#[test]
fn of_each_behind_an_address_who_has_answered_the_step_says_so() {
    let mut escalation = asked(3);
    for name in ["ana", "bo"] {
        escalation.people.people.get_mut(name).unwrap().email = Some("ops@example.org".into());
    }
    escalation.people.approvers.get_mut("security").unwrap().people = ["ana", "bo", "lead"].map(Name::from).into();
    escalation.policies.get_mut("security").unwrap().steps[0] = rung(&["ana", "bo"], 5, Ack::Any);
    let mut night = Night::of(playbook_of(vec![cut()]), escalation, &[Says::Takes]);
    night.yard.attack(1);
    let id = night.carried().remove(0);
    night.receive_of(&id, 2);
    for by in ["ana", "bo"] {
        night.press(&id, by, "approve", (1, None)).unwrap();
    }
    night.pass(MINUTE * 5);
    let nobody = |body| if let Body::LadderMoved(moved) = body { Some(moved.nobody) } else { None };
    let nobody: Vec<String> =
        night.of_ladder(&id).into_iter().filter_map(nobody).flatten().map(|nobody| nobody.target).collect();
    assert_eq!(nobody[..2], ["person ana", "person bo"]);
}

#[test]
fn a_question_is_carried_over_kills_and_a_link_works_once() {
    for boot in ["b", "c"] {
        let mut night = Night::of(
            playbook_of(vec![cut(), asks_first(sets("more", &[], "cloud.cut", "m"))]),
            asked(1),
            &[Says::Nothing],
        );
        night.yard.attack(1);
        assert_eq!(night.carried().len(), 2);
        let mut night = night.again(boot, &[Says::Takes]);
        night.yard.stage.settle();
        let id = night.carried().into_iter().find(|id| id.as_str().contains("/cut/")).unwrap();
        night.receive_of(&id, 2);
        let repeats: Vec<bool> = night.mail.got().iter().filter(|l| l.notice.ladder == id).map(|l| l.repeat).collect();
        assert_eq!(repeats[repeats.len() - 2..], [true, true], "nobody knows whether they went");
        let link = Hash::of(b"the link in ana's mail");
        let incident = LadderId::incident(&night.incident());
        let hands_on = |night: &Night| Request::Escalate {
            incident: night.incident(),
            why: "not mine".into(),
            by: "ana".into(),
            via: "email".into(),
        };
        let wants = hands_on(&night);
        night.pressed(&incident, "ana", (1, Some(link)), wants).unwrap();
        let wants = hands_on(&night);
        let generation = night.yard.stage.core.ladders.all[&incident].generation();
        assert!(
            why(night.pressed(&incident, "ana", (generation, Some(link)), wants)).contains("used for that already")
        );
        let mut night = night.again(boot, &[Says::Takes]);
        let wants = hands_on(&night);
        assert!(
            why(night.pressed(&incident, "ana", (generation, Some(link)), wants)).contains("used for that already"),
            "over a kill"
        );
        night.press(&id, "ana", "approve", (1, None)).unwrap();
        assert_eq!(night.yard.things.said(), ["+a"]);
        assert!(night.press(&id, "ana", "approve", (1, None)).is_err());
        assert!(night.yard.things.said().is_empty(), "once");
        assert_eq!(night.yard.stage.journal.verify().unwrap(), Vec::<String>::new());
    }
}

/// Whoever is asked whether it was them hears it by no way by which their answer would not count.
#[test]
fn a_question_goes_by_no_way_that_does_not_count() {
    for (not_via, by) in [(vec![], "mail"), (vec!["email".into()], "console")] {
        let ask = AskPerson {
            person: Some(Expression { text: r#""bo""#.into(), span: Default::default() }),
            by: None,
            question: "was it you?".into(),
            choices: vec!["me".into(), "not_me".into()],
            within: Within(HOUR),
            otherwise: "not_me".into(),
            remember: None,
            not_via,
        };
        let asks = Step { kind: StepKind::Ask(Box::new(ask)), ..step("asks", &[]) };
        let mut night = Night::of(playbook_of(vec![asks]), asked(1), &[Says::Takes]);
        night.yard.attack(1);
        let id = night.carried().remove(0);
        night.receive_of(&id, 1);
        let tape = if by == "mail" { &night.mail } else { &night.console };
        let of_it: Vec<_> = tape.got().into_iter().filter(|letter| letter.notice.ladder == id).collect();
        assert_eq!(of_it.len(), 1, "{by}");
        assert_eq!(of_it[0].page.to.person().map(Name::as_str), Some("bo"));
        assert_eq!(of_it[0].notice.question.as_ref().unwrap().who, "bo");
        night.press(&id, "bo", "me", (1, None)).unwrap();
    }
}

/// What people have of an incident says that somebody looks after it, and how its runs end; nobody is called by that.
#[test]
fn messages_are_put_right_in_place() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Delivers]);
    night.yard.attack(1);
    night.receive(1);
    night.acks("ana", Some(1)).unwrap();
    night.receive(2);
    let last = night.mail.got().pop().unwrap();
    assert!(last.page.quiet && last.earlier == night.mail.got()[0].earlier.clone().or(last.earlier.clone()));
    assert_eq!((last.notice.stands(), last.notice.because.as_str()), ("acknowledged", "ana acknowledged it by socket"));
    assert!(!last.notice.acts().contains(&quell_model::notice::Act::Acknowledge));
    night.pass(MINUTE * 20);
    assert_eq!(night.mail.got().len(), 2);
    // Raised again: the same message, and they are called.
    night.pass(MINUTE * 10);
    night.receive(3);
    let again = night.mail.got().pop().unwrap();
    assert!(!again.page.quiet && again.earlier == last.earlier && again.notice.generation == 2);
}
