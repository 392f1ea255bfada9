//! The exit codes that scripts rely on.

use super::{quell, quell_fed, write};

/// Every command that speaks to a daemon.
const CLIENTS: &[&[&str]] = &[
    &["status"],
    &["pause"],
    &["resume"],
    &["run", "list"],
    &["run", "show", "r-1"],
    &["run", "cancel", "r-1"],
    &["incident", "list"],
    &["incident", "show", "i-1"],
    &["incident", "explain", "i-1"],
    &["incident", "note", "i-1", "text"],
    &["incident", "ack", "i-1"],
    &["incident", "unack", "i-1"],
    &["incident", "resolve", "i-1"],
    &["incident", "reopen", "i-1"],
];

#[test]
fn without_a_daemon_clients_end_with_3_and_say_where_they_looked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    for client in CLIENTS {
        for json in [false, true] {
            let mut args = client.to_vec();
            args.extend(["--data-dir", dir]);
            args.extend(json.then_some("--json"));
            let ran = quell(&args).ends(3);
            assert!(ran.out.is_empty(), "{client:?} printed data: {}", ran.out);
            assert!(ran.err.contains(dir) && ran.err.contains("hint:"), "{}", ran.err);
        }
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["up", "--mode", "attack"],
        &["detect"],
        &["playbook", "graph"],
        &["run", "show"],
        &["status", "--no-such-flag"],
        &["init"],
    ] {
        let ran = quell(args).ends(2);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{args:?}: {ran:?}");
    }
}

#[test]
fn what_does_not_exist_ends_with_1_and_names_what_is_near() {
    let ran = quell(&["action", "show", "proces.kill"]).ends(1);
    assert!(ran.err.contains("did you mean `process.kill`?"), "{}", ran.err);
}

#[test]
fn a_check_of_what_is_not_there_is_wrong_usage() {
    for args in [
        &["playbook", "check", "/no/such/playbook.yaml"][..],
        &["rules", "check", "/no/such/dir"],
        &["config", "check", "/no/such/quell.yaml"],
        &["oncall", "check", "--config", "/no/such/escalation.yaml"],
        &["detect", "--rules", "/no/such/dir", "-"],
        &["up", "--config", "/no/such/quell.yaml"],
    ] {
        let ran = quell(args).ends(2);
        assert!(ran.err.contains("/no/such"), "{args:?}: {}", ran.err);
    }
}

#[test]
fn a_check_of_nothing_is_wrong_usage_and_calls_nothing_right() {
    let dir = tempfile::tempdir().unwrap();
    for json in [&[][..], &["--json"]] {
        let mut args = vec!["playbook", "check", dir.path().to_str().unwrap()];
        args.extend(json);
        let ran = quell(&args).ends(2);
        assert!(ran.out.is_empty() && ran.err.contains("no playbook"), "{args:?}: {ran:?}");
    }
}

#[test]
fn a_mistake_is_1_for_a_check_and_2_for_up() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(dir.path(), "quell.yaml", "mode: enforec\n");
    let config = config.to_str().unwrap();
    quell(&["config", "check", config]).ends(1);
    quell(&["up", "--config", config, "--data-dir", dir.path().join("state").to_str().unwrap()]).ends(2);
}

#[test]
fn up_refuses_a_data_directory_that_cannot_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "file", "");
    quell(&["up", "--data-dir", file.to_str().unwrap()]).ends(2);
}

#[test]
fn playbooks_run_by_hand_only_observe_without_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let init = dir.path().join("init");
    quell(&["init", init.to_str().unwrap()]).ends(0);
    let file = init.join("playbooks/shell-from-web-server/playbook.yaml");
    let state = dir.path().join("state");
    let args = ["playbook", "run", file.to_str().unwrap(), "--mode", "enforce", "--data-dir", state.to_str().unwrap()];
    let ran = quell(&args).ends(3);
    assert!(ran.err.contains("observe"), "{}", ran.err);
}

#[test]
fn detect_reads_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let init = dir.path().join("init");
    quell(&["init", init.to_str().unwrap()]).ends(0);
    let rules = init.join("rules");
    let event = r#"{"Image":"/bin/sh","ParentImage":"/usr/sbin/nginx","CommandLine":"sh -c id"}"#;
    let ran = quell_fed(&["detect", "--rules", rules.to_str().unwrap(), "--json", "-"], &format!("{event}\n")).ends(0);
    let line: serde_json::Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert_eq!(line["rule"]["name"], "shell-from-web-server", "{}", ran.out);
}
