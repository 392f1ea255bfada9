//! One attempt of a step: render its input, plan, ask the guard (`judge.rs`), journal the intent, act, ask the world.
//!
//! Owns the phases between which an attempt may wait. **Invariant:** an act follows its journaled intent; a contain
//! verb's intent is written (it survives SIGKILL), every other's is synced first, else it is refused: `journal`.

use super::conclude::Ending;
use super::job::{self, Acted, Answer, Input, Where, Work};
use super::judge::At;
use super::purpose::Purpose;
use super::scope::RunScope;
use super::shell::{Core, UnderWay};
use quell_model::action::{Action, ActionContext, IdempotencyKey, Progress, Want};
use quell_model::guard::Admitted;
use quell_model::playbook::{Step, StepKind};
use quell_model::record::{NewRecord, Part, StepProgressed, StepSkipped};
use quell_model::world::Verb;
use quell_model::{ActionError, Json, Lane, Mode, Plan, RunId, Secrets, Stamp, Stop, StoreError, StreamId, Truth};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long the world may take to answer `verify` beyond the attempt's own time.
pub(super) const ASKING: Duration = Duration::from_secs(10);
/// Items of one `for_each`.
const MOST_ITEMS: usize = 10_000;

/// Marks of a long action reach the journal through the run's own records; the verbs of this version make none that
/// must outlive a crash.
struct NoMarks;

#[async_trait::async_trait]
impl Progress for NoMarks {
    async fn note(&self, _: Json) -> Result<(), ActionError> {
        Ok(())
    }
}

impl<W: Send + 'static> Core<W> {
    pub(super) fn start_part(&mut self, id: &RunId, part: Part, attempt: u32) {
        let Some(live) = self.runs.get(id) else { return };
        let Some(step) = live.run.playbook.step(&part.step).cloned() else { return };
        let item = match self.contents.item(&live.run, &part) {
            Ok(item) => item,
            Err(error) => return self.end(id, &part, Ending::failed(format!("its item cannot be read: {error}"))),
        };
        let now = self.parts.clock.now();
        if part.item.is_none() && attempt == 1 {
            match self.may_begin(id, &step) {
                Ok(true) => {}
                Ok(false) => {
                    let why = format!("`if` is false: {}", step.condition.map(|c| c.text).unwrap_or_default());
                    return self.record(id, vec![NewRecord::new(now, StepSkipped { step: part.step, why })]);
                }
                Err(why) => return self.end(id, &part, Ending::failed(why)),
            }
            if step.for_each.is_some() {
                return self.list_items(id, &step, part);
            }
        }
        let began = self.counts_from(&live.run, &part);
        // The first of a step has all its time.
        let follows = attempt > 1 || part.item.is_some();
        if follows && step.deadline.is_some_and(|deadline| now.since(began) > deadline) {
            let why = format!("its step's `deadline` was over before attempt {attempt} could begin");
            return self.end(id, &part, Ending::failed(why));
        }
        let under_way = UnderWay {
            attempt,
            began,
            item,
            input: Json::Null,
            deadline: attempt_ends(&step, began, now),
            stop: Stop::default(),
            admitted: None,
            back: Vec::new(),
            purpose: Purpose::First,
        };
        if let Some(live) = self.runs.get_mut(id) {
            live.under_way.insert(part.clone(), under_way);
        }
        match &step.kind {
            StepKind::Tell(text) => self.tell(id, &part, text),
            StepKind::Escalate(to) => self.escalates(id, &part, to),
            StepKind::Script(script) => self.script(id, part, script.text.clone()),
            StepKind::Ask(ask) => self.ask_person(id, &part, ask),
            StepKind::Wait(wait) => self.wait(id, &part, wait),
            StepKind::Playbook(sub) => self.start_sub(id, &part, sub),
            StepKind::Action { action, with } => self.plan(id, part, action.as_str(), with),
        }
    }

    fn may_begin(&self, id: &RunId, step: &Step) -> Result<bool, String> {
        let (Some(condition), Some(live)) = (&step.condition, self.runs.get(id)) else { return Ok(true) };
        let owned = RunScope::reading(&live.run, self.ground(), &self.expressions.reads(&condition.text));
        let truth = self.expressions.truth(&condition.text, &owned.scope(&live.run, &Json::Null));
        truth.map_err(|error| format!("its `if` could not be evaluated: {error}"))
    }

    fn list_items(&mut self, id: &RunId, step: &Step, part: Part) {
        let now = self.parts.clock.now();
        let (Some(each), Some(live)) = (&step.for_each, self.runs.get(id)) else { return };
        let owned = RunScope::reading(&live.run, self.ground(), &self.expressions.reads(&each.list.text));
        match self.expressions.eval(&each.list.text, &owned.scope(&live.run, &Json::Null)) {
            Ok(Json::Array(items)) if items.is_empty() => {
                let why = "its list is empty".to_owned();
                self.record(id, vec![NewRecord::new(now, StepSkipped { step: part.step, why })]);
            }
            Ok(Json::Array(items)) if items.len() > MOST_ITEMS => {
                let why = format!("its list has {} items, the most is {MOST_ITEMS}", items.len());
                self.end(id, &part, Ending::failed(why));
            }
            Ok(Json::Array(items)) if self.definitions.apart.is_over(&items) => {
                let most = self.definitions.apart.largest;
                let why = format!("its list is larger than {most} bytes, the most that is kept (`journal.largest`)");
                self.end(id, &part, Ending::failed(why));
            }
            Ok(Json::Array(items)) => {
                let mark = json!({ "items": items });
                self.record(id, vec![NewRecord::new(now, StepProgressed { part, mark })]);
            }
            Ok(other) => {
                let why =
                    format!("`for_each` gave no list: {}", other.to_string().chars().take(80).collect::<String>());
                self.end(id, &part, Ending::failed(why));
            }
            Err(error) => self.end(id, &part, Ending::failed(format!("its list could not be evaluated: {error}"))),
        }
    }

    fn tell(&mut self, id: &RunId, part: &Part, text: &str) {
        let Some(live) = self.runs.get(id) else { return };
        let owned = RunScope::reading(&live.run, self.ground(), &self.expressions.text_reads(text));
        let item = self.item_of(id, part);
        let told = self.expressions.render_text(text, &owned.scope(&live.run, &item));
        match told {
            Ok(text) => {
                let incident = live.run.started.incident.clone();
                self.end(id, part, Ending::done(json!({ "told": text }), "told in the incident's timeline"));
                if let Some(incident) = incident {
                    self.ladder_tells(&incident, &text, self.parts.clock.now());
                }
            }
            Err(error) => self.end(id, part, Ending::failed(format!("its text could not be evaluated: {error}"))),
        }
    }

    fn script(&mut self, id: &RunId, part: Part, text: String) {
        let Some(live) = self.runs.get(id) else { return };
        let owned = RunScope::reading(&live.run, self.ground(), &self.expressions.script_reads(&text));
        let started = Arc::clone(&live.run.started);
        let (expressions, item) = (Arc::clone(&self.expressions), self.item_of(id, &part));
        let work: Work<Answer> = Box::pin(async move {
            let given = expressions.script(&text, &owned.scope_of(&started, &item));
            Answer::Looked(given.map_err(|error| ActionError::give_up(error.to_string())))
        });
        self.send_work(id, part, Where::Beside, work);
    }

    fn plan(&mut self, id: &RunId, part: Part, action: &str, with: &Json) {
        let Some(live) = self.runs.get(id) else { return };
        let owned = RunScope::reading(&live.run, self.ground(), &self.expressions.template_reads(with));
        let item = self.item_of(id, &part);
        let input = match self.input(action, with, &owned.scope(&live.run, &item)) {
            Ok(input) => input,
            Err(error) => {
                return self.end(id, &part, Ending::failed(format!("its input could not be evaluated: {error}")));
            }
        };
        let clock = Arc::clone(&self.parts.clock);
        let Some(under_way) = self.under_way(id, &part) else { return };
        under_way.input = input.clone();
        let (deadline, stop) = (under_way.deadline, under_way.stop.clone());
        let words = self.too_long(id, &part);
        match self.parts.crew.get(action).cloned() {
            None => self.end(id, &part, Ending::failed(format!("this engine has no hands for `{action}`"))),
            Some(Verb::Looks(look)) => {
                let late = move || Err(ActionError::retry(words));
                let work: Work<Answer> = Box::pin(async move {
                    Answer::Looked(job::within(clock, deadline, stop, look.look(&input), late).await)
                });
                self.send_work(id, part, Where::Beside, work);
            }
            Some(Verb::Acts(verb)) => self.plan_act(id, part, verb, true),
        }
    }

    /// Plans what acts: by what is known already, where that is wanted and will do; else the world is asked.
    fn plan_act(&mut self, id: &RunId, part: Part, verb: Arc<dyn Action>, at_once: bool) {
        let (clock, words) = (Arc::clone(&self.parts.clock), self.too_long(id, &part));
        let Some(under_way) = self.under_way(id, &part) else { return };
        let (input, deadline, stop) = (under_way.input.clone(), under_way.deadline, under_way.stop.clone());
        let place = place(verb.spec().lane);
        let work: Work<Answer> = Box::pin(async move {
            let planned = async {
                if at_once && let Some(plan) = verb.plan_at_once(&input).await {
                    return Answer::PlannedAtOnce(plan);
                }
                Answer::Planned(verb.plan(&input).await)
            };
            job::within(clock, deadline, stop, planned, || Answer::Planned(Err(ActionError::retry(words)))).await
        });
        self.send_work(id, part, place, work);
    }

    /// What was planned without a question is acted by where the guard lets it, as it is; else it is planned, and that is judged.
    fn planned_at_once(&mut self, id: &RunId, part: &Part, plan: Plan) {
        let input = self.under_way(id, part).map(|under_way| under_way.input.clone()).unwrap_or_default();
        let is_kept = !self.definitions.apart.is_over([&input, &plan.before, &plan.predicted]);
        if is_kept && self.would_act(id, part, &plan) {
            return self.judge(id, part, plan, Purpose::First, At::Planned);
        }
        let step = self.runs.get(id).and_then(|live| live.run.playbook.step(&part.step));
        let Some(StepKind::Action { action, .. }) = step.map(|step| &step.kind) else { return };
        if let Some(Verb::Acts(verb)) = self.parts.crew.get(action.as_str()).cloned() {
            self.plan_act(id, part.clone(), verb, false);
        }
    }

    pub(super) fn send_work(&mut self, id: &RunId, part: Part, place: Where, work: Work<Answer>) {
        let context = self.parts.runtime.clone();
        let _entered = context.enter();
        let beside = (&self.parts.runtime, &self.workers);
        if let Some(answer) = job::run(beside, &self.handle, (id.clone(), part.clone()), place, work) {
            self.next_phase(id, &part, answer);
        }
    }

    pub(super) fn next_phase(&mut self, id: &RunId, part: &Part, answer: Answer) {
        match answer {
            Answer::Looked(Ok(output)) => match self.definitions.apart.objection(&output) {
                Some(why) => self.end(id, part, Ending::failed(format!("what it gave {why}"))),
                None => self.end(id, part, Ending::done(output, "it was read, nothing was changed")),
            },
            Answer::Planned(Err(error)) | Answer::Looked(Err(error)) => self.attempt_failed(id, part, &error),
            Answer::Planned(Ok(plan)) => self.judge_new(id, part, plan),
            Answer::PlannedAtOnce(plan) => self.planned_at_once(id, part, plan),
            Answer::Intended(Ok(())) => self.intended(id, part),
            Answer::Intended(Err(error)) => self.unwritten(id, part, &error),
            Answer::Acted(acted) => self.acted(id, part, acted),
            Answer::UndoIntended(written) => self.undo_intended(id, part, written),
            Answer::Stands(undone) => self.lease_stands(id, part, undone),
            Answer::Hold(told) => self.hold_told(id, part, told),
            Answer::TakenBack(back) => self.taken_back(id, part, back),
            Answer::Died(why) => self.died(id, part, &why),
        }
    }

    /// What cannot be journaled is not done.
    fn judge_new(&mut self, id: &RunId, part: &Part, plan: Plan) {
        let input = self.under_way(id, part).map(|under_way| under_way.input.clone()).unwrap_or_default();
        let apart = self.definitions.apart;
        if apart.is_over([&input, &plan.before, &plan.predicted]) {
            let why = format!(
                "its input and its plan are larger than {} bytes, the most that is kept (`journal.largest`)",
                apart.largest
            );
            return self.end(id, part, Ending::failed(why));
        }
        self.judge(id, part, plan, Purpose::First, At::Planned);
    }

    /// Goes on with `answer` once an intent is written, or, outside of the contain lane, on the disk.
    pub(super) fn write_intent(
        &mut self,
        id: &RunId,
        part: &Part,
        lane: Lane,
        intent: NewRecord,
        answer: fn(Result<(), StoreError>) -> Answer,
    ) {
        if lane == Lane::Contain {
            self.record(id, vec![intent]);
            return self.next_phase(id, part, answer(Ok(())));
        }
        let Some(live) = self.runs.get(id) else { return };
        let intent = self.with_large_apart(Some(&live.run), intent);
        let (stream, expected) = (StreamId::run(id), live.run.seq);
        let (home, to, runtime) = (self.handle.clone(), (id.clone(), part.clone()), self.parts.runtime.clone());
        let done = Box::new(move |done: Result<_, StoreError>| {
            // The journal's writer must never wait for the engine, which may be waiting for the journal.
            home.send_beside(&runtime, Input::Answer(to.0, to.1, answer(done.map(drop))));
        });
        match self.ink.synced(stream, expected, std::slice::from_ref(&intent), done) {
            Ok(()) => {
                if let Some(live) = self.runs.get_mut(id) {
                    live.run.apply(intent.at, &intent.body);
                }
            }
            Err(error) => self.next_phase(id, part, answer(Err(error))),
        }
    }

    pub(super) fn act(&mut self, id: &RunId, part: &Part) {
        let Some((verb, cx, admitted)) = self.hands(id, part) else { return };
        // The one place where an intent becomes an act: whatever was written down is in the journal first.
        self.ink.commit();
        let (needed, words) = (self.secrets_of(id, part, verb.spec()), self.too_long(id, part));
        let (clock, place) = (Arc::clone(&self.parts.clock), needed.place(place(verb.spec().lane)));
        let work: Work<Answer> = Box::pin(async move {
            let started = clock.now();
            let (deadline, stop) = (cx.deadline, cx.stop.clone());
            let late = move || Err(ActionError::Unknown { why: words.to_owned() });
            let run = needed.given(cx, async |cx| {
                job::within(Arc::clone(&clock), deadline, stop, verb.run(&admitted, &cx), late).await
            });
            let run = match run.await {
                Ok(run) => run,
                Err(panicked) => return panicked,
            };
            let truth = match &run {
                Ok(_) | Err(ActionError::Unknown { .. }) => ask(&clock, &*verb, admitted.plan(), Want::Acted).await,
                Err(error) => Err(error.clone()),
            };
            Answer::Acted(Acted { run: Some(run), truth, started, verified: clock.now() })
        });
        self.send_work(id, part.clone(), place, work);
    }

    /// What is said of an attempt that did not end in time.
    fn too_long(&self, id: &RunId, part: &Part) -> &'static str {
        let live = self.runs.get(id);
        let by_deadline = live.and_then(|live| {
            let (at, deadline) = (live.under_way.get(part)?, live.run.playbook.step(&part.step)?.deadline?);
            (at.deadline == at.began.after(deadline)).then_some("its step's `deadline` was over before it ended")
        });
        by_deadline.unwrap_or("it took longer than its `timeout`")
    }

    fn hands(&mut self, id: &RunId, part: &Part) -> Option<(Arc<dyn Action>, ActionContext, Admitted)> {
        let live = self.runs.get_mut(id)?;
        let step = live.run.playbook.step(&part.step)?;
        let StepKind::Action { action, .. } = &step.kind else { return None };
        let Some(Verb::Acts(verb)) = self.parts.crew.get(action.as_str()).cloned() else { return None };
        let under_way = live.under_way.get_mut(part)?;
        under_way.deadline = attempt_ends(step, under_way.began, self.parts.clock.now());
        let (key, admitted) = (live.run.key(part), under_way.admitted.clone()?);
        Some((verb, self.context(id, part, key)?, admitted))
    }

    /// What an attempt is given.
    pub(super) fn context(&self, id: &RunId, part: &Part, key: IdempotencyKey) -> Option<ActionContext> {
        let under_way = self.runs.get(id)?.under_way.get(part)?;
        Some(ActionContext {
            key,
            attempt: under_way.attempt,
            taken_up: under_way.purpose != Purpose::First,
            deadline: under_way.deadline,
            clock: Arc::clone(&self.parts.clock),
            progress: Arc::new(NoMarks),
            stop: under_way.stop.clone(),
            vault: Arc::clone(&self.parts.vault),
            // Read in the moment of the act.
            secrets: Secrets::default(),
        })
    }

    pub(super) fn mode_of(&self, id: &RunId, step: &Step) -> (Mode, String) {
        let Some(live) = self.runs.get(id) else { return (Mode::Observe, String::new()) };
        let started = &live.run.started;
        let mut strictest = (started.mode, started.mode_because.clone());
        let ceiling = (self.definitions.ceiling, self.definitions.ceiling_because.clone());
        let own = step.mode.map(|mode| (mode, format!("step `{}` says {mode}", step.id)));
        // Of what is written it is what is written now that holds, and a person's last word: also for what began before, and for
        // what those have started that are held.
        let all = std::iter::once(live).chain(self.above(&live.run)).map(|live| &*live.run.started);
        let held = all.flat_map(|started| {
            let playbook = &started.playbook;
            let written = self.definitions.modes.get(playbook);
            let written = written.map(|mode| (*mode, format!("the configuration sets `{playbook}` to {mode}")));
            written.into_iter().chain(self.held_by_word(started))
        });
        for (mode, because) in std::iter::once(ceiling).chain(held).chain(own) {
            if mode < strictest.0 {
                strictest = (mode, because);
            }
        }
        strictest
    }

    pub(super) fn under_way(&mut self, id: &RunId, part: &Part) -> Option<&mut UnderWay> {
        self.runs.get_mut(id)?.under_way.get_mut(part)
    }

    fn item_of(&self, id: &RunId, part: &Part) -> Json {
        self.runs
            .get(id)
            .and_then(|live| live.under_way.get(part))
            .map_or(Json::Null, |under_way| under_way.item.clone())
    }
}

/// When an attempt that begins now is to have ended, of a part that began then.
fn attempt_ends(step: &Step, began: Stamp, now: Stamp) -> Stamp {
    let by_itself = now.after(step.timeout);
    let last = step.deadline.map(|deadline| began.after(deadline));
    last.filter(|last| last.boot_ns < by_itself.boot_ns).unwrap_or(by_itself)
}

pub(super) fn place(lane: Lane) -> Where {
    if lane == Lane::Contain { Where::Here } else { Where::Beside }
}

pub(super) async fn ask(
    clock: &Arc<dyn quell_model::Clock>,
    verb: &dyn Action,
    plan: &Plan,
    want: Want,
) -> Result<Truth, ActionError> {
    in_time(clock, verb.verify(plan, want)).await
}

/// An answer of the world, which has a time of its own.
pub(super) async fn in_time(
    clock: &Arc<dyn quell_model::Clock>,
    asked: impl Future<Output = Result<Truth, ActionError>> + Send,
) -> Result<Truth, ActionError> {
    let deadline = clock.now().after(ASKING);
    job::within(Arc::clone(clock), deadline, Stop::default(), asked, || Ok(Truth::CannotAsk)).await
}
