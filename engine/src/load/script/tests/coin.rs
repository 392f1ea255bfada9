//! One text, one playbook: nothing that a script can read differs from one process, or one reading, to the next.

use super::load;
use std::process::Command;

/// Tries whatever could tell a function without a name from another.
const COIN: &str = "playbook(\"coin\", #{});\n\
    let f = |a| a;\nlet g = |a, b| a + b;\n\
    tell(\"a\", f.name);\ntell(\"b\", f.to_string());\ntell(\"c\", `${g} ${[f]} ${#{ g: g }}`);\ntell(\"d\", g.to_debug());\n";

#[test]
#[expect(clippy::disallowed_methods, reason = "the way to the test's own second process")]
fn a_script_cannot_toss_a_coin() {
    let told = || format!("{:?}", load(COIN));
    let mine = told();
    assert!(mine.contains("a function") && !mine.contains("anon$"), "{mine}");
    // In a process of its own, whose hashes have a seed of their own.
    if let Some(file) = std::env::var_os("QUELL_COIN") {
        return std::fs::write(file, mine).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("told");
    let test = std::env::current_exe().unwrap();
    let mut again = Command::new(test);
    again.args(["load::script::tests::coin::a_script_cannot_toss_a_coin", "--exact"]).env("QUELL_COIN", &file);
    assert!(again.output().unwrap().status.success());
    assert_eq!(std::fs::read_to_string(file).unwrap(), mine);
}

#[test]
fn what_goes_wrong_is_neither_caught_nor_left_by_the_door() {
    for text in [
        "playbook(\"a\", #{}); try { tell(\"b\", 1, 2, 3); } catch {}",
        "playbook(\"a\", #{}); tell(\"b\", \"c\"); exit(); action(\"k\", \"nosuch.action\");",
        "playbook(\"a\", #{}); exit(1);",
        "playbook(\"a\", #{}); input(\"n\", #{ type: \"list\", \"default\": [1.0 / 0.0] });",
    ] {
        let (playbook, mistakes) = load(text);
        assert!(playbook.is_none() && !mistakes.is_empty(), "{text}: {mistakes:?}");
    }
}
