//! Goal: what is written to a followed file is answered once, whether quell runs meanwhile, is stopped or is killed; and about what
//! the file held before, nothing is done. Method: real daemons without a sensor, one after another, over one file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::cli::{command, wait_until, write};
use crate::daemon::Daemon;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

const RULE: &str = "title: Marked\nname: marked\nstatus: test\nlevel: high\nlogsource: { product: linux, category: process_creation }\n\
    detection:\n  image: { Image|endswith: /quell-marked }\n  condition: image\n";

const PLAYBOOK: &str = "playbook: says\ndescription: Says what it was given.\non: { detections: { rules: [marked] }, max_age: 10m }\n\
    mode: enforce\nsteps:\n  say: { tell: \"it was ${{ event.subject }}\" }\n";

/// Where the daemons of a test live.
struct Home(tempfile::TempDir);

impl Home {
    /// With what the file holds before it is first followed.
    fn new(holds: &str, from: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let dir = home.0.path();
        write(dir, "rules/marked.yml", RULE);
        write(dir, "playbooks/says.yaml", PLAYBOOK);
        write(dir, "log/events", holds);
        let text = format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
             guard: {{ only_within: {{ cgroup: /quell-no-such-cgroup }} }}\n\
             sources: {{ sensor: {{ enabled: false }}, files: [{{ format: plain, path: log/events, trusted: true{from} }}] }}\n"
        );
        write(dir, "quell.yaml", &text);
        home
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log/events")
    }

    fn append(&self, line: &str) {
        OpenOptions::new().create(true).append(true).open(self.log()).unwrap().write_all(line.as_bytes()).unwrap();
    }

    fn begin(&self, place: Option<&str>) -> Daemon {
        let mut up = command(&["up"]);
        if let Some(place) = place {
            up.env("QUELL_DIE_AT", place);
        }
        let dir = self.0.path();
        Daemon::start(up, Some(&dir.join("quell.yaml")), &dir.join("state"), &dir.join("said"))
    }

    fn start(&self) -> Daemon {
        let mut daemon = self.begin(None);
        daemon.stands();
        daemon
    }
}

/// What this user did now.
fn line(user: &str) -> String {
    at(user, jiff::Timestamp::now())
}

fn at(user: &str, moment: jiff::Timestamp) -> String {
    format!("{{\"Image\":\"/bin/quell-marked\",\"User\":\"{user}\",\"time\":\"{moment}\"}}\n")
}

/// The runs: whom each is about, and its mode.
fn runs(daemon: &Daemon) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |run: &Value| {
        let shown = daemon.ask_json(&["run", "show", run["id"].as_str().unwrap()]);
        assert_eq!(shown["state"], "succeeded", "{shown}");
        (text(&shown["per"]).trim_start_matches("user:").to_owned(), text(&shown["mode"]))
    };
    let mut all: Vec<_> = daemon.ask_json(&["run", "list"]).as_array().unwrap().iter().map(one).collect();
    all.sort();
    all
}

fn wait_for_runs(daemon: &Daemon, count: usize) -> Vec<(String, String)> {
    wait_until(&format!("{count} runs have ended"), || {
        let all = daemon.ask_json(&["run", "list"]);
        let all = all.as_array().unwrap();
        all.len() >= count && all.iter().all(|run| run["state"] == "succeeded")
    });
    runs(daemon)
}

fn of(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(who, mode)| ((*who).to_owned(), (*mode).to_owned())).collect()
}

/// How many detections all incidents have.
fn detections(daemon: &Daemon) -> u64 {
    let all = daemon.ask_json(&["incident", "list"]);
    all.as_array().unwrap().iter().map(|one| one["detections"].as_u64().unwrap()).sum()
}

#[test]
fn what_is_written_while_quell_is_down_is_answered_when_it_is_up_again_also_after_a_rotation() {
    let home = Home::new("", "");
    let daemon = home.start();
    home.append(&line("ana"));
    assert_eq!(wait_for_runs(&daemon, 1), of(&[("ana", "enforce")]));
    // What no detection takes along is written at the end.
    home.append("{\"Image\":\"/bin/true\"}\n");
    daemon.end();
    home.append(&line("ben"));
    let mut daemon = home.start();
    assert_eq!(wait_for_runs(&daemon, 2), of(&[("ana", "enforce"), ("ben", "enforce")]));
    // Killed, and the log rotated meanwhile.
    daemon.kill();
    home.append(&line("cem"));
    fs::rename(home.log(), home.log().with_extension("1")).unwrap();
    home.append(&line("dan"));
    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    home.append(&at("eve", old));
    let daemon = home.start();
    let all = [("ana", "enforce"), ("ben", "enforce"), ("cem", "enforce"), ("dan", "enforce"), ("eve", "approve")];
    assert_eq!(wait_for_runs(&daemon, 5), of(&all), "{}", daemon.log());
    assert_eq!(detections(&daemon), 5);
}

#[test]
fn about_what_a_file_held_before_playbooks_only_plan() {
    let home = Home::new(&line("ana"), "");
    let daemon = home.start();
    assert_eq!(wait_for_runs(&daemon, 1), of(&[("ana", "observe")]));
    home.append(&line("ana"));
    assert_eq!(wait_for_runs(&daemon, 2), of(&[("ana", "enforce"), ("ana", "observe")]));
    let incidents = daemon.ask_json(&["incident", "list"]);
    let past: Vec<bool> = incidents.as_array().unwrap().iter().map(|one| one["backfill"] == true).collect();
    assert_eq!(past, [false, true]);
    let id = incidents[1]["id"].as_str().unwrap();
    for view in ["show", "explain"] {
        let text = daemon.ask(&["incident", view, id]).ends(0).out;
        assert!(text.contains("a backfill: "), "{view}: {text}");
    }
    let why = daemon.ask(&["incident", "explain", id]).ends(0).out;
    assert!(why.contains("says") && why.contains("observe: it is of what its source held before"), "{why}");
    assert!(daemon.ask(&["incident", "list"]).ends(0).out.contains("Marked (backfill)"));
    // It is a backfill once.
    daemon.end();
    let daemon = home.start();
    home.append(&line("ben"));
    let all = [("ana", "enforce"), ("ana", "observe"), ("ben", "enforce")];
    assert_eq!((wait_for_runs(&daemon, 3), detections(&daemon)), (of(&all), 3));
}

#[test]
fn a_file_that_is_followed_from_its_end_on_has_no_backfill() {
    let home = Home::new(&line("ana"), ", from: end");
    let daemon = home.start();
    home.append(&line("ben"));
    assert_eq!((wait_for_runs(&daemon, 1), detections(&daemon)), (of(&[("ben", "enforce")]), 1));
}

/// At every write to an incident or a run that the lines lead to, before it and after it.
#[test]
fn whenever_quell_is_killed_each_line_is_answered_once() {
    for side in ["before", "after"] {
        let mut died = 0;
        for write in 1.. {
            let home = Home::new("", "");
            home.start().end();
            home.append(&line("ana"));
            home.append(&line("ben"));
            let place = format!("{side}:{write}");
            let mut daemon = home.begin(Some(&place));
            let mut has_ended = false;
            wait_until("it dies there, or all is done", || {
                has_ended = daemon.ended().is_some();
                has_ended || {
                    let told = daemon.ask(&["run", "list", "--json"]).out;
                    let runs = serde_json::from_str::<Vec<Value>>(&told).unwrap_or_default();
                    runs.len() == 2 && runs.iter().all(|run| run["state"] == "succeeded")
                }
            });
            if !has_ended {
                break;
            }
            died += 1;
            let daemon = home.start();
            let all = wait_for_runs(&daemon, 2);
            assert_eq!(all, of(&[("ana", "enforce"), ("ben", "enforce")]), "{place}\n{}", daemon.log());
            assert_eq!(detections(&daemon), 2, "{place}\n{}", daemon.log());
        }
        assert!(died >= 2, "{side}: it died {died} times");
    }
}

#[test]
fn of_a_folder_of_too_many_files_each_line_is_answered_once_over_a_restart_and_status_says_so() {
    let home = Home::new(&line("old"), ", from: end");
    let config = home.0.path().join("quell.yaml");
    let text = fs::read_to_string(&config).unwrap().replace("path: log/events", "path: log");
    fs::write(&config, text).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    OpenOptions::new().append(true).open(home.log()).unwrap().set_modified(long_ago).unwrap();
    for number in 0..10_000 {
        fs::write(home.log().with_extension(number.to_string()), "").unwrap();
    }
    let aside = |daemon: &Daemon, count: u64| {
        wait_until("it is said how many are set aside", || {
            daemon.ask_json(&["status"])["sources"][0]["set_aside"] == count
        });
        let said = daemon.ask(&["status"]);
        assert!(said.out.contains(&format!("too many files: {count} are set aside")), "{said:?}");
    };
    let daemon = home.start();
    aside(&daemon, 1);
    home.append(&line("ana"));
    assert_eq!(wait_for_runs(&daemon, 1), of(&[("ana", "enforce")]));
    aside(&daemon, 1);
    // It is set aside again, and written to while quell is down.
    for number in 0..10_000 {
        fs::write(home.log().with_extension(number.to_string()), "\n").unwrap();
    }
    wait_until("all of it was read", || daemon.ask_json(&["status"])["sources"][0]["unread"] == 0);
    daemon.end();
    home.append(&line("ben"));
    let daemon = home.start();
    assert_eq!(wait_for_runs(&daemon, 2), of(&[("ana", "enforce"), ("ben", "enforce")]), "none twice");
    aside(&daemon, 1);
    daemon.end();
}
