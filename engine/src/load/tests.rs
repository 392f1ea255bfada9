//! Playbook files as people write them: right ones, and every way of being wrong.

use super::*;
use quell_model::playbook::{ItemErrors, OnFailure, StepKind, When};
use quell_model::{Guarantee, Lane, Level, Mistake, MistakeLevel, Mode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

mod checks;
mod folders;
mod gaps;
mod hostile;
mod mistakes;
mod people;
mod secrets;
mod subs;
mod ways;

/// How far an act reaches.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "only its schema is used")]
enum Reach {
    /// One process.
    Process,
    /// With all below it.
    Tree,
    /// Its cgroup.
    Cgroup,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used")]
struct KillInput {
    process: String,
    #[serde(default)]
    scope: Option<Reach>,
    #[serde(default)]
    signal: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct KillOutput {
    killed: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used")]
struct CaptureInput {
    process: String,
    #[serde(default)]
    memory: bool,
    #[serde(default)]
    max_bytes: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct CaptureOutput {
    exe_sha256: String,
    credentials: Vec<String>,
}

fn kill_input() -> schemars::Schema {
    schemars::schema_for!(KillInput)
}

fn kill_output() -> schemars::Schema {
    schemars::schema_for!(KillOutput)
}

fn capture_input() -> schemars::Schema {
    schemars::schema_for!(CaptureInput)
}

fn capture_output() -> schemars::Schema {
    schemars::schema_for!(CaptureOutput)
}

const fn spec(
    name: &'static str,
    lane: Lane,
    input: fn() -> schemars::Schema,
    output: fn() -> schemars::Schema,
) -> ActionSpec {
    ActionSpec {
        name,
        summary: "",
        input,
        output,
        lane,
        guarantee: Guarantee::ExactlyOnceInEffect,
        undoable: false,
        asks_by_default: false,
        targets: &["process"],
        permissions: &[],
        predict: |_| Json::Null,
    }
}

static KILL: ActionSpec = spec("process.kill", Lane::Contain, kill_input, kill_output);
static FREEZE: ActionSpec = spec("process.freeze", Lane::Contain, kill_input, kill_output);
static CAPTURE: ActionSpec = spec("process.capture", Lane::Capture, capture_input, capture_output);

pub(crate) fn actions() -> Vec<&'static ActionSpec> {
    vec![&KILL, &FREEZE, &CAPTURE]
}

fn rules() -> Vec<RuleRef> {
    let rule = |name: &str, tag: &str| RuleRef {
        name: name.into(),
        id: None,
        title: name.into(),
        level: Level::High,
        tags: vec![tag.into()],
    };
    vec![rule("reverse-shell", "attack.t1059.004"), rule("crypto-miner", "attack.t1496")]
}

pub(super) fn with_known<T>(look: impl FnOnce(&Known<'_>) -> T) -> T {
    let rules = rules();
    let vars = serde_json::json!({"corp_cidrs": ["10.0.0.0/8"]});
    look(&Known { actions: actions(), rules: Some(&rules), vars: Some(&vars), ..Known::default() })
}

fn load(text: &str) -> (Option<quell_model::playbook::Playbook>, Vec<Mistake>) {
    with_known(|known| playbook(Path::new("p.yaml"), text, known))
}

/// As a person would read them, for snapshots.
pub(super) fn print(mistakes: &[Mistake]) -> String {
    let mut out = String::new();
    for mistake in mistakes {
        let level = match mistake.level {
            MistakeLevel::Error => "error",
            MistakeLevel::Warning => "warning",
            MistakeLevel::Note => "note",
        };
        writeln!(out, "{} {level}: {}", mistake.place(), mistake.what).unwrap();
        if let Some(line) = &mistake.line_text {
            writeln!(out, "  | {line}").unwrap();
            let under = " ".repeat(mistake.span.column.saturating_sub(1) as usize);
            writeln!(out, "  | {under}{}", "^".repeat(mistake.span.length as usize)).unwrap();
        }
        if let Some(expected) = &mistake.expected {
            writeln!(out, "  expected {expected}").unwrap();
        }
        if let Some(nearest) = &mistake.nearest {
            writeln!(out, "  did you mean `{nearest}`?").unwrap();
        }
    }
    out
}

const WHOLE: &str = r#"
playbook: contain-reverse-shell
description: A shell whose stdio leads to the network is frozen, looked at and killed.
on:
  detections: { rules: [reverse-shell], tags: [attack.t1059], level: high }
  if: ${{ event.process.user != "builder" }}
  run_per: ${{ event.subject }}
  max_age: 20m
  manual: true
mode: enforce
limits: { runs: 20/h, targets: 5/run }
inputs: { reason: { type: string, default: "detected" } }
steps:
  freeze: { action: process.freeze, with: { process: "${{ event.process.id }}", scope: tree } }
  evidence:
    needs: [freeze]
    action: process.capture
    with: { process: "${{ event.process.id }}", memory: false }
    timeout: 10s
    deadline: 1m
    on_failure: continue
  kill:
    needs: [evidence]
    if: ${{ event.pod == () || event.pod?.namespace != "kube-system" }}
    action: process.kill
    with: { process: "${{ event.process.id }}", scope: tree }
    retry: { attempts: 3, backoff: 200ms..2s }
  count:
    needs: [kill]
    script: |
      let n = steps.kill?.killed?.len() ?? 0;
      #{ killed: n, many: n > 3 }
  name_it:
    needs: [evidence]
    for_each: ${{ (steps.evidence?.credentials?.filter(|c| c != "") ?? []).extract(0, 20) }}
    max_parallel: 2
    errors: stop
    mode: observe
    tell: "found ${{ item }}"
  report:
    needs: [kill, count, name_it]
    when: always
    tell: "Reverse shell on ${{ event.node }}: ${{ steps.count?.killed ?? 0 }} killed, ${{ inputs.reason }}"
outputs: { killed: "${{ steps.kill.killed }}" }
"#;

#[test]
fn a_right_playbook_is_read_whole() {
    let (playbook, mistakes) = load(WHOLE);
    assert_eq!(print(&mistakes), "");
    let playbook = playbook.unwrap();
    assert_eq!(playbook.name.as_str(), "contain-reverse-shell");
    assert_eq!(playbook.mode, Mode::Enforce);
    assert_eq!(playbook.on.max_age, Duration::from_secs(1200));
    assert_eq!(playbook.on.condition.as_ref().unwrap().text, "event.process.user != \"builder\"");
    assert_eq!(playbook.on.detections.as_ref().unwrap().level, Level::High);
    assert_eq!(playbook.limits.targets, Some(5));
    let ids: Vec<&str> = playbook.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["freeze", "evidence", "kill", "count", "name_it", "report"]);
    let [_, evidence, kill, count, each, report] = &playbook.steps[..] else { panic!() };
    assert_eq!(evidence.on_failure, OnFailure::Continue);
    assert_eq!((evidence.timeout, evidence.deadline), (Duration::from_secs(10), Some(Duration::from_secs(60))));
    assert_eq!((kill.retry.attempts, kill.retry.backoff_most), (3, Duration::from_secs(2)));
    assert!(matches!(&count.kind, StepKind::Script(script) if script.span.line == 31), "{:?}", count.kind);
    let for_each = each.for_each.as_ref().unwrap();
    assert_eq!((for_each.max_parallel, for_each.errors), (2, ItemErrors::Stop));
    assert_eq!((each.mode, report.when), (Some(Mode::Observe), When::Always));
    assert_eq!(&*playbook.text, WHOLE);
}

#[test]
fn what_is_left_out_has_a_default() {
    let (playbook, mistakes) = load("playbook: p\nsteps:\n  say: { tell: hello }\n");
    assert_eq!(print(&mistakes), "");
    let playbook = playbook.unwrap();
    assert_eq!((playbook.mode, playbook.on.detections.is_none()), (Mode::Observe, true));
    assert_eq!((playbook.on.run_per.text.as_str(), playbook.on.max_age), ("event.subject", Duration::from_secs(900)));
    let say = &playbook.steps[0];
    assert_eq!((say.timeout, say.deadline, say.retry.attempts), (Duration::from_secs(30), None, 1));
}

#[test]
fn anchors_and_merges_work() {
    let text = "playbook: p\nsteps:\n  a: &a { action: process.kill, with: { process: x }, timeout: 3s }\n  b: { <<: *a, needs: [a], timeout: 4s }\n";
    let (playbook, mistakes) = load(text);
    assert_eq!(print(&mistakes), "");
    assert_eq!(playbook.unwrap().steps[1].timeout, Duration::from_secs(4));
}
