//! The other end of an attack: a listener on loopback that asks for the goal and sees whether it comes.

use super::wait_for;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// What is sent: a shell answers with the goal, and so does every program of these tests.
const ASK: &str = "echo goal-$((40+2))\n";
const GOAL: &str = "goal-42";

/// Listens for one attack.
pub(super) struct Listener {
    socket: TcpListener,
    met: Vec<TcpStream>,
}

impl Listener {
    /// On any port, or on the first that is free of these.
    pub(super) fn new(ports: &[u16]) -> Self {
        let tried = if ports.is_empty() { &[0] } else { ports };
        let socket = tried.iter().find_map(|port| TcpListener::bind(("127.0.0.1", *port)).ok());
        let socket = socket.unwrap_or_else(|| panic!("none of the ports {tried:?} is free"));
        socket.set_nonblocking(true).unwrap();
        Self { socket, met: Vec::new() }
    }

    pub(super) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Takes what has connected by now.
    pub(super) fn take(&mut self) -> usize {
        while let Ok((stream, _)) = self.socket.accept() {
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            self.met.push(stream);
        }
        self.met.len()
    }

    /// Waits for the attack, and says `words` to it.
    pub(super) fn greet(&mut self, words: &str) -> bool {
        let came = wait_for(|| (self.take() > 0).then_some(())).is_some();
        self.met.iter_mut().for_each(|stream| drop(stream.write_all(words.as_bytes())));
        came
    }

    /// Asks, and waits for the goal.
    pub(super) fn goal(&mut self) -> Option<()> {
        self.greet(ASK).then_some(())?;
        let mut heard = vec![String::new(); self.met.len()];
        wait_for(|| {
            for (stream, heard) in self.met.iter_mut().zip(&mut heard) {
                listen(stream, heard);
            }
            heard.iter().any(|text| text.contains(GOAL)).then_some(())
        })
    }

    /// Asks what is dead, and hears all that was ever said.
    pub(super) fn remains(mut self) -> String {
        self.take();
        let mut all = String::new();
        for stream in &mut self.met {
            drop(stream.write_all(ASK.as_bytes()));
            wait_for(|| (!listen(stream, &mut all)).then_some(()));
        }
        all
    }

    /// Whether these words hold the goal.
    pub(super) fn is_goal(words: &str) -> bool {
        words.contains(GOAL)
    }
}

/// Hears what there is; false once the other end is gone.
fn listen(stream: &mut TcpStream, heard: &mut String) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(n) => {
            heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
            true
        }
        Err(e) => matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
    }
}
