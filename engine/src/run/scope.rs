//! What a run's expressions see.
//!
//! Owns the making of `steps`, `run` and `incident`; `event`, `detection`, `inputs` and `vars` are what the run began
//! with, and who is known is who is known now. An output that the step has and did not give reads as `()`.

use super::contents::Contents;
use super::machine::Run;
use super::shell::Core;
use crate::playbook::expression::Scope;
use crate::playbook::gives::{self, Gives};
use crate::playbook::reads::Reads;
use quell_model::playbook::Playbook;
use quell_model::record::{RunStarted, Stored, stored};
use quell_model::{Crew, Json, Name, Outcome, People, StoreError};
use serde_json::{Map, json};
use std::collections::HashMap;
use std::sync::Arc;

#[cfg(test)]
thread_local! {
    /// How many results of items were made: with each item's own step among them it would be the square of the items.
    pub(super) static ITEMS_TOLD: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Owned parts of a scope; borrowed by [`RunScope::scope`].
#[derive(Debug)]
pub(super) struct RunScope {
    steps: Json,
    run: Json,
    incident: Json,
    detections: Json,
    people: Arc<People>,
    began: jiff::Timestamp,
    /// The run's inputs, where they do not stand in its record.
    inputs: Option<Json>,
    /// Why what an expression reads cannot be read: it gives that, and no wrong value.
    trouble: Option<String>,
}

/// What a run's expressions see beside its records.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    outputs: &'a Outputs,
    people: &'a Arc<People>,
    contents: &'a Contents,
}

impl<W: Send + 'static> Core<W> {
    pub(super) fn ground(&self) -> Ground<'_> {
        Ground { outputs: &self.outputs, people: &self.definitions.people, contents: &self.contents }
    }
}

/// What actions and playbooks give, by name; of actions made once, since a schema takes its time.
#[derive(Debug)]
pub(super) struct Outputs {
    actions: HashMap<&'static str, Vec<String>>,
    playbooks: HashMap<Name, Vec<String>>,
}

impl Outputs {
    pub(super) fn of<W>(crew: &Crew<W>, playbooks: &[Arc<Playbook>]) -> Self {
        let actions = crew.specs().filter_map(|spec| Some((spec.name, gives::declared(spec)?))).collect();
        let mut outputs = Self { actions, playbooks: HashMap::new() };
        outputs.reload(playbooks);
        outputs
    }

    /// Other playbooks are in force.
    pub(super) fn reload(&mut self, playbooks: &[Arc<Playbook>]) {
        let names = |playbook: &Playbook| playbook.outputs.keys().cloned().collect();
        self.playbooks = playbooks.iter().map(|playbook| (playbook.name.clone(), names(playbook))).collect();
    }
}

impl Gives for Outputs {
    fn of_action(&self, action: &str) -> Option<Vec<String>> {
        self.actions.get(action).cloned()
    }

    fn of_playbook(&self, playbook: &str) -> Option<Vec<String>> {
        self.playbooks.get(&Name::from(playbook)).cloned()
    }
}

fn step_value(
    run: &Run,
    ground: Ground<'_>,
    step: &quell_model::playbook::Step,
    reads: impl Fn(&str) -> bool,
) -> Result<Option<Json>, StoreError> {
    let Some((outcome, output, why)) = run.result(&step.id) else { return Ok(None) };
    let mut value = Map::new();
    value.extend(gives::given(step, ground.outputs).into_iter().flatten().map(|name| (name, Json::Null)));
    if outcome.has_outputs() {
        // What lies apart and is not read stays there.
        let whole = Stored::of(output).map(|_| ground.contents.whole(output)).transpose()?;
        if let Json::Object(given) = whole.as_ref().unwrap_or(output) {
            value.extend(given.clone());
        }
        if whole.is_none() {
            value.iter_mut().filter(|(name, _)| reads(name)).try_for_each(|(_, one)| ground.contents.put_whole(one))?;
        }
    }
    if step.for_each.is_some() && (reads("items") || reads("failed")) {
        let list = ground.contents.items(run, &step.id)?;
        let item = |(item, (_, outcome, output, why)): (&Json, (&Json, Option<Outcome>, &Json, &str))| {
            #[cfg(test)]
            ITEMS_TOLD.set(ITEMS_TOLD.get() + 1);
            let output = ground.contents.whole(output)?;
            Ok(json!({ "item": item, "outcome": outcome, "output": output, "why": why }))
        };
        let all = || list.iter().zip(run.items(&step.id));
        let is_bad = |outcome: Option<Outcome>| outcome.is_some_and(|o| !o.is_met());
        let failed = all().filter(|(_, (_, outcome, ..))| is_bad(*outcome)).map(item);
        let failed = failed.collect::<Result<Vec<Json>, StoreError>>()?;
        let items = all().map(item).collect::<Result<Vec<Json>, StoreError>>()?;
        value.insert("items".into(), Json::Array(items));
        value.insert("failed".into(), Json::Array(failed));
    }
    value.insert("outcome".into(), outcome.as_str().into());
    value.insert("why".into(), why.into());
    Ok(Some(Json::Object(value)))
}

impl RunScope {
    /// What these read, and no more: a step of ten thousand does not make the results of all the others.
    pub(super) fn reading(run: &Run, ground: Ground<'_>, reads: &Reads) -> Self {
        let (mut steps, mut trouble) = (Map::new(), None);
        if let Some(wanted) = reads.of("steps") {
            let named = wanted.parts().map(|id| run.playbook.step(&id.into()));
            let all = wanted.is_whole().then_some(&run.playbook.steps);
            for step in named.flatten().chain(all.into_iter().flatten()) {
                let part = wanted.part(step.id.as_str());
                let reads = |name: &str| part.is_some_and(|part| part.part(name).is_some());
                let value = step_value(run, ground, step, reads).unwrap_or_else(|error| {
                    trouble = Some(format!("what `{}` gave cannot be read: {error}", step.id));
                    None
                });
                steps.insert(step.id.to_string(), value.unwrap_or(Json::Null));
            }
        }
        let apart = reads.of("inputs").is_some() && stored::refers(&run.started.inputs);
        let inputs = apart.then(|| ground.contents.whole(&run.started.inputs)).transpose().unwrap_or_else(|error| {
            trouble = Some(format!("the run's inputs cannot be read: {error}"));
            None
        });
        let detections = reads.of("detections").is_some();
        Self { inputs, trouble, ..Self::with(run, ground.people, Json::Object(steps), detections) }
    }

    fn with(run: &Run, people: &Arc<People>, steps: Json, detections: bool) -> Self {
        let started = &run.started;
        let joined = run.joined.iter().map(|joined| &joined.detection);
        let all = std::iter::once(&started.detection).chain(joined).filter(|one| detections && !one.is_null());
        Self {
            steps,
            run: json!({ "id": started.run, "playbook": started.playbook, "mode": started.mode, "started": run.began.wall.to_string() }),
            incident: super::by_incident::incident_of(run),
            detections: Json::Array(all.cloned().collect()),
            began: run.began.wall,
            people: Arc::clone(people),
            inputs: None,
            trouble: None,
        }
    }

    pub(super) fn scope<'a>(&'a self, run: &'a Run, item: &'a Json) -> Scope<'a> {
        self.scope_of(&run.started, item)
    }

    /// The same, where the run itself is elsewhere.
    pub(super) fn scope_of<'a>(&'a self, started: &'a RunStarted, item: &'a Json) -> Scope<'a> {
        Scope {
            event: &started.event,
            detection: &started.detection,
            detections: &self.detections,
            incident: &self.incident,
            inputs: self.inputs.as_ref().unwrap_or(&started.inputs),
            vars: &started.vars,
            steps: &self.steps,
            item,
            seen: &Json::Null,
            run: &self.run,
            now: self.began,
            people: Some(&self.people),
            trouble: self.trouble.as_deref(),
        }
    }
}
