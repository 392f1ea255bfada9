//! `GET /metrics` of a real daemon: what has happened is counted, the text is right, and the manual and the alerts name what is there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod exposition;

use crate::cli::{command, wait_until, write};
use crate::daemon::Daemon;
use exposition::{Family, Labels};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Page = BTreeMap<String, Family>;

/// What is asked of a route: the head and the body.
pub(crate) fn get(state: &Path, path: &str) -> (String, String) {
    let mut socket = UnixStream::connect(state.join("quell.sock")).unwrap();
    socket.set_read_timeout(Some(crate::cli::PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.0\r\nhost: quell\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

fn scrape(daemon: &Daemon) -> (String, Page) {
    let (head, text) = get(&daemon.state, "/metrics");
    assert!(head.starts_with("http/1.0 200") || head.starts_with("http/1.1 200"), "{head}\n{text}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let page = exposition::read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    (text, page)
}

/// A sample's value.
fn value(page: &Page, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let family = page.keys().rev().find(|family| name.starts_with(family.as_str()))?;
    let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    page[family].samples.get(&(name.to_owned(), labels)).copied()
}

/// A daemon without a sensor, with a followed file, rules and playbooks.
pub(crate) fn started(home: &Path, more: &str) -> Daemon {
    write(home, "events.jsonl", "");
    let text = format!(
        "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
         sources: {{ sensor: {{ enabled: false }}, files: [{{ format: plain, path: events.jsonl, trusted: true }}], webhooks: [{{ name: cluster, format: kubernetes-audit, address: \"127.0.0.1:0\" }}] }}\n\
         guard: {{ only_within: {{ cgroup: /quell-no-such-cgroup }} }}\n{more}"
    );
    let config = write(home, "quell.yaml", &text);
    for (name, level, id) in [("marked", "high", "51c2"), ("faint", "low", "51c3")] {
        write(
            home,
            &format!("rules/{name}.yml"),
            &format!(
                "title: {name}\nname: {name}\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a{id}\nstatus: test\nlogsource: {{ product: linux, category: process_creation }}\ndetection: {{ s: {{ Image|endswith: /no-such-{name} }}, condition: s }}\nlevel: {level}\n"
            ),
        );
    }
    write(
        home,
        "playbooks/look.yaml",
        "playbook: look\ndescription: Asks whether it was meant.\non: { detections: { rules: [marked] } }\nmode: enforce\nsteps:\n  say: { tell: seen }\n  sure:\n    needs: [say]\n    ask: { question: \"Was it you?\", choices: [me, not_me], within: 30m, otherwise: not_me }\n",
    );
    write(
        home,
        "playbooks/hold.yaml",
        "playbook: hold\ndescription: Holds what it is given.\non: { manual: true }\nmode: enforce\ninputs: { process: { type: string } }\nsteps:\n  freeze:\n    action: process.freeze\n    with: { process: \"${{ inputs.process }}\", scope: process }\n",
    );
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &home.join("state"), &home.join("log"));
    daemon.stands();
    daemon
}

pub(crate) fn append(home: &Path, lines: &str) {
    fs::OpenOptions::new().append(true).open(home.join("events.jsonl")).unwrap().write_all(lines.as_bytes()).unwrap();
}

/// A process of the test's own, ended with it.
pub(crate) struct Sleeper(Child);

impl Sleeper {
    pub(crate) fn start() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    /// Its identity, as playbooks are given it.
    pub(crate) fn id(&self) -> String {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let ticks: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        format!("{}.{}.0@{}", self.0.id(), ticks * 10_000_000, boot.trim())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn what_has_happened_is_counted_and_nothing_out_of_an_event_is_a_label() {
    let home = tempfile::tempdir().unwrap();
    let daemon = started(home.path(), "");
    let hostile = "quell-hostile-label";
    let now = jiff::Timestamp::now();
    append(
        home.path(),
        &format!(
            "{{broken\n{{\"timestamp\":\"{now}\",\"Image\":\"/{hostile}/no-such-marked\",\"CommandLine\":\"{hostile}\"}}\n{{\"Image\":\"/x/no-such-faint\",\"CommandLine\":\"y\"}}\n"
        ),
    );
    let sleeper = Sleeper::start();
    let input = format!("process={}", sleeper.id());
    let hold = home.path().join("playbooks/hold.yaml");
    daemon.ask(&["playbook", "run", hold.to_str().unwrap(), "--input", &input]);
    assert!(get(&daemon.state, &format!("/{hostile}")).0.contains("404"));
    let source = format!("file:{}", home.path().join("events.jsonl").display());
    type Labels<'l> = &'l [(&'l str, &'l str)];
    let (file, none): (Labels<'_>, Labels<'_>) = (&[("source", &source)], &[]);
    let wanted: &[(&str, Labels<'_>, f64)] = &[
        ("quell_events_total", &[("source", &source), ("class", "process_creation")], 2.0),
        ("quell_source_unreadable_records_total", file, 1.0),
        ("quell_source_unread_bytes", file, 0.0),
        ("quell_detections_total", &[("rule", "marked"), ("level", "high")], 1.0),
        ("quell_detections_total", &[("rule", "faint"), ("level", "low")], 1.0),
        ("quell_detections_held_total", &[("reason", "below_level")], 1.0),
        ("quell_trigger_decisions_total", &[("playbook", "look"), ("decision", "started")], 1.0),
        ("quell_incidents_open", none, 1.0),
        ("quell_runs_started_total", &[("playbook", "look"), ("mode", "enforce")], 1.0),
        ("quell_runs_open", &[("playbook", "look"), ("state", "waiting")], 1.0),
        ("quell_runs_finished_total", &[("playbook", "hold"), ("state", "failed")], 1.0),
        ("quell_runs_stuck", none, 0.0),
        ("quell_steps_total", &[("action", "tell"), ("outcome", "done")], 1.0),
        ("quell_steps_total", &[("action", "process.freeze"), ("outcome", "refused")], 1.0),
        ("quell_guard_refusals_total", &[("guard", "only_within"), ("action", "process.freeze")], 1.0),
        ("quell_questions_total", &[("kind", "ask")], 1.0),
        ("quell_questions_waiting", &[("kind", "ask")], 1.0),
        ("quell_questions_waiting", &[("kind", "approve")], 0.0),
        ("quell_escalation_exhausted", none, 0.0),
        ("quell_event_to_decided_seconds_count", &[("urgency", "other")], 1.0),
        ("quell_event_to_decided_seconds_count", &[("urgency", "urgent")], 0.0),
        ("quell_state", &[("state", "blind")], 1.0),
        ("quell_state", &[("state", "armed")], 0.0),
        ("quell_mode", &[("mode", "enforce")], 1.0),
        ("quell_playbooks", &[("mode", "enforce")], 2.0),
        ("quell_breaker_open", &[("playbook", "hold")], 0.0),
        ("quell_sensor_up", none, 0.0),
        ("quell_paused", none, 0.0),
        ("quell_rules", none, 2.0),
        ("quell_journal_up", none, 1.0),
        ("quell_journal_waiting_records", none, 0.0),
        ("quell_recorder_up", none, 1.0),
        ("quell_events_lost_total", &[("class", "file_event"), ("reason", "ring_full")], 0.0),
        ("quell_api_requests_total", &[("method", "GET"), ("route", "none"), ("status", "404")], 1.0),
        ("quell_scrape_errors_total", &[("part", "engine")], 0.0),
        ("quell_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ];
    let missing = |page: &Page| {
        let wrong = wanted.iter().filter(|(name, labels, is)| value(page, name, labels) != Some(*is));
        wrong
            .map(|(name, labels, is)| format!("{name}{labels:?} {is}: {:?}", value(page, name, labels)))
            .collect::<Vec<_>>()
    };
    let until = Instant::now() + crate::cli::PATIENCE;
    let (text, page) = loop {
        let (text, page) = scrape(&daemon);
        let missing = missing(&page);
        if missing.is_empty() {
            break (text, page);
        }
        assert!(Instant::now() < until, "{missing:#?}\n{text}\n{}", daemon.log());
        std::thread::park_timeout(Duration::from_millis(100));
    };
    assert!(!text.contains(hostile), "{text}");
    assert!(!text.contains(&sleeper.0.id().to_string()), "{text}");
    for (name, least) in [
        ("quell_journal_records_total", 10.0),
        ("quell_journal_bytes", 1000.0),
        ("quell_journal_sync_seconds_count", 1.0),
        ("quell_journal_slate_size_bytes", 1e6),
        ("quell_data_dir_free_bytes", 1.0),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 5.0),
        ("process_threads", 3.0),
        ("process_start_time_seconds", 1.5e9),
        ("quell_source_last_event_timestamp_seconds", 0.0),
    ] {
        let labels = if name.starts_with("quell_source") { file } else { none };
        assert!(value(&page, name, labels).is_some_and(|is| is >= least), "{name}: {text}");
    }
    is_in_the_manual(&page);
    read_by_python(&text);

    // Answered, paused, a broken file: the next scrape says so.
    let run = daemon.ask_json(&["run", "list"]);
    let run = run.as_array().unwrap().iter().find(|run| run["playbook"] == "look").unwrap()["id"].clone();
    daemon.ask(&["run", "answer", &format!("{}/sure", run.as_str().unwrap()), "me"]).ends(0);
    daemon.ask(&["pause"]).ends(0);
    write(home.path(), "playbooks/broken.yaml", "playbook: [\n");
    wait_until("it is seen", || {
        let (_, page) = scrape(&daemon);
        value(&page, "quell_questions_settled_total", &[("kind", "ask"), ("by", "person")]) == Some(1.0)
            && value(&page, "quell_questions_waiting", &[("kind", "ask")]) == Some(0.0)
            && value(&page, "quell_runs_finished_total", &[("playbook", "look"), ("state", "succeeded")]) == Some(1.0)
            && value(&page, "quell_paused", &[]) == Some(1.0)
            && value(&page, "quell_reloads_total", &[("result", "refused")]).is_some_and(|count| count >= 1.0)
            && value(&page, "quell_reload_refused", &[]) == Some(1.0)
    });
    daemon.end();
}

#[test]
fn a_scrape_waits_for_no_database_that_refuses() {
    let home = tempfile::tempdir().unwrap();
    let daemon = started(home.path(), "");
    let holder = rusqlite::Connection::open(daemon.state.join("journal.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    append(home.path(), "{\"Image\":\"/x/no-such-marked\",\"CommandLine\":\"y\"}\n");
    let detected = [("rule", "marked"), ("level", "high")];
    wait_until("it is told that the database refuses", || {
        let begun = Instant::now();
        let (text, page) = scrape(&daemon);
        // Two parts after each other, and a machine that is busy: still before a scraper gives up.
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
        assert!(page.contains_key("quell_mode") && page.contains_key("quell_journal_slate_bytes"), "{text}");
        let absent = !page.contains_key("quell_journal_bytes");
        let told = value(&page, "quell_scrape_errors_total", &[("part", "database")]).unwrap();
        assert!(!absent || told >= 1.0, "what is absent is told: {text}");
        value(&page, "quell_journal_up", &[]) == Some(0.0)
            && value(&page, "quell_detections_total", &detected) == Some(1.0)
            && value(&page, "quell_journal_refused_commits_total", &[]).is_some_and(|count| count >= 1.0)
    });
    holder.execute_batch("ROLLBACK").unwrap();
    wait_until("it is written again", || {
        let (_, page) = scrape(&daemon);
        value(&page, "quell_journal_up", &[]) == Some(1.0) && value(&page, "quell_incidents_open", &[]) == Some(1.0)
    });
    daemon.end();
}

#[test]
fn who_wants_no_figures_is_told_how_to_get_them() {
    let home = tempfile::tempdir().unwrap();
    let daemon = started(home.path(), "telemetry: { metrics: false }\n");
    let (head, body) = get(&daemon.state, "/metrics");
    assert!(head.contains(" 404 ") && body.contains("telemetry"), "{head}\n{body}");
    daemon.end();
}

/// What the manual says of each metric: type and labels.
fn manual() -> BTreeMap<String, (String, Vec<String>, String)> {
    let page = fs::read_to_string("docs/reference/metrics.md").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let labels =
            cells[2].split(", ").filter(|label| !label.is_empty()).map(|label| label.trim_matches('`').to_owned());
        (cells[0].trim_matches('`').to_owned(), (cells[1].to_owned(), labels.collect(), cells[3].to_owned()))
    };
    rows.map(row).collect()
}

fn is_in_the_manual(page: &Page) {
    let manual = manual();
    for (name, family) in page {
        let (kind, labels, help) = manual.get(name).unwrap_or_else(|| panic!("`{name}` is not in the manual"));
        assert_eq!((kind, help), (&family.kind, &family.help), "`{name}`");
        for (_, found) in family.samples.keys() {
            let mut found: Vec<&String> = found.keys().filter(|label| *label != "le").collect();
            let mut labels: Vec<&String> = labels.iter().collect();
            found.sort();
            labels.sort();
            assert_eq!(found, labels, "`{name}`");
        }
    }
    // The rest needs a sensor, a cluster, a webhook, something that stands, or something that went wrong.
    let absent: Vec<&String> = manual.keys().filter(|name| !page.contains_key(*name)).collect();
    assert!(absent.len() < 22, "{absent:?}");
}

/// The Prometheus project's own reader, where it is installed.
fn read_by_python(text: &str) {
    let python = std::env::var("QUELL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as read\nprint(sum(len(f.samples) for f in read(sys.stdin.read())))";
    let has = Command::new(&python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        eprintln!(
            "NOT TESTED: the page by python's prometheus_client, which is not installed (QUELL_PYTHON names one)"
        );
        return;
    }
    let mut child =
        Command::new(&python).args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), lines.to_string());
}

#[test]
fn every_metric_that_an_alert_names_exists() {
    let text = fs::read_to_string("deploy/prometheus-rules.yaml").unwrap();
    let rules: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let manual = manual();
    let mut alerts = 0;
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let (alert, expression) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics: Vec<&str> =
            words.filter(|word| word.starts_with("quell_") || word.starts_with("process_")).collect();
        assert!(!metrics.is_empty(), "`{alert}` names no metric");
        for metric in metrics {
            let of = |ending: &str| metric.strip_suffix(ending).and_then(|name| manual.get(name));
            let histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(of);
            let known = manual.contains_key(metric) || histogram.is_some_and(|(kind, ..)| kind == "histogram");
            assert!(known, "`{alert}`: there is no metric `{metric}`");
        }
        // Labels that are matched exist, too.
        for matched in expression.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
            for pair in matched.0.split(',') {
                let label = pair.split(['=', '!']).next().unwrap().trim();
                assert!(
                    manual.values().any(|(_, labels, _)| labels.iter().any(|known| known == label)),
                    "`{alert}`: {label}"
                );
            }
        }
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 10), "`{alert}` has no {text}");
        }
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "`{alert}`");
        alerts += 1;
    }
    assert!(alerts >= 10, "{alerts}");
}
