//! What people see at the widths of terminals: whole words, nothing cut, and the same words at each.

use super::{Term, incident_view, run_view};
use quell_engine::report::{Explanation, IncidentSummary, IncidentView, RunSummary, RunView};
use serde_json::{Value, json};

const WIDTHS: [usize; 5] = [40, 60, 80, 100, 132];
const RUN: &str = "r-8a7b9bfd7ff5";
const INCIDENT: &str = "i-b7a3208a7236";
const IMAGE: &str = "/var/lib/containers/storage/overlay/4f1c2d3e5a6b7c8d/merged/usr/local/share/.cache/updater";

fn at(seconds: u64) -> Value {
    json!({ "wall": format!("2026-11-29T18:01:{:02}.250Z", seconds), "boot_ns": 90_000_000_000 + seconds * 1_000_000_000 })
}

fn summary(state: &str, what: &str) -> Value {
    json!({
        "id": RUN, "playbook": "contain-fileless-execution", "state": state, "mode": "enforce", "incident": INCIDENT,
        "rule": "fileless-memfd", "per": IMAGE, "by": null, "started": at(1), "ended": null, "summary": what,
    })
}

fn step(id: &str, more: Value) -> Value {
    let mut step = json!({
        "id": id, "action": null, "outcome": null, "proof": "", "input": {}, "plan": null, "output": {}, "attempts": 1,
        "errors": [], "refusal": null, "waits": null, "marks": [], "moments": { "started": at(1), "verified": at(2) },
        "times": {},
    });
    more.as_object().unwrap().iter().for_each(|(key, value)| step[key] = value.clone());
    step
}

fn plan(label: &str, still_open: &[&str]) -> Value {
    let target = json!({ "node": "n", "kind": "process", "id": "4242.1.1@b", "label": label, "named": true });
    json!({ "targets": [target], "calls": [], "still_open": still_open })
}

fn run() -> RunView {
    let open = "the image stays on the disk: whoever runs it again starts another process, which no later step of this run sees";
    let asked = json!({
        "kind": "confirm", "text": "Is it to stay held?", "because": "the playbook asks after each act of its own",
        "choices": ["keep", "undo"], "person": null, "by": "security", "asked": at(2), "until": at(40), "otherwise": "keep",
        "sum": null, "open": true,
        "answers": [{ "at": at(3), "choice": "keep", "by": "bo", "via": "socket", "why": "", "late": false, "refused": true }],
    });
    let error = "the descriptor cannot be opened: `/proc/4242/fd/7` is no longer there, since its process has closed it meanwhile";
    let refusal =
        json!({ "guard": "protect", "target": "nginx (991)", "why": "its unit `nginx.service` is protected" });
    let mut run = summary("waiting", "1 verified, 1 failed, 1 refused; waits for an answer to what it has asked");
    let more = json!({
        "definition": "0".repeat(64), "mode_because": "the configuration says at most enforce, and so does the playbook",
        "untrusted": false, "moments": { "kernel": at(1) }, "times": {}, "event": {}, "detection": {}, "inputs": {},
        "outputs": {}, "people": [], "timeline": [],
        "steps": [
            step("freeze", json!({
                "action": "process.freeze", "outcome": "verified", "plan": plan(&format!("{IMAGE} (4242)"), &[open]),
                "proof": "all 3 of its processes stand still: 4242, 4243, 4250", "questions": [asked],
            })),
            step("evidence", json!({
                "action": "process.capture", "outcome": "failed", "plan": plan("updater (4242)", &[]),
                "errors": [{ "at": at(2), "attempt": 1, "error": error, "hint": "give it more time with `timeout: 30s`, or leave `memory` out", "again_at": null }],
            })),
            step("web", json!({ "action": "process.kill", "outcome": "refused", "plan": plan("nginx (991)", &[]), "refusal": refusal })),
            step("tell", json!({ "outcome": "skipped", "proof": "its `if` was false: `steps.evidence.outcome == \"verified\"`" })),
        ],
    });
    more.as_object().unwrap().iter().for_each(|(key, value)| run[key] = value.clone());
    serde_json::from_value(run).unwrap()
}

fn incident() -> IncidentView {
    let line = |seconds, kind: &str, text: &str| json!({ "at": at(seconds), "kind": kind, "text": text });
    serde_json::from_value(json!({
        "id": INCIDENT, "title": "A program was executed from memory, and its file is nowhere on the disk", "level": "critical",
        "state": "open", "entity": { "kind": "unit", "id": "a-service-with-a-long-name.service", "node": "db-7.example.org" },
        "opened": at(1), "last": at(4), "degraded": true, "detections": [], "notes": [],
        "losses": [{ "at": at(2), "since": at(1), "class": "file_event", "count": 12, "cgroup": null, "path": IMAGE, "why": "rate_budget" }],
        "runs": [summary("waiting", "1 verified, 1 failed, 1 refused; waits for an answer to what it has asked")],
        "timeline": [
            line(1, "IncidentOpened", &format!("opened: {IMAGE} was executed out of a file that is in memory alone")),
            line(2, "StepFinished", "freeze: process.freeze verified, all 3 of its processes stand still: 4242, 4243, 4250"),
            line(4, "NoteAdded", "note of ana: the host is being rebuilt"),
        ],
    }))
    .unwrap()
}

fn explanation() -> Explanation {
    let decided =
        |playbook: &str, decision: &str, why: &str| json!({ "playbook": playbook, "decision": decision, "why": why });
    serde_json::from_value(json!({
        "id": INCIDENT, "title": "A program was executed from memory", "level": "critical", "state": "open",
        "entity": { "kind": "unit", "id": "a.service", "node": "n" }, "lost": [],
        "detections": [{
            "id": "0".repeat(64), "rule": "fileless-memfd", "title": "A program was executed from memory", "level": "critical",
            "at": at(1), "who": format!("{IMAGE} (4242) of uid 1000 in a-service-with-a-long-name.service"),
            "matched": [{ "field": "Image", "value": IMAGE }, { "field": "CommandLine", "value": "updater --quiet --interval 30 --to 198.51.100.7:443 --name kworker" }],
            "decided": [
                decided("contain-fileless-execution", "started", "the rule `fileless-memfd` is among those that it wants, at `high` or above"),
                decided("contain-host", "not_mine", "it wants `attack.t1059.004`, and the rule has none of its tags"),
            ],
        }],
        "held": [{ "at": at(2), "kind": "GuardRefused", "what": "protect", "held": "process.kill nginx (991)", "why": "its unit `nginx.service` is protected", "run": RUN }],
    }))
    .unwrap()
}

/// What is printed at so many columns, or piped.
fn printed(columns: Option<usize>, print: &dyn Fn(&Term)) -> String {
    let term = Term::catching(columns);
    print(&term);
    term.caught()
}

/// A command, and what it prints.
type View = (&'static str, Box<dyn Fn(&Term)>);

fn views() -> Vec<View> {
    let runs: Vec<RunSummary> = ["waiting", "succeeded"]
        .iter()
        .map(|state| {
            serde_json::from_value(summary(state, "2 verified, 1 refused: its unit `nginx.service` is protected"))
                .unwrap()
        })
        .collect();
    let incidents: Vec<IncidentSummary> = vec![
        serde_json::from_value(json!({
            "id": INCIDENT, "title": "A program was executed from memory, and its file is nowhere on the disk", "level": "critical",
            "state": "open", "entity": { "kind": "cgroup", "id": IMAGE, "node": "db-7.example.org" }, "opened": at(1),
            "last": at(4), "detections": 12, "runs": [RUN], "degraded": false,
        }))
        .unwrap(),
    ];
    vec![
        ("run list", Box::new(move |term| run_view::list(&runs, "", term))),
        ("run show", Box::new(|term| run_view::show(&run(), term))),
        ("incident list", Box::new(move |term| incident_view::list(&incidents, term))),
        ("incident show", Box::new(|term| incident_view::show(&incident(), term))),
        ("incident explain", Box::new(|term| incident_view::explain(&explanation(), term))),
    ]
}

#[test]
fn at_80_columns_lines_break_between_words_under_their_columns() {
    for (name, print) in views() {
        insta::assert_snapshot!(name.replace(' ', "_"), printed(Some(80), &*print));
    }
}

#[test]
fn at_every_width_the_same_words_are_there_whole_and_no_line_is_wider_but_for_one_word() {
    let words = |text: &str| {
        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.sort();
        words
    };
    for (name, print) in views() {
        let piped = printed(None, &*print);
        for columns in WIDTHS {
            let shown = printed(Some(columns), &*print);
            assert_eq!(words(&shown), words(&piped), "{name} at {columns}:\n{shown}");
            for line in shown.lines().filter(|line| super::layout::width(line) > columns) {
                let is_command = line.trim_start().starts_with("quell ");
                assert!(is_command || words(line).len() == 1, "{name} at {columns}: {line}");
            }
        }
    }
}

#[test]
fn what_is_piped_is_a_line_each() {
    let (name, print) = views().remove(0);
    assert_eq!(printed(None, &*print).lines().count(), 3, "{name}");
    let (_, print) = views().remove(3);
    let shown = printed(None, &*print);
    let whole = format!("opened: {IMAGE} was executed out of a file that is in memory alone");
    assert!(shown.lines().any(|line| line.ends_with(&whole)), "{shown}");
}
