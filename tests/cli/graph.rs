//! `playbook graph` in every format, of playbooks and of runs.

use super::hostile::{HOSTILE, is_clean};
use super::{command, quell, wait_until, write};
use crate::daemon::Daemon;
use std::time::{Duration, Instant};

#[test]
fn every_shipped_playbook_has_every_drawing() {
    let all = |more: &[&str]| quell(&[&["playbook", "graph", "playbooks"], more].concat()).ends(0);
    let plain = all(&["--json"]).json();
    let plain = plain.as_array().unwrap();
    let shipped = quell_playbooks::playbooks();
    // In the order of their names, which is not that of their folders.
    let file_of = |one: &serde_json::Value| {
        let line = format!("playbook: {}\n", one["id"].as_str().unwrap());
        let file = shipped.iter().find(|file| file.text.contains(&line)).unwrap();
        format!("playbooks/{}", file.name)
    };
    let files: Vec<String> = plain.iter().map(file_of).collect();
    assert_eq!(plain.len(), shipped.len());
    for format in ["text", "dot", "mermaid", "svg"] {
        let told = all(&["--format", format, "--json"]).json();
        // A file of the others holds one playbook.
        let takes_all = matches!(format, "text" | "dot");
        let drawn_all = if takes_all { all(&["--format", format]).out } else { String::new() };
        for ((file, plain), told) in files.iter().zip(plain).zip(told.as_array().unwrap()) {
            let keys: Vec<&str> = plain.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, ["id", "steps", "text"]);
            let drawn = told[format].as_str().unwrap();
            assert!(!plain["steps"].as_array().unwrap().is_empty());
            for step in plain["steps"].as_array().unwrap() {
                // Underscores break lines in a picture; its titles have the whole.
                let step = step["id"].as_str().unwrap();
                assert!(drawn.contains(step), "{format} of {file} has no `{step}`:\n{drawn}");
            }
            assert_eq!((&told["id"], &told["text"]), (&plain["id"], &plain["text"]));
            if takes_all {
                assert!(drawn_all.contains(drawn), "{format} of {file} is another:\n{drawn}\n{drawn_all}");
            } else {
                let alone = quell(&["playbook", "graph", file, "--format", format]).ends(0).out;
                assert_eq!(alone, drawn, "{format} of {file}");
            }
            if format == "svg" {
                roxmltree::Document::parse(drawn).unwrap_or_else(|e| panic!("{file}: {e}"));
            }
        }
    }
}

#[test]
fn one_file_of_svg_or_mermaid_holds_one_playbook() {
    for format in ["svg", "mermaid"] {
        let ran = quell(&["playbook", "graph", "playbooks", "--format", format]).ends(2);
        assert!(ran.out.is_empty() && ran.err.contains("hint: give one of them"), "{}", ran.err);
        let all = quell(&["playbook", "graph", "playbooks", "--format", format, "--json"]).ends(0).json();
        assert!(all.as_array().unwrap().iter().all(|one| one[format].is_string()));
    }
    let dot = quell(&["playbook", "graph", "playbooks", "--format", "dot"]).ends(0).out;
    assert_eq!(dot.matches("digraph ").count(), quell_playbooks::playbooks().len());
}

#[test]
fn a_graph_is_of_a_playbook_or_of_a_run() {
    quell(&["playbook", "graph"]).ends(2);
    quell(&["playbook", "graph", "playbooks", "--run", "r-1"]).ends(2);
    quell(&["playbook", "graph", "playbooks", "--format", "png"]).ends(2);
    let dir = tempfile::tempdir().unwrap();
    let ran = quell(&["playbook", "graph", "--run", "r-1", "--data-dir", dir.path().to_str().unwrap()]).ends(3);
    assert!(ran.out.is_empty() && ran.err.contains("hint:"), "{}", ran.err);
}

#[test]
fn a_hostile_description_breaks_no_drawing() {
    let dir = tempfile::tempdir().unwrap();
    let text = serde_json::to_string(HOSTILE).unwrap().replace('\u{9b}', "\\x9b");
    let text = format!("playbook: p\ndescription: {text}\non: {{ manual: true }}\nsteps:\n  one: {{ tell: {text} }}\n");
    let file = write(dir.path(), "p.yaml", &text);
    for format in ["text", "dot", "mermaid", "svg"] {
        let drawn = quell(&["playbook", "graph", file.to_str().unwrap(), "--format", format]).ends(0);
        assert!(is_clean(&drawn.out) && drawn.out.contains("owned"), "{format}: {}", drawn.out);
    }
}

#[test]
fn three_hundred_steps_are_drawn_in_seconds_however_they_hang_together() {
    let dir = tempfile::tempdir().unwrap();
    let needs: [fn(usize) -> Vec<usize>; 3] = [
        |at| (0..at).collect(),
        |at| if at < 150 { Vec::new() } else { (0..150).collect() },
        |at| (1..=3).filter_map(|n| at.checked_sub(n * n * 3)).collect(),
    ];
    for needs in needs {
        let mut text = "playbook: many\non: { manual: true }\nsteps:\n".to_owned();
        for at in 0..300 {
            let needs = needs(at).iter().map(|need| format!("s{need}")).collect::<Vec<_>>().join(", ");
            text.push_str(&format!("  s{at}: {{ needs: [{needs}], tell: x }}\n"));
        }
        let file = write(dir.path(), "many.yaml", &text);
        let since = Instant::now();
        let svg = quell(&["playbook", "graph", file.to_str().unwrap(), "--format", "svg"]).ends(0).out;
        assert!(since.elapsed() < Duration::from_secs(60), "it took {:?}", since.elapsed());
        assert_eq!(svg.matches("class=\"qg-box\"").count(), 300);
    }
}

const BEFORE: &str = "playbook: ends
description: Every way to end.
on: { manual: true }
steps:
  hello: { tell: hello }
  never: { needs: [hello], if: '${{ 1 == 2 }}', tell: never }
  broken: { needs: [hello], script: 'throw \"broken\"' }
  after: { needs: [broken], tell: after }
  mourn: { needs: [broken], when: failure, tell: it broke }
";

#[test]
fn a_run_is_drawn_as_its_playbook_was_when_it_began() {
    let keep = tempfile::tempdir().unwrap();
    let text = "playbooks: { shipped: false, dirs: [playbooks] }\nsources: { sensor: { enabled: false } }\n";
    let config = write(keep.path(), "quell.yaml", text);
    let file = write(keep.path(), "playbooks/ends.yaml", BEFORE);
    let mut daemon =
        Daemon::start(command(&["up"]), Some(&config), &keep.path().join("state"), &keep.path().join("log"));
    daemon.stands();
    let id = daemon.ask_json(&["playbook", "run", file.to_str().unwrap()])["id"].as_str().unwrap().to_owned();
    wait_until("the run has ended", || daemon.ask_json(&["run", "show", &id])["state"] == "failed");
    write(keep.path(), "playbooks/ends.yaml", "playbook: ends\non: { manual: true }\nsteps: { other: { tell: x } }\n");

    let told = daemon.ask_json(&["playbook", "graph", "--run", &id]);
    assert_eq!(told[0]["run"], id.as_str());
    let ended: Vec<String> = told[0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| format!("{} {}", step["id"].as_str().unwrap(), step["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(ended, ["hello done", "never skipped", "broken failed", "after blocked", "mourn done"]);
    for (format, red) in [("text", "→ failed"), ("dot", "#fbd0cb"), ("mermaid", "#fbd0cb"), ("svg", "#fbd0cb")] {
        let drawn = daemon.ask(&["playbook", "graph", "--run", &id, "--format", format]).ends(0).out;
        for word in [&format!("run {id}, failed, observe"), "done", "skipped", "blocked", red] {
            assert!(drawn.contains(word), "{format} has no `{word}`:\n{drawn}");
        }
    }
    let missing = daemon.ask(&["playbook", "graph", "--run", "r-none"]).ends(1);
    assert!(missing.err.contains("there is no run `r-none`"), "{}", missing.err);
}
