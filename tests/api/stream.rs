//! What happens, followed over the socket: live, after a break, and to the daemon's end.

use super::{happens, home, start};
use crate::cli::{Bounded, PATIENCE, command, wait_until};
use crate::daemon::Daemon;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::mpsc;

/// One event as it came.
#[derive(Debug)]
struct Event {
    id: Option<i64>,
    name: String,
    data: Value,
}

/// A connection that is told what happens.
struct Following(BufReader<UnixStream>);

impl Following {
    fn begin(daemon: &Daemon, query: &str, after: Option<i64>) -> Self {
        let mut socket = UnixStream::connect(daemon.state.join("quell.sock")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let after = after.map(|row| format!("last-event-id: {row}\r\n")).unwrap_or_default();
        write!(socket, "GET /v1/stream{query} HTTP/1.0\r\nhost: quell\r\n{after}\r\n").unwrap();
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let head = head.to_lowercase();
        assert!(head.contains(" 200 ") && head.contains("text/event-stream"), "{head}");
        let mut following = Self(reader);
        let begin = following.next().unwrap();
        assert_eq!((begin.name.as_str(), begin.data["row"].as_i64()), ("begin", begin.id));
        following
    }

    /// The next event; none: that was the last.
    fn next(&mut self) -> Option<Event> {
        let (mut id, mut name, mut data) = (None, String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", value)) => id = value.parse().ok(),
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("data", value)) => value.clone_into(&mut data),
                _ if line == "\n" && !data.is_empty() => {
                    return Some(Event { id, name, data: serde_json::from_str(&data).unwrap() });
                }
                _ => {}
            }
        }
    }

    /// Everything up to an event of this kind.
    fn until(&mut self, kind: &str) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            let event = self.next().unwrap_or_else(|| panic!("it ended before {kind}: {all:#?}"));
            let is_it = event.data["kind"] == kind;
            all.push(event);
            if is_it {
                return all;
            }
        }
    }
}

fn rows(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.id.unwrap()).collect()
}

#[test]
fn what_happens_is_told_as_it_happens_goes_on_after_a_break_and_ends_with_the_daemon() {
    let home = home("/quell-test-api-none");
    let daemon = start(home.path());
    let mut all = Following::begin(&daemon, "", None);
    let mut finished = Following::begin(&daemon, "?kind=RunFinished,QuestionAsked", None);
    happens(home.path(), "ana");
    let first = all.until("QuestionAsked");
    let kinds: Vec<&str> = first.iter().map(|event| event.data["kind"].as_str().unwrap()).collect();
    for kind in ["IncidentOpened", "DetectionAccepted", "RunStarted"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    assert!(first.iter().all(|event| event.name == "record"), "{first:#?}");
    let asked = first.last().unwrap();
    let (run, incident) = (asked.data["run"].as_str().unwrap(), asked.data["incident"].as_str().unwrap());
    assert!(asked.data["text"].as_str().unwrap().contains("Was it you?"), "{asked:?}");
    let only = finished.next().unwrap();
    assert_eq!((only.id, &only.data), (asked.id, &asked.data), "of the kinds that were asked for nothing else");

    // Cut off here: what comes is told to who goes on, without a gap and without a repeat.
    let at = asked.id;
    drop(all);
    daemon.ask(&["run", "answer", run, "me"]).ends(0);
    let mut after = Following::begin(&daemon, "", at);
    let rest = after.until("RunFinished");
    let whole = Following::begin(&daemon, "?after=0", None).until("RunFinished");
    let told: Vec<i64> = [rows(&first), rows(&rest)].concat();
    let whole = rows(&whole);
    assert_eq!(whole[whole.len() - told.len()..], told, "every row once");
    assert!(told.windows(2).all(|two| two[0] < two[1]), "{told:?}");
    assert_eq!(finished.next().unwrap().data["kind"], "RunFinished");

    // Of a run, of an incident with its runs.
    let of_run = Following::begin(&daemon, &format!("?after=0&run={run}"), None).until("RunFinished");
    let of_it = [format!("run/{run}"), format!("ladder/{run}/was_it/ask")];
    let is_of_it = |event: &Event| of_it.iter().any(|stream| event.data["stream"] == *stream);
    assert!(of_run.iter().all(is_of_it), "and whom its question was told to: {of_run:#?}");
    assert_eq!(of_run[0].data["kind"], "RunStarted");
    let of_incident = Following::begin(&daemon, &format!("?after=0&incident={incident}"), None).until("RunFinished");
    assert!(of_incident.iter().all(|event| event.data["incident"] == incident), "{of_incident:#?}");
    assert!(of_incident.iter().any(|event| event.data["run"] == run), "its runs too");
    let none = Following::begin(&daemon, "?after=0&run=r-none", None);
    let wrong = daemon.exchange("GET", "/v1/stream?kind=Runs", "").unwrap();
    assert_eq!(wrong.status, 400, "{}", wrong.body);

    // A row that this journal never had.
    let mut beyond = Following::begin(&daemon, "", Some(1 << 40));
    assert_eq!(beyond.next().unwrap().name, "gap");

    let since = std::time::Instant::now();
    let mut open = [after, finished, beyond, none];
    daemon.signal(rustix::process::Signal::TERM);
    for following in &mut open {
        let mut last = None;
        while let Some(event) = following.next() {
            last = Some(event);
        }
        let last = last.expect("it says that it ends");
        assert_eq!((last.name.as_str(), &last.data["why"]), ("end", &Value::from("ending")));
    }
    let mut daemon = daemon;
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(since.elapsed() < std::time::Duration::from_secs(15), "those who follow hold up no end");
}

/// So many at once, and one that has gone makes room.
#[test]
fn those_who_follow_are_bounded() {
    let home = home("/quell-test-api-none");
    let daemon = start(home.path());
    let mut many: Vec<Following> = (0..32).map(|_| Following::begin(&daemon, "", None)).collect();
    let refused = daemon.exchange("GET", "/v1/stream", "").unwrap();
    assert_eq!((refused.status, refused.kind.as_str()), (429, "application/problem+json"), "{}", refused.body);
    many.pop();
    // Its end is seen when something is written to it, or by its closing.
    wait_until("there is room again", || {
        let mut socket = UnixStream::connect(daemon.state.join("quell.sock")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(socket, "GET /v1/stream HTTP/1.0\r\nhost: quell\r\n\r\n").unwrap();
        let mut head = String::new();
        BufReader::new(socket).read_line(&mut head).unwrap();
        head.contains(" 200 ")
    });
    drop(many);
    daemon.end();
}

#[test]
fn the_command_line_follows_a_run_and_an_incident_to_their_ends() {
    let home = home("/quell-test-api-none");
    let daemon = start(home.path());
    happens(home.path(), "ana");
    wait_until("a run asks", || daemon.try_status().is_some_and(|status| status["questions"] == 1));
    let run = daemon.ask_json(&["run", "list"])[0]["id"].as_str().unwrap().to_owned();
    let follow = |args: &[&str]| {
        let mut quell = command(args);
        quell.args(["--follow", "--data-dir", daemon.state.to_str().unwrap()]);
        Bounded(quell.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap())
    };
    let mut people = follow(&["run", "show", &run]);
    let mut read = BufReader::new(people.0.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("Was it you?") {
        assert!(read.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    // It began to follow before it showed.
    daemon.ask(&["run", "answer", &run, "not_me", "--why", "never seen"]).ends(0);
    let mut rest = String::new();
    read.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("somebody said not_me"), "{rest}");
    assert!(rest.lines().last().unwrap().contains("quell-asks succeeded"), "{rest}");
    assert!(people.0.wait().unwrap().success());
    // It has ended: shown, and nothing to follow.
    assert!(daemon.ask(&["run", "show", &run, "--follow"]).ends(0).out.contains("succeeded"));

    let incident = daemon.ask_json(&["incident", "list"])[0]["id"].as_str().unwrap().to_owned();
    let mut scripts = follow(&["incident", "show", &incident, "--json"]);
    let mut lines = BufReader::new(scripts.0.stdout.take().unwrap()).lines();
    let (send, told) = mpsc::channel();
    let reader = std::thread::spawn(move || lines.by_ref().for_each(|line| drop(send.send(line.unwrap()))));
    let mut first = None;
    wait_until("a note is told", || {
        daemon.ask(&["incident", "note", &incident, "seen"]).ends(0);
        first = told.try_recv().ok();
        first.is_some()
    });
    let first: Value = serde_json::from_str(&first.unwrap()).unwrap();
    assert_eq!((&first["kind"], &first["body"]["text"]), (&"NoteAdded".into(), &"seen".into()), "{first}");
    daemon.ask(&["incident", "resolve", &incident]).ends(0);
    reader.join().unwrap();
    let last: Value = serde_json::from_str(&told.iter().last().unwrap()).unwrap();
    assert_eq!(last["kind"], "IncidentChanged", "{last}");
    assert!(scripts.0.wait().unwrap().success());
    daemon.end();
}
