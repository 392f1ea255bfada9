//! Taking up what stood in the journal when an engine starts.
//!
//! Owns the fold of open streams into live state. Does nothing to the world: the machines' `TakeUp` commands ask it,
//! once the engine is driven.

use super::machine::Run;
use super::shell::{Core, Live, run_started};
use crate::incident::Incidents;
use quell_model::guard::{Act, KEEP};
use quell_model::playbook::Playbook;
use quell_model::record::{EngineStarted, NewRecord};
use quell_model::{Body, Hash, Record, RunId, StoreError, StreamId};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Reads a pinned definition's text again.
pub type ReadDefinition<'a> = dyn Fn(&Path, &str) -> Option<Playbook> + 'a;

/// What was taken up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Runs that go on.
    pub runs: Vec<RunId>,
    /// Runs that cannot go on, and why.
    pub broken: Vec<(RunId, String)>,
    /// Incidents that are open.
    pub incidents: usize,
    /// Every action is paused.
    pub paused: bool,
}

impl<W: Send + 'static> Core<W> {
    /// Takes up the journal, then writes that this engine has started, then drives what was open.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn recover(&mut self, read: &ReadDefinition<'_>) -> Result<RecoveryReport, StoreError> {
        let mut report = RecoveryReport::default();
        let journal = self.ink.journal().clone();
        let definitions = self.recover_system(&journal.read(&StreamId::system(), 1)?);
        let now = self.parts.clock.now();
        let open = journal.open_streams()?;
        for (stream, _) in journal.streams()? {
            if let Some(id) = stream.as_run() {
                let records = journal.read(&stream, 1)?;
                self.remember_acts(&id, &records);
                if open.contains(&stream) {
                    match self.recover_run(&records, &definitions, read) {
                        Ok(()) => report.runs.push(id),
                        Err(why) => report.broken.push((id, why)),
                    }
                }
            } else if stream.as_incident().is_some()
                && let Some(incident) = Incidents::fold(&journal.read(&stream, 1)?)
                && now.wall.duration_since(incident.last.wall)
                    <= self.definitions.incidents.quiet.try_into().unwrap_or(jiff::SignedDuration::MAX)
            {
                self.incidents.insert(incident);
                report.incidents += 1;
            }
        }
        report.paused = self.paused;
        let started = EngineStarted {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: self.parts.boot.clone(),
            pid: std::process::id(),
            mode: self.definitions.ceiling,
        };
        self.write_system(vec![NewRecord::new(now, started)]);
        for run in &report.runs {
            self.drive(run);
        }
        self.ink.ring();
        self.say();
        Ok(report)
    }

    fn recover_system(&mut self, records: &[Record]) -> HashMap<Hash, (String, String)> {
        let mut definitions = HashMap::new();
        for record in records {
            self.system_seq = record.seq;
            match &record.body {
                Body::DefinitionPinned(pinned) => {
                    self.pinned.insert(pinned.hash);
                    definitions.insert(pinned.hash, (pinned.file.clone(), pinned.text.clone()));
                }
                Body::PauseChanged(changed) => self.paused = changed.paused,
                Body::BreakerChanged(changed) => {
                    self.memory.breaker(&changed.playbook, changed.open.then_some(record.at))
                }
                _ => {}
            }
        }
        definitions
    }

    fn remember_acts(&mut self, id: &RunId, records: &[Record]) {
        let now = self.parts.clock.now();
        let Some(started) = records.first().and_then(|first| run_started(&first.body)) else { return };
        for record in records {
            if let Body::StepIntended(intent) = &record.body
                && now.since(record.at) <= KEEP
                && now.boot_ns >= record.at.boot_ns
            {
                self.memory.add(Act::of(
                    record.at,
                    intent.action.clone(),
                    id.clone(),
                    started.playbook.clone(),
                    &intent.plan,
                ));
            }
        }
    }

    fn recover_run(
        &mut self,
        records: &[Record],
        definitions: &HashMap<Hash, (String, String)>,
        read: &ReadDefinition<'_>,
    ) -> Result<(), String> {
        let (first, rest) = records.split_first().ok_or("its stream is empty")?;
        let started = run_started(&first.body).ok_or("its stream does not begin with its start")?;
        let (file, text) = definitions.get(&started.definition).ok_or("its playbook's text was not pinned")?;
        let playbook = read(Path::new(file), text).ok_or("its playbook's pinned text is no longer understood")?;
        let playbook = Arc::new(playbook);
        let mut run = Run::new(Arc::clone(&playbook), started.clone(), first.at);
        for record in rest {
            run.apply(record.at, &record.body);
        }
        let (id, moments) = (started.run.clone(), started.moments);
        if started.by.is_none() {
            self.triggers.started(&playbook, started, first.at);
        }
        let acted = records.iter().any(|record| matches!(record.body, Body::StepIntended(_)));
        self.runs.insert(id, Live { run, under_way: HashMap::new(), moments, only_planned: !acted });
        Ok(())
    }
}
