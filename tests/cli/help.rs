//! Every command explains itself, with an example.

use super::{every_command, quell};

#[test]
fn every_command_has_help_with_an_example() {
    let commands = every_command();
    assert!(commands.len() > 30, "{commands:?}");
    for path in commands {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = quell(&args).ends(0);
        assert!(help.out.contains("Example"), "`quell {}` has no example:\n{}", path.join(" "), help.out);
        assert!(help.out.contains("--json"), "`quell {}` has no --json", path.join(" "));
        assert!(help.err.is_empty(), "{}", help.err);
    }
}

#[test]
fn what_is_due_is_there() {
    let there: Vec<String> = every_command().iter().map(|path| path.join(" ")).collect();
    for due in [
        "demo",
        "up",
        "init",
        "doctor",
        "status",
        "pause",
        "resume",
        "uninstall",
        "watch",
        "detect",
        "config check",
        "config show",
        "rules check",
        "playbook check",
        "playbook list",
        "playbook graph",
        "playbook new",
        "playbook show",
        "playbook schema",
        "playbook run",
        "playbook test",
        "playbook promote",
        "run list",
        "run show",
        "run cancel",
        "run retry",
        "run skip",
        "run undo",
        "run approve",
        "run deny",
        "run keep",
        "run answer",
        "run output",
        "incident list",
        "incident show",
        "incident explain",
        "incident ack",
        "incident unack",
        "incident escalate",
        "incident note",
        "incident resolve",
        "incident reopen",
        "incident undo",
        "incident false-positive",
        "breaker show",
        "breaker open",
        "breaker close",
        "store check",
        "store backup",
        "store prune",
        "store redact",
        "api schema",
        "config schema",
        "action list",
        "action show",
        "oncall check",
        "oncall who",
        "oncall preview",
        "oncall prove",
        "oncall simulate",
        "silence add",
        "silence list",
        "silence end",
        "completions",
    ] {
        assert!(there.iter().any(|name| name == due), "`{due}` is missing");
    }
    assert!(!there.iter().any(|name| name.contains("actor")), "hidden commands are hidden");
}

#[test]
fn completions_come_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(quell(&["completions", shell]).ends(0).out.contains("quell"));
    }
}
