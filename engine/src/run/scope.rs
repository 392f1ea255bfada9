//! What a run's expressions see.
//!
//! Owns the making of `steps`, `run` and `incident`; `event`, `detection`, `inputs` and `vars` are what the run began
//! with, and who is known is who is known now. An output that the step has and did not give reads as `()`.

use super::machine::Run;
use crate::playbook::expression::Scope;
use crate::playbook::gives::{self, Gives};
use crate::playbook::reads::Reads;
use quell_model::playbook::Playbook;
use quell_model::record::RunStarted;
use quell_model::{Crew, Json, Name, Outcome, People};
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
    outputs: &Outputs,
    step: &quell_model::playbook::Step,
    reads: impl Fn(&str) -> bool,
) -> Option<Json> {
    let (outcome, output, why) = run.result(&step.id)?;
    let mut value = Map::new();
    value.extend(gives::given(step, outputs).into_iter().flatten().map(|name| (name, Json::Null)));
    if outcome.has_outputs()
        && let Json::Object(given) = output
    {
        value.extend(given.clone());
    }
    if step.for_each.is_some() && (reads("items") || reads("failed")) {
        let item = |(item, outcome, output, why): (&Json, Option<Outcome>, &Json, &str)| {
            #[cfg(test)]
            ITEMS_TOLD.set(ITEMS_TOLD.get() + 1);
            json!({ "item": item, "outcome": outcome, "output": output, "why": why })
        };
        let failed =
            run.items(&step.id).filter(|(_, outcome, ..)| outcome.is_some_and(|o| !o.is_met())).map(item).collect();
        value.insert("items".into(), Json::Array(run.items(&step.id).map(item).collect()));
        value.insert("failed".into(), Json::Array(failed));
    }
    value.insert("outcome".into(), outcome.as_str().into());
    value.insert("why".into(), why.into());
    Some(Json::Object(value))
}

impl RunScope {
    /// What these read, and no more: a step of ten thousand does not make the results of all the others.
    pub(super) fn reading(run: &Run, (outputs, people): (&Outputs, &Arc<People>), reads: &Reads) -> Self {
        let mut steps = Map::new();
        if let Some(wanted) = reads.of("steps") {
            let named = wanted.parts().map(|id| run.playbook.step(&id.into()));
            let all = wanted.is_whole().then_some(&run.playbook.steps);
            for step in named.flatten().chain(all.into_iter().flatten()) {
                let part = wanted.part(step.id.as_str());
                let value = step_value(run, outputs, step, |name| part.is_some_and(|part| part.part(name).is_some()));
                steps.insert(step.id.to_string(), value.unwrap_or(Json::Null));
            }
        }
        Self::with(run, people, Json::Object(steps), reads.of("detections").is_some())
    }

    fn with(run: &Run, people: &Arc<People>, steps: Json, detections: bool) -> Self {
        let started = &run.started;
        let all = if started.detection.is_null() || !detections { json!([]) } else { json!([started.detection]) };
        Self {
            steps,
            run: json!({ "id": started.run, "playbook": started.playbook, "mode": started.mode, "started": run.began.wall.to_string() }),
            incident: super::by_incident::incident_of(run),
            detections: all,
            began: run.began.wall,
            people: Arc::clone(people),
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
            inputs: &started.inputs,
            vars: &started.vars,
            steps: &self.steps,
            item,
            seen: &Json::Null,
            run: &self.run,
            now: self.began,
            people: Some(&self.people),
        }
    }
}
