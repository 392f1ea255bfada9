//! The outbox: what is on its way, live and out of its records.

use super::super::policy::{Ack, Step, Target};
use super::ways::{FIRST, LONGEST};
use super::*;
use quell_model::Entity;
use quell_model::notice::Receipt;
use quell_model::record::{LadderClosed, LadderEnded, LadderSilenced, Place};

const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Stamp {
    Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 }.after(Duration::from_secs(seconds))
}

fn policy() -> Policy {
    let notify = vec![Target::Person("ana".into())];
    let step = Step { notify: notify.clone(), by: Vec::new(), wait: 5 * MINUTE, ack: Ack::Any };
    Policy { steps: vec![step.clone(), step], last_resort: notify, ..Policy::default() }
}

/// What a ladder of an incident begins with.
pub(in crate::escalation) fn started() -> LadderStarted {
    LadderStarted {
        incident: Some("i-1".into()),
        question: None,
        title: "a shell reads from a socket".into(),
        entity: Entity { kind: "unit".into(), id: "nginx.service".into(), node: "n".into() },
        level: Level::High,
        tags: BTreeSet::new(),
        rules: BTreeSet::new(),
        because: "it was opened".into(),
        generation: 1,
        gathers: false,
    }
}

struct Story {
    outbox: Outbox,
    written: Vec<(Stamp, Body)>,
}

impl Story {
    fn new() -> Self {
        let started = started();
        let mut story = Self { outbox: Outbox::begun(&started, at(0)), written: Vec::new() };
        story.write(0, started);
        let definition = serde_json::to_value(policy()).unwrap();
        story.write(0, LadderRouted { policy: "p".into(), definition, route: "all".into(), up_to: None });
        story
    }

    fn write(&mut self, second: u64, body: impl Into<Body>) {
        let body = body.into();
        self.outbox.apply(at(second), &body);
        self.written.push((at(second), body));
        self.is_what_its_records_say();
    }

    /// Whoever reads the records has what the engine had.
    fn is_what_its_records_say(&self) {
        let Body::LadderStarted(started) = &self.written[0].1 else { panic!("it begins with its start") };
        let mut read = Outbox::begun(started, self.written[0].0);
        for (at, body) in &self.written {
            let text = serde_json::to_string(body).unwrap();
            read.apply(*at, &serde_json::from_str(&text).unwrap());
        }
        assert_eq!(read, self.outbox);
    }

    /// Makes the move that is due, with these pages.
    fn goes(&mut self, second: u64, pages: &[(&str, Way)]) -> Vec<PageKey> {
        let made = self.outbox.next(at(second)).expect("a move is due");
        let page =
            |(to, way): &(&str, Way)| Page::new(To::Person((*to).into()), way.clone(), "named by the policy".into());
        let pages = self.outbox.keyed(pages.iter().map(page).collect());
        let keys = pages.iter().map(|queued| queued.key.clone()).collect();
        let Move { generation, to, because } = made;
        self.write(second, LadderMoved { generation, to, because, pages, nobody: Vec::new() });
        keys
    }

    fn receipt(&mut self, second: u64, key: &PageKey, attempt: u32, state: PageState) {
        self.write(second, PageReceipted { key: key.clone(), attempt, state, instead: Vec::new(), together: None });
    }

    fn change(&mut self, second: u64, change: LadderChange) {
        self.write(second, self.changed(change));
    }

    fn changed(&self, change: LadderChange) -> LadderChanged {
        let generation = self.outbox.generation();
        let (by, via, level, why) = ("bo".into(), "socket".into(), Level::High, "why".into());
        LadderChanged { change, by, via, generation, level, why, pages: Vec::new(), link: None, act: None }
    }

    fn waiting(&self) -> Vec<&str> {
        self.outbox.waiting().map(|(key, ..)| key.as_str()).collect()
    }
}

fn mail(of: &str) -> Way {
    Way::Email(format!("{of}@example.org"))
}

fn sent() -> PageState {
    PageState::Sent(Receipt::Handed { reference: None })
}

fn failed() -> PageState {
    PageState::Failed { why: "550".into() }
}

#[test]
fn what_was_not_taken_waits_and_is_tried_again_after_its_pause() {
    let mut story = Story::new();
    let keys = story.goes(0, &[("ana", mail("ana")), ("bo", mail("bo"))]);
    assert_eq!(story.waiting().len(), 2);
    story.receipt(1, &keys[0], 1, PageState::Waits { why: "421".into(), pause: Duration::from_secs(4) });
    story.receipt(1, &keys[1], 1, sent());
    let waits: Vec<_> = story.outbox.waiting().map(|(key, _, attempts, from)| (key.clone(), attempts, from)).collect();
    assert_eq!(waits, [(keys[0].clone(), 1, at(5))]);
    let told: Vec<&To> = story.outbox.told().iter().map(|(to, _)| to).collect();
    assert_eq!(told, [&To::Person("bo".into())], "who was told is who it was handed on to");
    story.goes(300, &[("lead", mail("lead"))]);
    assert!(!story.waiting().contains(&keys[0].as_str()), "its step is over");
    story.receipt(301, &keys[0], 2, sent());
    assert_eq!(story.waiting().len(), 1, "a receipt of a step that is over changes nothing");
}

#[test]
fn an_answer_stops_what_has_not_gone_out() {
    let mut story = Story::new();
    story.goes(0, &[("ana", mail("ana"))]);
    story.change(1, LadderChange::Answered);
    assert!(story.waiting().is_empty());
    assert_eq!(story.outbox.due(), None);
    story.change(2, LadderChange::Unacknowledged);
    assert_eq!(story.outbox.due(), Some(at(2)));
    let made = story.outbox.next(at(2)).unwrap();
    assert_eq!((made.generation, made.to), (2, Place::Step { round: 0, step: 0 }));
}

#[test]
fn who_got_a_page_after_it_was_left_was_told_all_the_same() {
    let mut story = Story::new();
    let keys = story.goes(0, &[("ana", mail("ana")), ("bo", mail("bo"))]);
    story.change(1, LadderChange::Answered);
    story.receipt(2, &keys[0], 1, sent());
    story.receipt(2, &keys[1], 1, failed());
    let told: Vec<&To> = story.outbox.told().iter().map(|(to, _)| to).collect();
    assert_eq!(told, [&To::Person("ana".into())], "and is to hear of the end");
    assert_eq!(story.outbox.left().count(), 0);
}

#[test]
fn what_nobody_was_told_of_is_to_be_closed_at_its_end() {
    let mut story = Story::new();
    story.write(9, LadderEnded { why: "bo has resolved it".into(), pages: Vec::new(), nobody: Vec::new() });
    assert!(story.outbox.due().is_some());
    story.write(9, LadderClosed { told: 0 });
    assert_eq!(story.outbox.due(), None);
}

#[test]
fn a_boot_does_not_begin_a_wait_anew() {
    let mut story = Story::new();
    story.goes(0, &[("ana", mail("ana"))]);
    // Six minutes later by the wall clock; the machine was booted a minute ago.
    let now = Stamp { wall: at(360).wall, boot_ns: 60_000_000_000 };
    let mut outbox = story.outbox.clone();
    outbox.rebase(now);
    assert!(outbox.due().unwrap() <= now, "its five minutes are over");
    // A clock that was never set shows 1970: nothing waits for decades.
    let (mut back, now) = (story.outbox.clone(), Stamp { wall: jiff::Timestamp::MIN, boot_ns: 60_000_000_000 });
    back.rebase(now);
    assert!(back.due().unwrap().since(now) <= 5 * MINUTE);
    let now = Stamp { wall: at(240).wall, boot_ns: 60_000_000_000 };
    story.outbox.rebase(now);
    assert_eq!(story.outbox.due().unwrap().since(now), MINUTE, "a minute is left");
}

#[test]
fn a_step_whose_pages_all_failed_is_not_waited_for() {
    let mut story = Story::new();
    let keys = story.goes(0, &[("ana", mail("ana")), ("bo", mail("bo"))]);
    story.receipt(1, &keys[0], 1, failed());
    assert_eq!(story.outbox.due(), Some(at(300)), "the other may still be told");
    assert!(!story.outbox.is_told_otherwise(&keys[1], &story.outbox.pages()[&keys[1]].page.to.clone()));
    let ways = [mail("bo"), Way::Console].map(|way| {
        let page = Page::new(To::Person("bo".into()), way, String::new());
        story.outbox.keyed(vec![page]).remove(0)
    });
    let receipted = PageReceipted {
        key: keys[1].clone(),
        attempt: 1,
        state: failed(),
        instead: vec![ways[1].clone()],
        together: None,
    };
    story.write(2, receipted);
    assert_eq!(story.waiting(), [ways[1].key.as_str()], "the other way");
    let tried = story.outbox.tried(&To::Person("bo".into()));
    assert_eq!(tried, [&mail("bo"), &Way::Console].into());
    assert_eq!(story.outbox.due(), Some(at(300)));
    story.receipt(3, &ways[1].key, 1, failed());
    assert_eq!(story.outbox.due(), Some(at(3)), "nobody was told");
}

#[test]
fn who_was_told_is_told_that_it_is_over_and_then_it_is_closed() {
    let mut story = Story::new();
    let keys = story.goes(0, &[("ana", mail("ana")), ("bo", mail("bo"))]);
    story.receipt(1, &keys[0], 1, sent());
    let told = story.outbox.told().iter().map(|(to, way)| Page::new(to.clone(), way.clone(), String::new()));
    let pages = story.outbox.keyed(told.collect());
    story.write(9, LadderEnded { why: "bo has resolved it".into(), pages: pages.clone(), nobody: Vec::new() });
    assert_eq!(story.waiting(), [pages[0].key.as_str()]);
    assert!(story.outbox.is_over() && !story.outbox.is_closed());
    assert_eq!((story.outbox.due(), story.outbox.next(at(9999))), (None, None));
    story.receipt(10, &pages[0].key, 1, sent());
    story.write(10, LadderClosed { told: story.outbox.went() });
    assert!(story.outbox.is_closed());
    assert!(matches!(&story.written.last().unwrap().1, Body::LadderClosed(closed) if closed.told == 1));
}

#[test]
fn pauses_grow_are_bounded_and_obey_the_other_side() {
    let page = Page::new(To::Person("ana".into()), Way::Console, String::new());
    let key = PageKey::of("i-1", 1, &page);
    let mut story = Story::new();
    let pauses: Vec<Duration> = (1..12).map(|attempt| story.outbox.pause(&key, attempt, None)).collect();
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[0] >= FIRST && pauses[0] < FIRST * 2 && pauses[10] >= LONGEST && pauses[10] <= LONGEST * 5 / 4);
    assert_eq!(story.outbox.pause(&key, 1, Some(MINUTE * 7)), MINUTE * 7);
    let other = PageKey::of("i-1", 2, &page);
    assert_ne!(story.outbox.pause(&key, 1, None), story.outbox.pause(&other, 1, None), "not all together");
    for second in [0, 300, 600] {
        story.goes(second, &[("ana", mail("ana"))]);
    }
    assert!(story.outbox.pause(&key, 30, None) >= SELDOM, "nobody comes after the last resort");
}

#[test]
fn a_definition_that_nobody_can_read_goes_to_its_last_resort() {
    let mut story = Story::new();
    story.written.truncate(1);
    let Body::LadderStarted(started) = story.written[0].1.clone() else { panic!() };
    story.outbox = Outbox::begun(&started, at(0));
    story.outbox.apply(at(0), &story.written[0].1);
    let definition = serde_json::json!({ "steps": "from another time" });
    story.write(0, LadderRouted { policy: "p".into(), definition, route: "all".into(), up_to: None });
    assert_eq!(story.outbox.next(at(0)).unwrap().to, Place::LastResort);
}

fn silenced(until: u64) -> LadderSilenced {
    let (silence, by, reason) = ("s-7".into(), "ana".into(), "a deploy".into());
    LadderSilenced { silence, by, reason, maintenance: false, until: at(until) }
}

#[test]
fn a_silence_holds_the_first_step_back_and_says_so_when_it_ends() {
    let mut story = Story::new();
    story.write(0, silenced(600));
    assert_eq!((story.outbox.due(), story.outbox.next(at(599))), (Some(at(600)), None));
    let made = story.outbox.next(at(600)).unwrap();
    assert_eq!(made.because, "the silence s-7 of ana (a deploy) held it back until now: it was opened");
    story.goes(600, &[("ana", Way::Console)]);
    assert_eq!(story.outbox.silenced(), None);
    assert_eq!(story.outbox.next(at(900)).unwrap().because, "nobody answered in time", "said once");
}

#[test]
fn one_that_is_ended_before_its_time_lets_the_ladder_go_on_at_once() {
    let mut story = Story::new();
    story.write(0, silenced(600));
    story.write(60, silenced(60));
    assert!(story.outbox.next(at(60)).is_some());
}

#[test]
fn what_waits_while_a_silence_holds_calls_nobody_and_is_not_lost() {
    let mut story = Story::new();
    let keys = story.goes(0, &[("ana", Way::Email("a@x".into())), ("bo", Way::Console)]);
    story.receipt(1, &keys[1], 1, PageState::Sent(Receipt::Delivered { reference: Some("m1".into()) }));
    story.receipt(1, &keys[0], 1, PageState::Waits { why: "busy".into(), pause: Duration::from_secs(2) });
    story.write(2, silenced(600));
    let waiting = |story: &Story| story.outbox.waiting().map(|(.., from)| from).collect::<Vec<_>>();
    assert_eq!(waiting(&story), [at(600)]);
    // What puts a message right calls nobody.
    let corrections = story.outbox.keyed(story.outbox.corrections(&[], "a run has ended"));
    let progressed = LadderChanged { pages: corrections, ..story.changed(LadderChange::Progressed) };
    story.write(3, progressed);
    assert_eq!(waiting(&story).into_iter().min(), Some(at(3)));
    assert_eq!(story.outbox.due(), Some(at(600)), "the next step was due after five minutes");
}

#[test]
fn a_person_who_hands_it_on_is_not_held_back_and_the_next_generation_is() {
    let mut story = Story::new();
    story.write(0, silenced(6000));
    story.change(1, LadderChange::Escalated);
    assert!(!story.outbox.may_be_silenced());
    story.goes(1, &[("ana", Way::Console)]);
    assert_eq!(story.outbox.due(), Some(at(301)), "the steps after it as well");
    story.change(2, LadderChange::Raised);
    assert!(story.outbox.may_be_silenced());
}

#[test]
fn what_is_over_is_held_back_by_no_silence() {
    let mut story = Story::new();
    let keys = story.goes(0, &[("ana", Way::Console)]);
    story.receipt(1, &keys[0], 1, PageState::Sent(Receipt::Handed { reference: None }));
    story.write(2, silenced(6000));
    let over = Page::new(To::Person("ana".into()), Way::Console, "they were told of it".into());
    let pages = story.outbox.keyed(vec![over]);
    story.write(3, LadderEnded { why: "done".into(), pages, nobody: Vec::new() });
    assert_eq!(story.outbox.waiting().map(|(.., from)| from).collect::<Vec<_>>(), [at(3)]);
}

#[test]
fn a_question_is_held_back_by_no_silence() {
    let mut story = Story::new();
    let kind = quell_model::record::QuestionKind::Approve;
    let question = Carried { run: "r-1".into(), step: "s".into(), item: None, kind };
    let started = LadderStarted { question: Some(question), ..story.outbox.started.clone() };
    let mut asks = Outbox::begun(&started, at(0));
    for (when, body) in &story.written[1..] {
        asks.apply(*when, body);
    }
    story.write(0, silenced(600));
    asks.apply(at(0), &silenced(600).into());
    assert!(asks.next(at(0)).is_some() && story.outbox.next(at(0)).is_none());
}

#[test]
fn a_ladder_that_is_moved_is_what_its_records_say() {
    let mut story = Story::new();
    let keys = story.goes(0, &[("ana", mail("ana"))]);
    story.receipt(1, &keys[0], 1, sent());
    story.change(2, LadderChange::Answered);
    let mut other = policy();
    other.steps.truncate(1);
    let definition = serde_json::to_value(&other).unwrap();
    let route = || "run r-1 of p escalates".to_owned();
    story.write(3, LadderRouted { policy: "other".into(), definition, route: route(), up_to: Some(0) });
    assert_eq!((story.outbox.policy().map(Name::as_str), story.outbox.generation()), (Some("other"), 2));
    assert_eq!(story.outbox.because, route());
    story.goes(3, &[("lead", mail("lead"))]);
    // Up to the end of the same one, which it keeps whatever the record says of it.
    let definition = serde_json::to_value(policy()).unwrap();
    story.write(4, LadderRouted { policy: "other".into(), definition, route: route(), up_to: Some(1) });
    assert_eq!(story.outbox.next(at(4)).map(|made| made.to), Some(Place::LastResort));
    story.goes(4, &[("ana", mail("ana"))]);
    assert!(story.outbox.ladder().is_some_and(Ladder::is_at_last_resort));
}

/// More is asked than before: whoever was told is told anew, a moment later, by another number.
#[test]
fn what_grows_begins_anew_a_moment_later() {
    let mut story = Story::new();
    story.goes(0, &[("ana", Way::Console)]);
    let before = story.outbox.generation();
    story.change(10, LadderChange::Grown);
    assert_eq!(story.outbox.generation(), before + 1);
    assert_eq!(story.outbox.next(at(10)), None, "more may come");
    let made = story.outbox.next(at(11)).expect("it is told anew");
    assert_eq!((made.generation, made.to), (before + 1, Place::Step { round: 0, step: 0 }));
}

#[test]
fn what_put_a_message_right_is_let_go() {
    let mut story = Story::new();
    let keys = story.goes(0, &[("ana", mail("ana"))]);
    story.receipt(1, &keys[0], 1, sent());
    for second in 2..50 {
        let news = Page::quiet(To::Person("ana".into()), mail("ana"), "a run has ended".into());
        let pages = story.outbox.keyed(vec![news]);
        let key = pages[0].key.clone();
        story.write(second, LadderChanged { pages, ..story.changed(LadderChange::Progressed) });
        story.receipt(second, &key, 1, if second % 2 == 0 { sent() } else { failed() });
    }
    assert_eq!(story.outbox.pages().len(), 1, "the call stays: its step is waited for");
}
