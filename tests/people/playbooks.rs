//! Playbooks speak to people: a step hands the incident on, and mails go where it says.

use super::*;

const PLAYBOOK: &str = "playbook: hand-on\non: { detections: { rules: [marked], level: high } }\nmode: enforce\nsteps:\n  \
    report: { tell: \"seen on ${{ event.node }}\" }\n  hand_on: { needs: [report], escalate: night }\n";

/// `default` tells ana, `night` tells bo.
fn two_policies() -> String {
    let policy = "  night:\n    steps: [{ notify: [person: bo], by: [email], wait: 1h }]\n    last_resort: [person: lead]\nroutes:";
    escalation(&["ana", "bo", "lead"], &["ana"], "1h").replace("routes:", policy)
}

fn config(mode: &str) -> String {
    CONFIG.replace(
        "playbooks: { shipped: false }",
        &format!("mode: {mode}\nplaybooks: {{ shipped: false, dirs: [playbooks] }}"),
    )
}

#[test]
fn a_playbook_hands_an_incident_on_once_also_when_quell_is_killed() {
    let more = [("playbooks/hand-on.yaml", PLAYBOOK)];
    let mut night = Night::with(&two_policies(), &config("enforce"), &more);
    let server = night.serves();
    let id = night.attacked();
    wait_until("bo is told", || server.to("bo@example.org").len() == 1);
    let mail = server.to("bo@example.org").remove(0);
    assert!(mail["text"].as_str().unwrap().contains("escalates, in its step `hand_on`"), "{mail}");
    wait_until("the story says so", || night.story(&id).contains("was handed on"));
    let story = night.story(&id);
    for line in ["goes by the policy default", "goes up to step 1 of the policy night: run r-", "seen on"] {
        assert!(story.contains(line), "`{line}` in {story}");
    }
    night.again();
    night.daemon.ask(&["incident", "ack", &id]).ends(0);
    let runs = night.daemon.ask_json(&["run", "list"]);
    let run = runs[0]["id"].as_str().unwrap();
    let shown = night.daemon.ask_json(&["run", "show", run]);
    let step = shown["steps"].as_array().unwrap().iter().find(|step| step["id"] == "hand_on").unwrap().clone();
    assert_eq!((&step["outcome"], &step["output"]), (&json!("done"), &json!({ "policy": "night", "step": 1 })));
    assert_eq!(server.mails().len(), 1, "nobody else, and nobody twice");
}

#[test]
fn in_observe_a_playbook_hands_nothing_on() {
    let more = [("playbooks/hand-on.yaml", PLAYBOOK)];
    let night = Night::with(&two_policies(), &config("observe"), &more);
    let server = night.serves();
    let id = night.attacked();
    wait_until("ana is told", || server.to("ana@example.org").len() == 1);
    wait_until("the run is over", || night.daemon.ask_json(&["run", "list"])[0]["state"] == "succeeded");
    assert!(!night.story(&id).contains("night"), "{}", night.story(&id));
}

#[test]
fn the_check_knows_the_policies_and_their_steps() {
    let home = tempfile::tempdir().unwrap();
    let put = |file: &str, text: &str| fs::write(home.path().join(file), text).unwrap();
    put("escalation.yaml", &two_policies());
    put("quell.yaml", &CONFIG.replace("dirs: [rules]", "dirs: []"));
    put(
        "p.yaml",
        "playbook: p\non: { incident: acknowledged }\nsteps:\n  a: { escalate: nigth }\n  b: { escalate: { policy: night, step: 2 } }\n",
    );
    let mut check = command(&["playbook", "check"]);
    let out = check.arg(home.path().join("p.yaml")).output().unwrap();
    let said = [out.stdout, out.stderr].map(|told| String::from_utf8(told).unwrap()).concat();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no policy `nigth`") && said.contains("did you mean `night`"), "{said}");
    assert!(said.contains("`night` has no step 2, it has 1"), "{said}");
}
