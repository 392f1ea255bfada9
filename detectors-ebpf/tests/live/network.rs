//! Connections: both families, both protocols, every direction, with the process that made them.

use crate::harness::{live, not_tested, own, text};
use quell_model::{Class, OwnedEvent};
use std::net::{TcpListener, TcpStream, UdpSocket};

fn is_net(e: &OwnedEvent, direction: &str, protocol: &str) -> bool {
    e.head.class == Class::NetworkConnection
        && text(e, "network.direction") == direction
        && text(e, "network.protocol") == protocol
        && own(e, "process.pid") == std::process::id()
}

fn tcp(local: &str) {
    let Some(live) = live() else { return };
    let Ok(listener) = TcpListener::bind((local, 0)) else {
        not_tested(&format!("no address {local} here"));
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let out = TcpStream::connect((local, port)).unwrap();
    let (_in, peer) = listener.accept().unwrap();
    let to = |e: &OwnedEvent| own(e, "network.destination_port") == port && text(e, "network.destination_ip") == local;
    let seen = live.log.wait("the connect", |e| is_net(e, "outbound", "tcp") && to(e));
    assert_eq!(own(&seen, "network.loopback"), true);
    assert_eq!(seen.sigma["Initiated"], true);
    let seen = live.log.wait("the accept", |e| is_net(e, "inbound", "tcp") && to(e));
    assert_eq!(own(&seen, "network.source_port"), peer.port());
    assert_eq!(text(&seen, "network.source_ip"), local);
    live.log.wait("the listener", |e| is_net(e, "listen", "tcp") && own(e, "network.source_port") == port);
    drop(out);
}

#[test]
fn tcp_over_ipv4() {
    tcp("127.0.0.1");
}

#[test]
fn tcp_over_ipv6() {
    tcp("::1");
}

#[test]
fn a_connect_that_nobody_answers_is_told_too() {
    let Some(live) = live() else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    live.log.wait("the attempt", |e| is_net(e, "outbound", "tcp") && own(e, "network.destination_port") == port);
}

#[test]
fn datagrams_are_told_once_for_each_peer() {
    let Some(live) = live() else { return };
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..5 {
        client.send_to(b"x", ("127.0.0.1", port)).unwrap();
    }
    let fits = |e: &OwnedEvent| is_net(e, "outbound", "udp") && own(e, "network.destination_port") == port;
    live.log.wait("the datagram", fits);
    // What comes after on the same thread has been read after: then no second one is on its way.
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let other_port = other.local_addr().unwrap().port();
    client.connect(("127.0.0.1", other_port)).unwrap();
    live.log.wait("the connected datagram socket", |e| {
        is_net(e, "outbound", "udp") && own(e, "network.destination_port") == other_port
    });
    assert_eq!(live.log.all(fits).len(), 1);
}
