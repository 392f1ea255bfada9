//! Large values at the command line: a view says what they are and how one gets them, the journal has them once, and a list of ten
//! thousand that lies apart is gone through item by item.
//!
//! The playbooks of these tests tell, and touch nothing. The sensor is off.

use super::{command, wait_until, write};
use crate::daemon::Daemon;
use serde_json::{Value, json};

const QUIET: &str = "playbooks: { shipped: false, dirs: [playbooks] }\nrules: { shipped: false }\nsources: { sensor: { enabled: false } }\n";

const EACH: &str = "playbook: each\ndescription: Says every file.\non: { manual: true }\ninputs: { files: { type: list }, who: { type: string } }\nsteps:\n  \
    listing: { script: \"#{ state: \\\"up\\\", files: inputs.files }\" }\n  \
    say: { needs: [listing], for_each: \"${{ inputs.files }}\", max_parallel: 8, tell: \"${{ item }}\" }\n\
    outputs: { listing: \"${{ inputs.files }}\", first: \"${{ inputs.files[0] }}\" }\n";

#[test]
fn a_list_of_ten_thousand_lies_apart_and_every_step_sees_it() {
    let home = tempfile::tempdir().unwrap();
    let config = write(home.path(), "quell.yaml", QUIET);
    write(home.path(), "playbooks/each.yaml", EACH);
    let mut daemon =
        Daemon::start(command(&["up"]), Some(&config), &home.path().join("state"), &home.path().join("log"));
    daemon.stands();
    let files: Vec<String> = (0..10_000).map(|n| format!("/srv/files/{n:05}")).collect();
    let start = json!({ "playbook": "each", "inputs": { "files": files, "who": "ana" } });
    let begun = daemon.exchange("POST", "/v1/runs", &start.to_string()).unwrap();
    assert_eq!(begun.status, 201, "{}", begun.body);
    let id = begun.body["id"].as_str().unwrap().to_owned();
    let path = "/runs?limit=1";
    wait_until("it has ended", || daemon.get(path).is_some_and(|page| page["items"][0]["state"] == "succeeded"));

    let run = daemon.ask_json(&["run", "show", &id]);
    let of = &run["inputs"]["files"]["$stored"];
    assert_eq!(
        (of["is"].as_str(), of["items"].as_u64(), run["inputs"]["who"].as_str()),
        (Some("list"), Some(10_000), Some("ana"))
    );
    assert_eq!(run["outputs"]["listing"]["$stored"]["hash"], of["hash"], "what is the same lies there once");
    let step = |name: &str| run["steps"].as_array().unwrap().iter().find(|step| step["id"] == name).unwrap();
    assert_eq!(step("say")["items"].as_array().unwrap().len(), 10_000);
    assert_eq!(step("say")["items"][9_999]["output"]["told"], "/srv/files/09999");
    assert_eq!(step("say")["outcome"], "done");

    let shown = daemon.ask(&["run", "show", &id]).ends(0).out;
    let hint = format!("quell run output {id}/listing --path files\n");
    assert!(shown.contains("files: list of 10000") && shown.contains(&hint), "{}", &shown[..2000.min(shown.len())]);
    let output = |args: &[&str]| {
        let all: Vec<&str> = ["run", "output"].into_iter().chain(args.iter().copied()).collect();
        daemon.ask_json(&all)
    };
    let of_step = format!("{id}/listing");
    assert_eq!(output(&[&of_step, "--path", "files"]), json!(files));
    assert_eq!(output(&[&of_step]), json!({ "state": "up", "files": files }));
    assert_eq!(output(&[&id, "--path", "listing.7"]), "/srv/files/00007");
    assert_eq!(output(&[&id, "--given", "--path", "files.7"]), "/srv/files/00007");
    assert_eq!(output(&[&format!("{id}/say[3]")]), json!({ "told": "/srv/files/00003" }));
    let none = daemon.ask(&["run", "output", &of_step, "--path", "flies"]).ends(1);
    assert!(none.err.contains("nothing that `listing` gave at `flies`"), "{}", none.err);
    assert!(daemon.ask(&["run", "output", "r-000000000000"]).ends(1).err.contains("r-000000000000"));

    daemon.end();
    let dir = home.path().join("state");
    let checked = super::quell(&["store", "check", "--json", "--data-dir", dir.to_str().unwrap()]).ends(0).json();
    assert_eq!(checked["ok"], Value::Bool(true), "{checked}");
    let db = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
    let lists: (i64, i64) =
        db.query_row("SELECT count(*), sum(bytes) FROM contents", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(lists.0, 1, "one list, whoever was given it: {lists:?}");
    // The daemon has sealed the run at its end: taken out whole, it is missed.
    assert!(checked["sealed"]["record"].as_u64().is_some_and(|record| record > 0), "{checked}");
    let (of_run, gone) =
        (format!("run/{id}"), "DELETE FROM records WHERE stream = (SELECT id FROM streams WHERE name = ?1)");
    let copy = home.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    db.execute("VACUUM INTO ?1", [copy.join("journal.db").to_str().unwrap()]).unwrap();
    let other = rusqlite::Connection::open(copy.join("journal.db")).unwrap();
    other.execute(gone, [&of_run]).unwrap();
    other.execute("DELETE FROM streams WHERE name = ?1", [&of_run]).unwrap();
    drop(other);
    let missed = super::quell(&["store", "check", "--data-dir", copy.to_str().unwrap()]).ends(1);
    assert!(missed.out.contains(&format!("`{of_run}`: ")) && missed.out.contains("the stream is gone"), "{missed:?}");
    db.execute("UPDATE contents SET bytes = bytes + 1", []).unwrap();
    drop(db);
    let checked = super::quell(&["store", "check", "--data-dir", dir.to_str().unwrap()]).ends(1);
    assert!(
        checked.out.contains("is not as it was written") || checked.err.contains("is not as it was written"),
        "{checked:?}"
    );
}
