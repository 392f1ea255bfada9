//! The simulated world: things that stand or do not, messages that were sent, and verbs that do well, fail, hang, lie, or
//! leave nobody knowing.
//!
//! A thing has fields; a verb sets those that are not as it wants them when it plans, and gives back those of its plan that still are
//! as it set them. It stands while any is.
//!
//! Owns what is so, and the list of all that was done. Never decides what the engine should make of it. Keeps true: `verify`
//! tells no lie (it may not answer); an error that says "try again" of a verb that may be done once only comes before it.

use super::rng::Rng;
use crate::store::{Journal, by_hand};
use quell_model::action::{ActionContext, Guarantee, Want};
use quell_model::playbook::{Playbook, Step, StepKind};
use quell_model::world::Verb;
use quell_model::{
    Action, ActionError, ActionSpec, Admitted, Crew, Json, Lane, Look, Name, Plan, Sandbox, Seq, StreamId, Target,
    TargetFacts, Truth,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Doing {
    /// It is done.
    Well,
    /// It is done, and much is told of it.
    Verbose,
    /// Not done, and may be tried again.
    Fails,
    /// Done in part, and told as failed.
    Half,
    /// Not done, and never will be.
    GivesUp,
    /// Told as done, and is not.
    Lies,
    /// Does not come back; done or not.
    Hangs(bool),
    /// Comes back without knowing; done or not.
    Unknown(bool),
    /// Its code panics, and it is not done.
    Panics,
}

/// A call that reached the world.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// `run/step`, `run/step/item`.
    pub(super) key: String,
    pub(super) action: &'static str,
    pub(super) undo: bool,
    pub(super) attempt: u32,
    pub(super) lane: Lane,
    pub(super) thing: String,
    /// The last record of its run that was as safe as this verb needs it.
    pub(super) safe: Seq,
    /// It has changed something.
    pub(super) effect: bool,
    /// It was told as done.
    pub(super) claimed: bool,
    /// The journal was in trouble: what came before may be told later.
    pub(super) late: bool,
    /// And the engine ended before it could: nobody will ever tell.
    pub(super) untold: bool,
}

/// A thing came to stand, or to stand no more.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) at: jiff::Timestamp,
    pub(super) thing: String,
    pub(super) stands: bool,
}

/// Somebody who takes a thing back asked, and it did not stand.
#[derive(Clone, Debug)]
pub(super) struct SaidGone {
    pub(super) at: jiff::Timestamp,
    /// Whose undo it is, as a [`Call`] has it.
    pub(super) key: String,
    pub(super) thing: String,
}

/// How the world is disposed: so many calls of a hundred go wrong, and so many questions are not answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mood {
    pub(super) wrong: u64,
    pub(super) slow: u64,
    pub(super) mute: u64,
}

pub(super) struct State {
    rng: Rng,
    pub(super) mood: Mood,
    /// What the calls of a step do, in their order, whatever the mood; the undo of a step is `-step`.
    pub(super) wanted: BTreeMap<String, Vec<Doing>>,
    /// So many questions whether something was done find no answer.
    pub(super) deaf: u32,
    /// The same from when the engine has died.
    pub(super) deaf_after_death: u32,
    /// Things that stand, each with what made it so.
    pub(super) stands: BTreeMap<String, &'static str>,
    /// How things that were ever touched are, field by field.
    fields: BTreeMap<String, Fields>,
    pub(super) calls: Vec<Call>,
    pub(super) changes: Vec<Change>,
    /// What was said to not stand when somebody who takes it back asked.
    pub(super) said_gone: Vec<SaidGone>,
    /// How often each message was sent.
    pub(super) sent: BTreeMap<String, u32>,
    pub(super) journal: Option<Journal>,
    /// The journal is in trouble.
    pub(super) trouble: bool,
    /// While commits do not reach the medium: what had, of each run.
    pub(super) on_medium: Option<BTreeMap<StreamId, Seq>>,
}

pub(super) struct World(Mutex<State>);

/// Of a verb: its name, lane, guarantee, and whether it can be undone.
type Row = (&'static str, Lane, Guarantee, bool);

/// What seeds are led by besides the verbs that ship: a call to a cloud that can be taken back, and one that cannot, a message that may be
/// sent once, a look.
const VERBS: [Row; 4] = [
    ("cloud.cut", Lane::Cloud, Guarantee::AtLeastOnceWithKey, true),
    ("cloud.rotate", Lane::Cloud, Guarantee::ExactlyOnceInEffect, false),
    ("page.once", Lane::Notify, Guarantee::AtMostOnce, false),
    ("world.look", Lane::Read, Guarantee::ExactlyOnceInEffect, false),
];

fn spec(row: &Row) -> &'static ActionSpec {
    let (name, lane, guarantee, undoable) = *row;
    Box::leak(Box::new(ActionSpec {
        name,
        summary: "is simulated",
        input: || {
            let text = json!({ "type": "string" });
            let flag = json!({ "type": "boolean" });
            let inputs = json!({ "thing": text, "item": {}, "planted": flag });
            schemars::json_schema!({ "type": "object", "properties": inputs })
        },
        output: || schemars::json_schema!({ "type": "object", "properties": {} }),
        lane,
        guarantee,
        undoable,
        asks_by_default: false,
        targets: &["thing"],
        permissions: &[],
        predict: |_| json!({}),
    }))
}

/// What the verbs are: each that ships, as its own specification says, and the simulation's own.
pub(super) fn specs() -> &'static [&'static ActionSpec] {
    static SPECS: OnceLock<Vec<&'static ActionSpec>> = OnceLock::new();
    SPECS.get_or_init(|| [shipped_specs(), VERBS.iter().map(spec).collect()].concat())
}

/// Those that ship.
pub(super) fn shipped_specs() -> Vec<&'static ActionSpec> {
    [quell_actions::specs(), quell_kubernetes::specs()].concat()
}

/// What a verb of this name is.
pub(super) fn spec_of(name: &str) -> &'static ActionSpec {
    specs().iter().find(|spec| spec.name == name).expect("every verb of a simulated playbook has a specification")
}

/// Whether what a verb does can be taken back.
pub(super) fn is_undoable(name: &str) -> bool {
    spec_of(name).undoable
}

/// Whether a verb changes something.
pub(super) fn acts(name: &str) -> bool {
    spec_of(name).lane != Lane::Read
}

/// Whether a verb is never repeated while its end is unknown.
pub(super) fn is_once(name: &str) -> bool {
    spec_of(name).guarantee == Guarantee::AtMostOnce
}

/// Whether what a verb does is over when the machine goes down: what stands in a cluster or a cloud is not.
pub(super) fn ends_with_power(name: &str) -> bool {
    spec_of(name).lane == Lane::Contain && !name.starts_with("kubernetes.")
}

impl World {
    pub(super) fn new(rng: Rng) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            rng,
            mood: Mood::default(),
            wanted: BTreeMap::new(),
            deaf: 0,
            deaf_after_death: 0,
            stands: BTreeMap::new(),
            fields: BTreeMap::new(),
            calls: Vec::new(),
            changes: Vec::new(),
            said_gone: Vec::new(),
            sent: BTreeMap::new(),
            journal: None,
            trouble: false,
            on_medium: None,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands for all that these playbooks do; who is started anew all the time waits for no schemas of other verbs.
    pub(super) fn crew(self: &Arc<Self>, playbooks: &[Arc<Playbook>]) -> Crew<Sandbox> {
        let acts =
            |step: &Step| if let StepKind::Action { action, .. } = &step.kind { Some(action.clone()) } else { None };
        let used: BTreeSet<Name> =
            playbooks.iter().flat_map(|playbook| playbook.steps.iter().filter_map(acts)).collect();
        let verb = |spec: &&'static ActionSpec| {
            let played = Arc::new(Played { spec, world: Arc::clone(self) });
            if spec.lane == Lane::Read { Verb::Looks(played) } else { Verb::Acts(played) }
        };
        Crew::new(specs().iter().filter(|spec| used.contains(spec.name)).map(verb).collect())
    }

    /// The power goes: what was only held ends, as the processes do.
    pub(super) fn cut_power(&self, at: jiff::Timestamp) {
        let mut state = self.state();
        let gone: Vec<String> =
            state.stands.iter().filter(|(_, by)| ends_with_power(by)).map(|(thing, _)| thing.clone()).collect();
        for thing in gone {
            state.set(&thing, None, at);
            state.fields.remove(&thing);
        }
    }
}

/// How a thing is.
pub(super) type Fields = BTreeMap<&'static str, String>;

/// What verbs set of a thing; its `tag` is nobody's.
const SET: [&str; 3] = ["owner", "rules", "zone"];

/// How a thing was before anybody touched it: no two alike.
fn former(thing: &str) -> Fields {
    let of = |field: &str| quell_model::Hash::of_parts(&[thing.as_bytes(), field.as_bytes()]).short(8);
    SET.into_iter().chain(["tag"]).map(|field| (field, of(field))).collect()
}

impl State {
    /// Things that are neither held by anybody nor as they were.
    pub(super) fn astray(&self) -> Vec<(&String, &Fields)> {
        let astray = |(thing, now): &(&String, &Fields)| !self.stands.contains_key(*thing) && **now != former(thing);
        self.fields.iter().filter(astray).collect()
    }

    fn fields(&self, thing: &str) -> Fields {
        self.fields.get(thing).cloned().unwrap_or_else(|| former(thing))
    }

    fn set(&mut self, thing: &str, by: Option<&'static str>, at: jiff::Timestamp) {
        match by {
            Some(by) => drop(self.stands.insert(thing.to_owned(), by)),
            None => drop(self.stands.remove(thing)),
        }
        self.changes.push(Change { at, thing: thing.to_owned(), stands: by.is_some() });
    }

    /// Whether a thing stood at some moment up to this one.
    pub(super) fn stood_by(&self, thing: &str, at: jiff::Timestamp) -> bool {
        self.changes.iter().any(|change| change.stands && change.thing == thing && change.at <= at)
    }

    /// Whether who took back what this key did to a thing was told in this time that it does not stand.
    pub(super) fn has_said_gone(&self, key: &str, thing: &str, within: &RangeInclusive<jiff::Timestamp>) -> bool {
        self.said_gone.iter().any(|said| said.key == key && said.thing == thing && within.contains(&said.at))
    }

    fn doing(&mut self, spec: &ActionSpec, key: &str, undo: bool) -> Doing {
        let step = key.split('/').nth(1).unwrap_or_default();
        let name = if undo { format!("-{step}") } else { step.to_owned() };
        if let Some(wanted) = self.wanted.get_mut(&name).filter(|wanted| !wanted.is_empty()) {
            return wanted.remove(0);
        }
        if !self.rng.chance(self.mood.wrong) {
            return Doing::Well;
        }
        let some = self.rng.chance(50);
        let all = [
            Doing::Fails,
            Doing::GivesUp,
            Doing::Lies,
            Doing::Hangs(some),
            Doing::Unknown(some),
            Doing::Panics,
            Doing::Half,
        ];
        // What may be done once only does not say "again" of what it did, and somebody asks it nothing.
        let most = if spec.guarantee == Guarantee::AtMostOnce { all.len() - 1 } else { all.len() };
        self.rng.of(&all[..most])
    }

    fn delay(&mut self) -> Duration {
        if !self.rng.chance(self.mood.slow) {
            return Duration::ZERO;
        }
        let most = self.rng.of(&[50, 2_000, 12_000]);
        Duration::from_millis(1 + self.rng.next() % most)
    }
}

struct Played {
    spec: &'static ActionSpec,
    world: Arc<World>,
}

/// What a plan found otherwise than it wants it, and how.
fn found(plan: &Plan) -> Fields {
    let value = |field: &'static str| Some((field, plan.before["fields"][field].as_str()?.to_owned()));
    SET.into_iter().filter_map(value).collect()
}

/// What a plan makes stand: of one process, being held is one thing, and being looked at another.
pub(super) fn thing(plan: &Plan) -> &str {
    plan.before["thing"].as_str().unwrap_or_default()
}

/// What an input is about: what it names as a target; of a verb without targets all that it says.
fn about(spec: &ActionSpec, input: &Json) -> Option<String> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut named = std::iter::once(&"thing").chain(spec.targets).filter_map(|key| input.get(*key));
    let all = || quell_model::Hash::of(input.to_string().as_bytes()).short(8);
    let named = named.find(|value| !value.is_null()).map(text);
    named.or_else(|| spec.targets.is_empty().then(all))
}

async fn rest(cx: &ActionContext, delay: Duration) {
    if !delay.is_zero() {
        cx.clock.sleep_until(cx.clock.now().after(delay)).await;
    }
}

impl Played {
    fn state(&self) -> MutexGuard<'_, State> {
        self.world.state()
    }

    /// Notes the call; gives its place in the list, what it does, and how long that takes, before and after.
    fn called(&self, plan: &Plan, cx: &ActionContext, undo: bool) -> (usize, Doing, [Duration; 2]) {
        let mut state = self.state();
        let key = cx.key.part().to_owned();
        let stream = StreamId::run(&key.split('/').next().unwrap_or_default().into());
        let journal = state.journal.clone().expect("an engine works with a journal");
        let given = journal.last(&stream);
        let safe = match (self.spec.lane, &state.on_medium) {
            (Lane::Contain, _) => given,
            (_, Some(medium)) => medium.get(&stream).copied().unwrap_or(0),
            (_, None) => journal.committed(&stream).unwrap_or(given),
        };
        let doing = state.doing(self.spec, &key, undo);
        let late = self.spec.lane == Lane::Contain && (state.trouble || by_hand::slate_is_full());
        let call = Call {
            key,
            action: self.spec.name,
            undo,
            attempt: cx.attempt,
            lane: self.spec.lane,
            thing: thing(plan).to_owned(),
            safe,
            effect: false,
            claimed: false,
            late,
            untold: false,
        };
        state.calls.push(call);
        let delays = [state.delay(), state.delay()];
        (state.calls.len() - 1, doing, delays)
    }

    /// Does what is planned, or the first of it; an undo gives back what its plan says was there. A plan that was made again after an
    /// act knows only what the act has left.
    fn change(&self, number: usize, plan: &Plan, most: usize, at: jiff::Timestamp) {
        let mut state = self.state();
        state.calls[number].effect = true;
        let Call { thing, key, undo, .. } = state.calls[number].clone();
        if self.spec.guarantee == Guarantee::AtMostOnce {
            *state.sent.entry(key).or_default() += 1;
            return;
        }
        let (mut fields, own) = (state.fields(&thing), self.spec.name);
        let planned = found(plan).into_iter().filter(|(field, _)| (fields[field] == own) == undo);
        for (field, was) in planned.take(most).collect::<Fields>() {
            fields.insert(field, if undo { was } else { own.to_owned() });
        }
        let stands = fields.values().any(|value| value == own);
        state.fields.insert(thing.clone(), fields);
        state.set(&thing, stands.then_some(own), at);
    }

    async fn does(&self, plan: &Plan, cx: &ActionContext, undo: bool) -> Result<Json, ActionError> {
        let (number, doing, [before, after]) = self.called(plan, cx, undo);
        rest(cx, before).await;
        let changes =
            matches!(doing, Doing::Well | Doing::Verbose | Doing::Half | Doing::Hangs(true) | Doing::Unknown(true));
        if changes {
            let most = if doing == Doing::Half { 1 } else { SET.len() };
            self.change(number, plan, most, cx.clock.now().wall);
        }
        if matches!(doing, Doing::Hangs(_)) {
            return std::future::pending().await;
        }
        if doing == Doing::Panics {
            std::panic::resume_unwind(Box::new("the verb has a mistake"));
        }
        rest(cx, after).await;
        match doing {
            Doing::Well | Doing::Lies => {
                self.state().calls[number].claimed = true;
                Ok(plan.predicted.clone())
            }
            Doing::Verbose => {
                self.state().calls[number].claimed = true;
                Ok(json!({ "killed": ["x".repeat(300 << 10)] }))
            }
            Doing::GivesUp => Err(ActionError::give_up("it will never work")),
            Doing::Unknown(_) => Err(ActionError::Unknown { why: "the line was cut".into() }),
            _ => Err(ActionError::retry("it is busy")),
        }
    }
}

#[async_trait::async_trait]
impl Action for Played {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        let Some(mut id) = about(self.spec, input) else {
            return Err(ActionError::give_up("it names nothing to act on"));
        };
        if let Some(item) = input.get("item").filter(|item| !item.is_null()) {
            id += &format!("/{item}");
        }
        let mut state = self.state();
        let wrong = state.mood.wrong;
        if state.rng.chance(wrong / 4) {
            return Err(if state.rng.chance(50) {
                ActionError::retry("it cannot be looked at now")
            } else {
                ActionError::give_up("it is not there")
            });
        }
        let (label, thing) = (id.clone(), format!("{} {id}", self.spec.name));
        let facts = match input.get("planted").and_then(Json::as_bool) {
            Some(true) => TargetFacts::Identity {
                provider: "cloud".into(),
                identity: "key".into(),
                id: id.clone(),
                account: None,
            },
            _ => super::guarded::facts(&id),
        };
        let target = Target { node: "n".into(), kind: "thing".into(), label, id, named: true, facts };
        let mut found = state.fields(&thing);
        found.retain(|field, value| SET.contains(field) && value != self.spec.name);
        let before = json!({ "thing": thing, "fields": found });
        let predicted = (self.spec.predict)(input);
        Ok(Plan { targets: vec![target], before, predicted, ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.does(go.plan(), cx, false).await
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let mut state = self.state();
        if state.deaf > 0 {
            state.deaf -= 1;
            return Ok(Truth::CannotAsk);
        }
        let mute = state.mood.mute;
        if self.spec.guarantee == Guarantee::AtMostOnce || state.rng.chance(mute) {
            return if state.rng.chance(80) { Ok(Truth::CannotAsk) } else { Err(ActionError::retry("nobody answers")) };
        }
        let fields = state.fields(thing(plan));
        let is_set = |field: &str| fields[field] == self.spec.name;
        let holds = match want {
            Want::Acted => SET.into_iter().all(is_set),
            Want::Undone => !found(plan).into_keys().any(is_set),
        };
        Ok(if holds { Truth::Holds } else { Truth::HoldsNot("it is otherwise".into()) })
    }

    async fn verify_undone(&self, plan: &Plan, cx: &ActionContext) -> Result<Truth, ActionError> {
        let truth = self.verify(plan, Want::Undone).await;
        if truth == Ok(Truth::Holds) {
            let (at, key, thing) = (cx.clock.now().wall, cx.key.part().to_owned(), thing(plan).to_owned());
            self.state().said_gone.push(SaidGone { at, key, thing });
        }
        truth
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.does(go.plan(), cx, true).await
    }
}

#[async_trait::async_trait]
impl Look for Played {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn look(&self, input: &Json) -> Result<Json, ActionError> {
        let mut state = self.state();
        let wrong = state.mood.wrong;
        if state.rng.chance(wrong) {
            return Err(ActionError::retry("it cannot be seen now"));
        }
        Ok((self.spec.predict)(input))
    }
}
