//! The API on TCP at a real daemon: tokens, TLS with a certificate of the test's own, and callers who are slow or many.
//!
//! The client is quell's own command line. Everything listens on the loopback, at a port that the system chooses.

use super::{Ran, binary, command, quell, wait_until, write};
use crate::daemon::Daemon;
use quell_model::Hash;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What the daemon allows for the head of a request, and some more on a busy machine.
const SLOW: Duration = Duration::from_secs(60);

/// What the daemon allows for it.
const HEAD: Duration = Duration::from_secs(10);

const PLAYBOOK: &str = "playbook: ask-them\non: { manual: true }\nmode: enforce\nsteps:\n  sure:\n    ask: { question: \"Sure?\", by: security, choices: [yes_sir, no_sir], within: 1h, otherwise: no_sir }\n";

struct Home {
    keep: tempfile::TempDir,
    daemon: Daemon,
    port: u16,
    tls: bool,
}

impl Home {
    fn start(tls: bool) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let mut tokens = String::new();
        for (name, role, person) in [
            ("viewer", "viewer", ""),
            ("ci", "responder", ""),
            ("boss", "admin", ""),
            ("pager", "approver", ", person: ana"),
        ] {
            let token = format!("secret-of-{name}");
            tokens += &format!(
                "      - {{ name: {name}, role: {role}, sha256: \"{}\"{person} }}\n",
                Hash::of(token.as_bytes())
            );
            private(write(keep.path(), name, &format!("{token}\n")));
        }
        private(write(keep.path(), "bad", "secret-of-nobody\n"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        write(keep.path(), "cert.pem", &made.cert.pem());
        private(write(keep.path(), "key.pem", &made.signing_key.serialize_pem()));
        let with = if tls { "    tls: { certificate: cert.pem, key: key.pem }\n" } else { "" };
        let config = format!(
            "mode: enforce\nsources: {{ sensor: {{ enabled: false }} }}\nplaybooks: {{ dirs: [playbooks] }}\naccess:\n  listen:\n    address: 127.0.0.1:0\n{with}    tokens:\n{tokens}"
        );
        let config = write(keep.path(), "quell.yaml", &config);
        let who = "people: { ana: {}, bo: {} }\napprovers: { security: { people: [ana, bo] } }\n";
        write(keep.path(), "escalation.yaml", who);
        write(keep.path(), "playbooks/ask.yaml", PLAYBOOK);
        let mut daemon =
            Daemon::start(command(&["up"]), Some(&config), &keep.path().join("state"), &keep.path().join("log"));
        daemon.stands();
        wait_until("it says where it listens", || daemon.said().contains("listens on TCP"));
        let said = daemon.said();
        let line = said.lines().find(|line| line.contains("listens on TCP")).unwrap_or_else(|| panic!("{said}"));
        let digits = line.split("127.0.0.1:").nth(1).unwrap().chars().take_while(char::is_ascii_digit);
        let port = digits.collect::<String>().parse().unwrap();
        Self { keep, daemon, port, tls }
    }

    fn file(&self, name: &str) -> String {
        self.keep.path().join(name).to_str().unwrap().to_owned()
    }

    fn url(&self) -> String {
        format!("{}://localhost:{}", if self.tls { "https" } else { "http" }, self.port)
    }

    /// Runs a client with the token of this name.
    fn client(&self, token: &str, args: &[&str]) -> Ran {
        let mut command = command(args);
        command.args(["--api", &self.url(), "--token-file", &self.file(token)]);
        if self.tls {
            command.args(["--ca-file", &self.file("cert.pem")]);
        }
        Ran::of(command.output().unwrap())
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(SLOW)).unwrap();
        stream
    }
}

fn private(file: PathBuf) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// All that comes until the other side closes.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end as well.
    drop(stream.read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn tokens_over_tls_may_what_their_role_may() {
    let home = Home::start(true);
    assert_eq!(home.client("viewer", &["run", "list", "--json"]).ends(0).json(), Value::Array(vec![]));
    let refused = home.client("viewer", &["pause"]).ends(4);
    assert!(refused.err.contains("token viewer may not do that: no role of theirs has `pause`"), "{refused:?}");
    home.client("boss", &["pause"]).ends(0);
    home.client("boss", &["resume"]).ends(0);
    let refused = home.client("bad", &["run", "list"]).ends(4);
    assert!(refused.err.contains("no token that is known"), "{refused:?}");
    // Without a token, without trust, and in the clear.
    let ca = home.file("cert.pem");
    quell(&["run", "list", "--api", &home.url(), "--ca-file", &ca]).ends(4);
    let refused = quell(&["run", "list", "--api", &home.url(), "--token-file", &home.file("viewer")]).ends(3);
    assert!(refused.err.contains("no TLS came about") && refused.err.contains("--ca-file"), "{refused:?}");
    let plain = format!("http://127.0.0.1:{}", home.port);
    quell(&["run", "list", "--api", &plain, "--token-file", &home.file("viewer")]).ends(3);

    // What a token starts is its own, and its word is nobody's but where it speaks for a person.
    let file = home.file("playbooks/ask.yaml");
    let run =
        home.client("ci", &["playbook", "run", &file, "--json"]).ends(0).json()["id"].as_str().unwrap().to_owned();
    let answer = ["run", "answer", &format!("{run}/sure"), "yes_sir"];
    let refused = home.client("ci", &answer).ends(4);
    assert!(refused.err.contains("`token ci` is nobody's approval"), "{refused:?}");
    home.client("boss", &answer).ends(4);
    home.client("pager", &answer).ends(0);
    wait_until("the run has ended", || home.daemon.ask_json(&["run", "show", &run])["state"] == "succeeded");
    let shown = home.daemon.ask_json(&["run", "show", &run]).to_string();
    assert!(shown.contains("ana answered `yes_sir`") && shown.contains("token ci"), "{shown}");
    assert!(!home.daemon.said().contains("secret-of"), "no token is in the log");
}

/// A token says who somebody is, and not from where; of a connection from this host the daemon looks.
#[test]
fn a_token_out_of_the_suspected_users_shell_answers_nothing() {
    const SUSPECT: u32 = 64_204;
    if !rustix::process::geteuid().is_root() {
        return eprintln!("NOT TESTED: an answer by token of the suspect's own: other users need root");
    }
    for tls in [false, true] {
        let home = Home::start(tls);
        let node = home.daemon.status()["node"].as_str().unwrap().to_owned();
        let at = serde_json::json!({ "wall": "2026-11-29T12:00:00Z", "boot_ns": 1 });
        let process = serde_json::json!({ "id": "1.1.1@another", "uid": SUSPECT, "euid": SUSPECT, "session": null });
        let event = serde_json::json!({
            "v": 1, "id": "e-1", "class": "process_creation", "source": "sensor", "node": node, "at": at, "seen": at,
            "logsource": {}, "sigma": {}, "own": { "process": process }, "subject": "unknown",
            "entity": { "kind": "node", "id": node, "node": node },
        });
        write(home.keep.path(), "event.json", &event.to_string());
        let begin = ["playbook", "run", &home.file("playbooks/ask.yaml"), "--event", &home.file("event.json")];
        let run = home.daemon.ask_json(&begin)["id"].as_str().unwrap().to_owned();
        let answer = ["run", "answer", &format!("{run}/sure"), "yes_sir"];
        // The token was stolen, or is theirs: it is as good in their shell.
        std::fs::set_permissions(home.keep.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        for name in ["pager", "cert.pem"] {
            std::os::unix::fs::chown(home.file(name), Some(SUSPECT), None).unwrap();
        }
        let copy = home.file("quell");
        std::fs::hard_link(binary(), &copy).or_else(|_| std::fs::copy(binary(), &copy).map(drop)).unwrap();
        let mut shell = std::process::Command::new(copy);
        shell.args(answer).args(["--api", &home.url(), "--token-file", &home.file("pager")]);
        shell.args(if tls { vec!["--ca-file".to_owned(), home.file("cert.pem")] } else { Vec::new() });
        let refused = Ran::of(shell.current_dir("/").stdin(Stdio::null()).uid(SUSPECT).output().unwrap()).ends(4);
        assert!(refused.err.contains("user id 64204") && refused.err.contains("suspect's own"), "{refused:?}");
        assert_eq!(home.daemon.ask_json(&["run", "show", &run])["state"], "waiting");
        home.client("pager", &answer).ends(0);
        wait_until("the run has ended", || home.daemon.ask_json(&["run", "show", &run])["state"] == "succeeded");
    }
}

#[test]
fn the_environment_names_a_daemon_too_and_a_wrong_address_is_wrong_usage() {
    let home = Home::start(false);
    let with = |name: &str, value: &str, args: &[&str]| {
        let mut command = command(args);
        command.env("QUELL_API", home.url()).env("QUELL_TOKEN_FILE", home.file("viewer")).env(name, value);
        Ran::of(command.output().unwrap())
    };
    with("LANG", "C", &["run", "list"]).ends(0);
    with("LANG", "C", &["run", "list", "--data-dir", "/nowhere"]).ends(3);
    with("QUELL_TOKEN_FILE", "/nowhere", &["run", "list"]).ends(2);
    for (url, what) in [
        ("http://192.0.2.1:7071", "in the clear"),
        ("ftp://127.0.0.1", "neither https nor http"),
        ("127.0.0.1", "no address"),
        ("http://127.0.0.1:1/v1", "has a path"),
    ] {
        let ran = with("QUELL_API", url, &["run", "list"]).ends(2);
        assert!(ran.err.contains(what), "{url}: {ran:?}");
    }
    quell(&["run", "list", "--token-file", &home.file("viewer")]).ends(2);
    quell(&["run", "list", "--api", &home.url(), "--data-dir", "/nowhere"]).ends(2);
    let open = write(home.keep.path(), "open", "secret-of-viewer");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ran = home.client("open", &["run", "list"]).ends(2);
    assert!(ran.err.contains("anybody can read the token"), "{ran:?}");
    // A daemon elsewhere that does not answer is never replaced by what is done here.
    let ran = quell(&["pause", "--api", "http://127.0.0.1:1"]).ends(3);
    assert!(ran.out.is_empty(), "{ran:?}");
    quell(&["playbook", "run", &home.file("playbooks/ask.yaml"), "--api", "http://127.0.0.1:1"]).ends(3);
}

#[test]
fn the_slow_the_large_and_the_many_are_ended_and_hold_nobody_up() {
    let home = Home::start(false);
    let began = Instant::now();
    let mut slow = home.raw();
    write!(slow, "GET /v1/runs HTTP/1.1\r\nhost: x\r\nx-slow: ").unwrap();
    let silent = home.raw();
    home.client("viewer", &["run", "list"]).ends(0);
    let (said, silence) = (rest(slow), rest(silent));
    assert!(began.elapsed() < SLOW, "they were not ended");
    assert!(!said.contains("200 OK") && silence.is_empty(), "{said}{silence}");

    let mut large = home.raw();
    let head = "POST /v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret-of-ci\r\nconnection: close\r\n";
    write!(large, "{head}content-length: 3000000\r\n\r\n").unwrap();
    // It may close before all of it is sent.
    drop(large.write_all(&vec![b' '; 3_000_000]));
    let said = rest(large);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 413"), "{said}");
    let mut long = home.raw();
    drop(write!(long, "GET /v1/runs HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(100_000)));
    assert!(!rest(long).contains("200 OK"));

    let mut many: Vec<TcpStream> = (0..300).map(|_| home.raw()).collect();
    // Those who have said nothing make room, the first of them first.
    home.client("viewer", &["run", "list"]).ends(0);
    let began = Instant::now();
    let last = many.split_off(40);
    let closed = many.into_iter().map(rest).collect::<String>();
    assert!(closed.is_empty() && began.elapsed() < HEAD, "they had to go, and got no answer: {closed}");
    drop(last);
    assert_eq!(
        home.daemon.get("/runs"),
        Some(serde_json::json!({ "items": [], "next": null })),
        "the socket has places of its own"
    );

    let mut nobody = home.raw();
    write!(nobody, "GET /v1/runs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let said = rest(nobody).to_lowercase();
    assert!(said.starts_with("http/1.1 401") && said.contains("www-authenticate: bearer"), "{said}");
    assert!(said.contains("application/problem+json"), "{said}");
}

/// Whoever was let in goes when what they were let in by is no more.
#[test]
fn a_token_that_is_revoked_keeps_no_stream() {
    let home = Home::start(false);
    let follow = |token: &str| {
        let mut stream = home.raw();
        write!(stream, "GET /v1/stream HTTP/1.0\r\nhost: x\r\nauthorization: Bearer secret-of-{token}\r\n\r\n")
            .unwrap();
        let mut reader = BufReader::new(stream);
        until(&mut reader, "event: begin");
        reader
    };
    let (mut viewer, mut ci, mut boss) = (follow("viewer"), follow("ci"), follow("boss"));
    // One token goes, another gets a role more, the third stays as it is.
    let text = std::fs::read_to_string(home.file("quell.yaml")).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("name: viewer,")).collect();
    let changed = without.join("\n").replace("name: ci, role: responder", "name: ci, role: viewer") + "\n";
    std::fs::write(home.file("quell.yaml"), changed).unwrap();
    for reader in [&mut viewer, &mut ci] {
        until(reader, "event: end");
        assert!(until(reader, "data: ").contains("\"revoked\""));
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest.trim(), "", "it is the last word");
    }
    home.client("viewer", &["run", "list"]).ends(4);
    home.client("boss", &["pause"]).ends(0);
    // Whose token stands is told on.
    while !until(&mut boss, "data: ").contains("PauseChanged") {}
    home.client("boss", &["resume"]).ends(0);
}

/// Reads to a line that begins with this.
fn until(reader: &mut BufReader<TcpStream>, begins: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "it ended before `{begins}`");
        if line.starts_with(begins) {
            return line;
        }
    }
}

/// Somebody listens there who says nothing: TLS never comes about.
#[test]
fn one_that_says_nothing_is_not_waited_for_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca = write(dir.path(), "cert.pem", &made.cert.pem());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", silent.local_addr().unwrap().port());
    let began = Instant::now();
    let ran = quell(&["playbook", "list", "--api", &url, "--ca-file", ca.to_str().unwrap()]).ends(0);
    assert!(!ran.out.is_empty() && began.elapsed() < SLOW, "{ran:?}");
}

#[test]
fn a_listener_that_cannot_prove_itself_is_told_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(dir.path(), "cert.pem", &made.cert.pem());
    private(write(dir.path(), "key.pem", &other.signing_key.serialize_pem()));
    write(dir.path(), "open.pem", &made.signing_key.serialize_pem());
    write(dir.path(), "text.pem", "no pem\n");
    let check = |certificate: &str, key: &str| {
        let sum = Hash::of(b"x");
        let config = format!(
            "access: {{ listen: {{ address: 0.0.0.0:0, tls: {{ certificate: {certificate}, key: {key} }}, tokens: [{{ name: a, role: viewer, sha256: \"{sum}\" }}] }} }}\n"
        );
        let file = write(dir.path(), "quell.yaml", &config);
        quell(&["config", "check", file.to_str().unwrap()]).ends(1).err
    };
    assert!(check("cert.pem", "key.pem").contains("does not go with its key"));
    assert!(check("cert.pem", "open.pem").contains("anybody can read this key"));
    assert!(check("text.pem", "key.pem").contains("there is no certificate in it"));
    assert!(check("none.pem", "key.pem").contains("no certificate in PEM"));
}
