//! The auditor sees what was not sent, what has not come and whom a move leaves out; of what is as it should be it says nothing.

use super::*;
use crate::escalation::outbox::tests::started;
use quell_model::Hash;
use quell_model::notice::Receipt;
use quell_model::record::{LadderClosed, LadderEnded, LadderRouted, Nobody};

const MINUTE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Stamp {
    Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 }.after(Duration::from_secs(seconds))
}

/// ana, who has five minutes; then bo and whoever is on call; at last the lead.
fn policy() -> Policy {
    let step = |notify: Vec<Target>| Step { notify, by: Vec::new(), wait: 5 * MINUTE, ack: Ack::Any };
    let person = |name: &str| Target::Person(name.into());
    Policy {
        steps: vec![step(vec![person("ana")]), step(vec![person("bo"), Target::Schedule("primary".into())])],
        last_resort: vec![person("lead")],
        ack_timeout: Some(30 * MINUTE),
        ..Policy::default()
    }
}

struct Story(Vec<Record>);

impl Story {
    fn new() -> Self {
        let mut story = Self(Vec::new());
        story.write(0, started());
        let definition = serde_json::to_value(policy()).unwrap();
        story.write(0, LadderRouted { policy: "p".into(), definition, route: "all".into(), up_to: None });
        story
    }

    fn write(&mut self, second: u64, body: impl Into<Body>) {
        let (seq, prev) = (self.0.len() as u64 + 1, Hash::of(b""));
        self.0.push(Record { v: 1, seq, prev, at: at(second), salt: String::new(), body: body.into() });
    }

    fn queued(&self, to: &str) -> Queued {
        let page = Page::new(To::Person(to.into()), Way::Email(format!("{to}@example.org")), String::new());
        Queued { key: PageKey::of("i-1", self.0.len() as u64 + 1, &page), page }
    }

    /// A move to a step, with pages to these.
    fn goes(&mut self, second: u64, step: u32, people: &[&str]) -> Vec<PageKey> {
        let pages: Vec<Queued> = people.iter().map(|name| self.queued(name)).collect();
        let keys = pages.iter().map(|queued| queued.key.clone()).collect();
        let (to, because) = (Place::Step { round: 0, step }, String::new());
        self.write(second, LadderMoved { generation: 1, to, because, pages, nobody: Vec::new() });
        keys
    }

    fn receipt(&mut self, second: u64, key: &PageKey, state: PageState) {
        self.write(second, PageReceipted { key: key.clone(), attempt: 1, state, instead: Vec::new(), together: None });
    }

    fn change(&mut self, second: u64, change: LadderChange, generation: u32) {
        let (by, via, level, why) = ("ana".into(), "socket".into(), Level::High, String::new());
        self.write(
            second,
            LadderChanged { change, by, via, generation, level, why, pages: Vec::new(), link: None, act: None },
        );
    }

    /// What the auditor says then, of a quell that lives since the beginning.
    fn at(&self, second: u64) -> Vec<What> {
        self.seen(&Watch { now: at(second), since: at(0), patience: PATIENCE })
    }

    fn seen(&self, watch: &Watch) -> Vec<What> {
        let account = Account::of(&"i-1".into(), &self.0);
        account.differences(watch).into_iter().map(|difference| difference.kind).collect()
    }
}

fn sent() -> PageState {
    PageState::Sent(Receipt::Handed { reference: None })
}

#[test]
fn a_page_of_which_nothing_is_heard_for_longer_than_its_channel_may_take_is_late() {
    let mut story = Story::new();
    let keys = story.goes(0, 0, &["ana"]);
    assert_eq!(story.at(90), [], "its channel has its patience, and everybody the grace");
    assert_eq!(story.at(91), [What::PageLate]);
    let pause = 10 * MINUTE;
    story.receipt(20, &keys[0], PageState::Waits { why: "421".into(), pause });
    assert_eq!(story.at(300), [], "it has said when it may be asked again");
    assert_eq!(story.at(20 + 600 + 91), [What::PageLate, What::StepLate]);
    story.receipt(100, &keys[0], sent());
    assert_eq!(story.at(300), []);
}

#[test]
fn a_last_resort_of_which_no_channel_has_told_anybody_is_untold_however_it_is_tried() {
    let lasts = |pages: &dyn Fn(&Story) -> Vec<Queued>| {
        let mut story = Story::new();
        let (pages, to) = (pages(&story), Place::LastResort);
        let keys: Vec<PageKey> = pages.iter().map(|queued| queued.key.clone()).collect();
        let nobody = vec![Nobody { target: "person lead".into(), because: "gone".into() }];
        story.write(0, LadderMoved { generation: 1, to, because: String::new(), pages, nobody });
        (story, keys)
    };
    let (mut story, keys) = lasts(&|story| vec![story.queued("lead")]);
    let console = Page { way: Way::Console, ..story.queued("lead").page };
    let printed = Queued { key: PageKey::of("i-1", 9, &console), page: console };
    let state = PageState::Waits { why: "421".into(), pause: MINUTE };
    let key = keys[0].clone();
    story.write(1, PageReceipted { key, attempt: 1, state, instead: vec![printed.clone()], together: None });
    story.receipt(2, &printed.key, sent());
    story.receipt(80, &keys[0], PageState::Waits { why: "421".into(), pause: 10 * MINUTE });
    assert_eq!((story.at(90), story.at(91)), (vec![], vec![What::Untold]), "the terminal is nobody's");
    story.receipt(700, &keys[0], sent());
    assert_eq!(story.at(800), []);
    // Nobody is there whom it could tell.
    let console = |because: &'static str| {
        move |story: &Story| {
            let page = Page::new(To::Channel("console".into()), Way::Console, because.to_owned());
            vec![Queued { key: PageKey::of("i-1", story.0.len() as u64, &page), page }]
        }
    };
    let (mut story, keys) = lasts(&console(LAST_WORD));
    story.receipt(1, &keys[0], sent());
    assert_eq!((story.at(90), story.at(91)), (vec![], vec![What::Untold]));
    // The file names the terminal now, though what was pinned does not.
    let (mut story, keys) = lasts(&console("named by the policy"));
    story.receipt(1, &keys[0], sent());
    assert_eq!(story.at(91), []);
}

#[test]
fn a_step_whose_page_goes_only_now_waits_from_now_on() {
    let mut story = Story::new();
    let keys = story.goes(0, 0, &["ana"]);
    let (key, state) = (keys[0].clone(), PageState::Waits { why: "late".into(), pause: Duration::from_secs(15) });
    story.write(360, PageReceipted { key, attempt: 0, state, instead: Vec::new(), together: None });
    story.receipt(375, &keys[0], sent());
    assert_eq!((story.at(375 + 360), story.at(375 + 361)), (vec![], vec![What::StepLate]));
}

#[test]
fn whoever_is_not_to_hear_of_the_end_is_named_in_it() {
    let mut story = Story::new();
    let keys = story.goes(0, 0, &["ana"]);
    story.receipt(1, &keys[0], sent());
    let nobody = vec![Nobody { target: "person ana".into(), because: "they were asked whether it was them".into() }];
    story.write(2, LadderEnded { why: "rebuilt".into(), pages: Vec::new(), nobody });
    assert_eq!(story.at(3), []);
}

#[test]
fn a_step_that_has_not_come_is_late_and_one_that_nobody_waits_for_is() {
    let mut story = Story::new();
    assert_eq!((story.at(60), story.at(61)), (vec![], vec![What::StepLate]), "the first comes at once");
    let keys = story.goes(0, 0, &["ana"]);
    story.receipt(1, &keys[0], sent());
    assert_eq!((story.at(360), story.at(361)), (vec![], vec![What::StepLate]));
    let mut story = Story::new();
    let keys = story.goes(0, 0, &["ana"]);
    story.receipt(1, &keys[0], PageState::Failed { why: "550".into() });
    assert_eq!((story.at(61), story.at(62)), (vec![], vec![What::StepLate]), "nobody can be waited for");
}

#[test]
fn an_answer_makes_needless_what_has_not_gone_and_lasts_as_long_as_the_policy_says() {
    let mut story = Story::new();
    story.goes(0, 0, &["ana"]);
    story.change(10, LadderChange::Answered, 0);
    assert_eq!(story.at(91), [What::PageLate], "it answers what was never asked");
    story.change(10, LadderChange::Answered, 1);
    let timeout = 10 + 30 * 60;
    assert_eq!((story.at(timeout + 60), story.at(timeout + 61)), (vec![], vec![What::StepLate]));
    story.change(20, LadderChange::Touched, 1);
    assert_eq!((story.at(timeout + 61), story.at(timeout + 71)), (vec![], vec![What::StepLate]));
    story.change(30, LadderChange::Escalated, 1);
    assert_eq!((story.at(90), story.at(91)), (vec![], vec![What::StepLate]), "whoever is next is told at once");
}

#[test]
fn a_move_says_of_everybody_whom_its_step_names() {
    let mut story = Story::new();
    story.goes(0, 0, &["bo"]);
    assert_eq!(story.at(1), [What::LeftOut], "ana");
    let mut story = Story::new();
    let mut bo = story.queued("ana");
    bo.page.also.push("bo".into());
    let nobody = vec![Nobody { target: "schedule primary".into(), because: "outside of its hours".into() }];
    let (to, because, pages) = (Place::Step { round: 0, step: 1 }, String::new(), vec![bo]);
    story.write(0, LadderMoved { generation: 1, to, because, pages, nobody });
    assert_eq!(story.at(1), [], "bo is told by the address that ana has too");
    let mut story = Story::new();
    story.goes(0, 1, &[]);
    assert_eq!(story.at(1), [What::LeftOut, What::LeftOut]);
    let mut story = Story::new();
    let nobody = vec![Nobody { target: "person lead".into(), because: "nothing reaches lead".into() }];
    let (to, because) = (Place::LastResort, String::new());
    story.write(0, LadderMoved { generation: 1, to, because, pages: Vec::new(), nobody });
    assert_eq!(story.at(1), [What::LeftOut], "silence is never the end");
}

#[test]
fn who_was_told_is_told_of_the_end() {
    let mut story = Story::new();
    let keys = story.goes(0, 0, &["ana"]);
    story.receipt(1, &keys[0], sent());
    let mut silent = Story(story.0.clone());
    silent.write(2, LadderEnded { why: "rebuilt".into(), pages: Vec::new(), nobody: Vec::new() });
    assert_eq!(silent.at(3), [What::EndUntold]);
    let end = story.queued("ana");
    let key = end.key.clone();
    story.write(2, LadderEnded { why: "rebuilt".into(), pages: vec![end], nobody: Vec::new() });
    assert_eq!((story.at(92), story.at(93)), (vec![], vec![What::PageLate]));
    let mut closed = Story(story.0.clone());
    closed.write(3, LadderClosed { told: 1 });
    assert_eq!(closed.at(4), [What::PageLate], "its end was not sent");
    story.receipt(3, &key, sent());
    story.write(3, LadderClosed { told: 1 });
    assert_eq!(story.at(10_000), []);
}

#[test]
fn what_a_dead_quell_left_is_due_since_the_next_one_began() {
    let mut story = Story::new();
    story.goes(0, 0, &["ana"]);
    let life = |began: u64, now: u64| Watch { now: at(now), since: at(began), patience: PATIENCE };
    assert_eq!(story.seen(&life(10_000, 10_060)), []);
    assert_eq!(story.seen(&life(10_000, 10_091)), [What::PageLate, What::StepLate]);
    // Another boot, whose clock shows less: by the wall clock the step's five minutes are not over.
    let booted = |wall: u64, boot: u64| Stamp { wall: at(wall).wall, boot_ns: boot * 1_000_000_000 };
    let watch = |wall: u64, boot: u64| Watch { now: booted(wall, boot), since: booted(100, 5), patience: PATIENCE };
    assert_eq!(story.seen(&watch(190, 95)), []);
    assert_eq!(story.seen(&watch(200, 105)), [What::PageLate]);
    assert_eq!(story.seen(&watch(362, 267)), [What::PageLate, What::StepLate]);
}

#[test]
fn what_a_silence_holds_back_is_late_only_after_its_end() {
    let mut story = Story::new();
    let silenced = |until: u64| quell_model::record::LadderSilenced {
        silence: "s-7".into(),
        by: "ana".into(),
        reason: "a deploy".into(),
        maintenance: false,
        until: at(until),
    };
    story.write(0, silenced(3600));
    assert_eq!((story.at(3600), story.at(3659)), (vec![], vec![]));
    assert_eq!(story.at(3662), [What::StepLate], "it is not told at the silence's end");
    story.write(600, silenced(600));
    assert_eq!(story.at(662), [What::StepLate], "it was ended before its time");
    let keys = story.goes(700, 0, &["ana"]);
    story.receipt(701, &keys[0], PageState::Waits { why: "busy".into(), pause: Duration::from_secs(2) });
    story.write(702, silenced(3600));
    assert_eq!(story.at(3600), []);
    assert_eq!(story.at(3700), [What::PageLate, What::StepLate]);
}

#[test]
fn a_ladder_that_was_sent_up_owes_its_step_at_once_and_passes_nobody_over() {
    let sent_up = |story: &mut Story, second, policy: &str, up_to| {
        let definition = serde_json::to_value(self::policy()).unwrap();
        story
            .write(second, LadderRouted { policy: policy.into(), definition, route: "r-1".into(), up_to: Some(up_to) });
    };
    let goes = |story: &mut Story, second, step, people: &[&str]| {
        let pages: Vec<Queued> = people.iter().map(|name| story.queued(name)).collect();
        let keys: Vec<PageKey> = pages.iter().map(|queued| queued.key.clone()).collect();
        let (to, because) = (Place::Step { round: 0, step }, String::new());
        story.write(second, LadderMoved { generation: 2, to, because, pages, nobody: Vec::new() });
        keys.iter().for_each(|key| story.receipt(second, key, sent()));
    };
    // On its own policy: whom its first step has told is not owed again.
    let mut story = Story::new();
    let keys = story.goes(0, 0, &["ana"]);
    story.receipt(1, &keys[0], sent());
    story.change(2, LadderChange::Answered, 1);
    sent_up(&mut story, 3, "other", 1);
    assert_eq!((story.at(63), story.at(64)), (vec![], vec![What::StepLate]), "whoever looked after it");
    goes(&mut story, 4, 1, &["bo"]);
    assert_eq!(story.at(10), [What::LeftOut], "ana stands on the way of the other policy");
    let mut story = Story::new();
    let keys = story.goes(0, 0, &["ana"]);
    story.receipt(1, &keys[0], sent());
    sent_up(&mut story, 3, "p", 1);
    goes(&mut story, 4, 1, &["bo"]);
    assert_eq!(story.at(10), [], "she was told by this one");
    // What is said to the generation of before acknowledges nothing.
    story.change(5, LadderChange::Answered, 1);
    assert_eq!(story.at(4 + 300 + 61), [What::StepLate]);
}
