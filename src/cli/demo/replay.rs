//! The demo where no sensor can run: a recording of it goes through the real rules and the real engine in observe mode,
//! with a crew that holds no hands. What it is, is said first.

use super::tell::Teller;
use crate::cli::{Exit, Fail, Term};
use crate::daemon::{self, Plan, Scratch, Sight, files};
use quell_engine::load::Config;
use quell_engine::report::{self, RunView};
use quell_model::{BootId, OwnedEvent, Stop};
use std::time::{Duration, Instant};

/// What the sensor saw of a demo, four events, with names of this machine taken out.
const RECORDING: &str = include_str!("recording.jsonl");
/// A replay takes a fraction of a second; a machine under attack may take longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing more comes after this long without a new run.
const QUIET: Duration = Duration::from_millis(150);

/// Replays it; `why` says what is in the way of a live demo.
pub(super) fn play(why: &str, end: &Stop, term: &Term) -> Result<Exit, Fail> {
    let cannot = |e: &dyn std::fmt::Display| Fail::missing(format!("the recording cannot be replayed: {e}"));
    let began = Instant::now();
    let events = events().map_err(|e| cannot(&e))?;
    let scratch = Scratch::new("replay").map_err(|e| cannot(&e))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|e| cannot(&e))?;
    let loaded = files::load_config(Config::default(), Vec::new());
    let node = daemon::node();
    let plan = Plan {
        dir: scratch.path().to_owned(),
        crew: daemon::replay_crew(&node),
        node,
        boot: BootId("replay".into()),
        rules: loaded.rules,
        definitions: loaded.definitions,
        only: None,
        sight: Sight { off: Some(why.to_owned()), replay: events.clone(), ..Sight::default() },
        family: None,
        files: Vec::new(),
        webhooks: Vec::new(),
        recorder: None,
    };
    let assembly = daemon::assemble(plan, runtime.handle()).map_err(|e| cannot(&e))?;
    let journal = &assembly.journal;
    let read = || -> Result<Vec<RunView>, quell_model::StoreError> {
        let mut views = Vec::new();
        for run in report::runs(journal)?.iter().rev() {
            views.extend(report::run(journal, &run.id)?);
        }
        Ok(views)
    };
    let mut quiet_since = Instant::now();
    let mut runs = Vec::new();
    while began.elapsed() < PATIENCE && !end.is_raised() {
        let now = read().map_err(|e| cannot(&e))?;
        if now.len() != runs.len() || now.is_empty() || !now.iter().all(|run| run.state.is_over()) {
            quiet_since = Instant::now();
        }
        runs = now;
        if quiet_since.elapsed() >= QUIET {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let mut incidents = Vec::new();
    for one in report::incidents(journal).map_err(|e| cannot(&e))? {
        incidents.extend(report::incident(journal, &one.id, report::Wanted::default()).map_err(|e| cannot(&e))?);
    }
    assembly.close();
    Teller::new(term).replayed(why, &events, &runs, &incidents, began.elapsed());
    let planned = !runs.is_empty() && runs.iter().all(|run| run.state == quell_model::record::RunState::Succeeded);
    Ok(if planned { Exit::Right } else { Exit::NotRight })
}

fn events() -> Result<Vec<OwnedEvent>, serde_json::Error> {
    RECORDING.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recording_can_be_read_and_names_nobody() {
        let events = events().unwrap();
        assert_eq!(events.len(), 4);
        assert!(events.iter().all(|event| event.head.node.as_str() == "recorded"));
    }
}
