//! What a boot has ended stands again, or has lapsed: each entry that the journal says is in force, and the kernel does
//! not know.
//!
//! Holds the journal's lock while it writes, before the engine takes it. Keeps true: an entry is planned anew and passes
//! the guard; a file with another content is another file, and its entry has lapsed.

use super::super::crew;
use super::super::files::Loaded;
use super::meant::{ACTION, Meant, meant};
use quell_actions::HostWorld;
use quell_detectors::block::KernelReflex;
use quell_engine::clock::SystemClock;
use quell_engine::store::{DirVault, Journal};
use quell_model::action::IdempotencyKey;
use quell_model::guard::{Ask, Consent, Memory, decide};
use quell_model::playbook::RunLimits;
use quell_model::record::{LeaseChanged, NewRecord, Part};
use quell_model::world::Verb;
use quell_model::{
    Action, ActionContext, ActionError, Batch, Body, Clock, Decision, Durability, Json, Kind, Name, Progress, Record,
    Reflex, RunId, Spot, Stamp, Stop, StoreError, StreamId,
};
use rustix::fs::OFlags;
use serde::Deserialize;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// For one entry.
const PATIENCE: Duration = Duration::from_secs(10);

/// One that should be in force.
struct Due {
    run: RunId,
    playbook: Name,
    part: Part,
    input: Json,
    sha256: String,
    /// What was entered, as the plan wrote it.
    spots: String,
    remaining: Duration,
}

/// Writes down what became of what should be in force.
pub(super) fn take_up(
    dir: &Path,
    world: &HostWorld,
    loaded: &Loaded,
    reflex: &Arc<KernelReflex>,
) -> Result<(), String> {
    let journal = Journal::open(dir).map_err(|e| e.to_string())?;
    let done = with_journal(&journal, dir, world, loaded, reflex);
    journal.close();
    done
}

fn with_journal(
    journal: &Journal,
    dir: &Path,
    world: &HostWorld,
    loaded: &Loaded,
    reflex: &Arc<KernelReflex>,
) -> Result<(), String> {
    let stream = StreamId::system();
    let said = |e: StoreError| e.to_string();
    let kinds = [Kind::PauseChanged, Kind::PersonActed, Kind::LeaseChanged, Kind::ReflexFired];
    let system = journal.latest(&kinds, usize::MAX).map_err(said)?;
    // A daemon that died between the two had written it and not said so.
    reflex.keep(super::strikes::through(&system, reflex.ledger()))?;
    let now = SystemClock.now();
    let (due, unmarked) = due(meant(journal, &system, &world.boot, now).map_err(said)?, reflex, now);
    let paused = reflex.is_paused() || is_paused(&system);
    let mut records: Vec<NewRecord> = Vec::new();
    for (due, why) in unmarked {
        tracing::warn!(run = %due.run, why, "a script that was kept from starting has lapsed");
        let Due { run, part, .. } = due;
        let changed = LeaseChanged { run, part, action: ACTION.into(), state: "lapsed".into(), why, lasts: None };
        records.push(NewRecord::new(SystemClock.now(), changed));
    }
    let mut runtime = None;
    for due in due {
        if paused {
            // Refused for the pause, it would count as lapsed for good.
            tracing::warn!(run = %due.run, "a block of an earlier boot waits for the end of the pause, and for the next start");
            continue;
        }
        if runtime.is_none() {
            let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime = Some(made.map_err(|e| format!("no runtime: {e}"))?);
        }
        let runtime = runtime.as_ref().ok_or("no runtime")?;
        let (state, why) = match runtime.block_on(renew(&due, dir, world, loaded, paused)) {
            Ok(why) => ("renewed", why),
            Err(why) => ("lapsed", why),
        };
        tracing::warn!(run = %due.run, why, "a block of an earlier boot has {}", if state == "renewed" { "been renewed" } else { "lapsed" });
        let Due { run, part, .. } = due;
        let changed = LeaseChanged { run, part, action: ACTION.into(), state: state.into(), why, lasts: None };
        records.push(NewRecord::new(SystemClock.now(), changed));
    }
    if records.is_empty() {
        return Ok(());
    }
    let expected = journal.last(&stream);
    journal.written(Batch { stream, expected, records, durability: Durability::Synced }).map(drop).map_err(said)
}

fn is_paused(system: &[Record]) -> bool {
    let said = system.iter().rev().find_map(|record| match &record.body {
        Body::PauseChanged(changed) => Some(changed.paused),
        _ => None,
    });
    said.unwrap_or(false)
}

/// What is to be renewed; and which scripts could not be marked again, with the reasons: they are in force no more.
type Dues = (Vec<Due>, Vec<(Due, String)>);

fn due(meant: Vec<Meant>, reflex: &KernelReflex, now: Stamp) -> Dues {
    let (mut all, mut unmarked) = (Vec::new(), Vec::new());
    for Meant { run, playbook, intent, remaining } in meant {
        let calls = &intent.plan.calls;
        let stands = stands(calls, reflex, now);
        let failed = if stands { mark(calls, reflex).err() } else { None };
        if stands && failed.is_none() {
            continue;
        }
        let spots = calls.first().map(|order| order["spots"].to_string()).unwrap_or_default();
        let sha256 = intent.plan.before["sha256"].as_str().unwrap_or_default().to_owned();
        let due = Due { run, playbook, part: intent.part, input: intent.input, sha256, spots, remaining };
        if let Some(why) = failed {
            unmarked.push((due, why));
        } else if let Some(known) = all.iter_mut().find(|known: &&mut Due| known.spots == due.spots) {
            // Several runs entered the same: the longest holds.
            known.remaining = known.remaining.max(due.remaining);
        } else {
            all.push(due);
        }
    }
    (all, unmarked)
}

/// What the order says of the file.
#[derive(Deserialize)]
struct Marked {
    path: PathBuf,
    open: PathBuf,
    #[serde(default)]
    script: bool,
    spots: Vec<Spot>,
}

/// A script that stands is marked again. One that is found no more is taken out: without its mark it starts.
fn mark(calls: &[Json], reflex: &KernelReflex) -> Result<(), String> {
    let Some(order) = calls.first().and_then(|order| Marked::deserialize(order).ok()) else { return Ok(()) };
    let Some(first) = order.spots.first() else { return Ok(()) };
    let mut why = String::new();
    for path in [&order.open, &order.path] {
        // Without a wait: what lies there now may be a fifo.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let marked = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|e| e.to_string());
        match marked.and_then(|file| reflex.mark_again(first, file.as_fd())) {
            Ok(()) => return Ok(()),
            Err(failed) => why = failed,
        }
    }
    // The kernel knows a program by itself.
    if !order.script || reflex.scripts().is_some_and(|how| how.as_str() == "lsm") {
        return Ok(());
    }
    for spot in &order.spots {
        reflex.remove(spot)?;
    }
    Err(format!("`{}` cannot be marked again: {why}", order.path.display()))
}

/// Whether the kernel knows it: then it is in force, or its budget is used up.
fn stands(calls: &[Json], reflex: &KernelReflex, now: Stamp) -> bool {
    let spots = calls.first().and_then(|order| Vec::<Spot>::deserialize(&order["spots"]).ok()).unwrap_or_default();
    let there =
        |spot: &Spot| reflex.standing(spot).is_ok_and(|one| one.is_some_and(|s| s.terms.until_ns > now.boot_ns));
    !spots.is_empty() && spots.iter().all(there)
}

/// Plans it anew, asks the guard, enters it for what is left; says what it did.
async fn renew(due: &Due, dir: &Path, world: &HostWorld, loaded: &Loaded, paused: bool) -> Result<String, String> {
    let crew = crew::live(world.clone());
    let Some(Verb::Acts(action)) = crew.get(ACTION) else { return Err("this build has no such action".to_owned()) };
    let action: &dyn Action = action.as_ref();
    let mut input = due.input.clone();
    input["for"] = Json::from(format!("{}ms", due.remaining.as_millis()));
    let said = |e: ActionError| e.to_string();
    let plan = action.plan(&input).await.map_err(said)?;
    if plan.before["sha256"].as_str() != Some(due.sha256.as_str()) {
        return Err("the file has another content now".to_owned());
    }
    let definitions = &loaded.definitions;
    let ask = Ask {
        now: SystemClock.now(),
        action: action.spec(),
        run: &due.run,
        playbook: &due.playbook,
        mode: definitions.ceiling,
        mode_because: &definitions.ceiling_because,
        untrusted: false,
        limits: RunLimits::default(),
        above: Vec::new(),
        paused,
        // It stands by what was decided then, by a person where one was asked.
        consent: Consent::Given,
        counted: false,
        concerns: Default::default(),
        owned: None,
    };
    let go = match decide(&definitions.guard, &Memory::default(), &ask, plan) {
        Decision::Act(go) => go,
        Decision::Observe { why, .. } | Decision::Ask { why, .. } => return Err(why),
        Decision::Refuse { guard, why, .. } => return Err(format!("{guard}: {why}")),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let context = ActionContext {
        key: IdempotencyKey::of(&due.run, &due.part),
        attempt: 1,
        deadline: clock.now().after(PATIENCE),
        clock,
        progress: Arc::new(Unnoted),
        stop: Stop::default(),
        vault: Arc::new(DirVault::new(dir)),
        secrets: quell_model::Secrets::default(),
    };
    let output = action.run(&go, &context).await.map_err(said)?;
    let until = output["until"].as_str().unwrap_or_default();
    Ok(format!("{} is kept from starting again, until {until}", output["path"].as_str().unwrap_or_default()))
}

/// It is over at once.
struct Unnoted;

#[async_trait::async_trait]
impl Progress for Unnoted {
    async fn note(&self, _: Json) -> Result<(), ActionError> {
        Ok(())
    }
}
