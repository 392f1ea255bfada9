//! What a playbook asks first is answered through the command line: a question, an approval over a SIGKILL of the daemon, and
//! the confirmation of what was done.

use super::*;
use crate::cli::binary;

const ASKS: &str = "playbook: quell-asked\ndescription: Asks before and after.\n\
    on: { detections: { rules: [quell-asked] } }\nmode: enforce\nsteps:\n  was_it:\n    \
    ask: { question: \"Was ${{ event.process.image }} you?\", choices: [me, not_me], within: 1h, otherwise: me }\n  hold:\n    \
    needs: [was_it]\n    if: ${{ steps.was_it.answer == \"not_me\" }}\n    action: process.freeze\n    \
    with: { process: \"${{ event.process.id }}\", scope: tree }\n    approve: { within: 1h }\n    confirm: { within: 1h, otherwise: keep }\n";

/// Asks the daemon out of a cgroup: how that ended, and what was said.
fn within(group: &Group, daemon: &Daemon, args: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let program = binary();
    let all = std::iter::once(program.to_str().unwrap()).chain(args.iter().copied());
    let argv = all.chain(["--data-dir", daemon.state.to_str().unwrap()]).map(str::to_owned).collect::<Vec<_>>();
    let code = group.spawn(&argv, dir.path(), &[]).wait().unwrap().code();
    (code, fs::read_to_string(dir.path().join("log")).unwrap())
}

#[test]
fn a_person_is_asked_first_and_afterwards_and_a_killed_daemon_asks_no_second_time() {
    let Some(top) =
        Group::or_untested(&format!("quell-test-asked-{}", std::process::id()), "questions of a daemon that is killed")
    else {
        return;
    };
    let dir = home(&top);
    let path = program(dir.path(), "quell-asked", "24h");
    fs::write(dir.path().join("playbooks/quell-asked.yaml"), ASKS).unwrap();
    let start = || start_in(dir.path());
    let mut daemon = start();
    if !daemon.armed("the approval of what is to be held") {
        return top.remove();
    }
    let ticking = Ticking::start(&top, &path);
    let mut id = String::new();
    wait_until("it asks", || {
        let run = first_run_of(&daemon, "quell-asked").filter(|run| run["state"] == "waiting");
        id = run.as_ref().map(|run| run["id"].as_str().unwrap().to_owned()).unwrap_or_default();
        run.is_some()
    });
    ticking.goes_on();
    let shown = daemon.ask(&["run", "show", &id]).ends(0).out;
    assert!(shown.contains(&format!("quell run answer {id}/was_it not_me")), "{shown}");
    let wrong = daemon.ask(&["run", "answer", &format!("{id}/was_it"), "perhaps"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.err.contains("it takes me, not_me"), "{}", wrong.err);
    daemon.ask(&["run", "answer", &id, "not_me"]).ends(0);

    // Now the act itself is asked about; the daemon that asked is killed.
    let shows = |daemon: &Daemon, text: &str| daemon.ask(&["run", "show", &id]).out.contains(text);
    wait_until("the act is asked about", || shows(&daemon, &format!("quell run approve {id}/hold")));
    daemon.kill();
    let mut daemon = start();
    daemon.stands();
    wait_until("it still asks", || shows(&daemon, &format!("quell run deny {id}/hold")));
    assert_eq!(daemon.status()["questions"], 1);
    ticking.goes_on();
    daemon.ask(&["run", "approve", &format!("{id}/hold"), "--why", "seen in the console too"]).ends(0);
    wait_until("it is held, and that is asked about", || shows(&daemon, &format!("quell run keep {id}/hold")));
    let held = ticking.count();
    let late = daemon.ask(&["run", "deny", &format!("{id}/hold")]);
    assert_eq!(late.code, Some(1), "keep and undo are what is asked now: {late:?}");
    assert!(late.err.contains("answered `approve` before"), "whoever comes second learns who was first: {late:?}");
    assert_eq!(ticking.count(), held, "it is held all the time");
    // Nor does anybody take it back out of the suspect's own cgroup, whichever way they ask for it.
    let incident = daemon.ask_json(&["incident", "list"])[0]["id"].as_str().unwrap().to_owned();
    for args in [
        vec!["run", "undo", &id],
        vec!["incident", "undo", &incident],
        vec!["incident", "false-positive", &incident, "--reason", "it was me"],
    ] {
        let (code, said) = within(&top, &daemon, &args);
        assert!(code == Some(4) && said.contains("the suspected cgroup"), "{args:?}: {said}");
    }
    assert_eq!(daemon.ask_json(&["incident", "show", &incident])["state"], "open");
    assert_eq!(ticking.count(), held, "it is held all the time");

    daemon.ask(&["run", "answer", &format!("{id}/hold"), "undo"]).ends(0);
    ticking.goes_on();
    wait_until("the run has ended", || first_run_of(&daemon, "quell-asked").unwrap()["state"] == "undone");
    let late = daemon.ask(&["run", "answer", &format!("{id}/hold"), "keep"]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(late.err.contains("answered `undo` before"), "{}", late.err);
    let view = daemon.ask_json(&["run", "show", &id]);
    let hold = view["steps"].as_array().unwrap().iter().find(|step| step["id"] == "hold").unwrap();
    assert_eq!(hold["questions"].as_array().unwrap().len(), 2, "{hold}");
    // The refused one once, what was answered, and the late one.
    assert_eq!(hold["questions"][1]["answers"].as_array().unwrap().len(), 3, "all of them are kept: {hold}");
    drop(daemon);
    drop(ticking);
    top.remove();
}
