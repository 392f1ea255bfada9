//! `--api` names a daemon elsewhere: what works on this machine alone does not pass over it.

use super::{every_command, quell};
use std::collections::BTreeSet;

/// What works on this machine alone, with arguments that are right; `DIR` is a directory with nothing in it.
const HERE: &[&[&str]] = &[
    &["demo"],
    &["up", "--mode", "observe", "--data-dir", "DIR/new"],
    &["init", "DIR/new"],
    &["doctor"],
    &["uninstall", "--data-dir", "DIR/new"],
    &["watch"],
    &["detect", "--rules", "DIR", "-"],
    &["config", "check"],
    &["config", "schema"],
    &["config", "show"],
    &["rules", "check", "DIR"],
    &["playbook", "check", "DIR"],
    &["playbook", "graph", "DIR"],
    &["playbook", "new", "mine", "--dir", "DIR/new"],
    &["playbook", "show", "DIR"],
    &["playbook", "test", "DIR"],
    &["playbook", "schema"],
    &["action", "list"],
    &["action", "show", "process.kill"],
    &["action", "permissions", "--format", "linux-capabilities"],
    &["oncall", "check"],
    &["oncall", "who"],
    &["oncall", "preview"],
    &["oncall", "prove"],
    &["oncall", "simulate", "--incident", "i.yaml"],
    &["store", "check", "--data-dir", "DIR/new"],
    &["store", "backup", "DIR/copy", "--data-dir", "DIR/new"],
    &["store", "redact", "run/r-0", "1", "--reason", "a secret", "--data-dir", "DIR/new"],
    &["store", "prune", "--older-than", "90d", "--data-dir", "DIR/new"],
    &["api", "schema"],
    &["completions", "bash"],
];

/// What may ask a daemon.
const ASKS: &[&str] = &["status", "pause", "resume", "breaker", "run", "incident", "silence"];
const ASKS_OF_PLAYBOOKS: &[&str] = &["list", "promote", "run"];

#[test]
fn what_works_on_this_machine_alone_refuses_an_address_and_opens_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_str().unwrap();
    for (flag, value) in [("--api", "http://127.0.0.1:1"), ("--token-file", "/none"), ("--ca-file", "/none")] {
        for here in HERE {
            let args: Vec<String> = here.iter().map(|arg| arg.replace("DIR", dir)).collect();
            let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
            args.extend([flag, value]);
            let ran = quell(&args).ends(2);
            assert!(
                ran.out.is_empty() && ran.err.contains(&format!("`{flag}` is about a daemon elsewhere")),
                "{args:?}: {ran:?}"
            );
        }
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn every_command_is_one_or_the_other() {
    let here: BTreeSet<Vec<&str>> = HERE.iter().map(|args| args.iter().take(2).copied().collect()).collect();
    for command in every_command() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let is_here = here.iter().any(|args| args.starts_with(&words));
        let asks = match words.as_slice() {
            ["playbook", of] => ASKS_OF_PLAYBOOKS.contains(of),
            [first, ..] => ASKS.contains(first),
            [] => false,
        };
        assert!(is_here != asks, "`{}` is in none of the two lists, or in both", words.join(" "));
    }
}
