//! `quell store`: what an operator relies on at night. Copies that are whole or not there, pruning that says what it
//! did, and a journal of a newer quell that nobody touches.

use super::{Ran, binary, command, quell, wait_until};
use crate::daemon::Daemon;
use quell_engine::store::{DirVault, Journal};
use quell_model::record::{
    EngineStarted, IncidentChanged, IncidentOpened, IncidentState, Moments, NewRecord, NoteAdded, Part, RunFinished,
    RunState, StepFinished,
};
use quell_model::store::Vault;
use quell_model::{Batch, Body, BootId, Durability, Entity, Evidence, Level, Mode, Outcome, Stamp};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A day long ago.
fn at(n: u64) -> Stamp {
    let wall: jiff::Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    Stamp { wall, boot_ns: 1 }.after(std::time::Duration::from_millis(n))
}

fn put(journal: &Journal, stream: &str, bodies: Vec<Body>) {
    let expected = journal.last(&stream.into());
    let records = (1..).zip(bodies).map(|(n, body)| NewRecord::new(at(n), body)).collect();
    journal.written(Batch { stream: stream.into(), expected, records, durability: Durability::Synced }).unwrap();
}

fn note(text: String) -> Body {
    NoteAdded { by: "ana".into(), text }.into()
}

/// A start, an incident that is over, one that is not, and a run that is over.
fn journal(dir: &Path) {
    let journal = Journal::open(dir).unwrap();
    let (version, boot) = ("0.1.0".into(), BootId("then".into()));
    let started = EngineStarted { version, boot, pid: 1, mode: Mode::Observe, tzdb: None };
    put(&journal, "system", vec![started.into()]);
    let opened = |id: &str| -> Body {
        let entity = Entity { kind: "unit".into(), id: "web.service".into(), node: "n".into() };
        IncidentOpened {
            incident: id.into(),
            entity,
            title: "Reverse shell".into(),
            level: Level::High,
            backfill: false,
        }
        .into()
    };
    let resolved = IncidentChanged::to(IncidentState::Resolved, "ana".into(), "done".into());
    put(&journal, "incident/i-over", vec![opened("i-over"), resolved.into()]);
    put(&journal, "incident/i-open", vec![opened("i-open")]);
    let finished = RunFinished { state: RunState::Succeeded, outputs: serde_json::Value::Null, summary: "done".into() };
    put(&journal, "run/r-over", vec![note("x".repeat(3000)), finished.into()]);
    journal.close();
}

fn store(args: &[&str], dir: &Path) -> Ran {
    quell(&[&["store"], args, &["--data-dir", dir.to_str().unwrap()]].concat())
}

#[test]
fn a_backup_says_what_it_holds_and_can_be_used() {
    let home = tempfile::tempdir().unwrap();
    let (dir, to) = (home.path().join("data"), home.path().join("copy"));
    journal(&dir);
    let told = store(&["backup", to.to_str().unwrap(), "--json"], &dir).ends(0).json();
    assert_eq!((&told["streams"], &told["records"], &told["blobs"]), (&4.into(), &6.into(), &0.into()), "{told}");
    assert!(told["bytes"].as_u64().unwrap() > 4096);
    let checked = store(&["check"], &to).ends(0);
    assert!(checked.out.contains("6 records in 4 streams"), "{checked:?}");
    // Also while somebody holds the original; and a place that is taken is refused.
    let held = Journal::open(&dir).unwrap();
    let again = store(&["backup", to.to_str().unwrap()], &dir).ends(2);
    assert!(again.err.contains("is not empty") && again.err.contains("hint: "), "{again:?}");
    let plain = store(&["backup", home.path().join("other").to_str().unwrap()], &dir).ends(0);
    assert!(plain.out.starts_with("copied  6 records in 4 streams and 0 blobs, "), "{plain:?}");
    held.close();
    let gone = store(&["backup", home.path().join("third").to_str().unwrap()], &home.path().join("none")).ends(2);
    assert!(gone.err.contains("there is no journal in `") && !home.path().join("third").exists(), "{gone:?}");
}

#[tokio::test]
async fn evidence_that_is_gone_is_missed_with_its_run_and_step() {
    let home = tempfile::tempdir().unwrap();
    let (dir, to) = (home.path().join("data"), home.path().join("copy"));
    journal(&dir);
    let opened = Journal::open(&dir).unwrap();
    let sum = DirVault::new(&dir).put(b"memory".to_vec()).await.unwrap();
    let piece = Evidence { name: "exe".into(), sha256: sum, bytes: 6, truncated: false };
    let finished = StepFinished {
        part: Part { step: "proof".into(), item: None },
        action: Some("process.capture".into()),
        outcome: Outcome::Verified,
        output: serde_json::json!({ "evidence": [piece] }),
        proof: "read back".into(),
        attempts: 1,
        moments: Moments::default(),
    };
    put(&opened, "run/r-open", vec![finished.into()]);
    opened.close();
    let checked = store(&["check"], &dir).ends(0);
    assert!(checked.out.contains("1 blobs of evidence, 6 B: as they were kept"), "{checked:?}");
    fs::remove_file(DirVault::new(&dir).path(&sum)).unwrap();
    let missing = format!("`run/r-open`, record 1: the evidence `exe` of step `proof` is not in the vault: {}", sum.0);
    let checked = store(&["check"], &dir).ends(1);
    assert!(checked.out.contains(&format!("wrong  {missing}")) && !checked.out.contains("ok  "), "{checked:?}");
    let told = store(&["check", "--json"], &dir).ends(1).json();
    assert_eq!((&told["ok"], &told["blobs"]), (&false.into(), &0.into()), "{told}");
    let made = store(&["backup", to.to_str().unwrap(), "--json"], &dir).ends(1).json();
    assert_eq!(
        (&made["ok"], &made["records"], &made["findings"][0]["what"]),
        (&false.into(), &7.into(), &missing.clone().into())
    );
    // The copy is there, and says the same of itself.
    assert!(store(&["check"], &to).ends(1).out.contains(&missing));
    // What is old goes all the same: it proves nothing about that.
    store(&["prune", "--older-than", "90d"], &dir).ends(0);
}

#[test]
fn where_there_is_no_journal_that_is_said_and_none_is_made() {
    let home = tempfile::tempdir().unwrap();
    let (empty, file) = (home.path().join("empty"), home.path().join("file"));
    fs::create_dir(&empty).unwrap();
    fs::write(&file, "no directory").unwrap();
    for dir in [&empty, &file, &home.path().join("none")] {
        for args in [&["check"][..], &["prune", "--older-than", "90d", "--dry-run"], &["prune", "--older-than", "90d"]]
        {
            let ran = store(args, dir).ends(2);
            let said = format!("error: there is no journal in `{}`\n\nhint: --data-dir names", dir.display());
            assert!(ran.err.starts_with(&said) && ran.err.contains("at its first start"), "{args:?}: {ran:?}");
        }
    }
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    // What is there and cannot be opened is another thing.
    let odd = home.path().join("odd");
    fs::create_dir_all(odd.join("journal.db")).unwrap();
    let ran = store(&["check"], &odd).ends(2);
    assert!(ran.err.starts_with("error: the journal cannot be read: `") && ran.err.contains("sudo"), "{ran:?}");
}

#[test]
fn a_full_disk_leaves_nothing_of_a_backup() {
    let home = tempfile::tempdir().unwrap();
    let (dir, to) = (home.path().join("data"), home.path().join("copy"));
    journal(&dir);
    // No file may become larger than 32 KiB, and whoever tries is told and not killed.
    let line = "trap '' XFSZ; ulimit -f 32; exec \"$0\" store backup \"$1\" --data-dir \"$2\"";
    let shell = Command::new("bash").args(["-c", line]).arg(binary()).args([&to, &dir]).output().unwrap();
    let ran = Ran::of(shell).ends(1);
    assert!(ran.err.contains("the copy cannot be written") && ran.err.contains("nothing is left"), "{ran:?}");
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["data"]);
}

#[test]
fn a_killed_backup_leaves_nothing_that_looks_whole() {
    let home = tempfile::tempdir().unwrap();
    let (dir, to) = (home.path().join("data"), home.path().join("copy"));
    journal(&dir);
    let large = Journal::open(&dir).unwrap();
    for _ in 0..40 {
        put(&large, "incident/i-open", (0..50).map(|_| note("y".repeat(4000))).collect());
    }
    large.close();
    let partial = home.path().join(".copy.partial");
    let mut killed = 0;
    for delay_ms in [0, 5, 20, 60, 150] {
        let mut child = command(&["store", "backup", to.to_str().unwrap(), "--data-dir", dir.to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("it has begun, or ended", || partial.join("journal.db").exists() || to.exists());
        std::thread::park_timeout(std::time::Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        if to.exists() {
            // It was faster: then it is whole.
            store(&["check"], &to).ends(0);
            fs::remove_dir_all(&to).unwrap();
        } else {
            killed += 1;
        }
    }
    assert!(killed > 0, "none was killed in time");
    store(&["backup", to.to_str().unwrap()], &dir).ends(0);
    store(&["check"], &to).ends(0);
    assert!(!partial.exists(), "what the killed ones left went with the next");
}

#[test]
fn what_is_over_goes_by_its_age_and_the_journal_says_so() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    journal(&dir);
    let before = fs::read(dir.join("journal.db")).unwrap();
    let would = store(&["prune", "--older-than", "90d", "--dry-run", "--json"], &dir).ends(0).json();
    assert_eq!((&would["runs"], &would["incidents"], &would["records"]), (&1.into(), &1.into(), &4.into()), "{would}");
    assert!(fs::read(dir.join("journal.db")).unwrap() == before, "a look changes nothing");
    let held = Journal::open(&dir).unwrap();
    store(&["prune", "--older-than", "90d", "--dry-run"], &dir).ends(0);
    let taken = store(&["prune", "--older-than", "90d"], &dir).ends(2);
    assert!(taken.err.contains("in use by another quell") && taken.err.contains("end the daemon"), "{taken:?}");
    held.close();
    let done = store(&["prune", "--older-than", "90d"], &dir).ends(0);
    assert_eq!(would["older_than"], "90d");
    assert!(done.out.contains("1 runs and 1 incidents with 4 records"), "{done:?}");
    store(&["check"], &dir).ends(0);
    let again = store(&["prune", "--older-than", "90d", "--json"], &dir).ends(0).json();
    assert_eq!((&again["runs"], &again["incidents"]), (&0.into(), &0.into()));
    for wrong in ["1h", "soon"] {
        store(&["prune", "--older-than", wrong], &dir).ends(2);
    }
    store(&["prune", "--older-than", "90d"], &home.path().join("none")).ends(2);
    assert!(!home.path().join("none").exists(), "no journal is made where there is none");
}

#[test]
fn what_a_newer_quell_wrote_is_refused_by_everybody_with_both_versions() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    journal(&dir);
    let newer = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
    newer.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(newer);
    let before = fs::read(dir.join("journal.db")).unwrap();
    let to = home.path().join("copy");
    let place = dir.to_str().unwrap();
    let refused = [
        store(&["check"], &dir),
        store(&["backup", to.to_str().unwrap()], &dir),
        store(&["prune", "--older-than", "90d"], &dir),
        quell(&["up", "--mode", "observe", "--data-dir", place]),
        quell(&["uninstall", "--data-dir", place]),
    ];
    let root = rustix::process::geteuid().is_root();
    for (number, ran) in refused.into_iter().enumerate() {
        if number >= 3 && !root {
            eprintln!("NOT TESTED: `quell up` and `quell uninstall` on a newer journal needs root to come so far");
            continue;
        }
        let ran = ran.ends(2);
        for word in ["its schema is 99", "knows up to schema 6", env!("CARGO_PKG_VERSION"), "hint: nothing was changed"]
        {
            assert!(ran.err.contains(word), "{number}: {word}: {}", ran.err);
        }
    }
    assert!(fs::read(dir.join("journal.db")).unwrap() == before && !to.exists());
}

#[test]
fn a_daemon_stands_on_a_pruned_journal_and_on_its_backup_and_says_what_went() {
    let home = tempfile::tempdir().unwrap();
    let (dir, to) = (home.path().join("state"), home.path().join("copy"));
    journal(&dir);
    store(&["prune", "--older-than", "90d"], &dir).ends(0);
    // What else happens on this machine is no concern of the journal's.
    let config = home.path().join("quell.yaml");
    fs::write(&config, "sources: { sensor: { enabled: false } }\n").unwrap();
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &dir, &home.path().join("log"));
    daemon.stands();
    let says = |daemon: &Daemon| {
        for (kind, id) in [("run", "r-over"), ("incident", "i-over")] {
            let shown = daemon.ask(&[kind, "show", id]).ends(1);
            assert!(shown.err.contains("had been over for more than 90d and was pruned by"), "{shown:?}");
        }
        let events = daemon.exchange("GET", "/v1/incidents/i-over/events", "").unwrap();
        assert_eq!(events.status, 410, "{}", events.body);
        let explained = daemon.ask(&["incident", "explain", "i-over"]).ends(1);
        assert!(explained.err.contains("was pruned"), "{explained:?}");
        let listed = daemon.ask_json(&["incident", "list"]);
        assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &"i-open".into()), "{listed}");
        assert_eq!(daemon.ask_json(&["run", "list"]).as_array().unwrap().len(), 0);
    };
    says(&daemon);
    daemon.ask(&["incident", "note", "i-open", "before the copy"]).ends(0);
    store(&["backup", to.to_str().unwrap()], &dir).ends(0);
    let refused = store(&["prune", "--older-than", "90d"], &dir).ends(2);
    assert!(refused.err.contains("end the daemon"), "{refused:?}");
    let mut other = Daemon::start(command(&["up"]), Some(&config), &to, &home.path().join("other-log"));
    other.stands();
    says(&other);
    let shown = other.ask_json(&["incident", "show", "i-open"]);
    assert_eq!(shown["notes"][0]["text"], "before the copy", "{shown}");
}

#[test]
fn a_backup_follows_nobody_to_what_is_not_its_own() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    journal(&dir);
    let before = fs::read(dir.join("journal.db")).unwrap();
    let victim = home.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    let partial = |name: &str| home.path().join(format!(".{name}.partial"));
    std::os::unix::fs::symlink(&dir, partial("link")).unwrap();
    fs::create_dir(partial("open")).unwrap();
    fs::write(partial("open").join("stranger"), "").unwrap();
    fs::DirBuilder::new().mode(0o700).create(partial("lock")).unwrap();
    std::os::unix::fs::symlink(&victim, partial("lock").join("lock")).unwrap();
    for name in ["link", "open", "lock"] {
        let to = home.path().join(name);
        let ran = store(&["backup", to.to_str().unwrap()], &dir);
        assert!(ran.code != Some(0) && !to.exists(), "{name}: {ran:?}");
    }
    assert!(fs::read(dir.join("journal.db")).unwrap() == before);
    assert_eq!(fs::read_to_string(victim).unwrap(), "mine");
    store(&["check"], &dir).ends(0);
}

#[test]
fn a_slate_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let home = tempfile::tempdir().unwrap();
    let (dir, to) = (home.path().join("data"), home.path().join("copy"));
    journal(&dir);
    let mut slate = fs::read(dir.join("slate")).unwrap();
    slate[0] ^= 1;
    fs::write(dir.join("slate"), slate).unwrap();
    for ran in [store(&["check"], &dir), store(&["backup", to.to_str().unwrap()], &dir)] {
        assert!(ran.code != Some(0) && ran.err.contains("slate"), "{ran:?}");
    }
    assert!(!to.exists());
}

/// The clock is not moved: what is old was written so, before this daemon began.
#[test]
fn a_daemon_lets_go_of_what_its_retention_says_and_of_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state");
    journal(&dir);
    let config = home.path().join("quell.yaml");
    let write = |retention: &str| {
        fs::write(&config, format!("sources: {{ sensor: {{ enabled: false }} }}\n{retention}")).unwrap();
    };
    write("");
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &dir, &home.path().join("log"));
    daemon.stands();
    let kept = daemon.ask_json(&["status"]);
    assert!(kept["retention"]["incidents"].is_null() && kept["retention"]["looked"].is_null(), "{kept}");
    // A change of the file is enough.
    write("retention: { incidents: 90d }\n");
    let mut status = kept;
    wait_until("it pruned", || {
        status = daemon.ask_json(&["status"]);
        !status["retention"]["went"].is_null()
    });
    let retention = &status["retention"];
    let went = &retention["went"];
    assert_eq!((&went["runs"], &went["incidents"], &went["records"]), (&1.into(), &1.into(), &4.into()), "{retention}");
    assert_eq!((&retention["incidents"], &retention["evidence"]), (&"90d".into(), &"90d".into()));
    assert_eq!((&retention["pruned_by"], &retention["would"]), (&"retention".into(), &serde_json::Value::Null));
    let text = daemon.ask(&["status"]).out;
    assert!(text.contains("runs and incidents for 90d, evidence for 90d; last pruned"), "{text}");
    let shown = daemon.ask(&["run", "show", "r-over"]).ends(1);
    assert!(shown.err.contains("had been over for more than 90d and was pruned by retention"), "{shown:?}");
    let listed = daemon.ask_json(&["incident", "list"]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &"i-open".into()), "what is open stays");
    daemon.ask(&["incident", "note", "i-open", "the engine writes on"]).ends(0);
    store(&["check"], &dir).ends(0);
    assert!(daemon.log().contains("pruned what had been over"), "{}", daemon.log());
}

#[test]
fn what_a_record_said_is_taken_away_and_the_journal_says_who_and_why() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    journal(&dir);
    let secret = "x".repeat(3000);
    let holds = || {
        let files = ["journal.db", "journal.db-wal", "slate"].map(|name| fs::read(dir.join(name)).unwrap_or_default());
        files.iter().any(|bytes| bytes.windows(1000).any(|some| some == &secret.as_bytes()[..1000]))
    };
    assert!(holds());
    let held = Journal::open(&dir).unwrap();
    let taken = store(&["redact", "run/r-over", "1", "--reason", "a token"], &dir).ends(2);
    assert!(taken.err.contains("in use by another quell") && taken.err.contains("end the daemon"), "{taken:?}");
    held.close();
    let open = store(&["redact", "incident/i-open", "--all", "--reason", "a token"], &dir).ends(1);
    assert!(open.err.contains("`incident/i-open` is not over"), "{open:?}");
    for (wrong, code) in [
        (&["redact", "run/r-over", "9", "--reason", "x"][..], 1),
        (&["redact", "run/r-none", "--all", "--reason", "x"], 1),
        (&["redact", "system", "1", "--reason", "x"], 2),
        (&["redact", "run/r-over", "1"], 2),
        (&["redact", "run/r-over", "--reason", "x"], 2),
    ] {
        store(wrong, &dir).ends(code);
    }
    assert!(holds(), "nothing went so far");
    let done = store(&["redact", "run/r-over", "1", "--reason", "a token", "--json"], &dir).ends(0).json();
    assert_eq!((&done["redacted"][0], &done["already"]), (&1.into(), &serde_json::json!([])), "{done}");
    assert!(!holds());
    store(&["check"], &dir).ends(0);
    let again = store(&["redact", "run/r-over", "1", "--reason", "a token", "--json"], &dir).ends(0).json();
    assert_eq!((&again["redacted"], &again["already"][0]), (&serde_json::json!([]), &1.into()), "{again}");
    let twice = store(&["redact", "run/r-over", "1", "1", "--reason", "a token", "--json"], &dir).ends(0).json();
    assert_eq!((&twice["redacted"], &twice["already"]), (&serde_json::json!([]), &serde_json::json!([1])), "{twice}");
    let to = home.path().join("copy");
    store(&["backup", to.to_str().unwrap()], &dir).ends(0);
    store(&["check"], &to).ends(0);
    let copy = Journal::open(&to).unwrap();
    let said = copy.redacted(&"run/r-over".into()).unwrap();
    assert_eq!((said.len(), said[0].seq, said[0].reason.as_str()), (1, 1, "a token"));
    let all = store(&["redact", "run/r-over", "--all", "--reason", "all of it", "--json"], &dir).ends(0).json();
    let last = copy.last(&"run/r-over".into());
    assert_eq!(all["already"], serde_json::json!([1]), "{all}");
    assert_eq!(all["redacted"], serde_json::json!((2..=last).collect::<Vec<_>>()), "{all}");
    store(&["check"], &dir).ends(0);
    copy.close();
}
