//! What ends by itself in the world stands as long as its lease, and stands again after a boot, or has lapsed and was told.

use super::*;
use crate::run::fixtures::socket;

/// Sets what ends by itself: after a day, or when its input says so, and with every boot.
pub(super) struct Fades(pub(super) &'static ActionSpec, pub(super) Arc<Things>, pub(super) Arc<SimulatedClock>);

const SECOND_NS: u64 = 1_000_000_000;

impl Fades {
    fn until(&self, lasting: Duration) -> u64 {
        self.2.now().boot_ns + u64::try_from(lasting.as_nanos()).unwrap()
    }

    fn own(plan: &Plan) -> Option<Duration> {
        plan.calls[0]["for"].as_u64().map(Duration::from_secs)
    }
}

#[async_trait::async_trait]
impl Action for Fades {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        let id = format!("{}@{}", input["process"].as_str().unwrap(), self.1.boots.load(Ordering::SeqCst));
        let target = Target {
            node: "n".into(),
            kind: "thing".into(),
            label: id.clone(),
            id,
            named: true,
            facts: TargetFacts::Other,
        };
        Ok(Plan { targets: vec![target], calls: vec![json!({ "for": input["for"] })], ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let lasting = Self::own(go.plan()).unwrap_or(24 * HOUR);
        self.1.fading.lock().unwrap().insert(go.plan().targets[0].id.clone(), self.until(lasting));
        Ok(json!({}))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let now = self.2.now().boot_ns;
        let fades = self.1.fading.lock().unwrap().get(&plan.targets[0].id).is_some_and(|until| *until > now);
        let stands = fades || self.1.firm.lock().unwrap().contains("rest");
        let holds = stands == (want == Want::Acted);
        Ok(if holds { Truth::Holds } else { Truth::HoldsNot("it is otherwise".into()) })
    }

    async fn verify_lapsed(&self, plan: &Plan) -> Result<Truth, ActionError> {
        let now = self.2.now().boot_ns;
        let fades = self.1.fading.lock().unwrap().get(&plan.targets[0].id).is_some_and(|until| *until > now);
        Ok(if fades { Truth::HoldsNot("it fades".into()) } else { Truth::Holds })
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        self.1.firm.lock().unwrap().remove("rest");
        self.1.fading.lock().unwrap().remove(&go.plan().targets[0].id);
        Ok(json!({}))
    }

    fn is_held(&self) -> bool {
        true
    }

    fn ends_after(&self, plan: &Plan) -> Option<Duration> {
        Self::own(plan)
    }

    async fn hold(&self, go: &Admitted, _: &ActionContext, lasting: Duration) -> Result<(), ActionError> {
        let id = &go.plan().targets[0].id;
        if self.1.firm.lock().unwrap().contains(id) {
            return Err(ActionError::give_up("the kernel does not take it"));
        }
        let until = self.until(lasting);
        *self.1.fading.lock().unwrap().get_mut(id).unwrap() = until;
        Ok(())
    }

    async fn plan_again(&self, input: &Json, former: &Plan) -> Result<Plan, ActionError> {
        if self.1.firm.lock().unwrap().contains("content") {
            return Err(ActionError::give_up("it has another content now"));
        }
        assert!(former.targets[0].id.starts_with("a@"));
        self.plan(input).await
    }
}

impl Yard {
    /// What stands in the world now.
    fn in_force(&self) -> Vec<String> {
        let now = self.clock.now().boot_ns;
        let all = self.things.fading.lock().unwrap();
        all.iter().filter(|(_, until)| **until > now).map(|(id, _)| id.clone()).collect()
    }

    /// How many hours it would stand yet without an engine.
    fn hours_left(&self) -> u64 {
        let until = *self.things.fading.lock().unwrap().values().next().unwrap();
        until.saturating_sub(self.clock.now().boot_ns) / (3600 * SECOND_NS)
    }

    fn keep(&mut self, run: &RunId, lasts: Option<Duration>) -> Result<Json, Refusal> {
        self.ask(Request::Keep { run: run.clone(), step: None, lasts, by: "ann".into(), way: socket() })
    }

    /// After a boot the world has forgotten what ends with it.
    fn rebooted(self, after: Duration) -> Self {
        self.things.fading.lock().unwrap().clear();
        self.things.boots.fetch_add(1, Ordering::SeqCst);
        let mut yard = self.booted(after);
        yard.stage.settle();
        yard
    }

    fn told(&self, what: &str) -> bool {
        self.notes().iter().any(|note| note.contains(what))
    }
}

fn blocks(own: Option<u64>) -> Step {
    let with = json!({ "process": "a", "for": own });
    Step { kind: StepKind::Action { action: "kernel.block".into(), with }, ..step("one", &[]) }
}

fn yard(step: Step) -> Yard {
    Yard::new(playbook_of(vec![step]))
}

#[test]
fn what_a_person_is_asked_about_stands_until_somebody_says() {
    let mut yard = yard(blocks(None));
    let run = yard.attack(1);
    assert_eq!(yard.hours_left(), 48, "the kernel's own end lies behind the lease's");
    yard.pass(24 * HOUR);
    assert_eq!(yard.leases(&run), ["granted", "due"]);
    for _ in 0..20 {
        yard.pass(6 * HOUR);
        assert_eq!(yard.in_force(), ["a@0"], "{:?}", yard.leases(&run));
    }
    assert!(yard.hours_left() >= 11);
    yard.undo(&run, None).unwrap();
    assert_eq!(yard.in_force(), Vec::<String>::new());
    assert_eq!(yard.leases(&run), ["granted", "due", "ended"]);
}

#[test]
fn what_is_to_be_undone_stands_little_longer_than_its_lease_without_an_engine() {
    let mut yard = yard(with_lease(blocks(None), 3 * HOUR, AtEnd::Undo));
    let run = yard.attack(1);
    assert_eq!(yard.hours_left(), 4);
    yard.pass(3 * HOUR);
    assert_eq!((yard.leases(&run), yard.in_force()), (vec!["granted".into(), "ended".into()], Vec::new()));
}

#[test]
fn an_end_by_the_input_is_the_leases_end_too_and_nobody_is_asked() {
    let mut yard = yard(blocks(Some(3600)));
    let run = yard.attack(1);
    let records = yard.stage.journal.read(&StreamId::run(&run), 1).unwrap();
    let lasts = records.iter().find_map(|record| match &record.body {
        Body::LeaseGranted(granted) => Some((granted.lasts, granted.own_end)),
        _ => None,
    });
    assert_eq!(lasts, Some((HOUR, true)));
    yard.pass(HOUR);
    assert_eq!((yard.leases(&run), yard.in_force()), (vec!["granted".into(), "lapsed".into()], Vec::new()));
    assert!(yard.told("stands no more: it was to stand for 1h, and ended by itself"), "{:?}", yard.notes());
}

#[test]
fn a_lease_that_ends_before_the_input_says_so_asks_and_holds() {
    let mut yard = yard(with_lease(blocks(Some(7200)), HOUR, AtEnd::Ask));
    let run = yard.attack(1);
    yard.pass(HOUR);
    yard.pass(5 * HOUR);
    assert_eq!((yard.leases(&run), yard.in_force()), (vec!["granted".into(), "due".into()], vec!["a@0".into()]));
}

#[test]
fn who_keeps_it_keeps_it_in_the_world() {
    let mut yard = yard(blocks(Some(3600)));
    let run = yard.attack(1);
    yard.keep(&run, Some(8 * HOUR)).unwrap();
    yard.pass(8 * HOUR - Duration::from_secs(1));
    assert_eq!((yard.leases(&run), yard.in_force()), (vec!["granted".into(), "kept".into()], vec!["a@0".into()]));
    yard.pass(HOUR);
    assert_eq!(yard.leases(&run), ["granted", "kept", "due"]);
    yard.keep(&run, None).unwrap();
    for _ in 0..8 {
        yard.pass(11 * HOUR);
    }
    assert_eq!(yard.in_force(), ["a@0"], "without an end");
}

#[test]
fn who_cannot_keep_it_is_told_so_and_it_is_tried_again() {
    let mut yard = yard(blocks(Some(3600)));
    let run = yard.attack(1);
    yard.things.firm.lock().unwrap().insert("a@0".into());
    let why = yard.keep(&run, Some(8 * HOUR)).unwrap_err().to_string();
    assert!(why.contains("may end before that: the kernel does not take it"), "{why}");
    yard.stage.settle();
    assert!(yard.told("may end before its lease: the kernel does not take it"), "{:?}", yard.notes());
    yard.pass(HOUR / 30);
    assert_eq!(yard.notes().iter().filter(|note| note.contains("before its lease")).count(), 1, "once");
    yard.things.firm.lock().unwrap().clear();
    yard.pass(HOUR / 30);
    yard.pass(7 * HOUR);
    assert_eq!(yard.in_force(), ["a@0"]);
}

#[test]
fn what_stands_again_after_a_boot_ends_when_it_was_to_and_by_its_new_plan() {
    let mut yard = yard(blocks(None));
    let run = yard.attack(1);
    yard.pass(22 * HOUR);
    let mut yard = yard.rebooted(HOUR);
    assert_eq!(yard.in_force(), ["a@1"]);
    assert_eq!(yard.leases(&run), ["granted", "returning", "renewed"]);
    assert!(yard.told("is in force again"), "{:?}", yard.notes());
    yard.pass(HOUR / 2);
    assert_eq!(yard.leases(&run).len(), 3);
    yard.pass(HOUR);
    assert_eq!(yard.leases(&run).last().unwrap(), "due", "a day after it began, not after the boot");
    let mut yard = yard.rebooted(HOUR);
    assert_eq!(yard.leases(&run)[3..], ["due", "returning", "renewed"]);
    assert_eq!(yard.in_force(), ["a@2"], "a person has not said yet");
    yard.undo(&run, None).unwrap();
    assert_eq!(yard.in_force(), Vec::<String>::new());
    assert_eq!(yard.leases(&run).last().unwrap(), "ended");
}

#[test]
fn what_fades_stands_again_after_a_boot_beside_what_does_not() {
    let mut yard = yard(blocks(None));
    let run = yard.attack(1);
    yard.things.firm.lock().unwrap().insert("rest".into());
    let mut yard = yard.rebooted(HOUR);
    assert_eq!(yard.in_force(), ["a@1"]);
    assert_eq!(yard.leases(&run), ["granted", "returning", "renewed"]);
    yard.undo(&run, None).unwrap();
    assert_eq!((yard.in_force(), yard.things.firm.lock().unwrap().len()), (Vec::<String>::new(), 0));
}

#[test]
fn what_the_input_ends_ends_then_also_over_a_boot() {
    let mut yard = yard(blocks(Some(7200)));
    let run = yard.attack(1);
    let mut yard = yard.rebooted(HOUR);
    assert_eq!((yard.in_force(), yard.hours_left()), (vec!["a@1".to_owned()], 1));
    yard.pass(HOUR);
    assert!(yard.in_force().is_empty(), "{:?}", yard.leases(&run));
}

#[test]
fn what_does_not_stand_again_has_lapsed_and_is_told() {
    let mut yard = yard(blocks(None));
    let run = yard.attack(1);
    yard.things.firm.lock().unwrap().insert("content".into());
    let yard = yard.rebooted(HOUR);
    assert_eq!((yard.leases(&run), yard.in_force()), (vec!["granted".into(), "lapsed".into()], Vec::new()));
    assert!(yard.told("stands no more: it has another content now"), "{:?}", yard.notes());
    let system = yard.stage.journal.read(&StreamId::system(), 1).unwrap();
    let lapsed = |record: &Record| matches!(&record.body, Body::LeaseChanged(c) if c.state.as_str() == "lapsed");
    assert!(system.iter().any(lapsed), "a start finds it");
}

#[test]
fn what_a_boot_ended_in_a_pause_stands_again_at_its_end() {
    let mut yard = yard(blocks(None));
    let run = yard.attack(1);
    yard.pause(true);
    let mut yard = yard.rebooted(HOUR);
    assert_eq!((yard.leases(&run), yard.in_force()), (vec!["granted".to_owned()], Vec::new()), "nothing acts");
    assert!(yard.told("is to be in force again once the pause is over"), "{:?}", yard.notes());
    // And over another start.
    yard = yard.again("another");
    yard.stage.settle();
    assert_eq!(yard.leases(&run), ["granted"]);
    yard.pause(false);
    yard.stage.settle();
    assert_eq!(yard.leases(&run), ["granted", "returning", "renewed"]);
    assert_eq!(yard.in_force(), ["a@1"]);
}

#[test]
fn what_stands_is_held_through_a_pause() {
    let mut yard = yard(blocks(None));
    let run = yard.attack(1);
    yard.pause(true);
    for _ in 0..12 {
        yard.pass(8 * HOUR);
    }
    assert_eq!((yard.leases(&run), yard.in_force()), (vec!["granted".to_owned()], vec!["a@0".to_owned()]));
    yard.pause(false);
    yard.stage.settle();
    assert_eq!(yard.leases(&run), ["granted", "due"]);
}

#[test]
fn what_stands_has_an_owner_and_an_end_and_who_keeps_it_owns_it() {
    let mut yard = yard(blocks(None));
    let run = yard.attack(1);
    let standing = |yard: &mut Yard| yard.ask(Request::Status).unwrap()["leases"][0].clone();
    let lease = standing(&mut yard);
    assert_eq!(lease["id"], format!("{run}/one"), "{lease}");
    assert_eq!((&lease["owner"], &lease["due"]), (&json!({ "playbook": "test" }), &json!(false)));
    let end = yard.clock.now().after(24 * HOUR).wall.to_string();
    assert_eq!(lease["until"], end);
    // By the wall clock, whatever the boot clock of the next boot shows.
    let mut yard = yard.rebooted(HOUR);
    assert_eq!(standing(&mut yard)["until"], end);
    yard.keep(&run, Some(8 * HOUR)).unwrap();
    assert_eq!(standing(&mut yard)["owner"], json!({ "person": "ann" }));
    yard.stage.settle();
    let view = crate::report::run(&yard.stage.journal, &run).unwrap().unwrap();
    let lease = view.steps[0].lease.as_ref().unwrap();
    assert_eq!(lease.owner, Some(record::Owner::Person("ann".into())));
    yard.pass(8 * HOUR);
    assert_eq!(
        (standing(&mut yard)["due"].as_bool(), standing(&mut yard)["owner"].clone()),
        (Some(true), json!({ "person": "ann" }))
    );
}

#[test]
fn what_a_person_started_is_theirs() {
    let mut yard = yard(blocks(None));
    let start =
        Request::Start { playbook: "test".into(), event: None, inputs: json!({}), mode: None, by: "ann".into() };
    yard.ask(start).unwrap();
    yard.stage.settle();
    let run = yard.stage.runs().pop().unwrap();
    let lease = yard.ask(Request::Status).unwrap()["leases"][0].clone();
    assert_eq!((&lease["run"], &lease["owner"]), (&json!(run), &json!({ "person": "ann" })));
}

/// (what `quell uninstall` wrote last, whether it stands again)
#[test]
fn what_was_taken_back_with_quell_itself_does_not_stand_again() {
    for (detail, again) in [(json!({ "begins": true }), false), (json!({ "keeps": true }), true)] {
        let mut yard = yard(blocks(None));
        let run = yard.attack(1);
        yard.pass(HOUR);
        let said = record::PersonActed { by: "root".into(), what: "uninstall".into(), detail };
        let now = yard.clock.now();
        yard.stage.core.write_system(vec![NewRecord::new(now, said)]);
        yard.stage.settle();
        yard.things.fading.lock().unwrap().clear();
        let mut yard = yard.again("b");
        yard.stage.settle();
        let last = if again { "granted" } else { "lapsed" };
        assert_eq!((yard.leases(&run).pop().unwrap().as_str(), yard.in_force().len()), (last, usize::from(again)));
    }
}

/// One whose `rest` stands yet, and what fades not, as `quell uninstall` left it.
fn half_left(at_end: AtEnd) -> (Yard, RunId) {
    let mut yard = yard(with_lease(blocks(None), 24 * HOUR, at_end));
    let run = yard.attack(1);
    yard.pass(HOUR);
    let said = record::PersonActed { by: "root".into(), what: "uninstall".into(), detail: json!({ "begins": true }) };
    let now = yard.clock.now();
    yard.stage.core.write_system(vec![NewRecord::new(now, said)]);
    yard.stage.settle();
    yard.things.fading.lock().unwrap().clear();
    yard.things.firm.lock().unwrap().insert("rest".into());
    (yard, run)
}

#[test]
fn what_is_held_no_more_has_not_lapsed_while_something_of_it_stands() {
    for (at_end, leases) in [(AtEnd::Ask, vec!["granted", "due"]), (AtEnd::Undo, vec!["granted"])] {
        let (mut yard, run) = half_left(at_end);
        for start in ["b", "c"] {
            yard = yard.again(start);
            yard.stage.settle();
            yard.pass(HOUR);
            assert_eq!(yard.leases(&run), leases, "{:?}", yard.notes());
            assert_eq!(yard.in_force(), Vec::<String>::new());
        }
        let asked = yard.notes().iter().filter(|note| note.contains("quell run keep")).count();
        assert_eq!(asked, usize::from(at_end == AtEnd::Ask), "{:?}", yard.notes());
        assert!(yard.told("a part of it is over") && !yard.told("stands no more"), "{:?}", yard.notes());
        match at_end {
            AtEnd::Undo => yard.pass(24 * HOUR),
            _ => drop(yard.undo(&run, None).unwrap()),
        }
        assert_eq!((yard.leases(&run).pop().unwrap().as_str(), yard.things.firm.lock().unwrap().len()), ("ended", 0));
    }
}

#[test]
fn who_keeps_what_stands_in_part_has_all_of_it_in_force_again() {
    let (yard, run) = half_left(AtEnd::Ask);
    let mut yard = yard.again("b");
    yard.pass(HOUR);
    assert_eq!((yard.leases(&run).pop().unwrap().as_str(), yard.in_force().len()), ("due", 0));
    yard.keep(&run, Some(8 * HOUR)).unwrap();
    yard.stage.settle();
    assert_eq!((yard.leases(&run).pop().unwrap().as_str(), yard.in_force().len()), ("kept", 1));
}

#[test]
fn what_two_stand_by_is_in_force_while_one_does() {
    let mut yard = yard(blocks(None));
    let (first, second) = (yard.attack_by("7", 1), yard.attack_by("8", 2));
    assert_ne!(first, second);
    yard.undo(&first, None).unwrap();
    assert_eq!(yard.leases(&first), ["granted", "ended"]);
    assert_eq!((yard.leases(&second).pop().unwrap().as_str(), yard.in_force().len()), ("granted", 1));
    yard.undo(&second, None).unwrap();
    assert_eq!(yard.in_force(), Vec::<String>::new());
}
