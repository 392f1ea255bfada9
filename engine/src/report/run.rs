//! Runs: what each step did, with its proof and its times.
//!
//! Owns the fold of a run's stream into its view. Steps stand in the order in which they first did something; a step of
//! which nothing was recorded has no line.

use super::moments::Times;
use super::page::{self, Page};
use super::question::QuestionView;
use super::timeline::{self, TimelineLine};
use super::{again, ladder};
use crate::run::machine::WAIT;
use crate::store::{Journal, RunHead, RunLine, RunTail};
use quell_model::playbook::AtEnd;
use quell_model::playbook::IncidentMoment;
use quell_model::record::{Moments, Owner, ParentRun, Part, QuestionKind, RunStarted, RunState};
use quell_model::{
    ActionSpec, Body, Guarantee, Hash, IncidentId, Json, Kind, Mode, Name, Outcome, Plan, Record, RunId, Stamp,
    StoreError, StreamId,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use utoipa::ToSchema;

/// A run in a list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Which playbook.
    pub playbook: Name,
    /// Where it stands.
    pub state: RunState,
    /// How far it may go.
    pub mode: Mode,
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// The rule whose detection started it; none when a person did.
    pub rule: Option<String>,
    /// The value of `run_per`.
    pub per: String,
    /// Who started it by hand.
    pub by: Option<Name>,
    /// When it began.
    pub started: Stamp,
    /// When it ended.
    pub ended: Option<Stamp>,
    /// For people: how it ended, or what it waits for.
    pub summary: String,
}

/// A run, whole.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// Which playbook.
    pub playbook: Name,
    /// The sum of the playbook's text as it was when the run began.
    pub definition: Hash,
    /// Where it stands.
    pub state: RunState,
    /// How far it may go.
    pub mode: Mode,
    /// What made the mode what it is.
    pub mode_because: String,
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// The rule whose detection started it; none when a person did.
    pub rule: Option<String>,
    /// The value of `run_per`.
    pub per: String,
    /// Who started it by hand.
    pub by: Option<Name>,
    /// The moment of its incident that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<IncidentMoment>,
    /// The run whose step started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRun>,
    /// The source of its event is one that anybody can write.
    pub untrusted: bool,
    /// When it began.
    pub started: Stamp,
    /// When it ended.
    pub ended: Option<Stamp>,
    /// For people: how it ended, or what it waits for.
    pub summary: String,
    /// The moments up to the trigger's decision.
    pub moments: Moments,
    /// The same, since the kernel saw the event.
    pub times: Times,
    /// `event` in its expressions.
    pub event: Json,
    /// `detection` in its expressions.
    pub detection: Json,
    /// `inputs` in its expressions.
    pub inputs: Json,
    /// The playbook's `outputs`.
    pub outputs: Json,
    /// Its steps.
    pub steps: Vec<StepView>,
    /// What people did to it.
    pub people: Vec<PersonView>,
    /// What happened, in order.
    pub timeline: Vec<TimelineLine>,
}

impl RunView {
    /// Says of each step what its action promises: the journal has the action's name, the build knows the action.
    #[must_use]
    pub fn with_guarantees(mut self, actions: &[&ActionSpec]) -> Self {
        let promised = |step: &mut StepView| {
            let spec = actions.iter().find(|spec| step.action.as_ref().is_some_and(|name| name.as_str() == spec.name));
            step.guarantee = spec.map(|spec| spec.guarantee);
        };
        for step in &mut self.steps {
            promised(step);
            step.items.iter_mut().for_each(promised);
        }
        self
    }
}

/// A step, or one item of its `for_each`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// The step's name; of an item `name[0]`.
    pub id: String,
    /// Which action; none for scripts and messages.
    pub action: Option<Name>,
    /// What that action promises when it may be done twice; none where this build has no such action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<Guarantee>,
    /// The run that it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// How it ended; none: it has not.
    pub outcome: Option<Outcome>,
    /// The proof, or why there is none.
    pub proof: String,
    /// The action's input.
    pub input: Json,
    /// What it would do, or did.
    pub plan: Option<Plan>,
    /// What it gave to later steps.
    pub output: Json,
    /// How often it was tried.
    pub attempts: u32,
    /// Attempts that did not work.
    pub errors: Vec<ErrorView>,
    /// The guard's no.
    pub refusal: Option<RefusalView>,
    /// What it waits for now.
    pub waits: Option<WaitView>,
    /// What it asked people, and what they said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<QuestionView>,
    /// Of a containment that stands: until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseView>,
    /// An action's own marks on the way.
    pub marks: Vec<MarkView>,
    /// The five moments, where they exist.
    pub moments: Moments,
    /// The same, since the kernel saw the event.
    pub times: Times,
    /// It is to be done again, and has not begun; what still stands here is of the time before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// Its `for_each`, item by item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub items: Vec<StepView>,
}

/// An attempt that did not work.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorView {
    /// When.
    pub at: Stamp,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Why.
    pub error: String,
    /// What would make it work.
    pub hint: Option<String>,
    /// The next attempt's moment; none: this was the last.
    pub again_at: Option<Stamp>,
}

/// A guard's no.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusalView {
    /// Which guard.
    pub guard: Name,
    /// What it protects.
    pub target: String,
    /// Why.
    pub why: String,
}

/// The text that a run goes by, whatever the files say now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DefinitionView {
    /// The run.
    pub id: RunId,
    /// Which playbook.
    pub playbook: Name,
    /// The sum of the text.
    pub hash: Hash,
    /// Where it was read.
    pub file: String,
    /// The text as it was read.
    pub text: String,
}

/// A moment that is waited for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WaitView {
    /// `retry`, `deadline` …
    pub what: Name,
    /// Until when.
    pub until: Stamp,
}

impl WaitView {
    fn tell(&self, id: &str) -> String {
        if self.what.as_str() == WAIT { format!("{id} waits") } else { format!("{id} waits for its {}", self.what) }
    }
}

/// Until when a containment is meant to stand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LeaseView {
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Its end; none: it has no end.
    pub until: Option<Stamp>,
    /// What happens then.
    pub at_end: AtEnd,
    /// It ends by itself then, as its input says, and nobody is asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_end: bool,
    /// Its end has come, and a person has to say.
    pub due: bool,
}

/// A mark of an action that takes long.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MarkView {
    /// When.
    pub at: Stamp,
    /// The action's own.
    pub mark: Json,
}

/// What a person did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PersonView {
    /// When.
    pub at: Stamp,
    /// Who.
    pub by: Name,
    /// `cancel` …
    pub what: Name,
    /// With what.
    pub detail: Json,
}

/// Every run, the latest first.
///
/// # Errors
/// As [`Journal::read`].
pub fn runs(journal: &Journal) -> Result<Vec<RunSummary>, StoreError> {
    page::all(|before| run_page(journal, before, page::LONGEST))
}

/// Some runs, the latest first, so many and [`page::LONGEST`] at the most; the next page goes on before `next`.
///
/// # Errors
/// As [`Journal::read`].
pub fn run_page(journal: &Journal, before: Option<i64>, long: usize) -> Result<Page<RunSummary>, StoreError> {
    let long = long.clamp(1, page::LONGEST);
    page::of(journal.runs(before, long)?, long, |listed| match listed.line {
        Some(RunLine { head, tail: Some(tail) }) if !tail.summary.is_empty() => Ok(Some(ended(head, tail))),
        // How far a run is that has not ended stands in its records only.
        _ => Ok(fold(&journal.read(&listed.stream, 1)?).map(RunSummary::from)),
    })
}

fn ended(head: RunHead, tail: RunTail) -> RunSummary {
    RunSummary {
        id: head.run,
        playbook: head.playbook,
        state: tail.state,
        mode: head.mode,
        incident: head.incident,
        rule: head.rule,
        per: head.per,
        by: head.by,
        started: head.started,
        ended: Some(tail.ended),
        summary: tail.summary,
    }
}

/// One run; none when there is no such run.
///
/// # Errors
/// As [`Journal::read`].
pub fn run(journal: &Journal, id: &RunId) -> Result<Option<RunView>, StoreError> {
    let records = journal.read(&StreamId::run(id), 1)?;
    let Some(mut run) = fold(&records) else { return Ok(None) };
    let mut stories = vec![std::mem::take(&mut run.timeline)];
    stories.extend(ladder::of_questions(journal, id, &records)?);
    run.timeline = timeline::merge(stories);
    Ok(Some(run))
}

/// The playbook's text that a run is pinned to; none when there is no such run, or its text is no longer kept.
///
/// # Errors
/// As [`Journal::read`].
pub fn definition(journal: &Journal, id: &RunId) -> Result<Option<DefinitionView>, StoreError> {
    let first = journal.read_kinds(&StreamId::run(id), 1, &[Kind::RunStarted])?.into_iter().next();
    let Some(Body::RunStarted(started)) = first.map(|record| record.body) else { return Ok(None) };
    let pinned = journal.latest(&[Kind::DefinitionPinned], usize::MAX)?;
    Ok(pinned.into_iter().rev().find_map(|record| match record.body {
        Body::DefinitionPinned(pinned) if pinned.hash == started.definition => Some(DefinitionView {
            id: id.clone(),
            playbook: pinned.playbook,
            hash: pinned.hash,
            file: pinned.file,
            text: pinned.text,
        }),
        _ => None,
    }))
}

impl From<RunView> for RunSummary {
    fn from(run: RunView) -> Self {
        Self {
            id: run.id,
            playbook: run.playbook,
            state: run.state,
            mode: run.mode,
            incident: run.incident,
            rule: run.rule,
            per: run.per,
            by: run.by,
            started: run.started,
            ended: run.ended,
            summary: run.summary,
        }
    }
}

/// The view of a run's records; none if the first is not its start.
pub(super) fn fold(records: &[Record]) -> Option<RunView> {
    let (first, rest) = records.split_first()?;
    let Body::RunStarted(started) = &first.body else { return None };
    let (mut run, mut places) = (begin(first.at, started), HashMap::new());
    for record in rest {
        run.apply(record, &mut places);
    }
    if !run.state.is_over() {
        run.tell_state();
    } else if run.summary.is_empty() {
        run.summary = run.tell_outcomes();
    }
    run.timeline = timeline::lines(&StreamId::run(&run.id), records);
    Some(run)
}

fn begin(at: Stamp, started: &RunStarted) -> RunView {
    RunView {
        id: started.run.clone(),
        playbook: started.playbook.clone(),
        definition: started.definition,
        state: RunState::Running,
        mode: started.mode,
        mode_because: started.mode_because.clone(),
        incident: started.incident.clone(),
        rule: started.detection.get("rule").and_then(Json::as_str).map(str::to_owned),
        per: started.per.clone(),
        by: started.by.clone(),
        moment: started.came.as_ref().map(|came| came.moment),
        parent: started.parent.clone(),
        untrusted: started.untrusted,
        started: at,
        ended: None,
        summary: String::new(),
        moments: started.moments,
        times: Times::of(&started.moments),
        event: started.event.clone(),
        detection: started.detection.clone(),
        inputs: started.inputs.clone(),
        outputs: Json::Null,
        steps: Vec::new(),
        people: Vec::new(),
        timeline: Vec::new(),
    }
}

impl RunView {
    fn apply(&mut self, record: &Record, places: &mut Places) {
        let at = record.at;
        match &record.body {
            Body::StepPlanned(planned) => {
                let step = self.begun(&planned.part, places);
                step.action = Some(planned.action.clone());
                (step.input, step.plan) = (planned.input.clone(), Some(planned.plan.clone()));
                (step.outcome, step.proof) = (Some(planned.outcome), planned.because.clone());
                step.output = planned.plan.predicted.clone();
            }
            Body::StepIntended(intended) => {
                let step = self.begun(&intended.part, places);
                step.action = Some(intended.action.clone());
                (step.input, step.plan) = (intended.input.clone(), Some(intended.plan.clone()));
                (step.attempts, step.waits) = (intended.attempt, None);
            }
            Body::StepProgressed(progressed) => {
                self.begun(&progressed.part, places).marks.push(MarkView { at, mark: progressed.mark.clone() });
            }
            Body::StepFinished(finished) => {
                let step = self.begun(&finished.part, places);
                step.action = step.action.take().or_else(|| finished.action.clone());
                (step.outcome, step.proof) = (Some(finished.outcome), finished.proof.clone());
                (step.output, step.attempts) = (finished.output.clone(), finished.attempts);
                (step.moments, step.times) = (finished.moments, Times::of(&finished.moments));
                step.waits_no_more(|kind| kind != QuestionKind::Confirm);
            }
            Body::StepFailed(failed) => {
                let step = self.begun(&failed.part, places);
                let (attempt, error) = (failed.attempt, failed.error.clone());
                let (hint, again_at) = (failed.hint.clone(), failed.again_at);
                step.errors.push(ErrorView { at, attempt, error, hint, again_at });
                step.attempts = failed.attempt;
                step.waits = again_at.map(|until| WaitView { what: "retry".into(), until });
            }
            Body::StepSkipped(skipped) => {
                let step = entry(&mut self.steps, skipped.step.as_str(), places);
                (step.outcome, step.proof, step.again) = (Some(Outcome::Skipped), skipped.why.clone(), false);
                step.waits_no_more(|kind| kind != QuestionKind::Confirm);
            }
            Body::StepBlocked(blocked) => {
                let step = entry(&mut self.steps, blocked.step.as_str(), places);
                (step.outcome, step.again) = (Some(blocked.outcome), false);
                step.waits_no_more(|_| true);
                step.proof = blocked.by.as_ref().map_or_else(String::new, |need| format!("`{need}` did not end well"));
            }
            Body::GuardRefused(refused) => {
                let step = self.begun(&refused.part, places);
                step.action = Some(refused.action.clone());
                let (target, why) = (refused.target.clone(), refused.why.clone());
                step.refusal = Some(RefusalView { guard: refused.guard.clone(), target, why });
            }
            Body::TimerSet(set) => {
                self.begun(&set.part, places).waits = Some(WaitView { what: set.what.clone(), until: set.until });
            }
            Body::SubRunStarted(sub) => {
                let step = self.begun(&sub.part, places);
                (step.run, step.input) = (Some(sub.run.clone()), sub.inputs.clone());
            }
            Body::TimerFired(fired) => self.part(&fired.part, places).waits = None,
            Body::PersonActed(acted) => {
                let (by, what, detail) = (acted.by.clone(), acted.what.clone(), acted.detail.clone());
                self.people.push(PersonView { at, by, what, detail });
            }
            Body::RunReopened(reopened) => {
                (self.state, self.ended, self.outputs) = (RunState::Running, None, Json::Null);
                self.summary.clear();
                again::begin(&mut self.steps, &reopened.again, places);
                let detail = json!({ "why": reopened.why, "from": reopened.from, "again": reopened.again });
                self.people.push(PersonView { at, by: reopened.by.clone(), what: "retry".into(), detail });
            }
            Body::UndoBegan(began) if self.state.is_over() || began.only.is_none() => {
                (self.state, self.ended) = (RunState::Undoing, None);
            }
            Body::LeaseGranted(granted) => {
                let until = Some(at.after(granted.lasts));
                let (owner, at_end, own_end) = (granted.owner.clone(), granted.at_end, granted.own_end);
                self.part(&granted.part, places).lease = Some(LeaseView { owner, until, at_end, own_end, due: false });
            }
            Body::LeaseChanged(changed) => {
                let step = self.part(&changed.part, places);
                if let (Some(lease), Some(owner)) = (&mut step.lease, &changed.owner) {
                    lease.owner = Some(owner.clone());
                }
                match (changed.state.as_str(), &mut step.lease) {
                    // In force again after a boot, to the end that it has.
                    ("renewed", Some(_)) if changed.lasts.is_none() => {}
                    ("kept" | "renewed", Some(lease)) => {
                        (lease.until, lease.due) = (changed.lasts.map(|lasts| at.after(lasts)), false);
                        lease.own_end = false;
                    }
                    ("due", Some(lease)) => (lease.due, lease.own_end) = (true, false),
                    ("lapsed" | "ended", lease) => {
                        *lease = None;
                        step.asks_no_more(|kind| kind == QuestionKind::Confirm);
                    }
                    _ => {}
                }
            }
            Body::UndoFailed(failed) => {
                let step = self.part(&failed.part, places);
                step.waits = Some(WaitView { what: "undo".into(), until: failed.again_at });
            }
            Body::UndoFinished(finished) => {
                let step = self.part(&finished.part, places);
                (step.outcome, step.proof, step.waits) = (Some(finished.outcome), finished.proof.clone(), None);
                step.asks_no_more(|_| true);
            }
            Body::QuestionAsked(asked) => self.begun(&asked.part, places).asked(at, asked),
            Body::QuestionAnswered(answered) => self.part(&answered.part, places).answered(at, answered),
            Body::AnswerTooLate(late) => self.part(&late.part, places).answered_late(at, late),
            Body::AnswerRefused(refused) => self.part(&refused.part, places).answer_refused(at, refused),
            Body::RunFinished(finished) => {
                (self.state, self.ended) = (finished.state, Some(at));
                (self.summary, self.outputs) = (finished.summary.clone(), finished.outputs.clone());
                self.steps.iter_mut().for_each(|step| step.waits_no_more(|_| true));
            }
            _ => {}
        }
    }

    /// A part that something new is told of.
    fn begun(&mut self, part: &Part, places: &mut Places) -> &mut StepView {
        entry(&mut self.steps, part.step.as_str(), places).again = false;
        let step = self.part(part, places);
        step.again = false;
        step
    }

    fn part(&mut self, part: &Part, places: &mut Places) -> &mut StepView {
        let step = entry(&mut self.steps, part.step.as_str(), places);
        match part.item {
            None => step,
            Some(_) => entry(&mut step.items, &part.to_string(), places),
        }
    }

    /// How many steps ended how: `2 verified, 1 done`.
    fn tell_outcomes(&self) -> String {
        let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
        for outcome in self.steps.iter().filter_map(|step| step.outcome) {
            *counts.entry(outcome).or_default() += 1;
        }
        counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
    }

    /// A run that has not ended waits when every part at work does.
    fn tell_state(&mut self) {
        let parts = self
            .steps
            .iter()
            .flat_map(|step| if step.items.is_empty() { std::slice::from_ref(step) } else { &step.items });
        let open: Vec<&StepView> = parts.filter(|part| part.outcome.is_none() && !part.again).collect();
        let waits: Vec<String> = open.iter().filter_map(|part| Some(part.waits.as_ref()?.tell(&part.id))).collect();
        let asks: Vec<String> =
            self.questions().filter(|(step, _)| step.outcome.is_some()).map(|(step, _)| step.id.clone()).collect();
        let confirms = asks.iter().map(|id| format!("{id} waits for its confirmation"));
        let waits: Vec<String> = waits.into_iter().chain(confirms).collect();
        if !waits.is_empty() && waits.len() == open.len() + asks.len() {
            self.state = RunState::Waiting;
        }
        self.summary = if open.is_empty() && asks.is_empty() {
            "between two steps".to_owned()
        } else if self.state == RunState::Waiting {
            waits.join(", ")
        } else {
            let at_work: Vec<&str> =
                open.iter().filter(|part| part.waits.is_none()).map(|part| part.id.as_str()).collect();
            format!("at {}", at_work.join(", "))
        };
    }
}

/// Where each step stands among the steps, and each item among its step's items: there may be ten thousand.
pub(super) type Places = HashMap<String, usize>;

fn entry<'a>(steps: &'a mut Vec<StepView>, id: &str, places: &mut Places) -> &'a mut StepView {
    let at = places.get(id).copied().unwrap_or_else(|| {
        steps.push(StepView { id: id.to_owned(), ..StepView::default() });
        places.insert(id.to_owned(), steps.len() - 1);
        steps.len() - 1
    });
    &mut steps[at]
}
