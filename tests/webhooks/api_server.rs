//! The real kube-apiserver brings its events over TLS to a quell that is killed between the receipt and the answer, and writes the same to
//! a file that another source follows. Between the two stands a relay of the test's own, which holds a connection while no quell is there.

use super::{Home, TOKEN, detections, ended, port, runs};
use crate::cli::{PATIENCE, command, wait_until, write};
use crate::daemon::Daemon;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// What `scripts/cluster` ends with where something is missing.
const MISSING: i32 = 4;

const RULE: &str = "title: Secrets listed\nname: exec\nstatus: test\nlevel: high\nlogsource: { product: kubernetes, service: audit }\n\
    detection:\n  list: { objectRef.resource: secrets, verb: list, objectRef.namespace|startswith: quell-, user.username: admin }\n  condition: list\n";

/// One run a namespace.
const PLAYBOOK: &str = "playbook: says\ndescription: Says what it was given.\n\
    on: { detections: { rules: [exec] }, max_age: 10m, run_per: '${{ field(event.raw, \"objectRef.namespace\") }}' }\n\
    mode: enforce\nsteps:\n  say: { tell: \"${{ event.actor }} ${{ event.cloud.action }}\" }\n";

/// An API server without nodes, which goes with its standard input.
struct ApiServer {
    child: Child,
    dir: tempfile::TempDir,
}

impl ApiServer {
    /// None, loudly, where it cannot run.
    fn start(webhook: &Path, log: &Path) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cluster");
        let mut up = Command::new(script);
        up.arg("up").arg(dir.path().join("c")).args(["--api-only", "--until-eof"]);
        up.arg("--audit-webhook").arg(webhook).arg("--audit-log").arg(log);
        let mut child = up.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            let code = child.wait().unwrap().code();
            let required = std::env::var_os("QUELL_REQUIRE_CLUSTER").is_some() || std::env::var_os("CI").is_some();
            assert!(code == Some(MISSING) && !required, "no API server: it ended with {code:?}");
            eprintln!("NOT TESTED: what a real API server brings to a webhook: scripts/cluster says what is missing");
            return None;
        }
        Some(Self { child, dir })
    }

    fn kubectl(&self, args: &[&str]) {
        let env = std::fs::read_to_string(self.dir.path().join("c/env")).unwrap();
        let of = |key: &str| PathBuf::from(env.lines().find_map(|line| line.strip_prefix(key)).unwrap());
        let mut kubectl = Command::new(of("KUBECTL="));
        let ran = kubectl.env("KUBECONFIG", of("KUBECONFIG=")).args(args).output().unwrap();
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// Hands on what comes, to the port that is there now; a connection waits while nobody listens there.
fn relay(to: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let to = Arc::clone(&to);
            std::thread::spawn(move || {
                let server = (0..PATIENCE.as_secs() * 10).find_map(|_| {
                    let server = TcpStream::connect(("127.0.0.1", to.load(Ordering::Acquire))).ok();
                    if server.is_none() {
                        std::thread::park_timeout(Duration::from_millis(100));
                    }
                    server
                });
                let Some(server) = server else { return };
                let (back, forth) = ((server.try_clone().unwrap(), client.try_clone().unwrap()), (client, server));
                std::thread::spawn(move || copy(back.0, back.1));
                copy(forth.0, forth.1);
            });
        }
    });
    port
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer)
        && to.write_all(&buffer[..count]).is_ok()
    {}
    // Whichever side has gone, the other learns it.
    drop(to.shutdown(std::net::Shutdown::Both));
    drop(from.shutdown(std::net::Shutdown::Both));
}

/// `host.quell.test` is this machine, seen from the network namespace of the API server.
fn kubeconfig(home: &Home, port: u16) -> PathBuf {
    let text = format!(
        "apiVersion: v1\nkind: Config\n\
         clusters: [{{ name: quell, cluster: {{ server: \"https://host.quell.test:{port}\", tls-server-name: localhost, certificate-authority: \"{}\" }} }}]\n\
         users: [{{ name: apiserver, user: {{ token: {TOKEN} }} }}]\n\
         contexts: [{{ name: quell, context: {{ cluster: quell, user: apiserver }} }}]\ncurrent-context: quell\n",
        home.dir().join("tls.crt").display()
    );
    write(home.dir(), "audit.kubeconfig", &text)
}

#[test]
fn what_a_real_api_server_brings_and_writes_is_answered_once_whenever_quell_is_killed() {
    let home = Home::trusted(true);
    write(home.dir(), "rules/exec.yml", RULE);
    write(home.dir(), "playbooks/says.yaml", PLAYBOOK);
    let mut daemon = home.begin(None);
    daemon.stands();
    let to = Arc::new(AtomicU16::new(port(&daemon).unwrap()));
    let config = kubeconfig(&home, relay(Arc::clone(&to)));
    let log = home.dir().join("audit.log");
    let Some(server) = ApiServer::start(&config, &log) else { return };
    daemon.end();

    // It dies when the detection is written down, and before anybody is answered: the API server brings it again.
    let mut daemon = home.begin(Some("after:1"));
    daemon.stands();
    to.store(port(&daemon).unwrap(), Ordering::Release);
    server.kubectl(&["get", "secrets", "-n", "quell-one"]);
    daemon.wait();
    // And this one comes while no quell is there.
    server.kubectl(&["get", "secrets", "-n", "quell-two"]);
    let mut daemon = home.begin(None);
    daemon.stands();
    to.store(port(&daemon).unwrap(), Ordering::Release);
    wait_until("both are answered", || ended(&daemon, 2));
    server.kubectl(&["get", "secrets", "-n", "quell-three"]);
    wait_until("all of them are answered", || ended(&daemon, 3));
    let all: Vec<String> = runs(&daemon).into_iter().map(|(per, mode)| format!("{per} {mode}")).collect();
    assert_eq!(all, ["quell-one enforce", "quell-three enforce", "quell-two enforce"], "{}", daemon.log());
    // One event is one detection, however often it was brought.
    assert_eq!(detections(&daemon), 3, "{}", daemon.log());
    let status = daemon.status();
    assert_eq!(status["sources"][0]["unreadable"], 0, "a real API server's events are read: {status}");
    assert_eq!(status["sources"][0]["webhook"]["denied"], 0);
    daemon.end();

    follows_the_log(&home, &log, &server);
}

/// The same records as a file, which is rotated as an API server does it.
fn follows_the_log(home: &Home, log: &Path, server: &ApiServer) {
    let text = std::fs::read_to_string(home.dir().join("quell.yaml")).unwrap();
    let at = text.find("  webhooks:").unwrap();
    let files = "  files: [{ format: kubernetes-audit, path: audit.log, trusted: true, from: end }]\n";
    let config = write(home.dir(), "file.yaml", &(text[..at].to_owned() + files));
    let (state, said) = (home.dir().join("file-state"), home.dir().join("file-said"));
    let start = || {
        let mut daemon = Daemon::start(command(&["up"]), Some(&config), &state, &said);
        daemon.stands();
        daemon
    };
    let daemon = start();
    server.kubectl(&["get", "secrets", "-n", "quell-four"]);
    wait_until("it is answered", || ended(&daemon, 1));
    daemon.end();
    server.kubectl(&["get", "secrets", "-n", "quell-five"]);
    wait_until("it is written", || std::fs::read_to_string(log).unwrap().contains("quell-five"));
    std::fs::rename(log, home.dir().join("audit-2026-03-01T10-00-00.000.log")).unwrap();
    std::fs::write(log, "").unwrap();
    let daemon = start();
    wait_until("what was written while it was away is answered", || ended(&daemon, 2));
    let all: Vec<String> = runs(&daemon).into_iter().map(|(per, _)| per).collect();
    assert_eq!((all, detections(&daemon)), (vec!["quell-five".to_owned(), "quell-four".to_owned()], 2));
    let unreadable = daemon.status()["sources"][0]["unreadable"].clone();
    assert_eq!(unreadable, 0, "{}", daemon.log());
    daemon.end();
}
