//! Leaving a machine: open runs are cancelled, what quell froze is thawed, its cgroups and pins are removed; or what stands is
//! kept as it is. For `quell uninstall`.
//!
//! Invariant: holds the directory's lock all the while, so that no daemon works beside it; asks the world and believes
//! no record; touches nothing that quell's journal or name does not claim. Of what it cannot take back it says so.

mod standing;

use super::{crew, pause, sweep};
use quell_actions::HostWorld;
use quell_engine::clock::SystemClock;
use quell_engine::playbook::secrets_of;
use quell_engine::store::{DirVault, Journal};
use quell_model::action::IdempotencyKey;
use quell_model::guard::{Ask, Consent, Guard, Memory, decide};
use quell_model::playbook::RunLimits;
use quell_model::record::{NewRecord, Part, PersonActed, StepIntended};
use quell_model::{
    Action, ActionContext, ActionError, Batch, Body, Clock, Decision, Durability, Json, Kind, Mode, Name, Progress,
    Record, RunId, Stamp, Stop, StoreError, StreamId, Truth, Want,
};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use standing::Stands;

/// What becomes of what stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is taken back.
    Undo,
    /// It stays: with what holds it in the kernel, until its end there.
    Keep,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Left {
    /// What stood, as the journal said, before anything was done.
    pub(crate) stood: Vec<Stands>,
    /// It was to stay, and does.
    pub(crate) keeps: bool,
    /// Runs that were open: the next `quell up` does not go on with them.
    pub(crate) cancelled: Vec<Cancelled>,
    /// Processes and cgroups that run again.
    pub(crate) thawed: Vec<Thawed>,
    /// cgroups and directories that are gone.
    pub(crate) removed: Vec<Removed>,
    /// Images that may start again.
    pub(crate) unblocked: Vec<Unblocked>,
    /// Cgroups that are cut off no more, or not from a peer.
    pub(crate) uncut: Vec<Uncut>,
    /// Processes that were moved to be cut off, and are where they were.
    pub(crate) moved_back: u32,
    /// Pinned programs and maps that are gone.
    pub(crate) pins: Vec<Removed>,
    /// What could not be done, for people.
    pub(crate) left_over: Vec<String>,
}

/// One run that had not ended.
#[derive(Debug, Serialize)]
pub(crate) struct Cancelled {
    /// Which.
    pub(crate) id: RunId,
}

/// One freeze that was taken back.
#[derive(Debug, Serialize)]
pub(crate) struct Thawed {
    /// The run whose step froze it.
    pub(crate) id: RunId,
    /// Which step.
    pub(crate) step: String,
    /// Whom, for people.
    pub(crate) targets: Vec<String>,
}

/// One image that may start again.
#[derive(Debug, Serialize)]
pub(crate) struct Unblocked {
    /// Its path.
    pub(crate) id: String,
    /// Strikes since it was entered.
    pub(crate) struck: u64,
}

/// One cgroup that is cut off no more.
#[derive(Debug, Serialize)]
pub(crate) struct Uncut {
    /// Its path; `/`: all of this host.
    pub(crate) id: String,
    /// Packets and calls that were dropped since it was cut off.
    pub(crate) dropped: u64,
}

/// One directory that is gone.
#[derive(Debug, Serialize)]
pub(crate) struct Removed {
    /// Its path.
    pub(crate) id: PathBuf,
}

impl Left {
    /// Whether nothing had to be done, whatever stays.
    pub(crate) fn is_nothing(&self) -> bool {
        self.cancelled.is_empty()
            && self.thawed.is_empty()
            && self.unblocked.is_empty()
            && self.uncut.is_empty()
            && self.moved_back == 0
            && self.removed.is_empty()
            && self.pins.is_empty()
            && self.left_over.is_empty()
    }
}

/// For one thaw.
const PATIENCE: Duration = Duration::from_secs(10);

/// What stands there, as the journal says: nobody else may have it open.
pub(crate) fn stands(dir: &Path) -> Result<Vec<Stands>, StoreError> {
    if !dir.join("journal.db").exists() {
        return Ok(Vec::new());
    }
    let journal = Journal::open(dir)?;
    let standing = standing::standing(&journal);
    journal.close();
    standing
}

/// Takes everything back, or keeps what stands; `dir` is the data directory, `by` whoever asked.
pub(crate) fn leave(dir: &Path, node: Name, by: Name, fate: Fate) -> Result<Left, StoreError> {
    let mut left = Left { keeps: fate == Fate::Keep, ..Left::default() };
    // Without /proc nobody can be thawed; what is pinned can go all the same.
    let world = HostWorld::live(node);
    if let Err(e) = &world {
        left.left_over.push(format!("/proc cannot be read, so nothing was thawed: {e}"));
    }
    let world = world.as_ref().ok();
    let journal = if dir.join("journal.db").exists() { Some(Journal::open(dir)?) } else { None };
    let done = with_journal(journal.as_ref(), dir, world, by, &mut left);
    if let Some(journal) = journal {
        journal.close();
    }
    done.map(|()| left)
}

/// Says that it begins before the kernel is changed, and what came of it afterwards: so that the next `quell up` renews
/// nothing, and nothing is told that is not so, wherever this is killed.
fn with_journal(
    journal: Option<&Journal>,
    dir: &Path,
    world: Option<&HostWorld>,
    by: Name,
    left: &mut Left,
) -> Result<(), StoreError> {
    match journal.map_or(Ok(Vec::new()), standing::standing) {
        Ok(stood) => left.stood = stood,
        Err(error) => left.left_over.push(format!("what stands cannot be read: {error}")),
    }
    if left.keeps {
        return keep(journal, dir, world, &by, left);
    }
    // What a killed daemon left in the kernel acts no more from here on.
    if let Err(why) = pause::flag(dir, true) {
        left.left_over.push(why);
    }
    // What cannot be read, or written, keeps nothing else from being taken out.
    let thawed =
        if let (Some(journal), Some(world)) = (journal, world) { thaw(journal, dir, world, left) } else { Ok(()) };
    let cancelled = journal.map_or(Ok(()), |journal| cancel(journal, &by, left));
    for error in [thawed, cancelled].into_iter().filter_map(Result::err) {
        left.left_over.push(format!("the journal: {error}"));
    }
    let standing = match remains(journal, dir) {
        Ok(standing) => standing,
        Err(why) => {
            left.left_over.push(why);
            Vec::new()
        }
    };
    let cuts = cuts(dir).unwrap_or_else(|why| {
        left.left_over.push(why);
        Vec::new()
    });
    if let (Some(journal), false) = (journal, standing.is_empty() && cuts.is_empty()) {
        let going: Vec<&str> = standing.iter().map(|(path, _)| path.as_str()).collect();
        let uncuts: Vec<&str> = cuts.iter().map(|(path, _)| path.as_str()).collect();
        note(journal, by.clone(), serde_json::json!({ "begins": true, "unblocks": going, "uncuts": uncuts }))?;
    }
    sweep_up(world, left);
    let unpinned = unpin(dir);
    let is_unpinned = unpinned.is_ok();
    match unpinned {
        Ok(gone) => {
            journal.into_iter().for_each(|journal| end_blocks(journal, left));
            left.pins.extend(gone.into_iter().map(|id| Removed { id }));
            left.unblocked.extend(standing.into_iter().map(|(id, struck)| Unblocked { id, struck }));
            left.uncut.extend(cuts.into_iter().map(|(id, dropped)| Uncut { id, dropped }));
            bring_back(world, left);
        }
        Err(why) => {
            let still = standing.into_iter().map(|(path, _)| format!("{path} may still be kept from starting"));
            let cut = cuts.into_iter().map(|(path, _)| format!("cgroup {path} may still be cut off"));
            left.left_over.extend(std::iter::once(why).chain(still).chain(cut));
        }
    }
    left.left_over.extend(left_standing(&left.stood, is_unpinned));
    match journal {
        Some(journal) if !left.is_nothing() => note(journal, by, serde_json::to_value(&*left).unwrap_or_default()),
        _ => Ok(()),
    }
}

/// What stands stays: only runs end, and what holds nothing goes.
fn keep(
    journal: Option<&Journal>,
    dir: &Path,
    world: Option<&HostWorld>,
    by: &Name,
    left: &mut Left,
) -> Result<(), StoreError> {
    if let Err(error) = journal.map_or(Ok(()), |journal| cancel(journal, by, left)) {
        left.left_over.push(format!("the journal: {error}"));
    }
    sweep_up(world, left);
    match remains(journal, dir).and_then(|standing| Ok(standing.is_empty() && cuts(dir)?.is_empty())) {
        Ok(true) => match pause::flag(dir, true).and_then(|_| unpin(dir)) {
            Ok(gone) => left.pins.extend(gone.into_iter().map(|id| Removed { id })),
            Err(why) => left.left_over.push(why),
        },
        Ok(false) => {}
        Err(why) => left.left_over.push(why),
    }
    match journal {
        Some(journal) if !left.is_nothing() => {
            note(journal, by.clone(), serde_json::to_value(&*left).unwrap_or_default())
        }
        _ => Ok(()),
    }
}

fn sweep_up(world: Option<&HostWorld>, left: &mut Left) {
    if let Some(world) = world {
        let (gone, failed) = sweep::leftovers(world);
        left.removed.extend(gone.into_iter().map(|id| Removed { id }));
        left.left_over.extend(failed);
    }
}

/// The verbs whose doing is taken back here.
const FREEZE: &str = "process.freeze";
/// Those that stand by what is pinned.
const PINNED: [&str; 3] = ["process.block_exec", "network.block_peer", "network.isolate"];
/// The verb that stands by what is pinned, and in the cluster too.
const IN_BOTH: &str = "kubernetes.isolate_pod";

/// What was pinned is gone, and all that it kept from starting or cut off with it.
fn end_blocks(journal: &Journal, left: &mut Left) {
    for stands in left.stood.iter().filter(|stands| PINNED.contains(&stands.action.as_str())) {
        if let Err(error) = standing::over(journal, stands, "ended", "quell was uninstalled") {
            left.left_over.push(format!("{} was taken back, and the journal does not say so: {error}", stands.id));
        }
    }
}

/// What stands and cannot be taken back here.
fn left_standing(stood: &[Stands], is_unpinned: bool) -> Vec<String> {
    let is_here = |action: &str| action == FREEZE || PINNED.contains(&action);
    let others = stood.iter().filter(|stands| !is_here(stands.action.as_str()));
    let told = others.map(|stands| {
        let (action, id) = (&stands.action, &stands.id);
        let hint = format!(
            "hint: start quell, `quell run undo {}/{}`, end it, and uninstall then",
            stands.run, stands.part.step
        );
        if action.as_str() == IN_BOTH && is_unpinned {
            let what =
                "on this node it is cut off no more, and its NetworkPolicy and labels still stand in the cluster";
            return format!("{action} of {id}: {what}: only the daemon can take them back; {hint}");
        }
        format!("{action} of {id} still stands: only the daemon can take it back; {hint}")
    });
    told.collect()
}

/// A run that went on at the next start, however late, would do again what is taken back here. One that is taken back
/// already only lets go.
fn cancel(journal: &Journal, by: &Name, left: &mut Left) -> Result<(), StoreError> {
    for stream in journal.open_streams()? {
        let Some(id) = stream.as_run() else { continue };
        let kinds = [Kind::RunFinished, Kind::UndoBegan, Kind::PersonActed, Kind::RunReopened];
        let said = match journal.read_kinds(&stream, 1, &kinds) {
            Ok(mut said) => {
                // Whatever ended it before a person had it tried again.
                let last = said.iter().rposition(|record| matches!(record.body, Body::RunReopened(_)));
                said.split_off(last.map_or(0, |last| last + 1))
            }
            Err(error) => {
                left.left_over.push(format!("run {id}: {error}"));
                continue;
            }
        };
        let ends_it = |record: &Record| match &record.body {
            Body::PersonActed(acted) => acted.what.as_str() == "cancel",
            // One step is taken back, and the others go on.
            Body::UndoBegan(began) => began.only.is_none(),
            // It had ended, and was opened again to let go.
            _ => true,
        };
        if !said.iter().any(ends_it) {
            let why = serde_json::json!({ "because": "uninstall" });
            acted(journal, stream, PersonActed { by: by.clone(), what: "cancel".into(), detail: why })?;
            left.cancelled.push(Cancelled { id });
        }
    }
    Ok(())
}

/// What stands in the kernel; what fired there and is not in the journal yet is written down.
#[cfg(feature = "ebpf")]
fn remains(journal: Option<&Journal>, dir: &Path) -> Result<Vec<(String, u64)>, String> {
    use super::block::strikes;
    let system = journal.map_or(Ok(Vec::new()), strikes::written)?;
    let mut remains = strikes::remains(dir, &system)?;
    if let Some(journal) = journal {
        strikes::write_remains(journal, &mut remains)?;
    }
    Ok(remains.standing)
}

#[cfg(not(feature = "ebpf"))]
fn remains(_: Option<&Journal>, _: &Path) -> Result<Vec<(String, u64)>, String> {
    Ok(Vec::new())
}

/// The cgroups that are cut off in the kernel, and how much each has dropped; none where another's is pinned.
#[cfg(feature = "ebpf")]
fn cuts(owner: &Path) -> Result<Vec<(String, u64)>, String> {
    use quell_detectors::{cut, pin};
    let dir = Path::new(pin::DIR);
    if !pin::belongs(dir, owner) {
        return Ok(Vec::new());
    }
    Ok(cut::pinned(dir)?.into_iter().map(|one| (one.terms.label, one.dropped.count())).collect())
}

#[cfg(not(feature = "ebpf"))]
fn cuts(_: &Path) -> Result<Vec<(String, u64)>, String> {
    Ok(Vec::new())
}

/// Brings back who was moved to be cut off, unless somebody else cuts them off.
#[cfg(feature = "ebpf")]
fn bring_back(world: Option<&HostWorld>, left: &mut Left) {
    use quell_actions::network::{While, bring_back};
    if let Some(world) = world {
        let back = bring_back(world, &quell_detectors::cut::holds, While::Leaving);
        left.moved_back = back.moved;
        left.left_over.extend(back.stays);
    }
}

#[cfg(not(feature = "ebpf"))]
fn bring_back(_: Option<&HostWorld>, _: &mut Left) {}

/// Pauses first by itself; leaves alone what another daemon pinned.
#[cfg(feature = "ebpf")]
fn unpin(dir: &Path) -> Result<Vec<PathBuf>, String> {
    use quell_detectors::pin;
    pin::remove(Path::new(pin::DIR), dir).map_err(|e| super::with_source(&e))
}

#[cfg(not(feature = "ebpf"))]
fn unpin(_: &Path) -> Result<Vec<PathBuf>, String> {
    Ok(Vec::new())
}

fn thaw(journal: &Journal, dir: &Path, world: &HostWorld, left: &mut Left) -> Result<(), StoreError> {
    let crew = crew::live(world.clone(), &Arc::default(), &super::Kube::off());
    let Some(quell_model::world::Verb::Acts(freeze)) = crew.get(FREEZE) else { return Ok(()) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| StoreError::Unwritable(format!("no runtime: {e}")))?;
    // What was frozen last is thawed first. Of the journal only the freezes are read, one after the other.
    for (stream, seq) in journal.intents(FREEZE)? {
        let Some(run) = stream.as_run() else { continue };
        let mut found = None;
        let read = journal.visit(&stream, seq, &[Kind::StepIntended], &mut |record| {
            found = found.take().or((record.seq == seq).then_some(record));
        });
        if let Err(error) = read {
            left.left_over.push(format!("what run {run} froze: {error}"));
            continue;
        }
        let whole = match found.map(|found| journal.whole(found)).transpose() {
            Ok(whole) => whole,
            Err(error) => {
                left.left_over.push(format!("what run {run} froze: {error}"));
                continue;
            }
        };
        let Some(Body::StepIntended(intent)) = whole.map(|record| record.body) else { continue };
        let context = context(&run, &intent, &clock, dir);
        let targets: Vec<String> = intent.plan.targets.iter().map(|target| target.label.clone()).collect();
        if let Some(why) =
            left_to_the_daemon(freeze.spec().name, &run, &intent.part, &secrets_of(freeze.spec(), &intent.input))
        {
            left.left_over.push(why);
            continue;
        }
        match runtime.block_on(undo(freeze.as_ref(), &run, &intent, &context, clock.now())) {
            Ok(was_there) => {
                let (state, why) = if was_there {
                    ("ended", "quell was uninstalled")
                } else {
                    ("lapsed", "what it contained is gone")
                };
                let lease = left.stood.iter().find(|stands| stands.run == run && stands.part == intent.part);
                let told = lease.map_or(Ok(()), |stands| standing::over(journal, stands, state, why));
                if let Err(error) = told {
                    left.left_over.push(format!("run {run} was thawed, and the journal does not say so: {error}"));
                }
                if was_there {
                    left.thawed.push(Thawed { id: run, step: intent.part.step.to_string(), targets });
                }
            }
            Err(why) => left.left_over.push(format!("{}: {why}", targets.join(", "))),
        }
    }
    Ok(())
}

/// Whether something stood and was taken back.
async fn undo(
    freeze: &dyn Action,
    run: &RunId,
    intent: &StepIntended,
    context: &ActionContext,
    now: Stamp,
) -> Result<bool, String> {
    if freeze.verify(&intent.plan, Want::Undone).await == Ok(Truth::Holds) {
        return Ok(false);
    }
    // A person asked: no mode, limit or protection holds this back.
    let ask = Ask {
        now,
        action: freeze.spec(),
        run,
        playbook: &"uninstall".into(),
        mode: Mode::Enforce,
        mode_because: "",
        untrusted: false,
        limits: RunLimits::default(),
        above: Vec::new(),
        paused: false,
        consent: Consent::Given,
        counted: None,
        concerns: Default::default(),
        owned: None,
    };
    let mut plan = intent.plan.clone();
    plan.already = false;
    let admitted = match decide(&Guard::default(), &Memory::default(), &ask, plan) {
        Decision::Act(admitted) => admitted,
        Decision::Observe { why, .. } | Decision::Ask { why, .. } | Decision::Refuse { why, .. } => return Err(why),
    };
    freeze.undo(&admitted, context).await.map_err(|e| e.to_string())?;
    match freeze.verify(&intent.plan, Want::Undone).await {
        Ok(Truth::Holds | Truth::CannotAsk | Truth::Unproved(_)) => Ok(true),
        Ok(Truth::HoldsNot(why)) => Err(why),
        Err(e) => Err(e.to_string()),
    }
}

/// Here no configuration is read, and so no secret: what needs one to be taken back is the daemon's to take back.
fn left_to_the_daemon(action: &str, run: &RunId, part: &Part, secrets: &[Name]) -> Option<String> {
    let names: Vec<String> = secrets.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        let (what, step) = (format!("{action} of run {run}, step {part}, still stands"), &part.step);
        let why = format!("it needs {} to be taken back, which only the daemon reads", names.join(", "));
        format!("{what}: {why}; hint: start it, `quell run undo {run}/{step}`, end it, and uninstall then")
    })
}

fn context(run: &RunId, intent: &StepIntended, clock: &Arc<dyn Clock>, dir: &Path) -> ActionContext {
    ActionContext {
        key: IdempotencyKey::of(run, &intent.part).undo(),
        attempt: 1,
        taken_up: false,
        deadline: clock.now().after(PATIENCE),
        clock: Arc::clone(clock),
        progress: Arc::new(Unnoted),
        stop: Stop::default(),
        vault: Arc::new(DirVault::new(dir)),
        secrets: quell_model::Secrets::default(),
    }
}

/// A thaw has no marks: it is over at once.
struct Unnoted;

#[async_trait::async_trait]
impl Progress for Unnoted {
    async fn note(&self, _: Json) -> Result<(), ActionError> {
        Ok(())
    }
}

fn note(journal: &Journal, by: Name, detail: Json) -> Result<(), StoreError> {
    acted(journal, StreamId::system(), PersonActed { by, what: "uninstall".into(), detail })
}

fn acted(journal: &Journal, stream: StreamId, what: PersonActed) -> Result<(), StoreError> {
    let expected = journal.last(&stream);
    let at = SystemClock.now();
    let batch = Batch { stream, expected, records: vec![NewRecord::new(at, what)], durability: Durability::Synced };
    journal.written(batch).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{Stands, left_standing, left_to_the_daemon};
    use quell_model::record::Part;

    #[test]
    fn what_needs_a_secret_to_be_taken_back_is_left_to_the_daemon() {
        let part = Part { step: "send".into(), item: Some(2) };
        let why = left_to_the_daemon("api.call", &"r-1".into(), &part, &["ci_token".into()]).unwrap();
        assert!(why.contains("needs `ci_token`") && why.contains("`quell run undo r-1/send`"), "{why}");
        assert_eq!(left_to_the_daemon("api.call", &"r-1".into(), &part, &[]), None);
    }

    #[test]
    fn what_only_the_daemon_can_take_back_is_named() {
        let stands = |action: &str| Stands {
            id: "r-1/one/2".into(),
            action: action.into(),
            owner: None,
            until: None,
            at_end: quell_model::playbook::AtEnd::Ask,
            run: "r-1".into(),
            part: Part { step: "one".into(), item: Some(2) },
        };
        let told =
            left_standing(&["process.freeze", "process.block_exec", "network.isolate", "cloud.cut"].map(stands), true);
        assert_eq!(told.len(), 1, "{told:?}");
        let [of_pod] = &left_standing(&[stands("kubernetes.isolate_pod")], true)[..] else { panic!("one") };
        assert!(of_pod.contains("on this node it is cut off no more") && of_pod.contains("`quell run undo r-1/one`"));
        let [of_pod] = &left_standing(&[stands("kubernetes.isolate_pod")], false)[..] else { panic!("one") };
        assert!(of_pod.starts_with("kubernetes.isolate_pod of r-1/one/2 still stands"), "{of_pod}");
        assert!(
            told[0].starts_with("cloud.cut of r-1/one/2 still stands") && told[0].contains("`quell run undo r-1/one`")
        );
    }
}
