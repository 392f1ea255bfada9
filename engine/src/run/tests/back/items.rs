//! Goal: each item of a `for_each` is asked and acts for itself. Method: answers to all of them at once, and plans that fail
//! while another is made.

use super::questions::{ask, asks_first, people, why};
use super::*;
use quell_model::playbook::{ForEach, ItemErrors};
use quell_model::record::Part;

pub(super) fn each(step: Step, list: &str, errors: ItemErrors) -> Step {
    let list = Expression { text: list.into(), span: Default::default() };
    Step { for_each: Some(ForEach { list, max_parallel: 2, errors }), ..step }
}

impl Yard {
    pub(super) fn says_of(
        &mut self,
        run: &RunId,
        step: &str,
        item: u32,
        choice: &str,
        by: &str,
    ) -> Result<Json, Refusal> {
        let (run, step, item) = (run.clone(), Some(step.into()), Some(item));
        let (plan, via, why) = (None, "socket".into(), String::new());
        let given = AnswerGiven { run, step, item, choice: choice.into(), plan, by: by.into(), via, from: None, why };
        self.ask(Request::Answer(Box::new(given)))
    }
}

#[test]
fn one_person_is_one_of_two_for_every_item() {
    let cut = asks_first(sets("cut", &[], "cloud.cut", "${{ item }}"));
    let mut yard = Yard::new(playbook_of(vec![each(cut, r#"["a", "b"]"#, ItemErrors::Collect)]));
    yard.stage.core.definitions.people = people(2);
    let run = yard.attack(1);
    assert_eq!(yard.says_of(&run, "cut", 1, "approve", "ana").unwrap()["missing"], 1);
    let all = yard.says(&run, "cut", "approve", "ana").unwrap();
    assert_eq!((&all["answered"], &all["missing"]), (&json!([]), &json!(1)), "of the other item it is the first word");
    assert!(why(yard.says(&run, "cut", "approve", "ana")).contains("ana has said `approve` already"));
    assert_eq!(yard.things.said(), Vec::<String>::new());
    yard.says(&run, "cut", "approve", "lead").unwrap();
    assert_eq!(yard.things.stand(), ["a", "b"]);
}

#[test]
fn whoever_is_asked_of_one_item_answers_for_nobody_else() {
    let asked = each(ask(Some("item")), r#"["bo", "lead"]"#, ItemErrors::Collect);
    let mut yard = Yard::new(playbook_of(vec![asked]));
    yard.stage.core.definitions.people = people(1);
    let run = yard.attack(1);
    assert_eq!(yard.says(&run, "ask", "me", "bo").unwrap()["answered"], json!(["ask[0]"]));
    assert_eq!(yard.stage.core.open_questions(), 1);
    assert!(why(yard.says(&run, "ask", "me", "bo")).contains("it is lead who is asked"));
    yard.says(&run, "ask", "not_me", "lead").unwrap();
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
}

#[test]
fn what_items_asked_ends_with_their_step() {
    let cut = asks_first(sets("cut", &[], "cloud.cut", "${{ item }}"));
    let cut = each(cut, r#"["a", "b"]"#, ItemErrors::Stop);
    let mut yard = Yard::new(playbook_of(vec![cut, asks_first(sets("other", &[], "cloud.cut", "c"))]));
    yard.stage.core.definitions.people = people(1);
    let run = yard.attack(1);
    assert_eq!(yard.stage.core.open_questions(), 3);
    yard.says_of(&run, "cut", 0, "deny", "ana").unwrap();
    assert_eq!(yard.stage.core.open_questions(), 1, "the other step's");
    let late = why(yard.says_of(&run, "cut", 1, "approve", "ana"));
    assert!(late.contains("its step ended before an answer came"), "{late}");
    let late = why(yard.says_of(&run, "cut", 0, "approve", "ana"));
    assert!(late.contains("ana answered `deny` before"), "each item has its own answer: {late}");
    let mut yard = yard.again("b");
    yard.stage.core.definitions.people = people(1);
    assert_eq!(yard.stage.core.open_questions(), 1);
    yard.says(&run, "other", "approve", "ana").unwrap();
    assert_eq!(yard.things.stand(), ["c"]);
    assert_eq!(yard.end_of(&run), "RunFinished failed");
}

/// Its plans wait until they are let go, or fail.
struct Planned(Sets, Mutex<mpsc::Receiver<()>>);

#[async_trait::async_trait]
impl Action for Planned {
    fn spec(&self) -> &'static ActionSpec {
        self.0.spec()
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        if input["process"] == "bad" {
            return Err(ActionError::give_up("there is no such thing"));
        }
        self.1.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
        self.0.plan(input).await
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.0.run(go, cx).await
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        self.0.verify(plan, want).await
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.0.undo(go, cx).await
    }
}

#[test]
fn a_step_does_not_end_while_an_item_of_it_is_planned() {
    let cut = each(sets("cut", &[], "cloud.cut", "${{ item }}"), r#"["bad", "a", "b"]"#, ItemErrors::Stop);
    let mut yard = Yard::new(playbook_of(vec![cut]));
    let (let_go, gate) = mpsc::sync_channel(4);
    let spec = yard.stage.core.parts.crew.get("cloud.cut").unwrap().spec();
    let planned = Planned(Sets(spec, Arc::clone(&yard.things)), Mutex::new(gate));
    yard.stage.core.parts.crew = Crew::new(vec![Verb::Acts(Arc::new(planned))]);
    let mut attack = detection("7", 1);
    Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
    yard.stage.core.detections([attack]);
    yard.stage.until(|stage| stage.only_story().iter().any(|line| line.starts_with("StepFinished")));
    let_go.send(()).unwrap();
    yard.stage.settle();
    let run = yard.stage.runs().remove(0);
    let records = yard.stage.journal.read(&StreamId::run(&run), 1).unwrap();
    let seq =
        |is_it: &dyn Fn(&Body) -> bool| records.iter().find(|record| is_it(&record.body)).map(|record| record.seq);
    let whole = Part { step: "cut".into(), item: None };
    let ended = seq(&|body| matches!(body, Body::StepFinished(finished) if finished.part == whole)).unwrap();
    let intended = seq(&|body| matches!(body, Body::StepIntended(_))).unwrap();
    assert!(intended < ended, "{:?}", yard.stage.only_story());
    assert_eq!(yard.things.stand(), ["a"], "nothing more began");
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty());
}
