//! Goal: whoever floods the socket keeps nobody from asking, and costs the daemon no more than its bounds.
//! Method: every kind of them at once and in turn, each many times more than there are places, with `quell status` in between.

use super::{home, start};
use crate::cli::{PATIENCE, wait_until};
use crate::daemon::Daemon;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Many more than the daemon has places.
const MANY: usize = 1_000;
/// Descriptors that a daemon needs which nobody asks.
const OWN: usize = 100;
/// The daemon's places, and one that is taken before another is given back.
const PLACES: usize = 256 + 1;
/// So long an answer that nobody reads waits for them, and keeps their place.
const WAITS: Duration = Duration::from_secs(30);
/// An answer to somebody who asks has no flood to wait for, only for a busy machine.
const SOON: Duration = Duration::from_secs(9);
/// What 256 connections with full buffers may cost.
const MEMORY: u64 = 64 << 20;

fn raw(daemon: &Daemon) -> UnixStream {
    let socket = UnixStream::connect(daemon.state.join("quell.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn says(daemon: &Daemon, text: &[u8]) -> UnixStream {
    let mut socket = raw(daemon);
    // It may be closed before all of it is taken.
    drop(socket.write_all(text));
    socket
}

/// All that comes until the other side closes.
fn rest(mut socket: UnixStream) -> String {
    let mut text = Vec::new();
    drop(socket.read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

fn resident(daemon: &Daemon) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Whether the other side has hung up.
fn is_ended(socket: &UnixStream) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    poll(&mut polled, Some(&Timespec::default())).unwrap();
    polled[0].revents().contains(PollFlags::HUP)
}

/// The daemon answers at once, and holds no more than its places.
#[track_caller]
fn answers(daemon: &Daemon, what: &str) {
    let began = Instant::now();
    let status = daemon.ask(&["status", "--json"]);
    let took = began.elapsed();
    assert!(status.out.contains("\"state\"") && took < SOON, "{what}: after {took:?}: {status:?}\n{}", daemon.log());
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(open < OWN + PLACES, "{what}: {open} descriptors");
}

#[test]
fn whoever_floods_the_socket_keeps_nobody_from_asking() {
    let home = home("/quell-test-api-none");
    let daemon = start(home.path());
    let (began, before) = (Instant::now(), resident(&daemon));
    // It asks for much, and reads nothing of it.
    let much = "GET /v1/openapi.json HTTP/1.1\r\nhost: quell\r\n\r\n".repeat(100);
    let mut deaf = says(&daemon, much.as_bytes());
    answers(&daemon, "one that reads nothing");
    let keeps_its_place = |what: &str| {
        let (ended, waited) = (is_ended(&deaf), began.elapsed());
        assert!(!ended || waited >= WAITS, "{what}: the one that is being answered had to go after {waited:?}");
    };

    let silent: Vec<UnixStream> = (0..MANY).map(|_| raw(&daemon)).collect();
    answers(&daemon, "those who say nothing");
    keeps_its_place("those who say nothing");
    drop(silent);
    let mut slow: Vec<UnixStream> = (0..MANY).map(|_| says(&daemon, b"GET /v1/status HTTP/1.1\r\nx: ")).collect();
    for _ in 0..3 {
        slow.iter_mut().for_each(|one| drop(one.write_all(b"x")));
        answers(&daemon, "those who say a byte at a time");
    }
    drop(slow);
    let unfinished = b"POST /v1/runs HTTP/1.1\r\nhost: quell\r\ncontent-length: 1000000\r\n\r\n{";
    let endless: Vec<UnixStream> = (0..MANY).map(|_| says(&daemon, unfinished)).collect();
    answers(&daemon, "those whose bodies do not end");
    keeps_its_place("those whose bodies do not end");
    drop(endless);

    let head = format!("GET /v1/status HTTP/1.1\r\nhost: quell\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let lines = format!("GET /v1/status HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let garbage = b"\x16\x03\x01\x00\xff GET / / /\r\n\r\n\0\0\0".repeat(1_000);
    for (what, text) in [("a head", head.as_bytes()), ("many lines", lines.as_bytes()), ("garbage", &garbage[..])] {
        let said = rest(says(&daemon, text));
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{what}: {said}");
        answers(&daemon, what);
    }
    let long =
        format!("POST /v1/runs HTTP/1.1\r\nhost: quell\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", 64 << 20);
    for _ in 0..4 {
        let mut socket = says(&daemon, long.as_bytes());
        let part = vec![b' '; 1 << 20];
        while socket.write_all(&part).is_ok() {}
        let said = rest(socket);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 413"), "{said}");
    }
    answers(&daemon, "bodies of 64 MiB");
    let grown = resident(&daemon).saturating_sub(before);
    assert!(grown < MEMORY, "{grown} bytes more");

    // From here on nobody wants its place: it is ended because it reads nothing, with much that was never sent. On a slow
    // machine the first one may have had to go, once it had been there for long enough.
    if is_ended(&deaf) {
        deaf = says(&daemon, much.as_bytes());
    }
    wait_until("the one that reads nothing is ended", || is_ended(&deaf));
    let said = rest(deaf);
    assert!(said.matches("HTTP/1.1 200").count() < 100, "{} bytes were sent to nobody", said.len());
    daemon.end();
}
