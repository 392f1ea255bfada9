//! What the pages say, done: every command in them exists, and the tutorial runs as it is written.
//!
//! Owns the reading of the pages. The tutorial enforces within a cgroup of the test's own and nowhere else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod page;
#[cfg(all(feature = "ebpf", feature = "kubernetes"))]
mod protects;

use crate::cli::{command, quell, wait_until};
use crate::threats::group::Group;
use page::Piece;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

/// Pages with commands.
fn pages() -> Vec<std::path::PathBuf> {
    let mut found = vec!["README.md".into()];
    let mut folders = vec![Path::new("docs").to_path_buf(), Path::new("playbooks").to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_command_in_the_pages_exists_with_its_options() {
    let mut tried = 0;
    for page in pages() {
        for piece in page::pieces(&fs::read_to_string(&page).unwrap()) {
            let Piece::Command(line) = piece else { continue };
            let (line, _) = redirected(&line);
            let words: Vec<&str> = line.trim_start_matches("sudo ").split_whitespace().collect();
            if words.first() != Some(&"quell") || line.contains(['|', '<', '$']) {
                continue;
            }
            let mut args = words[1..].to_vec();
            args.push("--help");
            let ran = quell(&args);
            assert_eq!(ran.code, Some(0), "{}: `{line}`:\n{}", page.display(), ran.err);
            tried += 1;
        }
    }
    assert!(tried > 20, "the pages hold {tried} commands");
}

/// A command, and the file that its output goes to.
fn redirected(line: &str) -> (&str, Option<&str>) {
    line.split_once(" > ").map_or((line, None), |(command, file)| (command, Some(file)))
}

#[test]
fn a_playbook_is_begun_and_drawn_as_it_is_written() {
    let home = tempfile::tempdir().unwrap();
    let mut done = Vec::new();
    for piece in page::pieces(&fs::read_to_string("docs/how-to/write-a-playbook.md").unwrap()) {
        let Piece::Command(line) = piece else { continue };
        let (command, file) = redirected(&line);
        // A run needs a daemon; tests/cli/graph.rs draws one, tests/cli/running.rs changes its playbook.
        if command.contains("--run ") || command.contains("--running ") {
            continue;
        }
        let ran = at(home.path(), command);
        assert_eq!(ran.code, Some(0), "`{line}`:\n{}{}", ran.out, ran.err);
        if let Some(file) = file {
            fs::write(home.path().join(file), ran.out).unwrap();
        }
        done.push(line);
    }
    for due in ["playbook new", "playbook check", "rules check", "playbook schema", "playbook graph"] {
        assert!(done.iter().any(|line| line.contains(due)), "`{due}` is not in {done:?}");
    }
}

#[test]
fn a_schedule_is_written_and_looked_at_as_its_page_says() {
    let home = tempfile::tempdir().unwrap();
    let mut done = Vec::new();
    for piece in page::pieces(&fs::read_to_string("docs/how-to/write-a-schedule.md").unwrap()) {
        match piece {
            Piece::File { path, text } => drop(crate::cli::write(home.path(), &path, &text)),
            Piece::Command(line) => {
                let (command, file) = redirected(&line);
                let ran = at(home.path(), command);
                assert_eq!(ran.code, Some(0), "`{line}`:\n{}{}", ran.out, ran.err);
                assert!(!ran.out.is_empty(), "`{line}` says nothing");
                if let Some(file) = file {
                    fs::write(home.path().join(file), ran.out).unwrap();
                }
                done.push(line);
            }
        }
    }
    for due in ["oncall check", "oncall who", "oncall preview", "oncall prove"] {
        assert!(done.iter().any(|line| line.contains(due)), "`{due}` is not in {done:?}");
    }
    assert!(fs::read_to_string(home.path().join("oncall.xml")).unwrap().contains("<testsuites"));
}

#[test]
fn what_connecting_slack_writes_into_escalation_yaml_passes_the_check() {
    let home = tempfile::tempdir().unwrap();
    let page = fs::read_to_string("docs/how-to/connect-slack.md").unwrap();
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let parts: Vec<&str> = blocks.filter(|text| text.starts_with("channels:") || text.starts_with("people:")).collect();
    assert_eq!(parts.len(), 2, "{parts:?}");
    for token in ["slack-bot.token", "slack-app.token"] {
        let path = crate::cli::write(home.path(), token, "x-0001-quell-test");
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let text = parts.concat().replace("/etc/quell", home.path().to_str().unwrap());
    crate::cli::write(home.path(), "escalation.yaml", &text);
    let ran = at(home.path(), "quell oncall check --config escalation.yaml");
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("no mistakes") && ran.err.contains("told by slack"), "{ran:?}");
}

/// Every source of a test in the tree.
fn sources() -> Vec<String> {
    let mut folders: Vec<std::path::PathBuf> =
        ["tests", "src", "engine/src", "detectors-ebpf/tests"].map(Into::into).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn every_bad_day_has_its_test() {
    assert!(rows_with_tests("docs/explanation/bad-days.md") > 15);
}

#[test]
fn every_law_has_its_test() {
    // The six, and all of them by chance.
    assert_eq!(rows_with_tests("docs/explanation/laws.md"), 7);
}

/// Every row of a page's table names tests, and they are there; gives how many rows.
fn rows_with_tests(page: &str) -> usize {
    let (page, sources) = (fs::read_to_string(page).unwrap(), sources());
    let days: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let count = days.len();
    for day in days {
        let names = day.split('`').skip(1).step_by(2).filter(|name| name.contains('_') && *name != "on_failure");
        let missing: Vec<&str> =
            names.clone().filter(|name| !sources.iter().any(|text| text.contains(&format!("fn {name}(")))).collect();
        assert!(names.count() > 0 && missing.is_empty(), "{missing:?} of {day}");
    }
    count
}

/// Takes the test's cgroup away with all that is in it, however the test ends.
struct Stage(Group);

impl Drop for Stage {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// A daemon that is told to end when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM)
            .unwrap_or_default();
        drop(self.0.wait());
    }
}

#[test]
fn the_tutorial_runs_as_it_is_written() {
    let Some(group) = Group::new(&format!("quell-docs-{}", std::process::id())) else {
        eprintln!("NOT TESTED: the tutorial needs root and a cgroup of its own");
        assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "it must run here");
        return;
    };
    let stage = Stage(group);
    let group = &stage.0;
    let home = tempfile::tempdir().unwrap();
    let mut place = home.path().to_path_buf();
    let mut daemon: Option<Daemon> = None;
    let mut sleepers: Vec<Child> = Vec::new();
    let mut done: Vec<String> = Vec::new();
    let text = fs::read_to_string("docs/tutorial/first-playbook.md").unwrap();
    for piece in page::pieces(&text) {
        match piece {
            Piece::File { path, text } if path == "quell.yaml" => {
                let written = fs::read_to_string(place.join(&path)).unwrap();
                for line in text.lines() {
                    assert!(written.contains(line.trim()), "what `init` wrote has no `{line}`:\n{written}");
                }
                let within = format!("\nguard: {{ only_within: {{ cgroup: {} }} }}\n", group.path);
                fs::write(place.join(&path), written + within.as_str()).unwrap();
            }
            Piece::File { path, text } => {
                let path = place.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Piece::Command(line) if line == "cd first" => place.push("first"),
            Piece::Command(line) if line.starts_with("sleep ") => {
                let argv: Vec<String> = line.trim_end_matches(" &").split(' ').map(str::to_owned).collect();
                let mut sleeper = group.spawn(&argv, home.path(), &[]);
                // One is only watched, one is killed, one is held and let go.
                if sleepers.len() == 1 {
                    wait_until("the second sleeper is gone", || sleeper.try_wait().unwrap().is_some());
                }
                wait_until("the sleeper's run has ended", || {
                    let runs = at(&place, "quell run list --data-dir state --json").json();
                    let ended = runs
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|run| run["playbook"] == "stop-sleeper" && run["state"] == "succeeded")
                        .count();
                    ended > sleepers.len()
                });
                sleepers.push(sleeper);
            }
            Piece::Command(line) if line.starts_with("quell up ") => {
                drop(daemon.take());
                if let [first] = sleepers.as_mut_slice() {
                    assert!(first.try_wait().unwrap().is_none(), "in observe the sleeper sleeps on");
                    first.kill().unwrap();
                    first.wait().unwrap();
                }
                daemon = Some(start(&place, &line));
            }
            Piece::Command(line) => {
                let id = if line.contains("incident") { first_id(&place, "incident") } else { first_id(&place, "run") };
                let ran = at(&place, &line.replace("ID", &id));
                assert_eq!(ran.code, Some(0), "`{line}`:\n{}{}", ran.out, ran.err);
                done.push(line);
            }
        }
    }
    for due in ["new", "check", "test", "graph", "run", "check --running"] {
        let due = format!("quell playbook {due} ");
        assert!(done.iter().any(|line| line.starts_with(&due)), "the tutorial has no `{due}`: {done:?}");
    }
    assert_eq!(sleepers.len(), 3, "the tutorial starts three sleepers");
    let id = first_id(&place, "run");
    wait_until("what was held is let go", || {
        let shown = at(&place, &format!("quell run show {id} --data-dir state --json")).json();
        shown["steps"][0]["outcome"] == "undone"
    });
    assert!(sleepers[2].try_wait().unwrap().is_none(), "what was held and let go sleeps on");
    drop(daemon);
}

#[test]
fn the_playbook_in_rhai_is_what_its_page_says() {
    let text = fs::read_to_string("docs/how-to/write-a-playbook-in-rhai.md").unwrap();
    let pieces = page::pieces(&text);
    let script = |piece: &&Piece| matches!(piece, Piece::File { path, .. } if path.ends_with("family.rhai"));
    let Some(Piece::File { path, text }) = pieces.iter().find(script) else { panic!("no script in {pieces:?}") };
    let home = tempfile::tempdir().unwrap();
    crate::cli::write(home.path(), path, text);
    let ran = at(home.path(), "quell playbook check --deny warnings playbooks");
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let mut tried = 0;
    for piece in &pieces {
        let Piece::Command(line) = piece else { continue };
        let ran = at(home.path(), line);
        assert_eq!(ran.code, Some(0), "`{line}`:\n{}{}", ran.out, ran.err);
        tried += 1;
    }
    assert_eq!(tried, 3, "the page has three commands");
    // What is shown as YAML is the same playbook, and YAML is shown as it stands in its file.
    let shown = at(home.path(), &format!("quell playbook show {path} --as yaml")).out;
    crate::cli::write(home.path(), "yaml/same.yaml", &shown);
    assert_eq!(at(home.path(), "quell playbook show yaml").out, shown);
    let model = |path: &str| {
        let mut shown = at(home.path(), &format!("quell playbook show {path} --json")).json();
        for key in ["file", "hash"] {
            shown[0].as_object_mut().unwrap().remove(key);
        }
        shown
    };
    let made = model(path);
    assert_eq!(made[0]["steps"].as_array().map(Vec::len), Some(7), "{made:#}");
    assert_eq!(model("yaml"), made);
    // A mistake has its place in the script.
    crate::cli::write(home.path(), path, &text.replace("process.capture", "process.captur"));
    let ran = at(home.path(), "quell playbook check playbooks");
    let line = 1 + text.lines().position(|line| line.contains("process.capture")).unwrap();
    let place = format!("{path}:{line}:");
    assert!(ran.code == Some(1) && ran.err.contains(&place), "no {place} in {}", ran.err);
}

fn first_id(place: &Path, what: &str) -> String {
    let listed = at(place, &format!("quell {what} list --data-dir state --json"));
    if listed.code != Some(0) {
        return String::new();
    }
    let listed = listed.json();
    let mine = listed.as_array().unwrap().iter().find(|one| one["playbook"] == "stop-sleeper");
    mine.unwrap_or(&listed[0])["id"].as_str().unwrap_or_default().to_owned()
}

fn at(place: &Path, line: &str) -> crate::cli::Ran {
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    crate::cli::Ran::of(command(&words).current_dir(place).output().unwrap())
}

fn start(place: &Path, line: &str) -> Daemon {
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let log = fs::File::create(place.join("log")).unwrap();
    let child = command(&words).current_dir(place).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = Daemon(child);
    wait_until("the daemon is armed", || at(place, "quell status --data-dir state").code == Some(0));
    daemon
}
