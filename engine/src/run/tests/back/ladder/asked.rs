//! Goal: whoever may answer a question hears of it, until it is answered; a message answers what it showed, and nothing else.
//! Method: playbooks that ask, channels that keep what they are given, answers as buttons and links give them, and kills.

use super::*;
use crate::run::Pressed;
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
        let (run, step) = id.as_question().unwrap();
        let wants = Request::Answer(Box::new(AnswerGiven {
            run,
            step: Some(step),
            item: None,
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
    night.receive_of(&id, 4);
    let said = &night.mailed(&id)[3].2;
    assert!(said.starts_with("nobody answered within") && said.ends_with("which means `deny`"), "{said}");
}

/// Items ask together; an answer to what stood there before one more, or one less, means something else.
#[test]
fn items_ask_by_one_ladder_and_an_old_message_answers_none_of_them() {
    let list = Expression { text: r#"["a", "b"]"#.into(), span: Default::default() };
    let each = Step {
        for_each: Some(ForEach { list, max_parallel: 2, errors: ItemErrors::Collect }),
        ..asks_first(sets("each", &[], "process.freeze", "${{ item }}"))
    };
    let mut night = Night::of(playbook_of(vec![each]), asked(1), &[Says::Takes]);
    let run = night.yard.attack(1);
    let [id] = night.carried().try_into().unwrap();
    let generation = |night: &Night| night.yard.stage.core.ladders.all[&id].generation();
    let both = generation(&night);
    let asking =
        night.yard.stage.core.asking(night.yard.stage.core.ladders.all[&id].started.question.as_ref().unwrap());
    assert_eq!(asking.unwrap().targets, ["a", "b"]);
    let one = AnswerGiven {
        run: run.clone(),
        step: Some("each".into()),
        item: Some(0),
        choice: "deny".into(),
        plan: None,
        by: "lead".into(),
        via: "socket".into(),
        from: None,
        why: String::new(),
    };
    night.yard.ask(Request::Answer(Box::new(one))).unwrap();
    assert_eq!(generation(&night), both + 1);
    assert!(why(night.press(&id, "ana", "approve", (both, None))).contains("has changed since"));
    assert!(night.yard.things.said().is_empty(), "what they saw was another thing");
    let late = |night: &Night| {
        let is_late =
            |body: &&Body| matches!(body, Body::LadderChanged(c) if c.change == LadderChange::AnsweredTooLate);
        night.of_ladder(&id).iter().filter(is_late).count()
    };
    for _ in 0..3 {
        assert!(night.press(&id, "ana", "approve", (both, None)).is_err());
    }
    assert_eq!(late(&night), 1, "whoever says it often is in the journal once");
    night.press(&id, "ana", "approve", (both + 1, None)).unwrap();
    assert_eq!(night.yard.things.said(), ["+b"]);
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

/// Where the engine dies does not matter: the question is carried on, under the same number, and a button of before works once.
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
        assert!(why(night.pressed(&incident, "ana", (generation, Some(link)), wants)).contains("used already"));
        let mut night = night.again(boot, &[Says::Takes]);
        let wants = hands_on(&night);
        assert!(
            why(night.pressed(&incident, "ana", (generation, Some(link)), wants)).contains("used already"),
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
