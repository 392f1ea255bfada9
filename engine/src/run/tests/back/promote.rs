//! A person lets a playbook go further, or less far.

use super::*;
use crate::report::{self, Tried};
use quell_model::record::RunState;

impl Yard {
    fn wanted(&self, playbook: &str, to: Mode, definition: Option<Hash>) -> Request {
        Request::SetMode { playbook: playbook.into(), to, definition, by: "ann".into(), why: "a week".into() }
    }

    fn lets(&mut self, to: Mode) -> Result<Json, Refusal> {
        let wanted = self.wanted("test", to, None);
        self.ask(wanted)
    }

    /// Where a run of a new attack stands, and what made its mode what it is.
    fn goes(&mut self, subject: &str, number: u32) -> (RunState, String) {
        let run = self.attack_by(subject, number);
        let view = report::run(&self.stage.journal, &run).unwrap().unwrap();
        (view.state, format!("{}: {}", view.mode, view.mode_because))
    }

    fn loads(&mut self, playbook: &Playbook, change: impl FnOnce(&mut Definitions)) {
        let mut all = self.stage.core.definitions.clone();
        all.playbooks = vec![Arc::new(playbook.clone())];
        change(&mut all);
        self.stage.core.reload(all);
    }

    fn approves(&mut self, run: &RunId, step: &str) {
        let (run, step, choice) = (run.clone(), Some(step.into()), "approve".into());
        let (by, via) = ("ann".into(), "socket".into());
        let given = AnswerGiven { run, step, item: None, choice, plan: None, by, via, from: None, why: String::new() };
        self.ask(Request::Answer(Box::new(given))).unwrap();
        self.stage.core.ink.commit();
    }

    fn mode_of_it(&mut self) -> Json {
        self.ask(Request::ModeStands("test".into())).unwrap()
    }

    fn tried(&self) -> Tried {
        let loaded = &self.stage.core.definitions.playbooks[0];
        report::tried(&self.stage.journal, (&loaded.name, &loaded.hash), jiff::Timestamp::MIN).unwrap()
    }

    fn by_hand(&mut self) -> Vec<String> {
        let status = self.ask(Request::Status).unwrap();
        status["by_hand"].as_array().unwrap().iter().map(|one| one["why"].as_str().unwrap().to_owned()).collect()
    }
}

fn observes() -> Playbook {
    Playbook { mode: Mode::Observe, ..playbook_of(vec![sets("one", &[], "process.freeze", "${{ event.process.id }}")]) }
}

#[test]
fn a_promotion_counts_first_holds_over_restarts_and_ends_with_its_text() {
    let mut yard = Yard::new(observes());
    for (number, subject) in [(1, "7"), (2, "8"), (3, "9")] {
        assert_eq!(yard.goes(subject, number).1, "observe: its playbook says observe");
    }
    let tried = yard.tried();
    assert_eq!((tried.runs, tried.targets, tried.asked), (3, 3, 0));
    assert_eq!((tried.acts.len(), tried.acts[0].planned, tried.acts[0].done), (1, 3, 0));
    assert_eq!(tried.named.len(), 3);
    let later = yard.clock.now().after(HOUR).wall;
    let of = (&"test".into(), &yard.playbook.hash);
    assert_eq!(report::tried(&yard.stage.journal, of, later).unwrap(), Tried::default());
    let wanted = yard.wanted("test", Mode::Enforce, Some(Hash::of(b"what was looked at")));
    let refused = yard.ask(wanted).unwrap_err().to_string();
    assert!(refused.contains("has changed since you looked"), "{refused}");
    assert!(yard.things.stand().is_empty());

    let set = yard.lets(Mode::Enforce).unwrap();
    assert_eq!((&set["from"], &set["to"], &set["mode"]), (&json!("observe"), &json!("enforce"), &json!("enforce")));
    assert!(matches!(yard.lets(Mode::Enforce), Err(Refusal::NotNow(why)) if why == "`test` is at enforce already"));
    let (state, mode) = yard.goes("10", 4);
    assert_eq!((state, mode.as_str()), (RunState::Succeeded, "enforce: ann promoted it to enforce (a week)"));
    let mut yard = yard.again("b");
    assert_eq!(yard.goes("11", 5).0, RunState::Succeeded);
    assert_eq!((yard.things.stand().len(), yard.tried().acts[0].done), (2, 2));
    assert_eq!(yard.by_hand(), ["enforce: ann promoted it to enforce (a week)"]);
    // Another text is back at what is written, and says so; the former one is promoted still.
    let mut other = yard.playbook.clone();
    other.hash = Hash::of(b"another text");
    yard.loads(&other, |_| ());
    assert_eq!(yard.goes("12", 6).1, "observe: its playbook says observe; ann promoted another text of it to enforce");
    assert_eq!(yard.mode_of_it()["word"]["holds"], json!(false));
    let tried = yard.tried();
    assert_eq!((tried.runs, tried.of_another_text), (1, 5), "what the former text did says nothing of this one");
    let former = yard.playbook.clone();
    yard.loads(&former, |_| ());
    assert_eq!(yard.goes("13", 7).0, RunState::Succeeded);
    let records = yard.stage.journal.latest(&[Kind::ModeChanged], 9).unwrap();
    let Body::ModeChanged(changed) = &records[0].body else { panic!("{records:?}") };
    assert_eq!(
        (records.len(), changed.from, changed.to, changed.text),
        (1, Mode::Observe, Mode::Enforce, Some(former.hash))
    );
}

#[test]
fn nothing_goes_beyond_the_configuration() {
    let mut yard = Yard::new(observes());
    let playbook = yard.playbook.clone();
    yard.loads(&playbook, |all| {
        (all.ceiling, all.ceiling_because) = (Mode::Approve, "mode is `approve` in quell.yaml".into())
    });
    let refused = yard.lets(Mode::Enforce).unwrap_err().to_string();
    assert!(
        refused.contains("mode is `approve` in quell.yaml") && refused.contains("beyond the configuration"),
        "{refused}"
    );
    yard.lets(Mode::Approve).unwrap();
    assert_eq!(yard.mode_of_it()["mode"], json!("approve"));
    // `playbooks.modes` is the configuration's word on this one.
    yard.loads(&playbook, |all| {
        all.ceiling = Mode::Enforce;
        all.modes = [("test".into(), Mode::Observe)].into();
    });
    assert_eq!(yard.mode_of_it()["mode"], json!("observe"));
    let refused = yard.lets(Mode::Approve).unwrap_err().to_string();
    assert!(refused.contains("the configuration sets `test` to observe"), "{refused}");
    // A promotion of before is no more than the configuration allows, and holds nothing back that allows more.
    yard.loads(&playbook, |all| all.modes = [("test".into(), Mode::Enforce)].into());
    assert_eq!(yard.mode_of_it()["mode"], json!("enforce"));
    let wanted = yard.wanted("tset", Mode::Observe, None);
    let near = yard.ask(wanted);
    assert_eq!(near, Err(Refusal::Wrong("there is no playbook `tset`; did you mean `test`?".into())));
    assert!(matches!(yard.ask(Request::ModeStands("another-altogether".into())), Err(Refusal::NotFound { .. })));
}

#[test]
fn a_promotion_that_is_lowered_holds_what_goes_on() {
    let asks = Step { mode: Some(Mode::Approve), ..sets("asks", &["one"], "process.freeze", "c") };
    let steps = vec![sets("one", &[], "process.freeze", "a"), asks, sets("two", &["asks"], "process.freeze", "b")];
    let mut yard = Yard::new(Playbook { mode: Mode::Observe, ..playbook_of(steps) });
    yard.lets(Mode::Enforce).unwrap();
    let run = yard.attack_by("7", 1);
    assert_eq!(yard.things.stand(), ["a"]);
    // That is still further than its text says, and less far than the run began.
    yard.lets(Mode::Approve).unwrap();
    yard.approves(&run, "asks");
    assert_eq!(yard.things.stand(), ["a", "c"], "the next act is asked about");
    yard.approves(&run, "two");
    assert_eq!(yard.things.stand(), ["a", "b", "c"]);
}

#[test]
fn a_demotion_stops_what_is_under_way_and_outlives_every_text() {
    let asks = Step { mode: Some(Mode::Approve), ..sets("asks", &["one"], "process.freeze", "c") };
    let steps = vec![sets("one", &[], "process.freeze", "a"), asks, sets("two", &["asks"], "process.freeze", "b")];
    let mut yard = Yard::new(playbook_of(steps));
    let run = yard.attack_by("7", 1);
    assert_eq!(yard.things.stand(), ["a"]);
    yard.lets(Mode::Observe).unwrap();
    yard.approves(&run, "asks");
    let view = report::run(&yard.stage.journal, &run).unwrap().unwrap();
    let outcomes: Vec<_> = view.steps.iter().map(|step| step.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Verified), Some(Outcome::Planned), Some(Outcome::Planned)]);
    assert_eq!(yard.things.stand(), ["a"]);
    let mut yard = yard.again("b");
    let mut other = yard.playbook.clone();
    other.hash = Hash::of(b"another text");
    yard.loads(&other, |_| ());
    assert_eq!(yard.mode_of_it()["because"], json!("ann holds it at observe (a week)"));
    assert_eq!(yard.by_hand(), ["observe: ann holds it at observe (a week)"]);
    yard.lets(Mode::Enforce).unwrap();
    assert_eq!((yard.mode_of_it()["mode"].clone(), yard.by_hand().len()), (json!("enforce"), 0));
}

/// What held a playbook back is what somebody who is about to let it go further wants to see.
#[test]
fn what_guards_refused_and_what_people_were_asked_and_denied_is_counted() {
    let world = World { pid: 1, ..World::default() };
    let mut stage = stage(world, playbook_of(vec![acts("kill", &[], "process.kill")]));
    stage.core.detections(["7", "8"].map(|subject| detection(subject, 1)));
    stage.settle();
    let tried = |stage: &Stage| {
        let loaded = &stage.core.definitions.playbooks[0];
        report::tried(&stage.journal, (&loaded.name, &loaded.hash), jiff::Timestamp::MIN).unwrap()
    };
    let refused: Vec<(String, u64)> = tried(&stage).refused.iter().map(|by| (by.id.to_string(), by.count)).collect();
    assert_eq!(refused, [("protect".to_owned(), 2)]);

    let asks = super::questions::asks_first(sets("cut", &[], "cloud.cut", "a"));
    let mut yard = Yard::new(playbook_of(vec![asks]));
    yard.stage.core.definitions.people = super::questions::people(1);
    for (number, choice) in [(1, "approve"), (2, "deny")] {
        let run = yard.attack(number);
        yard.says(&run, "cut", choice, "ana").unwrap();
    }
    let silent = yard.attack(3);
    yard.pass(super::questions::QUARTER);
    assert_eq!(yard.end_of(&silent), "RunFinished failed");
    let tried = yard.tried();
    assert_eq!((tried.asked, tried.denied, tried.acts[0].done), (3, 2, 1));
}
