//! What is planned at once is acted by where the guard lets it, as it is; else it is planned as ever, and nothing is lost by that.

use super::*;
use quell_model::action::Replicas;
use quell_model::guard::{EACH, MinReady, Share};

/// Knows of some replicas without a question, and of all once it asks.
struct Knows {
    spec: &'static ActionSpec,
    known: u32,
    all: u32,
    asked: AtomicU32,
    acted: Mutex<Vec<Json>>,
}

fn planned(ready: u32) -> Plan {
    let facts = TargetFacts::Object {
        cluster: "c".into(),
        resource: "pods".into(),
        namespace: Some("shop".into()),
        name: "web-1".into(),
        uid: "u".into(),
        owner: Some("deployment/web".into()),
        replicas: Some(Replicas { wanted: 4, ready, takes: 1 }),
        needed: None,
    };
    let (id, label) = ("u".to_owned(), "pod shop/web-1".to_owned());
    let target = Target { node: "c".into(), kind: "pod".into(), id, label, named: true, facts };
    Plan { targets: vec![target], calls: vec![json!(ready)], ..Plan::default() }
}

#[async_trait::async_trait]
impl Action for Knows {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn plan(&self, _: &Json) -> Result<Plan, ActionError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(planned(self.all))
    }

    async fn plan_at_once(&self, _: &Json) -> Option<Plan> {
        (self.known > 0).then(|| planned(self.known))
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        self.acted.lock().unwrap().push(go.plan().calls[0].clone());
        Ok(json!({}))
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::Holds)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        panic!("nobody takes it back")
    }
}

/// What was asked, what it acted by, and what its run came to.
fn attacked(known: u32, all: u32, ceiling: Mode) -> (u32, Vec<Json>, Vec<String>) {
    let spec = spec("pod.cut", Lane::Contain, Guarantee::ExactlyOnceInEffect);
    let verb = Arc::new(Knows { spec, known, all, asked: AtomicU32::new(0), acted: Mutex::default() });
    let mut definitions = Definitions { ceiling, ..definitions(playbook_of(vec![acts("cut", &[], "pod.cut")])) };
    definitions.guard.min_ready = MinReady { rows: [(EACH.to_owned(), Share::Percent(50))].into(), nodes: None };
    let more = vec![Verb::Acts(Arc::clone(&verb) as _)];
    let mut stage = stage_with(tempfile::tempdir().unwrap(), World::default(), definitions, more);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    let acted = verb.acted.lock().unwrap().clone();
    (verb.asked.load(Ordering::SeqCst), acted, stage.only_story())
}

#[test]
fn what_is_known_is_acted_by_where_the_guard_lets_it_and_else_it_is_asked_as_ever() {
    let acts = ["RunStarted", "StepIntended", "StepFinished cut verified", "RunFinished succeeded"];
    let refused = ["RunStarted", "GuardRefused", "StepFinished cut refused", "RunFinished failed"];
    let planned = ["RunStarted", "StepPlanned", "StepFinished cut planned", "RunFinished succeeded"];
    for (known, all, ceiling, asked, acted, story) in [
        (3, 4, Mode::Enforce, 0, vec![json!(3)], acts),
        // Two of four have to stay: of those that are known one would.
        (2, 4, Mode::Enforce, 1, vec![json!(4)], acts),
        (0, 4, Mode::Enforce, 1, vec![json!(4)], acts),
        (1, 2, Mode::Enforce, 1, vec![], refused),
        (3, 4, Mode::Observe, 1, vec![], planned),
    ] {
        let found = attacked(known, all, ceiling);
        let story = story.map(str::to_owned).to_vec();
        assert_eq!(found, (asked, acted, story), "{known} of {all}, {ceiling}");
    }
}
