//! What each attempt of a step did is taken back: every one plans by what the one before, and others, have left.

use super::*;
use proptest::prelude::*;

const FIELDS: [&str; 4] = ["a", "b", "c", "d"];
/// What quell sets a field to.
const SET: &str = "quell";

/// What one attempt does of its plan, and what others write after it: which fields, each with how.
type Attempt = (usize, Vec<(usize, u8)>);

/// Fields that others write too.
#[derive(Default)]
struct World {
    fields: BTreeMap<&'static str, String>,
    /// As others want them: what is to stand once quell's are taken back.
    theirs: BTreeMap<&'static str, String>,
    attempts: Vec<Attempt>,
    undone: Vec<Vec<&'static str>>,
    /// What `d` was cannot be given back.
    is_stuck: bool,
}

struct Writes(&'static ActionSpec, Arc<Mutex<World>>);

impl World {
    fn new(attempts: Vec<Attempt>) -> Arc<Mutex<Self>> {
        let fields: BTreeMap<_, _> = FIELDS.map(|field| (field, format!("{field} as it was"))).into();
        Arc::new(Mutex::new(Self { theirs: fields.clone(), fields, attempts, ..Self::default() }))
    }
}

/// The fields that a plan found otherwise, and how.
fn found(plan: &Plan) -> Vec<(&'static str, String)> {
    FIELDS.into_iter().filter_map(|field| Some((field, plan.before[field].as_str()?.to_owned()))).collect()
}

#[async_trait::async_trait]
impl Action for Writes {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn plan(&self, _: &Json) -> Result<Plan, ActionError> {
        let mut before = self.1.lock().unwrap().fields.clone();
        before.retain(|_, value| value != SET);
        Ok(Plan { before: json!(before), ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let mut world = self.1.lock().unwrap();
        let (most, others) =
            if world.attempts.is_empty() { (FIELDS.len(), Vec::new()) } else { world.attempts.remove(0) };
        for (field, _) in found(go.plan()).into_iter().take(most) {
            world.fields.insert(field, SET.to_owned());
        }
        let is_whole = world.fields.values().all(|value| value == SET);
        for (at, how) in others {
            let value = format!("{} as they want it, {how}", FIELDS[at]);
            world.fields.insert(FIELDS[at], value.clone());
            world.theirs.insert(FIELDS[at], value);
        }
        if is_whole { Ok(json!({})) } else { Err(ActionError::retry("it is not all done")) }
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let world = self.1.lock().unwrap();
        let holds = match want {
            Want::Acted => world.fields.values().all(|value| value == SET),
            Want::Undone => found(plan).iter().all(|(field, _)| world.fields[field] != SET),
        };
        Ok(if holds { Truth::Holds } else { Truth::HoldsNot("it is otherwise".into()) })
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let mut world = self.1.lock().unwrap();
        let mut back = found(go.plan());
        back.retain(|(field, _)| world.fields[field] == SET);
        let count = back.len();
        back.retain(|(field, _)| !(world.is_stuck && *field == "d"));
        let is_whole = back.len() == count;
        world.undone.push(back.iter().map(|(field, _)| *field).collect());
        world.fields.extend(back);
        if is_whole { Ok(json!({})) } else { Err(ActionError::give_up("d does not move")) }
    }
}

fn yard(world: &Arc<Mutex<World>>, attempts: u32) -> Yard {
    let mut step = sets("write", &[], "process.freeze", "x");
    step.retry.attempts = attempts;
    let plain = spec("process.freeze", Lane::Contain, Guarantee::ExactlyOnceInEffect);
    let spec = Box::leak(Box::new(ActionSpec { undoable: true, ..plain.clone() }));
    let mut yard = Yard::new(playbook_of(vec![step]));
    yard.stage.core.parts.crew = Crew::new(vec![Verb::Acts(Arc::new(Writes(spec, Arc::clone(world))))]);
    yard
}

impl Yard {
    /// Lets everything happen, however long it waits for its moment.
    fn goes_to_its_end(&mut self) {
        let end = SystemClock.now().after(Duration::from_secs(20));
        self.stage.core.turn();
        while !self.stage.core.is_idle() {
            assert!(SystemClock.now() < end, "it does not end");
            self.clock.advance(Duration::from_secs(60));
            self.stage.core.turn();
        }
    }

    /// False: nothing stands.
    fn asks_for_undo(&mut self, run: &RunId) -> bool {
        let (run, by, why) = (run.clone(), "ann".into(), "a drill".into());
        let asked = self.stage.core.serve(Request::Undo { way: socket(), run, step: None, by, why });
        self.goes_to_its_end();
        asked.is_ok()
    }
}

#[test]
fn what_the_second_attempt_did_is_taken_back_before_what_the_first_did() {
    let world = World::new(vec![(1, vec![(0, 7)]), (2, vec![])]);
    let mut yard = yard(&world, 5);
    let run = yard.attack_that_waits();
    yard.goes_to_its_end();
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    assert!(world.lock().unwrap().fields.values().all(|value| value == SET));
    assert!(yard.asks_for_undo(&run));
    assert_eq!(yard.end_of(&run), "RunFinished undone");
    let world = world.lock().unwrap();
    // Of the first nothing was left: others have written over it since.
    assert_eq!(world.undone, [vec!["c", "d"], vec!["a", "b"]]);
    assert_eq!(world.fields, world.theirs);
    let of_undo = |line: &&String| line.starts_with("Undo");
    assert_eq!(yard.stage.story(&run).iter().filter(of_undo).count(), 3, "one attempt takes all of it back");
}

#[test]
fn what_a_later_attempt_did_and_cannot_be_taken_back_holds_up_nothing_of_an_earlier_one() {
    let world = World::new(vec![(2, vec![])]);
    world.lock().unwrap().is_stuck = true;
    let mut yard = yard(&world, 5);
    let run = yard.attack_that_waits();
    yard.goes_to_its_end();
    assert!(yard.asks_for_undo(&run));
    assert_eq!(yard.end_of(&run), "RunFinished stuck");
    let mut at = world.lock().unwrap();
    let left: Vec<_> = at.fields.iter().filter(|(_, value)| *value == SET).map(|(field, _)| *field).collect();
    assert_eq!(left, ["d"], "which the second attempt did, and the first had planned");
    at.is_stuck = false;
    drop(at);
    assert!(yard.asks_for_undo(&run));
    assert_eq!(yard.end_of(&run), "RunFinished undone");
    let world = world.lock().unwrap();
    assert_eq!(world.fields, world.theirs);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_an_undo_everything_is_as_others_left_it(
        attempts in prop::collection::vec((0..4usize, prop::collection::vec((0..4usize, any::<u8>()), 0..3)), 0..5),
        tried_again in any::<bool>(),
    ) {
        let world = World::new(attempts);
        let mut yard = yard(&world, 3);
        let run = yard.attack_that_waits();
        yard.goes_to_its_end();
        if tried_again && yard.end_of(&run) == "RunFinished failed" {
            let again = Request::Retry { run: run.clone(), from: None, by: "ann".into(), why: String::new() };
            yard.stage.core.serve(again).unwrap();
            yard.goes_to_its_end();
        }
        let stood = yard.asks_for_undo(&run);
        let world = world.lock().unwrap();
        prop_assert_eq!(&world.fields, &world.theirs);
        prop_assert!(!stood || yard.end_of(&run) == "RunFinished undone");
    }
}
