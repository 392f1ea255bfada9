//! The doors: every way by which something that a person or a source wrote comes into the engine.
//!
//! Each takes bytes as a file has them, and holds what its parser promises. What is no UTF-8 goes in by a file where text
//! is asked for, and is told with its line.

use quell_engine::adapt::{self, Format};
use quell_engine::detect::{Detector, RuleSource, Rules};
use quell_engine::load::{self, Known, PlaybookSource};
use quell_engine::playbook::{Expressions, Graph, Scope, graph_text};
use quell_engine::trial;
use quell_model::playbook::Playbook;
use quell_model::{ActionSpec, Guarantee, Json, Lane, Level, Mistake, MistakeLevel, OwnedEvent, RuleRef};
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// A way in.
pub(crate) struct Door {
    /// Its folder in the corpus.
    pub(crate) kind: &'static str,
    /// Which of the files that ship are right ones.
    pub(crate) right: &'static [&'static str],
    /// Right ones of which none ship.
    pub(crate) samples: &'static [&'static str],
    /// Goes in with a name and bytes.
    pub(crate) enter: fn(&str, &[u8]),
}

pub(crate) const DOORS: &[Door] = &[
    Door { kind: "playbook", right: &["playbook.yaml"], samples: &[PLAYBOOK], enter: playbook },
    Door { kind: "script", right: &[], samples: &[SCRIPT], enter: script },
    Door { kind: "expression", right: &[], samples: EXPRESSIONS, enter: expression },
    Door { kind: "config", right: &[], samples: &[CONFIG], enter: config },
    Door {
        kind: "rule",
        right: &["rules/reverse-shell.yml", "-pool.yml", "-shadow.yml"],
        samples: &[CORRELATION],
        enter: rule,
    },
    Door { kind: "test", right: &["playbook.test.yaml"], samples: &[TEST], enter: test },
    Door { kind: "event", right: &[], samples: EVENTS, enter: event },
];

pub(crate) const PLAYBOOK: &str = r#"playbook: p
on: { detections: { rules: [reverse-shell], tags: [attack.t1059] }, if: "${{ event.pod?.name != \"x\" }}", run_per: "${{ event.subject }}" }
inputs: { reason: { type: string, default: x } }
limits: { runs: 20/h, targets: 5/run }
steps:
  a: &a { action: process.hold, with: { process: "${{ event.process.id }}" }, lease: { for: 1h, at_end: undo }, confirm: { within: 5m } }
  b: { <<: *a, needs: [a], approve: { within: 5m, otherwise: run }, retry: { attempts: 3, backoff: 1s..9s } }
  c: { needs: [b], for_each: "${{ [1, 2].filter(|x| x > 1) }}", max_parallel: 2, script: "let y = item; #{ z: y }" }
  d: { needs: [c], ask: { question: "${{ inputs.reason }}?", choices: [y, n], within: 1m, otherwise: n }, when: always }
outputs: { z: "${{ steps.c.items }}" }
"#;

const SCRIPT: &str = r##"playbook("p", #{ mode: "enforce" });
on_detection(#{ rules: ["crypto-miner"], level: "high" });
limits(#{ runs: "5/h" });
let p = x("event.process.id");
let hold = action("hold", "process.hold", #{ process: p }).timeout("10s").retry(3, "1s..2s");
for name in ["a", "b"] { tell(`say_${name}`, x(`event.node + "${name}"`)).after(hold).only_if("event.pod != ()"); }
script("count", "#{ n: 1 }").after(hold).for_each(x("[1, 2]"), #{ max_parallel: 2 });
"##;

const EXPRESSIONS: &[&str] = &[
    "event.process.args.filter(|a| a.contains(\"x\")).map(|a| a.len()).reduce(|sum, n| sum + n, 0)",
    "if event.pod?.name ?? \"\" == \"x\" { now() - duration(\"5m\") } else { time(\"2026-01-01T00:00:00Z\") }",
    "glob(\"/tmp/**/x?\", event.process.image) && cidr_contains([\"10.0.0.0/8\"], \"10.1.2.3\")",
    "sha256(base64_decode(\"eA==\")) + `a ${field(event, \"process.id\")} b` + json(\"[1,{}]\")[0]",
    "let x = #{ a: [1, 2.5, 'c'] }; for i in 0..3 { x.a.push(i); } switch x.a.len() { 6 => \"six\", _ => () }",
];

const CONFIG: &str = r#"mode: enforce
data_dir: state
playbooks: { shipped: true, dirs: [playbooks], modes: { contain-crypto-miner: observe } }
rules: { shipped: true, dirs: [rules], exceptions: [] }
incidents: { min_level: high, quiet: 30m }
recorder: { size: 1GiB, age: 24h }
sources: { sensor: { enabled: true }, files: [{ format: cloudtrail, path: /var/log/x, trusted: true }] }
guard: { protect: { executables: [/bin/x], units: [x.service], users: [x] }, limits: { process.kill: 20/h }, only_within: { cgroup: /x } }
vars: { corp_cidrs: ["10.0.0.0/8"] }
log: { format: auto, level: info }
"#;

const CORRELATION: &str = "title: Many\nname: many\ncorrelation:\n  type: event_count\n  rules: [one]\n  group-by: [User]\n  timespan: 5m\n  condition: { gte: 3 }\nlevel: high\n---\ntitle: One\nname: one\nlogsource: { category: process_creation, product: linux }\ndetection: { a: { Image|endswith: [/sh, /bash], CommandLine|re: 'x+y' }, b: { User: root }, condition: a and not b }\nlevel: low\n";

const TEST: &str = r#"cases:
  - case: it acts
    event: { class: process_creation, own: { process: { id: 4242.5.1@test, image: /tmp/x } }, sigma: { Image: /tmp/x } }
    rule: reverse-shell
    age: 1m
    mocks: { a: [{ fail: x, times: 1 }, { ok: { held: [] } }], b: hang }
    answers: { b: { choice: approve, after: 1m } }
    expect: { run: succeeded, steps: { a: verified, b: { outcome: failed, attempts: 3 } }, order: [a, b], not_run: [c], told: [x] }
"#;

const EVENTS: &[&str] = &[
    "{\"Image\":\"/bin/sh\",\"CommandLine\":\"sh -i\",\"User\":\"root\",\"ProcessId\":42}\n",
    "{\"eventVersion\":\"1.09\",\"eventTime\":\"2026-03-01T10:00:00Z\",\"eventID\":\"t-1\",\"eventSource\":\"iam.amazonaws.com\",\"eventName\":\"CreateAccessKey\",\"userIdentity\":{\"type\":\"IAMUser\",\"arn\":\"arn:aws:iam::1:user/eve\"},\"requestParameters\":{\"items\":[{\"port\":22}]}}\n",
    "{\"kind\":\"Event\",\"auditID\":\"a-1\",\"verb\":\"create\",\"user\":{\"username\":\"m\"},\"objectRef\":{\"resource\":\"pods\",\"name\":\"w\"},\"stageTimestamp\":\"2026-03-01T10:00:01.500000Z\"}\n",
    "type=SYSCALL msg=audit(1700000000.123:42): arch=c000003e syscall=59 success=yes pid=42 ppid=1 uid=0 comm=\"sh\" exe=\"/bin/sh\"\ntype=EXECVE msg=audit(1700000000.123:42): argc=2 a0=\"sh\" a1=2D69\ntype=PATH msg=audit(1700000000.123:42): item=0 name=\"/bin/sh\" inode=5\ntype=EOE msg=audit(1700000000.123:42):\n",
    "{\"v\":1,\"id\":\"x\",\"class\":\"process_creation\",\"source\":\"sensor\",\"node\":\"n\",\"at\":{\"wall\":\"2026-01-01T00:00:00Z\",\"boot_ns\":5},\"seen\":{\"wall\":\"2026-01-01T00:00:00Z\",\"boot_ns\":5},\"logsource\":{\"category\":\"process_creation\",\"product\":\"linux\"},\"sigma\":{\"Image\":\"/bin/sh\"},\"own\":{\"process\":{\"id\":\"42.5.1@n\"}},\"subject\":{\"process\":\"42.5.1@n\"},\"entity\":{\"kind\":\"unit\",\"id\":\"x\",\"node\":\"n\"}}\n",
];

fn input() -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "required": ["process"], "additionalProperties": false,
        "properties": { "process": { "type": "string" }, "scope": { "enum": ["tree", "process"] }, "most": { "type": "integer", "minimum": 0 } } })
}

fn output() -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "properties": { "held": { "type": "array" } } })
}

static HOLD: ActionSpec = ActionSpec {
    name: "process.hold",
    summary: "",
    input,
    output,
    lane: Lane::Contain,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["process"],
    permissions: &[],
    predict: |_| Json::Null,
};
static LOOK: ActionSpec = ActionSpec { name: "process.look", lane: Lane::Read, undoable: false, ..HOLD };

pub(crate) fn with<T>(look: impl FnOnce(&Known<'_>) -> T) -> T {
    let tags = vec!["attack.t1059.004".into()];
    let name = |name: &str| RuleRef {
        name: name.into(),
        id: None,
        title: name.into(),
        level: Level::High,
        tags: tags.clone(),
    };
    let rules = [name("reverse-shell"), name("crypto-miner")];
    let vars = json!({ "corp_cidrs": ["10.0.0.0/8"] });
    look(&Known { actions: vec![&HOLD, &LOOK], rules: Some(&rules), vars: Some(&vars), ..Known::default() })
}

/// Mistakes have words, and places that are in the file.
fn sound(name: &str, text: &str, mistakes: &[Mistake]) {
    let lines = text.split(['\n', '\r']).count() as u32;
    for mistake in mistakes {
        assert!(!mistake.what.is_empty(), "{name}: {mistake:?}");
        assert!(mistake.span.line <= lines, "{name}: {} of {lines} lines: {mistake:?}", mistake.place());
        // It may quote the file, and no more than that.
        assert!(mistake.what.len() < text.len() + 2_000, "{name}: a mistake of {} bytes", mistake.what.len());
    }
}

fn has_error(mistakes: &[Mistake]) -> bool {
    mistakes.iter().any(|mistake| mistake.level == MistakeLevel::Error)
}

/// Text as it is; what is none is told as a file.
fn text(name: &str, bytes: &[u8]) -> String {
    if std::str::from_utf8(bytes).is_err() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        std::fs::write(&file, bytes).unwrap();
        let (none, mistakes) = with(|known| load::playbooks(&[PlaybookSource::File(file.clone())], known));
        assert!(none.is_empty() && mistakes[0].what.contains("no UTF-8"), "{name}: {mistakes:?}");
        assert!(load::config_file(&file).0.is_none(), "{name}: a configuration that is no text");
    }
    String::from_utf8_lossy(bytes).into_owned()
}

fn read(name: &str, file: &str, text: &str) {
    let (playbook, mistakes) = with(|known| load::playbook(Path::new(file), text, known));
    assert_eq!(playbook.is_none(), has_error(&mistakes), "{name}: half loaded: {mistakes:?}");
    sound(name, text, &mistakes);
    if let Some(playbook) = playbook {
        Graph::new(&playbook).unwrap_or_else(|cycle| panic!("{name}: {cycle}"));
        assert!(!graph_text(&playbook, None).is_empty());
        written(name, &playbook);
    }
}

/// What is shown as YAML is the same playbook.
fn written(name: &str, playbook: &Playbook) {
    let Ok(text) = load::playbook_yaml(playbook) else { return };
    let (again, mistakes) = with(|known| load::playbook(Path::new("p.yaml"), &text, known));
    let again = again.unwrap_or_else(|| panic!("{name}: what is shown cannot be read: {mistakes:?}\n{text}"));
    assert_eq!(steps(&again), steps(playbook), "{name}: what is shown is another playbook\n{text}");
}

pub(crate) fn steps(playbook: &Playbook) -> Json {
    json!([playbook.name, playbook.on, playbook.limits, playbook.inputs, playbook.steps, playbook.outputs])
}

fn playbook(name: &str, bytes: &[u8]) {
    read(name, "p.yaml", &text(name, bytes));
}

fn script(name: &str, bytes: &[u8]) {
    read(name, "p.rhai", &text(name, bytes));
}

/// Each line is one; of a file without lines, all of it.
fn expression(name: &str, bytes: &[u8]) {
    static EXPRESSIONS: LazyLock<Expressions> = LazyLock::new(Expressions::new);
    let text = text(name, bytes);
    let event =
        json!({ "process": { "id": "4.5.1@n", "image": "/tmp/x", "args": ["a", "bb"] }, "pod": null, "node": "n" });
    let now = jiff::Timestamp::constant(1_767_225_600, 0);
    let scope = Scope { event: &event, ..Scope::empty(now) };
    let compiles = |text: &str| EXPRESSIONS.compile(text).is_ok();
    for line in text.lines().take(300) {
        let value = EXPRESSIONS.eval(line, &scope);
        assert!(value.is_err() || compiles(line), "{name}: `{line}` has a value and cannot be read");
        let _any = EXPRESSIONS.truth(line, &scope);
        let _any = EXPRESSIONS.script(line, &scope);
        let _any = EXPRESSIONS.render_text(line, &scope);
        let _any = EXPRESSIONS.render(&json!({ "a": [line, format!("${{{{ {line} }}}}")] }), &scope);
    }
}

fn config(name: &str, bytes: &[u8]) {
    let text = text(name, bytes);
    let (read, mistakes) = load::config(Path::new("quell.yaml"), &text);
    assert_eq!(read.is_none(), has_error(&mistakes), "{name}: {mistakes:?}");
    sound(name, &text, &mistakes);
    if let Some(config) = read {
        assert!(!config.show().is_empty(), "{name}");
    }
}

fn rule(name: &str, bytes: &[u8]) {
    let text = text(name, bytes);
    let source = || [RuleSource::Text { name: "r.yml".to_owned(), text: text.clone() }];
    let (rules, report) = Rules::load(&source(), &source());
    sound(name, &text, &report.skipped);
    let mut detector = Detector::new(Arc::new(rules));
    for sample in EVENTS {
        look(&mut detector, sample.as_bytes());
    }
}

fn look(detector: &mut Detector, bytes: &[u8]) {
    for event in adapt::read(None, Path::new("in.log"), bytes).flatten().take(200) {
        let mut found = Vec::new();
        detector.event(&event, event.head.seen, &mut found);
    }
}

fn test(name: &str, bytes: &[u8]) {
    let text = text(name, bytes);
    let (playbook, _) = with(|known| load::playbook(Path::new("p.yaml"), PLAYBOOK, known));
    let playbooks = [Arc::new(playbook.expect("the sample is right"))];
    let (suite, mistakes) = with(|known| trial::read(Path::new("p.test.yaml"), &text, &playbooks, known));
    assert_eq!(suite.is_none(), has_error(&mistakes), "{name}: {mistakes:?}");
    sound(name, &text, &mistakes);
    let Some(suite) = suite else { return };
    // With a thread of its own: nobody else would drive what the steps wait for.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let bench = trial::Bench {
        specs: vec![&HOLD, &LOOK],
        rules: Arc::new(Rules::default()),
        vars: json!({}),
        scratch: scratch.path().to_owned(),
        runtime: runtime.handle().clone(),
    };
    let mut coverage = trial::Coverage::of(&suite.playbook);
    for case in suite.cases.iter().take(3) {
        let _however = trial::play(&suite, case, &bench, &mut coverage);
    }
}

/// As each format, and as what it looks like; and as an event of quell's own.
fn event(name: &str, bytes: &[u8]) {
    static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
        Arc::new(Rules::load(&[RuleSource::Text { name: "r.yml".to_owned(), text: CORRELATION.to_owned() }], &[]).0)
    });
    for format in [None].into_iter().chain(Format::ALL.map(Some)) {
        let mut detector = Detector::new(Arc::clone(&RULES));
        for read in adapt::read(format, Path::new("in.log"), bytes).take(2_000) {
            match read {
                Ok(event) => {
                    let mut found = Vec::new();
                    detector.event(&event, event.head.seen, &mut found);
                    let shown = serde_json::to_string(&event).unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert!(!shown.is_empty() && !event.for_playbooks().is_null(), "{name}");
                }
                Err(unreadable) => assert!(!unreadable.mistake.what.is_empty(), "{name}"),
            }
        }
    }
    let _any = serde_json::from_slice::<OwnedEvent>(bytes);
}
