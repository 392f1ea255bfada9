//! Runs as traces: what a collector is sent, decoded; what waits while it is down; and that nothing is sent twice or left out over a restart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod collector;

use crate::cli::{command, wait_until};
use crate::daemon::Daemon;
use crate::metrics::{Sleeper, append, started};
use collector::{Collector, Sent};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

fn hold(daemon: &Daemon, home: &Path) {
    let sleeper = Sleeper::start();
    let (file, input) = (home.join("playbooks/hold.yaml"), format!("process={}", sleeper.id()));
    daemon.ask(&["playbook", "run", file.to_str().unwrap(), "--input", &input]);
}

/// Runs of a playbook that have ended.
fn ended(daemon: &Daemon, playbook: &str) -> Vec<Value> {
    let runs = daemon.ask_json(&["run", "list"]);
    let is_one =
        |run: &&Value| run["playbook"] == playbook && !matches!(run["state"].as_str(), Some("running" | "waiting"));
    runs.as_array().unwrap().iter().filter(is_one).cloned().collect()
}

fn word<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    collector::text(&span.attributes, key)
}

/// A figure of the page, by its name and labels.
fn scraped(daemon: &Daemon, name: &str) -> Option<f64> {
    let (_, page) = crate::metrics::get(&daemon.state, "/metrics");
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The spans of one run, its own first.
fn of_run(sent: &[Sent], run: &str) -> Vec<Span> {
    let root = sent.iter().find(|one| word(&one.span, "quell.run") == Some(run) && one.span.parent_span_id.is_empty());
    let Some(root) = root else { return Vec::new() };
    let others =
        sent.iter().filter(|one| one.span.trace_id == root.span.trace_id && one.span.span_id != root.span.span_id);
    std::iter::once(root).chain(others).map(|one| one.span.clone()).collect()
}

#[test]
fn a_run_is_a_trace_with_its_steps_its_questions_and_its_refusals() {
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(0);
    let daemon = started(home.path(), &format!("telemetry: {{ otlp: \"http://127.0.0.1:{}\" }}\n", collector.port));
    // What answers is no collector, then one that refuses: it is sent again, with the same ids.
    collector.answer_as("text/html", "<p>it works</p>");
    let now = jiff::Timestamp::now();
    append(
        home.path(),
        &format!("{{\"timestamp\":\"{now}\",\"Image\":\"/x/no-such-marked\",\"CommandLine\":\"y\"}}\n"),
    );
    let waiting = || daemon.ask_json(&["run", "list"]).as_array().unwrap().iter().any(|run| run["state"] == "waiting");
    wait_until("the run asks", waiting);
    let run = daemon.ask_json(&["run", "list"])[0]["id"].as_str().unwrap().to_owned();
    daemon.ask(&["run", "answer", &format!("{run}/sure"), "me"]).ends(0);
    wait_until("a web server was asked", || collector.refused() > 0);
    wait_until("it is told what answered", || daemon.said().contains("as `text/html`"));
    let figure = |name: &str| scraped(&daemon, name);
    assert_eq!((figure("quell_traces_up"), figure("quell_traces_total{result=\"sent\"}")), (Some(0.0), Some(0.0)));
    assert!(figure("quell_traces_behind_records").is_some_and(|rows| rows > 0.0), "it waits, and is seen to");
    collector.answer(503);
    let so_far = collector.refused();
    wait_until("it was refused", || collector.refused() > so_far);
    collector.answer(200);
    wait_until("the trace is there", || !of_run(&collector.sent(), &run).is_empty());
    let spans = of_run(&collector.sent(), &run);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["run look", "say", "sure"]);
    let root = &spans[0];
    assert_eq!((root.trace_id.len(), root.span_id.len()), (16, 8));
    assert_eq!(root.status.as_ref().unwrap().code(), StatusCode::Ok);
    assert_eq!((word(root, "quell.playbook"), word(root, "quell.state")), (Some("look"), Some("succeeded")));
    assert!(spans[1..].iter().all(|span| span.parent_span_id == root.span_id), "{spans:#?}");
    assert_eq!(word(&spans[1], "quell.outcome"), Some("done"));
    let events: Vec<&str> = spans[2].events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(events, ["a person was asked", "answered"]);
    assert_eq!(collector::text(&spans[2].events[1].attributes, "quell.choice"), Some("me"));
    // The times are those of the records: the event's, and the run's end as `run show` has it.
    assert_eq!(i128::from(root.start_time_unix_nano), now.as_nanosecond());
    let shown = daemon.ask_json(&["run", "show", &run]);
    let finished: jiff::Timestamp =
        shown["ended"]["wall"].as_str().unwrap_or_else(|| panic!("{shown}")).parse().unwrap();
    assert_eq!(i128::from(root.end_time_unix_nano), finished.as_nanosecond(), "{shown}");
    assert!(spans.iter().all(|span| span.start_time_unix_nano <= span.end_time_unix_nano));
    for one in collector.sent() {
        assert_eq!(collector::text(&one.resource, "service.name"), Some("quell"));
        assert_eq!(one.head.lines().next(), Some("POST /v1/traces HTTP/1.1"));
        assert!(one.head.to_lowercase().contains("content-type: application/x-protobuf"), "{}", one.head);
    }
    let tried: Vec<_> = collector.tried().into_iter().filter(|span| word(span, "quell.run") == Some(&run)).collect();
    assert!(
        tried.len() >= 2 && tried.iter().all(|span| span.span_id == root.span_id && span.trace_id == root.trace_id)
    );

    hold(&daemon, home.path());
    wait_until("the refused run has ended", || !ended(&daemon, "hold").is_empty());
    let refused = ended(&daemon, "hold")[0]["id"].as_str().unwrap().to_owned();
    wait_until("its trace is there", || !of_run(&collector.sent(), &refused).is_empty());
    let spans = of_run(&collector.sent(), &refused);
    assert_eq!(spans[0].status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(spans[1].name, "freeze process.freeze");
    assert!(spans[1].events.iter().any(|event| event.name == "refused by a guard"), "{spans:#?}");
    assert_ne!(spans[0].trace_id, root.trace_id);

    // Some of it is not taken: that is no trace that was sent, and not to be sent again.
    let before = figure("quell_traces_total{result=\"sent\"}");
    collector.reject(1, "too many attributes");
    hold(&daemon, home.path());
    wait_until("the collector's word is told", || daemon.said().contains("too many attributes"));
    wait_until("it is counted", || figure("quell_traces_total{result=\"refused\"}") == Some(1.0));
    assert_eq!(figure("quell_traces_total{result=\"sent\"}"), before);
    wait_until("nothing waits", || figure("quell_traces_behind_records") == Some(0.0));
    daemon.end();
}

#[test]
fn what_ended_while_the_collector_was_down_is_sent_after_a_kill_and_a_restart_once() {
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(0);
    let port = collector.port;
    let mut daemon = started(home.path(), &format!("telemetry: {{ otlp: \"http://127.0.0.1:{port}\" }}\n"));
    hold(&daemon, home.path());
    wait_until("the first is sent", || collector.sent().iter().any(|one| one.span.parent_span_id.is_empty()));
    let first = ended(&daemon, "hold")[0]["id"].as_str().unwrap().to_owned();
    let place = || std::fs::read_to_string(home.path().join("state/passages/otlp")).unwrap_or_default();
    wait_until("its place is kept", || place().split(' ').nth(1).is_some_and(|row| row.trim() > "0"));
    // It is written once the collector has answered, which the collector cannot see.
    let before = place();
    drop(collector);
    hold(&daemon, home.path());
    wait_until("the second has ended", || ended(&daemon, "hold").len() == 2);
    hold(&daemon, home.path());
    wait_until("a third has ended", || ended(&daemon, "hold").len() == 3);
    wait_until("it is told that the collector is down", || daemon.said().contains("takes no traces"));
    // Some further tries: no further line.
    let until = std::time::Instant::now() + Duration::from_secs(8);
    wait_until("some tries", || std::time::Instant::now() > until);
    assert_eq!(daemon.said().matches("takes no traces").count(), 1, "{}", daemon.log());
    assert_eq!(daemon.status()["state"], "blind", "the daemon goes on");
    let third = ended(&daemon, "hold")[0]["id"].as_str().unwrap().to_owned();
    let database = rusqlite::Connection::open(home.path().join("state/journal.db")).unwrap();
    let whole = "SELECT count(*) FROM records WHERE kind = 'RunFinished'";
    wait_until("the database has them", || database.query_row(whole, [], |row| row.get(0)) == Ok(3));
    daemon.kill();
    // One of them cannot be read any more.
    let spoil =
        "UPDATE records SET body = '{' WHERE kind = 'RunStarted' AND stream = (SELECT id FROM streams WHERE name = ?1)";
    assert_eq!(database.execute(spoil, [format!("run/{third}")]), Ok(1));
    drop(database);

    let collector = Collector::start(port);
    let config = home.path().join("quell.yaml");
    let mut again =
        Daemon::start(command(&["up"]), Some(&config), &home.path().join("state"), &home.path().join("log"));
    again.stands();
    let runs = ended(&again, "hold");
    let mut others = runs.iter().map(|run| run["id"].as_str().unwrap().to_owned());
    let second = others.find(|id| *id != first && *id != third).unwrap();
    wait_until("the second is sent", || !of_run(&collector.sent(), &second).is_empty());
    assert_eq!(of_run(&collector.sent(), &first), [], "what was taken is not sent again; the place was {before}");
    let mut ids: Vec<_> = collector.sent().iter().map(|one| one.span.span_id.clone()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "each span once");
    // The one that cannot be read keeps none of the others, and is told.
    wait_until("it is counted", || scraped(&again, "quell_traces_total{result=\"unreadable\"}") == Some(1.0));
    assert_eq!(again.said().matches("a run cannot be read").count(), 1, "{}", again.log());
    hold(&again, home.path());
    wait_until("a later one is sent", || {
        ended(&again, "hold").iter().any(|run| {
            !of_run(&collector.sent(), run["id"].as_str().unwrap()).is_empty() && run["id"] != second.as_str()
        })
    });
    again.end();
}
