//! Large values of runs: whole for expressions and verbs, apart for the journal and the machine, and bounded.

use super::*;
use crate::load::config::LARGEST;
use crate::report::{self, ValueWanted};
use crate::run::answers::AnswerTaken;
use crate::run::fixtures::socket;
use crate::store::by_hand::fill_slate;
use quell_model::playbook::{Approve, ForEach, ItemErrors, Unanswered, Within};
use quell_model::record::Stored;
use std::collections::BTreeSet;

/// Finds and plans as much as it was told to, and holds what it is given back against it.
struct Lists {
    spec: &'static ActionSpec,
    count: AtomicU32,
    undone: Mutex<bool>,
}

impl Lists {
    fn new(count: u32) -> Arc<Self> {
        Self::within(Lane::Capture, count)
    }

    fn within(lane: Lane, count: u32) -> Arc<Self> {
        let plain = spec("file.list", lane, Guarantee::ExactlyOnceInEffect);
        let output = || {
            let list = json!({ "type": "array" });
            schemars::json_schema!({ "type": "object", "properties": { "files": list, "state": { "type": "string" } } })
        };
        let spec = Box::leak(Box::new(ActionSpec { undoable: true, output, predict: |_| json!({}), ..plain.clone() }));
        Arc::new(Self { spec, count: AtomicU32::new(count), undone: Mutex::new(false) })
    }

    fn files(&self) -> Json {
        (0..self.count.load(Ordering::SeqCst)).map(|n| json!(format!("/srv/a/file/of/some/length/{n:06}"))).collect()
    }

    fn is_whole(&self, plan: &Plan) {
        assert_eq!(plan.before, json!({ "there": self.files() }), "a verb is given its plan as it was made");
    }
}

#[async_trait::async_trait]
impl Action for Lists {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn plan(&self, _: &Json) -> Result<Plan, ActionError> {
        let target = Target {
            node: "n".into(),
            kind: "folder".into(),
            id: "/srv".into(),
            label: "/srv".into(),
            named: true,
            facts: TargetFacts::Other,
        };
        Ok(Plan { targets: vec![target], before: json!({ "there": self.files() }), ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        self.is_whole(go.plan());
        Ok(json!({ "state": "up", "files": self.files(), "note": "x".repeat(200) }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        self.is_whole(plan);
        let holds = want == Want::Acted || *self.undone.lock().unwrap();
        Ok(if holds { Truth::Holds } else { Truth::HoldsNot("it stands".into()) })
    }

    async fn undo(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        self.is_whole(go.plan());
        *self.undone.lock().unwrap() = true;
        Ok(json!({ "gone": self.files() }))
    }
}

fn lists(id: &str, needs: &[&str]) -> Step {
    acts(id, needs, "file.list")
}

fn tells_each(id: &str, of: &str, text: &str) -> Step {
    let list = Expression { text: format!("steps.{of}.files"), span: Default::default() };
    let for_each = Some(ForEach { list, max_parallel: 4, errors: ItemErrors::Collect });
    Step { kind: StepKind::Tell(text.into()), for_each, ..step(id, &[of]) }
}

fn tells(id: &str, need: &str, text: &str) -> Step {
    Step { kind: StepKind::Tell(text.into()), ..step(id, &[need]) }
}

fn on(dir: tempfile::TempDir, verb: &Arc<Lists>, playbook: &Playbook) -> Stage {
    let apart = Apart { inline: 1 << 10, ..Apart::default() };
    let definitions = Definitions { apart, ..definitions(playbook.clone()) };
    let mut stage = stage_with(dir, World::default(), definitions, vec![Verb::Acts(verb.clone())]);
    let pinned = playbook.clone();
    stage.core.recover(Arc::new(move |_, text: &str| (text == "pinned").then(|| pinned.clone()))).unwrap();
    stage
}

fn approves(run: &RunId, step: &str, item: Option<u32>) -> Request {
    Request::Answer(Box::new(AnswerGiven {
        run: run.clone(),
        step: Some(step.into()),
        item,
        choice: "approve".into(),
        plan: None,
        by: "root (unverified)".into(),
        via: "socket".into(),
        from: None,
        why: String::new(),
    }))
}

fn pinned(steps: Vec<Step>) -> Playbook {
    Playbook { text: "pinned".into(), ..playbook_of(steps) }
}

fn again(stage: Stage, verb: &Arc<Lists>, playbook: &Playbook) -> Stage {
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    on(dir, verb, playbook)
}

impl Stage {
    fn attack(&mut self, number: u32) -> RunId {
        let before = self.runs();
        self.core.detections([detection(&number.to_string(), number)]);
        self.settle();
        self.runs().into_iter().find(|run| !before.contains(run)).unwrap()
    }

    fn finished(&self, run: &RunId, step: &str) -> Vec<quell_model::record::StepFinished> {
        let records = self.journal.read_kinds(&StreamId::run(run), 1, &[Kind::StepFinished]).unwrap();
        let one = |record: Record| match record.body {
            Body::StepFinished(finished) if finished.part.step.as_str() == step => Some(*finished),
            _ => None,
        };
        records.into_iter().filter_map(one).collect()
    }

    fn contents(&self) -> i64 {
        self.journal.ring();
        self.journal.read(&StreamId::system(), 1).unwrap();
        let db = rusqlite::Connection::open(self.dir.path().join("journal.db")).unwrap();
        db.query_row("SELECT count(*) FROM contents", [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn steps_see_all_of_it_and_no_record_and_no_view_has_it() {
    let verb = Lists::new(2_000);
    let text = "${{ steps.list.state }} ${{ steps.list.files.len() }} ${{ steps.list.files[1999] }}";
    let playbook = pinned(vec![lists("list", &[]), lists("same", &["list"]), tells("say", "same", text)]);
    let mut stage = on(tempfile::tempdir().unwrap(), &verb, &playbook);
    let run = stage.attack(7);
    assert_eq!(stage.story(&run).last().unwrap(), "RunFinished succeeded");
    let said = stage.finished(&run, "say").remove(0).output["told"].clone();
    assert_eq!(said, json!("up 2000 /srv/a/file/of/some/length/001999"));
    for record in stage.journal.read(&StreamId::run(&run), 1).unwrap() {
        let bytes = serde_json::to_string(&record).unwrap().len();
        assert!(bytes < 8 << 10, "{} has {bytes} bytes", record.body.kind());
    }
    assert_eq!(stage.contents(), 1, "what stood, and what two steps gave, is one list");
    let view = report::run(&stage.journal, &run).unwrap().unwrap();
    let of = Stored::of(&view.steps[0].output["files"]).unwrap();
    assert_eq!((of.items, &view.steps[0].output["state"]), (Some(2_000), &json!("up")));
    let wanted = ValueWanted {
        part: Some(record::Part { step: "list".into(), item: None }),
        path: vec!["files".into(), "7".into()],
        ..ValueWanted::default()
    };
    let file = report::value(&stage.journal, &run, &wanted).unwrap();
    assert_eq!(file, Some(json!("/srv/a/file/of/some/length/000007")));
    let beyond = ValueWanted { path: vec!["files".into(), "2000".into()], ..wanted };
    assert_eq!(report::value(&stage.journal, &run, &beyond).unwrap(), None);
}

#[test]
fn a_for_each_goes_over_a_list_that_lies_apart_and_goes_on_over_it_after_a_crash() {
    let verb = Lists::new(150);
    let mut asks = lists("each", &["list"]);
    asks.for_each = tells_each("each", "list", "").for_each;
    asks.approve = Some(Approve { by: None, within: Within(Duration::from_secs(900)), otherwise: Unanswered::Deny });
    let playbook = pinned(vec![lists("list", &[]), tells_each("say", "list", "it is ${{ item }}"), asks]);
    let mut stage = on(tempfile::tempdir().unwrap(), &verb, &playbook);
    let run = stage.attack(7);
    let said: Vec<Json> = stage
        .finished(&run, "say")
        .into_iter()
        .filter(|said| said.part.item.is_some())
        .map(|said| said.output["told"].clone())
        .collect();
    assert_eq!(said.len(), 150);
    assert!(said.contains(&json!("it is /srv/a/file/of/some/length/000149")));
    let marks = stage.journal.read_kinds(&StreamId::run(&run), 1, &[Kind::StepProgressed]).unwrap();
    assert!(marks.iter().all(|mark| serde_json::to_string(mark).unwrap().len() < 2048), "the list is in no record");
    let mut stage = again(stage, &verb, &playbook);
    assert_eq!(stage.core.contents.bytes(), (0, 0), "to take a run up brings none of it");
    let live = &stage.core.runs[&run].run;
    assert_eq!(live.items(&"each".into()).count(), 150);
    let asked = live.questions().filter_map(|(part, _)| part.item).next().unwrap();
    let taken: AnswerTaken =
        serde_json::from_value(stage.core.serve(approves(&run, "each", Some(asked))).unwrap()).unwrap();
    assert_eq!(taken.missing, 0);
    stage.settle();
    let ended = stage.finished(&run, "each");
    let acted = ended.iter().find(|ended| ended.part.item == Some(asked)).unwrap();
    assert_eq!(acted.outcome, Outcome::Verified, "what was approved before the crash acts, by its whole plan");
}

#[test]
fn what_is_taken_back_after_a_crash_is_taken_back_by_its_whole_plan() {
    let verb = Lists::new(2_000);
    let playbook = pinned(vec![lists("list", &[])]);
    let mut stage = on(tempfile::tempdir().unwrap(), &verb, &playbook);
    let run = stage.attack(7);
    let mut stage = again(stage, &verb, &playbook);
    let undo = Request::Undo { way: socket(), run: run.clone(), step: None, by: "ann".into(), why: "a drill".into() };
    stage.core.serve(undo).unwrap();
    stage.settle();
    assert_eq!(stage.story(&run).last().unwrap(), "RunFinished undone");
    let records = stage.journal.read(&StreamId::run(&run), 1).unwrap();
    assert!(records.iter().all(|record| serde_json::to_string(record).unwrap().len() < 8 << 10));
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn what_is_larger_than_is_kept_is_told_and_stops_nobody() {
    let verb = Lists::new(2_000);
    let cut = "${{ steps.list.state ?? \"nothing\" }}";
    let playbook = pinned(vec![lists("list", &[]), tells("say", "list", cut)]);
    let mut stage = on(tempfile::tempdir().unwrap(), &verb, &playbook);
    let bytes = verb.files().to_string().len();
    // The plan still fits, and what it gives does not.
    stage.core.definitions.apart.largest = bytes + 100;
    let run = stage.attack(1);
    let ended = stage.finished(&run, "list").remove(0);
    assert_eq!((ended.outcome, &ended.output), (Outcome::Verified, &Json::Null));
    assert!(ended.proof.contains("and is left out") && ended.proof.contains("journal.largest"), "{}", ended.proof);
    assert_eq!(stage.finished(&run, "say").remove(0).output["told"], "nothing");
    // What could not be taken back is not done.
    stage.core.definitions.apart.largest = 1_000;
    let run = stage.attack(2);
    let story = stage.story(&run);
    assert!(!story.iter().any(|record| record == "StepIntended"), "{story:?}");
    assert!(
        stage.finished(&run, "list").remove(0).proof.starts_with("its input and its plan are larger than 1000 bytes")
    );
    // And the engine goes on.
    stage.core.definitions.apart = Apart::default();
    let run = stage.attack(3);
    assert_eq!(stage.story(&run).last().unwrap(), "RunFinished succeeded");
}

/// Reads more than is kept.
struct Reads(&'static ActionSpec);

#[async_trait::async_trait]
impl quell_model::Look for Reads {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn look(&self, _: &Json) -> Result<Json, ActionError> {
        Ok(json!({ "killed": ["x".repeat(2_000)] }))
    }
}

#[test]
fn what_a_look_gives_and_is_not_kept_is_no_success() {
    let reads = Reads(spec("file.read", Lane::Read, Guarantee::ExactlyOnceInEffect));
    let playbook = playbook_of(vec![acts("read", &[], "file.read")]);
    let apart = Apart { largest: 1_000, ..Apart::default() };
    let definitions = Definitions { apart, ..definitions(playbook) };
    let more = vec![Verb::Looks(Arc::new(reads))];
    let mut stage = stage_with(tempfile::tempdir().unwrap(), World::default(), definitions, more);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    let run = stage.attack(1);
    let ended = stage.finished(&run, "read").remove(0);
    assert_eq!((ended.outcome, &ended.output), (Outcome::Failed, &Json::Null), "{}", ended.proof);
    assert!(ended.proof.starts_with("what it gave ") && ended.proof.contains("journal.largest"), "{}", ended.proof);
}

#[test]
fn what_open_runs_gave_is_not_in_memory_with_each_of_them() {
    let mut asks = lists("asks", &["list"]);
    asks.approve = Some(Approve { by: None, within: Within(Duration::from_secs(900)), otherwise: Unanswered::Deny });
    let verb = Lists::new(1_000);
    let mut stage = on(tempfile::tempdir().unwrap(), &verb, &pinned(vec![lists("list", &[]), asks]));
    // Each gives another 34 kB, together more than twice what is kept in memory.
    for number in 1..=20 {
        verb.count.fetch_add(1, Ordering::SeqCst);
        stage.attack(number);
    }
    let gave: Vec<Json> =
        stage.core.runs.values().map(|live| live.run.result(&"list".into()).unwrap().1.clone()).collect();
    assert_eq!(gave.len(), 20, "they wait for an answer");
    assert!(gave.iter().all(|gave| gave.to_string().len() < 1024), "no run holds what its step gave");
    stage.until(|stage| stage.core.contents.bytes().0 <= 256 << 10);
    // What was used longest ago comes from the journal again.
    let counts: BTreeSet<usize> =
        gave.iter().map(|gave| stage.core.contents.whole(gave).unwrap()["files"].as_array().unwrap().len()).collect();
    assert_eq!(counts, (1_001..=1_020).collect());
    assert!(stage.core.contents.bytes().0 <= 256 << 10, "{:?}", stage.core.contents.bytes());
}

#[test]
fn what_the_journal_does_not_show_yet_is_there_for_who_needs_it() {
    for slate_is_full in [false, true] {
        let verb = Lists::within(Lane::Contain, 1_000);
        let mut asks = lists("asks", &["list"]);
        asks.approve =
            Some(Approve { by: None, within: Within(Duration::from_secs(900)), otherwise: Unanswered::Deny });
        let says = tells("say", "asks", "${{ steps.list.files[1000] }}");
        let mut stage = on(tempfile::tempdir().unwrap(), &verb, &pinned(vec![lists("list", &[]), asks, says]));
        let hang = stage.hang();
        fill_slate(slate_is_full);
        let mut runs = Vec::new();
        for number in 1..=15 {
            verb.count.fetch_add(1, Ordering::SeqCst);
            stage.core.detections([detection(&number.to_string(), number)]);
            stage.settle();
            runs.extend(stage.core.runs.keys().find(|run| !runs.contains(*run)).cloned());
        }
        assert_eq!((runs.len(), stage.core.ink.waiting() > 0), (15, slate_is_full), "they wait for an answer");
        let (bytes, packed) = stage.core.contents.bytes();
        assert!(bytes <= 256 << 10 && packed > 0, "all of it is here, what came first packed: {bytes} {packed}");
        // What it did stands, and what it is asked about is as it was planned.
        verb.count.store(1_001, Ordering::SeqCst);
        let begun = SystemClock.now();
        stage.core.serve(approves(&runs[0], "asks", None)).unwrap();
        stage.settle();
        assert!(SystemClock.now().since(begun) < crate::store::SOON, "nobody waits for the disk");
        assert!(!stage.core.runs.contains_key(&runs[0]), "it goes on to its end");
        fill_slate(false);
        drop(hang);
        stage.until(|stage| stage.core.contents.bytes().1 == 0);
        assert!(stage.core.contents.bytes().0 <= 256 << 10);
        let said = stage.finished(&runs[0], "say").remove(0);
        assert_eq!(said.output["told"], "/srv/a/file/of/some/length/001000");
        assert_eq!((stage.core.ink.lost(), stage.journal.verify().unwrap()), (0, Vec::<String>::new()));
        let first = stage.finished(&runs[1], "list").remove(0).output;
        assert_eq!(stage.core.contents.whole(&first).unwrap()["files"].as_array().unwrap().len(), 1_002);
    }
}

/// What it would do is as large as is taken, and does not pack well.
struct Plans(&'static ActionSpec);

#[async_trait::async_trait]
impl Action for Plans {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn plan(&self, _: &Json) -> Result<Plan, ActionError> {
        let mut state = 1_u64;
        let mut some = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Printable, without what JSON escapes.
            char::from(b'#' + (state >> 57) as u8 % 57)
        };
        let most = usize::try_from(*LARGEST.end()).unwrap() - 1_000;
        let text: String = (0..most).map(|_| some()).collect();
        Ok(Plan { predicted: json!({ "text": text }), ..Plan::default() })
    }

    async fn run(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        panic!("it only plans")
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::CannotAsk)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        panic!("it only plans")
    }
}

#[test]
fn the_largest_that_is_taken_fits_into_one_append_with_its_plan() {
    let most = usize::try_from(*LARGEST.end()).unwrap();
    assert!(Apart::default().largest <= most);
    let playbook = pinned(vec![acts("plans", &[], "file.plan")]);
    let definitions = Definitions {
        apart: Apart { largest: most, ..Apart::default() },
        ceiling: Mode::Observe,
        ..definitions(playbook)
    };
    let verb = Plans(spec("file.plan", Lane::Capture, Guarantee::ExactlyOnceInEffect));
    let dir = tempfile::tempdir().unwrap();
    let mut stage = stage_with(dir, World::default(), definitions, vec![Verb::Acts(Arc::new(verb))]);
    let run = stage.attack(1);
    assert_eq!(stage.core.ink.lost(), 0);
    let story = stage.story(&run);
    assert_eq!(story, ["RunStarted", "StepPlanned", "StepFinished plans planned", "RunFinished succeeded"]);
}
