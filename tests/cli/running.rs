//! Runs of a daemon and what files say of them: what a changed playbook would no longer understand, and tests out of runs.

use super::{command, wait_until, write};
use crate::daemon::Daemon;

const FIRST: &str = r##"playbook: mine
inputs: { who: { type: string } }
mode: enforce
steps:
  sum: { script: "#{ n: 21 }" }
  ask: { needs: [sum], ask: { question: "Is ${{ inputs.who }} at work?", choices: [here, away], within: 1h, otherwise: away } }
  say: { needs: [ask], tell: "${{ inputs.who }}: ${{ steps.ask.answer }} ${{ steps.sum.n }}" }
"##;

/// A daemon that observes and sees nothing, with one playbook.
fn start(dir: &std::path::Path) -> Daemon {
    write(
        dir,
        "quell.yaml",
        "mode: enforce\nsources: { sensor: { enabled: false } }\nplaybooks: { shipped: false, dirs: [playbooks] }\n",
    );
    write(dir, "playbooks/mine.yaml", FIRST);
    let mut daemon =
        Daemon::start(command(&["up"]), Some(&dir.join("quell.yaml")), &dir.join("state"), &dir.join("log"));
    daemon.stands();
    daemon
}

#[test]
fn what_open_runs_have_and_a_changed_playbook_lacks_is_told_and_a_run_becomes_a_test() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let daemon = start(dir);
    let file = dir.join("playbooks/mine.yaml");
    let file = file.to_str().unwrap();
    daemon.ask(&["playbook", "run", file, "--input", "who=bo"]).ends(0);
    wait_until("the run asks", || daemon.ask_json(&["run", "list"])[0]["state"] == "waiting");
    let id = daemon.ask_json(&["run", "list"])[0]["id"].as_str().unwrap().to_owned();

    // The same text has nothing to tell, and a run that has not ended is no test yet.
    let ran = daemon.ask(&["playbook", "check", "--running", "--deny", "warnings", file]).ends(0);
    assert!(ran.err.contains("1 open run of them; 0 began with another text"), "{}", ran.err);
    let ran = daemon.ask(&["playbook", "test", "--from", "run", &id]).ends(1);
    assert!(ran.err.contains("has not ended"), "{}", ran.err);

    let changed = dir.join("changed.yaml");
    let text = FIRST
        .replace("who: { type: string }", "who: { type: list }, why: { type: string }")
        .replace("  sum: { script: \"#{ n: 21 }\" }\n", "  sum: { tell: \"${{ inputs.who }}\" }\n  more: { tell: x }\n")
        .replace("needs: [sum], ask", "needs: [sum, more], ask")
        .replace(" ${{ steps.sum.n }}", "");
    std::fs::write(&changed, &text).unwrap();
    let changed = changed.to_str().unwrap();
    let ran = daemon.ask(&["playbook", "check", "--running", changed]).ends(0);
    for (place, what) in [
        ("changed.yaml:2:1", "input `who` is of another type here"),
        ("changed.yaml:2:1", "input `why` is needed here"),
        ("changed.yaml:5:3", "step `sum` is a message here, and was a script"),
        ("changed.yaml:7:3", "step `ask` needs `more` here"),
    ] {
        assert!(ran.err.contains(place) && ran.err.contains(what), "no {place} {what} in {}", ran.err);
    }
    assert!(ran.err.contains(&id) && ran.err.contains("1 began with another text, which they keep"), "{}", ran.err);
    daemon.ask(&["playbook", "check", "--running", "--deny", "warnings", changed]).ends(1);
    let told = daemon.ask_json(&["playbook", "check", "--running", changed]);
    assert_eq!((&told["running"]["open"], &told["running"]["of_another_text"]), (&1.into(), &1.into()), "{told}");

    // It goes on by its own text, and its test passes.
    daemon.ask(&["run", "answer", &format!("{id}/ask"), "here"]).ends(0);
    wait_until("the run ends", || daemon.ask_json(&["run", "list"])[0]["state"] == "succeeded");
    let written = daemon.ask(&["playbook", "test", "--from", "run", &id]).ends(0);
    for part in
        ["playbook: mine", &format!("as in run {id}"), "who: bo", "choice: here", "bo: here 21", "run: succeeded"]
    {
        assert!(written.out.contains(part), "no {part} in {}", written.out);
    }
    let test = dir.join("playbooks/mine.test.yaml");
    std::fs::write(&test, &written.out).unwrap();
    super::quell(&["playbook", "test", "--coverage", test.to_str().unwrap()]).ends(0);
    daemon.end();
    // Nobody to ask is told as such.
    let state = dir.join("state");
    super::quell(&["playbook", "check", "--running", file, "--data-dir", state.to_str().unwrap()]).ends(3);
}
