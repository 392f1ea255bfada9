//! An engine on this thread, a journal in a directory of its own, and verbs that touch nothing.
//!
//! Owns the engine, its runtime and the directory. Turns the engine as the daemon does: when it is woken.

use quell_engine::clock::SystemClock;
use quell_engine::load::{Known, playbook};
use quell_engine::run::{Core, Definitions, Parts, Refusal, Request};
use quell_engine::store::{DirVault, Journal};
use quell_model::action::{Action, ActionContext, Guarantee, Look, Target, TargetFacts, Want};
use quell_model::guard::Admitted;
use quell_model::playbook::Playbook;
use quell_model::record::{Moments, RunStarted, RunState};
use quell_model::world::{Sandbox, Verb};
use quell_model::{
    ActionError, ActionSpec, Body, BootId, Clock, Crew, Json, Lane, Mode, Name, Outcome, Plan, RunId, Stamp, StreamId,
    Truth,
};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ACT: ActionSpec = ActionSpec {
    name: "bench.act",
    summary: "does nothing, and is proved",
    input: || schemars::json_schema!({ "type": "object", "properties": { "thing": { "type": "string" } } }),
    output: || schemars::json_schema!({ "type": "object", "properties": { "done": { "type": "string" } } }),
    lane: Lane::Capture,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &["thing"],
    permissions: &[],
    predict: |_| Json::Null,
};

const LOOK: ActionSpec = ActionSpec {
    name: "bench.look",
    summary: "notes when it is asked",
    input: || schemars::json_schema!({ "type": "object", "properties": { "n": { "type": "integer" } } }),
    lane: Lane::Read,
    targets: &[],
    ..ACT
};

/// What playbooks are held against.
pub(crate) fn specs() -> Vec<&'static ActionSpec> {
    vec![&ACT, &LOOK]
}

/// A chain of acts, each with an input that is computed; later ones may look back at the one before.
pub(crate) fn chain(steps: usize, looks_back: bool) -> String {
    let mut text = "playbook: chain\ndescription: One after the other.\nmode: enforce\ninputs: { n: { type: integer, default: 7 } }\nsteps:\n".to_owned();
    for at in 0..steps {
        let before = at.saturating_sub(1);
        let needs = if at == 0 { String::new() } else { format!("needs: [s{before}], ") };
        let seen =
            if looks_back && at > 0 { format!(" after ${{{{ steps.s{before}.outcome }}}}") } else { String::new() };
        writeln!(text, "  s{at}: {{ {needs}action: bench.act, with: {{ thing: \"at ${{{{ inputs.n }}}}{seen}\" }} }}")
            .unwrap();
    }
    text
}

/// Which scenes are wanted: those whose name has this word.
#[expect(clippy::disallowed_methods, reason = "which scene is measured is no key of the configuration")]
pub(crate) fn wanted() -> String {
    std::env::var("QUELL_SCENE").unwrap_or_default()
}

struct Acts;

#[async_trait::async_trait]
impl Action for Acts {
    fn spec(&self) -> &'static ActionSpec {
        &ACT
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        let label = input["thing"].as_str().unwrap_or_default().to_owned();
        let (node, kind) = ("n1".into(), "thing".into());
        let target = Target { node, kind, id: "thing".to_owned(), label, named: true, facts: TargetFacts::Other };
        Ok(Plan { targets: vec![target], ..Plan::default() })
    }

    async fn run(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Ok(json!({ "done": "yes" }))
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::Holds)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Ok(Json::Null)
    }
}

/// Who was asked, and when.
type Looked = Arc<Mutex<Vec<(u64, Stamp)>>>;

struct Looks(Looked);

#[async_trait::async_trait]
impl Look for Looks {
    fn spec(&self) -> &'static ActionSpec {
        &LOOK
    }

    async fn look(&self, input: &Json) -> Result<Json, ActionError> {
        let now = SystemClock.now();
        self.0.lock().unwrap().push((input["n"].as_u64().unwrap_or_default(), now));
        Ok(json!({}))
    }
}

/// A playbook that has no mistake.
pub(crate) fn read(text: &str) -> Arc<Playbook> {
    let known = Known { actions: specs(), ..Known::default() };
    let (made, mistakes) = playbook(Path::new("bench.yaml"), text, &known);
    Arc::new(made.unwrap_or_else(|| panic!("{:?}", mistakes.first())))
}

/// The first record of a run that a person began.
pub(crate) fn started(of: &Playbook, run: RunId, inputs: Json) -> RunStarted {
    RunStarted {
        run,
        playbook: of.name.clone(),
        definition: of.hash,
        mode: Mode::Enforce,
        mode_because: "for the benchmark".to_owned(),
        incident: None,
        per: "by hand".to_owned(),
        event: Json::Null,
        detection: Json::Null,
        inputs,
        vars: json!({}),
        untrusted: false,
        backfill: false,
        by: Some("bench".into()),
        parent: None,
        came: None,
        moments: Moments::default(),
    }
}

/// What the engine answers.
pub(crate) type Answer = Result<Json, Refusal>;

pub(crate) struct Stage {
    core: Core<Sandbox>,
    journal: Journal,
    runtime: tokio::runtime::Runtime,
    looked: Looked,
    peak_kb: AtomicU64,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// On an empty journal.
    pub(crate) fn new(playbooks: &[Arc<Playbook>]) -> Self {
        let mut stage = Self::open(tempfile::tempdir().unwrap(), playbooks);
        stage.recover();
        stage
    }

    /// On the journal that is there, not taken up yet.
    pub(crate) fn open(dir: tempfile::TempDir, playbooks: &[Arc<Playbook>]) -> Self {
        let playbooks = playbooks.to_vec();
        Self::with(dir, Definitions { playbooks, ceiling: Mode::Enforce, ..Definitions::default() })
    }

    /// The same, by these definitions.
    pub(crate) fn with(dir: tempfile::TempDir, definitions: Definitions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let (looked, me) = (Looked::default(), std::thread::current());
        let verbs = vec![Verb::Acts(Arc::new(Acts)), Verb::Looks(Arc::new(Looks(Arc::clone(&looked))))];
        let parts = Parts {
            clock: Arc::new(SystemClock),
            journal: journal.clone(),
            vault: Arc::new(DirVault::new(dir.path())),
            crew: Crew::new(verbs),
            runtime: runtime.handle().clone(),
            wake: Arc::new(move || me.unpark()),
            node: "n1".into(),
            boot: BootId("b".into()),
        };
        Self { core: Core::new(parts, definitions), journal, runtime, looked, peak_kb: AtomicU64::new(0), _dir: dir }
    }

    /// Takes up what is open; gives how many runs that were.
    pub(crate) fn recover(&mut self) -> usize {
        let again = |file: &Path, text: &str| playbook(file, text, &Known { actions: specs(), ..Known::default() }).0;
        let report = self.core.recover(Arc::new(again)).unwrap();
        assert!(report.broken.is_empty(), "{:?}", report.broken.first());
        report.runs.len()
    }

    /// Starts these all at once, and turns until all have ended.
    pub(crate) fn play(&mut self, starts: Vec<(Name, Json)>) -> Duration {
        let begin = SystemClock.now();
        let count = starts.len();
        let (told, done) = std::sync::mpsc::sync_channel(count);
        for (playbook, inputs) in starts {
            let (home, told) = (self.core.handle(), told.clone());
            drop(self.runtime.spawn(async move {
                let start = Request::Start { playbook, event: None, inputs, mode: None, by: "bench".into() };
                told.send(home.request(start).await.map(drop)).unwrap();
            }));
        }
        let mut begun = 0;
        while begun < count {
            self.turn();
            begun += done.try_iter().map(Result::unwrap).count();
        }
        self.until_idle();
        since(begin)
    }

    pub(crate) fn until_idle(&mut self) {
        while !self.core.is_idle() {
            self.turn();
        }
        self.peak_kb.fetch_max(rss_anon_kb(), Ordering::Relaxed);
    }

    /// Turns until it is so.
    pub(crate) fn turn_until(&mut self, so: impl Fn(&Self) -> bool) {
        while !so(self) {
            self.core.turn();
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Asks one after the other, each as soon as the one before is answered, while these runs are at work; gives how long each
    /// took. The runs are ended then.
    pub(crate) fn ask_beside(&mut self, busy: Vec<(Name, Json)>, asks: Vec<Request>) -> Vec<(Duration, Answer)> {
        let count = asks.len();
        let (told, done) = std::sync::mpsc::sync_channel(count);
        for (playbook, inputs) in busy {
            let home = self.core.handle();
            drop(self.runtime.spawn(async move {
                let start = Request::Start { playbook, event: None, inputs, mode: None, by: "bench".into() };
                home.request(start).await.map(drop).unwrap();
            }));
        }
        let (home, me) = (self.core.handle(), std::thread::current());
        drop(self.runtime.spawn(async move {
            for ask in asks {
                let begin = SystemClock.now();
                let answer = home.request(ask).await;
                told.send((since(begin), answer)).unwrap();
            }
            me.unpark();
        }));
        let mut answers = Vec::new();
        while answers.len() < count {
            self.core.turn();
            answers.extend(done.try_iter());
            if answers.len() < count {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
        answers
    }

    /// Records of ladders so far.
    pub(crate) fn ladder_records(&self) -> u64 {
        let streams = self.journal.streams().unwrap();
        streams.into_iter().filter(|(stream, _)| stream.as_ladder().is_some()).map(|(_, last)| last).sum()
    }

    fn turn(&mut self) {
        self.core.turn();
        if !self.core.is_idle() {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Memory when the runs had ended.
    pub(crate) fn peak_kb(&self) -> u64 {
        self.peak_kb.load(Ordering::Relaxed)
    }

    /// Who was looked at, and when.
    pub(crate) fn looked(&self) -> Vec<(u64, Stamp)> {
        std::mem::take(&mut self.looked.lock().unwrap())
    }

    /// When the steps of the only run ended, in their order.
    pub(crate) fn ends(&self) -> Vec<Stamp> {
        let runs: Vec<StreamId> = self.runs();
        let records = self.journal.read(&runs[0], 1).unwrap();
        records.iter().filter(|record| matches!(record.body, Body::StepFinished(_))).map(|record| record.at).collect()
    }

    fn runs(&self) -> Vec<StreamId> {
        let streams = self.journal.streams().unwrap().into_iter().map(|(stream, _)| stream);
        streams.filter(|stream| stream.as_run().is_some()).collect()
    }

    /// Holds that every run ended well and every one of its acts was proved.
    pub(crate) fn all_verified(&self, finished: usize) {
        for run in self.runs() {
            let records = self.journal.read(&run, 1).unwrap();
            let ended = records.iter().filter(|record| match &record.body {
                Body::StepFinished(step) => step.outcome == Outcome::Verified,
                Body::RunFinished(run) => run.state == RunState::Succeeded,
                _ => false,
            });
            assert_eq!(ended.count(), finished, "every step of {run} is proved");
        }
    }
}

/// How long ago that was.
pub(crate) fn since(begin: Stamp) -> Duration {
    SystemClock.now().since(begin)
}

/// Prints a row; gives the middle.
pub(crate) fn row(name: &str, mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    let at = |q: f64| spans[((spans.len() - 1) as f64 * q).round() as usize];
    let us = |q: f64| at(q).as_micros();
    println!(
        "{name:<48} n {:>6}   p50 {:>7} us   p90 {:>7} us   p99 {:>7} us   max {:>7} us",
        spans.len(),
        us(0.5),
        us(0.9),
        us(0.99),
        us(1.0)
    );
    at(0.5)
}

/// The one in the middle.
pub(crate) fn middle(spans: &[Duration]) -> Duration {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    spans[spans.len() / 2]
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Processor time of this process so far.
pub(crate) fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    Duration::from_millis((fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10)
}

/// Anonymous memory of this process.
pub(crate) fn rss_anon_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
