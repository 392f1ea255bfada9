//! Without a daemon a playbook knows what the daemon would know: others, variables, people, and the guard.

use super::{Ran, command, quell, write};
use crate::daemon::Daemon;
use std::path::Path;

const MINE: &str = r#"playbook: mine
description: Starts another, and reads what the configuration says.
on: { manual: true }
inputs: { who: { type: string, default: ana } }
steps:
  below: { playbook: leaf, with: { host: "${{ vars.host }}" } }
  say:
    needs: [below]
    tell: "${{ steps.below.told }} of ${{ vars.host }} for ${{ person_of(inputs.who) }}"
"#;
const LEAF: &str = r#"playbook: leaf
on: { manual: true }
inputs: { host: { type: string } }
steps: { say: { tell: "on ${{ inputs.host }}" } }
outputs: { told: "${{ steps.say.told }}" }
"#;
const CONFIG: &str = "vars: { host: web-1 }\nplaybooks: { shipped: false, dirs: [playbooks] }\nrules: { shipped: false }\nsources: { sensor: { enabled: false } }\n";
const WHO: &str = "people:\n  ana_b: { identities: { slack: ana }, roles: [responder] }\n";

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "quell.yaml", CONFIG);
    write(home.path(), "escalation.yaml", WHO);
    write(home.path(), "playbooks/mine.yaml", MINE);
    write(home.path(), "playbooks/leaf.yaml", LEAF);
    home
}

fn rehearsed(home: &Path, args: &[&str]) -> Ran {
    let none = home.join("nobody");
    let args =
        [&["playbook", "run", "--mode", "observe", "--json", "--data-dir", none.to_str().unwrap()], args].concat();
    quell(&args)
}

#[test]
fn a_rehearsal_knows_what_the_daemon_would() {
    let home = home();
    let (file, config) = (home.path().join("playbooks/mine.yaml"), home.path().join("quell.yaml"));
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    let told = "on web-1 of web-1 for ana_b";
    for args in [&[file][..], &[file, "--config", config], &["mine", "--config", config]] {
        let run = rehearsed(home.path(), args).ends(0).json();
        assert_eq!(run["state"], "succeeded", "{args:?}: {run}");
        assert_eq!(run["steps"][1]["output"]["told"], told, "{args:?}: {run}");
    }
    // Elsewhere nothing is known of them: the check says so before anything runs.
    let alone = write(home.path(), "elsewhere/mine.yaml", MINE);
    std::fs::remove_file(home.path().join("quell.yaml")).unwrap();
    let ran = rehearsed(home.path(), &[alone.to_str().unwrap()]).ends(1);
    assert!(ran.err.contains("there is no playbook `leaf`"), "{}", ran.err);
    let ran = rehearsed(home.path(), &["mine"]).ends(2);
    assert!(ran.err.contains("`mine` is no file"), "{}", ran.err);
    rehearsed(home.path(), &[file, "--config", config]).ends(2);
}

/// Whoever tries a playbook before it is needed goes by the exit code; and one reason is told once.
#[test]
fn a_rehearsal_that_would_fail_ends_so() {
    let home = home();
    let bad = "playbook: bad\nsteps: { say: { tell: \"${{ [1][7] }}\" } }\n";
    let file = write(home.path(), "playbooks/bad.yaml", bad);
    let run = rehearsed(home.path(), &[file.to_str().unwrap()]).ends(1).json();
    assert_eq!(run["state"], "failed", "{run}");
    let none = home.path().join("nobody");
    let shown = quell(&["playbook", "run", file.to_str().unwrap(), "--data-dir", none.to_str().unwrap()]).ends(1).out;
    let why = run["steps"][0]["errors"][0]["error"].as_str().unwrap();
    // However wide the terminal is, it is there whole.
    let steps = shown.split_once("\n\n").unwrap().1.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(steps.matches(why).count(), 1, "{shown}");
}

#[test]
fn a_test_from_a_run_knows_what_the_daemon_did() {
    let home = home();
    let (config, state) = (home.path().join("quell.yaml"), home.path().join("state"));
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &state, &home.path().join("log"));
    daemon.stands();
    let id =
        daemon.ask_json(&["playbook", "run", home.path().join("playbooks/mine.yaml").to_str().unwrap()])["id"].clone();
    let id = id.as_str().unwrap();
    super::wait_until("it has ended", || daemon.ask_json(&["run", "show", id])["state"] == "succeeded");
    let written = daemon.ask(&["playbook", "test", "--from", "run", id]).ends(0).out;
    for part in ["ana_b", "slack: ana", "on web-1 of web-1 for ana_b"] {
        assert!(written.contains(part), "{written}");
    }
    let test = write(home.path(), "playbooks/mine.test.yaml", &written);
    let ran = quell(&["playbook", "test", test.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{written}\n{}{}", ran.out, ran.err);
}

#[test]
fn what_a_broken_configuration_keeps_from_being_checked_is_told() {
    let home = home();
    let dir = home.path().join("playbooks");
    let check = || quell(&["playbook", "check", dir.to_str().unwrap()]);
    let asks = "playbook: asks\non: { manual: true }\nsteps:\n  s: { ask: { question: \"You?\", by: nobody, choices: [a, b], within: 1h, otherwise: a } }\n";
    write(home.path(), "playbooks/asks.yaml", asks);
    let ran = check().ends(1);
    assert!(ran.err.contains("there are no approvers `nobody`"), "{}", ran.err);
    // Its people are still known: they stand in another file.
    write(home.path(), "quell.yaml", &CONFIG.replace("vars:", "varz:"));
    let ran = check().ends(1);
    let told = ran.err.replace('\n', " ");
    assert!(told.contains("this configuration has mistakes of its own") && told.contains("`varz`"), "{told}");
    assert!(told.contains("there are no approvers `nobody`"), "{told}");
    write(home.path(), "quell.yaml", CONFIG);
    write(home.path(), "escalation.yaml", &WHO.replace("roles:", "rolez:"));
    let ran = check().ends(0);
    let told = ran.err.replace('\n', " ");
    assert!(told.contains("people and approvers are not checked here"), "{told}");
    quell(&["playbook", "check", "--deny", "warnings", dir.to_str().unwrap()]).ends(1);
}

#[test]
fn what_ships_and_would_answer_the_same_is_told_of_one_file() {
    let home = tempfile::tempdir().unwrap();
    let text = "playbook: mine\nmode: enforce\nlimits: { runs: 5/h }\non: { detections: { rules: [reverse-shell] } }\nsteps: { s: { action: process.kill, with: { process: \"${{ event.process.id }}\" } } }\n";
    let file = write(home.path(), "mine.yaml", text);
    let ran = quell(&["playbook", "check", file.to_str().unwrap()]).ends(0);
    assert!(ran.err.contains("would both do `process.kill` on rule `reverse-shell`"), "{}", ran.err);
    write(home.path(), "quell.yaml", "playbooks: { shipped: false }\n");
    let ran = quell(&["playbook", "check", file.to_str().unwrap()]).ends(0);
    assert!(!ran.err.contains("would both do"), "{}", ran.err);
}

const KILLS: &str = r#"playbook: kills
on: { manual: true }
inputs: { victim: { type: string } }
mode: enforce
steps:
  hold: { action: process.freeze, with: { process: "${{ inputs.victim }}", scope: tree } }
  kill:
    needs: [hold]
    action: process.kill
    with: { process: "${{ inputs.victim }}", scope: tree }
    approve: { within: 20m }
"#;

/// A reviewer wants to know of everything that would be touched, with what, and whether somebody would be asked.
#[test]
fn a_rehearsal_names_all_that_would_be_touched_and_who_would_be_asked() {
    let home = home();
    let file = write(home.path(), "playbooks/kills.yaml", KILLS);
    let mut child = std::process::Command::new("sh")
        .args(["-c", "sleep 300 & sleep 300 & echo up; wait"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = String::new();
    let out = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut up).unwrap();
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let victim = super::identity(child.id(), 0);
    let none = home.path().join("nobody");
    let input = format!("victim={victim}");
    let args = ["playbook", "run", file.to_str().unwrap(), "--input", &input, "--data-dir", none.to_str().unwrap()];
    let shown = quell(&args).out;
    for pid in children.split_whitespace() {
        std::process::Command::new("kill").args(["-9", pid]).status().unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(children.split_whitespace().count(), 2, "{shown}");
    for pid in children.split_whitespace() {
        assert!(words.contains(&format!("sleep ({pid})")), "{pid}: {shown}");
    }
    assert!(words.contains("with: scope: tree"), "{shown}");
    let asked = "somebody would be asked first: a person is to say whether it acts (whoever may answer, for 20m, then it does not act)";
    assert_eq!(words.matches(asked).count(), 1, "of the kill alone: {shown}");
}
