//! What people do by hand, through the command line of a daemon: a step is left out, a run is tried again, a whole outage is.
//!
//! The playbooks of these tests ask and tell, and touch nothing. The sensor is off; what is detected is written to a file.

use super::{command, wait_until, write};
use crate::daemon::Daemon;
use serde_json::Value;
use std::path::Path;

const QUIET: &str = "playbooks: { shipped: false, dirs: [playbooks] }\nrules: { shipped: false }\nsources: { sensor: { enabled: false } }\n";

const ASKS: &str = "playbook: asks\ndescription: Asks, and says what came of it.\non: { manual: true }\nsteps:\n  \
    was_it: { ask: { question: \"Was it you?\", choices: [me, not_me], within: 1h, otherwise: me } }\n  \
    after: { needs: [was_it], tell: \"goes on\" }\n";

/// A daemon that sees nothing, with these playbooks.
fn daemon(home: &Path, playbooks: &[(&str, &str)]) -> Daemon {
    let config = write(home, "quell.yaml", QUIET);
    for (name, text) in playbooks {
        write(home, &format!("playbooks/{name}.yaml"), text);
    }
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &home.join("state"), &home.join("log"));
    daemon.stands();
    daemon
}

fn started(daemon: &Daemon, home: &Path, name: &str) -> String {
    let file = home.join(format!("playbooks/{name}.yaml"));
    daemon.ask_json(&["playbook", "run", file.to_str().unwrap()])["id"].as_str().unwrap().to_owned()
}

fn state(daemon: &Daemon, id: &str) -> Value {
    daemon.ask_json(&["run", "show", id])["state"].clone()
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect()
}

#[test]
fn a_run_is_cancelled_tried_again_and_a_step_of_it_left_out() {
    let home = tempfile::tempdir().unwrap();
    let mut daemon = daemon(home.path(), &[("asks", ASKS)]);
    let id = started(&daemon, home.path(), "asks");
    wait_until("it asks", || state(&daemon, &id) == "waiting");
    let open = daemon.ask(&["run", "retry", &id]).ends(1);
    assert!(open.err.contains("has not ended"), "{}", open.err);
    assert_eq!(daemon.ask_json(&["run", "list", "--stuck"]), Value::Array(Vec::new()), "a person is waited for");
    daemon.ask(&["run", "cancel", &id]).ends(0);
    wait_until("it is cancelled", || state(&daemon, &id) == "cancelled");
    let ended = daemon.ask(&["run", "skip", &format!("{id}/was_it"), "--why", "not needed"]).ends(1);
    assert!(ended.err.contains(&format!("quell run retry {id}")), "{}", ended.err);

    let again = daemon.ask(&["run", "retry", &id, "--why", "it was the wrong one"]).ends(0).out;
    assert!(again.contains("again was_it, after"), "{again}");
    wait_until("it asks again", || state(&daemon, &id) == "waiting");
    assert_eq!(daemon.ask(&["run", "retry", &id, "--from", "was_it"]).code, Some(1));
    // It outlives the daemon.
    daemon.kill();
    let config = home.path().join("quell.yaml");
    let (dir, log) = (home.path().join("state"), home.path().join("log"));
    daemon = Daemon::start(command(&["up"]), Some(&config), &dir, &log);
    daemon.stands();
    assert_eq!(state(&daemon, &id), "waiting");

    let wrong = daemon.ask(&["run", "skip", &format!("{id}/was_ti"), "--why", "x"]).ends(2);
    assert!(wrong.err.contains("did you mean `was_it`?"), "{}", wrong.err);
    daemon.ask(&["run", "skip", &id, "--why", "x"]).ends(2);
    daemon.ask(&["run", "skip", &format!("{id}/was_it"), "--why", "not needed"]).ends(0);
    wait_until("it has ended", || state(&daemon, &id) == "succeeded");
    let run = daemon.ask_json(&["run", "show", &id]);
    let step = &run["steps"].as_array().unwrap().iter().find(|step| step["id"] == "was_it").unwrap();
    assert_eq!(step["outcome"], "skipped");
    assert!(step["proof"].as_str().unwrap().ends_with(": not needed"), "{step}");
    let people: Vec<&str> = run["people"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!(people, ["cancel", "retry", "skip"]);
    let drawn = daemon.ask(&["playbook", "graph", "--run", &id]).ends(0).out;
    assert!(drawn.contains("skipped") && drawn.contains("done"), "{drawn}");
    assert!(daemon.ask(&["run", "retry", &id]).ends(1).err.contains("succeeded"));
}

#[test]
fn a_breaker_is_opened_seen_and_closed_by_a_person() {
    let home = tempfile::tempdir().unwrap();
    let daemon = daemon(home.path(), &[("asks", ASKS)]);
    let shown = || daemon.ask_json(&["breaker"]);
    assert_eq!(shown(), serde_json::json!([{ "id": "asks", "open": false }]));
    daemon.ask(&["breaker", "open", "asks"]).ends(2);
    assert!(daemon.ask(&["breaker", "open", "askes", "--why", "x"]).ends(2).err.contains("did you mean `asks`?"));
    daemon.ask(&["breaker", "open", "asks", "--why", "it asks \u{1b}[2Jtoo much"]).ends(0);
    assert_eq!((&shown()[0]["open"], &shown()[0]["closes"]), (&true.into(), &Value::Null));
    let table = daemon.ask(&["breaker", "show"]).ends(0).out;
    assert!(table.contains("by hand") && table.contains("too much") && !table.contains('\u{1b}'), "{table:?}");
    assert_eq!(daemon.status()["held"][0]["id"], "asks");
    assert!(daemon.ask(&["breaker", "open", "asks", "--why", "x"]).ends(1).err.contains("already"));
    daemon.ask(&["breaker", "close", "asks", "--why", "it is mended"]).ends(0);
    assert_eq!(shown()[0]["open"], false);
    assert!(daemon.ask(&["breaker", "close", "asks", "--why", "x"]).ends(1).err.contains("closed already"));
}

#[test]
fn a_whole_outage_is_tried_again_and_each_run_says_how_it_went() {
    let fails = "playbook: fails\ndescription: Fails.\non: { manual: true }\nsteps:\n  \
        look: { script: \"throw \\\"the registry is away\\\"\" }\n  say: { needs: [look], tell: \"never\" }\n";
    let home = tempfile::tempdir().unwrap();
    let daemon = daemon(home.path(), &[("asks", ASKS), ("fails", fails)]);
    let none = daemon.ask(&["run", "retry", "--failed", "--since", "1h"]).ends(0).out;
    assert!(none.contains("no run has failed"), "{none}");
    let first = started(&daemon, home.path(), "fails");
    let second = started(&daemon, home.path(), "fails");
    let other = started(&daemon, home.path(), "asks");
    wait_until("they have failed", || state(&daemon, &first) == "failed" && state(&daemon, &second) == "failed");
    let failed = daemon.ask_json(&["run", "list", "--failed", "--since", "1h"]);
    assert_eq!(ids(&failed), [second.as_str(), first.as_str()]);
    assert_eq!(ids(&daemon.ask_json(&["run", "list"])), [other.as_str(), second.as_str(), first.as_str()]);
    assert_eq!(daemon.ask_json(&["run", "list", "--failed", "--since", "2100-01-01T00:00:00Z"]), Value::Array(vec![]));
    let all = daemon.ask_json(&["run", "retry", "--failed", "--since", "1h"]);
    assert_eq!(ids(&all), [first.as_str(), second.as_str()], "the earliest first");
    assert!(all.as_array().unwrap().iter().all(|one| one["again"] == serde_json::json!(["look", "say"])), "{all}");
    wait_until("they have failed again", || state(&daemon, &first) == "failed" && state(&daemon, &second) == "failed");
    daemon.ask(&["pause"]).ends(0);
    let refused = daemon.ask(&["run", "retry", "--failed", "--since", "1h"]).ends(1);
    assert_eq!(refused.out.matches("not tried again: every action is paused").count(), 2, "{}", refused.out);
    // Half of the two is no wish.
    for args in [&["run", "retry"][..], &["run", "retry", "--failed"], &["run", "retry", "--since", "1h"]] {
        daemon.ask(args).ends(2);
    }
}

#[test]
fn somebody_says_that_they_look_after_an_incident_and_a_playbook_hears_of_it() {
    let rule = "title: Marked\nname: marked\nstatus: test\nlevel: high\nlogsource: { product: linux, category: process_creation }\n\
        detection:\n  image: { Image|endswith: /quell-marked }\n  condition: image\n";
    let follows = "playbook: follows\ndescription: Says what an incident does.\non: { incident: [opened, acknowledged] }\nsteps:\n  \
        say: { tell: \"${{ incident.moment }} by ${{ incident.by ?? `nobody` }}\" }\n";
    let config = "playbooks: { shipped: false, dirs: [playbooks] }\nrules: { shipped: false, dirs: [rules] }\n\
        sources: { sensor: { enabled: false }, files: [{ format: plain, path: events.jsonl }] }\n";
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "rules/marked.yml", rule);
    write(home.path(), "playbooks/follows.yaml", follows);
    write(home.path(), "events.jsonl", "");
    let config = write(home.path(), "quell.yaml", config);
    let (dir, log) = (home.path().join("state"), home.path().join("log"));
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &dir, &log);
    daemon.stands();
    let listed = daemon.ask(&["playbook", "list", "--config", config.to_str().unwrap()]).ends(0).out;
    assert!(listed.contains("incident opened, acknowledged"), "{listed}");
    write(home.path(), "events.jsonl", "{\"Image\": \"/bin/quell-marked\", \"User\": \"ana\"}\n");
    let runs = |daemon: &Daemon| daemon.ask_json(&["run", "list"]).as_array().unwrap().len();
    wait_until("an incident is opened, and followed", || runs(&daemon) == 1);
    let id = daemon.ask_json(&["incident", "list"])[0]["id"].as_str().unwrap().to_owned();
    let said = daemon.ask(&["incident", "ack", &id, "--why", "mine \u{1b}[2J"]).ends(0).out;
    assert!(said.ends_with(": acknowledged\n"), "{said:?}");
    wait_until("that is followed too", || runs(&daemon) == 2);
    let again = daemon.ask(&["incident", "ack", &id]).ends(0).out;
    assert!(again.contains("was acknowledged by ") && again.contains("(socket) already"), "{again}");
    let json = daemon.ask_json(&["incident", "ack", &id]);
    assert_eq!((&json["state"], &json["changed"]), (&"acknowledged".into(), &false.into()), "{json}");
    for view in [&["incident", "list"][..], &["incident", "show", &id], &["incident", "explain", &id]] {
        let shown = daemon.ask(view).ends(0).out;
        assert!(shown.contains("acknowledged") && !shown.contains('\u{1b}'), "{view:?}: {shown:?}");
        let json = daemon.ask_json(view);
        let one = if json.is_array() { &json[0] } else { &json };
        assert_eq!((&one["state"], &one["acknowledged"]["via"]), (&"acknowledged".into(), &"socket".into()), "{one}");
    }
    let told = daemon.ask(&["incident", "show", &id]).ends(0).out;
    assert!(told.contains("opened by nobody") && told.contains(": mine"), "{told}");
    // It outlives the daemon.
    daemon.kill();
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &dir, &log);
    daemon.stands();
    assert_eq!((daemon.ask_json(&["incident", "ack", &id])["changed"].clone(), runs(&daemon)), (false.into(), 2));
    let open = daemon.ask(&["incident", "unack", &id, "--why", "my shift is over"]).ends(0).out;
    assert!(open.contains("nobody looks after it any more"), "{open}");
    assert!(daemon.ask(&["incident", "unack", &id]).ends(0).out.contains("nobody looked after it"));
    daemon.ask(&["incident", "resolve", &id]).ends(0);
    assert!(daemon.ask(&["incident", "ack", &id]).ends(1).err.contains("quell incident reopen"));
}

#[test]
fn a_playbook_is_promoted_by_a_person_and_held_back() {
    let home = tempfile::tempdir().unwrap();
    let observes = ASKS.replace("steps:", "mode: observe\nsteps:");
    let mut daemon = daemon(home.path(), &[("asks", &observes)]);
    let told = daemon.ask(&["playbook", "promote", "asks", "--since", "1h"]).ends(0).out;
    assert!(told.contains("its own mode is observe; at most observe") && told.contains("0 runs"), "{told}");
    let past = daemon.ask(&["playbook", "promote", "asks", "--to", "enforce", "--yes"]).ends(1);
    assert!(past.err.contains("beyond the configuration"), "{}", past.err);
    write(home.path(), "quell.yaml", &format!("mode: enforce\n{QUIET}"));
    daemon.kill();
    let (config, dir, log) = (home.path().join("quell.yaml"), home.path().join("state"), home.path().join("log"));
    let start = || {
        let mut daemon = Daemon::start(command(&["up"]), Some(&config), &dir, &log);
        daemon.stands();
        daemon
    };
    daemon = start();
    let alone = daemon.ask(&["playbook", "promote", "asks", "--to", "enforce"]).ends(2);
    assert!(alone.err.contains("--yes"), "{}", alone.err);
    let why = ["--why", "a week \u{1b}[2Jof it"];
    let set =
        daemon.ask(&[&["playbook", "promote", "asks", "--to", "enforce", "--yes"][..], &why].concat()).ends(0).out;
    assert!(set.contains("observe before, enforce from now on") && set.contains("0 runs"), "{set}");
    assert!(daemon.ask(&["playbook", "promote", "asks", "--to", "enforce", "--yes"]).ends(1).err.contains("already"));
    // Another text than the one that was looked at is none that may go on.
    let other = "0".repeat(64);
    let other = daemon.ask(&["playbook", "promote", "asks", "--to", "approve", "--hash", &other, "--yes"]).ends(1);
    assert!(other.err.contains("text"), "{}", other.err);
    // It outlives the daemon.
    daemon.kill();
    daemon = start();
    // Without its sensor it is blind.
    let said = daemon.ask(&["status"]).ends(1).out;
    assert!(said.contains("by hand asks: enforce: ") && !said.contains('\u{1b}'), "{said:?}");
    assert_eq!(daemon.status()["playbooks"][0]["mode"], "enforce");
    let shown = daemon.ask_json(&["playbook", "promote", "asks"]);
    assert_eq!((&shown["stands"]["mode"], &shown["stands"]["own"]), (&"enforce".into(), &"observe".into()), "{shown}");
    let json = daemon.ask_json(&["playbook", "promote", "asks", "--to", "observe", "--yes"]);
    assert_eq!((&json["from"], &json["mode"]), (&"enforce".into(), &"observe".into()), "{json}");
    let near = daemon.ask(&["playbook", "promote", "askes"]).ends(2);
    assert!(near.err.contains("did you mean `asks`?"), "{}", near.err);
}
