//! Goal: nobody's key is disabled because somebody on a host has planted its id. Method: a capture that finds what the test
//! says, a verb that names identities, and events of a host and of a cloud.

use super::questions::{people, why};
use super::*;
use quell_model::playbook::{Approve, SubPlaybook, Unanswered};
use quell_model::record::QuestionAsked;

const BASE: ActionSpec = ActionSpec {
    name: "",
    summary: "",
    input: || schemars::json_schema!({ "type": "object", "properties": { "process": { "type": "string" } } }),
    output: || schemars::json_schema!({ "type": "object", "properties": { "credentials": { "type": "array" } } }),
    lane: Lane::Capture,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &["process"],
    permissions: &[],
    predict: |_| json!({}),
};
static LOOKS: ActionSpec = ActionSpec { name: "host.capture", ..BASE };
/// Says the same, and is no capture: somebody else's server may have said it.
static TALKS: ActionSpec = ActionSpec { name: "web.ask", lane: Lane::Notify, ..BASE };
static REVOKES: ActionSpec = ActionSpec { name: "cloud.revoke", lane: Lane::Cloud, undoable: true, ..BASE };

/// Gives one key as owned, and one as found.
struct Finds(&'static ActionSpec);

/// Disables a key.
struct Revokes(Arc<Things>);

#[async_trait::async_trait]
impl Action for Finds {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn plan(&self, _: &Json) -> Result<Plan, ActionError> {
        Ok(Plan::default())
    }

    async fn run(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let key = |id: &str, owned| json!({ "kind": "aws_access_key", "id": id, "owned": owned });
        Ok(json!({ "credentials": [key("AKIA-OWN", true), key("AKIA-FOUND", false)] }))
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::Holds)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("has no undo"))
    }
}

#[async_trait::async_trait]
impl Action for Revokes {
    fn spec(&self) -> &'static ActionSpec {
        &REVOKES
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        let id = input["process"].as_str().unwrap().to_owned();
        let (provider, identity) = ("aws".into(), "aws_access_key".into());
        let facts = TargetFacts::Identity { provider, identity, id: id.clone(), account: Some("123456789012".into()) };
        let target = Target { node: "n".into(), kind: "access_key".into(), label: id.clone(), id, named: true, facts };
        Ok(Plan { targets: vec![target], ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        self.0.said.lock().unwrap().push(format!("+{}", go.plan().targets[0].id));
        Ok(json!({}))
    }

    async fn verify(&self, _: &Plan, want: Want) -> Result<Truth, ActionError> {
        Ok(if want == Want::Acted { Truth::Holds } else { Truth::HoldsNot("it stands".into()) })
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Ok(json!({}))
    }
}

fn yard(steps: Vec<Step>) -> Yard {
    let mut yard = Yard::new(playbook_of(steps));
    let finds = |spec| Verb::Acts(Arc::new(Finds(spec)) as Arc<dyn Action>);
    let revokes = Verb::Acts(Arc::new(Revokes(Arc::clone(&yard.things))));
    yard.stage.core.parts.crew = Crew::new(vec![finds(&LOOKS), finds(&TALKS), revokes]);
    yard.stage.core.definitions.people = people(1);
    yard
}

/// A capture, or what is none, and the disabling of a key.
fn revoke(looks: &str, key: &str) -> Vec<Step> {
    vec![sets("look", &[], looks, "x"), sets("revoke", &["look"], "cloud.revoke", key)]
}

fn of_a_cloud(yard: &mut Yard) -> RunId {
    let mut attack = detection("9", 1);
    let event = Arc::make_mut(&mut attack.event);
    (event.head.at, event.head.class) = (yard.clock.now(), Class::Record);
    event.subject = Subject::Principal("arn:aws:iam::1:user/x".into());
    yard.stage.core.detections([attack]);
    yard.stage.settle();
    yard.stage.runs()[0].clone()
}

fn questions(yard: &Yard, run: &RunId) -> Vec<QuestionAsked> {
    let records = yard.stage.journal.read(&StreamId::run(run), 1).unwrap();
    let asked = |record: &Record| match &record.body {
        Body::QuestionAsked(asked) => Some((**asked).clone()),
        _ => None,
    };
    records.iter().filter_map(asked).collect()
}

#[test]
fn a_key_that_a_capture_found_owned_is_disabled_and_another_is_asked_about() {
    let mut owned = yard(revoke("host.capture", "AKIA-OWN"));
    let run = owned.attack(1);
    assert_eq!(owned.things.said(), ["+AKIA-OWN"]);
    assert!(questions(&owned, &run).is_empty());
    for (looks, key) in [("host.capture", "AKIA-FOUND"), ("host.capture", "AKIA-ELSE"), ("web.ask", "AKIA-OWN")] {
        let mut yard = yard(revoke(looks, key));
        let run = yard.attack(1);
        assert_eq!(yard.things.said(), Vec::<String>::new(), "{looks} {key}");
        let asked = questions(&yard, &run);
        assert_eq!(asked[0].guard, Some("bait".into()));
        assert!(asked[0].because.contains(&format!("the aws_access_key `{key}` belongs")), "{}", asked[0].because);
        assert_eq!(asked[0].otherwise.as_str(), "deny");
        let view = crate::report::run(&yard.stage.journal, &run).unwrap().unwrap();
        let step = view.steps.iter().find(|step| step.id == "revoke").unwrap();
        assert_eq!(step.questions[0].guard, Some("bait".into()));
        let incident = view.incident.unwrap();
        let explained = crate::report::explain(&yard.stage.journal, &incident, Default::default()).unwrap().unwrap();
        let held = explained.held.iter().find(|cause| cause.what.as_str() == "bait").unwrap();
        assert_eq!(held.held, "cloud.revoke at step revoke asks first");
        assert!(held.why.contains("planted"), "{held:?}");
        yard.says(&run, "revoke", "approve", "ana").unwrap();
        assert_eq!(yard.things.said(), [format!("+{key}")], "a person has judged it");
    }
}

#[test]
fn silence_is_a_no_whatever_the_step_says() {
    let mut steps = revoke("host.capture", "AKIA-FOUND");
    let approve = Approve { otherwise: Unanswered::Run, ..Approve::default() };
    steps[1].approve = Some(approve.clone());
    let mut bait = yard(steps);
    let run = bait.attack(1);
    assert_eq!(questions(&bait, &run)[0].otherwise.as_str(), "deny");
    bait.pass(HOUR);
    assert!(bait.things.said().is_empty());
    assert!(bait.stage.story(&run).contains(&"StepFinished revoke denied".to_owned()));
    assert!(why(bait.says(&run, "revoke", "approve", "ana")).contains("answered"));
    // Where it is owned the step's own word holds.
    let mut steps = revoke("host.capture", "AKIA-OWN");
    steps[1].approve = Some(approve);
    let mut owned = yard(steps);
    let run = owned.attack(1);
    assert_eq!((questions(&owned, &run)[0].otherwise.as_str(), &questions(&owned, &run)[0].guard), ("approve", &None));
    owned.pass(HOUR);
    assert_eq!(owned.things.said(), ["+AKIA-OWN"]);
}

#[test]
fn a_run_that_began_in_a_cloud_or_by_hand_goes_by_its_mode() {
    let mut cloud = yard(vec![sets("revoke", &[], "cloud.revoke", "AKIA-ELSE")]);
    let run = of_a_cloud(&mut cloud);
    assert_eq!(cloud.things.said(), ["+AKIA-ELSE"]);
    assert!(questions(&cloud, &run).is_empty());
    let mut by_hand = yard(vec![sets("revoke", &[], "cloud.revoke", "AKIA-ELSE")]);
    let start =
        Request::Start { playbook: "test".into(), event: None, inputs: json!({}), mode: None, by: "ana".into() };
    by_hand.ask(start).unwrap();
    assert_eq!(by_hand.things.said(), ["+AKIA-ELSE"]);
}

#[test]
fn what_was_approved_is_not_asked_again_after_a_crash_and_what_was_found_is_not_forgotten() {
    let mut first = yard(revoke("host.capture", "AKIA-FOUND"));
    let run = first.attack(1);
    let crew = first.stage.core.parts.crew.clone();
    let mut again = first.again("b");
    again.stage.core.parts.crew = crew;
    again.stage.core.definitions.people = people(1);
    assert_eq!(questions(&again, &run).len(), 1);
    again.says(&run, "revoke", "approve", "ana").unwrap();
    assert_eq!(again.things.said(), ["+AKIA-FOUND"]);
}

#[test]
fn what_a_run_above_has_captured_counts_in_those_that_it_starts_and_where_it_began_does_too() {
    for (key, acts) in [("AKIA-OWN", true), ("AKIA-FOUND", false)] {
        let child = Playbook {
            name: "child".into(),
            hash: Hash::of(b"child"),
            on: crate::load::trigger::by_hand(),
            ..playbook_of(vec![sets("revoke", &[], "cloud.revoke", key)])
        };
        let starts = SubPlaybook {
            playbook: "child".into(),
            with: json!({}),
            detach: false,
            span: Default::default(),
            inputs: Default::default(),
        };
        let starts = Step { kind: StepKind::Playbook(Box::new(starts)), ..step("child", &["look"]) };
        let mut yard = yard(vec![sets("look", &[], "host.capture", "x"), starts]);
        yard.stage.core.definitions.playbooks.push(Arc::new(child));
        let mut attack = detection("7", 1);
        Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
        yard.stage.core.detections([attack]);
        // The run above follows one that may ask.
        let end = SystemClock.now().after(Duration::from_secs(20));
        while !yard.stage.core.is_idle() && yard.stage.core.open_questions() == 0 {
            assert!(SystemClock.now() < end, "neither did it end nor ask");
            yard.stage.core.turn();
            let _woken_or_late = yard.stage.woken.recv_timeout(Duration::from_millis(20));
        }
        assert_eq!(yard.stage.core.open_questions(), usize::from(!acts), "{key}");
        assert_eq!(yard.things.said(), if acts { vec![format!("+{key}")] } else { Vec::new() });
    }
}
