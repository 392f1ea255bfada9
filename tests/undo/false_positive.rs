//! What was no attack, through `quell up`: one command takes back what was done, resolves, and writes an exception; with that loaded the
//! same is not detected any more, and what differs is.

use super::{Ticking, first_run_of, home, program, start_in};
use crate::cli::wait_until;
use crate::threats::group::Group;
use std::fs;
use std::path::{Path, PathBuf};

const NAME: &str = "quell-mistaken";

/// The program as it is, in a folder of its own.
fn elsewhere(program: &Path) -> PathBuf {
    let dir = program.parent().unwrap().join("elsewhere");
    fs::create_dir(&dir).unwrap();
    let path = dir.join(NAME);
    fs::copy(program, &path).unwrap();
    path
}

#[test]
fn a_false_positive_is_one_command_and_its_exception_holds_back_no_more_than_it() {
    let Some(top) = Group::or_untested(&format!("quell-test-mistaken-{}", std::process::id()), "a false positive")
    else {
        return;
    };
    let dir = home(&top);
    let config = dir.path().join("quell.yaml");
    let text = fs::read_to_string(&config).unwrap().replace("dirs: [rules]", "dirs: [rules], exceptions: [exceptions]");
    fs::write(&config, text).unwrap();
    fs::create_dir(dir.path().join("exceptions")).unwrap();
    let file = dir.path().join("exceptions/mistaken.yml");
    let program = program(dir.path(), NAME, "24h");
    let other = elsewhere(&program);
    let mut daemon = start_in(dir.path());
    if !daemon.armed("a false positive") {
        return top.remove();
    }
    let held = Ticking::start(&top, &program);
    let run = || first_run_of(&daemon, NAME);
    wait_until("it is held", || run().is_some_and(|run| run["state"] == "succeeded"));
    let incident = daemon.ask_json(&["incident", "list"])[0]["id"].as_str().unwrap().to_owned();

    let nobody =
        daemon.ask(&["incident", "false-positive", "i-none", "--reason", "x", "--out", file.to_str().unwrap()]);
    assert!(nobody.code == Some(1) && nobody.err.contains("there is no incident"), "{nobody:?}");
    assert!(!file.exists(), "nothing was drafted, and nothing is left");
    let silent = daemon.ask(&["incident", "false-positive", &incident, "--reason", " "]);
    assert!(silent.code == Some(2) && silent.err.contains("`reason` is empty"), "{silent:?}");
    let long = daemon.ask(&["incident", "false-positive", &incident, "--reason", "x", "--expires", "10y"]);
    assert!(long.code == Some(2) && long.err.contains("from `1d` to `366d`"), "{long:?}");
    let none = daemon.ask(&["incident", "show", &incident, "--exception"]);
    assert!(none.code == Some(1) && none.err.contains("no exception was drafted"), "{none:?}");

    let args = ["incident", "false-positive", &incident, "--reason", "our own job", "--out", file.to_str().unwrap()];
    let said = daemon.ask(&args);
    assert_eq!(said.code, Some(0), "{said:?}\n{}", daemon.log());
    assert!(said.out.contains("resolved as a false positive; 1 of 1 runs are taken back"), "{}", said.out);
    assert_eq!(run().unwrap()["state"], "undone", "it is said once it is so");
    held.goes_on();
    let shown = daemon.ask_json(&["incident", "show", &incident]);
    assert_eq!((&shown["state"], &shown["false_positive"]["reason"]), (&"resolved".into(), &"our own job".into()));
    let kinds = shown["timeline"].as_array().unwrap().iter().filter(|line| line["kind"] == "ExceptionDrafted");
    assert_eq!(kinds.count(), 1, "{shown}");
    let drafted = fs::read_to_string(&file).unwrap();
    assert!(drafted.contains("reason: \"our own job\""), "{drafted}");
    assert_eq!(daemon.ask(&["incident", "show", &incident, "--exception"]).out, drafted);
    let again = daemon.ask(&args[..5]);
    assert!(again.code == Some(1) && again.err.contains("resolved as a false positive already"), "{again:?}");
    let over = daemon.ask(&args);
    assert!(over.code == Some(2) && over.err.contains("cannot be made"), "{over:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), drafted, "what is there is not overwritten");

    // A person has committed it.
    let reloaded = daemon.exchange("POST", "/v1/reload", "").unwrap();
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    let count = || {
        let runs = daemon.ask_json(&["run", "list"]);
        runs.as_array().unwrap().iter().filter(|run| run["playbook"] == NAME).count()
    };
    let before = count();
    drop(held);
    let same = Ticking::start(&top, &program);
    same.goes_on();
    // Events come in their order: what is seen after it was decided after it.
    let differs = Ticking::start(&top, &other);
    wait_until("what differs is held", || count() > before);
    wait_until("and stays so", || daemon.status()["standing"] == 1);
    assert_eq!(count(), before + 1, "the same is no attack any more");
    same.goes_on();
    let explained = daemon.ask(&["incident", "explain", &incident]);
    assert!(explained.out.contains("elsewhere/quell-mistaken"), "{}", explained.out);
    assert_eq!(daemon.ask(&["store", "check"]).code, Some(0));
    drop((same, differs));
    daemon.end();
    top.remove();
}
