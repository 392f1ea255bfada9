//! The breaker of a playbook, opened and closed by a person.

use super::*;
use quell_model::record::RunState;

impl Yard {
    fn breaker(&mut self, name: &str, open: bool) -> Result<Json, Refusal> {
        self.ask(Request::Breaker { playbook: name.into(), open, by: "ann".into(), why: "it kills our builds".into() })
    }

    fn held(&mut self) -> Json {
        self.ask(Request::Status).unwrap()["held"].clone()
    }
}

#[test]
fn a_breaker_that_a_person_opened_asks_over_restarts_and_time_until_a_person_closes_it() {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
    let first = yard.attack_by("7", 1);
    assert_eq!(yard.end_of(&first), "RunFinished succeeded");
    yard.breaker("test", true).unwrap();
    let twice = yard.breaker("test", true).unwrap_err();
    assert_eq!(twice, Refusal::NotNow("the breaker of `test` was opened by a person already".into()));
    let mut yard = yard.again("b");
    yard.clock.advance(48 * HOUR);
    let why = yard.held()[0]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("opened by ann (it kills our builds)"), "{why}");
    let run = yard.attack_by("8", 2);
    let line = crate::report::run(&yard.stage.journal, &run).unwrap().unwrap();
    assert_eq!(line.state, RunState::Waiting, "where it has acted before it asks too: {}", line.summary);
    assert!(line.steps[0].questions[0].because.contains("opened by a person"), "{:?}", line.steps[0].questions);
    let all = yard.ask(Request::Breakers).unwrap();
    assert_eq!(
        (&all[0]["id"], &all[0]["open"], &all[0]["by"], &all[0]["closes"]),
        (&json!("test"), &json!(true), &json!("ann"), &Json::Null)
    );
    yard.breaker("test", false).unwrap();
    assert_eq!(yard.held(), json!([]));
    assert_eq!(yard.ask(Request::Breakers).unwrap(), json!([{ "id": "test", "open": false }]));
    let run = yard.attack_by("9", 3);
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    let closed = yard.breaker("test", false).unwrap_err();
    assert_eq!(closed, Refusal::NotNow("the breaker of `test` is closed already".into()));
    let near = yard.breaker("tset", true).unwrap_err();
    assert_eq!(near, Refusal::Wrong("there is no playbook `tset`; did you mean `test`?".into()));
    assert!(matches!(yard.breaker("contain-something-else", true), Err(Refusal::NotFound { .. })));
}
