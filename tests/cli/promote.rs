//! Goal: whoever promotes a playbook is not kept from it, nor brought to it, by a look that failed.
//! Method: a daemon that is played: every look fails, and every change is written down and taken.

use super::{Ran, quell};
use quell_engine::run::answers::ModeSet;
use quell_model::Mode;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// What was asked, and with what.
type Asked = (String, Value);

/// See the module.
struct Played {
    home: tempfile::TempDir,
    serving: JoinHandle<Vec<Asked>>,
}

impl Played {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(home.path().join("quell.sock")).unwrap();
        let serving = std::thread::spawn(move || {
            let mut all = Vec::new();
            // Whoever says nothing ends it.
            while let Some(asked) = answer(&listener.accept().unwrap().0) {
                all.push(asked);
            }
            all
        });
        Self { home, serving }
    }

    fn ask(&self, args: &[&str]) -> Ran {
        let dir = self.home.path().to_str().unwrap();
        quell(&[&["playbook", "promote", "asks", "--data-dir", dir], args].concat())
    }

    /// All that was asked.
    fn end(self) -> Vec<Asked> {
        drop(UnixStream::connect(self.home.path().join("quell.sock")).unwrap());
        self.serving.join().unwrap()
    }
}

/// Reads a request and answers it; none when nothing came.
fn answer(mut socket: &UnixStream) -> Option<Asked> {
    let (mut reader, mut line, mut length) = (BufReader::new(socket), String::new(), 0);
    reader.read_line(&mut line).unwrap();
    let method = line.split(' ').next().filter(|method| !method.is_empty())?.to_owned();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (status, document) = if method == "GET" {
        let detail = "the journal cannot be read";
        let problem =
            json!({ "type": "about:blank", "title": "internal server error", "status": 500, "detail": detail });
        ("500 Internal Server Error", problem)
    } else {
        let (from, to) = (Mode::Enforce, serde_json::from_slice::<Value>(&body).unwrap()["to"].clone());
        let to: Mode = serde_json::from_value(to).unwrap();
        let set = ModeSet { id: "asks".into(), from, to, mode: to, because: "somebody said so".to_owned() };
        ("200 OK", serde_json::to_value(set).unwrap())
    };
    let text = document.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    socket.write_all((head + text.as_str()).as_bytes()).unwrap();
    Some((method, serde_json::from_slice(&body).unwrap_or_default()))
}

#[test]
fn without_a_look_nothing_is_promoted_unless_its_text_is_named_or_it_is_held_back() {
    let played = Played::start();
    let look = played.ask(&[]).ends(1);
    assert!(look.out.is_empty() && look.err.contains("error: the journal cannot be read"), "{look:?}");
    let unseen = played.ask(&["--to", "enforce", "--yes"]).ends(1);
    assert!(unseen.err.contains("nothing was changed: the journal cannot be read"), "{}", unseen.err);
    assert!(unseen.err.contains("hint: `--hash SUM`"), "{}", unseen.err);
    let alone = played.ask(&["--to", "observe"]).ends(2);
    assert!(alone.err.contains("warning: ") && alone.err.contains("--yes"), "{}", alone.err);

    let held = played.ask(&["--to", "observe", "--yes"]).ends(0);
    assert!(held.out.contains("enforce before, observe from now on"), "{held:?}");
    assert!(held.err.contains("cannot be looked at: the journal cannot be read"), "{}", held.err);
    let known = played.ask(&["--to", "approve", "--hash", SUM, "--yes", "--json"]).ends(0);
    assert_eq!(known.json()["to"], "approve");

    let asked = played.end();
    let changes: Vec<&Value> = asked.iter().filter(|(method, _)| method == "POST").map(|(_, body)| body).collect();
    assert_eq!(asked.len(), 5 + changes.len(), "one look each: {asked:?}");
    assert_eq!(
        changes,
        [&json!({ "to": "observe", "hash": null, "why": "" }), &json!({ "to": "approve", "hash": SUM, "why": "" }),]
    );
}

#[test]
fn a_text_is_named_by_its_whole_sum_and_only_for_a_change() {
    for args in [&["--to", "enforce", "--hash", "ba78"][..], &["--hash", SUM]] {
        let ran = quell(&[&["playbook", "promote", "asks"], args].concat()).ends(2);
        assert!(ran.err.contains("--hash") || ran.err.contains("--to"), "{}", ran.err);
    }
}
