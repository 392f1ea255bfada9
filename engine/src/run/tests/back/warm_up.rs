//! A playbook that is new here asks first for a while.

use super::*;
use quell_model::guard::WarmUp;
use quell_model::record::RunState;

impl Yard {
    fn warm(mut self, runs: Option<u32>, lasts: Option<Duration>) -> Self {
        self.stage.core.definitions.guard.warm_up = Some(WarmUp { runs, lasts });
        self.stage.core.note_texts();
        self
    }

    /// Where a run of a new attack stands, and what made its mode what it is.
    fn attacked(&mut self, subject: &str, number: u32) -> (RunState, String) {
        let run = self.attack_by(subject, number);
        let view = crate::report::run(&self.stage.journal, &run).unwrap().unwrap();
        (view.state, view.mode_because)
    }

    fn reload(&mut self, playbook: Playbook) {
        let mut all = self.stage.core.definitions.clone();
        all.playbooks = vec![Arc::new(playbook)];
        self.stage.core.reload(all);
    }
}

fn one() -> Playbook {
    playbook_of(vec![sets("one", &[], "process.freeze", "a")])
}

#[test]
fn a_new_text_asks_until_its_time_is_over_and_restarts_do_not_begin_it_anew() {
    let day = Some(24 * HOUR);
    let mut yard = Yard::new(one()).warm(None, day);
    let (state, why) = yard.attacked("7", 1);
    assert_eq!(state, RunState::Waiting);
    assert!(why.contains("`guard.warm_up`") && why.contains("another 24h"), "{why}");
    let held = yard.ask(Request::Status).unwrap();
    assert!(held["held"][0]["why"].as_str().unwrap().contains("new here"), "{held}");
    assert_eq!(held["modes"][0]["mode"], "approve");
    yard.clock.advance(20 * HOUR);
    let mut yard = yard.again("b").warm(None, day);
    let (state, why) = yard.attacked("8", 2);
    assert_eq!(state, RunState::Waiting);
    assert!(why.contains("another 4h"), "{why}");
    yard.clock.advance(4 * HOUR);
    assert_eq!(yard.attacked("9", 3).0, RunState::Succeeded);
    assert_eq!(yard.ask(Request::Status).unwrap()["held"], json!([]));
    // Another text of it is new; the former, loaded again, is not.
    let (former, mut other) = (yard.playbook.clone(), yard.playbook.clone());
    other.hash = Hash::of(b"another text");
    yard.reload(other);
    assert_eq!(yard.attacked("10", 4).0, RunState::Waiting);
    yard.reload(former);
    assert_eq!(yard.attacked("11", 5).0, RunState::Succeeded);
    let seen = yard.stage.journal.latest(&[Kind::PlaybookSeen], 10).unwrap();
    assert_eq!(seen.len(), 2, "each text is seen once");
}

#[test]
fn so_many_places_end_it_and_one_place_counts_once() {
    let mut yard = Yard::new(one()).warm(Some(2), None);
    assert_eq!(yard.attacked("7", 1).0, RunState::Waiting);
    assert_eq!(yard.attacked("8", 2).0, RunState::Waiting, "the same place again");
    // Counted from the journal: a start begins nothing anew.
    let mut yard = yard.again("b").warm(Some(2), None);
    assert_eq!(yard.attacked("9", 3).0, RunState::Waiting);
    let by_hand =
        Request::Start { playbook: "test".into(), event: None, inputs: json!({}), mode: None, by: "ann".into() };
    yard.ask(by_hand).unwrap();
    assert_eq!(yard.attacked("10", 4).0, RunState::Succeeded, "it has run in a second place");
    let mut yard = yard.again("b").warm(Some(2), None);
    assert_eq!(yard.attacked("11", 5).0, RunState::Succeeded);
}
