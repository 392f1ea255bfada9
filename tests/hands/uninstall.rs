//! `quell uninstall` is killed halfway, and run again: it ends what the first began, and what was taken back stays so. What had
//! not ended is not gone on with.
//!
//! Halfway is where it writes down what it is about to take from the kernel, while another program holds the journal: what was
//! frozen runs again then, and everything that was pinned stands.

use super::site::{Daemon, Site};
use super::wait_until;
use quell_engine::store::Journal;
use quell_model::{Body, StreamId};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Child;

const PLAYBOOK: &str = "playbook: hold-it\ndescription: Holds it and keeps it from starting.\n\
    on: { detections: { rules: [held] } }\nmode: enforce\nlimits: { runs: 100/h }\nsteps:\n  freeze:\n    \
    action: process.freeze\n    with: { process: \"${{ event.process.id }}\", scope: process }\n  block:\n    \
    needs: [freeze]\n    action: process.block_exec\n    with:\n      path: \"${{ event.process.image }}\"\n      \
    scope: cgroup\n      cgroup: \"${{ event.process.cgroup_path }}\"\n      for: 10m\n";

/// Ended with the test.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The letter of `/proc/PID/stat`.
fn state_of(child: &Own) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.0.id())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// What `uninstall` wrote into the journal, in order: whether each only begins.
fn written(daemon: &Daemon<'_>) -> Vec<bool> {
    let journal = Journal::open_read_only(&daemon.dir()).unwrap();
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    let records = journal.read(&StreamId::system(), 1).unwrap();
    let acts = records.into_iter().filter_map(|record| match record.body {
        Body::PersonActed(acted) if acted.what.as_str() == "uninstall" => Some(acted.detail["begins"] == true),
        _ => None,
    });
    acts.collect()
}

#[test]
fn killed_halfway_and_run_again_it_leaves_nothing() {
    let Some(site) = Site::build() else { return };
    let home = tempfile::tempdir().unwrap();
    let name = format!("quell-held-{}", std::process::id());
    let program: PathBuf = home.path().join(&name);
    fs::copy("/bin/sleep", &program).unwrap();
    let rule = format!(
        "title: Held\nname: held\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c4\nstatus: test\n\
         logsource: {{ product: linux, category: process_creation }}\n\
         detection: {{ s: {{ Image|endswith: /{name} }}, condition: s }}\nlevel: high\n"
    );
    let Some(mut daemon) = Daemon::up_with(&site, &rule, PLAYBOOK) else { return };
    let argv = [program.to_str().unwrap().to_owned(), "1000".to_owned()];
    let start = || Own(site.group.spawn(&argv, home.path(), &[]));
    let held = start();
    wait_until("its run has ended well", || daemon.json(&["run", "list"])[0]["state"] == "succeeded");
    assert_eq!(state_of(&held), Some('T'));
    let mut struck = start();
    assert_eq!(struck.0.wait().unwrap().signal(), Some(9), "its image may not start");
    daemon.kill();
    let pins = site.pins();
    assert!(pins.iter().any(|pin| pin.starts_with("block")), "{pins:?}");

    let other = rusqlite::Connection::open(daemon.dir().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut first = Own(daemon.begin(&["uninstall"]));
    wait_until("what was frozen runs again", || matches!(state_of(&held), Some('S' | 'R')));
    assert!(first.0.try_wait().unwrap().is_none(), "it waits for the journal");
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    assert_eq!(site.pins(), pins, "what it had not come to stands");
    // It paused first: nobody is struck any more, whatever becomes of it.
    let mut again = start();
    let exe = format!("/proc/{}/exe", again.0.id());
    let runs = || fs::read_link(&exe).is_ok_and(|image| image == program);
    wait_until("it runs, or has ended", || {
        again.0.try_wait().unwrap().is_some() || runs() && state_of(&again) == Some('S')
    });
    assert!(runs(), "it was struck");
    drop(other);

    let left = daemon.json(&["uninstall"]);
    let gone = left["unblocked"].as_array().unwrap();
    assert!(gone.len() == 1 && gone[0]["id"] == argv[0].as_str(), "{left:#}");
    assert_eq!((left["thawed"].to_string(), left["left_over"].to_string()), ("[]".into(), "[]".into()), "{left:#}");
    assert!(site.pins().is_empty());
    assert!(daemon.says(&["uninstall"]).contains("nothing to do"));
    let acts = written(&daemon);
    assert!(acts.ends_with(&[true, false]), "begun, and then told whole: {acts:?}");

    // The next daemon renews nothing of it. (Who still runs would be seen and held anew.)
    assert!(matches!(state_of(&held), Some('S' | 'R')));
    drop((held, again));
    daemon.again();
    let status = daemon.status();
    assert_eq!(
        (&status["block"]["blocked"], &status["block"]["loaded"]),
        (&serde_json::json!([]), &true.into()),
        "{status}"
    );
    daemon.end();
}

#[test]
fn a_run_that_had_not_ended_is_not_gone_on_with() {
    let Some(site) = Site::build() else { return };
    let mark = format!("quell-patient-{}", std::process::id());
    let rule = format!(
        "title: Patient\nname: patient\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c5\nstatus: test\n\
         logsource: {{ product: linux, category: process_creation }}\n\
         detection: {{ s: {{ Image|endswith: /env, CommandLine|endswith: {mark} }}, condition: s }}\nlevel: high\n"
    );
    let playbook = "playbook: ask-first\ndescription: Asks first.\non: { detections: { rules: [patient] } }\nmode: enforce\n\
        steps:\n  kill:\n    action: process.kill\n    with:\n      process: \"${{ event.process.id }}\"\n      \
        scope: process\n      signal: TERM\n      grace: 5m\n";
    let Some(mut daemon) = Daemon::up_with(&site, &rule, playbook) else { return };
    // An ignored signal stays so over an exec.
    let script = "trap '' TERM; exec env sh -c 'while :; do sleep 0.1; done' \"$0\"";
    let argv = ["sh", "-c", script, &mark].map(str::to_owned);
    let home = tempfile::tempdir().unwrap();
    let mut patient = Own(site.group.spawn(&argv, home.path(), &[]));
    let state = |daemon: &Daemon<'_>| daemon.json(&["run", "list"])[0]["state"].clone();
    wait_until("it is asked", || state(&daemon) == "running");
    daemon.kill();
    let left = daemon.json(&["uninstall"]);
    assert_eq!(left["cancelled"].as_array().map(Vec::len), Some(1), "{left:#}");
    assert!(daemon.says(&["uninstall"]).contains("nothing to do"));
    daemon.again();
    wait_until("it has ended", || state(&daemon) == "cancelled");
    assert_eq!(daemon.json(&["run", "list"]).as_array().map(Vec::len), Some(1), "and no other began");
    assert!(patient.0.try_wait().unwrap().is_none(), "it was killed after all");
    daemon.end();
}
