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
        "run list",
        "run show",
        "run cancel",
        "incident list",
        "incident show",
        "incident explain",
        "incident note",
        "incident resolve",
        "incident reopen",
        "action list",
        "action show",
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
