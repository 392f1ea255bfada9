//! Ways that fail: a last resort that refuses, a person whose one way is down, a channel that wants to be left alone, an end that
//! nobody takes.

use super::*;
use crate::escalation::channels::{Template, Webhook};
use crate::escalation::policy::By;

/// The night with a webhook `phone`, which is ana's too, and with what speaks to it where something does.
fn with_phone(first: Rung, mail: &[Says], phone: Option<&Arc<Tape>>) -> Night {
    let mut escalation = escalation(first);
    let webhook = Webhook { template: Template::Json, url: SecretFrom::Env("URL".into()), secret: None };
    escalation.channels.webhooks.insert("phone".into(), webhook);
    escalation.people.people.get_mut("ana").unwrap().wake = Some("phone".into());
    let mut night = Night::of(playbook_of(vec![sets("one", &[], "process.freeze", "a")]), escalation, mail);
    speaks(&mut night, phone);
    night
}

/// From now on this speaks to the phone.
fn speaks(night: &mut Night, phone: Option<&Arc<Tape>>) {
    let own: [(Name, Arc<dyn Channel>); 2] =
        [("email".into(), night.mail.clone()), ("console".into(), night.console.clone())];
    let phone = phone.map(|phone| ("phone".into(), Arc::clone(phone) as Arc<dyn Channel>));
    let post = Post::new(own.into_iter().chain(phone).collect());
    let definitions = Definitions { post, ..night.yard.stage.core.definitions.clone() };
    night.yard.stage.core.reload(definitions);
}

/// From now on this is who is told.
fn reads(night: &mut Night, change: impl FnOnce(&mut Escalation)) {
    change(Arc::make_mut(&mut night.escalation));
    let escalation = Some(Arc::clone(&night.escalation));
    let definitions = Definitions { escalation, ..night.yard.stage.core.definitions.clone() };
    night.yard.stage.core.reload(definitions);
}

fn by_mail(minutes: u32) -> Rung {
    Rung { by: vec![By::Email], ..rung(&["ana"], minutes, Ack::Any) }
}

#[test]
fn a_last_resort_that_is_a_channel_which_refuses_is_printed_once_and_tried_again() {
    let mut night = with_phone(rung(&["ana"], 5, Ack::Any), &[Says::Takes], None);
    reads(&mut night, |escalation| {
        let policy = escalation.policies.get_mut("security").unwrap();
        policy.steps.clear();
        policy.last_resort = vec![Target::Channel("phone".into())];
    });
    night.yard.attack(1);
    night.receive(2);
    assert_eq!(night.console.told(), ["#phone: an incident of level high was opened"]);
    assert!(night.console.got()[0].page.because.contains("phone has not taken it: there is no channel `phone`"));
    night.pass(MINUTE * 15);
    night.receive(3);
    // Whoever looks after quell has set it by now.
    let phone = Tape::new(&[Says::Takes]);
    speaks(&mut night, Some(&phone));
    night.pass(MINUTE * 15);
    night.receive(4);
    assert_eq!((phone.got().len(), night.console.got().len()), (1, 1));
    assert!(matches!(night.receipts().last(), Some(PageState::Sent(_))));
}

#[test]
fn a_person_whose_one_way_of_the_step_is_down_is_told_by_their_next_one_and_by_that_way_when_it_is_back() {
    let phone = Tape::new(&[Says::Takes]);
    let mail = [Says::Later, Says::Later, Says::Later, Says::Takes];
    let mut night = with_phone(by_mail(5), &mail, Some(&phone));
    night.yard.attack(1);
    night.receive(1);
    assert!(phone.got().is_empty(), "once may be chance");
    night.pass(Duration::from_secs(3));
    night.receive(3);
    assert_eq!(phone.told(), ["ana: an incident of level high was opened"]);
    assert!(phone.got()[0].page.because.contains("email has not taken it: 421 busy"));
    night.pass(Duration::from_secs(6));
    night.receive(4);
    night.pass(Duration::from_secs(11));
    night.receive(5);
    assert_eq!((phone.got().len(), night.mail.got().len(), night.moves().len()), (1, 4, 1));
}

#[test]
fn a_channel_that_wants_to_be_left_alone_is_given_nothing_before_and_its_people_are_told_otherwise() {
    let phone = Tape::new(&[Says::Takes]);
    let mut night = with_phone(by_mail(5), &[Says::LeaveAlone(MINUTE * 2), Says::Takes], Some(&phone));
    night.yard.attack(1);
    night.receive(2);
    assert_eq!((night.mail.got().len(), phone.got().len()), (1, 1), "two minutes are too long for ana");
    // Another incident: mail is not asked.
    let mut other = detection("8", 2);
    let event = Arc::make_mut(&mut other.event);
    event.entity.id = "another-unit".into();
    event.head.at = night.yard.clock.now();
    night.yard.stage.core.detections([other]);
    night.yard.stage.settle();
    let told = Arc::clone(&phone);
    night.yard.stage.until(|_| told.got().len() == 2);
    night.pass(MINUTE * 2 - Duration::from_secs(1));
    assert_eq!(night.mail.got().len(), 1, "before its time");
    night.pass(Duration::from_secs(2));
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 3);
}

#[test]
fn a_channel_is_left_alone_only_as_long_as_it_asked_for_and_not_by_another_account() {
    let phone = Tape::new(&[Says::Takes]);
    let mut night = with_phone(by_mail(50), &[Says::LeaveAlone(MINUTE * 2), Says::Takes], Some(&phone));
    night.yard.attack(1);
    night.receive(2);
    // What is not given to it meanwhile makes that no longer.
    let until = night.yard.stage.core.ladders.not_before.get("email").copied();
    for number in [2, 3] {
        night.pass(Duration::from_secs(30));
        night.flood(number..number + 1, None);
    }
    assert_eq!((night.mail.got().len(), night.yard.stage.core.ladders.not_before.get("email").copied()), (1, until));
    speaks(&mut night, Some(&phone));
    night.flood(4..5, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 2);
    // Whatever it asks for, it is asked within the hour.
    let mut night = with_phone(by_mail(50), &[Says::LeaveAlone(MINUTE * 60 * 24), Says::Takes], Some(&phone));
    night.yard.attack(1);
    night.receive(2);
    let begun = night.yard.clock.now();
    let until = night.yard.stage.core.ladders.not_before["email"];
    assert!(until.since(begun) <= MINUTE * 60, "{until:?}");
}

/// It has nobody who could be told by another way.
#[test]
fn a_page_to_a_channel_that_wants_to_be_left_alone_for_longer_than_its_step_lasts_goes_out_after_that() {
    let phone = Tape::new(&[Says::LeaveAlone(MINUTE * 5), Says::Takes]);
    let mut night = with_phone(rung(&["ana"], 1, Ack::Any), &[Says::Takes], Some(&phone));
    reads(&mut night, |escalation| {
        escalation.people.people.get_mut("ana").unwrap().wake = None;
        let steps = &mut escalation.policies.get_mut("security").unwrap().steps;
        steps[0].notify = vec![Target::Channel("phone".into())];
    });
    night.yard.attack(1);
    night.receive(1);
    night.flood(2..3, None);
    night.pass(MINUTE);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 2);
    assert_eq!(phone.got().len(), 1, "the next step does not wait for it");
    night.pass(MINUTE * 4 + Duration::from_secs(1));
    night.yard.stage.until(|_| phone.got().len() == 3);
    let of: BTreeSet<_> = phone.got().iter().map(|letter| letter.notice.incident.clone()).collect();
    assert_eq!(of.len(), 2, "the other one, for which it was never asked, as well");
}

#[test]
fn what_puts_a_message_right_holds_no_call_back() {
    let mut night = Night::new(by_mail(5), &[Says::Delivers, Says::LeaveAlone(MINUTE * 30), Says::Delivers]);
    night.yard.attack(1);
    night.receive(1);
    night.acks("ana", None).unwrap();
    night.receive(2);
    assert!(night.mail.got()[1].page.quiet);
    night.flood(2..3, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 3);
    assert!(!night.mail.got()[2].page.quiet);
}

#[test]
fn the_end_is_told_though_its_channel_is_down_for_hours_and_by_another_way_where_it_refuses() {
    let mut says = vec![Says::Takes];
    says.extend(std::iter::repeat_n(Says::Later, 20));
    says.push(Says::Takes);
    let mut night = with_phone(by_mail(5), &says, None);
    night.yard.attack(1);
    night.receive(1);
    let incident = night.incident();
    night.yard.ask(Request::Resolve { incident, why: "rebuilt".into(), by: "bo".into(), via: "test".into() }).unwrap();
    // Less than a day.
    for _ in 0..100 {
        night.pass(MINUTE * 5);
        night.yard.stage.until(|stage| stage.core.pages_under_way() == 0);
    }
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 22);
    assert_eq!(night.mail.told()[21], "ana: bo has resolved it: rebuilt");
    // One that refuses: the end goes to ana by what she has beside.
    let phone = Tape::new(&[Says::Takes]);
    let mut night = with_phone(by_mail(5), &[Says::Takes, Says::Never], Some(&phone));
    night.yard.attack(1);
    night.receive(1);
    let incident = night.incident();
    night.yard.ask(Request::Resolve { incident, why: "rebuilt".into(), by: "bo".into(), via: "test".into() }).unwrap();
    night.receive(3);
    assert_eq!(phone.told(), ["ana: bo has resolved it: rebuilt"]);
}

#[test]
fn an_end_that_nobody_takes_for_a_day_is_let_be() {
    let mut night = Night::new(by_mail(5), &[Says::Takes, Says::Later]);
    night.yard.attack(1);
    night.receive(1);
    let incident = night.incident();
    night.yard.ask(Request::Resolve { incident, why: "rebuilt".into(), by: "bo".into(), via: "test".into() }).unwrap();
    for _ in 0..23 {
        night.pass(MINUTE * 60);
        night.yard.stage.until(|stage| stage.core.pages_under_way() == 0);
        assert!(!matches!(night.records().last(), Some(Body::LadderClosed(_))));
    }
    night.pass(MINUTE * 60);
    night.pass(MINUTE * 60);
    let stream = StreamId::ladder(&LadderId::incident(&night.incident()));
    night
        .yard
        .stage
        .until(|stage| matches!(stage.journal.read(&stream, 1).unwrap().last().unwrap().body, Body::LadderClosed(_)));
    let let_be = |state: &PageState| matches!(state, PageState::Failed { why } if why.contains("it is over, and is not tried again"));
    assert!(night.receipts().iter().any(let_be), "{:?}", night.receipts());
    assert_eq!(night.console.told(), ["ana: bo has resolved it: rebuilt"], "by what she has beside");
}

#[test]
fn a_pinned_last_resort_that_is_there_no_more_is_whom_the_policy_names_now() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    reads(&mut night, |escalation| {
        let lead = escalation.people.people.remove("lead").unwrap();
        escalation.people.people.insert("head".into(), lead);
        escalation.policies.get_mut("security").unwrap().last_resort = vec![Target::Person("head".into())];
    });
    night.pass(MINUTE * 5);
    night.receive(2);
    night.pass(MINUTE * 10);
    night.receive(3);
    assert_eq!(night.mail.told()[2], "head: nobody answered in time");
    assert!(night.console.got().is_empty());
}

/// A channel that never answers of a page to ana.
struct HangsForAna(Arc<Tape>);

#[async_trait::async_trait]
impl Channel for HangsForAna {
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError> {
        if letter.page.to == To::Person("ana".into()) {
            return std::future::pending().await;
        }
        self.0.send(letter).await
    }
}

#[test]
fn whoever_has_a_channel_that_hangs_or_breaks_delays_nobody_else() {
    // ana has her phone alone, bo mail alone; as many incidents at once as nobody is told of together.
    for says in [Says::Nothing, Says::Later, Says::LeaveAlone(MINUTE * 30), Says::Never, Says::Dies] {
        let phone = Tape::new(&[says]);
        let mut night = with_phone(rung(&["ana", "bo"], 5, Ack::Any), &[Says::Takes], Some(&phone));
        reads(&mut night, |escalation| escalation.people.people.get_mut("ana").unwrap().email = None);
        let begun = night.yard.clock.now();
        night.flood(0..5, None);
        let mail = Arc::clone(&night.mail);
        night.yard.stage.until(|_| mail.got().len() == 5 && !phone.got().is_empty());
        assert_eq!(night.mail.told(), ["bo: an incident of level high was opened"; 5]);
        assert_eq!(night.yard.clock.now(), begun, "at once");
    }
    // Both have mail, and the server hangs of what is for ana.
    let mut night = Night::new(rung(&["ana", "bo"], 5, Ack::Any), &[Says::Takes]);
    let own: [(Name, Arc<dyn Channel>); 2] =
        [("email".into(), Arc::new(HangsForAna(night.mail.clone()))), ("console".into(), night.console.clone())];
    let definitions = Definitions { post: Post::new(own.into()), ..night.yard.stage.core.definitions.clone() };
    night.yard.stage.core.reload(definitions);
    let begun = night.yard.clock.now();
    night.flood(0..5, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 5);
    assert_eq!(night.mail.told(), ["bo: an incident of level high was opened"; 5]);
    assert_eq!(night.yard.clock.now(), begun, "at once");
}

#[test]
fn a_ladder_goes_on_by_the_steps_and_waits_that_it_began_with_and_the_next_one_goes_by_the_new() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    reads(&mut night, |escalation| {
        let policy = escalation.policies.get_mut("security").unwrap();
        policy.steps = vec![rung(&["lead"], 1, Ack::Any), rung(&["ana"], 2, Ack::Any)];
        policy.last_resort = vec![Target::Person("bo".into())];
        policy.ack_timeout = Some(MINUTE);
    });
    night.pass(MINUTE * 5 - Duration::from_secs(1));
    assert_eq!(night.moves(), [(1, to(0))], "the wait that it began with");
    // Nor does an engine that has read nothing but the new file lead it elsewhere.
    let mut night = night.again("b", &[Says::Takes]);
    night.pass(Duration::from_secs(1));
    night.receive(2);
    night.pass(MINUTE * 10 - Duration::from_secs(1));
    assert_eq!(night.moves(), [(1, to(0)), (1, to(1))], "the wait of its second step");
    night.pass(Duration::from_secs(1));
    night.receive(3);
    let late = "nobody answered in time";
    assert_eq!(night.mail.told()[1..], [format!("bo: {late}"), format!("lead: {late}")]);
    night.acks("lead", None).unwrap();
    night.pass(MINUTE * 20);
    assert_eq!(night.moves().len(), 3, "nor is it raised by the new time");
    let before = night.mail.got().len();
    night.flood(2..3, None);
    let mail = Arc::clone(&night.mail);
    for (minutes, told) in [(0, 1), (1, 2), (2, 3)] {
        night.pass(MINUTE * minutes);
        night.yard.stage.until(|stage| mail.got().len() >= before + told && stage.core.pages_under_way() == 0);
    }
    let told = night.mail.told().split_off(before);
    assert_eq!(
        told,
        ["lead: an incident of level high was opened".into(), format!("ana: {late}"), format!("bo: {late}")]
    );
}
