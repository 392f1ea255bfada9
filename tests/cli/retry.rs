//! `quell run retry --failed` at a daemon that goes in the middle.

use super::{Ran, command};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

/// Reads a request to its end; gives its first line.
fn request(stream: &UnixStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
    first
}

fn answer(mut stream: &UnixStream, body: &Value) {
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
}

#[test]
fn what_was_tried_again_is_told_when_the_daemon_goes_at_the_third() {
    let home = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(home.path().join("quell.sock")).unwrap();
    let at = json!({ "wall": "2026-11-28T12:00:00Z", "boot_ns": 0 });
    let run = |id: &str| {
        json!({
            "id": id, "playbook": "p", "state": "failed", "mode": "enforce", "incident": null, "rule": null, "per": "",
            "by": null, "started": at, "ended": at, "summary": "",
        })
    };
    let list = json!({ "items": [run("r-3"), run("r-2"), run("r-1")], "next": null });
    let daemon = std::thread::spawn(move || {
        let next = || socket.accept().unwrap().0;
        let stream = next();
        assert!(request(&stream).starts_with("GET /v1/runs?"));
        answer(&stream, &list);
        for id in ["r-1", "r-2"] {
            let stream = next();
            assert!(request(&stream).contains(id));
            answer(&stream, &json!({ "id": id, "again": ["cut"] }));
        }
        request(&next());
    });
    let mut retry = command(&["run", "retry", "--since", "2h", "--failed", "--json", "--data-dir"]);
    let ran = Ran::of(retry.arg(home.path()).output().unwrap()).ends(3);
    daemon.join().unwrap();
    let told = ran.json();
    assert_eq!((&told[0]["id"], &told[1]["id"], told.as_array().unwrap().len()), (&"r-1".into(), &"r-2".into(), 2));
    assert!(ran.err.contains("broke off") || ran.err.contains("no daemon"), "{ran:?}");
}
