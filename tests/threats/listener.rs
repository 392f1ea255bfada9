//! The other end of an attack: a listener on loopback that asks for the goal and sees whether it comes.

use super::wait_for;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
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
        self.greet_all(words);
        came
    }

    /// Asks on every connection that comes, and waits for the goal on any.
    pub(super) fn goal(&mut self) -> Option<()> {
        let mut heard: Vec<String> = Vec::new();
        wait_for(|| {
            self.take();
            for stream in &mut self.met[heard.len()..] {
                drop(stream.write_all(ASK.as_bytes()));
                heard.push(String::new());
            }
            for (stream, heard) in self.met.iter_mut().zip(&mut heard) {
                listen(stream, heard);
            }
            heard.iter().any(|text| text.contains(GOAL)).then_some(())
        })
    }

    /// Asks whoever is left, and says that nothing will follow: a shell would answer, a relay without one ends.
    pub(super) fn ask(&mut self) {
        self.greet_all(ASK);
        self.met.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Write)));
    }

    /// All that was ever said, to the end of every connection.
    pub(super) fn remains(mut self) -> String {
        self.take();
        let mut all = String::new();
        for stream in &mut self.met {
            wait_for(|| (!listen(stream, &mut all)).then_some(()));
        }
        all
    }

    fn greet_all(&mut self, words: &str) {
        self.take();
        self.met.iter_mut().for_each(|stream| drop(stream.write_all(words.as_bytes())));
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
