//! Goal: what an API server brings to a webhook is answered once and acted on once, whether quell runs, is killed between the receipt
//! and the answer, or cannot write; and whoever has not the token makes it do nothing. Method: real daemons without a sensor, one
//! after another, and a client of the test's own that repeats what was not answered, as an API server does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_server;

use crate::cli::{PATIENCE, command, quell, wait_until, write};
use crate::daemon::Daemon;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

const RULE: &str = "title: Exec\nname: exec\nstatus: test\nlevel: high\nlogsource: { product: kubernetes, service: audit }\n\
    detection:\n  exec: { objectRef.subresource: exec }\n  condition: exec\n";

/// One run a principal; who it is about is in it.
const PLAYBOOK: &str = "playbook: says\ndescription: Says what it was given.\non: { detections: { rules: [exec] }, max_age: 10m }\n\
    mode: enforce\nsteps:\n  say: { tell: \"${{ event.actor }} in ${{ event.pod?.name }}\" }\n";

const TOKEN: &str = "Q5pZ-of-a-test";

/// Where the daemons of a test live.
struct Home {
    keep: tempfile::TempDir,
    tls: bool,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Home {
    /// With TLS or in the clear; `more` are further keys of the webhook.
    fn new(tls: bool, more: &str) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let dir = keep.path();
        write(dir, "rules/exec.yml", RULE);
        write(dir, "playbooks/says.yaml", PLAYBOOK);
        private(dir, "token", &format!("{TOKEN}\n"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(dir, "tls.crt", &made.cert.pem());
        private(dir, "tls.key", &made.signing_key.serialize_pem());
        let with = if tls { ", tls: { certificate: tls.crt, key: tls.key }" } else { "" };
        let text = format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
             guard: {{ only_within: {{ cgroup: /quell-no-such-cgroup }} }}\nsecrets: {{ audit: {{ file: token }} }}\n\
             sources:\n  sensor: {{ enabled: false }}\n  webhooks:\n    - {{ name: cluster, format: kubernetes-audit, address: 127.0.0.1:0{with}{more} }}\n"
        );
        write(dir, "quell.yaml", &text);
        Self { keep, tls }
    }

    fn trusted(tls: bool) -> Self {
        Self::new(tls, ", token: { secret: audit }, trusted: true")
    }

    fn dir(&self) -> &Path {
        self.keep.path()
    }

    fn begin(&self, place: Option<&str>) -> Daemon {
        let mut up = command(&["up"]);
        if let Some(place) = place {
            up.env("QUELL_DIE_AT", place);
        }
        Daemon::start(up, Some(&self.dir().join("quell.yaml")), &self.dir().join("state"), &self.dir().join("said"))
    }

    /// One that stands, and its webhook's port.
    fn start(&self) -> (Daemon, u16) {
        let mut daemon = self.begin(None);
        daemon.stands();
        let port = port(&daemon).unwrap();
        (daemon, port)
    }

    /// Posts it; none: nobody answered, or not to the end.
    fn try_post(&self, port: u16, token: &str, body: &str) -> Option<Answer> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST /?timeout=30s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let said = if self.tls {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.dir().join("tls.crt")).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            let config = config.with_root_certificates(roots).with_no_client_auth();
            let name = ServerName::try_from("localhost").unwrap();
            let client = ClientConnection::new(Arc::new(config), name).unwrap();
            exchange(StreamOwned::new(client, stream), &head, body)
        } else {
            exchange(stream, &head, body)
        };
        let (head, body) = said.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }

    #[track_caller]
    fn post(&self, port: u16, body: &str) -> Answer {
        self.try_post(port, TOKEN, body).expect("it is answered")
    }
}

fn exchange(mut stream: impl Read + Write, head: &str, body: &str) -> String {
    // Whoever refuses does not read it to its end, and whoever is killed closes without a word.
    drop(
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .and_then(|()| stream.flush()),
    );
    let mut said = Vec::new();
    drop(stream.read_to_end(&mut said));
    String::from_utf8_lossy(&said).into_owned()
}

fn private(dir: &Path, name: &str, text: &str) {
    let file = write(dir, name, text);
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Where its webhook listens, as `status` says.
fn port(daemon: &Daemon) -> Option<u16> {
    let mut found = None;
    wait_until("it says where its webhook listens", || {
        let status = daemon.try_status().unwrap_or_default();
        let address = status["sources"][0]["webhook"]["address"].as_str().map(str::to_owned);
        found = address.and_then(|address| address.rsplit(':').next()?.parse().ok());
        found.is_some()
    });
    found
}

/// An exec into a pod by this person, now.
fn exec(user: &str) -> Value {
    let now = jiff::Timestamp::now();
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": format!("id-{user}"), "stage": "ResponseStarted",
        "requestURI": "/api/v1/namespaces/shop/pods/web-0/exec?command=sh", "verb": "get", "user": { "username": user },
        "sourceIPs": ["198.51.100.4"], "responseStatus": { "code": 101 },
        "objectRef": { "resource": "pods", "namespace": "shop", "name": "web-0", "apiVersion": "v1", "subresource": "exec" },
        "requestReceivedTimestamp": now, "stageTimestamp": now,
    })
}

fn list(items: &[Value]) -> String {
    json!({ "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items }).to_string()
}

/// The runs: whom each is about, and its mode.
fn runs(daemon: &Daemon) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |run: &Value| (text(&run["per"]).trim_start_matches("principal:").to_owned(), text(&run["mode"]));
    let mut all: Vec<_> = daemon.runs().iter().map(one).collect();
    all.sort();
    all
}

fn ended(daemon: &Daemon, count: usize) -> bool {
    let all = daemon.ask(&["run", "list", "--json"]).out;
    let all = serde_json::from_str::<Vec<Value>>(&all).unwrap_or_default();
    all.len() >= count && all.iter().all(|run| run["state"] == "succeeded")
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
fn what_an_api_server_brings_over_tls_with_the_token_is_answered_and_acted_on_once() {
    let home = Home::trusted(true);
    let (daemon, port) = home.start();
    let batch = list(&[exec("ana"), json!({ "auditID": "x" }), exec("ben")]);
    let answer = home.post(port, &batch);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"accepted":2,"repeated":0,"unreadable":1}"#));
    // It was answered after the commit: the incidents are there.
    assert_eq!(detections(&daemon), 2);
    wait_until("both runs have ended", || ended(&daemon, 2));
    assert_eq!(runs(&daemon), of(&[("ana", "enforce"), ("ben", "enforce")]));
    let answer = home.post(port, &batch);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"accepted":0,"repeated":2,"unreadable":1}"#));
    // Without the token, with another, in the clear, too large, and packed by something else.
    assert_eq!(home.try_post(port, "other", &list(&[exec("eve")])).unwrap().status, 401);
    let plain = Home { tls: false, keep: tempfile::tempdir().unwrap() };
    assert!(plain.try_post(port, TOKEN, &list(&[exec("eve")])).is_none(), "nobody speaks without TLS there");
    assert_eq!(home.post(port, &" ".repeat((10 << 20) + (64 << 10) + 1)).status, 413);
    assert_eq!((runs(&daemon).len(), detections(&daemon)), (2, 2));
    // What cannot be read is put aside, counted and told.
    let aside = std::fs::read_to_string(home.dir().join("state/aside/webhook-cluster.jsonl")).unwrap();
    assert_eq!(aside.lines().count(), 2, "{aside}");
    let status = daemon.status();
    let webhook = &status["sources"][0]["webhook"];
    let counts = ["accepted", "denied", "wrong", "repeated", "later"].map(|key| webhook[key].as_u64().unwrap());
    assert_eq!((counts, &status["sources"][0]["unreadable"]), ([2, 1, 1, 2, 0], &json!(2)));
    let said = daemon.ask(&["status"]).out;
    for what in [
        "webhook:cluster  at 127.0.0.1:",
        "2 deliveries",
        "2 events brought again",
        "1 without the token",
        "2 records put aside",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let metrics = crate::metrics::get(&daemon.state, "/metrics").1;
    for line in [
        r#"quell_source_deliveries_total{source="webhook:cluster",answer="accepted"} 2"#,
        r#"quell_source_deliveries_total{source="webhook:cluster",answer="denied"} 1"#,
        r#"quell_source_repeated_events_total{source="webhook:cluster"} 2"#,
        r#"quell_source_listens{source="webhook:cluster"} 1"#,
        r#"quell_source_unreadable_records_total{source="webhook:cluster"} 2"#,
        r#"quell_events_total{source="webhook:cluster",class="record"} 4"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(!daemon.said().contains(TOKEN), "{}", daemon.log());
    daemon.end();
}

#[test]
fn without_a_token_nothing_acts_by_itself_and_a_token_that_is_changed_holds_at_once() {
    let home = Home::new(false, "");
    let (daemon, port) = home.start();
    assert_eq!(home.post(port, &list(&[exec("ana")])).status, 200);
    wait_until("the run has begun", || !daemon.runs().is_empty());
    assert_eq!(daemon.runs()[0]["untrusted"], true, "each act of it asks first: {}", daemon.log());
    daemon.end();

    let home = Home::trusted(false);
    let (daemon, port) = home.start();
    private(home.dir(), "token", "another");
    assert_eq!(home.post(port, &list(&[exec("ana")])).status, 401);
    assert_eq!(home.try_post(port, "another", &list(&[exec("ana")])).unwrap().status, 200);
    wait_until("its run has ended", || ended(&daemon, 1));
    assert_ne!(daemon.runs()[0]["untrusted"], true, "the webhook is trusted");
    // Another secret by a reload, and what a reload cannot follow.
    private(home.dir(), "second", "second");
    let config = home.dir().join("quell.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("file: token", "file: second")).unwrap();
    wait_until("the other token holds", || home.try_post(port, "second", &list(&[])).unwrap().status == 200);
    assert_eq!(home.try_post(port, "another", &list(&[])).unwrap().status, 401);
    std::fs::write(&config, text.replace(", token: { secret: audit }, trusted: true", "")).unwrap();
    wait_until("it is said that it needs a restart", || {
        daemon.said().contains("`sources` was changed and needs a restart")
    });
    assert_eq!(home.post(port, &list(&[])).status, 401, "a webhook never comes to ask for no token");
    std::fs::remove_file(home.dir().join("token")).unwrap();
    // The reload is in force a moment after it was said.
    let mut answer = None;
    wait_until("nobody can say whether a token is right", || {
        answer = Some(home.post(port, &list(&[])));
        answer.as_ref().is_some_and(|answer| answer.status != 401)
    });
    let answer = answer.unwrap();
    assert!(answer.status == 503 && answer.head.contains("retry-after: "), "{answer:?}");
    daemon.end();
}

/// At every write to an incident or a run that a delivery leads to, before it and after it.
#[test]
fn whenever_quell_is_killed_a_delivery_that_is_repeated_until_it_is_answered_is_acted_on_once() {
    for side in ["before", "after"] {
        let (mut died, mut unanswered) = (0, 0);
        for write in 1.. {
            let home = Home::trusted(false);
            home.start().0.end();
            let batch = list(&[exec("ana"), exec("ben")]);
            let place = format!("{side}:{write}");
            let mut daemon = home.begin(Some(&place));
            daemon.stands();
            let answered = port(&daemon)
                .and_then(|port| home.try_post(port, TOKEN, &batch))
                .is_some_and(|answer| answer.status == 200);
            let mut has_ended = false;
            wait_until("it dies there, or all is done", || {
                has_ended = daemon.ended().is_some();
                has_ended || answered && ended(&daemon, 2)
            });
            if !has_ended {
                break;
            }
            died += 1;
            let (daemon, port) = home.start();
            if !answered {
                unanswered += 1;
                assert_eq!(home.post(port, &batch).status, 200, "{place}\n{}", daemon.log());
            }
            wait_until("both runs have ended", || ended(&daemon, 2));
            let all = (runs(&daemon), detections(&daemon));
            assert_eq!(all, (of(&[("ana", "enforce"), ("ben", "enforce")]), 2), "{place}\n{}", daemon.log());
        }
        assert!(died >= 2 && unanswered >= 1, "{side}: it died {died} times, {unanswered} before it answered");
    }
}

#[test]
fn while_the_journal_takes_nothing_a_delivery_is_to_be_brought_again_and_is_lost_by_nobody() {
    let home = Home::trusted(false);
    let (daemon, port) = home.start();
    let holder = rusqlite::Connection::open(home.dir().join("state/journal.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batch = list(&[exec("ana")]);
    let answer = home.post(port, &batch);
    assert!(answer.status == 503 && answer.head.contains("retry-after: 15"), "{answer:?}");
    holder.execute_batch("ROLLBACK").unwrap();
    wait_until("it is taken", || home.post(port, &batch).status == 200);
    wait_until("its run has ended", || ended(&daemon, 1));
    assert_eq!((runs(&daemon), detections(&daemon)), (of(&[("ana", "enforce")]), 1));
    daemon.end();
}

#[test]
fn a_webhook_that_anybody_could_listen_to_or_speak_at_is_refused_with_its_place() {
    let home = Home::new(false, ", trusted: true");
    let file = home.dir().join("quell.yaml");
    let wrong = quell(&["config", "check", file.to_str().unwrap()]).ends(1);
    assert!(wrong.err.contains("trusted without `token`") && wrong.err.contains("quell.yaml:9:"), "{wrong:?}");
    let text =
        std::fs::read_to_string(&file).unwrap().replace(", trusted: true", "").replace("127.0.0.1:0", "192.0.2.1:7443");
    std::fs::write(&file, text).unwrap();
    let wrong = quell(&["config", "check", file.to_str().unwrap()]).ends(1);
    assert!(wrong.err.contains("is no loopback address, and without TLS"), "{wrong:?}");
    // A key that others can read, and a certificate that is none.
    let home = Home::trusted(true);
    let file = home.dir().join("quell.yaml");
    std::fs::set_permissions(home.dir().join("tls.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let wrong = quell(&["config", "check", file.to_str().unwrap()]).ends(1);
    assert!(wrong.err.contains("anybody can read this key"), "{wrong:?}");
    let shown = quell(&["config", "show", "--config", file.to_str().unwrap(), "--json"]).out;
    assert!(shown.contains("kubernetes-audit") && !shown.contains(TOKEN), "{shown}");
}
