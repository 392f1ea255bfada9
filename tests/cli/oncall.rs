//! `quell oncall check`: what ships is right, and every mistake is told with its place.

use super::{Ran, command, quell, write};
use serde_json::{Value, json};
use std::path::Path;

/// With these variables set, and no others of quell's.
fn check(args: &[&str], set: &[(&str, &str)]) -> Ran {
    let mut command = command(&["oncall", "check"]);
    command.args(args).env_remove("QUELL_SMTP").envs(set.iter().copied());
    Ran::of(command.output().unwrap())
}

#[test]
fn what_ships_is_right_and_mails_where_a_server_is_named() {
    let ran = check(&["--config", "escalation.yaml"], &[("QUELL_SMTP", "smtp://localhost:1025")]).ends(0);
    assert!(ran.out.contains("ok") && ran.out.contains("escalation.yaml"), "{ran:?}");
    assert!(
        ran.err.contains("no mistakes; 1 person, 1 schedule, 1 policy, 1 route, told by console, email"),
        "{ran:?}"
    );
    // Without the variable nobody is mailed, and it says so.
    let told = check(&["--config", "escalation.yaml", "--json"], &[]).ends(0).json();
    let mistakes = told["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 1, "{told}");
    assert_eq!(mistakes[0]["level"], "warning");
    assert_eq!(
        mistakes[0]["what"],
        "the channel `email` is off for now: `smtp` is in the environment variable `QUELL_SMTP`, which is not set"
    );
    let kept =
        json!({ "ok": told["ok"], "people": told["people"], "channels": told["channels"], "routes": told["routes"] });
    assert_eq!(kept, json!({ "ok": true, "people": 1, "channels": ["console", "email"], "routes": 1 }));
    // What is set and is no address is not shown.
    let ran = check(&["--config", "escalation.yaml"], &[("QUELL_SMTP", "hunter2")]).ends(0);
    assert!(ran.err.contains("is off for now") && !ran.err.contains("hunter2"), "{}", ran.err);
}

/// Somebody is reached at every moment of 400 days, and at last too: with a mail server and without one.
#[test]
fn what_ships_is_proved() {
    let dir = tempfile::tempdir().unwrap();
    let junit = dir.path().join("oncall.xml");
    let at = ["oncall", "prove", "--config", "escalation.yaml", "--days", "400", "--at", "2026-12-01T00:00:00Z"];
    for smtp in [Some("smtp://localhost:1025"), None] {
        let mut prove = command(&at);
        prove.args(["--json", "--junit", junit.to_str().unwrap()]).env_remove("QUELL_SMTP");
        prove.envs(smtp.map(|url| ("QUELL_SMTP", url)));
        let ran = Ran::of(prove.output().unwrap()).ends(0);
        assert!(ran.err.contains("400 days: no mistakes"), "{ran:?}");
        assert_eq!(ran.err.contains("`email` is off for now"), smtp.is_none(), "{}", ran.err);
        let proof = ran.json();
        assert_eq!((&proof["ok"], &proof["findings"]), (&json!(true), &json!([])));
        let load = proof["load"].as_array().unwrap();
        let of = |load: &Value| (load["id"].clone(), load["minutes"].clone());
        assert_eq!(load.iter().map(of).collect::<Vec<_>>(), [(json!("primary/oncall"), json!(400 * 24 * 60))]);
        let xml = std::fs::read_to_string(&junit).unwrap();
        assert!(xml.contains("tests=\"3\" skipped=\"0\" failures=\"0\" errors=\"0\""), "{xml}");
    }
}

/// What stands behind comments in it is right too, once it is taken in.
#[test]
fn what_ships_as_an_example_is_right() {
    let text = std::fs::read_to_string("escalation.yaml").unwrap();
    let mut taken = String::new();
    for line in text.lines() {
        let bare = line.trim_start();
        let indent = &line[..line.len() - bare.len()];
        let is_example = |text: &&str| {
            let key = text.trim_start().trim_start_matches("- ");
            key.starts_with(['{', 'a', 's', 'w', 'b', 'o']) && text.contains(": ") || text.ends_with(':')
        };
        let example = bare.strip_prefix("# ").filter(is_example);
        taken.push_str(&example.map_or_else(|| line.to_owned(), |example| format!("{indent}{example}")));
        taken.push('\n');
    }
    assert!(taken.contains("\n  slack:") && taken.contains("\n  ana:") && taken.contains("\napprovers:"), "{taken}");
    let security =
        "  security: { steps: [{ notify: [person: ana], by: [wake], wait: 5m }], last_resort: [channel: slack] }\n";
    let taken = taken.replace("policies:\n", &format!("policies:\n{security}"));
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "escalation.yaml", &taken);
    let told = check(&["--config", file.to_str().unwrap(), "--json"], &[]);
    let told = told.ends(0).json();
    let mistakes = told["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 4, "what is off, and nothing else: {told}\n{taken}");
    assert!(mistakes.iter().all(|mistake| mistake["what"].to_string().contains("is off for now")), "{told}");
}

#[test]
fn every_mistake_has_its_place_and_the_check_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let text = "people:\n  ana: { email: ana@example.org }\npolicies:\n  security:\n    steps:\n      - { notify: [person: anna], wait: 5m }\n";
    let file = write(dir.path(), "escalation.yaml", text);
    let file = file.to_str().unwrap();
    let ran = check(&["--config", file], &[]).ends(1);
    assert!(ran.out.is_empty(), "{}", ran.out);
    for told in ["escalation.yaml:5:5", "no `last_resort`", "escalation.yaml:6:28", "did you mean `ana`?", "2 errors"] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    let told = check(&["--config", file, "--json"], &[]).ends(1).json();
    let last = told["mistakes"].as_array().unwrap().last().unwrap();
    let place = (last["line"].clone(), last["column"].clone());
    assert_eq!((place, last["nearest"].clone()), ((6.into(), 28.into()), "ana".into()), "{told}");
    assert_eq!((told["ok"].clone(), told["channels"].clone()), (false.into(), json!([])));
}

#[test]
fn roles_are_those_of_the_configuration_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "escalation.yaml", "people: { ana: { roles: [keeper] } }\n");
    let file = file.to_str().unwrap();
    let ran = check(&["--config", file], &[]).ends(1);
    assert!(ran.err.contains("there is no role `keeper`"), "{}", ran.err);
    write(dir.path(), "quell.yaml", "access: { roles: { keeper: [pause] } }\n");
    let ran = check(&["--config", file], &[]).ends(0);
    assert!(ran.err.contains("no mistakes"), "{}", ran.err);
    write(dir.path(), "quell.yaml", "mod: enforce\n");
    let ran = check(&["--config", file], &[]).ends(1);
    assert!(ran.err.contains("its roles are not known here") && ran.err.contains("quell.yaml:1:1"), "{}", ran.err);
}

#[test]
fn without_a_file_it_says_what_holds() {
    if Path::new("/etc/quell").exists() {
        eprintln!("NOT TESTED: oncall without a file: this machine has an /etc/quell");
        return;
    }
    let told: Value = check(&["--json"], &[]).ends(0).json();
    assert_eq!((told["file"].clone(), told["policies"].clone()), (Value::Null, 1.into()), "{told}");
    assert_eq!(told["channels"], json!(["console"]), "{told}");
    assert!(check(&[], &[]).ends(0).out.contains("no file"));
}

#[test]
fn the_configurations_check_reads_it_whole() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(dir.path(), "quell.yaml", "mode: observe\n");
    let config = config.to_str().unwrap();
    write(dir.path(), "escalation.yaml", &std::fs::read_to_string("escalation.yaml").unwrap());
    let told = quell(&["config", "check", config, "--json"]).ends(0).json();
    assert_eq!(
        (told["people"].clone(), told["schedules"].clone(), told["policies"].clone()),
        (1.into(), 1.into(), 1.into())
    );
    write(dir.path(), "escalation.yaml", "people: { ana: {} }\nroutes: [{ policy: nihgt }]\n");
    let ran = quell(&["config", "check", config]).ends(1);
    assert!(ran.err.contains("there is no policy `nihgt`"), "{}", ran.err);
    let state = dir.path().join("state");
    let ran = quell(&["up", "--config", config, "--data-dir", state.to_str().unwrap()]).ends(2);
    assert!(ran.err.contains("there is no policy `nihgt`"), "{}", ran.err);
}
