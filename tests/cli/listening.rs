//! Where the API listens on TCP cannot be had: what guards the host stands all the same, says so, and listens once it can.

use super::{command, wait_until, write};
use crate::daemon::Daemon;
use quell_model::Hash;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A daemon that is to listen there, with TLS or in the clear.
fn listening(home: &Path, address: &str, tls: bool) -> Daemon {
    let with = if tls { "tls: { certificate: cert.pem, key: key.pem }, " } else { "" };
    let config = format!(
        "sources: {{ sensor: {{ enabled: false }} }}\naccess: {{ listen: {{ address: \"{address}\", {with}tokens: [{{ name: a, role: viewer, sha256: \"{}\" }}] }} }}\n",
        Hash::of(b"x")
    );
    let config = write(home, "quell.yaml", &config);
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &home.join("state"), &home.join("log"));
    daemon.stands();
    daemon
}

#[test]
fn an_address_that_is_not_there_keeps_nothing_from_being_answered() {
    let home = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(home.path(), "cert.pem", &made.cert.pem());
    let key = write(home.path(), "key.pem", &made.signing_key.serialize_pem());
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Of a network that nobody has (RFC 5737).
    let daemon = listening(home.path(), "192.0.2.1:7071", true);
    wait_until("it is told", || daemon.status()["listen_failed"].is_string());
    let shown = daemon.ask(&["status"]).ends(1).out;
    assert!(shown.contains("NOT LISTENING on TCP") && shown.contains("192.0.2.1:7071"), "{shown}");
    daemon.ask(&["run", "list"]).ends(0);
    daemon.end();
}

#[test]
fn a_port_that_somebody_else_has_is_taken_once_they_go() {
    let home = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let daemon = listening(home.path(), &address.to_string(), false);
    wait_until("it is told", || daemon.status()["listen_failed"].as_str().is_some_and(|why| why.contains("in use")));
    drop(other);
    wait_until("it listens", || daemon.status()["listen_failed"].is_null());
    TcpStream::connect(address).unwrap();
    let tries = daemon.said().matches("nobody comes in over TCP").count();
    assert_eq!(tries, 1, "one reason is told once");
    daemon.end();
}
