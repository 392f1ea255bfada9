//! A playbook that starts others, through `quell up`: one it waits for, which waits for a detection over a SIGKILL of the
//! daemon, and one that goes on by itself, whose lease ends in a question. The undo of the first reaches the one, not the other.

use super::*;

const ABOVE: &str = "playbook: quell-above\ndescription: Has others hold what began it, and what they hear of.\n\
    on: { detections: { rules: [quell-above] } }\nmode: enforce\nsteps:\n  \
    contain: { playbook: quell-below, with: { process: \"${{ event.process.id }}\" } }\n  \
    apart:\n    needs: [contain]\n    playbook: quell-apart\n    detach: true\n    \
    with: { process: \"${{ steps.contain.heard }}\" }\n";

const BELOW: &str = "playbook: quell-below\ndescription: Holds, and waits for a word.\nmode: enforce\n\
    inputs: { process: { type: string } }\nsteps:\n  \
    hold: { action: process.freeze, with: { process: \"${{ inputs.process }}\", scope: tree } }\n  \
    word: { needs: [hold], wait: { until: { rules: [quell-signal] }, timeout: 10m } }\n\
    outputs: { heard: \"${{ steps.word.seen.event.process.id }}\" }\n";

const APART: &str = "playbook: quell-apart\ndescription: Holds for a moment, and asks.\nmode: enforce\n\
    inputs: { process: { type: string } }\nsteps:\n  hold:\n    action: process.freeze\n    \
    with: { process: \"${{ inputs.process }}\", scope: tree }\n    lease: { for: 1s, at_end: ask }\n";

/// The one run of a playbook: neither a restart nor a second look at what began it makes another.
#[track_caller]
fn the_run_of(daemon: &Daemon, playbook: &str) -> Value {
    let runs = daemon.ask_json(&["run", "list"]);
    let of: Vec<&Value> = runs.as_array().unwrap().iter().filter(|run| run["playbook"] == playbook).collect();
    assert_eq!(of.len(), 1, "{playbook}: {runs}\n{}", daemon.log());
    of[0].clone()
}

/// Waits until this is the state of a playbook's run, and gives the run's id.
#[track_caller]
fn wait_for(daemon: &Daemon, playbook: &str, state: &str) -> String {
    wait_until(&format!("{playbook} is {state}"), || {
        first_run_of(daemon, playbook).is_some_and(|run| run["state"] == state)
    });
    the_run_of(daemon, playbook)["id"].as_str().unwrap().to_owned()
}

fn step<'v>(run: &'v Value, id: &str) -> &'v Value {
    run["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap()
}

#[test]
fn what_a_playbook_starts_goes_on_over_a_sigkill_and_its_undo_reaches_what_it_waited_for_and_nothing_else() {
    let Some(top) = Group::or_untested(&format!("quell-test-below-{}", std::process::id()), "what a playbook starts")
    else {
        return;
    };
    let dir = home(&top);
    let (above, signal) = (program(dir.path(), "quell-above", "1h"), program(dir.path(), "quell-signal", "1h"));
    fs::remove_file(dir.path().join("playbooks/quell-signal.yaml")).unwrap();
    for (name, text) in [("quell-above", ABOVE), ("quell-below", BELOW), ("quell-apart", APART)] {
        fs::write(dir.path().join(format!("playbooks/{name}.yaml")), text).unwrap();
    }
    let mut daemon = start_in(dir.path());
    if !daemon.armed("what a playbook starts, over a SIGKILL") {
        return top.remove();
    }
    let held = Ticking::start(&top, &above);
    let below = wait_for(&daemon, "quell-below", "waiting");
    assert_eq!(the_run_of(&daemon, "quell-above")["state"], "running");
    let stands = held.count();
    daemon.kill();
    let mut daemon = start_in(dir.path());
    daemon.stands();
    wait_for(&daemon, "quell-below", "waiting");

    // What it waits for comes to the daemon that started after the one which began to wait.
    let heard = Ticking::start(&top, &signal);
    let above = wait_for(&daemon, "quell-above", "succeeded");
    let apart = wait_for(&daemon, "quell-apart", "succeeded");
    let view = daemon.ask_json(&["run", "show", &above]);
    assert_eq!(step(&view, "contain")["outcome"], "verified", "{view}");
    assert_eq!(step(&view, "apart")["outcome"], "done", "{view}");
    let word = daemon.ask_json(&["run", "show", &below]);
    assert_eq!(step(&word, "word")["outcome"], "done", "{word}");
    let still = heard.count();
    assert_eq!(daemon.status()["standing"], 2);

    // Nobody is there when the lease of the one apart is over: it stands, and is asked about.
    let shows = |run: &str, text: &str| daemon.ask(&["run", "show", run]).out.contains(text);
    wait_until("its end is told", || shows(&apart, "its lease ended at"));
    assert!(daemon.ask(&["status"]).out.contains("of 1 the lease is over"));
    assert_eq!((held.count(), heard.count()), (stands, still), "both are held all the time");

    daemon.ask(&["run", "undo", &above, "--why", "an honest program"]).ends(0);
    held.goes_on();
    wait_for(&daemon, "quell-above", "undone");
    wait_for(&daemon, "quell-below", "undone");
    let view = daemon.ask_json(&["run", "show", &below]);
    assert_eq!(step(&view, "hold")["outcome"], "undone", "{view}");
    assert_eq!(step(&view, "hold")["guarantee"], "exactly_once_in_effect", "{view}");
    assert_eq!(heard.count(), still, "what goes on by itself is not taken back with it");
    assert_eq!(
        (the_run_of(&daemon, "quell-apart")["state"].clone(), daemon.status()["standing"].clone()),
        ("succeeded".into(), 1.into())
    );

    daemon.ask(&["run", "keep", &format!("{apart}/hold"), "--for", "8h"]).ends(0);
    assert!(shows(&apart, "stands until"), "kept by a person");
    assert_eq!(heard.count(), still);
    daemon.ask(&["run", "undo", &format!("{apart}/hold")]).ends(0);
    heard.goes_on();
    wait_for(&daemon, "quell-apart", "undone");
    assert_eq!(daemon.status()["standing"], 0);
    daemon.ask(&["store", "check"]).ends(0);
    drop((held, heard));
    daemon.end();
    top.remove();
}
