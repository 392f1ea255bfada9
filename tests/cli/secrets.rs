//! Secrets at the command line: where they are is checked and shown, what they are is in no output.

use super::{Ran, command, quell, write};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

const VALUE: &str = "hunter2-of-the-environment";

/// Runs it where the value is in the environment, and looks for it in what it says.
fn with_value(args: &[&str]) -> Ran {
    let ran = Ran::of(command(args).env("QUELL_TEST_CI_TOKEN", VALUE).output().unwrap());
    assert!(!ran.out.contains("hunter2") && !ran.err.contains("hunter2"), "{ran:?}");
    ran
}

#[test]
fn where_they_are_is_shown_and_one_that_cannot_be_read_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let key = write(dir.path(), "pager.key", "hunter2-of-a-file\n");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let text = "playbooks: { shipped: false }\nrules: { shipped: false }\nsecrets:\n  ci_token: { env: QUELL_TEST_CI_TOKEN }\n  pager: { file: pager.key }\n";
    let file = write(dir.path(), "quell.yaml", text);
    let file = file.to_str().unwrap();
    let ran = with_value(&["config", "check", file]).ends(0);
    assert!(ran.err.contains("1 warning"), "{}", ran.err);
    let mistakes = with_value(&["config", "check", "--json", file]).ends(0).json()["mistakes"].clone();
    let what = mistakes[0]["what"].as_str().unwrap();
    assert!(what.starts_with("the secret `pager` cannot be read now: others than its owner can read"), "{what}");
    assert!(what.ends_with(&format!("hint: chmod 600 {}", key.display())), "{what}");
    assert_eq!(mistakes[0]["line"], 5, "{mistakes}");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let ran = with_value(&["config", "check", file]).ends(0);
    assert!(ran.err.contains("no mistakes"), "{}", ran.err);
    let told = quell(&["config", "check", "--json", file]).ends(0).json();
    assert!(told["mistakes"][0]["what"].as_str().unwrap().contains("no environment variable"), "{told}");
    let shown = with_value(&["config", "show", "--json", "--config", file]).ends(0).json();
    let row = |id: &str| shown.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap()["value"].clone();
    assert_eq!(row("secrets.ci_token"), serde_json::json!({ "env": "QUELL_TEST_CI_TOKEN" }));
    assert_eq!(row("secrets.pager"), serde_json::json!({ "file": key }));
}

#[test]
fn no_mistake_repeats_what_may_be_the_value_itself() {
    let dir = tempfile::tempdir().unwrap();
    for (secrets, line, said) in [
        ("secrets: { hunter2 }\n", 1, "a secret does not say where its value is"),
        ("secrets: { Hunter2-XYZ: }\n", 1, "a secret does not say where its value is"),
        ("secrets:\n  ci_token: hunter2\n", 2, "a secret does not say where its value is"),
        ("secrets: [hunter2]\n", 1, "`secrets` is no map"),
        ("secrets: hunter2\n", 1, "`secrets` is no map"),
        ("secrets: { hunter2, hunter2 }\n", 1, "stands twice in `secrets`"),
        ("secrets: { Hunter2: { env: X } }\n", 1, "cannot be the name of a secret"),
        ("secrets:\n  pager: { env: hunter2 }\n", 2, "no environment variable of the name that its `env` gives"),
        ("secrets:\n  pager: { env: hunter2-of-mine }\n", 2, "is no name of an environment variable"),
        ("secrets:\n  pager: { file: hunter2 }\n", 2, "no file at the path that its `file` gives"),
        ("secrets:\n  pager: { hunter2 }\n", 2, "a key that is neither `env` nor `file`"),
    ] {
        let file = write(dir.path(), "quell.yaml", secrets);
        for args in [vec!["config", "check"], vec!["config", "check", "--json"]] {
            let ran = quell(&[args.as_slice(), &[file.to_str().unwrap()]].concat());
            let all = format!("{}{}", ran.out, ran.err);
            assert!(!all.to_lowercase().contains("hunter2"), "{secrets}: {all}");
            let told = all.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(told.contains(said), "{secrets}: {all}");
            let place = if args.len() == 3 { format!("\"line\":{line}") } else { format!("quell.yaml:{line}:") };
            assert!(told.replace("\": ", "\":").contains(&place), "{secrets}: {place} in {all}");
        }
    }
}

#[test]
fn a_playbook_that_shows_one_is_a_mistake_and_so_is_a_name_that_quell_yaml_lacks() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "quell.yaml", "secrets: { ci_token: { env: QUELL_TEST_CI_TOKEN } }\n");
    let steps = "playbook: p\nsteps:\n  say: { tell: \"${{ secrets.ci_token }}\" }\n  freeze: { action: process.freeze, with: { process: \"${{ secrets.ci_tokn }}\" } }\n";
    let file = write(dir.path(), "p.yaml", steps);
    let ran = with_value(&["playbook", "check", "--json", file.to_str().unwrap()]).ends(1);
    for what in ["no expression, text or script sees a secret", "there is no `ci_tokn` in `secrets`", "takes no secret"]
    {
        assert!(ran.out.contains(what), "no `{what}` in {}", ran.out);
    }
}
